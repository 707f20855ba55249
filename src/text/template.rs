//! How a tokenizer joins texts: the special tokens before, between and after them, and the type of each side.
//!
//! The post-processor of `tokenizer.json` is asked once, with one stand-in token for each text; what it puts around them
//! is then put around the real tokens, without building its large `Encoding` for each pair.

use std::panic::{self, AssertUnwindSafe};

use tokenizers::{Encoding, Tokenizer};

use super::Tokens;
use crate::error::{Error, Result};

/// Ids that no vocabulary has.
const FIRST: u32 = u32::MAX - 1;
const SECOND: u32 = u32::MAX;

/// The frame around a single text or a pair.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// Special tokens before the first text, between the two (empty for a single text), and after the last.
    before: Tokens,
    between: Tokens,
    after: Tokens,
    type_of_first: u32,
    type_of_second: u32,
    is_pair: bool,
}

impl Template {
    /// The tokenizer's template for one text.
    pub(super) fn single(tokenizer: &Tokenizer) -> Result<Self> {
        Self::of(&ask(tokenizer, stand_in(FIRST, 0), None)?, false)
    }

    /// The tokenizer's template for a query and a document.
    pub(super) fn pair(tokenizer: &Tokenizer) -> Result<Self> {
        Self::of(&ask(tokenizer, stand_in(FIRST, 0), Some(stand_in(SECOND, 1)))?, true)
    }

    /// A template of these special tokens for a pair.
    pub(super) fn of_parts(before: Vec<u32>, between: Vec<u32>, after: Vec<u32>) -> Self {
        let tokens = |ids: Vec<u32>| Tokens { type_ids: vec![0; ids.len()], ids, ..Tokens::default() };
        Self {
            before: tokens(before),
            between: tokens(between),
            after: tokens(after),
            type_of_first: 0,
            type_of_second: 0,
            is_pair: true,
        }
    }

    fn of(framed: &Tokens, is_pair: bool) -> Result<Self> {
        let positions = |id: u32| -> Vec<usize> {
            framed.ids.iter().enumerate().filter(|(_, found)| **found == id).map(|(at, _)| at).collect()
        };
        let (first, second) = match (positions(FIRST).as_slice(), positions(SECOND).as_slice()) {
            ([first], []) if !is_pair => (*first, *first),
            ([first], [second]) if is_pair && first < second => (*first, *second),
            _ => {
                return Err(Error::model(format!(
                    "the template of tokenizer.json for {} does not hold each text once and in order: it cannot be used",
                    if is_pair { "a pair of texts" } else { "a text" }
                )));
            }
        };
        Ok(Self {
            before: framed.part(0, first),
            between: framed.part((first + 1).min(second), second),
            after: framed.part(second + 1, framed.ids.len()),
            type_of_first: framed.type_ids[first],
            type_of_second: framed.type_ids[second],
            is_pair,
        })
    }

    /// The number of special tokens.
    pub(super) fn specials(&self) -> usize {
        self.before.ids.len() + self.between.ids.len() + self.after.ids.len()
    }

    /// Frames a text, or a pair.
    pub(super) fn frame(&self, first: &[u32], second: &[u32]) -> Tokens {
        let length = self.specials() + first.len() + second.len();
        let mut tokens =
            Tokens { ids: Vec::with_capacity(length), type_ids: Vec::with_capacity(length), ..Tokens::default() };
        tokens.extend(&self.before.ids, self.before.type_ids.iter().copied());
        tokens.extend(first, first.iter().map(|_| self.type_of_first));
        tokens.extend(&self.between.ids, self.between.type_ids.iter().copied());
        if self.is_pair {
            tokens.of_query = tokens.ids.len();
        }
        tokens.extend(second, second.iter().map(|_| self.type_of_second));
        tokens.extend(&self.after.ids, self.after.type_ids.iter().copied());
        tokens
    }
}

impl Tokens {
    fn part(&self, from: usize, to: usize) -> Tokens {
        Tokens { ids: self.ids[from..to].to_vec(), type_ids: self.type_ids[from..to].to_vec(), ..Tokens::default() }
    }

    fn extend(&mut self, ids: &[u32], type_ids: impl Iterator<Item = u32>) {
        self.ids.extend_from_slice(ids);
        self.type_ids.extend(type_ids);
    }
}

/// An encoding of one token.
fn stand_in(id: u32, type_id: u32) -> Encoding {
    Encoding::new(
        vec![id],
        vec![type_id],
        vec!["x".to_owned()],
        vec![Some(0)],
        vec![(0, 1)],
        vec![0],
        vec![1],
        Vec::new(),
        Default::default(),
    )
}

fn ask(tokenizer: &Tokenizer, first: Encoding, second: Option<Encoding>) -> Result<Tokens> {
    let broken = "the template of tokenizer.json cannot be used";
    // The crate `tokenizers` panics on templates that name tokens they do not define.
    let asked = panic::catch_unwind(AssertUnwindSafe(|| tokenizer.post_process(first, second, true)));
    match asked {
        Ok(Ok(encoding)) => {
            let (ids, type_ids) = (encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec());
            Ok(Tokens { ids, type_ids, ..Tokens::default() })
        }
        Ok(Err(error)) => Err(Error::model(broken).with_source(error)),
        Err(_) => Err(Error::model(format!("{broken}: it names something that it does not define"))),
    }
}

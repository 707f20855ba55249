//! Texts → tokens → the engine, for both kinds of model.
//!
//! Equal texts are run once, whatever their number. Texts go through in windows: what is in memory at the same time is
//! the tokens of one window, however many texts there are.

use std::collections::HashMap;

use crate::engine::{Engine, Output};
use crate::error::Result;
use crate::text::{Cut, Tokens};

/// Texts whose tokens are in memory at the same time.
const WINDOW: usize = 2048;

/// What came out for each text.
#[derive(Debug)]
pub(crate) struct Processed<T> {
    /// One for each different text, in the order of their first appearance.
    different: Vec<Result<(T, Cut)>>,
    /// For each text, the index of its outcome.
    outcome_of: Vec<usize>,
}

impl<T> Processed<T> {
    /// The outcomes in the order of the texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Result<(T, Cut)>> {
        self.outcome_of.iter().map(|index| &self.different[*index])
    }
}

/// Encodes each text, runs the engine on it, and keeps what `reduce` makes of the output. A text that fails does not
/// lose the others.
pub(crate) fn process<S: AsRef<str>, T: Send>(
    engine: &Engine,
    texts: &[S],
    encode: impl Fn(&str) -> Result<(Tokens, Cut)> + Sync + Send,
    reduce: impl Fn(&Tokens, Output<'_>) -> Result<T> + Sync,
) -> Processed<T> {
    let (texts, outcome_of) = different(texts);
    let mut outcomes = Vec::with_capacity(texts.len());
    for window in texts.chunks(WINDOW) {
        let encoded = engine.map(window, |text| encode(text));
        let mut inputs = Vec::with_capacity(window.len());
        let cuts: Vec<Result<Cut>> = encoded
            .into_iter()
            .map(|encoded| {
                encoded.map(|(tokens, cut)| {
                    inputs.push(tokens);
                    cut
                })
            })
            .collect();
        let mut outputs = engine.run(&inputs, &reduce).into_iter();
        // The engine gave one output for each text that could be encoded, in their order.
        outcomes.extend(cuts.into_iter().filter_map(|cut| match cut {
            Ok(cut) => outputs.next().map(|output| output.map(|output| (output, cut))),
            Err(error) => Some(Err(error)),
        }));
    }
    Processed { different: outcomes, outcome_of }
}

/// The different texts in the order of their first appearance, and for each text the index of its like.
pub(crate) fn different<S: AsRef<str>>(texts: &[S]) -> (Vec<&str>, Vec<usize>) {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(texts.len());
    let mut different = Vec::new();
    let index_of = texts
        .iter()
        .map(|text| {
            *seen.entry(text.as_ref()).or_insert_with_key(|text| {
                different.push(*text);
                different.len() - 1
            })
        })
        .collect();
    (different, index_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_finds_its_like(texts in proptest::collection::vec("[ab]{0,2}", 0..40)) {
            let (different, index_of) = different(&texts);
            prop_assert_eq!(index_of.len(), texts.len());
            for (text, index) in texts.iter().zip(&index_of) {
                prop_assert_eq!(different[*index], text);
            }
            let distinct: std::collections::HashSet<&String> = texts.iter().collect();
            prop_assert_eq!(different.len(), distinct.len());
        }
    }
}

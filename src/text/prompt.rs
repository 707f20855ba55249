//! Pairs that are put to a language model as one text: a template's words, the query, more words, the document, and an
//! end that the answer follows.
//!
//! The text is tokenised as a whole, as the reference does: a token may reach over the border of two parts. Where it is
//! too long, the document's end is left out and the template's end stays, by the rule of sentence-transformers: the last
//! tokens of what fits are replaced with those that any two texts have in common at their end.

use tokenizers::Tokenizer;

use super::excerpt::Encoded;
use super::{Cut, Tokens, encode};
use crate::error::Result;
use crate::model::format::TextFormat;

/// A template that is filled in.
#[derive(Debug)]
pub(super) struct Prompt {
    format: TextFormat,
    /// The template's last tokens.
    end: Vec<u32>,
    /// The number of tokens of the template with a short query and no document.
    specials: usize,
}

/// A query in its template.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Everything before the document.
    text: String,
    tokens: usize,
}

impl Prompt {
    pub(super) fn new(tokenizer: &Tokenizer, format: &TextFormat) -> Result<Self> {
        let fill = |text: &str| {
            let TextFormat { before, between, after, special_tokens } = format;
            encode(tokenizer, &format!("{before}{text}{between}{text}{after}"), *special_tokens)
        };
        let (first, second) = (fill("0")?, fill("1 2 3 4")?);
        let common = first.iter().rev().zip(second.iter().rev()).take_while(|(a, b)| a == b).count();
        // Where the two never differ, no text gets through: nothing is known of the template's end.
        let common = if common < first.len().min(second.len()) { common } else { 0 };
        Ok(Self {
            format: format.clone(),
            end: first[first.len() - common..].to_vec(),
            specials: first.len().saturating_sub(2),
        })
    }

    pub(super) fn specials(&self) -> usize {
        self.specials
    }

    /// The number of tokens before and after the document.
    pub(super) fn tokens_around(&self, question: &Question) -> usize {
        question.tokens + self.end.len()
    }

    pub(super) fn question(&self, tokenizer: &Tokenizer, query: &str) -> Result<Question> {
        let text = format!("{}{query}{}", self.format.before, self.format.between);
        let tokens = encode(tokenizer, &text, false)?.len();
        Ok(Question { text, tokens })
    }

    /// The tokens of the whole text.
    pub(super) fn encode(&self, tokenizer: &Tokenizer, question: &Question, document: &str) -> Result<Vec<u32>> {
        let text = format!("{}{document}{}", question.text, self.format.after);
        encode(tokenizer, &text, self.format.special_tokens)
    }

    /// Cuts the tokens of the whole text to the limit.
    pub(super) fn cut(&self, whole: Encoded, question: &Question, limit: usize) -> (Tokens, Cut) {
        let Encoded { mut ids, partial } = whole;
        let dropped = ids.len().saturating_sub(limit).max(usize::from(partial));
        let mut of_query = 0;
        if ids.len() > limit {
            // The end never takes more than the room: there are at least two tokens more (`TextEncoder::new`).
            ids.truncate(limit.saturating_sub(self.end.len()));
            of_query = question.tokens.saturating_sub(ids.len());
            ids.extend(&self.end);
        }
        let cut = Cut { query: of_query.min(dropped), document: dropped - of_query.min(dropped), at_least: partial };
        let of_query = question.tokens.min(ids.len());
        (Tokens { type_ids: vec![0; ids.len()], ids, of_query, ..Tokens::default() }, cut)
    }
}

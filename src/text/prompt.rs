//! Pairs that are put to a language model as one text: a template's words, the query, more words, the document, and an
//! end that the answer follows.
//!
//! The text is tokenised as a whole, as the reference does: a token may reach over the border of two parts. Where it is
//! too long, the document's end is left out and the template's end stays, by the rule of sentence-transformers: the last
//! tokens of what fits are replaced with those that any two texts have in common at their end. Where the document's
//! beginning is to be left out, what stands before it stays likewise: the first tokens, as far as the question alone has them.
//!
//! What a query's tokens are does not depend on the document. So a long query is tokenised once, but for its last words,
//! and a query that fills the model alone is not tokenised again at all.

use tokenizers::Tokenizer;

use super::excerpt::{self, Encoded, SLACK};
use super::truncation::TruncationSide;
use super::{Cut, Tokens, encode};
use crate::error::Result;
use crate::model::format::TextFormat;

/// A question that is longer is tokenised in two parts: what is before its last words, once.
const LONG_QUESTION: usize = 4096;

/// About so many bytes of a long question are tokenised with each document.
const LAST_WORDS: usize = 1024;

/// A template that is filled in.
#[derive(Debug)]
pub(super) struct Prompt {
    format: TextFormat,
    /// The tokenizer's own tokens before every text.
    start: Vec<u32>,
    /// The template's last tokens.
    end: Vec<u32>,
    /// The number of tokens of the template with a short query and no document.
    specials: usize,
}

/// A query in its template.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Tokens of everything before the document but the last words, if it is long.
    head: Option<Vec<u32>>,
    /// The words after them, or all, which are tokenised together with the document.
    last_words: String,
    /// The tokens of everything before the document, without one.
    ids: Vec<u32>,
    /// There is more of the query than was looked at.
    partial: bool,
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
        let sample = encode(tokenizer, "0", false)?;
        let framed = encode(tokenizer, "0", format.special_tokens)?;
        let start = framed.windows(sample.len().max(1)).position(|part| part == sample).unwrap_or(0);
        Ok(Self {
            format: format.clone(),
            start: framed[..start].to_vec(),
            end: first[first.len() - common..].to_vec(),
            specials: first.len().saturating_sub(2),
        })
    }

    pub(super) fn specials(&self) -> usize {
        self.specials
    }

    /// The number of tokens before and after the document.
    pub(super) fn tokens_around(&self, question: &Question) -> usize {
        question.ids.len() + self.end.len()
    }

    /// Puts a query into the template; `limit` is the most tokens of the whole, and `cased` changes the query as the model
    /// wants it.
    pub(super) fn question(
        &self,
        tokenizer: &Tokenizer,
        query: &str,
        limit: usize,
        cased: impl Fn(&str) -> String,
    ) -> Result<Question> {
        let TextFormat { before, between, .. } = &self.format;
        let text = |query: &str| format!("{before}{}{between}", cased(query));
        // The end of a query that is too long is what gives way.
        let (query, Encoded { ids, partial }) =
            excerpt::encode_part(query, limit, TruncationSide::Right, |part| encode(tokenizer, &text(part), false))?;
        let (head, last_words) = split(tokenizer, text(query), &ids)?;
        let started = |ids: Vec<u32>| [self.start.clone(), ids].concat();
        Ok(Question { head: head.map(started), last_words, ids: started(ids), partial })
    }

    /// The tokens of the whole text.
    pub(super) fn encode(&self, tokenizer: &Tokenizer, question: &Question, document: &str) -> Result<Vec<u32>> {
        let text = format!("{}{document}{}", question.last_words, self.format.after);
        let rest = encode(tokenizer, &text, self.format.special_tokens)?;
        Ok(match &question.head {
            // The tokenizer put its own tokens before these words too.
            Some(head) => [head, &rest[self.start.len().min(rest.len())..]].concat(),
            None => rest,
        })
    }

    /// The tokens of a question that leaves no room for a document, which would have so many; nothing if there is room.
    pub(super) fn without_document(
        &self,
        question: &Question,
        limit: usize,
        document: impl FnOnce() -> Result<(usize, bool)>,
    ) -> Result<Option<(Tokens, Cut)>> {
        // The last tokens of the question may depend on the document.
        if question.ids.len() < limit.saturating_add(SLACK) {
            return Ok(None);
        }
        let (document, at_least) = document()?;
        let kept = limit.saturating_sub(self.end.len());
        let ids = [&question.ids[..kept], &self.end].concat();
        let cut = Cut { query: question.ids.len() - kept, document, at_least: at_least || question.partial };
        Ok(Some((tokens(ids, limit), cut)))
    }

    /// Cuts the tokens of the whole text to the limit.
    pub(super) fn cut(&self, whole: Encoded, question: &Question, limit: usize, side: TruncationSide) -> (Tokens, Cut) {
        let Encoded { mut ids, partial } = whole;
        let dropped = ids.len().saturating_sub(limit);
        let (mut asked, mut of_query) = (question.ids.len(), 0);
        if dropped > 0 {
            let common = ids.iter().zip(&question.ids).take_while(|(a, b)| a == b).count();
            if side == TruncationSide::Left && common + self.end.len() < limit {
                ids.drain(common..common + dropped);
                asked = common;
            } else {
                // The end never takes more than the room: there are at least two tokens more (`TextEncoder::new`).
                ids.truncate(limit.saturating_sub(self.end.len()));
                of_query = asked.saturating_sub(ids.len()).min(dropped);
                ids.extend(&self.end);
            }
        }
        let cut = Cut {
            query: of_query.max(usize::from(question.partial)),
            document: (dropped - of_query).max(usize::from(partial)),
            at_least: partial || question.partial,
        };
        (tokens(ids, asked), cut)
    }
}

/// Tokens of which the first `of_query` come before the document.
fn tokens(ids: Vec<u32>, of_query: usize) -> Tokens {
    Tokens { type_ids: vec![0; ids.len()], of_query: of_query.min(ids.len()), ids, ..Tokens::default() }
}

/// The tokens of all but the last words of a long question, and those words; nothing and all words of one that is not long,
/// or that has other tokens in two parts.
fn split(tokenizer: &Tokenizer, question: String, ids: &[u32]) -> Result<(Option<Vec<u32>>, String)> {
    if question.len() > LONG_QUESTION {
        let before = &question[..question.floor_char_boundary(question.len() - LAST_WORDS)];
        if let Some(at) = before.rfind(char::is_whitespace).filter(|at| *at > 0) {
            let (first, last) = question.split_at(at);
            let head = encode(tokenizer, first, false)?;
            if ids.strip_prefix(head.as_slice()) == Some(&encode(tokenizer, last, false)?) {
                return Ok((Some(head), last.to_owned()));
            }
        }
    }
    Ok((None, question))
}

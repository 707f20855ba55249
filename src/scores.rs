//! Logits of pairs → the scores of documents, and what was left out of them.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Processed;
use crate::ranking::{Activation, TruncatedDocument, finite};
use crate::scoring::{PairScore, PairScores};
use crate::text::{Cut, TextEncoder};
use crate::windows::{LongDocuments, Plan, Window, combine};

/// A text's logits and what was cut off it.
type Read = (Vec<f32>, Cut);

/// How a reranker makes scores.
pub(crate) struct Scores<'a> {
    pub(crate) encoder: &'a TextEncoder,
    pub(crate) activation: Activation,
    /// Which of the logits is the relevance.
    pub(crate) label: usize,
    pub(crate) long_documents: LongDocuments,
}

impl Scores<'_> {
    /// The scores in the order of the documents, which were read by this plan; `of_query` was left out of the query
    /// for all of them.
    pub(crate) fn collect<S: AsRef<str>>(
        &self,
        processed: &Processed<Vec<f32>>,
        plan: &Plan,
        documents: &[S],
        of_query: Cut,
    ) -> PairScores {
        let mut scores = PairScores::default();
        for (index, ((outcomes, windows), document)) in plan.group(processed.iter()).zip(documents).enumerate() {
            let read = outcomes.into_iter().map(|outcome| outcome.as_ref().map_err(Clone::clone));
            scores.scores.push(match read.collect::<Result<Vec<&Read>>>() {
                Ok(read) => {
                    let mut cut = self.left_out(&read, windows, document.as_ref());
                    cut.query += of_query.query;
                    cut.at_least |= of_query.at_least;
                    scores.truncated.extend(TruncatedDocument::of(cut, index));
                    self.of_document(&read, windows, index)
                }
                Err(error) => Err(name_document(error, index)),
            });
        }
        scores
    }

    /// What was left out of a document of which these parts were read.
    fn left_out(&self, read: &[&Read], windows: &[Range<usize>], document: &str) -> Cut {
        let mut cut = Cut::default();
        for (_, of_window) in read {
            cut.query = cut.query.max(of_window.query);
            cut.document += of_window.document;
            cut.at_least |= of_window.at_least;
        }
        let rest = windows.last().map_or("", |last| document.get(last.end..).unwrap_or_default());
        if !rest.trim().is_empty() {
            // A text that cannot be counted has at least one token.
            let (tokens, at_least) = self.encoder.count(rest).unwrap_or((1, true));
            cut.document += tokens;
            cut.at_least |= at_least;
        }
        cut
    }

    /// A document's score, of the logits of the parts in which it was read.
    fn of_document(&self, read: &[&Read], windows: &[Range<usize>], index: usize) -> Result<PairScore> {
        let mut of_windows = Vec::with_capacity(read.len());
        for (logits, _) in read {
            of_windows.push((logits.as_slice(), self.of_pair(logits, index)?));
        }
        let lost = || name_document(Error::new(ErrorKind::Inference, "it was not run"), index);
        let (LongDocuments::Windows(options), [_, ..]) = (self.long_documents, windows) else {
            return of_windows.first().map(|(_, score)| *score).ok_or_else(lost);
        };
        let (best, logits) = combine(options.combine, &of_windows).ok_or_else(lost)?;
        let range = windows.get(best).ok_or_else(lost)?;
        let window = Window { number: best + 1, of: windows.len(), start: range.start, end: range.end };
        Ok(PairScore { window: Some(window), ..self.of_pair(&logits, index)? })
    }

    fn of_pair(&self, logits: &[f32], index: usize) -> Result<PairScore> {
        for logit in logits {
            finite(*logit, index)?;
        }
        Ok(PairScore::new(logits[self.label], self.activation.score(logits, self.label)))
    }
}

fn name_document(error: Error, index: usize) -> Error {
    Error::new(error.kind(), format!("document {index} (counted from 0) could not be scored"))
        .with_document(index)
        .with_source(error)
}

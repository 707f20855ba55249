//! Long documents: what is done with a document that has more tokens than the model takes.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::scoring::PairScore;

/// What is done with a document that does not fit beside the query.
///
/// ```
/// use crossrank::{LongDocuments, Reranker, WindowOptions};
///
/// let reranker = Reranker::builder().long_documents(LongDocuments::Windows(WindowOptions::new())).build()?;
/// let long = format!("{} Paris is the capital of France.", "Bread is baked in an oven. ".repeat(500));
/// let ranking = reranker.rerank("What is the capital of France?", &["Berlin is a city.", &long])?;
/// assert_eq!(ranking.results()[0].index, 1);
/// assert!(ranking.results()[0].window.is_some_and(|window| window.number == window.of));
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LongDocuments {
    /// It is cut, and reported as such.
    #[default]
    Truncate,
    /// It is read in several parts that fit, each beside the whole query.
    Windows(WindowOptions),
}

/// How a long document is read in windows.
///
/// A window ends at the end of a sentence if there is one in its last quarter, else between two words. The next one begins
/// a little before that end, at the beginning of a sentence or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowOptions {
    pub(crate) combine: Combine,
    pub(crate) overlap: usize,
    pub(crate) most: usize,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self { combine: Combine::Max, overlap: 64, most: usize::MAX }
    }
}

impl WindowOptions {
    /// The best window's score counts, and windows overlap by at most 64 tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the windows' scores become one.
    #[must_use]
    pub fn combine(mut self, combine: Combine) -> Self {
        self.combine = combine;
        self
    }

    /// The most tokens that a window has in common with the one before it: never more than half of a window.
    #[must_use]
    pub fn overlap(mut self, tokens: usize) -> Self {
        self.overlap = tokens;
        self
    }

    /// The most windows of one document. What follows them is left out, and reported as cut. 0 counts as 1.
    #[must_use]
    pub fn most(mut self, windows: usize) -> Self {
        self.most = windows.max(1);
        self
    }
}

impl fmt::Display for LongDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LongDocuments::Truncate => f.write_str("truncate"),
            LongDocuments::Windows(options) => {
                write!(f, "windows ({}, overlap {})", options.combine, options.overlap)
            }
        }
    }
}

/// How the scores of a document's windows become its score: MaxP, MeanP and FirstP of Dai and Callan, "Deeper Text
/// Understanding for IR with Contextual Neural Language Modeling", 2019.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Combine {
    /// The best window's.
    #[default]
    Max,
    /// The mean of the windows' logits, of which the score is made.
    Mean,
    /// The first window's; the others are not read, and are reported as cut.
    First,
}

impl fmt::Display for Combine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Combine::Max => "max",
            Combine::Mean => "mean",
            Combine::First => "first",
        })
    }
}

impl FromStr for Combine {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "max" => Ok(Combine::Max),
            "mean" => Ok(Combine::Mean),
            "first" => Ok(Combine::First),
            _ => {
                let message = format!("`{name}` is not a way to combine windows; max, mean and first are");
                Err(Error::new(ErrorKind::Options, message))
            }
        }
    }
}

/// The part of a long document whose score was the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// Its number among the document's windows, counted from 1.
    pub number: usize,
    /// The number of windows that were read.
    pub of: usize,
    /// Its first byte in the document.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
}

/// Which windows of a flat list belong to which document.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For each document, the byte ranges of its windows; none where it is read as it is.
    documents: Vec<Vec<Range<usize>>>,
}

/// The index of the best of a document's windows, and the logits that count.
pub(crate) fn combine(combine: Combine, windows: &[(&[f32], PairScore)]) -> Option<(usize, Vec<f32>)> {
    let falling = |a: &PairScore, b: &PairScore| a.score.total_cmp(&b.score).then(a.logit.total_cmp(&b.logit));
    // Of equal windows the first is the best.
    let best = (0..windows.len()).rev().max_by(|a, b| falling(&windows[*a].1, &windows[*b].1))?;
    let logits = match combine {
        Combine::Max => windows[best].0.to_vec(),
        Combine::First => windows[0].0.to_vec(),
        Combine::Mean => {
            let sum = |label: usize| windows.iter().map(|(logits, _)| f64::from(logits[label])).sum::<f64>();
            (0..windows[best].0.len()).map(|label| (sum(label) / windows.len() as f64) as f32).collect()
        }
    };
    Some((best, logits))
}

impl Plan {
    /// For documents that have these windows.
    pub(crate) fn new(documents: Vec<Vec<Range<usize>>>) -> Self {
        Self { documents }
    }

    /// For documents that are read as they are.
    pub(crate) fn whole(documents: usize) -> Self {
        Self { documents: vec![Vec::new(); documents] }
    }

    /// The texts to run: documents, or their windows.
    pub(crate) fn texts<'a, S: AsRef<str>>(&self, documents: &'a [S]) -> Vec<&'a str> {
        let texts = documents.iter().zip(&self.documents).flat_map(|(document, windows)| {
            let text = document.as_ref();
            let whole = windows.is_empty().then_some(text);
            // The ranges are ones of this text, at borders of its characters.
            whole.into_iter().chain(windows.iter().map(move |window| text.get(window.clone()).unwrap_or_default()))
        });
        texts.collect()
    }

    /// Takes the outcomes of the texts apart again: for each document, those of its windows and the windows' ranges.
    pub(crate) fn group<T>(
        &self,
        mut outcomes: impl Iterator<Item = T>,
    ) -> impl Iterator<Item = (Vec<T>, &[Range<usize>])> {
        let group = move |windows| (outcomes.by_ref().take(<[_]>::len(windows).max(1)).collect(), windows);
        self.documents.iter().map(Vec::as_slice).map(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_the_mean_and_the_first() {
        let logits = [[1.0f32], [4.0], [4.0], [-1.0]];
        let windows: Vec<_> = logits.iter().map(|logit| (&logit[..], PairScore::new(logit[0], logit[0]))).collect();
        assert_eq!(combine(Combine::Max, &windows), Some((1, vec![4.0])));
        assert_eq!(combine(Combine::Mean, &windows), Some((1, vec![2.0])));
        assert_eq!(combine(Combine::First, &windows), Some((1, vec![1.0])));
        assert_eq!(combine(Combine::Max, &[]), None);
    }

    #[test]
    fn outcomes_find_their_documents() {
        let plan = Plan::new(vec![vec![], vec![0..3, 2..6], vec![]]);
        let texts = plan.texts(&["a", "abcdef", "b"]);
        assert_eq!(texts, ["a", "abc", "cdef", "b"]);
        let groups: Vec<_> =
            plan.group(texts.into_iter()).map(|(texts, windows)| (texts.len(), windows.len())).collect();
        assert_eq!(groups, [(1, 0), (2, 2), (1, 0)]);
    }
}

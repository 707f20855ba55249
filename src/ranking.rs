//! Scores → an ordered result: activation, order, ties, `top_n`, threshold.

use std::cmp::Ordering;
use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::scoring::{PairScore, PairScores};
use crate::text::Cut;
use crate::windows::Window;

/// What turns a model's logits into a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `1 / (1 + e^-x)` of the one logit: a score between 0 and 1.
    Sigmoid,
    /// The logit itself.
    Identity,
    /// Softmax over the labels' logits: the probability of the label that means "relevant".
    Softmax,
}

impl Activation {
    /// The score of the label at index `label`.
    pub(crate) fn score(self, logits: &[f32], label: usize) -> f32 {
        match self {
            Activation::Sigmoid => 1.0 / (1.0 + (-logits[label]).exp()),
            Activation::Identity => logits[label],
            Activation::Softmax => {
                let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
                (logits[label] - greatest).exp() / sum
            }
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::Sigmoid => "sigmoid",
            Activation::Identity => "identity",
            Activation::Softmax => "softmax",
        })
    }
}

/// How scores become a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct RankOptions {
    pub(crate) top_n: Option<usize>,
    pub(crate) threshold: Option<f32>,
    pub(crate) return_documents: bool,
    pub(crate) raw_scores: bool,
    pub(crate) keep_going: bool,
}

impl RankOptions {
    /// All documents, by falling score, without their texts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the `n` best. More than there are documents is all of them; 0 is none.
    #[must_use]
    pub fn top_n(mut self, n: usize) -> Self {
        self.top_n = Some(n);
        self
    }

    /// Only documents with at least this score (raw scores, if those are asked for).
    #[must_use]
    pub fn threshold(mut self, score: f32) -> Self {
        self.threshold = Some(score);
        self
    }

    /// Whether each result carries its document's text.
    #[must_use]
    pub fn return_documents(mut self, yes: bool) -> Self {
        self.return_documents = yes;
        self
    }

    /// Whether scores are raw logits instead of the activation's output.
    #[must_use]
    pub fn raw_scores(mut self, yes: bool) -> Self {
        self.raw_scores = yes;
        self
    }

    /// Whether documents that cannot be scored are left out and listed in [`Ranking::failures`]. By default the
    /// first one is an error.
    #[must_use]
    pub fn keep_going(mut self, yes: bool) -> Self {
        self.keep_going = yes;
        self
    }
}

/// One document of a ranking.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RankedDocument {
    /// Its index in the caller's list.
    pub index: usize,
    /// Its score.
    pub score: f32,
    /// Its text, if [`RankOptions::return_documents`] asked for it.
    pub document: Option<String>,
    /// The part of a long document that had the greatest score, where it was read in windows
    /// ([`RerankerBuilder::long_documents`](crate::RerankerBuilder::long_documents)).
    pub window: Option<Window>,
}

/// A document that was cut to fit the model's maximum length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TruncatedDocument {
    /// Its index in the caller's list.
    pub index: usize,
    /// Tokens of the document that the model did not see.
    pub dropped_tokens: usize,
    /// Tokens of the query that the model did not see beside this document.
    pub dropped_query_tokens: usize,
    /// Whether the counts are lower bounds, because a text was so long that its end was not tokenised.
    pub at_least: bool,
}

impl TruncatedDocument {
    /// A document that lost tokens, for [`CrossEncoder`](crate::CrossEncoder)s of your own.
    pub fn new(index: usize, dropped_tokens: usize) -> Self {
        Self { index, dropped_tokens, dropped_query_tokens: 0, at_least: false }
    }

    /// The report of a cut, if there was one.
    pub(crate) fn of(cut: Cut, index: usize) -> Option<Self> {
        (cut.query + cut.document > 0).then_some(Self {
            index,
            dropped_tokens: cut.document,
            dropped_query_tokens: cut.query,
            at_least: cut.at_least,
        })
    }
}

/// Documents by falling score.
///
/// Equal scores are ordered by their logits (near 1, a sigmoid makes unequal logits equal), and then keep the caller's
/// order. It is a list of [`RankedDocument`]s with a report beside it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Ranking {
    results: Vec<RankedDocument>,
    truncated: Vec<TruncatedDocument>,
    failures: Vec<Error>,
}

impl Ranking {
    /// Ranks documents by their scores: the pure part of reranking, for scores from anywhere.
    ///
    /// A score that is not finite is an error of kind [`NonFinite`](ErrorKind::NonFinite) that names the document,
    /// or, with [`RankOptions::keep_going`], a failure beside the ranking of the others. `documents` are the texts,
    /// for [`RankOptions::return_documents`].
    ///
    /// ```
    /// use crossrank::{RankOptions, Ranking};
    ///
    /// let ranking = Ranking::from_scores(&[0.2, 0.9, 0.2], &["a", "b", "c"], &RankOptions::new().top_n(2))?;
    /// let order: Vec<usize> = ranking.iter().map(|result| result.index).collect();
    /// assert_eq!(order, [1, 0]);
    /// # Ok::<(), crossrank::Error>(())
    /// ```
    ///
    /// Not as many documents as scores is an error of kind [`Options`](ErrorKind::Options).
    pub fn from_scores<S: AsRef<str>>(scores: &[f32], documents: &[S], options: &RankOptions) -> Result<Self> {
        if scores.len() != documents.len() {
            let message = format!("{} scores for {} documents: one for each is needed", scores.len(), documents.len());
            return Err(Error::new(ErrorKind::Options, message));
        }
        let scores = scores.iter().enumerate();
        let scores = scores.map(|(index, score)| Ok(PairScore::new(*score, finite(*score, index)?))).collect();
        Self::build(PairScores::new(scores), documents, options)
    }

    /// Ranks the scores of a cross-encoder. There must be one for each document.
    pub(crate) fn build<S: AsRef<str>>(scores: PairScores, documents: &[S], options: &RankOptions) -> Result<Self> {
        let PairScores { scores, truncated } = scores;
        let mut ranked = Vec::with_capacity(scores.len());
        let mut failures = Vec::new();
        for (index, score) in scores.into_iter().enumerate() {
            match score {
                Ok(pair) => ranked.push((index, pair)),
                Err(error) if options.keep_going => failures.push(error),
                Err(error) => return Err(error),
            }
        }
        let shown = |pair: &PairScore| if options.raw_scores { pair.logit } else { pair.score };
        if let Some(threshold) = options.threshold {
            ranked.retain(|(_, pair)| shown(pair) >= threshold);
        }
        // The sort is stable, and -0.0 equals 0.0: ties keep the caller's order.
        let falling = |a: f32, b: f32| b.partial_cmp(&a).unwrap_or(Ordering::Equal);
        ranked.sort_by(|(_, a), (_, b)| falling(shown(a), shown(b)).then(falling(a.logit, b.logit)));
        ranked.truncate(options.top_n.unwrap_or(usize::MAX));
        let result = |(index, pair): (usize, PairScore)| RankedDocument {
            index,
            score: shown(&pair),
            document: None,
            window: pair.window,
        };
        let mut results: Vec<RankedDocument> = ranked.into_iter().map(result).collect();
        if options.return_documents {
            for result in &mut results {
                result.document = Some(documents[result.index].as_ref().to_owned());
            }
        }
        Ok(Self { results, truncated, failures })
    }

    /// The results, best first.
    pub fn results(&self) -> &[RankedDocument] {
        &self.results
    }

    /// The results, best first, without the report.
    pub fn into_results(self) -> Vec<RankedDocument> {
        self.results
    }

    /// The documents that were cut to fit the model, in the caller's order, whether or not they are in the results.
    pub fn truncated(&self) -> &[TruncatedDocument] {
        &self.truncated
    }

    /// The documents that could not be scored, if [`RankOptions::keep_going`] asked to leave them out.
    /// [`Error::document`] has the index.
    pub fn failures(&self) -> &[Error] {
        &self.failures
    }

    pub(crate) fn into_failures(self) -> Vec<Error> {
        self.failures
    }

    /// The number of results.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Whether there is no result.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// The results, best first.
    pub fn iter(&self) -> std::slice::Iter<'_, RankedDocument> {
        self.results.iter()
    }
}

impl<'a> IntoIterator for &'a Ranking {
    type Item = &'a RankedDocument;
    type IntoIter = std::slice::Iter<'a, RankedDocument>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.iter()
    }
}

impl IntoIterator for Ranking {
    type Item = RankedDocument;
    type IntoIter = std::vec::IntoIter<RankedDocument>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}

/// The score, or an error that names the document.
pub(crate) fn finite(score: f32, index: usize) -> Result<f32> {
    if score.is_finite() {
        return Ok(score);
    }
    Err(Error::new(
        ErrorKind::NonFinite,
        format!(
            "the model gave document {index} (counted from 0) the score {score}, which is not a finite number; check \
             the document's text, and the model if others fail too"
        ),
    )
    .with_document(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(scores: &[f32], options: &RankOptions) -> Vec<usize> {
        let documents = vec![""; scores.len()];
        Ranking::from_scores(scores, &documents, options).unwrap().iter().map(|result| result.index).collect()
    }

    #[test]
    fn ties_keep_the_callers_order_and_zero_has_no_sign() {
        assert_eq!(order(&[0.0, -0.0, 1.0, 0.0], &RankOptions::new()), [2, 0, 1, 3]);
    }

    #[test]
    fn saturated_scores_are_ordered_by_their_logits() {
        let pair = |logit: f32| Ok(PairScore::new(logit, Activation::Sigmoid.score(&[logit], 0)));
        let scores = PairScores::new(vec![pair(20.0), pair(30.0), pair(20.0)]);
        let ranking = Ranking::build(scores, &[""; 3], &RankOptions::new()).unwrap();
        let order: Vec<usize> = ranking.iter().map(|result| result.index).collect();
        assert_eq!((order, ranking.results()[1].score), (vec![1, 0, 2], 1.0));
    }

    #[test]
    fn top_n_is_clamped_and_threshold_is_inclusive() {
        assert_eq!(order(&[0.1, 0.2], &RankOptions::new().top_n(9)), [1, 0]);
        assert_eq!(order(&[0.1, 0.2], &RankOptions::new().top_n(0)), [0usize; 0]);
        assert_eq!(order(&[0.1, 0.5, 0.4], &RankOptions::new().threshold(0.4)), [1, 2]);
        assert!(Ranking::from_scores(&[], &[""; 0], &RankOptions::new()).unwrap().is_empty());
    }

    #[test]
    fn a_score_that_is_not_finite_names_the_document() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = Ranking::from_scores(&[0.5, bad], &["a", "b"], &RankOptions::new()).unwrap_err();
            assert_eq!((error.kind(), error.document()), (ErrorKind::NonFinite, Some(1)));
            let options = RankOptions::new().keep_going(true);
            let ranking = Ranking::from_scores(&[0.5, bad], &["a", "b"], &options).unwrap();
            assert_eq!((ranking.len(), ranking.failures().len()), (1, 1));
        }
    }

    #[test]
    fn activations() {
        assert_eq!(Activation::Sigmoid.score(&[0.0], 0), 0.5);
        assert_eq!(Activation::Sigmoid.score(&[-1000.0], 0), 0.0);
        assert_eq!(Activation::Identity.score(&[-3.25], 0), -3.25);
        let softmax = Activation::Softmax.score(&[1000.0, 1001.0], 1);
        assert!((softmax - 0.731_058_6).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn a_ranking_is_a_sorted_permutation(scores in proptest::collection::vec(-10.0f32..10.0, 0..50)) {
            let found = order(&scores, &RankOptions::new());
            for pair in found.windows(2) {
                let (a, b) = (scores[pair[0]], scores[pair[1]]);
                prop_assert!(a > b || (a == b && pair[0] < pair[1]));
            }
            let mut sorted = found;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..scores.len()).collect::<Vec<_>>());
        }
    }
}

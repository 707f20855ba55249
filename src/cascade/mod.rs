//! A cascade: a bi-encoder looks at all documents, and a cross-encoder reads the best of them.

mod candidates;

use std::cmp::Ordering;

pub use candidates::Candidates;

use crate::embeddings::Embeddings;
use crate::error::{Error, ErrorKind, Result};
use crate::ranking::{RankOptions, Ranking, TruncatedDocument, finite};
use crate::scoring::{BiEncoder, CrossEncoder, PairScore, PairScores};
use crate::similarity::{Similarities, embed_query};
use crate::windows::Window;

/// A cross-encoder behind a bi-encoder: all documents get a similarity, the most similar ones are read together with
/// the query and ranked by that.
///
/// It is made of any two models, owned, borrowed or in an `Arc`, and used through `&self` from any number of threads.
///
/// ```
/// use crossrank::{Cascade, CascadeOptions, Embedder, RankOptions, Reranker};
///
/// let cascade = Cascade::new(Embedder::bundled()?, Reranker::bundled()?);
/// let documents = ["Bread is baked in an oven.", "Paris is the capital of France.", "France borders Spain."];
/// let options = CascadeOptions::new().candidates(2).ranking(RankOptions::new().raw_scores(true));
/// let ranking = cascade.rerank_with("What is the capital of France?", &documents, &options)?;
/// let [first, second, third] = ranking.results() else { panic!("three documents are three results") };
/// assert_eq!((first.index, third.index), (1, 0));
/// assert!(first.score > second.score);
/// assert_eq!(third.score, None, "the third was not read by the cross-encoder");
/// # Ok::<(), crossrank::Error>(())
/// ```
///
/// # When it pays
///
/// The cross-encoder's work falls from all documents to the candidates, but the bi-encoder's comes on top. It pays where
/// embeddings cost less than pairs: with a smaller bi-encoder, or, above all, with embeddings that were made once for
/// many queries ([`rerank_with_embeddings`](Self::rerank_with_embeddings)). With two models of one size and embeddings
/// made for one query, it does not.
///
/// What it can lose is a relevant document that the bi-encoder does not put among the candidates. The program
/// `examples/cascade_loss.rs` measures that on a collection of yours.
#[derive(Debug, Clone, Copy)]
pub struct Cascade<B, C> {
    bi_encoder: B,
    cross_encoder: C,
}

/// How a cascade chooses candidates, and how scores become its ranking.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct CascadeOptions {
    candidates: Candidates,
    ranking: RankOptions,
}

impl CascadeOptions {
    /// The default [`Candidates`] (10 to 50, as the gap says), and all documents in the results.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many documents the cross-encoder reads: a number, or a rule.
    #[must_use]
    pub fn candidates(mut self, candidates: impl Into<Candidates>) -> Self {
        self.candidates = candidates.into();
        self
    }

    /// How scores become a ranking.
    ///
    /// - `top_n` counts all results. If it exceeds the candidates, documents that only have a similarity follow them.
    /// - `threshold` is one of cross-encoder scores: documents that were not cross-encoded do not reach it and are left
    ///   out.
    /// - `keep_going` leaves out documents that either model cannot process. Another document does not take their place
    ///   among the candidates if the cross-encoder is the one that failed.
    #[must_use]
    pub fn ranking(mut self, options: RankOptions) -> Self {
        self.ranking = options;
        self
    }
}

/// One document of a cascade's ranking.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CascadedDocument {
    /// Its index in the caller's list.
    pub index: usize,
    /// The cross-encoder's score (its logit, with [`RankOptions::raw_scores`]); none if it was not cross-encoded.
    pub score: Option<f32>,
    /// The cross-encoder's logit; none if it was not cross-encoded.
    pub logit: Option<f32>,
    /// The cosine similarity of its embedding with the query's.
    pub similarity: f32,
    /// Its text, if [`RankOptions::return_documents`] asked for it.
    pub document: Option<String>,
    /// The part of a long document that had the greatest score, if the cross-encoder read it in windows.
    pub window: Option<Window>,
}

/// The result of a cascade: first the documents that were cross-encoded, by falling score, as a
/// [`Ranking`] of them alone has them; then the others, by falling similarity. Ties keep the caller's order.
///
/// A cross-encoder's score and a similarity are not on one scale: the two parts are never mixed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CascadeRanking {
    results: Vec<CascadedDocument>,
    candidates: usize,
    truncated: Vec<TruncatedDocument>,
    truncated_embeddings: Vec<TruncatedDocument>,
    failures: Vec<Error>,
}

impl<B: BiEncoder, C: CrossEncoder> Cascade<B, C> {
    /// A cascade of two models.
    pub fn new(bi_encoder: B, cross_encoder: C) -> Self {
        Self { bi_encoder, cross_encoder }
    }

    /// The model that sees all documents.
    pub fn bi_encoder(&self) -> &B {
        &self.bi_encoder
    }

    /// The model that sees the candidates.
    pub fn cross_encoder(&self) -> &C {
        &self.cross_encoder
    }

    /// Ranks the documents with the default options.
    ///
    /// # Errors
    ///
    /// As for [`rerank_with`](Self::rerank_with).
    pub fn rerank<S: AsRef<str>>(&self, query: &str, documents: &[S]) -> Result<CascadeRanking> {
        self.rerank_with(query, documents, &CascadeOptions::new())
    }

    /// Ranks the documents. All of them are embedded first, also if all are candidates: the result has both scores.
    ///
    /// No documents give an empty ranking.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a number of candidates that makes no sense; [`ErrorKind::NonFinite`] and
    /// [`ErrorKind::Inference`] if a model fails on a document ([`Error::document`] is its index in `documents`), unless
    /// [`RankOptions::keep_going`] asks to leave it out, or on the query.
    pub fn rerank_with<S: AsRef<str>>(
        &self,
        query: &str,
        documents: &[S],
        options: &CascadeOptions,
    ) -> Result<CascadeRanking> {
        options.candidates.check()?;
        let documents: Vec<&str> = documents.iter().map(AsRef::as_ref).collect();
        if documents.is_empty() {
            return Ok(CascadeRanking::default());
        }
        let similarities = Similarities::embed(&self.bi_encoder, query, &documents, options.ranking.keep_going)?;
        self.rank(query, &documents, similarities, options)
    }

    /// Ranks documents whose embeddings are there already: the bi-encoder runs on the query alone.
    ///
    /// The embeddings are those that [`BiEncoder::embed_documents`] of the same model gave, or rows of them, one for
    /// each document and in their order.
    ///
    /// ```
    /// use crossrank::{Cascade, CascadeOptions, Embedder, Reranker};
    ///
    /// let cascade = Cascade::new(Embedder::bundled()?, Reranker::bundled()?);
    /// let documents = ["Bread is baked in an oven.", "Paris is the capital of France.", "France borders Spain."];
    /// let embeddings = cascade.bi_encoder().embed_documents(&documents)?; // once
    /// let options = CascadeOptions::new().candidates(1);
    /// for (query, best) in [("How is bread made?", 0), ("capital of France", 1)] {
    ///     let ranking = cascade.rerank_with_embeddings(query, &documents, &embeddings, &options)?;
    ///     assert_eq!((ranking.results()[0].index, ranking.candidates()), (best, 1));
    /// }
    /// # Ok::<(), crossrank::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`rerank_with`](Self::rerank_with); and [`ErrorKind::Options`] if there is not one embedding for each
    /// document, or if they have not as many dimensions as the query's.
    pub fn rerank_with_embeddings<S: AsRef<str>>(
        &self,
        query: &str,
        documents: &[S],
        embeddings: &Embeddings,
        options: &CascadeOptions,
    ) -> Result<CascadeRanking> {
        options.candidates.check()?;
        let wrong = |message| Err(Error::new(ErrorKind::Options, message));
        if embeddings.len() != documents.len() {
            return wrong(format!(
                "{} embeddings for {} documents: one for each is needed",
                embeddings.len(),
                documents.len()
            ));
        }
        let documents: Vec<&str> = documents.iter().map(AsRef::as_ref).collect();
        if documents.is_empty() {
            return Ok(CascadeRanking::default());
        }
        let of_query = embed_query(&self.bi_encoder, query)?;
        if of_query.len() != embeddings.dimensions() {
            return wrong(format!(
                "the documents' embeddings have {} dimensions, and {} gives the query {}: embed both with the same model",
                embeddings.dimensions(),
                self.bi_encoder.name(),
                of_query.len()
            ));
        }
        self.rank(query, &documents, Similarities::with(&of_query, embeddings), options)
    }

    fn rank(
        &self,
        query: &str,
        documents: &[&str],
        similarities: Similarities,
        options: &CascadeOptions,
    ) -> Result<CascadeRanking> {
        let RankOptions { keep_going, return_documents, threshold, top_n, .. } = options.ranking;
        let mut failures = Vec::new();
        let mut by_similarity = Vec::with_capacity(documents.len());
        for (index, similarity) in similarities.of.into_iter().enumerate() {
            match similarity {
                Ok(similarity) => by_similarity.push((index, similarity)),
                Err(error) if keep_going => failures.push(error),
                Err(error) => return Err(error),
            }
        }
        // The sort is stable: ties keep the caller's order.
        by_similarity.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
        let falling: Vec<f32> = by_similarity.iter().map(|(_, similarity)| *similarity).collect();
        let others = by_similarity.split_off(options.candidates.choose(&falling));
        // The caller's order, for the ties of the cross-encoder's scores.
        let mut candidates = by_similarity;
        candidates.sort_unstable_by_key(|(index, _)| *index);

        let texts: Vec<&str> = candidates.iter().map(|(index, _)| documents[*index]).collect();
        // If the bi-encoder could embed none, there is nothing to read.
        let pairs = if texts.is_empty() { PairScores::default() } else { self.score(query, &texts, &candidates)? };
        let logits: Vec<Option<f32>> = pairs.scores.iter().map(|pair| pair.as_ref().ok().map(|p| p.logit)).collect();
        // Its results, and the report of what was cut, count the candidates.
        let ranking = Ranking::build(pairs, &texts, &options.ranking.return_documents(false))?;
        let text = |index: usize| return_documents.then(|| documents[index].to_owned());
        let read = ranking.iter().map(|result| {
            let (index, similarity) = candidates[result.index];
            let (score, logit) = (Some(result.score), logits[result.index]);
            CascadedDocument { index, score, logit, similarity, document: text(index), window: result.window }
        });
        let unread = others.into_iter().filter(|_| threshold.is_none()).map(|(index, similarity)| CascadedDocument {
            index,
            score: None,
            logit: None,
            similarity,
            document: text(index),
            window: None,
        });
        let results = read.chain(unread).take(top_n.unwrap_or(usize::MAX)).collect();
        let truncated = ranking.truncated().iter();
        let truncated = truncated.map(|cut| TruncatedDocument { index: candidates[cut.index].0, ..*cut }).collect();
        failures.extend(ranking.into_failures());
        failures.sort_by_key(Error::document);
        let candidates = candidates.len();
        Ok(CascadeRanking { results, candidates, truncated, truncated_embeddings: similarities.truncated, failures })
    }

    /// The candidates' scores, in their order, with errors that name the caller's documents.
    fn score(&self, query: &str, texts: &[&str], candidates: &[(usize, f32)]) -> Result<PairScores> {
        let rename = |error: Error, candidate: usize| {
            let index = candidates[candidate].0;
            if candidate == index {
                return error.with_document(index);
            }
            // What lies beneath counts the texts that the cross-encoder saw.
            let message =
                format!("document {index} (counted from 0), as document {candidate} of the candidates, has no score");
            Error::new(error.kind(), message).with_document(index).with_source(error)
        };
        let mut pairs = self.cross_encoder.score(query, texts).map_err(|error| match error.document() {
            Some(candidate) if candidate < candidates.len() => rename(error, candidate),
            _ => error,
        })?;
        pairs.expect_one_for_each(texts.len())?;
        pairs.truncated.retain(|cut| cut.index < texts.len());
        let score = |(candidate, pair): (usize, Result<PairScore>)| {
            let pair = pair.map_err(|error| rename(error, candidate))?;
            let index = candidates[candidate].0;
            finite(pair.logit, index)?;
            finite(pair.score, index)?;
            Ok(pair)
        };
        pairs.scores = pairs.scores.into_iter().enumerate().map(score).collect();
        Ok(pairs)
    }
}

impl CascadeRanking {
    /// The results: the cross-encoded documents, best first, then the others, most similar first.
    pub fn results(&self) -> &[CascadedDocument] {
        &self.results
    }

    /// The results without the report.
    pub fn into_results(self) -> Vec<CascadedDocument> {
        self.results
    }

    /// How many documents were given to the cross-encoder, whether or not they are in the results.
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    /// The candidates that were cut to fit the cross-encoder, in the caller's order, whether or not they are in the
    /// results.
    pub fn truncated(&self) -> &[TruncatedDocument] {
        &self.truncated
    }

    /// The documents that were cut to fit the bi-encoder, in the caller's order, whether or not they are in the results.
    pub fn truncated_embeddings(&self) -> &[TruncatedDocument] {
        &self.truncated_embeddings
    }

    /// The documents that one of the models could not process, in the caller's order, if [`RankOptions::keep_going`]
    /// asked to leave them out. [`Error::document`] has the index.
    pub fn failures(&self) -> &[Error] {
        &self.failures
    }

    /// The number of results.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Whether there is no result.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// The results, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, CascadedDocument> {
        self.results.iter()
    }
}

impl<'a> IntoIterator for &'a CascadeRanking {
    type Item = &'a CascadedDocument;
    type IntoIter = std::slice::Iter<'a, CascadedDocument>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.iter()
    }
}

impl IntoIterator for CascadeRanking {
    type Item = CascadedDocument;
    type IntoIter = std::vec::IntoIter<CascadedDocument>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}

#[cfg(test)]
mod tests;

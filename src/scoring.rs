//! The two small traits behind which models stand.
//!
//! Ranking and comparison see these alone, so that they can be tested with deterministic stand-ins, and so that a
//! program can put a model of its own beside the ones of this crate. [`Reranker`](crate::Reranker) and
//! [`Embedder`](crate::Embedder) are the implementations that run ONNX models. A reference, a `Box` and an `Arc` of a
//! model are models too.

use std::sync::Arc;

use crate::embeddings::Embeddings;
use crate::error::{Error, ErrorKind, Result};
use crate::ranking::TruncatedDocument;
use crate::windows::Window;

/// A model that reads a query and a document together and gives one relevance score.
pub trait CrossEncoder: Send + Sync {
    /// What people call the model.
    fn name(&self) -> String;

    /// Scores each document for the query, in the order of the documents.
    ///
    /// A document that cannot be scored has an `Err` in its place; the outer error is for what loses all of them.
    fn score(&self, query: &str, documents: &[&str]) -> Result<PairScores>;
}

/// A model that reads each text alone and gives its embedding.
pub trait BiEncoder: Send + Sync {
    /// What people call the model.
    fn name(&self) -> String;

    /// The embedding of a query.
    fn embed_query(&self, query: &str) -> Result<Vec<f32>>;

    /// The embeddings of documents, in their order. An error names the document that it is about, where it is about one
    /// ([`Error::document`](crate::Error::document)).
    fn embed_documents(&self, documents: &[&str]) -> Result<Embeddings>;
}

/// The score of one pair.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PairScore {
    /// The raw output of the model's head.
    pub logit: f32,
    /// The score after the activation.
    pub score: f32,
    /// The part of a long document that had the greatest score, where it was read in windows.
    pub window: Option<Window>,
}

impl PairScore {
    /// A score and the logit that it comes from.
    pub fn new(logit: f32, score: f32) -> Self {
        Self { logit, score, window: None }
    }
}

/// The scores of one query with several documents.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PairScores {
    /// One for each document, in the caller's order.
    pub scores: Vec<Result<PairScore>>,
    /// The documents that were cut to fit the model, in the caller's order.
    pub truncated: Vec<TruncatedDocument>,
}

impl PairScores {
    /// Scores of documents that were not cut.
    pub fn new(scores: Vec<Result<PairScore>>) -> Self {
        Self { scores, truncated: Vec::new() }
    }

    /// Refuses scores that cannot be matched with their documents: a model of somebody else's may miscount.
    pub(crate) fn expect_one_for_each(&self, documents: usize) -> Result<()> {
        if self.scores.len() == documents {
            return Ok(());
        }
        let message = format!("the cross-encoder gave {} scores for {documents} documents", self.scores.len());
        Err(Error::new(ErrorKind::Inference, message))
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: CrossEncoder + ?Sized> CrossEncoder for $pointer {
            fn name(&self) -> String {
                (**self).name()
            }

            fn score(&self, query: &str, documents: &[&str]) -> Result<PairScores> {
                (**self).score(query, documents)
            }
        }

        impl<T: BiEncoder + ?Sized> BiEncoder for $pointer {
            fn name(&self) -> String {
                (**self).name()
            }

            fn embed_query(&self, query: &str) -> Result<Vec<f32>> {
                (**self).embed_query(query)
            }

            fn embed_documents(&self, documents: &[&str]) -> Result<Embeddings> {
                (**self).embed_documents(documents)
            }
        }
    )*};
}

forward!(&T, Box<T>, Arc<T>);

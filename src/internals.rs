//! What the benchmarks of single steps call (`benches/steps.rs`). It is not a part of the API and may change at any time.

#![allow(missing_docs)]

use crate::engine;
use crate::error::Result;
use crate::pipeline;
use crate::reranker::Reranker;
use crate::text::Tokens;

/// Tokenised pairs.
#[derive(Debug)]
pub struct Pairs(Vec<Tokens>);

/// Joins the query with each document, as scoring does.
pub fn tokenise<S: AsRef<str> + Sync>(reranker: &Reranker, query: &str, documents: &[S]) -> Result<Pairs> {
    reranker.tokenise(query, documents).map(Pairs)
}

/// Pairs of these numbers of tokens.
pub fn pairs_of(lengths: impl Iterator<Item = usize>) -> Pairs {
    Pairs(lengths.map(|n| Tokens { ids: vec![0; n], type_ids: vec![0; n], ..Tokens::default() }).collect())
}

/// The number of different texts.
pub fn different<S: AsRef<str>>(texts: &[S]) -> usize {
    pipeline::different(texts).0.len()
}

/// The number of batches, of a graph whose operations skip padding.
pub fn plan(pairs: &Pairs, workers: usize) -> usize {
    engine::batches(&pairs.0, workers, true).len()
}

//! What the benchmarks of single steps and of kernels call (`benches/steps.rs`, `benches/kernels.rs`). It is not a part of the
//! API and may change at any time.

#![allow(missing_docs)]

use crate::engine;
use crate::error::Result;
use crate::kernels::{Arithmetic, Isa, Linear};
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

/// What the processor has kernels for, the best one last.
pub fn instruction_sets() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// A constant matrix on the kernels of one instruction set.
#[derive(Debug)]
pub struct Product(Linear);

/// Packs weights of `[inputs, columns]` for the instruction set of this name and `float32`, `int16` or `int8` arithmetic;
/// nothing for other names.
pub fn product(instruction_set: &str, arithmetic: &str, columns: usize, weights: &[f32]) -> Option<Product> {
    let isa = Isa::available().into_iter().find(|isa| isa.name() == instruction_set)?;
    let arithmetic = match arithmetic {
        "float32" => Arithmetic::Float32,
        "int16" => Arithmetic::Int16,
        "int8" => Arithmetic::Int8,
        _ => return None,
    };
    Some(Product(Linear::new(isa, arithmetic, columns, weights, None, false)))
}

impl Product {
    /// Multiplies all rows, `[rows, inputs]`, and writes `[rows, columns]`.
    pub fn run(&self, rows: &[f32], out: &mut [f32]) {
        self.0.run(rows, out, std::iter::once(0..rows.len() / self.0.inputs()));
    }
}

//! Embedded reranking: run exported ONNX **cross-encoders** and **embedding models** inside your process, on ONNX
//! Runtime, without a server.
//!
//! A cross-encoder reads a query and a document together and gives one relevance score; a bi-encoder reads each text
//! alone and gives an embedding, and the relevance is the cosine of two embeddings.
//!
//! ```
//! use crossrank::{RankOptions, Reranker};
//!
//! let reranker = Reranker::bundled()?;
//! let documents = ["Bread is baked in an oven.", "Paris is the capital of France.", "France borders Spain."];
//! let ranking = reranker.rerank("What is the capital of France?", &documents)?;
//! for result in &ranking {
//!     println!("{:.4} {}", result.score, documents[result.index]);
//! }
//! assert_eq!(ranking.results()[0].index, 1);
//! # Ok::<(), crossrank::Error>(())
//! ```
//!
//! # The tour
//!
//! - [`Reranker`] and [`Embedder`] are the two engines. They are loaded once, used through `&self` by any number of
//!   threads, and say of themselves what runs ([`ModelInfo`]): files, precision, limits, head or pooling, device.
//! - A model is the bundled one, a folder in the layout of a Hub repository, bytes in memory, or a repository of the
//!   Hugging Face Hub ([`ModelSource`]); [`catalogue`](catalogue()) has names of known ones. What its files declare is obeyed;
//!   a model that cannot work is refused when it is loaded, with the reason.
//! - [`ComputeType`] chooses the numbers in which a model's layers are computed, on this crate's own kernels: fp32, 16-bit
//!   or 8-bit integers, from the same file.
//! - [`Ranking`] is the result: indexes and scores by falling score, ties in the caller's order, with a report of the
//!   documents that were cut to fit the model. [`RankOptions`] has `top_n`, a threshold, raw scores.
//! - [`Cascade`] puts a cross-encoder behind a bi-encoder: all documents are embedded, the most similar ones are read.
//! - [`compare`](compare()) runs both engines on the same cases. [`CrossEncoder`] and [`BiEncoder`] are the traits it
//!   sees, for models of your own.
//! - [`eval`] measures rankings with relevance judgements: nDCG, AP, RR and others, and whether two runs differ.
//! - [`z_scores`] makes scores of different kinds comparable within a query, so that they can be added.
//! - [`runtime`] finds and loads ONNX Runtime; every engine does so by itself.
//!
//! # What can be relied on
//!
//! - A pair's score belongs to the pair: it has the same bits alone, in any company, in any order, and with any number
//!   of threads. So has a text's embedding. That holds for each [`ComputeType`]. (Long inputs run alone. Short ones of one length,
//!   or of neighbouring lengths where padding is skipped, run together if the graph's operators look at each input by
//!   itself, and after the first batch of each shape was compared, in two of its inputs, with the same inputs run alone.)
//! - The library prints nothing, reports through return values and [`tracing`](https://docs.rs/tracing) events, and
//!   does not panic on user data: an [`Error`] says what is wrong, the limit, the value and what to do.
//! - No network is used at run time, but for a model that is named as one of the Hub, by [`ModelSource::hub`],
//!   `hub:organisation/name` or a name of the catalogue; with `HF_HUB_OFFLINE=1`, or without the feature `hub`, none is
//!   used for those either. (ONNX Runtime from 1.29 on has telemetry of its own: see [`runtime`].)
//! - Calls block until they are done; in an async program, run them where blocking is allowed.
//!
//! # Features
//!
//! - `cli` (default): the command line, with `bundled-models`, `fetch-runtime` and `hub`.
//! - `bundled-models`: the two default models and a smaller cross-encoder (62 MB) inside the program.
//! - `hub`: models from the Hugging Face Hub, with an HTTP client (`ureq`, `rustls`). Without it the library has no
//!   network code.
//! - `fetch-runtime`: at build time, fetch the official ONNX Runtime library with pip if the machine has none; implies
//!   `load-dynamic`.
//! - `load-dynamic`: find an ONNX Runtime library at run time (see [`runtime`]).
//! - `download-binaries`: let the crate `ort` download a static library and link it instead. Choose this or
//!   `load-dynamic`; with neither, `ort` looks for a library to link by its own rules (`ORT_LIB_LOCATION`).

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cascade;
mod compare;
mod compute;
mod embedder;
mod embeddings;
mod engine;
mod error;
pub mod eval;
mod fusion;
mod graph;
// The command line is a part of the program; the fuzz targets of `fuzz/` reach its readers through the library.
#[cfg(all(fuzzing, feature = "cli"))]
extern crate self as crossrank;
#[cfg(all(fuzzing, feature = "cli"))]
#[allow(dead_code, unreachable_patterns)]
mod cli;
#[cfg(all(fuzzing, feature = "cli"))]
pub mod fuzzing;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod kernels;
mod loading;
mod model;
mod pipeline;
mod ranking;
mod reading;
mod reranker;
pub mod runtime;
mod scores;
mod scoring;
mod similarity;
mod text;
mod windows;

pub use cascade::{Candidates, Cascade, CascadeOptions, CascadeRanking, CascadedDocument};
pub use compare::{Agreement, Case, CaseDocument, ComparedCase, Comparison, compare, kendall_tau};
pub use compute::ComputeType;
pub use embedder::{Embedder, EmbedderBuilder};
pub use embeddings::{Embeddings, cosine_similarity};
pub use error::{Error, ErrorKind, Result};
pub use fusion::z_scores;
pub use model::{
    CatalogueEntry, CataloguePrompts, LimitSource, MemoryFiles, ModelFile, ModelInfo, ModelKind, ModelSource,
    PairTemplate, Pooling, PoolingMode, Precision, catalogue,
};
#[cfg(feature = "hub")]
pub use model::{FileState, HubEvent, HubFile, HubModel, HubPlan, VerifiedFile};
pub use ranking::{Activation, RankOptions, RankedDocument, Ranking, TruncatedDocument};
pub use reranker::{Reranker, RerankerBuilder};
pub use scoring::{BiEncoder, CrossEncoder, PairScore, PairScores};
pub use text::{Truncation, TruncationSide, TruncationStrategy};
pub use windows::{Combine, LongDocuments, Window, WindowOptions};

/// The README's program is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! A test collection on disk: the documents and queries that a run of a first stage speaks of.
//!
//! Nothing is held in memory that grows with the texts: the documents that a run names are found by their offsets in the
//! corpus ([`corpus`]), and the run's lines by theirs ([`run`]).

mod corpus;
mod fusion;
mod queries;
mod query;
mod record;
mod repeated;
mod run;
mod spool;

pub(super) use corpus::{Corpus, Indexed};
pub(super) use fusion::fused;
pub(super) use queries::{Queries, queries};
pub(super) use query::{Candidate, Query, units};
pub(super) use run::FirstStage;
pub(super) use spool::readable_anywhere;

use std::hash::{DefaultHasher, Hash, Hasher};

/// The hash by which documents are found. It is compared within one process only.
pub(super) fn hash_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

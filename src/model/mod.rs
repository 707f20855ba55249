//! Where a model's files come from, and what they declare.
//!
//! A [`ModelSource`] names a model: one that the crate carries, a folder in the layout of a Hub repository, files in
//! memory, a repository of the Hub ([`hub`]) or an entry of the [`catalogue`], which is one. Which of a model's ONNX files
//! are meant is decided by [`choice`], mostly by their [`precision`]. Its files are read through [`files`], its JSON files
//! become a specification in
//! [`config`] (rerankers) and [`pooling`] (embedding models, with their modules in [`dense`]), [`head`], [`format`],
//! [`chat`] and [`late`] say what kind of reranker it is and how it is asked, and [`graph`] looks into the ONNX file itself
//! for what the session does not
//! tell, such as the precision of the weights.

#[cfg(feature = "bundled-models")]
mod bundled;
mod catalogue;
mod chat;
pub(crate) mod choice;
pub(crate) mod config;
pub(crate) mod dense;
mod external;
mod files;
pub(crate) mod format;
pub(crate) mod graph;
pub(crate) mod head;
#[cfg(feature = "hub")]
mod hub;
mod info;
pub(crate) mod late;
mod mapped;
mod modules;
pub(crate) mod pooling;
mod precision;
mod source;

pub use catalogue::{CatalogueEntry, CataloguePrompts, ModelKind, catalogue};
pub(crate) use choice::Part;
pub(crate) use files::{Files, OnnxFile, Weights};
pub use format::PairTemplate;
#[cfg(all(fuzzing, feature = "hub"))]
pub(crate) use hub::fuzz_listing;
#[cfg(feature = "hub")]
pub use hub::{FileState, HubEvent, HubFile, HubModel, HubPlan, VerifiedFile};
pub use info::{LimitSource, ModelFile, ModelInfo};
pub(crate) use mapped::FileBytes;
pub use pooling::{Pooling, PoolingMode};
pub use precision::Precision;
pub use source::{MemoryFiles, ModelSource};

/// What a model is for: it decides which bundled model stands in when none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Scores pairs of texts.
    CrossEncoder,
    /// Embeds single texts.
    BiEncoder,
}

//! Where a model's files come from, and what they declare.
//!
//! A [`ModelSource`] names a model: one that the crate carries, a folder in the layout of a Hub repository, or files
//! in memory. Its files are read through [`files`], its JSON files become a specification in [`config`] (cross-encoders)
//! and [`pooling`] (embedding models, with their modules in [`dense`]), and [`graph`] looks into the ONNX file itself for what the session does not
//! tell, such as the precision of the weights.

#[cfg(feature = "bundled-models")]
mod bundled;
mod chat;
pub(crate) mod config;
pub(crate) mod dense;
mod external;
mod files;
pub(crate) mod format;
pub(crate) mod graph;
pub(crate) mod head;
mod info;
pub(crate) mod late;
mod mapped;
mod modules;
pub(crate) mod pooling;
mod source;

pub(crate) use files::{Files, Weights};
pub use format::PairTemplate;
pub use info::{LimitSource, ModelFile, ModelInfo};
pub(crate) use mapped::FileBytes;
pub use pooling::{Pooling, PoolingMode};
pub use source::{MemoryFiles, ModelSource};

/// What a model is for: it decides which bundled model stands in when none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Scores pairs of texts.
    CrossEncoder,
    /// Embeds single texts.
    BiEncoder,
}

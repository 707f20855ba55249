//! In which numbers a model's layers are computed.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// In which numbers the products of a model's layers are computed.
///
/// It is chosen when a model is loaded and holds for any file that has its weights in fp32, or in fewer bits that the graph
/// widens to fp32, and does not round its activations; nothing has to be exported again. Attention, normalisation, activations
/// and the head stay in fp32; word embeddings are kept in as many bits as the layers, or in 8 if the file has them so.
/// Each choice keeps what this crate promises: a pair's score does not depend on its company.
///
/// The default is what the file says of itself (`crossrank.compute` in the ONNX file's metadata); else
/// [`W8A8`](Self::W8A8) for the bundled cross-encoders and [`Int16`](Self::Int16) for the bundled bi-encoder, where that is
/// faster than fp32: with AVX2 or AVX-512, and the former on 64-bit ARM with dot products of bytes; and
/// [`Float32`](Self::Float32) for all others, and elsewhere.
/// What really runs stands in [`ModelInfo::compute`](crate::ModelInfo::compute).
///
/// ```
/// use crossrank::{ComputeType, Reranker};
///
/// let precise = Reranker::builder().compute_type(ComputeType::Float32).build()?;
/// assert_eq!(precise.info().compute, ComputeType::Float32);
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComputeType {
    /// The graph as it is, on ONNX Runtime's kernels alone.
    OnnxRuntime,
    /// fp32, on this crate's kernels where the processor has AVX2 or AVX-512 or is a 64-bit ARM; else as
    /// [`OnnxRuntime`](Self::OnnxRuntime).
    Float32,
    /// 16-bit integers: weights of 13 bits with a scale for each 128 inputs of a column, activations of 13 to 16 bits (as
    /// many as their sums allow) with a scale for each token. Scores are hardly to be told from those of fp32.
    Int16,
    /// 8-bit integers for the tokens of documents, and 16-bit ones where a cross-encoder's score depends on them most: for the
    /// tokens of the query and the special tokens around it, and in the feed-forward expansions of the first half of the
    /// layers. Word embeddings have a scale for each 64 numbers.
    Int8,
    /// 8-bit integers for all tokens, in all layers: weights with a scale for each 128 inputs of a column, activations with
    /// a range for each 128 inputs of a token. The smallest in memory and, with VNNI, the fastest; its scores are further
    /// from fp32's than those of [`Int8`](Self::Int8), how far depends on the model: measure it on pairs of your own.
    W8A8,
}

impl ComputeType {
    /// All compute types, in the order of their variants.
    pub const ALL: &'static [ComputeType] =
        &[ComputeType::OnnxRuntime, ComputeType::Float32, ComputeType::Int16, ComputeType::Int8, ComputeType::W8A8];

    /// Its name: `onnxruntime`, `float32`, `int16`, `int8` or `w8a8`.
    pub fn name(self) -> &'static str {
        match self {
            ComputeType::OnnxRuntime => "onnxruntime",
            ComputeType::Float32 => "float32",
            ComputeType::Int16 => "int16",
            ComputeType::Int8 => "int8",
            ComputeType::W8A8 => "w8a8",
        }
    }
}

impl fmt::Display for ComputeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ComputeType {
    type Err = Error;

    /// Reads a [`name`](Self::name).
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.iter().copied().find(|compute| compute.name() == name).ok_or_else(|| {
            let names = Self::ALL.iter().map(|compute| compute.name()).collect::<Vec<_>>().join(", ");
            Error::new(ErrorKind::Options, format!("`{name}` is no compute type; there are {names}"))
        })
    }
}

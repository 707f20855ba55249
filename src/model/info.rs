//! What a loaded model turned out to be: the report that every engine can give about itself.

use std::fmt;

use crate::compute::ComputeType;
use crate::ranking::Activation;
use crate::text::Truncation;
use crate::windows::LongDocuments;

/// A file that was read for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelFile {
    /// Its name in the model's folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl ModelFile {
    pub(crate) fn new(name: &str, bytes: u64) -> Self {
        Self { name: name.to_owned(), bytes }
    }
}

/// Where a model's maximum length comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitSource {
    /// The caller's builder.
    Caller,
    /// `model_max_length` of `tokenizer_config.json`.
    Tokenizer,
    /// `max_seq_length` of `sentence_bert_config.json`.
    SentenceTransformers,
    /// `max_position_embeddings` of `config.json`, less the positions that the architecture keeps for itself.
    Positions,
    /// The model takes more than 8,192 tokens, which is the most without the caller's asking: memory grows with the square.
    Memory,
    /// What a late-interaction model takes of a document.
    Document,
    /// No file says: 512 is assumed.
    Assumed,
}

impl fmt::Display for LimitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitSource::Caller => "set by the caller",
            LimitSource::Tokenizer => "model_max_length of tokenizer_config.json",
            LimitSource::SentenceTransformers => "max_seq_length of sentence_bert_config.json",
            LimitSource::Positions => "max_position_embeddings of config.json",
            LimitSource::Memory => "the most by default; the model takes more, if max_length asks for it",
            LimitSource::Document => "of a document, in late interaction",
            LimitSource::Assumed => "assumed: no file says",
        })
    }
}

/// What a loaded model is and how it is run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelInfo {
    /// What people call it: the folder's path, `hub:organisation/name`, or `bundled cross-encoder`.
    pub name: String,
    /// The commit of a repository of the Hub that is used.
    pub commit: Option<String>,
    /// The files that were read.
    pub files: Vec<ModelFile>,
    /// The architecture that `config.json` names, such as `BertForSequenceClassification`.
    pub architecture: Option<String>,
    /// The precision of the weights: what the file says of itself (`int8-weights`), else what its tensors are.
    pub precision: String,
    /// In which numbers the layers are computed.
    pub compute: ComputeType,
    /// Whose kernels compute them: `ONNX Runtime`, or this crate's for an instruction set, such as `AVX-512 VNNI`.
    pub kernels: &'static str,
    /// The most tokens that one input may have, special tokens included.
    pub max_length: usize,
    /// Where that limit comes from.
    pub max_length_source: LimitSource,
    /// How longer inputs are cut.
    pub truncation: Truncation,
    /// The graph's inputs that are fed; of an encoder and a decoder in two files, the encoder's come first.
    pub inputs: Vec<String>,
    /// The graph's output that is read; of two, the decoder's.
    pub output: String,
    /// Rerankers: what a score is made of, such as `labels`, `next token: yes against no` or `late interaction (MaxSim)`.
    pub head: Option<String>,
    /// Rerankers: the template in which a pair is put to the model, and who says so; nothing for the tokenizer's own.
    pub template: Option<String>,
    /// Rerankers: what is done with documents that are too long to be read beside the query.
    pub long_documents: LongDocuments,
    /// Cross-encoders: the labels of the head, where `config.json` names them.
    pub labels: Vec<String>,
    /// Cross-encoders: the label whose score is the relevance, where `config.json` names it.
    pub score_label: Option<String>,
    /// Cross-encoders: what turns logits into scores.
    pub activation: Option<Activation>,
    /// Embedding models: what goes before a query; may be empty.
    pub query_prompt: Option<String>,
    /// Embedding models: what goes before a document; may be empty.
    pub document_prompt: Option<String>,
    /// Embedding models: the pooling, in words, such as `mean (1_Pooling/config.json)`.
    pub pooling: Option<String>,
    /// Embedding models: what is done with the pooled vector, such as `Dense 768 to 3072, Identity (2_Dense)`, apart from
    /// the final normalisation.
    pub modules: Vec<String>,
    /// Embedding models: whether the embeddings are scaled to length 1.
    pub normalized: bool,
    /// Embedding models: the number of dimensions of an embedding.
    pub dimensions: Option<usize>,
    /// Embedding models: the number of dimensions that the model gives, of which the first [`dimensions`](Self::dimensions)
    /// are kept.
    pub full_dimensions: Option<usize>,
    /// The device that really runs the model.
    pub device: &'static str,
    /// The most inputs that run at the same time.
    pub threads: usize,
}

impl ModelInfo {
    /// The model in one line: `bundled cross-encoder (BertForSequenceClassification, int8-weights, computed in w8a8)`.
    pub fn title(&self) -> String {
        let architecture = self.architecture.as_ref().map_or(String::new(), |architecture| format!("{architecture}, "));
        format!("{} ({architecture}{}, computed in {})", self.name, self.precision, self.compute)
    }
}

//! The names by which a caller asks for a model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A model: where its files are.
///
/// A folder has the layout of a Hub repository: `model.onnx` (or `onnx/model.onnx`), `config.json`,
/// `tokenizer.json`, and, where the model has them, `tokenizer_config.json`, `modules.json`,
/// `sentence_bert_config.json`, `config_sentence_transformers.json` and `1_Pooling/config.json`.
///
/// ```
/// use crossrank::ModelSource;
///
/// let from_folder = ModelSource::dir("models/ms-marco-MiniLM-L6-v2");
/// let from_memory = ModelSource::memory()
///     .file("model.onnx", vec![/* … */])
///     .file("config.json", br#"{"architectures": ["BertForSequenceClassification"]}"#.to_vec())
///     .file("tokenizer.json", vec![/* … */]);
/// let source: ModelSource = from_memory.into();
/// ```
#[derive(Debug, Clone, Default)]
pub struct ModelSource(pub(crate) Origin);

#[derive(Debug, Clone, Default)]
pub(crate) enum Origin {
    #[default]
    Bundled,
    Dir(PathBuf),
    Memory(MemoryFiles),
}

impl ModelSource {
    /// The model that the crate carries (feature `bundled-models`): the cross-encoder for a
    /// [`Reranker`](crate::Reranker), the bi-encoder for an [`Embedder`](crate::Embedder).
    pub fn bundled() -> Self {
        Self(Origin::Bundled)
    }

    /// A folder in the layout of a Hub repository.
    pub fn dir(path: impl Into<PathBuf>) -> Self {
        Self(Origin::Dir(path.into()))
    }

    /// Files in memory, under the names that they have in a Hub repository.
    pub fn memory() -> MemoryFiles {
        MemoryFiles::default()
    }
}

impl From<MemoryFiles> for ModelSource {
    fn from(files: MemoryFiles) -> Self {
        Self(Origin::Memory(files))
    }
}

/// The files of a model in memory. Cloning is cheap: the bytes are shared.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    pub(crate) files: BTreeMap<String, Arc<[u8]>>,
}

impl MemoryFiles {
    /// Adds a file under its name in the repository, with `/` between folders: `1_Pooling/config.json`.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.files.insert(name.into(), bytes.into());
        self
    }
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.files.iter().map(|(name, bytes)| (name, bytes.len()))).finish()
    }
}

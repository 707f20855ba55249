//! The names by which a caller asks for a model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::catalogue::{CatalogueEntry, near};
#[cfg(feature = "hub")]
use super::hub::HubModel;
use crate::error::{Error, Result};
use crate::loading::printable;

/// A model: where its files are.
///
/// A folder has the layout of a Hub repository: `model.onnx` (or `onnx/model.onnx`; an encoder-decoder may have
/// `encoder_model.onnx` and `decoder_model.onnx` there), `config.json`, `tokenizer.json`, and, where the model has them, `tokenizer_config.json`, `modules.json`,
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

#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Bundled(Size),
    Dir(PathBuf),
    Memory(MemoryFiles),
    #[cfg(feature = "hub")]
    Hub(Box<HubModel>),
}

/// Which of the models that the crate carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Usual,
    Small,
}

impl Default for Origin {
    fn default() -> Self {
        Self::Bundled(Size::Usual)
    }
}

impl ModelSource {
    /// The model that the crate carries (feature `bundled-models`): the cross-encoder for a
    /// [`Reranker`](crate::Reranker), the bi-encoder for an [`Embedder`](crate::Embedder).
    pub fn bundled() -> Self {
        Self(Origin::Bundled(Size::Usual))
    }

    /// The smaller cross-encoder that the crate carries (feature `bundled-models`): more than twice as fast as
    /// [`bundled`](Self::bundled) and a little less good at ranking; `benches/QUALITY.md` says by how much.
    ///
    /// There is no small bi-encoder: with an [`Embedder`](crate::Embedder) this is an error.
    ///
    /// ```
    /// use crossrank::{ModelSource, Reranker};
    ///
    /// let reranker = Reranker::builder().model(ModelSource::bundled_small()).build()?;
    /// let ranking = reranker.rerank("Who wrote Faust?", &["A town in Hesse.", "Goethe wrote Faust."])?;
    /// assert_eq!(ranking.results()[0].index, 1);
    /// # Ok::<(), crossrank::Error>(())
    /// ```
    pub fn bundled_small() -> Self {
        Self(Origin::Bundled(Size::Small))
    }

    /// A folder in the layout of a Hub repository.
    pub fn dir(path: impl Into<PathBuf>) -> Self {
        Self(Origin::Dir(path.into()))
    }

    /// A repository of the Hugging Face Hub: `organisation/name`. See [`HubModel`] for the options, and for what is fetched when.
    ///
    /// A name that cannot be one is an error when the model is used; [`parse`](Self::parse) says so at once.
    #[cfg(feature = "hub")]
    pub fn hub(repository: impl Into<String>) -> HubModel {
        HubModel::new(repository)
    }

    /// The model that a name means, as on the command line:
    ///
    /// - `bundled`: the one that the crate carries, and `bundled:small`: the smaller cross-encoder;
    /// - `hub:organisation/name`, or `hub:organisation/name@revision`: a repository of the Hub;
    /// - the path of a folder that exists: that folder, even if the catalogue has such a name;
    /// - a name of the [`catalogue`](crate::catalogue()): its repository on the Hub.
    ///
    /// Nothing is fetched before the model is loaded.
    ///
    /// ```
    /// use crossrank::ModelSource;
    ///
    /// let source = ModelSource::parse("hub:BAAI/bge-reranker-v2-m3@main")?;
    /// assert_eq!(source.hub_model().unwrap().repository(), "BAAI/bge-reranker-v2-m3");
    /// assert!(ModelSource::parse("no/such/folder").is_err());
    /// # Ok::<(), crossrank::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for a malformed name of a repository or revision, and
    /// [`ErrorKind::Model`](crate::ErrorKind::Model) for a name that means nothing; the message lists what was tried and which
    /// names of the catalogue are near.
    pub fn parse(name: &str) -> Result<Self> {
        if let Some(bundled) = name.strip_prefix("bundled") {
            match bundled {
                "" => return Ok(Self::bundled()),
                ":small" => return Ok(Self::bundled_small()),
                _ if bundled.starts_with(':') => {
                    return Err(Error::model(format!(
                        "there is no bundled model {}; the bundled ones are `bundled` and `bundled:small`",
                        printable(name)
                    )));
                }
                _ => {}
            }
        }
        if let Some(repository) = name.strip_prefix("hub:") {
            return hub_repository(repository);
        }
        if Path::new(name).is_dir() {
            return Ok(Self::dir(name));
        }
        if let Some(entry) = CatalogueEntry::find(name) {
            return hub_entry(entry);
        }
        Err(Error::model(unknown(name)))
    }

    /// The model of the Hub that this is, to set its options: `source.hub_model().cloned()`.
    #[cfg(feature = "hub")]
    pub fn hub_model(&self) -> Option<&HubModel> {
        match &self.0 {
            Origin::Hub(model) => Some(model),
            _ => None,
        }
    }

    /// Whether this is a model that the crate carries.
    pub fn is_bundled(&self) -> bool {
        matches!(self.0, Origin::Bundled(_))
    }

    /// Files in memory, under the names that they have in a Hub repository.
    pub fn memory() -> MemoryFiles {
        MemoryFiles::default()
    }
}

/// See [`ModelSource::parse`].
impl FromStr for ModelSource {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}

#[cfg(feature = "hub")]
fn hub_repository(name: &str) -> Result<ModelSource> {
    Ok(HubModel::parse(name)?.into())
}

#[cfg(feature = "hub")]
fn hub_entry(entry: &'static CatalogueEntry) -> Result<ModelSource> {
    Ok(HubModel::of_catalogue(entry).into())
}

#[cfg(not(feature = "hub"))]
fn hub_repository(name: &str) -> Result<ModelSource> {
    Err(Error::model(format!("hub:{name} is a model of the Hub, and this build has none: turn on the feature `hub`")))
}

#[cfg(not(feature = "hub"))]
fn hub_entry(entry: &'static CatalogueEntry) -> Result<ModelSource> {
    hub_repository(entry.repository())
}

/// Why a name means nothing, and what may have been meant.
fn unknown(name: &str) -> String {
    let path = Path::new(name);
    let folder = match path.exists() {
        true => format!("the model folder {name} is not a folder"),
        false => format!("the model folder {name} does not exist"),
    };
    let mut message = format!(
        "{folder}, and the catalogue has no model of that name; a model is `bundled`, `bundled:small`, a folder with \
         model.onnx, config.json and tokenizer.json, a name that `crossrank models list` shows, or `hub:organisation/name`"
    );
    let near = near(name);
    if !near.is_empty() {
        message.push_str(&format!("; near names are {}", near.join(", ")));
    }
    if name.split('/').count() == 2 && !name.starts_with(['.', '/', '~']) {
        message.push_str(&format!("; if a repository of the Hub is meant, write hub:{name}"));
    }
    message
}

#[cfg(feature = "hub")]
impl From<HubModel> for ModelSource {
    fn from(model: HubModel) -> Self {
        Self(Origin::Hub(Box::new(model)))
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

//! Known models by short names: the table in `catalogue.json`, which comes with the crate.
//!
//! An entry says where a model is on the Hub, which of its files has which precision, and what its card says of it. It
//! is a list of names and facts with their sources, not a promise: [`CatalogueEntry::run_here`] tells which models were
//! run with this crate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

use super::pooling::PoolingMode;
use super::precision::Precision;

/// The table; a test makes sure that it can be read.
static CATALOGUE: LazyLock<Vec<CatalogueEntry>> =
    LazyLock::new(|| serde_json::from_str(include_str!("catalogue.json")).unwrap_or_default());

/// Names whose likeness to one that is not there is at least this (Jaro-Winkler) are shown.
const NEAR: f64 = 0.82;

/// The most names that are shown.
const SHOWN: usize = 5;

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelKind {
    /// A cross-encoder, for a [`Reranker`](crate::Reranker).
    Reranker,
    /// An embedding model, for an [`Embedder`](crate::Embedder).
    Embedder,
}

/// A model of the [`catalogue`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct CatalogueEntry {
    name: String,
    kind: ModelKind,
    repository: String,
    files: BTreeMap<String, String>,
    family: String,
    parameters: Option<u64>,
    max_tokens: Option<usize>,
    dimensions: Option<usize>,
    #[serde(default)]
    pooling: Option<PoolingMode>,
    languages: Option<String>,
    licence: Option<String>,
    good_at: String,
    #[serde(default)]
    prompts: Option<CataloguePrompts>,
    sources: Vec<String>,
    #[serde(default)]
    run_here: bool,
}

/// The texts that an embedding model wants before its inputs, by its card.
///
/// An [`Embedder`](crate::Embedder) of this entry, or of its repository, puts them before queries and documents if the
/// model's own `config_sentence_transformers.json` declares no prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CataloguePrompts {
    /// Before a query; may be empty.
    pub query: String,
    /// Before a document; may be empty.
    pub document: String,
}

/// All known models, in the order of the table.
///
/// ```
/// use crossrank::{ModelKind, catalogue};
///
/// let rerankers: Vec<&str> =
///     catalogue().iter().filter(|entry| entry.kind() == ModelKind::Reranker).map(|entry| entry.name()).collect();
/// assert!(rerankers.contains(&"bge-reranker-v2-m3"));
/// ```
pub fn catalogue() -> &'static [CatalogueEntry] {
    &CATALOGUE
}

impl CatalogueEntry {
    /// The entry of a name, in any case of letters.
    pub fn find(name: &str) -> Option<&'static CatalogueEntry> {
        catalogue().iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// The entry of a repository of the Hub.
    #[cfg(feature = "hub")]
    pub(super) fn of_repository(repository: &str) -> Option<&'static CatalogueEntry> {
        catalogue().iter().find(|entry| entry.repository.eq_ignore_ascii_case(repository))
    }

    /// The short name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model, for a builder.
    #[cfg(feature = "hub")]
    pub fn source(&'static self) -> super::ModelSource {
        super::HubModel::of_catalogue(self).into()
    }

    /// What the model is for.
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// Its repository on the Hub: `organisation/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The ONNX file of a precision in the repository, where the catalogue knows it.
    pub fn file(&self, precision: Precision) -> Option<&str> {
        self.files.get(precision.name()).map(String::as_str)
    }

    /// The precisions that the catalogue knows, with their files; none where the repository is not known to have an ONNX
    /// file.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(precision, file)| (precision.as_str(), file.as_str()))
    }

    /// What kind of network it is, in words.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The number of parameters, where it is known.
    pub fn parameters(&self) -> Option<u64> {
        self.parameters
    }

    /// The most tokens of one input.
    pub fn max_tokens(&self) -> Option<usize> {
        self.max_tokens
    }

    /// The dimensions of an embedding.
    pub fn dimensions(&self) -> Option<usize> {
        self.dimensions
    }

    /// How an embedding model pools, where a source says so. It is what an [`Embedder`](crate::Embedder) of this entry, or of
    /// its repository, does if the repository has no `modules.json`.
    pub fn pooling(&self) -> Option<PoolingMode> {
        self.pooling
    }

    /// The languages that its card names, such as `en` or `multilingual (100+)`.
    pub fn languages(&self) -> Option<&str> {
        self.languages.as_deref()
    }

    /// The licence that its card names.
    pub fn licence(&self) -> Option<&str> {
        self.licence.as_deref()
    }

    /// What it is good at, in a few words.
    pub fn good_at(&self) -> &str {
        &self.good_at
    }

    /// The texts that go before queries and documents, where the model wants some.
    pub fn prompts(&self) -> Option<&CataloguePrompts> {
        self.prompts.as_ref()
    }

    /// Where these facts come from.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Whether the model was run with this crate by those who made it.
    pub fn run_here(&self) -> bool {
        self.run_here
    }

    /// Refuses a model that is not for the engine that is to run it.
    #[cfg(feature = "hub")]
    pub(super) fn check_task(&self, task: super::Task) -> crate::error::Result<()> {
        use super::Task;

        match (task, self.kind) {
            (Task::CrossEncoder, ModelKind::Reranker) | (Task::BiEncoder, ModelKind::Embedder) => Ok(()),
            (_, kind) => Err(crate::error::Error::model(format!(
                "{} is {} {kind}, and cannot be used in the place of the other kind",
                self.name,
                if kind == ModelKind::Embedder { "an" } else { "a" }
            ))),
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModelKind::Reranker => "reranker",
            ModelKind::Embedder => "embedder",
        })
    }
}

/// The names of the catalogue that are like this one, the likest first.
pub(super) fn near(name: &str) -> Vec<&'static str> {
    let name = name.to_ascii_lowercase();
    // An organisation before the name does not make it another.
    let name = name.rsplit('/').next().unwrap_or(&name);
    let likeness = |entry: &'static CatalogueEntry| (strsim::jaro_winkler(name, &entry.name), entry.name.as_str());
    let mut near: Vec<_> = catalogue().iter().map(likeness).filter(|(likeness, _)| *likeness >= NEAR).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().map(|(_, name)| name).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table is read without a chance to complain: here it is.
    #[test]
    fn the_table_can_be_read_and_makes_sense() {
        let read: Vec<CatalogueEntry> = serde_json::from_str(include_str!("catalogue.json")).unwrap();
        assert_eq!(read, catalogue());
        let names: BTreeSet<&str> = catalogue().iter().map(CatalogueEntry::name).collect();
        assert_eq!(names.len(), catalogue().len(), "names are unique");
        for entry in catalogue() {
            let name = entry.name();
            assert_eq!(name, name.to_ascii_lowercase());
            assert!(name != "bundled" && !name.contains([':', '/', '\\', ' ']), "{name}");
            assert!(!entry.sources().is_empty(), "{name} has no source");
            for (precision, file) in entry.files() {
                precision.parse::<Precision>().unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(file.ends_with(".onnx"), "{name}: {file}");
            }
        }
    }

    #[test]
    fn names_that_are_near() {
        assert_eq!(near("bge-reranker-v2m3").first(), Some(&"bge-reranker-v2-m3"));
        assert_eq!(near("BAAI/bge-reranker-v2-M3").first(), Some(&"bge-reranker-v2-m3"));
        assert!(near("zzz").is_empty());
        assert_eq!(CatalogueEntry::find("BGE-reranker-v2-m3").unwrap().name(), "bge-reranker-v2-m3");
    }
}

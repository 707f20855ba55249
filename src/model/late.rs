//! Late interaction (ColBERT): what a folder says about markers, query expansion and the tokens that are not compared.
//!
//! Three layouts are read: sentence-transformers' `MultiVectorEncoder` (from 6 on), PyLate's (`model_type` ColBERT in
//! `config_sentence_transformers.json`), and Stanford's ColBERT (`HF_ColBERT` in `config.json`, `artifact.metadata`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::config::Config;
use super::dense::{Dense, Place};
use super::files::Files;
use super::modules::ModuleEntry;
use crate::error::{Error, Result};

/// The length of a query in ColBERT's own training, where no file says.
const QUERY_LENGTH: usize = 32;
/// The length of a document in PyLate's and Stanford's defaults, where no file says.
const DOCUMENT_LENGTH: usize = 180;
/// `string.punctuation` of Python: what PyLate and ColBERT leave out of documents.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// How queries and documents become vectors.
#[derive(Debug)]
pub(crate) struct LateSpec {
    pub(crate) query: Marker,
    pub(crate) document: Marker,
    /// The most tokens of a query and of a document; the model's limit, if nothing is said.
    pub(crate) query_length: Option<usize>,
    pub(crate) document_length: Option<usize>,
    pub(crate) expansion: Option<Expansion>,
    /// Documents' tokens that are not compared.
    pub(crate) skip_words: Vec<String>,
    /// What makes the vectors of the tokens' hidden states, where the graph does not do it.
    pub(crate) projections: Vec<Dense>,
    /// The dimensions of a vector, where the projection is in the graph and the folder says it.
    pub(crate) width: Option<usize>,
    /// The dimensions of the encoder's hidden states, where the projection must be in the graph.
    pub(crate) hidden_size: Option<usize>,
    /// Vectors are scaled to length 1.
    pub(crate) normalize: bool,
}

/// What goes before a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) text: String,
    /// It is (or begins with) a token of the vocabulary, which the tokenizer would not find in a text by itself.
    pub(crate) is_token: bool,
}

/// Queries are filled up with mask tokens, whose vectors are compared too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expansion {
    pub(crate) length: usize,
    /// Longer queries are cut to `length`.
    pub(crate) fixed: bool,
    /// The model attends to the added tokens.
    pub(crate) attend: bool,
    /// The added token; the tokenizer's mask token, if nothing is said.
    pub(crate) token: Option<String>,
}

/// `query_expansion` of sentence-transformers.
#[derive(Debug, Deserialize)]
struct ExpansionConfig {
    strategy: String,
    length: usize,
    #[serde(default)]
    attend: bool,
    token: Option<String>,
}

/// `config_sentence_transformers.json`, as far as it is about late interaction.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Knobs {
    model_type: Option<String>,
    prompts: BTreeMap<String, Option<String>>,
    query_prefix: Option<String>,
    document_prefix: Option<String>,
    query_length: Option<usize>,
    document_length: Option<usize>,
    do_query_expansion: Option<bool>,
    attend_to_expansion_tokens: bool,
    skiplist_words: Option<Vec<String>>,
}

/// `sentence_bert_config.json` of a `MultiVectorEncoder`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TransformerKnobs {
    query_length: Option<usize>,
    document_length: Option<usize>,
    query_expansion: Option<ExpansionConfig>,
}

/// `N_MultiVectorMask/config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MaskConfig {
    skiplist_words: Vec<String>,
    skiplist_tasks: Option<Vec<String>>,
    keep_only_token_ids: Option<Vec<u32>>,
}

/// `artifact.metadata` of Stanford's ColBERT.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    query_token_id: Option<String>,
    doc_token_id: Option<String>,
    query_maxlen: Option<usize>,
    doc_maxlen: Option<usize>,
    attend_to_mask_tokens: bool,
    mask_punctuation: Option<bool>,
    dim: Option<usize>,
}

impl LateSpec {
    /// What the folder says; nothing if it is not a late-interaction model.
    pub(super) fn read(files: &mut Files, config: &Config) -> Result<Option<Self>> {
        if config.architecture() == Some("HF_ColBERT") {
            let metadata = files.optional_json::<Metadata>("artifact.metadata")?.unwrap_or_default();
            let width = metadata.dim;
            return Ok(Some(Self { width, hidden_size: config.hidden_size, ..Self::stanford(metadata) }));
        }
        let knobs = files.optional_json::<Knobs>("config_sentence_transformers.json")?.unwrap_or_default();
        let modules = ModuleEntry::read_all(files)?;
        if let Some(mask) = modules.iter().find(|module| module.class() == "MultiVectorMask") {
            let mask: MaskConfig = files.optional_json(&mask.file("config.json")?)?.unwrap_or_default();
            return Self::native(files, knobs, mask, &modules).map(Some);
        }
        if knobs.model_type.as_deref() != Some("ColBERT") {
            return Ok(None);
        }
        let projections = projections(files, &modules)?;
        Ok(Some(Self { projections, ..Self::pylate(knobs) }))
    }

    fn native(files: &mut Files, mut knobs: Knobs, mask: MaskConfig, modules: &[ModuleEntry]) -> Result<Self> {
        let transformer = files.optional_json::<TransformerKnobs>("sentence_bert_config.json")?.unwrap_or_default();
        let documents_only = mask.skiplist_tasks.as_deref().is_none_or(|tasks| *tasks == ["document"]);
        if mask.keep_only_token_ids.is_some() || !(documents_only || mask.skiplist_words.is_empty()) {
            return Err(Error::model(format!(
                "MultiVectorMask of {} keeps only some tokens, or leaves tokens out of queries, which is not supported",
                files.name()
            )));
        }
        let expansion = match transformer.query_expansion {
            None => None,
            Some(config) if matches!(config.strategy.as_str(), "fixed" | "min") => Some(Expansion {
                length: config.length,
                fixed: config.strategy == "fixed",
                attend: config.attend,
                token: config.token,
            }),
            Some(config) => {
                return Err(Error::model(format!(
                    "query_expansion of {} has the strategy `{}`, and `fixed` and `min` are the known ones",
                    files.name(),
                    crate::loading::printable(&config.strategy)
                )));
            }
        };
        let mut marker =
            |name: &str| Marker { text: knobs.prompts.remove(name).flatten().unwrap_or_default(), is_token: false };
        Ok(Self {
            query: marker("query"),
            document: marker("document"),
            query_length: transformer.query_length,
            document_length: transformer.document_length,
            expansion,
            skip_words: mask.skiplist_words,
            projections: projections(files, modules)?,
            width: None,
            hidden_size: None,
            normalize: modules.iter().any(|module| module.class() == "Normalize"),
        })
    }

    fn pylate(mut knobs: Knobs) -> Self {
        let length = knobs.query_length.unwrap_or(QUERY_LENGTH);
        let expansion = (knobs.do_query_expansion != Some(false)).then_some(Expansion {
            length,
            fixed: true,
            attend: knobs.attend_to_expansion_tokens,
            token: None,
        });
        let mut marker = |prefix: Option<String>, default: &str, name: &str| {
            let prefix = prefix.unwrap_or_else(|| default.to_owned());
            let prompt = knobs.prompts.remove(name).flatten().unwrap_or_default();
            let rest = prompt.strip_prefix(prefix.as_str()).unwrap_or(&prompt);
            Marker { text: format!("{prefix}{rest}"), is_token: true }
        };
        Self {
            query: marker(knobs.query_prefix.take(), "[Q] ", "query"),
            document: marker(knobs.document_prefix.take(), "[D] ", "document"),
            query_length: Some(length),
            document_length: Some(knobs.document_length.unwrap_or(DOCUMENT_LENGTH)),
            expansion,
            skip_words: knobs.skiplist_words.unwrap_or_else(punctuation),
            projections: Vec::new(),
            width: None,
            hidden_size: None,
            normalize: true,
        }
    }

    fn stanford(metadata: Metadata) -> Self {
        let marker = |token: Option<String>, default: &str| Marker {
            text: format!("{} ", token.as_deref().unwrap_or(default)),
            is_token: true,
        };
        let length = metadata.query_maxlen.unwrap_or(QUERY_LENGTH);
        Self {
            query: marker(metadata.query_token_id, "[unused0]"),
            document: marker(metadata.doc_token_id, "[unused1]"),
            query_length: Some(length),
            document_length: Some(metadata.doc_maxlen.unwrap_or(DOCUMENT_LENGTH)),
            expansion: Some(Expansion { length, fixed: true, attend: metadata.attend_to_mask_tokens, token: None }),
            skip_words: if metadata.mask_punctuation == Some(false) { Vec::new() } else { punctuation() },
            // Its weights lie among those of the encoder: an export has it in the graph.
            projections: Vec::new(),
            width: None,
            hidden_size: None,
            normalize: true,
        }
    }
}

/// The `Dense` modules, which work on each token's vector.
fn projections(files: &mut Files, modules: &[ModuleEntry]) -> Result<Vec<Dense>> {
    let dense = modules.iter().filter(|module| module.class() == "Dense");
    dense.map(|module| Dense::read(files, module.folder()?, Place::Tokens)).collect()
}

fn punctuation() -> Vec<String> {
    PUNCTUATION.chars().map(String::from).collect()
}

//! `modules.json` and what it points to: how an embedding model makes one vector of its token vectors.
//!
//! The layout is that of sentence-transformers. The formulas are those of its `Pooling` module, for one text without
//! padding: `mean`, `cls`, `max`, `lasttoken`, `mean_sqrt_len_tokens` (the sum over √length) and `weightedmean` (the
//! mean weighted by position, counted from 1). Where several modes are on, their vectors are joined in the order of
//! [`PoolingMode`]'s variants.

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{ArrayView2, Axis};
use serde::Deserialize;

use super::catalogue::CatalogueEntry;
use super::config::Config;
use super::dense::{Dense, LayerNorm, Module, Place};
use super::files::Files;
use super::modules::ModuleEntry;
use crate::error::{Error, Result};

/// How token vectors become one vector, by sentence-transformers' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PoolingMode {
    /// The vector of the first token.
    Cls,
    /// The greatest value of each dimension.
    Max,
    /// The mean of all token vectors.
    Mean,
    /// Their sum over the square root of their number.
    #[serde(rename = "mean_sqrt_len_tokens")]
    MeanSqrtLen,
    /// Their mean weighted by position: the first token counts once, the second twice.
    WeightedMean,
    /// The vector of the last token.
    LastToken,
}

impl fmt::Display for PoolingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolingMode::Cls => "cls",
            PoolingMode::Max => "max",
            PoolingMode::Mean => "mean",
            PoolingMode::MeanSqrtLen => "mean_sqrt_len_tokens",
            PoolingMode::WeightedMean => "weightedmean",
            PoolingMode::LastToken => "lasttoken",
        })
    }
}

/// One or several pooling modes, whose vectors are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling(Vec<PoolingMode>);

impl Pooling {
    /// A single mode.
    pub fn new(mode: PoolingMode) -> Self {
        Self(vec![mode])
    }

    /// Several modes; their vectors are joined in the order of the variants of [`PoolingMode`], as
    /// sentence-transformers does. No mode at all is an error of kind [`Options`](crate::ErrorKind::Options).
    pub fn joined(modes: impl IntoIterator<Item = PoolingMode>) -> Result<Self> {
        let mut modes: Vec<_> = modes.into_iter().collect();
        modes.sort();
        modes.dedup();
        if modes.is_empty() {
            return Err(Error::new(crate::ErrorKind::Options, "a pooling needs at least one mode, such as mean"));
        }
        Ok(Self(modes))
    }

    /// The modes, in order.
    pub fn modes(&self) -> &[PoolingMode] {
        &self.0
    }

    /// Pools the vectors of one text's tokens, `[tokens, dimensions]` with at least one token.
    pub(crate) fn pool(&self, tokens: ArrayView2<'_, f32>) -> Vec<f32> {
        let mut pooled = Vec::with_capacity(self.0.len() * tokens.ncols());
        for mode in &self.0 {
            pool_one(*mode, tokens, &mut pooled);
        }
        pooled
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mode) in self.0.iter().enumerate() {
            write!(f, "{}{mode}", if i > 0 { "+" } else { "" })?;
        }
        Ok(())
    }
}

fn pool_one(mode: PoolingMode, tokens: ArrayView2<'_, f32>, pooled: &mut Vec<f32>) {
    let length = tokens.nrows();
    match mode {
        PoolingMode::Cls => pooled.extend(tokens.row(0)),
        PoolingMode::LastToken => pooled.extend(tokens.row(length - 1)),
        PoolingMode::Max => {
            // A NaN stays one, to be reported: `f32::max` would hide it.
            let greater = |a: f32, b: &f32| if a.is_nan() || *b <= a { a } else { *b };
            pooled.extend(tokens.axis_iter(Axis(1)).map(|column| column.fold(f32::NEG_INFINITY, greater)));
        }
        PoolingMode::Mean => pooled.extend(tokens.sum_axis(Axis(0)).iter().map(|sum| sum / length as f32)),
        PoolingMode::MeanSqrtLen => {
            pooled.extend(tokens.sum_axis(Axis(0)).iter().map(|sum| sum / (length as f32).sqrt()));
        }
        PoolingMode::WeightedMean => {
            let weights = (length * (length + 1) / 2) as f32;
            pooled.extend(tokens.axis_iter(Axis(1)).map(|column| {
                column.iter().zip(1..).map(|(value, weight)| value * weight as f32).sum::<f32>() / weights
            }));
        }
    }
}

/// How an embedding model's folder says its vectors are made.
#[derive(Debug)]
pub(crate) struct EmbeddingSpec {
    pub(crate) pooling: Pooling,
    /// What is done with the pooled vector, in order, before it is normalised.
    pub(crate) modules: Vec<Module>,
    /// The last module is `Normalize`.
    pub(crate) normalize: bool,
    /// Only the first dimensions are kept, after all modules (`truncate_dim`).
    pub(crate) truncate_dim: Option<usize>,
    /// Where the pooling is declared; none when it is assumed.
    pub(crate) declared_in: Option<String>,
    /// Named texts that go before an input, such as `query` → `query: `.
    pub(crate) prompts: Prompts,
    /// The prompt's tokens are pooled with the text's.
    pools_prompts: bool,
}

/// `config_sentence_transformers.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SentenceTransformersConfig {
    #[serde(flatten)]
    prompts: Prompts,
    truncate_dim: Option<i64>,
}

/// The prompts of `config_sentence_transformers.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Prompts {
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

impl Prompts {
    pub(crate) fn read(files: &mut Files) -> Result<Self> {
        let settings: SentenceTransformersConfig =
            files.optional_json("config_sentence_transformers.json")?.unwrap_or_default();
        Ok(settings.prompts)
    }

    /// What goes before a text that is neither query nor document: the prompt that `default_prompt_name` names.
    pub(crate) fn of_texts(&self) -> &str {
        self.first(self.default_prompt_name.as_slice())
    }

    /// What goes before a query. As in sentence-transformers' `encode_query`, the default prompt does not stand in.
    pub(crate) fn of_queries(&self) -> &str {
        self.first(&["query"])
    }

    /// What goes before a document, by the names and in the order that `encode_document` documents.
    pub(crate) fn of_documents(&self) -> &str {
        self.first(&["document", "passage", "corpus"])
    }

    /// The first of these prompts that the model declares, else nothing.
    fn first(&self, names: &[impl AsRef<str>]) -> &str {
        names.iter().find_map(|name| self.prompts.get(name.as_ref())).and_then(Option::as_deref).unwrap_or("")
    }

    /// Puts another text before queries (`query`) or documents (`document`).
    pub(crate) fn set(&mut self, name: &str, text: &str) {
        self.prompts.insert(name.to_owned(), Some(text.to_owned()));
    }

    fn any(&self) -> bool {
        self.prompts.values().flatten().any(|prompt| !prompt.is_empty())
    }

    fn check(&self, model: &str) -> Result<()> {
        match &self.default_prompt_name {
            Some(name) if !self.prompts.contains_key(name) && !["query", "document"].contains(&name.as_str()) => {
                Err(Error::model(format!(
                    "config_sentence_transformers.json of {model} names the default prompt `{name}`, and its prompts are \
                     {:?}",
                    self.prompts.keys().collect::<Vec<_>>()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// `1_Pooling/config.json`, as versions before 6 (a flag for each mode) and from 6 on (`pooling_mode`) write it.
#[derive(Debug, Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode: Option<OneOrMany>,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
    #[serde(default = "yes")]
    include_prompt: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(PoolingMode),
    Many(Vec<PoolingMode>),
}

fn yes() -> bool {
    true
}

impl PoolingConfig {
    fn modes(&self) -> Vec<PoolingMode> {
        match &self.pooling_mode {
            Some(OneOrMany::One(mode)) => vec![*mode],
            Some(OneOrMany::Many(modes)) => modes.clone(),
            None => [
                (self.pooling_mode_cls_token, PoolingMode::Cls),
                (self.pooling_mode_max_tokens, PoolingMode::Max),
                (self.pooling_mode_mean_tokens, PoolingMode::Mean),
                (self.pooling_mode_mean_sqrt_len_tokens, PoolingMode::MeanSqrtLen),
                (self.pooling_mode_weightedmean_tokens, PoolingMode::WeightedMean),
                (self.pooling_mode_lasttoken, PoolingMode::LastToken),
            ]
            .into_iter()
            .filter_map(|(on, mode)| on.then_some(mode))
            .collect(),
        }
    }
}

impl EmbeddingSpec {
    /// Reads `modules.json`; without one the pooling is what sentence-transformers assumes: the last token's vector for a
    /// language model that only looks back, else the mean.
    pub(crate) fn read(files: &mut Files, config: &Config) -> Result<Self> {
        Self::read_for(files, config, Place::Pooled)
    }

    /// As [`read`](Self::read), for a cross-encoder that makes its scores of a pooled vector.
    pub(super) fn read_for_scores(files: &mut Files, config: &Config) -> Result<Self> {
        Self::read_for(files, config, Place::Scores)
    }

    fn read_for(files: &mut Files, config: &Config, place: Place) -> Result<Self> {
        let settings: SentenceTransformersConfig =
            files.optional_json("config_sentence_transformers.json")?.unwrap_or_default();
        settings.prompts.check(files.name())?;
        let assumed = if config.is_causal_language_model() { PoolingMode::LastToken } else { PoolingMode::Mean };
        let mut spec = Self {
            pooling: Pooling::new(assumed),
            modules: Vec::new(),
            normalize: false,
            truncate_dim: settings.truncate_dim.map(|n| dimensions(n, files.name())).transpose()?,
            declared_in: None,
            prompts: settings.prompts,
            pools_prompts: true,
        };
        for entry in ModuleEntry::read_all(files)? {
            match entry.class() {
                // Dropout does nothing but in training.
                "Transformer" | "Dropout" => {}
                "Pooling" => spec.read_pooling(files, entry.folder()?)?,
                "Dense" => spec.modules.push(Module::Dense(Dense::read(files, entry.folder()?, place)?)),
                "LayerNorm" => spec.modules.push(Module::LayerNorm(LayerNorm::read(files, entry.folder()?)?)),
                "Normalize" => spec.modules.push(Module::Normalize),
                other => {
                    return Err(Error::model(format!(
                        "modules.json of {} has a module `{other}`, and Transformer, Pooling, Dense, LayerNorm and \
                         Normalize are the ones that can be run; export the model with that module inside the graph",
                        files.name()
                    )));
                }
            }
        }
        spec.normalize = spec.modules.pop_if(|module| matches!(module, Module::Normalize)).is_some();
        if let Some(entry) = files.entry() {
            spec.complete(entry);
        }
        Ok(spec)
    }

    /// Refuses prompts whose tokens are to be left out of the pooling; to be asked once all prompts are known.
    pub(crate) fn check_prompts(&self, model: &str) -> Result<()> {
        if self.pools_prompts || !self.prompts.any() {
            return Ok(());
        }
        Err(Error::model(format!(
            "{} of {model} leaves the prompt's tokens out of the pooling (include_prompt), which is not supported",
            self.declared_in.as_deref().unwrap_or("modules.json")
        )))
    }

    /// Takes from the catalogue what the folder does not say: exports often lack the files of sentence-transformers.
    fn complete(&mut self, entry: &CatalogueEntry) {
        if let (None, Some(mode)) = (&self.declared_in, entry.pooling()) {
            self.pooling = Pooling::new(mode);
            self.declared_in = Some(format!("the catalogue's {}", entry.name()));
        }
        if let (false, Some(prompts)) = (self.prompts.any(), entry.prompts()) {
            self.prompts.set("query", &prompts.query);
            self.prompts.set("document", &prompts.document);
        }
    }

    fn read_pooling(&mut self, files: &mut Files, folder: &str) -> Result<()> {
        if !self.modules.is_empty() {
            return Err(Error::model(format!(
                "modules.json of {} has `{folder}` after modules that work on pooled vectors",
                files.name()
            )));
        }
        let name = format!("{folder}/config.json");
        let config: PoolingConfig = files.required_json(&name)?;
        self.pooling = Pooling::joined(config.modes())
            .map_err(|_| Error::model(format!("{name} of {} turns on no pooling mode", files.name())))?;
        self.pools_prompts = config.include_prompt;
        self.declared_in = Some(name);
        Ok(())
    }
}

/// `truncate_dim` as a number of dimensions.
fn dimensions(truncate_dim: i64, model: &str) -> Result<usize> {
    usize::try_from(truncate_dim).ok().filter(|n| *n > 0).ok_or_else(|| {
        Error::model(format!(
            "truncate_dim in config_sentence_transformers.json of {model} is {truncate_dim}; it must be 1 or more"
        ))
    })
}

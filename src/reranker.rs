//! The cross-encoder engine: a query and documents → a ranking.

use std::ops::Range;
use std::path::PathBuf;

use crate::compute::ComputeType;
use crate::error::{Error, Result};
use crate::loading::{LoadOptions, Loaded, printable};
use crate::model::config::Config;
use crate::model::{LimitSource, ModelInfo, ModelSource, PairTemplate, Precision, Task};
use crate::pipeline;
use crate::ranking::{Activation, RankOptions, Ranking};
use crate::reading::{LateInteraction, Reading};
use crate::scores::Scores;
use crate::scoring::{CrossEncoder, PairScores};
#[cfg(feature = "internals")]
use crate::text::Tokens;
use crate::text::{Cut, Truncation};
use crate::windows::{LongDocuments, Plan, WindowOptions};

/// A cross-encoder: reads a query and a document together and scores the document's relevance.
///
/// It is used through `&self` from any number of threads. A pair's score depends on the pair alone: not on the other
/// documents of the call, their order, or the number of threads; it has the same bits each time.
///
/// ```
/// use crossrank::Reranker;
///
/// let reranker = Reranker::bundled()?;
/// let ranking = reranker.rerank(
///     "What year was Bitcoin created?",
///     &["Bitcoin mining requires power.", "Bitcoin was created in 2009 by Satoshi Nakamoto."],
/// )?;
/// assert_eq!(ranking.results()[0].index, 1);
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug)]
pub struct Reranker {
    loaded: Loaded,
    reading: Reading,
    activation: Activation,
    label: usize,
    long_documents: LongDocuments,
}

/// Collects how a [`Reranker`] is to be loaded.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct RerankerBuilder {
    load: LoadOptions,
    activation: Option<Activation>,
    label: Option<String>,
    long_documents: LongDocuments,
}

impl Reranker {
    /// The model that the crate carries (feature `bundled-models`), with all defaults.
    pub fn bundled() -> Result<Self> {
        Self::builder().build()
    }

    /// A model in a folder that has the layout of a Hub repository, with all defaults.
    pub fn from_dir(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder().model(ModelSource::dir(path)).build()
    }

    /// Starts from the defaults: the bundled model, all cores, the document cut where a pair is too long.
    pub fn builder() -> RerankerBuilder {
        RerankerBuilder::default()
    }

    /// What was loaded and how it runs.
    pub fn info(&self) -> &ModelInfo {
        &self.loaded.info
    }

    /// Ranks the documents by their relevance to the query, all of them, by the model's own activation.
    ///
    /// No documents give an empty ranking. An empty or blank query or document is scored like any other text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NonFinite`](crate::ErrorKind::NonFinite) if the model gives a document a score that is not a finite
    /// number, and [`ErrorKind::Inference`](crate::ErrorKind::Inference) if it fails on one; [`Error::document`] is its
    /// index. To keep the ranking of the other documents, use [`RankOptions::keep_going`].
    pub fn rerank<S: AsRef<str> + Sync>(&self, query: &str, documents: &[S]) -> Result<Ranking> {
        self.rerank_with(query, documents, &RankOptions::new())
    }

    /// Ranks the documents with options.
    ///
    /// ```
    /// use crossrank::{RankOptions, Reranker};
    ///
    /// let reranker = Reranker::bundled()?;
    /// let documents = ["Paris is the capital of France.", "Berlin is a city.", "Bread is baked."];
    /// let options = RankOptions::new().top_n(1).return_documents(true);
    /// let ranking = reranker.rerank_with("capital of France", &documents, &options)?;
    /// assert_eq!(ranking.results()[0].document.as_deref(), Some(documents[0]));
    /// assert!(ranking.truncated().is_empty());
    /// # Ok::<(), crossrank::Error>(())
    /// ```
    pub fn rerank_with<S: AsRef<str> + Sync>(
        &self,
        query: &str,
        documents: &[S],
        options: &RankOptions,
    ) -> Result<Ranking> {
        Ranking::build(self.score(query, documents)?, documents, options)
    }

    /// Scores each document, in the order of the documents: what sentence-transformers calls `predict`.
    ///
    /// A document that cannot be scored has an `Err` in its place. Equal documents are run once.
    pub fn score<S: AsRef<str> + Sync>(&self, query: &str, documents: &[S]) -> Result<PairScores> {
        let Loaded { encoder, engine, .. } = &self.loaded;
        if let Reading::Late(late) = &self.reading {
            return self.score_apart(late, query, documents);
        }
        let query = encoder.query(query)?;
        let plan = self.plan(documents, |document, options| encoder.windows(&query, document, options));
        let processed = pipeline::process(
            engine,
            &plan.texts(documents),
            |document| encoder.pair(&query, document),
            |_, output| self.reading.logits(output),
        );
        Ok(self.scores().collect(&processed, &plan, documents, Cut::default()))
    }

    /// Late interaction: the query is run once, each document by itself, and their vectors are compared.
    fn score_apart<S: AsRef<str> + Sync>(
        &self,
        late: &LateInteraction,
        query: &str,
        documents: &[S],
    ) -> Result<PairScores> {
        let Loaded { encoder, engine, .. } = &self.loaded;
        let (tokens, cut) = late.texts.query(encoder, query)?;
        let lost = || Error::new(crate::ErrorKind::Inference, "the query was not run");
        let query = engine.run(&[tokens], |_, output| late.query(output)).pop().ok_or_else(lost)??;
        let plan = self.plan(documents, |document, options| late.texts.windows(encoder, document, options));
        let processed = pipeline::process(
            engine,
            &plan.texts(documents),
            |document| late.texts.document(encoder, document),
            |tokens, output| Ok(vec![late.similarity(&query, tokens, output)?]),
        );
        let of_query = Cut { query: cut.document, document: 0, at_least: cut.at_least };
        Ok(self.scores().collect(&processed, &plan, documents, of_query))
    }

    fn scores(&self) -> Scores<'_> {
        Scores {
            encoder: &self.loaded.encoder,
            activation: self.activation,
            label: self.label,
            long_documents: self.long_documents,
        }
    }

    /// The number of a text's tokens, special tokens not among them.
    ///
    /// Of a text of more than 64 KiB, only as many are counted as decide whether the model can read it whole: then the
    /// number is a lower bound.
    ///
    /// ```
    /// let reranker = crossrank::Reranker::bundled()?;
    /// assert_eq!(reranker.count_tokens("Paris is the capital of France.")?, 7);
    /// # Ok::<(), crossrank::Error>(())
    /// ```
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        self.loaded.encoder.count(text).map(|(tokens, _)| tokens)
    }

    /// In which parts the documents are read.
    fn plan<S: AsRef<str> + Sync>(
        &self,
        documents: &[S],
        windows: impl Fn(&str, &WindowOptions) -> Result<Vec<Range<usize>>> + Sync + Send,
    ) -> Plan {
        let LongDocuments::Windows(options) = self.long_documents else { return Plan::whole(documents.len()) };
        Plan::new(self.loaded.engine.map(documents, |document| {
            // A text that the tokenizer refuses is refused again when it is to be run, and reported then.
            windows(document.as_ref(), &options).unwrap_or_default()
        }))
    }

    /// The tokens of each pair.
    #[cfg(feature = "internals")]
    pub(crate) fn tokenise<S: AsRef<str> + Sync>(&self, query: &str, documents: &[S]) -> Result<Vec<Tokens>> {
        let Loaded { encoder, engine, .. } = &self.loaded;
        let query = encoder.query(query)?;
        let pair = |document: &S| encoder.pair(&query, document.as_ref()).map(|(tokens, _)| tokens);
        engine.map(documents, pair).into_iter().collect()
    }
}

impl CrossEncoder for Reranker {
    fn name(&self) -> String {
        self.loaded.info.title()
    }

    fn score(&self, query: &str, documents: &[&str]) -> Result<PairScores> {
        Reranker::score(self, query, documents)
    }
}

impl RerankerBuilder {
    /// The model; by default the bundled cross-encoder.
    pub fn model(mut self, source: impl Into<ModelSource>) -> Self {
        self.load.source = source.into();
        self
    }

    /// The ONNX file within the model, such as `onnx/model_O3.onnx`; by default `model.onnx`, else `onnx/model.onnx`, else
    /// an encoder-decoder's two (`encoder_model.onnx` and `decoder_model.onnx`; the name of one of them means both), else the
    /// only one that there is. Of several others none is taken: the error lists them.
    pub fn onnx_file(mut self, name: impl Into<String>) -> Self {
        self.load.file.onnx_file = Some(name.into());
        self
    }

    /// The precision of the ONNX file, where the model has several: see [`Precision::file_names`]. Together with
    /// [`onnx_file`](Self::onnx_file), and for the bundled models, which have one file, it is an error.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.load.file.precision = Some(precision);
        self
    }

    /// The number of workers, 1024 at most; by default one for each core that the process may use, in a pool that all
    /// engines of the process share. With a number, the engine has a pool of its own. The weights are in memory once.
    pub fn threads(mut self, n: usize) -> Self {
        self.load.threads = Some(n);
        self
    }

    /// In which numbers the model's layers are computed: see [`ComputeType`], also for the default.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) fails if integers are asked for and the graph has no layers that could be computed so.
    pub fn compute_type(mut self, compute: ComputeType) -> Self {
        self.load.compute = Some(compute);
        self
    }

    /// The most tokens of a pair, special tokens included; by default what the model declares. A larger number than
    /// the model has positions for is an error.
    pub fn max_length(mut self, tokens: usize) -> Self {
        self.load.max_length = Some(tokens);
        self
    }

    /// What is cut when a pair is too long; by default the end of the document (its beginning, where
    /// `tokenizer_config.json` declares `truncation_side` left). Of a model that is asked in one text, as most language
    /// models are, only the document can be cut: [`build`](Self::build) refuses another strategy.
    pub fn truncation(mut self, truncation: Truncation) -> Self {
        self.load.truncation = Some(truncation);
        self
    }

    /// The template in which a pair is put to the model, where its folder does not say which one it is for. By default
    /// a language model is asked through its chat template, if that has the roles `query` and `document`, else in the
    /// words that its architecture is known for (Qwen3: Qwen3-Reranker, Qwen2: mxbai-rerank-v2, Gemma:
    /// bge-reranker-v2-gemma, T5: monoT5); every other model through its tokenizer's template.
    pub fn template(mut self, template: PairTemplate) -> Self {
        self.load.format.template = Some(template);
        self
    }

    /// What the model is told to look for: the instruction in a language model's template. By default the model's own.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) fails if the model's template has no place for one.
    pub fn instruction(mut self, text: impl Into<String>) -> Self {
        self.load.format.instruction = Some(text.into());
        self
    }

    /// What is done with a document that is too long to be read beside the query; by default it is cut.
    pub fn long_documents(mut self, how: LongDocuments) -> Self {
        self.long_documents = how;
        self
    }

    /// What turns logits into scores; by default what the folder declares, else sigmoid for one logit (none for late
    /// interaction, whose score is a sum of similarities) and softmax for several.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }

    /// The label whose score is the relevance, by its name in `config.json`. By default it is the only one; of several,
    /// the one that is named `entailment`, `relevant`, `positive`, `true` or `yes`; of two without names of their own,
    /// the second.
    pub fn label(mut self, name: impl Into<String>) -> Self {
        self.label = Some(name.into());
        self
    }

    /// Loads the model and makes a trial run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Runtime`](crate::ErrorKind::Runtime) without a usable ONNX Runtime, [`ErrorKind::Model`](crate::ErrorKind::Model) if the model's files cannot be used,
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for an impossible option, [`ErrorKind::Io`](crate::ErrorKind::Io) if a file cannot be read.
    pub fn build(self) -> Result<Reranker> {
        let mut loaded = Loaded::new(&self.load, Task::CrossEncoder)?;
        let Some(head) = loaded.head.take() else {
            return Err(Error::model("the model has no description of its head"));
        };
        let mut reading = Reading::new(head, &loaded.encoder, &loaded.info.name)?;
        let labels = reading.check(&loaded.trial_shape).map_err(|wanted| {
            Error::model(format!(
                "the output `{}` of {} has the shape {:?} for one pair; {wanted}",
                loaded.info.output, loaded.info.name, loaded.trial_shape
            ))
        })?;
        let config = &loaded.declared.config;
        let names = match &reading {
            Reading::Labels => label_names(config, labels, &loaded.info.name)?,
            // An encoder's configuration mostly has no labels of its own.
            Reading::Pooled(_) if labels > 1 => label_names(config, labels, &loaded.info.name)?,
            Reading::Pooled(_) | Reading::NextToken { .. } | Reading::Late(_) => Vec::new(),
        };
        let label = choose_label(&names, labels, self.label.as_deref(), &loaded.info.name)?;
        let declared = if self.activation.is_none() { loaded.declared.activation()? } else { None };
        let usual = match &reading {
            Reading::Late(_) => Activation::Identity,
            _ if labels == 1 => Activation::Sigmoid,
            _ => Activation::Softmax,
        };
        let activation = self.activation.or(declared).unwrap_or(usual);
        if labels == 1 && activation == Activation::Softmax {
            return Err(Error::model(format!(
                "{} gives one score for a pair, and softmax over one score is always 1; choose another activation",
                loaded.info.name
            )));
        }
        loaded.info.score_label = names.get(label).map(|name| printable(name));
        loaded.info.labels = names.iter().map(|name| printable(name)).collect();
        loaded.info.activation = Some(activation);
        if let Reading::Late(late) = &reading {
            (loaded.info.max_length, loaded.info.max_length_source) =
                (late.texts.document_length(), LimitSource::Document);
        }
        loaded.info.long_documents = self.long_documents;
        loaded.info.head = Some(reading.describe(&loaded.encoder));
        Ok(Reranker { loaded, reading, activation, label, long_documents: self.long_documents })
    }
}

fn label_names(config: &Config, labels: usize, model: &str) -> Result<Vec<String>> {
    let names = config.labels()?;
    if names.is_empty() || names.len() == labels {
        return Ok(names);
    }
    Err(Error::model(format!(
        "the graph of {model} gives {labels} scores for a pair, but config.json names {} labels: is this another \
         model's config.json, or a graph that is no cross-encoder?",
        names.len()
    )))
}

/// Names that say "relevant".
const POSITIVE: [&str; 5] = ["entailment", "relevant", "positive", "true", "yes"];

fn choose_label(names: &[String], labels: usize, wanted: Option<&str>, model: &str) -> Result<usize> {
    let find = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    let unnamed = names.iter().enumerate().all(|(i, name)| *name == format!("LABEL_{i}"));
    let found = match (wanted, labels) {
        (Some(wanted), _) => find(wanted),
        (None, 1) => Some(0),
        // The custom of two-label rerankers, where nothing else is known.
        (None, 2) if unnamed => Some(1),
        (None, _) => match POSITIVE.iter().filter_map(|name| find(name)).collect::<Vec<_>>().as_slice() {
            [one] => Some(*one),
            _ => None,
        },
    };
    found.ok_or_else(|| {
        let names = if names.is_empty() { "config.json names none".to_owned() } else { names.join(", ") };
        Error::model(format!(
            "{model} gives {labels} scores for a pair, and it is not known which one is the relevance: name one of its \
             labels ({}) with `label`",
            printable(&names)
        ))
    })
}

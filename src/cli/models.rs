//! The options that name models, and loading what they name.

use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::job::Settings;
use super::output::message;
use super::progress;
use super::reading::ReadingOptions;
use super::text::count;
use crossrank::{ComputeType, Embedder, ModelInfo, ModelSource, Precision, Reranker, TruncatedDocument, runtime};

/// The cross-encoder of a command.
#[derive(Debug, Args)]
pub(super) struct RerankerOptions {
    /// The cross-encoder: `bundled`, `bundled:small` (more than twice as fast), a folder with model.onnx, config.json and
    /// tokenizer.json (the layout of a Hugging Face Hub repository), a name that `crossrank models list` shows, or `hub:ORG/NAME[@REVISION]`
    #[arg(long, value_name = "MODEL", default_value = "bundled")]
    pub(super) reranker: String,
    #[command(flatten)]
    reading: ReadingOptions,
}

/// The bi-encoder of a command.
#[derive(Debug, Args)]
pub(super) struct EmbedderOptions {
    /// The embedding model: `bundled`, a folder with model.onnx, config.json, tokenizer.json and, where the model has one,
    /// modules.json, a name that `crossrank models list` shows, or `hub:ORG/NAME[@REVISION]`
    #[arg(long, value_name = "MODEL", default_value = "bundled")]
    pub(super) embedder: String,
    /// Keep only the first N dimensions of each embedding (for models that were trained for it) [default: what the model
    /// says, else all]
    #[arg(long, value_name = "N")]
    pub(super) dimensions: Option<usize>,
}

/// How the engines run.
#[derive(Debug, Args)]
pub(super) struct EngineOptions {
    /// The number of worker threads [default: every core that this process may use]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,

    /// The numbers in which the models' layers are computed: onnxruntime, float32, int16, int8 or w8a8 [default: what the
    /// model's file says, else w8a8 for the bundled cross-encoders, int16 for the bundled bi-encoder, float32 for others]
    #[arg(long, value_name = "TYPE")]
    pub(super) compute: Option<ComputeType>,

    /// Which ONNX file of a model is read, where it has several: fp32, fp16, int8, uint8, quantized, q4, q4f16 or bnb4
    /// [default: fp32, else the only file]. The bundled models have one each, and keep it
    #[arg(long, value_name = "PRECISION")]
    pub(super) precision: Option<Precision>,
}

impl EngineOptions {
    /// Refuses a --precision that would mean nothing, as only bundled models are named.
    pub(super) fn check(&self, models: &[&str]) -> Result<(), Failure> {
        match self.precision {
            Some(precision) if models.iter().all(|name| bundled(name)) => Err(Failure::Setup(format!(
                "--precision {precision} chooses among the ONNX files of a model, and the bundled models have one each; \
                 name another model with it"
            ))),
            _ => Ok(()),
        }
    }
}

/// A loaded engine and the time that loading took.
pub(super) struct Timed<T> {
    pub(super) engine: T,
    pub(super) load_time: Duration,
}

/// Loads a model into an engine. The two builders have these methods, and no trait, in common.
macro_rules! load {
    ($engine:ident, $name:expr, $options:expr, $reading:expr) => {{
        let start = Instant::now();
        let (source, options): (ModelSource, &EngineOptions) = (source($name)?, $options);
        let precision = options.precision.filter(|_| !source.is_bundled());
        let mut builder = $reading($engine::builder().model(source))?;
        if let Some(precision) = precision {
            builder = builder.precision(precision);
        }
        if let Some(threads) = options.threads {
            builder = builder.threads(threads);
        }
        if let Some(compute) = options.compute {
            builder = builder.compute_type(compute);
        }
        let engine = builder.build()?;
        Ok(Timed { engine, load_time: start.elapsed() })
    }};
}

impl RerankerOptions {
    pub(super) fn load(&self, engine: &EngineOptions) -> Result<Timed<Reranker>, Failure> {
        load!(Reranker, &self.reranker, engine, |builder| self.reading.apply(builder))
    }
}

impl EmbedderOptions {
    pub(super) fn load(&self, engine: &EngineOptions) -> Result<Timed<Embedder>, Failure> {
        self.load_with_prompt(engine, None)
    }

    /// As [`load`](Self::load), with another prompt for documents than the model's own.
    pub(super) fn load_with_prompt(
        &self,
        engine: &EngineOptions,
        prompt: Option<&str>,
    ) -> Result<Timed<Embedder>, Failure> {
        load!(Embedder, &self.embedder, engine, |mut builder: crossrank::EmbedderBuilder| {
            if let Some(dimensions) = self.dimensions {
                builder = builder.dimensions(dimensions);
            }
            if let Some(prompt) = prompt {
                builder = builder.document_prompt(prompt);
            }
            Ok::<_, Failure>(builder)
        })
    }
}

fn bundled(name: &str) -> bool {
    ModelSource::parse(name).is_ok_and(|source| source.is_bundled())
}

/// The model that a name means; what happens while it is fetched is shown.
fn source(name: &str) -> Result<ModelSource, Failure> {
    let source = ModelSource::parse(name)?;
    Ok(match source.hub_model() {
        Some(model) => model.clone().progress(progress::listener(progress::summary)).into(),
        None => source,
    })
}

/// Adds all of a loaded model that decides its numbers, and the ONNX Runtime that it runs on.
pub(super) fn describe(option: &str, info: &ModelInfo, settings: &mut Settings) {
    let runtime = runtime::load().map_or(String::new(), |runtime| runtime.version().to_owned());
    let files: Vec<String> = info.files.iter().map(|file| format!("{} {}", file.name, file.bytes)).collect();
    let model = format!(
        "{}, {}, {} tokens, {} on {} ({})",
        info.title(),
        info.commit.as_deref().unwrap_or("no commit"),
        info.max_length,
        info.compute,
        info.kernels,
        files.join(", ")
    );
    let reading = format!("{:?} {:?} {:?}", info.template, info.long_documents, info.dimensions);
    settings.insert("ONNX Runtime".to_owned(), runtime);
    settings.insert(option.to_owned(), model);
    settings.insert(format!("{option}: what it reads"), reading);
}

/// Loads ONNX Runtime and says which libraries were passed over before one could be used.
pub(super) fn load_runtime() -> Result<&'static runtime::Runtime, Failure> {
    let runtime = runtime::load()?;
    for library in runtime.passed_over() {
        message(&format!("warning: an ONNX Runtime library was passed over: {library}"));
    }
    if !runtime.passed_over().is_empty() {
        message(&format!("warning: ONNX Runtime {} is used instead ({})", runtime.version(), runtime.place()));
    }
    Ok(runtime)
}

/// What was left out to fit a model's limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cut {
    documents: u64,
    tokens: u64,
    /// The most that a query lost.
    query_tokens: u64,
    /// Whether the numbers of tokens are lower bounds.
    at_least: bool,
}

impl Cut {
    /// What was cut of a query and its documents.
    pub(super) fn of(truncated: &[TruncatedDocument]) -> Self {
        Self {
            documents: truncated.iter().filter(|cut| cut.dropped_tokens > 0).count() as u64,
            tokens: truncated.iter().map(|cut| cut.dropped_tokens as u64).sum(),
            query_tokens: truncated.iter().map(|cut| cut.dropped_query_tokens as u64).max().unwrap_or(0),
            at_least: truncated.iter().any(|cut| cut.at_least),
        }
    }

    pub(super) fn add(&mut self, other: &Cut) {
        self.documents += other.documents;
        self.tokens += other.tokens;
        self.query_tokens = self.query_tokens.max(other.query_tokens);
        self.at_least |= other.at_least;
    }

    /// Says what was cut, if anything was; `whose` is whose limit was exceeded.
    pub(super) fn report(&self, whose: &str, limit: usize) {
        for text in self.in_words(whose, limit) {
            message(&format!("warning: {text}"));
        }
    }

    /// What [`report`](Self::report) says.
    pub(super) fn in_words(&self, whose: &str, limit: usize) -> Vec<String> {
        let at_least = if self.at_least { "at least " } else { "" };
        let documents = match self.documents {
            1 => "1 document was".to_owned(),
            n => format!("{n} documents were"),
        };
        // How many queries were, is not known: one may come in several parts.
        let cut = [(documents, self.tokens), ("a query was".to_owned(), self.query_tokens)];
        let in_words = |(were, tokens)| {
            let tokens = count(tokens, "token");
            format!("{were} cut to fit the {limit} tokens of {whose}: {at_least}{tokens} left out")
        };
        cut.into_iter().filter(|(_, tokens)| *tokens > 0).map(in_words).collect()
    }
}

/// Says that documents were cut; `whose` is whose limit they exceeded.
pub(super) fn report_truncated(truncated: &[TruncatedDocument], whose: &str, limit: usize) {
    Cut::of(truncated).report(whose, limit);
}

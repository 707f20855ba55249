//! The options that name models, and loading what they name.

use std::time::{Duration, Instant};

use clap::Args;

use super::failure::Failure;
use super::output::message;
use super::reading::ReadingOptions;
use super::text::count;
use crossrank::{ComputeType, Embedder, ModelSource, Reranker, TruncatedDocument, runtime};

/// The cross-encoder of a command.
#[derive(Debug, Args)]
pub(super) struct RerankerOptions {
    /// The cross-encoder: `bundled`, or a folder with model.onnx, config.json and tokenizer.json (the layout of a
    /// Hugging Face Hub repository)
    #[arg(long, value_name = "MODEL", default_value = "bundled")]
    pub(super) reranker: String,
    #[command(flatten)]
    reading: ReadingOptions,
}

/// The bi-encoder of a command.
#[derive(Debug, Args)]
pub(super) struct EmbedderOptions {
    /// The embedding model: `bundled`, or a folder with model.onnx, config.json, tokenizer.json and, where the model
    /// has one, modules.json
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

    /// The numbers in which the models' layers are computed: onnxruntime, float32, int16 or int8 [default: what the model's
    /// file says, else int16 for the bundled models and float32 for others]
    #[arg(long, value_name = "TYPE")]
    pub(super) compute: Option<ComputeType>,
}

/// A loaded engine and the time that loading took.
pub(super) struct Timed<T> {
    pub(super) engine: T,
    pub(super) load_time: Duration,
}

impl RerankerOptions {
    pub(super) fn load(&self, engine: &EngineOptions) -> Result<Timed<Reranker>, Failure> {
        let start = Instant::now();
        let mut builder = self.reading.apply(Reranker::builder().model(source(&self.reranker)));
        if let Some(threads) = engine.threads {
            builder = builder.threads(threads);
        }
        if let Some(compute) = engine.compute {
            builder = builder.compute_type(compute);
        }
        let engine = builder.build()?;
        Ok(Timed { engine, load_time: start.elapsed() })
    }
}

impl EmbedderOptions {
    pub(super) fn load(&self, engine: &EngineOptions) -> Result<Timed<Embedder>, Failure> {
        let start = Instant::now();
        let mut builder = Embedder::builder().model(source(&self.embedder));
        if let Some(threads) = engine.threads {
            builder = builder.threads(threads);
        }
        if let Some(compute) = engine.compute {
            builder = builder.compute_type(compute);
        }
        if let Some(dimensions) = self.dimensions {
            builder = builder.dimensions(dimensions);
        }
        let engine = builder.build()?;
        Ok(Timed { engine, load_time: start.elapsed() })
    }
}

fn source(name: &str) -> ModelSource {
    match name {
        "bundled" => ModelSource::bundled(),
        path => ModelSource::dir(path),
    }
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

/// Says that documents were cut; `whose` is whose limit they exceeded.
pub(super) fn report_truncated(truncated: &[TruncatedDocument], whose: &str, limit: usize) {
    if truncated.is_empty() {
        return;
    }
    let tokens: usize = truncated.iter().map(|cut| cut.dropped_tokens).sum();
    let at_least = if truncated.iter().any(|cut| cut.at_least) { "at least " } else { "" };
    message(&format!(
        "warning: {} cut to fit the {limit} tokens of {whose}: {at_least}{} left out",
        match truncated.len() {
            1 => "1 document was".to_owned(),
            n => format!("{n} documents were"),
        },
        count(tokens, "token")
    ));
    let of_query = truncated.iter().map(|cut| cut.dropped_query_tokens).max().unwrap_or(0);
    if of_query > 0 {
        message(&format!("warning: the query was cut too, by {at_least}{}", count(of_query, "token")));
    }
}

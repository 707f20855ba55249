//! The options of a cascade: how many documents the cross-encoder reads, and the bi-encoder that chooses them. The fusion of a
//! first stage's results has that bi-encoder, too.

use clap::Args;

use super::failure::Failure;
use super::models::{EmbedderOptions, EngineOptions, Timed};
use crossrank::{Candidates, Embedder};

/// What a bi-encoder is wanted for: one thing at a time.
pub(super) const BI_ENCODER: &str = "bi-encoder";

/// The first stage of a command.
#[derive(Debug, Args)]
pub(super) struct CascadeArguments {
    /// Embed all documents, and give the cross-encoder only the M that are most similar to the query; with `auto`, 10
    /// to 50 of them, cut at the largest gap between neighbouring similarities. The others follow by similarity; with
    /// --threshold they are left out. It saves time where the embedding model is faster than the cross-encoder
    #[arg(long, value_name = "M|auto", value_parser = candidates, group = BI_ENCODER)]
    cascade: Option<Candidates>,
    /// The embedding model of --cascade or --fusion: `bundled`, a folder with model.onnx, config.json, tokenizer.json and, where the
    /// model has one, modules.json, a name that `crossrank models list` shows, or `hub:ORG/NAME[@REVISION]`
    #[arg(long, value_name = "MODEL", default_value = "bundled", requires = BI_ENCODER)]
    embedder: String,
    /// Keep only the first N dimensions of each embedding of --cascade or --fusion
    #[arg(long, value_name = "N", requires = BI_ENCODER)]
    dimensions: Option<usize>,
}

impl CascadeArguments {
    /// How many documents the bi-encoder chooses, if a cascade is wanted.
    pub(super) fn candidates(&self) -> Option<Candidates> {
        self.cascade
    }

    /// The name of the bi-encoder.
    pub(super) fn embedder(&self) -> &str {
        &self.embedder
    }

    /// Loads the bi-encoder.
    pub(super) fn load(&self, engine: &EngineOptions) -> Result<Timed<Embedder>, Failure> {
        EmbedderOptions { embedder: self.embedder.clone(), dimensions: self.dimensions }.load(engine)
    }
}

pub(super) fn candidates(text: &str) -> Result<Candidates, String> {
    match text.parse::<usize>() {
        _ if text == "auto" => Ok(Candidates::default()),
        Ok(m) if m > 0 => Ok(Candidates::Fixed(m)),
        _ => Err("a whole number from 1 is needed, or `auto`".to_owned()),
    }
}

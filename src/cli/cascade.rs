//! The options of a cascade: how many documents the cross-encoder reads, and the bi-encoder that chooses them.

use clap::Args;

use super::failure::Failure;
use super::models::{EmbedderOptions, EngineOptions, Timed};
use crossrank::{Candidates, Embedder};

/// The first stage of a command.
#[derive(Debug, Args)]
pub(super) struct CascadeArguments {
    /// Embed all documents, and give the cross-encoder only the M that are most similar to the query; with `auto`, 10
    /// to 50 of them, cut at the largest gap between neighbouring similarities. The others follow by similarity; with
    /// --threshold they are left out. It saves time where the embedding model is faster than the cross-encoder
    #[arg(long, value_name = "M|auto", value_parser = candidates)]
    cascade: Option<Candidates>,
    /// The embedding model of --cascade: `bundled`, a folder with model.onnx, config.json, tokenizer.json and, where the
    /// model has one, modules.json, a name that `crossrank models list` shows, or `hub:ORG/NAME[@REVISION]`
    #[arg(long, value_name = "MODEL", default_value = "bundled", requires = "cascade")]
    embedder: String,
    /// Keep only the first N dimensions of each embedding of --cascade
    #[arg(long, value_name = "N", requires = "cascade")]
    dimensions: Option<usize>,
}

impl CascadeArguments {
    /// The model that is named, if a cascade is wanted.
    pub(super) fn model(&self) -> Option<&str> {
        self.cascade.map(|_| self.embedder.as_str())
    }

    /// The bi-encoder and how many candidates it chooses, if a cascade is wanted.
    pub(super) fn load(&self, engine: &EngineOptions) -> Result<Option<(Timed<Embedder>, Candidates)>, Failure> {
        let Some(candidates) = self.cascade else { return Ok(None) };
        let embedder = EmbedderOptions { embedder: self.embedder.clone(), dimensions: self.dimensions };
        Ok(Some((embedder.load(engine)?, candidates)))
    }
}

pub(super) fn candidates(text: &str) -> Result<Candidates, String> {
    match text.parse::<usize>() {
        _ if text == "auto" => Ok(Candidates::default()),
        Ok(m) if m > 0 => Ok(Candidates::Fixed(m)),
        _ => Err("a whole number from 1 is needed, or `auto`".to_owned()),
    }
}

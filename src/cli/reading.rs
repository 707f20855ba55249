//! How a reranker reads a pair: the options that say how it is asked, and what is done with long documents.

use clap::{Args, ValueEnum};

use super::failure::Failure;
use crossrank::{Combine, LongDocuments, PairTemplate, RerankerBuilder, WindowOptions};

/// How the cross-encoder reads a query and a document.
#[derive(Debug, Args)]
pub(super) struct ReadingOptions {
    /// What is done with a document that is too long for the cross-encoder: it is cut, or it is read in windows, each with
    /// the whole query
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Long::Truncate)]
    long: Long,

    /// How the scores of --long windows become the document's: max, mean or first [default: max]
    #[arg(long, value_name = "HOW", requires = "long")]
    combine: Option<Combine>,

    /// The most tokens that neighbouring windows have in common [default: 64]
    #[arg(long, value_name = "TOKENS", requires = "long")]
    overlap: Option<usize>,

    /// The most tokens of a query and a document together [default: what the model declares, 8192 at most]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,

    /// The template in which a pair is put to the model, where its folder does not say which one it is for: tokenizer,
    /// qwen3-reranker, mxbai-rerank-v2, bge-reranker-v2-gemma or monot5
    #[arg(long, value_name = "NAME")]
    template: Option<PairTemplate>,

    /// What a language model is told to look for, instead of its own instruction
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    instruction: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Long {
    /// Cut it, and say so
    Truncate,
    /// Read it in windows
    Windows,
}

impl ReadingOptions {
    pub(super) fn apply(&self, mut builder: RerankerBuilder) -> Result<RerankerBuilder, Failure> {
        if self.long == Long::Windows {
            let mut windows = WindowOptions::new().combine(self.combine.unwrap_or_default());
            if let Some(tokens) = self.overlap {
                windows = windows.overlap(tokens);
            }
            builder = builder.long_documents(LongDocuments::Windows(windows));
        } else if self.combine.is_some() || self.overlap.is_some() {
            return Err(Failure::Setup("--combine and --overlap are for --long windows; name that too".to_owned()));
        }
        if let Some(tokens) = self.max_length {
            builder = builder.max_length(tokens);
        }
        if let Some(template) = self.template {
            builder = builder.template(template);
        }
        Ok(match &self.instruction {
            Some(text) => builder.instruction(text),
            None => builder,
        })
    }
}

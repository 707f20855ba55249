//! fastembed-rs as a driver of benches/peers: `TextRerank::rerank` on a user-defined model.
//!
//! Options: `batch=N`, the batch size (default: the library's own, 256 documents).

#[path = "../../protocol.rs"]
mod protocol;

use std::path::Path;

use anyhow::{Context, Result, bail};
use fastembed::{RerankInitOptionsUserDefined, TextRerank, TokenizerFiles, UserDefinedRerankingModel};
use protocol::Arguments;
use serde_json::json;

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join(name);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

fn load(arguments: &Arguments) -> Result<TextRerank> {
    let folder = &arguments.model;
    let tokenizer = TokenizerFiles {
        tokenizer_file: read(folder, "tokenizer.json")?,
        config_file: read(folder, "config.json")?,
        special_tokens_map_file: read(folder, "special_tokens_map.json")?,
        tokenizer_config_file: read(folder, "tokenizer_config.json")?,
    };
    let mut options = RerankInitOptionsUserDefined::new().with_intra_threads(arguments.threads);
    options.max_length = arguments.max_length;
    let model = UserDefinedRerankingModel::new(folder.join("model.onnx"), tokenizer);
    Ok(TextRerank::try_new_from_user_defined(model, options)?)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    let mut batch = None;
    for (key, value) in &arguments.options {
        match key.as_str() {
            "batch" => batch = Some(value.parse().context("batch")?),
            _ => bail!("fastembed-rs has no option `{key}`"),
        }
    }
    let mut reranker = load(&arguments)?;
    protocol::serve(&arguments, json!({}), |query, documents| {
        let ranking = reranker.rerank::<String>(query.to_owned(), documents, false, batch)?;
        Ok(ranking.iter().map(|result| (result.index, result.score)).collect())
    })
}

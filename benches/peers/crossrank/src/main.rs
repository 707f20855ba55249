//! crossrank as a driver of benches/peers: `Reranker::rerank_with`, raw scores, everything else at its defaults.
//!
//! Options: `file=NAME`, the ONNX file within the model's folder; `compute=TYPE`, the compute type.

#[path = "../../protocol.rs"]
mod protocol;

use anyhow::{Result, bail};
use crossrank::{ModelSource, RankOptions, Reranker};
use protocol::Arguments;
use serde_json::json;

fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    let mut builder = Reranker::builder()
        .model(ModelSource::dir(&arguments.model))
        .threads(arguments.threads)
        .max_length(arguments.max_length);
    for (key, value) in &arguments.options {
        builder = match key.as_str() {
            "file" => builder.onnx_file(value),
            "compute" => builder.compute_type(value.parse()?),
            _ => bail!("crossrank has no option `{key}`"),
        };
    }
    let reranker = builder.build()?;
    let versions = json!({"ONNX Runtime": crossrank::runtime::load()?.version()});
    let options = RankOptions::new().raw_scores(true);
    protocol::serve(&arguments, versions, |query, documents| {
        let ranking = reranker.rerank_with(query, documents, &options)?;
        Ok(ranking.iter().map(|result| (result.index, result.score)).collect())
    })
}

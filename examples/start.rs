//! How long a program takes to its first score, and to what of it: loading ONNX Runtime, loading a model, the first pair,
//! another one.
//!
//!     cargo run --release --example start -- [COMPUTE [THREADS [FOLDER]]]
//!
//! Without arguments: the bundled cross-encoder as it runs by default. Start it several times: the first start reads files
//! that are not in memory yet.

use std::time::Instant;

use crossrank::{ModelSource, Reranker, Result, runtime};

fn main() -> Result<()> {
    let start = Instant::now();
    let mut before = 0.0;
    let mut step = |what: &str| {
        let now = start.elapsed().as_secs_f64() * 1e3;
        println!("{now:7.1} ms (+ {:5.1})  {what}", now - before);
        before = now;
    };
    let mut arguments = std::env::args().skip(1);
    let mut builder = Reranker::builder();
    if let Some(compute) = arguments.next() {
        builder = builder.compute_type(compute.parse()?);
    }
    if let Some(threads) = arguments.next().and_then(|n| n.parse().ok()) {
        builder = builder.threads(threads);
    }
    if let Some(folder) = arguments.next() {
        builder = builder.model(ModelSource::dir(folder));
    }

    let version = runtime::load()?.version().to_owned();
    step(&format!("ONNX Runtime {version} is loaded"));
    let reranker = builder.build()?;
    step(&format!("{} is loaded, and has run once to see that it works", reranker.info().title()));
    reranker.score("capital of France", &["Paris is the capital of France."])?;
    step("the first score");
    reranker.score("capital of France", &["Berlin is a city in Germany."])?;
    step("another one");
    Ok(())
}

//! The line protocol of benches/peers for drivers in Rust; both crates include this file.
//!
//! A driver loads its model, scores one pair and writes a line that says so. Then it answers requests, one JSON object
//! a line: `{"load": NAME}` runs the query and the documents of that name once and says how many seconds the engine
//! took; with `"scores": true` the logits go with it. The texts are read from a file only after the first score.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// The pair that every driver scores before it says that it is ready.
pub const FIRST: (&str, &str) =
    ("What is the capital of France?", "Paris is the capital and the largest city of France.");

/// What the command line says: `--model DIR --texts FILE --threads N --max-length N KEY=VALUE…`.
pub struct Arguments {
    pub model: PathBuf,
    pub texts: PathBuf,
    pub threads: usize,
    pub max_length: usize,
    /// Whatever else the engine can be told.
    pub options: HashMap<String, String>,
}

impl Arguments {
    pub fn parse() -> Result<Self> {
        let mut named = HashMap::new();
        let mut options = HashMap::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if let Some(name) = argument.strip_prefix("--") {
                let value = arguments.next().with_context(|| format!("--{name} needs a value"))?;
                named.insert(name.to_owned(), value);
            } else if let Some((key, value)) = argument.split_once('=') {
                options.insert(key.to_owned(), value.to_owned());
            } else {
                bail!("`{argument}` is neither --NAME VALUE nor KEY=VALUE");
            }
        }
        let mut take = |name: &str| named.remove(name).with_context(|| format!("--{name} is missing"));
        Ok(Self {
            model: take("model")?.into(),
            texts: take("texts")?.into(),
            threads: take("threads")?.parse().context("--threads")?,
            max_length: take("max-length")?.parse().context("--max-length")?,
            options,
        })
    }
}

#[derive(Deserialize)]
struct Load {
    load: String,
    query: String,
    documents: Vec<String>,
}

#[derive(Deserialize)]
struct Request {
    load: String,
    #[serde(default)]
    scores: bool,
}

fn read_loads(path: &PathBuf) -> Result<HashMap<String, Load>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines()
        .map(|line| Ok(serde_json::from_str::<Load>(line)?))
        .map(|load| load.map(|l| (l.load.clone(), l)))
        .collect()
}

fn say(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

/// Answers requests until stdin ends. `rank` is the engine's own call, timed as a whole: query and documents → logits
/// with the documents' indexes, in any order.
pub fn serve<F>(arguments: &Arguments, versions: Value, mut rank: F) -> Result<()>
where
    F: FnMut(&str, &[String]) -> Result<Vec<(usize, f32)>>,
{
    rank(FIRST.0, &[FIRST.1.to_owned()])?;
    say(&json!({"ready": true, "versions": versions}))?;
    let loads = read_loads(&arguments.texts)?;
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let load = loads.get(&request.load).with_context(|| format!("no load is named {}", request.load))?;
        let start = Instant::now();
        let ranking = rank(&load.query, &load.documents)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut answer = json!({"seconds": seconds});
        if request.scores {
            let mut logits = vec![f32::NAN; load.documents.len()];
            for (index, logit) in ranking {
                logits[index] = logit;
            }
            answer["scores"] = json!(logits);
        }
        say(&answer)?;
    }
    Ok(())
}

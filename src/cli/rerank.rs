//! `crossrank rerank`: documents of a file, ranked for a query.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::input::{self, Document, Documents, InputFormat};
use super::models::{EngineOptions, RerankerOptions, load_runtime, report_truncated};
use super::output::{Output, message};
use super::text::one_line;
use crossrank::{RankOptions, Ranking};

/// Rank the documents of a file by their relevance to a query.
///
/// Each line is a document, or a JSON object with a `text` (and an `id`, if you like). An empty line of a plain text
/// file is an empty document, and is scored. A line that cannot be read is reported with its number; the others are
/// ranked, and the exit code is 1.
///
/// Example: `crossrank rerank --query "capital of France" --top-n 3 passages.txt`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The query
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    query: String,
    /// The file with the documents; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// How the lines of the file are to be understood
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = InputFormat::Auto)]
    input: InputFormat,
    /// Only the N best documents
    #[arg(long, short = 'n', value_name = "N")]
    top_n: Option<usize>,
    /// Only documents with at least this score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = finite)]
    threshold: Option<f32>,
    /// Print the model's raw logits instead of scores between 0 and 1
    #[arg(long)]
    raw_scores: bool,
    /// The form of the results
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the results to a file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reranker: RerankerOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line a document: rank, score, text
    Text,
    /// One JSON object with the documents' indexes, lines, scores and texts
    Json,
}

fn finite(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("a finite number is needed".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let bytes = input::read(&arguments.file)?;
    let output = Output::open(arguments.output.as_deref())?;
    load_runtime()?;
    let reranker = arguments.reranker.load(&arguments.engine)?.engine;
    let Documents { documents, bad_lines } = input::documents(&bytes, &arguments.file, arguments.input);
    drop(bytes);
    let file = input::shown(&arguments.file);
    for (line, reason) in &bad_lines {
        message(&format!("error: {file}, line {line}: {reason}"));
    }
    let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
    let mut options = RankOptions::new().raw_scores(arguments.raw_scores).keep_going(true);
    if let Some(n) = arguments.top_n {
        options = options.top_n(n);
    }
    if let Some(score) = arguments.threshold {
        options = options.threshold(score);
    }
    let ranking = reranker.rerank_with(&arguments.query, &texts, &options)?;
    for failure in ranking.failures() {
        let line = failure.document().map_or(0, |index| documents[index].line);
        message(&format!("error: {file}, line {line}: {}", failure.chain()));
    }
    report_truncated(ranking.truncated(), "the cross-encoder", reranker.info().max_length);
    let text = match arguments.format {
        Format::Text => as_text(&ranking, &documents),
        Format::Json => as_json(arguments, &reranker.info().title(), &ranking, &documents),
    };
    output.write(&text)?;
    let failed = !bad_lines.is_empty() || !ranking.failures().is_empty();
    Ok(if failed { Outcome::InputFailed } else { Outcome::Done })
}

fn as_text(ranking: &Ranking, documents: &[Document]) -> String {
    let mut text = String::new();
    for (result, rank) in ranking.iter().zip(1..) {
        let document = one_line(&documents[result.index].text);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{rank}. [Score: {:.7}] {document}", result.score);
    }
    text
}

#[derive(Serialize)]
struct JsonRanking<'a> {
    query: &'a str,
    model: &'a str,
    raw_scores: bool,
    results: Vec<JsonResult<'a>>,
    truncated: Vec<JsonTruncated>,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    index: usize,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::Value>,
    relevance_score: f32,
    document: &'a str,
}

#[derive(Serialize)]
struct JsonTruncated {
    index: usize,
    dropped_tokens: usize,
    at_least: bool,
}

fn as_json(arguments: &Arguments, model: &str, ranking: &Ranking, documents: &[Document]) -> String {
    let results = ranking
        .iter()
        .map(|result| {
            let Document { line, id, text } = &documents[result.index];
            let id = id.as_ref();
            JsonResult { index: result.index, line: *line, id, relevance_score: result.score, document: text }
        })
        .collect();
    let truncated = ranking
        .truncated()
        .iter()
        .map(|cut| JsonTruncated { index: cut.index, dropped_tokens: cut.dropped_tokens, at_least: cut.at_least })
        .collect();
    let value = JsonRanking { query: &arguments.query, model, raw_scores: arguments.raw_scores, results, truncated };
    super::output::json(&value)
}

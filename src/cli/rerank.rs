//! `crossrank rerank`: documents of a file, ranked for a query.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::cascade::CascadeArguments;
use super::failure::{Failure, Outcome};
use super::input::{self, Document, Documents, InputFormat};
use super::models::{EngineOptions, RerankerOptions, load_runtime, report_truncated};
use super::output::{Output, message};
use super::text::one_line;
use crossrank::{
    Cascade, CascadeOptions, CascadeRanking, CascadedDocument, Error, RankOptions, RankedDocument, Ranking,
    TruncatedDocument, Window,
};

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
    /// Only documents with at least this cross-encoder score
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
    cascade: CascadeArguments,
    #[command(flatten)]
    reranker: RerankerOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line a document: rank, score, similarity in a cascade, text
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
    let models: Vec<&str> =
        arguments.cascade.model().into_iter().chain([arguments.reranker.reranker.as_str()]).collect();
    arguments.engine.check(&models)?;
    let bytes = input::read(&arguments.file)?;
    let output = Output::open(arguments.output.as_deref())?;
    load_runtime()?;
    let reranker = arguments.reranker.load(&arguments.engine)?.engine;
    let first_stage = arguments.cascade.load(&arguments.engine)?;
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
    let ranked = match &first_stage {
        None => Ranked::from(reranker.rerank_with(&arguments.query, &texts, &options)?),
        Some((embedder, candidates)) => {
            let options = CascadeOptions::new().candidates(*candidates).ranking(options);
            let cascade = Cascade::new(&embedder.engine, &reranker);
            let ranking = cascade.rerank_with(&arguments.query, &texts, &options)?;
            report_truncated(ranking.truncated_embeddings(), "the bi-encoder", embedder.engine.info().max_length);
            Ranked::of_cascade(ranking, embedder.engine.info().title())
        }
    };
    for failure in &ranked.failures {
        let line = failure.document().map_or(0, |index| documents[index].line);
        message(&format!("error: {file}, line {line}: {}", failure.chain()));
    }
    report_truncated(&ranked.truncated, "the cross-encoder", reranker.info().max_length);
    let text = match arguments.format {
        Format::Text => as_text(&ranked, &documents),
        Format::Json => as_json(arguments, &reranker.info().title(), &ranked, &documents),
    };
    output.write(&text)?;
    let failed = !bad_lines.is_empty() || !ranked.failures.is_empty();
    Ok(if failed { Outcome::InputFailed } else { Outcome::Done })
}

/// The result of a cross-encoder, or of a cascade.
struct Ranked {
    results: Vec<RankedLine>,
    truncated: Vec<TruncatedDocument>,
    failures: Vec<Error>,
    first_stage: Option<FirstStage>,
}

/// What only a cascade has.
struct FirstStage {
    embedder: String,
    candidates: usize,
    truncated: Vec<TruncatedDocument>,
}

struct RankedLine {
    index: usize,
    /// None in a cascade, if the document was not cross-encoded.
    score: Option<f32>,
    /// None without a cascade.
    similarity: Option<f32>,
    /// None, if the document was not read in windows.
    window: Option<Window>,
}

impl From<Ranking> for Ranked {
    fn from(ranking: Ranking) -> Self {
        let line = |result: &RankedDocument| RankedLine {
            index: result.index,
            score: Some(result.score),
            similarity: None,
            window: result.window,
        };
        Self {
            results: ranking.iter().map(line).collect(),
            truncated: ranking.truncated().to_vec(),
            failures: ranking.failures().to_vec(),
            first_stage: None,
        }
    }
}

impl Ranked {
    fn of_cascade(ranking: CascadeRanking, embedder: String) -> Self {
        let line = |result: &CascadedDocument| RankedLine {
            index: result.index,
            score: result.score,
            similarity: Some(result.similarity),
            window: result.window,
        };
        let truncated = ranking.truncated_embeddings().to_vec();
        Self {
            results: ranking.iter().map(line).collect(),
            truncated: ranking.truncated().to_vec(),
            failures: ranking.failures().to_vec(),
            first_stage: Some(FirstStage { embedder, candidates: ranking.candidates(), truncated }),
        }
    }
}

fn as_text(ranked: &Ranked, documents: &[Document]) -> String {
    let mut text = String::new();
    for (result, rank) in ranked.results.iter().zip(1..) {
        let score = result.score.map_or("none".to_owned(), |score| format!("{score:.7}"));
        let similarity = result.similarity.map_or(String::new(), |cosine| format!(" [Similarity: {cosine:.7}]"));
        let text_of = &documents[result.index].text;
        let (window, shown) = match result.window {
            None => (String::new(), text_of.as_str()),
            Some(window) => {
                let part = text_of.get(window.start..window.end).unwrap_or(text_of);
                (format!(" [Window: {} of {}]", window.number, window.of), part.trim())
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{rank}. [Score: {score}]{similarity}{window} {}", one_line(shown));
    }
    text
}

#[derive(Serialize)]
struct JsonRanking<'a> {
    query: &'a str,
    model: &'a str,
    raw_scores: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cascade: Option<JsonCascade<'a>>,
    results: Vec<JsonResult<'a>>,
    truncated: Vec<JsonTruncated>,
}

#[derive(Serialize)]
struct JsonCascade<'a> {
    embedder: &'a str,
    candidates: usize,
    truncated: Vec<JsonTruncated>,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    index: usize,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::Value>,
    /// `null` in a cascade, if the document was not cross-encoded.
    relevance_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<JsonWindow>,
    document: &'a str,
}

/// The part of a long document that had the greatest score.
#[derive(Serialize)]
struct JsonWindow {
    number: usize,
    of: usize,
    /// Bytes of the document.
    start: usize,
    end: usize,
}

impl From<Window> for JsonWindow {
    fn from(window: Window) -> Self {
        Self { number: window.number, of: window.of, start: window.start, end: window.end }
    }
}

#[derive(Serialize)]
struct JsonTruncated {
    index: usize,
    dropped_tokens: usize,
    at_least: bool,
}

impl JsonTruncated {
    fn list(truncated: &[TruncatedDocument]) -> Vec<Self> {
        let cut = |cut: &TruncatedDocument| Self {
            index: cut.index,
            dropped_tokens: cut.dropped_tokens,
            at_least: cut.at_least,
        };
        truncated.iter().map(cut).collect()
    }
}

fn as_json(arguments: &Arguments, model: &str, ranked: &Ranked, documents: &[Document]) -> String {
    let result = |RankedLine { index, score, similarity, window }: &RankedLine| {
        let Document { line, id, text } = &documents[*index];
        JsonResult {
            index: *index,
            line: *line,
            id: id.as_ref(),
            relevance_score: *score,
            similarity: *similarity,
            window: window.map(JsonWindow::from),
            document: text,
        }
    };
    let cascade = ranked.first_stage.as_ref().map(|FirstStage { embedder, candidates, truncated }| JsonCascade {
        embedder,
        candidates: *candidates,
        truncated: JsonTruncated::list(truncated),
    });
    super::output::json(&JsonRanking {
        query: &arguments.query,
        model,
        raw_scores: arguments.raw_scores,
        cascade,
        results: ranked.results.iter().map(result).collect(),
        truncated: JsonTruncated::list(&ranked.truncated),
    })
}

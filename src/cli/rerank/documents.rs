//! The documents of one file, ranked for one query.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::failure::{Failure, Outcome};
use super::super::input::{self, Document, Documents};
use super::super::output::{Output, json, message};
use super::super::text::one_line;
use super::Arguments;
use super::ranker::{FirstStage, Ranked, RankedLine, Ranker};
use super::truncated::JsonTruncated;
use crossrank::Window;

pub(super) fn run(arguments: &Arguments, query: &str, path: &str, as_json_object: bool) -> Result<Outcome, Failure> {
    arguments.job.refuse_for("--query is one")?;
    let bytes = input::read(path)?;
    let output = Output::open(arguments.job.output.as_deref())?;
    let ranker = Ranker::load(arguments)?;
    let Documents { documents, bad_lines } = input::documents(&bytes, path, arguments.input);
    drop(bytes);
    let file = input::shown(path);
    for (line, reason) in &bad_lines {
        message(&format!("error: {file}, line {line}: {reason}"));
        arguments.job.stop_at_error()?;
    }
    let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
    let ranked = ranker.rank(query, &texts, &arguments.rank_options())?;
    for failure in &ranked.failures {
        let line = failure.document().map_or(0, |index| documents[index].line);
        message(&format!("error: {file}, line {line}: {}", failure.chain()));
        arguments.job.stop_at_error()?;
    }
    ranker.report_cuts(&ranked.tally(texts.len()));
    let text = match as_json_object {
        false => as_text(&ranked, &documents),
        true => as_json(query, arguments.raw_scores, &ranker.model(), &ranked, &documents),
    };
    output.write(&text)?;
    let failed = !bad_lines.is_empty() || !ranked.failures.is_empty();
    Ok(if failed { Outcome::InputFailed } else { Outcome::Done })
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

fn as_json(query: &str, raw_scores: bool, model: &str, ranked: &Ranked, documents: &[Document]) -> String {
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
    json(&JsonRanking {
        query,
        model,
        raw_scores,
        cascade,
        results: ranked.results.iter().map(result).collect(),
        truncated: JsonTruncated::list(&ranked.truncated),
    })
}

//! `crossrank compare`: a bi-encoder and a cross-encoder on the same cases, side by side.

mod experiment;
mod html;
mod json;
mod markdown;
mod plain;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::failure::{Failure, Outcome};
use super::input;
use super::models::{EmbedderOptions, EngineOptions, RerankerOptions, load_runtime, report_truncated};
use super::output::{Output, message};
use crossrank::{Agreement, Case, CaseDocument, ComparedCase, Comparison, ModelInfo, RankedDocument, Ranking, compare};
use experiment::ExperimentArguments;

/// The cases that run by default.
const CASES: &[u8] = include_bytes!("../cases.json");

/// Compare a bi-encoder with a cross-encoder on the same query and documents.
///
/// Without arguments, three built-in cases are run. Give your own with --query and --document, or with --cases.
///
/// With --corpus, --queries, --run and --qrels it is an experiment: first stage, bi-encoder, cross-encoder, a cascade of
/// the two and the fusion of all three on a test collection, with measures, intervals, wins and losses, agreement, speed and cost, and the queries that
/// change most.
///
/// Examples: `crossrank compare --query "capital of France" --document "Paris is in France." "Bread is baked."`,
/// `crossrank compare --corpus corpus.jsonl --queries queries.jsonl --run bm25.trec --qrels qrels.trec`
///
/// As a page to look at, with charts: `crossrank compare --published --format html -o comparison.html`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Your own query
    #[arg(long, short, value_name = "TEXT", conflicts_with = "cases", allow_hyphen_values = true)]
    query: Option<String>,
    /// Your own documents
    #[arg(long, short, value_name = "TEXT", num_args = 1.., requires = "query")]
    document: Vec<String>,
    /// A JSON file of cases, `-` for standard input: {"cases": [{"name", "query", "documents": [text, …]}, …]}
    #[arg(long, value_name = "FILE")]
    cases: Option<String>,
    /// Only the N best documents of each list (in the page: with their places in the other list)
    #[arg(long, short = 'n', value_name = "N")]
    top_n: Option<usize>,
    /// Print the cross-encoder's raw logits instead of scores between 0 and 1
    #[arg(long)]
    raw_scores: bool,
    /// Print published scores beside ours, where the cases have them. Those of the built-in cases are of
    /// text-embedding-3-small (cosine similarity) and bge-reranker-v2-m3 (sigmoid)
    #[arg(long)]
    published: bool,
    /// The form of the results
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the results to a file instead of standard output. With .gz or .zst at its end it is compressed
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    experiment: ExperimentArguments,
    #[command(flatten)]
    reranker: RerankerOptions,
    #[command(flatten)]
    embedder: EmbedderOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Ranked lists for a terminal
    Text,
    /// One JSON object
    Json,
    /// Tables for a document
    Markdown,
    /// One page to look at in a browser, with charts; it needs no network and no script
    Html,
}

/// What the reports are made of.
struct Report<'a> {
    cases: &'a [Case],
    comparison: &'a Comparison,
    reranker: &'a ModelInfo,
    embedder: &'a ModelInfo,
    runtime: &'a str,
    top_n: usize,
    raw_scores: bool,
    published: bool,
    load_times: LoadTimes,
}

struct LoadTimes {
    embedder: Duration,
    reranker: Duration,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    arguments.engine.check(&[&arguments.reranker.reranker, &arguments.embedder.embedder])?;
    if arguments.experiment.is_given() {
        return experiment::run(arguments);
    }
    let cases = cases(arguments)?;
    let output = Output::open(arguments.output.as_deref())?;
    let runtime = load_runtime()?;
    let reranker = arguments.reranker.load(&arguments.engine)?;
    let embedder = arguments.embedder.load(&arguments.engine)?;
    let comparison = compare(&reranker.engine, &embedder.engine, &cases, arguments.raw_scores)?;
    let report = Report {
        cases: &cases,
        comparison: &comparison,
        reranker: reranker.engine.info(),
        embedder: embedder.engine.info(),
        runtime: runtime.version(),
        top_n: arguments.top_n.unwrap_or(usize::MAX),
        raw_scores: arguments.raw_scores,
        published: arguments.published,
        load_times: LoadTimes { embedder: embedder.load_time, reranker: reranker.load_time },
    };
    let failed = report_problems(&report);
    output.write(&match arguments.format {
        Format::Text => plain::render(&report),
        Format::Json => json::render(&report),
        Format::Markdown => markdown::render(&report),
        Format::Html => html::render(&report),
    })?;
    Ok(if failed { Outcome::InputFailed } else { Outcome::Done })
}

fn cases(arguments: &Arguments) -> Result<Vec<Case>, Failure> {
    match (&arguments.query, &arguments.cases) {
        (Some(query), _) => Ok(vec![Case::new("Your query", query, arguments.document.iter())]),
        (None, Some(path)) => input::cases(&input::read(path)?, path),
        (None, None) => input::cases(CASES, "the built-in cases"),
    }
}

/// Reports documents that were cut or could not be scored; true if some could not.
fn report_problems(report: &Report<'_>) -> bool {
    let mut failed = false;
    for (case, compared) in report.cases.iter().zip(&report.comparison.cases) {
        for side in Side::BOTH {
            for failure in side.ranking(compared).failures() {
                message(&format!("error: case `{}`: {}", case.name, failure.chain()));
                failed = true;
            }
        }
        report_truncated(compared.embedding.truncated(), "the bi-encoder", report.embedder.max_length);
        report_truncated(compared.reranker.truncated(), "the cross-encoder", report.reranker.max_length);
    }
    failed
}

impl Report<'_> {
    fn cases(&self) -> impl Iterator<Item = (&Case, &ComparedCase)> {
        self.cases.iter().zip(&self.comparison.cases)
    }

    /// The results of a ranking that are to be shown.
    fn shown<'r>(&self, ranking: &'r Ranking) -> &'r [RankedDocument] {
        &ranking.results()[..ranking.len().min(self.top_n)]
    }

    fn embedding_time(&self) -> Duration {
        self.comparison.cases.iter().map(|case| case.embedding_time).sum()
    }

    fn reranker_time(&self) -> Duration {
        self.comparison.cases.iter().map(|case| case.reranker_time).sum()
    }

    fn texts(&self) -> usize {
        self.cases.iter().map(|case| case.documents.len() + 1).sum()
    }

    fn pairs(&self) -> usize {
        self.cases.iter().map(|case| case.documents.len()).sum()
    }

    /// In how many cases both put the same document first, and of how many.
    fn same_top_1(&self) -> (usize, usize) {
        let known: Vec<bool> = self.agreements().filter_map(|agreement| agreement.same_top_1).collect();
        (known.iter().filter(|same| **same).count(), known.len())
    }

    fn mean_kendall_tau(&self) -> Option<f64> {
        let known: Vec<f64> = self.agreements().filter_map(|agreement| agreement.kendall_tau).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }

    fn agreements(&self) -> impl Iterator<Item = Agreement> {
        self.comparison.cases.iter().map(|case| case.agreement)
    }
}

/// The two engines, where a report treats them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Embedding,
    Reranker,
}

impl Side {
    const BOTH: [Side; 2] = [Side::Embedding, Side::Reranker];

    fn heading(self) -> &'static str {
        match self {
            Side::Embedding => "Embedding Similarity (Bi-Encoder)",
            Side::Reranker => "Reranker Scores (Cross-Encoder)",
        }
    }

    fn ranking(self, compared: &ComparedCase) -> &Ranking {
        match self {
            Side::Embedding => &compared.embedding,
            Side::Reranker => &compared.reranker,
        }
    }

    fn published(self, document: &CaseDocument) -> Option<f32> {
        match self {
            Side::Embedding => document.published_embedding,
            Side::Reranker => document.published_reranker,
        }
    }
}

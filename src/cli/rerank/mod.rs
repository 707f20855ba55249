//! `crossrank rerank`: documents, ranked for a query; or many queries of a file, one after the other; or pairs of a table.

mod documents;
mod fusion;
mod pairs;
mod ranker;
mod requests;
mod retrieval;
mod truncated;

#[cfg(fuzzing)]
pub(super) use requests::fuzz as fuzz_requests;

use clap::{Args, ValueEnum};

use super::cascade::CascadeArguments;
use super::failure::{Failure, Outcome};
use super::input::InputFormat;
use super::job::JobArguments;
use super::models::{EngineOptions, RerankerOptions};
use crossrank::RankOptions;
use pairs::PairArguments;
use ranker::Way;
use requests::Service;
use retrieval::RetrievalArguments;

/// Rank documents by their relevance to a query: one query with the lines of a file, or many queries.
///
/// With --query, each line of FILE is a document, or a JSON object with a `text` (and an `id`, if you like). An empty line
/// of a plain text file is an empty document, and is scored.
///
/// Without, each line is a request, {"query": …, "documents": [text or {"text": …}, …]}, perhaps with `id`, `top_n`,
/// `return_documents` and `raw_scores`, and is answered by a line; --format makes lines of other services' requests and
/// responses of it.
///
/// With --document-column, FILE is a table, and each of its rows a pair: a column with its score is added.
///
/// With --corpus, --queries and --run, the results of a first stage are reranked into a TREC run.
///
/// What cannot be read or scored is reported, the rest is done, and the exit code is 1.
///
/// Examples: `crossrank rerank --query "capital of France" --top-n 3 passages.txt`, `crossrank rerank < requests.jsonl`,
/// `crossrank rerank pairs.parquet --query-column query --document-column text -o scored.parquet`,
/// `crossrank rerank --corpus corpus.jsonl --queries queries.jsonl --run bm25.trec --depth 100 -o reranked.trec`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The files with the documents or the requests; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<String>,
    /// The query, for the documents of one file
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    query: Option<String>,
    /// How the file is to be understood: the lines with --query, or a table
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = InputFormat::Auto)]
    input: InputFormat,
    /// Only the N best documents of each query; a request may say otherwise
    #[arg(long, short = 'n', value_name = "N")]
    top_n: Option<usize>,
    /// Only documents with at least this cross-encoder score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = finite)]
    threshold: Option<f32>,
    /// Give the model's raw logits instead of scores between 0 and 1; a request may say otherwise. A TREC run has raw logits
    /// always, because its order is read from its scores, and near 1 unequal logits become equal scores
    #[arg(long)]
    raw_scores: bool,
    /// Put the documents' texts into the results of requests; a request may say otherwise
    #[arg(long)]
    return_documents: bool,
    /// The form of the results, and of requests [default: text with --query, jsonl for requests, a TREC run with --run]
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    retrieval: RetrievalArguments,
    #[command(flatten)]
    pairs: PairArguments,
    #[command(flatten)]
    job: JobArguments,
    #[command(flatten)]
    cascade: CascadeArguments,
    #[command(flatten)]
    reranker: RerankerOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With --query: one line a document: rank, score, similarity in a cascade, text
    Text,
    /// With --query: one JSON object with the documents' indexes, lines, scores and texts
    Json,
    /// Requests and results as JSON objects, one a line
    Jsonl,
    /// The requests and responses of Infinity
    Infinity,
    /// The requests and responses of text-embeddings-inference
    Tei,
    /// The requests and responses of Cohere's API, version 2
    Cohere,
    /// The requests and responses of Cohere's API, version 1
    CohereV1,
    /// The requests and responses of Jina AI's API
    Jina,
}

impl Format {
    /// The service whose requests and responses these are.
    fn service(self) -> Option<Service> {
        match self {
            Format::Text | Format::Json => None,
            Format::Jsonl => Some(Service::Native),
            Format::Infinity => Some(Service::Infinity),
            Format::Tei => Some(Service::Tei),
            Format::Cohere => Some(Service::COHERE_V2),
            Format::CohereV1 => Some(Service::COHERE_V1),
            Format::Jina => Some(Service::Jina),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

fn finite(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("a finite number is needed".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let bi_encoder = arguments.way().map(|_| arguments.cascade.embedder());
    let models: Vec<&str> = bi_encoder.into_iter().chain([arguments.reranker.reranker.as_str()]).collect();
    arguments.engine.check(&models)?;
    let usage = |message: String| Err(Failure::Setup(message));
    if arguments.retrieval.is_given() {
        if arguments.query.is_some() || arguments.files != ["-"] {
            return usage(
                "--run has its queries and documents in files of its own: name no --query and no FILE".into(),
            );
        }
        if let Some(format) = arguments.format {
            return usage(format!("--format {} is not for --run, which gives a TREC run", format.name()));
        }
        if arguments.return_documents {
            return usage("--return-documents is not for --run: a TREC run has no texts".into());
        }
        return retrieval::run(arguments);
    }
    if arguments.pairs.is_given(arguments) {
        return pairs::run(arguments);
    }
    if let Some(query) = &arguments.query {
        let json = match arguments.format {
            None | Some(Format::Text) => false,
            Some(Format::Json) => true,
            Some(format) => return usage(format!("--format {} is for requests, without --query", format.name())),
        };
        return match &arguments.files[..] {
            [file] => documents::run(arguments, query, file, json),
            _ => usage("with --query the documents come from one file".into()),
        };
    }
    match arguments.format.unwrap_or(Format::Jsonl) {
        format if let Some(service) = format.service() => requests::run(arguments, service),
        format => usage(format!("--format {} is for the documents of one query: name it with --query", format.name())),
    }
}

impl Arguments {
    /// What a bi-encoder is wanted for, if it is.
    fn way(&self) -> Option<Way> {
        let fusion = self.retrieval.fusion().then_some(Way::Fusion);
        self.cascade.candidates().map(Way::Cascade).or(fusion)
    }

    /// What the command line says of the results of a query.
    fn rank_options(&self) -> RankOptions {
        let mut options = RankOptions::new().raw_scores(self.raw_scores).keep_going(true);
        if let Some(n) = self.top_n {
            options = options.top_n(n);
        }
        if let Some(score) = self.threshold {
            options = options.threshold(score);
        }
        options
    }
}

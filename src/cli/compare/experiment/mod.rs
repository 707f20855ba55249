//! The comparison as an experiment: first stage, bi-encoder, cross-encoder, cascade and fusion on a test collection.
//!
//! [`collect`] scores the candidates of each query, as a job that can be resumed; [`results`] makes systems, measures and
//! cases of the scores; the other files show them.

mod collect;
mod html;
mod json;
mod markdown;
mod plain;
mod results;
mod table;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::super::cascade::candidates;
use super::super::collection::{Corpus, FirstStage, Indexed, Queries, queries, units};
use super::super::compressed;
use super::super::failure::{Failure, Outcome};
use super::super::input::shown;
use super::super::job::{Errors, Extent, Finish, Job, JobArguments, Settings};
use super::super::models::load_runtime;
use super::super::output::message;
use super::super::text::count;
use super::{Arguments, Format};
use collect::Models;
use crossrank::Candidates;
use crossrank::eval::{Measure, Qrels};
use results::{Conditions, Experiment};

/// The files and settings of an experiment.
#[derive(Debug, Args)]
pub(super) struct ExperimentArguments {
    /// Compare the models on a test collection instead of cases: the documents, JSON objects with `_id`, `title` and `text`,
    /// one a line, or an id and a text between tabs. Compressed files are read, too
    #[arg(long, value_name = "FILE", requires_all = ["queries", "run", "qrels"],
          conflicts_with_all = ["query", "cases", "published", "raw_scores", "top_n"], help_heading = "Experiment")]
    corpus: Option<String>,
    /// The queries: JSON objects with `_id` and `text`, one a line, or an id and a text between tabs
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Experiment")]
    queries: Option<String>,
    /// The results of the first stage, a TREC run
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Experiment")]
    run: Option<String>,
    /// The judgements: TREC qrels, or BEIR's TSV with its header. Queries without any are left out
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Experiment")]
    qrels: Option<String>,
    /// Rerank the first N documents of each query
    #[arg(long, value_name = "N", requires = "corpus", default_value_t = 100, help_heading = "Experiment",
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    depth: u64,
    /// How many documents the bi-encoder chooses for the cross-encoder in the cascade; `auto` is 10 to 50 of them, cut at the
    /// largest gap between neighbouring similarities
    #[arg(long, value_name = "M|auto", requires = "corpus", default_value = "auto", value_parser = candidates,
          help_heading = "Experiment")]
    cascade: Candidates,
    /// What is measured, in the names of ir_measures; the first one decides which queries are shown
    #[arg(long, value_name = "MEASURES", requires = "corpus", default_value = "nDCG@10 RR@10", value_parser = measures,
          help_heading = "Experiment")]
    measures: Measures,
    /// Show N queries where the cross-encoder helps most, and N where it hurts most
    #[arg(long, value_name = "N", requires = "corpus", default_value_t = 5, help_heading = "Experiment")]
    show: usize,
    /// Go on with an experiment that was interrupted or killed, from the .part and .resume files beside -o FILE
    #[arg(long, requires = "corpus", help_heading = "Experiment")]
    resume: bool,
}

/// Several measures, in their order.
#[derive(Debug, Clone)]
struct Measures(Vec<Measure>);

fn measures(text: &str) -> Result<Measures, String> {
    let list = Measure::parse_list(text).map_err(|error| error.to_string())?;
    if list.is_empty() { Err("a measure is needed, such as nDCG@10".to_owned()) } else { Ok(Measures(list)) }
}

impl ExperimentArguments {
    /// Whether an experiment is wanted.
    pub(super) fn is_given(&self) -> bool {
        self.corpus.is_some()
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let ExperimentArguments {
        corpus: Some(corpus),
        queries: Some(queries_file),
        run: Some(run),
        qrels: Some(qrels),
        ..
    } = &arguments.experiment
    else {
        return Err(Failure::Setup("--corpus, --queries, --run and --qrels belong together".to_owned()));
    };
    if [corpus, queries_file, run, qrels].iter().filter(|file| **file == "-").count() > 1 {
        return Err(Failure::Setup("standard input is named twice, and can be read once".to_owned()));
    }
    let job_arguments = JobArguments {
        output: arguments.output.clone(),
        resume: arguments.experiment.resume,
        errors: Errors::Skip,
        shard: None,
    };
    let Some(place) = job_arguments.open()? else { return Ok(Outcome::Done) };
    let qrels = Qrels::read(compressed::open(qrels)?, shown(qrels))?;
    let queries = queries(queries_file)?;
    let first_stage = FirstStage::open(run)?;
    first_stage.require_finite_scores()?;
    let indexed = Corpus::index(corpus, first_stage.documents())?;
    report_bad_lines(&indexed, corpus);
    indexed.repeated.report(shown(corpus), "document");
    let judged = judged(&first_stage, &queries, &qrels, run)?;

    let runtime = load_runtime()?;
    let reranker = arguments.reranker.load(&arguments.engine)?.engine;
    let embedder = arguments.embedder.load(&arguments.engine)?.engine;
    let conditions = Conditions {
        reranker: reranker.info().title(),
        embedder: embedder.info().title(),
        runtime: runtime.version().to_owned(),
        device: reranker.info().device,
        threads: reranker.info().threads,
        first_stage: name_of(run),
        corpus: name_of(corpus),
        documents: indexed.documents,
        depth: usize::try_from(arguments.experiment.depth).unwrap_or(usize::MAX),
        cascade: arguments.experiment.cascade,
    };
    let (bad_corpus, depth) = (indexed.bad > 0, conditions.depth);
    let settings = settings(arguments, &conditions, &indexed, corpus);
    let corpus = Arc::new(indexed.corpus);
    let job = Job {
        arguments: &job_arguments,
        place,
        settings,
        extent: Extent::Units(judged.len() as u64),
        units: "queries",
        items: "pairs",
        // One at a time, on all threads: the times are those of a query that has the machine to itself.
        workers: 1,
        finish: Some(finish(arguments, conditions, qrels, Arc::clone(&corpus))),
    };
    let models = Models::new(&reranker, &embedder, corpus);
    let units = units(first_stage, queries, judged, depth);
    let ended = job.run(units, |query| models.score(query))?;
    ended.tally.report_repeated(shown(run));
    ended.tally.cut_by_bi_encoder.report("the bi-encoder", embedder.info().max_length);
    ended.tally.cut_by_cross_encoder.report("the cross-encoder", reranker.info().max_length);
    Ok(if bad_corpus && ended.outcome == Outcome::Done { Outcome::InputFailed } else { ended.outcome })
}

fn name_of(path: &str) -> String {
    if path == "-" {
        return shown(path).to_owned();
    }
    Path::new(path).file_name().map_or(path.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn report_bad_lines(indexed: &Indexed, corpus: &str) {
    for (line, reason) in &indexed.bad_lines {
        message(&format!("error: {}, line {line}: {reason}", shown(corpus)));
    }
    if indexed.bad > indexed.bad_lines.len() as u64 {
        message(&format!("error: {}: {} are no documents", shown(corpus), count(indexed.bad, "line")));
    }
}

/// The places of the run's queries that have judgements and a text.
fn judged(first_stage: &FirstStage, queries: &Queries, qrels: &Qrels, run: &str) -> Result<Vec<usize>, Failure> {
    let known: std::collections::HashSet<&str> = qrels.queries().collect();
    let has_judgements = |index: &usize| known.contains(first_stage.queries()[*index].id.as_str());
    let judged: Vec<usize> = (0..first_stage.queries().len()).filter(has_judgements).collect();
    let missing = judged.iter().filter(|index| !queries.contains_key(&first_stage.queries()[**index].id)).count();
    if judged.is_empty() || missing == judged.len() {
        return Err(Failure::Input(format!(
            "{}: of its queries ({}), {} have judgements, and {missing} of those have no text; the ids of the files must be \
             those of one collection",
            shown(run),
            first_stage.queries().len(),
            judged.len(),
        )));
    }
    let unjudged = first_stage.queries().len() - judged.len();
    if unjudged > 0 {
        message(&format!("warning: {} of {} without judgements left out", count(unjudged, "query result"), shown(run)));
    }
    Ok(judged)
}

fn settings(arguments: &Arguments, conditions: &Conditions, indexed: &Indexed, corpus: &str) -> Settings {
    let size = fs::metadata(Path::new(corpus)).map_or(0, |meta| meta.len());
    [
        ("command", "compare --run".to_owned()),
        ("--reranker", format!("{} {:?}", conditions.reranker, arguments.reranker)),
        ("--embedder", format!("{} {:?}", conditions.embedder, arguments.embedder)),
        ("ONNX Runtime", conditions.runtime.clone()),
        ("--threads", conditions.threads.to_string()),
        ("--corpus", format!("{} documents, {size} bytes", indexed.documents)),
        ("--depth", conditions.depth.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Makes the report of the collected scores.
fn finish(arguments: &Arguments, conditions: Conditions, qrels: Qrels, corpus: Arc<Corpus>) -> Finish {
    let (format, show) = (arguments.format, arguments.experiment.show);
    let measures = arguments.experiment.measures.0.clone();
    let path = arguments.output.clone().unwrap_or_default();
    Box::new(move |scores: &mut fs::File, out: &mut (dyn Write + Send)| {
        let scored = collect::read(scores)?;
        let experiment = Experiment::new(scored, &qrels, &measures, conditions, show, &corpus)?;
        let text = match format {
            Format::Text => plain::render(&experiment),
            Format::Json => json::render(&experiment),
            Format::Markdown => markdown::render(&experiment),
            Format::Html => html::render(&experiment),
        };
        compressed::write(&path, text.as_bytes(), out).map_err(Failure::Output)
    })
}

//! `crossrank eval`: runs of a file, measured with judgements of another one.

mod jsonl;
mod tsv;

use std::path::Path;

use clap::{Args, ValueEnum};

use super::compressed;
use super::failure::{Failure, Outcome};
use super::input::shown;
use super::output::{Output, message};
use super::text::count;
use crossrank::eval::{
    Difference, Duplicates, Evaluation, Measure, Qrels, Run, SignificanceOptions, compare_runs, evaluate,
};

/// Measure runs with relevance judgements: nDCG, RR, AP, recall and others, equal to ir_measures.
///
/// Judgements are TREC qrels (`query iteration document grade`) or BEIR's TSV with its header, runs are TREC runs
/// (`query Q0 document rank score tag`); both may be gzip or zstd files. The mean is over the queries that have
/// judgements; one for which a run finds nothing counts as 0. A line that is malformed stops the command with exit code
/// 1 and no numbers; of two lines for one query and document the last one counts.
///
/// Measures: nDCG, nDCG@k, AP, AP@k, RR, RR@k, P@k, R@k, Success@k, Judged, Judged@k, Rprec, Bpref; with the least grade
/// of a relevant document `P(rel=2)@10`, without unjudged documents `P(judged_only=True)@10`, with other gains
/// `nDCG(gains={1:1,2:3})@10`.
///
/// Example: `crossrank eval qrels.trec bm25.run reranked.run nDCG@10 RR@10 --significance`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file of judgements; `-` is standard input
    #[arg(value_name = "QRELS")]
    qrels: String,
    /// The file of a run; `-` is standard input
    #[arg(value_name = "RUN")]
    run: String,
    /// More runs, and measures [default: nDCG@10 RR@10 AP R@100 P@10]; a file that is named like a measure is ./NAME
    #[arg(value_name = "RUN|MEASURE")]
    more: Vec<String>,
    /// Print the values of each query, too
    #[arg(long = "by_query", visible_alias = "by-query", short = 'q')]
    by_query: bool,
    /// Print no means; with --by_query alone
    #[arg(long = "no_summary", visible_alias = "no-summary", short = 'n', requires = "by_query")]
    no_summary: bool,
    /// Decimal places of the values; -1 is all of them. No matter for jsonl, which has all
    #[arg(long, short, value_name = "N", default_value_t = 4, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i8).range(-1..=20))]
    places: i8,
    /// The form of the results
    #[arg(long, visible_alias = "output_format", short, value_name = "FORMAT", value_enum, default_value_t = Format::Tsv)]
    output: Format,
    /// Compare each further run with the first one: the mean difference, its bootstrap interval (95 %), and a paired
    /// t-test, with p-values also after Holm's correction over the runs
    #[arg(long)]
    significance: bool,
    /// How many times the queries are drawn anew for an interval
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "significance",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    resamples: u32,
    /// Where the drawing begins; one seed, one interval
    #[arg(long, value_name = "N", default_value_t = 0, requires = "significance")]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns between tabs: measure and value; the query before them with --by_query; with several runs a header, and a
    /// column a run
    Tsv,
    /// A JSON object a line, with `measure` and `value`, and `query_id` and `run` where there are several
    Jsonl,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Items { runs, measures } = sort_out(arguments)?;
    if arguments.significance && runs.len() < 2 {
        return Err(Failure::Setup(
            "--significance compares further runs with the first one: name two or more runs".to_owned(),
        ));
    }
    let output = Output::open(None)?;
    let qrels = Qrels::read(compressed::open(&arguments.qrels)?, shown(&arguments.qrels))?;
    report_duplicates(shown(&arguments.qrels), qrels.duplicates());
    let evaluations: Vec<Evaluation> =
        runs.iter().map(|run| measure(&qrels, arguments, run, &measures)).collect::<Result<_, Failure>>()?;
    let differences = match evaluations.split_first() {
        Some((baseline, others)) if arguments.significance => {
            let options = SignificanceOptions::new().resamples(arguments.resamples as usize).seed(arguments.seed);
            compare_runs(baseline, others, &options)?
        }
        _ => Vec::new(),
    };
    let results = Results {
        evaluations: &evaluations,
        differences: &differences,
        by_query: arguments.by_query,
        summary: !arguments.no_summary,
    };
    output.write(&match arguments.output {
        Format::Tsv => tsv::write(&results, arguments.places),
        Format::Jsonl => jsonl::write(&results),
    })?;
    Ok(Outcome::Done)
}

/// What the writers look at.
struct Results<'a> {
    /// One for each run, at least one, all of the same queries and measures.
    evaluations: &'a [Evaluation],
    differences: &'a [Difference],
    by_query: bool,
    summary: bool,
}

/// What ir_measures calls the mean among the queries.
const SUMMARY: &str = "all";

/// The arguments behind the judgements.
struct Items<'a> {
    runs: Vec<&'a str>,
    measures: Vec<Measure>,
}

/// Tells runs from measures: a measure is what can be parsed as one, all else is a file. The first is always a file.
fn sort_out(arguments: &Arguments) -> Result<Items<'_>, Failure> {
    let exists = |path: &str| path == "-" || Path::new(path).exists();
    if !exists(&arguments.run) && Measure::parse_list(&arguments.run).is_ok() {
        return Err(Failure::Setup(format!(
            "no run is named: the second argument is the file of a run, and {} is a measure",
            arguments.run
        )));
    }
    let mut items = Items { runs: vec![&arguments.run], measures: Vec::new() };
    for item in &arguments.more {
        match Measure::parse_list(item) {
            Ok(measures) => items.measures.extend(measures),
            Err(_) if exists(item) => items.runs.push(item),
            Err(error) => return Err(Failure::Setup(format!("there is no file {item}, and {error}"))),
        }
    }
    let mut seen = Vec::new();
    items.measures.retain(|measure| {
        let new = !seen.contains(measure);
        seen.push(measure.clone());
        new
    });
    if items.measures.is_empty() {
        items.measures = Measure::defaults();
    }
    if items.runs.iter().chain([&arguments.qrels.as_str()]).filter(|path| **path == "-").count() > 1 {
        return Err(Failure::Setup("standard input is named twice, and can be read once".to_owned()));
    }
    Ok(items)
}

/// Reads and measures one run; only its values are kept.
fn measure(qrels: &Qrels, arguments: &Arguments, path: &str, measures: &[Measure]) -> Result<Evaluation, Failure> {
    let run = Run::read(compressed::open(path)?, shown(path))?;
    report_duplicates(run.name(), run.duplicates());
    let evaluation = evaluate(qrels, &run, measures);
    let (run, qrels) = (run.name(), shown(&arguments.qrels));
    if evaluation.missing_queries > 0 {
        message(&format!(
            "warning: {run} has nothing for {} of the {} of {qrels}; there it counts as 0",
            evaluation.missing_queries,
            count_queries(evaluation.queries.len()),
        ));
    }
    if evaluation.unjudged_queries > 0 {
        let queries = count_queries(evaluation.unjudged_queries);
        message(&format!("warning: {queries} of {run} without a judgement in {qrels} left out"));
    }
    Ok(evaluation)
}

fn count_queries(n: usize) -> String {
    if n == 1 { "1 query".to_owned() } else { format!("{n} queries") }
}

fn report_duplicates(file: &str, duplicates: &Duplicates) {
    if let Some((query, document, line)) = &duplicates.example {
        message(&format!(
            "warning: {file} has {} for a query and a document that it had before, such as line {line} (query {query}, document \
             {document}); the last one counts",
            count(duplicates.count, "line"),
        ));
    }
}

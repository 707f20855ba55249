//! The retrieval layout: the results of a first stage, reranked into a TREC run.

use std::fmt::{Display, Write as _};
use std::fs;
use std::path::Path;

use clap::Args;

use super::super::cascade::BI_ENCODER;
use super::super::collection::{Candidate, Corpus, FirstStage, Indexed, Queries, Query, queries, units};
use super::super::failure::{Failure, Outcome};
use super::super::input::shown;
use super::super::job::{Extent, Job, Worked};
use super::super::output::message;
use super::super::text::count;
use super::Arguments;
use super::ranker::{Ranked, RankedLine, Ranker};

/// A first stage and what it speaks of.
#[derive(Debug, Args)]
pub(super) struct RetrievalArguments {
    /// The documents: JSON objects with `_id`, `title` and `text` (BEIR; also `id` and `contents`), one a line, or an id and
    /// a text between tabs (MS MARCO). Title and text are read together
    #[arg(long, value_name = "FILE", requires_all = ["queries", "run"], help_heading = "Retrieval")]
    corpus: Option<String>,
    /// The queries: JSON objects with `_id` and `text`, one a line, or an id and a text between tabs
    #[arg(long, value_name = "FILE", requires_all = ["corpus", "run"], help_heading = "Retrieval")]
    queries: Option<String>,
    /// The first stage's results, a TREC run. Its queries are reranked in their order. This file and the others may be gzip
    /// or zstd files
    #[arg(long, value_name = "FILE", requires_all = ["corpus", "queries"], help_heading = "Retrieval")]
    run: Option<String>,
    /// Rerank the first N documents of each query, and leave the others out [default: all]
    #[arg(long, value_name = "N", requires = "run", help_heading = "Retrieval",
          value_parser = clap::value_parser!(u64).range(1..))]
    depth: Option<u64>,
    /// Rank by first stage, bi-encoder and cross-encoder together: the scores are the sums of their z-scores within each query.
    /// All documents are embedded and read
    #[arg(long, requires = "run", conflicts_with = "threshold", group = BI_ENCODER, help_heading = "Retrieval")]
    fusion: bool,
    /// The last column of the run: what it is called
    #[arg(long, value_name = "NAME", requires = "run", default_value = "crossrank", help_heading = "Retrieval",
          value_parser = tag)]
    tag: String,
}

fn tag(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("a word without blanks is needed: it is a column of the run".to_owned());
    }
    Ok(text.to_owned())
}

impl RetrievalArguments {
    pub(super) fn is_given(&self) -> bool {
        self.run.is_some()
    }

    /// Whether all scores are to be added.
    pub(super) fn fusion(&self) -> bool {
        self.fusion
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let RetrievalArguments { corpus: Some(corpus), queries: Some(queries_file), run: Some(run), depth, tag, .. } =
        &arguments.retrieval
    else {
        return Err(Failure::Setup("--corpus, --queries and --run belong together".to_owned()));
    };
    if [corpus, queries_file, run].iter().filter(|file| **file == "-").count() > 1 {
        return Err(Failure::Setup("standard input is named twice, and can be read once".to_owned()));
    }
    let Some(place) = arguments.job.open()? else { return Ok(Outcome::Done) };
    let queries = queries(queries_file)?;
    let first_stage = FirstStage::open(run)?;
    if arguments.retrieval.fusion {
        first_stage.require_finite_scores()?;
    }
    let indexed = Corpus::index(corpus, first_stage.documents())?;
    report(arguments, &indexed, corpus, &queries, &first_stage)?;
    let ranker = Ranker::load(arguments)?;

    let depth = depth.map_or(usize::MAX, |depth| usize::try_from(depth).unwrap_or(usize::MAX));
    let mut settings = ranker.settings(arguments);
    let size = fs::metadata(Path::new(corpus)).map_or(0, |meta| meta.len());
    for (name, value) in [
        ("command", "rerank --run".to_owned()),
        ("--corpus", format!("{} documents, {size} bytes", indexed.documents)),
        ("--depth", format!("{depth}")),
        ("--tag", tag.clone()),
    ] {
        settings.insert(name.to_owned(), value);
    }
    let job = Job {
        arguments: &arguments.job,
        place,
        settings,
        extent: Extent::Units(arguments.job.share(first_stage.queries().len() as u64)),
        units: "queries",
        items: "pairs",
        workers: ranker.threads(),
        finish: None,
    };
    let bad_corpus = indexed.bad > 0;
    let corpus = indexed.corpus;
    let options = arguments.rank_options().raw_scores(true);
    let places = 0..first_stage.queries().len();
    let work = |query: &Query| {
        let name = format!("query {}", query.id);
        let Some(text) = &query.text else {
            return Worked::failed(name, vec![format!("its text is not in {queries_file}")]);
        };
        let (documents, mut reasons) = query.documents(&corpus);
        if let Some(fused) = ranker.fuse(text, &documents) {
            let fused = match fused {
                Ok(fused) => fused,
                Err(error) => return Worked::failed(name, vec![error.chain()]),
            };
            reasons.extend(fused.reasons);
            let best = fused.results.into_iter().take(arguments.top_n.unwrap_or(usize::MAX));
            return Worked {
                results: lines(&query.id, &documents, best, tag).into_bytes(),
                tally: fused.tally,
                failure: (!reasons.is_empty()).then_some((name, reasons)),
            };
        }
        let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
        let ranked = match ranker.rank(text, &texts, &options) {
            Ok(ranked) => ranked,
            Err(error) => return Worked::failed(name, vec![error.chain()]),
        };
        reasons.extend(ranked.failures.iter().map(|failure| {
            let id = failure.document().and_then(|index| documents.get(index)).map_or("", |document| document.id);
            format!("document {id}: {}", failure.chain())
        }));
        Worked {
            results: lines(&query.id, &documents, scores(&ranked), tag).into_bytes(),
            tally: ranked.tally(documents.len()),
            failure: (!reasons.is_empty()).then_some((name, reasons)),
        }
    };
    let ended = job.run(units(first_stage, queries, places, depth), |query| {
        let mut worked = work(&query);
        worked.tally.repeated = query.repeated;
        worked
    })?;
    ended.tally.report_repeated(shown(run));
    ranker.report_cuts(&ended.tally);
    Ok(if bad_corpus && ended.outcome == Outcome::Done { Outcome::InputFailed } else { ended.outcome })
}

/// Says what of the files cannot be used.
fn report(
    arguments: &Arguments,
    indexed: &Indexed,
    corpus: &str,
    queries: &Queries,
    first_stage: &FirstStage,
) -> Result<(), Failure> {
    for (line, reason) in &indexed.bad_lines {
        message(&format!("error: {corpus}, line {line}: {reason}"));
        arguments.job.stop_at_error()?;
    }
    if indexed.bad > indexed.bad_lines.len() as u64 {
        message(&format!("error: {corpus}: {} are no documents", count(indexed.bad, "line")));
    }
    indexed.repeated.report(shown(corpus), "document");
    let found = first_stage.queries().iter().filter(|query| queries.contains_key(&query.id)).count();
    if queries.len() > found {
        let more = queries.len() - found;
        message(&format!("warning: the run has nothing for {} of the {}", more, count(queries.len(), "query text")));
    }
    Ok(())
}

/// The documents' indexes and scores. Documents of a cascade that the cross-encoder did not read follow the others in steps of 1
/// below the least score.
fn scores(ranked: &Ranked) -> impl Iterator<Item = (usize, f32)> {
    let score = |last: &mut f32, result: &RankedLine| {
        *last = result.score.unwrap_or(*last - 1.0);
        Some((result.index, *last))
    };
    ranked.results.iter().scan(0.0, score)
}

/// The lines of a run.
fn lines(
    query: &str,
    documents: &[Candidate<'_>],
    ranking: impl Iterator<Item = (usize, impl Display)>,
    tag: &str,
) -> String {
    let mut text = String::new();
    for ((index, score), rank) in ranking.zip(1..) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{query} Q0 {} {rank} {score} {tag}", documents[index].id);
    }
    text
}

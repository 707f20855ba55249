//! Tables: each row is a pair of a query and a document, and gets a score in a column of its own.
//!
//! Rows of text files are written as they are scored. A Parquet file cannot be appended to after a kill: the unfinished
//! results are the scores alone, and the whole file is made of them and of the input in the end.

use std::collections::HashMap;
use std::io::BufReader;
use std::sync::Arc;

use clap::Args;

use super::super::failure::{Failure, Outcome};
use super::super::input::shown;
use super::super::job::{Finish, Job, Settings, Tally, Worked};
use super::super::models::Cut;
use super::super::output::message;
use super::super::table::{Block, Cell, Kind, ParquetTable, Row, Table, Wanted, widen, widened};
use super::super::text::count;
use super::Arguments;
use super::ranker::Ranker;

/// The columns of a table.
#[derive(Debug, Args)]
pub(super) struct PairArguments {
    /// FILE is a table (.parquet, .csv or .tsv, or --input says so), and this column has the queries; with --query, all rows
    /// have that one
    #[arg(long, value_name = "NAME", conflicts_with = "query", help_heading = "Tables")]
    query_column: Option<String>,
    /// The column with the documents. A row without a query or a document (in CSV: with nothing between the commas) has no
    /// score
    #[arg(long, value_name = "NAME", help_heading = "Tables")]
    document_column: Option<String>,
    /// A column with names for the rows, for messages about them
    #[arg(long, value_name = "NAME", requires = "document_column", help_heading = "Tables")]
    id_column: Option<String>,
    /// The column that the scores are written to, behind all others, which stay as they are
    #[arg(long, value_name = "NAME", default_value = "score", requires = "document_column", help_heading = "Tables")]
    score_column: String,
}

impl PairArguments {
    /// Whether the columns of a table are named, or the file cannot be anything else than a table.
    pub(super) fn is_given(&self, arguments: &Arguments) -> bool {
        let kind = arguments.files.first().and_then(|file| Kind::of(file, arguments.input));
        self.query_column.is_some()
            || self.document_column.is_some()
            || kind == Some(Kind::Parquet)
            || Kind::of("", arguments.input).is_some()
    }
}

/// The places of a pair's parts among the wanted columns.
#[derive(Debug, Clone)]
struct Places {
    /// The query of all rows, or the place of the column.
    query: Result<usize, String>,
    document: usize,
    id: Option<usize>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    refuse(arguments)?;
    let [path] = &arguments.files[..] else {
        return Err(Failure::Setup("a table comes from one file: run the others by themselves".to_owned()));
    };
    let Some(kind) = Kind::of(path, arguments.input) else {
        return Err(Failure::Setup(format!(
            "{} is a table, and its name does not say of which form: say --input csv, tsv or parquet",
            shown(path)
        )));
    };
    check_output(arguments, kind)?;
    let Some(place) = arguments.job.open()? else { return Ok(Outcome::Done) };
    let table = Table::open(path, kind, Arc::default())?;
    let (places, wanted) = wanted(arguments, &table, path)?;
    if table.columns().contains(&arguments.pairs.score_column) {
        return Err(Failure::Setup(format!(
            "{} has a column `{}` already: name another one with --score-column",
            shown(path),
            arguments.pairs.score_column
        )));
    }
    let (head, form, finish) = form(arguments, &table)?;
    // The hash of the blocks knows the columns that are read alone; the finished file has the others too.
    let input = match &table {
        Table::Parquet(table) => format!("Parquet, {} bytes", table.bytes()),
        Table::Delimited(_) => kind.name().to_owned(),
    };
    let extent = table.extent(&arguments.job);
    let blocks = table.blocks(&wanted, arguments.job.mine())?;
    let ranker = Ranker::load(arguments)?;
    let job = Job {
        arguments: &arguments.job,
        place,
        settings: settings(arguments, &ranker, input),
        extent,
        units: "blocks of rows",
        items: "pairs",
        workers: ranker.threads(),
        finish,
    };
    let ended = job.run_after(&head, blocks, |block| work(arguments, &ranker, &places, &form, &block))?;
    ranker.report_cuts(&ended.tally);
    if ended.tally.missing > 0 {
        message(&format!(
            "warning: {} no query or no document, and no score",
            match ended.tally.missing {
                1 => "1 row has".to_owned(),
                rows => format!("{} have", count(rows, "row")),
            }
        ));
    }
    Ok(ended.outcome)
}

/// Refuses options that mean nothing for a table.
fn refuse(arguments: &Arguments) -> Result<(), Failure> {
    let given = [
        ("--top-n", arguments.top_n.is_some()),
        ("--threshold", arguments.threshold.is_some()),
        ("--format", arguments.format.is_some()),
        ("--return-documents", arguments.return_documents),
        ("--cascade", arguments.cascade.candidates().is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => {
            Err(Failure::Setup(format!("{option} is not for tables, in which every row is kept and gets a score")))
        }
        None => Ok(()),
    }
}

/// The results have the form of the input.
fn check_output(arguments: &Arguments, kind: Kind) -> Result<(), Failure> {
    let named = arguments.job.output.as_deref().and_then(Kind::by_name);
    let wrong = match (kind, named) {
        (_, Some(named)) if named != kind => Some(named.name()),
        (Kind::Parquet, None) if arguments.job.output.is_some() => Some("no .parquet file"),
        _ => None,
    };
    match (wrong, &arguments.job.output) {
        (Some(wrong), Some(path)) => Err(Failure::Setup(format!(
            "the input is {}, and a table keeps its form: {} is {wrong}",
            kind.name(),
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// The columns that are read.
fn wanted(arguments: &Arguments, table: &Table, path: &str) -> Result<(Places, Vec<Wanted>), Failure> {
    let PairArguments { query_column, document_column, id_column, .. } = &arguments.pairs;
    let unnamed = |what: &str| {
        let columns = table.columns();
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        Failure::Setup(format!("{} is a table: name {what}; it has {}", shown(path), names.join(", ")))
    };
    let mut wanted = Vec::new();
    let mut add = |name: &String, option, numbers| {
        wanted.push(Wanted { name: name.clone(), option, numbers });
        wanted.len() - 1
    };
    let document =
        document_column.as_ref().ok_or_else(|| unnamed("the column with the documents, --document-column"))?;
    let document = add(document, "--document-column", false);
    let query = match (&arguments.query, query_column) {
        (Some(query), _) => Err(query.clone()),
        (None, Some(column)) => Ok(add(column, "--query-column", false)),
        (None, None) => return Err(unnamed("the column with the queries, --query-column, or one query, --query")),
    };
    let id = id_column.as_ref().map(|column| add(column, "--id-column", true));
    Ok((Places { query, document, id }, wanted))
}

/// How the scores of a block become results.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Each row's line, with one more value.
    Lines { delimiter: u8 },
    /// Each row's score, four bytes; NaN for none.
    Scores,
}

/// What goes before the results, their form, and what is made of them in the end.
fn form(arguments: &Arguments, table: &Table) -> Result<(Vec<u8>, Form, Option<Finish>), Failure> {
    let name = arguments.pairs.score_column.clone();
    let table = match table {
        Table::Delimited(table) => {
            return Ok((table.widened_header(&name), Form::Lines { delimiter: table.delimiter() }, None));
        }
        Table::Parquet(table) => table,
    };
    if let Some(shards) = arguments.job.too_many_shards(table.row_groups()) {
        return Err(Failure::Setup(format!(
            "--shard deals out the row groups of a Parquet file: {} has {}, and there are {shards} shards",
            shown(&arguments.files[0]),
            count(table.row_groups(), "row group"),
        )));
    }
    let (again, mine): (ParquetTable, _) = (table.reopen()?, arguments.job.mine());
    let finish: Finish = Box::new(move |scores, file| {
        again.check_rows(mine, scores.metadata().map_or(0, |meta| meta.len()))?;
        widen(&again, &name, mine, &mut BufReader::new(scores), file)
    });
    Ok((Vec::new(), Form::Scores, Some(finish)))
}

/// All that decides the results.
fn settings(arguments: &Arguments, ranker: &Ranker, input: String) -> Settings {
    let mut settings = ranker.settings(arguments);
    for (name, value) in [
        ("command", "rerank a table".to_owned()),
        ("--raw-scores", arguments.raw_scores.to_string()),
        ("--query", format!("{:?}", arguments.query)),
        ("the columns", format!("{:?}", arguments.pairs)),
        ("the input", input),
    ] {
        settings.insert(name.to_owned(), value);
    }
    settings
}

/// A row's score, if it has one, or why it has none.
type Scored = Result<Option<f32>, String>;

fn work(arguments: &Arguments, ranker: &Ranker, places: &Places, form: &Form, block: &Block) -> Worked {
    let (scores, tally) = score(arguments, ranker, places, block);
    let mut reasons = Vec::new();
    let mut results = Vec::new();
    for ((row, scored), number) in block.rows.iter().zip(&scores).zip(block.first..) {
        let score = scored.as_ref().ok().copied().flatten();
        if let Err(reason) = scored {
            let left_out = if row.ragged { ", and is left out" } else { "" };
            reasons.push(format!("row {number}{}: {reason}{left_out}", id(row, places)));
        }
        match form {
            Form::Scores => results.extend(score.unwrap_or(f32::NAN).to_le_bytes()),
            // A row with too many values, or too few, has no column to put a score in.
            Form::Lines { .. } if row.ragged => {}
            Form::Lines { delimiter } => {
                let value = score.map_or(String::new(), |score| score.to_string());
                results.extend(widened(&row.line, row.crlf, *delimiter, value.as_bytes()));
            }
        }
    }
    Worked { results, failure: (!reasons.is_empty()).then(|| (block.name(), reasons)), tally }
}

/// ` (ID)`, if there is a column of ids.
fn id(row: &Row, places: &Places) -> String {
    let cell = places.id.zip(row.cells.as_ref().ok()).and_then(|(id, cells)| cells.get(id));
    match cell {
        Some(Cell::Text(text)) => format!(" ({text})"),
        Some(Cell::Number(number)) => format!(" ({number})"),
        _ => String::new(),
    }
}

/// The scores of a block's rows. Rows with one query are scored together.
fn score(arguments: &Arguments, ranker: &Ranker, places: &Places, block: &Block) -> (Vec<Scored>, Tally) {
    let mut tally = Tally::default();
    let mut scores: Vec<Scored> = Vec::with_capacity(block.rows.len());
    // The queries, in the order in which they are first seen, with the places of their rows and the documents there.
    let mut groups: Vec<(&str, Vec<usize>, Vec<&str>)> = Vec::new();
    let mut known = HashMap::new();
    for (row, index) in block.rows.iter().zip(0..) {
        scores.push(Ok(None));
        let cells = match &row.cells {
            Ok(cells) => cells,
            Err(reason) => {
                scores[index] = Err(reason.clone());
                continue;
            }
        };
        let text = |place: usize| match &cells[place] {
            Cell::Text(text) => Some(text.as_str()),
            Cell::Null | Cell::Number(_) => None,
        };
        let query = places.query.as_ref().map_or_else(|query| Some(query.as_str()), |place| text(*place));
        let (Some(query), Some(document)) = (query, text(places.document)) else {
            tally.missing += 1;
            continue;
        };
        let group = *known.entry(query).or_insert_with(|| {
            groups.push((query, Vec::new(), Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(index);
        groups[group].2.push(document);
    }
    for (query, rows, documents) in groups {
        tally.items += documents.len() as u64;
        match ranker.score(query, &documents) {
            Err(error) => rows.iter().for_each(|row| scores[*row] = Err(error.chain())),
            Ok(found) => {
                tally.cut_by_cross_encoder.add(&Cut::of(&found.truncated));
                for (row, score) in rows.into_iter().zip(found.scores) {
                    scores[row] = score
                        .map(|pair| Some(if arguments.raw_scores { pair.logit } else { pair.score }))
                        .map_err(|error| error.chain());
                }
            }
        }
    }
    (scores, tally)
}

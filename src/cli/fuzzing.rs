//! What the fuzz targets call: each reader of the command line with any bytes, and what must hold of what it reads.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Number;
use tempfile::TempDir;

use super::input::{self, InputFormat};
use super::table::{self, Block, Cell, Kind, Table, Wanted};
use super::{collection, compressed, embed, job, rerank};
use crate::eval::Run;

/// More of what a compressed file holds is not read: a few bytes can hold gigabytes.
const MOST: u64 = 1 << 24;

/// Calls `read` with a file that has these bytes and this name.
fn in_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let path = FOLDER.get_or_init(|| TempDir::new().unwrap()).path().join(name);
    fs::write(&path, bytes).unwrap();
    read(&path);
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A line with a request of a service.
pub fn requests(line: &[u8]) {
    rerank::fuzz_requests(line);
}

/// A file of documents, and one of cases.
pub fn documents(bytes: &[u8]) {
    for format in [InputFormat::Auto, InputFormat::Lines, InputFormat::Jsonl] {
        let found = input::documents(bytes, "-", format);
        let lines: Vec<usize> = found.documents.iter().map(|document| document.line).collect();
        assert!(lines.is_sorted() && lines.len() + found.bad_lines.len() <= bytes.len());
    }
    let _ = input::cases(bytes, "-");
}

/// A corpus, and queries: what one reads of a file the other finds in it.
pub fn records(bytes: &[u8]) {
    in_file("records", bytes, |path| {
        let Ok(queries) = collection::queries(name(path)) else {
            let _ = collection::Corpus::index(name(path), &[]);
            return;
        };
        let mut hashes: Vec<u64> = queries.keys().map(|id| collection::hash_of(id)).collect();
        hashes.sort_unstable();
        let indexed = collection::Corpus::index(name(path), &hashes).unwrap();
        assert_eq!(indexed.bad, 0);
        for (id, text) in &queries {
            let whole = indexed.corpus.text(id).unwrap().unwrap();
            assert!(whole.ends_with(text.trim()), "{id:?}: {whole:?} without {text:?}");
        }
    });
}

/// A run of a first stage: the reader that leaves it on the disk takes what the library takes, and finds the same in it.
pub fn run(bytes: &[u8]) {
    in_file("run.trec", bytes, |path| {
        let whole = Run::read(bytes, "run");
        let Ok(first_stage) = collection::FirstStage::open(name(path)) else {
            assert!(whole.is_err());
            return;
        };
        let whole = whole.unwrap();
        assert!(first_stage.queries().iter().map(|query| query.id.as_str()).eq(whole.queries()));
        for query in first_stage.queries() {
            let found = first_stage.candidates(query, usize::MAX).unwrap();
            let documents = whole.documents(&query.id).unwrap();
            assert!(documents.eq(found.documents.iter().map(|(id, score)| (id.as_str(), *score))));
        }
    });
}

/// A table of values between commas or tabs: with one more column, its rows are still the same.
pub fn delimited(bytes: &[u8]) {
    for kind in [Kind::Csv, Kind::Tsv] {
        in_file("table", bytes, |path| {
            let Ok(table) = Table::open(name(path), kind, Default::default()) else { return };
            let Table::Delimited(whole) = &table else { unreachable!() };
            // Behind blank lines, which are lost, a byte order mark is a part of the first column's name; in front it is none.
            if table.columns().iter().any(|column| column == ADDED || column.starts_with('\u{feff}')) {
                return;
            }
            let delimiter = whole.delimiter();
            let mut whole = whole.widened_header(ADDED);
            let wanted = once(&table.columns());
            let Ok(blocks) = table.blocks(&wanted, |_| true) else { return };
            let Ok(blocks) = blocks.collect::<Result<Vec<Block>, _>>() else { return };
            let rows: Vec<_> = blocks.into_iter().flat_map(|block| block.rows).collect();
            for row in &rows {
                whole.extend(table::widened(&row.line, row.crlf, delimiter, b"7"));
            }
            in_file("widened", &whole, |path| {
                // Behind a blank line that is lost, there may be what compressed files begin with.
                if compressed::is_compressed(name(path)).unwrap() {
                    return;
                }
                let wanted = [&wanted[..], &[want(ADDED)]].concat();
                let table = Table::open(name(path), kind, Default::default()).unwrap();
                let blocks = table.blocks(&wanted, |_| true).unwrap();
                let again: Vec<_> = blocks.flat_map(|block| block.unwrap().rows).collect();
                assert_eq!(again.len(), rows.len());
                for (row, again) in rows.iter().zip(&again) {
                    if let (Ok(cells), false) = (&row.cells, row.ragged) {
                        let with_more = [&cells[..], &[Cell::Text("7".to_owned())]].concat();
                        assert_eq!(again.cells.as_ref(), Ok(&with_more));
                    }
                }
            });
        });
    }
}

/// The name of the column that is added.
const ADDED: &str = "added\u{1f}";

/// A Parquet file.
pub fn parquet(bytes: &[u8]) {
    in_file("table.parquet", bytes, |path| {
        let open = || Table::open(name(path), Kind::Parquet, Default::default());
        let Ok(table) = open() else { return };
        for column in table.columns() {
            let wanted = Wanted { numbers: true, ..want(&column) };
            let Ok(blocks) = open().and_then(|table| table.blocks(&[wanted], |_| true)) else { continue };
            for block in blocks.map_while(Result::ok) {
                assert!((1..=table::ROWS).contains(&block.rows.len()));
                let fraction = |cell: &Cell| matches!(cell, Cell::Number(number) if !is_whole(number));
                assert!(!block.rows.iter().flat_map(|row| row.cells.iter().flatten()).any(fraction));
            }
        }
    });
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64()
}

/// The columns that are there once.
fn once(columns: &[String]) -> Vec<Wanted> {
    let is_once = |name: &&String| columns.iter().filter(|other| other == name).count() == 1;
    columns.iter().filter(is_once).map(|name| want(name)).collect()
}

fn want(name: &str) -> Wanted {
    Wanted { name: name.to_owned(), option: "--text-column", numbers: false }
}

/// A file that may be compressed.
pub fn compressed(bytes: &[u8]) {
    for name_of in ["file", "file.gz", "file.zst"] {
        in_file(name_of, bytes, |path| {
            let Ok(reader) = compressed::open(name(path)) else { return };
            let mut found = Vec::new();
            let read = reader.take(MOST).read_to_end(&mut found);
            if !compressed::is_compressed(name(path)).unwrap() {
                read.unwrap();
                assert_eq!(found, bytes);
            }
        });
    }
}

/// The journal of a job.
pub fn journal(bytes: &[u8]) {
    in_file("journal", bytes, job::fuzz_journal);
}

/// Texts to embed.
pub fn texts(bytes: &[u8]) {
    for format in [InputFormat::Auto, InputFormat::Lines, InputFormat::Jsonl, InputFormat::Csv, InputFormat::Tsv] {
        in_file("texts", bytes, |path| embed::fuzz_texts(name(path), format));
    }
}

/// An array of ranges for quantisation.
pub fn npy(bytes: &[u8]) {
    in_file("ranges.npy", bytes, embed::fuzz_npy);
}

//! Tables, read by named columns, some rows at a time: Parquet, and values between commas or tabs.
//!
//! What is in memory is a block of [`ROWS`] rows, however large the table is.

mod columnar;
mod delimited;
mod guard;
mod widen;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::Number;
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::input::{InputFormat, shown};
use super::job::{Extent, JobArguments, Unit};
pub(super) use columnar::ParquetTable;
pub(super) use delimited::{Delimited, widened};
pub(super) use guard::guarded;
pub(super) use widen::widen;

/// The rows of a block: enough that texts of one length are found among them, and few enough that little is done again
/// when a job is resumed.
pub(super) const ROWS: usize = 256;

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Parquet,
    /// Values between commas, in quotes where they need it (RFC 4180).
    Csv,
    /// Values between tabs, never in quotes.
    Tsv,
}

/// A column that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    /// The option that named it.
    pub(super) option: &'static str,
    /// Whether it may hold whole numbers as well as texts.
    pub(super) numbers: bool,
}

/// What is in a row of a wanted column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// Nothing; in CSV, a value without a character.
    Null,
    Text(String),
    Number(Number),
}

/// A row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// One for each wanted column, or why the row cannot be read.
    pub(super) cells: Result<Vec<Cell>, String>,
    /// Whether it has not as many values as there are columns.
    pub(super) ragged: bool,
    /// The row as it is in a text file, without its line break; nothing of a Parquet file.
    pub(super) line: Vec<u8>,
    /// Whether its line ended as those of Windows do.
    pub(super) crlf: bool,
}

/// Rows that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) file: String,
    /// The number of the first row, counted from 1.
    pub(super) first: u64,
    /// The row group of a Parquet file.
    pub(super) group: Option<u64>,
    pub(super) rows: Vec<Row>,
}

impl Kind {
    /// The form that a file's name says, or that of the option `--input`.
    pub(super) fn of(path: &str, format: InputFormat) -> Option<Self> {
        match format {
            InputFormat::Auto => Self::by_name(Path::new(path)),
            InputFormat::Csv => Some(Kind::Csv),
            InputFormat::Tsv => Some(Kind::Tsv),
            InputFormat::Parquet => Some(Kind::Parquet),
            InputFormat::Lines | InputFormat::Jsonl => None,
        }
    }

    /// The form that a file's name says; what it says of compression is passed over.
    pub(super) fn by_name(path: &Path) -> Option<Self> {
        let extension = |path: &Path| path.extension().map(|text| text.to_string_lossy().to_lowercase());
        let mut found = extension(path);
        if let Some("gz" | "zst") = found.as_deref() {
            found = path.file_stem().and_then(|stem| extension(Path::new(stem)));
        }
        match found?.as_str() {
            "parquet" => Some(Kind::Parquet),
            "csv" => Some(Kind::Csv),
            "tsv" => Some(Kind::Tsv),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Parquet => "Parquet",
            Kind::Csv => "CSV",
            Kind::Tsv => "TSV",
        }
    }

    /// The byte between values.
    fn delimiter(self) -> u8 {
        if self == Kind::Tsv { b'\t' } else { b',' }
    }
}

impl Block {
    /// `FILE, rows 1 to 256`.
    pub(super) fn name(&self) -> String {
        format!("{}, rows {} to {}", self.file, self.first, self.first + self.rows.len().max(1) as u64 - 1)
    }
}

impl Unit for Block {
    fn fingerprint(&self, hash: &mut Sha256) {
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for row in &self.rows {
            add(&row.line);
            match &row.cells {
                Err(reason) => add(reason.as_bytes()),
                Ok(cells) => cells.iter().for_each(|cell| match cell {
                    Cell::Null => add(&[]),
                    Cell::Text(text) => add(text.as_bytes()),
                    Cell::Number(number) => add(number.to_string().as_bytes()),
                }),
            }
        }
    }

    fn share(&self) -> Option<u64> {
        self.group
    }
}

/// A table that is open at its beginning.
pub(super) enum Table {
    Parquet(ParquetTable),
    Delimited(Box<Delimited>),
}

/// The blocks of a table.
pub(super) type Blocks = Box<dyn Iterator<Item = Result<Block, Failure>> + Send>;

impl Table {
    /// `read` is counted up by the bytes that are read of a text file, and by those of a Parquet file when all of it is.
    pub(super) fn open(path: &str, kind: Kind, read: Arc<AtomicU64>) -> Result<Self, Failure> {
        Ok(match kind {
            Kind::Parquet => Table::Parquet(ParquetTable::open(path, read)?),
            Kind::Csv | Kind::Tsv => Table::Delimited(Box::new(Delimited::open(path, kind.delimiter(), read)?)),
        })
    }

    pub(super) fn columns(&self) -> Vec<String> {
        match self {
            Table::Parquet(table) => table.columns(),
            Table::Delimited(table) => table.columns().to_vec(),
        }
    }

    /// How much there is to read for this process, in blocks or in bytes.
    pub(super) fn extent(&self, job: &JobArguments) -> Extent {
        match self {
            Table::Parquet(table) => Extent::Units(table.blocks_of(job.mine())),
            Table::Delimited(table) => table.extent(),
        }
    }

    /// Whether a column can be read as ids.
    pub(super) fn has_ids(&self, name: &str) -> bool {
        match self {
            Table::Parquet(table) => table.has_ids(name),
            Table::Delimited(table) => table.columns().iter().filter(|column| *column == name).count() == 1,
        }
    }

    /// The blocks with the wanted columns; of a Parquet file, those of some of its row groups.
    pub(super) fn blocks(
        self,
        wanted: &[Wanted],
        groups: impl Fn(u64) -> bool + Send + 'static,
    ) -> Result<Blocks, Failure> {
        Ok(match self {
            Table::Parquet(table) => Box::new(table.blocks(wanted, groups)?),
            Table::Delimited(table) => Box::new(table.blocks(wanted)?),
        })
    }
}

/// The place of a column among those that there are, once.
fn place(columns: &[String], wanted: &Wanted, path: &str) -> Result<usize, Failure> {
    let places: Vec<usize> = (0..columns.len()).filter(|place| columns[*place] == wanted.name).collect();
    match places[..] {
        [place] => Ok(place),
        [] => Err(Failure::Setup(format!(
            "{} has no column `{}`; name one with {}: it has {}",
            shown(path),
            wanted.name,
            wanted.option,
            listed(columns)
        ))),
        _ => Err(Failure::Setup(format!(
            "{} has {} columns `{}`, and {} names one; they must have names of their own",
            shown(path),
            places.len(),
            wanted.name,
            wanted.option
        ))),
    }
}

/// Names of columns in a message.
fn listed(columns: &[String]) -> String {
    const SHOWN: usize = 40;
    let names: Vec<String> = columns.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = columns.len().saturating_sub(SHOWN);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => names.join(", "),
        (_, more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// How many bytes an open file has.
fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.len())
}

#[cfg(test)]
mod parquet_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_name() {
        let kind = |name: &str| Kind::by_name(Path::new(name));
        assert_eq!(kind("a/b.parquet"), Some(Kind::Parquet));
        assert_eq!(kind("b.CSV"), Some(Kind::Csv));
        assert_eq!(kind("b.tsv.gz"), Some(Kind::Tsv));
        assert_eq!((kind("csv"), kind("b.csv.txt"), kind("b.gz"), kind("-")), (None, None, None, None));
        assert_eq!(Kind::of("-", InputFormat::Csv), Some(Kind::Csv));
        assert_eq!(Kind::of("x.csv", InputFormat::Lines), None);
    }
}

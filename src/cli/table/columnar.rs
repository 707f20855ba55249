//! Parquet files: columns by name, a block of rows at a time.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use serde_json::Number;

use super::super::collection::readable_anywhere;
use super::super::failure::Failure;
use super::super::input::shown;
use super::{Block, Cell, ROWS, Row, Wanted, guarded, place};

/// A Parquet file whose metadata were read. One that is compressed as a whole, or comes through a pipe, is in a temporary
/// file.
#[derive(Debug)]
pub(in super::super) struct ParquetTable {
    path: String,
    file: File,
    metadata: ArrowReaderMetadata,
    read: Arc<AtomicU64>,
}

/// What the library says of a file, in one of its errors or in a panic.
pub(super) fn damaged(path: &str, reason: &str) -> Failure {
    Failure::Input(format!("cannot read {} as a Parquet file: {reason}", shown(path)))
}

/// Calls into the library, which may panic on a damaged file.
pub(super) fn call<T>(path: &str, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Failure> {
    match guarded(work) {
        Ok(done) => done.map_err(|error| damaged(path, &error.to_string())),
        Err(reason) => Err(damaged(path, &format!("it is damaged ({reason})"))),
    }
}

impl ParquetTable {
    pub(in super::super) fn open(path: &str, read: Arc<AtomicU64>) -> Result<Self, Failure> {
        let file = readable_anywhere(path)?;
        // The types are those of Parquet itself: all of Arrow's kinds of text are one in it.
        let options =
            ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Skip);
        let metadata = call(path, || ArrowReaderMetadata::load(&file, options))?;
        Ok(Self { path: path.to_owned(), file, metadata, read })
    }

    /// The file once more, and its name. The places at which the two are read move together.
    pub(in super::super) fn reopen(&self) -> Result<Self, Failure> {
        let (file, read) = (self.again()?, Arc::clone(&self.read));
        Ok(Self { path: self.path.clone(), file, metadata: self.metadata.clone(), read })
    }

    fn again(&self) -> Result<File, Failure> {
        self.file.try_clone().map_err(|error| damaged(&self.path, &error.to_string()))
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    pub(super) fn columns(&self) -> Vec<String> {
        self.metadata.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    pub(in super::super) fn bytes(&self) -> u64 {
        super::length(&self.file)
    }

    pub(in super::super) fn row_groups(&self) -> u64 {
        self.metadata().num_row_groups() as u64
    }

    pub(super) fn has_ids(&self, name: &str) -> bool {
        let found = self.metadata.schema().fields().iter().filter(|field| field.name() == name);
        found.map(|field| is_text(field.data_type()) || field.data_type().is_integer()).eq([true])
    }

    /// The rows of each row group.
    pub(super) fn rows(&self) -> impl Iterator<Item = u64> {
        self.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
    }

    /// How many blocks some of the row groups have.
    pub(super) fn blocks_of(&self, groups: impl Fn(u64) -> bool) -> u64 {
        let rows = self.rows().zip(0..).filter(|(_, group)| groups(*group));
        rows.map(|(rows, _)| rows.div_ceil(ROWS as u64)).sum()
    }

    /// The blocks of some of the row groups. No block has rows of two of them.
    pub(super) fn blocks(
        self,
        wanted: &[Wanted],
        groups: impl Fn(u64) -> bool + Send + 'static,
    ) -> Result<impl Iterator<Item = Result<Block, Failure>> + Send + 'static, Failure> {
        let (columns, fields) = (self.columns(), self.metadata.schema().fields());
        let mut places = Vec::new();
        for wanted in wanted {
            let place = place(&columns, wanted, &self.path)?;
            check_type(wanted, fields[place].data_type(), &self.path)?;
            places.push(place);
        }
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), places.iter().copied());
        let names = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        let groups = (0..self.row_groups()).filter(|group| groups(*group)).collect::<Vec<_>>().into_iter();
        Ok(Blocks { table: self, names, mask, groups, current: None, failed: false })
    }
}

fn is_text(found: &DataType) -> bool {
    matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn check_type(wanted: &Wanted, found: &DataType, path: &str) -> Result<(), Failure> {
    if is_text(found) || wanted.numbers && found.is_integer() {
        return Ok(());
    }
    let needed = if wanted.numbers { "texts or whole numbers" } else { "texts" };
    Err(Failure::Setup(format!(
        "the column `{}` of {} holds {found}, and {} is for {needed}",
        wanted.name,
        shown(path),
        wanted.option
    )))
}

struct Blocks {
    table: ParquetTable,
    names: Vec<String>,
    mask: ProjectionMask,
    groups: std::vec::IntoIter<u64>,
    current: Option<Group>,
    failed: bool,
}

/// A row group that is being read.
struct Group {
    number: u64,
    reader: ParquetRecordBatchReader,
    /// The number of its next row in the file, and how many are to come.
    next: u64,
    left: u64,
}

impl Blocks {
    fn next_block(&mut self) -> Result<Option<Block>, Failure> {
        loop {
            let Some(group) = &mut self.current else {
                let Some(number) = self.groups.next() else {
                    self.table.read.fetch_add(self.table.bytes(), Ordering::Relaxed);
                    return Ok(None);
                };
                self.current = Some(self.open(number)?);
                continue;
            };
            let path = &self.table.path;
            let batch = call(path, || group.reader.next().transpose().map_err(ParquetError::from))?;
            let Some(batch) = batch else {
                if group.left > 0 {
                    return Err(damaged(path, &format!("row group {} ends {} rows early", group.number, group.left)));
                }
                self.current = None;
                continue;
            };
            let rows = batch.num_rows() as u64;
            let Some(left) = group.left.checked_sub(rows) else {
                return Err(damaged(path, &format!("row group {} has more rows than it declares", group.number)));
            };
            let block = Block {
                file: shown(path).to_owned(),
                first: group.next,
                group: Some(group.number),
                rows: call(path, || rows_of(&batch, &self.names))?,
            };
            group.next += rows;
            group.left = left;
            return Ok(Some(block));
        }
    }

    fn open(&self, number: u64) -> Result<Group, Failure> {
        let table = &self.table;
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let file = table.again()?;
        let reader = call(&table.path, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, table.metadata.clone())
                .with_row_groups(vec![index])
                .with_projection(self.mask.clone())
                .with_batch_size(ROWS)
                .build()
        })?;
        let next = 1 + table.rows().take(index).sum::<u64>();
        Ok(Group { number, reader, next, left: table.rows().nth(index).unwrap_or(0) })
    }
}

impl Iterator for Blocks {
    type Item = Result<Block, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let block = self.next_block();
        self.failed = block.is_err();
        block.transpose()
    }
}

fn rows_of(batch: &RecordBatch, names: &[String]) -> Result<Vec<Row>, ParquetError> {
    let lost = |name: &String| ParquetError::General(format!("the column `{name}` is not in what was read"));
    let columns: Vec<&Arc<dyn Array>> =
        names.iter().map(|name| batch.column_by_name(name).ok_or_else(|| lost(name))).collect::<Result<_, _>>()?;
    let row = |row: usize| {
        let cells = columns.iter().zip(names).map(|(column, name)| cell(column, row).ok_or_else(|| lost(name)));
        Ok(Row { cells: Ok(cells.collect::<Result<_, ParquetError>>()?), ragged: false, line: Vec::new(), crlf: false })
    };
    (0..batch.num_rows()).map(row).collect()
}

/// What is in a row; nothing if the column is neither of texts nor of whole numbers.
fn cell(column: &dyn Array, row: usize) -> Option<Cell> {
    if column.is_null(row) {
        return Some(Cell::Null);
    }
    let text = |text: &str| Some(Cell::Text(text.to_owned()));
    macro_rules! number {
        ($type:ty) => {
            Some(Cell::Number(Number::from(column.as_primitive_opt::<$type>()?.value(row))))
        };
    }
    match column.data_type() {
        DataType::Utf8 => text(column.as_string_opt::<i32>()?.value(row)),
        DataType::LargeUtf8 => text(column.as_string_opt::<i64>()?.value(row)),
        DataType::Utf8View => text(column.as_string_view_opt()?.value(row)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        _ => None,
    }
}

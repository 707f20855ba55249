//! A Parquet file with one more column. The other columns are copied as they are in the file, byte for byte: no value of
//! them is decoded, whatever its type.

use std::io::{Read, Write};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::basic::{Compression, Repetition, Type as PhysicalType};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::FloatType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::super::failure::Failure;
use super::ParquetTable;
use super::columnar::{call, damaged};

/// Writes some of the row groups of `table` with a column `name` behind the others. Its values come from `values`: four
/// bytes for each row, an `f32`; NaN stands for null.
pub(in super::super) fn widen(
    table: &ParquetTable,
    name: &str,
    groups: impl Fn(u64) -> bool,
    values: &mut impl Read,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let path = table.path();
    // The indexes of pages are copied too, where the file has them.
    let metadata = call(path, || {
        ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional).parse_and_finish(table.file())
    })?;
    let schema = call(path, || widened_schema(&metadata, name))?;
    let properties = Arc::new(
        WriterProperties::builder()
            .set_compression(compression(&metadata))
            .set_key_value_metadata(key_values(&metadata, name))
            .build(),
    );
    let mut out = Noted { out, error: None };
    let written = call(path, || {
        let mut writer = SerializedFileWriter::new(&mut out, Arc::new(schema), properties)?;
        for index in (0..metadata.num_row_groups()).filter(|index| groups(*index as u64)) {
            let mut group = writer.next_row_group()?;
            copy(table, &metadata, index, &mut group)?;
            let rows = usize::try_from(metadata.row_group(index).num_rows()).unwrap_or(usize::MAX);
            append(&mut group, rows, values)?;
            group.close()?;
        }
        writer.close().map(drop)
    });
    // What could not be written is no fault of what was read.
    match out.error {
        Some(error) => Err(Failure::Output(error)),
        None => written,
    }
}

/// Remembers an error of writing.
struct Noted<'a> {
    out: &'a mut (dyn Write + Send),
    error: Option<std::io::Error>,
}

impl Noted<'_> {
    fn note<T>(&mut self, done: std::io::Result<T>) -> std::io::Result<T> {
        done.map_err(|error| {
            let again = std::io::Error::new(error.kind(), error.to_string());
            self.error = Some(error);
            again
        })
    }
}

impl Write for Noted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.out.flush();
        self.note(flushed)
    }
}

fn widened_schema(metadata: &ParquetMetaData, name: &str) -> Result<Type, ParquetError> {
    let root = metadata.file_metadata().schema();
    let score =
        Type::primitive_type_builder(name, PhysicalType::FLOAT).with_repetition(Repetition::OPTIONAL).build()?;
    let fields = root.get_fields().iter().cloned().chain([Arc::new(score)]).collect();
    Type::group_type_builder(root.name()).with_fields(fields).build()
}

/// That of the other columns, as far as it can be written.
fn compression(metadata: &ParquetMetaData) -> Compression {
    let first = metadata.row_groups().first().and_then(|group| group.columns().first());
    match first.map(|column| column.compression()) {
        Some(
            known @ (Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::GZIP(_)
            | Compression::LZ4_RAW
            | Compression::ZSTD(_)),
        ) => known,
        _ => Compression::SNAPPY,
    }
}

/// What is said of the file beside its schema. Arrow's own schema, if it is there, must have the new column too.
fn key_values(metadata: &ParquetMetaData, name: &str) -> Option<Vec<KeyValue>> {
    let file = metadata.file_metadata();
    let mut pairs = file.key_value_metadata()?.clone();
    if let Some(place) = pairs.iter().position(|pair| pair.key == ARROW_SCHEMA_META_KEY) {
        match parquet_to_arrow_schema(file.schema_descr(), Some(&pairs)) {
            Ok(schema) => {
                let score = Arc::new(Field::new(name, DataType::Float32, true));
                let fields: Vec<_> = schema.fields().iter().cloned().chain([score]).collect();
                let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
                pairs[place].value = Some(encode_arrow_schema(&schema));
            }
            // A schema that does not fit the file is of no use.
            Err(_) => _ = pairs.remove(place),
        }
    }
    Some(pairs)
}

fn copy<W: Write + Send>(
    table: &ParquetTable,
    metadata: &ParquetMetaData,
    index: usize,
    group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<(), ParquetError> {
    let (from, pages) = (metadata.row_group(index), metadata.page_index());
    for (column, number) in from.columns().iter().zip(0..) {
        let result = ColumnCloseResult {
            bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
            rows_written: u64::try_from(from.num_rows()).unwrap_or(0),
            metadata: column.clone(),
            bloom_filter: Sbbf::read_from_column_chunk(column, table.file()).ok().flatten(),
            column_index: pages.and_then(|pages| pages.column_index(index, number)).cloned(),
            offset_index: pages.and_then(|pages| pages.offset_index(index, number)).cloned(),
        };
        group.append_column(table.file(), result)?;
    }
    Ok(())
}

fn append<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: usize,
    values: &mut impl Read,
) -> Result<(), ParquetError> {
    /// Values that are written at a time.
    const CHUNK: usize = 8192;
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("there is no place for the new column".to_owned()));
    };
    let mut bytes = vec![0; 4 * CHUNK];
    let mut left = rows;
    while left > 0 {
        let now = left.min(CHUNK);
        values.read_exact(&mut bytes[..4 * now])?;
        let numbers = bytes[..4 * now].as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
        let levels: Vec<i16> = numbers.clone().map(|number| i16::from(!number.is_nan())).collect();
        let numbers: Vec<f32> = numbers.filter(|number| !number.is_nan()).collect();
        column.typed::<FloatType>().write_batch(&numbers, Some(&levels), None)?;
        left -= now;
    }
    column.close()
}

impl ParquetTable {
    /// Whether some of the row groups have as many rows as the values in so many bytes.
    pub(in super::super) fn check_rows(&self, groups: impl Fn(u64) -> bool, bytes: u64) -> Result<(), Failure> {
        let rows: u64 = self.rows().zip(0..).filter(|(_, group)| groups(*group)).map(|(rows, _)| rows).sum();
        if bytes == 4 * rows {
            return Ok(());
        }
        Err(damaged(self.path(), &format!("{} rows were read, and it declares {rows}", bytes / 4)))
    }
}

//! The forms in which embeddings are written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Int8Builder, UInt8Builder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::compressed;
use super::super::failure::Failure;
use super::super::job::Finish;
use super::super::output::message;
use super::super::text::count;
use super::npy;
use super::quantize::{Numbers, Quantization, Quantizer, Ranges, Type};
use super::rows::{self, Row};

/// The form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// One JSON object a text: its `index`, counted from 0, its `id`, if it has one, and its `embedding`
    Jsonl,
    /// A NumPy array, one row a text
    Npy,
    /// A tensor `embeddings`, one row a text
    Safetensors,
    /// The columns `index`, `id`, if there are ids, and `embedding`, a list of fixed size
    Parquet,
}

impl Form {
    /// The form that a file's name says; only JSONL may be compressed.
    pub(super) fn by_name(path: &Path) -> Option<Self> {
        let extension = |path: &Path| path.extension().map(|text| text.to_string_lossy().to_lowercase());
        let found = extension(path)?;
        if found == "gz" || found == "zst" {
            let inner = path.file_stem().and_then(|stem| extension(Path::new(stem)))?;
            return matches!(inner.as_str(), "jsonl" | "ndjson").then_some(Form::Jsonl);
        }
        match found.as_str() {
            "jsonl" | "ndjson" => Some(Form::Jsonl),
            "npy" => Some(Form::Npy),
            "safetensors" => Some(Form::Safetensors),
            "parquet" => Some(Form::Parquet),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct JsonRow<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    /// `null` if the text is missing, or failed.
    embedding: Option<JsonNumbers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum JsonNumbers<'a> {
    Float32(&'a [f32]),
    Int8(&'a [i8]),
    Uint8(&'a [u8]),
}

/// A row as a line of JSON.
pub(super) fn json_line(row: &Row, quantizer: &Quantizer, error: Option<&str>) -> Vec<u8> {
    let numbers = row.embedding.as_ref().map(|embedding| quantizer.apply(embedding));
    let embedding = numbers.as_ref().map(|numbers| match numbers {
        Numbers::Float32(numbers) => JsonNumbers::Float32(numbers),
        Numbers::Int8(numbers) => JsonNumbers::Int8(numbers),
        Numbers::Uint8(numbers) => JsonNumbers::Uint8(numbers),
    });
    // Our own type has string keys and finite numbers alone: it always serialises.
    let mut line =
        serde_json::to_vec(&JsonRow { index: row.index, id: row.id.as_ref(), embedding, error }).unwrap_or_default();
    line.push(b'\n');
    line
}

/// How rows that wait for the others get their last form.
#[derive(Debug, Clone)]
pub(super) struct Finishing {
    pub(super) form: Form,
    pub(super) path: PathBuf,
    pub(super) dimensions: usize,
    pub(super) quantization: Quantization,
    /// None if they are to be those of the embeddings.
    pub(super) ranges: Option<Ranges>,
    /// Where they are to be written.
    pub(super) save_ranges: Option<PathBuf>,
}

/// What must be known of all rows before the first is written.
struct Seen {
    rows: u64,
    /// Rows without an embedding.
    empty: u64,
    ranges: Ranges,
    ids: Ids,
}

/// What the ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    None,
    /// All that there are fit into 64 bits.
    Integers,
    /// Other values than strings are written as JSON.
    Strings,
}

impl Finishing {
    pub(super) fn into_finish(self) -> Finish {
        Box::new(move |part, file| self.run(part, file))
    }

    fn run(&self, part: &mut File, file: &mut (dyn Write + Send)) -> Result<(), Failure> {
        let seen = self.look(part)?;
        let ranges = match (&self.ranges, self.quantization.has_ranges()) {
            (Some(ranges), _) => Some(ranges.clone()),
            (None, true) => Some(self.own_ranges(&seen)?),
            (None, false) => None,
        };
        let quantizer = Quantizer::new(self.quantization, ranges.as_ref());
        match self.form {
            Form::Jsonl => self.jsonl(part, &quantizer, file)?,
            Form::Parquet => self.parquet(part, &quantizer, seen.ids, file)?,
            Form::Npy | Form::Safetensors => self.array(part, &quantizer, &seen, file)?,
        }
        if let (Some(path), Some(ranges)) = (&self.save_ranges, &ranges) {
            std::fs::write(path, ranges.to_npy())
                .map_err(|error| Failure::Setup(format!("cannot write {}: {error}", path.display())))?;
        }
        Ok(())
    }

    fn look(&self, part: &mut File) -> Result<Seen, Failure> {
        let mut seen = Seen { rows: 0, empty: 0, ranges: Ranges::new(self.dimensions), ids: Ids::None };
        rows::for_each::<Failure>(part, self.dimensions, |row| {
            seen.rows += 1;
            seen.ids = match (&row.id, seen.ids) {
                (None, ids) => ids,
                (Some(id), Ids::None | Ids::Integers) if id.is_i64() => Ids::Integers,
                (Some(_), _) => Ids::Strings,
            };
            match &row.embedding {
                Some(embedding) => seen.ranges.see(embedding),
                None => seen.empty += 1,
            }
            Ok(())
        })?;
        Ok(seen)
    }

    /// The ranges of the embeddings themselves; like sentence-transformers, not of one alone.
    fn own_ranges(&self, seen: &Seen) -> Result<Ranges, Failure> {
        let found = seen.rows - seen.empty;
        match found {
            0 => {}
            1 => {
                return Err(Failure::Setup(
                    "the ranges of int8 and uint8 cannot be those of one embedding alone: name a file with --ranges"
                        .to_owned(),
                ));
            }
            2..100 => message(&format!(
                "warning: the ranges of int8 and uint8 are those of {found} embeddings; with more, or with --ranges, they \
                 are steadier"
            )),
            _ => {}
        }
        Ok(seen.ranges.clone())
    }

    fn jsonl(&self, part: &mut File, quantizer: &Quantizer, file: &mut (dyn Write + Send)) -> Result<(), Failure> {
        let each =
            |part: &mut File, out: &mut dyn Write| {
                rows::for_each::<Failure>(part, self.dimensions, |row| {
                    Ok(out.write_all(&json_line(&row, quantizer, None))?)
                })
            };
        match compressed::finish(&self.path) {
            None => {
                let mut out = BufWriter::new(file);
                each(part, &mut out)?;
                Ok(out.flush()?)
            }
            Some(compress) => {
                let mut plain = BufWriter::new(tempfile::tempfile()?);
                each(part, &mut plain)?;
                let mut plain = plain.into_inner().map_err(io::IntoInnerError::into_error)?;
                io::Seek::rewind(&mut plain)?;
                compress(&mut plain, file)
            }
        }
    }

    /// The formats of one array. Its rows are the texts, in their order; one without an embedding is quantized from zeros,
    /// so that no other row has another place than its text.
    fn array(
        &self,
        part: &mut File,
        quantizer: &Quantizer,
        seen: &Seen,
        file: &mut (dyn Write + Send),
    ) -> Result<(), Failure> {
        let output = self.quantization.output();
        let shape = [seen.rows, self.quantization.width(self.dimensions) as u64];
        let mut out = BufWriter::with_capacity(1 << 16, file);
        out.write_all(&match self.form {
            Form::Npy => npy::header(output, &shape),
            _ => safetensors_header(output, shape),
        })?;
        let zeros = vec![0.0; self.dimensions];
        rows::for_each::<Failure>(part, self.dimensions, |row| {
            Ok(out.write_all(&quantizer.apply(row.embedding.as_ref().unwrap_or(&zeros)).to_le_bytes())?)
        })?;
        out.flush()?;
        if seen.empty > 0 {
            message(&format!(
                "warning: {} of the {} of {} are zeros: their texts are missing, or failed; JSONL and Parquet tell them \
                 from embeddings",
                seen.empty,
                count(seen.rows, "row"),
                self.path.display()
            ));
        }
        Ok(())
    }

    fn parquet(
        &self,
        part: &mut File,
        quantizer: &Quantizer,
        ids: Ids,
        file: &mut (dyn Write + Send),
    ) -> Result<(), Failure> {
        /// Bytes of a row group, about.
        const GROUP: usize = 16 << 20;
        const BATCH: usize = 1024;
        let width = self.quantization.width(self.dimensions);
        // Numbers of embeddings hardly repeat, and do not get smaller: that would be time for nothing.
        let embedding = ColumnPath::new(vec!["embedding".to_owned(), "list".to_owned(), "item".to_owned()]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_column_compression(embedding.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(embedding, false)
            .set_max_row_group_row_count(Some((GROUP / (width * self.quantization.output().bytes())).max(BATCH)))
            .build();
        let failed = |error: ParquetError| match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => Failure::Output(*error),
                Err(error) => Failure::Output(io::Error::other(error)),
            },
            error => Failure::Output(io::Error::other(error)),
        };
        let width = i32::try_from(width).unwrap_or(i32::MAX);
        let batch = |rows: &[Row]| {
            let numbers = rows.iter().map(|row| row.embedding.as_ref().map(|embedding| quantizer.apply(embedding)));
            record_batch(rows, numbers, self.quantization.output(), width, ids)
        };
        let mut writer =
            ArrowWriter::try_new(file, batch(&[]).map_err(failed)?.schema(), Some(properties)).map_err(failed)?;
        let mut waiting = Vec::with_capacity(BATCH);
        rows::for_each::<Failure>(part, self.dimensions, |row| {
            waiting.push(row);
            if waiting.len() == BATCH {
                batch(&waiting).and_then(|batch| writer.write(&batch)).map_err(failed)?;
                waiting.clear();
            }
            Ok(())
        })?;
        batch(&waiting).and_then(|batch| writer.write(&batch)).map_err(failed)?;
        writer.close().map(drop).map_err(failed)
    }
}

/// The beginning of a file with one tensor: <https://github.com/huggingface/safetensors#format>.
fn safetensors_header(numbers: Type, shape: [u64; 2]) -> Vec<u8> {
    let dtype = match numbers {
        Type::Float32 => "F32",
        Type::Int8 => "I8",
        Type::Uint8 => "U8",
    };
    let end = shape[0] * shape[1] * numbers.bytes() as u64;
    let header = json!({"embeddings": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}});
    let mut text = header.to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn record_batch(
    rows: &[Row],
    numbers: impl Iterator<Item = Option<Numbers>>,
    output: Type,
    width: i32,
    ids: Ids,
) -> Result<RecordBatch, ParquetError> {
    let index: ArrayRef =
        Arc::new(rows.iter().map(|row| i64::try_from(row.index).unwrap_or(i64::MAX)).collect::<Int64Array>());
    let id = |row: &Row| match row.id.as_ref()? {
        Value::String(id) => Some(id.clone()),
        id => Some(id.to_string()),
    };
    let ids: Option<ArrayRef> = match ids {
        Ids::None => None,
        Ids::Integers => Some(Arc::new(rows.iter().map(|row| row.id.as_ref()?.as_i64()).collect::<Int64Array>())),
        Ids::Strings => Some(Arc::new(rows.iter().map(id).collect::<StringArray>())),
    };
    macro_rules! lists {
        ($builder:ty, $kind:ident) => {{
            let mut lists = FixedSizeListBuilder::new(<$builder>::new(), width);
            for numbers in numbers {
                match numbers {
                    Some(Numbers::$kind(numbers)) => lists.values().append_slice(&numbers),
                    _ => {
                        (0..width).for_each(|_| lists.values().append_null());
                        lists.append(false);
                        continue;
                    }
                }
                lists.append(true);
            }
            Arc::new(lists.finish())
        }};
    }
    let embedding: ArrayRef = match output {
        Type::Float32 => lists!(Float32Builder, Float32),
        Type::Int8 => lists!(Int8Builder, Int8),
        Type::Uint8 => lists!(UInt8Builder, Uint8),
    };
    let columns = [("index", Some(index), false), ("id", ids, true), ("embedding", Some(embedding), true)];
    let columns = columns.into_iter().filter_map(|(name, column, nullable)| Some((name, column?, nullable)));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

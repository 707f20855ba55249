//! `crossrank embed`: the embeddings of texts.

mod forms;
mod npy;
mod quantize;
mod rows;
mod texts;

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Failure, Outcome};
use super::input::InputFormat;
use super::job::{Finish, Job, JobArguments, Settings, Tally, Worked};
use super::models::{Cut, EmbedderOptions, EngineOptions, load_runtime};
use super::output::message;
use super::text::count;
use crossrank::{Embedder, Embeddings, Error};
use forms::{Finishing, Form};
use quantize::{Quantization, Quantizer, Ranges};
use rows::Row;
use texts::{Fields, Source, Text, Texts};

/// Embed texts: the lines of files, the `text` of JSON objects, or a column of tables (Parquet, CSV, TSV).
///
/// The results are JSON objects, one a line, or by the name of the output file a NumPy array (.npy), a tensor
/// (.safetensors) or a table (.parquet). The rows of an array are the texts in their order; JSONL and Parquet keep ids and
/// the texts' places. A text that cannot be read or embedded is reported, and the exit code is 1: it has no embedding in
/// JSONL and Parquet, and a row of zeros in an array, so that the other rows stay where they belong.
///
/// Texts are embedded in blocks of 256; these are what --shard deals out.
///
/// Examples: `crossrank embed --prompt document passages.txt -o passages.npy`,
/// `crossrank embed corpus.jsonl --quantize int8 -o corpus.parquet`, `crossrank embed < texts.txt`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The files with the texts; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<String>,
    /// How the files are to be understood; `auto` knows tables by their names, too
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = InputFormat::Auto)]
    input: InputFormat,
    /// The column, or the part of a JSON object, that has the texts
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_column: String,
    /// The column, or the part of a JSON object, that has the ids [default: `id`, or `_id`, if there is one]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// What goes before each text: `query` or `document`, the model's own prompt for these, or another text, as it is, such
    /// as "passage: " [default: what the model says of texts that are neither, usually nothing]
    #[arg(long, value_name = "query|document|TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Make the numbers smaller, as `quantize_embeddings` of sentence-transformers does
    #[arg(long, value_name = "PRECISION", value_enum, default_value_t = Quantization::Float32)]
    quantize: Quantization,
    /// The ranges of int8 and uint8: an .npy file with two rows, the least number of each dimension and the greatest
    /// [default: those of the embeddings]
    #[arg(long, value_name = "FILE")]
    ranges: Option<PathBuf>,
    /// Write the ranges of int8 or uint8 to an .npy file, for the --ranges of queries and of more documents
    #[arg(long, value_name = "FILE")]
    save_ranges: Option<PathBuf>,
    /// The form of the results [default: by the name of the output file, else jsonl]
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Form>,
    #[command(flatten)]
    job: JobArguments,
    #[command(flatten)]
    embedder: EmbedderOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

/// How the embeddings are written while the job runs.
enum Writing {
    /// In their last form.
    Lines(Quantizer),
    /// As rows that wait for the others.
    Rows,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    arguments.engine.check(&[&arguments.embedder.embedder])?;
    let form = form(arguments)?;
    let ranges = ranges(arguments)?;
    let Some(place) = arguments.job.open()? else { return Ok(Outcome::Done) };
    let streams = form == Form::Jsonl && (ranges.is_some() || !arguments.quantize.has_ranges());
    let fields = Fields { text: arguments.text_column.clone(), id: arguments.id_column.clone() };
    let source = Source::open(&arguments.files, arguments.input, fields)?;
    load_runtime()?;
    let embedder = arguments.embedder.load_with_prompt(&arguments.engine, own_prompt(arguments))?.engine;
    let dimensions = embedder.info().dimensions.unwrap_or(0);
    check_ranges(arguments, ranges.as_ref(), dimensions)?;
    let (writing, finish) = match streams {
        false => (Writing::Rows, Some(finish(arguments, form, dimensions, &ranges))),
        true => (Writing::Lines(Quantizer::new(arguments.quantize, ranges.as_ref())), None),
    };
    let job = Job {
        arguments: &arguments.job,
        place,
        settings: settings(arguments, form, &embedder, ranges.as_ref()),
        extent: source.extent(),
        units: "blocks of texts",
        items: "texts",
        workers: embedder.info().threads,
        finish,
    };
    let ended = job.run(source, |texts| work(arguments, &embedder, &writing, dimensions, texts))?;
    ended.tally.cut_by_bi_encoder.report("the bi-encoder", embedder.info().max_length);
    if ended.tally.missing > 0 {
        message(&format!("warning: {} without a text: null, or nothing in CSV", count(ended.tally.missing, "row")));
    }
    Ok(ended.outcome)
}

fn form(arguments: &Arguments) -> Result<Form, Failure> {
    let path = arguments.job.output.as_deref().filter(|path| *path != Path::new("-"));
    match (arguments.format, path) {
        (Some(form), _) => Ok(form),
        (None, None) => Ok(Form::Jsonl),
        (None, Some(path)) => Form::by_name(path).ok_or_else(|| {
            Failure::Setup(format!(
                "the name of {} does not say in which form the embeddings are wanted: name it .npy, .safetensors, .parquet \
                 or .jsonl, or say --format",
                path.display()
            ))
        }),
    }
}

/// The ranges that are named, and whether ranges mean anything.
fn ranges(arguments: &Arguments) -> Result<Option<Ranges>, Failure> {
    let given = [("--ranges", &arguments.ranges), ("--save-ranges", &arguments.save_ranges)];
    if let Some((option, _)) = given.iter().find(|(_, path)| path.is_some())
        && !arguments.quantize.has_ranges()
    {
        return Err(Failure::Setup(format!("{option} is for --quantize int8 and uint8; name one of them")));
    }
    if arguments.ranges.is_some() && arguments.save_ranges.is_some() {
        return Err(Failure::Setup("--save-ranges would write what --ranges has: name one of the two".to_owned()));
    }
    arguments.ranges.as_deref().map(Ranges::read).transpose()
}

fn check_ranges(arguments: &Arguments, ranges: Option<&Ranges>, dimensions: usize) -> Result<(), Failure> {
    match (ranges, &arguments.ranges) {
        (Some(ranges), Some(path)) if ranges.dimensions() != dimensions => Err(Failure::Setup(format!(
            "{} has ranges of {} dimensions, and the embeddings have {dimensions}",
            path.display(),
            ranges.dimensions()
        ))),
        _ => Ok(()),
    }
}

/// A prompt that is not the model's.
fn own_prompt(arguments: &Arguments) -> Option<&str> {
    arguments.prompt.as_deref().filter(|prompt| !["query", "document"].contains(prompt))
}

fn finish(arguments: &Arguments, form: Form, dimensions: usize, ranges: &Option<Ranges>) -> Finish {
    Finishing {
        form,
        path: arguments.job.output.clone().unwrap_or_else(|| "-".into()),
        dimensions,
        quantization: arguments.quantize,
        ranges: ranges.clone(),
        save_ranges: arguments.save_ranges.clone(),
    }
    .into_finish()
}

/// All that decides the results.
fn settings(arguments: &Arguments, form: Form, embedder: &Embedder, ranges: Option<&Ranges>) -> Settings {
    let mut settings = Settings::new();
    super::models::describe("--embedder", embedder.info(), &mut settings);
    for (name, value) in [
        ("command", "embed".to_owned()),
        ("--prompt", format!("{:?}", arguments.prompt)),
        ("the model's prompts", format!("{:?} {:?}", embedder.info().query_prompt, embedder.info().document_prompt)),
        ("--quantize", format!("{:?}", arguments.quantize)),
        ("--ranges", format!("{:?}", ranges.map(Ranges::hash))),
        ("--save-ranges", format!("{:?}", arguments.save_ranges)),
        ("--format", format!("{form:?}")),
    ] {
        settings.insert(name.to_owned(), value);
    }
    settings
}

fn work(arguments: &Arguments, embedder: &Embedder, writing: &Writing, dimensions: usize, texts: Texts) -> Worked {
    let Texts { first, texts } = texts;
    let present: Vec<&str> = texts.iter().filter_map(|text| text.text.as_ref().ok()?.as_deref()).collect();
    let mut tally = Tally { items: present.len() as u64, ..Tally::default() };
    let mut embedded = embed(arguments, embedder, &present, &mut tally).into_iter();
    let name = match (texts.first(), texts.last()) {
        (Some(first), Some(last)) => format!("{} to {}", first.name, last.name),
        _ => String::new(),
    };
    let (mut results, mut reasons) = (Vec::new(), Vec::new());
    for (Text { name, id, text }, index) in texts.into_iter().zip(first..) {
        let embedding = match text {
            Err(reason) => Err(reason),
            Ok(None) => {
                tally.missing += 1;
                Ok(None)
            }
            Ok(Some(_)) => embedded.next().unwrap_or_else(|| Err("it was not embedded".to_owned())).map(Some),
        };
        let (embedding, error) = match embedding {
            Ok(embedding) => (embedding, None),
            Err(reason) => (None, Some(reason)),
        };
        let row = Row { index, id, embedding };
        match writing {
            Writing::Rows => rows::push(&mut results, &row, dimensions),
            Writing::Lines(quantizer) => results.extend(forms::json_line(&row, quantizer, error.as_deref())),
        }
        reasons.extend(error.map(|reason| format!("{name}: {reason}")));
    }
    Worked { results, failure: (!reasons.is_empty()).then_some((name, reasons)), tally }
}

/// The embedding of each text, or why it has none.
fn embed(
    arguments: &Arguments,
    embedder: &Embedder,
    texts: &[&str],
    tally: &mut Tally,
) -> Vec<Result<Vec<f32>, String>> {
    let with_prompt = |texts: &[&str]| -> Result<Embeddings, Error> {
        match arguments.prompt.as_deref() {
            None => embedder.embed(texts),
            Some("query") => embedder.embed_queries(texts),
            // Another text stands in the place of the model's own prompt for documents.
            Some(_) => embedder.embed_documents(texts),
        }
    };
    let mut rows = |embeddings: Embeddings| -> Vec<Result<Vec<f32>, String>> {
        tally.cut_by_bi_encoder.add(&Cut::of(embeddings.truncated()));
        embeddings.iter().map(|row| Ok(row.to_vec())).collect()
    };
    match with_prompt(texts) {
        Ok(embeddings) => rows(embeddings),
        // One that fails takes the others with it; alone, it fails alone.
        Err(_) => texts
            .iter()
            .flat_map(|text| match with_prompt(&[text]) {
                Ok(embeddings) => rows(embeddings),
                Err(error) => vec![Err(error.chain())],
            })
            .collect(),
    }
}

/// Reads a file as texts of a form; of its blocks each has rows, and they follow each other.
#[cfg(fuzzing)]
pub(super) fn fuzz_texts(path: &str, format: super::input::InputFormat) {
    let fields = texts::Fields { text: "text".to_owned(), id: None };
    let Ok(source) = texts::Source::open(&[path.to_owned()], format, fields) else { return };
    let mut next = 0;
    for block in source.map_while(Result::ok) {
        assert!(!block.texts.is_empty() && block.first == next);
        next += block.texts.len() as u64;
    }
}

/// Reads a file as an array.
#[cfg(fuzzing)]
pub(super) fn fuzz_npy(path: &std::path::Path) {
    if let Ok((shape, numbers)) = npy::read(path) {
        assert_eq!(shape.iter().product::<usize>(), numbers.len());
    }
}

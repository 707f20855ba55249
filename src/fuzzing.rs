//! What the fuzz targets in `fuzz/` call, each with any bytes. It is there for cargo fuzz alone.

use crate::eval::{Measure, Qrels, Run};
use crate::graph::{self, Numbers};
use crate::kernels::Isa;
use crate::model::choice::FileChoice;
use crate::model::config::Declared;
use crate::model::format::PairFormat;
use crate::model::graph::GraphFacts;
use crate::model::head::{FormatOptions, RerankerSpec};
use crate::model::pooling::EmbeddingSpec;
use crate::model::{self, FileBytes, Files, ModelSource, Task, Weights};
use crate::text::{TextEncoder, TextOptions, Truncation};

pub use crate::cli::fuzzing::*;

/// What stands before each file of a model: these bytes, its name, and a line break.
const FILE: &[u8] = b"\xff\xfe";

/// Judgements, and a run, which are measured together.
pub fn evaluation(bytes: &[u8]) {
    let middle = bytes.windows(FILE.len()).position(|part| part == FILE);
    let (first, second) = middle.map_or((bytes, bytes), |at| (&bytes[..at], &bytes[at + FILE.len()..]));
    let (Ok(qrels), Ok(run)) = (Qrels::read(first, "qrels"), Run::read(second, "run")) else { return };
    let measures = Measure::defaults();
    let found = crate::eval::evaluate(&qrels, &run, &measures);
    for scores in &found.scores {
        assert!(scores.by_query.iter().all(|value| (0.0..=1.0 + 1e-9).contains(value)), "{scores:?}");
    }
}

/// Names of measures: what is understood is written as a name that means the same.
pub fn measures(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for measure in Measure::parse_list(text).into_iter().flatten() {
        assert_eq!(measure.to_string().parse::<Measure>().unwrap(), measure);
    }
}

/// An ONNX file, and its graph on this crate's kernels: what is written is a graph, too.
pub fn graph(bytes: &[u8]) {
    let read = |bytes: &[u8]| GraphFacts::read(&Weights::Shared(bytes.into()), "model");
    let known = read(bytes).is_ok();
    for numbers in [Numbers::Float32, Numbers::Int16, Numbers::Int8, Numbers::W8A8] {
        let file = FileBytes::in_memory(bytes.to_vec().into());
        if let Some(rewritten) = graph::rewrite(&file, Isa::Portable, numbers) {
            assert!(!known || read(&rewritten.model).is_ok());
        }
    }
}

/// The files of a model, but its ONNX file: what they declare, and a pair of texts as it is put to the model.
pub fn model(bytes: &[u8]) {
    let mut source = ModelSource::memory();
    let mut rest = bytes;
    while let Some(at) = rest.windows(FILE.len()).position(|part| part == FILE) {
        rest = &rest[at + FILE.len()..];
        let Some(line) = rest.iter().position(|byte| *byte == b'\n') else { break };
        let Ok(name) = std::str::from_utf8(&rest[..line]) else { continue };
        rest = &rest[line + 1..];
        let end = rest.windows(FILE.len()).position(|part| part == FILE).unwrap_or(rest.len());
        source = source.file(name, &rest[..end]);
    }
    let source = ModelSource::from(source);
    for task in [Task::CrossEncoder, Task::BiEncoder] {
        let _ = declared(&source, task);
    }
}

/// What is done with a model before its graph is loaded.
fn declared(source: &ModelSource, task: Task) -> crate::Result<()> {
    let mut files = Files::open(source, task, &FileChoice::default())?;
    let declared = Declared::read(&mut files, None)?;
    let format = match task {
        Task::CrossEncoder => RerankerSpec::read(&mut files, &declared.config, &FormatOptions::default())?.format,
        Task::BiEncoder => {
            EmbeddingSpec::read(&mut files, &declared.config)?;
            PairFormat::Tokenizer
        }
    };
    let _ = (declared.activation(), declared.config.labels(), declared.config.first_position());
    let options = TextOptions {
        format,
        max_length: declared.max_length.tokens.min(512),
        truncation: Truncation::default(),
        lower_case: declared.lower_case,
        token_types: declared.token_types,
        pad_id: declared.config.pad_id(),
    };
    let most = options.max_length;
    let encoder = TextEncoder::new(&files.required("tokenizer.json")?, options)?;
    let query = encoder.query("where is it?")?;
    for document in ["", "It is in the house.", "one two three four five six seven \u{e9}\u{1f600}"] {
        assert!(encoder.pair(&query, document)?.0.ids.len() <= most);
        assert!(encoder.single(document)?.0.ids.len() <= most);
    }
    Ok(())
}

/// What the Hub says of a repository, and what is kept of it.
pub fn hub(bytes: &[u8]) {
    model::fuzz_listing(bytes);
}

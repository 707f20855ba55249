//! From a named model to one that runs: its files, its tokenizer, its graph, and a trial run.
//!
//! Both engines begin here. The trial run makes sure that a model that cannot work is refused when it is loaded, with
//! a reason, and not in the middle of someone's documents.

use crate::compute::ComputeType;
use crate::engine::{Engine, EngineOptions, OutputKind};
use crate::error::{Error, ErrorKind, Result};
use crate::model::choice::FileChoice;
use crate::model::config::Declared;
use crate::model::format::PairFormat;
use crate::model::graph::GraphFacts;
use crate::model::head::{FormatOptions, Head, RerankerSpec};
use crate::model::pooling::EmbeddingSpec;
use crate::model::{Files, ModelInfo, ModelSource, Task};
use crate::text::{TextEncoder, TextOptions, Tokens, Truncation, TruncationSide};
use crate::windows::LongDocuments;

/// What a builder collected.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadOptions {
    pub(crate) source: ModelSource,
    pub(crate) file: FileChoice,
    pub(crate) threads: Option<usize>,
    pub(crate) compute: Option<ComputeType>,
    pub(crate) max_length: Option<usize>,
    pub(crate) truncation: Option<Truncation>,
    /// Rerankers only.
    pub(crate) format: FormatOptions,
}

/// A model that is ready to run.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) encoder: TextEncoder,
    pub(crate) engine: Engine,
    pub(crate) declared: Declared,
    /// Embedding models only.
    pub(crate) embedding: Option<EmbeddingSpec>,
    /// Rerankers only.
    pub(crate) head: Option<Head>,
    pub(crate) info: ModelInfo,
    /// The shape of the trial run's output, without the batch's dimension.
    pub(crate) trial_shape: Vec<usize>,
}

impl Loaded {
    pub(crate) fn new(options: &LoadOptions, task: Task) -> Result<Self> {
        let mut files = Files::open(&options.source, task, &options.file)?;
        let declared = Declared::read(&mut files, options.max_length)?;
        let embedding = match task {
            Task::CrossEncoder => None,
            Task::BiEncoder => Some(EmbeddingSpec::read(&mut files, &declared.config)?),
        };
        let config = &declared.config;
        let reranker = match task {
            Task::CrossEncoder => Some(RerankerSpec::read(&mut files, config, &options.format)?),
            Task::BiEncoder => None,
        };
        let (head, format, format_origin) = match reranker {
            Some(spec) => (Some(spec.head), spec.format, spec.format_origin),
            None => (None, PairFormat::Tokenizer, None),
        };
        if matches!(format, PairFormat::Text(_)) && options.truncation.is_some_and(|wanted| !wanted.cuts_documents()) {
            return Err(Error::new(
                ErrorKind::Options,
                format!("{} is asked in one text, of which nothing but the document can be cut", files.name()),
            ));
        }
        let truncation = options.truncation.unwrap_or_else(|| {
            let side = if declared.cuts_left { TruncationSide::Left } else { TruncationSide::Right };
            Truncation::default().with_side(side)
        });
        let text_options = TextOptions {
            format,
            max_length: declared.max_length.tokens,
            truncation,
            lower_case: declared.lower_case,
            token_types: declared.token_types,
            pad_id: config.pad_id(),
        };
        let encoder = TextEncoder::new(&files.required("tokenizer.json")?, text_options)?;
        let onnx = files.onnx(task == Task::CrossEncoder && config.has_decoder())?;
        let facts = GraphFacts::read_all(&onnx, files.name())?;
        for (file, facts) in onnx.iter().zip(&facts) {
            files.external(file, facts.external())?;
        }
        let stated = facts.iter().find_map(GraphFacts::compute);
        let compute = match (options.compute, stated) {
            (Some(compute), _) => compute,
            (None, Some(stated)) => stated.parse()?,
            (None, None) => files.compute(),
        };
        let mut engine = Engine::new(
            &onnx,
            files.name(),
            EngineOptions {
                threads: options.threads,
                compute,
                batches: facts.iter().all(GraphFacts::inputs_are_independent),
                first_position: config.first_position()?,
                decoder_start: config.decoder_start(),
                output: match &head {
                    Some(Head::Labels) => OutputKind::Logits,
                    Some(Head::Pooled(_)) => OutputKind::Embedding,
                    Some(Head::NextToken { .. }) => OutputKind::NextToken,
                    Some(Head::LateInteraction(_)) => OutputKind::TokenVectors,
                    None => OutputKind::Embedding,
                },
            },
        )?;
        let info = ModelInfo {
            name: files.name().to_owned(),
            commit: files.commit().map(str::to_owned),
            architecture: config.architecture().map(printable),
            precision: precision(&facts),
            max_length: declared.max_length.tokens,
            max_length_source: declared.max_length.source,
            truncation,
            inputs: engine.input_names(),
            output: engine.output_name().to_owned(),
            head: None,
            template: format_origin,
            long_documents: LongDocuments::default(),
            labels: Vec::new(),
            score_label: None,
            activation: None,
            query_prompt: None,
            document_prompt: None,
            pooling: None,
            modules: Vec::new(),
            normalized: false,
            dimensions: None,
            full_dimensions: None,
            compute: engine.runs_as(),
            kernels: engine.kernels(),
            device: "CPU",
            threads: engine.threads(),
            files: files.into_read(),
        };
        let trial_shape = trial(&encoder, &mut engine, &declared, task, &info.name)?;
        tracing::info!(
            model = %info.name, precision = %info.precision, compute = %info.compute, kernels = info.kernels,
            "model loaded"
        );
        Ok(Self { encoder, engine, declared, embedding, head, info, trial_shape })
    }
}

/// The precision of a model's files, one after the other where they differ.
fn precision(facts: &[GraphFacts]) -> String {
    let mut words: Vec<String> = facts.iter().map(|facts| printable(&facts.precision())).collect();
    words.dedup();
    words.join(", then ")
}

/// Runs one short input that holds the tokenizer's largest id, and returns the output's shape.
fn trial(
    encoder: &TextEncoder,
    engine: &mut Engine,
    declared: &Declared,
    task: Task,
    name: &str,
) -> Result<Vec<usize>> {
    let (mut tokens, _) = match task {
        Task::CrossEncoder => encoder.pair(&encoder.query("a")?, "b")?,
        Task::BiEncoder => encoder.single("a")?,
    };
    put_largest_id(&mut tokens, encoder.largest_id());
    engine.trial(&tokens).map_err(|error| {
        if error.kind() == ErrorKind::Model {
            return Error::model(format!("the model of {name} cannot be used")).with_source(error);
        }
        let rows = match declared.config.vocab_size {
            Some(size) => format!("vocab_size of config.json is {size}"),
            None => "config.json states no vocab_size".to_owned(),
        };
        Error::model(format!(
            "a trial run of the model of {name} failed; perhaps its tokenizer does not fit its graph: tokenizer.json \
             has {} tokens with ids up to {}, and {rows}",
            encoder.vocabulary_size(),
            encoder.largest_id(),
        ))
        .with_source(error)
    })
}

fn put_largest_id(tokens: &mut Tokens, id: u32) {
    let middle = tokens.ids.len() / 2;
    if let Some(place) = tokens.ids.get_mut(middle) {
        *place = id;
    }
}

/// A word of a model's file, fit for a terminal: such a file may come from anyone.
pub(crate) fn printable(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(200).collect()
}

//! One graph of a model after the other.
//!
//! Most models have one. An encoder-decoder may come as two: the second reads what the first makes of the tokens, and its
//! output is the model's.

use ort::value::DynValue;

use super::EngineOptions;
use super::graph_io::{GraphIo, Output, OutputKind};
use super::session::{Graph, SharedSession};
use super::workers::Workers;
use crate::compute::ComputeType;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{self, Numbers, Rewritten};
use crate::kernels::Isa;
use crate::model::{OnnxFile, Part};
use crate::runtime::Runtime;
use crate::text::Tokens;

/// A loaded graph.
#[derive(Debug)]
struct Stage {
    session: SharedSession,
    io: GraphIo,
    /// Layers of it run on this crate's kernels.
    on_kernels: bool,
    /// The texts of a batch may be padded at their ends.
    pads: bool,
}

/// The loaded graphs of a model.
#[derive(Debug)]
pub(super) struct Stages {
    /// Those before the last.
    before: Vec<Stage>,
    last: Stage,
}

/// In which numbers a graph is packed for this crate's kernels; nothing where ONNX Runtime's are to run, or are faster.
fn numbers(compute: ComputeType, isa: Isa) -> Option<Numbers> {
    match compute {
        ComputeType::OnnxRuntime => None,
        ComputeType::Float32 => (isa != Isa::Portable).then_some(Numbers::Float32),
        ComputeType::Int16 => Some(Numbers::Int16),
        ComputeType::Int8 => Some(Numbers::Int8),
        ComputeType::W8A8 => Some(Numbers::W8A8),
    }
}

impl Stage {
    fn load(
        file: &OnnxFile,
        model: &str,
        runtime: &Runtime,
        workers: &Workers,
        options: EngineOptions,
    ) -> Result<Self> {
        let name = file.title(model);
        let rewritten = rewritten(file, &name, workers, options.compute)?;
        // The next word is that of the last token.
        let pads =
            options.output != OutputKind::NextToken && rewritten.as_ref().is_some_and(|rewritten| rewritten.pads);
        let (session, on_kernels) = match rewritten {
            Some(rewritten) => match SharedSession::new(runtime, Graph::Rewritten(rewritten), &name) {
                // In fp32 this crate's kernels are for speed: a graph that they do not fit runs without them, and says so.
                Err(error) if options.compute == ComputeType::Float32 => {
                    tracing::warn!(model = name, error = error.chain(), "the rewritten graph is refused");
                    (SharedSession::new(runtime, Graph::File(&file.weights), &name)?, false)
                }
                session => (session?, true),
            },
            None => (SharedSession::new(runtime, Graph::File(&file.weights), &name)?, false),
        };
        let output = if file.part == Part::Encoder { OutputKind::TokenVectors } else { options.output };
        let io = GraphIo::read(&session, &name, file.part, EngineOptions { output, ..options })?;
        Ok(Self { session, io, on_kernels, pads: pads && on_kernels })
    }

    fn run(&self, batch: &[&Tokens], length: usize, hidden: Option<DynValue>) -> Result<DynValue> {
        self.io.run(&self.session, batch, length, hidden)
    }
}

/// The graph with this crate's operations; nothing where ONNX Runtime's own are to run.
fn rewritten(file: &OnnxFile, name: &str, workers: &Workers, compute: ComputeType) -> Result<Option<Rewritten>> {
    let isa = Isa::detect();
    let Some(numbers) = numbers(compute, isa) else { return Ok(None) };
    let bytes = file.weights.bytes()?;
    let rewritten = workers.run(|| graph::rewrite(&bytes, isa, numbers));
    if rewritten.is_none() && numbers != Numbers::Float32 {
        return Err(Error::new(
            ErrorKind::Options,
            format!(
                "{name} cannot be computed in {compute}: its graph has no products with weights that are in the file \
                 itself and in fp32 (or widened to it), or it is quantised already; choose `onnxruntime`, or an fp32 \
                 export"
            ),
        ));
    }
    Ok(rewritten)
}

impl Stages {
    pub(super) fn load(files: &[OnnxFile], model: &str, workers: &Workers, options: EngineOptions) -> Result<Self> {
        let runtime = crate::runtime::load()?;
        let load = |file| Stage::load(file, model, runtime, workers, options);
        let mut before = files.iter().map(load).collect::<Result<Vec<_>>>()?;
        let last = before.pop().ok_or_else(|| Error::model(format!("{model} has no graph")))?;
        if let Some(first) = before.last() {
            last.io.check_hidden(&first.io, model)?;
        }
        Ok(Self { before, last })
    }

    /// Whether any of them runs on this crate's kernels.
    pub(super) fn on_kernels(&self) -> bool {
        self.last.on_kernels || self.before.iter().any(|stage| stage.on_kernels)
    }

    /// The names of the inputs that are fed, graph by graph.
    pub(super) fn input_names(&self) -> Vec<String> {
        let stages = self.before.iter().chain([&self.last]);
        stages.flat_map(|stage| stage.io.input_names()).collect()
    }

    /// The last graph's inputs and output.
    pub(super) fn last(&self) -> &GraphIo {
        &self.last.io
    }

    /// From now on, takes only outputs whose last dimension has this size.
    pub(super) fn fix_width(&mut self, width: Option<usize>) {
        self.last.io.fix_width(width);
    }

    /// Whether the texts of a batch may be padded at their ends.
    pub(super) fn pads(&self) -> bool {
        self.before.is_empty() && self.last.pads
    }

    /// Runs a batch of inputs of this length, or padded to it, and hands each input's output to `each`, in their order.
    pub(super) fn run(
        &self,
        batch: &[&Tokens],
        length: usize,
        each: impl FnMut(usize, Output<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut hidden = None;
        for stage in &self.before {
            hidden = Some(stage.run(batch, length, hidden)?);
        }
        let value = self.last.run(batch, length, hidden)?;
        self.last.io.outputs(&value, batch, length, each)
    }
}

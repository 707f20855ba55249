//! Running a model: token ids → what the graph gives for them.
//!
//! [`plan`] decides in which order inputs run, [`workers`] are the threads, [`session`] is the one ONNX Runtime session
//! that they share, and [`graph_io`] knows the graph's inputs and outputs.
//!
//! A pair's score belongs to the pair: every input is a batch of its own, so that neither its neighbours, nor their
//! order, nor the number of workers can change a single bit of the result, whatever the graph does with a batch. There
//! is never any padding. What this costs on short inputs is in `benches/NOTES.md`.

mod graph_io;
mod plan;
mod session;
mod workers;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Weights;
use crate::text::Tokens;
pub(crate) use graph_io::{GraphIo, Output, OutputKind};
use session::SharedSession;
use workers::Workers;

/// A loaded graph and the workers that run it.
#[derive(Debug)]
pub(crate) struct Engine {
    session: SharedSession,
    io: GraphIo,
    workers: Workers,
}

/// What an engine needs to know besides the graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EngineOptions {
    /// The number of workers; by default one for each core that the process may use.
    pub(crate) threads: Option<usize>,
    /// The number that the first token's position has (see `Config::first_position`).
    pub(crate) first_position: usize,
    pub(crate) output: OutputKind,
}

impl Engine {
    /// Loads the graph; `name` is the model's name in messages.
    pub(crate) fn new(weights: &Weights, name: &str, options: EngineOptions) -> Result<Self> {
        let workers = Workers::new(options.threads)?;
        let session = SharedSession::new(crate::runtime::load()?, weights, name)?;
        let io = GraphIo::read(&session, name, options)?;
        Ok(Self { session, io, workers })
    }

    /// The graph's inputs and output.
    pub(crate) fn io(&self) -> &GraphIo {
        &self.io
    }

    /// The most inputs that run at the same time.
    pub(crate) fn threads(&self) -> usize {
        self.workers.threads()
    }

    /// Runs one input, and from then on takes only outputs of the same width (the number of labels, or of dimensions).
    /// Returns the output's shape without the batch's dimension.
    pub(crate) fn trial(&mut self, tokens: &Tokens) -> Result<Vec<usize>> {
        let shape = self.io.run(&self.session, tokens, &|output: Output<'_>| Ok(output.shape.to_vec()))?;
        self.io.fix_width(shape.last().copied());
        Ok(shape)
    }

    /// Computes something for each item in parallel, on the workers.
    pub(crate) fn map<I: Sync, T: Send>(&self, items: &[I], work: impl Fn(&I) -> T + Sync + Send) -> Vec<T> {
        match items {
            [] => Vec::new(),
            [item] => vec![work(item)],
            items => self.workers.run(|| items.par_iter().map(work).collect()),
        }
    }

    /// Runs the graph on each input. `reduce` makes what the caller keeps of an output, while the output is at hand:
    /// the hidden states of thousands of texts would not fit into memory.
    ///
    /// The results are in the order of the inputs; an input that fails does not lose the others.
    pub(crate) fn run<T: Send>(
        &self,
        inputs: &[Tokens],
        reduce: impl Fn(Output<'_>) -> Result<T> + Sync,
    ) -> Vec<Result<T>> {
        if let [input] = inputs {
            return vec![self.io.run(&self.session, input, &reduce)];
        }
        let order = plan::longest_first(inputs);
        let next = AtomicUsize::new(0);
        // Each worker takes the next input until there is none: unlike a split of the list, this keeps the order.
        let work = |_| {
            let mut mine = Vec::new();
            while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                mine.push((index, self.io.run(&self.session, &inputs[index], &reduce)));
            }
            mine
        };
        let workers = self.threads().min(inputs.len());
        let finished: Vec<Vec<(usize, Result<T>)>> =
            self.workers.run(|| (0..workers).into_par_iter().with_max_len(1).map(work).collect());
        let mut results: Vec<Option<Result<T>>> = inputs.iter().map(|_| None).collect();
        for (index, result) in finished.into_iter().flatten() {
            results[index] = Some(result);
        }
        let lost = || Err(Error::new(ErrorKind::Inference, "an input was not run"));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }
}

//! Running a model: token ids → what the graph gives for them.
//!
//! [`plan`] decides what runs together and in which order, [`workers`] are the threads, and [`stage`] is a graph that they
//! share: its ONNX Runtime [`session`] with this crate's [`operators`] in it, and its inputs and outputs ([`graph_io`]). A
//! model has one, or, with encoder and decoder apart, two.
//!
//! Each core runs batches of its own, which is the fastest for many. A worker that finds no batch left helps those that
//! still run (`kernels::team`): with fewer batches than cores, the cores work together.
//!
//! A pair's score belongs to the pair: neither its neighbours, nor their order, nor the number of workers change a bit of
//! it. Long inputs run alone; short ones run in batches of one length, or of neighbouring lengths where the graph's operations
//! skip padding, and only as long as [`exact`] finds that this changes nothing.

mod exact;
mod graph_io;
mod layers;
mod operators;
mod plan;
mod session;
mod stage;
mod workers;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::compute::ComputeType;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::{Isa, Team};
use crate::model::OnnxFile;
use crate::text::Tokens;
use exact::{Exactness, Shape, Trust};
pub(crate) use graph_io::{Output, OutputKind};
#[cfg(feature = "internals")]
pub(crate) use plan::batches;
use stage::Stages;
use workers::Workers;

/// The loaded graphs of a model and the workers that run them.
#[derive(Debug)]
pub(crate) struct Engine {
    stages: Stages,
    workers: Workers,
    exactness: Exactness,
    runs_as: ComputeType,
}

/// What an engine needs to know besides the graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EngineOptions {
    /// The number of workers; by default one for each core that the process may use.
    pub(crate) threads: Option<usize>,
    /// Whether the graph computes each input of a batch from that input alone, so that batches are worth a try.
    pub(crate) batches: bool,
    /// The number that the first token's position has (see `Config::first_position`).
    pub(crate) first_position: usize,
    /// The token with which a decoder starts (encoder-decoder models).
    pub(crate) decoder_start: u32,
    pub(crate) output: OutputKind,
    pub(crate) compute: ComputeType,
}

/// The most threads that run one batch together: products are not large enough for more.
const MOST_HELPED: usize = 8;

/// Counts a batch as finished, also if running it panics: the helpers must not wait for ever.
struct Finished<'a>(&'a AtomicUsize);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Engine {
    /// Loads a model's graphs, in the order in which they run; `name` is the model's name in messages.
    pub(crate) fn new(files: &[OnnxFile], name: &str, options: EngineOptions) -> Result<Self> {
        let workers = Workers::new(options.threads)?;
        let stages = Stages::load(files, name, &workers, options)?;
        let runs_as = if stages.on_kernels() { options.compute } else { ComputeType::OnnxRuntime };
        Ok(Self { stages, workers, exactness: Exactness::new(options.batches), runs_as })
    }

    /// In which numbers the layers really run.
    pub(crate) fn runs_as(&self) -> ComputeType {
        self.runs_as
    }

    /// Whose kernels they run on.
    pub(crate) fn kernels(&self) -> &'static str {
        match self.runs_as {
            ComputeType::OnnxRuntime => "ONNX Runtime",
            _ => Isa::detect().name(),
        }
    }

    /// The names of the inputs that are fed, graph by graph.
    pub(crate) fn input_names(&self) -> Vec<String> {
        self.stages.input_names()
    }

    /// The name of the output that is read.
    pub(crate) fn output_name(&self) -> &str {
        self.stages.last().output_name()
    }

    /// Whether the output has a vector for each token.
    pub(crate) fn is_per_token(&self) -> bool {
        self.stages.last().is_per_token()
    }

    /// The most inputs that run at the same time.
    pub(crate) fn threads(&self) -> usize {
        self.workers.threads()
    }

    /// Runs one input, and from then on takes only outputs of the same width (the number of labels, or of dimensions).
    /// Returns the output's shape without the batch's dimension.
    pub(crate) fn trial(&mut self, tokens: &Tokens) -> Result<Vec<usize>> {
        let shape = self.alone(tokens, &|_: &Tokens, output: Output<'_>| Ok(output.shape.to_vec()))?;
        self.stages.fix_width(shape.last().copied());
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
        reduce: impl Fn(&Tokens, Output<'_>) -> Result<T> + Sync,
    ) -> Vec<Result<T>> {
        let batches = plan::batches(inputs, self.threads(), self.stages.pads());
        // Only this crate's kernels divide their work among threads.
        let helpers = if self.runs_as == ComputeType::OnnxRuntime { 1 } else { MOST_HELPED };
        let workers = self.threads().min(batches.len().saturating_mul(helpers));
        if let ([input], 1) = (inputs, workers) {
            return vec![self.alone(input, &reduce)];
        }
        let (next, unfinished) = (AtomicUsize::new(0), AtomicUsize::new(batches.len()));
        let teams: Vec<Team> = (0..workers).map(|_| Team::default()).collect();
        // Each worker takes the next batch until there is none: unlike a split of the list, this keeps the order. Then it
        // helps the others, until all have finished.
        let work = |worker: usize| {
            let mut mine = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let _finished = Finished(&unfinished);
                let members: Vec<&Tokens> = batch.iter().map(|index| &inputs[*index]).collect();
                let results = teams[worker].own(|| self.together(&members, &reduce));
                mine.extend(batch.iter().copied().zip(results));
            }
            if helpers > 1 {
                Team::help(&teams, || unfinished.load(Ordering::Acquire) == 0);
            }
            mine
        };
        let finished: Vec<Vec<(usize, Result<T>)>> =
            self.workers.run(|| (0..workers).into_par_iter().with_max_len(1).map(work).collect());
        let mut results: Vec<Option<Result<T>>> = inputs.iter().map(|_| None).collect();
        for (index, result) in finished.into_iter().flatten() {
            results[index] = Some(result);
        }
        let lost = || Err(Error::new(ErrorKind::Inference, "an input was not run"));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    /// Runs one input as a batch of one.
    fn alone<T>(&self, input: &Tokens, reduce: &impl Fn(&Tokens, Output<'_>) -> Result<T>) -> Result<T> {
        let mut result = None;
        self.stages.run(&[input], input.ids.len(), |_, output| {
            result = Some(reduce(input, output));
            Ok(())
        })?;
        result.unwrap_or_else(|| Err(Error::new(ErrorKind::Inference, "ONNX Runtime gave an empty output")))
    }

    /// Runs inputs in one batch, the longest first, or one by one where a batch would change their results.
    fn together<T>(&self, batch: &[&Tokens], reduce: &impl Fn(&Tokens, Output<'_>) -> Result<T>) -> Vec<Result<T>> {
        if batch.len() > 1 {
            let length = plan::padded(batch[0].ids.len(), self.stages.pads());
            let padded = batch.iter().any(|input| input.ids.len() < length);
            let shape = Shape { inputs: batch.len(), length, padded };
            let trust = self.exactness.of(shape);
            if trust != Trust::Broken {
                match self.batch(batch, length, trust, reduce) {
                    Ok(Some(results)) => {
                        self.exactness.learn(shape, true);
                        return results;
                    }
                    // A batch that fails may be spoilt by one input: alone, the others are not lost.
                    Ok(None) | Err(_) => self.exactness.learn(shape, false),
                }
            }
        }
        batch.iter().map(|input| self.alone(input, reduce)).collect()
    }

    /// Runs a batch; nothing if an input has other bits in it than alone, which is found out unless the batch's shape is
    /// known to be exact.
    fn batch<T>(
        &self,
        batch: &[&Tokens],
        length: usize,
        trust: Trust,
        reduce: &impl Fn(&Tokens, Output<'_>) -> Result<T>,
    ) -> Result<Option<Vec<Result<T>>>> {
        let compared = if trust == Trust::Unknown { vec![0, batch.len() - 1] } else { Vec::new() };
        let alone = |index: &usize| {
            Ok((*index, self.alone(batch[*index], &|_: &Tokens, output: Output<'_>| Ok(exact::bits(output)))?))
        };
        let alone: Vec<(usize, Vec<u32>)> = compared.iter().map(alone).collect::<Result<_>>()?;
        let mut results = Vec::with_capacity(batch.len());
        let mut equal = true;
        self.stages.run(batch, length, |index, output| {
            equal &= alone.iter().all(|(compared, bits)| *compared != index || *bits == exact::bits(output));
            results.push(reduce(batch[index], output));
            Ok(())
        })?;
        Ok(equal.then_some(results))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Part, Weights};

    /// Inputs of neighbouring lengths run together, and each has the bits that it has alone.
    #[test]
    fn neighbours_run_in_one_batch() {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/model.onnx", env!("CARGO_MANIFEST_DIR"));
        let file = OnnxFile { part: Part::Whole, name: "model.onnx".to_owned(), weights: Weights::File(path.into()) };
        for compute in [ComputeType::Int16, ComputeType::Int8, ComputeType::W8A8] {
            let options = EngineOptions {
                threads: Some(1),
                batches: true,
                first_position: 0,
                decoder_start: 0,
                output: OutputKind::Logits,
                compute,
            };
            let engine = Engine::new(std::slice::from_ref(&file), "test", options).unwrap();
            let input = |length: u32| Tokens {
                ids: (0..length).map(|token| (token * 7 + length) % 800).collect(),
                type_ids: (0..length).map(|token| u32::from(token > 5)).collect(),
                of_query: 6,
                ..Tokens::default()
            };
            let inputs: Vec<Tokens> = (10..30).map(input).collect();
            let bits = |inputs: &[Tokens]| -> Vec<Vec<u32>> {
                let results = engine.run(inputs, |_, output| Ok(exact::bits(output)));
                results.into_iter().map(Result::unwrap).collect()
            };
            let alone: Vec<Vec<u32>> = inputs.iter().flat_map(|input| bits(std::slice::from_ref(input))).collect();
            assert_eq!(bits(&inputs), alone, "{compute}");
            // The batch was not given up.
            let shape = Shape { inputs: 16, length: 32, padded: true };
            assert_eq!(engine.exactness.of(shape), Trust::Equal, "{compute}");
        }
    }
}

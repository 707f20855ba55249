//! Running a model: token ids → what the graph gives for them.
//!
//! [`plan`] decides what runs together and in which order, [`pool`] keeps ONNX Runtime sessions, one for each worker,
//! [`graph_io`] knows the graph's inputs and outputs, and [`Engine::run`] puts them to work on rayon.
//!
//! A pair's score belongs to the pair: every input is a batch of its own, so that neither its neighbours, nor their
//! order, nor the number of workers can change a single bit of the result, whatever the graph does with a batch. There
//! is never any padding. What this costs on short inputs is in `benches/NOTES.md`.

mod graph_io;
mod plan;
mod pool;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Weights;
use crate::text::Tokens;
pub(crate) use graph_io::{GraphIo, Output, OutputKind};
use pool::Pool;

/// A loaded graph and the workers that run it.
#[derive(Debug)]
pub(crate) struct Engine {
    pool: Pool,
    io: GraphIo,
    threads: usize,
    /// The workers, if the caller asked for a number of them; else rayon's current pool.
    workers: Option<rayon::ThreadPool>,
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
    pub(crate) fn new(weights: Weights, name: &str, options: EngineOptions) -> Result<Self> {
        let runtime = crate::runtime::load()?;
        let (threads, workers) = match options.threads {
            None => (thread::available_parallelism().map_or(1, usize::from), None),
            Some(0) => {
                return Err(Error::new(
                    ErrorKind::Options,
                    "0 threads cannot run a model; ask for 1 or more, or for no number to use every core",
                ));
            }
            Some(n) => (n, Some(workers(n)?)),
        };
        let pool = Pool::new(runtime, weights, name, threads)?;
        let io = pool.with(|session| GraphIo::read(session, name, options))?;
        Ok(Self { pool, io, threads, workers })
    }

    /// The graph's inputs and output.
    pub(crate) fn io(&self) -> &GraphIo {
        &self.io
    }

    /// The most batches that run at the same time.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Loads what the workers would otherwise load when they are first needed.
    pub(crate) fn warm_up(&self) -> Result<()> {
        self.on_workers(|| self.pool.fill())
    }

    /// Computes something for each item in parallel, on the same workers that run the graph.
    pub(crate) fn map<I: Sync, T: Send>(&self, items: &[I], work: impl Fn(&I) -> T + Sync + Send) -> Vec<T> {
        self.on_workers(|| items.par_iter().map(work).collect())
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
        let order = plan::longest_first(inputs);
        let next = AtomicUsize::new(0);
        let finished = Mutex::new(Vec::with_capacity(inputs.len()));
        let work = || {
            let mut mine = Vec::new();
            let outcome = self.pool.with(|session| {
                while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    mine.push((index, self.io.run(session, &inputs[index], &reduce)));
                }
                Ok(())
            });
            let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
            finished.extend(mine);
            outcome
        };
        let workers = self.threads.min(inputs.len());
        let outcomes: Vec<Result<()>> =
            self.on_workers(|| (0..workers).into_par_iter().with_max_len(1).map(|_| work()).collect());
        let mut results: Vec<Option<Result<T>>> = inputs.iter().map(|_| None).collect();
        for (index, result) in finished.into_inner().unwrap_or_else(PoisonError::into_inner) {
            results[index] = Some(result);
        }
        // Inputs are only left over when not one worker could get a session.
        let reason = outcomes.into_iter().find_map(Result::err).map_or(String::new(), |error| error.chain());
        let lost = || Err(Error::new(ErrorKind::Inference, format!("no worker could run the model: {reason}")));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    fn on_workers<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.workers {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

fn workers(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("crossrank-{i}")).build().map_err(
        |error| {
            Error::new(ErrorKind::Options, format!("{threads} worker threads cannot be started")).with_source(error)
        },
    )
}

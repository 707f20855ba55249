//! ONNX Runtime sessions: one for each worker, made when it is first needed.
//!
//! `ort` runs a session through `&mut`, so a session belongs to one worker while it runs. A session uses one thread,
//! the worker's own: many inputs on as many single-threaded workers are faster than one input on all cores.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::model::Weights;
use crate::runtime::Runtime;

#[derive(Debug)]
pub(super) struct Pool {
    runtime: &'static Runtime,
    weights: Weights,
    name: String,
    most: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Session>,
    /// Sessions that exist, idle or lent.
    made: usize,
}

impl Pool {
    /// A pool of at most `most` sessions; the first is made at once, so that a bad model is refused now.
    pub(super) fn new(runtime: &'static Runtime, weights: Weights, name: &str, most: usize) -> Result<Self> {
        let pool =
            Self { runtime, weights, name: name.to_owned(), most, state: Mutex::default(), returned: Condvar::new() };
        pool.with(|_| Ok(()))?;
        Ok(pool)
    }

    /// Lends a session for the time of a call. Waits while all are lent.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut lent = Lent { pool: self, session: Some(self.take()?) };
        match &mut lent.session {
            Some(session) => work(session),
            None => unreachable!("a session is lent until the guard is dropped"),
        }
    }

    /// Makes the sessions that are still missing, all at the same time.
    pub(super) fn fill(&self) -> Result<()> {
        let missing = {
            let mut state = self.lock();
            let missing = self.most - state.made;
            state.made = self.most;
            missing
        };
        let made: Vec<Result<Session>> = (0..missing).into_par_iter().map(|_| self.make()).collect();
        let mut failure = None;
        let mut state = self.lock();
        for session in made {
            match session {
                Ok(session) => state.idle.push(session),
                Err(error) => {
                    state.made -= 1;
                    failure = Some(error);
                }
            }
        }
        drop(state);
        self.returned.notify_all();
        failure.map_or(Ok(()), Err)
    }

    fn take(&self) -> Result<Session> {
        let mut state = self.lock();
        loop {
            if let Some(session) = state.idle.pop() {
                return Ok(session);
            }
            if state.made < self.most {
                state.made += 1;
                break;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let made = self.make();
        if made.is_err() {
            self.lock().made -= 1;
            self.returned.notify_one();
        }
        made
    }

    fn make(&self) -> Result<Session> {
        let refused = |error: ort::Error| {
            Error::model(format!("ONNX Runtime {} cannot load the model of {}", self.runtime.version(), self.name))
                .with_source(error)
        };
        let builder = || -> ort::Result<_> {
            Ok(Session::builder(self.runtime.environment())?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                // The plan of memory for one length is of no use for the next: it only makes the process grow.
                .with_memory_pattern(false)?)
        };
        let mut builder = builder().map_err(refused)?;
        match &self.weights {
            Weights::File(path) => builder.commit_from_file(path),
            #[cfg(feature = "bundled-models")]
            Weights::Static(bytes) => builder.commit_from_memory(bytes),
            Weights::Shared(bytes) => builder.commit_from_memory(bytes),
        }
        .map_err(refused)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock: its content is sound even if it is poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the session back, also when the work panics.
struct Lent<'a> {
    pool: &'a Pool,
    session: Option<Session>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.lock().idle.extend(self.session.take());
        self.pool.returned.notify_one();
    }
}

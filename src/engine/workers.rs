//! The threads that do the work.
//!
//! All engines of a process share one rayon pool with a thread for each core that the process may use, so that two
//! engines do not fight; an engine that was asked for a number of threads has a pool of its own.
//!
//! The caller waits without doing other work. (A rayon worker that waits for another pool takes up other jobs of its own
//! pool meanwhile; if the caller holds a lock that such a job wants, as a `LazyLock` does while it is filled, the
//! process would stand still.)

use std::panic;
use std::sync::OnceLock;
use std::thread;

use crate::error::{Error, ErrorKind, Result};

/// More would be a typing error: starting a million threads can stop a machine.
const MOST_THREADS: usize = 1024;

#[derive(Debug)]
pub(super) enum Workers {
    /// The pool of the process.
    Shared(&'static rayon::ThreadPool),
    /// The engine's own pool.
    Own(rayon::ThreadPool),
}

impl Workers {
    /// Workers in this number, or one for each core on the pool of the process.
    pub(super) fn new(threads: Option<usize>) -> Result<Self> {
        static SHARED: OnceLock<rayon::ThreadPool> = OnceLock::new();
        match threads {
            Some(0) => Err(Error::new(
                ErrorKind::Options,
                "0 threads cannot run a model; ask for 1 or more, or for no number to use every core",
            )),
            Some(n) if n > MOST_THREADS => Err(Error::new(
                ErrorKind::Options,
                format!(
                    "{n} threads are asked for; the most is {MOST_THREADS}, and more than there are cores gain nothing"
                ),
            )),
            Some(n) => Ok(Workers::Own(pool(n)?)),
            None => match SHARED.get() {
                Some(pool) => Ok(Workers::Shared(pool)),
                None => {
                    // Where two threads come here at once, one of the pools is dropped again.
                    let new = pool(thread::available_parallelism().map_or(1, usize::from))?;
                    Ok(Workers::Shared(SHARED.get_or_init(|| new)))
                }
            },
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.pool().current_num_threads()
    }

    /// Runs `work` on the pool, where rayon's parallel iterators use its threads, and waits for the result.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| self.pool().install(work)).join();
            waiting.unwrap_or_else(|payload| panic::resume_unwind(payload))
        })
    }

    fn pool(&self) -> &rayon::ThreadPool {
        match self {
            Workers::Shared(pool) => pool,
            Workers::Own(pool) => pool,
        }
    }
}

fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("crossrank-{i}")).build().map_err(
        |error| {
            Error::new(ErrorKind::Options, format!("{threads} worker threads cannot be started")).with_source(error)
        },
    )
}

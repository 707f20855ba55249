//! Batches that change nothing.
//!
//! Short inputs run faster together, and a pair's score must not depend on its company. So batches are tried only with
//! graphs whose operators compute each input from that input alone (`model::graph` has the list: a dynamically quantised
//! graph is not among them, because it scales a whole batch by its largest value). What is left is that a processor's
//! kernels may add up the same numbers in another order for another number of rows. Which kernels run depends on a batch's
//! shape alone: the first time that an engine meets a shape, the first and the last input of that batch are run alone too
//! (the last rows are where kernels turn to other code, and the last input is the one with the most padding, if there is
//! any). If a single bit differs, or the graph refuses a batch, the engine runs every input alone from then on.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::Output;

/// What is known of an engine's batches.
#[derive(Debug)]
pub(super) struct Exactness(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Those that were compared.
    equal: HashSet<Shape>,
    /// A batch gave an input other bits than it has alone, or may do so.
    broken: bool,
}

/// What kernels see of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) inputs: usize,
    pub(super) length: usize,
    /// Some of the inputs have padding.
    pub(super) padded: bool,
}

/// How far a batch's shape is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It was compared, and nothing differed.
    Equal,
    /// It was never compared.
    Unknown,
    /// Batches change results: run inputs alone.
    Broken,
}

impl Exactness {
    /// `batches`: whether they are worth a try.
    pub(super) fn new(batches: bool) -> Self {
        Self(Mutex::new(State { equal: HashSet::new(), broken: !batches }))
    }

    pub(super) fn of(&self, shape: Shape) -> Trust {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (state.broken, state.equal.contains(&shape)) {
            (true, _) => Trust::Broken,
            (false, true) => Trust::Equal,
            (false, false) => Trust::Unknown,
        }
    }

    /// Records how a comparison of this shape turned out.
    pub(super) fn learn(&self, shape: Shape, equal: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if equal {
            state.equal.insert(shape);
        } else if !state.broken {
            tracing::info!("batches change this model's results: inputs are run one by one");
            state.broken = true;
        }
    }
}

/// The bits of an output, to compare it with another.
pub(super) fn bits(output: Output<'_>) -> Vec<u32> {
    output.values.iter().map(|value| value.to_bits()).collect()
}

//! Which inputs run together, and in which order.

use std::cmp::Reverse;

use crate::text::Tokens;

/// Up to this many tokens run in one batch: on one core, a batch of more is not faster (`benches/NOTES.md`).
const BATCH_TOKENS: usize = 512;

/// No batch has more inputs: beyond it, short inputs gain little, and workers wait for each other.
const MOST_INPUTS: usize = 16;

/// No batch has fewer: the first batch of each shape costs two inputs more, to find out whether it is exact.
const FEWEST_INPUTS: usize = 8;

/// Lengths of padded batches are multiples of this, so that few shapes come up: each costs a comparison, and padding is
/// skipped where it would cost anything.
const LENGTH_STEP: usize = 8;

/// The batches of a list of inputs, by their indices.
///
/// The inputs of a batch have one length, so that there is no padding; or, where `pads` says that the graph skips it,
/// neighbouring lengths. The longest come first: the last batches to finish are then short ones, and no worker waits long for
/// another. With few inputs every worker gets its share of them.
pub(crate) fn batches(inputs: &[Tokens], workers: usize, pads: bool) -> Vec<Vec<usize>> {
    let length = |index: usize| inputs[index].ids.len();
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&index| Reverse(length(index)));
    let share = inputs.len().div_ceil(workers.max(1)).max(1);
    let mut batches = Vec::new();
    for alike in order.chunk_by(|a, b| pads || length(*a) == length(*b)) {
        let mut rest = alike;
        while let Some(longest) = rest.first() {
            let most = (BATCH_TOKENS / padded(length(*longest), pads).max(1)).min(MOST_INPUTS).min(share);
            let count = most.min(rest.len());
            let (batch, others) = rest.split_at(if count < FEWEST_INPUTS { 1 } else { count });
            batches.push(batch.to_vec());
            rest = others;
        }
    }
    batches
}

/// The length that the inputs of a batch get: that of the longest one, or, where there may be padding, a little more.
pub(super) fn padded(longest: usize, pads: bool) -> usize {
    if pads { longest.next_multiple_of(LENGTH_STEP) } else { longest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inputs(lengths: &[usize]) -> Vec<Tokens> {
        lengths.iter().map(|n| Tokens { ids: vec![0; *n], type_ids: vec![0; *n], ..Tokens::default() }).collect()
    }

    #[test]
    fn long_inputs_run_alone_and_few_inputs_on_all_workers() {
        assert_eq!(batches(&inputs(&[200, 300, 200]), 1, true), [vec![1], vec![0], vec![2]]);
        let sizes = |lengths: &[usize], workers| -> Vec<usize> {
            batches(&inputs(lengths), workers, false).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[20; 20], 2), [10, 10]);
        assert_eq!(sizes(&[20; 6], 2), [1; 6]);
        assert_eq!(sizes(&[20; 43], 1), [16, 16, 11]);
        assert_eq!(sizes(&[20; 35], 1), [16, 16, 1, 1, 1]);
        assert_eq!(sizes(&[64; 9], 1), [8, 1]);
        assert_eq!(sizes(&[65; 9], 1), [1; 9]);
        let mixed: Vec<usize> = (0..20).map(|i| 20 + i).collect();
        assert_eq!(sizes(&mixed, 1), [1; 20]);
        let sizes = |lengths: &[usize], workers| -> Vec<usize> {
            batches(&inputs(lengths), workers, true).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&mixed, 1), [12, 8]);
        assert_eq!(sizes(&mixed, 2), [10, 10]);
        assert_eq!(sizes(&[66, 65, 64, 60, 59, 58, 57, 56, 55, 54, 53], 1), [1, 1, 8, 1]);
    }

    proptest! {
        #[test]
        fn every_input_runs_once_in_batches_of_one_length_or_of_neighbours(
            lengths in proptest::collection::vec(0usize..300, 0..80), workers in 0usize..9, pads: bool,
        ) {
            let batches = batches(&inputs(&lengths), workers, pads);
            for batch in &batches {
                prop_assert!(batch.len() == 1 || (FEWEST_INPUTS..=MOST_INPUTS).contains(&batch.len()));
                prop_assert!(pads || batch.iter().all(|index| lengths[*index] == lengths[batch[0]]));
                prop_assert!(batch.len() == 1 || batch.len() * padded(lengths[batch[0]], pads) <= BATCH_TOKENS);
            }
            prop_assert!(batches.windows(2).all(|pair| lengths[pair[0][0]] >= lengths[pair[1][0]]));
            let mut all = batches.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}

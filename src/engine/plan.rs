//! Which inputs run together, and in which order.

use std::cmp::Reverse;

use crate::text::Tokens;

/// Up to this many tokens run in one batch: on one core, a batch of more is not faster (`benches/NOTES.md`).
const BATCH_TOKENS: usize = 512;

/// No batch has more inputs: beyond it, short inputs gain little, and workers wait for each other.
const MOST_INPUTS: usize = 16;

/// No batch has fewer: the first batch of each shape costs two inputs more, to find out whether it is exact.
const FEWEST_INPUTS: usize = 8;

/// The batches of a list of inputs, by their indices.
///
/// The inputs of a batch have one length, so that there is no padding. The longest come first: the last batches to finish
/// are then short ones, and no worker waits long for another. With few inputs every worker gets its share of them.
pub(crate) fn batches(inputs: &[Tokens], workers: usize) -> Vec<Vec<usize>> {
    let length = |index: usize| inputs[index].ids.len();
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&index| Reverse(length(index)));
    let share = inputs.len().div_ceil(workers.max(1)).max(1);
    order
        .chunk_by(|a, b| length(*a) == length(*b))
        .flat_map(|equal| {
            let most = (BATCH_TOKENS / length(equal[0]).max(1)).min(MOST_INPUTS).min(share);
            let together = |chunk: &[usize]| if chunk.len() < FEWEST_INPUTS { 1 } else { chunk.len() };
            equal.chunks(most.max(1)).flat_map(move |chunk| chunk.chunks(together(chunk))).map(<[usize]>::to_vec)
        })
        .collect()
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
        assert_eq!(batches(&inputs(&[200, 300, 200]), 1), [vec![1], vec![0], vec![2]]);
        let sizes = |lengths: &[usize], workers| -> Vec<usize> {
            batches(&inputs(lengths), workers).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[20; 20], 2), [10, 10]);
        assert_eq!(sizes(&[20; 6], 2), [1; 6]);
        assert_eq!(sizes(&[20; 43], 1), [16, 16, 11]);
        assert_eq!(sizes(&[20; 35], 1), [16, 16, 1, 1, 1]);
        assert_eq!(sizes(&[64; 9], 1), [8, 1]);
        assert_eq!(sizes(&[65; 9], 1), [1; 9]);
    }

    proptest! {
        #[test]
        fn every_input_runs_once_in_batches_of_one_length(
            lengths in proptest::collection::vec(0usize..300, 0..80), workers in 0usize..9,
        ) {
            let batches = batches(&inputs(&lengths), workers);
            for batch in &batches {
                prop_assert!(batch.len() == 1 || (FEWEST_INPUTS..=MOST_INPUTS).contains(&batch.len()));
                prop_assert!(batch.iter().all(|index| lengths[*index] == lengths[batch[0]]));
                prop_assert!(batch.len() == 1 || batch.len() * lengths[batch[0]] <= BATCH_TOKENS);
            }
            prop_assert!(batches.windows(2).all(|pair| lengths[pair[0][0]] >= lengths[pair[1][0]]));
            let mut all = batches.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}

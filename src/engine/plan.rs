//! Which inputs run together, and in which order.

use crate::text::Tokens;

/// The indices of the inputs, longest first: the last inputs to finish are then short ones, so that no worker waits
/// long for another. Inputs of one length keep their order.
pub(super) fn longest_first(inputs: &[Tokens]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(inputs[index].ids.len()));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_input_runs_once_and_lengths_never_rise(lengths in proptest::collection::vec(0usize..20, 0..60)) {
            let inputs: Vec<Tokens> =
                lengths.iter().map(|n| Tokens { ids: vec![0; *n], type_ids: vec![0; *n] }).collect();
            let order = longest_first(&inputs);
            for pair in order.windows(2) {
                let (a, b) = (lengths[pair[0]], lengths[pair[1]]);
                prop_assert!(a > b || (a == b && pair[0] < pair[1]));
            }
            let mut sorted = order;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}

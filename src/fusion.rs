//! Rankings by the sum of several scores.

/// The scores of a query's documents as z-scores: what is above the mean, in standard deviations (of all the documents,
/// not of a sample).
///
/// Scores of different kinds — BM25's, similarities, logits — have no common scale; their z-scores within a query do, and
/// can be added: the sum ranks by all of them (CombSUM of Fox & Shaw 1994, normalised to zero mean and unit variance as by
/// Montague & Aslam 2001). Scores that are all equal have no deviation: they tell no documents apart, and their z-scores
/// are 0. So are all of a list in which one is infinite or NaN, for which there is no mean.
///
/// ```
/// use crossrank::z_scores;
///
/// let (bm25, logits) = ([12.0, 9.0, 3.0], [-4.0, 2.5, -3.0]);
/// let fused: Vec<f64> = z_scores(&bm25).iter().zip(z_scores(&logits)).map(|(a, b)| a + b).collect();
/// assert!(fused[1] > fused[0] && fused[0] > fused[2]);
/// ```
pub fn z_scores(scores: &[f64]) -> Vec<f64> {
    let none = || vec![0.0; scores.len()];
    let [first, rest @ ..] = scores else { return none() };
    if rest.iter().all(|score| score == first) || !scores.iter().all(|score| score.is_finite()) {
        return none();
    }
    // Twice: the first mean was rounded, which shows where scores hardly differ.
    let deviations = deviations(&deviations(scores));
    let deviation = mean(&deviations.iter().map(|value| value * value).collect::<Vec<_>>()).sqrt();
    if deviation > 0.0 { deviations.iter().map(|value| value / deviation).collect() } else { none() }
}

/// How far the values are from their mean, in units of the largest of them: so no square overflows or vanishes.
fn deviations(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest == 0.0 {
        return values.to_vec();
    }
    let values: Vec<f64> = values.iter().map(|value| value / largest).collect();
    let mean = mean(&values);
    values.iter().map(|value| value - mean).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        // Mean 5, standard deviation 2.
        let scores = z_scores(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        for (score, should) in scores.iter().zip([-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]) {
            assert!((score - should).abs() < 1e-12, "{scores:?}");
        }
    }

    /// Numbers at the ends of the range of f64 have z-scores too.
    #[test]
    fn the_smallest_and_the_largest_numbers() {
        for scores in [[5e-324, 0.0], [f64::MAX, f64::MIN], [f64::MAX, 0.0], [1e300, 5e-324]] {
            let found = z_scores(&scores);
            assert!((found[0] - 1.0).abs() < 1e-12 && (found[1] + 1.0).abs() < 1e-12, "{scores:?}: {found:?}");
        }
    }

    #[test]
    fn where_nothing_tells_documents_apart_all_are_zero() {
        for scores in [&[][..], &[3.0], &[2.0, 2.0, 2.0], &[1.0, f64::INFINITY], &[f64::NAN, 1.0]] {
            assert_eq!(z_scores(scores), vec![0.0; scores.len()], "{scores:?}");
        }
    }

    proptest! {
        /// They keep the order, have mean 0 and variance 1, and do not depend on the scores' unit and origin.
        #[test]
        fn they_are_standard_scores(
            scores in proptest::collection::vec(-1e3..1e3f64, 2..50), power in -200..200i32, origin in -1e3..1e3f64,
        ) {
            let found = z_scores(&scores);
            prop_assume!(found.iter().any(|score| *score != 0.0));
            let count = scores.len() as f64;
            prop_assert!((found.iter().sum::<f64>() / count).abs() < 1e-9);
            prop_assert!((found.iter().map(|score| score * score).sum::<f64>() / count - 1.0).abs() < 1e-9);
            for (a, b) in scores.iter().zip(&found) {
                for (c, d) in scores.iter().zip(&found) {
                    prop_assert!(a.partial_cmp(c) == b.partial_cmp(d) || (b - d).abs() < 1e-9);
                }
            }
            let spread = scores.iter().fold(f64::MIN, |a, b| a.max(*b)) - scores.iter().fold(f64::MAX, |a, b| a.min(*b));
            let moved: Vec<f64> = scores.iter().map(|score| (score + origin) * 2f64.powi(power)).collect();
            for (a, b) in z_scores(&moved).iter().zip(&found) {
                // What the addition rounds off counts for more where scores hardly differ.
                prop_assert!((a - b).abs() < 1e-9 + 1e-10 / spread, "{a} {b}");
            }
        }

        #[test]
        fn any_finite_scores_have_finite_ones(scores in proptest::collection::vec(
            any::<f64>().prop_filter("finite", |score| score.is_finite()), 0..20,
        )) {
            let found = z_scores(&scores);
            prop_assert_eq!(found.len(), scores.len());
            prop_assert!(found.iter().all(|score| score.is_finite()));
        }
    }
}

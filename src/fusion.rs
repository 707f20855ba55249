//! Rankings by the sum of several scores.

/// The scores of a query's documents as z-scores: what is above the mean, in standard deviations (of all the documents,
/// not of a sample).
///
/// Scores of different kinds — BM25's, similarities, logits — have no common scale; their z-scores within a query do, and
/// can be added: the sum ranks by all of them (CombSUM of Fox & Shaw 1994, normalised to zero mean and unit variance as by
/// Montague & Aslam 2001). All are 0 where there is nothing to tell documents apart: for scores that are all equal, and
/// for fewer than two of them. Scores must be finite; where one is not, all are 0, too.
///
/// ```
/// use crossrank::z_scores;
///
/// let (bm25, logits) = ([12.0, 9.0, 3.0], [-4.0, 2.5, -3.0]);
/// let fused: Vec<f64> = z_scores(&bm25).iter().zip(z_scores(&logits)).map(|(a, b)| a + b).collect();
/// assert!(fused[1] > fused[0] && fused[0] > fused[2]);
/// ```
pub fn z_scores(scores: &[f64]) -> Vec<f64> {
    let mean = |values: &[f64]| values.iter().map(|value| value / values.len() as f64).sum::<f64>();
    let none = || vec![0.0; scores.len()];
    let [first, rest @ ..] = scores else { return none() };
    if rest.iter().all(|score| score == first) || !scores.iter().all(|score| score.is_finite()) {
        return none();
    }
    // Halves, so that no difference leaves the range of f64, in units of the largest, so that no square does.
    let middle = mean(scores) / 2.0;
    let largest = scores.iter().map(|score| (score / 2.0 - middle).abs()).fold(0.0, f64::max);
    let deviations: Vec<f64> = scores.iter().map(|score| (score / 2.0 - middle) / largest).collect();
    // The mean was rounded, which shows where scores hardly differ.
    let middle = mean(&deviations);
    let deviation = mean(&deviations.iter().map(|value| (value - middle).powi(2)).collect::<Vec<_>>()).sqrt();
    if deviation > 0.0 { deviations.iter().map(|value| (value - middle) / deviation).collect() } else { none() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        // Mean 5, standard deviation 2.
        let scores = z_scores(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(scores, [-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn where_nothing_tells_documents_apart_all_are_zero() {
        for scores in [&[][..], &[3.0], &[2.0, 2.0, 2.0], &[1.0, f64::INFINITY], &[f64::NAN, 1.0]] {
            assert_eq!(z_scores(scores), vec![0.0; scores.len()], "{scores:?}");
        }
    }

    proptest! {
        /// They keep the order, have mean 0 and variance 1, and do not depend on the scores' unit or origin.
        #[test]
        fn they_are_standard_scores(scores in proptest::collection::vec(-1e3..1e3f64, 2..50), power in -200..200i32) {
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
            let scaled: Vec<f64> = scores.iter().map(|score| score * 2f64.powi(power)).collect();
            for (a, b) in z_scores(&scaled).iter().zip(&found) {
                prop_assert!((a - b).abs() < 1e-9);
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

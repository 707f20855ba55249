//! Confidence intervals by resampling the queries.

/// The bootstrap percentile interval of a mean (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13):
/// the values are drawn anew with replacement `resamples` times, and of the means the middle part of size `confidence`
/// (0.95, say) is taken, with linear interpolation between neighbours, as numpy does.
///
/// The numbers are drawn by SplitMix64 (Steele, Lea and Flood 2014) from `seed`: the same values, options and seed give
/// the same interval everywhere. None without values or resamples.
///
/// ```
/// use crossrank::eval::bootstrap_interval;
///
/// let differences = [0.1, 0.0, 0.3, -0.1, 0.2, 0.1];
/// let (low, high) = bootstrap_interval(&differences, 10_000, 0.95, 0).unwrap();
/// assert!(low < 0.1 && 0.1 < high && high < 0.3);
/// ```
pub fn bootstrap_interval(values: &[f64], resamples: usize, confidence: f64, seed: u64) -> Option<(f64, f64)> {
    if values.is_empty() || resamples == 0 {
        return None;
    }
    let mut random = SplitMix64(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| {
            let sum: f64 = (0..values.len()).map(|_| values[random.below(values.len())]).sum();
            sum / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    Some((quantile(&means, tail), quantile(&means, 1.0 - tail)))
}

/// The quantile of rising values, with linear interpolation (numpy's default, type 7 of Hyndman and Fan 1996).
fn quantile(rising: &[f64], part: f64) -> f64 {
    let place = part * (rising.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(rising.len() - 1);
    rising[below] + (rising[above] - rising[below]) * (place - below as f64)
}

/// A generator of random numbers that is the same in every version and on every machine.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`. The bias of this reduction is below n / 2^64.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first numbers of the reference implementation for the seed 1234567.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.1, 0.5, 0.9, 1])
        let values = [1.0, 2.0, 4.0, 8.0];
        for (part, expected) in [(0.0, 1.0), (0.1, 1.3), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&values, part) - expected).abs() < 1e-12);
        }
        assert_eq!(bootstrap_interval(&[], 10, 0.95, 0), None);
        assert_eq!(bootstrap_interval(&[1.0], 0, 0.95, 0), None);
    }

    proptest! {
        #[test]
        fn an_interval_lies_among_the_values(
            values in proptest::collection::vec(-1.0f64..1.0, 1..30),
            seed in any::<u64>(),
        ) {
            let (low, high) = bootstrap_interval(&values, 200, 0.9, seed).unwrap();
            prop_assert!(low <= high);
            let (least, greatest) = values.iter().fold((1.0f64, -1.0f64), |(a, b), v| (a.min(*v), b.max(*v)));
            prop_assert!(least - 1e-12 <= low && high <= greatest + 1e-12);
            prop_assert_eq!(bootstrap_interval(&values, 200, 0.9, seed).unwrap(), (low, high));
            let (wide_low, wide_high) = bootstrap_interval(&values, 200, 0.99, seed).unwrap();
            prop_assert!(wide_low <= low && high <= wide_high);
        }
    }
}

//! Whether runs differ by more than chance: paired t-test, bootstrap interval, Holm's correction.

use statrs::function::beta::checked_beta_reg;

use super::bootstrap::bootstrap_interval;
use super::measure::Measure;
use super::{Evaluation, mean};
use crate::error::{Error, ErrorKind, Result};

/// How [`compare_runs`] works.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SignificanceOptions {
    resamples: usize,
    confidence: f64,
    seed: u64,
}

impl Default for SignificanceOptions {
    fn default() -> Self {
        Self { resamples: 10_000, confidence: 0.95, seed: 0 }
    }
}

impl SignificanceOptions {
    /// 95 % intervals from 10,000 resamples, seed 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many times the queries are drawn anew for an interval.
    #[must_use]
    pub fn resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// The part of the means that an interval holds, between 0 and 1.
    #[must_use]
    pub fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// Where the drawing of queries begins. One seed, one result.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// How a run differs from the baseline in one measure.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The measure.
    pub measure: Measure,
    /// The name of the run.
    pub run: String,
    /// The mean of the queries' differences, run less baseline.
    pub mean: f64,
    /// The bootstrap percentile interval of that mean ([`bootstrap_interval`]).
    pub interval: (f64, f64),
    /// The paired t-test; none where it is not defined ([`paired_t_test`]).
    pub t_test: Option<TTest>,
    /// The test's p-value after [Holm's correction](holm) over the runs that are compared with the baseline in this
    /// measure.
    pub p_holm: Option<f64>,
}

/// A paired, two-sided t-test.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TTest {
    /// The statistic, with one degree of freedom less than there are pairs.
    pub t: f64,
    /// The probability of a statistic at least as far from 0 if the differences are drawn from a normal distribution
    /// with mean 0.
    pub p: f64,
}

/// Compares runs with a baseline, for each measure: all runs in the first one, all in the second one, …
///
/// # Errors
///
/// [`ErrorKind::Options`] if the evaluations are not of the same queries and measures, for a confidence that is not
/// between 0 and 1, and for 0 resamples.
///
/// ```
/// use crossrank::eval::{Measure, Qrels, Run, SignificanceOptions, compare_runs, evaluate};
///
/// let judgements: Vec<_> = (0..20).map(|query| (format!("q{query}"), "d1", 1)).collect();
/// let qrels = Qrels::from_judgements(judgements.clone())?;
/// // The baseline finds the document second, the other run finds it first but for one query.
/// let run = |name, score: fn(usize) -> f64| {
///     let found = |(number, (query, ..)): (usize, &(String, &str, i64))| {
///         [(query.clone(), "d1", score(number)), (query.clone(), "d2", 0.5)]
///     };
///     Run::from_scores(name, judgements.iter().enumerate().flat_map(found))
/// };
/// let measures = ["RR@10".parse()?];
/// let baseline = evaluate(&qrels, &run("baseline", |_| 0.1)?, &measures);
/// let other = evaluate(&qrels, &run("other", |number| if number == 0 { 0.1 } else { 0.9 })?, &measures);
/// let differences = compare_runs(&baseline, &[other], &SignificanceOptions::new())?;
/// assert_eq!(differences[0].mean, 0.475);
/// assert!(differences[0].interval.0 > 0.4 && differences[0].t_test.unwrap().p < 1e-9);
/// # Ok::<(), crossrank::Error>(())
/// ```
pub fn compare_runs(
    baseline: &Evaluation,
    others: &[Evaluation],
    options: &SignificanceOptions,
) -> Result<Vec<Difference>> {
    check(baseline, others, options)?;
    let mut all = Vec::new();
    for (index, base) in baseline.scores.iter().enumerate() {
        let start = all.len();
        for other in others {
            let run = &other.scores[index];
            let differences: Vec<f64> = run.by_query.iter().zip(&base.by_query).map(|(run, base)| run - base).collect();
            let mean = mean(&differences);
            let interval = bootstrap_interval(&differences, options.resamples, options.confidence, options.seed);
            all.push(Difference {
                measure: base.measure.clone(),
                run: other.run.clone(),
                mean,
                interval: interval.unwrap_or((mean, mean)),
                t_test: paired_t_test(&run.by_query, &base.by_query),
                p_holm: None,
            });
        }
        let tested: Vec<usize> = (start..all.len()).filter(|place| all[*place].t_test.is_some()).collect();
        let p_values: Vec<f64> = tested.iter().filter_map(|place| Some(all[*place].t_test?.p)).collect();
        for (place, p) in tested.into_iter().zip(holm(&p_values)) {
            all[place].p_holm = Some(p);
        }
    }
    Ok(all)
}

fn check(baseline: &Evaluation, others: &[Evaluation], options: &SignificanceOptions) -> Result<()> {
    let wrong = |reason: String| Err(Error::new(ErrorKind::Options, reason));
    if options.resamples == 0 {
        return wrong("an interval needs at least 1 resample, and 0 were asked for".to_owned());
    }
    if !(options.confidence > 0.0 && options.confidence < 1.0) {
        return wrong(format!("a confidence is between 0 and 1; {} is not", options.confidence));
    }
    let measures = |evaluation: &Evaluation| -> Vec<Measure> {
        evaluation.scores.iter().map(|scores| scores.measure.clone()).collect()
    };
    for other in others {
        if other.queries != baseline.queries || measures(other) != measures(baseline) {
            return wrong(format!(
                "{} and {} cannot be compared: they were not evaluated with the same judgements and measures",
                baseline.run, other.run
            ));
        }
    }
    Ok(())
}

/// The paired two-sided t-test (Student 1908): t is the mean difference over its standard error, and with ν = n - 1
/// degrees of freedom p is I(ν / (ν + t²); ν / 2, 1 / 2), I being the regularized incomplete beta function
/// (Abramowitz and Stegun 26.7.1).
///
/// None for fewer than two pairs, for lists of unequal length, and where all differences are the same but for rounding:
/// the standard error is 0 then, and the test is not defined.
///
/// ```
/// use crossrank::eval::paired_t_test;
///
/// // scipy.stats.ttest_rel([0.5, 0.7, 0.9, 0.4], [0.4, 0.7, 0.6, 0.2])
/// let test = paired_t_test(&[0.5, 0.7, 0.9, 0.4], &[0.4, 0.7, 0.6, 0.2]).unwrap();
/// assert!((test.t - 2.32379000772445).abs() < 1e-12 && (test.p - 0.10272807885839899).abs() < 1e-12);
/// ```
pub fn paired_t_test(a: &[f64], b: &[f64]) -> Option<TTest> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let (n, mean) = (differences.len() as f64, mean(&differences));
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    let error = (squares / (n - 1.0) / n).sqrt();
    // A standard error below this is that of rounding.
    if error <= 10.0 * f64::EPSILON * mean.abs() {
        return None;
    }
    let (t, freedom) = (mean / error, n - 1.0);
    // Two forms of one number: each is exact where the other one's argument is near 1. None for values that are not finite.
    let p = if t.abs() < 1.0 {
        1.0 - checked_beta_reg(0.5, freedom / 2.0, t * t / (freedom + t * t)).ok()?
    } else {
        checked_beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t)).ok()?
    };
    Some(TTest { t, p })
}

/// Holm's step-down correction of p-values (Holm 1979): the i-th smallest of m is multiplied by m - i + 1, is at least as
/// great as the ones before it, and at most 1. In the order of the given values.
///
/// ```
/// use crossrank::eval::holm;
///
/// assert_eq!(holm(&[0.25, 0.0625, 0.5]), [0.5, 0.1875, 0.5]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (place, index) in order.into_iter().enumerate() {
        least = least.max((p_values.len() - place) as f64 * p_values[index]).min(1.0);
        corrected[index] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_test_that_is_not_defined_is_none() {
        assert_eq!(paired_t_test(&[1.0], &[0.5]), None);
        assert_eq!(paired_t_test(&[1.0, 2.0], &[0.5]), None);
        assert_eq!(paired_t_test(&[0.3, 0.7], &[0.3, 0.7]), None);
        assert_eq!(paired_t_test(&[0.4, 0.5, 0.9], &[0.3, 0.4, 0.8]), None, "0.1 everywhere, but for rounding");
        assert_eq!(paired_t_test(&[f64::NAN, 0.5], &[0.3, 0.4]), None);
    }

    proptest! {
        #[test]
        fn p_values_are_probabilities(pairs in proptest::collection::vec((0.0f64..1.0, 0.0f64..1.0), 2..50)) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            if let (Some(there), Some(back)) = (paired_t_test(&a, &b), paired_t_test(&b, &a)) {
                prop_assert!((0.0..=1.0).contains(&there.p));
                prop_assert!((there.p - back.p).abs() < 1e-12 && (there.t + back.t).abs() < 1e-9);
            }
        }

        #[test]
        fn corrected_p_values_are_greater_and_keep_their_order(p in proptest::collection::vec(0.0f64..=1.0, 0..20)) {
            let corrected = holm(&p);
            for (i, one) in p.iter().enumerate() {
                prop_assert!(*one <= corrected[i] && corrected[i] <= 1.0);
                for (j, other) in p.iter().enumerate() {
                    prop_assert!(one > other || corrected[i] <= corrected[j]);
                }
            }
        }
    }
}

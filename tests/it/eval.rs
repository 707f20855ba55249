//! Measures and tests of significance: the numbers of ir_measures, scipy and statsmodels, and the command `eval`.

use std::collections::BTreeMap;

use crossrank::eval::{Measure, Qrels, Run, bootstrap_interval, evaluate, holm, paired_t_test};
use serde::Deserialize;

use crate::fixtures;

#[derive(Deserialize)]
struct MeasuredCase {
    name: String,
    qrels: String,
    run: String,
    expected: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    mean: f64,
    by_query: BTreeMap<String, f64>,
}

fn measured_cases() -> Vec<MeasuredCase> {
    serde_json::from_value(fixtures::json(&fixtures::path("eval").join("measures.json"))).unwrap()
}

mod reference {
    use super::*;

    const TOLERANCE: f64 = 1e-12;

    /// Each measure of each case, for each query and in the mean.
    #[test]
    fn measures_are_those_of_ir_measures() {
        let cases = measured_cases();
        assert_eq!(cases.len(), 16);
        let mut compared = 0;
        for case in &cases {
            let qrels = Qrels::read(case.qrels.as_bytes(), "qrels").unwrap();
            let run = Run::read(case.run.as_bytes(), "run").unwrap();
            for (name, expected) in &case.expected {
                let measure: Measure = name.parse().unwrap();
                assert_eq!(&measure.to_string(), name);
                let evaluation = evaluate(&qrels, &run, &[measure]);
                let scores = &evaluation.scores[0];
                assert_eq!(evaluation.queries.len(), expected.by_query.len(), "{}", case.name);
                for (query, value) in evaluation.queries.iter().zip(&scores.by_query) {
                    let theirs = expected.by_query[query];
                    let close = (value - theirs).abs() <= TOLERANCE;
                    assert!(close, "{}: {name} of {query}: {value} instead of {theirs}", case.name);
                    compared += 1;
                }
                assert!((scores.mean - expected.mean).abs() <= TOLERANCE, "{}: {name}", case.name);
            }
        }
        assert!(compared > 3500, "{compared}");
    }

    #[derive(Deserialize)]
    struct Significance {
        pairs: Vec<Pair>,
        tails: Vec<Tail>,
        corrections: Vec<Correction>,
    }

    #[derive(Deserialize)]
    struct Pair {
        a: Vec<f64>,
        b: Vec<f64>,
        t: f64,
        p: f64,
        interval: (f64, f64),
        scipy_interval: (f64, f64),
    }

    #[derive(Deserialize)]
    struct Tail {
        freedom: usize,
        t: f64,
        p: f64,
    }

    #[derive(Deserialize)]
    struct Correction {
        p: Vec<f64>,
        holm: Vec<f64>,
    }

    fn significance() -> Significance {
        serde_json::from_value(fixtures::json(&fixtures::path("eval").join("significance.json"))).unwrap()
    }

    #[track_caller]
    fn assert_close(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() <= tolerance * expected.abs().max(1e-300), "{value} instead of {expected}");
    }

    #[test]
    fn t_tests_are_scipys() {
        for pair in significance().pairs {
            let test = paired_t_test(&pair.b, &pair.a).unwrap();
            assert_close(test.t, pair.t, 1e-9);
            assert_close(test.p, pair.p, 1e-9);
        }
    }

    /// The tails of Student's t distribution, by differences that have a given t.
    #[test]
    fn p_values_are_scipys_far_out() {
        for tail in significance().tails {
            // Half of the differences is 1 above the mean and half of them 1 below (and one is the mean, if they are odd).
            let n = tail.freedom + 1;
            let deviation = |i: usize| if n % 2 == 1 && i == n - 1 { 0.0 } else { [1.0, -1.0][i % 2] };
            let squares = (n - n % 2) as f64;
            let mean = tail.t * (squares / tail.freedom as f64 / n as f64).sqrt();
            let a: Vec<f64> = (0..n).map(|i| mean + deviation(i)).collect();
            let test = paired_t_test(&a, &vec![0.0; n]).unwrap();
            assert!((test.t - tail.t).abs() < 1e-9 * tail.t.max(1e-3), "{} instead of {}", test.t, tail.t);
            // p falls by the power of t: the rounding of t is a part of its error.
            assert_close(test.p, tail.p, 1e-7);
        }
    }

    #[test]
    fn corrections_are_those_of_statsmodels() {
        for correction in significance().corrections {
            let corrected = holm(&correction.p);
            assert_eq!(corrected.len(), correction.holm.len());
            corrected.iter().zip(&correction.holm).for_each(|(ours, theirs)| assert_close(*ours, *theirs, 1e-12));
        }
    }

    #[test]
    fn intervals_are_those_of_the_formula_and_near_scipys() {
        for pair in significance().pairs {
            let differences: Vec<f64> = pair.b.iter().zip(&pair.a).map(|(b, a)| b - a).collect();
            let (low, high) = bootstrap_interval(&differences, 500, 0.95, 7).unwrap();
            assert!((low - pair.interval.0).abs() < 1e-12 && (high - pair.interval.1).abs() < 1e-12);
            // Another generator: equal but for the chance of the drawing.
            let (low, high) = bootstrap_interval(&differences, 10_000, 0.95, 0).unwrap();
            let (their_low, their_high) = pair.scipy_interval;
            let width = their_high - their_low;
            assert!((low - their_low).abs() < 0.05 * width, "{low} beside {their_low}");
            assert!((high - their_high).abs() < 0.05 * width, "{high} beside {their_high}");
        }
    }
}

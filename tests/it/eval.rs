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

mod command {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Output;

    use serde_json::Value;

    use super::*;
    use crate::cli::{assert_code, run, run_with_input, stderr, stdout};

    const QRELS: &str = "q1 0 d1 2\nq1 0 d2 0\nq1 0 d3 1\nq2 0 d1 1\nq3 0 d4 1\n";
    const FIRST: &str = "q1 Q0 d2 1 3.0 bm25\nq1 Q0 d1 2 2.0 bm25\nq2 Q0 d2 1 2.0 bm25\nq2 Q0 d1 2 1.0 bm25\n";
    const SECOND: &str =
        "q1 Q0 d1 1 0.9 ce\nq1 Q0 d3 2 0.8 ce\nq2 Q0 d1 1 0.7 ce\nq3 Q0 d9 1 1 ce\nq3 Q0 d4 2 0.5 ce\n";

    /// A folder with files that are named on the command line.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            for (name, text) in [("qrels", QRELS), ("first.run", FIRST), ("second.run", SECOND)] {
                folder.write(name, text.as_bytes());
            }
            folder
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.0.path().join(name), bytes).unwrap();
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// `crossrank eval`, in which words that name files of the folder stand for their paths.
        fn eval(&self, words: &str) -> Output {
            let words = words.split(' ').filter(|word| !word.is_empty()).map(|word| match self.path(word) {
                path if path.exists() => path.to_str().unwrap().to_owned(),
                _ => word.to_owned(),
            });
            let words: Vec<String> = ["eval".to_owned()].into_iter().chain(words).collect();
            run(&words.iter().map(String::as_str).collect::<Vec<_>>())
        }

        /// What a command that succeeds prints, with the folder's name left out.
        fn results(&self, words: &str) -> String {
            let output = self.eval(words);
            assert_code(&output, 0);
            stdout(&output).replace(&format!("{}/", self.0.path().display()), "")
        }
    }

    /// `ir_measures qrels first.run nDCG@10 "RR AP" P@1 --by_query` prints these lines, though in another order.
    #[test]
    fn one_run_is_printed_as_ir_measures_does() {
        let folder = Folder::new();
        let values = "q1\tnDCG@10\t0.4796\nq1\tRR\t0.5000\nq1\tP(rel=2)@1\t0.0000\n\
                      q2\tnDCG@10\t0.6309\nq2\tRR\t0.5000\nq2\tP(rel=2)@1\t0.0000\n\
                      q3\tnDCG@10\t0.0000\nq3\tRR\t0.0000\nq3\tP(rel=2)@1\t0.0000\n";
        let measures = "nDCG@10 RR RR P(rel=2)@1";
        let means = "nDCG@10\t0.3702\nRR\t0.3333\nP(rel=2)@1\t0.0000\n";
        assert_eq!(folder.results(&format!("qrels first.run {measures}")), means);
        let all: String = means.lines().map(|line| format!("all\t{line}\n")).collect();
        assert_eq!(folder.results(&format!("qrels first.run {measures} -q")), format!("{values}{all}"));
        assert_eq!(folder.results(&format!("qrels first.run {measures} --by_query --no_summary")), values);
        assert_eq!(folder.results("qrels first.run RR -p 1"), "RR\t0.3\n");
        assert_eq!(folder.results("qrels first.run RR P@1 --places -1"), "RR\t0.3333333333333333\nP@1\t0.0\n");
        let defaults: Vec<String> =
            folder.results("qrels first.run").lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
        assert_eq!(defaults, ["nDCG@10", "RR@10", "AP", "R@100", "P@10"]);
        assert!(stderr(&folder.eval("qrels first.run")).contains("has nothing for 1 of the 3 queries of"));
    }

    /// The fixture's cases through the program, all places.
    #[test]
    fn the_numbers_are_those_of_the_reference() {
        for case in measured_cases() {
            let folder = Folder::new();
            folder.write("case.qrels", case.qrels.as_bytes());
            folder.write("case.run", case.run.as_bytes());
            let names: Vec<&str> = case.expected.keys().map(String::as_str).collect();
            let printed = folder.results(&format!("case.qrels case.run {} -p -1", names.join(" ")));
            let mut lines = printed.lines();
            for (name, expected) in &case.expected {
                let (measure, value) = lines.next().unwrap().split_once('\t').unwrap();
                assert_eq!(measure, name);
                assert!((value.parse::<f64>().unwrap() - expected.mean).abs() < 1e-12, "{}: {name}", case.name);
            }
            assert_eq!(lines.next(), None);
        }
    }

    #[test]
    fn json_lines_have_all_places() {
        let folder = Folder::new();
        assert_eq!(
            folder.results("qrels first.run RR P@1 -o jsonl -p 1"),
            concat!("{\"measure\":\"RR\",\"value\":0.3333333333333333}\n", "{\"measure\":\"P@1\",\"value\":0.0}\n",)
        );
        let by_query = folder.results("qrels first.run RR --output_format jsonl -q");
        let lines: Vec<Value> = by_query.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: Vec<&str> = lines.iter().map(|line| line["query_id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["q1", "q2", "q3", "all"]);
        let two = folder.results("qrels first.run second.run RR --output jsonl --significance");
        let lines: Vec<Value> = two.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["run"], &lines[1]["run"]), (&"first.run".into(), &"second.run".into()));
        assert_eq!((&lines[2]["baseline"], &lines[2]["run"]), (&"first.run".into(), &"second.run".into()));
        assert!((lines[2]["difference"].as_f64().unwrap() - 0.5).abs() < 1e-12);
        assert!(lines[2]["t"].is_null(), "0.5 for each query: the test is not defined");
    }

    #[test]
    fn several_runs_stand_side_by_side() {
        let folder = Folder::new();
        let table = "measure\tfirst.run\tsecond.run\nRR\t0.3333\t0.8333\nAP\t0.2500\t0.8333\n";
        assert_eq!(folder.results("qrels first.run RR second.run AP"), table);
        let by_query = folder.results("qrels first.run second.run AP -q -n");
        assert_eq!(
            by_query,
            "query\tmeasure\tfirst.run\tsecond.run\nq1\tAP\t0.2500\t1.0000\nq2\tAP\t0.5000\t1.0000\nq3\tAP\t0.0000\t0.5000\n"
        );
        let words = "qrels first.run second.run first.run RR AP --significance";
        let printed = folder.results(words);
        let (_, differences) = printed.split_once("\n\n").unwrap();
        let lines: Vec<Vec<&str>> = differences.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(lines[0], ["measure", "run", "difference", "low", "high", "t", "p", "p_holm"]);
        assert_eq!(lines[1], ["RR", "second.run", "0.5000", "0.5000", "0.5000", "-", "-", "-"]);
        // scipy.stats.ttest_rel([1, 1, 0.5], [0.25, 0.5, 0]): the run that is the baseline itself has no test.
        assert_eq!(lines[3][..3], ["AP", "second.run", "0.5833"]);
        assert_eq!(lines[3][5..], ["7.0000", "0.0198", "0.0198"]);
        assert_eq!(lines[4][5..], ["-", "-", "-"]);
        assert_eq!(folder.results(words), printed, "the same each time");
        assert_eq!(folder.results(&format!("{words} --seed 0 --resamples 10000")), printed);
        assert_ne!(folder.results(&format!("{words} --resamples 3 --seed 5")), printed);
    }

    #[test]
    fn compressed_files_standard_input_and_beirs_judgements() {
        let folder = Folder::new();
        // `printf … | gzip -9` and `printf … | zstd` of FIRST are in the fixture's folder.
        let expected = folder.results("qrels first.run AP RR@10");
        for name in ["first.run.gz", "first.run.zst"] {
            folder.write(name, &fs::read(fixtures::path("eval").join(name)).unwrap());
            assert_eq!(folder.results(&format!("qrels {name} AP RR@10")), expected);
            let bytes = fs::read(folder.path(name)).unwrap();
            folder.write(name, &bytes[..bytes.len() - 3]);
            let output = folder.eval(&format!("qrels {name}"));
            assert_code(&output, 2);
            assert!(stderr(&output).contains("cannot read") && stderr(&output).contains(name), "{}", stderr(&output));
        }
        let beir: String = ["query-id\tcorpus-id\tscore".to_owned()]
            .into_iter()
            .chain(QRELS.lines().map(|line| line.replacen(" 0 ", "\t", 1).replace(' ', "\t")))
            .map(|line| line + "\r\n")
            .collect();
        folder.write("test.tsv", beir.as_bytes());
        assert_eq!(folder.results("test.tsv first.run AP RR@10"), expected);
        let qrels = folder.path("qrels");
        let output = run_with_input(&["eval", qrels.to_str().unwrap(), "-", "AP", "RR@10"], FIRST.as_bytes());
        assert_code(&output, 0);
        assert_eq!(stdout(&output), expected);
    }

    #[test]
    fn wrong_lines_stop_it_with_1_and_no_numbers() {
        let folder = Folder::new();
        folder.write("bad.qrels", b"q1 0 d1 1\nq1 d1 1\n");
        folder.write("bad.run", format!("{FIRST}q1 Q0 d7 3 nan bm25\n").as_bytes());
        folder.write("empty", b"");
        for (words, reason) in [
            ("bad.qrels first.run", "bad.qrels, line 2: a line of TREC qrels"),
            ("qrels bad.run", "bad.run, line 5: the score is NaN"),
            ("qrels first.run bad.run", "bad.run, line 5: "),
            ("qrels qrels", "qrels, line 1: a line of a TREC run"),
            ("empty first.run", "holds no judgement"),
        ] {
            let output = folder.eval(words);
            assert_code(&output, 1);
            assert!(stderr(&output).contains(reason), "{reason} is not in {}", stderr(&output));
            assert_eq!(stdout(&output), "");
        }
        assert_eq!(folder.results("qrels empty P@1"), "P@1\t0.0000\n");
    }

    #[test]
    fn what_is_peculiar_is_told() {
        let folder = Folder::new();
        folder.write("twice.run", format!("{SECOND}{FIRST}q9 Q0 d1 1 1 t\n").as_bytes());
        let output = folder.eval("qrels twice.run P@1");
        assert_code(&output, 0);
        for words in [
            "has 2 lines for a query and a document that it had before",
            "1 query of",
            "such as line 7 (query q1, document d1)",
        ] {
            assert!(stderr(&output).contains(words), "`{words}` is not in {}", stderr(&output));
        }
    }

    #[test]
    fn wrong_usage_is_2() {
        let folder = Folder::new();
        for (words, reason) in [
            ("", "QRELS"),
            ("qrels", "RUN"),
            ("missing first.run", "cannot read missing"),
            ("qrels missing.run", "cannot read missing.run"),
            ("qrels nDCG@10", "no run is named"),
            (
                "qrels first.run ndgc@10",
                "there is no file ndgc@10, and `ndgc@10` is not a measure: there is no `ndgc`; did you",
            ),
            ("qrels first.run P", "P needs a cutoff"),
            ("qrels first.run AP --no_summary", "--by_query"),
            ("qrels first.run AP --significance", "name two or more runs"),
            ("qrels first.run AP -p -2", "-2"),
            ("qrels first.run AP -o xml", "tsv, jsonl"),
            ("qrels first.run AP --seed 1", "--significance"),
            ("- -", "standard input is named twice"),
        ] {
            let output = folder.eval(words);
            assert_code(&output, 2);
            assert!(stderr(&output).contains(reason), "{reason} is not in {}", stderr(&output));
            assert_eq!(stdout(&output), "");
        }
    }

    /// The README's example, as it stands there.
    #[test]
    fn the_readmes_example() {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let folder = Folder::new();
        for name in ["example.qrels", "first-stage.run", "second-stage.run"] {
            folder.write(name, &fs::read(fixtures::path("eval").join(name)).unwrap());
        }
        let command = readme.lines().find_map(|line| line.strip_prefix("crossrank eval example.qrels ")).unwrap();
        let cells = |text: &str| -> Vec<Vec<String>> {
            text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
        };
        let (_, block) = readme.split_once(command).unwrap().1.split_once("```text\n").unwrap();
        let shown = cells(block.split_once("```").unwrap().0);
        assert_eq!(cells(&folder.results(&format!("example.qrels {command}"))), shown);
    }
}

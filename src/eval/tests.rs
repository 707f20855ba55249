//! What holds for every ranking. The reference's numbers are compared in `tests/it/eval.rs`.

use super::*;
use crate::error::ErrorKind;
use proptest::prelude::*;

const MEASURES: &str = "nDCG nDCG@3 nDCG(gains={1:5})@4 AP AP@2 RR RR@2 P@3 P(rel=2)@2 R@3 Success@2 Judged Judged@2 \
                        Rprec Rprec(rel=2) Bpref Bpref(rel=2) P(judged_only=True)@3";

fn measures() -> Vec<Measure> {
    Measure::parse_list(MEASURES).unwrap()
}

fn qrels_of(lines: &[String]) -> Qrels {
    Qrels::read(lines.concat().as_bytes(), "qrels").unwrap()
}

fn run_of(lines: &[String]) -> Run {
    Run::read(lines.concat().as_bytes(), "run").unwrap()
}

fn mean_of(measure: &str, qrels: &Qrels, run: &Run) -> f64 {
    evaluate(qrels, run, &[measure.parse().unwrap()]).scores[0].mean
}

#[track_caller]
fn reason<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    error.to_string()
}

#[test]
fn wrong_lines_are_named() {
    for (text, words) in [
        (&b"q 0 d 1\nq 0 d\n"[..], "x.qrels, line 2: a line of TREC qrels"),
        (b"q 0 d\n", "has 4 fields between blanks; this one has 3: `q 0 d`"),
        (b"q 0 d 1.5\n", "a whole number as grade is needed where `1.5` stands"),
        (b"\n\nq 0 d 99999999999999999999\n", "line 3: a whole number"),
        (b"q 0 d\xff 1\n", "line 1: invalid UTF-8 at byte 6 of the line"),
        (b"query-id\tcorpus-id\tscore\nq d 1\n", "line 2: after the header"),
        (b"query-id\tcorpus-id\tscore\nq\t\t1\n", "an id is empty"),
        (b"query-id\tcorpus-id\tscore\n", "holds no judgement"),
        (b"", "x.qrels holds no judgement"),
    ] {
        let reason = reason(Qrels::read(text, "x.qrels"));
        assert!(reason.contains(words), "{reason}");
    }
    for (text, words) in [
        ("q Q0 d 1 0.5 tag\nq Q0 d 1 0.5\n", "x.run, line 2: a line of a TREC run"),
        ("q Q0 d 1 high tag\n", "a number as score is needed where `high` stands"),
        ("q Q0 d 1 nan tag\n", "line 1: the score is NaN"),
        ("q Q0 d 1 0.5 my tag\n", "this one has 7"),
    ] {
        let reason = reason(Run::read(text.as_bytes(), "x.run"));
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(Run::from_scores("r", [("q", "d", f64::NAN)]).unwrap_err().kind(), ErrorKind::NonFinite);
    assert_eq!(
        reason(Qrels::from_judgements([("q", "d", 1); 0])),
        "the list of judgements holds no judgement: there is no query to measure a run on"
    );
}

#[test]
fn a_reader_that_fails_is_an_error_of_its_own() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is on fire"))
        }
    }
    let error = Run::read(std::io::BufReader::new(Broken), "x.run").unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Io, "cannot read x.run from line 1 on"));
    assert!(error.chain().ends_with("the disk is on fire"));
}

#[test]
fn beirs_judgements_are_those_of_trec() {
    let beir = "\u{feff}query-id\tcorpus-id\tscore\r\n1\tdoc a\t2\r\n\r\n 2 \tb\t-1\n";
    let qrels = Qrels::read(beir.as_bytes(), "test.tsv").unwrap();
    assert_eq!(qrels.grade("1", "doc a"), Some(2), "a blank is a part of an id");
    assert_eq!(qrels.grade(" 2 ", "b"), Some(-1), "ids are kept as they are");
    assert_eq!(qrels.queries().collect::<Vec<_>>(), ["1", " 2 "]);
}

#[test]
fn the_last_of_two_lines_counts_and_is_told() {
    let run = Run::read("q Q0 a 1 3 t\nr Q0 a 1 3 t\nq Q0 b 1 2 t\nq Q0 a 1 1 t\n".as_bytes(), "r").unwrap();
    assert_eq!(run.documents("q").unwrap().collect::<Vec<_>>(), [("b", 2.0), ("a", 1.0)]);
    let duplicates = run.duplicates();
    assert_eq!((duplicates.count, &duplicates.example), (1, &Some(("q".to_owned(), "a".to_owned(), 4))));
    let qrels = Qrels::from_judgements([("q", "a", 1), ("q", "a", 0), ("q", "a", 2)]).unwrap();
    assert_eq!((qrels.grade("q", "a"), qrels.duplicates().count), (Some(2), 2));
}

#[test]
fn queries_on_one_side_alone_are_counted() {
    let qrels = Qrels::from_judgements([("a", "x", 1), ("b", "x", 1), ("c", "x", 0)]).unwrap();
    let run = Run::from_scores("r", [("b", "x", 1.0), ("z", "x", 1.0)]).unwrap();
    let evaluation = evaluate(&qrels, &run, &["P@1".parse().unwrap()]);
    assert_eq!((evaluation.missing_queries, evaluation.unjudged_queries), (2, 1));
    assert_eq!(evaluation.queries, ["a", "b", "c"]);
    assert_eq!(evaluation.scores[0].by_query, [0.0, 1.0, 0.0]);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let qrels = Qrels::from_judgements([("a", "x", 1), ("b", "x", 1)]).unwrap();
    let others = Qrels::from_judgements([("a", "x", 1), ("c", "x", 1)]).unwrap();
    let run = Run::from_scores("r", [("a", "x", 1.0)]).unwrap();
    let of = |qrels: &Qrels, measure: &str| evaluate(qrels, &run, &[measure.parse().unwrap()]);
    let base = of(&qrels, "AP");
    let options = SignificanceOptions::new();
    for (other, options) in [
        (of(&others, "AP"), options),
        (of(&qrels, "RR"), options),
        (of(&qrels, "AP"), options.resamples(0)),
        (of(&qrels, "AP"), options.confidence(1.0)),
        (of(&qrels, "AP"), options.confidence(f64::NAN)),
    ] {
        assert_eq!(compare_runs(&base, &[other], &options).unwrap_err().kind(), ErrorKind::Options);
    }
    let same = compare_runs(&base, &[of(&qrels, "AP")], &options).unwrap();
    assert_eq!((same[0].mean, same[0].interval, same[0].t_test, same[0].p_holm), (0.0, (0.0, 0.0), None, None));
}

/// Distinct pairs of a query and a document, so that no line replaces another.
fn lines(value: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<(u8, u8, String)>> {
    proptest::collection::btree_map((0u8..4, 0u8..12), value, 0..40)
        .prop_map(|pairs| pairs.into_iter().map(|((query, document), value)| (query, document, value)).collect())
}

fn qrels_lines() -> impl Strategy<Value = Vec<String>> {
    lines((-1i64..4).prop_map(|grade| grade.to_string())).prop_map(|mut pairs| {
        pairs.push((0, 12, "1".to_owned()));
        pairs.into_iter().map(|(query, document, grade)| format!("q{query} 0 d{document} {grade}\n")).collect()
    })
}

fn run_lines() -> impl Strategy<Value = Vec<String>> {
    lines((-4i64..4).prop_map(|score| format!("{}", score as f64 / 2.0))).prop_map(|pairs| {
        pairs.into_iter().map(|(query, document, score)| format!("q{query} Q0 d{document} 1 {score} tag\n")).collect()
    })
}

proptest! {
    #[test]
    fn measures_lie_between_0_and_1(qrels in qrels_lines(), run in run_lines()) {
        let evaluation = evaluate(&qrels_of(&qrels), &run_of(&run), &measures());
        for scores in &evaluation.scores {
            for value in scores.by_query.iter().chain([&scores.mean]) {
                prop_assert!((0.0..=1.0 + 1e-12).contains(value), "{}: {}", scores.measure, value);
            }
        }
    }

    #[test]
    fn the_order_of_the_lines_changes_nothing(
        (qrels, shuffled_qrels) in qrels_lines().prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle())),
        (run, shuffled_run) in run_lines().prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle())),
    ) {
        let by_query = |qrels: &[String], run: &[String]| -> Vec<Vec<(String, f64)>> {
            let evaluation = evaluate(&qrels_of(qrels), &run_of(run), &measures());
            let sorted = |scores: &MeasureScores| {
                let mut pairs: Vec<_> = evaluation.queries.iter().cloned().zip(scores.by_query.clone()).collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                pairs
            };
            evaluation.scores.iter().map(sorted).collect()
        };
        prop_assert_eq!(by_query(&qrels, &run), by_query(&shuffled_qrels, &shuffled_run));
    }

    /// Each query's judged documents, by their grades.
    #[test]
    fn a_perfect_ranking_has_1(qrels in qrels_lines()) {
        let qrels = qrels_of(&qrels);
        let run = qrels.iter().flat_map(|(query, judged)| {
            judged.iter().map(move |(document, grade)| (query.to_owned(), document.clone(), *grade as f64))
        });
        let run = Run::from_scores("perfect", run).unwrap();
        for measure in ["nDCG", "nDCG@1", "nDCG@3", "AP", "RR", "RR@1", "Rprec", "Success@1", "R@1000", "Bpref"] {
            let evaluation = evaluate(&qrels, &run, &[measure.parse().unwrap()]);
            for ((_, judged), value) in qrels.iter().zip(&evaluation.scores[0].by_query) {
                let expected = f64::from(judged.iter().any(|(_, grade)| *grade >= 1));
                prop_assert!((value - expected).abs() < 1e-12, "{}: {}", measure, value);
            }
        }
    }

    #[test]
    fn more_depth_finds_no_less(qrels in qrels_lines(), run in run_lines(), k in 1usize..15) {
        let (qrels, run) = (qrels_of(&qrels), run_of(&run));
        for measure in ["R", "Success", "AP", "RR"] {
            let at = |k: usize| mean_of(&format!("{measure}@{k}"), &qrels, &run);
            prop_assert!(at(k) <= at(k + 1));
        }
        prop_assert_eq!(mean_of("AP@1000", &qrels, &run), mean_of("AP", &qrels, &run));
        prop_assert_eq!(mean_of("nDCG@1000", &qrels, &run), mean_of("nDCG", &qrels, &run));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Qrels::read(bytes.as_slice(), "x");
        let _ = Run::read(bytes.as_slice(), "x");
    }

    #[test]
    fn any_fields_are_read_or_refused(text in "([a-z]{1,3}[ \t]{1,2}|-?[0-9]{1,3}[ \t]|nan |inf |\r?\n){0,40}") {
        let _ = Qrels::read(text.as_bytes(), "x");
        if let Ok(run) = Run::read(text.as_bytes(), "x") {
            let qrels = Qrels::from_judgements(run.queries().map(|query| (query, "a", 1)).chain([("q", "a", 1)])).unwrap();
            let evaluation = evaluate(&qrels, &run, &measures());
            prop_assert!(evaluation.scores.iter().all(|scores| scores.mean.is_finite()));
        }
    }
}

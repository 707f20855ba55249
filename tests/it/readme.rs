//! The examples of the README give what stands there: a bundled model that is replaced makes its numbers old.
//!
//! Numbers may differ by what other kernels round otherwise.

use crossrank::{ComputeType, Reranker};

use crate::cli::{assert_code, run, run_with_input, stdout};

const README: &str = include_str!("../../README.md");
const TOLERANCE: f64 = 2e-3;

/// What the README shows behind a text, up to the end of its block or line.
fn shown(before: &str, end: &str) -> &'static str {
    let start = README.find(before).unwrap_or_else(|| panic!("no {before}")) + before.len();
    README[start..].split(end).next().unwrap()
}

/// The numbers behind each of some marks.
fn numbers(text: &str, mark: &str) -> Vec<f64> {
    let number = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest[..end].parse().unwrap_or_else(|_| panic!("no number in {rest}"))
    };
    text.split(mark).skip(1).map(number).collect()
}

#[track_caller]
fn assert_near(ours: &[f64], readme: &[f64]) {
    assert!(!readme.is_empty());
    let near = ours.len() == readme.len() && ours.iter().zip(readme).all(|(a, b)| (a - b).abs() < TOLERANCE);
    assert!(near, "the program gives {ours:?}, the README has {readme:?}");
}

/// Whether this machine computes the bundled models as the README's did.
fn default_kernels() -> bool {
    Reranker::bundled().unwrap().info().compute == ComputeType::W8A8
}

#[test]
fn the_comparison() {
    if !default_kernels() {
        return;
    }
    let output = run(&["compare"]);
    assert_code(&output, 0);
    let readme = shown("The first one prints:\n\n```text\n", "\n… (two more cases)");
    let lines: Vec<&str> = stdout(&output).lines().take(readme.lines().count()).collect();
    let without_scores = |line: &str| line.split_once("[Score: ").map_or(line, |(_, rest)| &rest[9..]).to_owned();
    let texts: Vec<String> = lines.iter().copied().map(without_scores).collect();
    assert_eq!(texts, readme.lines().map(without_scores).collect::<Vec<_>>());
    assert_near(&numbers(&lines.join("\n"), "[Score: "), &numbers(readme, "[Score: "));
    let agreement = |text: &str| numbers(text, "Mean Kendall's tau ");
    assert_near(&agreement(stdout(&output)), &agreement(README));
}

#[test]
fn requests() {
    if !default_kernels() {
        return;
    }
    let command = shown("echo '", "' | crossrank rerank");
    let output = run_with_input(&["rerank"], command.as_bytes());
    assert_code(&output, 0);
    let readme = shown("' | crossrank rerank\n```\n\n```text\n", "```");
    let mark = "\"relevance_score\":";
    assert_near(&numbers(stdout(&output), mark), &numbers(readme, mark));
    assert_eq!(stdout(&output).split(mark).next(), readme.split(mark).next());

    let request = command.replace(
        "{\"id\": \"p\", \"text\": \"Paris is the capital of France.\"}",
        "\"Paris is the capital of France.\"",
    );
    for (service, mark) in [("infinity", mark), ("tei", "\"score\":"), ("cohere", mark), ("jina", mark)] {
        let request = match service {
            "tei" => request.replace("documents", "texts"),
            "cohere" => request.replacen('{', "{\"model\": \"rerank-v3.5\", ", 1),
            _ => request.clone(),
        };
        let output = run_with_input(&["rerank", "--format", service], request.as_bytes());
        assert_code(&output, 0);
        let row = numbers(shown(&format!("| `{service}`"), "\n"), mark);
        assert_near(&numbers(stdout(&output), mark)[..row.len()], &row);
    }
}

#[test]
fn the_experiment() {
    if !default_kernels() {
        return;
    }
    let file = |name: &str| format!("{}/examples/experiment/{name}", env!("CARGO_MANIFEST_DIR"));
    let [corpus, queries, first_stage, qrels] = ["corpus.jsonl", "queries.jsonl", "bm25.trec", "qrels.trec"].map(file);
    let files = ["--corpus", &corpus, "--queries", &queries, "--run", &first_stage, "--qrels", &qrels];
    let output = run(&[&["compare"], &files[..]].concat());
    assert_code(&output, 0);
    let readme = shown("\nnDCG@10\n\n", "```");
    let table: Vec<&str> = stdout(&output).lines().skip_while(|line| *line != "nDCG@10").skip(2).take(6).collect();
    assert_eq!(table, readme.lines().collect::<Vec<_>>());
}

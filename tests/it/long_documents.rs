//! Documents that are longer than the model: windows, and what is said of what was left out.

use crate::fixtures;
use assert_cmd::Command;
use crossrank::{Combine, LongDocuments, ModelSource, RankOptions, Reranker, WindowOptions};
use serde_json::Value;

/// 20,000 words that say nothing of what is asked, and an answer after them.
fn long_with_answer() -> String {
    let filler = "The bakers of the village baked bread and sold it cheaply. ".repeat(2_000);
    format!("{filler}Paris is the capital of France.")
}

fn windows(options: WindowOptions) -> Reranker {
    Reranker::builder().long_documents(LongDocuments::Windows(options)).build().unwrap()
}

#[test]
fn an_answer_at_the_end_is_found_with_windows_and_reported_as_cut_without() {
    let long = long_with_answer();
    assert!(long.split_whitespace().count() >= 20_000);
    let documents = [long.as_str(), "Berlin is a large city in Germany."];
    let query = "What is the capital of France?";

    let cut = Reranker::bundled().unwrap().rerank(query, &documents).unwrap();
    assert_eq!((cut.truncated().len(), cut.truncated()[0].index), (1, 0));
    let unanswered = cut.iter().find(|result| result.index == 0).unwrap().score;
    assert!(cut.truncated()[0].dropped_tokens > 10_000);
    assert!(cut.iter().all(|result| result.window.is_none()));

    let found = windows(WindowOptions::new()).rerank(query, &documents).unwrap();
    let best = &found.results()[0];
    let window = best.window.unwrap();
    assert_eq!((best.index, window.number, window.end), (0, window.of, long.len()));
    assert!(window.of > 50 && long[window.start..window.end].contains("Paris is the capital"));
    // Scores are calibrated for candidates of which few are relevant: what counts is how far apart they are.
    assert!(best.score > 5.0 * unanswered, "{} and {unanswered}", best.score);
    assert!(found.truncated().is_empty(), "{:?}", found.truncated());
    assert!(found.results()[1].window.is_none(), "a short document is read as it is");
}

#[test]
fn a_windowed_score_is_that_of_its_window() {
    let long = long_with_answer();
    let part = &long[..9_000];
    let query = "Who baked bread?";
    let alone = Reranker::bundled().unwrap();
    let max = windows(WindowOptions::new()).score(query, &[part]).unwrap();
    let max = *max.scores[0].as_ref().unwrap();
    let window = max.window.unwrap();
    let of_window = alone.score(query, &[&part[window.start..window.end]]).unwrap();
    assert_eq!(of_window.scores[0].as_ref().unwrap().logit.to_bits(), max.logit.to_bits());

    let first = windows(WindowOptions::new().combine(Combine::First)).score(query, &[part]).unwrap();
    let score = *first.scores[0].as_ref().unwrap();
    assert_eq!(score.window.map(|window| (window.number, window.of, window.start)), Some((1, 1, 0)));
    assert!(first.truncated[0].dropped_tokens > 100, "the windows after it are left out, and reported");

    let mean = windows(WindowOptions::new().combine(Combine::Mean)).score(query, &[part]).unwrap();
    let mean = *mean.scores[0].as_ref().unwrap();
    assert!(mean.logit <= max.logit && mean.window == max.window);
}

#[test]
fn windows_without_number_are_bounded_on_request() {
    let long = long_with_answer();
    let reranker = windows(WindowOptions::new().most(3));
    let scores = reranker.score("capital", &[long.as_str()]).unwrap();
    assert_eq!(scores.scores[0].as_ref().unwrap().window.unwrap().of, 3);
    assert!(scores.truncated[0].dropped_tokens > 10_000);
}

#[test]
fn every_kind_of_reranker_reads_windows() {
    let long: String = (0..400).map(|n| format!("Passage {n} of the old library answers nothing. ")).collect();
    for name in ["bert-cross-encoder", "xlmr-cross-encoder", "qwen3-reranker", "mxbai-rerank-v2", "monot5", "colbert"] {
        let source = ModelSource::dir(fixtures::path(name));
        let how = LongDocuments::Windows(WindowOptions::new().overlap(8));
        let reranker = Reranker::builder().model(source).long_documents(how).build().unwrap();
        let scores = reranker.score("where is the library?", &[long.as_str(), "short"]).unwrap();
        let window = scores.scores[0].as_ref().unwrap().window.unwrap_or_else(|| panic!("{name}"));
        assert!(window.of > 10, "{name}: {window:?}");
        assert!(scores.truncated.is_empty(), "{name}: {:?}", scores.truncated);
        assert_eq!(reranker.info().long_documents, how);
    }
}

#[test]
fn a_query_that_leaves_no_room_for_windows_cuts_the_document() {
    let query = "where is the old library? ".repeat(12);
    let long = "the river and the bridge. ".repeat(40);
    let source = ModelSource::dir(fixtures::path("bert-cross-encoder"));
    let how = LongDocuments::Windows(WindowOptions::new());
    let reranker = Reranker::builder().model(source).long_documents(how).build().unwrap();
    let ranking = reranker.rerank_with(&query, &[&long], &RankOptions::new()).unwrap();
    assert_eq!(ranking.results()[0].window, None);
    assert_eq!(ranking.truncated().len(), 1);
}

#[test]
fn the_command_line_shows_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("documents.txt");
    std::fs::write(&file, format!("{}\nBerlin is a city.\n", &long_with_answer()[100_000..])).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("crossrank").unwrap();
        command.args(["rerank", "--query", "What is the capital of France?"]).args(arguments).arg(&file);
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{err}");
        (out, err)
    };
    let (out, err) = run(&["--long", "windows"]);
    let first = out.lines().next().unwrap();
    assert!(first.contains("[Window: ") && first.ends_with("Paris is the capital of France."), "{out}");
    assert!(!err.contains("cut"), "{err}");
    let (json, _) = run(&["--long", "windows", "--combine", "max", "--overlap", "32", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let window = &json["results"][0]["window"];
    assert_eq!(window["number"], window["of"]);
    assert!(json["results"][1]["window"].is_null());
    let (_, err) = run(&[]);
    assert!(err.contains("1 document was cut to fit the 512 tokens"), "{err}");
    let refused = Command::cargo_bin("crossrank")
        .unwrap()
        .args(["rerank", "--query", "x", "--combine", "mean"])
        .arg(&file)
        .output();
    assert_eq!(refused.unwrap().status.code(), Some(2), "an option that would mean nothing");
    let (_, err) = run(&["--max-length", "64"]);
    assert!(err.contains("1 document was cut to fit the 64 tokens"), "{err}");
}

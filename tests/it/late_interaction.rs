//! Late interaction (ColBERT) as a reranker, against the numbers of sentence-transformers' `MultiVectorEncoder`.

use crate::fixtures::{self, Copy, expected};
use crossrank::{ComputeType, ModelSource, Reranker};
use serde_json::json;

const MODELS: [&str; 3] = ["colbert", "colbert-pylate", "colbert-stanford"];

fn check_all(compute: ComputeType) {
    for name in MODELS {
        let source = ModelSource::dir(fixtures::path(name));
        let reranker = Reranker::builder().model(source).compute_type(compute).build().unwrap();
        let expected = expected(name);
        let cases = expected["late"].as_array().unwrap();
        assert!(cases.len() >= 12, "{name}");
        let mut worst = 0f32;
        for case in cases {
            let text = |key: &str| case[key].as_str().unwrap();
            let scores = reranker.score(text("query"), &[text("document")]).unwrap();
            let (ours, score) = (scores.scores[0].as_ref().unwrap(), case["score"].as_f64().unwrap() as f32);
            assert_eq!(ours.logit, ours.score, "{name}: no activation");
            assert!((ours.score - score).abs() <= 1e-4, "{name}, {compute}: {} and {score}: {case}", ours.score);
            worst = worst.max((ours.score - score).abs());
        }
        println!("{name}, {compute}: scores by {worst:.1e}");
    }
}

#[test]
fn equals_the_reference_on_onnx_runtime() {
    check_all(ComputeType::OnnxRuntime);
}

#[test]
fn equals_the_reference_in_float32() {
    check_all(ComputeType::Float32);
}

#[test]
fn a_score_does_not_depend_on_company() {
    let reranker = Reranker::from_dir(fixtures::path("colbert-pylate")).unwrap();
    let documents = ["the old library", "a bowl of soup", "", "the bridge; the river!", "the old library"];
    let together = reranker.score("where is the library?", &documents).unwrap();
    for (document, score) in documents.iter().zip(&together.scores) {
        let alone = reranker.score("where is the library?", &[document]).unwrap();
        let bits = |score: &crossrank::PairScore| score.score.to_bits();
        assert_eq!(bits(alone.scores[0].as_ref().unwrap()), bits(score.as_ref().unwrap()), "{document}");
    }
    assert_eq!(reranker.info().head.as_deref(), Some("late interaction (MaxSim)"));
}

#[test]
fn cut_queries_and_documents_are_reported() {
    let reranker = Reranker::from_dir(fixtures::path("colbert-pylate")).unwrap();
    let long = "the old library by the river ".repeat(20);
    let scores = reranker.score("short", &[long.as_str(), "short"]).unwrap();
    assert_eq!(scores.truncated.len(), 1);
    assert!(scores.truncated[0].dropped_tokens > 0 && scores.truncated[0].dropped_query_tokens == 0);
    let scores = reranker.score(&long, &["short"]).unwrap();
    assert!(scores.truncated[0].dropped_query_tokens > 0, "{:?}", scores.truncated);
    let scores = reranker.score(&long.repeat(3000), &["short"]).unwrap();
    assert!(scores.truncated[0].at_least, "a query that was not tokenised to its end");
    assert_eq!(reranker.info().max_length, 40);
}

#[test]
fn settings_that_cannot_be_obeyed_are_refused() {
    let mask = Copy::of("colbert").set("2_MultiVectorMask/config.json", "keep_only_token_ids", json!([1, 2]));
    let error = Reranker::from_dir(mask.path()).unwrap_err();
    assert!(error.to_string().contains("MultiVectorMask"), "{error}");
    let expansion = json!({"strategy": "double", "length": 3});
    let expansion = Copy::of("colbert").set("sentence_bert_config.json", "query_expansion", expansion);
    let error = Reranker::from_dir(expansion.path()).unwrap_err();
    assert!(error.to_string().contains("`double`"), "{error}");
    let unprojected = std::fs::read(fixtures::path("colbert").join("model.onnx")).unwrap();
    let hidden = Copy::of("colbert-stanford").write("model.onnx", unprojected);
    let error = Reranker::from_dir(hidden.path()).unwrap_err();
    assert!(error.chain().contains("projection is missing"), "{}", error.chain());
    let width = Copy::of("colbert-stanford").set("artifact.metadata", "dim", json!(128));
    let error = Reranker::from_dir(width.path()).unwrap_err();
    assert!(error.chain().contains("have 128 dimensions"), "{}", error.chain());
    let short = Copy::of("colbert-stanford").set("artifact.metadata", "doc_maxlen", json!(2));
    let error = Reranker::from_dir(short.path()).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
}

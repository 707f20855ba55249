//! Language models that rerank, against the numbers that `transformers` and `sentence-transformers` computed for them.

use crate::fixtures::{self, Copy, expected, floats};
use crossrank::{
    ComputeType, ErrorKind, ModelSource, PairTemplate, Reranker, RerankerBuilder, Truncation, TruncationSide,
    TruncationStrategy,
};
use serde_json::Value;

/// What 1e-4 is asked for: a logit, and its sigmoid.
const TOLERANCE: f32 = 1e-4;

const MODELS: [&str; 7] = [
    "qwen3-reranker",
    "qwen3-reranker-cache",
    "mxbai-rerank-v2",
    "bge-reranker-v2-gemma",
    "monot5",
    "monot5-two-graphs",
    "logit-score",
];

fn builder(name: &str) -> RerankerBuilder {
    Reranker::builder().model(ModelSource::dir(fixtures::path(name)))
}

/// Scores the cases with the reranker; returns the largest differences of logits and scores.
fn check(reranker: &Reranker, cases: &[Value], what: &str) -> (f32, f32) {
    assert!(!cases.is_empty(), "{what}");
    let mut worst = (0f32, 0f32);
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let scores = reranker.score(text("query"), &[text("document")]).unwrap();
        let ours = scores.scores[0].as_ref().unwrap();
        let (logit, score) = (floats(&case["logits"])[0], case["score"].as_f64().unwrap() as f32);
        assert!((ours.logit - logit).abs() <= TOLERANCE, "{what}: {} and {logit}: {case}", ours.logit);
        assert!((ours.score - score).abs() <= TOLERANCE, "{what}: {} and {score}: {case}", ours.score);
        worst = (worst.0.max((ours.logit - logit).abs()), worst.1.max((ours.score - score).abs()));
    }
    worst
}

fn cases(expected: &Value, key: &str) -> Vec<Value> {
    expected[key].as_array().cloned().unwrap_or_default()
}

fn check_all(compute: ComputeType) {
    for name in MODELS {
        let expected = expected(name);
        let builder = || builder(name).compute_type(compute);
        let (logit, score) = check(&builder().build().unwrap(), &cases(&expected, "pairs"), name);
        println!("{name}, {compute}: logits by {logit:.1e}, scores by {score:.1e}");
        for case in cases(&expected, "truncation") {
            let limit = case["max_length"].as_u64().unwrap() as usize;
            check(&builder().max_length(limit).build().unwrap(), &[case], name);
        }
        for case in cases(&expected, "instructions") {
            let instruction = case["instruction"].as_str().unwrap().to_owned();
            check(&builder().instruction(instruction).build().unwrap(), &[case], name);
        }
    }
}

#[test]
fn equal_the_reference_on_onnx_runtime() {
    check_all(ComputeType::OnnxRuntime);
}

#[test]
fn equal_the_reference_in_float32() {
    check_all(ComputeType::Float32);
}

#[test]
fn say_how_they_are_asked() {
    let info = |name: &str| builder(name).build().unwrap().info().clone();
    let qwen = info("qwen3-reranker");
    assert_eq!(qwen.template.as_deref(), Some("qwen3-reranker (by its architecture)"));
    assert!(qwen.head.unwrap().starts_with("next token"), "the head");
    assert_eq!(info("logit-score").template.as_deref(), Some("chat_template.jinja"));
    assert_eq!(info("bert-cross-encoder").template, None);
}

#[test]
fn a_cut_document_is_reported_and_the_end_of_the_template_stays() {
    let expected = expected("qwen3-reranker");
    let case = &expected["truncation"][0];
    let limit = case["max_length"].as_u64().unwrap() as usize;
    let reranker = builder("qwen3-reranker").max_length(limit).build().unwrap();
    let scores = reranker.score(case["query"].as_str().unwrap(), &[case["document"].as_str().unwrap()]).unwrap();
    assert_eq!(scores.truncated.len(), 1);
    assert!(scores.truncated[0].dropped_tokens > 0 && scores.truncated[0].dropped_query_tokens == 0);
}

/// The declared side is obeyed where a model is asked in words, for the document alone.
#[test]
fn a_document_loses_its_beginning_where_the_tokenizer_declares_it() {
    let left = Copy::of("qwen3-reranker").set("tokenizer_config.json", "truncation_side", serde_json::json!("left"));
    let long = format!("{} the library is by the river", "a bridge. ".repeat(2000));
    let logit = |reranker: Reranker| {
        let scores = reranker.score("where is the library?", &[long.as_str()]).unwrap();
        assert!(scores.truncated[0].dropped_tokens > 1000 && scores.truncated[0].dropped_query_tokens == 0);
        scores.scores[0].as_ref().unwrap().logit
    };
    let declared = logit(Reranker::from_dir(left.path()).unwrap());
    let truncation = Truncation::default().with_side(TruncationSide::Left);
    assert_eq!(declared, logit(builder("qwen3-reranker").truncation(truncation).build().unwrap()));
    assert_ne!(declared, logit(builder("qwen3-reranker").build().unwrap()));
    let longest_first = truncation.with_strategy(TruncationStrategy::LongestFirst);
    let error = builder("qwen3-reranker").truncation(longest_first).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Options && error.to_string().contains("nothing but the document"), "{error}");
}

#[test]
fn a_query_of_megabytes_is_cut() {
    let query = "the old library by the river ".repeat(80_000);
    for name in ["qwen3-reranker", "monot5", "mxbai-rerank-v2"] {
        let scores = builder(name).build().unwrap().score(&query, &["a bridge", "here"]).unwrap();
        assert!(scores.scores.iter().all(Result::is_ok), "{name}");
        assert!(scores.truncated[1].at_least && scores.truncated[1].dropped_query_tokens > 1000, "{name}");
    }
}

#[test]
fn a_document_of_megabytes_is_cut() {
    let reranker = builder("qwen3-reranker").build().unwrap();
    let long = "the old library by the river ".repeat(80_000);
    let scores = reranker.score("where is it?", &[long.as_str(), "here"]).unwrap();
    assert!(scores.scores.iter().all(Result::is_ok));
    assert!(scores.truncated[0].at_least && scores.truncated[0].dropped_tokens > 1000);
}

#[test]
fn a_template_can_be_chosen_and_one_without_a_place_for_it_takes_no_instruction() {
    let chosen = builder("logit-score").template(PairTemplate::Qwen3Reranker).build().unwrap();
    assert_eq!(chosen.info().template.as_deref(), Some("qwen3-reranker (set by the caller)"));
    for name in ["monot5", "bert-cross-encoder"] {
        let error = builder(name).instruction("find it").build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Options);
        assert!(error.to_string().contains("instruction"), "{error}");
    }
}

#[test]
fn a_language_model_that_nobody_knows_how_to_ask_is_refused() {
    let unknown =
        Copy::of("qwen3-reranker").set("config.json", "architectures", serde_json::json!(["LlamaForCausalLM"]));
    let error = Reranker::from_dir(unknown.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Model);
    assert!(error.to_string().contains("roles `query` and `document`"), "{error}");
    let silent = Copy::of("logit-score")
        .set("config.json", "architectures", serde_json::json!(["LlamaForCausalLM"]))
        .write("chat_template.jinja", "{{ messages[0].content }}");
    let error = Reranker::from_dir(silent.path()).unwrap_err();
    assert!(error.to_string().contains("chat_template.jinja cannot be used"), "{error}");
}

/// A chat template that writes any role through is not one for pairs; one that is declared is never passed over.
#[test]
fn chat_templates_that_are_not_for_pairs() {
    let chat = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    let chatty = Copy::of("qwen3-reranker").write("chat_template.jinja", chat);
    let reranker = Reranker::from_dir(chatty.path()).unwrap();
    assert_eq!(reranker.info().template.as_deref(), Some("qwen3-reranker (by its architecture)"));
    let broken = Copy::of("logit-score").write("chat_template.jinja", "{% for %} query document");
    let error = Reranker::from_dir(broken.path()).unwrap_err();
    assert!(error.to_string().contains("chat_template.jinja cannot be used"), "{error}");
}

#[test]
fn a_vocabulary_without_the_answers_is_refused() {
    let folder = Copy::of("bge-reranker-v2-gemma");
    let text = std::fs::read_to_string(folder.path().join("tokenizer.json")).unwrap().replace("\"Yes\"", "\"Yet\"");
    let text = text.replace("[\n        \"Ye\",\n        \"s\"\n      ]", "[\n        \"Ye\",\n        \"t\"\n      ]");
    let error = Reranker::from_dir(folder.write("tokenizer.json", text).path()).unwrap_err();
    assert!(error.to_string().contains("Yes"), "{error}");
}

//! A pair's score belongs to the pair: the same bits alone, in any company, in any order, with any number of workers.

use crossrank::{ComputeType, Embedder, ModelSource, Reranker};

use crate::fixtures::{self, Copy};

const QUERY: &str = "where is the old library?";

/// Documents of very different lengths, with duplicates.
fn documents() -> Vec<String> {
    let words = ["river", "bridge", "the", "library", "answers", "Zürich", "long", "questions", "漢字", "!"];
    let mut documents: Vec<String> = (0..60)
        .map(|i| (0..(i * 7) % 53).map(|j| words[(i * j + j) % words.len()]).collect::<Vec<_>>().join(" "))
        .collect();
    // Many of one length, which would run together.
    documents.extend((0..40).map(|i| format!("{} {}", words[i % 10], words[(i / 10 + 3 * i) % 10])));
    documents.push(documents[17].clone());
    documents.push("one very long document ".repeat(400));
    documents
}

fn reranker(model: &ModelSource, compute: ComputeType, threads: usize) -> Reranker {
    Reranker::builder().model(model.clone()).compute_type(compute).threads(threads).build().unwrap()
}

fn bits(reranker: &Reranker, documents: &[String]) -> Vec<u32> {
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let scores = reranker.score(QUERY, &documents).unwrap();
    scores.scores.into_iter().map(|score| score.unwrap().logit.to_bits()).collect()
}

fn check(model: &ModelSource, compute: ComputeType) {
    let documents = documents();
    let one = reranker(model, compute, 1);
    let alone: Vec<u32> = documents.iter().map(|document| bits(&one, std::slice::from_ref(document))[0]).collect();
    assert!(alone.iter().collect::<std::collections::HashSet<_>>().len() > 30, "scores that differ");
    for threads in [1, 4] {
        let reranker = reranker(model, compute, threads);
        assert_eq!(bits(&reranker, &documents), alone, "in company, {threads} workers");
        let reversed: Vec<String> = documents.iter().rev().cloned().collect();
        let mut of_reversed = bits(&reranker, &reversed);
        of_reversed.reverse();
        assert_eq!(of_reversed, alone, "in reversed order, {threads} workers");
        let some: Vec<String> = documents.iter().step_by(3).cloned().collect();
        let of_some: Vec<u32> = alone.iter().step_by(3).copied().collect();
        assert_eq!(bits(&reranker, &some), of_some, "in other company, {threads} workers");
    }
    // Many callers at the same time, on the pool of the process.
    let shared = Reranker::builder().model(model.clone()).compute_type(compute).build().unwrap();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| bits(&shared, &documents))).collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), alone, "many callers");
        }
    });
}

#[test]
fn small_model() {
    for &compute in ComputeType::ALL {
        check(&ModelSource::dir(fixtures::path("bert-cross-encoder")), compute);
    }
}

/// Other families have operators that BERT has not, and parts that only ONNX Runtime computes.
#[test]
fn other_families() {
    for name in [
        "distilbert-cross-encoder",
        "albert-cross-encoder",
        "mpnet-cross-encoder",
        "deberta-v2-cross-encoder",
        "deberta-v3-cross-encoder",
        "modernbert-cross-encoder",
        "qwen3-cross-encoder",
        "monot5-two-graphs",
    ] {
        for compute in [ComputeType::Float32, ComputeType::Int8, ComputeType::W8A8] {
            check(&ModelSource::dir(fixtures::path(name)), compute);
        }
    }
}

/// A graph that scales by the whole batch, as dynamically quantised models do: its batches are found out and given up.
#[test]
fn a_model_whose_batches_change_its_scores() {
    let fixture = Copy::of("bert-cross-encoder").with_graph("company.onnx");
    check(&ModelSource::dir(fixture.path()), ComputeType::OnnxRuntime);
}

#[test]
fn bundled_model() {
    for compute in [ComputeType::Int16, ComputeType::Int8, ComputeType::W8A8] {
        check(&ModelSource::bundled(), compute);
    }
}

#[test]
fn embeddings() {
    let documents = documents();
    let bits = |embedder: &Embedder, texts: &[String]| -> Vec<u32> {
        embedder.embed(texts).unwrap().as_slice().iter().map(|value| value.to_bits()).collect()
    };
    let folder = |name| ModelSource::dir(fixtures::path(name));
    for model in [ModelSource::bundled(), folder("nomic-embedder"), folder("qwen3-embedder"), folder("embeddinggemma")]
    {
        let embedder = |threads| Embedder::builder().model(model.clone()).threads(threads).build().unwrap();
        let one = embedder(1);
        let alone: Vec<u32> = documents.iter().flat_map(|text| bits(&one, std::slice::from_ref(text))).collect();
        assert_eq!(bits(&embedder(1), &documents), alone);
        assert_eq!(bits(&embedder(4), &documents), alone);
    }
}

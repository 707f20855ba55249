//! Equal numbers: every fixture against what `transformers` and `sentence-transformers` gave for it.
//!
//! (That the token ids are equal is tested inside the library, in `src/text`.)

use crossrank::{ComputeType, Embedder, Embeddings, ModelSource, Pooling, PoolingMode, Reranker};

use crate::fixtures::{self, expected, floats};

/// fp32 logits and final scores equal the reference's within this.
const LOGIT: f32 = 1e-4;
const EMBEDDING: f32 = 1e-5;

/// Every cross-encoder, and the label whose score is the relevance.
const CROSS_ENCODERS: [(&str, usize); 18] = [
    ("bert-cross-encoder", 0),
    ("bert-cross-encoder-no-types", 0),
    ("bert-two-labels", 1),
    ("bert-nli", 1),
    ("xlmr-cross-encoder", 0),
    ("roberta-cross-encoder", 0),
    ("distilbert-cross-encoder", 1),
    ("electra-cross-encoder", 0),
    ("albert-cross-encoder", 1),
    ("mpnet-cross-encoder", 0),
    ("camembert-cross-encoder", 0),
    ("deberta-v2-cross-encoder", 0),
    ("deberta-v3-cross-encoder", 0),
    ("deberta-v3-nli", 1),
    ("modernbert-cross-encoder", 0),
    ("modernbert-two-labels", 1),
    ("qwen3-cross-encoder", 0),
    ("ettin-cross-encoder", 0),
];

fn check_cross_encoders(compute: ComputeType, tolerance: f32) {
    for (name, label) in CROSS_ENCODERS {
        let (logit, score) = check_cross_encoder(name, label, compute, tolerance);
        println!("{name}, {compute}: logits differ by {logit:.1e}, scores by {score:.1e}");
    }
}

/// Compares every pair of a fixture, and returns by how much logits and scores differ at most.
fn check_cross_encoder(name: &str, label: usize, compute: ComputeType, tolerance: f32) -> (f32, f32) {
    let source = ModelSource::dir(fixtures::path(name));
    let reranker = Reranker::builder().model(source).compute_type(compute).build().unwrap();
    // Where there are no kernels for the processor, fp32 is ONNX Runtime's.
    let info = reranker.info();
    assert!(info.compute == compute || (compute == ComputeType::Float32 && info.kernels == "ONNX Runtime"), "{name}");
    let expected = expected(name);
    let pairs = expected["pairs"].as_array().unwrap();
    assert!(pairs.len() >= 12);
    let (mut worst_logit, mut worst_score) = (0f32, 0f32);
    for pair in pairs {
        let (query, document) = (pair["query"].as_str().unwrap(), pair["document"].as_str().unwrap());
        let scores = reranker.score(query, &[document]).unwrap();
        let ours = *scores.scores[0].as_ref().unwrap();
        let (logit, score) = (floats(&pair["logits"])[label], pair["score"].as_f64().unwrap() as f32);
        assert!(
            (ours.logit - logit).abs() <= tolerance * scale(compute, logit),
            "{name}, {compute}: {} and {logit}: {pair}",
            ours.logit
        );
        assert!((ours.score - score).abs() <= tolerance, "{name}, {compute}: {} and {score}: {pair}", ours.score);
        worst_logit = worst_logit.max((ours.logit - logit).abs());
        worst_score = worst_score.max((ours.score - score).abs());
    }
    (worst_logit, worst_score)
}

/// What integers are off by grows with the value.
fn scale(compute: ComputeType, logit: f32) -> f32 {
    match compute {
        ComputeType::Int16 | ComputeType::Int8 | ComputeType::W8A8 => logit.abs().max(1.0),
        _ => 1.0,
    }
}

#[test]
fn cross_encoders_on_onnx_runtime() {
    check_cross_encoders(ComputeType::OnnxRuntime, LOGIT);
}

#[test]
fn cross_encoders_in_float32() {
    check_cross_encoders(ComputeType::Float32, LOGIT);
}

/// What integers may be off by: these models have random weights and few dimensions.
#[test]
fn cross_encoders_in_integers() {
    check_cross_encoders(ComputeType::Int16, 5e-3);
    check_cross_encoders(ComputeType::Int8, 2e-1);
    check_cross_encoders(ComputeType::W8A8, 3e-1);
}

fn check_embedder(embedder: &Embedder, fixture: &str, variant: &str) {
    let expected = expected(fixture);
    let texts = expected["texts"].as_array().unwrap();
    let inputs: Vec<&str> = texts.iter().map(|case| case["text"].as_str().unwrap()).collect();
    let embeddings = embedder.embed(&inputs).unwrap();
    assert_eq!(embeddings.len(), texts.len());
    for (ours, case) in embeddings.iter().zip(texts) {
        let reference = floats(&case["embeddings"][variant]);
        // The sum of many token vectors is large: its last digits are relative to its size.
        difference(ours, &reference, &format!("{fixture}, {variant}: {}", case["text"]));
    }
}

/// Embedding models of other families, and the ways in which they make vectors.
const EMBEDDERS: [(&str, usize); 10] = [
    ("mpnet-embedder", 32),
    ("e5-embedder", 32),
    ("bge-embedder", 32),
    ("arctic-embedder", 20),
    ("gte-embedder", 32),
    ("modernbert-embedder", 32),
    ("nomic-embedder", 32),
    ("labse-embedder", 24),
    ("qwen3-embedder", 32),
    ("embeddinggemma", 32),
];

/// Texts, queries and documents, each with the prompt that the folder declares for them, against `SentenceTransformer`.
fn check_embedders(compute: ComputeType) {
    for (name, dimensions) in EMBEDDERS {
        let source = ModelSource::dir(fixtures::path(name));
        let embedder = Embedder::builder().model(source).compute_type(compute).build().unwrap();
        assert_eq!(embedder.info().dimensions, Some(dimensions), "{name}");
        let expected = expected(name);
        let mut worst = 0f32;
        for (kind, embed) in [
            ("texts", (|e, t| e.embed(t)) as fn(&Embedder, &[&str]) -> crossrank::Result<Embeddings>),
            ("queries", |e, t| e.embed_queries(t)),
            ("documents", |e, t| e.embed_documents(t)),
        ] {
            let cases = expected[kind].as_array().unwrap();
            assert!(cases.len() >= 12);
            let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
            for (ours, case) in embed(&embedder, &texts).unwrap().iter().zip(cases) {
                worst = worst.max(difference(ours, &floats(&case["embedding"]), &format!("{name}, {kind}: {case}")));
            }
        }
        println!("{name}, {compute}: embeddings differ by {worst:.1e}");
    }
}

/// By how much two vectors differ: of the larger of 1 and the value.
fn difference(ours: &[f32], reference: &[f32], what: &str) -> f32 {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let of = |(a, b): (&f32, &f32)| (a - b).abs() / b.abs().max(1.0);
    let worst = ours.iter().zip(reference).map(of).fold(0.0, f32::max);
    assert!(worst <= EMBEDDING, "{what}: {worst}");
    worst
}

#[test]
fn embedders_on_onnx_runtime() {
    check_embedders(ComputeType::OnnxRuntime);
}

#[test]
fn embedders_in_float32() {
    check_embedders(ComputeType::Float32);
}

#[test]
fn embeddings_by_what_the_folder_declares() {
    let embedder = Embedder::from_dir(fixtures::path("bert-embedder")).unwrap();
    assert_eq!(embedder.info().pooling.as_deref(), Some("mean (1_Pooling/config.json)"));
    assert!(embedder.info().normalized);
    check_embedder(&embedder, "bert-embedder", "mean+normalize");
}

#[test]
fn embeddings_that_the_graph_pools() {
    let embedder = Embedder::from_dir(fixtures::path("bert-embedder-pooled")).unwrap();
    assert_eq!(embedder.info().pooling.as_deref(), Some("inside the graph"));
    check_embedder(&embedder, "bert-embedder-pooled", "mean+normalize");
}

#[test]
fn every_pooling_with_and_without_normalisation() {
    let first = &expected("bert-embedder")["texts"][0]["embeddings"];
    let variants: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert!(variants.len() >= 12, "{variants:?}");
    for variant in variants {
        let (names, normalize) = match variant.strip_suffix("+normalize") {
            Some(names) => (names, true),
            None => (variant.as_str(), false),
        };
        let modes = names.split('+').map(|name| match name {
            "mean" => PoolingMode::Mean,
            "cls" => PoolingMode::Cls,
            "max" => PoolingMode::Max,
            "lasttoken" => PoolingMode::LastToken,
            "mean_sqrt_len" => PoolingMode::MeanSqrtLen,
            "weightedmean" => PoolingMode::WeightedMean,
            other => panic!("unknown pooling {other}"),
        });
        let embedder = Embedder::builder()
            .model(crossrank::ModelSource::dir(fixtures::path("bert-embedder")))
            .pooling(Pooling::joined(modes).unwrap())
            .normalize(normalize)
            .build()
            .unwrap();
        check_embedder(&embedder, "bert-embedder", variant);
    }
}

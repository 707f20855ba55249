//! The bundled models against stored numbers: those of the shipped files in ONNX Runtime's own Python package, and
//! those of the originals in torch, from which the shipped precision may differ a little.

use crossrank::{Activation, ComputeType, Embedder, ModelSource, Reranker, cosine_similarity};

use crate::fixtures::{expected, floats};

/// Compute types, and by how much a logit may differ from the stored one at most: in fp32, other kernels differ in the last
/// digits alone; of the integers, onnx/README.md says what was measured.
const LOGITS: [(ComputeType, f32); 5] = [
    (ComputeType::OnnxRuntime, 1e-4),
    (ComputeType::Float32, 1e-4),
    (ComputeType::Int16, 0.02),
    (ComputeType::Int8, 0.25),
    (ComputeType::W8A8, 0.25),
];

#[test]
fn the_cross_encoder() {
    check_cross_encoder(&ModelSource::bundled(), "cross_encoder");
}

#[test]
fn the_small_cross_encoder() {
    check_cross_encoder(&ModelSource::bundled_small(), "small_cross_encoder");
    let error = Embedder::builder().model(ModelSource::bundled_small()).build().unwrap_err().to_string();
    assert!(error.contains("bundled:small is a cross-encoder"), "{error}");
    let error = ModelSource::parse("bundled:tiny").unwrap_err().to_string();
    assert!(error.contains("bundled:tiny") && error.contains("`bundled:small`"), "{error}");
}

fn check_cross_encoder(source: &ModelSource, cases: &str) {
    let expected = expected("bundled");
    let cases = expected[cases].as_array().unwrap();
    assert!(cases.len() >= 12);
    for (compute, tolerance) in LOGITS {
        let reranker = Reranker::builder().model(source.clone()).compute_type(compute).build().unwrap();
        assert_eq!(reranker.info().activation, Some(Activation::Sigmoid));
        assert_eq!((reranker.info().max_length, reranker.info().precision.as_str()), (512, "int8-weights"));
        assert!(reranker.info().compute == compute || cfg!(not(target_arch = "x86_64")));
        for case in cases {
            let (query, document) = (case["query"].as_str().unwrap(), case["document"].as_str().unwrap());
            let ours = *reranker.score(query, &[document]).unwrap().scores[0].as_ref().unwrap();
            let number = |key: &str| case[key].as_f64().unwrap() as f32;
            let (shipped, reference) = (number("shipped_logit"), number("reference_logit"));
            let difference = (ours.logit - shipped).abs();
            assert!(difference < tolerance, "{compute}: {} and {shipped}: {query} | {document}", ours.logit);
            // The largest change of a score by 8-bit weights on a thousand pairs was 0.027 (onnx/README.md).
            let reference = 1.0 / (1.0 + (-reference).exp());
            let difference = (ours.score - reference).abs();
            assert!(difference < 0.04, "{compute}: {} and {reference}: {query} | {document}", ours.score);
        }
    }
}

#[test]
fn the_defaults_are_integers_where_there_are_kernels() {
    let fp32 = Reranker::builder().compute_type(ComputeType::Float32).build().unwrap().info().compute;
    let default = |integers| if fp32 == ComputeType::OnnxRuntime { fp32 } else { integers };
    for source in [ModelSource::bundled(), ModelSource::bundled_small()] {
        assert_eq!(Reranker::builder().model(source).build().unwrap().info().compute, default(ComputeType::W8A8));
    }
    assert_eq!(Embedder::bundled().unwrap().info().compute, default(ComputeType::Int16));
}

#[test]
fn the_bi_encoder() {
    let expected = expected("bundled");
    let cases = expected["bi_encoder"].as_array().unwrap();
    assert!(cases.len() >= 12);
    let computes = [
        (ComputeType::OnnxRuntime, 1e-5),
        (ComputeType::Float32, 1e-5),
        (ComputeType::Int16, 5e-4),
        (ComputeType::Int8, 3e-2),
        (ComputeType::W8A8, 3e-2),
    ];
    for (compute, tolerance) in computes {
        let embedder = Embedder::builder().compute_type(compute).build().unwrap();
        assert_eq!((embedder.info().max_length, embedder.info().dimensions), (256, Some(384)));
        for case in cases {
            let embeddings = embedder.embed(&[case["text"].as_str().unwrap()]).unwrap();
            let ours = embeddings.get(0).unwrap();
            for (a, b) in ours.iter().zip(floats(&case["shipped_embedding"])) {
                assert!((a - b).abs() < tolerance, "{compute}: {a} and {b}: {}", case["text"]);
            }
            let similarity = cosine_similarity(ours, &floats(&case["reference_embedding"]));
            assert!(similarity > 0.98, "{compute}: {similarity}: {}", case["text"]);
        }
    }
}

//! The bundled models against stored numbers: those of the shipped files in ONNX Runtime's own Python package, and
//! those of the originals in torch, from which the shipped precision may differ a little.

use crossrank::{Activation, Embedder, Reranker, cosine_similarity};

use crate::fixtures::{expected, floats};

#[test]
fn the_cross_encoder() {
    let reranker = Reranker::bundled().unwrap();
    assert_eq!(reranker.info().activation, Some(Activation::Sigmoid));
    assert_eq!((reranker.info().max_length, reranker.info().precision.as_str()), (512, "int8-weights"));
    let expected = expected("bundled");
    let cases = expected["cross_encoder"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let (query, document) = (case["query"].as_str().unwrap(), case["document"].as_str().unwrap());
        let ours = *reranker.score(query, &[document]).unwrap().scores[0].as_ref().unwrap();
        let number = |key: &str| case[key].as_f64().unwrap() as f32;
        let (shipped, reference) = (number("shipped_logit"), number("reference_logit"));
        // Arithmetic is in fp32: other kernels, on other processors, differ in the last digits alone.
        assert!((ours.logit - shipped).abs() < 1e-4, "{} and {shipped}: {query} | {document}", ours.logit);
        // The largest change of a score by 8-bit weights on a thousand pairs was 0.027 (onnx/README.md).
        let reference = 1.0 / (1.0 + (-reference).exp());
        assert!((ours.score - reference).abs() < 0.04, "{} and {reference}: {query} | {document}", ours.score);
    }
}

#[test]
fn the_bi_encoder() {
    let embedder = Embedder::bundled().unwrap();
    assert_eq!((embedder.info().max_length, embedder.info().dimensions), (256, Some(384)));
    let expected = expected("bundled");
    let cases = expected["bi_encoder"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let embeddings = embedder.embed(&[case["text"].as_str().unwrap()]).unwrap();
        let ours = embeddings.get(0).unwrap();
        for (a, b) in ours.iter().zip(floats(&case["shipped_embedding"])) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}: {}", case["text"]);
        }
        let similarity = cosine_similarity(ours, &floats(&case["reference_embedding"]));
        assert!(similarity > 0.99, "{similarity}: {}", case["text"]);
    }
}

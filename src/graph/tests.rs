//! The patterns are found in every fixture, whichever exporter wrote it. (That the numbers stay the same is tested with the
//! reference's numbers, in `tests/it/reference.rs`.)

use std::collections::HashMap;

use super::*;

fn counts(folder: &str, numbers: Numbers) -> HashMap<String, usize> {
    let path = format!("{}/{folder}/model.onnx", env!("CARGO_MANIFEST_DIR"));
    let rewritten = rewrite(std::fs::read(path).unwrap().into(), Isa::Portable, numbers).unwrap();
    let graph = onnx::read(rewritten.model.into()).unwrap().graph.unwrap();
    let mut counts = HashMap::new();
    for node in &graph.node {
        let first = if node.attribute(FIRST_TOKEN).is_some() { " first" } else { "" };
        *counts.entry(format!("{}{first}", node.op_type)).or_insert(0) += 1;
    }
    counts
}

fn layers(folder: &str) -> usize {
    let path = format!("{}/{folder}/config.json", env!("CARGO_MANIFEST_DIR"));
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    config["num_hidden_layers"].as_u64().unwrap() as usize
}

#[test]
fn cross_encoders() {
    for name in [
        "tests/fixtures/bert-cross-encoder",
        "tests/fixtures/bert-cross-encoder-no-types",
        "tests/fixtures/bert-nli",
        "tests/fixtures/bert-two-labels",
        "tests/fixtures/roberta-cross-encoder",
        "tests/fixtures/xlmr-cross-encoder",
        "onnx/cross-encoder",
    ] {
        let (counts, layers) = (counts(name, Numbers::Float32), layers(name));
        let of = |operator: &str| counts.get(operator).copied().unwrap_or(0);
        assert_eq!(of(ATTENTION), layers, "{name}: {counts:?}");
        assert_eq!(of(NORM), 2 * layers + 1, "{name}: {counts:?}");
        // Query, key, value and output of attention, two of the feed-forward part; in the last layer, key and value alone.
        assert!(of(LINEAR) == 6 * layers - 4 && of("Linear first") == 4, "{name}: {counts:?}");
        let left = ["Softmax", "Erf", "Sqrt", "Pow", "Transpose", "LayerNormalization"];
        assert!(left.iter().all(|operator| of(operator) == 0), "{name}: {counts:?}");
    }
}

#[test]
fn embedders() {
    for name in ["tests/fixtures/bert-embedder", "onnx/bi-encoder"] {
        let (counts, layers) = (counts(name, Numbers::Int8), layers(name));
        let of = |operator: &str| counts.get(operator).copied().unwrap_or(0);
        assert!(of(ATTENTION) == layers && of(NORM) == 2 * layers + 1, "{name}: {counts:?}");
        assert!(of(LINEAR) == 6 * layers && of("Linear first") == 0, "{name}: {counts:?}");
    }
}

/// What is not understood is left to ONNX Runtime.
#[test]
fn other_graphs_stay_as_they_are() {
    for name in ["company.onnx", "not-onnx.onnx", "truncated.onnx", "wrong-shape.onnx"] {
        let path = format!("{}/tests/fixtures/broken/{name}", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).unwrap();
        assert!(rewrite(file.into(), Isa::Portable, Numbers::Int16).is_none(), "{name}");
    }
}

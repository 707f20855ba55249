//! The patterns are found in every fixture, whichever exporter wrote it. (That the numbers stay the same is tested with the
//! reference's numbers, in `tests/it/reference.rs`.)

use std::collections::HashMap;

use super::*;

fn counts(folder: &str, numbers: Numbers) -> HashMap<String, usize> {
    let path = format!("{}/{folder}/model.onnx", env!("CARGO_MANIFEST_DIR"));
    let rewritten = rewrite(&FileBytes::map(path.as_ref()).unwrap(), Isa::Portable, numbers).unwrap();
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
        "onnx/small-cross-encoder",
    ] {
        let (counts, layers) = (counts(name, Numbers::Float32), layers(name));
        let of = |operator: &str| counts.get(operator).copied().unwrap_or(0);
        assert_eq!(of(ATTENTION), layers, "{name}: {counts:?}");
        assert_eq!(of(NORM), 2 * layers + 1, "{name}: {counts:?}");
        assert_eq!(of(EMBEDDING), 1, "{name}: {counts:?}");
        // Query, key, value and output of attention; in the last layer, key and value alone.
        assert!(of(LINEAR) == 4 * layers - 2 && of("Linear first") == 2, "{name}: {counts:?}");
        assert!(of(FEED_FORWARD) == layers - 1 && of("FeedForward first") == 1, "{name}: {counts:?}");
        let left = ["Softmax", "Erf", "Sqrt", "Pow", "Transpose", "LayerNormalization"];
        assert!(left.iter().all(|operator| of(operator) == 0), "{name}: {counts:?}");
    }
}

/// Layers, attentions and normalisations of other families that are recognised. Not recognised are attention with a bias by
/// relative position (MPNet, DeBERTa) or rotated queries and keys (ModernBERT, Nomic, Qwen3, Gemma), normalisation without a
/// bias as it is written in parts (ModernBERT) and by the root mean square (Qwen3, Gemma).
#[test]
fn families() {
    let counted = |name: &str| {
        let counts = counts(&format!("tests/fixtures/{name}"), Numbers::Float32);
        let of = |operator: &str| counts.get(operator).copied().unwrap_or(0);
        let feed_forward = of(FEED_FORWARD) + of("FeedForward first");
        (of(LINEAR) + of("Linear first") + 2 * feed_forward, of(ATTENTION), of(NORM))
    };
    for (name, expected) in [
        ("distilbert-cross-encoder", (12, 2, 5)),
        ("electra-cross-encoder", (12, 2, 5)),
        ("albert-cross-encoder", (12, 2, 5)),
        ("mpnet-cross-encoder", (12, 0, 5)),
        ("camembert-cross-encoder", (12, 2, 5)),
        ("deberta-v2-cross-encoder", (16, 0, 7)),
        ("deberta-v3-cross-encoder", (16, 0, 6)),
        ("modernbert-cross-encoder", (13, 0, 0)),
        ("modernbert-two-labels", (13, 0, 0)),
        ("qwen3-cross-encoder", (14, 0, 0)),
        ("mpnet-embedder", (12, 0, 5)),
        ("e5-embedder", (12, 2, 5)),
        ("bge-embedder", (12, 2, 5)),
        ("arctic-embedder", (12, 2, 5)),
        ("gte-embedder", (12, 0, 0)),
        ("modernbert-embedder", (12, 0, 0)),
        ("nomic-embedder", (14, 0, 5)),
        ("labse-embedder", (12, 2, 5)),
        ("qwen3-embedder", (14, 0, 0)),
        ("embeddinggemma", (10, 0, 0)),
    ] {
        assert_eq!(counted(name), expected, "{name}");
    }
}

#[test]
fn embedders() {
    for name in ["tests/fixtures/bert-embedder", "onnx/bi-encoder"] {
        let (counts, layers) = (counts(name, Numbers::Int8), layers(name));
        let of = |operator: &str| counts.get(operator).copied().unwrap_or(0);
        assert!(of(ATTENTION) == layers && of(NORM) == 2 * layers + 1, "{name}: {counts:?}");
        assert!(of(LINEAR) == 4 * layers && of("Linear first") == 0, "{name}: {counts:?}");
        assert!(of(FEED_FORWARD) == layers && of("FeedForward first") == 0, "{name}: {counts:?}");
    }
}

/// Padding is skipped where attention is this crate's and nothing else mixes tokens: not where attention has a bias by relative
/// position, or the graph pools by itself.
#[test]
fn padding() {
    for (name, expected) in [
        ("bert-cross-encoder", true),
        ("roberta-cross-encoder", true),
        ("xlmr-cross-encoder", true),
        ("bert-embedder", true),
        ("e5-embedder", true),
        ("deberta-v3-cross-encoder", false),
        ("mpnet-cross-encoder", false),
        ("modernbert-cross-encoder", false),
        ("qwen3-cross-encoder", false),
    ] {
        let path = format!("{}/tests/fixtures/{name}/model.onnx", env!("CARGO_MANIFEST_DIR"));
        let rewritten = rewrite(&FileBytes::map(path.as_ref()).unwrap(), Isa::Portable, Numbers::Int16).unwrap();
        assert_eq!(rewritten.pads, expected, "{name}");
    }
}

/// What is not understood is left to ONNX Runtime.
#[test]
fn other_graphs_stay_as_they_are() {
    for name in ["company.onnx", "not-onnx.onnx", "truncated.onnx", "wrong-shape.onnx"] {
        let path = format!("{}/tests/fixtures/broken/{name}", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).unwrap();
        assert!(rewrite(&FileBytes::in_memory(file.into()), Isa::Portable, Numbers::Int16).is_none(), "{name}");
    }
}

/// In fp16 graphs, values have 16 bits too, and the operations take 32.
#[test]
fn graphs_in_other_types_and_with_rounded_activations_stay_as_they_are() {
    let path = format!("{}/tests/fixtures/bert-cross-encoder/model.onnx", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).unwrap();
    let changed = |change: &dyn Fn(&mut onnx::GraphProto)| {
        let mut model = onnx::read(file.clone().into()).unwrap();
        change(model.graph.as_mut().unwrap());
        rewrite(&FileBytes::in_memory(onnx::write(&model).into()), Isa::Portable, Numbers::Float32)
            .map(|rewritten| rewritten.layers.len())
    };
    let layers = changed(&|_| ()).unwrap();
    assert!(layers > 0);
    let halved = changed(&|graph| {
        for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.dims.len() == 2 && tensor.data_type == 1) {
            let values: Vec<u8> =
                tensor.raw_data.take().unwrap().as_chunks::<4>().0.iter().flat_map(|b| [b[2], b[3]]).collect();
            (tensor.data_type, tensor.raw_data) = (onnx::data_type::BFLOAT16, Some(values.into()));
        }
    });
    assert_eq!(halved, None);
    let rounded = changed(&|graph| graph.node[0].op_type = "DynamicQuantizeLinear".to_owned());
    assert_eq!(rounded, None);
    let external = changed(&|graph| graph.initializer[0].data_location = 1);
    assert_eq!(external, None);
}

/// `int8` has 16 bits for the query's tokens, the sensitive layers and the first tokens; `w8a8` has them nowhere.
#[test]
fn in_which_numbers_layers_are_packed() {
    let path = format!("{}/onnx/cross-encoder/model.onnx", env!("CARGO_MANIFEST_DIR"));
    let packed = |numbers| {
        let rewritten = rewrite(&FileBytes::map(path.as_ref()).unwrap(), Isa::Portable, numbers).unwrap();
        let of_query = rewritten.layers.iter().filter(|layer| layer.precise.is_some()).count();
        let asks = onnx::read(rewritten.model.into()).unwrap().graph.unwrap().input;
        let asks = asks.iter().any(|input| input.name == QUERY_TOKENS);
        let coarse = rewritten.layers.iter().filter(|layer| layer.coarse.arithmetic() == Arithmetic::Int8).count();
        (rewritten.layers.len(), coarse, of_query, asks)
    };
    // Six layers of six products; of the first three the expansions, and of the last one all but keys and values, are not coarse.
    assert_eq!(packed(Numbers::Int8), (36, 29, 29, true));
    assert_eq!(packed(Numbers::W8A8), (36, 36, 0, false));
    assert_eq!(packed(Numbers::Int16), (36, 0, 0, false));
}

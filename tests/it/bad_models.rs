//! Models that cannot work are refused when they are loaded, with the reason.

use crossrank::{ComputeType, Embedder, Error, ErrorKind, ModelSource, Reranker};
use serde_json::json;

use crate::fixtures::{self, Copy};

/// The error of loading a changed cross-encoder, which must hold all of these words.
fn refused(fixture: &Copy, words: &[&str]) -> Error {
    let error = Reranker::from_dir(fixture.path()).expect_err("the model must be refused");
    assert_eq!(error.kind(), ErrorKind::Model, "{}", error.chain());
    for word in words {
        assert!(error.chain().contains(word), "`{word}` is not in: {}", error.chain());
    }
    error
}

fn bert() -> Copy {
    Copy::of("bert-cross-encoder")
}

#[test]
fn a_folder_that_is_not_there() {
    let error = Reranker::from_dir("no/such/folder").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Model);
    assert!(error.to_string().contains("no/such/folder does not exist"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    refused(&bert().remove("model.onnx"), &["model.onnx", "onnx/model.onnx"]);
    refused(&bert().remove("config.json"), &["config.json"]);
    refused(&bert().remove("tokenizer.json"), &["tokenizer.json"]);
    // This one is not needed.
    Reranker::from_dir(bert().remove("tokenizer_config.json").path()).unwrap();
}

#[test]
fn files_that_are_not_what_their_names_say() {
    refused(&bert().with_graph("truncated.onnx"), &["cannot be read", "cut short"]);
    refused(&bert().with_graph("not-onnx.onnx"), &["cannot be read"]);
    refused(&bert().write("model.onnx", b"version https://git-lfs.github.com/spec/v1\n"), &["LFS"]);
    refused(&bert().write("model.onnx", b""), &["no graph"]);
    refused(&bert().write("config.json", b"{\"architectures\": "), &["config.json", "JSON"]);
    refused(&bert().write("tokenizer.json", b"{}"), &["tokenizer.json"]);
}

#[test]
fn a_real_model_cut_anywhere_is_refused() {
    let whole = std::fs::read(fixtures::path("bert-cross-encoder/model.onnx")).unwrap();
    for part in 1..10 {
        let cut = whole.len() * part / 10;
        refused(&bert().write("model.onnx", &whole[..cut]), &["cannot be"]);
    }
}

#[test]
fn a_tokenizer_that_does_not_fit_the_graph() {
    let words = ["tokenizer does not fit", "852 tokens", "vocab_size of config.json is 852"];
    refused(&bert().with_graph("small-vocab.onnx"), &words);
}

#[test]
fn a_graph_with_an_unknown_input() {
    refused(&bert().with_graph("unknown-input.onnx"), &["`pixel_values`", "input_ids, attention_mask"]);
}

#[test]
fn an_output_of_the_wrong_shape() {
    refused(&bert().with_graph("wrong-shape.onnx"), &["[batch, labels]", "`logits`"]);
    let hidden = Copy::of("bert-embedder");
    refused(&hidden, &["[batch, labels]", "`last_hidden_state`"]);
}

#[test]
fn labels_that_contradict_the_graph() {
    refused(&bert().set("config.json", "id2label", json!({"0": "a", "1": "b"})), &["gives 1 scores", "2 labels"]);
    let unknown = Copy::of("bert-nli").set("config.json", "id2label", json!({"0": "a", "1": "b", "2": "c"}));
    refused(&unknown, &["a, b, c", "`label`"]);
}

#[test]
fn an_activation_that_is_not_known() {
    let section = json!({"activation_fn": "torch.nn.modules.activation.Tanh"});
    refused(&bert().set("config.json", "sentence_transformers", section), &["Tanh", "Sigmoid, Identity"]);
}

#[test]
fn a_cross_encoder_is_not_an_embedding_model() {
    let error = Embedder::from_dir(fixtures::path("bert-cross-encoder")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Model);
    assert!(error.to_string().contains("is a cross-encoder"), "{error}");
}

#[test]
fn modules_that_cannot_be_run() {
    let module = |class: &str, path: &str| json!([{"idx": 0, "name": "0", "path": path, "type": class}]);
    let embedder = |modules: serde_json::Value| {
        let fixture = Copy::of("bert-embedder").write("modules.json", modules.to_string());
        Embedder::from_dir(fixture.path()).unwrap_err().chain()
    };
    let weights = embedder(module("sentence_transformers.models.WordWeights", "2_WordWeights"));
    assert!(weights.contains("`WordWeights`"), "{weights}");
    let dense = embedder(module("sentence_transformers.models.Dense", "2_Dense"));
    assert!(dense.contains("2_Dense/config.json"), "{dense}");
    let escape = embedder(module("sentence_transformers.models.Dense", "/etc"));
    assert!(escape.contains("outside the model's folder"), "{escape}");
    let escape = embedder(module("sentence_transformers.models.Pooling", "../1_Pooling"));
    assert!(escape.contains("outside the model's folder"), "{escape}");
    let missing = embedder(module("sentence_transformers.models.Pooling", "9_Pooling"));
    assert!(missing.contains("9_Pooling/config.json"), "{missing}");
}

/// The error of loading a changed model with Dense modules, which must hold all of these words.
fn dense_refused(fixture: Copy, words: &[&str]) {
    let error = Embedder::from_dir(fixture.path()).expect_err("the model must be refused");
    assert_eq!(error.kind(), ErrorKind::Model, "{}", error.chain());
    for word in words {
        assert!(error.chain().contains(word), "`{word}` is not in: {}", error.chain());
    }
}

#[test]
fn dense_modules_that_cannot_be_run() {
    let config = "3_Dense/config.json";
    let weights = "2_Dense/model.safetensors";
    let gemma = || Copy::of("embeddinggemma");
    dense_refused(gemma().set(config, "in_features", json!(47)), &["linear.weight of 3_Dense", "[32, 48]", "[32, 47]"]);
    dense_refused(gemma().set(config, "bias", json!(true)), &["linear.bias of 3_Dense"]);
    dense_refused(gemma().set(config, "use_residual", json!(true)), &["use_residual"]);
    dense_refused(gemma().set(config, "module_input_name", json!("token_embeddings")), &["module_input_name"]);
    let activation = json!("torch.nn.modules.activation.PReLU");
    dense_refused(gemma().set(config, "activation_function", activation), &["PReLU", "Tanh"]);
    dense_refused(gemma().remove(weights), &[weights, "needed"]);
    let pickled = gemma().remove(weights).write("2_Dense/pytorch_model.bin", b"PK");
    dense_refused(pickled, &["pytorch_model.bin", "save it again", "model.safetensors"]);
    let whole = std::fs::read(fixtures::path("embeddinggemma").join(weights)).unwrap();
    for part in 0..8 {
        dense_refused(gemma().write(weights, &whole[..whole.len() * part / 8]), &["cannot be read"]);
    }
    // The second module takes 48 dimensions, and without the first there are 32.
    let modules = json!([
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "3_Dense", "type": "sentence_transformers.models.Dense"},
    ]);
    dense_refused(gemma().write("modules.json", modules.to_string()), &["3_Dense takes 48", "gives 32"]);
    let modules = json!([
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]);
    dense_refused(gemma().write("modules.json", modules.to_string()), &["after modules that work on pooled vectors"]);
}

#[test]
fn settings_of_embedding_models_that_cannot_be() {
    let config = "config_sentence_transformers.json";
    for bad in [0, -3] {
        dense_refused(
            Copy::of("arctic-embedder").set(config, "truncate_dim", json!(bad)),
            &["truncate_dim", "1 or more"],
        );
    }
    let default = Copy::of("e5-embedder").set(config, "default_prompt_name", json!("question"));
    dense_refused(default, &["`question`", "passage"]);
}

#[test]
fn an_output_whose_width_depends_on_the_input() {
    let fixture = Copy::of("bert-embedder").with_graph("per-token.onnx");
    let embedder = Embedder::from_dir(fixture.path()).unwrap();
    let error = embedder.embed(&["the old library is by the river"]).unwrap_err();
    assert_eq!((error.kind(), error.document()), (ErrorKind::Model, Some(0)));
    assert!(error.chain().contains("its last dimension was"), "{}", error.chain());
}

#[test]
fn softmax_over_one_score_says_nothing() {
    let section = json!({"activation_fn": "torch.nn.modules.activation.Softmax"});
    refused(&bert().set("config.json", "sentence_transformers", section), &["softmax over one score"]);
}

#[test]
fn position_numbers_that_cannot_be() {
    let xlmr = || Copy::of("xlmr-cross-encoder");
    refused(&xlmr().set("config.json", "pad_token_id", json!(i64::MAX)), &["pad_token_id"]);
    refused(&xlmr().set("config.json", "max_position_embeddings", json!(2)), &["leaves 0 positions"]);
}

#[test]
fn words_of_a_model_cannot_write_on_the_terminal() {
    let forged = bert().set("config.json", "architectures", json!(["Bert\nCase: forged\u{1b}[31m"]));
    let title = Reranker::from_dir(forged.path()).unwrap().info().title();
    assert!(!title.contains(char::is_control), "{title:?}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_file() {
    let fixture = bert().remove("config.json");
    let made = std::process::Command::new("mkfifo").arg(fixture.path().join("config.json")).status().unwrap();
    assert!(made.success());
    refused(&fixture, &["config.json is not a plain file"]);
}

/// Integers are asked for, and there is nothing that could be computed in them: that is said, with what to do.
#[test]
fn a_graph_without_layers_for_integers() {
    let fixture = bert().with_graph("company.onnx");
    for compute in [ComputeType::Int16, ComputeType::Int8, ComputeType::W8A8] {
        let builder = Reranker::builder().model(ModelSource::dir(fixture.path())).compute_type(compute);
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Options, "{}", error.chain());
        assert!(error.to_string().contains(&format!("cannot be computed in {compute}")), "{error}");
        assert!(error.to_string().contains("onnxruntime"), "{error}");
    }
    let reranker = Reranker::from_dir(fixture.path()).unwrap();
    assert_eq!(reranker.info().compute, ComputeType::OnnxRuntime, "what really runs is said");
}

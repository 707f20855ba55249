//! Which ONNX file of a folder is read.

use std::fs;

use crossrank::{ErrorKind, ModelSource, Precision, Reranker, RerankerBuilder};

use crate::fixtures::{self, Copy};

/// A model whose ONNX file lies under other names.
fn with_files(names: &[&str]) -> Copy {
    let copy = Copy::of("bert-cross-encoder");
    let graph = fs::read(copy.path().join("model.onnx")).unwrap();
    fs::create_dir(copy.path().join("onnx")).unwrap();
    names.iter().fold(copy.remove("model.onnx"), |copy, name| copy.write(name, &graph))
}

fn builder(copy: &Copy) -> RerankerBuilder {
    Reranker::builder().model(ModelSource::dir(copy.path()))
}

/// The first ONNX file that was read.
fn file(builder: RerankerBuilder) -> String {
    let reranker = builder.build().unwrap();
    reranker.info().files.iter().find(|file| file.name.ends_with(".onnx")).unwrap().name.clone()
}

#[test]
fn the_file_of_a_precision() {
    let copy = with_files(&["model.onnx", "onnx/model.onnx", "onnx/model_fp16.onnx", "model_q4f16.onnx"]);
    assert_eq!(file(builder(&copy)), "model.onnx");
    assert_eq!(file(builder(&copy).precision(Precision::Fp32)), "model.onnx");
    assert_eq!(file(builder(&copy).precision(Precision::Fp16)), "onnx/model_fp16.onnx");
    assert_eq!(file(builder(&copy).precision(Precision::Q4f16)), "model_q4f16.onnx");
    let missing = builder(&copy).precision(Precision::Int8).build().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Model);
    for word in ["model_int8.onnx", "onnx/model_fp16.onnx"] {
        assert!(missing.to_string().contains(word), "{missing}");
    }
}

#[test]
fn without_an_fp32_file_nothing_is_chosen_in_silence() {
    let only = with_files(&["onnx/model_quantized.onnx"]);
    assert_eq!(file(builder(&only)), "onnx/model_quantized.onnx", "the only one is taken, and reported");
    let several = with_files(&["onnx/model_quantized.onnx", "onnx/model_fp16.onnx"]);
    let error = builder(&several).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Model);
    for word in ["onnx/model_fp16.onnx, onnx/model_quantized.onnx", "`precision`", "`onnx_file`"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(file(builder(&several).onnx_file("onnx/model_fp16.onnx")), "onnx/model_fp16.onnx");
}

#[test]
fn of_files_in_memory() {
    let read = |name| fs::read(fixtures::path("bert-cross-encoder").join(name)).unwrap();
    let source = ModelSource::memory()
        .file("onnx/model_int8.onnx", read("model.onnx"))
        .file("onnx/model_q4.onnx", read("model.onnx"))
        .file("config.json", read("config.json"))
        .file("tokenizer.json", read("tokenizer.json"));
    let builder = || Reranker::builder().model(source.clone());
    assert_eq!(file(builder().precision(Precision::Int8)), "onnx/model_int8.onnx");
    assert!(builder().build().unwrap_err().to_string().contains("several other ONNX files"));
}

#[test]
fn precisions_that_contradict_something() {
    let both = Reranker::builder().precision(Precision::Int8).onnx_file("model.onnx").build().unwrap_err();
    assert_eq!(both.kind(), ErrorKind::Options);
    let bundled = Reranker::builder().precision(Precision::Fp32).build().unwrap_err();
    assert_eq!(bundled.kind(), ErrorKind::Options, "the bundled model has 8-bit weights, whatever its file is called");
}

#[test]
fn external_data_is_listed_and_read() {
    let copy = Copy::of("bert-cross-encoder");
    let external = |name: &str| fs::read(fixtures::path("external-data").join(name)).unwrap();
    let copy = copy.write("model.onnx", external("model.onnx")).write("model.onnx_data", external("model.onnx_data"));
    let reranker = builder(&copy).build().unwrap();
    let files: Vec<&str> = reranker.info().files.iter().map(|file| file.name.as_str()).collect();
    assert!(files.ends_with(&["model.onnx", "model.onnx_data"]), "{files:?}");
    let query = "the old library";
    let documents = ["a bridge crosses the river", "my sister finds the library"];
    let expected = Reranker::from_dir(fixtures::path("bert-cross-encoder")).unwrap().score(query, &documents).unwrap();
    let scores = reranker.score(query, &documents).unwrap();
    for (score, expected) in scores.scores.iter().zip(&expected.scores) {
        let (score, expected) = (score.as_ref().unwrap().logit, expected.as_ref().unwrap().logit);
        assert!((score - expected).abs() < 1e-4, "{score} {expected}");
    }
}

//! Encoder-decoders whose encoder and decoder are ONNX files of their own, beside the same model in one file.

use std::fs;

use crossrank::{ComputeType, Embedder, ErrorKind, ModelSource, Precision, Reranker, RerankerBuilder};

use crate::fixtures::{self, Copy};

const APART: &str = "monot5-two-graphs";
const QUERY: &str = "where is the old library?";
const DOCUMENTS: [&str; 4] = ["The old library is by the river.", "Zürich 漢字", "", "a bridge crosses the river"];

fn builder(folder: &Copy) -> RerankerBuilder {
    Reranker::builder().model(ModelSource::dir(folder.path()))
}

fn logits(reranker: &Reranker) -> Vec<f32> {
    let scores = reranker.score(QUERY, &DOCUMENTS).unwrap();
    scores.scores.into_iter().map(|score| score.unwrap().logit).collect()
}

#[track_caller]
fn assert_near(ours: &[f32], expected: &[f32]) {
    for (ours, expected) in ours.iter().zip(expected) {
        assert!((ours - expected).abs() < 1e-5, "{ours} and {expected}");
    }
}

/// The ONNX files that were read.
fn onnx_files(reranker: &Reranker) -> Vec<&str> {
    let files = reranker.info().files.iter().map(|file| file.name.as_str());
    files.filter(|name| name.starts_with("onnx/")).collect()
}

/// A copy in which files of the folder `onnx` have other names; an empty one removes the file.
fn renamed(names: &[(&str, &str)]) -> Copy {
    let copy = Copy::of(APART);
    for (old, new) in names {
        let onnx = copy.path().join("onnx");
        match *new {
            "" => fs::remove_file(onnx.join(old)).unwrap(),
            new => fs::rename(onnx.join(old), onnx.join(new)).unwrap(),
        }
    }
    copy
}

#[test]
fn two_graphs_answer_as_one_does() {
    for &compute in ComputeType::ALL {
        let load = |name: &str| {
            let source = ModelSource::dir(fixtures::path(name));
            Reranker::builder().model(source).compute_type(compute).build().unwrap()
        };
        let (one, two) = (load("monot5"), load(APART));
        assert_near(&logits(&two), &logits(&one));
        assert_eq!(two.info().compute, one.info().compute);
        assert_eq!(two.info().template, one.info().template);
        assert_eq!(two.info().head, one.info().head);
    }
}

#[test]
fn both_graphs_are_reported() {
    let reranker = Reranker::from_dir(fixtures::path(APART)).unwrap();
    let info = reranker.info();
    assert_eq!(onnx_files(&reranker), ["onnx/encoder_model.onnx", "onnx/decoder_model.onnx"]);
    assert_eq!(info.output, "logits");
    let of_decoder = ["encoder_attention_mask", "input_ids", "encoder_hidden_states"];
    assert_eq!(info.inputs[..2], ["input_ids", "attention_mask"]);
    assert_eq!(info.inputs[2..], of_decoder);
    assert_eq!(info.precision, "fp32");
}

/// Where there is no other, the decoder with a branch for earlier tokens is taken, without any.
#[test]
fn a_decoder_with_both_branches() {
    let merged = renamed(&[("decoder_model.onnx", "")]);
    let reranker = builder(&merged).build().unwrap();
    assert_eq!(onnx_files(&reranker), ["onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"]);
    assert_near(&logits(&reranker), &logits(&Reranker::from_dir(fixtures::path("monot5")).unwrap()));
    let named = builder(&Copy::of(APART)).onnx_file("onnx/decoder_model_merged.onnx").build().unwrap();
    assert_eq!(onnx_files(&named), ["onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"]);
    // Its layers are in branches, which this crate's kernels do not reach.
    let error = builder(&merged).compute_type(ComputeType::Int8).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Options);
    assert!(error.to_string().contains("decoder_model_merged.onnx"), "{error}");
}

#[test]
fn the_two_files_of_a_precision() {
    let copy = renamed(&[("decoder_model_merged.onnx", "decoder_model_merged_fp16.onnx")]);
    for part in ["encoder", "decoder"] {
        let onnx = copy.path().join("onnx");
        fs::copy(onnx.join(format!("{part}_model.onnx")), onnx.join(format!("{part}_model_int8.onnx"))).unwrap();
    }
    let reranker = builder(&copy).precision(Precision::Int8).build().unwrap();
    assert_eq!(onnx_files(&reranker), ["onnx/encoder_model_int8.onnx", "onnx/decoder_model_int8.onnx"]);
    let reranker = builder(&copy).build().unwrap();
    assert_eq!(onnx_files(&reranker), ["onnx/encoder_model.onnx", "onnx/decoder_model.onnx"]);
    let error = builder(&copy).precision(Precision::Fp16).build().unwrap_err();
    assert!(error.to_string().contains("onnx/encoder_model_fp16.onnx, is missing"), "{error}");
}

#[test]
fn a_missing_half_is_named() {
    let refused = |names: &[(&str, &str)], missing: &str| {
        let copy = renamed(names);
        let error = builder(&copy).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model);
        assert!(error.to_string().contains(missing) && error.to_string().contains("is missing"), "{error}");
    };
    refused(&[("encoder_model.onnx", "")], "encoder that belongs to it, onnx/encoder_model.onnx");
    let merged = ("decoder_model_merged.onnx", "");
    refused(&[merged, ("decoder_model.onnx", "decoder_model_q4.onnx")], "onnx/decoder_model.onnx");
    refused(&[merged, ("decoder_model.onnx", "")], "its decoder, onnx/decoder_model.onnx");
}

#[test]
fn graphs_that_do_not_belong_together_are_refused() {
    let swap = |name: &str| {
        let copy = Copy::of(APART);
        let graph = fs::read(copy.path().join(name)).unwrap();
        copy.write("onnx/decoder_model.onnx", graph)
    };
    let error = builder(&swap("onnx/encoder_model.onnx")).build().unwrap_err();
    for word in ["onnx/decoder_model.onnx", "encoder_hidden_states"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    let damaged = Copy::of(APART).write("onnx/decoder_model.onnx", "no graph");
    let error = builder(&damaged).build().unwrap_err();
    assert!(error.to_string().contains("(onnx/decoder_model.onnx)"), "{error}");
}

#[test]
fn files_in_memory() {
    let read = |name: &str| fs::read(fixtures::path(APART).join(name)).unwrap();
    let names = ["config.json", "tokenizer.json", "onnx/encoder_model.onnx", "onnx/decoder_model.onnx"];
    let memory = names.into_iter().fold(ModelSource::memory(), |memory, name| memory.file(name, read(name)));
    let reranker = Reranker::builder().model(memory).build().unwrap();
    let folder = Reranker::from_dir(fixtures::path(APART)).unwrap();
    assert_eq!(logits(&reranker), logits(&folder));
}

/// An embedding model is an encoder: the decoder beside it is none of its business.
#[test]
fn an_embedding_model_reads_the_encoder_alone() {
    let source = ModelSource::dir(fixtures::path(APART));
    let error = Embedder::builder().model(source.clone()).build().unwrap_err();
    assert!(error.to_string().contains("several other ONNX files"), "{error}");
    let embedder = Embedder::builder().model(source).onnx_file("onnx/encoder_model.onnx").build().unwrap();
    assert_eq!(embedder.info().dimensions, Some(32));
    assert_eq!(embedder.info().output, "last_hidden_state");
}

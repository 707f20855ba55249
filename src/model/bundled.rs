//! The models inside the program: the folders `onnx/cross-encoder` and `onnx/bi-encoder` of the repository.

use super::Task;

/// One bundled file: its name in the folder and its bytes.
pub(super) type BundledFile = (&'static str, &'static [u8]);

macro_rules! folder {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../onnx/", $folder, "/", $name)))),+]
    };
}

const CROSS_ENCODER: &[BundledFile] =
    folder!("cross-encoder": "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json");

const BI_ENCODER: &[BundledFile] = folder!("bi-encoder":
    "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json",
    "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json",
);

/// The name and the files of the bundled model for a task.
pub(super) fn files(task: Task) -> (&'static str, &'static [BundledFile]) {
    match task {
        Task::CrossEncoder => ("bundled cross-encoder", CROSS_ENCODER),
        Task::BiEncoder => ("bundled bi-encoder", BI_ENCODER),
    }
}

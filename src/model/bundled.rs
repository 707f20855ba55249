//! The models inside the program: the folders `onnx/cross-encoder`, `onnx/small-cross-encoder` and `onnx/bi-encoder` of the
//! repository.

use super::Task;
use super::source::Size;

/// One bundled file: its name in the folder and its bytes.
pub(super) type BundledFile = (&'static str, &'static [u8]);

macro_rules! folder {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../onnx/", $folder, "/", $name)))),+]
    };
}

const CROSS_ENCODER: &[BundledFile] =
    folder!("cross-encoder": "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json");

const SMALL_CROSS_ENCODER: &[BundledFile] =
    folder!("small-cross-encoder": "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json");

const BI_ENCODER: &[BundledFile] = folder!("bi-encoder":
    "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json",
    "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json",
);

/// The name and the files of the bundled model of a size for a task, if there is one.
pub(super) fn files(task: Task, size: Size) -> Option<(&'static str, &'static [BundledFile])> {
    match (task, size) {
        (Task::CrossEncoder, Size::Usual) => Some(("bundled cross-encoder", CROSS_ENCODER)),
        (Task::CrossEncoder, Size::Small) => Some(("bundled small cross-encoder", SMALL_CROSS_ENCODER)),
        (Task::BiEncoder, Size::Usual) => Some(("bundled bi-encoder", BI_ENCODER)),
        (Task::BiEncoder, Size::Small) => None,
    }
}

//! The models inside the program: the folders `onnx/cross-encoder`, `onnx/small-cross-encoder` and `onnx/bi-encoder` of the
//! repository.

use super::Task;
use super::source::Size;
use crate::compute::ComputeType;
use crate::kernels::Isa;

/// A model inside the program.
#[derive(Debug)]
pub(super) struct Bundled {
    pub(super) name: &'static str,
    /// The name of each file in its folder, and its bytes.
    pub(super) files: &'static [(&'static str, &'static [u8])],
    /// The fastest numbers that keep its scores (its card has the figures).
    compute: ComputeType,
}

macro_rules! folder {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../onnx/", $folder, "/", $name)))),+]
    };
}

static CROSS_ENCODER: Bundled = Bundled {
    name: "bundled cross-encoder",
    files: folder!("cross-encoder": "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"),
    compute: ComputeType::W8A8,
};

static SMALL_CROSS_ENCODER: Bundled = Bundled {
    name: "bundled small cross-encoder",
    files: folder!("small-cross-encoder": "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"),
    compute: ComputeType::W8A8,
};

static BI_ENCODER: Bundled = Bundled {
    name: "bundled bi-encoder",
    files: folder!("bi-encoder":
        "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json",
        "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json",
    ),
    compute: ComputeType::Int16,
};

impl Bundled {
    /// The model of a size for a task, if there is one.
    pub(super) fn of(task: Task, size: Size) -> Option<&'static Self> {
        match (task, size) {
            (Task::CrossEncoder, Size::Usual) => Some(&CROSS_ENCODER),
            (Task::CrossEncoder, Size::Small) => Some(&SMALL_CROSS_ENCODER),
            (Task::BiEncoder, Size::Usual) => Some(&BI_ENCODER),
            (Task::BiEncoder, Size::Small) => None,
        }
    }

    /// In which numbers it is computed unless the caller says otherwise.
    pub(super) fn compute(&self, isa: Isa) -> ComputeType {
        // Integers in plain Rust take six times as long as ONNX Runtime's fp32, or more (`benches/NOTES.md`).
        let bits = if self.compute == ComputeType::Int16 { 16 } else { 8 };
        if bits <= isa.fast_integers() { self.compute } else { ComputeType::Float32 }
    }

    /// The bytes of one of its files.
    pub(super) fn file(&self, name: &str) -> Option<&'static [u8]> {
        self.files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_for_processors_that_there_are_kernels_for() {
        for isa in Isa::available() {
            let (bytes, wide) = (isa.fast_integers() >= 8, isa.fast_integers() >= 16);
            assert_eq!(CROSS_ENCODER.compute(isa) == ComputeType::W8A8, bytes);
            assert_eq!(SMALL_CROSS_ENCODER.compute(isa) == ComputeType::W8A8, bytes);
            assert_eq!(BI_ENCODER.compute(isa) == ComputeType::Int16, wide);
            assert!(isa != Isa::Portable || !bytes && !wide);
        }
    }
}

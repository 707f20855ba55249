//! The precision of a model's ONNX file.
//!
//! A repository often holds the same model several times: in fp32, in half precision, quantised. The names are those
//! that transformers.js and its conversion scripts use (`onnx/model_fp16.onnx`), which most repositories follow.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A precision in which a repository offers its ONNX file.
///
/// The name says which *file* is read. In which numbers its layers are computed is another matter:
/// see [`ComputeType`](crate::ComputeType).
///
/// ```
/// use crossrank::Precision;
///
/// let precision: Precision = "fp16".parse()?;
/// assert_eq!(precision.file_names(), ["model_fp16.onnx", "onnx/model_fp16.onnx"]);
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floating point: `model.onnx`.
    Fp32,
    /// 16-bit floating point: `model_fp16.onnx`.
    Fp16,
    /// Signed 8-bit integers: `model_int8.onnx`.
    Int8,
    /// Unsigned 8-bit integers: `model_uint8.onnx`.
    Uint8,
    /// 8-bit integers, the exporter's choice of which (`q8` of transformers.js): `model_quantized.onnx`.
    Quantized,
    /// 4-bit blocks: `model_q4.onnx`.
    Q4,
    /// 4-bit blocks, the rest in 16-bit floating point: `model_q4f16.onnx`.
    Q4f16,
    /// 4-bit blocks of bitsandbytes: `model_bnb4.onnx`.
    Bnb4,
}

impl Precision {
    /// All precisions, in the order of their variants.
    pub const ALL: [Precision; 8] = [
        Precision::Fp32,
        Precision::Fp16,
        Precision::Int8,
        Precision::Uint8,
        Precision::Quantized,
        Precision::Q4,
        Precision::Q4f16,
        Precision::Bnb4,
    ];

    /// The name: `fp32`, `fp16`, `int8`, `uint8`, `quantized`, `q4`, `q4f16` or `bnb4`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp16 => "fp16",
            Precision::Int8 => "int8",
            Precision::Uint8 => "uint8",
            Precision::Quantized => "quantized",
            Precision::Q4 => "q4",
            Precision::Q4f16 => "q4f16",
            Precision::Bnb4 => "bnb4",
        }
    }

    /// The names that such a file has in a repository, in the order in which they are tried. An encoder-decoder may have two
    /// files instead: `encoder_model.onnx` and `decoder_model.onnx`, with the precision in the same place.
    pub fn file_names(self) -> [String; 2] {
        self.names_of("model")
    }

    /// The names of a file that is called so where its precision is fp32.
    pub(super) fn names_of(self, stem: &str) -> [String; 2] {
        let file = match self {
            Precision::Fp32 => format!("{stem}.onnx"),
            other => format!("{stem}_{other}.onnx"),
        };
        [file.clone(), format!("onnx/{file}")]
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Precision::name).join(", ");
            Error::new(ErrorKind::Options, format!("there is no precision `{name}`: it is one of {known}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        assert!("FP17".parse::<Precision>().unwrap_err().to_string().contains("fp32, fp16"));
    }
}

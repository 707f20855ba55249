//! The precision of a model's ONNX file, and which file that is.
//!
//! A repository often holds the same model several times: in fp32, in half precision, quantised. The names are those
//! that transformers.js and its conversion scripts use (`onnx/model_fp16.onnx`), which most repositories follow. The
//! rules here are the same for a folder, for memory and for the Hub; a quantised file is never taken in silence.

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

    /// The names that such a file has in a repository, in the order in which they are tried.
    pub fn file_names(self) -> [String; 2] {
        let file = match self {
            Precision::Fp32 => "model.onnx".to_owned(),
            other => format!("model_{other}.onnx"),
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

/// What a caller said about the ONNX file: its name, its precision, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileChoice {
    pub(crate) onnx_file: Option<String>,
    pub(crate) precision: Option<Precision>,
    /// Files of the repository that the ONNX file turned out to need besides.
    #[cfg(feature = "hub")]
    pub(crate) besides: Vec<String>,
}

impl FileChoice {
    /// Both at once could contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        match (&self.onnx_file, self.precision) {
            (Some(file), Some(precision)) => Err(Error::new(
                ErrorKind::Options,
                format!("the ONNX file {file} and the precision {precision} were both asked for; name one of them"),
            )),
            _ => Ok(()),
        }
    }

    /// The file to take. `has` says whether a name exists, `others` lists all ONNX files, `model` is what people call
    /// the model, and `export` is the advice where it has no ONNX file at all.
    ///
    /// Without a choice: `model.onnx`, then `onnx/model.onnx`, then the only ONNX file that there is.
    pub(crate) fn choose(
        &self,
        model: &str,
        export: &str,
        has: impl Fn(&str) -> bool,
        others: impl FnOnce() -> Vec<String>,
    ) -> Result<String> {
        self.check()?;
        let names = match &self.onnx_file {
            Some(name) => vec![name.clone()],
            None => self.precision.unwrap_or(Precision::Fp32).file_names().to_vec(),
        };
        if let Some(name) = names.iter().find(|name| has(name)) {
            return Ok(name.clone());
        }
        let mut others = others();
        others.sort();
        let unspecified = self.onnx_file.is_none() && self.precision.is_none();
        let tried = format!("{model} has no {}", names.join(" and no "));
        Err(Error::model(match others.as_slice() {
            [only] if unspecified => return Ok(only.clone()),
            [] => format!("{tried}, nor any other ONNX file; {export}"),
            [only] => format!("{tried}; its only ONNX file is {only}: name it with `onnx_file`, or name no precision"),
            several if unspecified => format!(
                "{tried}, but several other ONNX files: {}; choose one with `precision` or `onnx_file`",
                listed(several)
            ),
            several => format!("{tried}; its ONNX files are {}", listed(several)),
        }))
    }
}

/// The first names of a list that may be long.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(choice: FileChoice, files: &[&str]) -> Result<String> {
        choice.choose(
            "m",
            "export it",
            |name| files.contains(&name),
            || files.iter().map(|name| (*name).to_owned()).collect(),
        )
    }

    fn precision(precision: Precision) -> FileChoice {
        FileChoice { precision: Some(precision), ..FileChoice::default() }
    }

    fn file(name: &str) -> FileChoice {
        FileChoice { onnx_file: Some(name.to_owned()), ..FileChoice::default() }
    }

    #[test]
    fn every_name_is_read_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        assert!("FP17".parse::<Precision>().unwrap_err().to_string().contains("fp32, fp16"));
    }

    #[test]
    fn fp32_is_the_default_even_beside_others() {
        let files = ["onnx/model_int8.onnx", "onnx/model.onnx", "model.onnx"];
        assert_eq!(choose(FileChoice::default(), &files).unwrap(), "model.onnx");
        assert_eq!(choose(FileChoice::default(), &files[..2]).unwrap(), "onnx/model.onnx");
        assert_eq!(choose(precision(Precision::Int8), &files).unwrap(), "onnx/model_int8.onnx");
        assert_eq!(choose(file("onnx/model.onnx"), &files).unwrap(), "onnx/model.onnx");
    }

    #[test]
    fn the_only_other_file_is_taken_and_several_are_listed() {
        assert_eq!(choose(FileChoice::default(), &["onnx/model_O3.onnx"]).unwrap(), "onnx/model_O3.onnx");
        let several = choose(FileChoice::default(), &["onnx/model_q4.onnx", "onnx/model_fp16.onnx"]).unwrap_err();
        for word in ["onnx/model_fp16.onnx, onnx/model_q4.onnx", "`precision`", "`onnx_file`"] {
            assert!(several.to_string().contains(word), "{several}");
        }
    }

    #[test]
    fn a_wish_is_never_replaced_by_another_file() {
        for choice in [precision(Precision::Fp32), precision(Precision::Q4), file("model_q4f16.onnx")] {
            let error = choose(choice, &["onnx/model_int8.onnx"]).unwrap_err().to_string();
            assert!(error.contains("its only ONNX file is onnx/model_int8.onnx"), "{error}");
        }
        assert!(choose(FileChoice::default(), &[]).unwrap_err().to_string().contains("export it"));
        let both =
            FileChoice { onnx_file: Some("a.onnx".into()), precision: Some(Precision::Q4), ..FileChoice::default() };
        assert_eq!(choose(both, &["a.onnx"]).unwrap_err().kind(), ErrorKind::Options);
    }
}

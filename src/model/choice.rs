//! Which ONNX files of a model are read.
//!
//! Mostly that is one. An encoder-decoder may have two, under the names that `optimum` gives them: `encoder_model.onnx`, and
//! `decoder_model.onnx` (or `decoder_model_merged.onnx`, which has a branch for earlier tokens besides). The rules are the
//! same for a folder, for memory and for the Hub; a quantised file is never taken in silence.

use super::precision::Precision;
use crate::error::{Error, ErrorKind, Result};

/// What a caller said about the ONNX file: its name, its precision, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileChoice {
    pub(crate) onnx_file: Option<String>,
    pub(crate) precision: Option<Precision>,
    /// The model has no decoder: an embedding model is made of an encoder's file, even where a decoder lies beside it.
    pub(crate) one_graph: bool,
    /// Files of the repository that the ONNX file turned out to need besides.
    #[cfg(feature = "hub")]
    pub(crate) besides: Vec<String>,
}

/// What an ONNX file is of its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Encoder,
    Decoder,
}

/// The ONNX files of a model by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnnxNames {
    One(String),
    EncoderDecoder { encoder: String, decoder: String },
}

impl OnnxNames {
    /// The names in the order in which the graphs run.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Part, &str)> {
        let (first, second) = match self {
            OnnxNames::One(name) => ((Part::Whole, name), None),
            OnnxNames::EncoderDecoder { encoder, decoder } => {
                ((Part::Encoder, encoder), Some((Part::Decoder, decoder)))
            }
        };
        [Some(first), second].into_iter().flatten().map(|(part, name)| (part, name.as_str()))
    }

    /// The decoder's name where these are no more than an encoder by its name.
    pub(crate) fn missing_decoder(&self) -> Option<String> {
        let OnnxNames::One(name) = self else { return None };
        let name = PartName::read(name).filter(|name| name.stem == ENCODER)?;
        Some(name.with_stem(DECODERS[0]))
    }
}

const ENCODER: &str = "encoder_model";
/// In the order in which they are tried.
const DECODERS: [&str; 2] = ["decoder_model", "decoder_model_merged"];
/// For the tokens after the first, which are not needed here.
const DECODER_WITH_PAST: &str = "decoder_with_past_model";

/// The name of an encoder's or a decoder's file, taken apart.
#[derive(Clone, Copy)]
struct PartName<'a> {
    /// With its slash; empty where there is none.
    folder: &'a str,
    stem: &'static str,
    /// `.onnx`, or with the precision before it: `_int8.onnx`.
    suffix: &'a str,
}

impl<'a> PartName<'a> {
    fn read(name: &'a str) -> Option<Self> {
        let (folder, file) = name.split_at(name.rfind('/').map_or(0, |slash| slash + 1));
        // One of them begins with another.
        [DECODERS[1], DECODERS[0], DECODER_WITH_PAST, ENCODER].into_iter().find_map(|stem| {
            let suffix = file.strip_prefix(stem)?;
            let is_one = suffix.starts_with(['_', '.']) && suffix.ends_with(".onnx");
            is_one.then_some(Self { folder, stem, suffix })
        })
    }

    fn with_stem(self, stem: &str) -> String {
        format!("{}{stem}{}", self.folder, self.suffix)
    }

    fn with_decoder(self, decoder: &str) -> OnnxNames {
        OnnxNames::EncoderDecoder { encoder: self.with_stem(ENCODER), decoder: self.with_stem(decoder) }
    }

    /// The files of which this is one, in the order in which they are tried.
    fn pairs(self) -> Vec<OnnxNames> {
        match self.stem {
            ENCODER => DECODERS.iter().map(|decoder| self.with_decoder(decoder)).collect(),
            decoder => vec![self.with_decoder(decoder)],
        }
    }
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

    /// The choice of the files that were chosen before.
    #[cfg(feature = "hub")]
    pub(crate) fn again(&self, onnx_files: &[String]) -> Self {
        // A decoder's name says which encoder goes with it; an encoder may go with either of two.
        Self { onnx_file: onnx_files.last().cloned(), precision: None, ..self.clone() }
    }

    /// The file to take, or the two of an encoder-decoder. `has` says whether a name exists, `others` lists all ONNX files,
    /// `model` is what people call the model, and `export` is the advice where it has no ONNX file at all.
    ///
    /// Without a choice: `model.onnx`, then `onnx/model.onnx`, then `encoder_model.onnx` with its decoder, there or in
    /// `onnx`, then the only ONNX file (or the only two that belong together) that there is.
    pub(crate) fn choose(
        &self,
        model: &str,
        export: &str,
        has: impl Fn(&str) -> bool,
        others: impl FnOnce() -> Vec<String>,
    ) -> Result<OnnxNames> {
        self.check()?;
        let (names, pairs) = match &self.onnx_file {
            Some(name) => (vec![name.clone()], self.pairs(name)),
            None => {
                let precision = self.precision.unwrap_or(Precision::Fp32);
                let encoders = precision.names_of(ENCODER);
                let pairs = encoders.iter().flat_map(|name| self.pairs(name)).collect();
                (precision.file_names().to_vec(), pairs)
            }
        };
        // Where nothing is named, one graph goes before two. The name of one of two means both.
        let of_two = self.onnx_file.is_some() && !pairs.is_empty();
        let ones = names.iter().filter(|_| !of_two).cloned().map(OnnxNames::One);
        let complete = |names: &OnnxNames| names.parts().all(|(_, name)| has(name));
        if let Some(found) = ones.chain(pairs.iter().cloned()).find(complete) {
            return Ok(found);
        }
        let mut others = others();
        others.sort();
        refuse_half(model, &pairs, &has, &others)?;
        // An encoder that has no decoder.
        if let Some(name) = names.iter().find(|name| has(name)) {
            return Ok(OnnxNames::One(name.clone()));
        }
        let unspecified = self.onnx_file.is_none() && self.precision.is_none();
        if let (true, [only]) = (unspecified, self.models(&others).as_slice()) {
            if let OnnxNames::One(name) = only {
                refuse_half(model, &self.pairs(name), &has, &others)?;
            }
            return Ok(only.clone());
        }
        let tried = format!("{model} has no {}", names.join(" and no "));
        Err(Error::model(match others.as_slice() {
            [] => format!("{tried}, nor any other ONNX file; {export}"),
            [only] => format!(
                "{tried}; its only ONNX file is {only}: name no precision, or (in Rust) the file with `onnx_file`"
            ),
            several if unspecified => format!(
                "{tried}, but several other ONNX files: {}; choose one with `precision` or `onnx_file`",
                listed(several)
            ),
            several => format!("{tried}; its ONNX files are {}", listed(several)),
        }))
    }

    /// The pairs of files to which one of this name belongs.
    fn pairs(&self, name: &str) -> Vec<OnnxNames> {
        PartName::read(name).filter(|_| !self.one_graph).map_or(Vec::new(), PartName::pairs)
    }

    /// The different models that a list of files holds.
    fn models(&self, files: &[String]) -> Vec<OnnxNames> {
        let is_there = |name: &str| files.iter().any(|file| file == name);
        let model = |file: &String| {
            let one = OnnxNames::One(file.clone());
            let Some(name) = PartName::read(file).filter(|_| !self.one_graph) else { return Some(one) };
            match name.stem {
                ENCODER => {
                    let complete = |names: &OnnxNames| names.parts().all(|(_, name)| is_there(name));
                    Some(name.pairs().into_iter().find(complete).unwrap_or(one))
                }
                // Its encoder stands for both.
                _ if is_there(&name.with_stem(ENCODER)) => None,
                _ => Some(one),
            }
        };
        files.iter().filter_map(model).collect()
    }
}
/// Refuses a file without the one that it runs with. An encoder may be a model, unless there is any decoder.
fn refuse_half(model: &str, pairs: &[OnnxNames], has: impl Fn(&str) -> bool, others: &[String]) -> Result<()> {
    let is_decoder = |name: &String| PartName::read(name).is_some_and(|name| name.stem != ENCODER);
    for pair in pairs {
        let OnnxNames::EncoderDecoder { encoder, decoder } = pair else { continue };
        let (there, part, missing) = match (has(encoder), has(decoder)) {
            (true, false) if others.iter().any(is_decoder) => (encoder, "decoder", decoder),
            (false, true) => (decoder, "encoder", encoder),
            _ => continue,
        };
        return Err(Error::model(format!(
            "{model} has {there}, but the {part} that belongs to it, {missing}, is missing"
        )));
    }
    Ok(())
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
        let names = choice.choose(
            "m",
            "export it",
            |name| files.contains(&name),
            || files.iter().map(|name| (*name).to_owned()).collect(),
        )?;
        Ok(names.parts().map(|(_, name)| name).collect::<Vec<_>>().join(" + "))
    }

    fn precision(precision: Precision) -> FileChoice {
        FileChoice { precision: Some(precision), ..FileChoice::default() }
    }

    fn file(name: &str) -> FileChoice {
        FileChoice { onnx_file: Some(name.to_owned()), ..FileChoice::default() }
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

    #[test]
    fn an_encoder_and_its_decoder_go_together() {
        let files = [
            "onnx/decoder_model.onnx",
            "onnx/decoder_model_int8.onnx",
            "onnx/decoder_model_merged.onnx",
            "onnx/decoder_model_merged_fp16.onnx",
            "onnx/decoder_with_past_model.onnx",
            "onnx/encoder_model.onnx",
            "onnx/encoder_model_fp16.onnx",
            "onnx/encoder_model_int8.onnx",
        ];
        let fp32 = "onnx/encoder_model.onnx + onnx/decoder_model.onnx";
        assert_eq!(choose(FileChoice::default(), &files).unwrap(), fp32);
        let int8 = "onnx/encoder_model_int8.onnx + onnx/decoder_model_int8.onnx";
        assert_eq!(choose(precision(Precision::Int8), &files).unwrap(), int8);
        // Of this precision there is no decoder without a branch for earlier tokens.
        let fp16 = "onnx/encoder_model_fp16.onnx + onnx/decoder_model_merged_fp16.onnx";
        assert_eq!(choose(precision(Precision::Fp16), &files).unwrap(), fp16);
        for name in ["onnx/encoder_model_int8.onnx", "onnx/decoder_model_int8.onnx"] {
            assert_eq!(choose(file(name), &files).unwrap(), int8, "one of the two means both");
        }
        let merged = "onnx/encoder_model.onnx + onnx/decoder_model_merged.onnx";
        assert_eq!(choose(file("onnx/decoder_model_merged.onnx"), &files).unwrap(), merged);
        let both = ["encoder_model.onnx", "decoder_model.onnx", "model.onnx"];
        assert_eq!(choose(FileChoice::default(), &both).unwrap(), "model.onnx", "one graph is preferred");
        let only = ["encoder_model_O2.onnx", "decoder_model_O2.onnx", "decoder_with_past_model_O2.onnx"];
        assert_eq!(choose(FileChoice::default(), &only).unwrap(), "encoder_model_O2.onnx + decoder_model_O2.onnx");
    }

    #[test]
    fn half_of_an_encoder_decoder_is_refused_by_name() {
        let missing = |choice: FileChoice, files: &[&str], missing: &str| {
            let error = choose(choice, files).unwrap_err().to_string();
            assert!(error.contains(&format!("{missing}, is missing")), "{error}");
        };
        missing(FileChoice::default(), &["onnx/decoder_model.onnx"], "onnx/encoder_model.onnx");
        missing(FileChoice::default(), &["decoder_model_q4.onnx"], "encoder_model_q4.onnx");
        let mixed = ["encoder_model.onnx", "encoder_model_int8.onnx", "decoder_model.onnx"];
        missing(precision(Precision::Int8), &mixed, "decoder_model_int8.onnx");
        missing(file("encoder_model_int8.onnx"), &mixed, "decoder_model_int8.onnx");
        let without = ["encoder_model.onnx", "decoder_with_past_model.onnx"];
        missing(FileChoice::default(), &without, "decoder_model.onnx");
    }

    #[test]
    fn an_encoder_alone_is_a_graph_like_others() {
        assert_eq!(choose(FileChoice::default(), &["encoder_model.onnx"]).unwrap(), "encoder_model.onnx");
        assert_eq!(choose(file("encoder_model.onnx"), &["encoder_model.onnx"]).unwrap(), "encoder_model.onnx");
        let one_graph = FileChoice { one_graph: true, ..file("encoder_model.onnx") };
        assert_eq!(choose(one_graph, &["encoder_model.onnx", "decoder_model.onnx"]).unwrap(), "encoder_model.onnx");
        let one = OnnxNames::One("onnx/encoder_model_int8.onnx".to_owned());
        assert_eq!(one.missing_decoder().unwrap(), "onnx/decoder_model_int8.onnx");
        assert_eq!(OnnxNames::One("model.onnx".to_owned()).missing_decoder(), None);
    }
}

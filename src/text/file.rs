//! `tokenizer.json` → a tokenizer.
//!
//! The crate `tokenizers` panics on a decoder that it cannot read, and on a normalizer whose table is damaged (0.23, its
//! `decoders/mod.rs` and `normalizers/mod.rs`). No decoder is needed here, so it never sees one, and the rest is caught. (What the panic hook
//! prints of it stays: the hook is the program's, not a library's.)

use std::panic::{self, AssertUnwindSafe};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokenizers::Tokenizer;

use crate::error::{Error, Result};

/// The part that is left out. To find it checks the file's syntax from end to end, too.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow, default)]
    decoder: Option<&'a RawValue>,
}

/// The tokenizer, without a decoder.
pub(super) fn read(json: &[u8]) -> Result<Tokenizer> {
    let failed = || Error::model("tokenizer.json cannot be read as a tokenizer");
    let outline: Outline<'_> = serde_json::from_slice(json).map_err(|error| failed().with_source(error))?;
    let without_decoder;
    let json = match outline.decoder {
        Some(decoder) => {
            let at = decoder.get().as_ptr() as usize - json.as_ptr() as usize;
            without_decoder = [&json[..at], b"null", &json[at + decoder.get().len()..]].concat();
            &without_decoder
        }
        None => json,
    };
    match panic::catch_unwind(AssertUnwindSafe(|| Tokenizer::from_bytes(json))) {
        Ok(tokenizer) => tokenizer.map_err(|error| failed().with_source(error)),
        Err(_) => Err(Error::model(
            "tokenizer.json cannot be read as a tokenizer: the tokenizers library gave up on it, most likely on the table of its \
             normalizer (`precompiled_charsmap`); was the file cut or edited?",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn fixture() -> String {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    }

    /// With another value for a key of the file.
    fn with(key: &str, value: serde_json::Value) -> String {
        let mut file: serde_json::Value = serde_json::from_str(&fixture()).unwrap();
        file[key] = value;
        file.to_string()
    }

    #[test]
    fn a_decoder_that_the_library_would_panic_on_is_not_looked_at() {
        for decoder in [r#"{"type": "\udfff"}"#, r#""\ud800""#, r#"{"type": "Nonsense"}"#, "null"] {
            let file = with("decoder", "DECODER".into()).replace("\"DECODER\"", decoder);
            let tokenizer = read(file.as_bytes()).unwrap();
            let ids = |tokenizer: &Tokenizer| tokenizer.encode_fast("where is it?", true).unwrap().get_ids().to_vec();
            assert_eq!(ids(&tokenizer), ids(&Tokenizer::from_bytes(fixture()).unwrap()), "{decoder}");
        }
    }

    #[test]
    fn a_file_that_ends_too_early_is_an_error_wherever_it_ends() {
        let file = fixture();
        let decoder = file.find("\"decoder\"").unwrap();
        for end in (0..file.len() - 1).step_by(997).chain(decoder..decoder + 200) {
            assert_eq!(read(&file.as_bytes()[..end]).unwrap_err().kind(), ErrorKind::Model, "{end}");
        }
    }

    #[test]
    fn a_damaged_table_of_a_normalizer_is_an_error() {
        let damaged = serde_json::json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
        let error = read(with("normalizer", damaged).as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model);
        assert!(error.to_string().contains("precompiled_charsmap"), "{error}");
    }
}

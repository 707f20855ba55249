//! Text → token ids.
//!
//! [`TextEncoder`] owns the tokenizer. A query is tokenised once and joined to each document ([`TextEncoder::pair`]);
//! a single text is encoded for an embedding model ([`TextEncoder::single`]). What does not fit the model's limit is
//! cut by the rules of [`truncation`], and every cut is reported.

mod excerpt;
mod truncation;

use std::borrow::Cow;

use tokenizers::{Encoding, PostProcessor, Tokenizer};

use crate::error::{Error, ErrorKind, Result};
pub use truncation::{Truncation, TruncationSide, TruncationStrategy};

/// The token ids of one input of the model: a pair, or a single text, with its special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
}

/// What was cut off an input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Tokens of the query (of a pair).
    pub(crate) query: usize,
    /// Tokens of the document, or of a single text.
    pub(crate) document: usize,
    /// A text was so long that its end was not tokenised: the counts are lower bounds.
    pub(crate) at_least: bool,
}

/// A query that was tokenised and is ready to be joined to documents.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    encoding: Encoding,
    /// Tokens that an over-long text has at least, beyond those that were looked at.
    partial: bool,
}

/// A tokenizer with a model's limits.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    tokenizer: Tokenizer,
    max_length: usize,
    truncation: Truncation,
    lower_case: bool,
    specials_of_single: usize,
    specials_of_pair: usize,
}

impl TextEncoder {
    /// Reads `tokenizer.json`. Padding and truncation that the file carries are cleared: both are decided here.
    pub(crate) fn new(json: &[u8], max_length: usize, truncation: Truncation, lower_case: bool) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| Error::model("tokenizer.json cannot be read as a tokenizer").with_source(error))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| Error::model("the tokenizer's truncation cannot be cleared").with_source(error))?;
        let specials = |is_pair| tokenizer.get_post_processor().map_or(0, |post| post.added_tokens(is_pair));
        let (specials_of_single, specials_of_pair) = (specials(false), specials(true));
        if max_length <= specials_of_pair.max(specials_of_single) + 1 {
            return Err(Error::new(
                ErrorKind::Options,
                format!(
                    "the maximum length is {max_length} tokens, and {} of them are special tokens: no room for text; \
                     ask for a larger max_length",
                    specials_of_pair.max(specials_of_single)
                ),
            ));
        }
        Ok(Self { tokenizer, max_length, truncation, lower_case, specials_of_single, specials_of_pair })
    }

    /// The number of token ids, added tokens included.
    pub(crate) fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The largest token id.
    pub(crate) fn largest_id(&self) -> u32 {
        self.tokenizer.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// Tokenises a query for [`pair`](Self::pair).
    pub(crate) fn query(&self, text: &str) -> Result<Query> {
        let (encoding, partial) = self.encode(text)?;
        Ok(Query { encoding, partial })
    }

    /// Joins a query and a document by the tokenizer's own template, cut to the limit.
    pub(crate) fn pair(&self, query: &Query, document: &str) -> Result<(Tokens, Cut)> {
        let (document, partial) = self.encode(document)?;
        let room = self.max_length - self.specials_of_pair;
        let (of_query, of_document) = (query.encoding.len(), document.len());
        let (keep_query, keep_document) = self.truncation.split(of_query, of_document, room);
        let mut query_kept = query.encoding.clone();
        let mut document_kept = document;
        self.truncation.cut(&mut query_kept, keep_query);
        self.truncation.cut(&mut document_kept, keep_document);
        let cut = Cut {
            query: of_query - keep_query,
            document: of_document - keep_document,
            at_least: query.partial || partial,
        };
        if self.tokenizer.get_post_processor().is_none() {
            // Without a template the second text is told apart by its type alone.
            document_kept.set_type_ids(vec![1; keep_document]);
        }
        let joined = self.finish(query_kept, Some(document_kept))?;
        Ok((joined, cut))
    }

    /// Encodes one text with its special tokens, cut to the limit.
    pub(crate) fn single(&self, text: &str) -> Result<(Tokens, Cut)> {
        let (mut encoding, partial) = self.encode(text)?;
        let whole = encoding.len();
        let keep = whole.min(self.max_length - self.specials_of_single);
        self.truncation.cut(&mut encoding, keep);
        let cut = Cut { query: 0, document: whole - keep, at_least: partial };
        Ok((self.finish(encoding, None)?, cut))
    }

    /// Tokens without special tokens, and whether some of an over-long text was left out.
    fn encode(&self, text: &str) -> Result<(Encoding, bool)> {
        excerpt::encode(text, self.max_length, self.truncation.side, |text| {
            let text = if self.lower_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
            self.tokenizer.encode_fast(text.as_ref(), false).map_err(refused)
        })
    }

    fn finish(&self, first: Encoding, second: Option<Encoding>) -> Result<Tokens> {
        let encoding = self.tokenizer.post_process(first, second, true).map_err(refused)?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec() })
    }
}

fn refused(error: tokenizers::Error) -> Error {
    Error::new(ErrorKind::Inference, "the tokenizer refused a text").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoder(max_length: usize, truncation: Truncation) -> TextEncoder {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
        TextEncoder::new(&std::fs::read(path).unwrap(), max_length, truncation, false).unwrap()
    }

    #[test]
    fn a_limit_without_room_for_text_is_refused() {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
        let json = std::fs::read(path).unwrap();
        let error = TextEncoder::new(&json, 4, Truncation::default(), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Options);
        assert!(error.to_string().contains("3 of them are special"), "{error}");
    }

    #[test]
    fn an_excerpt_gives_the_tokens_of_the_whole_text() {
        let whole: String = (0..40_000).map(|i| format!("word{} and,so on; ", i % 97)).collect();
        assert!(whole.len() > 2 * excerpt::EXACT_BYTES);
        for side in [TruncationSide::Right, TruncationSide::Left] {
            let encoder = encoder(64, Truncation::default().with_side(side));
            let (tokens, cut) = encoder.single(&whole).unwrap();
            let full = encoder.tokenizer.encode_fast(whole.as_str(), false).unwrap();
            let ids = full.get_ids();
            let expected = match side {
                TruncationSide::Right => &ids[..62],
                TruncationSide::Left => &ids[ids.len() - 62..],
            };
            assert_eq!(&tokens.ids[1..63], expected);
            assert!(cut.at_least && cut.document > 0);
        }
    }

    /// Every fixture's token ids are those of `transformers`, cut ones too.
    #[test]
    fn token_ids_equal_the_reference() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let read = |name: &str, file: &str| std::fs::read(folder.join(name).join(file)).unwrap();
        let ids = |value: &serde_json::Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
        let mut compared = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !folder.join(&name).join("expected.json").is_file() || name == "bundled" {
                continue;
            }
            let expected: serde_json::Value = serde_json::from_slice(&read(&name, "expected.json")).unwrap();
            let encoder = |limit: usize, truncation: Truncation| {
                TextEncoder::new(&read(&name, "tokenizer.json"), limit, truncation, false).unwrap()
            };
            let limit = expected["max_length"].as_u64().unwrap() as usize;
            let array = |key: &str| expected[key].as_array().cloned().unwrap_or_default();
            for case in array("texts") {
                let (tokens, _) = encoder(limit, Truncation::default()).single(case["text"].as_str().unwrap()).unwrap();
                assert_eq!(tokens.ids, ids(&case["input_ids"]), "{name}: {case}");
                compared += 1;
            }
            for case in array("pairs").into_iter().chain(array("truncation")) {
                let strategy = match case["strategy"].as_str() {
                    Some("longest_first") => TruncationStrategy::LongestFirst,
                    _ => TruncationStrategy::OnlySecond,
                };
                let side = if case["side"] == "left" { TruncationSide::Left } else { TruncationSide::Right };
                let limit = case["max_length"].as_u64().map_or(limit, |limit| limit as usize);
                let encoder = encoder(limit, Truncation::default().with_strategy(strategy).with_side(side));
                let query = encoder.query(case["query"].as_str().unwrap()).unwrap();
                let (tokens, _) = encoder.pair(&query, case["document"].as_str().unwrap()).unwrap();
                assert_eq!(tokens.ids, ids(&case["input_ids"]), "{name}: {case}");
                if case["token_type_ids"].is_array() {
                    assert_eq!(tokens.type_ids, ids(&case["token_type_ids"]), "{name}: {case}");
                }
                compared += 1;
            }
        }
        assert!(compared > 200, "only {compared} cases were found");
    }

    #[test]
    fn token_ids_of_the_bundled_models_equal_the_reference() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let encoder = |model: &str, limit: usize| {
            let json = std::fs::read(root.join("onnx").join(model).join("tokenizer.json")).unwrap();
            TextEncoder::new(&json, limit, Truncation::default(), false).unwrap()
        };
        let expected = std::fs::read(root.join("tests/fixtures/bundled/expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
        let ids = |value: &serde_json::Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
        let text = |case: &serde_json::Value, key: &str| case[key].as_str().unwrap().to_owned();
        let cross_encoder = encoder("cross-encoder", 512);
        for case in expected["cross_encoder"].as_array().unwrap() {
            let query = cross_encoder.query(&text(case, "query")).unwrap();
            let (tokens, _) = cross_encoder.pair(&query, &text(case, "document")).unwrap();
            assert_eq!(tokens.ids, ids(&case["input_ids"]), "{case}");
            assert_eq!(tokens.type_ids, ids(&case["token_type_ids"]), "{case}");
        }
        let bi_encoder = encoder("bi-encoder", 256);
        for case in expected["bi_encoder"].as_array().unwrap() {
            let (tokens, _) = bi_encoder.single(&text(case, "text")).unwrap();
            assert_eq!(tokens.ids, ids(&case["input_ids"]), "{case}");
        }
    }

    proptest! {
        #[test]
        fn an_input_never_exceeds_the_limit(
            query in ".{0,80}", document in ".{0,400}", limit in 5usize..64, left: bool, longest: bool,
        ) {
            let side = if left { TruncationSide::Left } else { TruncationSide::Right };
            let strategy = if longest { TruncationStrategy::LongestFirst } else { TruncationStrategy::OnlySecond };
            let encoder = encoder(limit, Truncation::default().with_side(side).with_strategy(strategy));
            let query = encoder.query(&query).unwrap();
            let (tokens, cut) = encoder.pair(&query, &document).unwrap();
            prop_assert!(tokens.ids.len() <= limit);
            prop_assert_eq!(tokens.ids.len(), tokens.type_ids.len());
            let whole = query.encoding.len() + encoder.encode(&document).unwrap().0.len() + 3;
            prop_assert_eq!(tokens.ids.len() + cut.query + cut.document, whole);
        }
    }
}

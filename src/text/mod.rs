//! Text → token ids.
//!
//! [`TextEncoder`] owns the tokenizer. A query is tokenised once and joined to each document ([`TextEncoder::pair`]);
//! a single text is encoded for an embedding model ([`TextEncoder::single`]). What does not fit the model's limit is
//! cut by the rules of [`truncation`], and every cut is reported.

mod excerpt;
mod template;
mod truncation;

use std::borrow::Cow;

use tokenizers::Tokenizer;

use crate::error::{Error, ErrorKind, Result};
use excerpt::Encoded;
use template::Template;
pub use truncation::{Truncation, TruncationSide, TruncationStrategy};

/// The token ids of one input of the model: a pair, or a single text, with its special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    /// How many of them come before the document: the query with the special tokens around it. 0 for a single text.
    pub(crate) of_query: usize,
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
pub(crate) struct Query(Encoded);

/// What a tokenizer needs to know of its model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextOptions {
    /// The most tokens of an input, special tokens included.
    pub(crate) max_length: usize,
    pub(crate) truncation: Truncation,
    /// Texts are lower-cased before the tokenizer sees them.
    pub(crate) lower_case: bool,
    /// Tokens have the types that the tokenizer's template gives them; otherwise all have the type 0.
    pub(crate) token_types: bool,
    /// The id of the padding token: it stands for a text without any token.
    pub(crate) pad_id: u32,
}

/// A tokenizer with a model's limits.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    tokenizer: Tokenizer,
    options: TextOptions,
    single: Template,
    pair: Template,
}

impl TextEncoder {
    /// Reads `tokenizer.json`. Padding and truncation that the file carries are cleared: both are decided here.
    pub(crate) fn new(json: &[u8], options: TextOptions) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| Error::model("tokenizer.json cannot be read as a tokenizer").with_source(error))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| Error::model("the tokenizer's truncation cannot be cleared").with_source(error))?;
        let (single, pair) = (Template::single(&tokenizer)?, Template::pair(&tokenizer)?);
        let specials = single.specials().max(pair.specials());
        if options.max_length <= specials + 1 {
            return Err(Error::new(
                ErrorKind::Options,
                format!(
                    "the maximum length is {} tokens, and {specials} of them are special tokens: no room for two texts; \
                     a larger max_length is needed",
                    options.max_length
                ),
            ));
        }
        Ok(Self { tokenizer, options, single, pair })
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
        self.encode(text).map(Query)
    }

    /// Joins a query and a document by the tokenizer's own template, cut to the limit.
    pub(crate) fn pair(&self, query: &Query, document: &str) -> Result<(Tokens, Cut)> {
        let (Query(query), document) = (query, self.encode(document)?);
        let room = self.options.max_length - self.pair.specials();
        let truncation = self.options.truncation;
        let (keep_query, keep_document) = truncation.split(query.ids.len(), document.ids.len(), room);
        let tokens =
            self.pair.frame(truncation.cut(&query.ids, keep_query), truncation.cut(&document.ids, keep_document));
        let cut = Cut {
            query: query.dropped(keep_query),
            document: document.dropped(keep_document),
            at_least: query.partial || document.partial,
        };
        Ok((self.finish(tokens), cut))
    }

    /// Encodes one text with its special tokens, cut to the limit.
    pub(crate) fn single(&self, text: &str) -> Result<(Tokens, Cut)> {
        let text = self.encode(text)?;
        let keep = text.ids.len().min(self.options.max_length - self.single.specials());
        let tokens = self.single.frame(self.options.truncation.cut(&text.ids, keep), &[]);
        let cut = Cut { query: 0, document: text.dropped(keep), at_least: text.partial };
        Ok((self.finish(tokens), cut))
    }

    /// Tokens without special tokens.
    fn encode(&self, text: &str) -> Result<Encoded> {
        let TextOptions { max_length, truncation, lower_case, .. } = self.options;
        excerpt::encode(text, max_length, truncation.side, |text| {
            let text = if lower_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
            let encoding = self.tokenizer.encode_fast(text.as_ref(), false).map_err(refused)?;
            Ok(encoding.get_ids().to_vec())
        })
    }

    /// An empty text whose tokenizer adds no special tokens has no token at all, and no graph takes that: it is run
    /// as one padding token.
    fn finish(&self, mut tokens: Tokens) -> Tokens {
        if !self.options.token_types {
            tokens.type_ids.fill(0);
        }
        if tokens.ids.is_empty() {
            return Tokens { ids: vec![self.options.pad_id], type_ids: vec![0], of_query: 0 };
        }
        tokens
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
        TextEncoder::new(&std::fs::read(path).unwrap(), options(max_length, truncation)).unwrap()
    }

    fn options(max_length: usize, truncation: Truncation) -> TextOptions {
        TextOptions { max_length, truncation, lower_case: false, token_types: true, pad_id: 0 }
    }

    #[test]
    fn a_limit_without_room_for_text_is_refused() {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
        let json = std::fs::read(path).unwrap();
        let error = TextEncoder::new(&json, options(4, Truncation::default())).unwrap_err();
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
                TextEncoder::new(&read(&name, "tokenizer.json"), options(limit, truncation)).unwrap()
            };
            let limit = expected["max_length"].as_u64().unwrap() as usize;
            let array = |key: &str| expected[key].as_array().cloned().unwrap_or_default();
            for case in ["texts", "queries", "documents"].into_iter().flat_map(array) {
                let text = format!("{}{}", case["prompt"].as_str().unwrap_or(""), case["text"].as_str().unwrap());
                let (tokens, _) = encoder(limit, Truncation::default()).single(&text).unwrap();
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
        assert!(compared > 1000, "only {compared} cases were found");
    }

    #[test]
    fn token_ids_of_the_bundled_models_equal_the_reference() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let encoder = |model: &str, limit: usize| {
            let json = std::fs::read(root.join("onnx").join(model).join("tokenizer.json")).unwrap();
            TextEncoder::new(&json, options(limit, Truncation::default())).unwrap()
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

    /// The beginning of the text counts, and something is left out: that is never silent.
    #[test]
    fn a_text_that_is_not_tokenised_to_its_end_is_reported() {
        let encoder = encoder(64, Truncation::default());
        for filler in ["x", " "] {
            let text = format!("{}the old library", filler.repeat(2 << 20));
            let (_, cut) = encoder.single(&text).unwrap();
            assert!(cut.at_least && cut.document > 0, "{cut:?}");
        }
        let (_, cut) = encoder.single(&format!("the old library{}", " ".repeat(2 << 20))).unwrap();
        assert_eq!(cut, Cut::default(), "white space alone is no loss");
    }

    #[test]
    fn templates_that_cannot_be_used_are_refused() {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
        let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let refused = |template: serde_json::Value| {
            let mut json = whole.clone();
            json["post_processor"] = template;
            let json = json.to_string();
            TextEncoder::new(json.as_bytes(), options(64, Truncation::default())).unwrap_err().to_string()
        };
        let sequence = |id: &str| serde_json::json!({"Sequence": {"id": id, "type_id": 0}});
        let template = |single: &[&str], pair: &[&str]| {
            let list = |ids: &[&str]| ids.iter().map(|id| sequence(id)).collect::<Vec<_>>();
            serde_json::json!({
                "type": "TemplateProcessing", "single": list(single), "pair": list(pair), "special_tokens": {}
            })
        };
        assert!(refused(template(&["A"], &["A"])).contains("a pair of texts"));
        assert!(refused(template(&["A"], &["B", "A"])).contains("a pair of texts"));
        assert!(refused(template(&["B"], &["A", "B"])).contains("template"));
        let undefined = serde_json::json!({"SpecialToken": {"id": "[NONE]", "type_id": 0}});
        let mut unknown = template(&["A"], &["A", "B"]);
        unknown["single"].as_array_mut().unwrap().push(undefined);
        assert!(!refused(unknown).is_empty());
    }

    #[test]
    fn a_text_without_tokens_is_one_padding_token() {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        json["post_processor"] = serde_json::Value::Null;
        let options = TextOptions { pad_id: 7, ..options(64, Truncation::default()) };
        let encoder = TextEncoder::new(json.to_string().as_bytes(), options).unwrap();
        let (tokens, _) = encoder.pair(&encoder.query("").unwrap(), "").unwrap();
        assert_eq!(tokens.ids, [7]);
        let (tokens, _) = encoder.pair(&encoder.query("old").unwrap(), "library").unwrap();
        assert_eq!((tokens.ids.len(), tokens.type_ids), (2, vec![0, 1]));
    }

    #[test]
    fn types_are_left_out_where_the_tokenizer_does_not_give_them() {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
        let json = std::fs::read(path).unwrap();
        for (token_types, expected) in [(true, [0, 0, 0, 1, 1]), (false, [0; 5])] {
            let options = TextOptions { token_types, ..options(64, Truncation::default()) };
            let encoder = TextEncoder::new(&json, options).unwrap();
            let (tokens, _) = encoder.pair(&encoder.query("old").unwrap(), "library").unwrap();
            assert_eq!(tokens.type_ids, expected);
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
            let whole = query.0.ids.len() + encoder.encode(&document).unwrap().ids.len() + 3;
            prop_assert_eq!(tokens.ids.len() + cut.query + cut.document, whole);
        }
    }
}

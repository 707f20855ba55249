//! Text → token ids.
//!
//! [`TextEncoder`] owns the tokenizer. A query is tokenised once and joined to each document ([`TextEncoder::pair`]);
//! a single text is encoded for an embedding model ([`TextEncoder::single`]). What does not fit the model's limit is
//! cut by the rules of [`truncation`], and every cut is reported. [`prompt`] is for models that are asked in words, and
//! [`late`] for those that read a query and a document apart and compare their tokens.

mod excerpt;
mod file;
mod late;
mod prompt;
mod template;
mod truncation;
mod windows;

use std::borrow::Cow;
use std::ops::Range;

use tokenizers::Tokenizer;

use crate::error::{Error, ErrorKind, Result};
use crate::model::format::PairFormat;
use crate::windows::WindowOptions;
use excerpt::Encoded;
pub(crate) use late::LateEncoder;
use prompt::Prompt;
use template::Template;
pub use truncation::{Truncation, TruncationSide, TruncationStrategy};

/// The token ids of one input of the model: a pair, or a single text, with its special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    /// How many of them come before the document: the query with the special tokens around it. 0 for a single text.
    pub(crate) of_query: usize,
    /// How many of them, at the end, the model does not attend to.
    pub(crate) unattended: usize,
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
pub(crate) struct Query(Asked);

#[derive(Debug, Clone)]
enum Asked {
    /// Its tokens, without the special ones.
    Tokens(Encoded),
    /// Its text, of which tokens are made together with the document.
    Text(prompt::Question),
}

/// What a tokenizer needs to know of its model.
#[derive(Debug, Clone)]
pub(crate) struct TextOptions {
    /// How a pair is put together.
    pub(crate) format: PairFormat,
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
    pair: Pair,
}

/// How a pair becomes one input.
#[derive(Debug)]
enum Pair {
    /// The tokens of the two texts in a frame, with these words before each.
    Framed { frame: Template, before_query: String, before_document: String },
    /// One text.
    Prompt(Prompt),
}

impl Pair {
    /// The number of tokens that are no text's.
    fn specials(&self) -> usize {
        match self {
            Pair::Framed { frame, .. } => frame.specials(),
            Pair::Prompt(prompt) => prompt.specials(),
        }
    }
}

impl TextEncoder {
    /// Reads `tokenizer.json`. Padding and truncation that the file carries are cleared: both are decided here.
    pub(crate) fn new(json: &[u8], options: TextOptions) -> Result<Self> {
        let mut tokenizer = file::read(json)?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| Error::model("the tokenizer's truncation cannot be cleared").with_source(error))?;
        let single = Template::single(&tokenizer)?;
        let pair = match &options.format {
            PairFormat::Tokenizer => Pair::Framed {
                frame: Template::pair(&tokenizer)?,
                before_query: String::new(),
                before_document: String::new(),
            },
            PairFormat::Pieces(pieces) => {
                let ids = |text: &String| encode(&tokenizer, text, false);
                let after = pieces.after.iter().map(ids).collect::<Result<Vec<_>>>()?.concat();
                Pair::Framed {
                    frame: Template::of_parts(ids(&pieces.before)?, ids(&pieces.between)?, after),
                    before_query: pieces.query.clone(),
                    before_document: pieces.document.clone(),
                }
            }
            PairFormat::Text(format) => Pair::Prompt(Prompt::new(&tokenizer, format)?),
        };
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

    /// The id of a token.
    pub(crate) fn id_of(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The token that has an id.
    pub(crate) fn token_of(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// Tokenises a query for [`pair`](Self::pair).
    pub(crate) fn query(&self, text: &str) -> Result<Query> {
        Ok(Query(match &self.pair {
            Pair::Framed { before_query, .. } => Asked::Tokens(self.encode(before_query, text)?),
            Pair::Prompt(prompt) => {
                let cased = |query: &str| self.cased(query).into_owned();
                Asked::Text(prompt.question(&self.tokenizer, text, self.options.max_length, cased)?)
            }
        }))
    }

    /// Joins a query and a document in the way of the model, cut to the limit.
    pub(crate) fn pair(&self, query: &Query, document: &str) -> Result<(Tokens, Cut)> {
        let (tokens, cut) = match (&self.pair, &query.0) {
            (Pair::Framed { frame, before_document, .. }, Asked::Tokens(query)) => {
                self.framed(frame, query, &self.encode(before_document, document)?)
            }
            (Pair::Prompt(prompt), Asked::Text(question)) => {
                let TextOptions { max_length, truncation: Truncation { side, .. }, .. } = self.options;
                match prompt.without_document(question, max_length, || self.count(document))? {
                    Some(of_query) => of_query,
                    None => {
                        let whole = excerpt::encode(document, max_length, side, |part| {
                            prompt.encode(&self.tokenizer, question, &self.cased(part))
                        })?;
                        prompt.cut(whole, question, max_length, side)
                    }
                }
            }
            _ => return Err(for_another_model()),
        };
        Ok((self.finish(tokens), cut))
    }

    fn framed(&self, frame: &Template, query: &Encoded, document: &Encoded) -> (Tokens, Cut) {
        let truncation = self.options.truncation;
        let room = self.options.max_length - frame.specials();
        let (keep_query, keep_document) = truncation.split(query.ids.len(), document.ids.len(), room);
        let tokens = frame.frame(truncation.cut(&query.ids, keep_query), truncation.cut(&document.ids, keep_document));
        let cut = Cut {
            query: query.dropped(keep_query),
            document: document.dropped(keep_document),
            at_least: query.partial || document.partial,
        };
        (tokens, cut)
    }

    /// The windows in which a document that is too long for the model is read beside the query; none if it fits.
    pub(crate) fn windows(&self, query: &Query, document: &str, options: &WindowOptions) -> Result<Vec<Range<usize>>> {
        let asked = match (&self.pair, &query.0) {
            (Pair::Prompt(prompt), Asked::Text(question)) => prompt.tokens_around(question),
            (Pair::Framed { frame, before_document, .. }, Asked::Tokens(query)) => {
                frame.specials() + query.ids.len() + self.count(before_document)?.0
            }
            _ => return Err(for_another_model()),
        };
        self.windows_of(document, self.options.max_length.saturating_sub(asked), options)
    }

    /// The number of a text's tokens, without special ones, and whether it is a lower bound.
    pub(crate) fn count(&self, text: &str) -> Result<(usize, bool)> {
        self.encode("", text).map(|encoded| (encoded.ids.len(), encoded.partial))
    }

    /// The windows of a text with so many tokens of its own at most.
    fn windows_of(&self, text: &str, room: usize, options: &WindowOptions) -> Result<Vec<Range<usize>>> {
        // No token is shorter than a byte.
        if text.len() <= room {
            return Ok(Vec::new());
        }
        windows::windows(text, room, options, |part| {
            // Not in lower case, where that is wanted: the places are to be those of the text itself.
            let encoding = self.tokenizer.encode(part, false).map_err(refused)?;
            Ok(encoding.get_offsets().iter().map(|(start, end)| *start..*end).collect())
        })
    }

    /// Encodes one text with its special tokens, cut to the limit.
    pub(crate) fn single(&self, text: &str) -> Result<(Tokens, Cut)> {
        let text = self.encode("", text)?;
        let keep = text.ids.len().min(self.options.max_length - self.single.specials());
        let tokens = self.single.frame(self.options.truncation.cut(&text.ids, keep), &[]);
        let cut = Cut { query: 0, document: text.dropped(keep), at_least: text.partial };
        Ok((self.finish(tokens), cut))
    }

    /// Tokens without special tokens, of a text with these words before it.
    fn encode(&self, before: &str, text: &str) -> Result<Encoded> {
        let TextOptions { max_length, truncation, .. } = self.options;
        excerpt::encode(text, max_length, truncation.side, |text| {
            let text = self.cased(text);
            let text = if before.is_empty() { text } else { Cow::Owned(format!("{before}{text}")) };
            encode(&self.tokenizer, &text, false)
        })
    }

    /// The text in lower case, where the model wants that.
    fn cased<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.options.lower_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
    }

    /// An empty text whose tokenizer adds no special tokens has no token at all, and no graph takes that: it is run
    /// as one padding token.
    fn finish(&self, mut tokens: Tokens) -> Tokens {
        if !self.options.token_types {
            tokens.type_ids.fill(0);
        }
        if tokens.ids.is_empty() {
            return Tokens { ids: vec![self.options.pad_id], type_ids: vec![0], ..Tokens::default() };
        }
        tokens
    }
}

/// The token ids of a text, perhaps with the special tokens of the tokenizer's post-processor.
fn encode(tokenizer: &Tokenizer, text: &str, special_tokens: bool) -> Result<Vec<u32>> {
    Ok(tokenizer.encode_fast(text, special_tokens).map_err(refused)?.get_ids().to_vec())
}

fn for_another_model() -> Error {
    Error::new(ErrorKind::Inference, "the query was tokenised for another model")
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
        TextOptions {
            format: PairFormat::Tokenizer,
            max_length,
            truncation,
            lower_case: false,
            token_types: true,
            pad_id: 0,
        }
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

    /// The token ids of late-interaction models, and how many of a document's are compared.
    #[test]
    fn token_ids_of_late_interaction_equal_the_reference() {
        use crate::model::head::Head;
        for name in ["colbert", "colbert-pylate", "colbert-stanford"] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
            let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
            let expected: serde_json::Value = serde_json::from_slice(&read("expected.json")).unwrap();
            let limit = declared_limit(&folder);
            let encoder = TextEncoder::new(&read("tokenizer.json"), options(limit, Truncation::default())).unwrap();
            let Head::LateInteraction(spec) = spec(&folder, None).head else { panic!("{name}") };
            let late = LateEncoder::new(&encoder, &spec).unwrap();
            for case in expected["late"].as_array().unwrap() {
                let ids = |key: &str| -> Vec<u32> { serde_json::from_value(case[key].clone()).unwrap() };
                let (query, _) = late.query(&encoder, case["query"].as_str().unwrap()).unwrap();
                assert_eq!(query.ids, ids("query_ids"), "{name}: {case}");
                let attended = ids("query_mask").iter().sum::<u32>() as usize;
                assert_eq!(query.ids.len() - query.unattended, attended, "{name}: {case}");
                let (document, _) = late.document(&encoder, case["document"].as_str().unwrap()).unwrap();
                assert_eq!(document.ids, ids("document_ids"), "{name}: {case}");
                let compared = document.ids.iter().filter(|id| late.is_compared(**id)).count();
                assert_eq!(compared as u64, case["compared"].as_u64().unwrap(), "{name}: {case}");
            }
        }
    }

    /// What a fixture's folder says of itself as a reranker.
    fn spec(folder: &std::path::Path, instruction: Option<&str>) -> crate::model::head::RerankerSpec {
        use crate::model::head::{FormatOptions, RerankerSpec};
        let (mut files, declared) = declared(folder);
        let told = FormatOptions { instruction: instruction.map(str::to_owned), ..FormatOptions::default() };
        RerankerSpec::read(&mut files, &declared.config, &told).unwrap()
    }

    fn declared(folder: &std::path::Path) -> (crate::model::Files, crate::model::config::Declared) {
        use crate::model::{Files, ModelSource, Task, config::Declared};
        let mut files = Files::open(&ModelSource::dir(folder), Task::CrossEncoder, &Default::default()).unwrap();
        let declared = Declared::read(&mut files, None).unwrap();
        (files, declared)
    }

    fn declared_limit(folder: &std::path::Path) -> usize {
        declared(folder).1.max_length.tokens
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
            let encoder_told = |limit: usize, truncation: Truncation, instruction: Option<&str>| {
                let format = spec(&folder.join(&name), instruction).format;
                let options = TextOptions { format, ..options(limit, truncation) };
                TextEncoder::new(&read(&name, "tokenizer.json"), options).unwrap()
            };
            let encoder = |limit: usize, truncation: Truncation| encoder_told(limit, truncation, None);
            let limit = expected["max_length"].as_u64().unwrap() as usize;
            let array = |key: &str| expected[key].as_array().cloned().unwrap_or_default();
            for case in ["texts", "queries", "documents"].into_iter().flat_map(array) {
                let text = format!("{}{}", case["prompt"].as_str().unwrap_or(""), case["text"].as_str().unwrap());
                let (tokens, _) = encoder(limit, Truncation::default()).single(&text).unwrap();
                assert_eq!(tokens.ids, ids(&case["input_ids"]), "{name}: {case}");
                compared += 1;
            }
            for case in array("instructions") {
                let encoder = encoder_told(limit, Truncation::default(), case["instruction"].as_str());
                let query = encoder.query(case["query"].as_str().unwrap()).unwrap();
                let (tokens, _) = encoder.pair(&query, case["document"].as_str().unwrap()).unwrap();
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

    /// The encoder of a fixture that is asked in one text, and the words around the query and the document.
    fn asked_in_words(
        name: &str,
        limit: usize,
        side: TruncationSide,
    ) -> (TextEncoder, crate::model::format::TextFormat) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let format = spec(&folder, None).format;
        let PairFormat::Text(words) = format.clone() else { panic!("{name}") };
        let options = TextOptions { format, ..options(limit, Truncation::default().with_side(side)) };
        (TextEncoder::new(&std::fs::read(folder.join("tokenizer.json")).unwrap(), options).unwrap(), words)
    }

    const ASKED_IN_WORDS: [&str; 3] = ["qwen3-reranker", "monot5", "logit-score"];

    /// A long query is tokenised in parts, of which nothing is to be seen.
    #[test]
    fn a_long_question_has_the_tokens_of_the_whole() {
        let words = ["river", "Zürich", "漢字", "the", "old", "library?", "\n", "  ", "2009"];
        let query: String = (0..2500).map(|i| words[(i * i + i / 7) % words.len()]).collect::<Vec<_>>().join(" ");
        for name in ASKED_IN_WORDS {
            let (encoder, format) = asked_in_words(name, 100_000, TruncationSide::Right);
            let question = encoder.query(&query).unwrap();
            for document in ["", "a bridge crosses the river", " leading space", "\nline", "漢字", "!"] {
                let (tokens, cut) = encoder.pair(&question, document).unwrap();
                let text = format!("{}{query}{}{document}{}", format.before, format.between, format.after);
                assert_eq!(
                    tokens.ids,
                    super::encode(&encoder.tokenizer, &text, format.special_tokens).unwrap(),
                    "{name}"
                );
                assert_eq!(cut, Cut::default());
            }
        }
    }

    /// A query that leaves no room has the tokens that it would have if the whole were tokenised and cut.
    #[test]
    fn a_question_that_fills_the_model() {
        let query = "where is the old library by the river? ".repeat(3000);
        let document = "a bridge crosses the river";
        for name in ASKED_IN_WORDS {
            let limit = 320;
            let (encoder, format) = asked_in_words(name, limit, TruncationSide::Right);
            let (tokens, cut) = encoder.pair(&encoder.query(&query).unwrap(), document).unwrap();
            let text = format!("{}{query}{}{document}{}", format.before, format.between, format.after);
            let whole = super::encode(&encoder.tokenizer, &text, format.special_tokens).unwrap();
            let end = tokens.ids.iter().rev().zip(whole.iter().rev()).take_while(|(a, b)| a == b).count();
            assert_eq!(tokens.ids.len(), limit);
            assert!(end > 0 && tokens.ids[..limit - end] == whole[..limit - end], "{name}");
            assert_eq!(cut.document, encoder.count(document).unwrap().0, "{name}");
            assert!(cut.query > 1000 && cut.at_least, "{name}: {cut:?}");
        }
    }

    /// The beginning of a document gives way, and the template stays on both sides.
    #[test]
    fn the_beginning_of_a_document_in_a_prompt() {
        let (query, answer) = ("where is the old library?", "by the river in the old town");
        let document = format!("{} {answer}", "a bridge crosses the river. ".repeat(400));
        for name in ASKED_IN_WORDS {
            let limit = 320;
            let (encoder, format) = asked_in_words(name, limit, TruncationSide::Left);
            let (tokens, cut) = encoder.pair(&encoder.query(query).unwrap(), &document).unwrap();
            let ids = |text: &str, special| super::encode(&encoder.tokenizer, text, special).unwrap();
            let question = ids(&format!("{}{query}{}", format.before, format.between), false);
            let whole = ids(
                &format!("{}{query}{}{document}{}", format.before, format.between, format.after),
                format.special_tokens,
            );
            assert_eq!(tokens.ids.len(), limit, "{name}");
            // The last token of the question may be one with the document's first.
            let kept = question.len() - 1;
            assert_eq!(tokens.ids[..kept], question[..kept], "{name}");
            assert_eq!(tokens.ids[kept + 1..], whole[whole.len() - (limit - kept - 1)..], "{name}");
            assert_eq!((cut.query, cut.document, cut.at_least), (0, whole.len() - limit, false), "{name}");
            // A short one is not touched.
            let (tokens, cut) = encoder.pair(&encoder.query(query).unwrap(), answer).unwrap();
            let text = format!("{}{query}{}{answer}{}", format.before, format.between, format.after);
            assert_eq!((tokens.ids, cut), (ids(&text, format.special_tokens), Cut::default()));
        }
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
            let Asked::Tokens(asked) = &query.0 else { unreachable!() };
            let whole = asked.ids.len() + encoder.encode("", &document).unwrap().ids.len() + 3;
            prop_assert_eq!(tokens.ids.len() + cut.query + cut.document, whole);
        }
    }
}

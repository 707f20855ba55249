//! `config.json`, `tokenizer_config.json` and `sentence_bert_config.json`: the head, the labels, the limits.
//!
//! The files are read as `transformers` and `sentence-transformers` write them. Fields that are not needed here are
//! ignored; a field that is needed and has an impossible value is an error.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::files::Files;
use super::info::LimitSource;
use crate::error::{Error, Result};
use crate::ranking::Activation;

/// The limit where no file gives one: what `transformers` users expect of a BERT.
const ASSUMED_MAX_LENGTH: usize = 512;

/// The most tokens of one input where the caller asks for no more: attention needs memory for tokens × tokens, and a model
/// with 40,960 positions would take more than a machine has. Qwen3-Reranker's and mxbai-rerank-v2's own code stops here too.
const LONGEST_BY_DEFAULT: usize = 8192;

/// Longer limits are `transformers`' way of saying "none" (`model_max_length` is 10³⁰ then).
const NO_LIMIT: f64 = 1e9;

/// `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    max_position_embeddings: Option<f64>,
    pub(crate) vocab_size: Option<u64>,
    pub(crate) hidden_size: Option<usize>,
    pad_token_id: Option<i64>,
    decoder_start_token_id: Option<i64>,
    id2label: Option<BTreeMap<String, String>>,
    is_causal: Option<bool>,
    is_encoder_decoder: bool,
    sentence_transformers: Option<SentenceTransformersSection>,
    /// The name of the activation before sentence-transformers 4.
    sbert_ce_default_activation_function: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SentenceTransformersSection {
    activation_fn: Option<String>,
}

/// The part of `tokenizer_config.json` that `tokenizer.json` does not say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
    model_input_names: Option<Vec<String>>,
}

/// `sentence_bert_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SentenceBertConfig {
    max_seq_length: Option<f64>,
    do_lower_case: bool,
}

/// The most tokens of one input, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxLength {
    pub(crate) tokens: usize,
    pub(crate) source: LimitSource,
}

/// What a model's configuration files say that matters to cross-encoders and embedding models alike.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) config: Config,
    pub(crate) max_length: MaxLength,
    /// Texts are lower-cased before the tokenizer sees them (`do_lower_case` of sentence-transformers).
    pub(crate) lower_case: bool,
    /// The beginning of an over-long text is dropped (`truncation_side` of `tokenizer_config.json`).
    pub(crate) cuts_left: bool,
    /// `activation_fn` of `config_sentence_transformers.json`.
    activation_fn: Option<String>,
    /// Whether the types of tokens are told to the model. Where `model_input_names` of `tokenizer_config.json` leaves
    /// `token_type_ids` out, they are 0 for all.
    pub(crate) token_types: bool,
}

/// The names that sentence-transformers has had for `sentence_bert_config.json`.
pub(super) const SENTENCE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

impl Declared {
    /// Reads the files; `wanted` is the caller's own limit.
    pub(crate) fn read(files: &mut Files, wanted: Option<usize>) -> Result<Self> {
        let config: Config = files.required_json("config.json")?;
        let tokenizer: TokenizerConfig = files.optional_json("tokenizer_config.json")?.unwrap_or_default();
        let mut sentence = SentenceBertConfig::default();
        for name in SENTENCE_CONFIGS {
            if let Some(found) = files.optional_json(name)? {
                sentence = found;
                break;
            }
        }
        let max_length = max_length(wanted, &config, tokenizer.model_max_length, sentence.max_seq_length)?;
        let cuts_left = tokenizer.truncation_side.as_deref() == Some("left");
        let token_types =
            tokenizer.model_input_names.is_none_or(|names| names.iter().any(|name| name == "token_type_ids"));
        let model: SentenceTransformersSection =
            files.optional_json("config_sentence_transformers.json")?.unwrap_or_default();
        let activation_fn = model.activation_fn;
        Ok(Self { config, max_length, lower_case: sentence.do_lower_case, cuts_left, activation_fn, token_types })
    }

    /// The activation that sentence-transformers declared, in either of its places.
    pub(crate) fn activation(&self) -> Result<Option<Activation>> {
        self.activation_fn.as_deref().or_else(|| self.config.activation()).map(activation).transpose()
    }
}

impl Config {
    /// The first architecture that is named.
    pub(crate) fn architecture(&self) -> Option<&str> {
        self.architectures.as_ref()?.first().map(String::as_str)
    }

    /// Whether it is a language model whose tokens see none of those after them (`is_causal` false: they see all).
    pub(crate) fn is_causal_language_model(&self) -> bool {
        self.architecture().is_some_and(|name| name.ends_with("ForCausalLM")) && self.is_causal != Some(false)
    }

    /// Whether it answers through a decoder that reads what its encoder makes of a text.
    pub(crate) fn has_decoder(&self) -> bool {
        self.is_encoder_decoder || self.architecture().is_some_and(|name| name.ends_with("ForConditionalGeneration"))
    }

    /// The first position number that a token may have: RoBERTa and its kin keep the numbers up to the padding
    /// token's id for themselves, so that 514 positions mean 512 tokens.
    pub(crate) fn first_position(&self) -> Result<usize> {
        const OFFSET: [&str; 11] = [
            "roberta",
            "xlm-roberta",
            "xlm-roberta-xl",
            "roberta-prelayernorm",
            "camembert",
            "mpnet",
            "longformer",
            "data2vec-text",
            "xmod",
            "ibert",
            "luke",
        ];
        if !self.model_type.as_deref().is_some_and(|kind| OFFSET.contains(&kind)) {
            return Ok(0);
        }
        let pad = self.pad_token_id.unwrap_or(1);
        u32::try_from(pad)
            .ok()
            .and_then(|pad| usize::try_from(pad).ok()?.checked_add(1))
            .ok_or_else(|| Error::model(format!("pad_token_id of config.json is {pad}, which is not a token's id")))
    }

    /// The id of the padding token.
    pub(crate) fn pad_id(&self) -> u32 {
        self.pad_token_id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0)
    }

    /// The id of the token with which a decoder starts; the padding token's, where nothing is said, as in T5.
    pub(crate) fn decoder_start(&self) -> u32 {
        self.decoder_start_token_id.and_then(|id| u32::try_from(id).ok()).unwrap_or_else(|| self.pad_id())
    }

    /// The names of the labels in the order of the logits, where the file names them.
    pub(crate) fn labels(&self) -> Result<Vec<String>> {
        let Some(names) = &self.id2label else {
            return Ok(Vec::new());
        };
        (0..names.len())
            .map(|i| {
                names.get(&i.to_string()).cloned().ok_or_else(|| {
                    Error::model(format!("id2label of config.json has {} labels but none with id {i}", names.len()))
                })
            })
            .collect()
    }

    /// The name of the activation that sentence-transformers wrote into the file.
    fn activation(&self) -> Option<&str> {
        let section = self.sentence_transformers.as_ref().and_then(|section| section.activation_fn.as_deref());
        section.or(self.sbert_ce_default_activation_function.as_deref())
    }
}

/// An activation by the name of its class in torch.
fn activation(name: &str) -> Result<Activation> {
    // `torch.nn.modules.activation.Sigmoid`; `torch.nn.Sigmoid()` in hand-written files.
    match name.rsplit('.').next().unwrap_or(name).trim_end_matches("()") {
        "Sigmoid" => Ok(Activation::Sigmoid),
        "Identity" => Ok(Activation::Identity),
        "Softmax" => Ok(Activation::Softmax),
        _ => Err(Error::model(format!(
            "the model's configuration asks for the activation `{name}`, and Sigmoid, Identity and Softmax are the known \
             ones; choose one with `activation`"
        ))),
    }
}

fn max_length(
    wanted: Option<usize>,
    config: &Config,
    tokenizer: Option<f64>,
    sentence: Option<f64>,
) -> Result<MaxLength> {
    let reserved = config.first_position()? as f64;
    let positions = config.max_position_embeddings.filter(|n| *n >= 1.0).map(|n| n - reserved);
    if let Some(positions) = positions.filter(|n| *n < 1.0) {
        return Err(Error::model(format!(
            "max_position_embeddings of config.json leaves {positions} positions for tokens, as {reserved} of them are \
             kept by models of this kind"
        )));
    }
    let declared = [
        (positions, LimitSource::Positions),
        (tokenizer, LimitSource::Tokenizer),
        (sentence, LimitSource::SentenceTransformers),
    ];
    let limits = declared.into_iter().filter_map(|(limit, source)| {
        let limit = limit.filter(|n| (1.0..NO_LIMIT).contains(n))?;
        // The range was checked: the conversion is exact.
        Some(MaxLength { tokens: limit as usize, source })
    });
    let lowest = limits.min_by_key(|limit| limit.tokens);
    if let Some(tokens) = wanted {
        // The caller may go above what the tokenizer suggests, never above what the graph has positions for.
        if let Some(positions) = positions.filter(|positions| (tokens as f64) > *positions) {
            return Err(Error::new(
                crate::ErrorKind::Options,
                format!("max_length is {tokens}, but the model has positions for {positions} tokens; ask for no more"),
            ));
        }
        if tokens as f64 >= NO_LIMIT {
            let message = format!("max_length is {tokens}, and no model takes so many tokens");
            return Err(Error::new(crate::ErrorKind::Options, message));
        }
        return Ok(MaxLength { tokens, source: LimitSource::Caller });
    }
    Ok(match lowest {
        Some(limit) if limit.tokens > LONGEST_BY_DEFAULT => {
            MaxLength { tokens: LONGEST_BY_DEFAULT, source: LimitSource::Memory }
        }
        Some(limit) => limit,
        None => MaxLength { tokens: ASSUMED_MAX_LENGTH, source: LimitSource::Assumed },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn xlm_r_has_two_tokens_less_than_positions() {
        let config = config(r#"{"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}"#);
        let limit = max_length(None, &config, Some(514.0), None).unwrap();
        assert_eq!(limit, MaxLength { tokens: 512, source: LimitSource::Positions });
    }

    #[test]
    fn no_limit_is_not_a_limit() {
        let huge = serde_json::from_str::<TokenizerConfig>(r#"{"model_max_length": 1000000000000000019884624838656}"#);
        let limit = max_length(None, &Config::default(), huge.unwrap().model_max_length, None).unwrap();
        assert_eq!(limit, MaxLength { tokens: 512, source: LimitSource::Assumed });
    }

    #[test]
    fn long_limits_are_for_those_who_ask() {
        let config = config(r#"{"model_type": "qwen3", "max_position_embeddings": 40960}"#);
        let limit = |wanted| max_length(wanted, &config, Some(131_072.0), None).unwrap();
        assert_eq!(limit(None), MaxLength { tokens: 8192, source: LimitSource::Memory });
        assert_eq!(limit(Some(40_960)), MaxLength { tokens: 40_960, source: LimitSource::Caller });
    }

    #[test]
    fn the_lowest_declared_limit_counts_unless_the_caller_sets_one() {
        let config = config(r#"{"model_type": "bert", "max_position_embeddings": 512}"#);
        let limit = |wanted| max_length(wanted, &config, Some(512.0), Some(256.0));
        assert_eq!(limit(None).unwrap().tokens, 256);
        assert_eq!(limit(Some(300)).unwrap(), MaxLength { tokens: 300, source: LimitSource::Caller });
        let message = limit(Some(513)).unwrap_err().to_string();
        assert!(message.contains("513") && message.contains("512"), "{message}");
    }

    #[test]
    fn activations_of_old_and_new_files() {
        let of = |json: &str| config(json).activation().map(activation).transpose();
        let new = r#"{"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}"#;
        assert_eq!(of(new).unwrap(), Some(Activation::Identity));
        let old = r#"{"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}"#;
        assert_eq!(of(old).unwrap(), Some(Activation::Sigmoid));
        assert_eq!(of("{}").unwrap(), None);
        let odd = r#"{"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}"#;
        assert!(of(odd).unwrap_err().to_string().contains("Tanh"));
    }

    #[test]
    fn labels_are_ordered_by_number_not_by_text() {
        let names: Vec<String> = (0..12).map(|i| format!("\"{i}\": \"label {i}\"")).collect();
        let config = config(&format!("{{\"id2label\": {{{}}}}}", names.join(",")));
        assert_eq!(config.labels().unwrap()[10], "label 10");
    }
}

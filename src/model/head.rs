//! What a reranker's folder says of its head: what is read from the graph, and how a pair is put to it.

use serde::Deserialize;

use super::chat::ChatTemplate;
use super::config::Config;
use super::files::Files;
use super::format::{PairFormat, PairTemplate};
use super::late::LateSpec;
use super::modules::ModuleEntry;
use super::pooling::{EmbeddingSpec, Prompts};
use crate::error::{Error, ErrorKind, Result};
use crate::loading::printable;

/// What makes a score of the graph's output.
#[derive(Debug)]
pub(crate) enum Head {
    /// One logit for each label.
    Labels,
    /// Vectors of tokens, of which pooling and modules behind the graph make the labels' logits.
    Pooled(Box<EmbeddingSpec>),
    /// A language model's logits for the next token: one word's, or one's against another's.
    NextToken { positive: Word, negative: Option<Word> },
    /// Vectors of tokens, compared by MaxSim.
    LateInteraction(LateSpec),
}

/// A word of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    Id(u32),
    Text(&'static str),
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Word::Id(id) => write!(f, "token {id}"),
            Word::Text(text) => write!(f, "`{text}`"),
        }
    }
}

/// How a reranker is run.
#[derive(Debug)]
pub(crate) struct RerankerSpec {
    pub(crate) head: Head,
    pub(crate) format: PairFormat,
    /// Where the format comes from, in words; nothing for the tokenizer's own.
    pub(crate) format_origin: Option<String>,
}

/// What the caller wants of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FormatOptions {
    pub(crate) template: Option<PairTemplate>,
    pub(crate) instruction: Option<String>,
}

/// `N_LogitScore/config.json` of sentence-transformers.
#[derive(Debug, Deserialize)]
struct LogitScoreConfig {
    true_token_id: u32,
    false_token_id: Option<u32>,
}

impl RerankerSpec {
    pub(crate) fn read(files: &mut Files, config: &Config, options: &FormatOptions) -> Result<Self> {
        let architecture = config.architecture().unwrap_or_default();
        if let Some(late) = LateSpec::read(files, config)? {
            refuse_options(options, "late interaction has no template for pairs")?;
            return Ok(Self { head: Head::LateInteraction(late), format: PairFormat::Tokenizer, format_origin: None });
        }
        let modules = ModuleEntry::read_all(files)?;
        let is = |module: &&ModuleEntry| module.class() == "LogitScore";
        let declared = match modules.iter().find(is) {
            Some(module) => Some(files.required_json::<LogitScoreConfig>(&module.file("config.json")?)?),
            None => None,
        };
        let generates = architecture.ends_with("ForCausalLM") || architecture.ends_with("ForConditionalGeneration");
        let answers = declared.is_some() || generates;
        let (format, origin, template) = match options.template {
            Some(template) => {
                (known(template, options)?, Some(format!("{template} (set by the caller)")), Some(template))
            }
            None => format(files, architecture, answers, options)?,
        };
        let head = match (declared, template.and_then(PairTemplate::answers)) {
            (Some(score), _) => Head::NextToken {
                positive: Word::Id(score.true_token_id),
                negative: score.false_token_id.map(Word::Id),
            },
            (None, Some(words)) if generates => {
                Head::NextToken { positive: Word::Text(words.positive), negative: words.negative.map(Word::Text) }
            }
            // What sentence-transformers takes where nothing is declared.
            (None, None) if generates => {
                Head::NextToken { positive: Word::Text("yes"), negative: Some(Word::Text("no")) }
            }
            // sentence-transformers makes the scores of these models behind the encoder.
            _ if modules.iter().any(|module| module.class() == "Pooling") && is_cross_encoder(files)? => {
                Head::Pooled(Box::new(EmbeddingSpec::read_for_scores(files, config)?))
            }
            _ => Head::Labels,
        };
        Ok(Self { head, format, format_origin: origin })
    }
}

/// Whether sentence-transformers wrote the folder as that of a cross-encoder.
fn is_cross_encoder(files: &mut Files) -> Result<bool> {
    /// `config_sentence_transformers.json`.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Settings {
        model_type: Option<String>,
    }
    let settings: Settings = files.optional_json("config_sentence_transformers.json")?.unwrap_or_default();
    Ok(settings.model_type.as_deref() == Some("CrossEncoder"))
}

type Chosen = (PairFormat, Option<String>, Option<PairTemplate>);

/// The format that the folder asks for.
fn format(files: &mut Files, architecture: &str, answers: bool, options: &FormatOptions) -> Result<Chosen> {
    let instruction = options.instruction.as_deref();
    let declared = ChatTemplate::is_declared(files)?;
    let chat = if answers || declared { ChatTemplate::read(files)? } else { None };
    let known_template = PairTemplate::of_architecture(architecture).filter(|_| answers);
    let mut refused = None;
    // A chat that nobody declares is one for pairs only if it says so: most are not.
    if let Some(chat) = chat.filter(|chat| declared || chat.names_the_roles()) {
        let prompts = Prompts::read(files)?;
        let default = Some(prompts.of_texts()).filter(|prompt| !prompt.is_empty());
        match chat.pair_format(instruction.or(default)) {
            Ok(format) => {
                if instruction.is_some() && !chat.takes_instruction() {
                    refuse_options(options, "the model's chat template takes none")?;
                }
                return Ok((PairFormat::Text(format), Some(chat.declared_in.to_owned()), None));
            }
            Err(reason) => {
                let reason = format!("the chat template in {} cannot be used: {reason}", chat.declared_in);
                if declared {
                    return Err(Error::model(format!(
                        "{} is asked through its chat template, and {reason}",
                        files.name()
                    )));
                }
                refused = Some(reason);
            }
        }
    }
    if !answers {
        return Ok((known(PairTemplate::Tokenizer, options)?, None, Some(PairTemplate::Tokenizer)));
    }
    if let Some(template) = known_template {
        return Ok((known(template, options)?, Some(format!("{template} (by its architecture)")), Some(template)));
    }
    Err(Error::model(format!(
        "{} is a language model ({}), and it is not known how to ask it: it needs a chat template with the roles `query` \
         and `document` (sentence-transformers' layout), or one of the known templates, named with `template`{}",
        files.name(),
        printable(architecture),
        refused.map_or(String::new(), |reason| format!("; {reason}"))
    )))
}

fn known(template: PairTemplate, options: &FormatOptions) -> Result<PairFormat> {
    if options.instruction.is_some() && !template.takes_instruction() {
        refuse_options(options, &format!("the template `{template}` takes none"))?;
    }
    Ok(template.format(options.instruction.as_deref()))
}

fn refuse_options(options: &FormatOptions, reason: &str) -> Result<()> {
    let what = match (&options.instruction, options.template) {
        (Some(_), _) => "an instruction was given",
        (None, Some(_)) => "a template was given",
        (None, None) => return Ok(()),
    };
    Err(Error::new(ErrorKind::Options, format!("{what}, but {reason}")))
}

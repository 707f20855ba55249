//! How a reranker wants a query and a document put together.
//!
//! Most cross-encoders are asked with their tokenizer's own template for a pair. Language models are asked in words; the
//! words are those of the models' own documentation and code, and decide about the scores.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A known way to put a query and a document to a reranker.
///
/// A model's folder mostly says which one it is for: its architecture, or its chat template. It is chosen by hand
/// ([`RerankerBuilder::template`](crate::RerankerBuilder::template)) where the folder cannot say it, as with language
/// models that were converted to sequence classifiers.
///
/// ```
/// use crossrank::PairTemplate;
///
/// let template: PairTemplate = "qwen3-reranker".parse()?;
/// assert_eq!(template, PairTemplate::Qwen3Reranker);
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PairTemplate {
    /// The template for a pair in the tokenizer's own post-processor, such as `[CLS] query [SEP] document [SEP]`.
    Tokenizer,
    /// The chat of Qwen3-Reranker, as its model card has it: an instruction, the query, the document, and the question
    /// whether the document meets the requirements, to be answered with `yes` or `no`.
    Qwen3Reranker,
    /// The chat of mxbai-rerank-v2, as its package `mxbai-rerank` has it, to be answered with `1` or `0`.
    MxbaiRerankV2,
    /// The text of bge-reranker-v2-gemma, as its package `FlagEmbedding` has it (`A: query`, `B: passage`), to be
    /// answered with `Yes`.
    BgeRerankerV2Gemma,
    /// `Query: … Document: … Relevant:`, the text of monoT5, to be answered with `true` or `false`.
    MonoT5,
}

/// The names on a command line.
const NAMES: [(PairTemplate, &str); 5] = [
    (PairTemplate::Tokenizer, "tokenizer"),
    (PairTemplate::Qwen3Reranker, "qwen3-reranker"),
    (PairTemplate::MxbaiRerankV2, "mxbai-rerank-v2"),
    (PairTemplate::BgeRerankerV2Gemma, "bge-reranker-v2-gemma"),
    (PairTemplate::MonoT5, "monot5"),
];

impl fmt::Display for PairTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(template, _)| template == self).map_or("unknown", |(_, name)| *name);
        f.write_str(name)
    }
}

impl FromStr for PairTemplate {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(template, _)| *template).ok_or_else(|| {
            let known = NAMES.map(|(_, name)| name).join(", ");
            Error::new(ErrorKind::Options, format!("`{name}` is not a template for pairs; {known} are"))
        })
    }
}

/// How the token ids of a pair are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PairFormat {
    /// By the tokenizer's post-processor.
    Tokenizer,
    /// Of pieces that are tokenised one by one.
    Pieces(PieceFormat),
    /// Of one text that is tokenised as a whole.
    Text(TextFormat),
}

/// Pieces that are tokenised one by one: `before`, `query` and the query, `between`, `document` and the document, and each
/// of `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PieceFormat {
    pub(crate) before: String,
    pub(crate) query: String,
    pub(crate) between: String,
    pub(crate) document: String,
    pub(crate) after: Vec<String>,
}

/// What stands around the two texts in one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFormat {
    pub(crate) before: String,
    pub(crate) between: String,
    pub(crate) after: String,
    /// The tokenizer's post-processor adds its special tokens.
    pub(crate) special_tokens: bool,
}

/// The words whose logits are the answer, as the vocabulary has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerWords {
    pub(crate) positive: &'static str,
    pub(crate) negative: Option<&'static str>,
}

impl PairTemplate {
    /// The template of the rerankers that have this architecture.
    pub(super) fn of_architecture(architecture: &str) -> Option<Self> {
        match architecture {
            "Qwen3ForCausalLM" => Some(PairTemplate::Qwen3Reranker),
            "Qwen2ForCausalLM" => Some(PairTemplate::MxbaiRerankV2),
            "GemmaForCausalLM" => Some(PairTemplate::BgeRerankerV2Gemma),
            // Not mT5: its rerankers answer with other words, each with its own.
            "T5ForConditionalGeneration" => Some(PairTemplate::MonoT5),
            _ => None,
        }
    }

    /// The words that answer, where the template asks for words.
    pub(super) fn answers(self) -> Option<AnswerWords> {
        let (positive, negative) = match self {
            PairTemplate::Tokenizer => return None,
            PairTemplate::Qwen3Reranker => ("yes", Some("no")),
            PairTemplate::MxbaiRerankV2 => ("1", Some("0")),
            PairTemplate::BgeRerankerV2Gemma => ("Yes", None),
            PairTemplate::MonoT5 => ("▁true", Some("▁false")),
        };
        Some(AnswerWords { positive, negative })
    }

    /// Whether an instruction can be put into it.
    pub(super) fn takes_instruction(self) -> bool {
        !matches!(self, PairTemplate::Tokenizer | PairTemplate::MonoT5)
    }

    pub(super) fn format(self, instruction: Option<&str>) -> PairFormat {
        match self {
            PairTemplate::Tokenizer => PairFormat::Tokenizer,
            PairTemplate::Qwen3Reranker => PairFormat::Text(TextFormat {
                before: format!(
                    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the \
                     Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n\
                     <Instruct>: {}\n<Query>: ",
                    instruction.unwrap_or("Given a web search query, retrieve relevant passages that answer the query")
                ),
                between: "\n<Document>: ".to_owned(),
                after: "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n".to_owned(),
                special_tokens: false,
            }),
            PairTemplate::MxbaiRerankV2 => PairFormat::Pieces(PieceFormat {
                before: "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.\
                         <|im_end|>\n<|im_start|>user\n"
                    .to_owned(),
                query: match instruction {
                    Some(instruction) => format!("instruction: {instruction}\nquery: "),
                    None => "query: ".to_owned(),
                },
                between: "\n".to_owned(),
                document: "document: ".to_owned(),
                after: [
                    "\n",
                    "You are a search relevance expert who evaluates how well documents match search queries. For each \
                     query-document pair, carefully analyze the semantic relationship between them, then provide your \
                     binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:",
                    "<|im_end|>\n<|im_start|>assistant\n",
                ]
                .map(str::to_owned)
                .to_vec(),
            }),
            PairTemplate::BgeRerankerV2Gemma => PairFormat::Pieces(PieceFormat {
                before: "<bos>".to_owned(),
                query: "A: ".to_owned(),
                between: "\n".to_owned(),
                document: "B: ".to_owned(),
                after: vec![
                    "\n".to_owned(),
                    instruction
                        .unwrap_or(
                            "Given a query A and a passage B, determine whether the passage contains an answer to the \
                             query by providing a prediction of either 'Yes' or 'No'.",
                        )
                        .to_owned(),
                ],
            }),
            PairTemplate::MonoT5 => PairFormat::Text(TextFormat {
                before: "Query: ".to_owned(),
                between: " Document: ".to_owned(),
                after: " Relevant:".to_owned(),
                special_tokens: true,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (template, name) in NAMES {
            assert_eq!((template.to_string().as_str(), name.parse::<PairTemplate>().unwrap()), (name, template));
        }
        let error = "chatml".parse::<PairTemplate>().unwrap_err();
        assert!(error.to_string().contains("qwen3-reranker"), "{error}");
    }
}

//! What is read from a reranker's graph for one pair: the labels' logits, a language model's answer, or vectors to compare.

use ndarray::{Array2, ArrayView2, Axis};

use crate::engine::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::loading::printable;
use crate::model::head::{Head, Word};
use crate::model::late::LateSpec;
use crate::text::{LateEncoder, TextEncoder, Tokens};

/// How logits come out of a graph's output.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The output has them.
    Labels,
    /// The words that answer, of the logits for the next token.
    NextToken { positive: usize, negative: Option<usize> },
    /// Query and document are read apart.
    Late(LateInteraction),
}

impl Reading {
    /// Looks up the head's words and lengths in the tokenizer.
    pub(crate) fn new(head: &Head, encoder: &TextEncoder, model: &str) -> Result<Self> {
        Ok(match head {
            Head::Labels => Self::Labels,
            Head::NextToken { positive, negative } => {
                let id = |word: &Word| {
                    let id = match word {
                        Word::Id(id) => Some(*id),
                        Word::Text(text) => encoder.id_of(text),
                    };
                    id.and_then(|id| usize::try_from(id).ok()).ok_or_else(|| {
                        Error::model(format!(
                            "{model} is to answer with {word:?}, and tokenizer.json has no such token; name the \
                             template that the model was trained with"
                        ))
                    })
                };
                Self::NextToken { positive: id(positive)?, negative: negative.as_ref().map(id).transpose()? }
            }
            Head::LateInteraction(spec) => Self::Late(LateInteraction::new(encoder, spec)?),
        })
    }

    /// What a score is made of, in words.
    pub(crate) fn describe(&self, encoder: &TextEncoder) -> String {
        let word = |id: usize| {
            let token = u32::try_from(id).ok().and_then(|id| encoder.token_of(id));
            token.map_or_else(|| id.to_string(), |token| format!("`{}`", printable(&token)))
        };
        match self {
            Self::Labels => "labels".to_owned(),
            Self::NextToken { positive, negative: Some(negative) } => {
                format!("next token: {} against {}", word(*positive), word(*negative))
            }
            Self::NextToken { positive, negative: None } => format!("next token: {}", word(*positive)),
            Self::Late(_) => "late interaction (MaxSim)".to_owned(),
        }
    }

    /// Whether the output, `[…, width]` for one input, is one that can be read; the number of logits.
    pub(crate) fn check(&self, shape: &[usize]) -> std::result::Result<usize, &'static str> {
        match (self, shape) {
            (Self::Labels, &[labels]) => Ok(labels),
            (Self::Labels, _) => Err("a cross-encoder gives [labels]"),
            // A graph that keeps nothing but the difference of the words' logits.
            (Self::NextToken { .. }, &[1] | &[_, 1]) => Ok(1),
            (Self::NextToken { positive, negative }, &[words] | &[_, words]) => {
                let largest = (*positive).max(negative.unwrap_or(0));
                if largest < words {
                    Ok(1)
                } else {
                    Err("a language model gives a logit for each word of its vocabulary")
                }
            }
            (Self::Late(_), &[_, _]) => Ok(1),
            (Self::Late(_), _) => Err("late interaction needs [tokens, dimensions]"),
            (Self::NextToken { .. }, _) => Err("a language model gives [tokens, words]"),
        }
    }

    /// The logits of a graph that reads the pair together.
    pub(crate) fn logits(&self, output: Output<'_>) -> Vec<f32> {
        let Self::NextToken { positive, negative } = self else { return output.values.to_vec() };
        let words = output.shape.last().copied().unwrap_or(0);
        let last = &output.values[output.values.len() - words..];
        vec![match (last, negative) {
            ([difference], _) => *difference,
            (last, Some(negative)) => last[*positive] - last[*negative],
            (last, None) => last[*positive],
        }]
    }
}

/// MaxSim: each token of the query is compared with all of the document, and the greatest similarities are added up
/// (Khattab and Zaharia, "ColBERT", 2020, section 3.3).
#[derive(Debug)]
pub(crate) struct LateInteraction {
    pub(crate) texts: LateEncoder,
    normalize: bool,
}

/// The vectors of a query's tokens, `[tokens, dimensions]`.
#[derive(Debug)]
pub(crate) struct QueryVectors(Array2<f32>);

impl LateInteraction {
    fn new(encoder: &TextEncoder, spec: &LateSpec) -> Result<Self> {
        Ok(Self { texts: LateEncoder::new(encoder, spec)?, normalize: spec.normalize })
    }

    pub(crate) fn query(&self, output: Output<'_>) -> Result<QueryVectors> {
        Ok(QueryVectors(self.vectors(output, |_| true)?))
    }

    /// The similarity of a query and a document; 0 for a document none of whose tokens is compared.
    pub(crate) fn similarity(&self, query: &QueryVectors, document: &Tokens, output: Output<'_>) -> Result<f32> {
        let compared = |token: usize| document.ids.get(token).is_some_and(|id| self.texts.is_compared(*id));
        let document = self.vectors(output, compared)?;
        if document.is_empty() {
            return Ok(0.0);
        }
        // A NaN stays one, to be reported: `f32::max` would hide it.
        let greater = |a: f32, b: &f32| if a.is_nan() || *b <= a { a } else { *b };
        let similarities = query.0.dot(&document.t());
        Ok(similarities.axis_iter(Axis(0)).map(|row| row.fold(f32::NEG_INFINITY, greater)).sum())
    }

    /// The vectors of the tokens that are kept.
    fn vectors(&self, output: Output<'_>, keep: impl Fn(usize) -> bool) -> Result<Array2<f32>> {
        let wrong = || Error::new(ErrorKind::Inference, "the output does not have its own shape");
        let &[tokens, dimensions] = output.shape else { return Err(wrong()) };
        let all = ArrayView2::from_shape((tokens, dimensions), output.values).map_err(|_| wrong())?;
        let kept: Vec<usize> = (0..tokens).filter(|token| keep(*token)).collect();
        let mut vectors = all.select(Axis(0), &kept);
        if self.normalize {
            for mut vector in vectors.rows_mut() {
                let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12) as f32;
                vector /= length;
            }
        }
        Ok(vectors)
    }
}

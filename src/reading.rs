//! What is read from a reranker's graph for one pair: the labels' logits, a language model's answer, or vectors to compare.

use ndarray::{Array2, ArrayView2, Axis};

use crate::engine::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::loading::printable;
use crate::model::dense::{Dense, Module};
use crate::model::head::{Head, Word};
use crate::model::late::LateSpec;
use crate::model::pooling::EmbeddingSpec;
use crate::text::{LateEncoder, TextEncoder, Tokens};

/// How logits come out of a graph's output.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The output has them.
    Labels,
    /// They are made of the tokens' vectors.
    Pooled(Box<EmbeddingSpec>),
    /// The words that answer, of the logits for the next token.
    NextToken { positive: usize, negative: Option<usize> },
    /// Query and document are read apart.
    Late(LateInteraction),
}

impl Reading {
    /// Looks up the head's words and lengths in the tokenizer.
    pub(crate) fn new(head: Head, encoder: &TextEncoder, model: &str) -> Result<Self> {
        Ok(match head {
            Head::Labels => Self::Labels,
            Head::Pooled(spec) => Self::Pooled(spec),
            Head::NextToken { positive, negative } => {
                let id = |word: &Word| {
                    let id = match word {
                        Word::Id(id) => Some(*id),
                        Word::Text(text) => encoder.id_of(text),
                    };
                    id.and_then(|id| usize::try_from(id).ok()).ok_or_else(|| {
                        Error::model(format!(
                            "{model} is to answer with {word}, and tokenizer.json has no such token; name the \
                             template that the model was trained with"
                        ))
                    })
                };
                Self::NextToken { positive: id(&positive)?, negative: negative.as_ref().map(id).transpose()? }
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
            Self::Pooled(spec) => {
                let modules: Vec<String> = spec.modules.iter().map(Module::to_string).collect();
                format!("{} pooling, {}", spec.pooling, modules.join(", "))
            }
            Self::NextToken { positive, negative: Some(negative) } => {
                format!("next token: {} against {}", word(*positive), word(*negative))
            }
            Self::NextToken { positive, negative: None } => format!("next token: {}", word(*positive)),
            Self::Late(_) => "late interaction (MaxSim)".to_owned(),
        }
    }

    /// Whether the output, `[…, width]` for one input, is one that can be read; the number of logits.
    pub(crate) fn check(&mut self, shape: &[usize]) -> std::result::Result<usize, String> {
        match (self, shape) {
            // A graph that has pooling and modules inside.
            (Self::Labels | Self::Pooled(_), &[labels]) => Ok(labels),
            (Self::Labels, _) => Err("a cross-encoder gives [labels]".to_owned()),
            (Self::Pooled(spec), &[_, width]) => {
                let pooled = width * spec.pooling.modes().len();
                let after = |width, module: &Module| module.width_after(width);
                spec.modules.iter().try_fold(pooled, after).map_err(|error| error.to_string())
            }
            // A graph that keeps nothing but the difference of the words' logits.
            (Self::NextToken { .. }, &[1] | &[_, 1]) => Ok(1),
            (Self::NextToken { positive, negative }, &[words] | &[_, words]) => {
                let largest = (*positive).max(negative.unwrap_or(0));
                let wanted = "a language model gives a logit for each word of its vocabulary";
                if largest < words { Ok(1) } else { Err(wanted.to_owned()) }
            }
            (Self::Late(late), &[_, width]) => late.fit(width).map(|()| 1),
            (Self::Late(_), _) => Err("late interaction needs [tokens, dimensions]".to_owned()),
            (Self::NextToken { .. } | Self::Pooled(_), _) => Err("[tokens, words or dimensions] is wanted".to_owned()),
        }
    }

    /// The logits of a graph that reads the pair together.
    pub(crate) fn logits(&self, output: Output<'_>) -> Result<Vec<f32>> {
        match (self, output.shape) {
            (Self::Pooled(spec), &[_, _]) => {
                let pooled = spec.pooling.pool(vectors(output)?);
                Ok(spec.modules.iter().fold(pooled, |vector, module| module.apply(vector)))
            }
            (Self::NextToken { positive, negative }, shape) => {
                let words = shape.last().copied().unwrap_or(0);
                let last = &output.values[output.values.len() - words..];
                Ok(vec![match (last, negative) {
                    ([difference], _) => *difference,
                    (last, Some(negative)) => last[*positive] - last[*negative],
                    (last, None) => last[*positive],
                }])
            }
            (Self::Labels | Self::Pooled(_) | Self::Late(_), _) => Ok(output.values.to_vec()),
        }
    }
}

/// MaxSim: each token of the query is compared with all of the document, and the greatest similarities are added up
/// (Khattab and Zaharia, "ColBERT", 2020, section 3.3).
#[derive(Debug)]
pub(crate) struct LateInteraction {
    pub(crate) texts: LateEncoder,
    projections: Vec<Dense>,
    width: Option<usize>,
    hidden_size: Option<usize>,
    normalize: bool,
}

/// The vectors of a query's tokens, `[tokens, dimensions]`.
#[derive(Debug)]
pub(crate) struct QueryVectors(Array2<f32>);

impl LateInteraction {
    fn new(encoder: &TextEncoder, spec: LateSpec) -> Result<Self> {
        let texts = LateEncoder::new(encoder, &spec)?;
        let LateSpec { projections, width, hidden_size, normalize, .. } = spec;
        Ok(Self { texts, projections, width, hidden_size, normalize })
    }

    /// Whether vectors of this width can be projected. A graph that gives what the last projection gives, and not what the
    /// first one takes, has them inside.
    fn fit(&mut self, width: usize) -> std::result::Result<(), String> {
        let (Some(first), Some(last)) = (self.projections.first(), self.projections.last()) else {
            // Without its projection an encoder gives hidden states, which compare to nothing of use.
            return match (self.width, self.hidden_size) {
                (Some(wanted), _) if wanted != width => Err(format!("the model's vectors have {wanted} dimensions")),
                (None, Some(hidden)) if hidden == width => {
                    Err("these are the encoder's hidden states: the projection is missing in the graph".to_owned())
                }
                _ => Ok(()),
            };
        };
        if first.inputs() != width && last.outputs() == width {
            self.projections.clear();
            return Ok(());
        }
        let mut given = width;
        for projection in &self.projections {
            if projection.inputs() != given {
                return Err(format!(
                    "a projection of modules.json takes {} dimensions, not {given}",
                    projection.inputs()
                ));
            }
            given = projection.outputs();
        }
        Ok(())
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
        let all = vectors(output)?;
        let kept: Vec<usize> = (0..all.nrows()).filter(|token| keep(*token)).collect();
        let hidden = all.select(Axis(0), &kept);
        let mut vectors = self.projections.iter().fold(hidden, |vectors, projection| projection.apply_rows(&vectors));
        if self.normalize {
            for mut vector in vectors.rows_mut() {
                let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12) as f32;
                vector /= length;
            }
        }
        Ok(vectors)
    }
}

/// The vectors of an output's tokens.
fn vectors(output: Output<'_>) -> Result<ArrayView2<'_, f32>> {
    let wrong = || Error::new(ErrorKind::Inference, "the output does not have its own shape");
    let &[tokens, dimensions] = output.shape else { return Err(wrong()) };
    ArrayView2::from_shape((tokens, dimensions), output.values).map_err(|_| wrong())
}

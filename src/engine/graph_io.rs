//! The graph's inputs and outputs: which are fed, which is read, and whether they are what a text model has.

use std::iter;

use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};

use super::EngineOptions;
use super::session::{Names, SharedSession};
use crate::error::{Error, ErrorKind, Result};
use crate::graph;
use crate::model::Part;
use crate::text::Tokens;

/// What the output of the graph must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// `[batch, labels]`.
    Logits,
    /// `[batch, tokens, dimensions]`, or `[batch, dimensions]` where the graph pools by itself.
    Embedding,
    /// `[batch, tokens, dimensions]`.
    TokenVectors,
    /// `[batch, tokens, words]`, or with the last token alone: `[batch, 1, words]` or `[batch, words]`.
    NextToken,
}

/// The output for one input, without the batch's dimension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output<'a> {
    /// `[labels]`, `[dimensions]`, `[words]`, `[tokens, dimensions]` or `[tokens, words]`.
    pub(crate) shape: &'a [usize],
    pub(crate) values: &'a [f32],
}

/// The inputs that this library can feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    Ids,
    Mask,
    TypeIds,
    Positions,
    /// How many tokens each text has: an input of rewritten graphs.
    Tokens,
    /// How many tokens of each text come before the document: another one.
    QueryTokens,
    /// The one token with which the decoder of an encoder-decoder model starts.
    DecoderIds,
    /// Which of the decoder's tokens it attends to: that one.
    DecoderMask,
    /// The vectors that the encoder's graph gave.
    Hidden,
    /// Keys or values of earlier tokens, of which there are none: `[batch, heads, 0, size]`.
    Past {
        heads: usize,
        size: usize,
    },
    /// How many tokens' logits are wanted: the last one's.
    LogitsToKeep,
    /// Whether there are earlier tokens: no.
    UseCache,
}

#[derive(Debug)]
struct Input {
    name: String,
    feed: Feed,
    element: TensorElementType,
}

#[derive(Debug)]
pub(crate) struct GraphIo {
    inputs: Vec<Input>,
    output: String,
    /// The type of its numbers.
    output_element: Option<TensorElementType>,
    names: Names,
    /// The number of the output's dimensions, batch included.
    rank: usize,
    /// The size of the output's last dimension, once it is known.
    width: Option<usize>,
    /// The output may have one token's vector for all of them.
    last_alone: bool,
    first_position: usize,
    decoder_start: i64,
}

impl GraphIo {
    /// Looks at a session's inputs and outputs; `model` is the model's name in messages.
    pub(super) fn read(session: &SharedSession, model: &str, part: Part, options: EngineOptions) -> Result<Self> {
        let inputs = session.inputs().iter().map(|outlet| input(outlet, model, part)).collect::<Result<Vec<_>>>()?;
        let (needed, name, why) = match part {
            Part::Whole | Part::Encoder => (Feed::Ids, "input_ids", "it takes no text"),
            Part::Decoder => (Feed::Hidden, "encoder_hidden_states", "it reads nothing of its encoder"),
        };
        if !inputs.iter().any(|input| input.feed == needed) {
            return Err(Error::model(format!("the graph of {model} has no input `{name}`: {why}")));
        }
        let output = output(session.outputs(), model, options.output)?;
        let (output, output_element, rank) = (output.name().to_owned(), output.dtype().tensor_type(), rank(output));
        let names = Names::new(inputs.iter().map(|input| input.name.as_str()), &output)?;
        Ok(Self {
            inputs,
            output,
            output_element,
            names,
            rank,
            width: None,
            last_alone: options.output == OutputKind::NextToken,
            first_position: options.first_position,
            decoder_start: options.decoder_start.into(),
        })
    }

    /// The names of the inputs, without those that rewriting added and the many for earlier tokens.
    pub(crate) fn input_names(&self) -> Vec<String> {
        let shown = |input: &&Input| !matches!(input.feed, Feed::Tokens | Feed::QueryTokens | Feed::Past { .. });
        self.inputs.iter().filter(shown).map(|input| input.name.clone()).collect()
    }

    /// The name of the output.
    pub(crate) fn output_name(&self) -> &str {
        &self.output
    }

    /// Whether the output has a vector for each token.
    pub(crate) fn is_per_token(&self) -> bool {
        self.rank == 3
    }

    /// From now on, takes only outputs whose last dimension has this size.
    pub(super) fn fix_width(&mut self, width: Option<usize>) {
        self.width = width;
    }

    /// Whether the vectors that `encoder` gives are of the type that is taken here.
    pub(super) fn check_hidden(&self, encoder: &GraphIo, model: &str) -> Result<()> {
        let hidden = self.inputs.iter().find(|input| input.feed == Feed::Hidden);
        match (hidden.map(|input| input.element), encoder.output_element) {
            (Some(taken), Some(given)) if taken != given => Err(Error::model(format!(
                "the encoder of {model} gives vectors of {given}, and its decoder takes {taken}: the two files are not of \
                 one export"
            ))),
            _ => Ok(()),
        }
    }

    /// Runs a batch of inputs, padded to a length; `hidden` is what the encoder's graph made of it, for a decoder's.
    pub(super) fn run(
        &self,
        session: &SharedSession,
        batch: &[&Tokens],
        length: usize,
        mut hidden: Option<DynValue>,
    ) -> Result<DynValue> {
        let refused = refused(length);
        let mut tensor = |input: &Input| match input.feed {
            Feed::Hidden => hidden.take().ok_or_else(|| ort::Error::new("there are no vectors of an encoder")),
            _ => self.tensor(input, batch, length),
        };
        let inputs = self.inputs.iter().map(&mut tensor).collect::<ort::Result<Vec<DynValue>>>().map_err(&refused)?;
        session.run(&self.names, &inputs).map_err(refused)
    }

    /// Hands each input's part of the output for a batch, without padding, to `each`, in their order.
    pub(super) fn outputs(
        &self,
        value: &DynValue,
        batch: &[&Tokens],
        length: usize,
        mut each: impl FnMut(usize, Output<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut converted = Vec::new();
        let (shape, values) = floats(value, &mut converted).map_err(refused(length))?;
        let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        let fits = shape.len() == self.rank
            && shape[0] == batch.len()
            && (shape.len() == 2 || shape[1] == length || (self.last_alone && shape[1] == 1))
            && self.width.is_none_or(|width| shape.last() == Some(&width))
            && !values.is_empty();
        if !fits {
            return Err(Error::model(format!(
                "the output `{}` has the shape {shape:?} for {} of {length} tokens, which is not what a model of this \
                 kind gives{}",
                self.output,
                if batch.len() == 1 { "one input".to_owned() } else { format!("{} inputs", batch.len()) },
                self.width
                    .map_or(String::new(), |width| format!(" (its last dimension was {width} when it was loaded)"))
            )));
        }
        let mut shape = shape[1..].to_vec();
        let by_token = shape.len() == 2 && shape[0] == length;
        for (index, mut values) in values.chunks_exact(values.len() / batch.len()).enumerate() {
            if by_token {
                shape[0] = batch[index].ids.len();
                values = &values[..shape[0] * shape[1]];
            }
            each(index, Output { shape: &shape, values })?;
        }
        Ok(())
    }

    fn tensor(&self, input: &Input, batch: &[&Tokens], length: usize) -> ort::Result<DynValue> {
        // Both are far below 2⁶³: `first_position` is bounded, and a length is that of a list in memory.
        let first = self.first_position as i64;
        let mut values: Vec<i64> = Vec::with_capacity(batch.len() * length);
        for tokens in batch {
            let padding = length - tokens.ids.len().min(length);
            match input.feed {
                // Padding is skipped (`graph::TOKENS`): its numbers must only be valid.
                Feed::Ids => {
                    values.extend(tokens.ids.iter().map(|id| i64::from(*id)));
                    values.extend(iter::repeat_n(tokens.ids.last().map_or(0, |id| i64::from(*id)), padding));
                }
                Feed::TypeIds => {
                    values.extend(tokens.type_ids.iter().map(|id| i64::from(*id)));
                    values.extend(iter::repeat_n(0, padding));
                }
                Feed::Mask => {
                    let attended = tokens.ids.len() - tokens.unattended.min(tokens.ids.len());
                    values.extend((0..tokens.ids.len()).map(|token| i64::from(token < attended)));
                    values.extend(iter::repeat_n(1, padding));
                }
                Feed::Positions => values.extend(first..first + length as i64),
                Feed::Tokens if padding == 0 => values.push(graph::ALL_TOKENS),
                Feed::Tokens => values.push(tokens.ids.len() as i64),
                Feed::QueryTokens => values.push(tokens.of_query as i64),
                Feed::DecoderIds => values.push(self.decoder_start),
                Feed::DecoderMask => values.push(1),
                Feed::Hidden | Feed::Past { .. } | Feed::LogitsToKeep | Feed::UseCache => {}
            }
        }
        match input.feed {
            Feed::Tokens | Feed::QueryTokens => Ok(Tensor::from_array(([batch.len()], values))?.into_dyn()),
            Feed::DecoderIds | Feed::DecoderMask => integers([batch.len(), 1], values, input.element),
            Feed::Past { heads, size } => nothing([batch.len(), heads, 0, size], input.element),
            Feed::LogitsToKeep => integers([], vec![1], input.element),
            Feed::UseCache => Ok(Tensor::from_array(([1], vec![false]))?.into_dyn()),
            Feed::Hidden => Err(ort::Error::new("an encoder's vectors are not made of tokens")),
            Feed::Ids | Feed::TypeIds | Feed::Mask | Feed::Positions => {
                integers([batch.len(), length], values, input.element)
            }
        }
    }
}

/// A tensor of 64-bit or 32-bit integers.
fn integers<const N: usize>(shape: [usize; N], values: Vec<i64>, element: TensorElementType) -> ort::Result<DynValue> {
    if element == TensorElementType::Int32 {
        // Token ids and lengths are far below 2³¹: no vocabulary comes near.
        let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
        return Ok(Tensor::from_array((shape, values))?.into_dyn());
    }
    Ok(Tensor::from_array((shape, values))?.into_dyn())
}

/// A tensor without elements.
fn nothing(shape: [usize; 4], element: TensorElementType) -> ort::Result<DynValue> {
    Ok(match element {
        TensorElementType::Float16 => Tensor::from_array((shape, Vec::<half::f16>::new()))?.into_dyn(),
        TensorElementType::Bfloat16 => Tensor::from_array((shape, Vec::<half::bf16>::new()))?.into_dyn(),
        _ => Tensor::from_array((shape, Vec::<f32>::new()))?.into_dyn(),
    })
}

fn refused(length: usize) -> impl Fn(ort::Error) -> Error {
    move |error| {
        let message = format!("ONNX Runtime failed on an input of {length} tokens");
        Error::new(ErrorKind::Inference, message).with_source(error)
    }
}

/// What an input of this name is fed; `shape` is its declared shape, with -1 for sizes that are free.
fn feed(name: &str, shape: &[i64], part: Part) -> Option<Feed> {
    Some(match name {
        // `optimum` calls the decoder's own tokens and mask so, where the decoder is a graph of its own.
        "input_ids" if part == Part::Decoder => Feed::DecoderIds,
        "attention_mask" if part == Part::Decoder => Feed::DecoderMask,
        "encoder_hidden_states" if part == Part::Decoder => Feed::Hidden,
        "input_ids" => Feed::Ids,
        "attention_mask" | "encoder_attention_mask" => Feed::Mask,
        "token_type_ids" => Feed::TypeIds,
        "position_ids" => Feed::Positions,
        "decoder_input_ids" => Feed::DecoderIds,
        "decoder_attention_mask" => Feed::DecoderMask,
        "num_logits_to_keep" | "logits_to_keep" => Feed::LogitsToKeep,
        "use_cache_branch" => Feed::UseCache,
        graph::TOKENS => Feed::Tokens,
        graph::QUERY_TOKENS => Feed::QueryTokens,
        _ if name.starts_with("past_key_values.") => {
            let &[_, heads, _, size] = shape else { return None };
            Feed::Past { heads: usize::try_from(heads).ok()?, size: usize::try_from(size).ok()? }
        }
        _ => return None,
    })
}

fn input(outlet: &Outlet, model: &str, part: Part) -> Result<Input> {
    use TensorElementType::{Bfloat16, Bool, Float16, Float32, Int32, Int64};
    let name = outlet.name();
    let shape = outlet.dtype().tensor_shape().map_or(&[][..], |shape| shape);
    let Some(feed) = feed(name, shape, part) else {
        return Err(Error::model(format!(
            "the graph of {model} wants an input `{name}` {}, which is not known; input_ids, attention_mask, \
             token_type_ids, position_ids, decoder_input_ids, encoder_hidden_states of a decoder, logits_to_keep and \
             past_key_values of known sizes are",
            outlet.dtype()
        )));
    };
    let (fitting, words): (&[TensorElementType], _) = match feed {
        Feed::Past { .. } | Feed::Hidden => (&[Float32, Float16, Bfloat16], "float32, float16 or bfloat16"),
        Feed::UseCache => (&[Bool], "bool"),
        _ => (&[Int64, Int32], "int64 or int32"),
    };
    match outlet.dtype().tensor_type().filter(|element| fitting.contains(element)) {
        Some(element) => Ok(Input { name: name.to_owned(), feed, element }),
        None => {
            Err(Error::model(format!("the graph of {model} wants `{name}` as {}; it must be {words}", outlet.dtype())))
        }
    }
}

/// The output to read: by its usual name, else the only one of the right rank.
fn output<'a>(outlets: &'a [Outlet], model: &str, kind: OutputKind) -> Result<&'a Outlet> {
    let (names, ranks): (&[&str], &[usize]) = match kind {
        OutputKind::Logits => (&["logits"], &[2]),
        // A ready-made embedding comes first, as in sentence-transformers' ONNX backend.
        OutputKind::Embedding => (&["sentence_embedding", "last_hidden_state", "token_embeddings"], &[3, 2]),
        OutputKind::TokenVectors => (&["token_embeddings", "last_hidden_state"], &[3]),
        OutputKind::NextToken => (&["logits"], &[3, 2]),
    };
    let fits = |outlet: &&Outlet| is_float(outlet.dtype()) && ranks.contains(&rank(outlet));
    let by_name = names.iter().find_map(|name| outlets.iter().find(|outlet| outlet.name() == *name && fits(outlet)));
    let found = by_name.or_else(|| {
        ranks.iter().find_map(|wanted| {
            let mut of_rank = outlets.iter().filter(|outlet| fits(outlet) && rank(outlet) == *wanted);
            of_rank.next().filter(|_| of_rank.next().is_none())
        })
    });
    let Some(outlet) = found else {
        let has: Vec<String> = outlets.iter().map(|outlet| format!("`{}` {}", outlet.name(), outlet.dtype())).collect();
        let wants = match kind {
            OutputKind::Logits => "one output of scores, [batch, labels]",
            OutputKind::Embedding => "one output [batch, tokens, dimensions] or [batch, dimensions]",
            OutputKind::TokenVectors => "one output [batch, tokens, dimensions]",
            OutputKind::NextToken => "one output `logits`, [batch, tokens, words] or [batch, words]",
        };
        return Err(Error::model(format!("the graph of {model} must have {wants}; it has {}", has.join(" and "))));
    };
    Ok(outlet)
}

fn rank(outlet: &Outlet) -> usize {
    outlet.dtype().tensor_shape().map_or(0, |shape| shape.len())
}

fn is_float(kind: &ValueType) -> bool {
    use TensorElementType::{Bfloat16, Float16, Float32};
    matches!(kind.tensor_type(), Some(Float32 | Float16 | Bfloat16))
}

/// A float tensor's shape and its values as `f32`; half-precision values go through `converted`.
fn floats<'a>(value: &'a DynValue, converted: &'a mut Vec<f32>) -> ort::Result<(&'a [i64], &'a [f32])> {
    match value.dtype().tensor_type() {
        Some(TensorElementType::Float16) => {
            let (shape, values) = value.try_extract_tensor::<half::f16>()?;
            converted.extend(values.iter().map(|value| value.to_f32()));
            Ok((shape, converted))
        }
        Some(TensorElementType::Bfloat16) => {
            let (shape, values) = value.try_extract_tensor::<half::bf16>()?;
            converted.extend(values.iter().map(|value| value.to_f32()));
            Ok((shape, converted))
        }
        _ => {
            let (shape, values) = value.try_extract_tensor::<f32>()?;
            Ok((shape, values))
        }
    }
}

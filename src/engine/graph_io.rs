//! The graph's inputs and outputs: which are fed, which is read, and whether they are what a text model has.

use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};

use super::EngineOptions;
use super::session::{Names, SharedSession};
use crate::error::{Error, ErrorKind, Result};
use crate::graph;
use crate::text::Tokens;

/// What the output of the graph must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// `[batch, labels]`.
    Logits,
    /// `[batch, tokens, dimensions]`, or `[batch, dimensions]` where the graph pools by itself.
    Embedding,
}

/// The output for one input, without the batch's dimension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output<'a> {
    /// `[labels]`, `[dimensions]` or `[tokens, dimensions]`.
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
    /// How many tokens of each text come before the document: an input of rewritten graphs.
    QueryTokens,
}

#[derive(Debug)]
struct Input {
    name: String,
    feed: Feed,
    /// 32-bit integers instead of 64-bit ones.
    narrow: bool,
}

#[derive(Debug)]
pub(crate) struct GraphIo {
    inputs: Vec<Input>,
    output: String,
    names: Names,
    /// The number of the output's dimensions, batch included.
    rank: usize,
    /// The size of the output's last dimension, once it is known.
    width: Option<usize>,
    first_position: usize,
}

impl GraphIo {
    /// Looks at a session's inputs and outputs; `model` is the model's name in messages.
    pub(super) fn read(session: &SharedSession, model: &str, options: EngineOptions) -> Result<Self> {
        let inputs = session.inputs().iter().map(|outlet| input(outlet, model)).collect::<Result<Vec<_>>>()?;
        if !inputs.iter().any(|input| input.feed == Feed::Ids) {
            return Err(Error::model(format!("the graph of {model} has no input `input_ids`: it takes no text")));
        }
        let (output, rank) = output(session.outputs(), model, options.output)?;
        let names = Names::new(inputs.iter().map(|input| input.name.as_str()), &output)?;
        Ok(Self { inputs, output, names, rank, width: None, first_position: options.first_position })
    }

    /// The names of the inputs, without those that rewriting added.
    pub(crate) fn input_names(&self) -> Vec<String> {
        self.inputs.iter().filter(|input| input.feed != Feed::QueryTokens).map(|input| input.name.clone()).collect()
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

    /// Runs a batch of inputs of one length, and hands each input's output to `each`, in their order.
    pub(super) fn run(
        &self,
        session: &SharedSession,
        batch: &[&Tokens],
        mut each: impl FnMut(usize, Output<'_>) -> Result<()>,
    ) -> Result<()> {
        let length = batch.first().map_or(0, |tokens| tokens.ids.len());
        let refused = |error: ort::Error| {
            Error::new(ErrorKind::Inference, format!("ONNX Runtime failed on an input of {length} tokens"))
                .with_source(error)
        };
        let inputs = self.inputs.iter().map(|input| self.tensor(input, batch, length));
        let inputs = inputs.collect::<ort::Result<Vec<DynValue>>>().map_err(refused)?;
        let value = session.run(&self.names, &inputs).map_err(refused)?;
        let mut converted = Vec::new();
        let (shape, values) = floats(&value, &mut converted).map_err(refused)?;
        let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        let fits = shape.len() == self.rank
            && shape[0] == batch.len()
            && (shape.len() == 2 || shape[1] == length)
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
        let outputs = values.chunks_exact(values.len() / batch.len()).enumerate();
        outputs.into_iter().try_for_each(|(index, values)| each(index, Output { shape: &shape[1..], values }))
    }

    fn tensor(&self, input: &Input, batch: &[&Tokens], length: usize) -> ort::Result<DynValue> {
        // Both are far below 2⁶³: `first_position` is bounded, and a length is that of a list in memory.
        let first = self.first_position as i64;
        let mut values: Vec<i64> = Vec::with_capacity(batch.len() * length);
        for tokens in batch {
            match input.feed {
                Feed::Ids => values.extend(tokens.ids.iter().map(|id| i64::from(*id))),
                Feed::TypeIds => values.extend(tokens.type_ids.iter().map(|id| i64::from(*id))),
                Feed::Mask => values.extend(tokens.ids.iter().map(|_| 1)),
                Feed::Positions => values.extend(first..first + length as i64),
                Feed::QueryTokens => values.push(tokens.of_query as i64),
            }
        }
        if input.feed == Feed::QueryTokens {
            return Ok(Tensor::from_array(([batch.len()], values))?.into_dyn());
        }
        let shape = [batch.len(), length];
        if input.narrow {
            // Token ids are far below 2³¹: no vocabulary comes near.
            let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
            Ok(Tensor::from_array((shape, values))?.into_dyn())
        } else {
            Ok(Tensor::from_array((shape, values))?.into_dyn())
        }
    }
}

fn input(outlet: &Outlet, model: &str) -> Result<Input> {
    let name = outlet.name();
    let feed = match name {
        "input_ids" => Feed::Ids,
        "attention_mask" => Feed::Mask,
        "token_type_ids" => Feed::TypeIds,
        "position_ids" => Feed::Positions,
        graph::QUERY_TOKENS => Feed::QueryTokens,
        _ => {
            return Err(Error::model(format!(
                "the graph of {model} wants an input `{name}`, which is not known; input_ids, attention_mask, \
                 token_type_ids and position_ids are"
            )));
        }
    };
    let narrow = match outlet.dtype().tensor_type() {
        Some(TensorElementType::Int64) => false,
        Some(TensorElementType::Int32) => true,
        _ => {
            return Err(Error::model(format!(
                "the graph of {model} wants `{name}` as {}; it must be int64 or int32",
                outlet.dtype()
            )));
        }
    };
    Ok(Input { name: name.to_owned(), feed, narrow })
}

/// The output to read: by its usual name, else the only one of the right rank.
fn output(outlets: &[Outlet], model: &str, kind: OutputKind) -> Result<(String, usize)> {
    let (names, ranks): (&[&str], &[usize]) = match kind {
        OutputKind::Logits => (&["logits"], &[2]),
        // A ready-made embedding comes first, as in sentence-transformers' ONNX backend.
        OutputKind::Embedding => (&["sentence_embedding", "last_hidden_state", "token_embeddings"], &[3, 2]),
    };
    let rank = |outlet: &&Outlet| outlet.dtype().tensor_shape().map_or(0, |shape| shape.len());
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
        };
        return Err(Error::model(format!("the graph of {model} must have {wants}; it has {}", has.join(" and "))));
    };
    Ok((outlet.name().to_owned(), rank(&outlet)))
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

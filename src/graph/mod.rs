//! Rewriting a graph so that its expensive parts run on this crate's kernels.
//!
//! The file is read, patterns that transformers consist of are replaced by operations of the domain `crossrank`, and the
//! result is written for ONNX Runtime, which runs everything else. What does not look as expected is left as it is: a graph
//! that is not understood runs on ONNX Runtime alone.

mod attention;
mod embedding;
mod feed_forward;
mod first_token;
mod linear;
mod norm;
mod onnx;
#[cfg(test)]
mod tests;
mod view;

use rayon::prelude::*;

use crate::kernels::{Arithmetic, Isa, LayerNorm, Linear, Table};
use crate::model::FileBytes;
use onnx::{NodeProto, OperatorSetIdProto, ValueInfoProto};
use view::View;

/// The domain of the operations.
pub(crate) const DOMAIN: &str = "crossrank";
/// `y = x · W + b`, with GELU where the layer has it; `index` is its place in [`Rewritten::layers`]. Its second input is
/// [`TOKENS`], and its third, where it has one, [`QUERY_TOKENS`].
pub(crate) const LINEAR: &str = "Linear";
/// One layer after the other, `index` and `then`; the other inputs are those of a layer.
pub(crate) const FEED_FORWARD: &str = "FeedForward";
/// Attention over Q, K and V, with [`TOKENS`] and perhaps a mask; `heads`, `head_size` and `scale`.
pub(crate) const ATTENTION: &str = "Attention";
/// Layer normalisation, of the sum of two inputs where it has two; `index` is its place in [`Rewritten::norms`].
pub(crate) const NORM: &str = "LayerNorm";
/// The rows of a table; `index` is its place in [`Rewritten::tables`].
pub(crate) const EMBEDDING: &str = "Embedding";
/// An input that the rewritten graph has beside those of the file: for each text of a batch, how many tokens it has. What
/// follows them is padding, which layers and attention skip.
pub(crate) const TOKENS: &str = "crossrank.tokens";
/// The number of [`TOKENS`] of a text that is not padded, however many its graph makes of them.
pub(crate) const ALL_TOKENS: i64 = i64::MAX;
/// Another input that the rewritten graph may have: for each text of a batch, how many of its tokens come
/// first and are computed more precisely than the others.
pub(crate) const QUERY_TOKENS: &str = "crossrank.query_tokens";
/// The attribute of a `Linear` or a `FeedForward` that sees first tokens alone.
const FIRST_TOKEN: &str = "first_token";

/// Operators of graphs that were quantised, activations and all.
const ROUNDING: [&str; 5] =
    ["QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul"];

/// A rewritten graph.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// The ONNX file.
    pub(crate) model: Vec<u8>,
    /// The packed layers that its nodes name.
    pub(crate) layers: Vec<Layer>,
    /// The normalisations that its nodes name.
    pub(crate) norms: Vec<LayerNorm>,
    /// The tables that its nodes name.
    pub(crate) tables: Vec<Table>,
    /// Whether texts may be padded at their ends.
    pub(crate) pads: bool,
}

/// A layer, once or twice.
#[derive(Debug)]
pub(crate) struct Layer {
    /// For all tokens, or for those that `precise`, where there is one, is not for.
    pub(crate) coarse: Linear,
    /// For the tokens of the query, where they are computed in other numbers.
    pub(crate) precise: Option<Linear>,
}

/// Rewrites an ONNX file; nothing if there is nothing in it to rewrite.
pub(crate) fn rewrite(file: &FileBytes, isa: Isa, compute: Numbers) -> Option<Rewritten> {
    let mut model = onnx::read(file.bytes()).ok()?;
    let done_with = |part: &[u8]| file.done_with(part);
    if !model.functions.is_empty() {
        return None;
    }
    let mut view = View::new(model.graph.take()?)?;
    // A graph that rounds its activations is meant for ONNX Runtime's integer kernels; and what stands in files beside this
    // one would not be found from memory.
    let rounds = |node: &NodeProto| ROUNDING.contains(&node.op_type.as_str());
    if view.has_external_data() || view.nodes.iter().any(rounds) {
        return None;
    }
    let layers = linear::rewrite(&mut view);
    if layers.is_empty() {
        return None;
    }
    attention::rewrite(&mut view);
    let norms = norm::rewrite(&mut view, isa);
    first_token::rewrite(&mut view);
    let packings = packings(&layers, &uses(&view, layers.len()), compute);
    feed_forward::rewrite(&mut view, &layers);
    let packed = layers.par_iter().zip(packings).map(|(layer, packing)| {
        let packed = pack(&view, layer, packing, isa);
        if let Some(raw) = view.tensor(&layer.weights).and_then(|tensor| tensor.raw_data.clone()) {
            done_with(&raw);
        }
        packed
    });
    let layers = packed.collect::<Option<_>>()?;
    let tables = embedding::rewrite(&mut view, compute, &done_with);
    add_counts(&mut view, compute);
    let pads = pads(&view);
    model.graph = Some(view.finish());
    model.opset_import.push(OperatorSetIdProto { domain: DOMAIN.to_owned(), version: 1 });
    Some(Rewritten { model: onnx::write(&model), layers, norms, tables, pads })
}

/// Gives layers and attention the numbers of tokens that they are to look at.
fn add_counts(view: &mut View, compute: Numbers) {
    view.add_input(ValueInfoProto::integer_for_each_text(TOKENS));
    if compute == Numbers::Int8 {
        view.add_input(ValueInfoProto::integer_for_each_text(QUERY_TOKENS));
    }
    for node in &mut view.nodes {
        if is_ours(node, ATTENTION) {
            node.input.insert(3, TOKENS.to_owned());
        } else if is_ours(node, LINEAR) || is_ours(node, FEED_FORWARD) {
            node.input.push(TOKENS.to_owned());
            if compute == Numbers::Int8 {
                node.input.push(QUERY_TOKENS.to_owned());
            }
        }
    }
}

/// Operators that compute each token's numbers from that token's, or from the tokens before it, and those that only move
/// numbers (masks among them, which are of no use where padding is skipped).
const BY_TOKEN: [&str; 38] = [
    "Add",
    "And",
    "Cast",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "CumSum",
    "Div",
    "Equal",
    "Erf",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "IsNaN",
    "LayerNormalization",
    "Less",
    "LessOrEqual",
    "MatMul",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Range",
    "Reshape",
    "Shape",
    "Slice",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Unsqueeze",
    "Where",
];

/// Whether texts of a batch may be padded at their ends: attention, the one thing that mixes tokens, is all this crate's and
/// skips what is behind a text. (That a text's bits stay the same is looked at besides, where such batches run.)
fn pads(view: &View) -> bool {
    let nodes = || view.order().into_iter().map(|index| &view.nodes[index]);
    nodes().any(|node| is_ours(node, ATTENTION))
        && nodes().all(|node| node.domain == DOMAIN || BY_TOKEN.contains(&node.op_type.as_str()))
}

/// In which numbers layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    Float32,
    Int16,
    /// 8 bits, and 16 for the tokens of the query and for sensitive layers.
    Int8,
    /// 8 bits for all tokens, in all layers.
    W8A8,
}

/// What a layer is run for.
#[derive(Debug, Clone, Copy, Default)]
struct Uses {
    all_tokens: bool,
    first_token: bool,
}

/// For each of `count` layers, what the nodes that are left run it for.
fn uses(view: &View, count: usize) -> Vec<Uses> {
    let mut uses = vec![Uses::default(); count];
    for node in view.order().into_iter().map(|index| &view.nodes[index]).filter(|node| is_ours(node, LINEAR)) {
        let index = node.int("index").and_then(|index| usize::try_from(index).ok());
        if let Some(uses) = index.and_then(|index| uses.get_mut(index)) {
            match node.int(FIRST_TOKEN) {
                Some(_) => uses.first_token = true,
                None => uses.all_tokens = true,
            }
        }
    }
    uses
}

/// The numbers of a layer's first packing, and of the one for the query's tokens.
type Packing = (Arithmetic, Option<Arithmetic>);

/// How each layer is packed.
fn packings(layers: &[linear::Layer], uses: &[Uses], numbers: Numbers) -> Vec<Packing> {
    // The expansions (with GELU) of the first half of a transformer bring in most of the error that 8 bits make, though they
    // are a sixth of its products (benches/NOTES.md): they have 16 bits for all tokens.
    let mut sensitive = layers.iter().filter(|layer| layer.gelu).count() / 2;
    let packing = |(layer, uses): (&linear::Layer, &Uses)| match numbers {
        Numbers::Float32 => (Arithmetic::Float32, None),
        Numbers::Int16 => (Arithmetic::Int16, None),
        // A first token is one of the query.
        Numbers::Int8 if !uses.all_tokens => (Arithmetic::Int16, None),
        Numbers::Int8 if layer.gelu && sensitive > 0 => {
            sensitive -= 1;
            (Arithmetic::Int16, None)
        }
        Numbers::Int8 => (Arithmetic::Int8, Some(Arithmetic::Int16)),
        Numbers::W8A8 => (Arithmetic::Int8, None),
    };
    layers.iter().zip(uses).map(packing).collect()
}

fn pack(view: &View, layer: &linear::Layer, (first, of_query): Packing, isa: Isa) -> Option<Layer> {
    let weights = view.constant(&layer.weights)?.values;
    if !weights.iter().all(|weight| weight.is_finite()) {
        return None;
    }
    let linear = |arithmetic| Linear::new(isa, arithmetic, layer.columns, &weights, layer.bias.as_deref(), layer.gelu);
    Some(Layer { coarse: linear(first), precise: of_query.map(linear) })
}

/// A node of this crate's domain.
fn operation(op_type: &str, input: Vec<String>, output: String, attribute: Vec<onnx::AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        domain: DOMAIN.to_owned(),
        name: format!("{output}.{op_type}"),
        input,
        output: vec![output],
        attribute,
        ..NodeProto::default()
    }
}

fn is_ours(node: &NodeProto, op_type: &str) -> bool {
    node.domain == DOMAIN && node.op_type == op_type
}

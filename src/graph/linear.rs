//! `MatMul` with a constant matrix, the bias that is added to it, and GELU after that, become one operation.

use super::onnx::NodeProto;
use super::view::View;
use super::{LINEAR, operation};
use crate::graph::onnx::AttributeProto;

/// A layer as the graph has it.
pub(super) struct Layer {
    /// The name of the weights, `[inputs, columns]`.
    pub(super) weights: String,
    pub(super) columns: usize,
    pub(super) bias: Option<Vec<f32>>,
    pub(super) gelu: bool,
}

/// Smaller matrices are not worth an operation of their own.
const SMALLEST: usize = 1024;

/// Rewrites every layer; the operation's `index` is its place in the result.
pub(super) fn rewrite(view: &mut View) -> Vec<Layer> {
    let mut layers = Vec::new();
    for index in 0..view.nodes.len() {
        let node = &view.nodes[index];
        if !node.is("MatMul") || node.input.len() != 2 || view.tensor(&node.input[0]).is_some() {
            continue;
        }
        let (x, weights, product) = (node.input[0].clone(), node.input[1].clone(), node.output[0].clone());
        let Some(dims) = view.constant_dims(&weights) else { continue };
        let &[inputs, columns] = dims.as_slice() else { continue };
        if inputs * columns < SMALLEST || !view.is_fp32(&weights) {
            continue;
        }
        let (after_bias, bias) = bias(view, &product, columns);
        let (out, gelu) = match gelu(view, &after_bias) {
            Some(out) => (out, true),
            None => (after_bias, false),
        };
        let attributes = vec![
            AttributeProto::new_int("index", layers.len() as i64),
            AttributeProto::new_int("columns", columns as i64),
        ];
        layers.push(Layer { weights, columns, bias, gelu });
        view.add(operation(LINEAR, vec![x], out, attributes));
    }
    layers
}

/// The value after the bias was added, and the bias; the value itself where there is none.
fn bias(view: &View, product: &str, columns: usize) -> (String, Option<Vec<f32>>) {
    let found = || {
        let node = &view.nodes[view.only_reader(product)?];
        let constant = other_input(node, product).filter(|_| node.is("Add"))?;
        let constant = view.constant(constant)?;
        let fits = constant.values.len() == columns && constant.dims.last() == Some(&columns);
        fits.then(|| (node.output[0].clone(), Some(constant.values)))
    };
    found().unwrap_or_else(|| (product.to_owned(), None))
}

/// The other input of a node with two.
fn other_input<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    match node.input.as_slice() {
        [a, b] if a == name && b != name => Some(b),
        [a, b] if b == name && a != name => Some(a),
        _ => None,
    }
}

/// The value after GELU, if that is what becomes of `x` and of nothing else.
fn gelu(view: &View, x: &str) -> Option<String> {
    if view.is_output(x) {
        return None;
    }
    match view.readers(x) {
        [one] => {
            let node = &view.nodes[*one];
            let exact = node.attribute("approximate").and_then(|a| a.s.as_ref()).is_none_or(|s| s.as_ref() == b"none");
            let known = node.op_type == "Gelu" && matches!(node.domain.as_str(), "" | "ai.onnx" | "com.microsoft");
            (known && exact).then(|| node.output[0].clone())
        }
        // x/2 · (1 + erf(x / √2)), in one of the orders in which it is written.
        [a, b] => written_gelu(view, x, *a, *b).or_else(|| written_gelu(view, x, *b, *a)),
        _ => None,
    }
}

/// `to_erf` begins the way through the error function, `product` is the other reader of `x`.
fn written_gelu(view: &View, x: &str, to_erf: usize, product: usize) -> Option<String> {
    let next = |name: &str, op_type: &str| {
        view.only_reader(name).map(|index| &view.nodes[index]).filter(|node| node.is(op_type))
    };
    let by = |node: &NodeProto, name: &str, factor: f32| {
        other_input(node, name).and_then(|other| view.scalar(other)).is_some_and(|value| near(value, factor))
    };
    let (divide, product) = (&view.nodes[to_erf], &view.nodes[product]);
    let scaled = (divide.is("Div") && divide.input[0] == x && by(divide, x, std::f32::consts::SQRT_2))
        || (divide.is("Mul") && by(divide, x, std::f32::consts::FRAC_1_SQRT_2));
    if !scaled || !product.is("Mul") {
        return None;
    }
    let erf = next(&divide.output[0], "Erf")?;
    let plus_one = next(&erf.output[0], "Add").filter(|node| by(node, &erf.output[0], 1.0))?;
    let sum = &plus_one.output[0];
    let last = next(sum, "Mul")?;
    let out = &last.output[0];
    if other_input(product, x)? == sum {
        // (x · sum) · ½
        return next(out, "Mul").filter(|half| by(half, out, 0.5)).map(|half| half.output[0].clone());
    }
    if by(last, sum, 0.5) {
        // x · (sum · ½)
        return (other_input(product, x)? == out && view.only_reader(out).is_some()).then(|| product.output[0].clone());
    }
    // (x · ½) · sum
    let half = &product.output[0];
    (by(product, x, 0.5) && other_input(last, sum)? == half && view.only_reader(half).is_some()).then(|| out.clone())
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() < 1e-5
}

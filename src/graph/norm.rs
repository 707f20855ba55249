//! Layer normalisation, with the addition of the residual before it, becomes one operation.
//!
//! Old exports (opset below 17) have it in parts, which are recognised too.

use super::onnx::{AttributeProto, NodeProto};
use super::view::View;
use super::{NORM, operation};
use crate::kernels::{Isa, LayerNorm};

/// Rewrites every normalisation over the last dimension; the operation's `index` is its place in the result.
pub(super) fn rewrite(view: &mut View, isa: Isa) -> Vec<LayerNorm> {
    let mut norms = Vec::new();
    for index in 0..view.nodes.len() {
        let Some(found) = whole(view, index).or_else(|| parts(view, index)) else { continue };
        let Found { x, scale, bias, epsilon, out } = found;
        let inputs = match residual(view, &x) {
            Some(both) => both.to_vec(),
            None => vec![x],
        };
        let attributes = vec![
            AttributeProto::new_int("index", norms.len() as i64),
            AttributeProto::new_int("columns", scale.len() as i64),
        ];
        norms.push(LayerNorm::new(isa, scale, bias, epsilon));
        view.add(operation(NORM, inputs, out, attributes));
    }
    norms
}

struct Found {
    x: String,
    scale: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
    out: String,
}

/// A `LayerNormalization`.
fn whole(view: &View, index: usize) -> Option<Found> {
    let node = &view.nodes[index];
    if !node.is("LayerNormalization") || node.int("axis").unwrap_or(-1) != -1 || node.output.len() != 1 {
        return None;
    }
    let scale = vector(view, node.input.get(1)?)?;
    let bias = match node.input.get(2) {
        Some(name) => vector(view, name)?,
        None => vec![0.0; scale.len()],
    };
    let epsilon = node.attribute("epsilon").and_then(|a| a.f).unwrap_or(1e-5);
    let (x, out) = (node.input[0].clone(), node.output[0].clone());
    (scale.len() == bias.len()).then_some(Found { x, scale, bias, epsilon, out })
}

/// `d = x − mean(x)`, `d / √(mean(d²) + ε) · scale + bias`, from the last step backwards.
fn parts(view: &View, index: usize) -> Option<Found> {
    let (scaled, bias) = with_vector(view, &view.nodes[index], "Add")?;
    let (divided, scale) = with_vector(view, made_by(view, &scaled, "Mul")?, "Mul")?;
    let divide = made_by(view, &divided, "Div")?;
    let (difference, root) = (divide.input.first()?, made_by(view, divide.input.get(1)?, "Sqrt")?);
    let shifted = made_by(view, root.input.first()?, "Add")?;
    let epsilon = view.scalar(shifted.input.get(1)?)?;
    let variance = made_by(view, shifted.input.first()?, "ReduceMean")?;
    let square = &view.nodes[view.any_producer(variance.input.first()?)?];
    let squares = (square.is("Pow") && view.scalar(square.input.get(1)?)? == 2.0 && same(view, square, difference))
        || (square.is("Mul") && square.input[0] == square.input[1] && same(view, square, difference));
    let subtract = made_by(view, difference, "Sub")?;
    let mean = made_by(view, subtract.input.get(1)?, "ReduceMean")?;
    let x = subtract.input.first()?;
    let over_last = |node: &NodeProto| {
        let axes = match node.input.get(1) {
            Some(name) => view.integers(name)?,
            None => node.ints("axes").to_vec(),
        };
        (axes == [-1] && node.int("keepdims").unwrap_or(1) == 1).then_some(())
    };
    over_last(variance)?;
    over_last(mean)?;
    let fits = squares && mean.input.first()? == x && scale.len() == bias.len();
    let out = view.nodes[index].output[0].clone();
    fits.then(|| Found { x: x.clone(), scale, bias, epsilon, out })
}

/// Whether a node's first input is the value, or another difference of the same two (exporters may write it twice).
fn same(view: &View, node: &NodeProto, value: &str) -> bool {
    let input = node.input[0].as_str();
    let difference = |name: &str| made_by(view, name, "Sub").map(|node| node.input.clone());
    input == value || (difference(input).is_some() && difference(input) == difference(value))
}

fn made_by<'a>(view: &'a View, name: &str, op_type: &str) -> Option<&'a NodeProto> {
    view.producer(name, op_type).map(|index| &view.nodes[index])
}

/// The other input of a node that has a constant vector for one.
fn with_vector(view: &View, node: &NodeProto, op_type: &str) -> Option<(String, Vec<f32>)> {
    let [a, b] = node.input.as_slice() else { return None };
    if !node.is(op_type) {
        return None;
    }
    let of_b = vector(view, b).map(|vector| (a.clone(), vector));
    of_b.or_else(|| vector(view, a).map(|vector| (b.clone(), vector)))
}

fn vector(view: &View, name: &str) -> Option<Vec<f32>> {
    let constant = view.constant(name).filter(|_| view.is_fp32(name))?;
    (constant.dims.len() == 1 && constant.values.len() > 1).then_some(constant.values)
}

/// The two values whose sum is normalised and used for nothing else.
fn residual(view: &View, x: &str) -> Option<[String; 2]> {
    let node = made_by(view, x, "Add")?;
    let [a, b] = node.input.as_slice() else { return None };
    // In parts, the sum is read twice: for the mean and for the difference, which are dropped together.
    let others = view.readers(x).iter().map(|index| &view.nodes[*index]);
    let for_norm = |node: &NodeProto| node.is("LayerNormalization") || node.is("ReduceMean") || node.is("Sub");
    let only_for_norm = !view.is_output(x) && others.clone().all(for_norm);
    // Equal shapes are wanted: neither is one vector for all rows.
    let plain = [a, b].into_iter().all(|name| view.tensor(name).is_none() && is_rows(view, name));
    (only_for_norm && plain).then(|| [a.clone(), b.clone()])
}

/// Whether a value is known to have a row for each token: a layer's or a normalisation's result.
fn is_rows(view: &View, name: &str) -> bool {
    view.any_producer(name).is_some_and(|index| view.nodes[index].domain == super::DOMAIN)
}

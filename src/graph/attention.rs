//! Scaled dot-product attention, as exporters write it, becomes one operation.
//!
//! What is looked for, from the softmax outwards: `softmax(Q Kᵀ · scale + mask) · V`, where Q, K and V come from
//! `[batch, tokens, width]` by a `Reshape` to heads and a `Transpose`, and the result goes back the same way. The scale may
//! be a product or a quotient, of the scores or of Q and K before them.

use super::onnx::AttributeProto;
use super::view::View;
use super::{ATTENTION, LINEAR, is_ours, operation};
use crate::kernels::Heads;

/// Q, K or V: where it comes from, how its heads are cut, and what it was multiplied with.
struct Projection {
    source: String,
    heads: Heads,
    factor: f32,
}

struct Found {
    query: Projection,
    key: Projection,
    value: Projection,
    scale: f32,
    mask: Option<String>,
    out: String,
}

/// Rewrites every attention.
pub(super) fn rewrite(view: &mut View) {
    for index in 0..view.nodes.len() {
        if !view.nodes[index].is("Softmax") {
            continue;
        }
        let Some(found) = find(view, index) else { continue };
        let Found { query, key, value, scale, mask, out } = found;
        let attributes = vec![
            AttributeProto::new_int("heads", query.heads.count as i64),
            AttributeProto::new_int("head_size", query.heads.size as i64),
            AttributeProto::new_float("scale", scale * query.factor * key.factor * value.factor),
        ];
        let mut inputs = vec![query.source, key.source, value.source];
        inputs.extend(mask);
        view.add(operation(ATTENTION, inputs, out, attributes));
    }
}

fn find(view: &View, softmax: usize) -> Option<Found> {
    let node = &view.nodes[softmax];
    if !matches!(node.int("axis"), Some(-1 | 3)) {
        return None;
    }
    let (mut scores, mut mask) = (node.input[0].clone(), None);
    if let Some(add) = view.producer(&scores, "Add") {
        let [a, b] = view.nodes[add].input.as_slice() else { return None };
        let a_is_scores = scaled_product(view, a).is_some();
        let (of_scores, of_mask) = if a_is_scores { (a, b) } else { (b, a) };
        mask = Some(of_mask.clone());
        scores = of_scores.clone();
    }
    let (product, scale) = scaled_product(view, &scores)?;
    let [query, key] = view.nodes[product].input.as_slice() else { return None };
    let (query, key) = (projection(view, query, false)?, projection(view, key, true)?);

    let sum = &view.nodes[view.only_reader(&node.output[0])?];
    if !sum.is("MatMul") || sum.input[0] != node.output[0] {
        return None;
    }
    let value = projection(view, &sum.input[1], false)?;
    let back = &view.nodes[view.only_reader(&sum.output[0])?];
    if !back.is("Transpose") || back.ints("perm") != [0, 2, 1, 3] {
        return None;
    }
    let joined = &view.nodes[view.only_reader(&back.output[0])?];
    let sizes = last_sizes(view, joined.input.get(1)?, 3)?;
    let last = *sizes.last()?;
    if !joined.is("Reshape") || !keeps_tokens(&sizes) || (last != Some(-1) && last != Some(query.heads.width() as i64))
    {
        return None;
    }
    let same = query.heads == key.heads && key.heads == value.heads && value.factor == 1.0;
    // Of one text with itself: what a decoder asks of an encoder has other lengths.
    let of = |projection: &Projection| view.any_producer(&projection.source).map(|index| &view.nodes[index].input[0]);
    let itself = of(&query).is_some() && of(&query) == of(&key) && of(&key) == of(&value);
    (same && itself).then(|| Found { query, key, value, scale, mask, out: joined.output[0].clone() })
}

/// The `MatMul` that a value comes from, and the factor between the two.
fn scaled_product(view: &View, name: &str) -> Option<(usize, f32)> {
    let (name, factor) = unscaled(view, name);
    let product = view.producer(&name, "MatMul")?;
    view.only_reader(&name).map(|_| (product, factor))
}

/// Goes back through a multiplication with, or division by, a constant number.
fn unscaled(view: &View, name: &str) -> (String, f32) {
    let found = || {
        let node = &view.nodes[view.any_producer(name)?];
        let [a, b] = node.input.as_slice() else { return None };
        if node.is("Div") {
            view.scalar(b).map(|by| (a.clone(), 1.0 / by))
        } else if node.is("Mul") {
            let of_b = view.scalar(b).map(|factor| (a.clone(), factor));
            of_b.or_else(|| view.scalar(a).map(|factor| (b.clone(), factor)))
        } else {
            None
        }
    };
    found().unwrap_or_else(|| (name.to_owned(), 1.0))
}

/// Goes back from `[batch, heads, tokens, size]` (keys: `[batch, heads, size, tokens]`) to `[batch, tokens, width]`.
fn projection(view: &View, name: &str, is_key: bool) -> Option<Projection> {
    let (name, mut factor) = unscaled(view, name);
    let mut transpose = &view.nodes[view.producer(&name, "Transpose")?];
    let mut perm = transpose.ints("perm");
    if is_key && perm == [0, 1, 3, 2] {
        // Keys may be transposed twice, with their share of the scale between.
        let (name, more) = unscaled(view, &transpose.input[0]);
        factor *= more;
        transpose = &view.nodes[view.producer(&name, "Transpose")?];
        perm = if transpose.ints("perm") == [0, 2, 1, 3] { &[0, 2, 3, 1] } else { &[] };
    }
    let wanted: &[i64] = if is_key { &[0, 2, 3, 1] } else { &[0, 2, 1, 3] };
    if perm != wanted {
        return None;
    }
    let reshape = &view.nodes[view.producer(&transpose.input[0], "Reshape")?];
    let sizes = last_sizes(view, &reshape.input[1], 4)?;
    let &[.., count, size] = sizes.as_slice() else { return None };
    if !keeps_tokens(&sizes) {
        return None;
    }
    let source = reshape.input[0].clone();
    let width = view.any_producer(&source).map(|index| &view.nodes[index]).filter(|node| is_ours(node, LINEAR))?;
    let width = usize::try_from(width.int("columns")?).ok()?;
    // One of the two may be left open.
    let known = |size: Option<i64>| size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    let (count, size) = match (known(count), known(size)) {
        (Some(count), Some(size)) => (count, size),
        (Some(count), None) => (count, width / count),
        (None, Some(size)) => (width / size, size),
        (None, None) => return None,
    };
    let heads = Heads { count, size };
    (heads.width() == width).then_some(Projection { source, heads, factor })
}

/// Whether texts and tokens stay what they are, as far as their sizes are constant: tokens may also be cut into windows.
fn keeps_tokens(sizes: &[Option<i64>]) -> bool {
    matches!(sizes, [None | Some(-1..=1), None | Some(-1..=0), ..]) && sizes[..2] != [Some(-1); 2]
}

/// The sizes that a shape of `rank` dimensions has, where they are constant.
fn last_sizes(view: &View, shape: &str, rank: usize) -> Option<Vec<Option<i64>>> {
    if let Some(sizes) = view.integers(shape) {
        return (sizes.len() == rank).then(|| sizes.into_iter().map(Some).collect());
    }
    let node = &view.nodes[view.producer(shape, "Concat")?];
    let one = |name: &String| match view.integers(name).as_deref() {
        Some(&[size]) => Some(size),
        _ => {
            // A constant may have been made a list of one on its way.
            let unsqueeze = &view.nodes[view.producer(name, "Unsqueeze")?];
            match view.integers(&unsqueeze.input[0]).as_deref() {
                Some(&[size]) => Some(size),
                _ => None,
            }
        }
    };
    (node.input.len() == rank).then(|| node.input.iter().map(one).collect())
}

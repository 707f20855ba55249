//! A layer with GELU and the layer that alone reads it, a transformer's feed-forward part, become one operation.
//!
//! What lies between the two is four times as wide as what goes in and comes out. In one operation it is made for a part of
//! the tokens at a time and stays in the cache: otherwise it is the largest tensor of a run.

use std::collections::HashMap;

use super::linear::Layer;
use super::onnx::{AttributeProto, NodeProto};
use super::view::View;
use super::{FEED_FORWARD, FIRST_TOKEN, LINEAR, is_ours, operation};

/// Rewrites every such pair; the operation's `index` and `then` are the layers' places.
pub(super) fn rewrite(view: &mut View, layers: &[Layer]) {
    let order = view.order();
    let mut readers: HashMap<&str, usize> = HashMap::new();
    for name in order.iter().flat_map(|index| &view.nodes[*index].input) {
        *readers.entry(name).or_default() += 1;
    }
    let linear = |node: &NodeProto| node.int("index").filter(|_| is_ours(node, LINEAR));
    let pair = |index: &usize| {
        let second = &view.nodes[*index];
        let then = linear(second)?;
        let between = second.input.first()?;
        let first = &view.nodes[view.any_producer(between)?];
        let index = linear(first)?;
        let gelu = usize::try_from(index).ok().and_then(|index| layers.get(index)).is_some_and(|layer| layer.gelu);
        if !gelu || readers.get(between.as_str()) != Some(&1) || view.is_output(between) {
            return None;
        }
        let mut attributes = vec![AttributeProto::new_int("index", index), AttributeProto::new_int("then", then)];
        attributes.extend(second.int(FIRST_TOKEN).map(|first| AttributeProto::new_int(FIRST_TOKEN, first)));
        Some(operation(FEED_FORWARD, vec![first.input.first()?.clone()], second.output.first()?.clone(), attributes))
    };
    let pairs: Vec<NodeProto> = order.iter().filter_map(pair).collect();
    for node in pairs {
        view.add(node);
    }
}

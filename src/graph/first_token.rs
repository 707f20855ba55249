//! Where a model looks at its first token alone, the last layer computes nothing for the others.
//!
//! A cross-encoder's head reads the hidden state of `[CLS]`. In the last layer that state needs the keys and values of all
//! tokens, but one query: the rest of the layer, five sixths of its products, is the same for one token as for all of them
//! and is wanted for one.

use std::collections::HashMap;

use super::onnx::{AttributeProto, NodeProto};
use super::view::View;
use super::{ATTENTION, FIRST_TOKEN, LINEAR, NORM, is_ours};

/// More steps than a layer has.
const MOST_STEPS: usize = 64;

/// Rewrites the last layer, where there is something to do.
pub(super) fn rewrite(view: &mut View) {
    let taken = (0..view.nodes.len()).find_map(|index| Some((index, first_alone(view, index)?)));
    let Some((reader, hidden)) = taken else { return };
    let Some(stop) = layer_input(view, &hidden) else { return };
    let mut way = Way { stop, done: HashMap::new(), nodes: Vec::new() };
    let Some(first) = way.first(view, &hidden) else { return };
    for node in way.nodes {
        view.add(node);
    }
    view.redirect(reader, &hidden, &first);
}

/// The value of which a node takes the first token, if nobody else reads it.
fn first_alone(view: &View, index: usize) -> Option<String> {
    let node = &view.nodes[index];
    let taken = if node.is("Gather") {
        node.int("axis") == Some(1) && view.integers(&node.input[1])? == [0]
    } else if node.is("Slice") && node.input.len() >= 4 {
        let list = |index: usize| node.input.get(index).map_or(Some(vec![1]), |name| view.integers(name));
        list(1)? == [0] && list(2)? == [1] && list(3)? == [1] && list(4)? == [1]
    } else {
        false
    };
    (taken && view.only_reader(&node.input[0]).is_some()).then(|| node.input[0].clone())
}

/// The value that the last attention's queries and keys are made of: the input of the last layer.
fn layer_input(view: &View, hidden: &str) -> Option<String> {
    let mut ahead = vec![hidden.to_owned()];
    let mut found = None;
    for _ in 0..MOST_STEPS {
        let Some(name) = ahead.pop() else { break };
        let Some(node) = view.any_producer(&name).map(|index| &view.nodes[index]) else { continue };
        if is_ours(node, ATTENTION) {
            let source = |input: usize| {
                let node = &view.nodes[view.any_producer(&node.input[input])?];
                is_ours(node, LINEAR).then(|| node.input[0].clone())
            };
            let (query, key) = (source(0)?, source(1)?);
            if query != key || found.is_some_and(|found| found != query) {
                return None;
            }
            found = Some(query);
            break;
        }
        if steps(node).is_some() {
            ahead.extend(node.input.iter().rev().filter(|name| view.tensor(name).is_none()).cloned());
        }
    }
    found
}

/// Whether a node works on each token by itself: the inputs that have tokens are then all that are not constant.
fn steps(node: &NodeProto) -> Option<()> {
    (is_ours(node, NORM) || node.is("Add") || is_ours(node, LINEAR)).then_some(())
}

struct Way {
    stop: String,
    done: HashMap<String, String>,
    nodes: Vec<NodeProto>,
}

impl Way {
    /// The name of a value's first token, with the nodes that make it.
    fn first(&mut self, view: &mut View, name: &str) -> Option<String> {
        if let Some(done) = self.done.get(name) {
            return Some(done.clone());
        }
        if self.done.len() > MOST_STEPS {
            return None;
        }
        let new = view.new_name(name);
        let node = if name == self.stop {
            let first = view.add_integers(&[0]);
            NodeProto {
                op_type: "Gather".to_owned(),
                name: new.clone(),
                input: vec![name.to_owned(), first],
                output: vec![new.clone()],
                attribute: vec![AttributeProto::new_int("axis", 1)],
                ..NodeProto::default()
            }
        } else {
            let mut node = view.nodes[view.any_producer(name)?].clone();
            let of_tokens: Vec<usize> = if is_ours(&node, ATTENTION) {
                vec![0]
            } else {
                steps(&node)?;
                (0..node.input.len()).filter(|index| view.tensor(&node.input[*index]).is_none()).collect()
            };
            for index in of_tokens {
                node.input[index] = self.first(view, &node.input[index].clone())?;
            }
            if is_ours(&node, LINEAR) {
                node.attribute.push(AttributeProto::new_int(FIRST_TOKEN, 1));
            }
            node.output = vec![new.clone()];
            node.name.clone_from(&new);
            node
        };
        self.nodes.push(node);
        self.done.insert(name.to_owned(), new.clone());
        Some(new)
    }
}

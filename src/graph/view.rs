//! A graph under rewriting: who makes which value, who reads it, and which values are constant.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::onnx::{GraphProto, NodeProto, TensorProto, ValueInfoProto, data_type};

/// Nodes may be added; a node that is no longer read is dropped at the end ([`View::finish`]).
pub(super) struct View {
    pub(super) nodes: Vec<NodeProto>,
    initializers: HashMap<String, TensorProto>,
    /// The order in which the initializers came.
    names: Vec<String>,
    producers: HashMap<String, usize>,
    readers: HashMap<String, Vec<usize>>,
    inputs: HashSet<String>,
    outputs: HashSet<String>,
    rest: GraphProto,
    made: usize,
}

/// Operators whose first input is looked at.
const READ: [&str; 10] =
    ["Softmax", "Transpose", "Erf", "Gelu", "Sqrt", "ReduceMean", "LayerNormalization", "Slice", "Unsqueeze", "Cast"];

/// A constant matrix or vector in fp32.
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl View {
    /// Nothing for a graph with graphs inside it: those may read any value.
    pub(super) fn new(mut graph: GraphProto) -> Option<Self> {
        let nested = |node: &NodeProto| node.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty());
        if graph.node.iter().any(nested) {
            return None;
        }
        // The standard wants nodes in the order in which they run: so there are no cycles.
        let mut made: HashSet<&str> = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        for node in &graph.node {
            if node.input.iter().any(|name| made.contains(name.as_str())) {
                return None;
            }
            node.output.iter().for_each(|name| _ = made.remove(name.as_str()));
        }
        let enough = |node: &NodeProto| match node.op_type.as_str() {
            "MatMul" | "Add" | "Mul" | "Div" | "Sub" | "Pow" | "Reshape" | "Gather" => node.input.len() >= 2,
            _ => !node.input.is_empty() || !READ.contains(&node.op_type.as_str()),
        };
        if !graph.node.iter().all(|node| enough(node) && !node.output.is_empty()) {
            return None;
        }
        let nodes = std::mem::take(&mut graph.node);
        let initializers = std::mem::take(&mut graph.initializer);
        let mut view = Self {
            nodes: Vec::with_capacity(nodes.len()),
            names: initializers.iter().map(|tensor| tensor.name.clone()).collect(),
            initializers: initializers.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect(),
            producers: HashMap::new(),
            readers: HashMap::new(),
            inputs: graph.input.iter().map(|input| input.name.clone()).collect(),
            outputs: graph.output.iter().map(|output| output.name.clone()).collect(),
            rest: graph,
            made: 0,
        };
        for node in nodes {
            view.add(node);
        }
        Some(view)
    }

    /// Adds a node; a value that another node made is this one's from now on.
    pub(super) fn add(&mut self, node: NodeProto) -> usize {
        let index = self.nodes.len();
        for name in &node.output {
            self.producers.insert(name.clone(), index);
        }
        for name in &node.input {
            self.readers.entry(name.clone()).or_default().push(index);
        }
        self.nodes.push(node);
        index
    }

    /// A name that no value has.
    pub(super) fn new_name(&mut self, like: &str) -> String {
        self.made += 1;
        format!("{like}.crossrank.{}", self.made)
    }

    /// A constant of whole numbers in one dimension.
    pub(super) fn add_integers(&mut self, values: &[i64]) -> String {
        let name = self.new_name("integers");
        let tensor = TensorProto {
            name: name.clone(),
            dims: vec![values.len() as i64],
            data_type: data_type::INT64,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        };
        self.names.push(name.clone());
        self.initializers.insert(name.clone(), tensor);
        name
    }

    /// The node that makes a value, if it is an operator of this name.
    pub(super) fn producer(&self, name: &str, op_type: &str) -> Option<usize> {
        self.producers.get(name).copied().filter(|index| self.nodes[*index].is(op_type))
    }

    pub(super) fn any_producer(&self, name: &str) -> Option<usize> {
        self.producers.get(name).copied()
    }

    /// The nodes that read a value.
    pub(super) fn readers(&self, name: &str) -> &[usize] {
        self.readers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The only reader of a value that is not an output of the graph.
    pub(super) fn only_reader(&self, name: &str) -> Option<usize> {
        match self.readers(name) {
            [one] if !self.outputs.contains(name) => Some(*one),
            _ => None,
        }
    }

    pub(super) fn is_output(&self, name: &str) -> bool {
        self.outputs.contains(name)
    }

    /// From now on, who read `old` reads `new`.
    pub(super) fn redirect(&mut self, reader: usize, old: &str, new: &str) {
        for input in &mut self.nodes[reader].input {
            if input == old {
                new.clone_into(input);
            }
        }
        if let Some(readers) = self.readers.get_mut(old) {
            readers.retain(|index| *index != reader);
        }
        self.readers.entry(new.to_owned()).or_default().push(reader);
    }

    /// A constant as it stands in the file.
    pub(super) fn tensor(&self, name: &str) -> Option<Cow<'_, TensorProto>> {
        if let Some(tensor) = self.initializers.get(name) {
            // One that is an input too may be replaced by the caller of a run.
            return (!self.inputs.contains(name)).then_some(Cow::Borrowed(tensor));
        }
        let node = &self.nodes[self.producer(name, "Constant")?];
        let attribute = node.attribute("value").and_then(|value| value.t.as_ref());
        if let Some(tensor) = attribute {
            return Some(Cow::Borrowed(tensor));
        }
        let (dims, integers, floats) = if let Some(value) = node.int("value_int") {
            (vec![], vec![value], vec![])
        } else if let Some(value) = node.attribute("value_float").and_then(|a| a.f) {
            (vec![], vec![], vec![value])
        } else if let Some(value) = node.attribute("value_ints") {
            (vec![value.ints.len() as i64], value.ints.clone(), vec![])
        } else if let Some(value) = node.attribute("value_floats") {
            (vec![value.floats.len() as i64], vec![], value.floats.clone())
        } else {
            return None;
        };
        let data_type = if floats.is_empty() { data_type::INT64 } else { data_type::FLOAT };
        Some(Cow::Owned(TensorProto {
            dims,
            data_type,
            int64_data: integers,
            float_data: floats,
            ..TensorProto::default()
        }))
    }

    /// A constant of one fp32 number, of any shape.
    pub(super) fn scalar(&self, name: &str) -> Option<f32> {
        let tensor = self.tensor(name)?;
        if tensor.dims.iter().product::<i64>() != 1 {
            return None;
        }
        floats(&tensor)?.first().copied()
    }

    /// A constant list of whole numbers.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.tensor(name)?;
        match (&tensor.raw_data, tensor.data_type) {
            (Some(raw), data_type::INT64) => {
                let (numbers, rest) = raw.as_chunks::<8>();
                rest.is_empty().then(|| numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
            }
            (Some(raw), data_type::INT32) => {
                let (numbers, rest) = raw.as_chunks::<4>();
                rest.is_empty().then(|| numbers.iter().map(|bytes| i32::from_le_bytes(*bytes).into()).collect())
            }
            (None, data_type::INT64) => Some(tensor.int64_data.clone()),
            (None, data_type::INT32) => Some(tensor.int32_data.iter().map(|value| (*value).into()).collect()),
            _ => None,
        }
    }

    /// A constant in fp32, also one that is computed from constants, as weights are that are stored in fewer bits:
    /// through `Cast`, `Mul` with scales, `DequantizeLinear`, `Reshape`, `Transpose` and `Identity`.
    pub(super) fn constant(&self, name: &str) -> Option<Constant> {
        if let Some(tensor) = self.tensor(name) {
            let dims: Option<Vec<usize>> = tensor.dims.iter().map(|size| usize::try_from(*size).ok()).collect();
            let (dims, values) = (dims?, floats(&tensor)?);
            return (dims.iter().product::<usize>() == values.len()).then_some(Constant { dims, values });
        }
        let node = &self.nodes[self.any_producer(name)?];
        let input = |index: usize| node.input.get(index).map(String::as_str).filter(|name| !name.is_empty());
        if node.is("Identity") {
            self.constant(input(0)?)
        } else if node.is("Cast") {
            (node.int("to") == Some(data_type::FLOAT.into())).then(|| self.constant(input(0)?))?
        } else if node.is("Mul") {
            multiply(self.constant(input(0)?)?, &self.constant(input(1)?)?)
        } else if node.is("Reshape") {
            reshape(self.constant(input(0)?)?, &self.integers(input(1)?)?)
        } else if node.is("Transpose") {
            transpose(&self.constant(input(0)?)?, node.ints("perm"))
        } else if node.is("DequantizeLinear") {
            let zero = match input(2) {
                Some(name) => Some(self.constant(name)?),
                None => None,
            };
            dequantize(node, self.constant(input(0)?)?, &self.constant(input(1)?)?, zero.as_ref())
        } else {
            None
        }
    }

    /// Whether a constant that [`constant`](Self::constant) can compute has fp32 for its type: those of fp16 graphs, say, go
    /// with values of their own type.
    pub(super) fn is_fp32(&self, name: &str) -> bool {
        if let Some(tensor) = self.tensor(name) {
            return tensor.data_type == data_type::FLOAT;
        }
        let Some(node) = self.any_producer(name).map(|index| &self.nodes[index]) else { return false };
        let is_fp32 = |index: usize| node.input.get(index).is_some_and(|name| self.is_fp32(name));
        match node.op_type.as_str() {
            "Cast" => node.int("to") == Some(data_type::FLOAT.into()),
            "DequantizeLinear" => is_fp32(1),
            "Mul" => is_fp32(0) && is_fp32(1),
            "Identity" | "Reshape" | "Transpose" => is_fp32(0),
            _ => false,
        }
    }

    /// Whether a value is one of 64-bit integers that the caller of a run gives.
    pub(super) fn is_int64_input(&self, name: &str) -> bool {
        let is_it = |input: &ValueInfoProto| input.name == name && input.element() == Some(data_type::INT64);
        !self.initializers.contains_key(name) && self.rest.input.iter().any(is_it)
    }

    /// Whether the numbers of a constant stand in another file.
    pub(super) fn has_external_data(&self) -> bool {
        self.initializers.values().any(|tensor| tensor.data_location != 0)
    }

    /// The dimensions of what [`constant`](Self::constant) gives, without computing it.
    pub(super) fn constant_dims(&self, name: &str) -> Option<Vec<usize>> {
        if let Some(tensor) = self.tensor(name) {
            let readable = tensor.data_location == 0 && is_number(tensor.data_type);
            return if readable { tensor.dims.iter().map(|size| usize::try_from(*size).ok()).collect() } else { None };
        }
        let node = &self.nodes[self.any_producer(name)?];
        let dims = self.constant_dims(node.input.first()?)?;
        match node.op_type.as_str() {
            "Identity" | "Cast" | "Mul" | "DequantizeLinear" => Some(dims),
            "Reshape" => new_dims(&dims, &self.integers(node.input.get(1)?)?),
            "Transpose" => Some(dims.into_iter().rev().collect()),
            _ => None,
        }
    }

    /// Adds an input of the graph.
    pub(super) fn add_input(&mut self, input: ValueInfoProto) {
        self.inputs.insert(input.name.clone());
        self.rest.input.push(input);
    }

    /// The nodes that the outputs need, each after those whose values it reads.
    pub(super) fn order(&self) -> Vec<usize> {
        let Self { nodes, producers, outputs, .. } = self;
        // Depth first from the outputs: a node is placed when all that it reads is.
        let mut placed = vec![false; nodes.len()];
        let mut order = Vec::with_capacity(nodes.len());
        let mut wanted: Vec<(usize, bool)> =
            outputs.iter().filter_map(|name| producers.get(name)).map(|index| (*index, false)).collect();
        wanted.sort_unstable();
        wanted.reverse();
        while let Some((index, inputs_placed)) = wanted.pop() {
            if placed[index] {
                continue;
            }
            if inputs_placed {
                placed[index] = true;
                order.push(index);
                continue;
            }
            wanted.push((index, true));
            let inputs = nodes[index].input.iter().rev().filter_map(|name| producers.get(name));
            wanted.extend(inputs.filter(|index| !placed[**index]).map(|index| (*index, false)));
        }
        order
    }

    /// The graph without what nobody reads.
    pub(super) fn finish(self) -> GraphProto {
        let order = self.order();
        let Self { nodes, mut initializers, names, outputs, mut rest, .. } = self;
        let read: HashSet<&str> =
            order.iter().flat_map(|index| &nodes[*index].input).chain(&outputs).map(String::as_str).collect();
        rest.initializer = names
            .iter()
            .filter(|name| read.contains(name.as_str()))
            .filter_map(|name| initializers.remove(name))
            .collect();
        let mut nodes: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
        rest.node = order.into_iter().filter_map(|index| nodes[index].take()).collect();
        rest
    }
}

/// The numbers of a tensor as fp32.
fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_location != 0 {
        return None;
    }
    let half = |bits: u16| half::f16::from_bits(bits).to_f32();
    let bf16 = |bits: u16| half::bf16::from_bits(bits).to_f32();
    let Some(raw) = &tensor.raw_data else {
        return match tensor.data_type {
            data_type::FLOAT => Some(tensor.float_data.clone()),
            // Narrow numbers stand in 32-bit ones.
            data_type::FLOAT16 => Some(tensor.int32_data.iter().map(|bits| half(*bits as u16)).collect()),
            data_type::BFLOAT16 => Some(tensor.int32_data.iter().map(|bits| bf16(*bits as u16)).collect()),
            data_type::INT8 | data_type::UINT8 => Some(tensor.int32_data.iter().map(|value| *value as f32).collect()),
            _ => None,
        };
    };
    let whole = |rest: &[u8]| rest.is_empty().then_some(());
    match tensor.data_type {
        data_type::FLOAT => {
            let (numbers, rest) = raw.as_chunks::<4>();
            whole(rest).map(|()| numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        data_type::FLOAT16 | data_type::BFLOAT16 => {
            let (numbers, rest) = raw.as_chunks::<2>();
            let wide = |bytes: &[u8; 2]| match tensor.data_type {
                data_type::FLOAT16 => half(u16::from_le_bytes(*bytes)),
                _ => bf16(u16::from_le_bytes(*bytes)),
            };
            whole(rest).map(|()| numbers.iter().map(wide).collect())
        }
        data_type::INT8 => Some(raw.iter().map(|byte| f32::from(byte.cast_signed())).collect()),
        data_type::UINT8 => Some(raw.iter().map(|byte| f32::from(*byte)).collect()),
        _ => None,
    }
}

/// Elementwise product, where the second has the first one's dimensions or 1 in their place.
fn multiply(mut a: Constant, b: &Constant) -> Option<Constant> {
    for_each_row(&mut a, b, |row, factors| match factors {
        [factor] => row.iter_mut().for_each(|value| *value *= factor),
        factors => row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor),
    })?;
    Some(a)
}

/// Elementwise difference, by the same rule.
fn subtract(mut a: Constant, b: &Constant) -> Option<Constant> {
    for_each_row(&mut a, b, |row, less| match less {
        [less] => row.iter_mut().for_each(|value| *value -= less),
        less => row.iter_mut().zip(less).for_each(|(value, less)| *value -= less),
    })?;
    Some(a)
}

/// Hands each row of `a` (along its last dimension) to `work` with what stands at its place in `b`: a row or one number.
fn for_each_row(a: &mut Constant, b: &Constant, work: impl Fn(&mut [f32], &[f32])) -> Option<()> {
    let missing = a.dims.len().checked_sub(b.dims.len())?;
    let fits = a.dims[missing..].iter().zip(&b.dims).all(|(a, b)| *b == 1 || a == b);
    if !fits || b.values.is_empty() {
        return None;
    }
    if b.values.len() == 1 {
        work(&mut a.values, &b.values);
        return Some(());
    }
    let width = *a.dims.last()?;
    let b_width = *b.dims.last()?;
    // From the last dimension but one on: the size of each, and how far `b` goes on there.
    let mut steps = Vec::with_capacity(a.dims.len());
    let mut step = b_width;
    for (index, size) in a.dims.iter().enumerate().rev().skip(1) {
        let of_b = index.checked_sub(missing).map_or(1, |index| b.dims[index]);
        steps.push((*size, if of_b == 1 { 0 } else { step }));
        step *= of_b;
    }
    for (index, row) in a.values.chunks_exact_mut(width.max(1)).enumerate() {
        let (mut rest, mut at) = (index, 0);
        for (size, step) in &steps {
            at += rest % size * step;
            rest /= size;
        }
        work(row, &b.values[at..at + b_width]);
    }
    Some(())
}

fn is_number(data_type: i32) -> bool {
    use data_type::{BFLOAT16, FLOAT, FLOAT16, INT8, UINT8};
    matches!(data_type, FLOAT | FLOAT16 | BFLOAT16 | INT8 | UINT8)
}

fn reshape(a: Constant, shape: &[i64]) -> Option<Constant> {
    Some(Constant { dims: new_dims(&a.dims, shape)?, values: a.values })
}

/// What `Reshape` makes of dimensions.
fn new_dims(dims: &[usize], shape: &[i64]) -> Option<Vec<usize>> {
    let count = dims.iter().product::<usize>();
    let known: usize = shape.iter().filter(|size| **size > 0).map(|size| *size as usize).product();
    let new: Option<Vec<usize>> = shape
        .iter()
        .enumerate()
        .map(|(index, size)| match size {
            -1 => count.checked_div(known),
            0 => dims.get(index).copied(),
            size => usize::try_from(*size).ok(),
        })
        .collect();
    new.filter(|new| new.iter().product::<usize>() == count)
}

/// Of a matrix.
fn transpose(a: &Constant, perm: &[i64]) -> Option<Constant> {
    let &[rows, columns] = a.dims.as_slice() else { return None };
    if !matches!(perm, [] | [1, 0]) {
        return None;
    }
    let values = (0..columns).flat_map(|c| (0..rows).map(move |r| a.values[r * columns + c])).collect();
    Some(Constant { dims: vec![columns, rows], values })
}

/// `DequantizeLinear` with one scale, or one for each place of an axis.
fn dequantize(node: &NodeProto, mut a: Constant, scale: &Constant, zero: Option<&Constant>) -> Option<Constant> {
    if node.int("block_size").unwrap_or(0) != 0 {
        return None;
    }
    let axis = node.int("axis").unwrap_or(1);
    let axis = if axis < 0 { axis + a.dims.len() as i64 } else { axis } as usize;
    let rank = a.dims.len();
    let of_axis = |constant: &Constant| {
        let mut dims = vec![1; rank];
        if constant.values.len() != 1 {
            *dims.get_mut(axis)? = constant.values.len();
        }
        Some(Constant { dims, values: constant.values.clone() })
    };
    if let Some(zero) = zero {
        a = subtract(a, &of_axis(zero)?)?;
    }
    let scale = of_axis(scale)?;
    multiply(a, &scale)
}

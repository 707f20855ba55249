//! A look into an ONNX file without loading it: the precision of its weights and what it says of itself.
//!
//! ONNX Runtime does not tell the element types of a model's weights, and a broken file is better refused here, with
//! a reason, than there. Only the few fields that are needed are read, by the field numbers of `onnx.proto3`; the
//! weights themselves are skipped, so that a file of any size takes a few reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use super::files::{OnnxFile, Weights};
use crate::error::{Error, Result};

/// Metadata is read up to here: it may hold whole documents.
const LONGEST_TEXT: u64 = 1024;

/// A name of external data that is longer is refused: what is checked must be all of it.
const LONGEST_NAME: usize = 1000;

/// What was learnt from the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GraphFacts {
    /// `metadata_props` of the model.
    metadata: BTreeMap<String, String>,
    /// Number of weight elements by `TensorProto.DataType`.
    elements: BTreeMap<i64, u64>,
    /// The kinds of operators.
    operators: BTreeSet<String>,
    /// The names of the files beside it that hold weights.
    external: BTreeSet<String>,
}

/// Graphs within graphs beyond this depth are refused: no exporter nests so deep.
const DEEPEST: usize = 16;

/// Operators that, in graphs of transformers, compute each input of a batch from that input alone: sums and means go over
/// a token's numbers or a text's tokens there. What looks at a whole batch, as the operators of dynamic quantisation do, is
/// not among them.
const OF_EACH_INPUT: [&str; 55] = [
    "Add",
    "And",
    "Attention",
    "BiasGelu",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "CumSum",
    "Div",
    "Dropout",
    "EmbedLayerNormalization",
    "Equal",
    "Erf",
    "Expand",
    "FastGelu",
    "Flatten",
    "Gather",
    "GatherElements",
    "Gelu",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "LayerNormalization",
    "Less",
    "LessOrEqual",
    "MatMul",
    "Max",
    "Min",
    "Mul",
    "MultiHeadAttention",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Range",
    "ReduceL2",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "SkipLayerNormalization",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

impl GraphFacts {
    /// Reads each of a model's files; `model` is the model's name in messages.
    pub(crate) fn read_all(files: &[OnnxFile], model: &str) -> Result<Vec<Self>> {
        files.iter().map(|file| Self::read(&file.weights, &file.title(model))).collect()
    }

    /// Reads the file; `name` is for the error message.
    pub(crate) fn read(weights: &Weights, name: &str) -> Result<Self> {
        let facts = match weights {
            Weights::File(path) => File::open(path).map(BufReader::new).and_then(model),
            #[cfg(feature = "bundled-models")]
            Weights::Static(bytes) => model(Cursor::new(*bytes)),
            Weights::Shared(bytes) => model(Cursor::new(bytes.as_ref())),
        };
        let facts = facts.map_err(|error| {
            Error::model(format!(
                "the ONNX file of {name} cannot be read as one: it is damaged, cut short, or something else (a Git LFS \
                 pointer?)"
            ))
            .with_source(error)
        })?;
        if facts.operators.is_empty() {
            return Err(Error::model(format!("the ONNX file of {name} holds no graph: it is not an ONNX model")));
        }
        Ok(facts)
    }

    /// Whether the graph has none but operators that compute each input of a batch from that input alone.
    pub(crate) fn inputs_are_independent(&self) -> bool {
        self.operators.iter().all(|operator| OF_EACH_INPUT.contains(&operator.as_str()))
    }

    /// The names of the files beside it that hold weights, as the file has them.
    pub(crate) fn external(&self) -> impl Iterator<Item = &str> {
        self.external.iter().map(String::as_str)
    }

    /// The compute type that the file asks for.
    pub(crate) fn compute(&self) -> Option<&str> {
        self.metadata.get("crossrank.compute").map(String::as_str)
    }

    /// The precision in a word or two: the file's own statement, else the element type of most weights.
    pub(crate) fn precision(&self) -> String {
        if let Some(stated) = self.metadata.get("crossrank.precision") {
            return stated.clone();
        }
        match self.elements.iter().max_by_key(|(_, count)| **count) {
            Some((kind, _)) => element_name(*kind).to_owned(),
            None => "unknown".to_owned(),
        }
    }
}

/// `TensorProto.DataType`.
fn element_name(kind: i64) -> &'static str {
    match kind {
        1 => "fp32",
        2 => "uint8",
        3 => "int8",
        10 => "fp16",
        11 => "fp64",
        16 => "bf16",
        21 | 22 => "int4",
        _ => "other",
    }
}

/// One field of a protobuf message.
struct Field {
    number: u64,
    value: Value,
}

enum Value {
    Number(u64),
    /// A length-delimited field that ends at this position of the file.
    Bytes {
        end: u64,
    },
}

struct Reader<R> {
    source: R,
    position: u64,
    length: u64,
}

impl<R: Read + Seek> Reader<R> {
    fn new(mut source: R) -> io::Result<Self> {
        let length = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(0))?;
        Ok(Self { source, position: 0, length })
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        self.position += 1;
        Ok(byte[0])
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("a number is longer than ten bytes"))
    }

    fn skip_to(&mut self, position: u64) -> io::Result<()> {
        let distance =
            i64::try_from(position.wrapping_sub(self.position)).map_err(|_| malformed("a field overlaps"))?;
        // Relative, so that BufReader keeps its buffer for short distances.
        self.source.seek(SeekFrom::Current(distance))?;
        self.position = position;
        Ok(())
    }

    /// The next field of the message that ends at `end`; its bytes, if any, are still to be read or skipped.
    fn field(&mut self, end: u64) -> io::Result<Option<Field>> {
        if self.position >= end {
            return if self.position == end { Ok(None) } else { Err(malformed("a field runs over its message")) };
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.fixed(8, end)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes { end: self.end_of(length, end)? }
            }
            5 => self.fixed(4, end)?,
            _ => return Err(malformed("it is not a protobuf message")),
        };
        Ok(Some(Field { number: key >> 3, value }))
    }

    fn fixed(&mut self, length: u64, end: u64) -> io::Result<Value> {
        let end = self.end_of(length, end)?;
        self.skip_to(end)?;
        Ok(Value::Number(0))
    }

    fn end_of(&self, length: u64, limit: u64) -> io::Result<u64> {
        let end = self.position.checked_add(length).filter(|end| *end <= limit);
        end.ok_or_else(|| malformed(&format!("a field of {length} bytes does not fit: the file is cut short")))
    }

    /// The first [`LONGEST_TEXT`] bytes of a text.
    fn text(&mut self, end: u64) -> io::Result<String> {
        let length = (end - self.position).min(LONGEST_TEXT);
        let mut bytes = vec![0; length as usize];
        self.source.read_exact(&mut bytes)?;
        self.position += length;
        self.skip_to(end)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

/// Hands the length-delimited fields of a message, by number and end, to `each`; the others are skipped.
fn fields<R: Read + Seek>(
    reader: &mut Reader<R>,
    end: u64,
    mut each: impl FnMut(&mut Reader<R>, u64, u64) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(field) = reader.field(end)? {
        if let Value::Bytes { end } = field.value {
            each(reader, field.number, end)?;
            reader.skip_to(end)?;
        }
    }
    Ok(())
}

/// `ModelProto`: graph = 7, metadata_props = 14, functions = 25.
fn model<R: Read + Seek>(source: R) -> io::Result<GraphFacts> {
    let mut reader = Reader::new(source)?;
    let mut facts = GraphFacts::default();
    let end = reader.length;
    fields(&mut reader, end, |reader, number, end| {
        match number {
            7 => graph(reader, end, &mut facts, 0)?,
            14 => {
                let (key, value) = property(reader, end)?;
                facts.metadata.insert(key, value);
            }
            25 => function(reader, end, &mut facts)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(facts)
}

/// `GraphProto`: node = 1, initializer = 5, sparse_initializer = 15.
fn graph<R: Read + Seek>(reader: &mut Reader<R>, end: u64, facts: &mut GraphFacts, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(malformed("its graphs are nested too deep"));
    }
    fields(reader, end, |reader, number, end| match number {
        1 => node(reader, end, facts, depth),
        5 => tensor(reader, end, facts),
        15 => sparse_tensor(reader, end, facts),
        _ => Ok(()),
    })
}

/// `FunctionProto`: node = 7, attribute_proto = 11.
fn function<R: Read + Seek>(reader: &mut Reader<R>, end: u64, facts: &mut GraphFacts) -> io::Result<()> {
    fields(reader, end, |reader, number, end| match number {
        7 => node(reader, end, facts, 0),
        11 => attribute(reader, end, facts, 0),
        _ => Ok(()),
    })
}

/// `NodeProto`: op_type = 4, attribute = 5.
fn node<R: Read + Seek>(reader: &mut Reader<R>, end: u64, facts: &mut GraphFacts, depth: usize) -> io::Result<()> {
    fields(reader, end, |reader, number, end| {
        match number {
            4 => {
                let operator = reader.text(end)?;
                facts.operators.insert(operator);
            }
            5 => attribute(reader, end, facts, depth)?,
            _ => {}
        }
        Ok(())
    })
}

/// `AttributeProto`: t = 5, g = 6, tensors = 10, graphs = 11, sparse_tensor = 22, sparse_tensors = 23.
fn attribute<R: Read + Seek>(reader: &mut Reader<R>, end: u64, facts: &mut GraphFacts, depth: usize) -> io::Result<()> {
    fields(reader, end, |reader, number, end| match number {
        5 | 10 => tensor(reader, end, facts),
        6 | 11 => graph(reader, end, facts, depth + 1),
        22 | 23 => sparse_tensor(reader, end, facts),
        _ => Ok(()),
    })
}

/// `SparseTensorProto`: values = 1, indices = 2.
fn sparse_tensor<R: Read + Seek>(reader: &mut Reader<R>, end: u64, facts: &mut GraphFacts) -> io::Result<()> {
    fields(reader, end, |reader, number, end| if matches!(number, 1 | 2) { tensor(reader, end, facts) } else { Ok(()) })
}

/// `TensorProto`: dims = 1 (packed or not), data_type = 2, external_data = 13.
fn tensor<R: Read + Seek>(reader: &mut Reader<R>, end: u64, facts: &mut GraphFacts) -> io::Result<()> {
    let (mut kind, mut elements) = (0, 1u64);
    while let Some(field) = reader.field(end)? {
        match (field.number, field.value) {
            (1, Value::Number(size)) => elements = elements.saturating_mul(size),
            (1, Value::Bytes { end }) => {
                while reader.position < end {
                    elements = elements.saturating_mul(reader.varint()?);
                }
            }
            (2, Value::Number(number)) => kind = number as i64,
            (13, Value::Bytes { end }) => {
                let (key, value) = property(reader, end)?;
                if key == "location" {
                    if value.len() > LONGEST_NAME {
                        return Err(malformed("a file name in it is longer than any system takes"));
                    }
                    facts.external.insert(value);
                }
            }
            (_, Value::Bytes { end }) => reader.skip_to(end)?,
            (_, Value::Number(_)) => {}
        }
    }
    let count = facts.elements.entry(kind).or_default();
    *count = count.saturating_add(elements);
    Ok(())
}

/// `StringStringEntryProto`: key = 1, value = 2.
fn property<R: Read + Seek>(reader: &mut Reader<R>, end: u64) -> io::Result<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    fields(reader, end, |reader, number, end| {
        match number {
            1 => key = reader.text(end)?,
            2 => value = reader.text(end)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn a_real_export_is_fp32() {
        let facts = model(Cursor::new(fixture("bert-cross-encoder/model.onnx"))).unwrap();
        assert_eq!(facts.precision(), "fp32");
        assert!(facts.inputs_are_independent(), "{:?}", facts.operators);
        let company = model(Cursor::new(fixture("broken/company.onnx"))).unwrap();
        assert!(!company.inputs_are_independent(), "{:?}", company.operators);
    }

    #[test]
    fn a_text_and_a_cut_file_are_refused() {
        for name in ["broken/not-onnx.onnx", "broken/truncated.onnx"] {
            let weights = Weights::Shared(fixture(name).into());
            let error = GraphFacts::read(&weights, "it").unwrap_err();
            assert!(error.to_string().contains("ONNX file of it"), "{name}: {error}");
        }
        assert!(GraphFacts::read(&Weights::Shared([].into()), "it").unwrap_err().to_string().contains("no graph"));
    }

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = Vec::new();
        for mut varint in [usize::from(number) << 3 | 2, bytes.len()] {
            while varint > 0x7f {
                field.push(varint as u8 & 0x7f | 0x80);
                varint >>= 7;
            }
            field.push(varint as u8);
        }
        field.extend(bytes);
        field
    }

    #[test]
    fn names_of_external_data_are_found_wherever_a_tensor_may_be() {
        let entry = [field(1, b"location"), field(2, b"x.bin")].concat();
        let tensor = field(13, &entry);
        let names = |graph: Vec<u8>| -> Vec<String> {
            model(Cursor::new(field(7, &graph))).unwrap().external().map(str::to_owned).collect()
        };
        assert_eq!(names(field(5, &tensor)), ["x.bin"], "an initializer");
        let constant = field(1, &field(5, &field(5, &tensor)));
        assert_eq!(names(constant), ["x.bin"], "a constant's value");
        let nested = field(1, &field(5, &field(6, &field(5, &tensor))));
        assert_eq!(names(nested), ["x.bin"], "in a graph within the graph");
        assert!(names(field(1, &field(4, b"Add"))).is_empty());
        let function = field(25, &field(11, &field(5, &tensor)));
        assert_eq!(model(Cursor::new(function)).unwrap().external().count(), 1, "a function's default");
        let long = [field(1, b"location"), field(2, &[b'a'; 5000])].concat();
        assert!(model(Cursor::new(field(7, &field(5, &field(13, &long))))).is_err(), "a name that is cut");
    }

    #[test]
    fn graphs_that_are_nested_without_end_are_refused() {
        let mut graph = Vec::new();
        for _ in 0..DEEPEST + 2 {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        let error = model(Cursor::new(field(7, &graph))).unwrap_err();
        assert!(error.to_string().contains("nested"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = model(Cursor::new(bytes));
        }

        #[test]
        fn a_file_cut_anywhere_is_read_or_refused(cut in 0usize..4000) {
            let bytes = fixture("broken/unknown-input.onnx");
            let _ = model(Cursor::new(&bytes[..cut.min(bytes.len())]));
        }
    }
}

//! The parts of an ONNX file that rewriting reads and writes (`onnx.proto3` of the ONNX project, IR version 8 and later).
//!
//! Messages that are only passed on (types, functions, sparse tensors) are kept as the bytes they are.

use bytes::Bytes;
use prost::Message;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(super) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(super) producer_name: String,
    #[prost(string, tag = "3")]
    pub(super) producer_version: String,
    #[prost(string, tag = "4")]
    pub(super) domain: String,
    #[prost(int64, tag = "5")]
    pub(super) model_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<OperatorSetIdProto>,
    /// `StringStringEntryProto`.
    #[prost(bytes = "bytes", repeated, tag = "14")]
    pub(super) metadata_props: Vec<Bytes>,
    /// `FunctionProto`.
    #[prost(bytes = "bytes", repeated, tag = "25")]
    pub(super) functions: Vec<Bytes>,
}

/// The version of an operator domain.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// Nodes and constants.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfoProto>,
    /// `SparseTensorProto`.
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub(super) sparse_initializer: Vec<Bytes>,
}

/// The name and the type of an input or output.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// `TypeProto`.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) kind: Option<Bytes>,
}

/// One operation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
    #[prost(string, tag = "8")]
    pub(super) overload: String,
}

/// A constant property of an operation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, optional, tag = "2")]
    pub(super) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(super) i: Option<i64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(super) s: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub(super) t: Option<TensorProto>,
    /// `GraphProto`.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(super) g: Option<Bytes>,
    #[prost(float, repeated, tag = "7")]
    pub(super) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub(super) strings: Vec<Bytes>,
    #[prost(message, repeated, tag = "10")]
    pub(super) tensors: Vec<TensorProto>,
    /// `GraphProto`.
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(super) graphs: Vec<Bytes>,
    /// `TypeProto`.
    #[prost(bytes = "bytes", optional, tag = "14")]
    pub(super) tp: Option<Bytes>,
    /// `TypeProto`.
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub(super) type_protos: Vec<Bytes>,
    /// `AttributeType`.
    #[prost(int32, tag = "20")]
    pub(super) kind: i32,
    #[prost(string, tag = "21")]
    pub(super) ref_attr_name: String,
    /// `SparseTensorProto`.
    #[prost(bytes = "bytes", optional, tag = "22")]
    pub(super) sparse_tensor: Option<Bytes>,
    /// `SparseTensorProto`.
    #[prost(bytes = "bytes", repeated, tag = "23")]
    pub(super) sparse_tensors: Vec<Bytes>,
}

/// A constant.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    /// `DataType`.
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(super) int32_data: Vec<i32>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(super) string_data: Vec<Bytes>,
    #[prost(int64, repeated, tag = "7")]
    pub(super) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    /// Little-endian numbers.
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub(super) raw_data: Option<Bytes>,
    #[prost(double, repeated, tag = "10")]
    pub(super) double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    pub(super) uint64_data: Vec<u64>,
    #[prost(message, repeated, tag = "13")]
    pub(super) external_data: Vec<StringStringEntryProto>,
    /// 1: in a file of its own.
    #[prost(int32, tag = "14")]
    pub(super) data_location: i32,
}

/// A property by name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `TensorProto.DataType`.
pub(super) mod data_type {
    pub(in crate::graph) const FLOAT: i32 = 1;
    pub(in crate::graph) const UINT8: i32 = 2;
    pub(in crate::graph) const INT8: i32 = 3;
    pub(in crate::graph) const INT32: i32 = 6;
    pub(in crate::graph) const INT64: i32 = 7;
    pub(in crate::graph) const FLOAT16: i32 = 10;
    pub(in crate::graph) const BFLOAT16: i32 = 16;
}

impl NodeProto {
    pub(super) fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|attribute| attribute.i)
    }

    /// The list of integers of an attribute; empty if there is none.
    pub(super) fn ints(&self, name: &str) -> &[i64] {
        self.attribute(name).map_or(&[], |attribute| &attribute.ints)
    }

    /// An operator of the standard, by name.
    pub(super) fn is(&self, op_type: &str) -> bool {
        self.op_type == op_type && matches!(self.domain.as_str(), "" | "ai.onnx")
    }
}

impl AttributeProto {
    /// `AttributeType` INT.
    pub(super) fn new_int(name: &str, value: i64) -> Self {
        Self { name: name.to_owned(), i: Some(value), kind: 2, ..Self::default() }
    }

    /// `AttributeType` FLOAT.
    pub(super) fn new_float(name: &str, value: f32) -> Self {
        Self { name: name.to_owned(), f: Some(value), kind: 1, ..Self::default() }
    }
}

impl ValueInfoProto {
    /// An input of one 64-bit integer for each text of a batch.
    pub(super) fn integer_for_each_text(name: &str) -> Self {
        // TypeProto { tensor_type: { elem_type: INT64, shape: { dim: [{ dim_param: "batch" }] } } }
        let kind = b"\x0a\x0d\x08\x07\x12\x09\x0a\x07\x12\x05batch";
        Self { name: name.to_owned(), kind: Some(Bytes::from_static(kind)) }
    }

    /// The type of the elements, of a tensor.
    pub(super) fn element(&self) -> Option<i32> {
        /// `TypeProto`, as far as it is wanted.
        #[derive(Clone, PartialEq, Message)]
        struct Kind {
            #[prost(message, optional, tag = "1")]
            tensor: Option<Tensor>,
        }
        /// `TypeProto.Tensor`.
        #[derive(Clone, PartialEq, Message)]
        struct Tensor {
            #[prost(int32, tag = "1")]
            element: i32,
        }
        Kind::decode(self.kind.clone()?).ok()?.tensor.map(|tensor| tensor.element)
    }
}

/// Reads a file.
pub(super) fn read(bytes: Bytes) -> Result<ModelProto, prost::DecodeError> {
    ModelProto::decode(bytes)
}

/// Writes a file.
pub(super) fn write(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

//! This crate's operations, as ONNX Runtime calls them.
//!
//! `ort` can register operations too, but hands each call a `&mut` of the operation's state, and one session is run by many
//! threads here ([`super::session`]). So this file fills in the C table by itself.
//!
//! # Why this is sound
//!
//! - The tables and the layers live in [`Operators`], which the session outlives in no case: `SharedSession` drops the
//!   session first. They are never changed after they were made, so any number of threads may read them.
//! - A kernel's state is a pointer to a layer, or a box ([`AttentionKernel`], [`FeedForward`]), read only, and destroyed by
//!   ONNX Runtime's call of `KernelDestroy`.
//! - Inputs and outputs are asked of ONNX Runtime in each call, with their type and shape checked before their memory is
//!   looked at. An output has the shape that was asked for, and is written by one call alone.
//! - No panic crosses the border: it becomes an error status.

use std::ffi::{CStr, CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ort::AsPointer;
use ort::session::builder::SessionBuilder;
use ort::sys;

use super::layers::{self, Texts};
use crate::graph::{self, Layer};
use crate::kernels::{Attention, Heads, Isa, LayerNorm, Mask, Table};

/// The operations of one graph, with its packed layers.
#[derive(Debug)]
pub(super) struct Operators {
    domain: NonNull<sys::OrtCustomOpDomain>,
    _tables: [Box<Operation>; 5],
}

// SAFETY: nothing in it is changed after it was made; see the head of this file.
unsafe impl Send for Operators {}
// SAFETY: as above.
unsafe impl Sync for Operators {}

/// The C table, and behind it what its functions need: they get a pointer to the table and know what follows.
#[repr(C)]
struct Operation {
    table: sys::OrtCustomOp,
    name: CString,
    /// The number of inputs, and how many of them, the last ones, may be missing.
    inputs: [usize; 2],
    constants: Constants,
}

/// What the nodes of an operation choose from by their index.
enum Constants {
    None,
    Layers(Arc<[Layer]>),
    Norms(Vec<LayerNorm>),
    Tables(Vec<Table>),
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Two layers, of which one reads the other.
struct FeedForward {
    layers: Arc<[Layer]>,
    first: usize,
    then: usize,
}

struct AttentionKernel {
    heads: Heads,
    scale: f32,
}

type Outcome<T> = Result<T, String>;

impl Operators {
    pub(super) fn new(layers: Vec<Layer>, norms: Vec<LayerNorm>, tables: Vec<Table>) -> ort::Result<Self> {
        let layers = Arc::from(layers);
        let operations = [
            Operation::boxed(
                graph::LINEAR,
                Constants::Layers(Arc::clone(&layers)),
                [3, 1],
                create_indexed,
                compute_linear,
                destroy_nothing,
            ),
            Operation::boxed(
                graph::FEED_FORWARD,
                Constants::Layers(layers),
                [3, 1],
                create_feed_forward,
                compute_feed_forward,
                destroy_box::<FeedForward>,
            ),
            Operation::boxed(
                graph::NORM,
                Constants::Norms(norms),
                [2, 1],
                create_indexed,
                compute_norm,
                destroy_nothing,
            ),
            Operation::boxed(
                graph::EMBEDDING,
                Constants::Tables(tables),
                [1, 0],
                create_indexed,
                compute_embedding,
                destroy_nothing,
            ),
            Operation::boxed(
                graph::ATTENTION,
                Constants::None,
                [5, 1],
                create_attention,
                compute_attention,
                destroy_box::<AttentionKernel>,
            ),
        ];
        let name = CString::new(graph::DOMAIN)?;
        let mut domain = ptr::null_mut();
        // SAFETY: the name is a C string, and the domain a place for a pointer.
        unsafe { ort::Error::result_from_status((ort::api().CreateCustomOpDomain)(name.as_ptr(), &mut domain))? };
        let domain = NonNull::new(domain).ok_or_else(|| ort::Error::new("ONNX Runtime gave no operator domain"))?;
        let operators = Self { domain, _tables: operations };
        for operation in &operators._tables {
            let table = ptr::from_ref::<Operation>(operation).cast();
            // SAFETY: the table is the beginning of the operation, which is boxed and stays where it is.
            unsafe {
                ort::Error::result_from_status((ort::api().CustomOpDomain_Add)(operators.domain.as_ptr(), table))?;
            }
        }
        Ok(operators)
    }

    /// Makes the operations known to a session that is about to be built.
    pub(super) fn register(&self, builder: &SessionBuilder) -> ort::Result<()> {
        // SAFETY: both pointers are valid; the caller keeps `self` for as long as the session.
        unsafe {
            let status = (ort::api().AddCustomOpDomain)(builder.ptr().cast_mut(), self.domain.as_ptr());
            ort::Error::result_from_status(status)
        }
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        // SAFETY: the domain was made by `new`, and no session uses it any more.
        unsafe { (ort::api().ReleaseCustomOpDomain)(self.domain.as_ptr()) };
    }
}

type Create = unsafe extern "system" fn(
    *const sys::OrtCustomOp,
    *const sys::OrtApi,
    *const sys::OrtKernelInfo,
    *mut *mut c_void,
) -> sys::OrtStatusPtr;
type Compute = unsafe extern "system" fn(*mut c_void, *mut sys::OrtKernelContext) -> sys::OrtStatusPtr;
type Destroy = unsafe extern "system" fn(*mut c_void);

impl Operation {
    fn boxed(
        name: &str,
        constants: Constants,
        inputs: [usize; 2],
        create: Create,
        compute: Compute,
        destroy: Destroy,
    ) -> Box<Self> {
        let table = sys::OrtCustomOp {
            version: sys::ORT_API_VERSION,
            CreateKernel: None,
            GetName: Some(name_of),
            GetExecutionProviderType: Some(provider),
            GetInputType: Some(input_type),
            GetInputTypeCount: Some(input_count),
            GetOutputType: Some(output_type),
            GetOutputTypeCount: Some(output_count),
            KernelCompute: None,
            KernelDestroy: Some(destroy),
            GetInputCharacteristic: Some(input_characteristic),
            GetOutputCharacteristic: Some(output_characteristic),
            GetInputMemoryType: Some(memory_type),
            GetVariadicInputMinArity: None,
            GetVariadicInputHomogeneity: None,
            GetVariadicOutputMinArity: None,
            GetVariadicOutputHomogeneity: None,
            CreateKernelV2: Some(create),
            KernelComputeV2: Some(compute),
            InferOutputShapeFn: None,
            GetStartVersion: Some(version),
            GetEndVersion: Some(version),
        };
        let name = CString::new(name).unwrap_or_default();
        Box::new(Self { table, name, inputs, constants })
    }

    /// # Safety
    ///
    /// `table` must be the beginning of an operation.
    unsafe fn of<'a>(table: *const sys::OrtCustomOp) -> &'a Self {
        // SAFETY: as the caller promises; the layout is C's, so that the table is the beginning.
        unsafe { &*table.cast::<Self>() }
    }
}

unsafe extern "system" fn name_of(table: *const sys::OrtCustomOp) -> *const std::ffi::c_char {
    // SAFETY: ONNX Runtime passes the table that it was given.
    unsafe { Operation::of(table) }.name.as_ptr()
}

unsafe extern "system" fn provider(_: *const sys::OrtCustomOp) -> *const std::ffi::c_char {
    c"CPUExecutionProvider".as_ptr()
}

unsafe extern "system" fn input_type(table: *const sys::OrtCustomOp, index: usize) -> sys::ONNXTensorElementDataType {
    // SAFETY: as in `name_of`.
    let operation = unsafe { Operation::of(table) };
    let is = |name: &str| operation.name.as_bytes() == name.as_bytes();
    // Numbers of tokens, and the tokens of an embedding; all others are tensors of floats.
    if (index >= 1 && (is(graph::LINEAR) || is(graph::FEED_FORWARD)))
        || (index == 3 && is(graph::ATTENTION))
        || is(graph::EMBEDDING)
    {
        sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64
    } else {
        sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
    }
}

unsafe extern "system" fn output_type(_: *const sys::OrtCustomOp, _: usize) -> sys::ONNXTensorElementDataType {
    sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
}

unsafe extern "system" fn input_count(table: *const sys::OrtCustomOp) -> usize {
    // SAFETY: as in `name_of`.
    unsafe { Operation::of(table) }.inputs[0]
}

unsafe extern "system" fn output_count(_: *const sys::OrtCustomOp) -> usize {
    1
}

unsafe extern "system" fn input_characteristic(
    table: *const sys::OrtCustomOp,
    index: usize,
) -> sys::OrtCustomOpInputOutputCharacteristic {
    // SAFETY: as in `name_of`.
    let [inputs, optional] = unsafe { Operation::of(table) }.inputs;
    if index + optional < inputs {
        sys::OrtCustomOpInputOutputCharacteristic::INPUT_OUTPUT_REQUIRED
    } else {
        sys::OrtCustomOpInputOutputCharacteristic::INPUT_OUTPUT_OPTIONAL
    }
}

unsafe extern "system" fn output_characteristic(
    _: *const sys::OrtCustomOp,
    _: usize,
) -> sys::OrtCustomOpInputOutputCharacteristic {
    sys::OrtCustomOpInputOutputCharacteristic::INPUT_OUTPUT_REQUIRED
}

unsafe extern "system" fn memory_type(_: *const sys::OrtCustomOp, _: usize) -> sys::OrtMemType {
    sys::OrtMemType::OrtMemTypeDefault
}

unsafe extern "system" fn version(_: *const sys::OrtCustomOp) -> std::ffi::c_int {
    1
}

/// Runs a call's work and makes a status of its outcome.
fn status(work: impl FnOnce() -> Outcome<()>) -> sys::OrtStatusPtr {
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("it panicked".to_owned()));
    match outcome {
        Ok(()) => sys::OrtStatusPtr::default(),
        Err(reason) => {
            let reason = CString::new(format!(
                "an operation of crossrank failed: {reason} (the compute type `onnxruntime` runs the graph without them)"
            )).unwrap_or_default();
            // SAFETY: ONNX Runtime copies the text.
            unsafe { (ort::api().CreateStatus)(sys::OrtErrorCode::ORT_FAIL, reason.as_ptr()) }
        }
    }
}

fn done(status: sys::OrtStatusPtr) -> Outcome<()> {
    // SAFETY: the status comes from the API call just made and is released by this.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| error.to_string())
}

/// An integer attribute of a node.
unsafe fn integer(info: *const sys::OrtKernelInfo, name: &CStr) -> Outcome<usize> {
    let mut value = 0i64;
    // SAFETY: `info` is valid during the creation of a kernel, and the name is a C string.
    done(unsafe { (ort::api().KernelInfoGetAttribute_int64)(info, name.as_ptr(), &mut value) })?;
    usize::try_from(value).map_err(|_| format!("the attribute {name:?} is {value}"))
}

/// A node that names a constant of its operation: the kernel is a pointer to it.
unsafe extern "system" fn create_indexed(
    table: *const sys::OrtCustomOp,
    _: *const sys::OrtApi,
    info: *const sys::OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> sys::OrtStatusPtr {
    /// The address of one of many.
    fn at<T>(all: &[T], index: usize) -> Option<*const c_void> {
        all.get(index).map(|one| ptr::from_ref(one).cast())
    }
    status(|| {
        // SAFETY: the table is an operation's, `info` is valid, and `kernel` is the place for the result.
        unsafe {
            let index = integer(info, c"index")?;
            let constant = match &Operation::of(table).constants {
                Constants::None => None,
                Constants::Layers(layers) => at(layers, index),
                Constants::Norms(norms) => at(norms, index),
                Constants::Tables(tables) => at(tables, index),
            };
            *kernel = constant.ok_or_else(|| format!("it has no constant {index}"))?.cast_mut();
        }
        Ok(())
    })
}

unsafe extern "system" fn compute_norm(kernel: *mut c_void, context: *mut sys::OrtKernelContext) -> sys::OrtStatusPtr {
    status(|| {
        // SAFETY: the kernel is what `create_indexed` made, and the context is that of this call.
        unsafe {
            let norm = &*kernel.cast_const().cast::<LayerNorm>();
            let rows = input::<f32>(context, 0)?.ok_or("it has no input")?;
            let residual = input::<f32>(context, 1)?;
            let residual_fits = residual.as_ref().is_none_or(|residual| residual.shape == rows.shape);
            if rows.shape.last() != Some(&(norm.width() as i64)) || !residual_fits {
                let of_residual = residual.map(|residual| residual.shape);
                return Err(format!("a normalisation of {} got {:?} and {of_residual:?}", norm.width(), rows.shape));
            }
            let out = output(context, &rows.shape)?;
            norm.run(rows.values, residual.map(|residual| residual.values), out);
        }
        Ok(())
    })
}

unsafe extern "system" fn compute_embedding(
    kernel: *mut c_void,
    context: *mut sys::OrtKernelContext,
) -> sys::OrtStatusPtr {
    status(|| {
        // SAFETY: the kernel is what `create_indexed` made, and the context is that of this call.
        unsafe {
            let table = &*kernel.cast_const().cast::<Table>();
            let indices = input::<i64>(context, 0)?.ok_or("it has no input")?;
            let mut shape = indices.shape;
            shape.push(table.width() as i64);
            let out = output(context, &shape)?;
            for (index, out) in indices.values.iter().zip(out.chunks_exact_mut(table.width())) {
                // As ONNX has it, numbers below 0 count from the end.
                let row = if *index < 0 { *index + table.rows() as i64 } else { *index };
                let row = usize::try_from(row).ok().filter(|row| *row < table.rows());
                table.read(row.ok_or_else(|| format!("there is no row {index} in a table of {}", table.rows()))?, out);
            }
        }
        Ok(())
    })
}

unsafe extern "system" fn destroy_nothing(_: *mut c_void) {}

/// For kernels that are a box of a `T`.
unsafe extern "system" fn destroy_box<T>(kernel: *mut c_void) {
    // SAFETY: the operation's creation made a box of this type of it, and it is destroyed once.
    drop(unsafe { Box::from_raw(kernel.cast::<T>()) });
}

unsafe extern "system" fn compute_linear(
    kernel: *mut c_void,
    context: *mut sys::OrtKernelContext,
) -> sys::OrtStatusPtr {
    status(|| {
        // SAFETY: the kernel is what `create_indexed` made, and the context is that of this call.
        unsafe {
            let layer = &*kernel.cast_const().cast::<Layer>();
            let call = Call::of(context, layer.inputs(), layer.columns())?;
            layer.run(&call.texts, call.rows, call.out);
        }
        Ok(())
    })
}

/// What a layer, or two, are called with.
struct Call<'a> {
    texts: Texts,
    rows: &'a [f32],
    out: &'a mut [f32],
}

impl Call<'_> {
    /// # Safety
    ///
    /// The context must be that of the call.
    unsafe fn of(context: *mut sys::OrtKernelContext, inputs: usize, columns: usize) -> Outcome<Self> {
        // SAFETY: as the caller promises; the operation's table has these types.
        unsafe {
            let rows = input::<f32>(context, 0)?.ok_or("it has no input")?;
            let mut shape = rows.shape;
            match shape.last_mut() {
                Some(size) if *size == inputs as i64 => *size = columns as i64,
                _ => return Err(format!("a layer of {inputs} inputs got {shape:?}")),
            }
            let lengths = input::<i64>(context, 1)?.ok_or("it has no numbers of tokens")?.values;
            let of_query = input::<i64>(context, 2)?.map(|of_query| of_query.values);
            let texts = match *shape.as_slice() {
                [batch, tokens, _] if lengths.len() as i64 == batch => Texts::new(tokens as usize, lengths, of_query),
                _ => Texts::of_rows(rows.values.len() / inputs),
            };
            Ok(Self { texts, rows: rows.values, out: output(context, &shape)? })
        }
    }
}

unsafe extern "system" fn create_feed_forward(
    table: *const sys::OrtCustomOp,
    _: *const sys::OrtApi,
    info: *const sys::OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> sys::OrtStatusPtr {
    status(|| {
        // SAFETY: the table is an operation's, `info` is valid, and `kernel` is the place for the result.
        unsafe {
            let Constants::Layers(layers) = &Operation::of(table).constants else {
                return Err("it has no layers".to_owned());
            };
            let (first, then) = (integer(info, c"index")?, integer(info, c"then")?);
            let fit = layers.get(first).zip(layers.get(then)).is_some_and(|(a, b)| a.columns() == b.inputs());
            if !fit {
                return Err(format!("the layers {first} and {then} do not fit each other"));
            }
            *kernel = Box::into_raw(Box::new(FeedForward { layers: Arc::clone(layers), first, then })).cast();
        }
        Ok(())
    })
}

unsafe extern "system" fn compute_feed_forward(
    kernel: *mut c_void,
    context: *mut sys::OrtKernelContext,
) -> sys::OrtStatusPtr {
    status(|| {
        // SAFETY: the kernel is what `create_feed_forward` made, and the context is that of this call.
        unsafe {
            let FeedForward { layers, first, then } = &*kernel.cast_const().cast::<FeedForward>();
            let (first, then) = (&layers[*first], &layers[*then]);
            let call = Call::of(context, first.inputs(), then.columns())?;
            layers::feed_forward(first, then, &call.texts, call.rows, call.out);
        }
        Ok(())
    })
}

unsafe extern "system" fn create_attention(
    _: *const sys::OrtCustomOp,
    _: *const sys::OrtApi,
    info: *const sys::OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> sys::OrtStatusPtr {
    status(|| {
        // SAFETY: `info` is valid, and `kernel` is the place for the result.
        unsafe {
            let heads = Heads { count: integer(info, c"heads")?, size: integer(info, c"head_size")? };
            let mut scale = 0f32;
            done((ort::api().KernelInfoGetAttribute_float)(info, c"scale".as_ptr(), &mut scale))?;
            *kernel = Box::into_raw(Box::new(AttentionKernel { heads, scale })).cast();
        }
        Ok(())
    })
}

unsafe extern "system" fn compute_attention(
    kernel: *mut c_void,
    context: *mut sys::OrtKernelContext,
) -> sys::OrtStatusPtr {
    status(|| {
        // SAFETY: the kernel is what `create_attention` made, and the context is that of this call.
        unsafe {
            let AttentionKernel { heads, scale } = &*kernel.cast_const().cast::<AttentionKernel>();
            let operand =
                |index: usize| input::<f32>(context, index)?.ok_or_else(|| format!("input {index} is missing"));
            let (query, key, value) = (operand(0)?, operand(1)?, operand(2)?);
            let sizes = |of: &Input<'_, f32>| -> Outcome<[usize; 2]> {
                match *of.shape {
                    [batch, tokens, width] if width == heads.width() as i64 => Ok([batch as usize, tokens as usize]),
                    _ => Err(format!("attention with {heads:?} got {:?}", of.shape)),
                }
            };
            let ([batch, queries], [of_key, tokens]) = (sizes(&query)?, sizes(&key)?);
            if of_key != batch || sizes(&value)? != [batch, tokens] || queries > tokens {
                return Err(format!("attention got {:?}, {:?} and {:?}", query.shape, key.shape, value.shape));
            }
            let lengths = input::<i64>(context, 3)?.ok_or("it has no numbers of tokens")?.values;
            if lengths.len() as i64 != query.shape[0] {
                return Err(format!("attention got {:?} and {} numbers of tokens", query.shape, lengths.len()));
            }
            let mask = match input::<f32>(context, 4)? {
                Some(mask) => mask_of(mask, batch, heads.count, queries, tokens)?,
                None => None,
            };
            let attention = Attention {
                isa: Isa::detect(),
                heads: *heads,
                scale: *scale,
                batch,
                queries,
                tokens,
                lengths: Some(lengths),
                query: query.values,
                key: key.values,
                value: value.values,
                mask,
            };
            attention.run(output(context, &query.shape)?);
        }
        Ok(())
    })
}

/// The mask by its strides; nothing where it is all zeros, as it is without padding.
fn mask_of(
    mask: Input<'_, f32>,
    batch: usize,
    heads: usize,
    queries: usize,
    tokens: usize,
) -> Outcome<Option<Mask<'_>>> {
    if mask.values.iter().all(|value| *value == 0.0) {
        return Ok(None);
    }
    let refused = || format!("a mask {:?} does not fit {batch} texts of {tokens} tokens", mask.shape);
    let mut sizes = [1usize; 4];
    let missing = 4usize.checked_sub(mask.shape.len()).ok_or_else(refused)?;
    for (size, is) in sizes[missing..].iter_mut().zip(&mask.shape) {
        *size = *is as usize;
    }
    // Queries may be the first of all tokens: then the mask has rows for the others too.
    let fits = |size: usize, of: usize| size == 1 || size == of;
    if !fits(sizes[0], batch) || !fits(sizes[1], heads) || !(sizes[2] == 1 || sizes[2] >= queries) || sizes[3] != tokens
    {
        return Err(refused());
    }
    let step = |index: usize| if sizes[index] == 1 { 0 } else { sizes[index + 1..].iter().product() };
    Ok(Some(Mask { values: mask.values, strides: [step(0), step(1), step(2)] }))
}

/// A tensor of a call.
struct Input<'a, T> {
    shape: Vec<i64>,
    values: &'a [T],
}

/// An input of a call; nothing if the node does not have it.
///
/// # Safety
///
/// The context must be that of the call, and `T` what the operation's table says of the input.
unsafe fn input<'a, T>(context: *mut sys::OrtKernelContext, index: usize) -> Outcome<Option<Input<'a, T>>> {
    let api = ort::api();
    let (mut count, mut value) = (0, ptr::null());
    // SAFETY: the context is that of this call; all else are places for results.
    unsafe {
        done((api.KernelContext_GetInputCount)(context, &mut count))?;
        if index >= count {
            return Ok(None);
        }
        done((api.KernelContext_GetInput)(context, index, &mut value))?;
        if value.is_null() {
            return Ok(None);
        }
        let shape = shape(value)?;
        let mut data = ptr::null_mut();
        done((api.GetTensorMutableData)(value.cast_mut(), &mut data))?;
        let count = elements(&shape)?;
        // ONNX Runtime checks a graph's types by the table.
        let values = if count == 0 { &[] } else { std::slice::from_raw_parts(data.cast_const().cast(), count) };
        Ok(Some(Input { shape, values }))
    }
}

unsafe fn shape(value: *const sys::OrtValue) -> Outcome<Vec<i64>> {
    let api = ort::api();
    let (mut info, mut rank) = (ptr::null_mut(), 0);
    // SAFETY: the value is a tensor of this call; the information is released before it is left.
    unsafe {
        done((api.GetTensorTypeAndShape)(value, &mut info))?;
        let outcome = (|| {
            done((api.GetDimensionsCount)(info, &mut rank))?;
            let mut shape = vec![0; rank];
            done((api.GetDimensions)(info, shape.as_mut_ptr(), rank))?;
            Ok(shape)
        })();
        (api.ReleaseTensorTypeAndShapeInfo)(info);
        outcome
    }
}

fn elements(shape: &[i64]) -> Outcome<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, size| usize::try_from(*size).ok().and_then(|size| count.checked_mul(size)))
        .ok_or_else(|| format!("a tensor has the shape {shape:?}"))
}

/// The memory of the output of a call.
unsafe fn output<'a>(context: *mut sys::OrtKernelContext, shape: &[i64]) -> Outcome<&'a mut [f32]> {
    let api = ort::api();
    let (mut value, mut data) = (ptr::null_mut(), ptr::null_mut());
    let count = elements(shape)?;
    // SAFETY: the context is that of this call, and ONNX Runtime makes the output in the shape that is asked for.
    unsafe {
        done((api.KernelContext_GetOutput)(context, 0, shape.as_ptr(), shape.len(), &mut value))?;
        done((api.GetTensorMutableData)(value, &mut data))?;
        Ok(if count == 0 { &mut [] } else { std::slice::from_raw_parts_mut(data.cast(), count) })
    }
}

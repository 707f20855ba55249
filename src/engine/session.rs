//! One ONNX Runtime session that several threads run at the same time.
//!
//! The weights are in memory once, however many workers there are. `ort`'s own `Session::run` takes `&mut self`, so this
//! file calls the C API's `Run` by itself; it is the only place that does.
//!
//! # Why this is sound
//!
//! - ONNX Runtime allows concurrent `Run` calls on one session: `InferenceSession::Run` is documented as thread-safe
//!   (`onnxruntime/core/session/inference_session.h`: "Multiple threads are allowed to run this function; hence its
//!   thread-safe"), and its Python, C# and Java bindings rely on it. `ort` forbids it because of execution providers
//!   whose allocators are not thread-safe. Here only the CPU provider is registered, whose kernels keep their state in
//!   each run's own context and whose arena is locked. This crate's own operations are read-only ([`super::operators`]).
//! - The session pointer is valid while `self.session` lives, and it is never closed or changed through `&self`.
//! - Inputs are borrowed `ort` values that outlive the call; the names are C strings owned by `self`; the output value is
//!   new, is owned by the returned [`DynValue`] alone, and comes from the session's own allocator.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use ort::AsPointer;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Outlet};

use super::operators::Operators;
use crate::error::{Error, Result};
use crate::graph::Rewritten;
use crate::model::Weights;
use crate::runtime::Runtime;

/// A session for many threads.
#[derive(Debug)]
pub(super) struct SharedSession {
    // Dropped first: the session uses the operations until then.
    session: Session,
    _operators: Option<Operators>,
}

/// What a session is made of.
pub(super) enum Graph<'a> {
    /// The file as it is.
    File(&'a Weights),
    /// A graph with operations of this crate.
    Rewritten(Rewritten),
}

/// Makes a session with operations of this crate: the first one of the process by itself, all others at the same time as they like.
///
/// ONNX Runtime (seen with 1.28) adds the operations' domain to a list of the process where it is missing, which it looks up
/// before: of two sessions that find it missing one fails, since "the domain is already exist".
fn after_the_first<T>(load: impl FnOnce() -> ort::Result<T>) -> ort::Result<T> {
    static DOMAIN_IS_KNOWN: Mutex<bool> = Mutex::new(false);
    let mut known = DOMAIN_IS_KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if *known {
        drop(known);
        return load();
    }
    let session = load()?;
    *known = true;
    Ok(session)
}

/// The names of the tensors of a run, in the form that the C API takes.
#[derive(Debug)]
pub(super) struct Names {
    inputs: Vec<CString>,
    output: CString,
}

impl Names {
    /// Names of a graph that was loaded: they came from C strings and hold no NUL.
    pub(super) fn new<'a>(inputs: impl IntoIterator<Item = &'a str>, output: &str) -> Result<Self> {
        let c_string = |name: &str| {
            CString::new(name).map_err(|error| Error::model("a tensor's name holds a NUL character").with_source(error))
        };
        Ok(Self { inputs: inputs.into_iter().map(c_string).collect::<Result<_>>()?, output: c_string(output)? })
    }
}

impl SharedSession {
    /// Loads the graph; `name` is the model's name in messages.
    pub(super) fn new(runtime: &Runtime, graph: Graph<'_>, name: &str) -> Result<Self> {
        let load = || -> ort::Result<Self> {
            let mut builder = Session::builder(runtime.environment())?
                .with_optimization_level(GraphOptimizationLevel::All)?
                // Many inputs on as many single-threaded workers are faster than one input on all cores.
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                // The plan of memory for one length is of no use for the next: it only makes the process grow.
                .with_memory_pattern(false)?;
            let (session, operators) = match graph {
                Graph::File(Weights::File(path)) => (builder.commit_from_file(path)?, None),
                #[cfg(feature = "bundled-models")]
                Graph::File(Weights::Static(bytes)) => (builder.commit_from_memory(bytes)?, None),
                Graph::File(Weights::Shared(bytes)) => (builder.commit_from_memory(bytes)?, None),
                Graph::Rewritten(Rewritten { model, layers, norms, tables, .. }) => {
                    let operators = Operators::new(layers, norms, tables)?;
                    operators.register(&builder)?;
                    (after_the_first(|| builder.commit_from_memory(&model))?, Some(operators))
                }
            };
            Ok(Self { session, _operators: operators })
        };
        load().map_err(|error| {
            Error::model(format!("ONNX Runtime {} cannot load the model of {name}", runtime.version()))
                .with_source(error)
        })
    }

    pub(super) fn inputs(&self) -> &[Outlet] {
        self.session.inputs()
    }

    pub(super) fn outputs(&self) -> &[Outlet] {
        self.session.outputs()
    }

    /// Runs the graph: `values` are the inputs in the order of the names, and the result is the one named output.
    pub(super) fn run(&self, names: &Names, values: &[DynValue]) -> ort::Result<DynValue> {
        if names.inputs.len() != values.len() {
            return Err(ort::Error::new("there must be one value for each input"));
        }
        let input_names: Vec<_> = names.inputs.iter().map(|name| name.as_ptr()).collect();
        let inputs: Vec<_> = values.iter().map(|value| value.ptr()).collect();
        let output_names = [names.output.as_ptr()];
        let mut outputs = [ptr::null_mut()];
        // SAFETY: see the head of this file. The arrays have the lengths that are passed, and a null output asks ONNX
        // Runtime to make the value.
        unsafe {
            let status = (ort::api().Run)(
                self.session.ptr().cast_mut(),
                ptr::null(),
                input_names.as_ptr(),
                inputs.as_ptr(),
                inputs.len(),
                output_names.as_ptr(),
                output_names.len(),
                outputs.as_mut_ptr(),
            );
            ort::Error::result_from_status(status)?;
            let output = NonNull::new(outputs[0]).ok_or_else(|| ort::Error::new("ONNX Runtime gave no output"))?;
            Ok(DynValue::from_ptr(output, Some(self.session.allocator())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ort::value::Tensor;

    /// Many threads on one session, each with its own inputs of changing length: every result is that of a run alone.
    #[test]
    fn concurrent_runs_do_not_touch_each_other() {
        let path = format!("{}/tests/fixtures/bert-cross-encoder/model.onnx", env!("CARGO_MANIFEST_DIR"));
        let session =
            SharedSession::new(crate::runtime::load().unwrap(), Graph::File(&Weights::File(path.into())), "test");
        let session = session.unwrap();
        let names = Names::new(session.inputs().iter().map(|input| input.name()), "logits").unwrap();
        let run = |seed: usize| -> u32 {
            let length = 3 + seed % 60;
            let tensor = |value: &dyn Fn(usize) -> i64| {
                let values: Vec<i64> = (0..length).map(value).collect();
                Tensor::from_array(([1, length], values)).unwrap().into_dyn()
            };
            let inputs = [tensor(&|i| ((seed * 31 + i * 7) % 800) as i64), tensor(&|_| 1), tensor(&|i| (i % 2) as i64)];
            let output = session.run(&names, &inputs).unwrap();
            output.try_extract_tensor::<f32>().unwrap().1[0].to_bits()
        };
        let alone: Vec<u32> = (0..120).map(run).collect();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (run, alone) = (&run, &alone);
                scope.spawn(move || {
                    for round in 0..600 {
                        let seed = (round * 17 + worker * 13) % alone.len();
                        assert_eq!(run(seed), alone[seed]);
                    }
                });
            }
        });
    }
}

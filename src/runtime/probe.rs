//! A look at a shared library before it is used: does it load, is it ONNX Runtime, is it new enough?
//!
//! `ort` answers some of these questions with a panic, so they are asked here first.

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;

use super::OLDEST_MINOR_VERSION;

/// The start of ONNX Runtime's `OrtApiBase`, whose layout is fixed for all versions (`onnxruntime_c_api.h`).
#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "system" fn(version: u32) -> *const c_void,
    get_version_string: unsafe extern "system" fn() -> *const c_char,
}

/// The version of the ONNX Runtime at `path`, or why it cannot be used.
pub(super) fn version(path: &Path) -> Result<String, String> {
    // SAFETY: loading a library runs its initialisers; the candidates are places that the user's own system,
    // environment and build decide on, just as for any other shared library of the program.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| describe(&error))?;
    // SAFETY: OrtGetApiBase is exported with this signature by every ONNX Runtime since 1.0.
    let get_base = unsafe { library.get::<unsafe extern "system" fn() -> *const ApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| "not an ONNX Runtime library: it does not export `OrtGetApiBase`".to_owned())?;
    // SAFETY: see above; the returned pointer is checked before use and refers to static data of the library.
    let base = unsafe { get_base().as_ref() }.ok_or("not a usable ONNX Runtime: it has no API table")?;
    // SAFETY: a static NUL-terminated string of the library, copied while the library is loaded.
    let version = unsafe {
        let text = (base.get_version_string)();
        if text.is_null() {
            return Err("not a usable ONNX Runtime: it states no version".to_owned());
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    };
    let too_old = || format!("ONNX Runtime {version} is too old: 1.{OLDEST_MINOR_VERSION} or newer is needed");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(1), Some(minor)) if minor < OLDEST_MINOR_VERSION => return Err(too_old()),
        (Some(major), Some(_)) if major >= 1 => {}
        _ => return Err(format!("its version `{version}` is not one of ONNX Runtime's")),
    }
    // SAFETY: GetApi may be asked for any version and returns null for those that it does not have.
    if unsafe { (base.get_api)(OLDEST_MINOR_VERSION) }.is_null() {
        return Err(format!("ONNX Runtime {version} does not offer API version {OLDEST_MINOR_VERSION}"));
    }
    // It goes on to be used: unloading and loading it again would run its initialisers twice.
    std::mem::forget(library);
    Ok(version)
}

/// The loader's own words; libloading keeps them in the source of its error.
fn describe(error: &libloading::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("cannot be loaded: {source}"),
        None => format!("cannot be loaded: {error}"),
    }
}

//! ONNX Runtime: found, loaded once for the whole process, and reported.
//!
//! Every engine calls [`load`] by itself, so that a program need not. Call it to learn which library would run,
//! or to find out at the start of a program that there is none. The places that are looked at, and their order,
//! are those of [`Place`]; the first library that loads and is new enough wins. What was passed over on the way is
//! in [`Runtime::passed_over`].
//!
//! # Telemetry
//!
//! This library uses no network. ONNX Runtime from 1.29 on keeps a device id and events in the user's cache folder and
//! sends them to its maker, unless the environment variable `ORT_DISABLE_TELEMETRY` is `1` before it is loaded. The
//! release that the build fetches is older and does not, and the command line sets the variable. A library cannot set it
//! soundly for the program that it is part of: if yours loads another ONNX Runtime, set it as its first act.
//! [`Runtime::may_send_telemetry`] tells.
//!
//! ```
//! let runtime = crossrank::runtime::load()?;
//! println!("ONNX Runtime {} from {}", runtime.version(), runtime.place());
//! # Ok::<(), crossrank::Error>(())
//! ```

#[cfg(feature = "load-dynamic")]
mod carried;
#[cfg(feature = "load-dynamic")]
mod locate;
#[cfg(feature = "load-dynamic")]
mod probe;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "load-dynamic")]
pub use carried::{CarriedLibrary, carry};

/// The oldest ONNX Runtime that will do, as its minor version: 1.17.
pub const OLDEST_MINOR_VERSION: u32 = ort::MINOR_VERSION;

/// A place where a library is looked for. The places are tried in the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The file that the environment variable `ORT_DYLIB_PATH` names.
    Environment,
    /// The folder of the executable, or `lib` beside it.
    BesideExecutable,
    /// Cargo's output folder, where this crate's build script put the library it fetched.
    Build,
    /// A library that the program carries within itself (see [`carry`]), unpacked into the user's cache folder.
    Carried,
    /// The package `onnxruntime` of the active Python environment.
    Python,
    /// The system's loader path.
    System,
    /// Linked into the program (feature `download-binaries`).
    Linked,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Environment => "ORT_DYLIB_PATH",
            Place::BesideExecutable => "beside the executable",
            Place::Build => "the build's output folder",
            Place::Carried => "carried by the program",
            Place::Python => "the active Python environment",
            Place::System => "the system's loader path",
            Place::Linked => "linked into the program",
        })
    }
}

/// A library that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// Where it was looked for.
    pub place: Place,
    /// The file, or the name given to the system's loader.
    pub path: PathBuf,
    /// Why it was not used.
    pub reason: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.path.display(), self.place, self.reason)
    }
}

/// The ONNX Runtime of this process.
#[derive(Debug)]
pub struct Runtime {
    version: String,
    place: Place,
    path: Option<PathBuf>,
    passed_over: Vec<PassedOver>,
    environment: ort::environment::Environment,
}

impl Runtime {
    /// Its version, as it states it: `1.31.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it was found.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The library's file; none when it is linked into the program or came from the system's loader.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The libraries that were found before this one and could not be used.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Whether this release sends telemetry by itself (1.29 or newer) and `ORT_DISABLE_TELEMETRY` is not set.
    pub fn may_send_telemetry(&self) -> bool {
        let minor = self.version.split('.').nth(1).and_then(|number| number.parse::<u32>().ok());
        minor.is_none_or(|minor| minor >= 29) && std::env::var_os("ORT_DISABLE_TELEMETRY").is_none()
    }

    /// The execution providers that this build of ONNX Runtime has, by their own names, such as
    /// `CPUExecutionProvider`.
    pub fn providers(&self) -> Result<Vec<String>> {
        available_providers()
    }

    pub(crate) fn environment(&self) -> &ort::environment::Environment {
        &self.environment
    }
}

/// Finds and loads ONNX Runtime, or returns the one that this process already has.
///
/// # Errors
///
/// [`ErrorKind::Runtime`] when no place has a usable library. The message lists every library that was tried, with
/// the reason, and the one command that mends it. A later call looks again.
pub fn load() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static LOADING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    // A thread that panicked while it held the lock left nothing half-done.
    let _guard = LOADING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = start()?;
    tracing::info!(version = %runtime.version, place = %runtime.place, "ONNX Runtime loaded");
    Ok(RUNTIME.get_or_init(|| runtime))
}

#[cfg(feature = "load-dynamic")]
fn start() -> Result<Runtime> {
    let (found, passed_over) =
        locate::first_usable(locate::candidates()).inspect_err(|_| carried::remove_temporary())?;
    for library in &passed_over {
        tracing::warn!(path = %library.path.display(), reason = %library.reason, "ONNX Runtime library passed over");
    }
    let builder = ort::init_from(&found.path).map_err(|error| {
        Error::new(ErrorKind::Runtime, format!("cannot load ONNX Runtime from {}", found.path.display()))
            .with_source(error)
    })?;
    // A library in a temporary folder is in memory now.
    carried::remove_temporary();
    let path = (found.place != Place::System).then_some(found.path);
    let environment = environment(builder)?;
    let runtime = Runtime { version: found.version, place: found.place, path, passed_over, environment };
    if runtime.may_send_telemetry() {
        tracing::warn!("this ONNX Runtime sends telemetry; set ORT_DISABLE_TELEMETRY=1 before the program starts");
    }
    Ok(runtime)
}

#[cfg(not(feature = "load-dynamic"))]
fn start() -> Result<Runtime> {
    // SAFETY: OrtGetApiBase has no preconditions and returns a pointer to static data of the linked library, whose
    // GetVersionString returns a static NUL-terminated string.
    let version = unsafe {
        let base = ort::sys::OrtGetApiBase();
        std::ffi::CStr::from_ptr(((*base).GetVersionString)())
    };
    Ok(Runtime {
        version: version.to_string_lossy().into_owned(),
        place: Place::Linked,
        path: None,
        passed_over: Vec::new(),
        environment: environment(ort::init())?,
    })
}

fn environment(builder: ort::environment::EnvironmentBuilder) -> Result<ort::environment::Environment> {
    let environment = builder.with_name("crossrank").with_telemetry(false).build().map_err(|error| {
        Error::new(
            ErrorKind::Runtime,
            "ONNX Runtime could not be started; if this program also uses the crate `ort` by itself, call \
             `crossrank::runtime::load()` first",
        )
        .with_source(error)
    })?;
    // `ort` starts its environment at the most verbose level; formatting every message would cost time.
    environment.set_log_level(ort::logging::LogLevel::Warning);
    Ok(environment)
}

fn available_providers() -> Result<Vec<String>> {
    use std::ffi::{CStr, c_char};
    let failed = |error: ort::Error| {
        Error::new(ErrorKind::Runtime, "ONNX Runtime does not list its execution providers").with_source(error)
    };
    let mut names: *mut *mut c_char = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: both out-pointers are valid for writes. On success ONNX Runtime hands over an array of `count`
    // NUL-terminated strings, which are copied before ReleaseAvailableProviders takes the array back, once.
    unsafe {
        ort::Error::result_from_status((ort::api().GetAvailableProviders)(&mut names, &mut count)).map_err(failed)?;
        let list = (0..usize::try_from(count).unwrap_or(0))
            .map(|i| CStr::from_ptr(*names.add(i)).to_string_lossy().into_owned())
            .collect();
        ort::Error::result_from_status((ort::api().ReleaseAvailableProviders)(names, count)).map_err(failed)?;
        Ok(list)
    }
}

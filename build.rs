//! Makes sure that the finished program has an ONNX Runtime: the official shared library of the pinned release,
//! from the active Python environment where that has it, else out of the `onnxruntime` wheel, which pip downloads
//! by its package name and checks against the hashes in `runtime/requirements.txt`.
//!
//! A build without a network still succeeds: it then prints a warning, and the program looks for a library at
//! run time (see `src/runtime/locate.rs`). Nothing is fetched when the feature `fetch-runtime` is off, on
//! docs.rs, or when `ORT_DYLIB_PATH` names a library.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that `runtime/requirements.txt` pins; there it says why this one.
const VERSION: &str = "1.28.0";
const REQUIREMENTS: &str = "runtime/requirements.txt";

fn main() {
    println!("cargo:rustc-check-cfg=cfg(carries_runtime)");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={REQUIREMENTS}");
    println!("cargo:rerun-if-env-changed=ORT_DYLIB_PATH");
    let wanted = env::var_os("CARGO_FEATURE_FETCH_RUNTIME").is_some() && env::var_os("DOCS_RS").is_none();
    if !wanted || env::var_os("ORT_DYLIB_PATH").is_some_and(|path| Path::new(&path).is_file()) {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    match provide(&out) {
        Ok(library) => {
            println!("cargo:rustc-cfg=carries_runtime");
            println!("cargo:rustc-env=CROSSRANK_BUILD_RUNTIME={}", library.display());
            println!("cargo:rustc-env=CROSSRANK_BUILD_RUNTIME_VERSION={VERSION}");
        }
        Err(reason) => {
            for line in reason.lines() {
                println!("cargo:warning={line}");
            }
            println!(
                "cargo:warning=crossrank is built without an ONNX Runtime of its own; to run it: `pip install onnxruntime`, \
                 or set ORT_DYLIB_PATH to the library"
            );
            // A file that never exists: the next build tries again.
            println!("cargo:rerun-if-changed={}", out.join("try-again").display());
        }
    }
}

/// The library in `out`, unpacked there once.
fn provide(out: &Path) -> Result<PathBuf, String> {
    let platform = Platform::of_target()?;
    // A folder for each release: a newer pin does not find the old library.
    let folder = out.join(VERSION);
    fs::create_dir_all(&folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    let library = folder.join(platform.file_name);
    if library.is_file() {
        return Ok(library);
    }
    let pythons = pythons();
    if let Some(installed) = installed(&pythons, platform.member) {
        let partial = library.with_extension("partial");
        fs::copy(&installed, &partial).map_err(|e| format!("cannot copy {}: {e}", installed.display()))?;
        fs::rename(&partial, &library).map_err(|e| format!("cannot rename {}: {e}", partial.display()))?;
        return Ok(library);
    }
    let wheels = out.join("wheel");
    let _ = fs::remove_dir_all(&wheels);
    fs::create_dir_all(&wheels).map_err(|e| format!("cannot create {}: {e}", wheels.display()))?;
    let python = download(&pythons, &platform, &wheels)?;
    let wheel = fs::read_dir(&wheels)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension() == Some(OsStr::new("whl")))
        .ok_or("pip reported success but left no wheel")?;
    unpack(&python, &wheel, platform.member, &library)?;
    let _ = fs::remove_dir_all(&wheels);
    Ok(library)
}

/// One line of the support table: what pip calls the target, and where its wheel keeps the library.
struct Platform {
    tag: &'static str,
    /// Path inside the wheel.
    member: &'static str,
    /// Name that the library gets in the output folder.
    file_name: &'static str,
}

impl Platform {
    fn of_target() -> Result<Self, String> {
        let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
        let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
        let (tag, member, file_name) = match (os.as_str(), arch.as_str()) {
            ("linux", "x86_64") => {
                ("manylinux_2_28_x86_64", "onnxruntime/capi/libonnxruntime.so.1.28.0", "libonnxruntime.so")
            }
            ("linux", "aarch64") => {
                ("manylinux_2_28_aarch64", "onnxruntime/capi/libonnxruntime.so.1.28.0", "libonnxruntime.so")
            }
            ("macos", "aarch64") => {
                ("macosx_14_0_arm64", "onnxruntime/capi/libonnxruntime.1.28.0.dylib", "libonnxruntime.dylib")
            }
            ("windows", "x86_64") => ("win_amd64", "onnxruntime/capi/onnxruntime.dll", "onnxruntime.dll"),
            _ => {
                return Err(format!(
                    "no ONNX Runtime wheel is pinned for {os} on {arch} (there is one for Linux on x86-64 and \
                     aarch64, macOS on arm64 and Windows on x86-64)"
                ));
            }
        };
        Ok(Self { tag, member, file_name })
    }
}

/// Python commands to try, the most usual first.
fn pythons() -> Vec<Vec<&'static str>> {
    vec![vec!["python3"], vec!["python"], vec!["py", "-3"]]
}

fn python_command(python: &[&str]) -> Command {
    let mut command = Command::new(python[0]);
    command.args(&python[1..]);
    command
}

/// The library of the active Python environment, if that has the very release that is pinned.
fn installed(pythons: &[Vec<&'static str>], member: &str) -> Option<PathBuf> {
    const SCRIPT: &str = "import sys\n\
        sys.path = [p for p in sys.path if p]\n\
        import importlib.metadata, importlib.util, os\n\
        spec = importlib.util.find_spec('onnxruntime')\n\
        if spec and importlib.metadata.version('onnxruntime') == sys.argv[1]:\n\
        \x20   print(os.path.dirname(list(spec.submodule_search_locations)[0]))\n";
    // The environment's library is for the machine that builds.
    if env::var_os("HOST") != env::var_os("TARGET") {
        return None;
    }
    let output =
        pythons.iter().find_map(|python| python_command(python).args(["-c", SCRIPT, VERSION]).output().ok())?;
    let packages = String::from_utf8(output.stdout).ok()?;
    let library = Path::new(packages.trim()).join(member);
    (!packages.trim().is_empty() && library.is_file()).then_some(library)
}

/// Downloads the pinned wheel and returns the Python that did it.
fn download(pythons: &[Vec<&'static str>], platform: &Platform, wheels: &Path) -> Result<Vec<&'static str>, String> {
    let mut tried = Vec::new();
    for python in pythons {
        let name = python.join(" ");
        let output = python_command(python)
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"])
            .args(["--require-hashes", "--no-deps", "--only-binary=:all:"])
            // The library is the same in the wheels of all Python versions: one is pinned.
            .args(["--implementation", "cp", "--python-version", "3.12", "--platform", platform.tag])
            .arg("--dest")
            .arg(wheels)
            .args(["-r", REQUIREMENTS])
            .output();
        match output {
            Ok(output) if output.status.success() => return Ok(python.clone()),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let last = text.trim().lines().last().unwrap_or("no message");
                tried.push(format!("`{name} -m pip download`: {last}"));
                // Another Python's pip would fail alike, unless this one has none.
                if !last.contains("No module named pip") {
                    break;
                }
            }
            Err(e) => tried.push(format!("`{name}`: {e}")),
        }
    }
    Err(format!("could not fetch onnxruntime {VERSION}:\n{}", tried.join("\n")))
}

/// Takes one member out of the wheel (a zip archive) with Python's own zip module, under a temporary name
/// first: a build that is killed half-way leaves no half library behind.
fn unpack(python: &[&str], wheel: &Path, member: &str, library: &Path) -> Result<(), String> {
    const SCRIPT: &str = "import shutil, sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1]) as z, z.open(sys.argv[2]) as source, open(sys.argv[3], 'wb') as target:\n\
        \x20   shutil.copyfileobj(source, target)\n";
    let partial = library.with_extension("partial");
    let output = python_command(python)
        .args(["-c", SCRIPT])
        .args([wheel.as_os_str(), OsStr::new(member), partial.as_os_str()])
        .output()
        .map_err(|e| format!("cannot run Python to unpack the wheel: {e}"))?;
    if !output.status.success() {
        return Err(format!("cannot unpack {member}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    fs::rename(&partial, library).map_err(|e| format!("cannot rename {}: {e}", partial.display()))
}

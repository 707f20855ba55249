//! The places where an ONNX Runtime library may be, in the order in which they are tried.
//!
//! Candidates are produced lazily: Python is not started, and a carried library is not unpacked, unless everything
//! before them failed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{OLDEST_MINOR_VERSION, PassedOver, Place, carried, probe};
use crate::error::{Error, ErrorKind, Result};

/// A library that passed the probe.
#[derive(Debug)]
pub(super) struct Usable {
    pub(super) place: Place,
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// What was found in a place.
pub(super) enum Candidate {
    /// A file that may be the library.
    File(Place, PathBuf),
    /// A library that cannot be used, and why.
    Unusable(PassedOver),
    /// Nothing; in words for the list of what was tried.
    Nothing(Place, &'static str),
}

/// The first candidate that loads and is new enough, and those that were passed over before it.
pub(super) fn first_usable(candidates: impl Iterator<Item = Candidate>) -> Result<(Usable, Vec<PassedOver>)> {
    let mut passed_over = Vec::new();
    let mut tried = String::new();
    for candidate in candidates {
        let unusable = match candidate {
            Candidate::File(place, path) => match probe::version(&path) {
                Ok(version) => return Ok((Usable { place, path, version }, passed_over)),
                Err(reason) => PassedOver { place, path, reason },
            },
            Candidate::Unusable(library) => library,
            Candidate::Nothing(place, what) => {
                tried.push_str(&format!("\n  - {place}: {what}"));
                continue;
            }
        };
        tried.push_str(&format!("\n  - {unusable}"));
        passed_over.push(unusable);
    }
    Err(Error::new(
        ErrorKind::Runtime,
        format!(
            "no usable ONNX Runtime library (1.{OLDEST_MINOR_VERSION} or newer) was found. Tried:{tried}\n\
             To mend it, run `python3 -m pip install onnxruntime` (in a virtual environment, where the system's Python \
             refuses), or set ORT_DYLIB_PATH to the library's file"
        ),
    ))
}

/// All places, in order.
pub(super) fn candidates() -> impl Iterator<Item = Candidate> {
    let steps: [fn() -> Vec<Candidate>; 6] =
        [from_environment, beside_executable, from_build, from_program, from_python, from_system];
    steps.into_iter().flat_map(|step| step())
}

fn from_environment() -> Vec<Candidate> {
    match env::var_os("ORT_DYLIB_PATH") {
        Some(path) if !path.is_empty() => {
            // A file of the current folder is meant as that file; a bare name is one for the system's loader.
            let absolute = std::path::absolute(&path).ok().filter(|absolute| absolute.is_file());
            vec![Candidate::File(Place::Environment, absolute.unwrap_or_else(|| path.into()))]
        }
        _ => vec![Candidate::Nothing(Place::Environment, "not set")],
    }
}

fn beside_executable() -> Vec<Candidate> {
    let folder = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    let folders = folder.into_iter().flat_map(|folder| [folder.clone(), folder.join("lib")]);
    let found: Vec<Candidate> = folders
        .filter_map(|folder| library_in(&folder))
        .map(|path| Candidate::File(Place::BesideExecutable, path))
        .collect();
    if found.is_empty() { vec![Candidate::Nothing(Place::BesideExecutable, "no library there")] } else { found }
}

fn from_build() -> Vec<Candidate> {
    let Some(path) = option_env!("CROSSRANK_BUILD_RUNTIME").map(Path::new) else {
        return vec![Candidate::Nothing(Place::Build, "the build fetched none")];
    };
    // The folder is gone once a program is installed elsewhere, and somebody else may have made it anew: a program that
    // carries the library knows its bytes.
    if !path.is_file() || !carried::agrees_with(path) {
        return vec![Candidate::Nothing(Place::Build, "gone since the build")];
    }
    vec![Candidate::File(Place::Build, path.to_owned())]
}

fn from_program() -> Vec<Candidate> {
    vec![match carried::unpacked() {
        None => Candidate::Nothing(Place::Carried, "the program carries none"),
        Some(Ok(path)) => Candidate::File(Place::Carried, path),
        Some(Err((path, reason))) => Candidate::Unusable(PassedOver { place: Place::Carried, path, reason }),
    }]
}

fn from_python() -> Vec<Candidate> {
    // Nothing is imported before the folder that the program is run in, which may hold a stranger's modules, is taken
    // off the path.
    const SCRIPT: &str = "import sys\n\
        sys.path = [p for p in sys.path if p]\n\
        import importlib.util\n\
        spec = importlib.util.find_spec('onnxruntime')\n\
        print(list(spec.submodule_search_locations)[0] if spec else '')\n";
    let output = ["python3", "python"].iter().find_map(|python| {
        let output = Command::new(python).args(["-c", SCRIPT]).stdin(Stdio::null()).output().ok()?;
        output.status.success().then_some(output.stdout)
    });
    let Some(package) = output.and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return vec![Candidate::Nothing(Place::Python, "no Python could be run")];
    };
    let package = package.trim();
    if package.is_empty() {
        return vec![Candidate::Nothing(Place::Python, "it has no package `onnxruntime`")];
    }
    let folder = Path::new(package).join("capi");
    vec![match library_in(&folder) {
        Some(path) => Candidate::File(Place::Python, path),
        None => Candidate::Unusable(PassedOver {
            place: Place::Python,
            path: folder,
            reason: "the package is there, but holds no ONNX Runtime library".to_owned(),
        }),
    }]
}

fn from_system() -> Vec<Candidate> {
    let names: &[&str] = if cfg!(target_os = "macos") {
        &["libonnxruntime.dylib"]
    } else if cfg!(windows) {
        &["onnxruntime.dll"]
    } else {
        // Distributions ship the bare name with their development package only.
        &["libonnxruntime.so", "libonnxruntime.so.1"]
    };
    names.iter().map(|name| Candidate::File(Place::System, name.into())).collect()
}

/// The ONNX Runtime library in a folder, under the plain or a versioned name (`libonnxruntime.so.1.31.1`).
fn library_in(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX));
    if plain.is_file() {
        return Some(plain);
    }
    let mut versioned: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_versioned_name))
        .collect();
    versioned.sort();
    versioned.pop()
}

fn is_versioned_name(name: &str) -> bool {
    let version = name
        .strip_prefix("libonnxruntime.so.")
        .or_else(|| name.strip_prefix("libonnxruntime.").and_then(|rest| rest.strip_suffix(".dylib")));
    version.is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(path: &Path) -> impl Iterator<Item = Candidate> {
        [Candidate::File(Place::Environment, path.to_owned())].into_iter()
    }

    #[test]
    fn versioned_names() {
        assert!(is_versioned_name("libonnxruntime.so.1.31.1"));
        assert!(is_versioned_name("libonnxruntime.1.31.1.dylib"));
        assert!(!is_versioned_name("libonnxruntime_providers_shared.so"));
        assert!(!is_versioned_name("libonnxruntime.dylib.bak"));
    }

    #[test]
    fn a_missing_library_is_named_with_the_remedy() {
        let error = first_usable(only(Path::new("/no/such/libonnxruntime.so"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Runtime);
        let text = error.to_string();
        assert!(text.contains("/no/such/libonnxruntime.so (ORT_DYLIB_PATH)"), "{text}");
        assert!(text.contains("pip install onnxruntime"), "{text}");
    }

    #[test]
    fn a_text_file_is_not_a_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        fs::write(&path, "not a library").unwrap();
        let text = first_usable(only(&path)).unwrap_err().to_string();
        assert!(text.contains("cannot be loaded"), "{text}");
    }

    /// Real shared libraries that pretend, built by the C compiler that Rust itself links with.
    #[cfg(target_os = "linux")]
    #[test]
    fn broken_and_old_libraries_are_passed_over_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let build = |name: &str, code: &str| {
            let (source, library) = (folder.path().join(format!("{name}.c")), folder.path().join(format!("{name}.so")));
            fs::write(&source, code).unwrap();
            let status =
                Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
            assert!(status.success());
            library
        };
        let base = |version: &str, api: &str| {
            format!(
                "static const char *v(void) {{ return {version}; }}\n\
                 static const void *a(unsigned n) {{ (void)n; return {api}; }}\n\
                 static const struct {{ const void *(*a)(unsigned); const char *(*v)(void); }} base = {{ a, v }};\n\
                 const void *OrtGetApiBase(void) {{ return &base; }}\n"
            )
        };
        let cases = [
            ("other", "int x;".to_owned(), "does not export"),
            ("null", "const void *OrtGetApiBase(void) { return 0; }".to_owned(), "no API table"),
            ("old", base("\"1.16.3\"", "(void *)v"), "1.16.3 is too old: 1.17 or newer is needed"),
            ("odd", base("\"zebra\"", "0"), "`zebra` is not one of ONNX Runtime's"),
            ("unversioned", base("0", "0"), "states no version"),
            ("noapi", base("\"1.40.0\"", "0"), "does not offer API version 17"),
        ];
        let mut candidates = Vec::new();
        for (name, code, reason) in &cases {
            let path = build(name, code);
            let text = first_usable(only(&path)).unwrap_err().to_string();
            assert!(text.contains(reason), "{name}: {text}");
            candidates.push(Candidate::File(Place::Environment, path));
        }
        let text = first_usable(candidates.into_iter()).unwrap_err().to_string();
        assert_eq!(text.matches("\n  - ").count(), cases.len(), "every one is named: {text}");
    }
}

//! A library that the program carries within itself: for a binary that is installed far from where it was built.
//!
//! It is unpacked once into the user's cache folder, under a name that holds its version and a hash of its bytes, and only
//! when no earlier place has a usable library. Where there is no such folder it is unpacked for each run.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The bytes of an ONNX Runtime shared library inside the program.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CarriedLibrary {
    version: &'static str,
    bytes: &'static [u8],
}

impl CarriedLibrary {
    /// The library's bytes and its version, such as `1.31.1`.
    pub const fn new(version: &'static str, bytes: &'static [u8]) -> Self {
        Self { version, bytes }
    }
}

static CARRIED: OnceLock<CarriedLibrary> = OnceLock::new();

/// Offers a library that the program carries, for when no earlier [`Place`](super::Place) has one. To be called
/// before [`load`](super::load); the first call counts, and the return value says whether this was it.
///
/// The command line does this with the library that its build fetched.
pub fn carry(library: CarriedLibrary) -> bool {
    CARRIED.set(library).is_ok()
}

/// The carried library as a file, unpacked if it is not yet; `Err` has the path that could not be written, and why.
pub(super) fn unpacked() -> Option<Result<PathBuf, (PathBuf, String)>> {
    let library = CARRIED.get()?;
    let cache = cache_folder().map(|cache| unpack(library, &cache.join("crossrank").join("onnxruntime")));
    match cache {
        Some(Ok(path)) => Some(Ok(path)),
        // No such folder, or one that cannot be written: a service, a read-only container.
        unusable => Some(unpack_for_now(library).map_err(|(path, reason)| match unusable {
            Some(Err((cache, why))) => (cache, format!("{why}; {}: {reason}", path.display())),
            _ => (path, reason),
        })),
    }
}

static TEMPORARY: OnceLock<PathBuf> = OnceLock::new();

/// Unpacks the library for this process alone, in a new folder that nobody else can write to.
fn unpack_for_now(library: &CarriedLibrary) -> Result<PathBuf, (PathBuf, String)> {
    let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let folder = env::temp_dir().join(format!("crossrank-{}-{nanoseconds:x}", process::id()));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // It fails if the folder is there already: one that others made is never used.
    if let Err(error) = builder.create(&folder) {
        return Err((folder, format!("no folder can be made there: {error}")));
    }
    let _ = TEMPORARY.set(folder.clone());
    unpack(library, &folder)
}

/// Removes what [`unpacked`] put into a temporary folder; where a loaded library cannot be removed (Windows), it stays.
pub(super) fn remove_temporary() {
    if let Some(folder) = TEMPORARY.get() {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Whether the file may be the carried library: true if it has its bytes, or if none is carried.
pub(super) fn agrees_with(path: &Path) -> bool {
    CARRIED.get().is_none_or(|library| holds(path, library.bytes))
}

fn unpack(library: &CarriedLibrary, folder: &Path) -> Result<PathBuf, (PathBuf, String)> {
    let name = format!(
        "{}onnxruntime-{}-{:016x}{}",
        env::consts::DLL_PREFIX,
        library.version,
        fingerprint(library.bytes),
        env::consts::DLL_SUFFIX
    );
    let path = folder.join(name);
    if holds(&path, library.bytes) {
        return Ok(path);
    }
    match write_whole(&path, library.bytes) {
        Ok(()) => Ok(path),
        Err(error) => {
            let reason = format!("the program's own library cannot be unpacked there: {error}");
            Err((path, reason))
        }
    }
}

/// Whether the file is there with exactly these bytes: a cache folder is not to be trusted blindly.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let same_size = fs::metadata(path).is_ok_and(|meta| meta.len() == bytes.len() as u64);
    same_size && fs::read(path).is_ok_and(|found| found == bytes)
}

/// Writes under a temporary name first: another process never sees half a library.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let partial = path.with_extension(format!("partial-{}", process::id()));
    let _ = fs::remove_file(&partial);
    let written = fs::File::create_new(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// The user's cache folder by the platform's custom.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        Some(variable("HOME")?.join("Library").join("Caches"))
    } else {
        variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))
    }
}

/// FNV-1a (64 bits) of evenly spaced bytes: tells two builds of a library apart in a file's name. What a file holds is
/// compared byte by byte.
fn fingerprint(bytes: &[u8]) -> u64 {
    let step = (bytes.len() / 65_536).max(1);
    bytes
        .iter()
        .step_by(step)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_once_and_repairs_a_damaged_file() {
        let folder = tempfile::tempdir().unwrap();
        let library = CarriedLibrary::new("1.31.1", b"library bytes");
        let path = unpack(&library, folder.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"library bytes");
        fs::write(&path, b"library bytez").unwrap();
        assert_eq!(unpack(&library, folder.path()).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"library bytes");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn an_unwritable_folder_is_a_reason_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let (_, reason) = unpack(&CarriedLibrary::new("1", b"x"), &file.join("below")).unwrap_err();
        assert!(reason.contains("cannot be unpacked"), "{reason}");
    }
}

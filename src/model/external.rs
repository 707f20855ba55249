//! The files beside an ONNX file that hold its weights ("external data").
//!
//! Their names stand in the ONNX file, and ONNX Runtime opens what they name. A model's folder may come from anyone: a
//! name that leads out of the folder, by `..`, from a root, or through a link, is refused before anything is opened.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::info::ModelFile;
use crate::error::{Error, Result};
use crate::loading::printable;

/// The external data that an ONNX file names, after a check of each name; `onnx_name` is the file's name in the model's
/// folder, and the names are relative to where it lies.
pub(super) fn files<'a>(
    folder: &Path,
    onnx_name: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<ModelFile>> {
    let beside = Path::new(onnx_name).parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for name in names {
        if !is_inside(name) {
            return Err(Error::model(format!(
                "{onnx_name} of {} has weights in `{}`, which is not a file of the model's folder; a model is not to lead \
                 elsewhere, and this one is not loaded",
                folder.display(),
                printable(name)
            )));
        }
        let path = folder.join(beside).join(name);
        let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file).ok_or_else(|| {
            Error::model(format!(
                "{onnx_name} of {} has weights in the file {name}, which is missing; copy it to the same folder",
                folder.display()
            ))
        })?;
        if !leads_inside(folder, &path) {
            return Err(Error::model(format!(
                "{name} of {} is a link that leads out of the model's folder; put the file itself there",
                folder.display()
            )));
        }
        let name = beside.join(name).to_string_lossy().replace('\\', "/");
        found.push(ModelFile::new(&name, meta.len()));
    }
    Ok(found)
}

/// Whether a name is a plain relative path, on any system.
fn is_inside(name: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    !name.is_empty() && !name.contains(['\\', ':', '\0']) && Path::new(name).components().all(plain)
}

/// Whether a path that exists is one of the folder's, after its links are followed. The Hub's cache keeps files beside the
/// folder of a revision (`snapshots/REVISION`, `blobs`), with links to them: those are the folder's own.
fn leads_inside(folder: &Path, path: &Path) -> bool {
    let (Ok(folder), Ok(path)) = (folder.canonicalize(), path.canonicalize()) else { return false };
    path.starts_with(&folder) || blobs(&folder).is_some_and(|blobs| path.starts_with(blobs))
}

/// Where the Hub's cache keeps the files of a folder that is one of its snapshots.
fn blobs(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.parent()?;
    if snapshots.file_name()? != "snapshots" {
        return None;
    }
    snapshots.parent()?.join("blobs").canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere() {
        for name in ["../x", "a/../../x", "/etc/passwd", "C:\\x", "\\\\server\\x", "..\\x", "", "x\0"] {
            assert!(!is_inside(name), "{name:?}");
        }
        for name in ["model.onnx_data", "./weights.bin", "part/1.bin", "..data"] {
            assert!(is_inside(name), "{name:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_in_the_folder_or_in_the_hubs_cache() {
        use std::os::unix::fs::symlink;
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("secret");
        fs::write(&outside, "secret").unwrap();
        let snapshot = place.path().join("models--a--b/snapshots/c0ffee");
        let blobs = place.path().join("models--a--b/blobs");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join("f00d"), "weights").unwrap();
        symlink("../../blobs/f00d", snapshot.join("good")).unwrap();
        symlink(&outside, snapshot.join("bad")).unwrap();
        let found = files(&snapshot, "model.onnx", ["good"].into_iter()).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].bytes), ("good", 7));
        let error = files(&snapshot, "model.onnx", ["bad"].into_iter()).unwrap_err();
        assert!(error.to_string().contains("leads out"), "{error}");
        let error = files(&snapshot, "model.onnx", ["none"].into_iter()).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}

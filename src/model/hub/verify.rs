//! Checking what the cache holds, without a network: each file's bytes against the hash that the Hub stated.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::cache::{Cache, walk};
use super::hash::FileHash;
use super::listing::Listing;
use crate::error::{Error, ErrorKind, Result};

/// Deeper folders than a repository of models has.
const DEPTH: usize = 8;

/// A file of the cache that was checked: see [`HubModel::verify`](super::HubModel::verify).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifiedFile {
    /// Its name in the repository.
    pub name: String,
    /// Where its bytes are, or should be: to fetch them again, remove this file first.
    pub path: PathBuf,
    /// Its size in bytes; 0 if it is missing.
    pub size: u64,
    /// What was found.
    pub state: FileState,
}

/// What checking a file of the cache found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileState {
    /// The bytes have the hash that the Hub stated.
    Good,
    /// The bytes have another hash.
    Damaged,
    /// The snapshot names the file, and its bytes are gone.
    Missing,
    /// No hash is known: another program put the file there without a link to its blob.
    Unknown,
}

impl VerifiedFile {
    /// Whether the file is damaged or missing.
    pub fn is_wrong(&self) -> bool {
        matches!(self.state, FileState::Damaged | FileState::Missing)
    }
}

/// Checks the files of a snapshot.
pub(super) fn verify(cache: &Cache, commit: &str) -> Result<Vec<VerifiedFile>> {
    let folder = cache.snapshot(commit);
    let recorded = cache.recorded(commit);
    let mut paths = Vec::new();
    walk(&folder, "", DEPTH, &mut |name, path| paths.push((name, path.to_owned())))
        .map_err(|error| cannot_read(&folder, error))?;
    paths.sort();
    paths.into_iter().map(|(name, path)| verify_file(name, &path, recorded.as_ref())).collect()
}

fn verify_file(name: String, path: &Path, recorded: Option<&Listing>) -> Result<VerifiedFile> {
    let stated = recorded.and_then(|listing| listing.files.iter().find(|file| file.name == name)?.hash.clone());
    let target = fs::read_link(path).ok();
    let linked = || FileHash::parse(target.as_ref()?.file_name()?.to_str()?);
    let expected = stated.or_else(linked);
    let size = match fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(VerifiedFile { name, path: path.to_owned(), size: 0, state: FileState::Missing });
        }
        Err(error) => return Err(cannot_read(path, error)),
    };
    let state = match expected {
        None => FileState::Unknown,
        Some(hash) => {
            let found =
                File::open(path).and_then(|file| hash.of(file, size)).map_err(|error| cannot_read(path, error))?;
            if found == hash { FileState::Good } else { FileState::Damaged }
        }
    };
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Ok(VerifiedFile { name, path, size, state })
}

fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read {}", path.display())).with_source(error)
}

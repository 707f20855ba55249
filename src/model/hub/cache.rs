//! The cache on disk, in the layout of `huggingface_hub`.
//!
//! ```text
//! models--org--name/
//!   refs/main                         the commit that `main` was at
//!   blobs/<hash>                      a file's bytes, under the hash by which the Hub knows it
//!   blobs/<hash>.incomplete           the beginning of one that is not whole yet
//!   snapshots/<commit>/onnx/model.onnx -> ../../../blobs/<hash>
//!   .crossrank/<commit>.json          which files the repository has at that commit (this crate's own addition)
//!   trees/<commit>.json               the same by `huggingface_hub` (2.4 does): read, and left alone
//! .locks/models--org--name/<hash>.lock
//! ```
//!
//! Everything that is not a `.incomplete` file appears under its name when it is whole, by a rename. Where a platform has
//! no symbolic links for everyone, a snapshot holds hard links, or copies.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::FileHash;
use super::listing::{Listing, RepositoryFile};
use super::name::{Repository, Revision, is_commit};
use crate::error::{Error, ErrorKind, Result};

/// Folders below this depth of a snapshot are not looked at.
const DEPTH: usize = 4;

/// A file of the cache of this crate's own, or a ref, has no more bytes.
const LARGEST_RECORD: u64 = 64 << 20;

/// The part of a cache that belongs to one repository.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    root: PathBuf,
    folder: PathBuf,
    locks: PathBuf,
    repository: Repository,
}

impl Cache {
    pub(super) fn new(root: &Path, repository: &Repository) -> Self {
        let name = repository.folder();
        Self {
            root: root.to_owned(),
            folder: root.join(&name),
            locks: root.join(".locks").join(name),
            repository: repository.clone(),
        }
    }

    /// The cache of all repositories.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blob(&self, hash: &FileHash) -> PathBuf {
        self.folder.join("blobs").join(hash.as_str())
    }

    pub(super) fn incomplete(&self, hash: &FileHash) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", hash.as_str()))
    }

    /// The folder that looks like the repository at a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commit that a revision was at when it was last asked for.
    pub(super) fn commit(&self, revision: &Revision) -> Option<String> {
        if let Some(commit) = revision.commit() {
            return Some(commit.to_owned());
        }
        let bytes = read_record(&self.folder.join("refs").join(revision.as_str()))?;
        let commit = String::from_utf8(bytes).ok()?.trim().to_owned();
        is_commit(&commit).then_some(commit)
    }

    /// The listing that was recorded when the commit was fetched, by this crate or by `huggingface_hub`.
    pub(super) fn recorded(&self, commit: &str) -> Option<Listing> {
        let own = || Listing::from_json(&read_record(&self.record(commit))?, commit, &self.repository);
        let tree = self.folder.join("trees").join(format!("{commit}.json"));
        own().or_else(|| Listing::from_tree(&read_record(&tree)?, commit, &self.repository))
    }

    /// The files that the snapshot of a commit has, whoever put them there; none if there is no snapshot.
    pub(super) fn listed(&self, commit: &str) -> Option<Listing> {
        let folder = self.snapshot(commit);
        let mut files = Vec::new();
        walk(&folder, "", DEPTH, &mut |name, path| {
            let size = fs::metadata(path).ok().map(|meta| meta.len());
            files.push(RepositoryFile { name, size, hash: linked_hash(path) });
        })
        .ok()?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        (!files.is_empty()).then(|| Listing { commit: commit.to_owned(), files })
    }

    /// Whether the snapshot has this file, or its bytes are there to be linked to. The size alone is compared.
    pub(super) fn has(&self, commit: &str, file: &RepositoryFile) -> bool {
        self.in_snapshot(commit, file) || file.hash.as_ref().is_some_and(|hash| self.has_blob(hash, file.size))
    }

    /// Whether the bytes are there.
    pub(super) fn has_blob(&self, hash: &FileHash, size: Option<u64>) -> bool {
        has_size(&self.blob(hash), size)
    }

    fn in_snapshot(&self, commit: &str, file: &RepositoryFile) -> bool {
        let path = self.snapshot(commit).join(&file.name);
        // A link to other bytes is an old one.
        let is_this = match (linked_hash(&path), &file.hash) {
            (Some(found), Some(wanted)) => found == *wanted,
            _ => true,
        };
        is_this && has_size(&path, file.size)
    }

    /// The bytes of the beginning that an earlier fetch left.
    pub(super) fn partial(&self, hash: &FileHash) -> u64 {
        fs::metadata(self.incomplete(hash)).map_or(0, |meta| meta.len())
    }

    /// Makes the folders that a download writes to.
    pub(super) fn prepare(&self) -> Result<()> {
        for folder in [self.folder.join("blobs"), self.locks.clone()] {
            fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, error))?;
        }
        Ok(())
    }

    /// The lock that whoever fetches a blob holds; it ends with the process. `waiting` is called if another one has it.
    pub(super) fn lock(&self, hash: &FileHash, waiting: impl FnOnce()) -> Result<File> {
        let path = self.locks.join(format!("{}.lock", hash.as_str()));
        let failed = |error| cannot_write(&path, error);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(failed)?;
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(file)
    }

    /// Puts a blob into the snapshot of a commit under the file's name.
    pub(super) fn link(&self, commit: &str, file: &RepositoryFile) -> Result<()> {
        let Some(hash) = &file.hash else { return Ok(()) };
        if self.in_snapshot(commit, file) {
            return Ok(());
        }
        let path = self.snapshot(commit).join(&file.name);
        let failed = |error| cannot_write(&path, error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let depth = file.name.split('/').count() + 1;
        let target: PathBuf = std::iter::repeat_n("..", depth).chain(["blobs", hash.as_str()]).collect();
        let temporary = temporary(&path);
        let blob = self.blob(hash);
        symlink(&target, &temporary)
            .or_else(|_| fs::hard_link(&blob, &temporary))
            .or_else(|_| fs::copy(&blob, &temporary).map(|_| ()))
            .and_then(|()| fs::rename(&temporary, &path))
            .inspect_err(|_| _ = fs::remove_file(&temporary))
            .map_err(failed)
    }

    /// Notes what the repository has at a commit, and that the revision is at that commit.
    pub(super) fn record_fetched(&self, revision: &Revision, listing: &Listing) -> Result<()> {
        write_record(&self.record(&listing.commit), &listing.to_json())?;
        if revision.commit().is_none() {
            write_record(&self.folder.join("refs").join(revision.as_str()), listing.commit.as_bytes())?;
        }
        Ok(())
    }

    fn record(&self, commit: &str) -> PathBuf {
        self.folder.join(".crossrank").join(format!("{commit}.json"))
    }
}

/// The error of a cache that cannot be written to.
pub(super) fn cannot_write(path: &Path, error: io::Error) -> Error {
    let what = match error.kind() {
        IoErrorKind::StorageFull => "the disk is full while writing",
        _ => "cannot write",
    };
    let message = format!("{what} {}; the cache is where HF_HOME says", path.display());
    Error::new(ErrorKind::Io, message).with_source(error)
}

/// Makes a rename last through a loss of power.
pub(super) fn sync_folder(path: &Path) {
    // Not every file system can do that, and the file itself is safe without.
    if cfg!(unix)
        && let Some(parent) = path.parent()
        && let Ok(folder) = File::open(parent)
    {
        _ = folder.sync_all();
    }
}

/// The hash that a link in a snapshot points to.
fn linked_hash(path: &Path) -> Option<FileHash> {
    let target = fs::read_link(path).ok()?;
    FileHash::parse(target.file_name()?.to_str()?)
}

fn has_size(path: &Path, size: Option<u64>) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && size.is_none_or(|size| size == meta.len()))
}

/// Calls `found` with the name and path of every file below a folder, to a depth.
pub(super) fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut impl FnMut(String, &Path)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            found(name, &path);
        } else if depth > 1 {
            walk(&path, &name, depth - 1, found)?;
        }
    }
    Ok(())
}

fn read_record(path: &Path) -> Option<Vec<u8>> {
    let small = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST_RECORD);
    if small { fs::read(path).ok() } else { None }
}

fn write_record(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error| cannot_write(path, error);
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let temporary = temporary(path);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| _ = fs::remove_file(&temporary)).map_err(failed)
}

/// A name beside a file that nobody else uses.
fn temporary(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.tmp", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(IoErrorKind::Unsupported.into())
}

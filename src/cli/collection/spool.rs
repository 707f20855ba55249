//! A file that can be read at any place: the file itself, or a temporary one with what a compressed one or a pipe holds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use super::super::compressed;
use super::super::failure::Failure;
use super::super::input::shown;

/// A file for reading at any place, by several threads.
#[derive(Debug)]
pub(super) struct Spool(Mutex<File>);

impl Spool {
    /// The file, open at its beginning, and the same for reading at any place.
    pub(super) fn open(path: &str) -> Result<(File, Self), Failure> {
        let file = readable_anywhere(path)?;
        let second = file.try_clone().map_err(|error| unreadable(path, &error))?;
        Ok((second, Self(Mutex::new(file))))
    }

    /// The bytes at a place. (One lock for a seek and a read: a read takes microseconds, the model milliseconds.)
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The file, open at its beginning, or a temporary one with what it holds. A temporary file is deleted when it is closed,
/// or by the system if the process dies.
pub(in super::super) fn readable_anywhere(path: &str) -> Result<File, Failure> {
    let cannot = |error: io::Error| unreadable(path, &error);
    let is_file = path != "-" && std::fs::metadata(path).map_err(cannot)?.is_file();
    if is_file && !compressed::is_compressed(path)? {
        return File::open(path).map_err(cannot);
    }
    let mut reader = compressed::open(path)?;
    let unpacked = |error: io::Error| {
        Failure::Setup(format!(
            "cannot unpack {} into a temporary file in {}: {error}",
            shown(path),
            std::env::temp_dir().display()
        ))
    };
    let mut file = tempfile::tempfile().map_err(unpacked)?;
    io::copy(&mut reader, &mut file).map_err(unpacked)?;
    file.rewind().map_err(unpacked)?;
    Ok(file)
}

fn unreadable(path: &str, error: &io::Error) -> Failure {
    Failure::Setup(format!("cannot read {}: {error}", shown(path)))
}

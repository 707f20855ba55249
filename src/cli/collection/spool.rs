//! A file that can be read at any place: the file itself, or a temporary one with what a compressed one or a pipe holds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
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

    /// Gives `take` each line of a file that was just opened, with its number (from 1), its offset, its length with the line
    /// break, and its bytes without: a byte-order mark at the file's beginning is left out, too.
    pub(super) fn each_line(
        file: File,
        name: &str,
        mut take: impl FnMut(u64, u64, usize, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let (mut offset, mut bytes) = (0, Vec::new());
        for number in 1.. {
            bytes.clear();
            let length = reader
                .read_until(b'\n', &mut bytes)
                .map_err(|error| Failure::Input(format!("cannot read {name} from line {number} on: {error}")))?;
            if length == 0 {
                break;
            }
            take(number, offset, length, trim(&bytes, offset == 0))?;
            offset += length as u64;
        }
        Ok(())
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

/// A line without its end, and the first one without a byte-order mark.
pub(super) fn trim(mut line: &[u8], is_first: bool) -> &[u8] {
    if is_first {
        line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    }
    line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

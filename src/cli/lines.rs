//! The lines of one file or several, one at a time, with their places.

use std::collections::VecDeque;
use std::fs;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::compressed;
use super::failure::Failure;
use super::input::shown;
use super::job::Extent;

/// A line of a file, without its line break.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) file: Arc<str>,
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

impl Line {
    /// `FILE, line N`.
    pub(super) fn name(&self) -> String {
        format!("{}, line {}", self.file, self.number)
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes)
            .map_err(|error| format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1))
    }

    pub(super) fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }
}

/// The lines of files, one file after the other; `-` is standard input, and compressed files are decompressed.
///
/// A byte-order mark at the beginning of a file, and the carriage returns of Windows files, are no part of the lines.
pub(super) struct Lines {
    files: VecDeque<String>,
    current: Option<Current>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

struct Current {
    name: Arc<str>,
    reader: Box<dyn BufRead + Send>,
    line: u64,
}

/// Looks at files before a run over them, which is not to end at a name with a typing error; how many bytes they have
/// together, if that is known.
pub(super) fn look(files: &[String]) -> Result<Option<u64>, Failure> {
    let mut total = Some(0);
    for file in files.iter().filter(|file| *file != "-") {
        let meta = fs::metadata(file).map_err(|error| Failure::Setup(format!("cannot read {file}: {error}")))?;
        if meta.is_dir() {
            return Err(Failure::Setup(format!("cannot read {file}: it is a folder")));
        }
        total = total.filter(|_| meta.is_file()).map(|total| total + meta.len());
    }
    if files.iter().filter(|file| *file == "-").count() > 1 {
        return Err(Failure::Setup("standard input is named twice, and can be read once".to_owned()));
    }
    Ok(total.filter(|_| files.iter().all(|file| file != "-")))
}

impl Lines {
    /// Opens the first file, and looks at the others.
    pub(super) fn open(files: &[String]) -> Result<Self, Failure> {
        Self::counted(files, Arc::default())
    }

    /// As [`open`](Self::open); `read` is counted up by the bytes that were read.
    pub(super) fn counted(files: &[String], read: Arc<AtomicU64>) -> Result<Self, Failure> {
        let total = look(files)?;
        let mut lines = Self { files: files.iter().cloned().collect(), current: None, read, total };
        lines.next_file()?;
        Ok(lines)
    }

    /// How much there is to read.
    pub(super) fn extent(&self) -> Extent {
        match self.total {
            Some(total) => Extent::Bytes { read: Arc::clone(&self.read), total },
            None => Extent::Unknown,
        }
    }

    fn next_file(&mut self) -> Result<(), Failure> {
        self.current = match self.files.pop_front() {
            Some(file) => Some(Current {
                reader: compressed::open_counted(&file, Arc::clone(&self.read))?,
                name: shown(&file).into(),
                line: 0,
            }),
            None => None,
        };
        Ok(())
    }
}

impl Current {
    fn next(&mut self) -> Result<Option<Line>, Failure> {
        let mut bytes = Vec::new();
        let read = self.reader.read_until(b'\n', &mut bytes).map_err(|error| {
            Failure::Input(format!("cannot read {} from line {} on: {error}", self.name, self.line + 1))
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if self.line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        Ok(Some(Line { file: Arc::clone(&self.name), number: self.line, bytes }))
    }
}

impl Iterator for Lines {
    type Item = Result<Line, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.current.as_mut()?.next() {
                Ok(Some(line)) => return Some(Ok(line)),
                Ok(None) => {
                    if let Err(error) = self.next_file() {
                        return Some(Err(error));
                    }
                }
                Err(error) => {
                    // What follows a line that cannot be read is not known.
                    self.current = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_files_keep_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let files =
            [file("a", b"\xef\xbb\xbfone\r\n\r\nthree"), file("empty", b""), file("b", b"\xef\xbb\xbf\n\xff\n")];
        let lines: Vec<Line> = Lines::open(&files).unwrap().collect::<Result<_, _>>().unwrap();
        let found: Vec<(u64, &[u8])> = lines.iter().map(|line| (line.number, &*line.bytes)).collect();
        assert_eq!(found, [(1, &b"one"[..]), (2, b""), (3, b"three"), (1, b""), (2, b"\xff")]);
        assert_eq!(lines[4].text(), Err("invalid UTF-8 at byte 1 of the line".to_owned()));
        assert!(lines[1].is_blank() && lines[2].name().ends_with("a, line 3"));
    }
}

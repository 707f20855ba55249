//! Where results and messages go.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// The results' writer: a file, or standard output.
pub(super) struct Output {
    writer: Box<dyn Write>,
    path: Option<PathBuf>,
}

impl Output {
    /// Opens the file now, so that a run does not end with an unwritable path.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let writer: Box<dyn Write> = match path {
            Some(path) => Box::new(BufWriter::new(
                File::create(path)
                    .map_err(|error| Failure::Setup(format!("cannot write {}: {error}", path.display())))?,
            )),
            None => Box::new(BufWriter::new(io::stdout().lock())),
        };
        Ok(Self { writer, path: path.map(Path::to_owned) })
    }

    /// Writes all of a command's results.
    pub(super) fn write(mut self, text: &str) -> Result<(), Failure> {
        let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
        written.map_err(|error| match &self.path {
            Some(path) => Failure::Setup(format!("cannot write {}: {error}", path.display())),
            None => Failure::Output(error),
        })
    }
}

/// A line for people, on standard error; that nobody reads it is no error.
pub(super) fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A value as indented JSON with a line break at its end.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    // Our own types have string keys and finite numbers alone: they always serialise.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

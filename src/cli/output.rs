//! Where results and messages go.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

use super::compressed;
use super::failure::Failure;

/// Where a command's results go: a file, or standard output (also for `-`).
pub(super) struct Output(Target);

enum Target {
    Standard,
    /// A pipe or a device: written in place.
    Special(File, PathBuf),
    /// A plain file: written beside its place under another name, and moved there when it is whole.
    Plain {
        path: PathBuf,
        partial: Partial,
    },
}

/// An unfinished file, removed unless it was moved to its place.
struct Partial {
    file: File,
    path: PathBuf,
}

impl Output {
    /// Opens the file now, so that a run does not end with an unwritable path. What it holds stays until the results
    /// are whole.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self(Target::Standard));
        };
        let failed = |error| unwritable(path, &error);
        let special = fs::metadata(path).is_ok_and(|meta| !meta.is_file());
        if special {
            let file = File::options().write(true).open(path).map_err(failed)?;
            return Ok(Self(Target::Special(file, path.to_owned())));
        }
        // The target of a link is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", process::id()));
        let partial = path.with_file_name(name);
        let file = File::create_new(&partial).map_err(failed)?;
        Ok(Self(Target::Plain { path, partial: Partial { file, path: partial } }))
    }

    /// Writes all of a command's results, compressed where a plain file's name wants that.
    pub(super) fn write(self, text: &str) -> Result<(), Failure> {
        match self.0 {
            Target::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
            }
            Target::Special(mut file, path) => {
                file.write_all(text.as_bytes()).map_err(|error| unwritable(&path, &error))
            }
            Target::Plain { path, mut partial } => {
                let written = compressed::write(&path, text.as_bytes(), &mut partial.file);
                let written = written.and_then(|()| partial.file.sync_all());
                written.and_then(|()| fs::rename(&partial.path, &path)).map_err(|error| unwritable(&path, &error))
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already if it was moved to its place.
        let _ = fs::remove_file(&self.path);
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Setup(format!("cannot write {}: {error}", path.display()))
}

/// A message for people, on standard error; that nobody reads it is no error. It may hold words of a stranger's file:
/// control characters other than line breaks are left out.
pub(super) fn message(text: &str) {
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let _ = writeln!(io::stderr(), "{text}");
}

/// A value as indented JSON with a line break at its end.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    // Our own types have string keys and finite numbers alone: they always serialise.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

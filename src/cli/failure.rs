//! How a command ends, and which exit code says so.

use std::fmt;
use std::io;

use crossrank::{Error, ErrorKind};

/// How a command that could run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The run finished, and something in the input failed; it was reported on standard error.
    InputFailed,
    /// Somebody stopped it.
    Interrupted,
}

/// The exit code of what was stopped by an interrupt, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command stopped.
#[derive(Debug)]
pub(super) enum Failure {
    /// The input cannot be used: exit code 1.
    Input(String),
    /// The set-up cannot work: exit code 2.
    Setup(String),
    /// The results cannot be written.
    Output(io::Error),
}

impl Failure {
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failure::Input(_) => 1,
            Failure::Setup(_) | Failure::Output(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Input(message) | Failure::Setup(message) => f.write_str(message),
            Failure::Output(error) => write!(f, "cannot write the results: {error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NonFinite | ErrorKind::Inference | ErrorKind::Input => Failure::Input(error.chain()),
            _ => Failure::Setup(error.chain()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

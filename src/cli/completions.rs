//! `crossrank completions`: completions for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::failure::{Failure, Outcome};
use super::output::Output;

/// Print completions for a shell.
///
/// For bash: `crossrank completions bash > ~/.local/share/bash-completion/completions/crossrank`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "crossrank", &mut script);
    Output::open(None)?.write(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}

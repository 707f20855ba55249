//! The command line: one file a command, and what they share.
//!
//! It uses the library's public names alone. Results go to standard output (or `-o FILE`), everything for people to
//! standard error. The exit code is 0 when all went well, 1 when the run finished but something in the input failed,
//! and 2 for wrong usage or a set-up that cannot work (130 after Ctrl-C); a reader that closes the pipe is not an error.

mod cascade;
mod collection;
mod compare;
mod completions;
mod compressed;
mod doctor;
mod embed;
mod eval;
mod failure;
#[cfg(fuzzing)]
pub mod fuzzing;
mod html;
mod input;
mod job;
mod json_object;
mod lines;
mod models;
mod models_command;
mod output;
mod progress;
mod reading;
mod rerank;
mod table;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Outcome;

/// Rerank documents with a cross-encoder, compare it with a bi-encoder, and measure rankings, without any server.
///
/// The models and ONNX Runtime run inside this process. Models are built in, so that every command works without
/// a download; name a folder, or a model of the Hugging Face Hub, to use another one.
#[derive(Debug, Parser)]
#[command(
    name = "crossrank",
    version,
    after_help = "Exit codes: 0 done, 1 something in the input failed, 2 wrong usage or set-up.\n\
                  Start with `crossrank compare`; if something does not work, ask `crossrank doctor`."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(compare::Arguments),
    Rerank(rerank::Arguments),
    Embed(embed::Arguments),
    Eval(eval::Arguments),
    Models(models_command::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
}

/// Runs the command that the process's arguments name.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Rerank(arguments) => rerank::run(&arguments),
        Command::Embed(arguments) => embed::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Models(arguments) => models_command::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::InputFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(failure::INTERRUPTED),
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            output::message(&format!("error: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

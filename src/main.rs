//! The command line, `crossrank`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The library that the build fetched goes with the program, for when it is installed far from the build.
    #[cfg(carries_runtime)]
    crossrank::runtime::carry(crossrank::runtime::CarriedLibrary::new(
        env!("CROSSRANK_BUILD_RUNTIME_VERSION"),
        include_bytes!(env!("CROSSRANK_BUILD_RUNTIME")),
    ));
    cli::run()
}

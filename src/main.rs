//! The command line, `crossrank`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // ONNX Runtime from 1.29 on sends telemetry unless this is set; a user's own library may be such a one.
    // SAFETY: nothing else runs yet: no other thread reads or writes the environment.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    // The library that the build fetched goes with the program, for when it is installed far from the build.
    #[cfg(carries_runtime)]
    crossrank::runtime::carry(crossrank::runtime::CarriedLibrary::new(
        env!("CROSSRANK_BUILD_RUNTIME_VERSION"),
        include_bytes!(env!("CROSSRANK_BUILD_RUNTIME")),
    ));
    cli::run()
}

#![no_main]

// A panic of the crate `tokenizers` is caught by the library, and is no finding: only those that come out of the target are.
libfuzzer_sys::fuzz_target!(
    init: {
        std::panic::set_hook(Box::new(|panic| {
            if !panic.location().is_some_and(|at| at.file().contains("/tokenizers-")) {
                eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
            }
        }));
    },
    |bytes: &[u8]| crossrank::fuzzing::model(bytes)
);

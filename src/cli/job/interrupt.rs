//! Ctrl-C and a request to terminate: the first lets a job end in an orderly way, the second ends the process.

use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::failure::INTERRUPTED;

unsafe extern "C" {
    /// Ends the process as it stands (POSIX; also in the C library of Windows). `std::process::exit` would take ONNX Runtime
    /// apart first, under the threads that still run it: they would report failures that are none, or crash.
    safe fn _exit(status: c_int) -> !;
}

static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt is remembered instead of ending the process.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Where no handler can be set, an interrupt ends the process at once, as without one: what was recorded stays.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPT.swap(true, Ordering::SeqCst) {
                _exit(INTERRUPTED.into());
            }
        });
    });
}

pub(super) fn interrupted() -> bool {
    INTERRUPT.load(Ordering::SeqCst)
}

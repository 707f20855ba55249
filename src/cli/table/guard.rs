//! Reading what a stranger wrote with a library that may panic on it: a panic becomes an error, and prints nothing.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is expected, and is not to be printed.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls `work`; if it panics, what it said. `work` must not leave anything half done that is used afterwards.
pub(in super::super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                others(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    done.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason is given".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        assert_eq!(guarded(|| 1), Ok(1));
        assert_eq!(guarded(|| panic!("two")).map(|()| 0), Err("two".to_owned()));
        let (a, b) = (1, vec![0; 1]);
        assert!(guarded(|| b[a]).unwrap_err().contains("out of bounds"));
    }
}

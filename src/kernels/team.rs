//! Threads that help another one with its products.
//!
//! A thread that runs a model publishes each large product in parts ([`in_parts`]); threads that have nothing of their own
//! left to run take parts of it ([`Team::help`]). Nobody waits for a helper that has not come: the owner takes parts too,
//! and then waits for those that were taken. How a product is parted changes no bit of it.

use std::cell::{Cell, UnsafeCell};
use std::hint;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

type Part<'a> = dyn Fn(usize) + Sync + 'a;

/// The work of one thread, and who helps with it.
#[derive(Debug, Default)]
pub(crate) struct Team {
    /// The part that is next and the number of parts, in the lower and the upper 32 bits. Equal: there is nothing to do.
    parts: AtomicU64,
    done: AtomicUsize,
    helpers: AtomicUsize,
    panicked: AtomicBool,
    job: Job,
}

/// The work that is parted.
///
/// It is written by the owner alone, when no part is under way, before `parts` is stored (release). It is read after a
/// part was taken from `parts` (acquire); the owner does not write it again until that part is done.
#[derive(Default)]
struct Job(UnsafeCell<Option<*const Part<'static>>>);

// SAFETY: see `Job` for who touches the pointer and when; what it points to is `Sync`, and outlives its parts because the
// owner waits for them.
unsafe impl Sync for Job {}
// SAFETY: as above.
unsafe impl Send for Job {}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

thread_local! {
    /// The team of the model that this thread runs.
    static OWN: Cell<*const Team> = const { Cell::new(ptr::null()) };
}

impl Team {
    /// Runs `work`, whose products may be helped with.
    pub(crate) fn own<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Puts back what was there, also if `work` panics.
        struct Back(*const Team);
        impl Drop for Back {
            fn drop(&mut self) {
                OWN.set(self.0);
            }
        }
        let _back = Back(OWN.replace(self));
        work()
    }

    /// Takes part in the products of the given teams until `over`.
    pub(crate) fn help(teams: &[Team], over: impl Fn() -> bool) {
        /// The number of helpers is right again, whatever happens.
        struct Helper<'a>(&'a [Team]);
        impl Drop for Helper<'_> {
            fn drop(&mut self) {
                self.0.iter().for_each(|team| _ = team.helpers.fetch_sub(1, Ordering::Relaxed));
            }
        }
        teams.iter().for_each(|team| _ = team.helpers.fetch_add(1, Ordering::Relaxed));
        let _helper = Helper(teams);
        let mut idle = 0u32;
        while !over() {
            if teams.iter().any(Team::take) {
                idle = 0;
            } else {
                idle += 1;
                if idle.is_multiple_of(SPINS) { thread::yield_now() } else { hint::spin_loop() }
            }
        }
    }

    /// Takes a part and runs it; whether there was one.
    fn take(&self) -> bool {
        let mut parts = self.parts.load(Ordering::Acquire);
        loop {
            let (next, count) = (parts as u32, (parts >> 32) as u32);
            if next >= count {
                return false;
            }
            match self.parts.compare_exchange_weak(parts, parts + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.run(next as usize);
                    return true;
                }
                Err(now) => parts = now,
            }
        }
    }

    /// Runs a part that was taken.
    fn run(&self, part: usize) {
        /// Counts the part as done, also if it panics: the owner must not wait for ever.
        struct Done<'a>(&'a Team);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.panicked.store(true, Ordering::Relaxed);
                }
                self.0.done.fetch_add(1, Ordering::Release);
            }
        }
        let _done = Done(self);
        // SAFETY: a part was taken, so the owner waits, and its work is there: see `Job`.
        if let Some(job) = unsafe { *self.job.0.get() } {
            // SAFETY: as above.
            unsafe { (*job)(part) };
        }
    }

    fn part(&self, count: usize, work: &Part<'_>) {
        // SAFETY: the lifetime is hidden, and kept: this function returns when all parts are done.
        let job = unsafe { std::mem::transmute::<*const Part<'_>, *const Part<'static>>(work) };
        self.done.store(0, Ordering::Relaxed);
        // SAFETY: no part is under way: the last call waited for all of its own.
        unsafe { *self.job.0.get() = Some(job) };
        self.parts.store((count as u64) << 32, Ordering::Release);
        // A panic must not leave before the others are done with the work that it would take away.
        let mut panic = None;
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.take())) {
                Ok(true) => {}
                Ok(false) => break,
                Err(payload) => panic = Some(payload),
            }
        }
        let mut idle = 0u32;
        while self.done.load(Ordering::Acquire) < count {
            idle += 1;
            if idle.is_multiple_of(SPINS) { thread::yield_now() } else { hint::spin_loop() }
        }
        self.parts.store(0, Ordering::Relaxed);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        assert!(!self.panicked.load(Ordering::Relaxed), "a thread that helped has panicked");
    }
}

/// Looks for parts this often before it lets other threads run.
const SPINS: u32 = 64;

/// Runs `work` for each of `0..count`, `grain` at a time on one thread at least, with the help of others where there are.
pub(super) fn in_parts(count: usize, grain: usize, work: impl Fn(usize) + Sync) {
    let team = OWN.get();
    // SAFETY: `own` set it, and its team outlives what it runs.
    let helpers = if team.is_null() { 0 } else { unsafe { (*team).helpers.load(Ordering::Relaxed) } };
    // A few parts for each thread: one that is slow, or comes late, holds up the others less.
    let parts = (3 * (helpers + 1)).min(count / grain.max(1));
    if helpers == 0 || parts < 2 || u32::try_from(parts).is_err() {
        (0..count).for_each(work);
        return;
    }
    let part = |part: usize| (part * count / parts..(part + 1) * count / parts).for_each(&work);
    // SAFETY: as above.
    unsafe { (*team).part(parts, &part) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_run_once_whoever_helps() {
        for helpers in [0, 1, 3] {
            let teams = [Team::default(), Team::default()];
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..helpers {
                    scope.spawn(|| Team::help(&teams, || over.load(Ordering::Relaxed)));
                }
                let owners: Vec<_> = teams
                    .iter()
                    .map(|team| {
                        scope.spawn(move || {
                            for round in 0..2000 {
                                let count = round % 40;
                                let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                                team.own(|| in_parts(count, 1, |i| _ = runs[i].fetch_add(1, Ordering::Relaxed)));
                                assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
                            }
                        })
                    })
                    .collect();
                owners.into_iter().for_each(|owner| owner.join().unwrap());
                over.store(true, Ordering::Relaxed);
            });
        }
    }

    #[test]
    fn a_panic_of_a_part_reaches_the_owner() {
        let teams = [Team::default()];
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let helper =
                scope.spawn(|| catch_unwind(AssertUnwindSafe(|| Team::help(&teams, || over.load(Ordering::Relaxed)))));
            while teams[0].helpers.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            let owner = catch_unwind(AssertUnwindSafe(|| {
                teams[0].own(|| in_parts(64, 1, |i| assert!(i != 20, "part 20")));
            }));
            assert!(owner.is_err());
            over.store(true, Ordering::Relaxed);
            _ = helper.join();
        });
    }
}

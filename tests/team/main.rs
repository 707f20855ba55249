//! The threads that help one another with products (`src/kernels/team.rs`), alone and without pause: a load for the thread
//! sanitizer, which knows the atomics of this file but not those inside the standard library.
//!
//!     RUSTC_BOOTSTRAP=1 rustc --edition 2024 -O -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
//!       --target x86_64-unknown-linux-gnu -o team tests/team/main.rs && ./team
//!
//! No test harness and no scoped threads, since both hand things over in ways that the sanitizer takes for races.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[allow(dead_code, unused_imports)]
#[path = "../../src/kernels/team.rs"]
mod kernels_team;

use kernels_team::{Team, in_parts};

const ROUNDS: usize = 100_000;
const HELPERS: usize = 3;

static OVER: AtomicBool = AtomicBool::new(false);

/// Where parts write, each at a place of its own, without an atomic: what the team must order.
struct Output(*mut usize);

// SAFETY: each place is written by the one thread that runs its part.
unsafe impl Sync for Output {}

impl Output {
    /// # Safety
    ///
    /// `index` is within the output, and nobody else touches that place.
    unsafe fn put(&self, index: usize, value: usize) {
        // SAFETY: the caller's.
        unsafe { *self.0.add(index) = value };
    }
}

fn main() {
    let teams: &'static [Team] = Box::leak(Box::new([Team::default(), Team::default()]));
    // Owners are quick: without it they would be done before a helper comes.
    let all_here: &'static Barrier = Box::leak(Box::new(Barrier::new(HELPERS + teams.len())));
    let helpers = (0..HELPERS).map(|_| {
        thread::spawn(|| {
            all_here.wait();
            Team::help(teams, || OVER.load(Ordering::Relaxed));
        })
    });
    let helpers: Vec<_> = helpers.collect();
    let owners = teams.iter().map(|team| {
        thread::spawn(|| {
            all_here.wait();
            (0..ROUNDS).for_each(|round| run(team, round));
        })
    });
    owners.collect::<Vec<_>>().into_iter().for_each(|owner| owner.join().expect("an owner panicked"));
    OVER.store(true, Ordering::Relaxed);
    helpers.into_iter().for_each(|helper| helper.join().expect("a helper panicked"));
}

/// Memory that the owner writes, that parts read and write, and that the owner reads and frees.
fn run(team: &Team, round: usize) {
    let input: Vec<usize> = (0..1 + round % 40).map(|i| i + round).collect();
    let mut doubled = vec![0; input.len()];
    let output = Output(doubled.as_mut_ptr());
    // SAFETY: each index is given to one part, once.
    team.own(|| in_parts(input.len(), 1, |i| unsafe { output.put(i, 2 * input[i]) }));
    assert!(doubled.iter().zip(&input).all(|(doubled, input)| *doubled == 2 * input), "round {round}");
}

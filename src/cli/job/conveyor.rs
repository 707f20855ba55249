//! Units on their way: put in by one thread, worked on by several, and taken out in the order in which they were put in.
//!
//! No more than a fixed number is on the way, so that one slow unit does not let the others pile up behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) struct Conveyor<I, O> {
    state: Mutex<State<I, O>>,
    changed: Condvar,
    room: u64,
}

struct State<I, O> {
    waiting: VecDeque<(u64, I)>,
    finished: BTreeMap<u64, O>,
    /// How many units were put in, and taken out.
    put: u64,
    taken: u64,
    /// Nothing is put in any more.
    closed: bool,
    /// A worker died with a unit in its hands.
    broken: bool,
}

/// What is at the end of the conveyor.
pub(super) enum Next<O> {
    Output(O),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come.
    End,
}

impl<I, O> Conveyor<I, O> {
    /// With at most `room` units on the way.
    pub(super) fn new(room: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            finished: BTreeMap::new(),
            put: 0,
            taken: 0,
            closed: false,
            broken: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), room: room.max(1) as u64 }
    }

    /// Puts a unit in, as soon as there is room; false if nothing is wanted any more.
    pub(super) fn put(&self, unit: I) -> bool {
        let mut state = self.lock();
        while !state.closed && state.put - state.taken >= self.room {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        let number = state.put;
        state.waiting.push_back((number, unit));
        state.put += 1;
        self.changed.notify_all();
        true
    }

    /// Says that nothing is put in any more. What is on the way goes on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Works on units until there are none.
    pub(super) fn work(&self, work: impl Fn(I) -> O) {
        /// Whoever waits must not wait for ever, if `work` panics.
        struct Hands<'a, I, O>(&'a Conveyor<I, O>, bool);
        impl<I, O> Drop for Hands<'_, I, O> {
            fn drop(&mut self) {
                if self.1 {
                    let mut state = self.0.lock();
                    (state.closed, state.broken) = (true, true);
                    self.0.changed.notify_all();
                }
            }
        }
        while let Some((number, unit)) = self.next_unit() {
            let mut hands = Hands(self, true);
            let output = work(unit);
            hands.1 = false;
            self.lock().finished.insert(number, output);
            self.changed.notify_all();
        }
    }

    fn next_unit(&self) -> Option<(u64, I)> {
        let mut state = self.lock();
        loop {
            if let Some(unit) = state.waiting.pop_front() {
                return Some(unit);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the next output out, in the order in which the units were put in.
    pub(super) fn take(&self, patience: Duration) -> Next<O> {
        let mut state = self.lock();
        loop {
            let next = state.taken;
            if let Some(output) = state.finished.remove(&next) {
                state.taken += 1;
                self.changed.notify_all();
                return Next::Output(output);
            }
            if state.broken || state.closed && state.taken == state.put {
                return Next::End;
            }
            let (waited, timeout) = self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = waited;
            if timeout.timed_out() && !state.finished.contains_key(&next) {
                return Next::Nothing;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn outputs(conveyor: &Conveyor<u64, u64>) -> Vec<u64> {
        let mut outputs = Vec::new();
        loop {
            match conveyor.take(Duration::from_secs(10)) {
                Next::Output(output) => outputs.push(output),
                Next::Nothing => panic!("nothing came"),
                Next::End => return outputs,
            }
        }
    }

    #[test]
    fn the_order_is_kept_whatever_the_workers_do() {
        let conveyor = Conveyor::new(3);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    conveyor.work(|unit: u64| {
                        thread::sleep(Duration::from_micros(unit * 37 % 11 * 50));
                        unit * 2
                    });
                });
            }
            scope.spawn(|| {
                assert!((0..200).all(|unit| conveyor.put(unit)));
                conveyor.close();
            });
            assert_eq!(outputs(&conveyor), (0..200).map(|unit| unit * 2).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_closed_conveyor_gives_back_what_is_on_the_way() {
        let conveyor = Conveyor::new(2);
        assert!(conveyor.put(1) && conveyor.put(2));
        conveyor.close();
        assert!(!conveyor.put(3));
        conveyor.work(|unit| unit);
        assert_eq!(outputs(&conveyor), [1, 2]);
    }

    #[test]
    fn one_that_waits_for_room_is_freed_by_closing() {
        let conveyor = Conveyor::<u64, u64>::new(1);
        assert!(conveyor.put(1));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| conveyor.put(2));
            thread::sleep(Duration::from_millis(20));
            conveyor.close();
            assert!(!waiting.join().unwrap());
        });
    }

    #[test]
    fn a_worker_that_dies_ends_it() {
        let conveyor = Conveyor::<u64, u64>::new(1);
        assert!(conveyor.put(1));
        thread::scope(|scope| {
            assert!(scope.spawn(|| conveyor.work(|_| panic!("a test"))).join().is_err());
            assert!(matches!(conveyor.take(Duration::from_secs(10)), Next::End));
        });
    }
}

//! A long run over files: units come in, are worked on by several threads, and their results go out in order.
//!
//! What is in memory is a fixed number of units, however many there are. Results in a file are written beside a journal
//! ([`journal`]), so that a job that was killed at any moment goes on where it stopped, to the same bytes; Ctrl-C ends it
//! after the units that are on their way.

mod bar;
mod conveyor;
mod interrupt;
mod journal;
mod place;
mod shard;
mod tally;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use super::failure::{Failure, Outcome};
use super::output::message;
use bar::Bar;
pub(super) use bar::Extent;
use conveyor::{Conveyor, Next};
use journal::Record;
pub(super) use journal::Settings;
pub(super) use place::{Finish, Opened, Place};
use shard::Shard;
pub(super) use tally::Tally;

/// Reads a journal, and what it was begun anew with: both say the same.
#[cfg(fuzzing)]
pub(super) fn fuzz_journal(path: &Path) {
    let read = || journal::Journal::open(path).unwrap().map(|(_, settings, last)| (settings, last));
    let first = read();
    if first.is_some() {
        assert_eq!(read(), first);
    }
}

/// What all long runs have in common.
#[derive(Debug, Args)]
pub(super) struct JobArguments {
    /// Write the results to a file instead of standard output. It gets its name when it is whole; until then it is
    /// FILE.part. With .gz or .zst at its end it is compressed
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Go on with a run that was interrupted or killed, from FILE.part and FILE.resume, to the same results as if it had
    /// not been. Where there is nothing to go on with, begin; if FILE is there already, do nothing
    #[arg(long)]
    pub(super) resume: bool,
    /// What is done when a line or a query fails
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Errors::Skip)]
    pub(super) errors: Errors,
    /// Only every Nth line or query beginning with the Ith, to spread a job over several processes: 1/4 to 4/4
    #[arg(long, value_name = "I/N")]
    pub(super) shard: Option<Shard>,
}

/// What is done when a unit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Errors {
    /// Stop before it; --resume goes on there
    Stop,
    /// Report it and go on; the exit code is 1 in the end
    Skip,
}

/// Something to be worked on.
pub(super) trait Unit: Send + 'static {
    /// Feeds what the unit is made of to the hash by which a resumed job knows its input again.
    fn fingerprint(&self, hash: &mut Sha256);

    /// The number by which --shard deals out units, where it is not their place: units with one number stay together.
    fn share(&self) -> Option<u64> {
        None
    }
}

/// What came of a unit.
#[derive(Debug, Default)]
pub(super) struct Worked {
    /// Its results; they are written also if it failed in part.
    pub(super) results: Vec<u8>,
    /// The name of the unit, and what failed.
    pub(super) failure: Option<(String, Vec<String>)>,
    /// What is to be said of it beside its results.
    pub(super) tally: Tally,
}

impl Worked {
    /// A unit without results.
    pub(super) fn failed(name: String, reasons: Vec<String>) -> Self {
        Self { failure: Some((name, reasons)), ..Self::default() }
    }
}

/// A job that is about to run.
pub(super) struct Job<'a> {
    pub(super) arguments: &'a JobArguments,
    pub(super) place: Place,
    pub(super) settings: Settings,
    pub(super) extent: Extent,
    /// What the units and the items in them are called, in the plural.
    pub(super) units: &'static str,
    pub(super) items: &'static str,
    /// How many units are worked on at the same time.
    pub(super) workers: usize,
    /// Makes the last form of the results, where that is not what was written.
    pub(super) finish: Option<Finish>,
}

/// How a job ended, and what it counted.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) tally: Tally,
}

impl JobArguments {
    /// Looks at the place for the results; nothing if they are there already, which is said.
    pub(super) fn open(&self) -> Result<Option<Place>, Failure> {
        match Place::open(self.output.as_deref(), self.resume)? {
            Opened::Place(place) => Ok(Some(place)),
            Opened::Finished => {
                let path = self.output.as_deref().unwrap_or(Path::new("-"));
                message(&format!("{} is whole: there is nothing to resume", path.display()));
                Ok(None)
            }
        }
    }

    /// Refuses what makes no sense for a command that is no long run.
    pub(super) fn refuse_for(&self, what: &str) -> Result<(), Failure> {
        let given = [("--resume", self.resume), ("--shard", self.shard.is_some())];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Failure::Setup(format!("{option} is for runs over many queries, and {what}"))),
            None => Ok(()),
        }
    }

    /// Ends a command that is no long run at its first failure, which was said, where --errors wants that.
    pub(super) fn stop_at_error(&self) -> Result<(), Failure> {
        match self.errors {
            Errors::Stop => {
                Err(Failure::Input("stopped at the first failure; --errors skip goes on without it".to_owned()))
            }
            Errors::Skip => Ok(()),
        }
    }

    /// How many of so many units are this process's.
    pub(super) fn share(&self, units: u64) -> u64 {
        self.shard.unwrap_or(Shard::WHOLE).share(units)
    }

    /// The number of shards, if there are more than parts to deal out.
    pub(super) fn too_many_shards(&self, parts: u64) -> Option<u64> {
        self.shard.map(Shard::of).filter(|shards| *shards > parts)
    }

    /// Which of numbered units, or of what they are dealt out by, are this process's.
    pub(super) fn mine(&self) -> impl Fn(u64) -> bool + Copy + Send + use<> {
        let shard = self.shard.unwrap_or(Shard::WHOLE);
        move |number| shard.has(number)
    }
}

impl Job<'_> {
    /// Runs the job. An error of the source ends it after the results of what came before.
    pub(super) fn run<U: Unit>(
        self,
        source: impl Iterator<Item = Result<U, Failure>> + Send + 'static,
        work: impl Fn(U) -> Worked + Sync,
    ) -> Result<Ended, Failure> {
        self.run_after(&[], source, work)
    }

    /// As [`run`](Self::run), with something before all results.
    pub(super) fn run_after<U: Unit>(
        mut self,
        head: &[u8],
        source: impl Iterator<Item = Result<U, Failure>> + Send + 'static,
        work: impl Fn(U) -> Worked + Sync,
    ) -> Result<Ended, Failure> {
        interrupt::listen();
        let shard = self.arguments.shard.unwrap_or(Shard::WHOLE);
        self.settings.insert("--shard".to_owned(), shard.to_string());
        self.settings.insert("crossrank".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let resumable = self.place.is_resumable();
        let (mut sink, begun) = self.place.begin(&self.settings, self.finish.is_some())?;
        let source = source
            .enumerate()
            .filter(move |(index, unit)| {
                unit.as_ref().map_or(true, |unit| shard.has(unit.share().unwrap_or(*index as u64)))
            })
            .map(|(_, unit)| unit);
        let conveyor: Arc<Conveyor<Marked<U>, Marked<Worked>>> = Arc::new(Conveyor::new(4 * self.workers.max(1)));
        let source = Source::start(source, &begun, Arc::clone(&conveyor));

        let mut record = begun.clone();
        if record.bytes == 0 && !head.is_empty() {
            sink.write(head)?;
            record.bytes = head.len() as u64;
            sink.record(&record)?;
        }
        let bar = Bar::new(self.extent, self.units, self.items, &begun.tally);
        let mut stopped = None;
        let written: Result<(), Failure> = thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                let (conveyor, work) = (&conveyor, &work);
                scope.spawn(move || conveyor.work(|Marked(unit, input)| Marked(work(unit), input)));
            }
            // However this ends, nothing is to wait for what will not be wanted.
            let _closed = Closed(&conveyor);
            loop {
                if interrupt::interrupted() {
                    conveyor.close();
                }
                match conveyor.take(Bar::PATIENCE) {
                    Next::Output(Marked(worked, input)) => {
                        if let Some((name, reasons)) = &worked.failure {
                            if record.tally.count_failure(name) {
                                reasons.iter().for_each(|reason| bar.say(&format!("error: {name}: {reason}")));
                            }
                            if self.arguments.errors == Errors::Stop {
                                stopped = Some(name.clone());
                                return Ok(());
                            }
                        }
                        sink.write(&worked.results)?;
                        record.bytes += worked.results.len() as u64;
                        record.input = input;
                        record.tally.add(&worked.tally);
                        sink.record(&record)?;
                        bar.show(&record.tally);
                    }
                    Next::Nothing => bar.show(&record.tally),
                    Next::End => return Ok(()),
                }
            }
        });
        bar.clear();
        written?;
        let tally = record.tally;
        let go_on = if resumable { "; --resume goes on there" } else { "" };
        if let Some(name) = stopped {
            message(&format!(
                "stopped at the first failure, {name}, after {} {}{go_on}, and --errors skip goes on without it",
                tally.units, self.units
            ));
            return Ok(Ended { outcome: Outcome::InputFailed, tally });
        }
        let read = source.end()?;
        if tally.failed > 0 {
            let names = tally.failed_names();
            message(&format!("{} of {} {} failed: {names}", tally.failed, tally.units, self.units));
        }
        if read == Read::InPart {
            message(&format!("interrupted after {} {}{go_on}", tally.units, self.units));
            return Ok(Ended { outcome: Outcome::Interrupted, tally });
        }
        sink.finish(self.finish)?;
        let outcome = if tally.failed > 0 { Outcome::InputFailed } else { Outcome::Done };
        Ok(Ended { outcome, tally })
    }
}

/// Something with the hash of the input up to and with it.
struct Marked<T>(T, String);

struct Closed<'a, I, O>(&'a Conveyor<I, O>);

impl<I, O> Drop for Closed<'_, I, O> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The thread that reads. It is left to itself when the job ends early: it may wait for an input that never comes.
struct Source(Arc<Mutex<Option<Result<Read, Failure>>>>);

/// How the reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Whole,
    InPart,
}

impl Source {
    fn start<U: Unit>(
        units: impl Iterator<Item = Result<U, Failure>> + Send + 'static,
        begun: &Record,
        conveyor: Arc<Conveyor<Marked<U>, Marked<Worked>>>,
    ) -> Self {
        let end = Arc::new(Mutex::new(None));
        let (slot, begun) = (Arc::clone(&end), begun.clone());
        thread::spawn(move || {
            let _closed = Closed(&*conveyor);
            let read = feed(units, &begun, &conveyor);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        });
        Self(end)
    }

    /// How the reading ended; in part if it has not.
    fn end(self) -> Result<Read, Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(Ok(Read::InPart))
    }
}

/// Passes over the units that are done, and puts the others on the conveyor.
fn feed<U: Unit>(
    units: impl Iterator<Item = Result<U, Failure>>,
    begun: &Record,
    conveyor: &Conveyor<Marked<U>, Marked<Worked>>,
) -> Result<Read, Failure> {
    let mut hash = Sha256::new();
    let mut units = units;
    for _ in 0..begun.tally.units {
        match units.next() {
            Some(unit) => unit?.fingerprint(&mut hash),
            None => break,
        }
    }
    if begun.tally.units > 0 && digest(&hash) != begun.input {
        return Err(Failure::Setup(format!(
            "the input is not the one with which the run began (its first {} parts differ): go on with the same one, or \
             delete the .part file to begin anew",
            begun.tally.units
        )));
    }
    for unit in units {
        let unit = unit?;
        unit.fingerprint(&mut hash);
        let digest = digest(&hash);
        if !conveyor.put(Marked(unit, digest)) {
            return Ok(Read::InPart);
        }
    }
    Ok(Read::Whole)
}

fn digest(hash: &Sha256) -> String {
    hash.clone().finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;

    struct Number(u64);

    impl Unit for Number {
        fn fingerprint(&self, hash: &mut Sha256) {
            hash.update(self.0.to_le_bytes());
        }
    }

    /// Runs units up to `good`, and then an error if there is one; how often each was worked on is counted.
    fn run(path: &Path, good: u64, then: Option<&str>, counts: &Mutex<BTreeMap<u64, u32>>) -> Result<Ended, Failure> {
        let arguments = JobArguments { output: Some(path.to_owned()), resume: true, errors: Errors::Skip, shard: None };
        let source: Vec<Result<Number, Failure>> =
            (0..good).map(|n| Ok(Number(n))).chain(then.map(|text| Err(Failure::Input(text.to_owned())))).collect();
        let place = arguments.open()?.unwrap();
        let job = Job {
            arguments: &arguments,
            place,
            settings: Settings::new(),
            extent: Extent::Unknown,
            units: "numbers",
            items: "numbers",
            workers: 3,
            finish: None,
        };
        job.run(source.into_iter(), |Number(n)| {
            *counts.lock().unwrap().entry(n).or_default() += 1;
            let failure = (n % 7 == 3).then(|| (format!("number {n}"), vec!["it ends with a 3, or so".to_owned()]));
            Worked { results: format!("{n}\n").into_bytes(), failure, tally: Tally { items: 2, ..Tally::default() } }
        })
    }

    #[test]
    fn a_finished_unit_is_never_worked_on_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let counts = Mutex::default();
        for good in [10, 25] {
            assert!(matches!(run(&path, good, Some("the input is damaged"), &counts), Err(Failure::Input(_))));
        }
        let ended = run(&path, 30, None, &counts).unwrap();
        assert_eq!((ended.tally.units, ended.tally.items, ended.tally.failed), (30, 60, 4));
        assert_eq!(ended.outcome, Outcome::InputFailed, "what failed before it was resumed counts, too");
        assert!(counts.lock().unwrap().values().all(|count| *count == 1), "{counts:?}");
        let expected: String = (0..30).map(|n| format!("{n}\n")).collect();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_shorter_input_is_not_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let counts = Mutex::default();
        let _ = run(&path, 10, Some("the input is damaged"), &counts);
        assert!(matches!(run(&path, 5, None, &counts), Err(Failure::Setup(_))));
    }
}

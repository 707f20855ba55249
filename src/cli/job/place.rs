//! Where a job's results go, and how an interrupted one is taken up again.
//!
//! Results in a file grow beside it, in `FILE.part`, with the journal in `FILE.resume`; when they are whole they get their
//! name. So a file under its own name is always a whole one.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;

use super::super::compressed;
use super::super::failure::Failure;
use super::journal::{Journal, Record, Settings};

/// Makes the results' last form of what the job wrote: reads the first file from its beginning, writes the second.
pub(in super::super) type Finish = Box<dyn FnOnce(&mut File, &mut (dyn Write + Send)) -> Result<(), Failure>>;

/// A place for results that was looked at, and not yet written to.
pub(in super::super) struct Place(Target);

enum Target {
    Standard,
    /// A pipe or a device: written in place.
    Special(File, PathBuf),
    Plain(Plain),
    /// Results that get their last form at the end: a temporary file, and where they go then.
    Spool(File, Box<Target>),
}

struct Plain {
    /// The name of the whole results.
    path: PathBuf,
    part: File,
    part_path: PathBuf,
    journal_path: PathBuf,
    resume: bool,
}

/// A place that takes results.
pub(super) struct Sink {
    target: Target,
    journal: Option<Journal>,
}

/// What was found where results are to go.
pub(in super::super) enum Opened {
    Place(Place),
    /// The results are there, and whole.
    Finished,
}

impl Place {
    /// Looks at the place before anything slow is done. Nothing there is changed yet, but that the unfinished file is
    /// created and locked.
    pub(in super::super) fn open(path: Option<&Path>, resume: bool) -> Result<Opened, Failure> {
        let nothing_to_resume = |what: &str| {
            Err(Failure::Setup(format!("--resume goes on with results in a file, and {what}; name a file with -o")))
        };
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            if resume {
                return nothing_to_resume("these go to standard output");
            }
            return Ok(Opened::Place(Self(Target::Standard)));
        };
        if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            if resume {
                return nothing_to_resume(&format!("{} is none", path.display()));
            }
            let file = File::options().write(true).open(path).map_err(|error| unwritable(path, &error))?;
            return Ok(Opened::Place(Self(Target::Special(file, path.to_owned()))));
        }
        // The target of a link is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (part_path, journal_path) = (with_suffix(&path, ".part"), with_suffix(&path, ".resume"));
        if resume && !part_path.exists() && path.exists() {
            // The name came last, the journal's removal after it.
            let _ = fs::remove_file(&journal_path);
            return Ok(Opened::Finished);
        }
        let failed = |error| unwritable(&part_path, &error);
        let part =
            File::options().read(true).write(true).create(true).truncate(false).open(&part_path).map_err(failed)?;
        match part.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Setup(format!(
                    "{} is being written by another process: wait for it, or name another file",
                    part_path.display()
                )));
            }
            // Some file systems have no locks; the job works without.
            Err(TryLockError::Error(_)) => {}
        }
        // An empty one is left by a command that was killed before it had any results.
        let begun = part.metadata().is_ok_and(|meta| meta.len() > 0);
        if begun && !resume {
            return Err(Failure::Setup(format!(
                "{} holds the results of a run that did not finish: go on with it by --resume, or delete it",
                part_path.display()
            )));
        }
        Ok(Opened::Place(Self(Target::Plain(Plain { path, part, part_path, journal_path, resume }))))
    }

    /// Whether an interrupted job can be resumed.
    pub(super) fn is_resumable(&self) -> bool {
        matches!(self.0, Target::Plain(_))
    }

    /// Begins a job, or takes it up where it was left; then the results behind what the journal knows are cut off.
    /// `finished_later` says that what is written is not yet the results' last form.
    pub(super) fn begin(self, settings: &Settings, finished_later: bool) -> Result<(Sink, Record), Failure> {
        let mut target = self.0;
        let Target::Plain(plain) = &mut target else {
            if finished_later {
                let file = tempfile::tempfile().map_err(|error| unwritable(&std::env::temp_dir(), &error))?;
                target = Target::Spool(file, Box::new(target));
            }
            return Ok((Sink { target, journal: None }, Record::default()));
        };
        let (journal, record) = plain.begin(settings)?;
        Ok((Sink { target, journal: Some(journal) }, record))
    }
}

impl Drop for Plain {
    /// A command that stops before its job begins leaves nothing behind.
    fn drop(&mut self) {
        if !self.journal_path.exists() && self.part.metadata().is_ok_and(|meta| meta.len() == 0) {
            let _ = fs::remove_file(&self.part_path);
        }
    }
}

impl Plain {
    fn begin(&mut self, settings: &Settings) -> Result<(Journal, Record), Failure> {
        let failed = |error: io::Error| unwritable(&self.journal_path, &error);
        let found = if self.resume { Journal::open(&self.journal_path).map_err(failed)? } else { None };
        let length = self.part.metadata().map_err(failed)?.len();
        let (journal, record) = match found {
            Some((journal, begun_with, record)) if length > 0 || record == Record::default() => {
                check_settings(&begun_with, settings, &self.part_path)?;
                (journal, record)
            }
            _ if length > 0 => {
                return Err(Failure::Setup(format!(
                    "{} cannot be resumed: its journal {} is missing; delete it to begin anew",
                    self.part_path.display(),
                    self.journal_path.display()
                )));
            }
            _ => (Journal::create(&self.journal_path, settings).map_err(failed)?, Record::default()),
        };
        if length < record.bytes {
            return Err(Failure::Setup(format!(
                "{} has {length} bytes, and its journal knows of {}: it was changed, or the machine lost power; delete it \
                 to begin anew",
                self.part_path.display(),
                record.bytes
            )));
        }
        let end = io::SeekFrom::Start(record.bytes);
        self.part
            .set_len(record.bytes)
            .and_then(|()| self.part.seek(end))
            .map_err(|error| unwritable(&self.part_path, &error))?;
        Ok((journal, record))
    }
}

fn check_settings(begun_with: &Settings, settings: &Settings, part: &Path) -> Result<(), Failure> {
    let names: std::collections::BTreeSet<&String> = begun_with.keys().chain(settings.keys()).collect();
    let shown =
        |settings: &Settings, name: &String| settings.get(name).map_or("nothing".to_owned(), |s| format!("`{s}`"));
    let changed: Vec<String> = names
        .into_iter()
        .filter(|name| begun_with.get(*name) != settings.get(*name))
        .map(|name| format!("{name} was {} and is {}", shown(begun_with, name), shown(settings, name)))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(Failure::Setup(format!(
        "{} was begun by another command: {}; go on with the same one, or delete the file to begin anew",
        part.display(),
        changed.join("; ")
    )))
}

impl Sink {
    /// Writes results.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.target {
            Target::Standard => {
                let mut out = io::stdout().lock();
                return out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output);
            }
            Target::Special(file, path) => (file.write_all(bytes), path.as_path()),
            Target::Plain(plain) => (plain.part.write_all(bytes), plain.part_path.as_path()),
            Target::Spool(file, _) => (file.write_all(bytes), Path::new("a temporary file")),
        };
        match written {
            (Ok(()), _) => Ok(()),
            (Err(error), _) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
            (Err(error), path) => Err(unwritable(path, &error)),
        }
    }

    /// Records how far the job came; what was written before is part of it.
    pub(super) fn record(&mut self, record: &Record) -> Result<(), Failure> {
        match (&mut self.journal, &self.target) {
            (Some(journal), Target::Plain(plain)) => {
                journal.record(record).map_err(|error| unwritable(&plain.journal_path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Gives whole results their last form, by default that of the file's extension, and their name.
    pub(super) fn finish(self, finish: Option<Finish>) -> Result<(), Failure> {
        let mut plain = match self.target {
            Target::Plain(plain) => plain,
            Target::Spool(mut file, target) => {
                file.rewind().map_err(Failure::Output)?;
                return match (*target, finish) {
                    (_, None) => Ok(()),
                    (Target::Special(mut device, _), Some(finish)) => finish(&mut file, &mut device),
                    (_, Some(finish)) => {
                        let mut out = BufWriter::new(io::stdout());
                        finish(&mut file, &mut out)?;
                        out.flush().map_err(Failure::Output)
                    }
                };
            }
            Target::Standard | Target::Special(..) => return Ok(()),
        };
        let path = plain.path.clone();
        let failed = |error: io::Error| unwritable(&path, &error);
        let finish = finish.or_else(|| compressed::finish(&path));
        match finish {
            None => {
                plain.part.sync_all().map_err(failed)?;
                fs::rename(&plain.part_path, &path).map_err(failed)?;
            }
            Some(finish) => {
                plain.part.rewind().map_err(failed)?;
                let whole = with_suffix(&path, &format!(".partial-{}", process::id()));
                let made = File::create(&whole).map_err(failed).and_then(|mut file| {
                    finish(&mut plain.part, &mut file)?;
                    file.sync_all().and_then(|()| fs::rename(&whole, &path)).map_err(failed)
                });
                if made.is_err() {
                    // What the results are made of is still there.
                    let _ = fs::remove_file(&whole);
                }
                made?;
                fs::remove_file(&plain.part_path).map_err(failed)?;
            }
        }
        match self.journal {
            Some(journal) => journal.remove().map_err(failed),
            None => Ok(()),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Setup(format!("cannot write {}: {error}", path.display()))
}

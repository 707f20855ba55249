//! What of a job is done: a file beside the unfinished results, from which `--resume` goes on.
//!
//! Its first line says what the job is; each further one how far it came: how many units are in the results, how many
//! bytes those are, and a hash of the input that they were made of. A line is written after the results that it speaks
//! of. Whatever a killed process leaves, the last whole line is true: results behind it are cut off and made again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tally::Tally;

/// What decides the results, by name: two jobs that are alike in all of it give the same bytes.
pub(in super::super) type Settings = BTreeMap<String, String>;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    settings: Settings,
}

/// How far a job came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Bytes of the results.
    pub(super) bytes: u64,
    /// A hash of the units' input.
    pub(super) input: String,
    pub(super) tally: Tally,
}

/// A longer journal is begun anew with its last record alone.
const LONGEST: u64 = 1 << 20;

pub(super) struct Journal {
    path: PathBuf,
    file: File,
    header: String,
    bytes: u64,
}

impl Journal {
    /// Begins a journal; one that is there is lost.
    pub(super) fn create(path: &Path, settings: &Settings) -> io::Result<Self> {
        let header = line(&Header { settings: settings.clone() });
        Self::begin(path, header, None)
    }

    /// Reads a journal, and begins it anew with its last record, which is given back. Nothing if there is none, or if not
    /// even its first line is whole.
    pub(super) fn open(path: &Path) -> io::Result<Option<(Self, Settings, Record)>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut lines = BufReader::new(file).split(b'\n');
        let Some(header) = lines.next().transpose()?.and_then(|line| serde_json::from_slice::<Header>(&line).ok())
        else {
            return Ok(None);
        };
        let mut last = Record::default();
        for bytes in lines {
            match serde_json::from_slice(&bytes?) {
                Ok(record) => last = record,
                Err(_) => break,
            }
        }
        let journal = Self::begin(path, line(&header), Some(&last))?;
        Ok(Some((journal, header.settings, last)))
    }

    fn begin(path: &Path, header: String, record: Option<&Record>) -> io::Result<Self> {
        let mut text = header.clone();
        if let Some(record) = record {
            text.push_str(&line(record));
        }
        // Under another name first: a process that is killed here leaves the old journal or the new one.
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)?;
        Ok(Self { path: path.to_owned(), file, header, bytes: text.len() as u64 })
    }

    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        let text = line(record);
        if self.bytes + text.len() as u64 > LONGEST {
            *self = Self::begin(&self.path, self.header.clone(), Some(record))?;
            return Ok(());
        }
        self.bytes += text.len() as u64;
        self.file.write_all(text.as_bytes())
    }

    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn line(value: &impl Serialize) -> String {
    // Our own types have string keys and whole numbers alone: they always serialise.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(units: u64) -> Record {
        Record { bytes: units * 10, input: format!("{units:x}"), tally: Tally { units, ..Tally::default() } }
    }

    fn settings() -> Settings {
        Settings::from([("command".to_owned(), "rerank \"x\"\n".to_owned())])
    }

    #[test]
    fn any_beginning_of_a_journal_gives_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::create(&path, &settings()).unwrap();
        for units in 1..=3 {
            journal.record(&record(units)).unwrap();
        }
        let bytes = fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..bytes.len()).filter(|index| bytes[*index] == b'\n').collect();
        assert_eq!(ends.len(), 4);
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let opened = Journal::open(&path).unwrap();
            // A line is whole without its line break, too.
            let whole = ends.iter().filter(|end| **end <= length).count();
            match opened {
                None => assert_eq!(whole, 0, "{length} bytes"),
                Some((_, found, last)) => {
                    assert_eq!(found, settings());
                    assert_eq!(last.tally.units, whole as u64 - 1, "{length} bytes");
                }
            }
        }
    }

    #[test]
    fn a_journal_stays_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::create(&path, &settings()).unwrap();
        for units in 1..=20_000 {
            journal.record(&record(units)).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= LONGEST);
        let (_, found, last) = Journal::open(&path).unwrap().unwrap();
        assert_eq!((found, last), (settings(), record(20_000)));
    }
}

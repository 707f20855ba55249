//! The documents, found by their offsets in the file.

use super::super::failure::Failure;
use super::super::input::shown;
use super::hash_of;
use super::record::{Form, Record};
use super::repeated::Repeated;
use super::spool::{Spool, trim};

/// A corpus whose texts stay on the disk: 20 bytes of memory for each document that may be asked for.
#[derive(Debug)]
pub(in super::super) struct Corpus {
    name: String,
    spool: Spool,
    form: Form,
    /// By rising hash; documents of one hash in the file's order.
    hashes: Vec<u64>,
    offsets: Vec<u64>,
    lengths: Vec<u32>,
}

/// A corpus, and the lines of it that cannot be read.
pub(in super::super) struct Indexed {
    pub(in super::super) corpus: Corpus,
    pub(in super::super) documents: u64,
    /// Line numbers and reasons of the first lines that are no documents.
    pub(in super::super) bad_lines: Vec<(u64, String)>,
    pub(in super::super) bad: u64,
    /// Documents that were asked for and have several lines.
    pub(in super::super) repeated: Repeated,
}

/// Bad lines whose reasons are kept.
const SHOWN: usize = 20;

impl Corpus {
    /// Reads the corpus once and remembers where the documents are whose hashes are asked for (sorted).
    pub(in super::super) fn index(path: &str, wanted: &[u64]) -> Result<Indexed, Failure> {
        let name = shown(path).to_owned();
        let (file, spool) = Spool::open(path)?;
        let mut form = None;
        let mut entries: Vec<(u64, u64, u32)> = Vec::new();
        let (mut bad_lines, mut bad, mut documents) = (Vec::new(), 0, 0);
        Spool::each_line(file, &name, |number, start, length, line| {
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            let read = std::str::from_utf8(line)
                .map_err(|error| format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1));
            let found = read.and_then(|line| {
                if form.is_none() {
                    let (of_file, header) = Form::of(line);
                    form = Some(of_file);
                    if header {
                        return Ok(None);
                    }
                }
                let length = u32::try_from(length).map_err(|_| "the line is longer than 4 GiB".to_owned())?;
                let record = form.as_ref().map(|form| form.read(line)).transpose()?;
                Ok(record.map(|record| (hash_of(&record.id), length)))
            });
            match found {
                Ok(None) => {}
                Ok(Some((hash, length))) => {
                    documents += 1;
                    if wanted.binary_search(&hash).is_ok() {
                        entries.push((hash, start, length));
                    }
                }
                Err(reason) => {
                    bad += 1;
                    if bad_lines.len() < SHOWN {
                        bad_lines.push((number, reason));
                    }
                }
            }
            Ok(())
        })?;
        entries.sort_unstable();
        let corpus = Self {
            name,
            spool,
            form: form.unwrap_or(Form::Json),
            hashes: entries.iter().map(|entry| entry.0).collect(),
            offsets: entries.iter().map(|entry| entry.1).collect(),
            lengths: entries.iter().map(|entry| entry.2).collect(),
        };
        let repeated = corpus.repeated().map_err(|reason| Failure::Input(format!("{}: {reason}", corpus.name)))?;
        Ok(Indexed { corpus, documents, bad_lines, bad, repeated })
    }

    /// The ids that several lines have.
    fn repeated(&self) -> Result<Repeated, String> {
        let mut repeated = Repeated::default();
        let mut start = 0;
        for of_one_hash in self.hashes.chunk_by(|a, b| a == b) {
            let places = start..start + of_one_hash.len();
            start = places.end;
            if places.len() > 1 {
                let id = |index| self.read(index, |record| record.id.clone().into_owned());
                let mut ids = places.map(id).collect::<Result<Vec<String>, _>>()?;
                ids.sort_unstable();
                ids.windows(2).filter(|ids| ids[0] == ids[1]).for_each(|ids| repeated.add(&ids[0]));
            }
        }
        Ok(repeated)
    }

    /// The text of a document, with its title before it; nothing if the corpus does not have it. Of two documents with one
    /// id the last counts, as in a Python dictionary.
    pub(in super::super) fn text(&self, id: &str) -> Result<Option<String>, String> {
        let hash = hash_of(id);
        let first = self.hashes.partition_point(|other| *other < hash);
        let end = first + self.hashes[first..].partition_point(|other| *other == hash);
        for index in (first..end).rev() {
            let text = self.read(index, |record| (record.id == id).then(|| record.whole()));
            if let Some(text) = text.map_err(|reason| format!("document {id} of {}: {reason}", self.name))? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Something of the document at an index.
    fn read<T>(&self, index: usize, take: impl FnOnce(&Record<'_>) -> T) -> Result<T, String> {
        let bytes = self.spool.read(self.offsets[index], self.lengths[index] as usize);
        let bytes = bytes.map_err(|error| format!("it cannot be read again: {error}"))?;
        let line = String::from_utf8_lossy(trim(&bytes, self.offsets[index] == 0));
        Ok(take(&self.form.read(&line)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn index(bytes: &[u8], wanted: &[&str]) -> Indexed {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let mut hashes: Vec<u64> = wanted.iter().map(|id| hash_of(id)).collect();
        hashes.sort_unstable();
        Corpus::index(file.path().to_str().unwrap(), &hashes).unwrap()
    }

    #[test]
    fn documents_are_found_where_they_are() {
        let text = "\u{feff}{\"_id\": \"a\", \"text\": \"one\"}\r\n\n{\"_id\": \"b\", \"title\": \"T\", \"text\": \"two\"}\n\
                    nothing\n{\"_id\": \"a\", \"text\": \"three\"}";
        let found = index(text.as_bytes(), &["a", "b", "x"]);
        let text = |id: &str| found.corpus.text(id).unwrap();
        assert_eq!(text("a").as_deref(), Some("three"));
        assert_eq!(text("b").as_deref(), Some("T two"));
        assert_eq!(text("x"), None);
        assert_eq!((found.documents, found.bad), (3, 1));
        assert_eq!(found.bad_lines[0].0, 4);
        assert_eq!(found.repeated, Repeated { count: 1, example: Some("a".to_owned()) });
    }

    #[test]
    fn only_what_is_wanted_is_remembered() {
        let found = index(b"1\tone\n2\ttwo\n", &["2"]);
        assert_eq!(found.corpus.hashes.len(), 1);
        assert_eq!(found.corpus.text("2").unwrap().as_deref(), Some("two"));
    }

    #[test]
    fn documents_with_one_hash_are_told_apart() {
        let mut found = index(b"1\tone\n2\ttwo\n", &["1", "2"]);
        // As if both had the hash of the second.
        found.corpus.hashes = vec![hash_of("2"); 2];
        assert_eq!(found.corpus.text("2").unwrap().as_deref(), Some("two"));
    }

    proptest! {
        /// Lines of all sorts: each document that is whole is found, and nothing else does harm.
        #[test]
        fn any_bytes_are_indexed(parts in proptest::collection::vec(
            prop_oneof![
                Just(b"{\"_id\": \"a\", \"text\": \"x\"}".to_vec()),
                Just(b"{\"_id\": \"a\", \"text\": 1}".to_vec()),
                Just(b"id\ttext".to_vec()),
                Just(b"a\tx".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"\n".to_vec()),
                Just(b"\xef\xbb\xbf".to_vec()),
                Just([&b"{\"_id\":"[..], &b"[".repeat(1000)].concat()),
                proptest::collection::vec(any::<u8>(), 0..20),
            ],
            0..12,
        )) {
            let bytes = parts.concat();
            let found = index(&bytes, &["a"]);
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64;
            prop_assert!(found.documents + found.bad <= lines);
            let _ = found.corpus.text("a");
        }
    }
}

//! The run of a first stage, one query at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Cursor;

use super::super::failure::Failure;
use super::super::input::shown;
use super::hash_of;
use super::spool::Spool;
use crossrank::eval::Run;

/// A TREC run whose lines stay on the disk.
#[derive(Debug)]
pub(in super::super) struct FirstStage {
    name: String,
    spool: Spool,
    queries: Vec<RunQuery>,
    /// The hashes of all documents, sorted.
    documents: Vec<u64>,
    /// The line and the score of the first one that is infinite.
    infinite: Option<(u64, f64)>,
}

/// What a run has for a query.
pub(in super::super) struct Candidates {
    /// Ids and scores, best first.
    pub(in super::super) documents: Vec<(String, f64)>,
    /// Lines for a document that there was a line for before. The last one counts.
    pub(in super::super) repeated: u64,
}

/// A query of a run, and where its lines are.
#[derive(Debug, Clone)]
pub(in super::super) struct RunQuery {
    pub(in super::super) id: String,
    /// Offset and length of its lines; one piece, if they stand together.
    pieces: Vec<(u64, usize)>,
}

impl FirstStage {
    /// Reads the run once and remembers where each query's lines are. A line that is malformed is an error.
    pub(in super::super) fn open(path: &str) -> Result<Self, Failure> {
        let name = shown(path).to_owned();
        let (file, spool) = Spool::open(path)?;
        let mut queries: Vec<RunQuery> = Vec::new();
        let mut index_of: HashMap<String, usize> = HashMap::new();
        let mut documents = Hashes::default();
        let (mut current, mut infinite) = (usize::MAX, None);
        Spool::each_line(file, &name, |number, start, length, line| {
            let found = fields(line).map_err(|reason| Failure::Input(format!("{name}, line {number}: {reason}")))?;
            let Some((query, document, score)) = found else { return Ok(()) };
            if score.is_infinite() {
                infinite.get_or_insert((number, score));
            }
            documents.add(hash_of(document));
            if queries.get(current).is_none_or(|known| known.id != query) {
                current = match index_of.entry(query.to_owned()) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        queries.push(RunQuery { id: query.to_owned(), pieces: Vec::new() });
                        *new.insert(queries.len() - 1)
                    }
                };
            }
            let pieces = &mut queries[current].pieces;
            match pieces.last_mut() {
                Some((begin, size)) if *begin + *size as u64 == start => *size += length,
                _ => pieces.push((start, length)),
            }
            Ok(())
        })?;
        Ok(Self { name, spool, queries, documents: documents.sorted(), infinite })
    }

    /// Refuses scores that cannot be added to others.
    pub(in super::super) fn require_finite_scores(&self) -> Result<(), Failure> {
        match self.infinite {
            None => Ok(()),
            Some((line, score)) => Err(Failure::Input(format!(
                "{}, line {line}: the score is {score}, and a fusion adds z-scores of the scores: finite ones are needed",
                self.name
            ))),
        }
    }

    /// The queries in the order in which they appear first.
    pub(in super::super) fn queries(&self) -> &[RunQuery] {
        &self.queries
    }

    /// The hashes of all documents of the run, sorted.
    pub(in super::super) fn documents(&self) -> &[u64] {
        &self.documents
    }

    /// The first `depth` documents for a query with their scores, in trec_eval's order.
    pub(in super::super) fn candidates(&self, query: &RunQuery, depth: usize) -> Result<Candidates, Failure> {
        // A byte-order mark at the beginning of the file was none of a query's id; elsewhere it is.
        let is_first = query.pieces.first().is_some_and(|(offset, _)| *offset == 0);
        let mut text = if is_first { Vec::new() } else { vec![b'\n'] };
        for (offset, length) in &query.pieces {
            let piece = self
                .spool
                .read(*offset, *length)
                .map_err(|error| Failure::Input(format!("cannot read {}: {error}", self.name)))?;
            text.extend(piece);
            // The last line of a file may have no end.
            text.push(b'\n');
        }
        let run = Run::read(Cursor::new(text), &self.name)?;
        let documents = run.documents(&query.id).into_iter().flatten();
        let documents = documents.take(depth).map(|(id, score)| (id.to_owned(), score)).collect();
        Ok(Candidates { documents, repeated: run.duplicates().count as u64 })
    }
}

/// Query, document and score of a line; nothing for a blank one.
fn fields(line: &[u8]) -> Result<Option<(&str, &str, f64)>, String> {
    let line = std::str::from_utf8(line)
        .map_err(|error| format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1))?;
    let mut fields = line.split_ascii_whitespace();
    let Some(query) = fields.next() else { return Ok(None) };
    let found: Vec<&str> = fields.collect();
    let [_q0, document, _rank, score, _tag] = found[..] else {
        return Err(format!(
            "a line of a TREC run (`query Q0 document rank score tag`) has 6 fields between blanks; this one has {}",
            found.len() + 1
        ));
    };
    match score.parse::<f64>() {
        Ok(score) if !score.is_nan() => Ok(Some((query, document, score))),
        _ => Err(format!("a number as score is needed where `{}` stands", score.chars().take(60).collect::<String>())),
    }
}

/// Hashes, each kept once or a few times until they are sorted.
#[derive(Default)]
struct Hashes {
    hashes: Vec<u64>,
    /// How many there were when they were sorted last.
    sorted: usize,
}

impl Hashes {
    fn add(&mut self, hash: u64) {
        self.hashes.push(hash);
        // A run of millions of lines names some documents again and again.
        if self.hashes.len() > (1 << 20).max(2 * self.sorted) {
            self.sort();
        }
    }

    fn sort(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
        self.sorted = self.hashes.len();
    }

    fn sorted(mut self) -> Vec<u64> {
        self.sort();
        self.hashes.shrink_to_fit();
        self.hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn open(text: &str) -> Result<FirstStage, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        FirstStage::open(file.path().to_str().unwrap())
    }

    #[test]
    fn a_querys_lines_are_found_wherever_they_stand() {
        let run =
            open("\u{feff}q1 Q0 a 1 0.5 t\nq1 Q0 b 2 0.75 t\r\n\nq2 Q0 a 1 3 t\nq1 Q0 c 3 0.6 t\nq2\tQ0\td\t2\t4\tt")
                .unwrap();
        let found: Vec<(&str, Vec<String>)> = run
            .queries()
            .iter()
            .map(|query| {
                let candidates = run.candidates(query, 2).unwrap().documents;
                (query.id.as_str(), candidates.into_iter().map(|(id, _)| id).collect())
            })
            .collect();
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(found, [("q1", ids(&["b", "c"])), ("q2", ids(&["d", "a"]))]);
        assert_eq!(run.documents().len(), 4);
    }

    #[test]
    fn repeated_lines_are_counted_wherever_they_stand() {
        let run = open("1 Q0 a 1 2 t\n1 Q0 a 2 1 t\n2 Q0 a 1 2 t\n1 Q0 b 3 1 t\n1 Q0 a 4 3 t\n").unwrap();
        let repeated = |index: usize| run.candidates(&run.queries()[index], 1).unwrap().repeated;
        assert_eq!((repeated(0), repeated(1)), (2, 0));
    }

    #[test]
    fn infinite_scores_are_named_where_they_cannot_be_used() {
        let run = open("1 Q0 a 1 2 t\n1 Q0 b 2 -inf t\n1 Q0 c 2 inf t\n").unwrap();
        assert_eq!(run.candidates(&run.queries()[0], 1).unwrap().documents[0].0, "c");
        let error = run.require_finite_scores().unwrap_err().to_string();
        assert!(error.contains("line 2: the score is -inf"), "{error}");
    }

    #[test]
    fn malformed_lines_are_named() {
        for (text, reason) in [
            ("q1 Q0 a 1 0.5 t\nq1 Q0 a 1 t\n", "line 2: a line of a TREC run"),
            ("q1 Q0 a 1 NaN t\n", "line 1: a number as score is needed where `NaN`"),
        ] {
            let error = open(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn hashes_are_kept_once() {
        let mut hashes = Hashes::default();
        (0..3_000_000u64).for_each(|n| hashes.add(n % 1000));
        assert!(hashes.hashes.len() <= 1 << 20);
        assert_eq!(hashes.sorted().len(), 1000);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_run_or_refused(parts in proptest::collection::vec(
            prop_oneof![
                Just(b"q1 Q0 d1 1 0.5 t\n".to_vec()),
                Just(b"q1\tQ0\td2 2 -1e300 t\r\n".to_vec()),
                Just(b"q2 Q0 d1 1 inf t".to_vec()),
                Just(b"\n".to_vec()),
                Just(b"\xef\xbb\xbf".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..12),
            ],
            0..10,
        )) {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), parts.concat()).unwrap();
            if let Ok(run) = FirstStage::open(file.path().to_str().unwrap()) {
                for query in run.queries() {
                    let candidates = run.candidates(query, 3);
                    prop_assert!(candidates.is_ok_and(|found| (1..=3).contains(&found.documents.len())));
                }
            }
        }
    }
}

//! Relevance judgements: TREC's qrels format and BEIR's.

use std::io::BufRead;

use super::lines;
use super::table::{Duplicates, Table, TableBuilder};
use crate::error::{Error, ErrorKind, Result};

/// Relevance judgements ("qrels"): for each query the documents that were judged, with a grade.
///
/// A grade of 1 or more is relevant (a [`Measure`](super::Measure) may ask for more), 0 is judged and not relevant, and a
/// negative one means that the document was in the pool without a judgement: it counts as judged for `Judged` alone.
///
/// ```
/// use crossrank::eval::Qrels;
///
/// let qrels = Qrels::read("q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 1\n".as_bytes(), "my.qrels")?;
/// assert_eq!(qrels.queries().collect::<Vec<_>>(), ["q1", "q2"]);
/// assert_eq!(qrels.grade("q1", "d1"), Some(2));
/// assert_eq!(qrels.grade("q2", "d2"), None);
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Qrels {
    table: Table<i64>,
}

/// The two layouts of a file of judgements.
#[derive(Clone, Copy)]
enum Layout {
    Trec,
    Beir,
}

impl Qrels {
    /// Reads judgements; `name` is what errors call the file.
    ///
    /// The lines are TREC's, `query iteration document grade` between blanks, or, if the first one is the header
    /// `query-id`, `corpus-id`, `score` between tabs, BEIR's: query, document and grade between tabs. Blank lines are
    /// skipped, ids are kept as they are. Of two judgements of one document for one query the last counts
    /// ([`duplicates`](Self::duplicates)), as in ir_measures.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] for a line that is none of those, with file, line and reason, and for a file without any
    /// judgement; [`ErrorKind::Io`] if the reader fails.
    pub fn read(reader: impl BufRead, name: &str) -> Result<Self> {
        let mut builder = TableBuilder::new();
        let mut layout = None;
        lines::each_line(reader, name, |line, number| {
            let first = layout.is_none();
            let layout = *layout.get_or_insert_with(|| if is_beir_header(line) { Layout::Beir } else { Layout::Trec });
            let [query, document, grade] = match layout {
                Layout::Beir if first => return Ok(()),
                Layout::Beir => beir(line)?,
                Layout::Trec => {
                    let [query, _iteration, document, grade] =
                        lines::fields(line, "TREC qrels (`query iteration document grade`)")?;
                    [query, document, grade]
                }
            };
            builder.add(query, document, lines::number(grade, "a whole number as grade")?, number);
            Ok(())
        })?;
        Self::from_builder(builder, name)
    }

    /// Judgements as (query, document, grade).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] if there are none.
    pub fn from_judgements<Q, D>(judgements: impl IntoIterator<Item = (Q, D, i64)>) -> Result<Self>
    where
        Q: AsRef<str>,
        D: AsRef<str>,
    {
        let mut builder = TableBuilder::new();
        for ((query, document, grade), number) in judgements.into_iter().zip(1..) {
            builder.add(query.as_ref(), document.as_ref(), grade, number);
        }
        Self::from_builder(builder, "the list of judgements")
    }

    fn from_builder(builder: TableBuilder<i64>, name: &str) -> Result<Self> {
        let table = builder.build();
        if table.len() == 0 {
            return Err(Error::new(
                ErrorKind::Input,
                format!("{name} holds no judgement: there is no query to measure a run on"),
            ));
        }
        Ok(Self { table })
    }

    /// The queries that have judgements, in the order in which they appear first.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.table.iter().map(|(query, _)| query)
    }

    /// The grade of a document for a query; none if it was not judged.
    pub fn grade(&self, query: &str, document: &str) -> Option<i64> {
        grade(self.table.get(query)?, document)
    }

    /// The lines that a later one replaced.
    pub fn duplicates(&self) -> &Duplicates {
        self.table.duplicates()
    }

    /// Queries with their judged documents by rising id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[(Box<str>, i64)])> {
        self.table.iter()
    }

    pub(super) fn has(&self, query: &str) -> bool {
        self.table.get(query).is_some()
    }
}

/// The grade of a document among judged ones by rising id.
pub(super) fn grade(judged: &[(Box<str>, i64)], document: &str) -> Option<i64> {
    judged.binary_search_by(|(id, _)| (**id).cmp(document)).ok().map(|index| judged[index].1)
}

fn is_beir_header(line: &str) -> bool {
    line.split('\t').map(str::trim_ascii).eq(["query-id", "corpus-id", "score"])
}

fn beir(line: &str) -> Result<[&str; 3], String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [query, document, grade] = fields[..] else {
        return Err(format!(
            "after the header `query-id corpus-id score` a line has 3 fields between tabs; this one has {}",
            fields.len()
        ));
    };
    if query.is_empty() || document.is_empty() {
        return Err("an id is empty".to_owned());
    }
    Ok([query, document, grade.trim_ascii()])
}

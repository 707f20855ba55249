//! Results of a search system or a reranker: TREC's run format.

use std::cmp::Ordering;
use std::io::BufRead;

use super::lines;
use super::table::{Duplicates, Table, TableBuilder};
use crate::error::{Error, ErrorKind, Result};

/// A run: for each query the documents that a system found, each with a score.
///
/// The order is that of the scores; the ranks of a file are ignored, as trec_eval does.
///
/// ```
/// use crossrank::eval::Run;
///
/// let run = Run::read("q1 Q0 d2 1 0.5 bm25\nq1 Q0 d1 2 0.75 bm25\n".as_bytes(), "my.run")?;
/// assert_eq!(run.documents("q1").unwrap().collect::<Vec<_>>(), [("d1", 0.75), ("d2", 0.5)]);
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Run {
    name: String,
    table: Table<f64>,
}

impl Run {
    /// Reads a run of lines `query Q0 document rank score tag` between blanks; `name` is what errors call the file.
    ///
    /// The second, the fourth and the last field are not looked at. Blank lines are skipped, ids are kept as they are, in
    /// any order. Of two scores of one document for one query the last counts ([`duplicates`](Self::duplicates)), as in
    /// ir_measures. A file without lines is a run that found nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] for a line that is no such one, with file, line and reason; a score may be infinite, but not
    /// NaN, which has no place in an order. [`ErrorKind::Io`] if the reader fails.
    pub fn read(reader: impl BufRead, name: &str) -> Result<Self> {
        let mut builder = TableBuilder::new();
        lines::each_line(reader, name, |line, number| {
            let [query, _q0, document, _rank, score, _tag] =
                lines::fields(line, "a TREC run (`query Q0 document rank score tag`)")?;
            let score: f64 = lines::number(score, "a number as score")?;
            if score.is_nan() {
                return Err("the score is NaN, which has no place in an order".to_owned());
            }
            builder.add(query, document, score, number);
            Ok(())
        })?;
        Ok(Self::from_builder(builder, name))
    }

    /// A run of (query, document, score), with a name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NonFinite`] if a score is NaN.
    pub fn from_scores<Q, D>(name: &str, scores: impl IntoIterator<Item = (Q, D, f64)>) -> Result<Self>
    where
        Q: AsRef<str>,
        D: AsRef<str>,
    {
        let mut builder = TableBuilder::new();
        for ((query, document, score), number) in scores.into_iter().zip(1..) {
            let (query, document) = (query.as_ref(), document.as_ref());
            if score.is_nan() {
                return Err(Error::new(
                    ErrorKind::NonFinite,
                    format!(
                        "the score of document {document} for query {query} is NaN, which has no place in an order"
                    ),
                ));
            }
            builder.add(query, document, score, number);
        }
        Ok(Self::from_builder(builder, name))
    }

    fn from_builder(builder: TableBuilder<f64>, name: &str) -> Self {
        let table = builder.build().sorted_by(|documents| documents.sort_by(trec_order));
        Self { name: name.to_owned(), table }
    }

    /// What people call the run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The queries for which the run found something, in the order in which they appear first.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.table.iter().map(|(query, _)| query)
    }

    /// The documents for a query with their scores, best first, in the order in which they are measured; none if the run
    /// found nothing for it.
    ///
    /// Equal scores are ordered by falling id. Equal means equal as `f32`: trec_eval keeps scores in single precision up to
    /// its version 9, which pytrec_eval is built on.
    pub fn documents(&self, query: &str) -> Option<impl Iterator<Item = (&str, f64)>> {
        self.ranking(query).map(|documents| documents.iter().map(|(document, score)| (&**document, *score)))
    }

    /// The lines that a later one replaced.
    pub fn duplicates(&self) -> &Duplicates {
        self.table.duplicates()
    }

    /// The documents for a query in trec_eval's order.
    pub(super) fn ranking(&self, query: &str) -> Option<&[(Box<str>, f64)]> {
        self.table.get(query)
    }
}

/// trec_eval's order: by falling score in single precision, ties by falling id (bytes).
fn trec_order(a: &(Box<str>, f64), b: &(Box<str>, f64)) -> Ordering {
    falling(f64::from(a.1 as f32), f64::from(b.1 as f32)).then_with(|| b.0.cmp(&a.0))
}

/// The order of the parts of ir_measures that are written in Python: by falling score in double precision, ties by rising
/// id.
pub(super) fn exact_order(a: &(Box<str>, f64), b: &(Box<str>, f64)) -> Ordering {
    falling(a.1, b.1).then_with(|| a.0.cmp(&b.0))
}

fn falling(a: f64, b: f64) -> Ordering {
    // Adding 0 makes -0.0 and 0.0 the same number for `total_cmp`; there is no NaN.
    (b + 0.0).total_cmp(&(a + 0.0))
}

//! Measuring rankings: relevance judgements, runs, measures, and whether two runs differ by more than chance.
//!
//! The numbers are those of [ir_measures](https://ir-measur.es/) 0.4 with pytrec_eval (trec_eval), per query and in the
//! mean, down to what they do with ties, missing queries, duplicates and negative grades:
//!
//! - The mean is over the queries that have judgements. One for which a run found nothing counts as 0; a query without
//!   judgements is left out.
//! - Documents are ordered by falling score, whatever ranks a file has. Scores that are equal as `f32` are ordered by
//!   falling document id, as trec_eval does. `Judged` and `RR@k` come from other code in ir_measures, which orders scores
//!   as `f64` and ties by *rising* id: with ties, `RR@k` may differ from `RR`.
//! - A document without a judgement is not relevant. A negative grade is not relevant and has no gain.
//! - Of two lines for one query and document the last one counts. (ir_measures' `RR@k` takes the greatest grade instead.)
//! - A query without relevant documents has 0 in every measure but `Judged`.
//!
//! ```
//! use crossrank::eval::{Measure, Qrels, Run, evaluate};
//!
//! let qrels = Qrels::read("q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 1\n".as_bytes(), "qrels")?;
//! let run = Run::read("q1 Q0 d2 1 9.5 bm25\nq1 Q0 d1 2 9.1 bm25\n".as_bytes(), "bm25")?;
//! let evaluation = evaluate(&qrels, &run, &["RR@10".parse()?]);
//! assert_eq!(evaluation.scores[0].by_query, [0.5, 0.0]);
//! assert_eq!(evaluation.scores[0].mean, 0.25);
//! # Ok::<(), crossrank::Error>(())
//! ```

mod bootstrap;
mod formula;
mod lines;
mod measure;
mod parse;
mod qrels;
mod run;
mod significance;
mod table;
#[cfg(test)]
mod tests;

pub use bootstrap::bootstrap_interval;
pub use measure::Measure;
pub use qrels::Qrels;
pub use run::Run;
pub use significance::{Difference, SignificanceOptions, TTest, compare_runs, holm, paired_t_test};
pub use table::Duplicates;

use formula::Judgements;

use crate::error::Result;

/// A run's values of some measures.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The name of the run.
    pub run: String,
    /// The queries that have judgements, in the order of the judgements' file.
    pub queries: Vec<String>,
    /// One for each measure, in their order.
    pub scores: Vec<MeasureScores>,
    /// How many of the queries have no document in the run: they count as 0.
    pub missing_queries: usize,
    /// How many queries of the run have no judgement: they are left out.
    pub unjudged_queries: usize,
}

/// A measure's values for one run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MeasureScores {
    /// The measure.
    pub measure: Measure,
    /// Its value for each of [`Evaluation::queries`].
    pub by_query: Vec<f64>,
    /// The mean of those.
    pub mean: f64,
}

/// Measures a run. See the [module](self) for what is counted how.
pub fn evaluate(qrels: &Qrels, run: &Run, measures: &[Measure]) -> Evaluation {
    let mut by_query: Vec<Vec<f64>> = vec![Vec::new(); measures.len()];
    let mut queries = Vec::new();
    let mut missing_queries = 0;
    for (query, judged) in qrels.iter() {
        queries.push(query.to_owned());
        let Some(documents) = run.ranking(query) else {
            missing_queries += 1;
            by_query.iter_mut().for_each(|values| values.push(0.0));
            continue;
        };
        let grade = |(document, _): &(Box<str>, f64)| qrels::grade(judged, document);
        let mut exact: Vec<&(Box<str>, f64)> = documents.iter().collect();
        exact.sort_by(|a, b| run::exact_order(a, b));
        let judgements = Judgements {
            found: &documents.iter().map(grade).collect::<Vec<_>>(),
            found_exact: &exact.into_iter().map(grade).collect::<Vec<_>>(),
            judged: &judged.iter().map(|(_, grade)| *grade).collect::<Vec<_>>(),
        };
        for (measure, values) in measures.iter().zip(&mut by_query) {
            values.push(formula::value(measure, &judgements));
        }
    }
    let scores = measures.iter().zip(by_query).map(|(measure, by_query)| MeasureScores {
        measure: measure.clone(),
        mean: mean(&by_query),
        by_query,
    });
    Evaluation {
        run: run.name().to_owned(),
        scores: scores.collect(),
        queries,
        missing_queries,
        unjudged_queries: run.queries().filter(|query| !qrels.has(query)).count(),
    }
}

impl Measure {
    /// The measures of a text with blanks between them, each one once, in the text's order.
    ///
    /// # Errors
    ///
    /// As for parsing a single one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let mut measures = Vec::new();
        for name in parse::split(text) {
            let measure = name.parse()?;
            if !measures.contains(&measure) {
                measures.push(measure);
            }
        }
        Ok(measures)
    }
}

/// The arithmetic mean; the callers' lists are not empty.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

//! Results as columns between tabs.

use std::fmt::Write as _;

use super::{Results, SUMMARY};

/// For one run the lines of ir_measures; for several ones a header and a column a run; then, behind an empty line, the
/// differences from the first run.
pub(super) fn write(results: &Results<'_>, places: i8) -> String {
    let mut text = String::new();
    let query_column = |query: &str| if results.by_query { format!("{query}\t") } else { String::new() };
    // Writing to a String cannot fail.
    let Some(first) = results.evaluations.first() else { return text };
    if results.evaluations.len() > 1 {
        let runs: Vec<String> = results.evaluations.iter().map(|run| cell(&run.run)).collect();
        let _ = writeln!(text, "{}measure\t{}", query_column("query"), runs.join("\t"));
    }
    let mut row = |query: &str, measure: usize, values: Vec<f64>| {
        let values: Vec<String> = values.into_iter().map(|value| number(value, places)).collect();
        let _ = writeln!(text, "{}{}\t{}", query_column(query), first.scores[measure].measure, values.join("\t"));
    };
    if results.by_query {
        for (place, query) in first.queries.iter().enumerate() {
            for measure in 0..first.scores.len() {
                let values = results.evaluations.iter().map(|run| run.scores[measure].by_query[place]);
                row(query, measure, values.collect());
            }
        }
    }
    if results.summary {
        for measure in 0..first.scores.len() {
            row(SUMMARY, measure, results.evaluations.iter().map(|run| run.scores[measure].mean).collect());
        }
    }
    if !results.differences.is_empty() {
        text.push_str("\nmeasure\trun\tdifference\tlow\thigh\tt\tp\tp_holm\n");
    }
    for difference in results.differences {
        let number = |value: f64| number(value, places);
        let defined = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let cells = [
            difference.measure.to_string(),
            cell(&difference.run),
            number(difference.mean),
            number(difference.interval.0),
            number(difference.interval.1),
            defined(difference.t_test.map(|test| number(test.t))),
            defined(difference.t_test.map(|test| probability(test.p, places))),
            defined(difference.p_holm.map(|p| probability(p, places))),
        ];
        let _ = writeln!(text, "{}", cells.join("\t"));
    }
    text
}

/// A name that may hold anything, in one cell.
fn cell(text: &str) -> String {
    super::super::text::one_line(text).into_owned()
}

fn number(value: f64, places: i8) -> String {
    // Negative places are all of them.
    usize::try_from(places).map_or_else(|_| format!("{value:?}"), |places| format!("{value:.places$}"))
}

/// A p-value; one that the places would make 0 has an exponent.
fn probability(p: f64, places: i8) -> String {
    if places >= 0 && p > 0.0 && p < 0.5 * 10f64.powi(-i32::from(places)) {
        format!("{p:.1e}")
    } else {
        number(p, places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        assert_eq!(number(0.676_249_9, 4), "0.6762");
        assert_eq!(number(0.5, 0), "0");
        assert_eq!(number(1.0, -1), "1.0");
        assert_eq!(number(1.0 / 3.0, -1), "0.3333333333333333");
        assert_eq!(probability(0.012_34, 4), "0.0123");
        assert_eq!(probability(3.21e-7, 4), "3.2e-7");
        assert_eq!(probability(0.0, 4), "0.0000");
        assert_eq!(probability(3.21e-7, -1), "3.21e-7");
    }
}

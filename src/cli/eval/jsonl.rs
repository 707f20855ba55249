//! Results as a JSON object a line.

use serde::Serialize;

use super::{Results, SUMMARY};

/// A value, as ir_measures writes it; `run` where there are several.
#[derive(Serialize)]
struct JsonValue<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<&'a str>,
    measure: String,
    value: f64,
}

/// A run's difference from the first one; `null` where the test is not defined.
#[derive(Serialize)]
struct JsonDifference<'a> {
    baseline: &'a str,
    run: &'a str,
    measure: String,
    difference: f64,
    low: f64,
    high: f64,
    t: Option<f64>,
    p: Option<f64>,
    p_holm: Option<f64>,
}

pub(super) fn write(results: &Results<'_>) -> String {
    let mut text = String::new();
    let Some(first) = results.evaluations.first() else { return text };
    for evaluation in results.evaluations {
        let run = (results.evaluations.len() > 1).then_some(evaluation.run.as_str());
        let mut value = |query: &str, measure: &crossrank::eval::Measure, value: f64| {
            let query_id = results.by_query.then_some(query);
            push(&mut text, &JsonValue { run, query_id, measure: measure.to_string(), value });
        };
        if results.by_query {
            for (place, query) in evaluation.queries.iter().enumerate() {
                for scores in &evaluation.scores {
                    value(query, &scores.measure, scores.by_query[place]);
                }
            }
        }
        if results.summary {
            for scores in &evaluation.scores {
                value(SUMMARY, &scores.measure, scores.mean);
            }
        }
    }
    for difference in results.differences {
        let (low, high) = difference.interval;
        push(
            &mut text,
            &JsonDifference {
                baseline: &first.run,
                run: &difference.run,
                measure: difference.measure.to_string(),
                difference: difference.mean,
                low,
                high,
                t: difference.t_test.map(|test| test.t),
                p: difference.t_test.map(|test| test.p),
                p_holm: difference.p_holm,
            },
        );
    }
    text
}

fn push(text: &mut String, value: &impl Serialize) {
    // Our own types have string keys and finite numbers alone: they always serialise.
    text.push_str(&serde_json::to_string(value).unwrap_or_default());
    text.push('\n');
}

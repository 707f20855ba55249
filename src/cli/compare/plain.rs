//! The comparison for a terminal.

use std::fmt::{self, Write as _};

use super::super::text::{milliseconds, one_line};
use super::{Report, Side};
use crossrank::{Case, ComparedCase};

pub(super) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, report);
    text
}

fn write(text: &mut String, report: &Report<'_>) -> fmt::Result {
    writeln!(text, "Using reranker model: {}", report.comparison.reranker)?;
    writeln!(text, "Using embedding model: {}", report.comparison.embedder)?;
    let rule = "=".repeat(70);
    for (case, compared) in report.cases() {
        writeln!(text, "\n{rule}")?;
        writeln!(text, "Case: {}", one_line(&case.name))?;
        writeln!(text, "Query: {}", one_line(&case.query))?;
        writeln!(text, "{rule}")?;
        for side in Side::BOTH {
            writeln!(text, "\n--- {} ---", side.heading())?;
            write_list(text, report, case, compared, side)?;
        }
    }
    write_summary(text, report)
}

fn write_list(text: &mut String, report: &Report<'_>, case: &Case, compared: &ComparedCase, side: Side) -> fmt::Result {
    for (result, rank) in report.shown(side.ranking(compared)).iter().zip(1..) {
        let document = &case.documents[result.index];
        write!(text, "{rank}. [Score: {:.7}]", result.score)?;
        if report.published {
            match side.published(document) {
                Some(score) => write!(text, " [Published: {score:.7}]")?,
                None => write!(text, " [Published: none]")?,
            }
        }
        writeln!(text, " {}", one_line(&document.text))?;
    }
    Ok(())
}

fn write_summary(text: &mut String, report: &Report<'_>) -> fmt::Result {
    writeln!(text, "\n{}\nSummary: do the two orders agree?\n{0}\n", "=".repeat(70))?;
    let width = report.cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0).clamp(4, 40);
    writeln!(text, "{:width$}  Kendall's tau  same first document", "Case")?;
    for (case, compared) in report.cases() {
        let agreement = compared.agreement;
        let tau = agreement.kendall_tau.map_or("-".to_owned(), |tau| format!("{tau:.3}"));
        let same = agreement.same_top_1.map_or("-", |same| if same { "yes" } else { "no" });
        let name: String = one_line(&case.name).chars().take(width).collect();
        writeln!(text, "{name:width$}  {tau:>13}  {same}")?;
    }
    let (same, known) = report.same_top_1();
    writeln!(text, "\nSame first document in {same} of {known}.")?;
    if let Some(tau) = report.mean_kendall_tau() {
        writeln!(text, "Mean Kendall's tau {tau:.3} (1: the same order, 0: unrelated, -1: reversed).")?;
    }
    writeln!(
        text,
        "Bi-encoder: {} texts in {:.1} ms. Cross-encoder: {} pairs in {:.1} ms.",
        report.texts(),
        milliseconds(report.embedding_time()),
        report.pairs(),
        milliseconds(report.reranker_time())
    )?;
    writeln!(
        text,
        "Loading before that: bi-encoder {:.0} ms, cross-encoder {:.0} ms. ONNX Runtime {} on the {}, {} at a time.",
        milliseconds(report.load_times.embedder),
        milliseconds(report.load_times.reranker),
        report.runtime,
        report.reranker.device,
        report.reranker.threads
    )
}

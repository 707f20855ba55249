//! The comparison as Markdown tables.

use std::fmt::{self, Write as _};

use super::super::text::{milliseconds, one_line};
use super::{Report, Side};

pub(super) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, report);
    text
}

fn write(text: &mut String, report: &Report<'_>) -> fmt::Result {
    writeln!(text, "# Bi-encoder and cross-encoder\n")?;
    writeln!(text, "- Using reranker model: {}", cell(&report.comparison.reranker))?;
    writeln!(text, "- Using embedding model: {}", cell(&report.comparison.embedder))?;
    for (case, compared) in report.cases() {
        writeln!(text, "\n## Case: {}\n\nQuery: {}", cell(&case.name), cell(&case.query))?;
        for side in Side::BOTH {
            writeln!(text, "\n### {}\n", side.heading())?;
            let published = if report.published { (" Published |", " ---: |") } else { ("", "") };
            writeln!(text, "| # | Score |{} Document |\n| ---: | ---: |{} --- |", published.0, published.1)?;
            for (result, rank) in report.shown(side.ranking(compared)).iter().zip(1..) {
                let document = &case.documents[result.index];
                write!(text, "| {rank} | {:.7} |", result.score)?;
                if report.published {
                    let score = side.published(document).map_or(String::new(), |score| format!("{score:.7}"));
                    write!(text, " {score} |")?;
                }
                writeln!(text, " {} |", cell(&document.text))?;
            }
        }
    }
    writeln!(text, "\n## Summary\n\n| Case | Kendall's tau | Same first document |\n| --- | ---: | --- |")?;
    for (case, compared) in report.cases() {
        let agreement = compared.agreement;
        let tau = agreement.kendall_tau.map_or(String::new(), |tau| format!("{tau:.3}"));
        let same = agreement.same_top_1.map_or("", |same| if same { "yes" } else { "no" });
        writeln!(text, "| {} | {tau} | {same} |", cell(&case.name))?;
    }
    writeln!(
        text,
        "\nBi-encoder: {} texts in {:.1} ms. Cross-encoder: {} pairs in {:.1} ms. ONNX Runtime {} on the {}, {} at a time.",
        report.texts(),
        milliseconds(report.embedding_time()),
        report.pairs(),
        milliseconds(report.reranker_time()),
        report.runtime,
        report.reranker.device,
        report.reranker.threads
    )
}

/// A text that is safe in a table's cell: on one line, with nothing that Markdown or HTML would read as markup.
pub(super) fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_no_markup() {
        assert_eq!(cell("a|b\n<i>*x*"), "a\\|b &lt;i&gt;\\*x\\*");
    }
}

//! The experiment for a terminal.

use std::fmt::{self, Write as _};

use super::super::super::text::one_line;
use super::results::{CaseDocument, Experiment, Kind, QueryCase};
use super::table::{Table, notes, tables};

pub(super) fn render(experiment: &Experiment) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, experiment);
    text
}

fn write(text: &mut String, experiment: &Experiment) -> fmt::Result {
    for note in notes(experiment) {
        writeln!(text, "{}", one_line(&note))?;
    }
    for table in tables(experiment) {
        write_table(text, &table)?;
    }
    for (title, cases) in [
        ("Where the cross-encoder helps most", &experiment.helped),
        ("Where the cross-encoder hurts most", &experiment.hurt),
    ] {
        writeln!(text, "\n{}\n{title} ({})\n{0}", "=".repeat(70), experiment.measures[0])?;
        if cases.is_empty() {
            writeln!(text, "\nnowhere")?;
        }
        for case in cases {
            write_case(text, case)?;
        }
    }
    Ok(())
}

fn write_table(text: &mut String, table: &Table) -> fmt::Result {
    let lines = || std::iter::once(&table.header).chain(&table.rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.header.len()).map(width).collect();
    writeln!(text, "\n{}\n", table.title)?;
    for line in lines() {
        let mut shown = String::new();
        for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
            match index {
                0 => write!(shown, "{cell:<width$}")?,
                _ => write!(shown, "  {cell:>width$}")?,
            }
        }
        writeln!(text, "{}", shown.trim_end())?;
    }
    Ok(())
}

/// Characters of a document that are shown.
const EXCERPT: usize = 160;

fn write_case(text: &mut String, case: &QueryCase) -> fmt::Result {
    writeln!(text, "\nQuery {}: {}", one_line(&case.id), one_line(&case.text))?;
    let values: Vec<String> =
        Kind::ALL.iter().zip(case.values).map(|(kind, value)| format!("{} {value:.4}", kind.name())).collect();
    writeln!(text, "  {}", values.join(", "))?;
    writeln!(text, "  ranks: first stage, bi-encoder, cross-encoder, cascade, fusion; grade; score")?;
    for CaseDocument { id, text: of_document, grade, ranks, logit, .. } in &case.documents {
        let ranks: Vec<String> = ranks.iter().map(|rank| format!("{rank:>3}")).collect();
        let grade = grade.map_or("-".to_owned(), |grade| grade.to_string());
        let mut excerpt: String = one_line(of_document).chars().take(EXCERPT).collect();
        if excerpt.len() < of_document.len() {
            excerpt.push('…');
        }
        writeln!(text, "  {}  grade {grade:>2}  {logit:>7.3}  {}: {excerpt}", ranks.join(" "), one_line(id))?;
    }
    Ok(())
}

//! The experiment as Markdown tables.

use std::fmt::{self, Write as _};

use super::super::markdown::cell;
use super::results::{CaseDocument, Experiment, Kind, QueryCase};
use super::table::{Table, notes, tables};

pub(super) fn render(experiment: &Experiment) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, experiment);
    text
}

fn write(text: &mut String, experiment: &Experiment) -> fmt::Result {
    writeln!(text, "# First stage, bi-encoder, cross-encoder, cascade and fusion\n")?;
    for note in notes(experiment) {
        writeln!(text, "- {}", cell(&note))?;
    }
    for table in tables(experiment) {
        write_table(text, &table)?;
    }
    for (title, cases) in [
        ("Where the cross-encoder helps most", &experiment.helped),
        ("Where the cross-encoder hurts most", &experiment.hurt),
    ] {
        writeln!(text, "\n## {title} ({})", experiment.measures[0])?;
        if cases.is_empty() {
            writeln!(text, "\nNowhere.")?;
        }
        for case in cases {
            write_case(text, case)?;
        }
    }
    Ok(())
}

fn write_table(text: &mut String, table: &Table) -> fmt::Result {
    writeln!(text, "\n## {}\n", cell(&table.title))?;
    write_row(text, &table.header)?;
    let numbers = " ---: |".repeat(table.header.len() - 1);
    writeln!(text, "| --- |{numbers}")?;
    table.rows.iter().try_for_each(|row| write_row(text, row))
}

fn write_row(text: &mut String, row: &[String]) -> fmt::Result {
    let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
    writeln!(text, "| {} |", cells.join(" | "))
}

fn write_case(text: &mut String, case: &QueryCase) -> fmt::Result {
    writeln!(text, "\n### Query {}: {}\n", cell(&case.id), cell(&case.text))?;
    let values: Vec<String> =
        Kind::ALL.iter().zip(case.values).map(|(kind, value)| format!("{} {value:.4}", kind.name())).collect();
    writeln!(text, "{}\n", values.join(", "))?;
    writeln!(
        text,
        "| first stage | bi-encoder | cross-encoder | cascade | fusion | grade | similarity | logit | document |"
    )?;
    writeln!(text, "|{} --- |", " ---: |".repeat(8))?;
    for CaseDocument { id, text: of_document, grade, ranks, similarity, logit, .. } in &case.documents {
        let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
        let grade = grade.map_or("-".to_owned(), |grade| grade.to_string());
        let ranks = ranks.join(" | ");
        writeln!(text, "| {ranks} | {grade} | {similarity:.4} | {logit:.3} | {}: {} |", cell(id), cell(of_document))?;
    }
    Ok(())
}

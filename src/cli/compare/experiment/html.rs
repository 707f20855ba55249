//! The experiment as a page for a browser.

use super::super::super::html::{
    Column, Document, Documents, Facts, Markup, Page, Place, Range, Scale, Slope, SlopeChart, Table as HtmlTable, html,
    interval, passage, thousands,
};
use super::results::{CaseDocument, Experiment, Kind, QueryCase, System};
use super::table::{Table, notes, tables};

const LEFT: &str = "First stage";
const RIGHT: &str = "Cross-encoder";

pub(super) fn render(experiment: &Experiment) -> String {
    let body = html! {
        (results(experiment))
        (cases(experiment, "helps", &experiment.helped))
        (cases(experiment, "hurts", &experiment.hurt))
        (conditions(experiment))
    };
    Page {
        title: "First stage, bi-encoder, cross-encoder, cascade, fusion",
        introduction: introduction(experiment),
        body,
    }
    .render()
}

fn introduction(experiment: &Experiment) -> Markup {
    // Of equal ones the first, which costs the least.
    let best = experiment.systems.iter().rev().max_by(|a, b| a.values[0].mean.total_cmp(&b.values[0].mean));
    let cross_encoder = &experiment.systems[Kind::CrossEncoder as usize].values[0];
    let facts = Facts::default()
        .with("Judged queries", html! { (thousands(experiment.queries)) })
        .with("Pairs", html! { (thousands(experiment.pairs)) })
        .with("Highest mean", html! { (best.map_or("–", |system| system.kind.name())) });
    let facts = match &cross_encoder.against_first_stage {
        None => facts,
        Some(against) => facts.with(
            "Cross-encoder less first stage",
            html! {
                (signed(against.difference.mean)) " "
                (experiment.measures[0].to_string())
                div.detail { (against.wins) " won, " (against.ties) " tied, " (against.losses) " lost" }
            },
        ),
    };
    html! {
        p.lead {
            "The same candidates in five orders: that of the " strong { "first stage" } ", by the similarity of embeddings ("
            strong { "bi-encoder" } "), by the scores of a " strong { "cross-encoder" }
            ", by a " strong { "cascade" } ", where the cross-encoder reads what the bi-encoder finds most similar, and by the "
            strong { "fusion" } " of all three: the sum of their z-scores within the query."
        }
        (facts.render())
    }
}

fn signed(value: f64) -> String {
    format!("{value:+.4}").replace('-', "−")
}

fn results(experiment: &Experiment) -> Markup {
    html! {
        section aria-labelledby="results" {
            h2 id="results" { "Results" }
            @for (index, table) in tables(experiment).iter().enumerate() {
                (of_table(experiment, index, table))
            }
        }
    }
}

/// A table; those of measures, which come first, have a picture of the intervals.
fn of_table(experiment: &Experiment, index: usize, table: &Table) -> Markup {
    let pictures = (index < experiment.measures.len()).then(|| pictures(&experiment.systems, index));
    let mut columns: Vec<Column<'_>> = Vec::new();
    for (place, heading) in table.header.iter().enumerate() {
        columns.push(if place == 0 { Column::words(heading) } else { Column::numbers(heading) });
        if place == 1 && pictures.is_some() {
            columns.push(Column::words("mean and interval"));
        }
    }
    let rows = table.rows.iter().enumerate().map(|(row, cells)| {
        let number = |cell: &String| if cell == "-" { "–".to_owned() } else { cell.replace('-', "−") };
        let mut markup: Vec<Markup> = cells.iter().map(|cell| html! { (number(cell)) }).collect();
        markup[0] = html! { (cells[0]) };
        if let Some(pictures) = &pictures {
            markup.insert(2, pictures[row].clone());
        }
        markup
    });
    HtmlTable { id: &format!("table-{index}"), caption: &table.title, columns: &columns, rows: rows.collect() }.render()
}

fn pictures(systems: &[System], measure: usize) -> Vec<Markup> {
    let values = || systems.iter().map(|system| &system.values[measure]);
    let range = Range::of(values().flat_map(|value| [value.interval.0, value.mean, value.interval.1]));
    values().map(|value| interval(range, value.mean, value.interval)).collect()
}

fn cases(experiment: &Experiment, what: &str, cases: &[QueryCase]) -> Markup {
    html! {
        section aria-labelledby=(what) {
            h2 id=(what) { "Where the cross-encoder " (what) " most" }
            @if cases.is_empty() {
                p { "Nowhere: no query has a " (if what == "helps" { "greater" } else { "lesser" }) " value than in the first stage." }
            } @else {
                p.quiet {
                    "By " (experiment.measures[0].to_string()) ", against the first stage. Of each query the first documents \
                     of the first stage, the bi-encoder and the cross-encoder are shown, and relevant ones."
                }
            }
        }
        @for (index, case) in cases.iter().enumerate() {
            (of_case(experiment, &format!("{what}-{}", index + 1), case))
        }
    }
}

fn of_case(experiment: &Experiment, id: &str, case: &QueryCase) -> Markup {
    let place = |rank: usize, score: f32| Some(Place { rank, score });
    let left = |document: &CaseDocument| place(document.ranks[Kind::FirstStage as usize], document.first_stage as f32);
    let right = |document: &CaseDocument| place(document.ranks[Kind::CrossEncoder as usize], document.logit);
    let slopes: Vec<Slope<'_>> = case
        .documents
        .iter()
        .map(|document| Slope { label: &document.text, left: left(document), right: right(document) })
        .collect();
    let rows = case.documents.iter().map(|document| Document {
        text: &document.text,
        left: left(document),
        right: right(document),
        published: [None; 2],
        notes: Vec::new(),
        remark: Some(remark(document)),
    });
    let facts = Kind::ALL.iter().zip(case.values).fold(Facts::default(), |facts, (kind, value)| {
        facts.with(kind.name(), html! { data.number value=(value) { (format!("{value:.4}")) } })
    });
    html! {
        section.case aria-labelledby=(id) {
            h3 id=(id) dir="auto" { "Query " (case.id) }
            div.query {
                div.quiet { "Query" }
                (passage(&case.text))
            }
            p.quiet { (experiment.measures[0].to_string()) ":" }
            (facts.render())
            (SlopeChart {
                id: &format!("{id}-chart"),
                title: "Places in the two orders",
                left: LEFT,
                right: RIGHT,
                noun: "documents",
                slopes: &slopes,
            }.render())
            (Documents {
                id: &format!("{id}-documents"),
                caption: "Documents in the cross-encoder’s order",
                left: LEFT,
                left_scale: Scale::of(case.documents.iter().map(|document| document.first_stage as f32)),
                right: RIGHT,
                right_scale: Scale::of(case.documents.iter().map(|document| document.logit)),
                rows: rows.collect(),
            }.render())
        }
    }
}

fn remark(document: &CaseDocument) -> String {
    let judgement = match document.grade {
        None => "not judged".to_owned(),
        Some(grade) if grade > 0 => format!("relevant (grade {grade})"),
        Some(grade) => format!("not relevant (grade {grade})"),
    };
    format!(
        "{}: {judgement}; similarity {:.4}, place {} by the bi-encoder, {} in the cascade, {} by the fusion.",
        document.id,
        document.similarity,
        document.ranks[Kind::BiEncoder as usize],
        document.ranks[Kind::Cascade as usize],
        document.ranks[Kind::Fusion as usize]
    )
}

fn conditions(experiment: &Experiment) -> Markup {
    html! {
        section aria-labelledby="conditions" {
            h2 id="conditions" { "Models and run" }
            ul { @for note in notes(experiment) { li { (note) } } }
        }
    }
}

//! The comparison as a page for a browser.

use std::time::Duration;

use super::super::html::{
    Column, Document, Documents, Facts, Markup, Page, Place, Scale, Slope, SlopeChart, Table, duration, excerpt, html,
    passage, thousands,
};
use super::super::models::Cut;
use super::super::text::count;
use super::{Report, Side};
use crossrank::{Case, ComparedCase, LongDocuments, ModelInfo, Ranking, TruncatedDocument};

/// What the two orders are called in the page.
const LEFT: &str = "Bi-encoder";
const RIGHT: &str = "Cross-encoder";

/// The most characters of a case's name in a heading.
const HEADING: usize = 120;
/// And in a table.
const CELL: usize = 48;

pub(super) fn render(report: &Report<'_>) -> String {
    let scales = Scales::of(report);
    let body = html! {
        (summary(report))
        @for (index, (case, compared)) in report.cases().enumerate() {
            (section(report, &scales, index, case, compared))
        }
        (run(report, &scales))
    };
    Page { title: "Bi-encoder and cross-encoder", introduction: introduction(report), body }.render()
}

/// What the bars reach to: the same in every case, so that bars can be compared.
struct Scales {
    embedding: Scale,
    reranker: Scale,
}

impl Scales {
    fn of(report: &Report<'_>) -> Self {
        let scale = |side: Side| {
            let cases = report.comparison.cases.iter();
            Scale::of(cases.flat_map(|compared| side.ranking(compared).iter().map(|result| result.score)))
        };
        Self { embedding: scale(Side::Embedding), reranker: scale(Side::Reranker) }
    }
}

fn introduction(report: &Report<'_>) -> Markup {
    html! {
        p.lead {
            "The same documents in two orders: by the similarity of embeddings, where a " strong { "bi-encoder" }
            " reads each text alone, and by the scores of a " strong { "cross-encoder" }
            ", which reads the query and a document together."
        }
        (Facts::default()
            .with("Same first document", html! { (same_first(report)) })
            .with("Mean Kendall’s tau", tau(report.mean_kendall_tau()))
            .with(LEFT, model(&report.comparison.embedder, timed(report.texts(), "text", report.embedding_time())))
            .with(RIGHT, model(&report.comparison.reranker, timed(report.pairs(), "pair", report.reranker_time())))
            .render())
    }
}

fn model(title: &str, work: Markup) -> Markup {
    html! { (work) div.detail { (title) } }
}

fn same_first(report: &Report<'_>) -> String {
    let (same, known) = report.same_top_1();
    format!("{same} of {}", count(known, "case"))
}

fn timed(n: usize, noun: &str, time: Duration) -> Markup {
    html! { (thousands(n)) " " (noun) @if n != 1 { "s" } " in " (duration(time)) }
}

/// Kendall's tau: exact for programs, with three decimals for people.
fn tau(value: Option<f64>) -> Markup {
    html! {
        @match value {
            Some(value) => data.number value=(value) { (format!("{value:.3}").replace('-', "−")) },
            None => span title="not defined" { "–" span.unseen { " not defined" } },
        }
    }
}

fn yes_or_no(value: Option<bool>) -> &'static str {
    value.map_or("–", |yes| if yes { "yes" } else { "no" })
}

/// What people call a case, in a few words.
fn name(case: &Case, index: usize, characters: usize) -> String {
    let name = excerpt(&case.name, characters);
    if name.is_empty() { format!("Case {}", index + 1) } else { name }
}

fn id(index: usize) -> String {
    format!("case-{}", index + 1)
}

fn summary(report: &Report<'_>) -> Markup {
    let columns = [
        Column::words("Case"),
        Column::numbers("Kendall’s tau"),
        Column::words("Same first document"),
        Column::numbers("Documents"),
        Column::numbers("Cut"),
        Column::numbers("Not scored"),
        Column::numbers("Bi-encoder time"),
        Column::numbers("Cross-encoder time"),
    ];
    let row = |(index, (case, compared)): (usize, (&Case, &ComparedCase))| {
        let documents = documents(report, case, compared);
        let cut = documents.iter().filter(|document| document.cut.iter().any(Option::is_some)).count();
        let failed = documents.iter().filter(|document| document.failures.iter().any(Option::is_some)).count();
        vec![
            html! { a href={ "#" (id(index)) } dir="auto" { (name(case, index, CELL)) } },
            tau(compared.agreement.kendall_tau),
            html! { (yes_or_no(compared.agreement.same_top_1)) },
            html! { (thousands(case.documents.len())) },
            html! { (thousands(cut)) },
            html! { (thousands(failed)) },
            duration(compared.embedding_time),
            duration(compared.reranker_time),
        ]
    };
    let rows = report.cases().enumerate().map(row).collect();
    html! {
        section aria-labelledby="summary" {
            h2 id="summary" { "Do the two orders agree?" }
            (Table { id: "summary-table", caption: "Agreement and time, by case", columns: &columns, rows }.render())
            p.quiet {
                "Kendall’s tau compares two orders: 1 is the same order, 0 is unrelated, −1 is reversed. Documents that one of \
                 the two could not score are left out of it."
            }
        }
    }
}

/// A document of a case, as both sides saw it.
struct Seen<'a> {
    index: usize,
    text: &'a str,
    places: [Option<Place>; 2],
    windows: [Option<String>; 2],
    published: [Option<f32>; 2],
    cut: [Option<&'a TruncatedDocument>; 2],
    failures: [Option<String>; 2],
}

/// The documents of a case, in its order.
fn documents<'a>(report: &Report<'_>, case: &'a Case, compared: &'a ComparedCase) -> Vec<Seen<'a>> {
    let mut documents: Vec<Seen<'_>> = case
        .documents
        .iter()
        .enumerate()
        .map(|(index, document)| Seen {
            index,
            text: &document.text,
            places: [None; 2],
            windows: [None, None],
            published: Side::BOTH.map(|side| side.published(document).filter(|_| report.published)),
            cut: [None; 2],
            failures: [None, None],
        })
        .collect();
    for (at, side) in Side::BOTH.into_iter().enumerate() {
        let ranking = side.ranking(compared);
        for (result, rank) in ranking.iter().zip(1..) {
            let document = &mut documents[result.index];
            document.places[at] = Some(Place { rank, score: result.score });
            document.windows[at] = result.window.map(|window| {
                format!("Read in {} windows; window {} has the greatest score.", window.of, window.number)
            });
        }
        for cut in ranking.truncated() {
            documents[cut.index].cut[at] = Some(cut);
        }
        for failure in ranking.failures() {
            if let Some(document) = failure.document().and_then(|index| documents.get_mut(index)) {
                document.failures[at] = Some(failure.chain());
            }
        }
    }
    documents
}

impl Seen<'_> {
    /// What the page says beside the text.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (at, whose) in ["the bi-encoder", "the cross-encoder"].into_iter().enumerate() {
            if let Some(failure) = &self.failures[at] {
                notes.push(format!("Not scored by {whose}: {failure}"));
            }
            if let Some(cut) = self.cut[at] {
                let at_least = if cut.at_least { "at least " } else { "" };
                notes.push(format!("Cut: {whose} did not see {at_least}{}.", count(cut.dropped_tokens, "token")));
            }
            notes.extend(self.windows[at].clone());
        }
        notes
    }
}

fn section(report: &Report<'_>, scales: &Scales, index: usize, case: &Case, compared: &ComparedCase) -> Markup {
    let id = id(index);
    let name = name(case, index, HEADING);
    let all = documents(report, case, compared);
    let total = all.len();
    let shown = shown(report, compared, all);
    let slopes: Vec<Slope<'_>> =
        shown.iter().map(|seen| Slope { label: seen.text, left: seen.places[0], right: seen.places[1] }).collect();
    html! {
        section.case aria-labelledby=(id) {
            h2 id=(id) dir="auto" { (name) }
            @if excerpt(&case.name, usize::MAX) != name && !case.name.trim().is_empty() {
                p.quiet { "The whole name: " } (passage(&case.name))
            }
            div.query {
                div.quiet { "Query" }
                (passage(&case.query))
            }
            (Facts::default()
                .with("Kendall’s tau", tau(compared.agreement.kendall_tau))
                .with("Same first document", html! { (yes_or_no(compared.agreement.same_top_1)) })
                .with(LEFT, timed(total + 1, "text", compared.embedding_time))
                .with(RIGHT, timed(total, "pair", compared.reranker_time))
                .render())
            @if total == 0 {
                p { "This case has no documents." }
            } @else {
                (warnings(report, compared))
                @if shown.len() < total {
                    p.quiet {
                        "Here are the first " (thousands(report.top_n)) " of each order: " (thousands(shown.len())) " of "
                        (thousands(total)) " documents, with their places in both."
                    }
                }
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
                    left_scale: scales.embedding,
                    right: RIGHT,
                    right_scale: scales.reranker,
                    rows: shown.iter().map(row).collect(),
                }.render())
            }
        }
    }
}

/// All documents, or those that are among the first of one of the two orders.
fn shown<'a>(report: &Report<'_>, compared: &ComparedCase, all: Vec<Seen<'a>>) -> Vec<Seen<'a>> {
    if report.top_n >= all.len() {
        return all;
    }
    let mut first = vec![false; all.len()];
    for side in Side::BOTH {
        for result in report.shown(side.ranking(compared)) {
            first[result.index] = true;
        }
    }
    all.into_iter().filter(|seen| first[seen.index]).collect()
}

fn row<'a>(seen: &Seen<'a>) -> Document<'a> {
    Document {
        text: seen.text,
        left: seen.places[0],
        right: seen.places[1],
        published: seen.published,
        notes: seen.notes(),
        remark: None,
    }
}

/// What went wrong in a case: documents that were cut, and documents without a score.
fn warnings(report: &Report<'_>, compared: &ComparedCase) -> Markup {
    let sides = [
        (&compared.embedding, "the bi-encoder", report.embedder.max_length),
        (&compared.reranker, "the cross-encoder", report.reranker.max_length),
    ];
    let mut cut = Vec::new();
    let mut failures = Vec::new();
    for (ranking, whose, limit) in sides {
        cut.extend(Cut::of(ranking.truncated()).in_words(whose, limit));
        failures.extend(failed(ranking, whose));
    }
    html! {
        @if cut.is_empty() && failures.is_empty() {
            p.quiet { "Every document was scored by both, and none was cut." }
        } @else {
            ul.warnings aria-label="Warnings" {
                @for text in cut { li { strong { "Warning: " } (text) "." } }
                @for failure in failures { li { (failure) } }
            }
        }
    }
}

fn failed(ranking: &Ranking, whose: &str) -> Option<Markup> {
    let failures = ranking.failures();
    (!failures.is_empty()).then(|| {
        html! {
            strong { "Error: " } (count(failures.len(), "document")) " could not be scored by " (whose) "."
            details {
                summary { "Why" }
                ul { @for failure in failures { li { (failure.chain()) } } }
            }
        }
    })
}

/// How all this was made.
fn run(report: &Report<'_>, scales: &Scales) -> Markup {
    let columns = [Column::words("What"), Column::words(LEFT), Column::words(RIGHT)];
    let models = [report.embedder, report.reranker];
    let each = |of: fn(&ModelInfo) -> Option<String>| models.map(of);
    let length =
        |model: &ModelInfo| Some(format!("{} ({})", count(model.max_length, "token"), model.max_length_source));
    let windows = Some(report.reranker.long_documents).filter(|long| *long != LongDocuments::Truncate);
    let mut rows: Vec<Vec<Markup>> = [
        ("Model", each(|model| Some(model.name.clone()))),
        ("Commit", each(|model| model.commit.clone())),
        ("Architecture", each(|model| model.architecture.clone())),
        ("Precision of the weights", each(|model| Some(model.precision.clone()))),
        ("Computed in", each(|model| Some(model.compute.name().to_owned()))),
        ("Kernels", each(|model| Some(model.kernels.to_owned()))),
        ("Longest input", each(length)),
        ("Long documents", [None, windows.map(|long| long.to_string())]),
        ("Pooling", each(|model| model.pooling.clone())),
        ("Dimensions", each(|model| model.dimensions.map(|n| n.to_string()))),
        ("Score", [Some("cosine similarity".to_owned()), Some(reranker_score(report))]),
        ("Bars", [Some(scales.embedding.describe()), Some(scales.reranker.describe())]),
        ("Device", each(|model| Some(model.device.to_owned()))),
        ("Threads", each(|model| Some(model.threads.to_string()))),
    ]
    .into_iter()
    // A row in which neither model has something to say is left out.
    .filter(|(_, values)| values.iter().any(Option::is_some))
    .map(|(what, values)| {
        let [left, right] = values.map(|value| html! { (value.as_deref().unwrap_or("–")) });
        vec![html! { (what) }, left, right]
    })
    .collect();
    let times = [
        ("Loading", report.load_times.embedder, report.load_times.reranker),
        ("Scoring", report.embedding_time(), report.reranker_time()),
    ];
    rows.extend(times.map(|(what, left, right)| vec![html! { (what) }, duration(left), duration(right)]));
    html! {
        section aria-labelledby="run" {
            h2 id="run" { "Models and run" }
            (Table { id: "run-table", caption: "The two models", columns: &columns, rows }.render())
            p {
                "ONNX Runtime " (report.runtime) ", crossrank " (env!("CARGO_PKG_VERSION")) ". Scores are rounded in this \
                 page; the exact ones are in its source, and in the output of " code { "--format json" } "."
                @if report.published {
                    " Published scores are those that the cases came with; other models made them."
                }
            }
        }
    }
}

fn reranker_score(report: &Report<'_>) -> String {
    match report.reranker.activation {
        _ if report.raw_scores => "raw logits".to_owned(),
        Some(activation) => activation.to_string(),
        None => "as the model gives it".to_owned(),
    }
}

//! The experiment's tables, for every form of report that has tables.

use super::results::{Against, Experiment, Kind, SYSTEMS, System, Value};

/// Rows of cells under a header. The first column is text, the others are numbers.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// All tables of an experiment.
pub(super) fn tables(experiment: &Experiment) -> Vec<Table> {
    let mut tables: Vec<Table> =
        (0..experiment.measures.len()).map(|measure| of_measure(experiment, measure)).collect();
    tables.push(costs(experiment));
    tables.push(agreement(experiment));
    tables
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A measure of all systems, and how they differ from the first stage and the bi-encoder.
fn of_measure(experiment: &Experiment, measure: usize) -> Table {
    let row = |system: &System| {
        let Value { mean, interval, against_first_stage, against_bi_encoder } = &system.values[measure];
        let mut row = vec![system.kind.name().to_owned(), format!("{mean:.4}"), of_interval(*interval)];
        row.extend(against(against_first_stage.as_ref()));
        row.extend(against(against_bi_encoder.as_ref()));
        row
    };
    Table {
        title: experiment.measures[measure].to_string(),
        header: cells([
            "system",
            "mean",
            "95 % interval",
            "- first stage",
            "p (Holm)",
            "won/tied/lost",
            "- bi-encoder",
            "p (Holm)",
            "won/tied/lost",
        ]),
        rows: experiment.systems.iter().map(row).collect(),
    }
}

fn of_interval((low, high): (f64, f64)) -> String {
    format!("{low:.4} to {high:.4}")
}

fn against(against: Option<&Against>) -> [String; 3] {
    match against {
        None => ["", "", ""].map(str::to_owned),
        Some(Against { difference, wins, ties, losses }) => [
            format!("{:+.4}", difference.mean),
            difference.p_holm.map_or("-".to_owned(), p_value),
            format!("{wins}/{ties}/{losses}"),
        ],
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}

fn costs(experiment: &Experiment) -> Table {
    let row = |system: &System| {
        let seconds = system.core_seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1}"));
        let pairs = match system.kind {
            Kind::FirstStage | Kind::BiEncoder => "-".to_owned(),
            Kind::CrossEncoder | Kind::Fusion => format!("{:.1}", experiment.pairs as f64 / judged(experiment)),
            Kind::Cascade => format!("{:.1}", experiment.costs.cascade_pairs),
        };
        vec![system.kind.name().to_owned(), seconds, pairs]
    };
    Table {
        title: "Cost".to_owned(),
        header: cells(["system", "core-seconds for 1,000 queries", "pairs a query"]),
        rows: experiment.systems.iter().map(row).collect(),
    }
}

/// The queries that were run.
fn judged(experiment: &Experiment) -> f64 {
    (experiment.queries - experiment.missing_queries).max(1) as f64
}

fn agreement(experiment: &Experiment) -> Table {
    let names = Kind::ALL.map(Kind::name);
    let mut header = vec!["Kendall's tau".to_owned()];
    header.extend(names.map(str::to_owned));
    let row = |(name, taus): (&str, &[Option<f64>; SYSTEMS])| {
        let mut row = vec![name.to_owned()];
        row.extend(taus.iter().map(|tau| tau.map_or("-".to_owned(), |tau| format!("{tau:.3}"))));
        row
    };
    Table {
        title: "Agreement of the orders (mean over queries)".to_owned(),
        header,
        rows: names.into_iter().zip(&experiment.taus).map(row).collect(),
    }
}

/// What the numbers stand on, a line each.
pub(super) fn notes(experiment: &Experiment) -> Vec<String> {
    let Experiment { conditions, costs, queries, missing_queries, pairs, .. } = experiment;
    let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let mut notes = vec![
        format!(
            "First stage: {}, the first {} documents of each query; corpus: {}, {} documents.",
            conditions.first_stage, conditions.depth, conditions.corpus, conditions.documents
        ),
        format!("Cross-encoder: {}.", conditions.reranker),
        format!("Bi-encoder: {}.", conditions.embedder),
        format!("ONNX Runtime {} on the {}, {} at a time.", conditions.runtime, conditions.device, conditions.threads),
        format!(
            "{queries} judged queries, {pairs} pairs. Cross-encoder: {} pairs/s. Bi-encoder: {} documents/s ({} documents, each \
             embedded once).",
            rate(costs.pairs_per_second),
            rate(costs.documents_per_second),
            costs.embedded
        ),
        "Intervals: bootstrap over queries (10,000 resamples). p: paired t-test, with Holm's correction over the systems that \
         are compared with the same one. Costs: wall time times threads, with documents' embeddings in an index; of the \
         cascade, the candidates' part of the time of all pairs. Fusion: the sum of the z-scores, within each query, of first \
         stage, bi-encoder and cross-encoder."
            .to_owned(),
    ];
    if *missing_queries > 0 {
        notes.push(format!(
            "{missing_queries} of the judged queries have no results in the first stage, and count as 0."
        ));
    }
    notes
}

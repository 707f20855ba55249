//! The experiment as one JSON object.

use serde::Serialize;

use super::super::super::output;
use super::results::{Against, CaseDocument, Experiment, Kind, QueryCase, SYSTEMS};

#[derive(Serialize)]
struct Root<'a> {
    reranker: &'a str,
    embedder: &'a str,
    onnxruntime: &'a str,
    device: &'a str,
    threads: usize,
    first_stage: &'a str,
    corpus: &'a str,
    corpus_documents: u64,
    depth: usize,
    cascade: String,
    queries: usize,
    missing_queries: usize,
    pairs: usize,
    pairs_per_second: Option<f64>,
    documents_embedded: usize,
    documents_per_second: Option<f64>,
    systems: Vec<JsonSystem<'a>>,
    /// Mean Kendall's tau, for each two systems.
    kendall_tau: Vec<JsonTau>,
    helped: Vec<JsonCase<'a>>,
    hurt: Vec<JsonCase<'a>>,
}

#[derive(Serialize)]
struct JsonSystem<'a> {
    system: &'static str,
    core_seconds_per_1000_queries: Option<f64>,
    measures: Vec<JsonValue<'a>>,
}

#[derive(Serialize)]
struct JsonValue<'a> {
    measure: String,
    mean: f64,
    low: f64,
    high: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    against: Vec<JsonAgainst<'a>>,
}

#[derive(Serialize)]
struct JsonAgainst<'a> {
    baseline: &'a str,
    difference: f64,
    low: f64,
    high: f64,
    t: Option<f64>,
    p: Option<f64>,
    p_holm: Option<f64>,
    wins: usize,
    ties: usize,
    losses: usize,
}

#[derive(Serialize)]
struct JsonTau {
    systems: [&'static str; 2],
    kendall_tau: Option<f64>,
}

#[derive(Serialize)]
struct JsonCase<'a> {
    query_id: &'a str,
    query: &'a str,
    /// The first measure for each system.
    values: [f64; SYSTEMS],
    documents: Vec<JsonDocument<'a>>,
}

#[derive(Serialize)]
struct JsonDocument<'a> {
    id: &'a str,
    grade: Option<i64>,
    ranks: [usize; SYSTEMS],
    first_stage: f64,
    similarity: f32,
    logit: f32,
    text: &'a str,
}

pub(super) fn render(experiment: &Experiment) -> String {
    let Experiment { conditions, costs, .. } = experiment;
    let names = Kind::ALL.map(Kind::name);
    let pairs = (0..SYSTEMS).flat_map(|a| (a + 1..SYSTEMS).map(move |b| (a, b)));
    let tau = |(a, b): (usize, usize)| JsonTau { systems: [names[a], names[b]], kendall_tau: experiment.taus[a][b] };
    output::json(&Root {
        reranker: &conditions.reranker,
        embedder: &conditions.embedder,
        onnxruntime: &conditions.runtime,
        device: conditions.device,
        threads: conditions.threads,
        first_stage: &conditions.first_stage,
        corpus: &conditions.corpus,
        corpus_documents: conditions.documents,
        depth: conditions.depth,
        cascade: format!("{:?}", conditions.cascade),
        queries: experiment.queries,
        missing_queries: experiment.missing_queries,
        pairs: experiment.pairs,
        pairs_per_second: costs.pairs_per_second,
        documents_embedded: costs.embedded,
        documents_per_second: costs.documents_per_second,
        systems: systems(experiment),
        kendall_tau: pairs.map(tau).collect(),
        helped: experiment.helped.iter().map(case).collect(),
        hurt: experiment.hurt.iter().map(case).collect(),
    })
}

fn systems(experiment: &Experiment) -> Vec<JsonSystem<'_>> {
    experiment
        .systems
        .iter()
        .map(|system| JsonSystem {
            system: system.kind.name(),
            core_seconds_per_1000_queries: system.core_seconds,
            measures: system
                .values
                .iter()
                .zip(&experiment.measures)
                .map(|(value, measure)| JsonValue {
                    measure: measure.to_string(),
                    mean: value.mean,
                    low: value.interval.0,
                    high: value.interval.1,
                    against: [
                        (Kind::FirstStage, &value.against_first_stage),
                        (Kind::BiEncoder, &value.against_bi_encoder),
                    ]
                    .into_iter()
                    .filter_map(|(baseline, against)| Some(of_against(baseline, against.as_ref()?)))
                    .collect(),
                })
                .collect(),
        })
        .collect()
}

fn of_against(baseline: Kind, Against { difference, wins, ties, losses }: &Against) -> JsonAgainst<'static> {
    JsonAgainst {
        baseline: baseline.name(),
        difference: difference.mean,
        low: difference.interval.0,
        high: difference.interval.1,
        t: difference.t_test.map(|test| test.t),
        p: difference.t_test.map(|test| test.p),
        p_holm: difference.p_holm,
        wins: *wins,
        ties: *ties,
        losses: *losses,
    }
}

fn case(case: &QueryCase) -> JsonCase<'_> {
    JsonCase {
        query_id: &case.id,
        query: &case.text,
        values: case.values,
        documents: case.documents.iter().map(document).collect(),
    }
}

fn document(document: &CaseDocument) -> JsonDocument<'_> {
    let CaseDocument { id, text, grade, ranks, first_stage, similarity, logit } = document;
    JsonDocument {
        id,
        grade: *grade,
        ranks: *ranks,
        first_stage: *first_stage,
        similarity: *similarity,
        logit: *logit,
        text,
    }
}

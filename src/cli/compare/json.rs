//! The comparison as one JSON object.

use serde::Serialize;

use super::super::output;
use super::super::text::milliseconds;
use super::{Report, Side};
use crossrank::{Agreement, Case, ComparedCase, ModelInfo};

#[derive(Serialize)]
struct Root<'a> {
    reranker: Model<'a>,
    embedder: Model<'a>,
    runtime: Runtime<'a>,
    raw_scores: bool,
    cases: Vec<JsonCase<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    architecture: Option<&'a str>,
    precision: &'a str,
    compute: &'static str,
    max_length: usize,
}

#[derive(Serialize)]
struct Runtime<'a> {
    onnxruntime: &'a str,
    device: &'a str,
    threads: usize,
}

#[derive(Serialize)]
struct JsonCase<'a> {
    name: &'a str,
    query: &'a str,
    embedding: Vec<JsonResult<'a>>,
    reranker: Vec<JsonResult<'a>>,
    #[serde(flatten)]
    agreement: JsonAgreement,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<f32>,
    document: &'a str,
}

#[derive(Serialize)]
struct JsonAgreement {
    kendall_tau: Option<f64>,
    same_top_1: Option<bool>,
}

#[derive(Serialize)]
struct Summary {
    mean_kendall_tau: Option<f64>,
    same_top_1: usize,
    cases: usize,
    embedding_ms: f64,
    reranker_ms: f64,
    embedding_load_ms: f64,
    reranker_load_ms: f64,
}

pub(super) fn render(report: &Report<'_>) -> String {
    let (same_top_1, cases) = report.same_top_1();
    output::json(&Root {
        reranker: model(report.reranker),
        embedder: model(report.embedder),
        runtime: Runtime {
            onnxruntime: report.runtime,
            device: report.reranker.device,
            threads: report.reranker.threads,
        },
        raw_scores: report.raw_scores,
        cases: report.cases().map(|(case, compared)| json_case(report, case, compared)).collect(),
        summary: Summary {
            mean_kendall_tau: report.mean_kendall_tau(),
            same_top_1,
            cases,
            embedding_ms: milliseconds(report.embedding_time()),
            reranker_ms: milliseconds(report.reranker_time()),
            embedding_load_ms: milliseconds(report.load_times.embedder),
            reranker_load_ms: milliseconds(report.load_times.reranker),
        },
    })
}

fn model(info: &ModelInfo) -> Model<'_> {
    Model {
        name: &info.name,
        architecture: info.architecture.as_deref(),
        precision: &info.precision,
        compute: info.compute.name(),
        max_length: info.max_length,
    }
}

fn json_case<'a>(report: &Report<'_>, case: &'a Case, compared: &ComparedCase) -> JsonCase<'a> {
    let results = |side: Side| {
        report
            .shown(side.ranking(compared))
            .iter()
            .map(|result| {
                let document = &case.documents[result.index];
                let published = side.published(document).filter(|_| report.published);
                JsonResult { index: result.index, score: result.score, published, document: &document.text }
            })
            .collect()
    };
    let Agreement { kendall_tau, same_top_1, .. } = compared.agreement;
    JsonCase {
        name: &case.name,
        query: &case.query,
        embedding: results(Side::Embedding),
        reranker: results(Side::Reranker),
        agreement: JsonAgreement { kendall_tau, same_top_1 },
    }
}

//! `POST /rerank` of [Infinity](https://github.com/michaelfeil/infinity), version 0.0.78.
//!
//! One engine is deployed, so that the `model` of a request is not looked at, as with a server of one engine.

use serde::Serialize;
use serde_json::json;

use super::fastapi::{self, Input, Problems};
use super::{Answer, Document, Refusal, Request, identity, json_line};

/// The most characters of a query or a document.
const CHARACTERS: usize = 8192 * 15;

/// The most documents of a request (`INFINITY_MAX_CLIENT_BATCH_SIZE`, by default).
const DOCUMENTS: usize = 2048;

pub(super) fn read(line: &str) -> Result<Request, Refusal> {
    let value = fastapi::parse(line)?;
    let problems = &mut Problems::default();
    let request = validated(Input::whole(&value), problems);
    std::mem::take(problems).refuse_unless(request)
}

fn validated(body: Input<'_>, problems: &mut Problems) -> Option<Request> {
    let fields = body.fields(problems)?;
    let query = fields.required("query", problems).and_then(|query| query.stripped_text(CHARACTERS, problems));
    let document = |document: Input<'_>, problems: &mut Problems| document.stripped_text(CHARACTERS, problems);
    let documents = fields.required("documents", problems).and_then(|list| list.list(DOCUMENTS, problems, document));
    let return_documents = fields.optional("return_documents").and_then(|field| field.boolean(problems));
    let raw_scores = fields.optional("raw_scores").and_then(|field| field.boolean(problems));
    fields.optional("model").and_then(|model| model.text(problems));
    let top_n = fields.optional("top_n").and_then(|field| field.positive(problems));
    let documents = documents?.into_iter().map(Document::text).collect();
    Some(Request { query: query?, documents, top_n, return_documents, raw_scores, ..Request::default() })
}

#[derive(Serialize)]
struct Response<'a> {
    object: &'static str,
    results: Vec<JsonResult<'a>>,
    model: &'a str,
    usage: Usage,
    id: String,
    created: u64,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    /// Python has no shorter floats.
    relevance_score: f64,
    index: usize,
    document: Option<&'a str>,
}

/// Characters, as a server counts that was not started with `--lengths-via-tokenize`.
#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

pub(super) fn write(answer: &Answer<'_>) -> Result<String, Refusal> {
    answer.refuse_failures()?;
    let Request { query, documents, .. } = answer.request;
    let query = query.chars().count();
    let characters = documents.iter().map(|document| query + document.text.chars().count()).sum();
    let results = answer.scored().map(|(index, score)| JsonResult {
        relevance_score: f64::from(score),
        index,
        document: answer.return_documents.then(|| documents[index].text.as_str()),
    });
    Ok(json_line(&Response {
        object: "rerank",
        results: results.collect(),
        model: &answer.server.name,
        usage: Usage { prompt_tokens: characters, total_tokens: characters },
        id: format!("infinity-{}", identity::uuid(answer.line)),
        created: answer.server.created,
    }))
}

pub(super) fn refuse(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Own { body, .. } => body.clone(),
        Refusal::Malformed { .. } => fastapi::detail("There was an error parsing the body"),
        Refusal::Invalid { .. } | Refusal::Failed { .. } => {
            let message = format!("InternalServerError: {}", refusal.message());
            json_line(&json!({ "error": { "message": message, "type": null, "param": null, "code": 500 } }))
        }
    }
}

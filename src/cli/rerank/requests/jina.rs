//! `POST /v1/rerank` of [Jina AI](https://api.jina.ai/redoc).
//!
//! The service is closed: requests and responses are those of its documentation and of its clients, and errors those of
//! FastAPI, in which it is written.

use serde::Serialize;

use super::fastapi::{self, Input, Problems};
use super::{Answer, Document, Refusal, Request, python_json};

/// The most documents of a request.
const DOCUMENTS: usize = 2048;

pub(super) fn read(line: &str) -> Result<Request, Refusal> {
    let value = fastapi::parse(line)?;
    let problems = &mut Problems::default();
    let request = validated(Input::whole(&value), problems);
    std::mem::take(problems).refuse_unless(request)
}

fn validated(body: Input<'_>, problems: &mut Problems) -> Option<Request> {
    let fields = body.fields(problems)?;
    fields.optional("model").and_then(|model| model.text(problems));
    let query = fields.required("query", problems).and_then(|query| text(query, problems));
    let documents = fields.required("documents", problems).and_then(|list| list.list(DOCUMENTS, problems, text));
    let top_n = fields.optional("top_n").and_then(|field| field.positive(problems));
    let return_documents = fields.optional("return_documents").and_then(|field| field.boolean(problems));
    let documents = documents?.into_iter().map(Document::text).collect();
    Some(Request { query: query?, documents, top_n, return_documents, ..Request::default() })
}

/// A text, or an object that has one. (Images are for models that see.)
fn text(input: Input<'_>, problems: &mut Problems) -> Option<String> {
    let text = match input.is_object() {
        true => input.fields(problems)?.required("text", problems)?,
        false => input,
    };
    text.text(problems).map(str::to_owned)
}

#[derive(Serialize)]
struct Response<'a> {
    model: &'a str,
    object: &'static str,
    usage: Usage,
    results: Vec<JsonResult<'a>>,
}

#[derive(Serialize)]
struct Usage {
    total_tokens: usize,
    prompt_tokens: usize,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    index: usize,
    /// Python has no shorter floats.
    relevance_score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<JsonDocument<'a>>,
}

#[derive(Serialize)]
struct JsonDocument<'a> {
    text: &'a str,
}

pub(super) fn write(answer: &Answer<'_>) -> Result<String, Refusal> {
    answer.refuse_failures()?;
    let Request { query, documents, .. } = answer.request;
    let results = answer.scored().map(|(index, score)| JsonResult {
        index,
        relevance_score: f64::from(score),
        document: answer.return_documents.then(|| JsonDocument { text: &documents[index].text }),
    });
    let of_query = answer.count_tokens(query)?;
    let mut tokens = 0;
    for document in documents {
        tokens += of_query + answer.count_tokens(&document.text)?;
    }
    Ok(python_json::to_string(&Response {
        model: &answer.server.name,
        object: "list",
        usage: Usage { total_tokens: tokens, prompt_tokens: tokens },
        results: results.collect(),
    }))
}

pub(super) fn refuse(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Own { body, .. } => body.clone(),
        Refusal::Malformed { .. } => fastapi::detail("There was an error parsing the body"),
        Refusal::Invalid { .. } | Refusal::Failed { .. } => fastapi::detail(&refusal.message()),
    }
}

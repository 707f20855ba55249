//! `POST /v2/rerank` and `POST /v1/rerank` of [Cohere](https://docs.cohere.com/reference/rerank).
//!
//! The service is closed: requests and responses are those of its documentation and of its client for Python, messages
//! those that its documentation lists. The words for a `top_n` of 0, a document without text, and what this program cannot
//! do, are ours.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Answer, Document, Refusal, Request, identity, json_line};
use crate::cli::lines::Line;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Version {
    /// Documents may be objects, and be given back.
    V1,
    V2,
}

/// So many documents are a unit for which the service takes money.
const DOCUMENTS_OF_A_UNIT: usize = 100;

/// `reads` is the most tokens of a pair.
pub(super) fn read(version: Version, line: &str, reads: usize) -> Result<Request, Refusal> {
    let value: Value = serde_json::from_str(line).map_err(|error| Refusal::Malformed { message: error.to_string() })?;
    let invalid = |message: String| Refusal::Invalid { id: None, message };
    let Value::Object(object) = value else {
        return Err(invalid(wrong_type("body", &value, "object")));
    };
    let fields = Fields(object);
    match version {
        Version::V1 => first(&fields),
        Version::V2 => second(&fields, reads),
    }
    .map_err(invalid)
}

fn second(fields: &Fields, reads: usize) -> Result<Request, String> {
    if fields.text("model")?.is_none() {
        return Err("a model parameter is required for this endpoint.".to_owned());
    }
    let query = fields.query()?;
    let documents = fields.documents(|_, document| Err(wrong_type("documents", document, "string")))?;
    if fields.get("relevant_spans").is_some_and(|spans| spans["mode"] != "disabled") {
        return Err("invalid request: relevant_spans is not supported by the provided model".to_owned());
    }
    if let Some(most) = fields.positive("max_tokens_per_doc")? {
        // No token is shorter than a byte.
        if most < reads && documents.iter().any(|document| document.text.len() > most) {
            return Err(format!(
                "invalid request: max_tokens_per_doc must be at least {reads}, the most tokens that this model reads; \
                 documents cannot be cut to {most}"
            ));
        }
    }
    Ok(Request { query, documents, top_n: fields.positive("top_n")?, ..Request::default() })
}

fn first(fields: &Fields) -> Result<Request, String> {
    fields.text("model")?;
    let query = fields.query()?;
    let rank_fields = fields.texts("rank_fields")?;
    if rank_fields.as_ref().is_some_and(Vec::is_empty) {
        return Err(
            "invalid request: rank_fields cannot be empty, it must either contain at least one field or be omitted"
                .into(),
        );
    }
    let rank_fields = rank_fields.unwrap_or_else(|| vec!["text".to_owned()]);
    let documents = fields.documents(|index, document| match document {
        Value::Object(object) => {
            Ok(Document { text: text_of(object, &rank_fields, index)?, object: Some(document.clone()) })
        }
        _ => Err(wrong_type("documents", document, "string")),
    })?;
    // How a long document is read is decided when the model is loaded, not by a request.
    fields.positive("max_chunks_per_doc")?;
    Ok(Request {
        query,
        documents,
        top_n: fields.positive("top_n")?,
        return_documents: fields.boolean("return_documents")?,
        ..Request::default()
    })
}

/// What of a document is ranked: its fields, in the order in which they were asked for.
fn text_of(document: &Map<String, Value>, rank_fields: &[String], index: usize) -> Result<String, String> {
    let mut texts = Vec::new();
    for name in rank_fields {
        match document.get(name) {
            Some(Value::String(text)) => texts.push(text.as_str()),
            Some(Value::Null) | None => {}
            Some(value) => return Err(wrong_type(&format!("documents.{name}"), value, "string")),
        }
    }
    if texts.is_empty() {
        let names = rank_fields.join("', '");
        return Err(format!("invalid request: document at index {index} has no field '{names}'"));
    }
    Ok(texts.join(" "))
}

struct Fields(Map<String, Value>);

impl Fields {
    /// A field; `null` is as good as none.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn read<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong_type(name, value, expected))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        self.read(name, "string", Value::as_str)
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, String> {
        self.read(name, "boolean", Value::as_bool)
    }

    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let Some(list) = self.read(name, "array", Value::as_array)? else { return Ok(None) };
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name, value, "string"));
        list.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// A whole number from 1.
    fn positive(&self, name: &str) -> Result<Option<usize>, String> {
        let number = self.read(name, "integer", |value| value.as_i64())?;
        match number.map(usize::try_from) {
            None => Ok(None),
            Some(Ok(number)) if number > 0 => Ok(Some(number)),
            Some(_) => Err(format!("invalid request: {name} must be at least 1")),
        }
    }

    fn query(&self) -> Result<String, String> {
        match self.text("query")? {
            Some(query) if !query.trim().is_empty() => Ok(query.to_owned()),
            _ => Err("invalid request: query must not be empty or be only whitespace".to_owned()),
        }
    }

    /// The documents, where `other` reads what is no text.
    fn documents(&self, other: impl Fn(usize, &Value) -> Result<Document, String>) -> Result<Vec<Document>, String> {
        let list = self.read("documents", "array", Value::as_array)?;
        let Some(list) = list.filter(|list| !list.is_empty()) else {
            return Err("invalid request: list of documents must not be empty".to_owned());
        };
        let read = |(index, value): (usize, &Value)| {
            let document = match value {
                Value::String(text) => Document::text(text.clone()),
                value => other(index, value)?,
            };
            match document.text.is_empty() {
                true => Err(format!("invalid request: document at index {index} cannot be empty")),
                false => Ok(document),
            }
        };
        list.iter().enumerate().map(read).collect()
    }
}

fn wrong_type(name: &str, value: &Value, expected: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("invalid type: parameter {name} is of type {found} but should be of type {expected}.")
}

#[derive(Serialize)]
struct Response<'a> {
    id: String,
    results: Vec<JsonResult<'a>>,
    meta: Meta,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<JsonDocument<'a>>,
    index: usize,
    relevance_score: f32,
}

/// A text is given back as an object that has it.
#[derive(Serialize)]
#[serde(untagged)]
enum JsonDocument<'a> {
    Text { text: &'a str },
    Object(&'a Value),
}

#[derive(Serialize)]
struct Meta {
    api_version: ApiVersion,
    billed_units: BilledUnits,
}

#[derive(Serialize)]
struct ApiVersion {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_experimental: Option<bool>,
}

#[derive(Serialize)]
struct BilledUnits {
    search_units: usize,
}

pub(super) fn write(version: Version, answer: &Answer<'_>) -> Result<String, Refusal> {
    answer.refuse_failures()?;
    let documents = &answer.request.documents;
    let document = |index: usize| match &documents[index] {
        Document { object: Some(object), .. } => JsonDocument::Object(object),
        Document { text, .. } => JsonDocument::Text { text },
    };
    let results = answer.scored().map(|(index, relevance_score)| JsonResult {
        document: answer.return_documents.then(|| document(index)),
        index,
        relevance_score,
    });
    let api_version = match version {
        Version::V1 => ApiVersion { version: "1", is_experimental: None },
        Version::V2 => ApiVersion { version: "2", is_experimental: Some(false) },
    };
    Ok(json_line(&Response {
        id: identity::uuid(answer.line),
        results: results.collect(),
        meta: Meta {
            api_version,
            billed_units: BilledUnits { search_units: documents.len().div_ceil(DOCUMENTS_OF_A_UNIT) },
        },
    }))
}

pub(super) fn refuse(version: Version, refusal: &Refusal, line: &Line) -> String {
    #[derive(Serialize)]
    struct Body {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        message: String,
    }
    let message = match refusal {
        Refusal::Malformed { message } => format!("invalid json syntax: {message}"),
        Refusal::Failed { .. } => format!("internal server error: {}", refusal.message()),
        Refusal::Invalid { .. } | Refusal::Own { .. } => refusal.message(),
    };
    json_line(&Body { id: (version == Version::V2).then(|| identity::uuid(line)), message })
}

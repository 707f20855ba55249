//! This program's own requests and responses: the common core of the services', with ids, metadata and the report of
//! what was cut.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::super::json_object::object;
use super::super::truncated::JsonTruncated;
use super::{Answer, Document, Refusal, Request, json_line};

#[derive(Deserialize)]
struct JsonRequest {
    #[serde(default)]
    id: Option<Value>,
    query: String,
    #[serde(alias = "texts")]
    documents: Vec<JsonDocument>,
    #[serde(default)]
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: Option<bool>,
    #[serde(default)]
    raw_scores: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a document is a text or an object with a `text`")]
enum JsonDocument {
    Text(String),
    Object(JsonObject),
}

#[derive(Deserialize)]
struct JsonObject {
    text: String,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

impl From<JsonDocument> for Document {
    fn from(document: JsonDocument) -> Self {
        match document {
            JsonDocument::Text(text) => Document { text, object: None },
            JsonDocument::Object(JsonObject { text, others }) => Document { text, object: Some(Value::Object(others)) },
        }
    }
}

pub(super) fn read(line: &str) -> Result<Request, Refusal> {
    let value: Value = serde_json::from_str(line).map_err(|error| Refusal::Malformed {
        message: format!(
            "malformed JSON: {error} (a line is a request, {{\"query\": …, \"documents\": […]}}; to rank lines of text, name \
             the query with --query)"
        ),
    })?;
    let id = value.get("id").cloned();
    let request: JsonRequest = object(value).map_err(|error| Refusal::Invalid {
        id,
        message: format!(
            "a request is a JSON object with a `query` and `documents`, a list of texts or of objects with a `text`: {error}"
        ),
    })?;
    Ok(Request {
        id: request.id,
        query: request.query,
        documents: request.documents.into_iter().map(Document::from).collect(),
        top_n: request.top_n,
        return_documents: request.return_documents,
        raw_scores: request.raw_scores,
        ..Request::default()
    })
}

#[derive(Serialize)]
struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    model: &'a str,
    raw_scores: bool,
    results: Vec<JsonResult<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    truncated: Vec<JsonTruncated>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<JsonFailure>,
}

#[derive(Serialize)]
struct JsonResult<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    /// `null` in a cascade, if the document was not cross-encoded.
    relevance_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<JsonText<'a>>,
}

/// A document as it came: a text, or the text with all else that the object had.
#[derive(Serialize)]
#[serde(untagged)]
enum JsonText<'a> {
    Text(&'a str),
    Object {
        text: &'a str,
        #[serde(flatten)]
        others: &'a Value,
    },
}

#[derive(Serialize)]
struct JsonFailure {
    index: Option<usize>,
    message: String,
}

pub(super) fn write(answer: &Answer<'_>) -> String {
    let Answer { request, ranked, server, raw_scores, return_documents, .. } = answer;
    let results = ranked.results.iter().map(|result| {
        let Document { text, object } = &request.documents[result.index];
        let document = || match object {
            None => JsonText::Text(text),
            Some(others) => JsonText::Object { text, others },
        };
        JsonResult {
            index: result.index,
            id: object.as_ref().and_then(|object| object.get("id")),
            relevance_score: result.score,
            similarity: result.similarity,
            window: result.window.map(|window| [window.start, window.end]),
            document: return_documents.then(document),
        }
    });
    let failures = ranked.failures.iter().map(|error| JsonFailure { index: error.document(), message: error.chain() });
    json_line(&Response {
        id: request.id.as_ref(),
        model: &server.title,
        raw_scores: *raw_scores,
        results: results.collect(),
        truncated: JsonTruncated::list(&ranked.truncated),
        failures: failures.collect(),
    })
}

#[derive(Serialize)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    error: Message,
}

#[derive(Serialize)]
struct Message {
    message: String,
}

pub(super) fn refuse(refusal: &Refusal) -> String {
    let id = match refusal {
        Refusal::Malformed { .. } | Refusal::Own { .. } => None,
        Refusal::Invalid { id, .. } | Refusal::Failed { id, .. } => id.as_ref(),
    };
    json_line(&Refused { id, error: Message { message: refusal.message() } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_of_the_wrong_kind_are_refused_with_the_requests_id() {
        for line in [
            r#"{"id": 7, "query": null, "documents": []}"#,
            r#"{"id": 7, "query": "x", "documents": {}}"#,
            r#"{"id": 7, "query": "x", "documents": [1]}"#,
            r#"{"id": 7, "query": "x", "documents": [{"text": null}]}"#,
            r#"{"id": 7, "query": "x", "documents": [], "top_n": -1}"#,
            r#"{"id": 7, "query": "x", "documents": [], "texts": []}"#,
            r#"{"id": 7, "query": "x", "documents": [["text"]]}"#,
        ] {
            match read(line) {
                Err(Refusal::Invalid { id, .. }) => assert_eq!(id, Some(Value::from(7)), "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    /// serde would take the elements for the fields.
    #[test]
    fn an_array_is_no_request() {
        for line in ["[]", r#"[7, "query", ["a", "b"], 1, true, false]"#] {
            let message = read(line).unwrap_err().message();
            assert!(message.contains("a request is a JSON object"), "{message}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let line = format!(r#"{{"query": "x", "documents": {}"#, "[".repeat(100_000));
        assert!(matches!(read(&line), Err(Refusal::Malformed { message }) if message.contains("recursion limit")));
    }

    proptest! {
        #[test]
        fn any_line_is_a_request_or_refused(line in prop_oneof![
            any::<String>(),
            "\\{\"query\": \"[a-z]{0,3}\", \"documents\": \\[(\"[a-z]\"|1|\\{\"text\": \"x\", \"a\": null\\})?\\]\\}?",
        ]) {
            if let Err(refusal) = read(&line) {
                let answer: Value = serde_json::from_str(&refuse(&refusal)).unwrap();
                prop_assert!(answer["error"]["message"].is_string());
            }
        }
    }
}

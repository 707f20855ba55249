//! `POST /rerank` of [text-embeddings-inference](https://github.com/huggingface/text-embeddings-inference), version 1.9.
//!
//! Where the server answers in plain text (a body that is no such request), its words are put into its error object here,
//! so that each line is JSON.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;

use super::{Answer, Document, Refusal, Request, json_line};
use crossrank::{Error, ErrorKind, TruncationSide};

/// A text has at most so many characters for each token that the model takes, where it must not be cut.
const CHARACTERS_PER_TOKEN: usize = 250;

#[derive(Deserialize)]
struct RerankRequest {
    query: String,
    texts: Vec<String>,
    #[serde(default)]
    truncate: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    truncation_direction: Option<Direction>,
    #[serde(default, deserialize_with = "not_null")]
    raw_scores: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    return_text: Option<bool>,
}

#[derive(Deserialize)]
enum Direction {
    #[serde(alias = "left")]
    Left,
    #[serde(alias = "right")]
    Right,
}

/// A field that may be left out, but not be null.
fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What kind of error it is, by the server's names.
#[derive(Clone, Copy, Serialize)]
enum ErrorType {
    /// Status 424.
    Backend,
    /// Status 422.
    Validation,
    /// Status 400.
    Empty,
}

pub(super) fn read(line: &str) -> Result<Request, Refusal> {
    let mut json = serde_json::Deserializer::from_str(line);
    let request: RerankRequest = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let what = match error.inner().classify() {
            Category::Data => "Failed to deserialize the JSON body into the target type",
            _ => "Failed to parse the request body as JSON",
        };
        refusal(format!("{what}: {error}"), ErrorType::Validation)
    })?;
    json.end().map_err(|error| unreadable(&error.to_string()))?;
    if request.texts.is_empty() {
        return Err(refusal("`texts` cannot be empty".to_owned(), ErrorType::Empty));
    }
    Ok(Request {
        query: request.query,
        documents: request.texts.into_iter().map(Document::text).collect(),
        return_documents: request.return_text,
        raw_scores: request.raw_scores,
        must_fit: request.truncate == Some(false),
        cut: request.truncation_direction.map(|direction| match direction {
            Direction::Left => TruncationSide::Left,
            Direction::Right => TruncationSide::Right,
        }),
        ..Request::default()
    })
}

#[derive(Serialize)]
struct Rank<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    score: f32,
}

pub(super) fn write(answer: &Answer<'_>) -> Result<String, Refusal> {
    refuse_texts(answer)?;
    answer.refuse_failures()?;
    let ranks = answer.scored().map(|(index, score)| Rank {
        index,
        text: answer.return_documents.then(|| answer.request.documents[index].text.as_str()),
        score,
    });
    Ok(json_line(&ranks.collect::<Vec<_>>()))
}

/// Refuses the first text that the server would not put to the model.
fn refuse_texts(answer: &Answer<'_>) -> Result<(), Refusal> {
    let invalid = |message: String, error_type| Err(refusal(format!("Input validation error: {message}"), error_type));
    let Request { query, documents, must_fit, cut, .. } = answer.request;
    let limit = answer.server.max_length;
    let characters_of_query = query.chars().count();
    for (index, document) in documents.iter().enumerate() {
        let text = &document.text;
        if query.is_empty() && text.is_empty() {
            return invalid("`inputs` cannot be empty".to_owned(), ErrorType::Empty);
        }
        let characters = characters_of_query + text.chars().count();
        let most = limit * CHARACTERS_PER_TOKEN;
        if *must_fit && characters > most {
            let message = format!("`inputs` must have less than {most} characters. Given: {characters}");
            return invalid(message, ErrorType::Validation);
        }
        let Some(dropped) = answer.ranked.truncated.iter().find(|dropped| dropped.index == index) else { continue };
        let tokens = limit + dropped.dropped_tokens + dropped.dropped_query_tokens;
        if *must_fit {
            let at_least = if dropped.at_least { "at least " } else { "" };
            let message = format!("`inputs` must have less than {limit} tokens. Given: {at_least}{tokens}");
            return invalid(message, ErrorType::Validation);
        }
        if cut.is_some_and(|side| side != answer.server.cut) {
            let message = format!(
                "`truncation_direction` must be `{:?}`, the side at which this model's inputs are cut, for inputs of more \
                 than {limit} tokens. Given: {tokens}",
                answer.server.cut
            );
            return invalid(message, ErrorType::Validation);
        }
    }
    Ok(())
}

pub(super) fn refuse(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Own { body, .. } => body.clone(),
        Refusal::Malformed { message } => {
            body(&format!("Failed to parse the request body as JSON: {message}"), ErrorType::Validation)
        }
        Refusal::Invalid { message, .. } => body(message, ErrorType::Validation),
        Refusal::Failed { error, .. } => body(&backend(error), ErrorType::Backend),
    }
}

fn backend(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NonFinite => "score is NaN".to_owned(),
        _ => format!("Backend error: {}", error.chain()),
    }
}

fn unreadable(message: &str) -> Refusal {
    Refusal::Malformed { message: message.to_owned() }
}

fn refusal(message: String, error_type: ErrorType) -> Refusal {
    Refusal::Own { body: body(&message, error_type), message }
}

fn body(message: &str, error_type: ErrorType) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
        error_type: ErrorType,
    }
    json_line(&Body { error: message, error_type })
}

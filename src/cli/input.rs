//! Reading documents and cases.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::compressed;
use super::failure::Failure;
use super::json_object::object;
use crossrank::{Case, CaseDocument};

/// How the lines of a file are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum InputFormat {
    /// JSONL if the file is named .jsonl or .ndjson, or if its first line that is not blank begins with `{`
    Auto,
    /// Each line is a document
    Lines,
    /// Each line is a JSON object with a `text`, and perhaps an `id`, or a JSON string
    Jsonl,
    /// A table of values between commas, with the columns' names in its first line
    Csv,
    /// A table of values between tabs, which are never in quotes
    Tsv,
    /// A table in a Parquet file
    Parquet,
}

/// A document of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// Its line, counted from 1.
    pub(super) line: usize,
    pub(super) id: Option<serde_json::Value>,
    pub(super) text: String,
}

/// The documents of a file, and the lines that could not be read.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) documents: Vec<Document>,
    /// Line number and reason.
    pub(super) bad_lines: Vec<(usize, String)>,
}

/// All bytes of a file, or of standard input for `-`; a compressed one is decompressed.
pub(super) fn read(path: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match compressed::open(path)?.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Input(format!("cannot read {}: {error}", shown(path)))),
    }
}

/// Whether a file's name says that its lines are JSON.
pub(super) fn is_named_jsonl(file: &str) -> bool {
    let path = Path::new(file);
    let path = match path.extension().and_then(|text| text.to_str()) {
        Some("gz" | "zst") => path.file_stem().map_or(path, Path::new),
        _ => path,
    };
    path.extension().and_then(|text| text.to_str()).is_some_and(|text| ["jsonl", "ndjson"].contains(&text))
}

/// What people call the input.
pub(super) fn shown(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

/// Splits a file into documents. A byte-order mark and the carriage returns of Windows files are no part of them.
pub(super) fn documents(bytes: &[u8], path: &str, format: InputFormat) -> Documents {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What follows the last line break is a line only if there is something.
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let jsonl = match format {
        InputFormat::Jsonl => true,
        InputFormat::Lines | InputFormat::Csv | InputFormat::Tsv | InputFormat::Parquet => false,
        InputFormat::Auto => {
            let first = lines.iter().map(|line| line.trim_ascii()).find(|line| !line.is_empty());
            is_named_jsonl(path) || first.is_some_and(|line| line.starts_with(b"{"))
        }
    };
    let mut found = Documents::default();
    for (line, number) in lines.into_iter().zip(1..) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let parsed = if jsonl {
            // A blank line between records is not a record.
            if line.trim_ascii().is_empty() {
                continue;
            }
            parse(line).map(JsonDocument::into_parts)
        } else {
            std::str::from_utf8(line).map(|text| (None, text.to_owned())).map_err(|error| not_utf8(&error))
        };
        match parsed {
            Ok((id, text)) => found.documents.push(Document { line: number, id, text }),
            Err(reason) => found.bad_lines.push((number, reason)),
        }
    }
    found
}

/// One line of JSONL.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum JsonDocument {
    Text(String),
    #[serde(deserialize_with = "object")]
    Object(JsonObject),
}

#[derive(Debug, Deserialize)]
struct JsonObject {
    #[serde(default)]
    id: Option<serde_json::Value>,
    text: String,
}

impl JsonDocument {
    fn into_parts(self) -> (Option<serde_json::Value>, String) {
        match self {
            JsonDocument::Text(text) => (None, text),
            JsonDocument::Object(JsonObject { id, text }) => (id, text),
        }
    }
}

fn parse(line: &[u8]) -> Result<JsonDocument, String> {
    let text = std::str::from_utf8(line).map_err(|error| not_utf8(&error))?;
    // In two steps, so that a syntax error is told from a missing field.
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("malformed JSON: {error}"))?;
    serde_json::from_value(value).map_err(|_| {
        "a document is a JSON object with a string `text`, or a JSON string; this line is neither".to_owned()
    })
}

fn not_utf8(error: &std::str::Utf8Error) -> String {
    format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1)
}

#[derive(Debug, Deserialize)]
struct JsonCase {
    #[serde(default)]
    name: Option<String>,
    query: String,
    documents: Vec<JsonCaseDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a document is a text or an object with a `text`")]
enum JsonCaseDocument {
    Text(String),
    #[serde(deserialize_with = "object")]
    Object(JsonCaseObject),
}

#[derive(Debug, Deserialize)]
struct JsonCaseObject {
    text: String,
    #[serde(default)]
    published_embedding: Option<f32>,
    #[serde(default)]
    published_reranker: Option<f32>,
}

/// Reads a file of cases: `{"cases": [...]}`, or the list alone.
pub(super) fn cases(bytes: &[u8], path: &str) -> Result<Vec<Case>, Failure> {
    let bad = |reason: String| Failure::Input(format!("{}: {reason}", shown(path)));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        bad(format!("line {line}: invalid UTF-8"))
    })?;
    let mut value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| bad(format!("line {}: malformed JSON: {error}", error.line())))?;
    let list = match &mut value {
        serde_json::Value::Array(_) => value,
        object => object.get_mut("cases").map_or(serde_json::Value::Null, serde_json::Value::take),
    };
    let serde_json::Value::Array(cases) = list else {
        return Err(bad(
            "cases are {\"cases\": [{\"name\", \"query\", \"documents\": [text or {\"text\"}, …]}, …]}, or \
                        that list alone; this file is neither"
                .to_owned(),
        ));
    };
    let case = |(case, number): (serde_json::Value, usize)| {
        let case = object(case).map_err(|error| bad(format!("case {number}: {error}")))?;
        Ok(into_case(case, number))
    };
    cases.into_iter().zip(1..).map(case).collect()
}

fn into_case(json: JsonCase, number: usize) -> Case {
    let mut case = Case::new(json.name.unwrap_or_else(|| format!("Case {number}")), json.query, [""; 0]);
    case.documents = json
        .documents
        .into_iter()
        .map(|document| match document {
            JsonCaseDocument::Text(text) => CaseDocument::new(text),
            JsonCaseDocument::Object(JsonCaseObject { text, published_embedding, published_reranker }) => {
                let mut document = CaseDocument::new(text);
                document.published_embedding = published_embedding;
                document.published_reranker = published_reranker;
                document
            }
        })
        .collect();
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(bytes: &[u8], format: InputFormat) -> Vec<String> {
        documents(bytes, "-", format).documents.into_iter().map(|document| document.text).collect()
    }

    #[test]
    fn lines_keep_blank_documents_and_lose_line_ends() {
        assert_eq!(texts(b"\xef\xbb\xbfa\r\n\r\nb\n", InputFormat::Auto), ["a", "", "b"]);
        assert_eq!(texts(b"", InputFormat::Auto), [""; 0]);
        assert_eq!(texts(b"\n", InputFormat::Lines), [""]);
    }

    #[test]
    fn jsonl_is_recognised_by_its_first_line() {
        assert_eq!(texts(b"{\"text\": \"a\"}\n\n\"b\"\n", InputFormat::Auto), ["a", "b"]);
        assert_eq!(texts(b"\"quoted\" text\nmore\n", InputFormat::Auto), ["\"quoted\" text", "more"]);
        let found = documents(b"\n{not json\n{\"text\": \"a\"}\n", "-", InputFormat::Auto);
        assert_eq!((found.bad_lines[0].0, found.documents.len()), (2, 1));
    }

    #[test]
    fn bad_lines_have_a_number_and_a_reason() {
        let found = documents(b"{\"text\": \"a\"}\n{\"text\": 1}\n{\"te\n\xff\n", "x.jsonl", InputFormat::Auto);
        let numbers: Vec<usize> = found.bad_lines.iter().map(|(line, _)| *line).collect();
        assert_eq!(numbers, [2, 3, 4]);
        assert!(found.bad_lines[1].1.contains("malformed JSON"));
        assert!(found.bad_lines[2].1.contains("invalid UTF-8 at byte 1"));
    }

    #[test]
    fn cases_in_both_shapes() {
        let list = br#"[{"query": "q", "documents": ["a", {"text": "b", "published_reranker": 0.5}]}]"#;
        let cases_of = |bytes: &[u8]| cases(bytes, "-").unwrap();
        assert_eq!(cases_of(list)[0].name, "Case 1");
        assert_eq!(cases_of(list)[0].documents[1].published_reranker, Some(0.5));
        let object = format!("{{\"cases\": {}}}", std::str::from_utf8(list).unwrap());
        assert_eq!(cases_of(object.as_bytes()), cases_of(list));
    }

    /// serde would take the elements for the fields.
    #[test]
    fn arrays_are_no_objects() {
        let found = documents(br#"["id", "text"]"#, "x.jsonl", InputFormat::Auto);
        assert_eq!((found.documents.len(), found.bad_lines.len()), (0, 1));
        for file in [r#"[["name", "query", ["a"]]]"#, r#"[{"query": "q", "documents": [["a", 0.5]]}]"#] {
            let error = cases(file.as_bytes(), "-").unwrap_err().to_string();
            assert!(error.contains("case 1"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_reported(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in [InputFormat::Auto, InputFormat::Lines, InputFormat::Jsonl] {
                let found = documents(&bytes, "-", format);
                prop_assert!(found.documents.len() + found.bad_lines.len() <= bytes.len() + 1);
            }
            let _ = cases(&bytes, "-");
        }
    }
}

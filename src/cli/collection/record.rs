//! A line with an id and a text: BEIR's and Pyserini's JSON objects, or columns between tabs.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// How the lines of a file are to be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// The columns of id, text and title.
    Columns {
        id: usize,
        text: usize,
        title: Option<usize>,
        of: usize,
    },
}

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) title: Cow<'a, str>,
    pub(super) text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct JsonRecord<'a> {
    #[serde(borrow, alias = "id", alias = "query_id", alias = "docid", alias = "doc_id")]
    _id: &'a RawValue,
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "contents", alias = "query")]
    text: Cow<'a, str>,
}

impl Form {
    /// The form of a file by its first line that is not blank, and whether that line is a header.
    pub(super) fn of(first: &str) -> (Self, bool) {
        if first.trim_start().starts_with('{') {
            return (Form::Json, false);
        }
        let names: Vec<String> = first.split('\t').map(|name| name.trim().to_lowercase()).collect();
        let column = |known: &[&str]| names.iter().position(|name| known.contains(&name.as_str()));
        let id = column(&["_id", "id", "pid", "qid", "docid", "doc_id", "query_id", "query-id", "corpus-id"]);
        let text = column(&["text", "passage", "body", "contents", "query"]);
        match (id, text) {
            (Some(id), Some(text)) => (Form::Columns { id, text, title: column(&["title"]), of: names.len() }, true),
            _ => (Form::Columns { id: 0, text: 1, title: None, of: 2 }, false),
        }
    }

    pub(super) fn read<'a>(&self, line: &'a str) -> Result<Record<'a>, String> {
        match self {
            Form::Json => json(line),
            Form::Columns { id, text, title, of } => {
                let columns: Vec<&str> = line.split('\t').collect();
                if columns.len() != *of {
                    return Err(format!(
                        "{of} columns between tabs are needed (an id and a text, or those that a header names); this line \
                         has {}",
                        columns.len()
                    ));
                }
                let column = |index: usize| Cow::Borrowed(columns[index]);
                Ok(Record { id: column(*id), title: title.map_or(Cow::Borrowed(""), column), text: column(*text) })
            }
        }
    }
}

fn json(line: &str) -> Result<Record<'_>, String> {
    // serde would take an array's elements for the fields.
    if line.trim_start().starts_with('[') {
        return Err("a JSON object with an `_id` and a `text` is needed; this line is an array".to_owned());
    }
    let JsonRecord { _id, title, text } = serde_json::from_str(line).map_err(|error| {
        if error.is_syntax() || error.is_eof() {
            format!("malformed JSON: {error}")
        } else {
            format!("a JSON object with an `_id` and a `text` is needed: {error}")
        }
    })?;
    let raw = _id.get();
    let id = if raw.starts_with('"') {
        serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|error| error.to_string())?
    } else if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        Cow::Borrowed(raw)
    } else {
        return Err(format!("an id is a string or a number; this one is {}", raw.chars().take(20).collect::<String>()));
    };
    Ok(Record { id, title: title.unwrap_or_default(), text })
}

impl Record<'_> {
    /// Title and text with a blank between them, as BEIR and sentence-transformers put them together.
    pub(super) fn whole(&self) -> String {
        if self.title.is_empty() {
            self.text.trim().to_owned()
        } else {
            format!("{} {}", self.title, self.text).trim().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(line: &str) -> Result<(String, String), String> {
        let (form, _) = Form::of(line);
        form.read(line).map(|record| (record.id.to_string(), record.whole()))
    }

    #[test]
    fn json_lines_of_beir_and_pyserini() {
        let found = |id: &str, text: &str| Ok((id.to_owned(), text.to_owned()));
        assert_eq!(record(r#"{"_id": "d\"1", "title": "A", "text": "b ", "metadata": {}}"#), found("d\"1", "A b"));
        assert_eq!(record(r#"{"id": 17, "contents": " c"}"#), found("17", "c"));
        assert_eq!(record(r#"{"_id": "1", "title": "", "text": "é"}"#), found("1", "é"));
        assert_eq!(record(r#"{"query_id": "q", "query": "what"}"#), found("q", "what"));
        assert!(record(r#"{"_id": "1"}"#).unwrap_err().contains("`text`"));
        assert!(record(r#"{"_id": [1], "text": ""}"#).unwrap_err().contains("a string or a number"));
        assert!(Form::Json.read(r#"["1", "A", "b"]"#).unwrap_err().contains("is an array"));
        assert!(record(r#"{"_id": "1""#).unwrap_err().starts_with("malformed JSON"));
    }

    #[test]
    fn columns_with_and_without_a_header() {
        assert_eq!(record("7\tsome text"), Ok(("7".to_owned(), "some text".to_owned())));
        let (form, header) = Form::of("id\ttext\ttitle");
        assert!(header);
        assert_eq!(form.read("1\tb\tA").unwrap().whole(), "A b");
        assert!(record("no tab").unwrap_err().contains("this line has 1"));
        assert!(form.read("1\tb").unwrap_err().contains("3 columns"));
    }
}

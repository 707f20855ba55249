//! Texts of files: lines, JSON objects, columns of tables; a block at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::failure::Failure;
use super::super::input::{InputFormat, is_named_jsonl};
use super::super::job::{Extent, Unit};
use super::super::lines::{self, Line, Lines};
use super::super::table::{Blocks, Cell, Kind, ROWS, Table, Wanted};

/// A text, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// `FILE, line N`.
    pub(super) name: String,
    pub(super) id: Option<Value>,
    /// The text, nothing where a table or a JSON object has null, or why it cannot be read.
    pub(super) text: Result<Option<String>, String>,
}

/// Texts that follow each other.
#[derive(Debug)]
pub(super) struct Texts {
    /// The index of the first of them, counted from 0.
    pub(super) first: u64,
    pub(super) texts: Vec<Text>,
}

impl Unit for Texts {
    fn fingerprint(&self, hash: &mut Sha256) {
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for text in &self.texts {
            add(text.id.as_ref().map_or(String::new(), Value::to_string).as_bytes());
            add(match &text.text {
                Ok(Some(text)) => text,
                Ok(None) => "",
                Err(reason) => reason,
            }
            .as_bytes());
        }
    }
}

/// Which parts of an object or a row are wanted.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub(super) text: String,
    /// By default `id`, or else `_id`.
    pub(super) id: Option<String>,
}

impl Fields {
    fn ids(&self) -> Vec<&str> {
        self.id.as_deref().map_or(vec!["id", "_id"], |id| vec![id])
    }
}

/// The texts of files, one after the other.
pub(super) struct Source {
    files: VecDeque<String>,
    format: InputFormat,
    fields: Fields,
    current: Option<Box<dyn Iterator<Item = Result<Text, Failure>> + Send>>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    next: u64,
    failed: bool,
}

impl Source {
    /// Opens the first file, and looks at the others.
    pub(super) fn open(files: &[String], format: InputFormat, fields: Fields) -> Result<Self, Failure> {
        let total = lines::look(files)?;
        let mut source = Self {
            files: files.iter().cloned().collect(),
            format,
            fields,
            current: None,
            read: Arc::default(),
            total,
            next: 0,
            failed: false,
        };
        source.next_file()?;
        Ok(source)
    }

    pub(super) fn extent(&self) -> Extent {
        match self.total {
            Some(total) => Extent::Bytes { read: Arc::clone(&self.read), total },
            None => Extent::Unknown,
        }
    }

    fn next_file(&mut self) -> Result<(), Failure> {
        self.current = match self.files.pop_front() {
            None => None,
            Some(file) => Some(match Kind::of(&file, self.format) {
                Some(kind) => Box::new(self.table(&file, kind)?),
                None => Box::new(self.lines(&file)?),
            }),
        };
        Ok(())
    }

    fn table(
        &self,
        file: &str,
        kind: Kind,
    ) -> Result<impl Iterator<Item = Result<Text, Failure>> + Send + use<>, Failure> {
        let table = Table::open(file, kind, Arc::clone(&self.read))?;
        let mut wanted = vec![Wanted { name: self.fields.text.clone(), option: "--text-column", numbers: false }];
        // An id that is not asked for, and cannot be one, is not wanted.
        let id = match &self.fields.id {
            Some(id) => Some(id.as_str()),
            None => self.fields.ids().into_iter().find(|id| table.has_ids(id)),
        };
        wanted.extend(id.map(|id| Wanted { name: id.to_owned(), option: "--id-column", numbers: true }));
        let blocks: Blocks = table.blocks(&wanted, |_| true)?;
        Ok(blocks.flat_map(|block| {
            let texts: Vec<Result<Text, Failure>> = match block {
                Err(error) => vec![Err(error)],
                Ok(block) => {
                    let text = |(row, number): (super::super::table::Row, u64)| {
                        let name = format!("{}, row {number}", block.file);
                        Ok(match row.cells {
                            Err(reason) => Text { name, id: None, text: Err(reason) },
                            Ok(cells) => of_cells(name, cells),
                        })
                    };
                    block.rows.into_iter().zip(block.first..).map(text).collect()
                }
            };
            texts
        }))
    }

    fn lines(&self, file: &str) -> Result<impl Iterator<Item = Result<Text, Failure>> + Send + use<>, Failure> {
        let mut lines = Lines::counted(std::slice::from_ref(&file.to_owned()), Arc::clone(&self.read))?;
        // The lines up to the first that says what they are.
        let mut first = VecDeque::new();
        let jsonl = match self.format {
            InputFormat::Lines => false,
            InputFormat::Jsonl => true,
            _ if is_named_jsonl(file) => true,
            _ => loop {
                let Some(line) = lines.next().transpose()? else { break false };
                let (blank, json) = (line.is_blank(), line.bytes.trim_ascii().starts_with(b"{"));
                first.push_back(line);
                if !blank {
                    break json;
                }
            },
        };
        let fields = self.fields.clone();
        let lines = first.into_iter().map(Ok).chain(lines);
        Ok(lines.filter(move |line| !jsonl || !line.as_ref().is_ok_and(Line::is_blank)).map(move |line| {
            let line = line?;
            let name = line.name();
            Ok(match (line.text(), jsonl) {
                (Err(reason), _) => Text { name, id: None, text: Err(reason) },
                (Ok(text), false) => Text { name, id: None, text: Ok(Some(text.to_owned())) },
                (Ok(text), true) => of_json(name, text, &fields),
            })
        }))
    }

    fn next_text(&mut self) -> Result<Option<Text>, Failure> {
        while let Some(current) = &mut self.current {
            match current.next() {
                Some(text) => return text.map(Some),
                None => self.next_file()?,
            }
        }
        Ok(None)
    }
}

impl Iterator for Source {
    type Item = Result<Texts, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut texts = Texts { first: self.next, texts: Vec::new() };
        while texts.texts.len() < ROWS && !self.failed {
            match self.next_text() {
                Ok(Some(text)) => texts.texts.push(text),
                Ok(None) => break,
                // A block that is not whole is not given: it would be another one when the file can be read.
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.next += texts.texts.len() as u64;
        (!texts.texts.is_empty()).then_some(Ok(texts))
    }
}

fn of_cells(name: String, cells: Vec<Cell>) -> Text {
    let mut cells = cells.into_iter();
    let text = match cells.next() {
        Some(Cell::Text(text)) => Some(text),
        Some(Cell::Null | Cell::Number(_)) | None => None,
    };
    let id = match cells.next() {
        Some(Cell::Text(id)) => Some(Value::String(id)),
        Some(Cell::Number(id)) => Some(Value::Number(id)),
        Some(Cell::Null) | None => None,
    };
    Text { name, id, text: Ok(text) }
}

fn of_json(name: String, line: &str, fields: &Fields) -> Text {
    let failed = |id: Option<Value>, reason: String| Text { name: name.clone(), id, text: Err(reason) };
    let mut object = match serde_json::from_str(line) {
        Err(error) => return failed(None, format!("malformed JSON: {error}")),
        Ok(Value::String(text)) => return Text { name, id: None, text: Ok(Some(text)) },
        Ok(Value::Object(object)) => object,
        Ok(_) => {
            return failed(None, "a line is a JSON object with a text, or a JSON string; this one is neither".into());
        }
    };
    let text = object.remove(&fields.text);
    let id = fields.ids().into_iter().find_map(|id| object.remove(id)).filter(|id| !id.is_null());
    match text {
        Some(Value::String(text)) => Text { name, id, text: Ok(Some(text)) },
        Some(Value::Null) => Text { name, id, text: Ok(None) },
        Some(_) => failed(id, format!("its `{}` is no string", fields.text)),
        None => failed(id, format!("it has no `{}`; name another part with --text-column", fields.text)),
    }
}

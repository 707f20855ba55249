//! Values between commas or tabs: columns by the names in the first line, a block of rows at a time, each with its line
//! as it is.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::super::compressed;
use super::super::failure::Failure;
use super::super::input::shown;
use super::super::job::Extent;
use super::{Block, Cell, ROWS, Row, Wanted, place};

/// A row with more bytes is none: a quote is not closed.
const LONGEST: usize = 64 << 20;

/// A table that is open behind its first line.
pub(in super::super) struct Delimited {
    path: String,
    reader: Reader<Tee>,
    delimiter: u8,
    header: Line,
    columns: Vec<String>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    /// Rows that were read.
    rows: u64,
    record: ByteRecord,
}

/// A line as it is, without its break.
struct Line {
    bytes: Vec<u8>,
    crlf: bool,
}

impl Delimited {
    pub(in super::super) fn open(path: &str, delimiter: u8, read: Arc<AtomicU64>) -> Result<Self, Failure> {
        let source = compressed::open_counted(path, Arc::clone(&read))?;
        let meta = std::fs::metadata(path).ok().filter(|meta| path != "-" && meta.is_file());
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .quoting(delimiter == b',')
            .from_reader(Tee { source, kept: Vec::new(), start: 0, end: false });
        let mut table = Self {
            path: path.to_owned(),
            reader,
            delimiter,
            header: Line { bytes: Vec::new(), crlf: false },
            columns: Vec::new(),
            read,
            total: meta.map(|meta| meta.len()),
            rows: 0,
            record: ByteRecord::new(),
        };
        let Some(header) = table.next_line()? else {
            return Err(Failure::Input(format!(
                "{} is empty: a line with the names of the columns is needed",
                shown(path)
            )));
        };
        table.columns = table.record.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        table.header = header;
        Ok(table)
    }

    pub(in super::super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The first line, with one more column.
    pub(in super::super) fn widened_header(&self, name: &str) -> Vec<u8> {
        widened(&self.header.bytes, self.header.crlf, self.delimiter, &field(name, self.delimiter))
    }

    pub(in super::super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    pub(super) fn extent(&self) -> Extent {
        match self.total {
            Some(total) => Extent::Bytes { read: Arc::clone(&self.read), total },
            None => Extent::Unknown,
        }
    }

    pub(super) fn blocks(
        mut self,
        wanted: &[Wanted],
    ) -> Result<impl Iterator<Item = Result<Block, Failure>> + Send + 'static, Failure> {
        let places: Vec<usize> =
            wanted.iter().map(|wanted| place(&self.columns, wanted, &self.path)).collect::<Result<_, _>>()?;
        let mut failed = false;
        Ok(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let block = self.next_block(&places);
            failed = block.is_err();
            block.transpose()
        }))
    }

    fn next_block(&mut self, places: &[usize]) -> Result<Option<Block>, Failure> {
        let first = self.rows + 1;
        let mut rows = Vec::new();
        while rows.len() < ROWS {
            let Some(Line { bytes, crlf }) = self.next_line()? else { break };
            self.rows += 1;
            let ragged = self.record.len() != self.columns.len();
            rows.push(Row { cells: self.cells(places), ragged, line: bytes, crlf });
        }
        Ok((!rows.is_empty()).then(|| Block { file: shown(&self.path).to_owned(), first, group: None, rows }))
    }

    fn cells(&self, places: &[usize]) -> Result<Vec<Cell>, String> {
        if self.record.len() != self.columns.len() {
            return Err(format!("it has {} values for {} columns", self.record.len(), self.columns.len()));
        }
        let cell = |place: &usize| match std::str::from_utf8(&self.record[*place]) {
            Ok("") => Ok(Cell::Null),
            Ok(text) => Ok(Cell::Text(text.to_owned())),
            Err(error) => Err(format!(
                "invalid UTF-8 at byte {} of the column `{}`",
                error.valid_up_to() + 1,
                self.columns[*place]
            )),
        };
        places.iter().map(cell).collect()
    }

    /// Reads a record, and gives its line.
    fn next_line(&mut self) -> Result<Option<Line>, Failure> {
        let start = self.reader.position().byte();
        let more = self.reader.read_byte_record(&mut self.record).map_err(|error| {
            let line = self.reader.position().line();
            Failure::Input(format!("cannot read {} from line {line} on: {error}", shown(&self.path)))
        })?;
        if !more {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, |position| position.line());
        let end = self.reader.position().byte();
        let tee = self.reader.get_mut();
        let at_end = tee.end && tee.start + tee.kept.len() as u64 == end;
        let kept = tee.take(end.saturating_sub(start));
        // The line feed behind a carriage return, and blank lines, are read with the record that follows.
        let bytes = kept.trim_start_with_breaks();
        let (bytes, crlf) = match bytes {
            [line @ .., b'\r', b'\n'] | [line @ .., b'\r'] => (line, true),
            [line @ .., b'\n'] => (line, false),
            line => (line, false),
        };
        // A last quote that is not closed holds the end of the file, and what is put behind it.
        if at_end && self.delimiter == b',' && is_open(bytes) {
            return Err(Failure::Input(format!(
                "cannot read {} from line {line} on: a quote is not closed",
                shown(&self.path)
            )));
        }
        Ok(Some(Line { bytes: bytes.to_vec(), crlf }))
    }
}

trait TrimBreaks {
    fn trim_start_with_breaks(&self) -> &[u8];
}

impl TrimBreaks for [u8] {
    fn trim_start_with_breaks(&self) -> &[u8] {
        let start = self.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(self.len());
        &self[start..]
    }
}

/// Whether one more value behind a line would be in its last value.
fn is_open(line: &[u8]) -> bool {
    let values = |bytes: &[u8]| {
        let mut record = ByteRecord::new();
        let read = ReaderBuilder::new().has_headers(false).from_reader(bytes).read_byte_record(&mut record);
        read.map(|_| record.len()).unwrap_or(0)
    };
    values(&[line, b",0"].concat()) == values(line)
}

/// A line with one more value, and its break.
pub(in super::super) fn widened(line: &[u8], crlf: bool, delimiter: u8, value: &[u8]) -> Vec<u8> {
    let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    [line, &[delimiter], value, end].concat()
}

/// A value as it is written: in quotes, where it needs them.
fn field(value: &str, delimiter: u8) -> Vec<u8> {
    let special = |byte: u8| byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n');
    match delimiter {
        b',' if value.bytes().any(special) => format!("\"{}\"", value.replace('"', "\"\"")).into_bytes(),
        b',' => value.as_bytes().to_vec(),
        _ => value.replace(['\t', '\r', '\n'], " ").into_bytes(),
    }
}

/// Keeps what is read through it.
struct Tee {
    source: Box<dyn BufRead + Send>,
    kept: Vec<u8>,
    /// The place of the first byte that is kept.
    start: u64,
    /// Whether nothing is to come.
    end: bool,
}

impl Tee {
    /// The first bytes of what is kept, which is kept no longer.
    fn take(&mut self, bytes: u64) -> Vec<u8> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.kept.len());
        let rest = self.kept.split_off(bytes);
        self.start += bytes as u64;
        std::mem::replace(&mut self.kept, rest)
    }
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.kept.len() > LONGEST {
            return Err(io::Error::other(format!(
                "a row has more than {} MiB; perhaps a quote is not closed",
                LONGEST >> 20
            )));
        }
        let bytes = self.source.read(buffer)?;
        self.end = bytes == 0;
        self.kept.extend_from_slice(&buffer[..bytes]);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(bytes: &[u8], delimiter: u8) -> Result<Delimited, Failure> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        Delimited::open(file.path().to_str().unwrap(), delimiter, Arc::default())
    }

    fn wanted(name: &str) -> Wanted {
        Wanted { name: name.to_owned(), option: "--text-column", numbers: false }
    }

    fn rows(bytes: &[u8], delimiter: u8, column: &str) -> Result<Vec<Row>, Failure> {
        let blocks = open(bytes, delimiter)?.blocks(&[wanted(column)])?;
        Ok(blocks.collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(|block| block.rows).collect())
    }

    fn text(row: &Row) -> &str {
        match &row.cells.as_ref().unwrap()[0] {
            Cell::Text(text) => text,
            _ => "",
        }
    }

    #[test]
    fn lines_stay_as_they_are() {
        let bytes = b"\xef\xbb\xbf\"a\",b\r\n\"x, \"\"y\"\"\r\nz\",1\r\n\r\nplain,2\r\n,\"\"";
        let table = open(bytes, b',').unwrap();
        assert_eq!(table.columns(), ["a", "b"]);
        assert_eq!(table.widened_header("s,"), b"\xef\xbb\xbf\"a\",b,\"s,\"\r\n");
        let rows = rows(bytes, b',', "a").unwrap();
        let lines: Vec<&[u8]> = rows.iter().map(|row| &*row.line).collect();
        assert_eq!(lines, [&b"\"x, \"\"y\"\"\r\nz\",1"[..], b"plain,2", b",\"\""]);
        assert_eq!((text(&rows[0]), text(&rows[1]), text(&rows[2])), ("x, \"y\"\r\nz", "plain", ""));
        assert_eq!(rows.iter().map(|row| row.crlf).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn quotes_mean_nothing_between_tabs() {
        let rows = rows(b"a\tb\n\"x\ty\"\n", b'\t', "b").unwrap();
        assert_eq!(text(&rows[0]), "y\"");
        assert_eq!(field("a\tb\"", b'\t'), b"a b\"");
    }

    #[test]
    fn what_is_no_table() {
        let failure = |bytes: &[u8]| rows(bytes, b',', "a").err().unwrap().to_string();
        assert!(failure(b"").contains("is empty"));
        assert!(failure(b"b,c\n1,2\n").contains("has no column `a`; name one with --text-column: it has `b`, `c`"));
        assert!(failure(b"a,a\n1,2\n").contains("2 columns `a`"));
        for open in [&b"a\n\"x"[..], b"a\n\"x\n", b"a,b\ny,z\n1,\"x\"\"\n\n"] {
            assert!(failure(open).contains("a quote is not closed"), "{}", String::from_utf8_lossy(open));
        }
        let rows = rows(b"a,b\n1\n\xff,2\n3,4\n", b',', "a").unwrap();
        assert_eq!(rows[0].cells, Err("it has 1 values for 2 columns".to_owned()));
        assert_eq!(rows[1].cells, Err("invalid UTF-8 at byte 1 of the column `a`".to_owned()));
        assert_eq!(text(&rows[2]), "3");
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written(
            values in proptest::collection::vec(("[a-z\",\r\n\u{e9} ]{0,6}", "[a-z\",\r\n]{0,6}"), 0..20),
            crlf in any::<bool>(),
        ) {
            let mut bytes = widened(b"a", crlf, b',', b"b");
            for (first, second) in &values {
                bytes.extend(widened(&field(first, b','), crlf, b',', &field(second, b',')));
            }
            let rows = rows(&bytes, b',', "a").unwrap();
            prop_assert_eq!(rows.len(), values.len());
            for (row, (first, _)) in rows.iter().zip(&values) {
                prop_assert_eq!(text(row), first.as_str());
            }
            // The lines, put together again, are the file.
            let header = widened(b"a", crlf, b',', b"b");
            let again = rows.iter().flat_map(|row| {
                [&row.line[..], if row.crlf { b"\r\n" } else { b"\n" }].concat()
            });
            prop_assert_eq!(header.into_iter().chain(again).collect::<Vec<u8>>(), bytes);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for delimiter in [b',', b'\t'] {
                let _ = rows(&[b"a\n", &bytes[..]].concat(), delimiter, "a");
                let _ = rows(&bytes, delimiter, "a");
            }
        }
    }
}

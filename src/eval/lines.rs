//! The lines of a file of judgements or results: read one at a time, and named by file and number when they are wrong.

use std::io::BufRead;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// Gives `take` each line that is not blank, with its number counted from 1; the reason that it returns becomes an error
/// that names file and line. A byte-order mark and line ends are no part of a line.
pub(super) fn each_line(
    mut reader: impl BufRead,
    file: &str,
    mut take: impl FnMut(&str, usize) -> Result<(), String>,
) -> Result<()> {
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot read {file} from line {number} on")).with_source(error)
        })?;
        if read == 0 {
            break;
        }
        let line = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&bytes);
        let line = std::str::from_utf8(line)
            .map_err(|error| format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1))
            .map(|line| line.trim_end_matches(['\r', '\n']));
        let taken = line.and_then(|line| if line.trim_ascii().is_empty() { Ok(()) } else { take(line, number) });
        taken.map_err(|reason| Error::new(ErrorKind::Input, format!("{file}, line {number}: {reason}")))?;
    }
    Ok(())
}

/// The `N` fields of a line between blanks, as TREC's formats have them.
pub(super) fn fields<'a, const N: usize>(line: &'a str, what: &str) -> Result<[&'a str; N], String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let found = fields.len();
    fields.try_into().map_err(|_| {
        format!("a line of {what} has {N} fields between blanks; this one has {found}: `{}`", excerpt(line))
    })
}

/// A number of a line, or what is wrong with it.
pub(super) fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{what} is needed where `{}` stands", excerpt(text)))
}

/// The beginning of a text that may be long.
fn excerpt(text: &str) -> String {
    const CHARS: usize = 60;
    let mut short: String = text.chars().take(CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

//! JSON as Python's module `json` reads and writes it: servers in Python say where it stops at a text that is none.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Deeper lists and objects than this are not looked into.
const DEEPEST: usize = 128;

/// Where Python stops, in bytes, and why. `None` where it does not say: the text is nested too deeply.
type Stop = Option<(usize, &'static str)>;

/// Why Python's module refuses a text, and where, counted in characters from 0. `None` if it takes it, or gives up.
pub(super) fn refusal(text: &str) -> Option<(usize, &'static str)> {
    let scanner = Scanner(text.as_bytes());
    let (at, why) = match scanner.value(scanner.space(0), 0) {
        Ok(end) => match scanner.space(end) {
            end if end == text.len() => return None,
            end => (end, "Extra data"),
        },
        Err(stop) => stop?,
    };
    Some((text.get(..at).map_or(0, |before| before.chars().count()), why))
}

struct Scanner<'a>(&'a [u8]);

/// The methods take the place where something begins, and give the place behind it.
impl Scanner<'_> {
    fn at(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn space(&self, mut at: usize) -> usize {
        while matches!(self.at(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    fn value(&self, at: usize, depth: usize) -> Result<usize, Stop> {
        if depth > DEEPEST {
            return Err(None);
        }
        let words = ["null", "true", "false", "NaN", "Infinity", "-Infinity"];
        match self.at(at) {
            Some(b'"') => self.string(at),
            Some(b'{') => self.members(at, b'}', |at| self.member(at, depth)),
            Some(b'[') => self.members(at, b']', |at| self.value(at, depth + 1)),
            _ => match words.iter().find(|word| self.0.get(at..).is_some_and(|rest| rest.starts_with(word.as_bytes())))
            {
                Some(word) => Ok(at + word.len()),
                None => self.number(at),
            },
        }
    }

    /// What is between brackets.
    fn members(&self, at: usize, close: u8, member: impl Fn(usize) -> Result<usize, Stop>) -> Result<usize, Stop> {
        let mut at = self.space(at + 1);
        if self.at(at) == Some(close) {
            return Ok(at + 1);
        }
        loop {
            at = self.space(member(at)?);
            match self.at(at) {
                Some(byte) if byte == close => return Ok(at + 1),
                Some(b',') => at = self.space(at + 1),
                _ => return Err(Some((at, "Expecting ',' delimiter"))),
            }
        }
    }

    fn member(&self, at: usize, depth: usize) -> Result<usize, Stop> {
        if self.at(at) != Some(b'"') {
            return Err(Some((at, "Expecting property name enclosed in double quotes")));
        }
        let at = self.space(self.string(at)?);
        if self.at(at) != Some(b':') {
            return Err(Some((at, "Expecting ':' delimiter")));
        }
        self.value(self.space(at + 1), depth + 1)
    }

    fn string(&self, begin: usize) -> Result<usize, Stop> {
        let unterminated = Err(Some((begin, "Unterminated string starting at")));
        let mut at = begin + 1;
        loop {
            match (self.at(at), self.at(at + 1)) {
                (None, _) | (Some(b'\\'), None) => return unterminated,
                (Some(b'"'), _) => return Ok(at + 1),
                (Some(0..=0x1f), _) => return Err(Some((at, "Invalid control character at"))),
                (Some(b'\\'), Some(b'u')) => {
                    // The quotation mark at the end must be there too.
                    let digits = self.0.get(at + 2..at + 6).filter(|_| self.at(at + 6).is_some());
                    if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                        return Err(Some((at + 1, "Invalid \\uXXXX escape")));
                    }
                    at += 6;
                }
                (Some(b'\\'), Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => at += 2,
                (Some(b'\\'), _) => return Err(Some((at, "Invalid \\escape"))),
                _ => at += 1,
            }
        }
    }

    fn number(&self, begin: usize) -> Result<usize, Stop> {
        let digits = |mut at: usize| {
            while self.at(at).is_some_and(|byte| byte.is_ascii_digit()) {
                at += 1;
            }
            at
        };
        let whole = begin + usize::from(self.at(begin) == Some(b'-'));
        let mut end = match self.at(whole) {
            Some(b'0') => whole + 1,
            Some(b'1'..=b'9') => digits(whole),
            _ => return Err(Some((begin, "Expecting value"))),
        };
        if self.at(end) == Some(b'.') && digits(end + 1) > end + 1 {
            end = digits(end + 1);
        }
        if matches!(self.at(end), Some(b'e' | b'E')) {
            let exponent = end + 1 + usize::from(matches!(self.at(end + 1), Some(b'+' | b'-')));
            if digits(exponent) > exponent {
                end = digits(exponent);
            }
        }
        Ok(end)
    }
}

/// A value as Python writes it: floats in the form of `repr`.
pub(super) fn to_string(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    // Our own types have string keys and finite numbers alone: they always serialise, and to UTF-8.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, Python));
    String::from_utf8(bytes).unwrap_or_default()
}

struct Python;

impl Formatter for Python {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(repr(value).as_bytes())
    }
}

fn repr(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn floats_are_written_as_by_repr() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e22, "1.5e+22"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (1e-5, "1e-05"),
            (9.535461212e-5, "9.535461212e-05"),
            (2.5e-10, "2.5e-10"),
        ];
        for (value, text) in cases {
            assert_eq!(to_string(&value), text);
        }
    }

    proptest! {
        /// Where both know why, both agree whether.
        #[test]
        fn what_serde_takes_python_takes(text in r#"[\[\]{}:,"\\ a1.eE0utrn-]{0,12}"#) {
            if let Some((at, _)) = refusal(&text) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_err());
                prop_assert!(at <= text.chars().count());
            }
        }

        #[test]
        fn any_text_is_read_to_its_end(text in ".{0,40}") {
            let _ = refusal(&text);
        }
    }
}

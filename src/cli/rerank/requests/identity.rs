//! Ids and times of responses.
//!
//! Services make a new id for each response, and say when they made it. Here the same requests give the same bytes, so
//! that a run that was interrupted and resumed cannot be told from one that was not, and two runs can be compared: the id
//! is made of the request and its place, and the time is that of `SOURCE_DATE_EPOCH` (which programs with reproducible
//! outputs read), or 0.

use std::env;

use sha2::{Digest, Sha256};

use super::super::super::failure::Failure;
use super::super::super::lines::Line;

/// A UUID of version 8 (RFC 9562, section 5.8): a hash of the line, its number and the name of its file.
pub(super) fn uuid(line: &Line) -> String {
    let mut hash = Sha256::new();
    hash.update((line.file.len() as u64).to_le_bytes());
    hash.update(line.file.as_bytes());
    hash.update(line.number.to_le_bytes());
    hash.update(&line.bytes);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The time of all responses of a run, in seconds since 1970.
pub(super) fn created() -> Result<u64, Failure> {
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH") else { return Ok(0) };
    text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Failure::Setup(format!("SOURCE_DATE_EPOCH must be a number of seconds since 1970, and is {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_belongs_to_the_line_and_its_place() {
        let line = |number, bytes: &[u8]| Line { file: "requests".into(), number, bytes: bytes.to_vec() };
        let id = uuid(&line(1, b"{}"));
        assert_eq!(id, uuid(&line(1, b"{}")));
        assert!(id != uuid(&line(2, b"{}")) && id != uuid(&line(1, b"{} ")));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(id.as_bytes()[14] == b'8' && matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
    }
}

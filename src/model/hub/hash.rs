//! The two hashes by which the Hub knows a file, and computing them.
//!
//! A file in Git LFS (or Xet) is known by the SHA-256 of its bytes. Any other file is known by git's own name for it:
//! the SHA-1 of `blob <size>\0` and its bytes. In the cache a file lies under its hash, so that it can be checked
//! without asking anyone.

use std::fmt;
use std::io::{self, Read};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How much is read at a time.
pub(super) const BUFFER: usize = 256 << 10;

/// A file's hash as the Hub states it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum FileHash {
    Sha256(String),
    Git(String),
}

impl FileHash {
    /// Tells the kind by the length: 64 hexadecimal digits, or 40.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        match text.len() {
            64 => Some(FileHash::Sha256(text.to_owned())),
            40 => Some(FileHash::Git(text.to_owned())),
            _ => None,
        }
    }

    /// The hexadecimal digits: the file's name among the cache's blobs.
    pub(super) fn as_str(&self) -> &str {
        match self {
            FileHash::Sha256(text) | FileHash::Git(text) => text,
        }
    }

    /// Begins to compute this kind of hash of a file with so many bytes.
    pub(super) fn hasher(&self, size: u64) -> Hasher {
        match self {
            FileHash::Sha256(_) => Hasher::Sha256(Sha256::new()),
            FileHash::Git(_) => Hasher::Git(Sha1::new_with_prefix(format!("blob {size}\0"))),
        }
    }

    /// This kind of hash of all that can be read.
    pub(super) fn of(&self, mut file: impl Read, size: u64) -> io::Result<Self> {
        let mut hasher = self.hasher(size);
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileHash::Sha256(text) => write!(f, "SHA-256 {text}"),
            FileHash::Git(text) => write!(f, "git SHA-1 {text}"),
        }
    }
}

/// A hash of the bytes so far.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Git(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> FileHash {
        match self {
            Hasher::Sha256(hash) => FileHash::Sha256(hex(&hash.finalize())),
            Hasher::Git(hash) => FileHash::Git(hex(&hash.finalize())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_git_and_of_lfs() {
        // `printf hello | git hash-object --stdin`, and the SHA-256 of the same bytes.
        let git = FileHash::parse("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0").unwrap();
        let sha = FileHash::parse("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824").unwrap();
        assert_eq!(git.of(&b"hello"[..], 5).unwrap(), git);
        assert_eq!(sha.of(&b"hello"[..], 5).unwrap(), sha);
        assert_ne!(sha.of(&b"hellO"[..], 5).unwrap(), sha);
    }

    #[test]
    fn other_words_are_no_hashes() {
        for text in ["", "abc", "../../../../../../../../../../../../../etc", &"g".repeat(40), &"A".repeat(64)] {
            assert_eq!(FileHash::parse(text), None, "{text}");
        }
    }
}

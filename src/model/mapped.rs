//! A file's bytes without a copy of them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

/// The bytes of a file, for as long as a model is loaded from it.
#[derive(Debug)]
pub(crate) struct FileBytes {
    bytes: Bytes,
    map: Option<Arc<Mmap>>,
}

struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FileBytes {
    /// Maps a file into memory.
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map must not change while it is read. Nobody is to write to a model's file while it is loaded, and the
        // map is gone after that; ONNX Runtime reads files in the same way. What is read is checked as if it were foreign.
        let map = Arc::new(unsafe { Mmap::map(&file)? });
        Ok(Self { bytes: Bytes::from_owner(Owner(map.clone())), map: Some(map) })
    }

    /// Takes bytes that are in memory anyway.
    pub(crate) fn in_memory(bytes: Bytes) -> Self {
        Self { bytes, map: None }
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Says that a part is not needed soon, so that it need not stay in memory. It may be read again.
    #[cfg(unix)]
    pub(crate) fn done_with(&self, part: &[u8]) {
        use memmap2::UncheckedAdvice;

        const PAGE: usize = 4096;
        let Some(map) = &self.map else { return };
        let Some(from) = (part.as_ptr() as usize).checked_sub(map.as_ptr() as usize) else { return };
        let (from, to) = (from.next_multiple_of(PAGE), (from + part.len()) / PAGE * PAGE);
        if from < to && to <= map.len() {
            // SAFETY: the map is private and never written to: what is dropped is read from the file again when it is
            // wanted. It is only a hint, so that an error does not matter.
            _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, from, to - from) };
        }
    }

    /// There is no such hint here.
    #[cfg(not(unix))]
    pub(crate) fn done_with(&self, _: &[u8]) {
        let _ = &self.map;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_still_there() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        io::Write::write_all(&mut file, &bytes).unwrap();
        let mapped = FileBytes::map(file.path()).unwrap();
        let all = mapped.bytes();
        for (from, to) in [(0, 100_000), (5_000, 90_001), (17, 18), (99_999, 100_000)] {
            mapped.done_with(&all[from..to]);
            assert_eq!(all, bytes);
        }
        mapped.done_with(&[1, 2, 3]);
        let copy = FileBytes::in_memory(Bytes::from_static(b"abc"));
        copy.done_with(&copy.bytes());
        assert_eq!(copy.bytes(), "abc");
    }
}

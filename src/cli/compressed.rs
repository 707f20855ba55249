//! Files that may be compressed, read and written as what they hold.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::failure::Failure;
use super::input::shown;
use super::job::Finish;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The base-2 logarithm of the window that the program `zstd` accepts where nothing is said: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What the program `zstd` takes where nothing is said.
const ZSTD_LEVEL: i32 = 3;

/// Opens a file, or standard input for `-`. What is named `.gz` or `.zst`, or begins as such a file does, is decompressed
/// while it is read.
pub(super) fn open(path: &str) -> Result<Box<dyn BufRead + Send>, Failure> {
    open_counted(path, Arc::default())
}

/// As [`open`]; `read` is counted up by the bytes that were read of the file as it is.
pub(super) fn open_counted(path: &str, read: Arc<AtomicU64>) -> Result<Box<dyn BufRead + Send>, Failure> {
    let cannot = |error: io::Error| Failure::Setup(format!("cannot read {}: {error}", shown(path)));
    let source: Box<dyn Read + Send> = match path {
        "-" => Box::new(io::stdin()),
        path => Box::new(File::open(path).map_err(cannot)?),
    };
    decompress(Counted { source, read }, path).map_err(cannot)
}

/// Whether a file is compressed, by its name or its beginning.
pub(super) fn is_compressed(path: &str) -> Result<bool, Failure> {
    let cannot = |error: io::Error| Failure::Setup(format!("cannot read {path}: {error}"));
    let start = start(&mut File::open(path).map_err(cannot)?).map_err(cannot)?;
    Ok(Kind::of(&start, path) != Kind::Plain)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Gzip,
    Zstd,
}

impl Kind {
    fn of(start: &[u8], path: &str) -> Self {
        match Self::by_name(Path::new(path)) {
            Kind::Plain if start.starts_with(&GZIP) => Kind::Gzip,
            Kind::Plain if start.starts_with(&ZSTD) => Kind::Zstd,
            kind => kind,
        }
    }

    fn by_name(path: &Path) -> Self {
        match path.extension().and_then(OsStr::to_str) {
            Some("gz") => Kind::Gzip,
            Some("zst") => Kind::Zstd,
            _ => Kind::Plain,
        }
    }
}

fn start(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(ZSTD.len() as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn decompress(mut file: impl Read + Send + 'static, path: &str) -> io::Result<Box<dyn BufRead + Send>> {
    let start = start(&mut file)?;
    let kind = Kind::of(&start, path);
    let whole = BufReader::new(Cursor::new(start).chain(file));
    Ok(match kind {
        Kind::Plain => Box::new(whole),
        Kind::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(whole))),
        Kind::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(BufReader::new(decoder))
        }
    })
}

/// What a job does with its results at the end, where the name of their file wants them compressed.
pub(super) fn finish(path: &Path) -> Option<Finish> {
    let kind = Kind::by_name(path);
    (kind != Kind::Plain)
        .then(|| -> Finish { Box::new(move |results, file| compress(kind, results, file).map_err(Failure::Output)) })
}

/// Writes all of a file's bytes, compressed where its name wants that.
pub(super) fn write(path: &Path, mut bytes: &[u8], file: &mut dyn Write) -> io::Result<()> {
    compress(Kind::by_name(path), &mut bytes, file)
}

fn compress(kind: Kind, results: &mut impl Read, file: &mut dyn Write) -> io::Result<()> {
    let mut results = BufReader::new(results);
    match kind {
        Kind::Plain => io::copy(&mut results, file).map(drop),
        Kind::Gzip => {
            let mut encoder = GzEncoder::new(file, Compression::default());
            io::copy(&mut results, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Kind::Zstd => {
            let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            io::copy(&mut results, &mut encoder)?;
            encoder.finish().map(drop)
        }
    }
}

struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(kind: Kind, bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        compress(kind, &mut &bytes[..], &mut packed).unwrap();
        packed
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        packed(Kind::Gzip, bytes)
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        packed(Kind::Zstd, bytes)
    }

    fn all(bytes: &[u8], name: &str) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        decompress(Cursor::new(bytes.to_vec()), name)?.read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn files_are_known_by_their_names_and_by_their_beginnings() {
        let text = b"q 0 d 1\n".repeat(100_000);
        for name in ["x.gz", "x", "-"] {
            assert!(all(&gzip(&text), name).unwrap() == text);
        }
        for name in ["x.zst", "x", "-"] {
            assert!(all(&zstd(&text), name).unwrap() == text);
        }
        assert!(all(&text, "x").unwrap() == text);
        assert_eq!(all(b"", "x").unwrap(), b"");
        assert_eq!(all(b"q", "x").unwrap(), b"q");
    }

    #[test]
    fn parts_follow_each_other() {
        assert_eq!(all(&[gzip(b"a\n"), gzip(b"b\n")].concat(), "x.gz").unwrap(), b"a\nb\n");
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        assert_eq!(all(&[zstd(b"a\n"), skipped, zstd(b"b\n")].concat(), "x.zst").unwrap(), b"a\nb\n");
    }

    #[test]
    fn damaged_files_are_errors() {
        let text = b"query Q0 document 1 0.5 tag\n".repeat(1000);
        for (bytes, name) in [(gzip(&text), "x.gz"), (zstd(&text), "x.zst")] {
            assert!(all(&bytes[..bytes.len() - 1], name).is_err(), "{name} is cut short");
            assert!(all(&[&bytes[..], b"rest"].concat(), name).is_err() || name == "x.gz", "{name} has a rest");
            assert!(all(b"q 0 d 1\n", name).is_err(), "{name} is no such file");
            let mut changed = bytes.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert!(all(&changed, name).is_err(), "{name} has another checksum");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (start, name) in [(&b""[..], "x.gz"), (b"", "x.zst"), (&ZSTD, "x"), (&GZIP, "x")] {
                let _ = all(&[start, &bytes].concat(), name);
            }
        }
    }
}

//! Files that may be compressed, read as what they hold.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::failure::Failure;
use super::input::shown;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What the program `zstd` accepts where nothing is said.
const ZSTD_WINDOW: u64 = 128 << 20;

/// Opens a file, or standard input for `-`. What is named `.gz` or `.zst`, or begins as such a file does, is decompressed
/// while it is read.
pub(super) fn open(path: &str) -> Result<Box<dyn BufRead>, Failure> {
    let cannot = |error: io::Error| Failure::Setup(format!("cannot read {}: {error}", shown(path)));
    let file: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin()),
        path => Box::new(File::open(path).map_err(cannot)?),
    };
    decompress(file, path).map_err(cannot)
}

fn decompress(mut file: impl Read + 'static, path: &str) -> io::Result<Box<dyn BufRead>> {
    let mut start = Vec::new();
    file.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
    let extension = Path::new(path).extension().unwrap_or_default();
    let (gzip, zstd) = (start.starts_with(&GZIP) || extension == "gz", start.starts_with(&ZSTD) || extension == "zst");
    let whole = BufReader::new(Cursor::new(start).chain(file));
    Ok(if gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(whole)))
    } else if zstd {
        Box::new(BufReader::new(ZstdReader::new(whole)))
    } else {
        Box::new(whole)
    })
}

/// Reads zstd's frames one after another, as `zstd -d` does, with their checksums.
struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        Self { source, decoder, in_frame: false }
    }

    /// Reads the header of the next frame, and skips frames that hold no data; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut (&mut self.source).take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(damaged(error)),
            }
        }
        Ok(false)
    }

    fn check_sum(&self) -> io::Result<()> {
        match self.decoder.get_checksum_from_data() {
            Some(sum) if Some(sum) != self.decoder.get_calculated_checksum() => {
                Err(damaged("its checksum is that of other data"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.check_sum()?;
                self.in_frame = false;
            } else {
                let some = BlockDecodingStrategy::UptoBytes(buffer.len());
                self.decoder.decode_blocks(&mut self.source, some).map_err(damaged)?;
            }
        }
    }
}

fn damaged(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the zstd data are damaged or cut short: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
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

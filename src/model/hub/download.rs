//! One file from the Hub into the cache.
//!
//! The bytes go to `<hash>.incomplete`, where a later attempt finds them and asks for the rest only. When all are there
//! and have the hash that the Hub stated, the file is flushed to the disk and gets its name. A lock makes sure that
//! one process fetches a file and the others wait.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use ureq::Body;
use ureq::http::{Method, Response, StatusCode, header};

use super::cache::{Cache, cannot_write, sync_folder};
use super::events::{HubEvent, Report};
use super::hash::{BUFFER, FileHash, Hasher};
use super::http::{ATTEMPTS, Client, Failure, Retries, Subject};
use super::listing::{RepositoryFile, file_url};
use super::name::Repository;
use crate::error::{Error, ErrorKind, Result};

/// An attempt that gained so many bytes is not counted among the failed ones.
const WORTH_AN_ATTEMPT: u64 = 1 << 20;

/// What is downloaded, and who is told.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) cache: &'a Cache,
    pub(super) repository: &'a Repository,
    pub(super) commit: &'a str,
    pub(super) report: Report<'a>,
}

impl Download<'_> {
    /// Makes sure that the cache has a file's bytes.
    pub(super) fn fetch(&self, file: &RepositoryFile) -> Result<()> {
        let (Some(hash), Some(size)) = (&file.hash, file.size) else {
            let message = format!("the size and hash of {} are not known", file.name);
            return Err(Error::new(ErrorKind::Hub, message));
        };
        let name = file.name.as_str();
        if !self.cache.has_blob(hash, Some(size)) {
            let _lock = self.cache.lock(hash, || (self.report)(&HubEvent::Waiting { file: name }))?;
            // Whoever had the lock may have fetched it.
            if !self.cache.has_blob(hash, Some(size)) {
                Partial::open(&self.cache.incomplete(hash), name, hash, size)?.complete(self)?;
                let (from, to) = (self.cache.incomplete(hash), self.cache.blob(hash));
                fs::rename(&from, &to).map_err(|error| cannot_write(&to, error))?;
                sync_folder(&to);
            }
        }
        (self.report)(&HubEvent::Finished { file: name });
        Ok(())
    }

    fn subject<'a>(&'a self, file: &'a str) -> Subject<'a> {
        Subject { repository: self.repository.as_str(), revision: self.commit, file: Some(file) }
    }
}

/// A file that is not whole yet.
struct Partial<'a> {
    file: File,
    path: &'a Path,
    name: &'a str,
    hash: &'a FileHash,
    size: u64,
    /// The bytes that are there, and their hash so far.
    done: u64,
    hasher: Hasher,
}

impl<'a> Partial<'a> {
    /// Opens what an earlier attempt left, or an empty file.
    fn open(path: &'a Path, name: &'a str, hash: &'a FileHash, size: u64) -> Result<Self> {
        let failed = |error| cannot_write(path, error);
        let file = File::options().create(true).append(true).read(true).open(path).map_err(failed)?;
        let mut partial = Self { file, path, name, hash, size, done: 0, hasher: hash.hasher(size) };
        let mut buffer = vec![0; BUFFER];
        let mut there = File::open(path).map_err(failed)?;
        loop {
            match there.read(&mut buffer).map_err(failed)? {
                0 => break,
                n => {
                    partial.hasher.update(&buffer[..n]);
                    partial.done += n as u64;
                }
            }
        }
        if partial.done > size {
            partial.restart()?;
        }
        Ok(partial)
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|error| cannot_write(self.path, error))?;
        self.done = 0;
        self.hasher = self.hash.hasher(self.size);
        Ok(())
    }

    /// Fetches what is missing, checks all of it, and flushes it to the disk.
    fn complete(mut self, download: &Download<'_>) -> Result<()> {
        let mut resumed = self.done > 0;
        loop {
            self.fetch_rest(download)?;
            let found = self.hasher.clone().finish();
            if found == *self.hash {
                return self.file.sync_all().map_err(|error| cannot_write(self.path, error));
            }
            if resumed {
                // The beginning may be damaged, or of another's making.
                tracing::debug!(file = self.name, "the resumed file has a wrong hash: it is fetched again");
                self.restart()?;
                resumed = false;
                continue;
            }
            // Nobody is to resume from wrong bytes.
            _ = fs::remove_file(self.path);
            return Err(Error::new(
                ErrorKind::Hub,
                format!(
                    "{} arrived with the {found}, and the Hub states the {}; what arrived was removed. Try again; if it \
                     stays so, something on the way changes files",
                    download.subject(self.name),
                    self.hash
                ),
            ));
        }
    }

    /// Asks for the missing bytes until all are there, as long as that gets on.
    fn fetch_rest(&mut self, download: &Download<'_>) -> Result<()> {
        let subject = download.subject(self.name);
        let url = file_url(download.client, download.repository, download.commit, self.name);
        let retries = Retries::new(download.report);
        self.report(download);
        while self.done < self.size {
            let before = self.done;
            let answer = download.client.send(&Method::GET, &url, before, subject)?;
            if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE || !self.fits(&answer) {
                // It cannot send the rest: all of it, then.
                self.restart()?;
                if before > 0 {
                    continue;
                }
                return Err(download.client.refusal(&answer, subject));
            }
            let error = match self.receive(answer, download)? {
                Ok(()) => return Ok(()),
                Err(error) => Error::new(
                    ErrorKind::Hub,
                    format!(
                        "{subject} breaks off after {} of {} bytes; they are kept, and the next attempt goes on from there",
                        self.done, self.size
                    ),
                )
                .with_source(error),
            };
            if self.done >= before.saturating_add(WORTH_AN_ATTEMPT) {
                retries.progressed();
            }
            retries.wait(error, None, ATTEMPTS)?;
        }
        Ok(())
    }

    /// Makes the file end where the answer begins. An answer of all bytes begins at the start.
    fn fits(&mut self, answer: &Response<Body>) -> bool {
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                range.is_some_and(|range| range.starts_with(&format!("bytes {}-", self.done)))
            }
            StatusCode::OK => self.done == 0 || self.restart().is_ok(),
            _ => false,
        }
    }

    /// Appends the answer's bytes. The inner error is one of the connection; what was received until then is kept.
    fn receive(&mut self, answer: Response<Body>, download: &Download<'_>) -> Result<io::Result<()>, Failure> {
        let mut body = answer.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        while self.done < self.size {
            let n = match body.read(&mut buffer) {
                Ok(0) => return Ok(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error)),
            };
            // More than was announced is not wanted.
            let n = n.min(usize::try_from(self.size - self.done).unwrap_or(usize::MAX));
            self.file.write_all(&buffer[..n]).map_err(|error| cannot_write(self.path, error))?;
            self.hasher.update(&buffer[..n]);
            self.done += n as u64;
            self.report(download);
        }
        Ok(Ok(()))
    }

    fn report(&self, download: &Download<'_>) {
        (download.report)(&HubEvent::Progress { file: self.name, bytes: self.done, size: self.size });
    }
}

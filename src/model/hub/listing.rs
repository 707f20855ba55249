//! Which files a repository has at a commit: asked from the Hub, recorded in the cache, or read off the cache.
//!
//! The Hub's answer to `/api/models/{repository}/revision/{revision}?blobs=true` names every file with its size and
//! hash, in one request. Where a server leaves size or hash out, they come from the headers of the file itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ureq::http::Method;

use super::hash::FileHash;
use super::http::{Client, Failure, Subject, word};
use super::name::{Repository, Revision, check_file, is_commit};
use crate::error::{Error, ErrorKind, Result};

/// The longest answer that is read, in bytes: a repository of 100,000 files has one of about 20 MB.
const LARGEST_ANSWER: u64 = 64 << 20;

/// The version of `huggingface_hub`'s listings that is understood.
const TREE_VERSION: u32 = 1;

/// The files of a repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<RepositoryFile>,
}

/// A file, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepositoryFile {
    pub(super) name: String,
    pub(super) size: Option<u64>,
    pub(super) hash: Option<FileHash>,
}

impl Listing {
    /// Asks the Hub.
    pub(super) fn ask(client: &Client<'_>, repository: &Repository, revision: &Revision) -> Result<Self, Failure> {
        let url = format!(
            "{}/api/models/{repository}/revision/{}?blobs=true",
            client.endpoint(),
            super::url_part(revision.as_str())
        );
        let subject = Subject { repository: repository.as_str(), revision: revision.as_str(), file: None };
        let answer = client.send(&Method::GET, &url, 0, subject)?;
        let read = answer.into_body().into_with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = read.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(limit) => {
                Failure::Refused(malformed(subject, &format!("it has more than {limit} bytes")))
            }
            error => Failure::Unreachable(malformed(subject, "it breaks off").with_source(error)),
        })?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| malformed(subject, "it is not JSON").with_source(error))?;
        let listing = answer.into_listing(subject)?;
        listing.check(repository)?;
        Ok(listing)
    }

    /// Refuses names that could lead out of the cache.
    fn check(&self, repository: &Repository) -> Result<()> {
        self.files.iter().try_for_each(|file| check_file(&file.name, repository))
    }

    /// The form in which a listing is kept in the cache.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let files = self.files.iter().map(|file| RecordedFile {
            name: file.name.clone(),
            size: file.size,
            hash: file.hash.as_ref().map(|hash| hash.as_str().to_owned()),
        });
        let recorded = Recorded { commit: self.commit.clone(), files: files.collect() };
        // Strings and numbers always serialise.
        serde_json::to_vec_pretty(&recorded).unwrap_or_default()
    }

    /// Reads a listing of the cache; one that is damaged is none.
    pub(super) fn from_json(bytes: &[u8], commit: &str, repository: &Repository) -> Option<Self> {
        let recorded: Recorded = serde_json::from_slice(bytes).ok()?;
        let files = recorded.files.into_iter().map(|file| RepositoryFile {
            hash: file.hash.and_then(|hash| FileHash::parse(&hash)),
            name: file.name,
            size: file.size,
        });
        let listing = Self { commit: recorded.commit, files: files.collect() };
        (listing.commit == commit && listing.check(repository).is_ok()).then_some(listing)
    }

    /// Reads a listing that `huggingface_hub` (2.4 does) keeps beside a repository's files, in its `_tree_cache.py`'s
    /// format; one that is damaged, or of another version of that format, is none.
    pub(super) fn from_tree(bytes: &[u8], commit: &str, repository: &Repository) -> Option<Self> {
        let tree: Tree = serde_json::from_slice(bytes).ok()?;
        let files = tree.files.into_iter().map(|(name, file)| RepositoryFile {
            name,
            size: Some(file.lfs_size.unwrap_or(file.size)),
            hash: FileHash::parse(file.lfs_sha256.as_deref().unwrap_or(&file.blob_id)),
        });
        let listing = Self { commit: commit.to_owned(), files: files.collect() };
        (tree.format_version == TREE_VERSION && listing.check(repository).is_ok()).then_some(listing)
    }
}

/// Reads bytes as each kind of listing; names that could lead out of the cache are in none, and what is kept of one is read
/// back the same.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let Ok(repository) = Repository::new("org/name") else { return };
    let subject = Subject { repository: repository.as_str(), revision: "main", file: None };
    let answer = serde_json::from_slice::<Answer>(bytes).ok().and_then(|answer| answer.into_listing(subject).ok());
    let answer = answer.filter(|listing| listing.check(&repository).is_ok());
    let recorded = Listing::from_json(bytes, COMMIT, &repository);
    let tree = Listing::from_tree(bytes, COMMIT, &repository);
    for listing in [answer, recorded, tree].into_iter().flatten() {
        let outside =
            |name: &str| std::path::Path::new(name).components().any(|c| !matches!(c, std::path::Component::Normal(_)));
        assert!(!listing.files.iter().any(|file| outside(&file.name)));
        let kept = Listing::from_json(&listing.to_json(), &listing.commit, &repository);
        assert_eq!(kept.as_ref(), Some(&listing));
    }
}

/// Asks for the size and hash of one file that the listing says too little about.
pub(super) fn ask_file(
    client: &Client<'_>,
    repository: &Repository,
    commit: &str,
    file: &mut RepositoryFile,
) -> Result<(), Failure> {
    let subject = Subject { repository: repository.as_str(), revision: commit, file: Some(&file.name) };
    let answer = client.send(&Method::HEAD, &file_url(client, repository, commit, &file.name), 0, subject)?;
    let headers = answer.headers();
    let etag = word(headers, "x-linked-etag").or_else(|| word(headers, "etag"));
    let hash = etag.and_then(|tag| FileHash::parse(tag.trim_start_matches("W/").trim_matches('"')));
    let size = word(headers, "x-linked-size").or_else(|| word(headers, "content-length"));
    match (hash, size.and_then(|size| size.parse().ok())) {
        (Some(hash), Some(size)) => {
            file.hash = Some(hash);
            file.size = Some(size);
            Ok(())
        }
        _ => Err(Failure::Refused(malformed(subject, "it states no size and hash that the file could be checked by"))),
    }
}

/// Where a file's bytes are.
pub(super) fn file_url(client: &Client<'_>, repository: &Repository, commit: &str, name: &str) -> String {
    let name: Vec<String> = name.split('/').map(super::url_part).collect();
    format!("{}/{repository}/resolve/{commit}/{}", client.endpoint(), name.join("/"))
}

fn malformed(subject: Subject<'_>, what: &str) -> Error {
    Error::new(ErrorKind::Hub, format!("the Hub's answer for {subject} cannot be used: {what}"))
}

#[derive(Deserialize)]
struct Answer {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Answer {
    fn into_listing(self, subject: Subject<'_>) -> Result<Listing> {
        let commit = self.sha.filter(|sha| is_commit(sha)).ok_or_else(|| malformed(subject, "it names no commit"))?;
        let files = self.siblings.into_iter().map(|sibling| match sibling.lfs {
            Some(lfs) => RepositoryFile {
                name: sibling.rfilename,
                size: lfs.size.or(sibling.size),
                hash: lfs.sha256.as_deref().and_then(FileHash::parse),
            },
            None => RepositoryFile {
                name: sibling.rfilename,
                size: sibling.size,
                hash: sibling.blob_id.as_deref().and_then(FileHash::parse),
            },
        });
        Ok(Listing { commit, files: files.collect() })
    }
}

#[derive(Deserialize)]
struct Tree {
    format_version: u32,
    files: BTreeMap<String, TreeFile>,
}

#[derive(Deserialize)]
struct TreeFile {
    size: u64,
    blob_id: String,
    lfs_sha256: Option<String>,
    lfs_size: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    commit: String,
    files: Vec<RecordedFile>,
}

#[derive(Serialize, Deserialize)]
struct RecordedFile {
    name: String,
    size: Option<u64>,
    hash: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_hubs_answer_and_what_is_kept_of_it() {
        let sha = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let answer = format!(
            r#"{{"id": "a/b", "sha": "{COMMIT}", "siblings": [
                {{"rfilename": "config.json", "size": 5, "blobId": "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"}},
                {{"rfilename": "model.onnx", "size": 9, "blobId": "{COMMIT}",
                  "lfs": {{"sha256": "{sha}", "size": 9, "pointerSize": 134}}}},
                {{"rfilename": "README.md"}}]}}"#
        );
        let answer: Answer = serde_json::from_str(&answer).unwrap();
        let subject = Subject { repository: "a/b", revision: "main", file: None };
        let listing = answer.into_listing(subject).unwrap();
        assert!(matches!(listing.files[0].hash, Some(FileHash::Git(_))));
        assert_eq!(listing.files[1].hash, Some(FileHash::Sha256(sha.to_owned())));
        assert_eq!(listing.files[2].hash, None);
        let repository = Repository::new("a/b").unwrap();
        assert_eq!(Listing::from_json(&listing.to_json(), COMMIT, &repository), Some(listing.clone()));
        assert_eq!(Listing::from_json(&listing.to_json(), &COMMIT.replace('0', "f"), &repository), None);
        assert_eq!(Listing::from_json(b"{", COMMIT, &repository), None);
    }
}

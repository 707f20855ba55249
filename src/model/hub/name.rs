//! Names that come from people or from the Hub: repositories, revisions, files.
//!
//! All of them become parts of a path in the cache, so that all of them are checked before they are used. The rules for
//! repositories are those of `huggingface_hub.utils.validate_repo_id`, the rules for revisions those of
//! `git check-ref-format`, and a file's name must stay below the folder that it is put in on every platform.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// The longest part of a repository's name, by the Hub's rules.
const LONGEST_PART: usize = 96;

/// The longest revision: what file systems can hold.
const LONGEST_REVISION: usize = 200;

/// A checked `organisation/name`, or `name` of the Hub's first years.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository(String);

/// A checked branch, tag or commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revision(String);

impl Repository {
    pub(super) fn new(id: &str) -> Result<Self> {
        let parts: Vec<&str> = id.split('/').collect();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let good = |part: &&str| {
            part.len() <= LONGEST_PART
                && part.starts_with(word)
                && part.ends_with(word)
                && part.chars().all(|c| word(c) || c == '-' || c == '.')
                && !part.contains("--")
                && !part.contains("..")
        };
        if parts.len() > 2 || !parts.iter().all(good) || id.ends_with(".git") {
            return Err(Error::new(
                ErrorKind::Options,
                format!(
                    "`{}` is not the name of a repository: that is `organisation/name`, each of at most {LONGEST_PART} \
                     letters, digits, `_`, `-` and `.`",
                    shown(id)
                ),
            ));
        }
        Ok(Self(id.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its folder in the cache: `models--organisation--name`.
    pub(super) fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }
}

impl Revision {
    pub(super) fn new(name: &str) -> Result<Self> {
        let forbidden = |c: char| !c.is_ascii_graphic() || "~^:?*[\\<>|\"".contains(c);
        let bad_part =
            |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || part.ends_with(".lock");
        if name.len() > LONGEST_REVISION
            || name.contains(forbidden)
            || name.starts_with('-')
            || name.contains("..")
            || name.contains("@{")
            || name.split('/').any(bad_part)
        {
            return Err(Error::new(
                ErrorKind::Options,
                format!("`{}` is not a revision: that is the name of a branch or tag, or a commit", shown(name)),
            ));
        }
        Ok(Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit, if it is one: what it names can never change.
    pub(super) fn commit(&self) -> Option<&str> {
        is_commit(&self.0).then_some(self.0.as_str())
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this is a full commit hash.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Refuses a file's name that could lead out of the folder it is put in, here or on another platform.
///
/// A repository with such a name is refused as a whole: git itself cannot hold one, so that somebody made it up.
pub(super) fn check_file(name: &str, repository: &Repository) -> Result<()> {
    let drive = name.as_bytes().get(1) == Some(&b':');
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if drive || name.contains(|c: char| c == '\\' || c.is_control()) || name.split('/').any(bad_part) {
        return Err(Error::new(
            ErrorKind::Hub,
            format!(
                "the Hub lists a file `{}` in {repository}, a name that could lead out of the cache; nothing was fetched",
                shown(name)
            ),
        ));
    }
    Ok(())
}

/// A stranger's word, fit for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn repositories() {
        for good in ["BAAI/bge-reranker-v2-m3", "gpt2", "a/b", "cross-encoder/ms-marco-MiniLM-L6-v2", "x_1/y.z"] {
            assert_eq!(Repository::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(97);
        for bad in [
            "", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a b/c", "a/b--c", "-a/b", "a/b-", "a/b.git", "a\\b", "ä/b",
            "C:/x", "a/b\n", &long,
        ] {
            assert_eq!(Repository::new(bad).unwrap_err().kind(), ErrorKind::Options, "{bad:?}");
        }
        assert_eq!(Repository::new("a/b").unwrap().folder(), "models--a--b");
    }

    #[test]
    fn revisions() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for good in ["main", "refs/pr/1", "v1.0", commit, "feature/x-y_z"] {
            Revision::new(good).unwrap();
        }
        for bad in ["", "..", "a/../b", "/a", "a/", "a//b", "-x", ".x", "x.lock", "a b", "a:b", "a\\b", "a@{1}", "ä"] {
            assert_eq!(Revision::new(bad).unwrap_err().kind(), ErrorKind::Options, "{bad:?}");
        }
        assert_eq!(Revision::new(commit).unwrap().commit(), Some(commit));
        assert_eq!(Revision::new("main").unwrap().commit(), None);
    }

    #[test]
    fn files_that_would_escape() {
        let repository = Repository::new("a/b").unwrap();
        for good in ["config.json", "onnx/model.onnx", "1_Pooling/config.json", "..x", "a b.txt", "x..y"] {
            check_file(good, &repository).unwrap();
        }
        for bad in [
            "",
            "..",
            "../x",
            "a/../../x",
            "/etc/x",
            "a//b",
            "./x",
            "a\\b",
            "..\\x",
            "C:\\x",
            "C:/x",
            "c:x",
            "a\0b",
            "a\nb",
            "x/.",
        ] {
            assert!(check_file(bad, &repository).is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// What is let through stays below the folder that it is joined to.
        #[test]
        fn a_checked_name_is_a_plain_relative_path(name in r#"[a-c./\\: \x00-\x1f~]{0,12}"#) {
            if check_file(&name, &Repository::new("a/b").unwrap()).is_ok() {
                prop_assert!(Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))));
            }
        }

        #[test]
        fn a_checked_revision_is_a_plain_relative_path(name in r#"[a-c./@{\\: \-]{0,12}"#) {
            if let Ok(revision) = Revision::new(&name) {
                let path = Path::new(revision.as_str());
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}

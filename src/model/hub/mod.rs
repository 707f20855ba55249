//! Models from the Hugging Face Hub.
//!
//! A [`HubModel`] says which repository, which revision and which of its files. What happens then goes one way:
//!
//! ```text
//! name (checked) → settings (environment) → cache, or http → listing → plan → download → snapshot (a folder)
//! ```
//!
//! - [`name`]: repositories, revisions and file names, checked before they become paths;
//! - [`settings`]: the variables of `huggingface_hub`;
//! - [`http`]: requests, redirects, the token, retries; [`listing`]: which files a commit has;
//! - [`plan`]: which of them the model needs, and what is missing; [`cache`]: the folders on disk; [`session`]: whom to
//!   ask, the cache or the Hub, and fetching a plan;
//! - [`download`]: one file, resumed, locked, checked by its [`hash`]; [`verify`]: the same check later;
//! - [`events`]: what is told meanwhile.
//!
//! The addresses and headers are those that `huggingface_hub` uses (`HfApi.model_info` with `files_metadata`, and
//! `hf_hub_download`), and so is the cache's layout: what one has fetched, the other finds.

mod cache;
mod download;
mod events;
mod hash;
mod http;
mod listing;
mod name;
mod plan;
mod session;
mod settings;
mod verify;

use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::catalogue::CatalogueEntry;
use super::choice::FileChoice;
use super::precision::Precision;
use crate::error::Result;
pub use events::HubEvent;
use events::Listener;
#[cfg(fuzzing)]
pub(crate) use listing::fuzz as fuzz_listing;
use name::{Repository, Revision};
pub use plan::{HubFile, HubPlan};
use session::Session;
pub use verify::{FileState, VerifiedFile};

/// The branch that is meant where none is named.
const DEFAULT_REVISION: &str = "main";

/// A model of the Hugging Face Hub: made by [`ModelSource::hub`](crate::ModelSource::hub).
///
/// ```no_run
/// use crossrank::{HubEvent, ModelSource, Precision, Reranker};
///
/// let model = ModelSource::hub("BAAI/bge-reranker-v2-m3").precision(Precision::Int8).progress(|event| {
///     if let HubEvent::Progress { file, bytes, size } = event {
///         println!("{file}: {bytes} of {size} bytes");
///     }
/// });
/// let reranker = Reranker::builder().model(model).build()?;
/// # Ok::<(), crossrank::Error>(())
/// ```
///
/// # What is fetched
///
/// The ONNX file, its external data, and the JSON files that a model's folder may have; nothing else of the repository. The
/// ONNX file is `model.onnx`, else `onnx/model.onnx`, else an encoder-decoder's two (`encoder_model.onnx` and
/// `decoder_model.onnx`, there or in `onnx`), else the only one that the repository has; [`precision`](Self::precision) or
/// [`onnx_file`](Self::onnx_file) choose another.
/// Every file is checked by size and hash before it gets its name. An interrupted fetch goes on where it stopped.
///
/// # When the network is used
///
/// A branch or tag is asked for each time, in one request, as it may have moved; only what is missing is fetched. A
/// commit that was fetched before needs no network. Offline nothing is asked, and what the cache has is used. If the Hub
/// cannot be reached, the cached commit of the branch is used and [`HubEvent::Unreachable`] says so.
///
/// # The environment
///
/// The variables are those of `huggingface_hub`; the methods of this type go before them.
///
/// | variable | meaning |
/// | --- | --- |
/// | `HF_HOME` | the folder with the cache (`hub`) and the login (`token`); by default `~/.cache/huggingface` |
/// | `HF_HUB_CACHE` | the cache alone |
/// | `HF_TOKEN`, `HF_TOKEN_PATH` | the token for gated and private repositories, or a file with it; by default `$HF_HOME/token`, where `hf auth login` puts it |
/// | `HF_ENDPOINT` | another Hub or a mirror; by default `https://huggingface.co` |
/// | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | `1`: no network at all |
/// | `HF_HUB_DOWNLOAD_TIMEOUT` | the seconds of silence after which a connection is given up; by default 10 |
/// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | `1`: no token but one that is set by [`token`](Self::token) |
/// | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies |
/// | `SSL_CERT_FILE` | certificates to trust, in PEM, instead of Mozilla's list |
#[derive(Debug, Clone)]
#[must_use]
pub struct HubModel {
    repository: String,
    revision: Option<String>,
    file: FileChoice,
    cache_dir: Option<PathBuf>,
    token: Option<Secret>,
    endpoint: Option<String>,
    offline: Option<bool>,
    listener: Listener,
    entry: Option<&'static CatalogueEntry>,
}

impl HubModel {
    pub(super) fn new(repository: impl Into<String>) -> Self {
        Self {
            repository: repository.into(),
            revision: None,
            file: FileChoice::default(),
            cache_dir: None,
            token: None,
            endpoint: None,
            offline: None,
            listener: Listener::default(),
            entry: None,
        }
    }

    /// The model of a catalogue's entry.
    pub(super) fn of_catalogue(entry: &'static CatalogueEntry) -> Self {
        Self { entry: Some(entry), ..Self::new(entry.repository()) }
    }

    /// Reads `organisation/name` or `organisation/name@revision`, and checks both.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let mut model = Self::new(repository);
        if let Some(revision) = revision {
            model = model.revision(revision);
        }
        model.names()?;
        Ok(model)
    }

    /// A branch, a tag or a commit; by default the branch `main`. Only a commit always names the same files.
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// The precision of the ONNX file; by default fp32, see [above](Self#what-is-fetched). A precision that is set on an
    /// engine's builder goes before this one.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.file.precision = Some(precision);
        self
    }

    /// The ONNX file by its name in the repository, such as `onnx/model_qint8_avx512_vnni.onnx`.
    pub fn onnx_file(mut self, name: impl Into<String>) -> Self {
        self.file.onnx_file = Some(name.into());
        self
    }

    /// The cache's folder, instead of the one that the environment says (`HF_HUB_CACHE`).
    pub fn cache_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(path.into());
        self
    }

    /// The token for a gated or private repository, instead of `HF_TOKEN`. It is sent to the Hub alone, never to a host that the Hub
    /// redirects to.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret(token.into()));
        self
    }

    /// The Hub's address, instead of `HF_ENDPOINT`.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Whether the network is out of bounds, whatever `HF_HUB_OFFLINE` says.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = Some(offline);
        self
    }

    /// A function that is told what happens while the model is fetched.
    pub fn progress(mut self, listener: impl Fn(&HubEvent<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Listener(std::sync::Arc::new(listener));
        self
    }

    /// The repository: `organisation/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What would be fetched. This asks the Hub, unless the commit is known or the network is out of bounds, and fetches
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Hub`](crate::ErrorKind::Hub) if the repository does not exist, may not be read or cannot be reached, or is not in the cache
    /// and the network is out of bounds; [`ErrorKind::Model`](crate::ErrorKind::Model) if it has no usable ONNX file; [`ErrorKind::Options`](crate::ErrorKind::Options) if an
    /// option makes no sense.
    pub fn plan(&self) -> Result<HubPlan> {
        Session::open(self)?.plan(&self.choice(&FileChoice::default())?)
    }

    /// Fetches what is missing, and returns what is then in the cache: the model is in [`HubPlan::folder`].
    ///
    /// Loading an engine does the same; this is for fetching in advance.
    ///
    /// # Errors
    ///
    /// As for [`plan`](Self::plan); [`ErrorKind::Hub`](crate::ErrorKind::Hub) also if a file's hash is wrong, a connection fails for good, or the disk
    /// has no room; [`ErrorKind::Io`](crate::ErrorKind::Io) if the cache cannot be written.
    pub fn pull(&self) -> Result<HubPlan> {
        self.fetch(&FileChoice::default())
    }

    /// Reads every file of the cached revision again and compares its hash with the Hub's. No network is used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Hub`](crate::ErrorKind::Hub) if nothing of the revision is in the cache, [`ErrorKind::Io`](crate::ErrorKind::Io) if a file cannot be read.
    pub fn verify(&self) -> Result<Vec<VerifiedFile>> {
        Session::open(self)?.verify()
    }

    /// Fetches what is missing of the file that a builder asks for, else of this model's own choice.
    pub(super) fn fetch(&self, builder: &FileChoice) -> Result<HubPlan> {
        Session::open(self)?.pull(&self.choice(builder)?)
    }

    /// The catalogue's entry, if the model was named by it.
    pub(super) fn entry(&self) -> Option<&'static CatalogueEntry> {
        self.entry
    }

    /// What people call the model: `hub:organisation/name`, with the revision if one was named.
    pub(super) fn title(&self) -> String {
        let revision = self.revision.as_ref().map_or(String::new(), |revision| format!("@{revision}"));
        format!("hub:{}{revision}", self.repository)
    }

    fn names(&self) -> Result<(Repository, Revision)> {
        let revision = self.revision.as_deref().unwrap_or(DEFAULT_REVISION);
        Ok((Repository::new(&self.repository)?, Revision::new(revision)?))
    }

    /// The ONNX file: the builder's choice, else the model's; where the catalogue knows a precision's file, that one.
    fn choice(&self, builder: &FileChoice) -> Result<FileChoice> {
        let chosen = if builder.onnx_file.is_some() || builder.precision.is_some() { builder } else { &self.file };
        chosen.check()?;
        let precision = chosen.precision.unwrap_or(Precision::Fp32);
        let known = self.entry.filter(|_| chosen.onnx_file.is_none()).and_then(|entry| entry.file(precision));
        Ok(match known {
            Some(file) => {
                FileChoice { onnx_file: Some(file.to_owned()), one_graph: builder.one_graph, ..FileChoice::default() }
            }
            None => FileChoice { one_graph: builder.one_graph, ..chosen.clone() },
        })
    }
}

/// A word that is not shown.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A part of an address: everything but RFC 3986's unreserved characters is encoded, as by Python's `quote(safe="")`.
fn url_part(text: &str) -> String {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn names_with_and_without_a_revision() {
        let model = HubModel::parse("BAAI/bge@refs/pr/1").unwrap();
        assert_eq!((model.repository(), model.revision.as_deref()), ("BAAI/bge", Some("refs/pr/1")));
        assert_eq!(model.title(), "hub:BAAI/bge@refs/pr/1");
        assert_eq!(HubModel::parse("BAAI/bge").unwrap().title(), "hub:BAAI/bge");
        for bad in ["", "../x", "a/b@", "a/b@..", "a/b/c", "a b/c"] {
            assert_eq!(HubModel::parse(bad).unwrap_err().kind(), ErrorKind::Options, "{bad:?}");
        }
        assert_eq!(url_part("refs/pr/1 ü"), "refs%2Fpr%2F1%20%C3%BC");
    }

    #[test]
    fn a_builder_goes_before_the_model() {
        let model = HubModel::new("a/b").precision(Precision::Int8);
        let builder = FileChoice { precision: Some(Precision::Q4), ..FileChoice::default() };
        assert_eq!(model.choice(&builder).unwrap().precision, Some(Precision::Q4));
        assert_eq!(model.choice(&FileChoice::default()).unwrap().precision, Some(Precision::Int8));
        assert_eq!(model.onnx_file("x.onnx").choice(&FileChoice::default()).unwrap_err().kind(), ErrorKind::Options);
    }
}

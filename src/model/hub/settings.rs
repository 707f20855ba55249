//! The environment variables of `huggingface_hub`, and what a [`HubModel`] says instead.
//!
//! Their meaning is that of the Python library (`huggingface_hub/constants.py`), so that one setting serves both.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::HubModel;
use crate::error::{Error, ErrorKind, Result};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The longest silence of a server that is waited out, in seconds, as in `huggingface_hub`.
const DEFAULT_TIMEOUT: u64 = 10;

/// A day: more seconds may be more than a clock can count.
const LONGEST_TIMEOUT: u64 = 86_400;

/// Where the Hub and the cache are, and who asks.
#[derive(Clone)]
pub(super) struct Settings {
    /// Without a slash at its end.
    pub(super) endpoint: String,
    pub(super) cache: PathBuf,
    pub(super) token: Option<String>,
    pub(super) offline: bool,
    /// The longest silence of the server.
    pub(super) timeout: Duration,
    /// Certificates in PEM to trust instead of those that come with the crate.
    pub(super) certificates: Option<PathBuf>,
}

impl Settings {
    /// What the model says, else the environment, else the defaults.
    pub(super) fn new(model: &HubModel) -> Result<Self> {
        Self::read(model, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(model: &HubModel, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let endpoint = match &model.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
        };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if endpoint.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().unwrap_or("").contains('@')) {
            // It is shown in messages, and may be sent on: it must hold no secret.
            let message =
                "the Hub's address (HF_ENDPOINT) holds a user name or a password; leave them out, and set HF_TOKEN";
            return Err(Error::new(ErrorKind::Options, message));
        }
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(Error::new(
                ErrorKind::Options,
                format!("the Hub's address (HF_ENDPOINT) is `{endpoint}`; it begins with https:// or http://"),
            ));
        }
        let home = home(&variable);
        let cache = match &model.cache_dir {
            Some(cache) => cache.clone(),
            None => variable("HF_HUB_CACHE")
                .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
                .map(|path| expanded(&path))
                .or_else(|| Some(home.clone()?.join("hub")))
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::Options,
                        "there is no home folder to keep models of the Hub in; set HF_HOME to a folder",
                    )
                })?,
        };
        let offline = model.offline.unwrap_or_else(|| {
            variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE")).is_some_and(|value| is_true(&value))
        });
        let timeout = variable("HF_HUB_DOWNLOAD_TIMEOUT")
            .and_then(|seconds| seconds.trim().parse().ok())
            .filter(|seconds| *seconds > 0)
            .map_or(DEFAULT_TIMEOUT, |seconds: u64| seconds.min(LONGEST_TIMEOUT));
        Ok(Self {
            endpoint,
            cache,
            token: model.token.as_ref().map(|token| token.0.clone()).or_else(|| token(&variable, home.as_deref())),
            offline,
            timeout: Duration::from_secs(timeout),
            certificates: variable("SSL_CERT_FILE").map(PathBuf::from),
        })
    }
}

/// A token is nobody else's business.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// `HF_HOME`, by default `~/.cache/huggingface` on every platform.
fn home(variable: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if let Some(home) = variable("HF_HOME") {
        return Some(expanded(&home));
    }
    let cache = match variable("XDG_CACHE_HOME") {
        Some(cache) => expanded(&cache),
        None => std::env::home_dir()?.join(".cache"),
    };
    Some(cache.join("huggingface"))
}

/// `~/x` as a shell reads it.
fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// `HF_TOKEN`, else the file that `hf auth login` wrote.
fn token(variable: &impl Fn(&str) -> Option<String>, home: Option<&Path>) -> Option<String> {
    if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
        return None;
    }
    let clean = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let named = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).and_then(clean);
    named.or_else(|| {
        let file = variable("HF_TOKEN_PATH").map(|path| expanded(&path)).or_else(|| Some(home?.join("token")))?;
        clean(fs::read_to_string(file).ok()?)
    })
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(model: HubModel, variables: &[(&str, &str)]) -> Result<Settings> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(&model, find)
    }

    fn model() -> HubModel {
        HubModel::new("a/b")
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        let cache = |variables: &[_]| settings(model(), variables).unwrap().cache;
        assert_eq!(cache(&[("HF_HOME", "/h")]), Path::new("/h/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")]), Path::new("/old"));
        assert_eq!(cache(&[("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/old")]), Path::new("/c"));
        let own = settings(model().cache_dir("/mine"), &[("HF_HUB_CACHE", "/c")]).unwrap();
        assert_eq!(own.cache, Path::new("/mine"));
    }

    #[test]
    fn offline_by_either_variable_unless_the_caller_says() {
        let offline = |model, variables: &[_]| settings(model, variables).unwrap().offline;
        assert!(!offline(model(), &[]));
        for yes in ["1", "true", "ON", "Yes"] {
            assert!(offline(model(), &[("HF_HUB_OFFLINE", yes)]));
        }
        assert!(!offline(model(), &[("HF_HUB_OFFLINE", "0")]));
        assert!(offline(model(), &[("TRANSFORMERS_OFFLINE", "1")]));
        assert!(!offline(model().offline(false), &[("HF_HUB_OFFLINE", "1")]));
    }

    #[test]
    fn tokens() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let home = home.path().to_str().unwrap();
        let token = |model, variables: &[_]| settings(model, variables).unwrap().token;
        assert_eq!(token(model(), &[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        assert_eq!(token(model(), &[("HF_HOME", home), ("HF_TOKEN", " hf_x ")]).as_deref(), Some("hf_x"));
        let disabled = [("HF_HOME", home), ("HF_TOKEN", "hf_x"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(token(model(), &disabled), None);
        assert_eq!(token(model().token("hf_own"), &disabled).as_deref(), Some("hf_own"));
        let shown = format!("{:?}", settings(model().token("hf_secret"), &[("HF_HOME", home)]).unwrap());
        assert!(!shown.contains("hf_secret"), "{shown}");
        assert!(!format!("{:?}", model().token("hf_secret")).contains("hf_secret"));
    }

    #[test]
    fn an_address_that_is_none() {
        assert_eq!(settings(model().endpoint("ftp://x"), &[]).unwrap_err().kind(), ErrorKind::Options);
        let secret = settings(model().endpoint("http://user:passw0rd@host"), &[]).unwrap_err();
        assert!(!secret.to_string().contains("passw0rd") && secret.to_string().contains("HF_TOKEN"), "{secret}");
        let patient = settings(model(), &[("HF_HUB_DOWNLOAD_TIMEOUT", "18446744073709551615")]).unwrap();
        assert_eq!(patient.timeout.as_secs(), LONGEST_TIMEOUT);
        let mirror = settings(model(), &[("HF_ENDPOINT", "http://mirror:80/"), ("HF_HOME", "/h")]).unwrap();
        assert_eq!(mirror.endpoint, "http://mirror:80");
    }
}

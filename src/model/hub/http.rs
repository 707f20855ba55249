//! Requests to the Hub: redirects, the token, timeouts, retries, and what an answer's status means.
//!
//! Redirects are followed here and not by the client, because the token must go to the Hub alone: large files are
//! redirected to other hosts, whose addresses carry their own permission.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::events::{HubEvent, Report};
use super::settings::Settings;
use crate::error::{Error, ErrorKind, Result};

/// How often a request is made before it has failed.
pub(super) const ATTEMPTS: u32 = 5;

/// How often a host is tried that cannot be reached at all.
const CONNECTION_ATTEMPTS: u32 = 2;

/// The first pause between two attempts; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const REDIRECTS: usize = 10;

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer, or the server's own failure: the cache may stand in.
    Unreachable(Error),
    /// An answer that will not change.
    Refused(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(error) | Failure::Refused(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Refused(error)
    }
}

/// What is asked for, for messages.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) repository: &'a str,
    pub(super) revision: &'a str,
    pub(super) file: Option<&'a str>,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = self.file {
            write!(f, "{file} of ")?;
        }
        write!(f, "{}@{}", self.repository, self.revision)
    }
}

/// A client for one Hub.
pub(super) struct Client<'a> {
    agent: Agent,
    endpoint: String,
    /// `Bearer …`
    authorization: Option<header::HeaderValue>,
    report: Report<'a>,
}

impl<'a> Client<'a> {
    pub(super) fn new(settings: &Settings, report: Report<'a>) -> Result<Self> {
        let authorization = settings.token.as_ref().map(|token| {
            let mut value = header::HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                Error::new(ErrorKind::Options, "the Hub's token (HF_TOKEN) holds characters that no token has")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        let roots = match &settings.certificates {
            Some(path) => {
                let pem = fs::read(path).map_err(|error| {
                    Error::new(ErrorKind::Io, format!("cannot read {} (SSL_CERT_FILE)", path.display()))
                        .with_source(error)
                })?;
                let certificates = parse_pem(&pem).filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                });
                let certificates: Vec<_> = certificates.collect();
                if certificates.is_empty() {
                    let message = format!("{} (SSL_CERT_FILE) holds no certificate in PEM", path.display());
                    return Err(Error::new(ErrorKind::Options, message));
                }
                RootCerts::Specific(Arc::new(certificates))
            }
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("crossrank/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(settings.timeout))
            .timeout_connect(Some(settings.timeout))
            .timeout_per_read(Some(settings.timeout))
            .timeout_per_write(Some(settings.timeout))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            endpoint: settings.endpoint.clone(),
            authorization: authorization.transpose()?,
            report,
        })
    }

    /// The Hub's address, without a slash at its end.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes a request until it is answered with something else than a passing failure.
    ///
    /// With `from`, the answer is the rest of a file from that byte on (206), or all of it (200), or 416 where the file
    /// ends before.
    pub(super) fn send(
        &self,
        method: &Method,
        url: &str,
        from: u64,
        subject: Subject<'_>,
    ) -> Result<Response<Body>, Failure> {
        let retries = Retries::new(self.report);
        loop {
            match self.follow(method, url, from) {
                Ok(answer) if is_passing(answer.status()) => {
                    let error = self.refusal(&answer, subject);
                    let wait = wanted_pause(answer.headers());
                    drop(answer);
                    retries.wait(error, wait, ATTEMPTS)?;
                }
                Ok(answer) if is_answer(method, answer.status()) => return Ok(answer),
                Ok(answer) => return Err(Failure::Refused(self.refusal(&answer, subject))),
                Err(Broken::Never(error)) => return Err(Failure::Refused(error)),
                Err(Broken::Transport(error)) => {
                    let connected = !is_connection_failure(&error);
                    let error = Error::new(
                        ErrorKind::Hub,
                        format!("{subject} cannot be had from {}: no answer", self.endpoint),
                    )
                    .with_source(error);
                    retries.wait(error, None, if connected { ATTEMPTS } else { CONNECTION_ATTEMPTS })?;
                }
            }
        }
    }

    /// One request, and those that it is redirected to.
    fn follow(&self, method: &Method, url: &str, from: u64) -> Result<Response<Body>, Broken> {
        let mut url = url.parse::<Uri>().map_err(|_| bad_address(url))?;
        let home = self.endpoint.parse::<Uri>().map_err(|_| bad_address(&self.endpoint))?;
        for _ in 0..=REDIRECTS {
            let mut request = Request::builder().method(method).uri(&url).header(header::ACCEPT_ENCODING, "identity");
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if let Some(token) = self.authorization.as_ref().filter(|_| same_origin(&url, &home)) {
                request = request.header(header::AUTHORIZATION, token);
            }
            let request = request.body(()).map_err(|_| bad_address(&url.to_string()))?;
            let answer = self.agent.run(request).map_err(Broken::Transport)?;
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| answer.status().is_redirection()) else {
                return Ok(answer);
            };
            let next = joined(&url, location).ok_or_else(|| bad_address(location))?;
            if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                let message = format!("{} redirects to an address without encryption; that is refused", self.endpoint);
                return Err(Broken::Never(Error::new(ErrorKind::Hub, message)));
            }
            // The Hub's own answer describes the file; the host that it redirects to has other tags.
            if method == Method::HEAD && (answer.headers().contains_key("x-linked-etag") || !same_origin(&next, &url)) {
                return Ok(answer);
            }
            url = next;
        }
        let message = format!("{} redirects more than {REDIRECTS} times", self.endpoint);
        Err(Broken::Never(Error::new(ErrorKind::Hub, message)))
    }

    /// The error for an answer that is none.
    pub(super) fn refusal(&self, answer: &Response<Body>, subject: Subject<'_>) -> Error {
        let status = answer.status();
        let code = word(answer.headers(), "x-error-code").unwrap_or_default();
        let page = format!("{}/{}", self.endpoint, subject.repository);
        let token = match &self.authorization {
            Some(_) => "the token that was sent does not open it: check that it may read this repository",
            None => "set HF_TOKEN to a token that may read it",
        };
        let message = match status.as_u16() {
            401 if code != "GatedRepo" => format!(
                "the Hub says that {subject} needs a login (401): the repository does not exist, or is private or gated. \
                 Check the name; if it is right, accept the licence at {page} if there is one, and {token}"
            ),
            401 | 403 => format!(
                "the Hub refuses {subject} ({}): the repository is gated or private. Accept the licence at {page} if there \
                 is one, and {token}",
                status.as_u16()
            ),
            404 => match subject.file {
                Some(_) => format!("the Hub does not have {subject} (404)"),
                None => format!(
                    "the Hub does not have {subject} (404): the repository or its revision does not exist, or it is private. \
                     Check both; for a private one, {token}"
                ),
            },
            other => format!("the Hub at {} answers {other} for {subject}", self.endpoint),
        };
        let message = match word(answer.headers(), "x-error-message") {
            Some(said) => format!("{message} (it says: {said})"),
            None => message,
        };
        Error::new(ErrorKind::Hub, message)
    }
}

/// Counts attempts, and sleeps between them.
pub(super) struct Retries<'a> {
    done: Cell<u32>,
    report: Report<'a>,
}

impl<'a> Retries<'a> {
    pub(super) fn new(report: Report<'a>) -> Self {
        Self { done: Cell::new(0), report }
    }

    /// Something was gained since the last attempt.
    pub(super) fn progressed(&self) {
        self.done.set(0);
    }

    /// Sleeps before the next attempt, or returns the error if there is to be none.
    pub(super) fn wait(&self, error: Error, wanted: Option<Duration>, attempts: u32) -> Result<(), Failure> {
        let done = self.done.get() + 1;
        self.done.set(done);
        let pause = wanted.unwrap_or(FIRST_PAUSE * 2u32.saturating_pow(done - 1));
        if pause > LONGEST_PAUSE {
            let message = format!("{error}; it asks to wait {} seconds: try again then", pause.as_secs());
            return Err(Failure::Unreachable(Error::new(ErrorKind::Hub, message)));
        }
        if done >= attempts {
            return Err(Failure::Unreachable(error));
        }
        tracing::debug!(error = %error.chain(), ?pause, "trying again");
        (self.report)(&HubEvent::Retrying { reason: &error.chain(), pause });
        thread::sleep(pause);
        Ok(())
    }
}

enum Broken {
    Transport(ureq::Error),
    /// Trying again would not help.
    Never(Error),
}

fn bad_address(url: &str) -> Broken {
    let shown = super::name::shown(url);
    Broken::Never(Error::new(ErrorKind::Hub, format!("`{shown}` is not an address that can be asked")))
}

fn is_answer(method: &Method, status: StatusCode) -> bool {
    status.is_success()
        || status == StatusCode::RANGE_NOT_SATISFIABLE
        || (method == Method::HEAD && status.is_redirection())
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether a host was never spoken to, which seldom changes within seconds.
fn is_connection_failure(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, InvalidData, NetworkUnreachable};
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_) => true,
        // A certificate that is not trusted comes as data that is not valid.
        ureq::Error::Io(error) => {
            [ConnectionRefused, HostUnreachable, InvalidData, NetworkUnreachable].contains(&error.kind())
        }
        _ => false,
    }
}

/// The pause of `Retry-After: 30`, or of the Hub's `RateLimit: "api";r=0;t=30`.
fn wanted_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |text: &str| text.trim().parse().ok().map(Duration::from_secs);
    if let Some(pause) = word(headers, "retry-after").and_then(|text| seconds(&text)) {
        return Some(pause);
    }
    let limit = word(headers, "ratelimit")?;
    let has_none_left = limit.split(';').any(|part| part.trim() == "r=0");
    limit.split(';').filter(|_| has_none_left).find_map(|part| seconds(part.trim().strip_prefix("t=")?))
}

/// A header's text, fit for a message.
pub(super) fn word(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.chars().filter(|c| !c.is_control()).take(300).collect())
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let origin = |uri: &Uri| {
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        (uri.host().unwrap_or_default().to_ascii_lowercase(), port, scheme)
    };
    origin(a) == origin(b)
}

/// Where a `Location` leads from an address (RFC 3986, section 5, without `..`, which servers do not send).
fn joined(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let text = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let uri = text.parse::<Uri>().ok()?;
    uri.host().is_some().then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_hub_itself_is_the_hub() {
        let hub = uri("https://huggingface.co");
        assert!(same_origin(&uri("https://HuggingFace.co:443/x"), &hub));
        for other in [
            "http://huggingface.co/x",
            "https://huggingface.co:8443/x",
            "https://huggingface.co.evil.org/x",
            "https://cdn-lfs.huggingface.co/x",
            "https://huggingface.co@evil.org/x",
        ] {
            assert!(!same_origin(&uri(other), &hub), "{other}");
        }
    }

    #[test]
    fn where_locations_lead() {
        let base = uri("https://hub.example:8443/a/resolve/main/x.json");
        for (location, leads) in [
            ("https://cdn.example/y?z=1", "https://cdn.example/y?z=1"),
            ("//cdn.example/y", "https://cdn.example/y"),
            ("/b/resolve/main/x.json", "https://hub.example:8443/b/resolve/main/x.json"),
            ("y.json", "https://hub.example:8443/a/resolve/main/y.json"),
        ] {
            assert_eq!(joined(&base, location).unwrap(), uri(leads));
        }
        assert_eq!(joined(&base, "https://"), None);
    }

    #[test]
    fn pauses_that_servers_ask_for() {
        let pause = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(header::HeaderName::from_static(name), value.parse().unwrap())]);
            wanted_pause(&headers)
        };
        assert_eq!(pause("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(pause("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(pause("ratelimit", "\"api\";r=0;t=55"), Some(Duration::from_secs(55)));
        assert_eq!(pause("ratelimit", "\"api\";r=5;t=55"), None);
    }
}

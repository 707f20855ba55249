//! Requests, one a line, and their responses.
//!
//! A [`Service`] says how a line is to be understood and how the answer is to be written. Those of other programs are
//! answered as the service would: its response, or its error. What protects a server from its users (the size of a body,
//! the number of texts in one request that TEI sets at its start, rates) is no part of it.

mod cohere;
mod fastapi;
mod identity;
mod infinity;
mod jina;
mod native;
mod python_json;
mod tei;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::failure::{Failure, Outcome};
use super::super::job::{Job, Unit, Worked};
use super::super::lines::{Line, Lines};
use super::Arguments;
use super::ranker::{Ranked, Ranker};
use crossrank::{Error, TruncationSide};

/// Whose requests and responses are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// This program's own.
    Native,
    Infinity,
    Tei,
    Cohere(cohere::Version),
    Jina,
}

/// What a request asks for.
#[derive(Debug, Default)]
struct Request {
    id: Option<Value>,
    query: String,
    documents: Vec<Document>,
    top_n: Option<usize>,
    return_documents: Option<bool>,
    raw_scores: Option<bool>,
    /// Nothing may be cut.
    must_fit: bool,
    /// The side at which longer inputs are to be cut.
    cut: Option<TruncationSide>,
}

/// A document of a request: its text, and the object that it was, if it was one.
#[derive(Debug)]
struct Document {
    text: String,
    object: Option<Value>,
}

impl Document {
    fn text(text: String) -> Self {
        Self { text, object: None }
    }
}

/// Why a request is not answered with results.
#[derive(Debug)]
enum Refusal {
    /// The line is no JSON.
    Malformed { message: String },
    /// The JSON is no such request.
    Invalid { id: Option<Value>, message: String },
    /// The models cannot do it.
    Failed { id: Option<Value>, error: Error },
    /// The service has said it in its own way.
    Own { body: String, message: String },
}

impl Refusal {
    fn message(&self) -> String {
        match self {
            Refusal::Malformed { message } | Refusal::Invalid { message, .. } | Refusal::Own { message, .. } => {
                message.clone()
            }
            Refusal::Failed { error, .. } => error.chain(),
        }
    }
}

/// What a service says of itself.
struct Server<'a> {
    ranker: &'a Ranker,
    /// The model in one line.
    title: String,
    /// The model as services name theirs: `organisation/name`.
    name: String,
    /// The most tokens of a pair.
    max_length: usize,
    /// The side at which longer pairs are cut.
    cut: TruncationSide,
    /// The time of all responses.
    created: u64,
}

impl<'a> Server<'a> {
    fn new(ranker: &'a Ranker, created: u64) -> Self {
        let info = ranker.info();
        let name = info.name.strip_prefix("hub:").unwrap_or(&info.name);
        let mut parts: Vec<&str> = name.rsplit(['/', '\\']).filter(|part| !part.is_empty()).take(2).collect();
        parts.reverse();
        Self {
            ranker,
            title: info.title(),
            name: parts.join("/"),
            max_length: info.max_length,
            cut: info.truncation.side(),
            created,
        }
    }
}

/// A request with its results.
struct Answer<'a> {
    line: &'a Line,
    request: &'a Request,
    ranked: &'a Ranked,
    server: &'a Server<'a>,
    raw_scores: bool,
    return_documents: bool,
}

impl Answer<'_> {
    /// Documents and their scores. What a cascade did not cross-encode has none, and is left out.
    fn scored(&self) -> impl Iterator<Item = (usize, f32)> {
        self.ranked.results.iter().filter_map(|result| result.score.map(|score| (result.index, score)))
    }

    /// Services answer with all documents or with none.
    fn refuse_failures(&self) -> Result<(), Refusal> {
        match self.ranked.failures.first() {
            Some(error) => Err(Refusal::Failed { id: None, error: error.clone() }),
            None => Ok(()),
        }
    }

    fn count_tokens(&self, text: &str) -> Result<usize, Refusal> {
        self.server.ranker.count_tokens(text).map_err(|error| Refusal::Failed { id: None, error })
    }
}

impl Service {
    pub(super) const COHERE_V1: Service = Service::Cohere(cohere::Version::V1);
    pub(super) const COHERE_V2: Service = Service::Cohere(cohere::Version::V2);

    /// `reads` is the most tokens of a pair.
    fn read(self, line: &str, reads: usize) -> Result<Request, Refusal> {
        match self {
            Service::Native => native::read(line),
            Service::Infinity => infinity::read(line),
            Service::Tei => tei::read(line),
            Service::Cohere(version) => cohere::read(version, line, reads),
            Service::Jina => jina::read(line),
        }
    }

    fn write(self, answer: &Answer<'_>) -> Result<String, Refusal> {
        match self {
            Service::Native => Ok(native::write(answer)),
            Service::Infinity => infinity::write(answer),
            Service::Tei => tei::write(answer),
            Service::Cohere(version) => cohere::write(version, answer),
            Service::Jina => jina::write(answer),
        }
    }

    fn refuse(self, refusal: &Refusal, line: &Line) -> String {
        match self {
            Service::Native => native::refuse(refusal),
            Service::Infinity => infinity::refuse(refusal),
            Service::Tei => tei::refuse(refusal),
            Service::Cohere(version) => cohere::refuse(version, refusal, line),
            Service::Jina => jina::refuse(refusal),
        }
    }
}

/// A value on one line.
fn json_line(value: &impl Serialize) -> String {
    // Our own types have string keys and finite numbers alone: they always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

impl Unit for Line {
    fn fingerprint(&self, hash: &mut Sha256) {
        hash.update((self.bytes.len() as u64).to_le_bytes());
        hash.update(&self.bytes);
    }
}

/// Reads a line as a request of each service; a refusal is one line of JSON.
#[cfg(fuzzing)]
pub(in crate::cli) fn fuzz(line: &[u8]) {
    let line = Line { file: "-".into(), number: 1, bytes: line.to_vec() };
    let services =
        [Service::Native, Service::Infinity, Service::Tei, Service::COHERE_V1, Service::COHERE_V2, Service::Jina];
    for service in services {
        let read = line.text().map_err(|message| Refusal::Malformed { message });
        if let Err(refusal) = read.and_then(|text| service.read(text, 512)) {
            let body = service.refuse(&refusal, &line);
            assert!(!body.contains('\n'), "{body}");
            assert!(serde_json::from_str::<Value>(&body).is_ok(), "{body}");
            assert!(!refusal.message().is_empty());
        }
    }
}

pub(super) fn run(arguments: &Arguments, service: Service) -> Result<Outcome, Failure> {
    let created = identity::created()?;
    let Some(place) = arguments.job.open()? else { return Ok(Outcome::Done) };
    let lines = Lines::open(&arguments.files)?;
    let ranker = Ranker::load(arguments)?;
    let mut settings = ranker.settings(arguments);
    for (name, value) in [
        ("command", "rerank requests".to_owned()),
        ("--format", format!("{service:?}")),
        ("--raw-scores", arguments.raw_scores.to_string()),
        ("--return-documents", arguments.return_documents.to_string()),
        ("SOURCE_DATE_EPOCH", created.to_string()),
    ] {
        settings.insert(name.to_owned(), value);
    }
    let job = Job {
        arguments: &arguments.job,
        place,
        settings,
        extent: lines.extent(),
        units: "requests",
        items: "pairs",
        workers: ranker.threads(),
        finish: None,
    };
    let server = Server::new(&ranker, created);
    // A blank line between requests is no request.
    let requests = lines.filter(|line| !line.as_ref().is_ok_and(Line::is_blank));
    let ended = job.run(requests, |line| {
        let answered = answer(arguments, service, &server, &line);
        let (response, tally, reasons) = match answered {
            Ok(answered) => answered,
            Err(refusal) => (service.refuse(&refusal, &line), Default::default(), vec![refusal.message()]),
        };
        Worked {
            results: (response + "\n").into_bytes(),
            failure: (!reasons.is_empty()).then(|| (line.name(), reasons)),
            tally,
        }
    })?;
    ranker.report_cuts(&ended.tally);
    Ok(ended.outcome)
}

/// The response to a line, what is counted of it, and what failed in it.
type Answered = (String, super::super::job::Tally, Vec<String>);

fn answer(arguments: &Arguments, service: Service, server: &Server<'_>, line: &Line) -> Result<Answered, Refusal> {
    let text = line.text().map_err(|message| Refusal::Malformed { message })?;
    let request = service.read(text, server.max_length)?;
    let raw_scores = request.raw_scores.unwrap_or(arguments.raw_scores);
    let mut options = arguments.rank_options().raw_scores(raw_scores);
    if let Some(n) = request.top_n {
        options = options.top_n(n);
    }
    let texts: Vec<&str> = request.documents.iter().map(|document| document.text.as_str()).collect();
    let ranked = server
        .ranker
        .rank(&request.query, &texts, &options)
        .map_err(|error| Refusal::Failed { id: request.id.clone(), error })?;
    let response = service.write(&Answer {
        line,
        request: &request,
        ranked: &ranked,
        server,
        raw_scores,
        return_documents: request.return_documents.unwrap_or(arguments.return_documents),
    })?;
    let reasons = ranked.failures.iter().map(Error::chain).collect();
    Ok((response, ranked.tally(texts.len()), reasons))
}

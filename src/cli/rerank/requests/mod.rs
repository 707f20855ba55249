//! Requests, one a line, and their responses.
//!
//! A [`Service`] says how a line is to be understood and how the answer is to be written.

mod native;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::failure::{Failure, Outcome};
use super::super::job::{Job, Unit, Worked};
use super::super::lines::{Line, Lines};
use super::Arguments;
use super::ranker::{Ranked, Ranker};
use crossrank::Error;

/// Whose requests and responses are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// This program's own.
    Native,
}

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct Request {
    id: Option<Value>,
    query: String,
    documents: Vec<Document>,
    top_n: Option<usize>,
    return_documents: Option<bool>,
    raw_scores: Option<bool>,
}

/// A document of a request: its text, and the object that it was, if it was one.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    object: Option<Value>,
}

/// Why a request is not answered with results.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The line is no JSON.
    Malformed { message: String },
    /// The JSON is no such request.
    Invalid { id: Option<Value>, message: String },
    /// The models cannot do it.
    Failed { id: Option<Value>, error: Error },
}

impl Refusal {
    fn message(&self) -> String {
        match self {
            Refusal::Malformed { message } | Refusal::Invalid { message, .. } => message.clone(),
            Refusal::Failed { error, .. } => error.chain(),
        }
    }
}

/// A request with its results.
struct Answer<'a> {
    request: &'a Request,
    ranked: &'a Ranked,
    model: &'a str,
    raw_scores: bool,
    return_documents: bool,
}

impl Service {
    fn read(self, line: &str) -> Result<Request, Refusal> {
        match self {
            Service::Native => native::read(line),
        }
    }

    fn write(self, answer: &Answer<'_>) -> Result<String, Refusal> {
        match self {
            Service::Native => Ok(native::write(answer)),
        }
    }

    fn refuse(self, refusal: &Refusal) -> String {
        match self {
            Service::Native => native::refuse(refusal),
        }
    }
}

impl Unit for Line {
    fn fingerprint(&self, hash: &mut Sha256) {
        hash.update((self.bytes.len() as u64).to_le_bytes());
        hash.update(&self.bytes);
    }
}

pub(super) fn run(arguments: &Arguments, service: Service) -> Result<Outcome, Failure> {
    let Some(place) = arguments.job.open()? else { return Ok(Outcome::Done) };
    let lines = Lines::open(&arguments.files)?;
    let ranker = Ranker::load(arguments)?;
    let mut settings = ranker.settings(arguments);
    for (name, value) in [
        ("command", "rerank requests".to_owned()),
        ("--format", format!("{service:?}")),
        ("--raw-scores", arguments.raw_scores.to_string()),
        ("--return-documents", arguments.return_documents.to_string()),
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
    let model = ranker.model();
    // A blank line between requests is no request.
    let requests = lines.filter(|line| !line.as_ref().is_ok_and(Line::is_blank));
    let ended = job.run(requests, |line| {
        let answered = answer(arguments, service, &ranker, &model, &line);
        let (response, tally, reasons) = match answered {
            Ok(answered) => answered,
            Err(refusal) => (service.refuse(&refusal), Default::default(), vec![refusal.message()]),
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

fn answer(
    arguments: &Arguments,
    service: Service,
    ranker: &Ranker,
    model: &str,
    line: &Line,
) -> Result<Answered, Refusal> {
    let text = line.text().map_err(|message| Refusal::Malformed { message })?;
    let request = service.read(text)?;
    let raw_scores = request.raw_scores.unwrap_or(arguments.raw_scores);
    let mut options = arguments.rank_options().raw_scores(raw_scores);
    if let Some(n) = request.top_n {
        options = options.top_n(n);
    }
    let texts: Vec<&str> = request.documents.iter().map(|document| document.text.as_str()).collect();
    let ranked = ranker
        .rank(&request.query, &texts, &options)
        .map_err(|error| Refusal::Failed { id: request.id.clone(), error })?;
    let response = service.write(&Answer {
        request: &request,
        ranked: &ranked,
        model,
        raw_scores,
        return_documents: request.return_documents.unwrap_or(arguments.return_documents),
    })?;
    let reasons = ranked.failures.iter().map(Error::chain).collect();
    Ok((response, ranked.tally(texts.len()), reasons))
}

//! A small HTTP server with the Hub's addresses, for tests.
//!
//! It answers `/api/models/{repository}/revision/{revision}` and `/{repository}/resolve/{revision}/{file}` as the Hub does:
//! large files (ONNX, external data, safetensors) are redirected to `/cdn/{hash}` and known by their SHA-256, others are
//! sent at once and known by git's hash. What it was asked is recorded; rules change its answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit of every repository here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names are in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An answer.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    cut: Option<usize>,
    /// A pause before each so many bytes.
    slow: Option<(usize, Duration)>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, slow: None }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub fn slow(mut self, bytes: usize, pause: Duration) -> Self {
        self.slow = Some((bytes, pause));
        self
    }

    /// All bytes, or those that a `Range` asks for.
    pub fn file(bytes: &[u8], asked: &Asked) -> Self {
        let from = asked.header("range").map(|range| {
            let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')).unwrap();
            from.parse::<usize>().unwrap()
        });
        match from {
            None => Self::new(200, bytes),
            Some(from) if from >= bytes.len() => Self::new(416, ""),
            Some(from) => Self::new(206, &bytes[from..])
                .with("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
        }
    }
}

/// Changes an answer: it gets the request, how many of its kind came before, and the usual answer.
type Rule = Box<dyn Fn(&Asked, usize, Reply) -> Reply + Send + Sync>;

struct State {
    repository: String,
    files: BTreeMap<String, Vec<u8>>,
    listing: Mutex<Value>,
    rules: Vec<Rule>,
    asked: Mutex<Vec<Asked>>,
}

/// A Hub with one repository. It ends with the process.
pub struct HubServer {
    pub url: String,
    state: Arc<State>,
}

/// What a server will be.
pub struct Setup(State);

impl Setup {
    /// A repository with these files.
    pub fn new(repository: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files: BTreeMap<String, Vec<u8>> = files.into_iter().collect();
        let siblings: Vec<Value> = files.iter().map(|(name, bytes)| sibling(name, bytes)).collect();
        let listing = json!({"id": repository, "sha": COMMIT, "private": false, "siblings": siblings});
        Self(State {
            repository: repository.to_owned(),
            files,
            listing: Mutex::new(listing),
            rules: Vec::new(),
            asked: Mutex::default(),
        })
    }

    /// A repository with the files of a folder, and others that nobody needs.
    pub fn of_folder(repository: &str, folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        add_files(folder, "", &mut files);
        files.remove("expected.json");
        files.insert("README.md".to_owned(), b"# A model\n".to_vec());
        files.insert("model.safetensors".to_owned(), vec![7; 5000]);
        Self::new(repository, files)
    }

    pub fn rule(mut self, rule: impl Fn(&Asked, usize, Reply) -> Reply + Send + Sync + 'static) -> Self {
        self.0.rules.push(Box::new(rule));
        self
    }

    /// Changes what the Hub lists.
    pub fn listing(self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.0.listing.lock().unwrap());
        self
    }

    pub fn start(self) -> HubServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(self.0);
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(&state, stream));
            }
        });
        HubServer { url, state }
    }
}

impl HubServer {
    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// The requests for a path that holds this.
    pub fn asked_for(&self, part: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path.contains(part)).collect()
    }

    /// The requests for files' bytes.
    pub fn bodies(&self) -> Vec<Asked> {
        self.asked_for("/resolve/").into_iter().filter(|asked| asked.method == "GET").collect()
    }

    pub fn file(&self, name: &str) -> &[u8] {
        &self.state.files[name]
    }
}

/// What the Hub says of a file.
fn sibling(name: &str, bytes: &[u8]) -> Value {
    let mut sibling = json!({"rfilename": name, "size": bytes.len(), "blobId": git_hash(bytes)});
    if is_large(name) {
        sibling["lfs"] = json!({"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
    }
    sibling
}

pub fn is_large(name: &str) -> bool {
    name.contains(".onnx") || name.ends_with(".safetensors")
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn git_hash(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add_files(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            add_files(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

fn serve(state: &State, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some(asked) = read_request(&mut reader) else { return };
    let before = {
        let mut all = state.asked.lock().unwrap();
        let before = all.iter().filter(|one| one.method == asked.method && one.path == asked.path).count();
        all.push(asked.clone());
        before
    };
    let usual = usual(state, &asked);
    let reply = state.rules.iter().fold(usual, |reply, rule| rule(&asked, before, reply));
    // A client that was killed is no failure of the server.
    let _ = send(stream, &asked, &reply);
    // Until the client has closed its side, what was sent may be lost.
    let _ = reader.read(&mut [0]);
}

fn read_request(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Asked { method, path, headers })
}

fn usual(state: &State, asked: &Asked) -> Reply {
    let path = asked.path.split('?').next().unwrap();
    let repository = &state.repository;
    if let Some(revision) = path.strip_prefix(&format!("/api/models/{repository}/revision/")) {
        return match revision {
            "main" | "refs%2Fpr%2F1" | COMMIT => Reply::new(200, state.listing.lock().unwrap().to_string()),
            _ => Reply::new(404, "").with("X-Error-Code", "RevisionNotFound"),
        };
    }
    if let Some(name) = path.strip_prefix(&format!("/{repository}/resolve/{COMMIT}/")) {
        let Some(bytes) = state.files.get(name) else {
            return Reply::new(404, "").with("X-Error-Code", "EntryNotFound");
        };
        if is_large(name) {
            return Reply::new(302, "")
                .with("X-Repo-Commit", COMMIT)
                .with("X-Linked-Etag", format!("\"{}\"", sha256(bytes)))
                .with("X-Linked-Size", bytes.len())
                .with("Location", format!("/cdn/{}", sha256(bytes)));
        }
        return Reply::file(bytes, asked)
            .with("X-Repo-Commit", COMMIT)
            .with("ETag", format!("\"{}\"", git_hash(bytes)));
    }
    if let Some(hash) = path.strip_prefix("/cdn/")
        && let Some(bytes) = state.files.values().find(|bytes| sha256(bytes) == hash)
    {
        return Reply::file(bytes, asked).with("ETag", "\"of-the-cdn\"");
    }
    Reply::new(404, "").with("X-Error-Code", "RepoNotFound")
}

fn send(mut stream: TcpStream, asked: &Asked, reply: &Reply) -> std::io::Result<()> {
    let mut head =
        format!("HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(());
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    let (piece, pause) = reply.slow.unwrap_or((body.len().max(1), Duration::ZERO));
    for part in body.chunks(piece) {
        thread::sleep(pause);
        stream.write_all(part)?;
        stream.flush()?;
    }
    if reply.cut.is_some() {
        stream.shutdown(std::net::Shutdown::Both)?;
    } else {
        stream.shutdown(std::net::Shutdown::Write)?;
    }
    Ok(())
}

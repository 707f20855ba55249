//! Models of the Hub, against a server with the Hub's addresses.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossrank::{ErrorKind, FileState, HubEvent, HubFile, HubModel, ModelSource, Precision, Reranker};
use serde_json::json;
use tempfile::TempDir;

use crate::fixtures;
use crate::hub_server::{Asked, COMMIT, HubServer, Reply, Setup, git_hash, sha256};

const REPOSITORY: &str = "acme/tiny";
const NAME: &str = "hub:acme/tiny";

/// The files of the fixture that its model needs, in the order in which they are fetched.
const NEEDED: [&str; 4] = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx"];

fn tiny() -> Setup {
    Setup::of_folder(REPOSITORY, &fixtures::path("bert-cross-encoder"))
}

/// An `HF_HOME` of its own, and the command line in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn repository(&self) -> PathBuf {
        self.0.path().join("hub/models--acme--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    fn blob(&self, hash: &str) -> PathBuf {
        self.repository().join("blobs").join(hash)
    }

    /// The files below a folder of the repository's cache that are not whole.
    fn leftovers(&self) -> Vec<PathBuf> {
        let blobs = fs::read_dir(self.repository().join("blobs")).into_iter().flatten().flatten();
        blobs.map(|entry| entry.path()).filter(|path| path.extension().is_some()).collect()
    }

    fn model(&self, server: &HubServer) -> HubModel {
        ModelSource::hub(REPOSITORY).endpoint(&server.url).cache_dir(self.0.path().join("hub")).offline(false)
    }

    fn command(&self, endpoint: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("crossrank"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("HF_HOME", self.0.path()).env("HF_ENDPOINT", endpoint).env("NO_PROXY", "*");
        for variable in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "SSL_CERT_FILE"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, server: &HubServer, arguments: &[&str]) -> Output {
        self.command(&server.url, arguments).output().unwrap()
    }

    fn pull(&self, server: &HubServer) -> Output {
        self.run(server, &["models", "pull", NAME])
    }
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}

#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    assert_code(output, 2);
    for word in words {
        assert!(stderr(output).contains(word), "`{word}` is not in: {}", stderr(output));
    }
}

fn is_onnx(asked: &Asked) -> bool {
    asked.method == "GET" && asked.path.starts_with("/cdn/")
}

mod fetching {
    use super::*;

    #[test]
    fn a_model_is_fetched_and_scores_like_its_folder() {
        let (server, home) = (tiny().start(), Home::new());
        let folder = fixtures::path("bert-cross-encoder");
        let arguments = |model: &str| {
            let documents = fixtures::path("README.md").to_str().unwrap().to_owned();
            ["rerank", "--query", "the old library", "--reranker", model, &documents].map(str::to_owned).to_vec()
        };
        let run = |model: &str| {
            let arguments = arguments(model);
            home.run(&server, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let expected = run(folder.to_str().unwrap());
        assert_code(&expected, 0);
        assert!(server.asked().is_empty(), "a folder needs no network");
        let fetched = run(NAME);
        assert_code(&fetched, 0);
        assert_eq!(stdout(&fetched), stdout(&expected));
        assert!(stderr(&fetched).contains("fetching") && stderr(&fetched).contains(REPOSITORY), "{}", stderr(&fetched));

        // Only what is needed, and everything once.
        let bodies: Vec<String> = server.bodies().iter().map(|asked| asked.path.clone()).collect();
        let expected_bodies = NEEDED.map(|name| format!("/{REPOSITORY}/resolve/{COMMIT}/{name}"));
        assert_eq!(bodies, expected_bodies);

        // The layout of huggingface_hub.
        assert_eq!(fs::read_to_string(home.repository().join("refs/main")).unwrap(), COMMIT);
        for name in NEEDED {
            assert_eq!(fs::read(home.snapshot().join(name)).unwrap(), server.file(name), "{name}");
        }
        let onnx = home.blob(&sha256(server.file("model.onnx")));
        assert_eq!(fs::read(&onnx).unwrap(), server.file("model.onnx"));
        assert!(home.blob(&git_hash(server.file("config.json"))).is_file());
        #[cfg(unix)]
        assert_eq!(
            fs::read_link(home.snapshot().join("model.onnx")).unwrap(),
            Path::new("../../blobs").join(onnx.file_name().unwrap())
        );
        assert!(home.leftovers().is_empty());

        // Again: the branch is asked for, nothing is fetched.
        let asked = server.asked().len();
        assert_eq!(stdout(&run(NAME)), stdout(&expected));
        assert_eq!(server.asked().len(), asked + 1);
        assert!(server.asked().last().unwrap().path.starts_with("/api/models/acme/tiny/revision/main?blobs=true"));

        // A commit that is there needs no network at all.
        assert_eq!(stdout(&run(&format!("{NAME}@{COMMIT}"))), stdout(&expected));
        assert_eq!(server.asked().len(), asked + 1);

        // Neither does anything with the variable.
        let owned = arguments(NAME);
        let mut offline = home.command(&server.url, &owned.iter().map(String::as_str).collect::<Vec<_>>());
        let offline = offline.env("HF_HUB_OFFLINE", "1").output().unwrap();
        assert_code(&offline, 0);
        assert_eq!(stdout(&offline), stdout(&expected));
        assert_eq!(server.asked().len(), asked + 1);
    }

    #[test]
    fn an_engine_says_what_was_used() {
        let (server, home) = (tiny().start(), Home::new());
        let reranker = Reranker::builder().model(home.model(&server)).build().unwrap();
        let info = reranker.info();
        assert_eq!((info.name.as_str(), info.commit.as_deref()), (NAME, Some(COMMIT)));
        assert!(info.files.iter().any(|file| file.name == "model.onnx"));
    }

    #[test]
    fn progress_is_told() {
        let (server, home) = (tiny().start(), Home::new());
        let events = Arc::new(Mutex::new(Vec::new()));
        let listener = events.clone();
        let model = home.model(&server).progress(move |event| listener.lock().unwrap().push(format!("{event:?}")));
        let plan = model.plan().unwrap();
        assert!(!plan.is_cached());
        assert_eq!(plan.files().iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), NEEDED);
        let size: usize = NEEDED.iter().map(|name| server.file(name).len()).sum();
        assert_eq!((plan.total_bytes(), plan.missing_bytes()), (size as u64, size as u64));
        assert!(plan.free_bytes().is_some());
        assert!(events.lock().unwrap().is_empty() && server.bodies().is_empty(), "a plan fetches nothing");
        assert!(model.pull().unwrap().is_cached());
        let events = std::mem::take(&mut *events.lock().unwrap());
        assert!(events[0].starts_with("Plan"), "{}", events[0]);
        let onnx = server.file("model.onnx").len();
        let last = format!(r#"Progress {{ file: "model.onnx", bytes: {onnx}, size: {onnx} }}"#);
        assert!(events.contains(&last), "{events:?}");
        assert_eq!(events.last().unwrap(), r#"Finished { file: "model.onnx" }"#);
        model.pull().unwrap();
    }

    #[test]
    fn a_revision_with_slashes() {
        let (server, home) = (tiny().start(), Home::new());
        let plan = home.model(&server).revision("refs/pr/1").pull().unwrap();
        assert_eq!(plan.folder(), home.snapshot());
        assert_eq!(fs::read_to_string(home.repository().join("refs/refs/pr/1")).unwrap(), COMMIT);
    }

    #[test]
    fn a_precision_and_its_external_data() {
        let folder = fixtures::path("bert-cross-encoder");
        let mut files: Vec<(String, Vec<u8>)> =
            NEEDED[..3].iter().map(|name| ((*name).to_owned(), fs::read(folder.join(name)).unwrap())).collect();
        let external = |name: &str| fs::read(fixtures::path("external-data").join(name)).unwrap();
        files.push(("onnx/model.onnx".into(), external("model.onnx")));
        files.push(("onnx/model.onnx_data".into(), external("model.onnx_data")));
        files.push(("onnx/model_int8.onnx".into(), fs::read(folder.join("model.onnx")).unwrap()));
        files.push(("onnx/config.json".into(), b"{}".to_vec()));
        let (server, home) = (Setup::new(REPOSITORY, files).start(), Home::new());
        let onnx_files = |reranker: &Reranker| {
            let names = reranker.info().files.iter().map(|file| file.name.clone());
            names.filter(|name| name.starts_with("onnx/")).collect::<Vec<_>>()
        };
        let int8 = Reranker::builder().model(home.model(&server)).precision(Precision::Int8).build().unwrap();
        assert_eq!(onnx_files(&int8), ["onnx/model_int8.onnx"]);
        assert!(server.asked_for("onnx/model.onnx").is_empty() && server.asked_for("onnx/config").is_empty());
        // The weights of this one are linked to from elsewhere than the graph's own place.
        let fp32 = Reranker::builder().model(home.model(&server)).build().unwrap();
        assert_eq!(onnx_files(&fp32), ["onnx/model.onnx", "onnx/model.onnx_data"]);
        let documents = ["a bridge crosses the river"];
        let logit =
            |reranker: &Reranker| reranker.score("the river", &documents).unwrap().scores.remove(0).unwrap().logit;
        assert!((logit(&fp32) - logit(&int8)).abs() < 1e-4);
        let missing = Reranker::builder().model(home.model(&server)).precision(Precision::Q4).build().unwrap_err();
        assert!(missing.to_string().contains("onnx/model_q4.onnx"), "{missing}");
    }

    #[test]
    fn a_server_that_states_neither_sizes_nor_hashes() {
        let setup = tiny().listing(|listing| {
            for sibling in listing["siblings"].as_array_mut().unwrap() {
                *sibling = json!({"rfilename": sibling["rfilename"]});
            }
        });
        let (server, home) = (setup.start(), Home::new());
        home.model(&server).pull().unwrap();
        let heads = server.asked().iter().filter(|asked| asked.method == "HEAD").count();
        assert_eq!(heads, NEEDED.len(), "each file is asked for them");
        assert!(home.model(&server).verify().unwrap().iter().all(|file| file.state == FileState::Good));
    }
}

mod interruptions {
    use super::*;

    /// Whether a request is the first for the ONNX file's bytes.
    fn first(asked: &Asked, before: usize) -> bool {
        is_onnx(asked) && before == 0
    }

    #[test]
    fn a_slow_server_is_waited_for() {
        let setup = tiny().rule(|asked, _, reply| match is_onnx(asked) {
            true => reply.slow(50_000, Duration::from_millis(100)),
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        assert_code(&home.pull(&server), 0);
        assert_eq!(server.asked_for("/cdn/").len(), 1);
    }

    #[test]
    fn a_connection_that_breaks_is_resumed() {
        let setup = tiny().rule(|asked, before, reply| if first(asked, before) { reply.cut(100_000) } else { reply });
        let (server, home) = (setup.start(), Home::new());
        let output = home.pull(&server);
        assert_code(&output, 0);
        assert!(stderr(&output).contains("breaks off after 100000 of"), "{}", stderr(&output));
        let ranges: Vec<_> =
            server.asked_for("/cdn/").iter().map(|asked| asked.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
        assert_eq!(fs::read(home.snapshot().join("model.onnx")).unwrap(), server.file("model.onnx"));
    }

    #[test]
    fn a_server_that_falls_silent_is_given_up_and_asked_again() {
        let setup = tiny().rule(|asked, before, reply| match first(asked, before) {
            true => reply.slow(100_000, Duration::from_secs(30)),
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        let start = Instant::now();
        let mut command = home.command(&server.url, &["models", "pull", NAME]);
        let output = command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1").output().unwrap();
        assert_code(&output, 0);
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(server.asked_for("/cdn/").len(), 2);
    }

    #[test]
    fn a_server_without_ranges_is_asked_for_all() {
        let setup = tiny().rule(|asked, before, reply| match is_onnx(asked) {
            true if before == 0 => reply.cut(100_000),
            true => {
                let whole = Asked { headers: Default::default(), ..asked.clone() };
                let _ = reply;
                Reply::file(&fs::read(fixtures::path("bert-cross-encoder/model.onnx")).unwrap(), &whole)
            }
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        home.model(&server).pull().unwrap();
        assert_eq!(fs::read(home.snapshot().join("model.onnx")).unwrap(), server.file("model.onnx"));
    }

    /// Starts a fetch that stops in the middle of the ONNX file, and kills it there.
    fn killed(home: &Home) -> HubServer {
        let server = tiny()
            .rule(|asked, before, reply| match first(asked, before) {
                true => reply.slow(100_000, Duration::from_millis(400)),
                false => reply,
            })
            .start();
        let mut child = home.command(&server.url, &["models", "pull", NAME]).spawn().unwrap();
        let start = Instant::now();
        let partial = home.blob(&format!("{}.incomplete", sha256(server.file("model.onnx"))));
        while fs::metadata(&partial).map_or(0, |meta| meta.len()) == 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "the fetch does not begin");
            thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        server
    }

    #[test]
    fn a_fetch_that_was_killed_leaves_no_broken_cache() {
        let home = Home::new();
        let server = killed(&home);
        assert!(!home.snapshot().join("model.onnx").exists());
        assert!(!home.blob(&sha256(server.file("model.onnx"))).exists());
        assert_eq!(home.leftovers().len(), 1);
        let mut offline = home.command(&server.url, &["doctor", "--reranker", NAME]);
        let offline = offline.env("HF_HUB_OFFLINE", "1").output().unwrap();
        assert_refused(&offline, &["not in the cache"]);

        let asked = server.bodies().len();
        assert_code(&home.pull(&server), 0);
        let bodies = server.bodies();
        assert_eq!(bodies.len(), asked + 1, "what was whole is not fetched again");
        assert!(bodies.last().unwrap().header("range").is_some_and(|range| range != "bytes=0-"));
        assert_eq!(fs::read(home.snapshot().join("model.onnx")).unwrap(), server.file("model.onnx"));
        assert!(home.leftovers().is_empty());
    }

    #[test]
    fn a_damaged_beginning_is_fetched_again() {
        let home = Home::new();
        let server = killed(&home);
        let leftover = home.leftovers().remove(0);
        let mut bytes = fs::read(&leftover).unwrap();
        bytes[10] ^= 1;
        fs::write(&leftover, &bytes).unwrap();
        assert_code(&home.pull(&server), 0);
        assert_eq!(fs::read(home.snapshot().join("model.onnx")).unwrap(), server.file("model.onnx"));
    }

    #[test]
    fn two_processes_fetch_each_file_once() {
        let setup = tiny().rule(|asked, _, reply| match is_onnx(asked) {
            true => reply.slow(50_000, Duration::from_millis(100)),
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        let children: Vec<_> =
            (0..3).map(|_| home.command(&server.url, &["models", "pull", NAME]).spawn().unwrap()).collect();
        for child in children {
            assert_code(&child.wait_with_output().unwrap(), 0);
        }
        for name in NEEDED {
            assert_eq!(server.asked_for(&format!("/resolve/{COMMIT}/{name}")).len(), 1, "{name}");
        }
        assert_eq!(server.asked_for("/cdn/").len(), 1);
    }
}

mod refusals {
    use super::*;

    /// The Hub answers every request for the repository so.
    fn refusing(reply: Reply) -> HubServer {
        tiny().rule(move |_, _, _| reply.clone()).start()
    }

    #[test]
    fn a_login_is_needed() {
        let home = Home::new();
        let server = refusing(Reply::new(401, "").with("X-Error-Code", "RepoNotFound"));
        assert_refused(&home.pull(&server), &["401", "does not exist, or is private or gated", "HF_TOKEN"]);
        assert_eq!(server.asked().len(), 1, "it is not asked again");
    }

    #[test]
    fn a_gated_repository() {
        let home = Home::new();
        let gated =
            || Reply::new(403, "").with("X-Error-Code", "GatedRepo").with("X-Error-Message", "Access is restricted");
        let words = ["403", "gated or private", "Accept the licence at", "/acme/tiny", "Access is restricted"];
        let server = refusing(gated());
        assert_refused(&home.pull(&server), &[&words[..], &["set HF_TOKEN"]].concat());
        let mut command = home.command(&server.url, &["models", "pull", NAME]);
        let with_token = command.env("HF_TOKEN", "hf_secret").output().unwrap();
        assert_refused(&with_token, &["the token that was sent does not open it"]);
        assert!(!stderr(&with_token).contains("hf_secret"));
    }

    #[test]
    fn what_does_not_exist() {
        let (server, home) = (tiny().start(), Home::new());
        let words = ["404", "does not exist, or it is private"];
        assert_refused(&home.run(&server, &["models", "pull", "hub:acme/other"]), &words);
        assert_refused(&home.run(&server, &["models", "pull", "hub:acme/tiny@v9"]), &[&words[..], &["@v9"]].concat());
    }

    #[test]
    fn names_that_are_none_are_not_asked_for() {
        let (server, home) = (tiny().start(), Home::new());
        for name in ["hub:../../etc", "hub:a/b/c", "hub:acme/tiny@../x", "hub:", "hub:a b/c", "hub:acme/tiny@"] {
            assert_refused(&home.run(&server, &["models", "pull", name]), &["is not"]);
        }
        assert!(server.asked().is_empty());
        let bad = ModelSource::hub("../x").endpoint(&server.url);
        assert_eq!(Reranker::builder().model(bad).build().unwrap_err().kind(), ErrorKind::Options);
    }

    #[test]
    fn a_busy_server_is_asked_again_after_the_time_that_it_names() {
        let setup = tiny().rule(|asked, before, reply| match asked.path.contains("/api/") && before == 0 {
            true => Reply::new(429, "").with("Retry-After", 1),
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        let start = Instant::now();
        let output = home.pull(&server);
        assert_code(&output, 0);
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert!(
            stderr(&output).contains("429") && stderr(&output).contains("trying again in 1.0 s"),
            "{}",
            stderr(&output)
        );
    }

    #[test]
    fn a_server_that_asks_for_an_hour_is_not_waited_for() {
        let home = Home::new();
        let server = refusing(Reply::new(429, "").with("Retry-After", 3600));
        assert_refused(&home.pull(&server), &["429", "3600 seconds"]);
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn a_server_that_fails_once() {
        let setup = tiny().rule(|asked, before, reply| match before == 0 && !asked.path.starts_with("/cdn/") {
            true => Reply::new(500, "oops"),
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        home.model(&server).pull().unwrap();
        for name in NEEDED {
            assert_eq!(fs::read(home.snapshot().join(name)).unwrap(), server.file(name), "{name}");
        }
    }

    #[test]
    fn a_server_that_fails_for_good() {
        let home = Home::new();
        let server = refusing(Reply::new(503, "").with("Retry-After", 0));
        assert_refused(&home.pull(&server), &["answers 503"]);
        assert_eq!(server.asked().len(), 5);
    }

    #[test]
    fn wrong_bytes_are_refused_and_removed() {
        let setup = tiny().rule(|asked, _, reply| match is_onnx(asked) {
            true => {
                let mut bytes = fs::read(fixtures::path("bert-cross-encoder/model.onnx")).unwrap();
                bytes[1000] ^= 1;
                let _ = reply;
                Reply::file(&bytes, asked)
            }
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        let right = sha256(server.file("model.onnx"));
        assert_refused(&home.pull(&server), &["model.onnx", &right, "was removed"]);
        assert!(
            !home.blob(&right).exists() && home.leftovers().is_empty() && !home.snapshot().join("model.onnx").exists()
        );
        let setup = tiny().rule(|asked, _, reply| match asked.path.ends_with("/config.json") {
            true => Reply::new(200, fs::read(fixtures::path("bert-nli/config.json")).unwrap()),
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        assert_refused(&home.pull(&server), &["config.json"]);
        assert!(!home.snapshot().exists(), "nothing of it can be used");
    }

    #[test]
    fn the_token_goes_to_the_hub_alone() {
        let cdn = Setup::new("none/none", [])
            .rule(|asked, _, _| Reply::file(&fs::read(fixtures::path("bert-cross-encoder/model.onnx")).unwrap(), asked))
            .start();
        let elsewhere = format!("{}/signed?key=x", cdn.url);
        let setup = tiny().rule(move |asked, before, reply| match &asked.path {
            path if path.contains("/moved/") => Reply::new(302, "").with("Location", &elsewhere),
            path if path.ends_with("/model.onnx") && before == 0 => {
                Reply::new(307, "").with("Location", "/acme/tiny/resolve/moved/model.onnx")
            }
            _ => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        home.model(&server).token("hf_secret").pull().unwrap();
        assert!(server.asked().iter().all(|asked| asked.header("authorization") == Some("Bearer hf_secret")));
        assert_eq!(server.asked_for("/moved/").len(), 1);
        let asked = cdn.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].header("authorization"), None);
        assert_eq!(asked[0].path, "/signed?key=x");
    }

    #[test]
    fn redirects_end() {
        let setup = tiny().rule(|asked, _, reply| match asked.path.starts_with("/api/") {
            true => Reply::new(302, "").with("Location", &asked.path),
            false => reply,
        });
        let (server, home) = (setup.start(), Home::new());
        let error = home.model(&server).plan().unwrap_err();
        assert!(error.to_string().contains("redirects more than 10 times"), "{error}");
    }

    #[test]
    fn a_repository_without_onnx() {
        let folder = fixtures::path("bert-cross-encoder");
        let files =
            ["config.json", "tokenizer.json"].map(|name| (name.to_owned(), fs::read(folder.join(name)).unwrap()));
        let (server, home) = (Setup::new(REPOSITORY, files).start(), Home::new());
        assert_refused(&home.pull(&server), &["acme/tiny has no model.onnx", "python onnx/export.py acme/tiny OUT"]);
        assert!(server.bodies().is_empty());
    }

    #[test]
    fn file_names_that_lead_elsewhere() {
        for evil in [
            "../evil.onnx",
            "/etc/evil",
            "onnx/../../evil",
            "a\\b",
            "C:\\evil",
            "C:/evil",
            "a\u{0}b",
            "a\nb",
            "./x",
            "",
        ] {
            let setup = tiny().listing(|listing| {
                let siblings = listing["siblings"].as_array_mut().unwrap();
                siblings.push(json!({"rfilename": evil, "size": 1, "blobId": git_hash(b"x")}));
            });
            let (server, home) = (setup.start(), Home::new());
            let error = home.model(&server).pull().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Hub, "{evil:?}");
            assert!(error.to_string().contains("could lead out of the cache"), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
            assert!(server.bodies().is_empty() && !home.0.path().join("hub").exists());
        }
    }

    #[test]
    fn answers_that_are_none() {
        for body in ["", "<html>", "{}", "[1]", r#"{"sha": "../../x", "siblings": []}"#] {
            let server = refusing(Reply::new(200, body));
            let error = Home::new().model(&server).plan().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Hub, "{body}");
            assert!(error.to_string().contains("cannot be used"), "{}", error.chain());
        }
    }

    /// A disk with less room than the plan needs: the Hub announces a petabyte of external data.
    #[test]
    fn a_disk_without_room() {
        let setup = tiny().listing(|listing| {
            let siblings = listing["siblings"].as_array_mut().unwrap();
            let size = 1u64 << 50;
            let lfs = json!({"sha256": sha256(b"x"), "size": size});
            siblings.push(json!({"rfilename": "model.onnx_data", "size": size, "lfs": lfs}));
        });
        let (server, home) = (setup.start(), Home::new());
        assert_refused(&home.pull(&server), &["1125899", "more bytes on the disk", "free", "HF_HOME"]);
        assert!(server.bodies().is_empty());
        let dry = home.run(&server, &["models", "pull", NAME, "--dry-run"]);
        assert_code(&dry, 0);
        assert!(
            stdout(&dry).contains("model.onnx_data") && stdout(&dry).contains("free on the disk"),
            "{}",
            stdout(&dry)
        );
    }
}

mod offline {
    use super::*;

    fn doctor(home: &Home, endpoint: &str, offline: bool) -> Output {
        let mut command = home.command(endpoint, &["doctor", "--reranker", NAME]);
        if offline {
            command.env("HF_HUB_OFFLINE", "1");
        }
        command.output().unwrap()
    }

    #[test]
    fn without_a_cache() {
        let (server, home) = (tiny().start(), Home::new());
        let words =
            ["acme/tiny@main is not in the cache", "HF_HUB_OFFLINE", "crossrank models pull hub:acme/tiny@main"];
        assert_refused(&doctor(&home, &server.url, true), &words);
        assert!(server.asked().is_empty());
    }

    #[test]
    fn another_precision_than_the_cached_one() {
        let setup = Setup::of_folder(REPOSITORY, &fixtures::path("bert-cross-encoder"));
        let (server, home) = (setup.start(), Home::new());
        home.model(&server).pull().unwrap();
        let asked = server.asked().len();
        let error = home.model(&server).offline(true).precision(Precision::Fp16).pull().unwrap_err();
        assert!(error.to_string().contains("model_fp16.onnx"), "{error}");
        fs::remove_file(home.snapshot().join("tokenizer.json")).unwrap();
        fs::remove_file(home.blob(&git_hash(server.file("tokenizer.json")))).unwrap();
        let error = home.model(&server).offline(true).pull().unwrap_err();
        assert!(error.to_string().contains("missing tokenizer.json"), "{error}");
        assert_eq!(server.asked().len(), asked);
    }

    /// A cache that another program made: links, and no record of what the repository has.
    fn made_by_another(home: &Home, server: &HubServer, with_blobs: bool) {
        fs::create_dir_all(home.snapshot()).unwrap();
        fs::create_dir_all(home.repository().join("blobs")).unwrap();
        fs::create_dir_all(home.repository().join("refs")).unwrap();
        fs::write(home.repository().join("refs/main"), COMMIT).unwrap();
        for name in NEEDED {
            let bytes = server.file(name);
            let hash = if name == "model.onnx" { sha256(bytes) } else { git_hash(bytes) };
            if with_blobs {
                fs::write(home.blob(&hash), bytes).unwrap();
                #[cfg(unix)]
                std::os::unix::fs::symlink(Path::new("../../blobs").join(&hash), home.snapshot().join(name)).unwrap();
                #[cfg(not(unix))]
                fs::write(home.snapshot().join(name), bytes).unwrap();
            } else {
                fs::write(home.snapshot().join(name), bytes).unwrap();
            }
        }
    }

    #[test]
    fn a_cache_of_another_program_is_used() {
        for with_blobs in [true, false] {
            let (server, home) = (tiny().start(), Home::new());
            made_by_another(&home, &server, with_blobs);
            let output = doctor(&home, &server.url, true);
            assert_code(&output, 0);
            assert!(stdout(&output).contains(COMMIT), "{}", stdout(&output));
            assert!(server.asked().is_empty());
            assert_code(&doctor(&home, &server.url, false), 0);
            assert_eq!(server.asked().len(), 1, "it is asked what the branch is at");
            assert!(server.bodies().is_empty(), "nothing is fetched again");
        }
    }

    /// `huggingface_hub` keeps a listing of each commit: with it, the commit needs no network.
    #[test]
    fn the_listing_of_another_program_is_used() {
        let (server, home) = (tiny().start(), Home::new());
        made_by_another(&home, &server, true);
        let files = NEEDED.map(|name| {
            let bytes = server.file(name);
            let mut file = json!({"size": bytes.len(), "blob_id": git_hash(bytes)});
            if name == "model.onnx" {
                file["lfs_sha256"] = json!(sha256(bytes));
                file["lfs_size"] = json!(bytes.len());
            }
            (name.to_owned(), file)
        });
        let tree =
            |version: u32| json!({"format_version": version, "files": serde_json::Map::from_iter(files.clone())});
        let path = home.repository().join("trees").join(format!("{COMMIT}.json"));
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, tree(1).to_string()).unwrap();
        let model = home.model(&server).revision(COMMIT);
        assert!(model.pull().unwrap().is_cached());
        assert!(server.asked().is_empty());
        fs::write(&path, tree(2).to_string()).unwrap();
        assert!(model.pull().unwrap().is_cached());
        assert_eq!(server.asked().len(), 1, "a format that is not known is not guessed");
    }

    #[test]
    fn a_hub_that_cannot_be_reached() {
        // Nobody listens there any more.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let closed = format!("http://{closed}");
        let (server, home) = (tiny().start(), Home::new());
        let output = doctor(&home, &closed, false);
        assert_refused(&output, &["cannot be had from", "no answer"]);
        assert_code(&home.pull(&server), 0);
        let output = doctor(&home, &closed, false);
        assert_code(&output, 0);
        assert!(stderr(&output).contains(&format!("the cached commit {COMMIT} is used")), "{}", stderr(&output));
    }
}

mod commands {
    use super::*;

    #[test]
    fn pull_prints_the_plan_and_the_folder() {
        let (server, home) = (tiny().start(), Home::new());
        let dry = home.run(&server, &["models", "pull", NAME, "--dry-run"]);
        assert_code(&dry, 0);
        for word in ["model.onnx", "tokenizer.json", COMMIT, "to fetch"] {
            assert!(stdout(&dry).contains(word), "{}", stdout(&dry));
        }
        assert!(!stdout(&dry).contains("README.md") && server.bodies().is_empty());
        let output = home.pull(&server);
        assert_code(&output, 0);
        assert_eq!(Path::new(stdout(&output).trim_end()), home.snapshot());
        assert!(stderr(&output).contains("model.onnx") && !stderr(&output).contains('\u{1b}'), "{}", stderr(&output));
        let dry = home.run(&server, &["models", "pull", NAME, "--dry-run"]);
        assert!(stdout(&dry).contains("in the cache") && stdout(&dry).contains("0 B to fetch"), "{}", stdout(&dry));
        assert_refused(&home.run(&server, &["models", "pull", NAME, "--precision", "int8"]), &["model_int8.onnx"]);
        assert_refused(&home.run(&server, &["models", "pull", NAME, "--precision", "x"]), &["fp32, fp16, int8"]);
        assert_refused(&home.run(&server, &["models", "pull", "bundled"]), &["not a model of the Hub"]);
    }

    #[test]
    fn verify_names_what_is_wrong() {
        let (server, home) = (tiny().start(), Home::new());
        let verify = || home.run(&server, &["models", "verify", NAME]);
        assert_refused(&verify(), &["not in the cache"]);
        home.model(&server).pull().unwrap();
        let asked = server.asked().len();
        let good = verify();
        assert_code(&good, 0);
        assert_eq!(stdout(&good).matches("good").count(), NEEDED.len(), "{}", stdout(&good));
        let blob = home.blob(&sha256(server.file("model.onnx")));
        let mut bytes = fs::read(&blob).unwrap();
        bytes[5000] ^= 1;
        fs::write(&blob, &bytes).unwrap();
        fs::remove_file(home.blob(&git_hash(server.file("tokenizer.json")))).unwrap();
        let wrong = verify();
        assert_code(&wrong, 1);
        for line in ["error: model.onnx is damaged", "error: tokenizer.json is missing"] {
            assert!(stderr(&wrong).contains(line), "{}", stderr(&wrong));
        }
        assert_eq!(server.asked().len(), asked, "no network is used");
        // What it says to do helps.
        for line in stderr(&wrong).lines().filter(|line| line.starts_with("error: ")) {
            let path = line.rsplit_once(": ").unwrap().1;
            fs::remove_file(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        assert_code(&home.pull(&server), 0);
        assert_code(&verify(), 0);
    }

    #[test]
    fn the_catalogue() {
        let (server, home) = (tiny().start(), Home::new());
        let all = home.run(&server, &["models", "list", "--format", "json"]);
        assert_code(&all, 0);
        let all: serde_json::Value = serde_json::from_str(stdout(&all)).unwrap();
        let entries = all.as_array().unwrap();
        assert_eq!(entries.len(), crossrank::catalogue().len());
        for kind in ["reranker", "embedder"] {
            let some = home.run(&server, &["models", "list", "--kind", kind, "--format", "json"]);
            let some: serde_json::Value = serde_json::from_str(stdout(&some)).unwrap();
            let expected: Vec<_> = entries.iter().filter(|entry| entry["kind"] == kind).collect();
            assert!(!expected.is_empty());
            assert_eq!(some.as_array().unwrap().iter().collect::<Vec<_>>(), expected);
        }
        let text = home.run(&server, &["models", "list"]);
        assert_eq!(stdout(&text).lines().count(), entries.len() + 1);
        assert!(stdout(&text).starts_with("NAME"));
        let name = entries[0]["name"].as_str().unwrap();
        let shown = home.run(&server, &["models", "show", name]);
        assert_code(&shown, 0);
        for word in [name, entries[0]["repository"].as_str().unwrap(), entries[0]["sources"][0].as_str().unwrap()] {
            assert!(stdout(&shown).contains(word), "{}", stdout(&shown));
        }
        assert!(stdout(&shown).contains("in the cache no"), "{}", stdout(&shown));
        assert_refused(&home.run(&server, &["models", "show", "bge-reranker-v2m3"]), &["bge-reranker-v2-m3"]);
        assert!(server.asked().is_empty(), "the catalogue needs no network");
    }

    /// A server in the place of the Hub that has the repository of a catalogue's entry.
    #[test]
    fn a_name_of_the_catalogue() {
        let entry = crossrank::CatalogueEntry::find("bge-reranker-v2-m3").unwrap();
        let folder = fixtures::path("bert-cross-encoder");
        let file = entry.files().find(|(precision, _)| *precision == "fp32").unwrap().1;
        let mut files: Vec<(String, Vec<u8>)> =
            NEEDED.iter().map(|name| ((*name).to_owned(), fs::read(folder.join(name)).unwrap())).collect();
        files[3].0 = file.to_owned();
        let (server, home) = (Setup::new(entry.repository(), files).start(), Home::new());
        let output = home.run(&server, &["doctor", "--reranker", entry.name()]);
        assert_code(&output, 0);
        assert!(stdout(&output).contains(&format!("hub:{}", entry.repository())), "{}", stdout(&output));
        let shown = home.run(&server, &["models", "show", entry.name(), "--format", "json"]);
        let shown: serde_json::Value = serde_json::from_str(stdout(&shown)).unwrap();
        assert_eq!(shown["cached"], json!(["fp32"]));
        let wrong = home.run(&server, &["doctor", "--embedder", entry.name()]);
        assert_refused(&wrong, &["is a reranker"]);
    }

    #[test]
    fn names_that_mean_nothing() {
        let (server, home) = (tiny().start(), Home::new());
        let doctor = |name: &str| home.run(&server, &["doctor", "--reranker", name]);
        let words = ["does not exist", "the catalogue has no model of that name", "hub:organisation/name"];
        assert_refused(&doctor("bge-reranker-v2m3"), &[&words[..], &["near names are bge-reranker-v2-m3"]].concat());
        assert_refused(&doctor("acme/tiny"), &[&words[..], &["write hub:acme/tiny"]].concat());
        assert!(server.asked().is_empty());
    }

    /// A folder is what it is, even under a name of the catalogue.
    #[test]
    fn a_folder_goes_before_the_catalogue() {
        let (server, home) = (tiny().start(), Home::new());
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("bge-reranker-v2-m3");
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(fixtures::path("bert-cross-encoder")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        let mut command = home.command(&server.url, &["doctor", "--reranker", "bge-reranker-v2-m3"]);
        assert_code(&command.current_dir(place.path()).output().unwrap(), 0);
        assert!(server.asked().is_empty());
    }

    #[test]
    fn a_precision_on_the_command_line() {
        let (server, home) = (tiny().start(), Home::new());
        let folder = fixtures::path("bert-cross-encoder");
        let doctor = |precision: &str| {
            home.run(&server, &["doctor", "--reranker", folder.to_str().unwrap(), "--precision", precision])
        };
        assert_code(&doctor("fp32"), 0);
        assert_refused(&doctor("int8"), &["has no model_int8.onnx"]);
        assert_refused(&home.run(&server, &["doctor", "--precision", "fp32"]), &["the bundled models have one each"]);
    }

    /// The reader of a pipe goes away.
    #[test]
    fn a_closed_pipe_is_no_error() {
        let (server, home) = (tiny().start(), Home::new());
        let mut child = home.command(&server.url, &["models", "list"]).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
    }
}

/// What a listener may do: it is called from the thread that fetches.
#[test]
fn a_listener_is_called_on_the_calling_thread() {
    let (server, home) = (tiny().start(), Home::new());
    let caller = thread::current().id();
    home.model(&server)
        .progress(move |event| {
            assert_eq!(thread::current().id(), caller);
            if let HubEvent::Plan(plan) = event {
                assert_eq!(plan.repository(), REPOSITORY);
            }
        })
        .pull()
        .unwrap();
}

/// An export without sentence-transformers' files: what the catalogue says of its repository stands in for them.
#[test]
fn the_catalogue_knows_pooling_and_prompts_where_the_repository_does_not() {
    let folder = fixtures::Copy::of("bert-embedder").remove("modules.json").remove("config_sentence_transformers.json");
    let load = |repository: &str| {
        let server = Setup::of_folder(repository, folder.path()).start();
        let home = Home::new();
        let model = ModelSource::hub(repository).endpoint(&server.url).cache_dir(home.0.path()).offline(false);
        crossrank::Embedder::builder().model(model).build().unwrap().info().clone()
    };
    let known = load("Xenova/bge-small-en-v1.5");
    assert_eq!(known.pooling.as_deref(), Some("cls (the catalogue's bge-small-en-v1.5)"));
    assert_eq!(known.query_prompt.as_deref(), Some("Represent this sentence for searching relevant passages: "));
    assert_eq!(known.document_prompt.as_deref(), Some(""));
    let unknown = load("acme/tiny");
    assert_eq!(unknown.pooling.as_deref(), Some("mean (assumed: no file says)"));
    assert_eq!(unknown.query_prompt.as_deref(), Some(""));
}

/// An encoder and a decoder in two files: both are planned and fetched, and no other ONNX file.
#[test]
fn the_two_graphs_of_an_encoder_decoder() {
    let folder = fixtures::path("monot5-two-graphs");
    let (server, home) = (Setup::of_folder(REPOSITORY, &folder).start(), Home::new());
    let onnx = ["onnx/encoder_model.onnx", "onnx/decoder_model.onnx"];
    let plan = home.model(&server).plan().unwrap();
    assert_eq!(plan.onnx_files(), onnx);
    assert!(onnx.iter().all(|name| plan.files().iter().any(|file| file.name == *name && !file.is_cached)));
    let shown = home.run(&server, &["models", "pull", NAME, "--dry-run"]);
    assert!(onnx.iter().all(|name| stdout(&shown).contains(name)), "{}", stdout(&shown));
    let reranker = Reranker::builder().model(home.model(&server)).build().unwrap();
    assert!(server.asked_for("decoder_model_merged").is_empty());
    let documents = ["a bridge crosses the river"];
    let logit = |reranker: &Reranker| reranker.score("the river", &documents).unwrap().scores.remove(0).unwrap().logit;
    assert_eq!(logit(&reranker), logit(&Reranker::from_dir(folder).unwrap()));
    // The other decoder has the same encoder, which is in the cache.
    let merged = home.model(&server).onnx_file("onnx/decoder_model_merged.onnx");
    let reranker = Reranker::builder().model(merged.clone()).build().unwrap();
    assert!(reranker.info().files.iter().any(|file| file.name == "onnx/decoder_model_merged.onnx"));
    assert_eq!(server.asked_for("encoder_model.onnx").len(), 1);
    assert!(Reranker::builder().model(merged.offline(true)).build().is_ok());
}

/// Some exporters give external data names that have nothing to do with the ONNX file's.
#[test]
fn external_data_under_any_name_is_fetched() {
    let read = |name: &str| fs::read(fixtures::path("external-data").join(name)).unwrap();
    let mut graph = read("model.onnx");
    let (old, new) = (b"model.onnx_data", b"Constant_7_attr");
    for at in 0..graph.len() - old.len() {
        if graph[at..].starts_with(old) {
            graph[at..at + new.len()].copy_from_slice(new);
        }
    }
    let mut files: Vec<(String, Vec<u8>)> = ["config.json", "tokenizer.json", "tokenizer_config.json"]
        .map(|name| (name.to_owned(), fs::read(fixtures::path("bert-cross-encoder").join(name)).unwrap()))
        .to_vec();
    files.push(("onnx/model.onnx".to_owned(), graph));
    files.push(("onnx/Constant_7_attr".to_owned(), read("model.onnx_data")));
    files.push(("onnx/Constant_8_attr".to_owned(), vec![1; 1000]));
    let server = Setup::new(REPOSITORY, files).start();
    let home = Home::new();
    let names = |files: &[HubFile]| files.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
    let dry_run = || home.run(&server, &["models", "pull", NAME, "--dry-run"]);
    // Which of the two the ONNX file names is not known before it is there.
    let plan = home.model(&server).plan().unwrap();
    assert_eq!(names(plan.may_need()), ["onnx/Constant_7_attr", "onnx/Constant_8_attr"]);
    let shown = dry_run();
    assert_eq!(stdout(&shown).matches("if the ONNX file names it").count(), 2, "{}", stdout(&shown));
    let reranker = Reranker::builder().model(home.model(&server)).build().unwrap();
    assert!(reranker.info().files.iter().any(|file| file.name == "onnx/Constant_7_attr"));
    assert!(server.asked_for("Constant_8_attr").is_empty());
    let plan = home.model(&server).plan().unwrap();
    assert!(names(plan.files()).contains(&"onnx/Constant_7_attr".to_owned()) && plan.is_cached());
    assert!(plan.may_need().is_empty() && !stdout(&dry_run()).contains("Constant_8_attr"));
    fs::remove_file(home.snapshot().join("onnx/Constant_7_attr")).unwrap();
    fs::remove_file(home.blob(&git_hash(server.file("onnx/Constant_7_attr")))).unwrap();
    assert_eq!(home.model(&server).plan().unwrap().missing_bytes(), server.file("onnx/Constant_7_attr").len() as u64);
    home.model(&server).pull().unwrap();
    let offline = Reranker::builder().model(home.model(&server).offline(true)).build();
    assert!(offline.is_ok(), "{:?}", offline.err());
}

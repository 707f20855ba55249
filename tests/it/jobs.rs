//! Long runs of the command line: requests, the retrieval layout, and what happens when they are stopped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{assert_code, crossrank, run, run_with_input, stderr, stdout};
use crate::fixtures::{self, Copy};

fn bert() -> String {
    fixtures::path("bert-cross-encoder").to_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A file of requests, each with a few documents.
fn requests(count: usize) -> String {
    (0..count)
        .map(|n| json!({"id": n, "query": format!("old library {n}"), "documents": documents(n)}).to_string() + "\n")
        .collect()
}

fn documents(n: usize) -> Vec<String> {
    (0..=n % 4).map(|d| format!("the river {d} and the old library {} near the town", n * d)).collect()
}

mod requests {
    use super::*;

    #[test]
    fn each_line_is_answered_in_order() {
        let input = concat!(
            r#"{"id": "a", "query": "capital of France", "documents": ["Bread is baked.", {"id": 7, "text": "Paris is the capital of France.", "lang": "en"}], "return_documents": true}"#,
            "\n\n",
            r#"{"query": "bread", "texts": ["Paris", "Bread is baked."], "top_n": 1, "raw_scores": true}"#,
            "\r\n",
            r#"{"query": "nothing", "documents": []}"#,
        );
        let output = run_with_input(&["rerank"], input.as_bytes());
        assert_code(&output, 0);
        assert_eq!(stderr(&output), "");
        let answers = lines(stdout(&output));
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[0]["id"], "a");
        let results = answers[0]["results"].as_array().unwrap();
        assert_eq!((&results[0]["index"], &results[0]["id"]), (&json!(1), &json!(7)));
        assert_eq!(results[0]["document"], json!({"id": 7, "text": "Paris is the capital of France.", "lang": "en"}));
        assert_eq!(results[1]["document"], "Bread is baked.");
        let score = |i: usize| results[i]["relevance_score"].as_f64().unwrap();
        assert!(score(0) > 100.0 * score(1) && score(0) < 1.0, "{results:?}");
        let results = answers[1]["results"].as_array().unwrap();
        assert_eq!((results.len(), &results[0]["index"]), (1, &json!(1)));
        assert_eq!((&answers[1]["id"], &answers[1]["raw_scores"]), (&Value::Null, &json!(true)));
        assert!(results[0].get("document").is_none());
        assert_eq!(answers[2]["results"], json!([]));
    }

    #[test]
    fn a_bad_line_is_answered_with_an_error_and_the_others_with_results() {
        let input = b"{\"query\": \"x\", \"documents\": [\"a\"]}\nx\n{\"id\": 3, \"query\": \"x\"}\n\
                      {\"id\": 4, \"query\": 1, \"documents\": []}\n\xff\n{\"query\": \"x\", \"documents\": [\"b\"]}\n";
        let output = run_with_input(&["rerank", "--reranker", &bert()], input);
        assert_code(&output, 1);
        let answers = lines(stdout(&output));
        let failed: Vec<bool> = answers.iter().map(|answer| answer.get("error").is_some()).collect();
        assert_eq!(failed, [false, true, true, true, true, false]);
        assert_eq!((&answers[2]["id"], &answers[3]["id"]), (&json!(3), &json!(4)));
        for reason in [
            "line 2: malformed JSON",
            "line 3: a request is a JSON object",
            "missing field `documents`",
            "line 5: invalid UTF-8 at byte 1",
            "4 of 6 requests failed: standard input, line 2; standard input, line 3; ",
        ] {
            assert!(stderr(&output).contains(reason), "{reason}: {}", stderr(&output));
        }
    }

    #[test]
    fn a_document_without_a_score_is_said_and_the_others_ranked() {
        let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
        let input = br#"{"query": "old", "documents": ["river", "nan", "old"]}"#;
        let output = run_with_input(&["rerank", "--reranker", text(fixture.path())], input);
        assert_code(&output, 1);
        let answer = &lines(stdout(&output))[0];
        assert_eq!(answer["results"].as_array().unwrap().len(), 2);
        assert_eq!(answer["failures"][0]["index"], 1);
        assert!(stderr(&output).contains("standard input, line 1: the model gave document 1"), "{}", stderr(&output));
    }

    #[test]
    fn the_command_line_speaks_where_a_request_does_not() {
        let input = br#"{"query": "old library", "documents": ["river", "library", "old"]}
                        {"query": "old library", "documents": ["river", "library", "old"], "top_n": 3, "return_documents": false}"#;
        let arguments = ["rerank", "--reranker", &bert(), "--top-n", "2", "--return-documents", "--cascade", "1"];
        let output = run_with_input(&arguments, input);
        assert_code(&output, 0);
        let answers = lines(stdout(&output));
        let result = |answer: usize, index: usize| answers[answer]["results"][index].clone();
        assert_eq!(answers[0]["results"].as_array().unwrap().len(), 2);
        assert!(result(0, 0)["document"].is_string() && result(0, 0)["similarity"].is_f64());
        assert_eq!(result(0, 1)["relevance_score"], Value::Null);
        assert_eq!(answers[1]["results"].as_array().unwrap().len(), 3);
        assert!(result(1, 0).get("document").is_none());
    }

    /// What no program should send, and some do.
    #[test]
    fn strange_lines() {
        let long = json!({"query": "old", "documents": ["library ".repeat(400_000)]}).to_string();
        let deep = format!("{{\"query\": \"x\", \"documents\": {}", "[".repeat(50_000));
        let twice = r#"{"query": "old", "query": "new", "documents": []}"#;
        let latin = b"{\"query\": \"caf\xe9\", \"documents\": []}";
        let surrogate = r#"{"query": "\ud83d", "documents": []}"#;
        let nul = "{\"query\": \"a\\u0000b\", \"documents\": [\"\\u0000\"]}";
        let lines_of_it: [&[u8]; 8] = [
            b"\xef\xbb\xbf{\"query\": \"\", \"documents\": [\"\"]}\r",
            long.as_bytes(),
            deep.as_bytes(),
            twice.as_bytes(),
            latin,
            surrogate.as_bytes(),
            nul.as_bytes(),
            b"\x00\x01\x02\xff",
        ];
        let output = run_with_input(&["rerank", "--reranker", &bert()], &lines_of_it.join(&b"\n"[..]));
        assert_code(&output, 1);
        let failed: Vec<bool> = lines(stdout(&output)).iter().map(|answer| answer.get("error").is_some()).collect();
        // Of two fields with one name the last counts.
        assert_eq!(failed, [false, false, true, false, true, true, false, true]);
        assert!(stderr(&output).contains("1 document was cut"), "{}", stderr(&output));
    }

    /// A program that sends a request and waits for its answer must not wait for ever.
    #[test]
    fn a_pipe_is_answered_line_by_line() {
        let mut child =
            crossrank(&["rerank", "--reranker", &bert()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        for n in 0..3 {
            writeln!(input, "{}", json!({"id": n, "query": "old", "documents": ["river", "library"]})).unwrap();
            let mut answer = String::new();
            output.read_line(&mut answer).unwrap();
            assert_eq!(lines(&answer)[0]["id"], n);
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn several_files_and_compressed_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| text(&folder.path().join(name)).to_owned();
        let (a, b) = (file("a.jsonl"), file("b.jsonl"));
        fs::write(&a, requests(3)).unwrap();
        fs::write(&b, requests(5)).unwrap();
        let bert = bert();
        let plain = run(&["rerank", "--reranker", &bert, &a, &b]);
        assert_code(&plain, 0);
        let ids: Vec<Value> = lines(stdout(&plain)).iter().map(|answer| answer["id"].clone()).collect();
        assert_eq!(ids, [0, 1, 2, 0, 1, 2, 3, 4]);
        for name in ["out.jsonl.gz", "out.jsonl.zst"] {
            let packed = file(name);
            let arguments = ["rerank", "--reranker", &bert, &a, "-", "-o", &packed];
            assert_code(&run_with_input(&arguments, requests(5).as_bytes()), 0);
            assert!(fs::read(&packed).unwrap().len() < plain.stdout.len());
            assert_eq!(unpacked(Path::new(&packed)), stdout(&plain));
            assert_eq!(left_over(folder.path()), [""; 0]);
        }
    }

    #[test]
    fn wrong_usage() {
        for (arguments, reason) in [
            (&["rerank", "--format", "text"][..], "--format text is for the documents of one query"),
            (&["rerank", "-q", "x", "--format", "jsonl"], "--format jsonl is for requests"),
            (&["rerank", "-q", "x", "a", "b"], "from one file"),
            (&["rerank", "--resume"], "--resume goes on with results in a file"),
            (&["rerank", "--resume", "-o", "/dev/null"], "/dev/null is none"),
            (&["rerank", "-q", "x", "--resume"], "--resume is for runs over many queries"),
            (&["rerank", "--shard", "3/2"], "1/4 to 4/4"),
            (&["rerank", "no/such/file"], "cannot read no/such/file"),
            (&["rerank", "-", "-"], "standard input is named twice"),
            (&["rerank", "--corpus", "a", "--queries", "b"], "--run"),
            (&["rerank", "--corpus", "a", "--queries", "b", "--run", "c", "-q", "x"], "name no --query"),
            (&["rerank", "--corpus", "-", "--queries", "-", "--run", "c"], "standard input is named twice"),
            (&["rerank", "--corpus", "a", "--queries", "b", "--run", "c", "--tag", "a b"], "without blanks"),
            (&["rerank", "--corpus", "a", "--queries", "b", "--run", "c", "--return-documents"], "has no texts"),
            (&["rerank", "--corpus", "a", "--queries", "no/such/b", "--run", "c"], "cannot read no/such/b"),
        ] {
            let output = run(arguments);
            assert_code(&output, 2);
            assert!(stderr(&output).contains(reason), "{arguments:?}: {}", stderr(&output));
        }
    }
}

/// What a compressed file holds.
pub fn unpacked(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let unpacked = if path.extension().unwrap() == "gz" {
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut unpacked).unwrap();
        unpacked
    } else {
        zstd::decode_all(&bytes[..]).unwrap()
    };
    String::from_utf8(unpacked).unwrap()
}

/// The names in a folder of unfinished work.
fn left_over(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| [".part", ".resume", ".new", ".partial"].iter().any(|mark| name.contains(mark))).collect()
}

mod stopped {
    use super::*;

    struct Work {
        folder: TempDir,
        arguments: Vec<String>,
        whole: Vec<u8>,
    }

    impl Work {
        /// Requests enough to be stopped among them, and their undisturbed results.
        fn new(count: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let input = folder.path().join("in.jsonl");
            fs::write(&input, requests(count)).unwrap();
            let arguments = ["rerank", "--reranker", &bert(), "--threads", "1", text(&input)];
            let arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
            let undisturbed = crossrank(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
            assert_code(&undisturbed, 0);
            Self { folder, arguments, whole: undisturbed.stdout }
        }

        fn output(&self) -> PathBuf {
            self.folder.path().join("out.jsonl")
        }

        fn part(&self) -> PathBuf {
            self.folder.path().join("out.jsonl.part")
        }

        fn start(&self, more: &[&str]) -> Child {
            let output = self.output();
            let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
            arguments.extend(["-o", text(&output)]);
            arguments.extend(more);
            crossrank(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        }

        /// Waits until some results are written.
        fn wait_for_results(&self, child: &mut Child) {
            let start = Instant::now();
            while fs::metadata(self.part()).map_or(0, |meta| meta.len()) < self.whole.len() as u64 / 10 {
                assert!(start.elapsed() < Duration::from_secs(120), "nothing is written");
                assert!(child.try_wait().unwrap().is_none(), "it ended too early");
                thread::sleep(Duration::from_millis(2));
            }
        }

        fn assert_whole(&self) {
            assert!(fs::read(self.output()).unwrap() == self.whole, "the results are other ones");
            assert_eq!(left_over(self.folder.path()), [""; 0]);
        }
    }

    #[test]
    fn killed_at_any_moment_it_goes_on_to_the_same_bytes() {
        let work = Work::new(3000);
        let mut kills = 0;
        loop {
            let mut child = work.start(&["--resume"]);
            if kills == 3 {
                let output = child.wait_with_output().unwrap();
                assert_code(&output, 0);
                break;
            }
            let before = fs::metadata(work.part()).map_or(0, |meta| meta.len());
            if kills == 0 {
                work.wait_for_results(&mut child);
            } else {
                thread::sleep(Duration::from_millis(150 * kills));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            let part = fs::read(work.part()).unwrap();
            assert!(work.whole.starts_with(&part), "what was written before stays as it was");
            assert!(part.len() as u64 + 2000 >= before, "finished requests are not run again");
            assert!(!work.output().exists(), "the name is for whole results");
        }
        work.assert_whole();
        // Whole results are left alone.
        let again = work.start(&["--resume"]).wait_with_output().unwrap();
        assert_code(&again, 0);
        assert!(stderr(&again).contains("there is nothing to resume"), "{}", stderr(&again));
        work.assert_whole();
    }

    #[cfg(unix)]
    #[test]
    fn an_interrupt_ends_it_in_order() {
        let work = Work::new(3000);
        let mut child = work.start(&[]);
        work.wait_for_results(&mut child);
        assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_code(&output, 130);
        assert!(stderr(&output).contains("interrupted after "), "{}", stderr(&output));
        assert!(stderr(&output).contains("--resume goes on there"), "{}", stderr(&output));
        let refused = work.start(&[]).wait_with_output().unwrap();
        assert_code(&refused, 2);
        assert!(stderr(&refused).contains("did not finish: go on with it by --resume"), "{}", stderr(&refused));
        assert_code(&work.start(&["--resume"]).wait_with_output().unwrap(), 0);
        work.assert_whole();
    }

    /// Who cannot wait for the first interrupt to be heeded sends a second one: no failure is made up on the way out.
    #[cfg(unix)]
    #[test]
    fn two_interrupts_end_it_at_once() {
        let work = Work::new(3000);
        for _ in 0..5 {
            let mut child = work.start(&[]);
            work.wait_for_results(&mut child);
            let id = child.id().to_string();
            assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
            // The first may have been enough.
            std::process::Command::new("kill").args(["-INT", &id]).stderr(Stdio::null()).status().unwrap();
            let output = child.wait_with_output().unwrap();
            assert_code(&output, 130);
            assert!(!stderr(&output).contains("error") && !stderr(&output).contains("fail"), "{}", stderr(&output));
            fs::remove_file(work.part()).unwrap();
            fs::remove_file(work.folder.path().join("out.jsonl.resume")).unwrap();
        }
    }

    /// An interrupt ends a run that waits for input, too.
    #[cfg(unix)]
    #[test]
    fn an_interrupt_ends_a_pipe_that_is_silent() {
        let mut child = crossrank(&["rerank", "--reranker", &bert()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{}", json!({"query": "old", "documents": ["river"]})).unwrap();
        let mut answer = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert!(
            std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success()
        );
        assert_code(&child.wait_with_output().unwrap(), 130);
    }

    #[test]
    fn another_command_or_another_input_is_refused() {
        let work = Work::new(1000);
        let mut child = work.start(&[]);
        work.wait_for_results(&mut child);
        let second = work.start(&["--resume"]).wait_with_output().unwrap();
        assert_code(&second, 2);
        assert!(stderr(&second).contains("being written by another process"), "{}", stderr(&second));
        child.kill().unwrap();
        child.wait().unwrap();
        let changed = work.start(&["--resume", "--top-n", "1"]).wait_with_output().unwrap();
        assert_code(&changed, 2);
        assert!(stderr(&changed).contains("--top-n was `None` and is `Some(1)`"), "{}", stderr(&changed));
        let input = work.folder.path().join("in.jsonl");
        let begun = fs::read_to_string(&input).unwrap();
        fs::write(&input, begun.replacen("old", "new", 1)).unwrap();
        let changed = work.start(&["--resume"]).wait_with_output().unwrap();
        assert_code(&changed, 2);
        assert!(stderr(&changed).contains("the input is not the one"), "{}", stderr(&changed));
        fs::write(&input, begun).unwrap();
        assert_code(&work.start(&["--resume"]).wait_with_output().unwrap(), 0);
        work.assert_whole();
    }

    #[test]
    fn the_first_failure_can_stop_it_and_a_mended_input_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (input, out) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
        let good = requests(20);
        let bad: Vec<&str> =
            good.lines().enumerate().map(|(at, line)| if at == 14 { &line[1..] } else { line }).collect();
        fs::write(&input, bad.join("\n")).unwrap();
        let bert = bert();
        let arguments = ["rerank", "--reranker", &bert, text(&input), "-o", text(&out), "--errors", "stop", "--resume"];
        let stopped = run(&arguments);
        assert_code(&stopped, 1);
        assert!(
            stderr(&stopped).contains("line 15, after 14 requests; --resume goes on there"),
            "{}",
            stderr(&stopped)
        );
        fs::write(&input, &good).unwrap();
        assert_code(&run(&arguments), 0);
        let whole = run_with_input(&["rerank", "--reranker", &bert], good.as_bytes());
        assert!(fs::read(&out).unwrap() == whole.stdout);
    }

    #[test]
    fn shards_are_parts_of_the_whole() {
        let input = requests(11);
        let bert = bert();
        let whole = run_with_input(&["rerank", "--reranker", &bert], input.as_bytes());
        let whole: Vec<&str> = stdout(&whole).lines().collect();
        for number in 1..=3 {
            let shard =
                run_with_input(&["rerank", "--reranker", &bert, "--shard", &format!("{number}/3")], input.as_bytes());
            let expected: Vec<&str> = whole.iter().skip(number - 1).step_by(3).copied().collect();
            assert_eq!(stdout(&shard).lines().collect::<Vec<_>>(), expected);
        }
    }
}

/// Writing fails.
#[cfg(target_os = "linux")]
mod full_disks {
    use super::*;

    #[test]
    fn a_device_without_room_is_said() {
        let input = requests(2);
        let output = run_with_input(&["rerank", "--reranker", &bert(), "-o", "/dev/full"], input.as_bytes());
        assert_code(&output, 2);
        assert!(stderr(&output).contains("cannot write /dev/full: No space left on device"), "{}", stderr(&output));
    }

    /// The limit on the size of files stands for the disk's.
    #[test]
    fn what_was_written_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let (input, out) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
        fs::write(&input, requests(60)).unwrap();
        let program = assert_cmd::cargo::cargo_bin!("crossrank");
        let command = format!(
            "trap '' XFSZ; ulimit -f 8; exec '{}' rerank --reranker '{}' '{}' -o '{}'",
            program.display(),
            bert(),
            input.display(),
            out.display()
        );
        // In blocks of 512 bytes, or of 1,024: a small part of the results in either case.
        let full = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
        assert_code(&full, 2);
        assert!(stderr(&full).contains("File too large"), "{}", stderr(&full));
        let part = fs::read(folder.path().join("out.jsonl.part")).unwrap();
        assert!(!part.is_empty() && !out.exists());
        let bert = bert();
        let again = run(&["rerank", "--reranker", &bert, text(&input), "-o", text(&out), "--resume"]);
        assert_code(&again, 0);
        let whole = run(&["rerank", "--reranker", &bert, text(&input)]).stdout;
        assert!(whole.len() > part.len() && whole.starts_with(&part));
        assert!(fs::read(&out).unwrap() == whole);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_said_before_anything_is_run() {
        let output = run_with_input(&["rerank", "-o", "/no/such/folder/out.jsonl"], b"");
        assert_code(&output, 2);
        assert!(stderr(&output).contains("cannot write /no/such/folder/out.jsonl.part"), "{}", stderr(&output));
    }
}

mod retrieval {
    use super::*;

    const CORPUS: &str = "{\"_id\": \"d1\", \"title\": \"Paris\", \"text\": \"the capital of France.\"}\n\
                          {\"_id\": \"d2\", \"title\": \"\", \"text\": \"Bread is baked in an oven.\"}\n\
                          {\"_id\": \"d3\", \"text\": \"Spain borders France.\"}\n\
                          {\"_id\": \"unused\", \"text\": \"x\"}\n";
    const QUERIES: &str =
        "{\"_id\": \"q1\", \"text\": \"capital of France\"}\n{\"_id\": \"q2\", \"text\": \"how is bread made\"}\n";
    const RUN: &str =
        "q2 Q0 d1 1 3.5 bm25\nq2 Q0 d2 2 3.25 bm25\nq1 Q0 d2 1 9 bm25\nq1 Q0 d3 2 8 bm25\nq1 Q0 d1 3 7 bm25\n";

    struct Files(TempDir);

    impl Files {
        fn new(corpus: &str, queries: &str, run: &str) -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            for (name, content) in [("corpus", corpus), ("queries", queries), ("run", run)] {
                fs::write(files.0.path().join(name), content).unwrap();
            }
            files
        }

        fn path(&self, name: &str) -> String {
            text(&self.0.path().join(name)).to_owned()
        }

        fn rerank(&self, more: &[&str]) -> std::process::Output {
            let paths = ["corpus", "queries", "run"].map(|name| self.path(name));
            let mut arguments = vec!["rerank", "--corpus", &paths[0], "--queries", &paths[1], "--run", &paths[2]];
            arguments.extend(more);
            run(&arguments)
        }
    }

    /// Query, document, rank and score of each line.
    fn parse(run: &str) -> Vec<(&str, &str, usize, f64)> {
        let line = |line: &'static str| -> (&str, &str, usize, f64) {
            let fields: Vec<&str> = line.split(' ').collect();
            assert_eq!((fields.len(), fields[1]), (6, "Q0"), "{line}");
            (fields[0], fields[2], fields[3].parse().unwrap(), fields[4].parse().unwrap())
        };
        run.lines().map(|text| line(Box::leak(text.to_owned().into_boxed_str()))).collect()
    }

    #[test]
    fn a_run_is_reranked_in_its_order_of_queries() {
        let output = Files::new(CORPUS, QUERIES, RUN).rerank(&[]);
        assert_code(&output, 0);
        assert_eq!(stderr(&output), "");
        let found = parse(stdout(&output));
        let order: Vec<(&str, usize)> = found.iter().map(|line| (line.0, line.2)).collect();
        assert_eq!(order, [("q2", 1), ("q2", 2), ("q1", 1), ("q1", 2), ("q1", 3)]);
        assert_eq!((found[0].1, found[2].1), ("d2", "d1"));
        assert!(stdout(&output).lines().all(|line| line.ends_with(" crossrank")));
        // The logits that the same pairs have elsewhere, title and text together.
        let request =
            br#"{"query": "capital of France", "documents": ["Paris the capital of France."], "raw_scores": true}"#;
        let single = run_with_input(&["rerank"], request);
        assert_eq!(lines(stdout(&single))[0]["results"][0]["relevance_score"].as_f64().unwrap(), found[2].3);
    }

    #[test]
    fn depth_top_n_threshold_and_tag() {
        let files = Files::new(CORPUS, QUERIES, RUN);
        let output = files.rerank(&["--depth", "2", "--tag", "mine", "--top-n", "1"]);
        let found = parse(stdout(&output));
        assert_eq!(found.iter().map(|line| line.1).collect::<Vec<_>>(), ["d2", "d3"]);
        assert!(stdout(&output).contains(" mine\n"));
        // One logit is the highest of all queries: as the threshold, it leaves its document alone.
        let output = files.rerank(&[]);
        let all = parse(stdout(&output));
        let highest = all.iter().max_by(|a, b| a.3.total_cmp(&b.3)).unwrap();
        let found = files.rerank(&["--threshold", &highest.3.to_string()]);
        assert_eq!(parse(stdout(&found)).iter().map(|line| line.1).collect::<Vec<_>>(), [highest.1]);
    }

    #[test]
    fn tables_and_compressed_files() {
        let files = Files::new(CORPUS, QUERIES, RUN);
        let expected = files.rerank(&[]);
        let pack = |name: &str, bytes: &[u8]| fs::write(files.path(name), zstd::encode_all(bytes, 1).unwrap()).unwrap();
        pack("corpus", b"id\ttitle\ttext\nd1\tParis\tthe capital of France.\nd2\t\tBread is baked in an oven.\nd3\t\tSpain borders France.\n");
        pack("run", RUN.as_bytes());
        fs::write(files.path("queries"), "q1\tcapital of France\nq2\thow is bread made\n").unwrap();
        let out = files.path("out.trec.gz");
        let output = files.rerank(&["-o", &out]);
        assert_code(&output, 0);
        assert_eq!(unpacked(Path::new(&out)), stdout(&expected));
    }

    #[test]
    fn what_is_missing_is_said_and_the_rest_done() {
        let run = format!("{RUN}q1 Q0 d9 4 1 bm25\nq3 Q0 d1 1 1 bm25\n");
        let queries = format!("{QUERIES}{{\"_id\": \"q4\", \"text\": \"unused\"}}\n");
        let files = Files::new(&format!("{CORPUS}no document\n"), &queries, &run);
        let output = files.rerank(&[]);
        assert_code(&output, 1);
        assert_eq!(parse(stdout(&output)).len(), 5);
        for reason in [
            "corpus, line 5: malformed JSON",
            "query q1: document d9 is not in the corpus",
            "query q3: its text is not in ",
            "the run has nothing for 1 of the 3 query texts",
            "2 of 3 queries failed: query q1; query q3",
        ] {
            assert!(stderr(&output).contains(reason), "{reason}: {}", stderr(&output));
        }
        let stopped = files.rerank(&["--errors", "stop"]);
        assert_code(&stopped, 1);
        assert_eq!(stdout(&stopped), "");
        for (name, content, reason) in [
            ("run", "q1 Q0 d1 1 bm25\n", "line 1: a line of a TREC run"),
            ("queries", "{\"_id\": \"q1\"}\n", "line 1: a JSON object with an `_id` and a `text`"),
        ] {
            let files = Files::new(CORPUS, QUERIES, RUN);
            fs::write(files.path(name), content).unwrap();
            let output = files.rerank(&[]);
            assert_code(&output, 1);
            assert!(stderr(&output).contains(reason), "{}", stderr(&output));
        }
    }

    /// The last line counts, as in a Python dictionary, and it is said.
    #[test]
    fn what_stands_there_twice_is_said() {
        let corpus =
            format!("{{\"_id\": \"d1\", \"text\": \"Nothing.\"}}\n{CORPUS}{{\"_id\": \"unused\", \"text\": \"y\"}}\n");
        let queries = format!("{{\"_id\": \"q1\", \"text\": \"nothing\"}}\n{QUERIES}");
        let run = format!("q2 Q0 d1 9 5 bm25\n{RUN}q1 Q0 d1 4 1 bm25\n");
        let output = Files::new(&corpus, &queries, &run).rerank(&[]);
        assert_code(&output, 0);
        for said in [
            "queries has 1 line for a query that it had before, such as query q1; the last one counts",
            "corpus has 1 line for a document that it had before, such as document d1; the last one counts",
            "run has 2 lines for a query and a document that it had before; the last one counts",
        ] {
            assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
        }
        let once = Files::new(CORPUS, QUERIES, RUN).rerank(&[]);
        assert_eq!(stdout(&output), stdout(&once));
    }

    /// A fusion cannot add it, a cross-encoder does not look at it.
    #[test]
    fn an_infinite_score() {
        let files = Files::new(CORPUS, QUERIES, &RUN.replace("3.25", "inf"));
        assert_code(&files.rerank(&[]), 0);
        let output = files.rerank(&["--fusion"]);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("run, line 2: the score is inf"), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }

    #[test]
    fn a_cascades_other_documents_follow() {
        let output = Files::new(CORPUS, QUERIES, RUN).rerank(&["--cascade", "1"]);
        assert_code(&output, 0);
        let found = parse(stdout(&output));
        assert_eq!(found.len(), 5);
        assert!((found[1].3 - (found[0].3 - 1.0)).abs() < 1e-5, "{found:?}");
    }

    /// What `rerank` writes, `eval` reads.
    #[test]
    fn from_a_first_stage_to_a_measure() {
        let files = Files::new(CORPUS, QUERIES, RUN);
        let out = files.path("out.trec");
        assert_code(&files.rerank(&["-o", &out]), 0);
        let qrels = files.path("qrels");
        fs::write(&qrels, "q1 0 d1 1\nq2 0 d2 1\n").unwrap();
        let output = run(&["eval", &qrels, &files.path("run"), &out, "RR@10"]);
        assert_code(&output, 0);
        let line = stdout(&output).lines().last().unwrap();
        assert_eq!(line, "RR@10\t0.4167\t1.0000");
    }
}

/// How a document is read is the same in requests, in the retrieval layout and in a table.
#[test]
fn windows_and_instructions_in_every_layout() {
    let query = "capital of France";
    let document = format!("{} Paris is the capital of France.", "The river is old. ".repeat(60));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    let corpus = file("corpus", json!({"_id": "d", "text": document}).to_string());
    let queries = file("queries", json!({"_id": "q", "text": query}).to_string());
    let first_stage = file("run", "q Q0 d 1 1 bm25\n".to_owned());
    let table = file("pairs.csv", format!("query,text\n{query},{document}\n"));
    let requests = file("requests", json!({"query": query, "documents": [document]}).to_string());
    let logits = |options: &[&str]| {
        let rerank = |layout: &[&str]| {
            let output = run(&[&["rerank"], layout, options].concat());
            assert_code(&output, 0);
            stdout(&output).to_owned()
        };
        let answer = lines(&rerank(&[&requests, "--raw-scores"]))[0]["results"][0]["relevance_score"].as_f64().unwrap();
        let run = rerank(&["--corpus", &corpus, "--queries", &queries, "--run", &first_stage]);
        assert_eq!(run.split(' ').nth(4).unwrap().parse::<f64>().unwrap(), answer, "{options:?}");
        let table = rerank(&[&table, "--query-column", "query", "--document-column", "text", "--raw-scores"]);
        assert_eq!(table.trim_end().rsplit(',').next().unwrap().parse::<f64>().unwrap(), answer, "{options:?}");
        answer
    };
    let bert = bert();
    let cut = ["--reranker", &bert, "--max-length", "48"];
    let windows = logits(&[&cut[..], &["--long", "windows"]].concat());
    assert_ne!(windows, logits(&cut));
    assert_ne!(windows, logits(&[&cut[..], &["--long", "windows", "--combine", "mean"]].concat()));
    let model = fixtures::path("qwen3-reranker");
    let told = ["--reranker", text(&model)];
    let instruction = ["--instruction", "Find the name of a city"];
    assert_ne!(logits(&[&told[..], &instruction].concat()), logits(&told));
}

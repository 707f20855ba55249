//! The command line, through its real binary.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::fixtures::{self, Copy};
use crate::jobs::unpacked;

pub fn crossrank(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("crossrank"));
    command.args(arguments).stdin(Stdio::null());
    command
}

pub fn run(arguments: &[&str]) -> Output {
    crossrank(arguments).output().unwrap()
}

pub fn run_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child =
        crossrank(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that stops early closes its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}

fn bert() -> String {
    fixtures::path("bert-cross-encoder").to_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `--dimensions` goes to the embedding model, and an impossible number is said.
#[test]
fn dimensions_of_embeddings() {
    let texts = ["--query", "old library", "--document", "The library.", "A river."];
    let compare = |n: &str| run(&[["compare", "--dimensions", n].as_slice(), &texts].concat());
    let scores = |output: &Output| {
        assert_code(output, 0);
        stdout(output).lines().skip_while(|line| !line.contains("Embedding Similarity")).nth(1).unwrap().to_owned()
    };
    assert_ne!(scores(&compare("64")), scores(&compare("384")));
    for n in ["0", "385"] {
        let output = compare(n);
        assert_code(&output, 2);
        assert!(stderr(&output).contains("the model has 384"), "{}", stderr(&output));
    }
    let output = run(&["doctor", "--dimensions", "64"]);
    assert!(stdout(&output).contains("the first 64 of 384"), "{}", stdout(&output));
    let output = run(&["doctor", "--embedder", fixtures::path("nomic-embedder").to_str().unwrap()]);
    assert!(stdout(&output).contains("LayerNorm (2_LayerNorm)"), "{}", stdout(&output));
    assert_code(&run(&["rerank", "-q", "x", "--dimensions", "64"]), 2);
}

/// The same ranking in every compute type; one that is not known is a wrong usage.
#[test]
fn compute_types() {
    for compute in ["onnxruntime", "float32", "int16", "int8", "w8a8"] {
        let output =
            run(&["compare", "--compute", compute, "--query", "old library", "--document", "a", "The library."]);
        assert_code(&output, 0);
        assert!(stdout(&output).contains("The library."));
        let output = run_with_input(
            &["rerank", "--compute", compute, "--query", "capital of France", "-n", "1"],
            b"Bread is baked.\nParis is the capital of France.\n",
        );
        assert_code(&output, 0);
        assert!(stdout(&output).contains("Paris"), "{compute}: {}", stdout(&output));
    }
    let output = run(&["doctor", "--compute", "int7"]);
    assert_code(&output, 2);
    for word in ["int7", "onnxruntime, float32, int16, int8, w8a8"] {
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
}

mod compare {
    use super::*;

    #[test]
    fn the_built_in_cases_in_the_promised_shape() {
        let output = run(&["compare"]);
        assert_code(&output, 0);
        assert_eq!(stderr(&output), "");
        let lines: Vec<&str> = stdout(&output).lines().collect();
        assert!(lines[0].starts_with("Using reranker model: bundled cross-encoder"), "{}", lines[0]);
        assert!(lines[1].starts_with("Using embedding model: bundled bi-encoder"), "{}", lines[1]);
        let rule = "=".repeat(70);
        assert_eq!(
            lines[2..8],
            ["", &rule, "Case: Lexical Overlap Trap", "Query: How to kill a Python process?", &rule, ""]
        );
        assert_eq!(lines[8], "--- Embedding Similarity (Bi-Encoder) ---");
        assert_eq!(lines[14..16], ["", "--- Reranker Scores (Cross-Encoder) ---"]);
        for list in [&lines[9..14], &lines[16..21]] {
            let mut last = f64::INFINITY;
            for (line, rank) in list.iter().zip(1..) {
                let rest = line.strip_prefix(&format!("{rank}. [Score: ")).unwrap_or_else(|| panic!("{line}"));
                let (score, document) = rest.split_once("] ").unwrap();
                assert_eq!(score.split_once('.').unwrap().1.len(), 7, "{line}");
                let score: f64 = score.parse().unwrap();
                assert!(score <= last && !document.is_empty(), "{line}");
                last = score;
            }
        }
        let all = stdout(&output);
        let first: Vec<&str> = all
            .lines()
            .filter_map(|line| line.strip_prefix("1. [Score: ")?.split_once("] "))
            .map(|(_, text)| text)
            .collect();
        // The cross-encoder's first documents are the second of each pair of lists; the third case is hard.
        assert_eq!(first[1], "Use kill -9 PID or pkill python to terminate a Python process.");
        assert_eq!(first[3], "Bitcoin was created in 2009 by Satoshi Nakamoto.");
        assert_eq!(first.len(), 6);
        assert_eq!(all.matches("\nCase: ").count(), 3);
        assert!(all.contains("Kendall's tau") && all.contains("Cross-encoder: 15 pairs in "), "{all}");
    }

    #[test]
    fn published_scores_stand_beside_ours() {
        let output = run(&["compare", "--published", "--top-n", "1"]);
        assert_code(&output, 0);
        let first = stdout(&output).lines().find(|line| line.starts_with("1. ")).unwrap();
        assert!(first.contains("] [Published: 0.7179645] Use kill"), "{first}");
        assert!(!stdout(&output).contains("\n2. "));
    }

    #[test]
    fn an_own_query() {
        let arguments =
            ["compare", "--query", "capital of France", "--document", "Bread is baked.", "Paris is in France."];
        let output = run(&arguments);
        assert_code(&output, 0);
        assert_eq!(stdout(&output).matches("1. [Score: ").count(), 2);
        assert_eq!(stdout(&output).matches("] Paris is in France.").count(), 2);
        let no_documents = run(&["compare", "--query", "capital of France"]);
        assert_code(&no_documents, 0);
        assert!(!stdout(&no_documents).contains("[Score"));
    }

    #[test]
    fn cases_of_a_file_and_of_standard_input_as_json() {
        let cases = br#"[{"name": "n", "query": "river", "documents": ["old", "library", ""]}]"#;
        let folder = tempfile::tempdir().unwrap();
        let (input, result) = (folder.path().join("cases.json"), folder.path().join("result.json"));
        fs::write(&input, cases).unwrap();
        let bert = bert();
        let options = ["compare", "--reranker", &bert, "--format", "json"];
        let from_file = run(&[&options[..], &["--cases", text(&input), "-o", text(&result)]].concat());
        assert_code(&from_file, 0);
        assert_eq!(stdout(&from_file), "");
        let from_pipe = run_with_input(&[&options[..], &["--cases", "-"]].concat(), cases);
        assert_code(&from_pipe, 0);
        let json: Value = serde_json::from_slice(&from_pipe.stdout).unwrap();
        assert_eq!(fixtures::json(&result)["cases"], json["cases"]);
        assert_eq!(json["cases"][0]["reranker"].as_array().unwrap().len(), 3);
        assert_eq!(json["reranker"]["precision"], "fp32");
        assert_eq!(json["reranker"]["compute"], if cfg!(target_arch = "x86_64") { "float32" } else { "onnxruntime" });
        assert!(json["summary"]["reranker_ms"].as_f64().unwrap() > 0.0);
        assert!(json["cases"][0]["kendall_tau"].is_number());
    }

    #[test]
    fn raw_scores_are_logits() {
        let json = |extra: &[&str]| -> Value {
            let output = run(&[&["compare", "--format", "json"][..], extra].concat());
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let (scores, logits) = (json(&[]), json(&["--raw-scores"]));
        let first = |json: &Value| json["cases"][0]["reranker"][0]["score"].as_f64().unwrap();
        assert!((first(&scores) - 1.0 / (1.0 + (-first(&logits)).exp())).abs() < 1e-6);
    }

    #[test]
    fn markdown_has_a_table_for_each_list() {
        let output = run(&["compare", "--format", "markdown", "--published"]);
        assert_code(&output, 0);
        assert_eq!(stdout(&output).matches("| # | Score | Published | Document |").count(), 6);
        assert!(stdout(&output).contains("## Case: Implicit Answer"));
    }

    #[test]
    fn malformed_cases_have_a_line_number() {
        let output = run_with_input(&["compare", "--cases", "-"], b"{\"cases\": [\n {\"query\": \n");
        assert_code(&output, 1);
        assert!(stderr(&output).contains("standard input: line 3: malformed JSON"), "{}", stderr(&output));
        let output = run_with_input(&["compare", "--cases", "-"], b"[\n\n\"\xff\"]");
        assert_code(&output, 1);
        assert!(stderr(&output).contains("line 3: invalid UTF-8"), "{}", stderr(&output));
        let output = run_with_input(
            &["compare", "--cases", "-"],
            b"[{\"query\": \"q\", \"documents\": []}, {\"documents\": []}]",
        );
        assert_code(&output, 1);
        assert!(stderr(&output).contains("case 2: missing field `query`"), "{}", stderr(&output));
        let output = run_with_input(&["compare", "--cases", "-"], b"{\"casses\": []}");
        assert_code(&output, 1);
        assert!(stderr(&output).contains("cases are"), "{}", stderr(&output));
    }

    #[test]
    fn a_score_that_is_not_finite_is_named_and_loses_no_other() {
        let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
        let arguments = ["compare", "--reranker", text(fixture.path()), "-q", "old", "-d", "river", "nan", "library"];
        let output = run(&arguments);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("document 1 (counted from 0)"), "{}", stderr(&output));
        assert!(stdout(&output).contains("2. [Score: "), "{}", stdout(&output));
    }
}

mod rerank {
    use super::*;

    const LINES: &[u8] = b"Bread is baked in an oven.\r\nParis is the capital of France.\n\nSpain";

    #[test]
    fn lines_of_standard_input() {
        let output = run_with_input(&["rerank", "--query", "capital of France"], LINES);
        assert_code(&output, 0);
        assert_eq!(stderr(&output), "");
        let lines: Vec<&str> = stdout(&output).lines().collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("1. [Score: 0."), "{}", lines[0]);
        assert!(lines[0].ends_with("] Paris is the capital of France."), "{}", lines[0]);
        let options = ["rerank", "-q", "capital of France", "--top-n", "1", "--threshold", "0.1", "-"];
        assert_eq!(stdout(&run_with_input(&options, LINES)).lines().collect::<Vec<_>>(), lines[..1]);
        let none = run_with_input(&["rerank", "-q", "x"], b"");
        assert_code(&none, 0);
        assert_eq!(stdout(&none), "");
    }

    #[test]
    fn jsonl_with_ids_as_json() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("documents.jsonl");
        fs::write(&file, "{\"id\": \"a\", \"text\": \"river\"}\n\n{\"id\": 7, \"text\": \"old\\nlibrary\"}\n").unwrap();
        let bert = bert();
        let arguments = ["rerank", "-q", "old", "--reranker", &bert, "--format", "json", "--raw-scores", text(&file)];
        let output = run(&arguments);
        assert_code(&output, 0);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let results = json["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        let second = results.iter().find(|result| result["index"] == 1).unwrap();
        assert_eq!((&second["id"], &second["line"]), (&Value::from(7), &Value::from(3)));
        assert_eq!(second["document"], "old\nlibrary");
        assert_eq!(json["raw_scores"], true);
    }

    #[test]
    fn bad_lines_are_reported_and_the_others_ranked() {
        let output = run_with_input(&["rerank", "-q", "x"], b"good\nb\xffd\nalso good\n");
        assert_code(&output, 1);
        assert!(stderr(&output).contains("standard input, line 2: invalid UTF-8 at byte 2"), "{}", stderr(&output));
        assert_eq!(stdout(&output).lines().count(), 2);
        let output = run_with_input(&["rerank", "-q", "x"], b"{\"text\": \"good\"}\n{\"text\"\n{\"body\": 1}\n");
        assert_code(&output, 1);
        assert!(stderr(&output).contains("line 2: malformed JSON"), "{}", stderr(&output));
        assert!(stderr(&output).contains("line 3: a document is a JSON object"), "{}", stderr(&output));
        assert_eq!(stdout(&output).lines().count(), 1);
    }

    #[test]
    fn a_bad_first_line_is_a_bad_line() {
        let output = run_with_input(&["rerank", "-q", "x"], b"\n{\"text\"\n{\"text\": \"Paris\"}\n");
        assert_code(&output, 1);
        assert!(stderr(&output).contains("line 2: malformed JSON"), "{}", stderr(&output));
        assert_eq!(stdout(&output).lines().count(), 1);
        let output = run_with_input(&["rerank", "-q", "x"], b"\"Quoted\"\nplain\n");
        assert_code(&output, 0);
        assert_eq!(stdout(&output).lines().count(), 2);
    }

    #[test]
    fn a_score_that_is_not_finite_is_named_by_its_line() {
        let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
        let output = run_with_input(&["rerank", "-q", "old", "--reranker", text(fixture.path())], b"river\nnan\nold\n");
        assert_code(&output, 1);
        assert!(stderr(&output).contains("line 2: the model gave document 1"), "{}", stderr(&output));
        assert_eq!(stdout(&output).lines().count(), 2);
    }

    #[test]
    fn cut_documents_are_reported() {
        let long = "word ".repeat(600);
        let output = run_with_input(&["rerank", "-q", "x"], long.as_bytes());
        assert_code(&output, 0);
        assert!(stderr(&output).contains("1 document was cut to fit the 512 tokens"), "{}", stderr(&output));
    }

    #[test]
    fn a_cut_query_is_told_from_cut_documents() {
        let query = "word ".repeat(600);
        let output = run_with_input(&["rerank", "-q", &query, "--format", "json"], b"Paris\nBread\n");
        assert_code(&output, 0);
        let said = stderr(&output);
        assert!(said.starts_with("warning: a query was cut to fit the 512 tokens of the cross-encoder: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let answer: Value = serde_json::from_str(stdout(&output)).unwrap();
        let cut = &answer["truncated"][1];
        assert_eq!((&cut["index"], &cut["dropped_tokens"]), (&1.into(), &0.into()));
        assert!(said.contains(&format!(": {} tokens left out", cut["dropped_query_tokens"])), "{said} {cut}");
    }

    #[test]
    fn compressed_documents_and_results() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| text(&folder.path().join(name)).to_owned();
        let input = file("documents.zst");
        fs::write(&input, zstd::encode_all(LINES, 3).unwrap()).unwrap();
        let plain = run_with_input(&["rerank", "-q", "capital of France"], LINES);
        for name in ["out.gz", "out.zst"] {
            let packed = file(name);
            assert_code(&run(&["rerank", "-q", "capital of France", &input, "-o", &packed]), 0);
            assert_eq!(unpacked(Path::new(&packed)), stdout(&plain));
        }
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 3, "{names:?}");
        fs::write(&input, &zstd::encode_all(LINES, 3).unwrap()[..20]).unwrap();
        let output = run(&["rerank", "-q", "x", &input]);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("cannot read "), "{}", stderr(&output));
    }

    #[test]
    fn a_cascade_has_both_scores() {
        let query = ["rerank", "-q", "capital of France"];
        let cascade = [&query[..], &["--cascade", "2"]].concat();
        let output = run_with_input(&cascade, LINES);
        assert_code(&output, 0);
        assert_eq!(stderr(&output), "");
        let lines: Vec<&str> = stdout(&output).lines().collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("1. [Score: 0.") && lines[0].contains("] [Similarity: 0."), "{}", lines[0]);
        assert!(lines[0].ends_with("] Paris is the capital of France."), "{}", lines[0]);
        assert!(lines[1].starts_with("2. [Score: 0.") && lines[1].ends_with("] Spain"), "{}", lines[1]);
        assert!(lines[2..].iter().all(|line| line.contains(". [Score: none] [Similarity: ")), "{lines:?}");
        let top = run_with_input(&[&cascade[..], &["-n", "3"]].concat(), LINES);
        assert_eq!(stdout(&top).lines().collect::<Vec<_>>(), lines[..3]);
        let threshold = run_with_input(&[&cascade[..], &["--threshold", "0"]].concat(), LINES);
        assert_eq!(stdout(&threshold).lines().collect::<Vec<_>>(), lines[..2], "no score, no threshold");

        let json = |extra: &[&str]| -> Value {
            let output = run_with_input(&[&query[..], &["--format", "json"], extra].concat(), LINES);
            assert_code(&output, 0);
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let (all, auto, two) = (json(&[]), json(&["--cascade", "auto"]), json(&["--cascade", "2"]));
        assert_eq!((&auto["cascade"]["candidates"], &two["cascade"]["candidates"]), (&4.into(), &2.into()));
        assert!(two["cascade"]["embedder"].as_str().unwrap().starts_with("bundled bi-encoder"));
        assert!(two["results"][2]["relevance_score"].is_null() && two["results"][2]["similarity"].is_number());
        assert!(all.get("cascade").is_none() && all["results"][0].get("similarity").is_none());
        let scores = |json: &Value| -> Vec<(Value, Value)> {
            let results = json["results"].as_array().unwrap().iter();
            results.map(|result| (result["line"].clone(), result["relevance_score"].clone())).collect()
        };
        assert_eq!(scores(&auto), scores(&all), "all documents are candidates");
        assert_eq!(scores(&two)[..1], scores(&all)[..1]);
    }

    #[test]
    fn a_cascades_failures_and_cuts_are_those_of_the_lines() {
        let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
        let reranker = text(fixture.path());
        let long = "old library ".repeat(300);
        let input = format!("bread\nthe old library, nan\n{long}\nan old library\n");
        let arguments = ["rerank", "-q", "old library", "--cascade", "3", "--reranker", reranker, "--format", "json"];
        let output = run_with_input(&arguments, input.as_bytes());
        assert_code(&output, 1);
        assert!(stderr(&output).contains("standard input, line 2: "), "{}", stderr(&output));
        assert!(stderr(&output).contains("tokens of the bi-encoder"), "{}", stderr(&output));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["cascade"]["truncated"][0]["index"], 2);
        assert_eq!(json["results"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_closed_pipe_is_not_an_error() {
        let bert = bert();
        let mut child = crossrank(&["rerank", "-q", "old", "--reranker", &bert])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let documents = "river library bridge\n".repeat(5000);
        child.stdin.take().unwrap().write_all(documents.as_bytes()).unwrap();
        let mut messages = String::new();
        child.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
        assert_eq!((child.wait().unwrap().code(), messages.as_str()), (Some(0), ""));
    }
}

mod set_up {
    use super::*;

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for arguments in [
            &["compare", "--frobnicate"][..],
            &["compare", "--document", "x"],
            &["rerank", "-q", "x", "--threads", "0"],
            &["rerank", "-q", "x", "no/such/file"],
            &["rerank", "-q", "x", "--top-n", "-1"],
            &["rerank", "-q", "x", "--threshold", "nan"],
            &["rerank", "-q", "x", "--cascade", "0"],
            &["rerank", "-q", "x", "--cascade", "some"],
            &["rerank", "-q", "x", "--embedder", "bundled"],
            &["rerank", "-q", "x", "--cascade", "1", "--embedder", "no/such/folder"],
            &["compare", "--cases", "no/such/file"],
            &["compare", "-o", "no/such/folder/file"],
            &[],
        ] {
            let output = run(arguments);
            assert_code(&output, 2);
            assert!(!stderr(&output).is_empty());
            assert_eq!(stdout(&output), "", "{arguments:?}");
        }
    }

    #[test]
    fn a_model_that_cannot_work_is_exit_code_2() {
        let bert = || Copy::of("bert-cross-encoder");
        let cases = [
            (bert().remove("model.onnx"), "model.onnx"),
            (bert().with_graph("truncated.onnx"), "cut short"),
            (bert().with_graph("not-onnx.onnx"), "cannot be read"),
            (bert().with_graph("small-vocab.onnx"), "tokenizer does not fit"),
            (bert().with_graph("unknown-input.onnx"), "pixel_values"),
            (bert().with_graph("wrong-shape.onnx"), "[batch, labels]"),
        ];
        for (fixture, reason) in &cases {
            for command in [&["rerank", "-q", "x"][..], &["compare"], &["doctor"]] {
                let output = run(&[command, &["--reranker", text(fixture.path())]].concat());
                assert_code(&output, 2);
                assert!(stderr(&output).contains(reason), "{reason} is not in {}", stderr(&output));
                assert!(!stderr(&output).contains("panicked"));
            }
        }
    }

    #[test]
    fn an_unusable_library_is_passed_over_aloud() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libonnxruntime.so");
        fs::write(&library, "not a library").unwrap();
        let output = crossrank(&["compare"]).env("ORT_DYLIB_PATH", &library).output().unwrap();
        assert_code(&output, 0);
        assert!(stderr(&output).contains("warning: an ONNX Runtime library was passed over"), "{}", stderr(&output));
        assert!(stderr(&output).contains("ORT_DYLIB_PATH"), "{}", stderr(&output));
    }

    /// Nothing is kept about the user: ONNX Runtime's telemetry would leave a device id in the cache folder.
    #[test]
    fn no_telemetry() {
        let home = tempfile::tempdir().unwrap();
        let output = crossrank(&["doctor"])
            .env("HOME", home.path())
            .env("XDG_CACHE_HOME", home.path().join("cache"))
            .env("TMPDIR", home.path())
            .output()
            .unwrap();
        assert_code(&output, 0);
        assert!(stdout(&output).contains("telemetry      off"), "{}", stdout(&output));
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_query_may_begin_with_a_dash() {
        let output = run_with_input(&["rerank", "-q", "-5 degrees", "-o", "-"], b"cold\n");
        assert_code(&output, 0);
        assert!(stdout(&output).ends_with("] cold\n"), "{}", stdout(&output));
    }

    #[test]
    fn a_file_is_replaced_only_by_whole_results() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.txt");
        fs::write(&file, "old").unwrap();
        let output = run(&["compare", "--reranker", "no/such/folder", "-o", text(&file)]);
        assert_code(&output, 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert_code(&run(&["compare", "-o", text(&file)]), 0);
        assert!(fs::read_to_string(&file).unwrap().starts_with("Using reranker model"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no unfinished file is left");
        #[cfg(unix)]
        assert_code(&run(&["compare", "-o", "/dev/null"]), 0);
    }

    #[test]
    fn doctor_names_what_runs() {
        let output = run(&["doctor"]);
        assert_code(&output, 0);
        for words in [
            "ONNX Runtime     1.",
            "CPUExecutionProvider",
            "512 tokens",
            "mean (1_Pooling/config.json)",
            "All is well.",
        ] {
            assert!(stdout(&output).contains(words), "`{words}` is not in {}", stdout(&output));
        }
    }

    #[test]
    fn doctor_goes_on_after_a_problem() {
        let output = run(&["doctor", "--reranker", "no/such/folder"]);
        assert_code(&output, 2);
        assert!(stdout(&output).contains("embedder         bundled"), "{}", stdout(&output));
        assert!(stderr(&output).contains("reranker: the model folder no/such/folder does not exist"));
    }

    #[test]
    fn help_and_completions() {
        let help = run(&["--help"]);
        assert_code(&help, 0);
        for command in ["compare", "rerank", "eval", "doctor", "completions"] {
            assert!(stdout(&help).contains(command));
            let help = run(&[command, "--help"]);
            assert_code(&help, 0);
            assert!(stdout(&help).contains("Usage: crossrank"));
        }
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            let script = run(&["completions", shell]);
            assert_code(&script, 0);
            assert!(stdout(&script).contains("rerank"));
        }
    }
}

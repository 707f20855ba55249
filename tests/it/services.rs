//! `crossrank rerank --format SERVICE`: requests and responses of other programs.
//!
//! What is expected of Infinity is what its own server answered (`tests/fixtures/services`), and of
//! text-embeddings-inference, where a body is no request, what its web framework says.

use std::fmt::Write as _;
use std::fs;
use std::process::Output;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::cli::{assert_code, run, run_with_input, stderr, stdout};
use crate::fixtures::{self, Copy};

const FORMATS: [&str; 5] = ["infinity", "tei", "cohere", "cohere-v1", "jina"];

const LIBRARY: &str = "The old library is by the river.";

fn bert() -> String {
    fixtures::path("bert-cross-encoder").to_str().unwrap().to_owned()
}

fn rerank(format: &str, more: &[&str], lines: &str) -> Output {
    let bert = bert();
    let arguments = [&["rerank", "--format", format, "--reranker", &bert], more].concat();
    run_with_input(&arguments, lines.as_bytes())
}

/// The responses to requests, and the exit code.
#[track_caller]
fn answers(format: &str, more: &[&str], requests: &[Value], code: i32) -> Vec<Value> {
    let lines: Vec<String> = requests.iter().map(Value::to_string).collect();
    let output = rerank(format, more, &lines.join("\n"));
    assert_code(&output, code);
    let answers: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), requests.len());
    answers
}

/// The response to a request that can be answered.
#[track_caller]
fn answer(format: &str, request: Value) -> Value {
    answers(format, &[], &[request], 0).remove(0)
}

/// The response to a request that cannot.
#[track_caller]
fn refused(format: &str, request: Value) -> Value {
    answers(format, &[], &[request], 1).remove(0)
}

fn stored(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixtures::path("services").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_uuid(id: &str) {
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{id}");
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn indexes(results: &Value) -> Vec<u64> {
    results.as_array().unwrap().iter().map(|result| result["index"].as_u64().unwrap()).collect()
}

mod infinity {
    use super::*;

    /// A text with the long parts that the stored one leaves out.
    fn expanded(text: &str) -> String {
        let documents = vec!["\"d\""; 2049].join(",");
        text.replace("@x:122881@", &"x".repeat(122_881)).replace("@documents:2049@", &documents)
    }

    /// Takes the scores and the id out of a response.
    #[track_caller]
    fn without_changing_parts(response: &str) -> (String, Vec<f64>) {
        let mut response: Value = serde_json::from_str(response).unwrap();
        let mut scores = Vec::new();
        for result in response["results"].as_array_mut().unwrap() {
            scores.push(result["relevance_score"].take().as_f64().unwrap());
        }
        let id = response["id"].as_str().unwrap().strip_prefix("infinity-").unwrap();
        if id != "<uuid>" {
            assert_uuid(id);
            response["id"] = json!("infinity-<uuid>");
        }
        (response.to_string(), scores)
    }

    #[test]
    fn the_answers_of_the_server() {
        let cases = stored("infinity.jsonl");
        let bodies = cases.iter().map(|case| expanded(case["body"].as_str().unwrap()));
        let lines: Vec<String> = bodies.map(|body| body.trim_end_matches(['\r', '\n']).to_owned()).collect();
        let output = rerank("infinity", &[], &lines.join("\n"));
        assert_code(&output, 1);
        let answers: Vec<&str> = stdout(&output).lines().collect();
        assert_eq!(answers.len(), cases.len());
        for (case, answer) in cases.iter().zip(answers) {
            let (name, expected) = (&case["name"], expanded(case["response"].as_str().unwrap()));
            if case["status"] == 422 {
                // The number is too large for the reader of JSON here.
                if !expected.contains(&"0".repeat(30)) {
                    assert_eq!(answer, expected, "{name}");
                }
                continue;
            }
            let (without_scores, scores) = without_changing_parts(answer);
            let (expected, of_server) = without_changing_parts(&expected);
            assert_eq!(without_scores, expected, "{name}");
            for (score, of_server) in scores.iter().zip(of_server) {
                assert!((score - of_server).abs() < 1e-4, "{name}: {score}, {of_server}");
                // All digits of the 32-bit float, as Python writes it.
                let digits = f64::from(*score as f32).to_string();
                assert!(answer.contains(&format!("{{\"relevance_score\":{digits},")), "{name}: {answer}");
            }
        }
    }

    #[test]
    fn what_fails_in_the_model() {
        let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
        let arguments = ["rerank", "--format", "infinity", "--reranker", fixture.path().to_str().unwrap()];
        let output = run_with_input(&arguments, br#"{"query": "old", "documents": ["river", "nan"]}"#);
        assert_code(&output, 1);
        let answer: Value = serde_json::from_str(stdout(&output)).unwrap();
        assert_eq!(names(&answer["error"]), ["message", "type", "param", "code"]);
        assert_eq!(answer["error"]["code"], 500);
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("InternalServerError: "), "{answer}");
    }

    #[test]
    fn bytes_that_are_no_text() {
        let output =
            run_with_input(&["rerank", "--format", "infinity"], b"{\"query\": \"\xff\", \"documents\": [\"a\"]}\n");
        assert_code(&output, 1);
        assert_eq!(stdout(&output), "{\"detail\":\"There was an error parsing the body\"}\n");
        assert!(stderr(&output).contains("line 1: invalid UTF-8 at byte 12"), "{}", stderr(&output));
    }
}

mod tei {
    use super::*;

    fn request(texts: &[&str]) -> Value {
        json!({"query": "river", "texts": texts})
    }

    fn with(mut request: Value, name: &str, value: impl Into<Value>) -> Value {
        request[name] = value.into();
        request
    }

    #[test]
    fn ranks() {
        let answer = answer("tei", with(request(&["A bowl of soup.", LIBRARY, ""]), "return_text", true));
        let ranks = answer.as_array().unwrap();
        assert_eq!(ranks.len(), 3);
        let mut last = f64::INFINITY;
        for rank in ranks {
            assert_eq!(names(rank), ["index", "text", "score"]);
            assert!(rank["score"].as_f64().unwrap() <= last);
            last = rank["score"].as_f64().unwrap();
        }
        let plain = super::answer("tei", request(&["A bowl of soup.", LIBRARY, ""]));
        assert_eq!(names(&plain[0]), ["index", "score"]);
        assert_eq!(indexes(&plain), indexes(&answer));
        let raw = super::answer("tei", with(request(&[LIBRARY]), "raw_scores", true));
        let score = super::answer("tei", request(&[LIBRARY]))[0]["score"].as_f64().unwrap();
        let logit = raw[0]["score"].as_f64().unwrap();
        assert!((score - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6);
    }

    #[test]
    fn bodies_that_are_no_request() {
        let cases = stored("tei.jsonl");
        let lines: Vec<&str> = cases.iter().map(|case| case["body"].as_str().unwrap()).collect();
        let output = rerank("tei", &[], &lines.join("\n"));
        assert_code(&output, 1);
        for (case, answer) in cases.iter().zip(stdout(&output).lines()) {
            match case["status"].as_u64().unwrap() {
                200 => assert!(answer.starts_with("[{\"index\":0,"), "{case}: {answer}"),
                _ => assert_eq!(
                    answer,
                    json!({"error": case["text"], "error_type": "Validation"}).to_string(),
                    "{}",
                    case["body"]
                ),
            }
        }
        let refused = rerank("tei", &[], r#"{"query": "river", "texts": ["a"]} {"query": "river", "texts": ["a"]}"#);
        assert_code(&refused, 1);
        assert!(stdout(&refused).contains("trailing characters"), "{}", stdout(&refused));
    }

    #[test]
    fn nothing_to_rank() {
        assert_eq!(refused("tei", request(&[])), json!({"error": "`texts` cannot be empty", "error_type": "Empty"}));
        assert_eq!(
            refused("tei", json!({"query": "", "texts": ["a", ""]})),
            json!({"error": "Input validation error: `inputs` cannot be empty", "error_type": "Empty"})
        );
    }

    /// The fixture's tokenizer makes 100 tokens of the pair, and the model takes 64.
    #[test]
    fn texts_that_are_too_long() {
        let long = format!("{LIBRARY} ").repeat(12);
        let request = |truncate: Value| with(request(&["short", &long]), "truncate", truncate);
        let too_long = "Input validation error: `inputs` must have less than 64 tokens. Given: 100";
        assert_eq!(refused("tei", request(json!(false))), json!({"error": too_long, "error_type": "Validation"}));
        for truncate in [json!(true), json!(null)] {
            assert_eq!(indexes(&answer("tei", request(truncate))).len(), 2);
        }
        answer("tei", with(super::tei::request(&["short"]), "truncate", false));
        let characters = "a".repeat(16_001);
        assert_eq!(
            refused("tei", with(super::tei::request(&[&characters]), "truncate", false)),
            json!({
                "error": "Input validation error: `inputs` must have less than 16000 characters. Given: 16006",
                "error_type": "Validation"
            })
        );
    }

    /// The side at which is cut belongs to the model: a request can ask for no other.
    #[test]
    fn the_side_that_is_cut() {
        let long = format!("{LIBRARY} ").repeat(12);
        answer("tei", with(request(&[&long]), "truncation_direction", "Right"));
        answer("tei", with(request(&["short"]), "truncation_direction", "left"));
        let refused = refused("tei", with(request(&[&long]), "truncation_direction", "Left"));
        assert_eq!(refused["error_type"], "Validation");
        for part in ["`truncation_direction` must be `Right`", "64 tokens. Given: 100"] {
            assert!(refused["error"].as_str().unwrap().contains(part), "{refused}");
        }

        let left = Copy::of("bert-cross-encoder").set("tokenizer_config.json", "truncation_side", json!("left"));
        let arguments = ["rerank", "--format", "tei", "--reranker", left.path().to_str().unwrap()];
        for (direction, code) in [("Left", 0), ("Right", 1)] {
            let line = with(request(&[&long]), "truncation_direction", direction).to_string();
            assert_code(&run_with_input(&arguments, line.as_bytes()), code);
        }
    }

    #[test]
    fn what_fails_in_the_model() {
        let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
        let arguments = ["rerank", "--format", "tei", "--reranker", fixture.path().to_str().unwrap()];
        let lines = format!("{}\n{}\n", request(&["river", "nan"]), request(&["library"]));
        let output = run_with_input(&arguments, lines.as_bytes());
        assert_code(&output, 1);
        let answers: Vec<&str> = stdout(&output).lines().collect();
        assert_eq!(answers[0], r#"{"error":"score is NaN","error_type":"Backend"}"#);
        assert!(answers[1].starts_with("[{\"index\":0,"), "{}", answers[1]);
    }
}

mod cohere {
    use super::*;

    fn request() -> Value {
        json!({"model": "rerank-v3.5", "query": "old library", "documents": ["A bowl of soup.", LIBRARY, "A river."]})
    }

    fn with(changes: Value) -> Value {
        let mut request = request();
        for (name, value) in changes.as_object().unwrap() {
            request[name] = value.clone();
        }
        request
    }

    #[test]
    fn the_second_version() {
        let answer = answer("cohere", with(json!({"top_n": 2, "max_tokens_per_doc": 4096, "priority": 0})));
        assert_eq!(names(&answer), ["id", "results", "meta"]);
        assert_uuid(answer["id"].as_str().unwrap());
        assert_eq!(
            answer["meta"].to_string(),
            r#"{"api_version":{"version":"2","is_experimental":false},"billed_units":{"search_units":1}}"#
        );
        assert_eq!(answer["results"].as_array().unwrap().len(), 2);
        assert_eq!(names(&answer["results"][0]), ["index", "relevance_score"]);
    }

    #[test]
    fn the_first_version() {
        let object = json!({"title": "Library", "text": LIBRARY, "year": "1900"});
        let documents = json!(["A bowl of soup.", {"text": "A river."}, object]);
        let request = json!({
            "query": "old library", "documents": documents, "return_documents": true, "max_chunks_per_doc": 10, "top_n": null
        });
        let answer = answer("cohere-v1", request);
        assert_eq!(answer["meta"].to_string(), r#"{"api_version":{"version":"1"},"billed_units":{"search_units":1}}"#);
        for result in answer["results"].as_array().unwrap() {
            assert_eq!(names(result), ["document", "index", "relevance_score"]);
            let expected = match result["index"].as_u64().unwrap() {
                0 => json!({"text": "A bowl of soup."}),
                index => documents[index as usize].clone(),
            };
            assert_eq!(result["document"].to_string(), expected.to_string());
        }
    }

    #[test]
    fn the_fields_that_are_ranked() {
        let scores = |documents: Value, rank_fields: Value| {
            let request = json!({"query": "old library", "documents": documents, "rank_fields": rank_fields});
            let answer = answer("cohere-v1", request);
            answer["results"][0]["relevance_score"].clone()
        };
        let document = json!([{"text": "by the river", "title": "The old library"}]);
        for (rank_fields, text) in [
            (json!(["title", "text"]), "The old library by the river"),
            (json!(["text", "title"]), "by the river The old library"),
            (json!(["title", "author"]), "The old library"),
            (json!(null), "by the river"),
        ] {
            assert_eq!(scores(document.clone(), rank_fields), scores(json!([text]), json!(null)), "{text}");
        }
    }

    #[test]
    fn a_hundred_documents_are_a_unit() {
        for (documents, units) in [(100, 1), (101, 2)] {
            let answer = answer("cohere", with(json!({"documents": vec!["a"; documents], "top_n": 1})));
            assert_eq!(answer["meta"]["billed_units"]["search_units"], units);
        }
    }

    #[test]
    fn requests_that_are_refused() {
        let object = "invalid type: parameter documents is of type object but should be of type string.";
        for (changes, message) in [
            (json!({"documents": []}), "invalid request: list of documents must not be empty"),
            (json!({"documents": null}), "invalid request: list of documents must not be empty"),
            (json!({"query": " \t"}), "invalid request: query must not be empty or be only whitespace"),
            (json!({"documents": ["a", ""]}), "invalid request: document at index 1 cannot be empty"),
            (json!({"query": 7}), "invalid type: parameter query is of type number but should be of type string."),
            (
                json!({"documents": "a"}),
                "invalid type: parameter documents is of type string but should be of type array.",
            ),
            (json!({"top_n": "2"}), "invalid type: parameter top_n is of type string but should be of type integer."),
            (json!({"top_n": 0}), "invalid request: top_n must be at least 1"),
        ] {
            for format in ["cohere", "cohere-v1"] {
                assert_eq!(refused(format, with(changes.clone()))["message"], message);
            }
        }
        for (format, changes, message) in [
            ("cohere", json!({"model": null}), "a model parameter is required for this endpoint."),
            ("cohere", json!({"documents": [{"text": "a"}]}), object),
            (
                "cohere",
                json!({"relevant_spans": {"mode": "enabled"}}),
                "invalid request: relevant_spans is not supported by the provided model",
            ),
            (
                "cohere-v1",
                json!({"rank_fields": []}),
                "invalid request: rank_fields cannot be empty, it must either contain at least one field or be omitted",
            ),
            (
                "cohere-v1",
                json!({"documents": [{"title": "a"}]}),
                "invalid request: document at index 0 has no field 'text'",
            ),
            (
                "cohere-v1",
                json!({"documents": [{"text": 7}]}),
                "invalid type: parameter documents.text is of type number but should be of type string.",
            ),
        ] {
            assert_eq!(refused(format, with(changes))["message"], message);
        }
        assert_eq!(names(&refused("cohere", json!([]))), ["id", "message"]);
        assert_eq!(names(&refused("cohere-v1", json!([]))), ["message"]);
        let output = rerank("cohere", &[], "{\"query\": \n");
        assert!(stdout(&output).contains("\"message\":\"invalid json syntax: EOF"), "{}", stdout(&output));
    }

    /// A limit below the model's is kept or refused, never passed over.
    #[test]
    fn a_limit_of_tokens() {
        answer("cohere", with(json!({"max_tokens_per_doc": 40})));
        let refused = refused("cohere", with(json!({"max_tokens_per_doc": 20})));
        assert!(refused["message"].as_str().unwrap().contains("must be at least 64"), "{refused}");
    }
}

mod jina {
    use super::*;

    #[test]
    fn ranks() {
        let request = json!({
            "model": "jina-reranker-v2-base-multilingual", "query": "river",
            "documents": [LIBRARY, {"text": "A bowl of soup."}], "return_documents": true
        });
        let answer = answer("jina", request.clone());
        assert_eq!(names(&answer), ["model", "object", "usage", "results"]);
        assert_eq!((&answer["model"], &answer["object"]), (&json!("fixtures/bert-cross-encoder"), &json!("list")));
        // The query has one token, the documents 8 and 5.
        assert_eq!(answer["usage"], json!({"total_tokens": 15, "prompt_tokens": 15}));
        assert_eq!(names(&answer["results"][0]), ["index", "relevance_score", "document"]);
        let soup = answer["results"].as_array().unwrap().iter().find(|result| result["index"] == 1).unwrap();
        assert_eq!(soup["document"], json!({"text": "A bowl of soup."}));
        let mut request = request;
        request["return_documents"] = json!(false);
        request["top_n"] = json!(1);
        let answer = super::answer("jina", request);
        assert_eq!(answer["results"].as_array().unwrap().len(), 1);
        assert_eq!(names(&answer["results"][0]), ["index", "relevance_score"]);
    }

    #[test]
    fn requests_that_are_refused() {
        let refused = refused("jina", json!({"documents": [{"image": "x"}, 1], "top_n": 0}));
        assert_eq!(
            refused.to_string(),
            concat!(
                r#"{"detail":[{"type":"missing","loc":["body","query"],"msg":"Field required","#,
                r#""input":{"documents":[{"image":"x"},1],"top_n":0}},"#,
                r#"{"type":"missing","loc":["body","documents",0,"text"],"msg":"Field required","input":{"image":"x"}},"#,
                r#"{"type":"string_type","loc":["body","documents",1],"msg":"Input should be a valid string","input":1},"#,
                r#"{"type":"greater_than","loc":["body","top_n"],"msg":"Input should be greater than 0","input":0,"ctx":{"gt":0}}]}"#
            )
        );
    }
}

/// The same requests give the same bytes, so that a run can be resumed; the time is one's own to choose.
#[test]
fn responses_are_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let request = json!({"model": "m", "query": "old", "documents": ["a library"], "texts": ["a library"]});
    fs::write(&path, format!("{request}\n{request}\nno request\n")).unwrap();
    for format in FORMATS {
        let bert = bert();
        let arguments = ["rerank", "--format", format, "--reranker", &bert, path.to_str().unwrap()];
        let (first, second) = (run(&arguments), run(&arguments));
        assert_code(&first, 1);
        assert_eq!(stdout(&first), stdout(&second), "{format}");
        let lines: Vec<&str> = stdout(&first).lines().collect();
        assert_eq!(lines.len(), 3);
        // Each response has an id of its own.
        assert_eq!(lines[0] == lines[1], ["tei", "jina"].contains(&format), "{format}");
    }
    let bert = bert();
    let timed = |time: &str| {
        std::process::Command::new(assert_cmd::cargo::cargo_bin!("crossrank"))
            .args(["rerank", "--format", "infinity", "--reranker", &bert, path.to_str().unwrap()])
            .env("SOURCE_DATE_EPOCH", time)
            .output()
            .unwrap()
    };
    assert!(stdout(&timed("1700000000")).lines().next().unwrap().ends_with(",\"created\":1700000000}"));
    let output = timed("now");
    assert_code(&output, 2);
    assert!(stderr(&output).contains("SOURCE_DATE_EPOCH must be a number of seconds"), "{}", stderr(&output));
}

/// What the command line asks for holds where a request says nothing.
#[test]
fn options_of_the_command_line() {
    let request = json!({"model": "m", "query": "old", "documents": ["a", "library"], "texts": ["a", "library"]});
    for format in FORMATS {
        let more = ["--raw-scores", "--return-documents", "--top-n", "1"];
        let answer = answers(format, &more, std::slice::from_ref(&request), 0).remove(0);
        let results = if format == "tei" { &answer } else { &answer["results"] };
        assert_eq!(results.as_array().unwrap().len(), 1, "{format}");
        let result = &results[0];
        assert!(
            result.get("document").or(result.get("text")).is_some_and(|text| !text.is_null()),
            "{format}: {answer}"
        );
        let score = result.get("score").unwrap_or(&result["relevance_score"]).as_f64().unwrap();
        assert!(score < 0.0, "{format}: the fixture's logits are negative: {score}");
    }
}

/// Documents that a cascade did not cross-encode have no score, and services know none without.
#[test]
fn a_cascade_gives_the_documents_with_scores() {
    let request = json!({"model": "m", "query": "old", "documents": ["a", "b", "c"], "texts": ["a", "b", "c"]});
    let embedder = fixtures::path("bert-embedder").to_str().unwrap().to_owned();
    for format in FORMATS {
        let more = ["--cascade", "2", "--embedder", &embedder];
        let answer = answers(format, &more, std::slice::from_ref(&request), 0).remove(0);
        let results = if format == "tei" { &answer } else { &answer["results"] };
        assert_eq!(results.as_array().unwrap().len(), 2, "{format}");
    }
}

const FIELDS: &[&str] = &[
    "query",
    "documents",
    "texts",
    "model",
    "top_n",
    "return_documents",
    "raw_scores",
    "rank_fields",
    "truncate",
    "truncation_direction",
    "return_text",
    "max_tokens_per_doc",
    "max_chunks_per_doc",
    "relevant_spans",
];

/// Any JSON value, and often something like a request.
fn line() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("(text|mode|.{0,3})", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let right = prop_oneof![
        Just(("query", json!("river"))),
        Just(("documents", json!(["a", "b"]))),
        Just(("texts", json!(["a", "b"]))),
        Just(("model", json!("m"))),
    ];
    let wrong = (proptest::sample::select(FIELDS), value.clone());
    let wrong = proptest::collection::vec(wrong, 0..3);
    let request = (proptest::collection::vec(right, 0..8), wrong).prop_map(|(right, wrong)| {
        let fields = right.into_iter().chain(wrong).map(|(name, value)| (name.to_owned(), value));
        Value::Object(fields.collect())
    });
    prop_oneof![
        6 => request.prop_map(|value| value.to_string()),
        2 => value.prop_map(|value| value.to_string()),
        1 => r#"[\[\]{}:,"\\ a1.eEutrn-]{1,12}"#.prop_map(|text| text + "x"),
    ]
}

/// Whatever stands in a line, it is answered with one line of JSON, of the kind that the service has.
#[test]
fn any_line_is_answered() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 2, ..ProptestConfig::default() });
    let lines = proptest::collection::vec(line(), 150);
    let outcome = runner.run(&lines, |lines| {
        let mut text = String::new();
        for line in &lines {
            writeln!(text, "{line}").unwrap();
        }
        for format in FORMATS {
            let output = rerank(format, &[], &text);
            assert!(matches!(output.status.code(), Some(0 | 1)), "{format}: {}", stderr(&output));
            let answers: Vec<&str> = stdout(&output).lines().collect();
            assert_eq!(answers.len(), lines.len(), "{format}: {text}");
            for (line, answer) in lines.iter().zip(answers) {
                let value: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
                let known = match format {
                    "infinity" => value.get("results").or(value.get("detail")).is_some(),
                    "tei" => value.is_array() || names(&value) == ["error", "error_type"],
                    "jina" => value.get("results").or(value.get("detail")).is_some(),
                    _ => value.get("results").or(value.get("message")).is_some(),
                };
                assert!(known, "{format}: {line}: {answer}");
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

//! `crossrank compare` on a test collection.

use std::fs;
use std::path::Path;
use std::process::Output;

use crossrank::z_scores;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{assert_code, run, stderr, stdout};
use crate::html;
use crate::jobs::unpacked;

/// A made-up collection: the first stage puts the right documents last, but for one query.
struct Collection(TempDir);

const CORPUS: &str = r#"{"_id": "paris", "title": "Paris", "text": "Paris is the capital of France."}
{"_id": "bread", "text": "Bread is baked in an oven from flour, water and yeast."}
{"_id": "spain", "text": "Spain borders France and Portugal."}
{"_id": "bitcoin", "text": "Bitcoin was created in 2009 by Satoshi Nakamoto."}
"#;
const QUERIES: &str =
    "1\tWhat is the capital of France?\n2\tHow is bread made?\n3\tWho created Bitcoin?\n4\tnever asked\n";
const QRELS: &str = "1 0 paris 2\n1 0 spain 0\n2 0 bread 1\n3 0 bitcoin 1\n5 0 paris 1\n";
const RUN: &str = "1 Q0 spain 1 9 bm25\n1 Q0 bread 2 8 bm25\n1 Q0 paris 3 7 bm25\n\
                   2 Q0 bread 1 9 bm25\n2 Q0 paris 2 8 bm25\n\
                   3 Q0 paris 1 9 bm25\n3 Q0 spain 2 8 bm25\n3 Q0 bitcoin 3 7 bm25\n\
                   9 Q0 paris 1 1 bm25\n";

impl Collection {
    fn new() -> Self {
        let collection = Self(tempfile::tempdir().unwrap());
        for (name, content) in [("corpus", CORPUS), ("queries", QUERIES), ("run", RUN), ("qrels", QRELS)] {
            fs::write(collection.0.path().join(name), content).unwrap();
        }
        collection
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn compare(&self, more: &[&str]) -> Output {
        let [corpus, queries, run_file, qrels] = ["corpus", "queries", "run", "qrels"].map(|name| self.path(name));
        let files = ["--corpus", &corpus, "--queries", &queries, "--run", &run_file, "--qrels", &qrels];
        run(&[&["compare"], &files[..], more].concat())
    }

    fn json(&self, more: &[&str]) -> Value {
        let output = self.compare(&[&["--format", "json"], more].concat());
        assert_code(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A system's mean in each measure.
fn means(experiment: &Value, system: usize) -> Vec<f64> {
    let measures = experiment["systems"][system]["measures"].as_array().unwrap();
    measures.iter().map(|measure| measure["mean"].as_f64().unwrap()).collect()
}

#[test]
fn the_numbers_are_those_of_rerank_and_eval() {
    let collection = Collection::new();
    let experiment = collection.json(&["--measures", "nDCG@10 RR@10 P@1"]);
    let [corpus, queries, run_file, qrels] = ["corpus", "queries", "run", "qrels"].map(|name| collection.path(name));
    let reranked = collection.path("reranked");
    let files = ["--corpus", &corpus, "--queries", &queries, "--run", &run_file, "-o", &reranked];
    // Query 9 has no text: it is reported, and has no judgement anyway.
    assert_code(&run(&[&["rerank"], &files[..]].concat()), 1);
    let fused = collection.path("fused");
    let files = [&files[..6], &["--fusion", "-o", &fused]].concat();
    assert_code(&run(&[&["rerank"], &files[..]].concat()), 1);
    for (path, system) in [(&run_file, 0), (&reranked, 2), (&fused, 4)] {
        let output = run(&["eval", &qrels, path, "nDCG@10", "RR@10", "P@1", "-o", "jsonl"]);
        assert_code(&output, 0);
        let expected: Vec<f64> = stdout(&output)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["value"].as_f64().unwrap())
            .collect();
        assert_eq!(means(&experiment, system), expected);
    }
    assert_eq!((&experiment["queries"], &experiment["missing_queries"]), (&4.into(), &1.into()));
    assert_eq!(experiment["pairs"], 8);
    assert_eq!(experiment["documents_embedded"], 4, "each document once");
    let against = &experiment["systems"][2]["measures"][0]["against"][0];
    assert_eq!(
        (&against["baseline"], &against["wins"], &against["ties"]),
        (&"first stage".into(), &2.into(), &2.into())
    );
    let tau = |a: &str, b: &str| {
        let of = |tau: &&Value| tau["systems"][0] == a && tau["systems"][1] == b;
        experiment["kendall_tau"].as_array().unwrap().iter().find(of).unwrap()["kendall_tau"].as_f64().unwrap()
    };
    assert!(tau("first stage", "cross-encoder") < 0.5);
    assert_eq!(tau("cross-encoder", "cascade"), 1.0, "so few documents are all candidates");
}

#[test]
fn the_queries_that_change_most_are_shown_with_their_texts() {
    let collection = Collection::new();
    let experiment = collection.json(&["--show", "1", "--measures", "RR@10"]);
    let helped = experiment["helped"].as_array().unwrap();
    assert_eq!((helped.len(), experiment["hurt"].as_array().unwrap().len()), (1, 0));
    assert_eq!(helped[0]["values"][2], 1.0);
    let first = &helped[0]["documents"][0];
    assert_eq!((&first["ranks"][0], &first["ranks"][2]), (&3.into(), &1.into()));
    let text = collection.compare(&["--measures", "RR@10"]);
    assert_code(&text, 0);
    for words in
        ["Where the cross-encoder helps most (RR@10)", "What is the capital of France?", "95 % interval", "nowhere"]
    {
        assert!(stdout(&text).contains(words), "{words}: {}", stdout(&text));
    }
    assert!(stderr(&text).contains("1 query result of "), "{}", stderr(&text));
    let markdown = collection.compare(&["--format", "markdown"]);
    assert!(stdout(&markdown).contains("| cross-encoder | "), "{}", stdout(&markdown));
}

#[test]
fn a_page_with_the_numbers_of_the_json() {
    let collection = Collection::new();
    let experiment = collection.json(&["--show", "2"]);
    let output = collection.compare(&["--show", "2", "--format", "html"]);
    assert_code(&output, 0);
    let page = html::parse(stdout(&output));
    let words: String = html::all(&page, "main").into_iter().map(html::text).collect();
    for (system, name) in ["first stage", "bi-encoder", "cross-encoder", "cascade", "fusion"].into_iter().enumerate() {
        let rows = html::all(&page, "#results ~ div:first-of-type tbody tr");
        let cells: Vec<String> = rows[system].child_elements().map(html::text).collect();
        assert_eq!((cells[0].as_str(), &cells[1]), (name, &format!("{:.4}", means(&experiment, system)[0])));
    }
    for case in experiment["helped"].as_array().unwrap() {
        assert!(words.contains(case["query"].as_str().unwrap()));
        for document in case["documents"].as_array().unwrap() {
            assert!(words.contains(document["text"].as_str().unwrap()), "{document}");
        }
    }
    assert_eq!(html::all(&page, "figure.slope").len(), 2);
    assert_eq!(html::all(&page, "svg.interval").len(), 10, "for each system and measure");
    assert!(words.contains("Nowhere: no query has a lesser value"));
}

/// Whatever the ids and texts are, they are no markup.
#[test]
fn a_page_of_strangers_texts() {
    let collection = Collection::new();
    let replace = |name: &str, from: &str, to: &str| {
        let text = fs::read_to_string(collection.path(name)).unwrap();
        fs::write(collection.path(name), text.replace(from, to)).unwrap();
    };
    for name in ["corpus", "run", "qrels"] {
        replace(name, "paris", "<script>alert(1)</script>&\u{202e}");
    }
    replace("corpus", "borders", "</table><img/src=x>");
    replace("queries", "capital", "</title><b>\u{7}");
    let output = collection.compare(&["--format", "html"]);
    assert_code(&output, 0);
    let page = html::parse(stdout(&output));
    assert!(
        html::all(&page, "main")
            .into_iter()
            .map(html::text)
            .any(|text| text.contains("<script>alert(1)</script>&[U+202E]"))
    );
}

#[test]
fn a_cascade_of_one_keeps_what_the_bi_encoder_puts_first() {
    let collection = Collection::new();
    let experiment = collection.json(&["--cascade", "1", "--measures", "P@1"]);
    assert_eq!(means(&experiment, 3), means(&experiment, 1));
}

/// The order of the fusion is that of the sum of the z-scores of the three that the report shows.
#[test]
fn the_fusion_adds_z_scores() {
    let collection = Collection::new();
    let experiment = collection.json(&["--show", "9"]);
    let cases = experiment["helped"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let documents = case["documents"].as_array().unwrap();
        assert_eq!(documents.len(), 3, "all of the query's documents are shown");
        let of = |name: &str| {
            z_scores(&documents.iter().map(|document| document[name].as_f64().unwrap()).collect::<Vec<_>>())
        };
        let (first, similarity, logit) = (of("first_stage"), of("similarity"), of("logit"));
        let sum = |index: usize| first[index] + similarity[index] + logit[index];
        for (index, document) in documents.iter().enumerate() {
            let rank = 1 + (0..documents.len()).filter(|other| sum(*other) > sum(index)).count();
            assert_eq!(document["ranks"][4], rank, "{document}");
        }
    }
}

#[test]
fn what_cannot_be_used_is_said() {
    let collection = Collection::new();
    fs::write(collection.path("run"), format!("{RUN}2 Q0 nowhere 3 1 bm25\n")).unwrap();
    let output = collection.compare(&["--format", "json", "-o", &collection.path("out.json")]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("query 2: document nowhere is not in the corpus"), "{}", stderr(&output));
    let written: Value = serde_json::from_slice(&fs::read(collection.path("out.json")).unwrap()).unwrap();
    assert_eq!(written["pairs"], 8);
    fs::write(collection.path("run"), format!("{RUN}3 Q0 spain 9 1 bm25\n")).unwrap();
    fs::write(collection.path("corpus"), format!("{CORPUS}{CORPUS}")).unwrap();
    let output = collection.compare(&["-o", &collection.path("out.json.gz"), "--format", "json"]);
    assert_code(&output, 0);
    for said in ["corpus has 4 lines for a document", "run has 1 line for a query and a document"] {
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
    }
    let written: Value = serde_json::from_str(&unpacked(Path::new(&collection.path("out.json.gz")))).unwrap();
    assert_eq!(written["pairs"], 8);
    fs::write(collection.path("run"), format!("{RUN}1 Q0 bitcoin 4 -inf bm25\n")).unwrap();
    let output = collection.compare(&[]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("line 10: the score is -inf"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    fs::write(collection.path("run"), RUN).unwrap();
    fs::write(collection.path("qrels"), "other 0 paris 1\n").unwrap();
    let output = collection.compare(&[]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("the ids of the files must be those of one collection"), "{}", stderr(&output));
    for (more, reason) in [
        (&["--measures", "nDCC@10"][..], "nDCC@10"),
        (&["--query", "x"], "cannot be used with"),
        (&["--cascade", "0"], "from 1"),
        (&["--resume"], "--resume goes on with results in a file"),
    ] {
        let output = collection.compare(more);
        assert_code(&output, 2);
        assert!(stderr(&output).contains(reason), "{more:?}: {}", stderr(&output));
    }
    assert_code(&run(&["compare", "--run", "x"]), 2);
}

//! The comparison as a page, read by a browser's parser. How it looks is checked in a browser: `tests/browser`.

use std::collections::HashSet;
use std::fs;

use scraper::{ElementRef, Html, Selector};
use serde_json::Value;

use crate::cli::{assert_code, run, run_with_input, stderr, stdout};
use crate::fixtures::{self, Copy};

fn page(arguments: &[&str]) -> Html {
    let output = run(&[&["compare", "--format", "html"], arguments].concat());
    assert_code(&output, 0);
    parse(stdout(&output))
}

/// The page of these cases.
fn page_of(cases: &Value, arguments: &[&str]) -> (String, Html) {
    let arguments = [&["compare", "--format", "html", "--cases", "-"], arguments].concat();
    let output = run_with_input(&arguments, cases.to_string().as_bytes());
    assert_code(&output, 0);
    (stdout(&output).to_owned(), parse(stdout(&output)))
}

/// A page that a browser reads without an error, and that keeps its promises.
pub fn parse(file: &str) -> Html {
    let page = Html::parse_document(file);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    check(file, &page);
    page
}

pub fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn within<'a>(element: ElementRef<'a>, selector: &str) -> Vec<ElementRef<'a>> {
    element.select(&Selector::parse(selector).unwrap()).collect()
}

pub fn text(element: ElementRef<'_>) -> String {
    element.text().collect()
}

/// What is true of every page.
fn check(file: &str, page: &Html) {
    assert!(file.starts_with("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"));
    let policy = all(page, "head > meta[http-equiv=Content-Security-Policy]");
    let policy = policy[0].attr("content").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline';"), "{policy}");
    assert_eq!(all(page, "head > meta[name=viewport]").len(), 1);
    assert_eq!(["head > title", "h1", "main"].map(|once| all(page, once).len()), [1, 1, 1]);

    // Nothing that runs, fetches, leads away or takes input.
    let known = "html head meta title style body header main footer section h1 h2 h3 p strong div dl dt dd table caption thead \
                 tbody tr th td a span data time figure figcaption svg desc g line circle rect details summary ul li code";
    let known: HashSet<&str> = known.split_whitespace().collect();
    let attributes = "aria-hidden aria-label aria-labelledby charset class content cx cy datetime dir height href http-equiv id \
                      lang name r role rx scope style tabindex title value width x x1 x2 y1 y2";
    let attributes: HashSet<&str> = attributes.split_whitespace().collect();
    for element in all(page, "*") {
        let element = element.value();
        assert!(known.contains(element.name()), "<{}>", element.name());
        for (name, value) in element.attrs() {
            assert!(attributes.contains(name), "{name} of <{}>", element.name());
            assert!(name != "href" || value.starts_with('#'), "{value}");
        }
    }
    let raw = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".contains(c)
    };
    assert!(!file.contains(raw));

    // Names that others refer to are there, and once.
    let mut ids = HashSet::new();
    for element in all(page, "[id]") {
        assert!(ids.insert(element.attr("id").unwrap()), "{:?}", element.attr("id"));
    }
    for element in all(page, "[aria-labelledby], a") {
        let names = element.attr("aria-labelledby").or(element.attr("href")).unwrap();
        assert!(names.split(' ').all(|name| ids.contains(name.trim_start_matches('#'))), "{names}");
    }

    for heading in all(page, "h1, h2, h3, caption, summary") {
        assert!(!text(heading).trim().is_empty(), "an empty {}", heading.value().name());
    }
    for cell in all(page, "th") {
        assert!(matches!(cell.attr("scope"), Some("col" | "row")) && !text(cell).trim().is_empty(), "{}", cell.html());
    }
    for table in all(page, "table") {
        assert_eq!(within(table, "caption").len(), 1);
        let columns = within(table, "thead th").len();
        for row in within(table, "tr") {
            assert_eq!(within(row, "th, td").len(), columns, "{}", row.html());
        }
    }
    for picture in all(page, "svg") {
        if picture.attr("aria-hidden") != Some("true") {
            assert_eq!(picture.attr("role"), Some("img"));
            let parts: Vec<&str> = picture.child_elements().take(2).map(|part| part.value().name()).collect();
            assert_eq!(parts, ["title", "desc"]);
        }
    }
}

/// A row of a table of documents.
struct Row {
    place: Option<usize>,
    movement: String,
    text: String,
    /// Of the bi-encoder and of the cross-encoder.
    scores: [Option<f64>; 2],
    published: [Option<f64>; 2],
    notes: Vec<String>,
}

/// The rows of a case's documents, counted from 1, the folded ones too.
fn rows(page: &Html, case: usize) -> Vec<Row> {
    let value = |element: ElementRef<'_>, selector: &str| {
        within(element, selector).first().map(|data| data.attr("value").unwrap().parse().unwrap())
    };
    let row = |row: ElementRef<'_>| {
        let scores = within(row, "td.score");
        let passage = within(row, ".passage")[0];
        Row {
            place: text(within(row, "th")[0]).replace(',', "").parse().ok(),
            movement: text(within(row, ".move")[0]),
            text: text(*within(passage, ".whole").first().unwrap_or(&passage)),
            scores: [0, 1].map(|side| value(scores[side], "td > data")),
            published: [0, 1].map(|side| value(scores[side], ".published data")),
            notes: within(row, ".note").into_iter().map(text).collect(),
        }
    };
    let tables = format!("#case-{case}-documents tbody tr, #case-{case}-documents-rest tbody tr");
    all(page, &tables).into_iter().map(row).collect()
}

/// Whether the number in the page is the one in the JSON.
fn same(page: Option<f64>, json: &Value) -> bool {
    page.map(|value| value as f32) == json.as_f64().map(|value| value as f32)
}

/// The case's rows are the JSON's two lists: texts, order, scores and places.
fn assert_is_json(rows: &[Row], case: &Value) {
    let lists = ["embedding", "reranker"].map(|list| case[list].as_array().unwrap());
    for (result, rank) in lists[1].iter().zip(1..) {
        let row = rows.iter().find(|row| row.place == Some(rank)).unwrap();
        assert_eq!(row.text, result["document"].as_str().unwrap());
        assert!(same(row.scores[1], &result["score"]), "{result}");
        assert!(same(row.published[1], &result["published"]), "{result}");
    }
    for (result, rank) in lists[0].iter().zip(1usize..) {
        let of_text = |row: &&Row| row.text == result["document"].as_str().unwrap();
        let row = rows.iter().find(of_text).unwrap();
        assert!(same(row.scores[0], &result["score"]), "{result}");
        assert!(same(row.published[0], &result["published"]), "{result}");
        let place = row.place.unwrap();
        let movement = match place.cmp(&rank) {
            std::cmp::Ordering::Less => format!("▲up {} from {rank}", rank - place),
            std::cmp::Ordering::Greater => format!("▼down {} from {rank}", place - rank),
            std::cmp::Ordering::Equal => "stays".to_owned(),
        };
        assert_eq!(row.movement, movement);
    }
}

#[test]
fn the_numbers_are_those_of_the_json() {
    for arguments in [&["--published"][..], &["--raw-scores"]] {
        let page = page(arguments);
        let output = run(&[&["compare", "--format", "json"], arguments].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let cases = json["cases"].as_array().unwrap();
        let headings: Vec<String> = all(&page, "h2").into_iter().map(text).collect();
        let names: Vec<&str> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
        assert_eq!(headings[1..4], names);
        for (case, number) in cases.iter().zip(1..) {
            let rows = rows(&page, number);
            assert_eq!(rows.len(), 5);
            assert_is_json(&rows, case);
        }
        let summary = all(&page, "section:first-of-type tbody tr");
        for (row, case) in summary.into_iter().zip(cases) {
            let tau: f64 = within(row, "data")[0].attr("value").unwrap().parse().unwrap();
            assert_eq!(Some(tau), case["kendall_tau"].as_f64());
            let first = if case["same_top_1"] == true { "yes" } else { "no" };
            assert_eq!(text(within(row, "td")[1]), first);
        }
        let facts: Vec<String> = all(&page, "header dd").into_iter().map(text).collect();
        assert_eq!(facts[0], format!("{} of 3 cases", json["summary"]["same_top_1"]));
        assert!(facts[2].starts_with("18 texts in ") && facts[2].contains("bundled bi-encoder"), "{facts:?}");
        let run: Vec<String> =
            all(&page, "section:last-of-type tr, section:last-of-type p").into_iter().map(text).collect();
        let runtime = json["runtime"]["onnxruntime"].as_str().unwrap();
        let threads = &json["runtime"]["threads"];
        for line in [format!("ONNX Runtime {runtime}"), format!("Threads{threads}{threads}"), "int8-weights".to_owned()]
        {
            assert!(run.iter().any(|text| text.contains(&line)), "{line}: {run:?}");
        }
    }
}

/// Each line of a chart ends at the heights of its labels.
#[test]
fn charts_show_how_documents_move() {
    let page = page(&[]);
    let charts = all(&page, "svg[role=img]");
    assert_eq!(charts.len(), 3);
    for (chart, case) in charts.into_iter().zip(1..) {
        let rows = rows(&page, case);
        let count = |class: &str| within(chart, &format!("g.{class}")).len();
        let moved = |sign: char| rows.iter().filter(|row| row.movement.starts_with(sign)).count();
        assert_eq!([count("rise"), count("fall"), count("level")], ['▲', '▼', 's'].map(moved));
        for line in within(chart, "g") {
            let y =
                |name: &str| within(line, "line")[0].attr(name).unwrap().trim_end_matches("em").parse::<f64>().unwrap();
            let class = line.attr("class").unwrap();
            assert_eq!(
                class,
                if y("y1") > y("y2") {
                    "rise"
                } else if y("y1") < y("y2") {
                    "fall"
                } else {
                    "level"
                }
            );
        }
        let description = text(within(chart, "desc")[0]);
        assert!(description.contains(&format!("of 5 documents, {} rise", count("rise"))), "{description}");
    }
}

#[test]
fn strangers_words_stay_words() {
    let long = "word ".repeat(200_000);
    let marks = format!("e{}", "\u{301}".repeat(3000));
    let texts = [
        "<script>alert(1)</script>",
        "\"'><svg onload=alert(1)>",
        "</style></title></textarea>--><img src=x onerror=alert(1)>",
        "&lt;not markup&gt; &amp;amp; &#0;",
        "NUL \0 ESC \u{1b}[31m C1 \u{85} DEL \u{7f} \u{fffe}",
        "\u{202e}evil\u{202c} \u{2067}isolate",
        "one\r\ntwo\rthree\n\tfour",
        "",
        " \n ",
        "\u{feff}\u{200b}",
        "مرحبا\u{200f}!",
        "日本語👩‍👩‍👧",
        &marks,
        &long,
    ];
    let shown = |text: &str| match text {
        "" => "(empty)".to_owned(),
        " \n " => "(blank)".to_owned(),
        text => ["\0", "\u{1b}", "\u{85}", "\u{7f}", "\u{fffe}", "\u{202e}", "\u{202c}", "\u{2067}"]
            .iter()
            .fold(text.replace("\r\n", "\n").replace('\r', "\n"), |text, c| {
                text.replace(c, &format!("[U+{:04X}]", u32::from(c.chars().next().unwrap())))
            }),
    };
    let mut cases = vec![serde_json::json!({"name": "documents", "query": "", "documents": texts})];
    cases.extend(texts.map(|text| serde_json::json!({"name": text, "query": text, "documents": ["x"]})));
    let (file, page) = page_of(&cases.into(), &[]);
    let found: HashSet<String> = rows(&page, 1).into_iter().map(|row| row.text).collect();
    assert_eq!(found, texts.iter().map(|text| shown(text)).collect());
    let queries = all(&page, ".query > .passage");
    let whole = |query: &ElementRef<'_>| text(*within(*query, ".whole").first().unwrap_or(query));
    let queries: Vec<String> = queries[1..].iter().map(whole).collect();
    assert_eq!(queries, texts.map(shown));
    assert!(!file.contains("<script") && !file.contains("<img"));
}

#[test]
fn a_folder_with_a_strange_name() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("<b>model & 'co' \u{202e}");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(fixtures::path("bert-cross-encoder")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
    }
    let page = page(&["--reranker", model.to_str().unwrap(), "-q", "old", "-d", "river", "library"]);
    let names: Vec<String> = all(&page, "#run-table, section:last-of-type td").into_iter().map(text).collect();
    assert!(names.iter().any(|name| name.ends_with("<b>model & 'co' [U+202E]")), "{names:?}");
}

fn many(n: usize) -> Value {
    let documents: Vec<String> =
        (0..n).map(|index| format!("{index} {}", "river old library ".repeat(index % 7))).collect();
    serde_json::json!([{"name": "many", "query": "river", "documents": documents}])
}

#[test]
fn of_many_documents_the_chart_draws_some_and_the_tables_have_all() {
    let cases = many(80);
    let bert = fixtures::path("bert-cross-encoder");
    let options = ["--reranker", bert.to_str().unwrap()];
    let (_, page) = page_of(&cases, &options);
    let output = run_with_input(
        &[&["compare", "--format", "json", "--cases", "-"][..], &options].concat(),
        cases.to_string().as_bytes(),
    );
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = rows(&page, 1);
    assert_eq!(rows.len(), 80);
    assert_is_json(&rows, &json["cases"][0]);
    assert_eq!(all(&page, "#case-1-documents tbody tr").len(), 30);
    assert!(text(all(&page, "details.rest > summary")[0]).contains("other 50 documents"));
    let drawn = all(&page, "svg[role=img] g").len();
    assert!((15..=25).contains(&drawn), "{drawn}");
    let caption = text(all(&page, "figcaption")[0]);
    assert!(caption.contains(&format!("Drawn are {drawn} of 80 documents")), "{caption}");
    // Each drawn document has a label on both sides, and the first ten are there.
    for side in ["left", "right"] {
        let ranks: Vec<String> = all(&page, &format!(".side.{side} .rank")).into_iter().map(text).collect();
        assert_eq!(ranks.len(), drawn);
        assert_eq!(ranks[..10], (1..=10).map(|rank| rank.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn top_n_is_the_first_of_both_lists() {
    let cases = many(20);
    let (_, page) = page_of(&cases, &["--top-n", "3"]);
    let output =
        run_with_input(&["compare", "--format", "json", "--cases", "-", "--top-n", "3"], cases.to_string().as_bytes());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lists = ["embedding", "reranker"].map(|list| json["cases"][0][list].as_array().unwrap());
    let first: HashSet<&str> = lists.into_iter().flatten().map(|result| result["document"].as_str().unwrap()).collect();
    let rows = rows(&page, 1);
    assert_eq!(rows.iter().map(|row| row.text.as_str()).collect::<HashSet<_>>(), first);
    assert_is_json(&rows, &json["cases"][0]);
    let all_text = text(all(&page, "#case-1 ~ p")[0]);
    assert!(all_text.contains("Every document was scored"), "{all_text}");
    let said = format!("the first 3 of each order: {} of 20 documents", first.len());
    assert!(all(&page, "p").into_iter().any(|p| text(p).contains(&said)), "{said}");
    let (_, none) = page_of(&cases, &["--top-n", "0"]);
    assert!(all(&none, "svg[role=img]").is_empty() && self::rows(&none, 1).is_empty());
}

#[test]
fn failures_and_cuts_are_in_the_page() {
    let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
    let long = "library ".repeat(600);
    let output = run(&[
        "compare",
        "--format",
        "html",
        "--reranker",
        fixture.path().to_str().unwrap(),
        "-q",
        "old",
        "-d",
        "river",
        "nan",
        "library",
        &long,
    ]);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("document 1 (counted from 0)"), "{}", stderr(&output));
    let page = parse(stdout(&output));
    let warnings: Vec<String> = all(&page, ".warnings > li").into_iter().map(text).collect();
    assert!(
        warnings.iter().any(|text| text.contains("1 document could not be scored by the cross-encoder")),
        "{warnings:?}"
    );
    assert!(warnings.iter().any(|text| text.contains("1 document was cut to fit the 256 tokens of the bi-encoder")));
    let rows = rows(&page, 1);
    let failed = rows.iter().find(|row| row.text == "nan").unwrap();
    assert!(failed.place.is_none() && failed.scores[0].is_some() && failed.scores[1].is_none());
    assert!(failed.notes[0].contains("not a finite number"), "{:?}", failed.notes);
    let cut = rows.iter().find(|row| row.text == long).unwrap();
    assert!(cut.notes.iter().any(|note| note.starts_with("Cut: the bi-encoder did not see ")), "{:?}", cut.notes);
    assert_eq!(all(&page, "svg[role=img] g.alone circle").len(), 1);
    assert!(text(all(&page, ".legend")[0]).ends_with("in one order alone"));
    let summary: Vec<String> = all(&page, "section:first-of-type td").into_iter().map(text).collect();
    assert_eq!(summary[2..5], ["4", "1", "1"]);
}

#[test]
fn empty_cases_and_no_cases() {
    let (_, page) = page_of(&serde_json::json!([{"name": "", "query": "", "documents": []}]), &[]);
    assert_eq!(text(all(&page, "#case-1")[0]), "Case 1");
    assert!(all(&page, "p").into_iter().any(|p| text(p) == "This case has no documents."));
    let (_, page) = page_of(&serde_json::json!([]), &[]);
    assert_eq!(all(&page, "h2").len(), 2);
}

/// The same input gives the same bytes, apart from times.
#[test]
fn pages_differ_in_times_alone() {
    let timeless = || {
        let output = run(&["compare", "--format", "html", "--published"]);
        let parts: Vec<String> = stdout(&output)
            .split("<time ")
            .map(|part| part.split_once("</time>").map_or(part, |(_, rest)| rest).to_owned())
            .collect();
        parts
    };
    assert_eq!(timeless(), timeless());
}

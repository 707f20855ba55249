//! `crossrank rerank` over tables.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, LargeStringArray, ListArray, RecordBatch, StringArray};
use arrow_array::{Int64Array, StringViewArray, TimestampMicrosecondArray};
use crossrank::Reranker;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::cli::{assert_code, crossrank, run, run_with_input, stderr, stdout};
use crate::fixtures;
use crate::killed::{killed_and_resumed, wait_for_units};

const COLUMNS: [&str; 4] = ["--query-column", "query", "--document-column", "text"];

fn bert() -> String {
    fixtures::path("bert-cross-encoder").to_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Pairs; every third query is that of the row before, and some rows have no query or no document.
fn pairs(n: usize) -> Vec<(Option<String>, Option<String>)> {
    let word = |n: usize| ["river", "old", "library", "the city", "a kitten, asleep", "said \"no\""][n % 6];
    let pair = |n: usize| {
        let query = (n % 10 != 7).then(|| format!("{} {}", word(n / 3), n / 3));
        (query, (n % 11 != 3).then(|| [word(n), word(n / 2), "and"].join(" ").repeat(1 + n % 3)))
    };
    (0..n).map(pair).collect()
}

/// The scores of the pairs, by the library.
fn scores(pairs: &[(Option<String>, Option<String>)], raw: bool) -> Vec<Option<f32>> {
    let reranker = Reranker::from_dir(bert()).unwrap();
    let score = |(query, document): &(Option<String>, Option<String>)| {
        let scored = reranker.score(query.as_deref()?, &[document.as_deref()?]).unwrap();
        let pair = *scored.scores[0].as_ref().unwrap();
        Some(if raw { pair.logit } else { pair.score })
    };
    pairs.iter().map(score).collect()
}

fn quoted(value: &Option<String>) -> String {
    value.as_ref().map_or(String::new(), |value| format!("\"{}\"", value.replace('"', "\"\"")))
}

/// A table as CSV: an id, a column with quotes that are not needed, the pair.
fn csv(pairs: &[(Option<String>, Option<String>)]) -> Vec<String> {
    let row = |((query, document), n): (&(Option<String>, Option<String>), usize)| {
        format!("{n},\"kept\",{},{}", quoted(query), quoted(document))
    };
    ["id,note,query,text".to_owned()].into_iter().chain(pairs.iter().zip(0..).map(row)).collect()
}

/// The same with scores.
fn scored_csv(lines: &[String], scores: &[Option<f32>], name: &str) -> String {
    let score = |score: &Option<f32>| score.map_or(String::new(), |score| score.to_string());
    let ends = [name.to_owned()].into_iter().chain(scores.iter().map(score));
    lines.iter().zip(ends).map(|(line, end)| format!("{line},{end}\n")).collect()
}

fn parquet(path: &Path, batch: &RecordBatch, group: usize, compression: Compression) {
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(group)).set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.append_key_value_metadata(parquet::file::metadata::KeyValue::new("owner".to_owned(), "me".to_owned()));
    writer.close().unwrap();
}

/// The pairs as a table of which other columns are a list and a time with a zone.
fn batch(queries: ArrayRef, texts: ArrayRef) -> RecordBatch {
    let n = queries.len() as i64;
    let lists = (0..n).map(|n| (n % 4 != 1).then(|| (0..n % 3).map(|n| Some(n as i32)).collect::<Vec<_>>()));
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new((0..n).collect::<Int64Array>())),
        ("text", texts),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        ("query", queries),
        ("time", Arc::new((0..n).map(Some).collect::<TimestampMicrosecondArray>().with_timezone("Europe/Paris"))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name != "id"))).unwrap()
}

fn read(path: &Path) -> (ParquetRecordBatchReaderBuilder<File>, RecordBatch) {
    let open = || ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let batches: Vec<RecordBatch> = open().with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    (open(), batches[0].clone())
}

fn score_column(batch: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    batch.column_by_name(name).unwrap().as_primitive::<Float32Type>().iter().collect()
}

fn table(folder: &TempDir, name: &str, lines: &[String]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    path
}

#[test]
fn rows_of_csv_stay_as_they_are_and_get_the_library_s_scores() {
    let (folder, pairs) = (tempfile::tempdir().unwrap(), pairs(600));
    let (lines, bert) = (csv(&pairs), bert());
    let input = table(&folder, "pairs.csv", &lines);
    let command = [&["rerank", text(&input), "--reranker", &bert][..], &COLUMNS].concat();
    let output = run(&command);
    assert_code(&output, 0);
    assert!(stdout(&output) == scored_csv(&lines, &scores(&pairs, false), "score"), "{}", stdout(&output));
    let missing = pairs.iter().filter(|(query, document)| query.is_none() || document.is_none()).count();
    assert_eq!(stderr(&output), format!("warning: {missing} rows have no query or no document, and no score\n"));

    // Through pipes, compressed, with Windows' line ends, and with other options.
    let windows = lines.join("\r\n") + "\r\n";
    let more = ["--raw-scores", "--score-column", "logit", "--id-column", "id", "--threads", "1"];
    let piped = run_with_input(
        &[&["rerank", "-", "--input", "csv", "--reranker", &bert][..], &COLUMNS, &more].concat(),
        windows.as_bytes(),
    );
    assert_code(&piped, 0);
    let expected = scored_csv(&lines, &scores(&pairs, true), "logit");
    assert!(stdout(&piped) == expected.replace('\n', "\r\n"));
    let packed = folder.path().join("out.csv.gz");
    assert_code(&run(&[&command[..], &["-o", text(&packed)]].concat()), 0);
    let unpacked = folder.path().join("again.csv");
    let columns = ["--query-column", "query", "--document-column", "text", "--score-column", "second"];
    let twice = [&["rerank", text(&packed), "--reranker", &bert, "-o", text(&unpacked)][..], &columns].concat();
    assert_code(&run(&twice), 0);
    let first = stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(fs::read_to_string(&unpacked).unwrap() == scored_csv(&first, &scores(&pairs, false), "second"));
}

#[test]
fn one_query_for_all_rows_of_tsv() {
    let folder = tempfile::tempdir().unwrap();
    let lines = ["text\tn", "\"old\t1", "\t2", "library\t3"].map(str::to_owned);
    let (input, bert) = (table(&folder, "pairs.tsv", &lines), bert());
    let output = run(&["rerank", text(&input), "--reranker", &bert, "--query", "river", "--document-column", "text"]);
    assert_code(&output, 0);
    let documents = ["\"old", "", "library"].map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
    let pairs: Vec<_> = documents.into_iter().map(|document| (Some("river".to_owned()), document)).collect();
    assert_eq!(stdout(&output), scored_csv(&lines, &scores(&pairs, false), "score").replace(',', "\t"));
    assert!(stderr(&output).contains("1 row has no query or no document"), "{}", stderr(&output));
}

#[test]
fn rows_that_cannot_be_scored_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.csv");
    fs::write(&path, b"id,query,text\na,river,old\nb,river\nc,river,\xff\nd,river,library\n").unwrap();
    let bert = bert();
    let command = [&["rerank", text(&path), "--reranker", &bert, "--id-column", "id"][..], &COLUMNS].concat();
    let output = run(&command);
    assert_code(&output, 1);
    let lines: Vec<&[u8]> = output.stdout.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 5, "{:?}", String::from_utf8_lossy(&output.stdout));
    assert!(lines[2] == b"c,river,\xff," && lines[3].starts_with(b"d,river,library,0."));
    for reason in ["row 2: it has 2 values for 3 columns, and is left out", "row 3: invalid UTF-8 at byte 1"] {
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    assert!(stderr(&output).contains("1 of 1 blocks of rows failed"), "{}", stderr(&output));
    let stopped = run(&[&command[..], &["--errors", "stop"]].concat());
    assert_code(&stopped, 1);
    assert_eq!(stdout(&stopped), "id,query,text,score\n");
    fs::write(&path, b"id,query,text\na,river,\"old\n").unwrap();
    let open = run(&command);
    assert_code(&open, 1);
    assert!(stderr(&open).contains("from line 2 on: a quote is not closed"), "{}", stderr(&open));
}

#[test]
fn parquet_keeps_columns_row_groups_and_codecs_whatever_the_kind_of_text() {
    let (folder, pairs, bert) = (tempfile::tempdir().unwrap(), pairs(600), bert());
    let expected = scores(&pairs, false);
    let queries = || pairs.iter().map(|(query, _)| query.as_deref());
    let texts = || pairs.iter().map(|(_, text)| text.as_deref());
    let kinds: [(ArrayRef, ArrayRef, Compression); 4] = [
        (Arc::new(queries().collect::<StringArray>()), Arc::new(texts().collect::<StringArray>()), Compression::SNAPPY),
        (
            Arc::new(queries().collect::<LargeStringArray>()),
            Arc::new(texts().collect::<StringViewArray>()),
            Compression::ZSTD(ZstdLevel::default()),
        ),
        (
            Arc::new(queries().collect::<DictionaryArray<Int32Type>>()),
            Arc::new(texts().collect::<LargeStringArray>()),
            Compression::LZ4_RAW,
        ),
        (
            Arc::new(queries().collect::<StringViewArray>()),
            Arc::new(texts().collect::<DictionaryArray<Int32Type>>()),
            Compression::GZIP(Default::default()),
        ),
    ];
    for (queries, texts, compression) in kinds {
        let (input, output) = (folder.path().join("pairs.parquet"), folder.path().join("scored.parquet"));
        parquet(&input, &batch(queries, texts), 250, compression);
        let command = [&["rerank", text(&input), "--reranker", &bert, "-o", text(&output)][..], &COLUMNS].concat();
        let ran = run(&[&command[..], &["--id-column", "id"]].concat());
        assert_code(&ran, 0);
        let ((before, old), (after, new)) = (read(&input), read(&output));
        assert_eq!(score_column(&new, "score"), expected);
        let kept: Vec<usize> = (0..old.num_columns()).collect();
        assert_eq!(new.project(&kept).unwrap(), old, "{compression:?}: columns, their types and what is said of them");
        assert_eq!(new.num_columns(), old.num_columns() + 1);
        let (before, after) = (before.metadata(), after.metadata());
        assert_eq!(after.num_row_groups(), 3);
        for (old, new) in before.row_groups().iter().zip(after.row_groups()) {
            assert_eq!(old.num_rows(), new.num_rows());
            for (old, new) in old.columns().iter().zip(new.columns()) {
                assert_eq!(old.compressed_size(), new.compressed_size());
                assert_eq!(old.statistics(), new.statistics());
            }
            assert!(new.columns().iter().all(|column| column.compression() == old.column(0).compression()));
        }
        let owner = after.file_metadata().key_value_metadata().unwrap().iter().find(|pair| pair.key == "owner");
        assert_eq!(owner.unwrap().value.as_deref(), Some("me"));

        let piped = folder.path().join("piped.parquet");
        let command =
            [&["rerank", "--input", "parquet", "--reranker", &bert, "-o", text(&piped)][..], &COLUMNS].concat();
        assert_code(&run_with_input(&command, &fs::read(&input).unwrap()), 0);
        assert!(fs::read(&piped).unwrap() == fs::read(&output).unwrap());
        let printed = run(&[&["rerank", text(&input), "--reranker", &bert][..], &COLUMNS].concat());
        assert!(printed.stdout == fs::read(&output).unwrap());
    }
}

#[test]
fn wrong_tables_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(20);
    let csv = table(&folder, "pairs.csv", &csv(&pairs));
    let table = folder.path().join("pairs.parquet");
    let texts: ArrayRef = Arc::new(pairs.iter().map(|(_, text)| text.as_deref()).collect::<StringArray>());
    parquet(&table, &batch(Arc::clone(&texts), texts), 10, Compression::SNAPPY);
    let (csv, table, out) = (text(&csv), text(&table), folder.path().join("out.parquet"));
    let out = text(&out);
    let documents = ["--document-column", "text"];
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = run(&[&["rerank"], arguments].concat());
        assert_code(&output, 2);
        for word in words {
            assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left: {arguments:?}");
    };
    let with = |file: &'static str, more: &[&'static str]| -> Vec<&str> {
        let file = if file == "csv" { csv } else { table };
        [&[file][..], &COLUMNS, more].concat()
    };
    refused(&with("csv", &["--top-n", "3"]), &["--top-n is not for tables"]);
    refused(&with("csv", &["--threshold", "0"]), &["--threshold is not for tables"]);
    refused(&with("csv", &["--format", "jsonl"]), &["--format is not for tables"]);
    refused(&with("csv", &["--cascade", "3"]), &["--cascade is not for tables"]);
    refused(&with("csv", &["--score-column", "note"]), &["has a column `note` already", "--score-column"]);
    refused(&with("csv", &["-o", "out.parquet"]), &["the input is CSV", "out.parquet is Parquet"]);
    refused(&[&with("parquet", &["-o"])[..], &["x.csv"]].concat(), &["the input is Parquet", "x.csv is CSV"]);
    refused(&[&with("parquet", &["--shard", "1/3", "-o"])[..], &[out]].concat(), &["has 2 row groups", "3 shards"]);
    refused(&[&[table, csv][..], &COLUMNS].concat(), &["one file"]);
    refused(&[&["-"][..], &COLUMNS].concat(), &["--input csv, tsv or parquet"]);
    refused(&[csv, "--document-column", "txt", "--query", "x"], &["no column `txt`", "`id`, `note`, `query`, `text`"]);
    refused(&[csv, "--query-column", "query"], &["--document-column", "id, note, query, text"]);
    refused(&[&[csv][..], &documents].concat(), &["--query-column"]);
    refused(&[table, "-o", out], &["--document-column", "id, text, list, query, time"]);
    refused(&[table, "-o", out, "--document-column", "list", "--query", "x"], &["`list`", "List", "is for texts"]);
    refused(&[&[table, "-o", out, "--query", "x", "--id-column", "time"][..], &documents].concat(), &["`time`"]);
}

#[test]
fn a_damaged_parquet_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("pairs.parquet"), folder.path().join("out.parquet"));
    let pairs = pairs(300);
    let texts: ArrayRef = Arc::new(pairs.iter().map(|(_, text)| text.as_deref()).collect::<StringArray>());
    parquet(&path, &batch(Arc::clone(&texts), texts), 1000, Compression::SNAPPY);
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[2000..2600] {
        *byte ^= 0x55;
    }
    fs::write(&path, &bytes).unwrap();
    let bert = bert();
    let output = run(&[&["rerank", text(&path), "--reranker", &bert, "-o", text(&out)][..], &COLUMNS].concat());
    assert_code(&output, 1);
    assert!(stderr(&output).contains("as a Parquet file") && !stderr(&output).contains("panicked"));
    assert!(!out.exists());
}

#[test]
fn csv_killed_on_a_pipe_goes_on_to_the_same_bytes() {
    let (folder, bert, pairs) = (tempfile::tempdir().unwrap(), bert(), pairs(1100));
    let (lines, out) = (csv(&pairs), folder.path().join("out.csv"));
    let arguments =
        [&["rerank", "--input", "csv", "--reranker", &bert, "-o", text(&out), "--threads", "1"][..], &COLUMNS].concat();
    // The pipe stays open, so that the process waits for more.
    let mut child = crossrank(&arguments).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let input = lines.join("\n") + "\n";
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&input.as_bytes()[..input.len() * 2 / 3]).unwrap();
    wait_for_units(&out, 2, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(pipe);
    assert!(!out.exists());
    let resume = [&arguments[..], &["--resume"]].concat();
    let other = run_with_input(&resume, input.replace("river", "rivers").as_bytes());
    assert_code(&other, 2);
    assert!(stderr(&other).contains("the input is not the one"), "{}", stderr(&other));
    let other = run_with_input(&[&resume[..], &["--raw-scores"]].concat(), input.as_bytes());
    assert_code(&other, 2);
    assert!(stderr(&other).contains("--raw-scores was `false` and is `true`"), "{}", stderr(&other));
    let resumed = run_with_input(&resume, input.as_bytes());
    assert_code(&resumed, 0);
    assert!(fs::read_to_string(&out).unwrap() == scored_csv(&lines, &scores(&pairs, false), "score"));
}

/// With the bundled model: its blocks take long enough for a kill between two of them.
#[test]
fn parquet_killed_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (pairs, input) = (pairs(1100), folder.path().join("pairs.parquet"));
    let queries: ArrayRef = Arc::new(pairs.iter().map(|(query, _)| query.as_deref()).collect::<StringArray>());
    let texts: ArrayRef = Arc::new(pairs.iter().map(|(_, text)| text.as_deref()).collect::<StringArray>());
    parquet(&input, &batch(queries, texts), 700, Compression::SNAPPY);
    let arguments = [&["rerank", text(&input), "--threads", "1"][..], &COLUMNS].concat();
    killed_and_resumed(&arguments, &folder.path().join("a.parquet"), &folder.path().join("b.parquet"));
}

#[test]
fn shards_together_are_the_whole() {
    let (folder, bert, pairs) = (tempfile::tempdir().unwrap(), bert(), pairs(1000));
    let expected = scores(&pairs, false);
    let queries: ArrayRef = Arc::new(pairs.iter().map(|(query, _)| query.as_deref()).collect::<StringArray>());
    let texts: ArrayRef = Arc::new(pairs.iter().map(|(_, text)| text.as_deref()).collect::<StringArray>());
    let input = folder.path().join("pairs.parquet");
    parquet(&input, &batch(queries, texts), 300, Compression::SNAPPY);
    let csv_input = table(&folder, "pairs.csv", &csv(&pairs));
    let scored = scored_csv(&csv(&pairs), &expected, "score");
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for shard in ["1/2", "2/2"] {
        let out = folder.path().join("out.parquet");
        let options = [&["--shard", shard, "--reranker", &bert][..], &COLUMNS].concat();
        assert_code(&run(&[&["rerank", text(&input), "-o", text(&out)], &options[..]].concat()), 0);
        let (builder, batch) = read(&out);
        assert_eq!(builder.metadata().num_row_groups(), 2);
        let ids = batch.column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec();
        rows.extend(ids.into_iter().zip(score_column(&batch, "score")));
        let output = run(&[&["rerank", text(&csv_input)], &options[..]].concat());
        let found: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
        assert_eq!(found[0], "id,note,query,text,score");
        lines.extend(found[1..].to_vec());
    }
    rows.sort_by_key(|(id, _)| *id);
    assert_eq!(rows.into_iter().map(|(_, score)| score).collect::<Vec<_>>(), expected);
    let mut expected: Vec<&str> = scored.lines().skip(1).collect();
    expected.sort_unstable();
    lines.sort_unstable();
    assert_eq!(lines, expected);
}

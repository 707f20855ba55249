//! `crossrank embed`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int8Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use crossrank::Embedder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::cli::{assert_code, crossrank, run, run_with_input, stderr, stdout};
use crate::fixtures;
use crate::killed::{killed_and_resumed, wait_for_units};

fn bert() -> String {
    fixtures::path("bert-embedder").to_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn texts(n: usize) -> Vec<String> {
    let word = |n: usize| ["river", "old", "library", "the city", "a kitten, asleep", "said \"no\""][n % 6];
    (0..n)
        .map(|n| if n % 17 == 4 { String::new() } else { [word(n), word(n / 5)].join(" ").repeat(1 + n % 4) })
        .collect()
}

/// The embeddings, by the library.
fn embeddings(texts: &[impl AsRef<str> + Sync]) -> Vec<Vec<f32>> {
    Embedder::from_dir(bert()).unwrap().embed(texts).unwrap().iter().map(<[f32]>::to_vec).collect()
}

fn json_lines(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json_embeddings(lines: &[Value]) -> Vec<Vec<f32>> {
    lines.iter().map(|line| fixtures::floats(&line["embedding"])).collect()
}

/// The header of an .npy file, and its numbers.
fn npy(path: &Path) -> (String, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(end % 64, 0);
    (String::from_utf8(bytes[10..end].to_vec()).unwrap(), bytes[end..].to_vec())
}

fn floats(bytes: &[u8], dimensions: usize) -> Vec<Vec<f32>> {
    let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    numbers.chunks(dimensions).map(<[f32]>::to_vec).collect()
}

fn parquet(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let batches: Vec<RecordBatch> = builder.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    batches[0].clone()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).unwrap();
        text(&self.path(name)).to_owned()
    }
}

#[test]
fn lines_become_json_lines_and_arrays_with_the_library_s_numbers() {
    let (folder, bert, texts) = (Folder::new(), bert(), texts(600));
    let input = folder.write("texts.txt", texts.join("\n") + "\n");
    let expected = embeddings(&texts);
    let dimensions = expected[0].len();
    let output =
        run_with_input(&["embed", "--embedder", &bert, "--threads", "1"], (texts.join("\r\n") + "\r\n").as_bytes());
    assert_code(&output, 0);
    let lines = json_lines(&output.stdout);
    assert!(json_embeddings(&lines) == expected);
    assert!(lines.iter().zip(0..).all(|(line, index)| line["index"] == index && line.as_object().unwrap().len() == 2));

    let to = |name: &str, more: &[&str]| {
        let path = folder.path(name);
        let output = run(&[&["embed", &input, "--embedder", &bert, "-o", text(&path)], more].concat());
        assert_code(&output, 0);
        assert_eq!(stdout(&output), "");
        // The model takes 32 tokens.
        assert!(stderr(&output).starts_with("warning: 149 documents were cut"), "{}", stderr(&output));
        path
    };
    let (header, numbers) = npy(&to("a.npy", &[]));
    assert!(header.starts_with(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (600, {dimensions}), }}")));
    assert!(floats(&numbers, dimensions) == expected);
    assert_eq!(fs::read(to("b.bin", &["--format", "npy"])).unwrap(), fs::read(folder.path("a.npy")).unwrap());
    let printed = run(&["embed", &input, "--embedder", &bert, "--format", "npy"]);
    assert!(printed.stdout == fs::read(folder.path("a.npy")).unwrap());

    let bytes = fs::read(to("a.safetensors", &[])).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("embeddings").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &[600, dimensions][..]));
    assert!(floats(tensor.data(), dimensions) == expected);

    let batch = parquet(&to("a.parquet", &[]));
    assert_eq!(
        batch.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["index", "embedding"]
    );
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().to_vec(), (0..600).collect::<Vec<_>>());
    let lists = batch.column(1).as_fixed_size_list();
    assert!(lists.values().as_primitive::<Float32Type>().values().to_vec() == expected.concat());

    let cut = to("c.npy", &["--dimensions", "4"]);
    assert!(npy(&cut).0.contains("'shape': (600, 4)"));
    let packed = to("a.jsonl.gz", &["--quantize", "int8"]);
    let unpacked = run(&["embed", "--embedder", &bert, text(&packed), "--text-column", "embedding"]);
    assert!(stderr(&unpacked).contains("its `embedding` is no string"), "{}", stderr(&unpacked));
}

#[test]
fn ids_are_kept_and_failed_texts_have_no_embedding() {
    let (folder, bert) = (Folder::new(), bert());
    let lines = [
        r#"{"text": "river", "id": "a", "more": [1]}"#,
        "",
        r#"{"text": "old", "id": 7}"#,
        r#""library""#,
        r#"{"text": null, "_id": "d"}"#,
        r#"{"text": 5, "_id": "e"}"#,
        r#"{"txt": "x"}"#,
        "{oops",
        r#"{"text": "city", "_id": "f"}"#,
    ];
    let input = folder.write("texts.jsonl", lines.join("\n"));
    let good = embeddings(&["river", "old", "library", "city"]);
    let output = run(&["embed", &input, "--embedder", &bert]);
    assert_code(&output, 1);
    let found = json_lines(&output.stdout);
    let indexes: Vec<u64> = found.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..8).collect::<Vec<_>>());
    let ids: Vec<&Value> = found.iter().map(|line| &line["id"]).collect();
    let null = Value::Null;
    assert_eq!(ids, [&json!("a"), &json!(7), &null, &json!("d"), &json!("e"), &null, &null, &json!("f")]);
    for (place, embedding) in [0, 1, 2, 7].into_iter().zip(&good) {
        assert_eq!(&fixtures::floats(&found[place]["embedding"]), embedding);
    }
    for (place, reason) in [(4, "its `text` is no string"), (5, "it has no `text`"), (6, "malformed JSON")] {
        assert_eq!(found[place]["embedding"], Value::Null);
        assert!(found[place]["error"].as_str().unwrap().contains(reason), "{}", found[place]);
        let line = format!("line {}: {reason}", place + 2);
        assert!(stderr(&output).contains(&line), "{line}: {}", stderr(&output));
    }
    assert_eq!((&found[3]["embedding"], &found[3]["error"]), (&null, &null));
    assert!(stderr(&output).contains("1 row without a text"), "{}", stderr(&output));

    let to = |name: &str| {
        let path = folder.path(name);
        let output = run(&["embed", &input, "--embedder", &bert, "-o", text(&path)]);
        assert_code(&output, 1);
        (path, stderr(&output).to_owned())
    };
    let (path, said) = to("a.npy");
    assert!(said.contains("4 of the 8 rows of") && said.contains("are zeros"), "{said}");
    let zeros = vec![0.0; good[0].len()];
    let rows = [&good[0], &good[1], &good[2], &zeros, &zeros, &zeros, &zeros, &good[3]].map(Vec::clone);
    assert_eq!(floats(&npy(&path).1, zeros.len()), rows);

    let (path, said) = to("a.parquet");
    assert!(!said.contains("zeros"), "{said}");
    let batch = parquet(&path);
    let ids: Vec<Option<&str>> = batch.column_by_name("id").unwrap().as_string::<i32>().iter().collect();
    assert_eq!(ids, [Some("a"), Some("7"), None, Some("d"), Some("e"), None, None, Some("f")]);
    let lists = batch.column_by_name("embedding").unwrap().as_fixed_size_list();
    assert_eq!((0..8).filter(|row| lists.is_null(*row)).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert_eq!(lists.value(7).as_primitive::<Float32Type>().values().to_vec(), good[3]);

    let stopped = run(&["embed", &input, "--embedder", &bert, "--errors", "stop"]);
    assert_code(&stopped, 1);
    assert_eq!(stdout(&stopped), "");
}

#[test]
fn a_text_that_the_model_fails_on_does_not_take_others_with_it() {
    let fixture = fixtures::Copy::of("bert-embedder").with_graph("nan.onnx");
    let folder = Folder::new();
    let input = folder.write("texts.txt", "old\nriver\nlibrary\n");
    let output = run(&["embed", &input, "--embedder", text(fixture.path())]);
    let found = json_lines(&output.stdout);
    assert_eq!(found.len(), 3, "{}", stderr(&output));
    let failed = found.iter().filter(|line| line["embedding"].is_null()).count();
    assert_code(&output, i32::from(failed > 0));
    assert_eq!(failed, found.iter().filter(|line| line["error"].is_string()).count());
}

#[test]
fn prompts_are_those_of_the_model_or_the_caller_s() {
    let fixture = fixtures::path("nomic-embedder");
    let with = |more: &[&str]| {
        let output = run_with_input(&[&["embed", "--embedder", text(&fixture)], more].concat(), b"old river\n");
        assert_code(&output, 0);
        json_embeddings(&json_lines(&output.stdout)).remove(0)
    };
    let embedder = Embedder::from_dir(&fixture).unwrap();
    let of = |text: &str| embedder.embed(&[text]).unwrap().get(0).unwrap().to_vec();
    assert_eq!(with(&[]), of("old river"));
    assert_eq!(with(&["--prompt", "query"]), embedder.embed_query("old river").unwrap());
    assert_eq!(with(&["--prompt", "query"]), of("search_query: old river"));
    assert_eq!(with(&["--prompt", "document"]), of("search_document: old river"));
    assert_eq!(with(&["--prompt", "clustering: "]), of("clustering: old river"));
    assert_ne!(with(&[]), with(&["--prompt", "query"]));
}

#[test]
fn tables_have_texts_and_ids_in_columns() {
    let (folder, bert) = (Folder::new(), bert());
    let csv = folder.write("a.csv", "id,body\n1,river\n2,\n3,\"old, old\"\n");
    let good = embeddings(&["river", "old, old"]);
    let output = run(&["embed", &csv, "--embedder", &bert, "--text-column", "body"]);
    assert_code(&output, 0);
    let found = json_lines(&output.stdout);
    assert_eq!(found.iter().map(|line| line["id"].as_str().unwrap()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(fixtures::floats(&found[2]["embedding"]), good[1]);
    assert!(found[1]["embedding"].is_null());

    // A table of ids that are numbers, made by the command itself.
    let lines = folder.write("b.jsonl", "{\"text\": \"x\", \"id\": 4}\n{\"text\": \"y\", \"id\": -5}\n");
    let table = folder.path("b.parquet");
    assert_code(&run(&["embed", &lines, "--embedder", &bert, "-o", text(&table)]), 0);
    assert_eq!(parquet(&table).column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec(), [4, -5]);
    let wrong = run(&["embed", text(&table), "--embedder", &bert]);
    assert_code(&wrong, 2);
    assert!(
        stderr(&wrong).contains("no column `text`; name one with --text-column: it has `index`, `id`, `embedding`")
    );
    let wrong = run(&["embed", text(&table), "--embedder", &bert, "--text-column", "index"]);
    assert_code(&wrong, 2);
    assert!(stderr(&wrong).contains("Int64, and --text-column is for texts"), "{}", stderr(&wrong));
    // Several files of several kinds.
    let all = run(&["embed", &csv, &lines, "--embedder", &bert, "--text-column", "body"]);
    assert_code(&all, 1);
    assert_eq!(json_lines(&all.stdout).len(), 5);
}

#[test]
fn quantized_in_every_form() {
    let (folder, bert, texts) = (Folder::new(), bert(), texts(300));
    let input = folder.write("texts.txt", texts.join("\n") + "\n");
    let expected = embeddings(&texts);
    let dimensions = expected[0].len();
    let ranges = folder.path("ranges.npy");
    let to = |name: &str, more: &[&str]| {
        let path = folder.path(name);
        assert_code(&run(&[&["embed", &input, "--embedder", &bert, "-o", text(&path)], more].concat()), 0);
        path
    };
    let array = to("a.npy", &["--quantize", "int8", "--save-ranges", text(&ranges)]);
    let (header, numbers) = npy(&array);
    assert!(header.contains(&format!("'|i1', 'fortran_order': False, 'shape': (300, {dimensions})")));
    let least: Vec<f32> =
        (0..dimensions).map(|n| expected.iter().map(|row| row[n]).fold(f32::INFINITY, f32::min)).collect();
    let greatest: Vec<f32> =
        (0..dimensions).map(|n| expected.iter().map(|row| row[n]).fold(f32::NEG_INFINITY, f32::max)).collect();
    assert_eq!(floats(&npy(&ranges).1, dimensions), [least.clone(), greatest.clone()]);
    let step = |n: usize| (greatest[n] - least[n]) / 255.0;
    let quantized: Vec<i8> = expected
        .iter()
        .flat_map(|row| {
            (0..dimensions).map(|n| (((row[n] - least[n]) / step(n)).floor().clamp(0.0, 255.0) - 128.0) as i8)
        })
        .collect();
    assert_eq!(numbers, quantized.iter().map(|number| number.cast_unsigned()).collect::<Vec<_>>());

    let lists = |path: &Path| {
        let batch = parquet(path);
        batch
            .column_by_name("embedding")
            .unwrap()
            .as_fixed_size_list()
            .values()
            .as_primitive::<Int8Type>()
            .values()
            .to_vec()
    };
    assert_eq!(lists(&to("a.parquet", &["--quantize", "int8"])), quantized);
    let json = |bytes: &[u8]| -> Vec<i8> {
        let lines = json_lines(bytes);
        lines.iter().flat_map(|line| serde_json::from_value::<Vec<i8>>(line["embedding"].clone()).unwrap()).collect()
    };
    assert_eq!(json(&fs::read(to("a.jsonl", &["--quantize", "int8"])).unwrap()), quantized);
    // With ranges, lines need not wait.
    let streamed = run(&["embed", &input, "--embedder", &bert, "--quantize", "int8", "--ranges", text(&ranges)]);
    assert_code(&streamed, 0);
    assert_eq!(json(&streamed.stdout), quantized);

    let bits = npy(&to("b.npy", &["--quantize", "ubinary"]));
    assert!(bits.0.contains(&format!("'|u1', 'fortran_order': False, 'shape': (300, {})", dimensions / 8)));
    let bit = |row: usize, n: usize| bits.1[row * dimensions / 8 + n / 8] >> (7 - n % 8) & 1 == 1;
    assert!((0..300).all(|row| (0..dimensions).all(|n| bit(row, n) == (expected[row][n] > 0.0))));
    let bytes = fs::read(to("b.safetensors", &["--quantize", "binary"])).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("embeddings").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::I8, &[300, dimensions / 8][..]));
    assert_eq!(tensor.data(), bits.1.iter().map(|byte| byte.wrapping_sub(128)).collect::<Vec<_>>());
}

#[test]
fn wrong_options() {
    let (folder, bert) = (Folder::new(), bert());
    let input = folder.write("texts.txt", "river\n");
    let out = folder.path("out.npy");
    let ranges = folder.write("ranges.txt", "none");
    let refused = |more: &[&str], words: &[&str]| {
        let output = run(&[&["embed", &input, "--embedder", &bert], more].concat());
        assert_code(&output, 2);
        for word in words {
            assert!(stderr(&output).contains(word), "{more:?}: {}", stderr(&output));
        }
        assert!(!out.exists());
    };
    refused(&["-o", "x.bin"], &["x.bin does not say", "--format"]);
    refused(&["-o", "x.npy.gz"], &["does not say"]);
    refused(&["--ranges", &ranges], &["--ranges is for --quantize int8 and uint8"]);
    refused(&["--quantize", "uint8", "--ranges", &ranges], &["it is no .npy file"]);
    refused(&["--resume"], &["--resume goes on with results in a file"]);
    refused(&["--quantize", "int8", "-o", text(&out)], &["of one embedding alone", "--ranges"]);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quantize/ranges.npy");
    refused(&["--quantize", "int8", "--ranges", text(&fixture)], &["ranges of 20 dimensions"]);
    // What was embedded is kept, and --resume would make the same of it.
    assert!(folder.path("out.npy.part").exists());
    let empty = run_with_input(&["embed", "--embedder", &bert, "-o", text(&folder.path("none.npy"))], b"");
    assert_code(&empty, 0);
    assert!(npy(&folder.path("none.npy")).0.contains("'shape': (0, "));
}

#[test]
fn killed_on_a_pipe_goes_on_to_the_same_bytes() {
    let (folder, bert, texts) = (Folder::new(), bert(), texts(1100));
    let (input, whole, out) = (texts.join("\n") + "\n", folder.path("whole.parquet"), folder.path("out.parquet"));
    let arguments = |out| ["embed", "--embedder", &bert, "--threads", "1", "--quantize", "uint8", "-o", text(out)];
    assert_code(&run_with_input(&arguments(&whole), input.as_bytes()), 0);
    // The pipe stays open, so that the process waits for more.
    let mut child = crossrank(&arguments(&out)).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&input.as_bytes()[..input.len() * 2 / 3]).unwrap();
    wait_for_units(&out, 2, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(pipe);
    let resume = [&arguments(&out)[..], &["--resume"]].concat();
    let other = run_with_input(&[&resume[..], &["--prompt", "query"]].concat(), input.as_bytes());
    assert_code(&other, 2);
    assert!(stderr(&other).contains("--prompt was `None` and is `Some(\"query\")`"), "{}", stderr(&other));
    assert_code(&run_with_input(&resume, input.as_bytes()), 0);
    assert!(fs::read(&out).unwrap() == fs::read(&whole).unwrap());
}

/// With the bundled model: its blocks take long enough for a kill between two of them.
#[test]
fn killed_goes_on_to_the_same_bytes() {
    let folder = Folder::new();
    let input = folder.write("texts.txt", texts(1100).join("\n"));
    for extension in ["npy", "jsonl"] {
        let [a, b] = ["a", "b"].map(|name| folder.path(&format!("{name}.{extension}")));
        killed_and_resumed(&["embed", &input, "--threads", "1"], &a, &b);
    }
}

#[test]
fn shards_together_are_the_whole() {
    let (folder, bert, texts) = (Folder::new(), bert(), texts(1000));
    let input = folder.write("texts.txt", texts.join("\n"));
    let mut lines = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let output = run(&["embed", &input, "--embedder", &bert, "--shard", shard]);
        assert_code(&output, 0);
        lines.extend(json_lines(&output.stdout));
    }
    lines.sort_by_key(|line| line["index"].as_u64());
    assert!(json_embeddings(&lines) == embeddings(&texts));
}

//! Model folders that mean harm: names that lead elsewhere, and files that are too large or too deep.

use std::fs::{self, File};

use crate::fixtures::{self, Copy};
use crossrank::{Embedder, Error, ErrorKind, ModelSource, Reranker};

/// What the graph of `external-data` calls its weights.
const NAME: &str = "model.onnx_data";

/// The fixture with external data, whose name is another one of the same length.
fn renamed(name: &str) -> Copy {
    assert_eq!(name.len(), NAME.len());
    let folder = Copy::of("external-data");
    let mut graph = fs::read(folder.path().join("model.onnx")).unwrap();
    let mut found = 0;
    for at in 0..graph.len() - NAME.len() {
        if &graph[at..at + NAME.len()] == NAME.as_bytes() {
            graph[at..at + NAME.len()].copy_from_slice(name.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0);
    with_configuration(folder).write("model.onnx", graph)
}

/// That fixture has a graph alone: everything else is that of the model it was made of.
fn with_configuration(folder: Copy) -> Copy {
    ["config.json", "tokenizer.json", "tokenizer_config.json"].into_iter().fold(folder, |folder, name| {
        let bytes = fs::read(fixtures::path("bert-cross-encoder").join(name)).unwrap();
        folder.write(name, bytes)
    })
}

fn refused(folder: &Copy) -> Error {
    let error = Reranker::from_dir(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Model, "{}", error.chain());
    error
}

#[test]
fn external_data_is_read_and_listed_where_it_is_the_folders_own() {
    let folder = with_configuration(Copy::of("external-data"));
    let reranker = Reranker::from_dir(folder.path()).unwrap();
    assert!(reranker.info().files.iter().any(|file| file.name == NAME && file.bytes > 100_000));
}

#[test]
fn external_data_outside_of_the_folder_is_refused() {
    for name in ["../../etc/x.bin", "/etc/passwd.bin", "..\\..\\etc\\x.bin", "a/../../../b.in"] {
        let folder = renamed(name);
        let error = refused(&folder);
        assert!(error.to_string().contains("not to lead"), "{name}: {error}");
    }
    let error = refused(&renamed("model.onnx_daty"));
    assert!(error.to_string().contains("model.onnx_daty, which is missing"), "{error}");
}

#[cfg(unix)]
#[test]
fn external_data_behind_a_link_that_leads_out_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    let folder = with_configuration(Copy::of("external-data"));
    let data = folder.path().join(NAME);
    fs::rename(&data, outside.path().join("data")).unwrap_or_else(|_| {
        fs::copy(&data, outside.path().join("data")).unwrap();
        fs::remove_file(&data).unwrap();
    });
    std::os::unix::fs::symlink(outside.path().join("data"), &data).unwrap();
    let error = refused(&folder);
    assert!(error.to_string().contains("leads out of the model's folder"), "{error}");
}

#[test]
fn a_model_in_memory_reads_no_files() {
    let folder = with_configuration(Copy::of("external-data"));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let memory = ["model.onnx", "config.json", "tokenizer.json"]
        .into_iter()
        .fold(ModelSource::memory(), |memory, name| memory.file(name, read(name)));
    let error = Reranker::builder().model(memory).build().unwrap_err();
    assert!(error.to_string().contains("in a file of their own"), "{error}");
}

#[test]
fn json_without_bottom_is_refused() {
    let deep = "[".repeat(200_000);
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json"]
    {
        let error = refused(&Copy::of("bert-cross-encoder").write(name, &deep));
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    let object = format!("{{\"id2label\": {}", "{\"a\":".repeat(100_000));
    refused(&Copy::of("bert-cross-encoder").write("config.json", object));
}

#[test]
fn files_that_are_too_large_are_refused_unread() {
    for (name, bytes) in [("config.json", 17u64 << 20), ("tokenizer.json", 300 << 20), ("modules.json", 1 << 40)] {
        let folder = Copy::of("bert-cross-encoder");
        // A file of holes: it takes no room on the disk.
        File::create(folder.path().join(name)).unwrap().set_len(bytes).unwrap();
        let error = refused(&folder);
        assert!(error.to_string().contains(&format!("{bytes} bytes")), "{name}: {error}");
    }
}

#[test]
fn a_module_outside_of_the_folder_is_refused() {
    let modules = r#"[{"idx": 0, "name": "0", "path": "../../etc", "type": "sentence_transformers.models.Pooling"}]"#;
    let folder = Copy::of("bert-embedder").write("modules.json", modules);
    let error = Embedder::from_dir(folder.path()).unwrap_err();
    assert!(error.to_string().contains("points outside"), "{error}");
}

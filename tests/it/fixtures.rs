//! Where the fixtures are, and variations of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

/// The folder of a fixture.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The reference's numbers for a fixture.
pub fn expected(name: &str) -> Value {
    json(&path(name).join("expected.json"))
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

pub fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// A copy of a fixture to change.
pub struct Copy(TempDir);

impl Copy {
    pub fn of(name: &str) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        copy_folder(&path(name), copy.path());
        copy
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        fs::write(self.path().join(name), bytes).unwrap();
        self
    }

    pub fn remove(self, name: &str) -> Self {
        fs::remove_file(self.path().join(name)).unwrap();
        self
    }

    /// Puts another of the broken graphs in the place of the model.
    pub fn with_graph(self, name: &str) -> Self {
        let graph = fs::read(path("broken").join(name)).unwrap();
        self.write("model.onnx", graph)
    }

    /// Changes a field of a JSON file.
    pub fn set(self, file: &str, field: &str, value: Value) -> Self {
        let mut content = json(&self.path().join(file));
        content[field] = value;
        self.write(file, content.to_string())
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

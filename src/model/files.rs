//! Reading a model's files, wherever they are.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::catalogue::CatalogueEntry;
use super::choice::{FileChoice, Part};
use super::info::ModelFile;
use super::mapped::FileBytes;
use super::source::{MemoryFiles, ModelSource, Origin, Size};
use super::{Task, external};
use crate::compute::ComputeType;
use crate::error::{Error, ErrorKind, Result};
use crate::loading::printable;

/// ONNX files are looked for in folders of this depth.
const ONNX_DEPTH: usize = 3;

/// No tokenizer, and no weights of a module behind the graph, are larger; a model folder may come from anyone.
const LARGEST_FILE: u64 = 256 << 20;

/// No configuration file is larger.
const LARGEST_CONFIG: u64 = 16 << 20;

/// The opened files of one model.
#[derive(Debug)]
pub(crate) struct Files {
    name: String,
    place: Opened,
    choice: FileChoice,
    commit: Option<String>,
    /// What the catalogue has on it.
    entry: Option<&'static CatalogueEntry>,
    read: Vec<ModelFile>,
}

#[derive(Debug)]
enum Opened {
    #[cfg(feature = "bundled-models")]
    Bundled(&'static super::bundled::Bundled),
    Dir(PathBuf),
    Memory(MemoryFiles),
}

/// An ONNX file of a model.
#[derive(Debug)]
pub(crate) struct OnnxFile {
    pub(crate) part: Part,
    /// Its name in the model's folder.
    pub(crate) name: String,
    pub(crate) weights: Weights,
}

impl OnnxFile {
    /// What it is called in messages; `model` is the model's name.
    pub(crate) fn title(&self, model: &str) -> String {
        match self.part {
            Part::Whole => model.to_owned(),
            Part::Encoder | Part::Decoder => format!("{model} ({})", self.name),
        }
    }
}

/// What is in an ONNX file: a path, so that ONNX Runtime can find external data beside it, or bytes.
#[derive(Debug, Clone)]
pub(crate) enum Weights {
    File(PathBuf),
    #[cfg(feature = "bundled-models")]
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
}

impl Files {
    /// Opens a source, after fetching what is missing of it if it is one of the Hub.
    pub(crate) fn open(source: &ModelSource, task: Task, choice: &FileChoice) -> Result<Self> {
        choice.check()?;
        let choice = &FileChoice { one_graph: task == Task::BiEncoder, ..choice.clone() };
        let mut files = match &source.0 {
            Origin::Bundled(size) => {
                let (name, place) = bundled(task, *size)?;
                if let Some(precision) = choice.precision {
                    return Err(Error::new(
                        ErrorKind::Options,
                        format!("the {name} has one file, and the precision {precision} was asked for; leave that out"),
                    ));
                }
                Self::new(name, place)
            }
            Origin::Dir(path) => {
                if !path.is_dir() {
                    let what = if path.exists() { "is not a folder" } else { "does not exist" };
                    return Err(Error::model(format!(
                        "the model folder {} {what}; a model is a folder with model.onnx, config.json and tokenizer.json",
                        path.display()
                    )));
                }
                Self::new(path.display().to_string(), Opened::Dir(path.clone()))
            }
            Origin::Memory(files) => Self::new("in-memory model".to_owned(), Opened::Memory(files.clone())),
            #[cfg(feature = "hub")]
            Origin::Hub(model) => return Self::fetch(model, task, choice),
        };
        files.choice = choice.clone();
        Ok(files)
    }

    fn new(name: String, place: Opened) -> Self {
        Self { name, place, choice: FileChoice::default(), commit: None, entry: None, read: Vec::new() }
    }

    /// The files of a model of the Hub: the folder in the cache, and in it the file that the plan chose.
    #[cfg(feature = "hub")]
    fn fetch(model: &super::HubModel, task: Task, choice: &FileChoice) -> Result<Self> {
        if let Some(entry) = model.entry() {
            entry.check_task(task)?;
        }
        let entry = model.entry().or_else(|| CatalogueEntry::of_repository(model.repository()));
        let plan = model.fetch(choice)?;
        let mut files = Self::new(model.title(), Opened::Dir(plan.folder().to_owned()));
        files.choice = choice.again(plan.onnx_files());
        files.commit = Some(plan.commit().to_owned());
        files.entry = entry;
        Ok(files)
    }

    /// What people call the model: the folder's path, or what it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The commit of a model of the Hub.
    pub(crate) fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// What the catalogue has on a model of the Hub.
    pub(crate) fn entry(&self) -> Option<&'static CatalogueEntry> {
        self.entry
    }

    /// The files that were read so far.
    pub(crate) fn into_read(self) -> Vec<ModelFile> {
        self.read
    }

    /// A file's bytes, or `None` where the model has no such file.
    pub(crate) fn optional(&mut self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        let bytes: Option<Cow<'static, [u8]>> = match &self.place {
            #[cfg(feature = "bundled-models")]
            Opened::Bundled(model) => model.file(name).map(Cow::Borrowed),
            Opened::Dir(folder) => read_bounded(&folder.join(name))?.map(Cow::Owned),
            Opened::Memory(memory) => memory.files.get(name).map(|bytes| Cow::Owned(bytes.to_vec())),
        };
        let known = self.read.iter().any(|file| file.name == name);
        if let Some(bytes) = bytes.as_ref().filter(|_| !known) {
            self.read.push(ModelFile::new(name, bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// Whether the model has a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.place {
            #[cfg(feature = "bundled-models")]
            Opened::Bundled(model) => model.file(name).is_some(),
            Opened::Dir(folder) => folder.join(name).exists(),
            Opened::Memory(memory) => memory.files.contains_key(name),
        }
    }

    /// A file's bytes.
    pub(crate) fn required(&mut self, name: &str) -> Result<Cow<'static, [u8]>> {
        self.optional(name)?
            .ok_or_else(|| Error::model(format!("{} has no {name}, which is needed to run the model", self.name)))
    }

    /// A JSON file's content, or `None` where the model has no such file.
    pub(crate) fn optional_json<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.optional(name)? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            Error::model(format!("{name} of {} is not the JSON that is expected there", self.name)).with_source(error)
        })?;
        Ok(Some(value))
    }

    /// A JSON file's content.
    pub(crate) fn required_json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        self.optional_json(name)?
            .ok_or_else(|| Error::model(format!("{} has no {name}, which is needed to run the model", self.name)))
    }

    /// In which numbers the model is computed where neither the caller nor its file says.
    pub(crate) fn compute(&self) -> ComputeType {
        match &self.place {
            #[cfg(feature = "bundled-models")]
            Opened::Bundled(model) => model.compute(crate::kernels::Isa::detect()),
            Opened::Dir(_) | Opened::Memory(_) => ComputeType::Float32,
        }
    }

    /// The ONNX files, in the order in which they run: one, or the two of an encoder-decoder. `has_decoder` says that the
    /// model is one, and that an encoder's file alone is not all of it.
    pub(crate) fn onnx(&mut self, has_decoder: bool) -> Result<Vec<OnnxFile>> {
        let export = "export the model to ONNX first, or name the file with `onnx_file`";
        let has = |name: &str| self.find_weights(name).is_some();
        let names = self.choice.choose(&self.name, export, has, || self.onnx_names())?;
        if let Some(decoder) = names.missing_decoder().filter(|_| has_decoder) {
            return Err(Error::model(format!(
                "{} has an encoder and a decoder by its config.json, and its decoder, {decoder}, is missing",
                self.name
            )));
        }
        names.parts().map(|(part, name)| self.onnx_file(part, name)).collect()
    }

    fn onnx_file(&mut self, part: Part, name: &str) -> Result<OnnxFile> {
        let weights = self.find_weights(name).ok_or_else(|| Error::model(format!("{} has no {name}", self.name)))?;
        self.read.push(ModelFile::new(name, weights.size()?));
        Ok(OnnxFile { part, name: name.to_owned(), weights })
    }

    /// The files beside an ONNX file that it names as its external data: ONNX Runtime is going to read them. They are
    /// checked, and noted among the files that are read.
    pub(crate) fn external<'a>(&mut self, onnx: &OnnxFile, mut names: impl Iterator<Item = &'a str>) -> Result<()> {
        if let Opened::Dir(folder) = &self.place {
            self.read.extend(external::files(folder, &onnx.name, names)?);
            return Ok(());
        }
        match names.next() {
            None => Ok(()),
            Some(name) => Err(Error::model(format!(
                "the weights of {} are in a file of their own, `{}`, which a model in memory cannot have; load it from a \
                 folder",
                self.name,
                printable(name)
            ))),
        }
    }

    fn find_weights(&self, name: &str) -> Option<Weights> {
        match &self.place {
            #[cfg(feature = "bundled-models")]
            Opened::Bundled(model) => model.file(name).map(Weights::Static),
            Opened::Dir(folder) => {
                let path = folder.join(name);
                path.is_file().then_some(Weights::File(path))
            }
            Opened::Memory(memory) => memory.files.get(name).cloned().map(Weights::Shared),
        }
    }

    /// The names of all ONNX files.
    fn onnx_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        match &self.place {
            #[cfg(feature = "bundled-models")]
            Opened::Bundled(model) => names.extend(model.files.iter().map(|(name, _)| (*name).to_owned())),
            Opened::Dir(folder) => add_names(folder, "", ONNX_DEPTH, &mut names),
            Opened::Memory(memory) => names.extend(memory.files.keys().cloned()),
        }
        names.retain(|name| name.ends_with(".onnx"));
        names
    }
}

impl Weights {
    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Result<FileBytes> {
        Ok(match self {
            Weights::File(path) => FileBytes::map(path).map_err(|error| cannot_read(path, error))?,
            #[cfg(feature = "bundled-models")]
            Weights::Static(bytes) => FileBytes::in_memory(Bytes::from_static(bytes)),
            Weights::Shared(bytes) => FileBytes::in_memory(Bytes::from_owner(bytes.clone())),
        })
    }

    /// The size in bytes, without external data.
    fn size(&self) -> Result<u64> {
        match self {
            Weights::File(path) => {
                let meta = fs::metadata(path).map_err(|error| cannot_read(path, error))?;
                Ok(meta.len())
            }
            #[cfg(feature = "bundled-models")]
            Weights::Static(bytes) => Ok(bytes.len() as u64),
            Weights::Shared(bytes) => Ok(bytes.len() as u64),
        }
    }
}

#[cfg(feature = "bundled-models")]
fn bundled(task: Task, size: Size) -> Result<(String, Opened)> {
    let model = super::bundled::Bundled::of(task, size).ok_or_else(|| {
        Error::model("bundled:small is a cross-encoder, and this asks for an embedding model: `bundled` is one")
    })?;
    Ok((model.name.to_owned(), Opened::Bundled(model)))
}

#[cfg(not(feature = "bundled-models"))]
fn bundled(_: Task, _: Size) -> Result<(String, Opened)> {
    Err(Error::model(
        "this build carries no models: turn on the feature `bundled-models`, or name a folder with `ModelSource::dir`",
    ))
}

/// The names of the files in a folder and those below it; what cannot be read is left out.
fn add_names(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if path.is_file() {
            names.push(format!("{prefix}{name}"));
        } else if depth > 1 {
            add_names(&path, &format!("{prefix}{name}/"), depth - 1, names);
        }
    }
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read {}", path.display())).with_source(error)
}

/// The most bytes of a file, by its name.
fn most_bytes(path: &Path) -> u64 {
    let is_tokenizer = path.file_name().is_some_and(|name| name == "tokenizer.json");
    let is_weights = path.extension().is_some_and(|extension| extension == "safetensors");
    if is_tokenizer || is_weights { LARGEST_FILE } else { LARGEST_CONFIG }
}

fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |error: io::Error| cannot_read(path, error);
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // A pipe or a device would be read without an end.
    if !meta.is_file() {
        return Err(Error::model(format!("{} is not a plain file", path.display())));
    }
    let most = most_bytes(path);
    let mut bytes = Vec::new();
    // A file may grow after it was looked at.
    if meta.len() <= most {
        File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    }
    let length = meta.len().max(bytes.len() as u64);
    if length > most {
        return Err(Error::model(format!(
            "{} has {length} bytes, and {most} are the most that such a file may have",
            path.display()
        )));
    }
    Ok(Some(bytes))
}

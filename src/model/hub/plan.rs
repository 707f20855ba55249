//! What a model needs of its repository, and what of that is missing in the cache.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::listing::{Listing, RepositoryFile};
use super::name::Repository;
use crate::error::{Error, ErrorKind, Result};
use crate::model::choice::FileChoice;
use crate::model::config::SENTENCE_CONFIGS;

/// Without these no model runs.
const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];

/// What a model's folder may have besides; see also [`SENTENCE_CONFIGS`].
const OPTIONAL: [&str; 5] = [
    "tokenizer_config.json",
    "chat_template.jinja",
    "modules.json",
    "config_sentence_transformers.json",
    "artifact.metadata",
];

/// What lies beside ONNX files and is no external data of them: their like, documents, other formats.
const NOT_DATA: [&str; 17] = [
    ".gitattributes",
    ".h5",
    ".jinja",
    ".jpg",
    ".json",
    ".jsonl",
    ".md",
    ".model",
    ".msgpack",
    ".onnx",
    ".ot",
    ".png",
    ".py",
    ".safetensors",
    ".spm",
    ".txt",
    ".yaml",
];

/// What fetching a model from the Hub means: which files, how many bytes, and what is in the cache already.
///
/// ```no_run
/// use crossrank::ModelSource;
///
/// let plan = ModelSource::hub("BAAI/bge-reranker-v2-m3").plan()?;
/// println!("{} bytes to fetch for {}", plan.missing_bytes(), plan.onnx_files().join(" and "));
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HubPlan {
    pub(super) repository: String,
    pub(super) revision: String,
    pub(super) commit: String,
    pub(super) onnx_files: Vec<String>,
    pub(super) folder: PathBuf,
    pub(super) files: Vec<HubFile>,
    pub(super) may_need: Vec<HubFile>,
    pub(super) free: Option<u64>,
}

/// A file of a [`HubPlan`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HubFile {
    /// Its name in the repository, with `/` between folders.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The bytes that are in the cache: all of them, none, or the beginning that an interrupted fetch left.
    pub cached: u64,
    /// Whether all of it is in the cache.
    pub is_cached: bool,
}

impl HubPlan {
    /// The repository: `organisation/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The revision that was asked for: a branch, a tag or a commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The commit that the revision is at.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The ONNX file that is read, or the two of an encoder-decoder: the encoder's is the first.
    pub fn onnx_files(&self) -> &[String] {
        &self.onnx_files
    }

    /// The folder that looks like the repository, in the cache; it has the files once they are fetched.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files, in the order in which they are fetched.
    pub fn files(&self) -> &[HubFile] {
        &self.files
    }

    /// Files beside the ONNX files that the weights may be in. Most exporters name such a file after the ONNX file, and then
    /// it is among [`files`](Self::files); whether one of these is needed too, only the ONNX file tells. Once that is in the
    /// cache, this is empty.
    pub fn may_need(&self) -> &[HubFile] {
        &self.may_need
    }

    /// The bytes of all files, without those that [`may_need`](Self::may_need) lists.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The bytes that are still to be fetched.
    pub fn missing_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size.saturating_sub(file.cached)))
    }

    /// Whether the ONNX files can be read in the cache.
    pub(super) fn has_onnx(&self) -> bool {
        let is_cached = |name: &String| self.files.iter().any(|file| file.name == *name && file.is_cached);
        self.onnx_files.iter().all(|name| is_cached(name) && self.folder.join(name).is_file())
    }

    /// Whether nothing is to be fetched.
    pub fn is_cached(&self) -> bool {
        self.files.iter().all(|file| file.is_cached)
    }

    /// The bytes that are free on the cache's disk, where that can be told.
    pub fn free_bytes(&self) -> Option<u64> {
        self.free
    }

    /// Refuses to fetch what the disk has no room for.
    pub(super) fn check_space(&self) -> Result<()> {
        let missing = self.missing_bytes();
        match self.free {
            Some(free) if free < missing => Err(Error::new(
                ErrorKind::Hub,
                format!(
                    "{} needs {missing} more bytes on the disk of {}, which has {free} free; make room, name a folder on \
                     another disk with HF_HOME, or choose a smaller file with `precision`",
                    self.repository,
                    self.folder.display()
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// The files of a listing that a model needs, and which of them are its ONNX files.
pub(super) fn needed(
    listing: &Listing,
    repository: &Repository,
    choice: &FileChoice,
) -> Result<(Vec<String>, Vec<RepositoryFile>)> {
    let names: BTreeSet<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
    let export = format!(
        "export it with `python onnx/export.py {repository} OUT` of crossrank's source, and name the folder OUT instead"
    );
    let onnx_names = choice.choose(
        &format!("the repository {repository}"),
        &export,
        |name| names.contains(name),
        || names.iter().filter(|name| name.ends_with(".onnx")).map(|name| (*name).to_owned()).collect(),
    )?;
    let onnx_files: Vec<String> = onnx_names.parts().map(|(_, name)| name.to_owned()).collect();
    if let Some(missing) = NEEDED.iter().find(|name| !names.contains(*name)) {
        return Err(Error::model(format!(
            "the repository {repository} has no {missing}, which is needed to run the model"
        )));
    }
    let has_modules = names.contains("modules.json");
    let wanted = |name: &str| {
        NEEDED.contains(&name)
            || OPTIONAL.contains(&name)
            || SENTENCE_CONFIGS.contains(&name)
            || (has_modules && is_of_a_module(name))
    };
    let besides = |name: &str| choice.besides.iter().any(|besides| besides == name);
    let is_weights = |name: &str| onnx_files.iter().any(|onnx_file| is_weights(name, onnx_file));
    let belongs = |name: &str| wanted(name) || is_weights(name) || besides(name);
    let mut files: Vec<RepositoryFile> = listing.files.iter().filter(|file| belongs(&file.name)).cloned().collect();
    if let Some(file) = files.iter().find(|file| file.name.contains(|c| "<>:\"|?*".contains(c))) {
        let message = format!("the name of {} in {repository} cannot be that of a file everywhere", file.name);
        return Err(Error::new(ErrorKind::Hub, message));
    }
    // The small files first: what is wrong with them is known before gigabytes are fetched.
    files.sort_by_key(|file| (is_weights(&file.name), file.name.clone()));
    Ok((onnx_files, files))
}

/// The files that may be external data of the ONNX files under a name of their own.
pub(super) fn may_need<'a>(
    listing: &'a Listing,
    onnx_files: &'a [String],
    needed: &'a [RepositoryFile],
) -> impl Iterator<Item = &'a RepositoryFile> {
    let folder = |name: &str| name.rfind('/').map_or(0, |slash| slash + 1);
    let is_beside = move |name: &str, onnx_file: &String| onnx_file[..folder(onnx_file)] == name[..folder(name)];
    let is_other = |name: &str| {
        let name = name.to_ascii_lowercase();
        // PyTorch's pickles have no kind of their own.
        let is_pickle =
            name.ends_with(".bin") && ["pytorch_model", "training_args"].iter().any(|pickle| name.contains(pickle));
        is_pickle || NOT_DATA.iter().any(|end| name.ends_with(end))
    };
    // Another ONNX file's, by its name.
    let is_taken = |name: &str| {
        let onnx = listing.files.iter().filter(|file| file.name.ends_with(".onnx"));
        onnx.into_iter().any(|file| is_weights(name, &file.name))
    };
    listing.files.iter().filter(move |file| {
        let name = file.name.as_str();
        onnx_files.iter().any(|onnx_file| is_beside(name, onnx_file))
            && !is_other(name)
            && !is_taken(name)
            && needed.iter().all(|needed| needed.name != name)
    })
}

/// The ONNX file, or its external data: in the same folder, under a name that begins with the ONNX file's.
fn is_weights(name: &str, onnx_file: &str) -> bool {
    name.strip_prefix(onnx_file)
        .is_some_and(|rest| !rest.contains('/') && (rest.is_empty() || rest.starts_with(['_', '.'])))
}

/// `1_Pooling/config.json`, or the weights of `2_Dense` or `3_LayerNorm`.
fn is_of_a_module(name: &str) -> bool {
    match name.split_once('/') {
        Some((folder, "config.json")) => !["onnx", "openvino"].contains(&folder),
        Some((folder, "model.safetensors")) => folder.contains("Dense") || folder.contains("LayerNorm"),
        _ => false,
    }
}

impl HubFile {
    /// Looks how much of a file is in the cache.
    pub(super) fn look_up(cache: &Cache, commit: &str, file: &RepositoryFile) -> Self {
        let size = file.size.unwrap_or(0);
        let is_cached = cache.has(commit, file);
        let cached = match &file.hash {
            _ if is_cached => size,
            // A beginning that is too long is no beginning.
            Some(hash) => Some(cache.partial(hash)).filter(|partial| *partial <= size).unwrap_or(0),
            None => 0,
        };
        Self { name: file.name.clone(), size, cached, is_cached }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Precision;

    fn listing(names: &[&str]) -> Listing {
        let file = |name: &&str| RepositoryFile { name: (*name).to_owned(), size: Some(1), hash: None };
        Listing { commit: "c".to_owned(), files: names.iter().map(file).collect() }
    }

    fn names(names: &[&str], precision: Option<Precision>) -> Result<Vec<String>> {
        let choice = FileChoice { precision, ..FileChoice::default() };
        let (_, files) = needed(&listing(names), &Repository::new("a/b").unwrap(), &choice)?;
        Ok(files.into_iter().map(|file| file.name).collect())
    }

    const REPOSITORY: [&str; 20] = [
        ".gitattributes",
        "README.md",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "onnx/config.json",
        "onnx/model.onnx",
        "onnx/model.onnx_data",
        "onnx/model.onnx_data_1",
        "onnx/model.onnx.data",
        "onnx/model_fp16.onnx",
        "onnx/model_fp16.onnx_data",
        "sentence_bert_config.json",
        "tokenizer.json",
        "vocab.txt",
    ];

    #[test]
    fn only_what_the_model_needs() {
        let small = [
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "config.json",
            "config_sentence_transformers.json",
            "modules.json",
            "sentence_bert_config.json",
            "tokenizer.json",
        ];
        let fp32 = names(&REPOSITORY, None).unwrap();
        assert_eq!(fp32[..8], small);
        assert_eq!(
            fp32[8..],
            ["onnx/model.onnx", "onnx/model.onnx.data", "onnx/model.onnx_data", "onnx/model.onnx_data_1"]
        );
        let fp16 = names(&REPOSITORY, Some(Precision::Fp16)).unwrap();
        assert_eq!(fp16[8..], ["onnx/model_fp16.onnx", "onnx/model_fp16.onnx_data"]);
    }

    #[test]
    fn an_encoder_and_a_decoder_with_their_data() {
        let repository = [
            "config.json",
            "onnx/decoder_model.onnx",
            "onnx/decoder_model.onnx_data",
            "onnx/decoder_model_merged.onnx",
            "onnx/decoder_model_quantized.onnx",
            "onnx/decoder_with_past_model.onnx",
            "onnx/encoder_model.onnx",
            "onnx/encoder_model.onnx_data",
            "onnx/encoder_model_quantized.onnx",
            "tokenizer.json",
        ];
        let fp32 = names(&repository, None).unwrap();
        assert_eq!(fp32, [&repository[..1], &repository[9..], &repository[1..3], &repository[6..8]].concat());
        let quantized = names(&repository, Some(Precision::Quantized)).unwrap();
        assert_eq!(quantized[2..], [repository[4], repository[8]]);
        let missing = names(&[&repository[..6], &repository[9..]].concat(), None).unwrap_err().to_string();
        assert!(missing.contains("onnx/encoder_model.onnx, is missing"), "{missing}");
    }

    #[test]
    fn what_else_may_hold_weights() {
        let odd =
            ["onnx/Constant_7_attr", "onnx/weights.bin", "pytorch_model.bin", "tokenizer.model", "vocab", "x/data"];
        let listing = listing(&[&REPOSITORY[..], &odd].concat());
        let choice = FileChoice::default();
        let (onnx, files) = needed(&listing, &Repository::new("a/b").unwrap(), &choice).unwrap();
        let names: Vec<&str> = may_need(&listing, &onnx, &files).map(|file| file.name.as_str()).collect();
        assert_eq!(names, odd[..2]);
        let onnx = ["model.onnx".to_owned()];
        let in_root: Vec<&str> = may_need(&listing, &onnx, &files).map(|file| file.name.as_str()).collect();
        assert_eq!(in_root, ["vocab"]);
    }

    #[test]
    fn what_a_repository_lacks_is_said() {
        let without = names(&["config.json", "tokenizer.json", "model.safetensors"], None).unwrap_err();
        assert!(without.to_string().contains("python onnx/export.py a/b OUT"), "{without}");
        let tokenizer = names(&["config.json", "model.onnx"], None).unwrap_err();
        assert!(tokenizer.to_string().contains("no tokenizer.json"), "{tokenizer}");
    }

    #[test]
    fn a_full_disk() {
        let file = |size, cached| HubFile { name: "x".into(), size, cached, is_cached: size == cached };
        let plan = |free| HubPlan {
            repository: "a/b".into(),
            revision: "main".into(),
            commit: "c".into(),
            onnx_files: vec!["model.onnx".into()],
            folder: "/cache".into(),
            files: vec![file(100, 100), file(50, 20)],
            may_need: Vec::new(),
            free,
        };
        assert_eq!((plan(None).total_bytes(), plan(None).missing_bytes()), (150, 30));
        plan(None).check_space().unwrap();
        plan(Some(30)).check_space().unwrap();
        let error = plan(Some(29)).check_space().unwrap_err().to_string();
        assert!(error.contains("30 more bytes") && error.contains("29 free") && error.contains("HF_HOME"), "{error}");
    }
}

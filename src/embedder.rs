//! The bi-encoder engine: texts → embeddings.

use std::path::PathBuf;

use ndarray::ArrayView2;

use crate::compute::ComputeType;
use crate::embeddings::Embeddings;
use crate::engine::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::loading::{LoadOptions, Loaded};
use crate::model::dense::{self, Module};
use crate::model::pooling::{EmbeddingSpec, Prompts};
use crate::model::{ModelInfo, ModelSource, Pooling, Precision, Task};
use crate::pipeline;
use crate::ranking::TruncatedDocument;
use crate::scoring::BiEncoder;
use crate::text::{Truncation, TruncationSide};

/// A bi-encoder: reads each text alone and gives its embedding.
///
/// It is used through `&self` from any number of threads. A text's embedding depends on the text alone and has the same
/// bits each time.
///
/// ```
/// use crossrank::{Embedder, cosine_similarity};
///
/// let embedder = Embedder::bundled()?;
/// let embeddings = embedder.embed(&["A cat sits on a mat.", "A kitten rests on a rug.", "Shares fell today."])?;
/// let rows: Vec<&[f32]> = embeddings.iter().collect();
/// assert!(cosine_similarity(rows[0], rows[1]) > cosine_similarity(rows[0], rows[2]));
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug)]
pub struct Embedder {
    loaded: Loaded,
    pooling: Option<Pooling>,
    modules: Vec<Module>,
    finish: Finish,
    prompts: Prompts,
}

/// What becomes of a vector after the modules.
#[derive(Debug, Clone, Copy)]
struct Finish {
    /// It is scaled to length 1 while it has all its dimensions.
    normalize_whole: bool,
    /// The dimensions that are kept, the first ones.
    dimensions: usize,
    /// What is kept is scaled to length 1.
    normalize: bool,
}

/// Collects how an [`Embedder`] is to be loaded.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct EmbedderBuilder {
    load: LoadOptions,
    pooling: Option<Pooling>,
    normalize: Option<bool>,
    dimensions: Option<usize>,
    query_prompt: Option<String>,
    document_prompt: Option<String>,
}

impl Embedder {
    /// The model that the crate carries (feature `bundled-models`), with all defaults.
    pub fn bundled() -> Result<Self> {
        Self::builder().build()
    }

    /// A model in a folder that has the layout of a Hub repository, with all defaults.
    pub fn from_dir(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder().model(ModelSource::dir(path)).build()
    }

    /// Starts from the defaults: the bundled model, all cores, the end of a text cut where it is too long.
    pub fn builder() -> EmbedderBuilder {
        EmbedderBuilder::default()
    }

    /// What was loaded and how it runs.
    pub fn info(&self) -> &ModelInfo {
        &self.loaded.info
    }

    /// The embeddings of texts, in their order; with the model's default prompt before each text, if it has one.
    ///
    /// An empty or blank text is embedded like any other.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NonFinite`] if an embedding has a number that is not finite, and [`ErrorKind::Inference`] if the
    /// model fails on a text; [`Error::document`] is its index.
    pub fn embed<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Embeddings> {
        self.embed_prompted(texts, self.prompts.of_texts())
    }

    /// The embedding of one query: with the model's prompt `query`, if it has one.
    pub fn embed_query(&self, query: &str) -> Result<Vec<f32>> {
        Ok(self.embed_queries(&[query])?.as_slice().to_vec())
    }

    /// The embeddings of queries: with the model's prompt `query`, if `config_sentence_transformers.json` has one.
    pub fn embed_queries<S: AsRef<str> + Sync>(&self, queries: &[S]) -> Result<Embeddings> {
        self.embed_prompted(queries, self.prompts.of_queries())
    }

    /// The embeddings of documents: with the model's prompt `document`, `passage` or `corpus`, the first that it has.
    ///
    /// (`encode_document` of sentence-transformers 6 documents the same order, but gives every model an empty prompt
    /// `document`, so that it never gets to the other two names.)
    pub fn embed_documents<S: AsRef<str> + Sync>(&self, documents: &[S]) -> Result<Embeddings> {
        self.embed_prompted(documents, self.prompts.of_documents())
    }

    fn embed_prompted<S: AsRef<str> + Sync>(&self, texts: &[S], prompt: &str) -> Result<Embeddings> {
        let Loaded { encoder, engine, .. } = &self.loaded;
        let processed = pipeline::process(
            engine,
            texts,
            |text| match prompt {
                "" => encoder.single(text),
                prompt => encoder.single(&format!("{prompt}{text}")),
            },
            |_, output| self.embedding(output),
        );
        let mut embeddings = Embeddings::default();
        let mut truncated = Vec::new();
        for (outcome, index) in processed.iter().zip(0..) {
            let (embedding, cut) = outcome.as_ref().map_err(|error| name_text(error.clone(), index))?;
            truncated.extend(TruncatedDocument::of(*cut, index));
            embeddings.push(finite(embedding, index)?)?;
        }
        Ok(embeddings.with_truncated(truncated))
    }

    /// The embedding from the graph's output for one text.
    fn embedding(&self, output: Output<'_>) -> Result<Vec<f32>> {
        let mut embedding = match (&self.pooling, output.shape) {
            (Some(pooling), &[tokens, dimensions]) => {
                let vectors = ArrayView2::from_shape((tokens, dimensions), output.values).map_err(|error| {
                    Error::new(ErrorKind::Inference, "the output does not have its own shape").with_source(error)
                })?;
                pooling.pool(vectors)
            }
            _ => output.values.to_vec(),
        };
        for module in &self.modules {
            embedding = module.apply(embedding);
        }
        if self.finish.normalize_whole {
            dense::normalize(&mut embedding);
        }
        embedding.truncate(self.finish.dimensions);
        if self.finish.normalize {
            dense::normalize(&mut embedding);
        }
        Ok(embedding)
    }
}

impl BiEncoder for Embedder {
    fn name(&self) -> String {
        self.loaded.info.title()
    }

    fn embed_query(&self, query: &str) -> Result<Vec<f32>> {
        Embedder::embed_query(self, query)
    }

    fn embed_documents(&self, documents: &[&str]) -> Result<Embeddings> {
        Embedder::embed_documents(self, documents)
    }
}

impl EmbedderBuilder {
    /// The model; by default the bundled bi-encoder.
    pub fn model(mut self, source: impl Into<ModelSource>) -> Self {
        self.load.source = source.into();
        self
    }

    /// The ONNX file within the model, such as `onnx/model_O3.onnx`; by default `model.onnx`, else `onnx/model.onnx`, else
    /// the only one that there is. Of several others none is taken: the error lists them.
    pub fn onnx_file(mut self, name: impl Into<String>) -> Self {
        self.load.file.onnx_file = Some(name.into());
        self
    }

    /// The precision of the ONNX file, where the model has several: see [`Precision::file_names`]. Together with
    /// [`onnx_file`](Self::onnx_file), and for the bundled models, which have one file, it is an error.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.load.file.precision = Some(precision);
        self
    }

    /// The number of workers, 1024 at most; by default one for each core that the process may use, in a pool that all
    /// engines of the process share. With a number, the engine has a pool of its own. The weights are in memory once.
    pub fn threads(mut self, n: usize) -> Self {
        self.load.threads = Some(n);
        self
    }

    /// In which numbers the model's layers are computed: see [`ComputeType`], also for the default.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) fails if integers are asked for and the graph has no layers that could be computed so.
    pub fn compute_type(mut self, compute: ComputeType) -> Self {
        self.load.compute = Some(compute);
        self
    }

    /// The most tokens of a text, special tokens included; by default what the model declares. A larger number than
    /// the model has positions for is an error.
    pub fn max_length(mut self, tokens: usize) -> Self {
        self.load.max_length = Some(tokens);
        self
    }

    /// Which end of an over-long text is dropped; by default its end (its beginning, where `tokenizer_config.json`
    /// declares `truncation_side` left).
    pub fn truncation_side(mut self, side: TruncationSide) -> Self {
        self.load.truncation = Some(Truncation::default().with_side(side));
        self
    }

    /// What goes before each query, such as `query: `; by default what the model declares.
    pub fn query_prompt(mut self, text: impl Into<String>) -> Self {
        self.query_prompt = Some(text.into());
        self
    }

    /// What goes before each document, such as `passage: `; by default what the model declares.
    pub fn document_prompt(mut self, text: impl Into<String>) -> Self {
        self.document_prompt = Some(text.into());
        self
    }

    /// How token vectors become one; by default what `modules.json` declares, else their mean. A graph that pools by
    /// itself cannot be pooled otherwise.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Whether embeddings are scaled to length 1; by default what `modules.json` declares, else they are not.
    pub fn normalize(mut self, yes: bool) -> Self {
        self.normalize = Some(yes);
        self
    }

    /// Keeps only the first `n` dimensions of each embedding, for models that were trained for it (Matryoshka): what
    /// sentence-transformers calls `truncate_dim`. What is kept is scaled to length 1 again, if the model normalises or
    /// [`normalize`](Self::normalize) says so (sentence-transformers leaves it shorter, unless it is asked for
    /// `normalize_embeddings`). By default all dimensions are kept, or as many as the model's own `truncate_dim`, in which
    /// case they are left as sentence-transformers leaves them.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) fails with [`ErrorKind::Options`] if `n` is 0 or more than the model has.
    pub fn dimensions(mut self, n: usize) -> Self {
        self.dimensions = Some(n);
        self
    }

    /// Loads the model and makes a trial run.
    ///
    /// # Errors
    ///
    /// As for [`RerankerBuilder::build`](crate::RerankerBuilder::build).
    pub fn build(self) -> Result<Embedder> {
        let mut loaded = Loaded::new(&self.load, Task::BiEncoder)?;
        let Some(mut spec) = loaded.embedding.take() else {
            return Err(Error::model("the model has no description of its embeddings"));
        };
        if loaded.declared.config.architecture().is_some_and(|name| name.ends_with("ForSequenceClassification"))
            && spec.declared_in.is_none()
        {
            return Err(Error::model(format!(
                "{} is a cross-encoder (its architecture is a sequence classifier), not an embedding model",
                loaded.info.name
            )));
        }
        let per_token = loaded.engine.is_per_token();
        if !per_token && self.pooling.is_some() {
            return Err(Error::new(
                ErrorKind::Options,
                format!("the graph of {} pools by itself; its pooling cannot be chosen", loaded.info.name),
            ));
        }
        let (pooling, words) = if per_token {
            let (pooling, origin) = match self.pooling {
                Some(pooling) => (pooling, "set by the caller"),
                None => (spec.pooling.clone(), spec.declared_in.as_deref().unwrap_or("assumed: no file says")),
            };
            let words = format!("{pooling} ({origin})");
            (Some(pooling), words)
        } else {
            (None, "inside the graph".to_owned())
        };
        let width = loaded.trial_shape.last().copied().unwrap_or(0);
        let (modules, width) = match &pooling {
            Some(pooling) => modules_after_pooling(&mut spec, width * pooling.modes().len())?,
            None => modules_in_the_graph(&spec, width, &loaded.info.name)?,
        };
        let finish = finish(self.dimensions, self.normalize, &spec, width)?;
        loaded.info.dimensions = Some(finish.dimensions);
        loaded.info.full_dimensions = Some(width);
        loaded.info.pooling = Some(words);
        loaded.info.modules = modules.iter().map(Module::to_string).collect();
        loaded.info.normalized = finish.normalize || (finish.normalize_whole && finish.dimensions == width);
        for (name, text) in [("query", &self.query_prompt), ("document", &self.document_prompt)] {
            if let Some(text) = text {
                spec.prompts.set(name, text);
            }
        }
        spec.check_prompts(&loaded.info.name)?;
        loaded.info.query_prompt = Some(spec.prompts.of_queries().to_owned());
        loaded.info.document_prompt = Some(spec.prompts.of_documents().to_owned());
        Ok(Embedder { loaded, pooling, modules, finish, prompts: spec.prompts })
    }
}

/// The modules that are to be run on pooled vectors of `width` dimensions, and how many come out.
fn modules_after_pooling(spec: &mut EmbeddingSpec, width: usize) -> Result<(Vec<Module>, usize)> {
    let modules = std::mem::take(&mut spec.modules);
    let width = modules.iter().try_fold(width, |width, module| module.width_after(width))?;
    Ok((modules, width))
}

/// A graph that pools by itself has the modules after the pooling inside it too, as `optimum` exports it: if its output
/// is as wide as theirs, none is to be run.
fn modules_in_the_graph(spec: &EmbeddingSpec, width: usize, model: &str) -> Result<(Vec<Module>, usize)> {
    let last = spec.modules.iter().rev().find_map(|module| match module {
        Module::Dense(dense) => Some(dense.outputs()),
        _ => None,
    });
    match last {
        Some(outputs) if outputs != width => Err(Error::model(format!(
            "the graph of {model} pools by itself and gives {width} dimensions, but the last Dense module of modules.json \
             gives {outputs}: it is not inside the graph; export the model without pooling, or with all its modules"
        ))),
        _ => Ok((Vec::new(), width)),
    }
}

/// What becomes of vectors of `width` dimensions after the modules, by the caller's wishes and else by the model's.
fn finish(wanted: Option<usize>, normalize: Option<bool>, spec: &EmbeddingSpec, width: usize) -> Result<Finish> {
    match wanted {
        Some(dimensions) if dimensions == 0 || dimensions > width => Err(Error::new(
            ErrorKind::Options,
            format!("{dimensions} dimensions are asked for, and the model has {width}; ask for 1 to {width}"),
        )),
        Some(dimensions) => {
            Ok(Finish { normalize_whole: false, dimensions, normalize: normalize.unwrap_or(spec.normalize) })
        }
        None => Ok(Finish {
            normalize_whole: spec.normalize && normalize.is_none(),
            dimensions: spec.truncate_dim.unwrap_or(width).min(width),
            normalize: normalize == Some(true),
        }),
    }
}

fn name_text(error: Error, index: usize) -> Error {
    Error::new(error.kind(), format!("text {index} (counted from 0) could not be embedded"))
        .with_document(index)
        .with_source(error)
}

fn finite(row: &[f32], index: usize) -> Result<&[f32]> {
    if row.iter().all(|value| value.is_finite()) {
        return Ok(row);
    }
    Err(Error::new(
        ErrorKind::NonFinite,
        format!(
            "the embedding of text {index} (counted from 0) has a number that is not finite; check the text, and the \
             model if others fail too"
        ),
    )
    .with_document(index))
}

//! The models of a command, the cross-encoder alone or with a bi-encoder, and what they give.

use super::super::collection::Candidate;
use super::super::failure::Failure;
use super::super::job::{Settings, Tally};
use super::super::models::{Cut, describe, load_runtime};
use super::Arguments;
use super::fusion::{self, Fused};
use crossrank::{
    Candidates, Cascade, CascadeOptions, CascadeRanking, CascadedDocument, Embedder, Error, ModelInfo, PairScores,
    RankOptions, RankedDocument, Ranking, Reranker, TruncatedDocument, Window,
};

pub(super) struct Ranker {
    reranker: Reranker,
    bi_encoder: Option<(Embedder, Way)>,
}

/// What the bi-encoder is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// It chooses what the cross-encoder reads.
    Cascade(Candidates),
    /// Its similarities are added to the other scores.
    Fusion,
}

/// The result of a cross-encoder, or of a cascade.
pub(super) struct Ranked {
    pub(super) results: Vec<RankedLine>,
    pub(super) truncated: Vec<TruncatedDocument>,
    pub(super) failures: Vec<Error>,
    pub(super) first_stage: Option<FirstStage>,
}

/// What only a cascade has.
pub(super) struct FirstStage {
    pub(super) embedder: String,
    pub(super) candidates: usize,
    pub(super) truncated: Vec<TruncatedDocument>,
}

pub(super) struct RankedLine {
    pub(super) index: usize,
    /// None in a cascade, if the document was not cross-encoded.
    pub(super) score: Option<f32>,
    /// None without a cascade.
    pub(super) similarity: Option<f32>,
    /// None, if the document was not read in windows.
    pub(super) window: Option<Window>,
}

impl Ranker {
    /// Loads ONNX Runtime and the models that the arguments name.
    pub(super) fn load(arguments: &Arguments) -> Result<Self, Failure> {
        load_runtime()?;
        let reranker = arguments.reranker.load(&arguments.engine)?.engine;
        let bi_encoder = match arguments.way() {
            Some(way) => Some((arguments.cascade.load(&arguments.engine)?.engine, way)),
            None => None,
        };
        Ok(Self { reranker, bi_encoder })
    }

    /// The cross-encoder in one line.
    pub(super) fn model(&self) -> String {
        self.reranker.info().title()
    }

    /// What the cross-encoder is.
    pub(super) fn info(&self) -> &ModelInfo {
        self.reranker.info()
    }

    /// The number of a text's tokens for the cross-encoder.
    pub(super) fn count_tokens(&self, text: &str) -> Result<usize, Error> {
        self.reranker.count_tokens(text)
    }

    /// How many pairs run at the same time.
    pub(super) fn threads(&self) -> usize {
        self.reranker.info().threads
    }

    pub(super) fn rank(&self, query: &str, texts: &[&str], options: &RankOptions) -> Result<Ranked, Error> {
        match &self.bi_encoder {
            None | Some((_, Way::Fusion)) => Ok(Ranked::from(self.reranker.rerank_with(query, texts, options)?)),
            Some((embedder, Way::Cascade(candidates))) => {
                let options = CascadeOptions::new().candidates(*candidates).ranking(*options);
                let ranking = Cascade::new(embedder, &self.reranker).rerank_with(query, texts, &options)?;
                Ok(Ranked::of_cascade(ranking, embedder.info().title()))
            }
        }
    }

    /// Documents of a first stage by all scores together, if that is wanted.
    pub(super) fn fuse(&self, query: &str, documents: &[Candidate<'_>]) -> Option<Result<Fused, Error>> {
        match &self.bi_encoder {
            Some((embedder, Way::Fusion)) => Some(fusion::rank(&self.reranker, embedder, query, documents)),
            _ => None,
        }
    }

    /// The scores of the cross-encoder alone, in the order of the texts.
    pub(super) fn score(&self, query: &str, texts: &[&str]) -> Result<PairScores, Error> {
        self.reranker.score(query, texts)
    }

    /// Says what was cut to fit the models.
    pub(super) fn report_cuts(&self, tally: &Tally) {
        if let Some((embedder, _)) = &self.bi_encoder {
            tally.cut_by_bi_encoder.report("the bi-encoder", embedder.info().max_length);
        }
        tally.cut_by_cross_encoder.report("the cross-encoder", self.reranker.info().max_length);
    }

    /// All that decides the scores.
    pub(super) fn settings(&self, arguments: &Arguments) -> Settings {
        let mut settings = Settings::new();
        describe("--reranker", self.reranker.info(), &mut settings);
        if let Some((embedder, _)) = &self.bi_encoder {
            describe("--embedder", embedder.info(), &mut settings);
        }
        let mut add = |name: &str, value: String| _ = settings.insert(name.to_owned(), value);
        add("--cascade, --fusion", format!("{:?}", self.bi_encoder.as_ref().map(|(_, way)| way)));
        add("--top-n", format!("{:?}", arguments.top_n));
        add("--threshold", format!("{:?}", arguments.threshold));
        add("--instruction, --template and the like", format!("{:?}", arguments.reranker));
        settings
    }
}

impl From<Ranking> for Ranked {
    fn from(ranking: Ranking) -> Self {
        let line = |result: &RankedDocument| RankedLine {
            index: result.index,
            score: Some(result.score),
            similarity: None,
            window: result.window,
        };
        Self {
            results: ranking.iter().map(line).collect(),
            truncated: ranking.truncated().to_vec(),
            failures: ranking.failures().to_vec(),
            first_stage: None,
        }
    }
}

impl Ranked {
    fn of_cascade(ranking: CascadeRanking, embedder: String) -> Self {
        let line = |result: &CascadedDocument| RankedLine {
            index: result.index,
            score: result.score,
            similarity: Some(result.similarity),
            window: result.window,
        };
        let truncated = ranking.truncated_embeddings().to_vec();
        Self {
            results: ranking.iter().map(line).collect(),
            truncated: ranking.truncated().to_vec(),
            failures: ranking.failures().to_vec(),
            first_stage: Some(FirstStage { embedder, candidates: ranking.candidates(), truncated }),
        }
    }

    /// What is counted of a query with so many documents.
    pub(super) fn tally(&self, documents: usize) -> Tally {
        Tally {
            items: documents as u64,
            cut_by_cross_encoder: Cut::of(&self.truncated),
            cut_by_bi_encoder: self.first_stage.as_ref().map_or(Cut::default(), |stage| Cut::of(&stage.truncated)),
            ..Tally::default()
        }
    }
}

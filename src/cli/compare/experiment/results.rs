//! Scores → systems, measures, agreement, and the queries where the systems differ most.

use std::cmp::Ordering;

use super::super::super::collection::{Corpus, fused};
use super::super::super::failure::Failure;
use super::collect::Scored;
use crossrank::eval::{
    Difference, Evaluation, Measure, Qrels, Run, SignificanceOptions, bootstrap_interval, compare_runs, evaluate,
};
use crossrank::{Candidates, kendall_tau};

/// What an experiment was made with.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub(super) reranker: String,
    pub(super) embedder: String,
    pub(super) runtime: String,
    pub(super) device: &'static str,
    pub(super) threads: usize,
    /// The names of the run's and the corpus's files.
    pub(super) first_stage: String,
    pub(super) corpus: String,
    pub(super) documents: u64,
    pub(super) depth: usize,
    pub(super) cascade: Candidates,
}

/// What orders the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FirstStage,
    BiEncoder,
    CrossEncoder,
    Cascade,
    /// The first stage, the bi-encoder and the cross-encoder together: the sum of their z-scores within a query.
    Fusion,
}

/// How many of them there are.
pub(super) const SYSTEMS: usize = Kind::ALL.len();

impl Kind {
    pub(super) const ALL: [Kind; 5] =
        [Kind::FirstStage, Kind::BiEncoder, Kind::CrossEncoder, Kind::Cascade, Kind::Fusion];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::FirstStage => "first stage",
            Kind::BiEncoder => "bi-encoder",
            Kind::CrossEncoder => "cross-encoder",
            Kind::Cascade => "cascade",
            Kind::Fusion => "fusion",
        }
    }
}

pub(super) struct Experiment {
    pub(super) conditions: Conditions,
    pub(super) measures: Vec<Measure>,
    /// One for each of [`Kind::ALL`].
    pub(super) systems: Vec<System>,
    /// The mean over queries of Kendall's tau between two systems' orders, by their places in `systems`.
    pub(super) taus: [[Option<f64>; SYSTEMS]; SYSTEMS],
    /// All judged queries, also those that the run has nothing for.
    pub(super) queries: usize,
    pub(super) missing_queries: usize,
    pub(super) pairs: usize,
    pub(super) costs: Costs,
    pub(super) helped: Vec<QueryCase>,
    pub(super) hurt: Vec<QueryCase>,
}

pub(super) struct System {
    pub(super) kind: Kind,
    /// One for each measure.
    pub(super) values: Vec<Value>,
    /// Core-seconds for a thousand queries; none for the first stage, which ran elsewhere.
    pub(super) core_seconds: Option<f64>,
}

/// A system in one measure.
pub(super) struct Value {
    pub(super) mean: f64,
    /// The bootstrap interval of the mean, 95 %.
    pub(super) interval: (f64, f64),
    /// Against the first stage; none for itself.
    pub(super) against_first_stage: Option<Against>,
    /// Against the bi-encoder; for the systems after it.
    pub(super) against_bi_encoder: Option<Against>,
}

/// A system against another one in one measure.
pub(super) struct Against {
    pub(super) difference: Difference,
    /// Queries where it is better, equal, and worse.
    pub(super) wins: usize,
    pub(super) ties: usize,
    pub(super) losses: usize,
}

/// What the models took.
pub(super) struct Costs {
    pub(super) pairs_per_second: Option<f64>,
    pub(super) documents_per_second: Option<f64>,
    /// Documents that were embedded, each once.
    pub(super) embedded: usize,
    /// The pairs that the cross-encoder reads in the cascade, per query.
    pub(super) cascade_pairs: f64,
}

/// A query whose order the cross-encoder changed for better or worse.
pub(super) struct QueryCase {
    pub(super) id: String,
    pub(super) text: String,
    /// The first measure's value for each system.
    pub(super) values: [f64; SYSTEMS],
    /// The documents that explain it, in the cross-encoder's order.
    pub(super) documents: Vec<CaseDocument>,
}

pub(super) struct CaseDocument {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) grade: Option<i64>,
    /// Its rank in each system, from 1.
    pub(super) ranks: [usize; SYSTEMS],
    pub(super) first_stage: f64,
    pub(super) similarity: f32,
    pub(super) logit: f32,
}

/// Documents of a case that are shown: the first ones of each order, and the relevant ones.
const FIRST: usize = 3;
const RELEVANT: usize = 5;

impl Experiment {
    pub(super) fn new(
        scored: Vec<Scored>,
        qrels: &Qrels,
        measures: &[Measure],
        conditions: Conditions,
        show: usize,
        corpus: &Corpus,
    ) -> Result<Self, Failure> {
        let orders: Vec<Orders> = scored.iter().map(|query| Orders::new(query, conditions.cascade)).collect();
        let evaluations = Kind::ALL
            .map(|kind| Ok(evaluate(qrels, &run(kind, &scored, &orders)?, measures)))
            .into_iter()
            .collect::<Result<Vec<Evaluation>, Failure>>()?;
        let options = SignificanceOptions::new();
        let against_first = compare_runs(&evaluations[0], &evaluations[1..], &options)?;
        let against_bi = compare_runs(&evaluations[1], &evaluations[2..], &options)?;
        let costs = Costs::of(&scored, &orders);
        let systems = Kind::ALL
            .into_iter()
            .zip(0..)
            .map(|(kind, place)| System {
                kind,
                values: (0..measures.len())
                    .map(|measure| Value {
                        mean: evaluations[place].scores[measure].mean,
                        interval: interval(&evaluations[place].scores[measure].by_query),
                        against_first_stage: against(&evaluations, 0, place, measure, &against_first),
                        against_bi_encoder: against(&evaluations, 1, place, measure, &against_bi),
                    })
                    .collect(),
                core_seconds: core_seconds(kind, &scored, &orders, conditions.threads),
            })
            .collect();
        let (helped, hurt) = cases(&scored, &orders, &evaluations, qrels, show, corpus)?;
        Ok(Self {
            measures: measures.to_vec(),
            systems,
            taus: taus(&orders),
            queries: evaluations[0].queries.len(),
            missing_queries: evaluations[0].missing_queries,
            pairs: scored.iter().map(|query| query.documents.len()).sum(),
            costs,
            helped,
            hurt,
            conditions,
        })
    }
}

/// A query's documents as each system scores them, greater first.
struct Orders {
    scores: [Vec<f64>; SYSTEMS],
    /// How many documents the cross-encoder reads in the cascade.
    candidates: usize,
}

impl Orders {
    fn new(query: &Scored, cascade: Candidates) -> Self {
        let documents = &query.documents;
        let first: Vec<f64> = documents.iter().map(|document| document.first_stage).collect();
        let similarity: Vec<f64> = documents.iter().map(|document| f64::from(document.similarity)).collect();
        let logit: Vec<f64> = documents.iter().map(|document| f64::from(document.logit)).collect();
        let by_similarity = order(&similarity);
        let falling: Vec<f32> = by_similarity.iter().map(|index| documents[*index].similarity).collect();
        let candidates = cascade.choose(&falling);
        let least = by_similarity[..candidates].iter().map(|index| logit[*index]).fold(f64::INFINITY, f64::min);
        let mut cascaded = logit.clone();
        for (index, below) in by_similarity[candidates..].iter().zip(1..) {
            cascaded[*index] = least - f64::from(below);
        }
        let fused = fused(&first, &similarity, &logit);
        Self { scores: [first, similarity, logit, cascaded, fused], candidates }
    }

    /// The rank of each document, from 1.
    fn ranks(&self, system: usize) -> Vec<usize> {
        let mut ranks = vec![0; self.scores[system].len()];
        for (index, rank) in order(&self.scores[system]).into_iter().zip(1..) {
            ranks[index] = rank;
        }
        ranks
    }
}

/// The documents' indexes by falling score; ties keep the first stage's order.
fn order(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].partial_cmp(&scores[*a]).unwrap_or(Ordering::Equal));
    order
}

fn run(kind: Kind, scored: &[Scored], orders: &[Orders]) -> Result<Run, Failure> {
    let lines = scored.iter().zip(orders).flat_map(|(query, orders)| {
        let documents = query.documents.iter().zip(&orders.scores[kind as usize]);
        documents.map(|(document, score)| (query.query.as_str(), document.id.as_str(), *score))
    });
    Ok(Run::from_scores(kind.name(), lines)?)
}

fn interval(values: &[f64]) -> (f64, f64) {
    bootstrap_interval(values, 10_000, 0.95, 0).unwrap_or((f64::NAN, f64::NAN))
}

fn against(
    evaluations: &[Evaluation],
    baseline: usize,
    place: usize,
    measure: usize,
    differences: &[Difference],
) -> Option<Against> {
    let (values, base) = (&evaluations[place].scores[measure], &evaluations[baseline].scores[measure]);
    let of = |difference: &&Difference| {
        difference.run == Kind::ALL[place].name() && difference.measure == values.measure && place > baseline
    };
    let difference = differences.iter().find(of)?.clone();
    let count =
        |ordering| values.by_query.iter().zip(&base.by_query).filter(|(a, b)| a.total_cmp(b) == ordering).count();
    Some(Against {
        difference,
        wins: count(Ordering::Greater),
        ties: count(Ordering::Equal),
        losses: count(Ordering::Less),
    })
}

impl Costs {
    fn of(scored: &[Scored], orders: &[Orders]) -> Self {
        let rate = |n: usize, seconds: f64| (n > 0 && seconds > 0.0).then(|| n as f64 / seconds);
        let pairs: usize = scored.iter().map(|query| query.documents.len()).sum();
        let embedded = scored.iter().map(|query| query.embedded).sum();
        Self {
            pairs_per_second: rate(pairs, scored.iter().map(|query| query.pair_seconds).sum()),
            documents_per_second: rate(embedded, scored.iter().map(|query| query.document_seconds).sum()),
            embedded,
            cascade_pairs: orders.iter().map(|orders| orders.candidates as f64).sum::<f64>()
                / orders.len().max(1) as f64,
        }
    }
}

/// Wall time × threads for a thousand queries. Documents' embeddings are taken to be in an index; of a cascade, the pairs'
/// time is the candidates' part of the time of all.
fn core_seconds(kind: Kind, scored: &[Scored], orders: &[Orders], threads: usize) -> Option<f64> {
    let seconds = |(query, orders): (&Scored, &Orders)| match kind {
        Kind::FirstStage => 0.0,
        Kind::BiEncoder => query.query_seconds,
        Kind::CrossEncoder => query.pair_seconds,
        Kind::Cascade => {
            let part = orders.candidates as f64 / query.documents.len().max(1) as f64;
            query.query_seconds + part * query.pair_seconds
        }
        Kind::Fusion => query.query_seconds + query.pair_seconds,
    };
    let all: f64 = scored.iter().zip(orders).map(seconds).sum();
    (kind != Kind::FirstStage && !scored.is_empty()).then(|| all * threads as f64 * 1000.0 / scored.len() as f64)
}

fn taus(orders: &[Orders]) -> [[Option<f64>; SYSTEMS]; SYSTEMS] {
    let mean = |a: usize, b: usize| {
        let known: Vec<f64> = orders
            .iter()
            .filter_map(|orders| {
                // Ranks, not scores: they are whole numbers, which f32 holds exactly.
                let pairs: Vec<(f32, f32)> =
                    orders.ranks(a).iter().zip(orders.ranks(b)).map(|(a, b)| (*a as f32, b as f32)).collect();
                kendall_tau(&pairs)
            })
            .collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    Kind::ALL.map(|a| Kind::ALL.map(|b| mean(a as usize, b as usize)))
}

/// The queries where the cross-encoder is better than the first stage by most, and worse by most, in the first measure.
fn cases(
    scored: &[Scored],
    orders: &[Orders],
    evaluations: &[Evaluation],
    qrels: &Qrels,
    show: usize,
    corpus: &Corpus,
) -> Result<(Vec<QueryCase>, Vec<QueryCase>), Failure> {
    let value = |system: usize, place: usize| evaluations[system].scores[0].by_query[place];
    let place_of = |id: &str| evaluations[0].queries.iter().position(|query| query == id);
    let mut changes: Vec<(f64, usize, usize)> = scored
        .iter()
        .enumerate()
        .filter_map(|(index, query)| {
            let place = place_of(&query.query)?;
            Some((value(2, place) - value(0, place), index, place))
        })
        .collect();
    changes.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let case = |&(_, index, place): &(f64, usize, usize)| -> Result<QueryCase, Failure> {
        Ok(QueryCase {
            id: scored[index].query.clone(),
            text: scored[index].text.clone(),
            values: Kind::ALL.map(|system| value(system as usize, place)),
            documents: documents(&scored[index], &orders[index], qrels, corpus)?,
        })
    };
    let helped = changes.iter().filter(|change| change.0 > 0.0).take(show).map(case).collect::<Result<_, _>>()?;
    let hurt = changes.iter().rev().filter(|change| change.0 < 0.0).take(show).map(case).collect::<Result<_, _>>()?;
    Ok((helped, hurt))
}

fn documents(query: &Scored, orders: &Orders, qrels: &Qrels, corpus: &Corpus) -> Result<Vec<CaseDocument>, Failure> {
    let ranks = Kind::ALL.map(|system| orders.ranks(system as usize));
    let by_logit = order(&orders.scores[Kind::CrossEncoder as usize]);
    let grade = |index: usize| qrels.grade(&query.query, &query.documents[index].id);
    let relevant: Vec<usize> =
        by_logit.iter().copied().filter(|index| grade(*index).is_some_and(|grade| grade > 0)).take(RELEVANT).collect();
    let shown = |index: &usize| relevant.contains(index) || ranks.iter().take(3).any(|ranks| ranks[*index] <= FIRST);
    by_logit
        .iter()
        .copied()
        .filter(shown)
        .map(|index| {
            let document = &query.documents[index];
            let text = corpus.text(&document.id).map_err(Failure::Input)?.unwrap_or_default();
            Ok(CaseDocument {
                id: document.id.clone(),
                text,
                grade: grade(index),
                ranks: ranks.each_ref().map(|ranks| ranks[index]),
                first_stage: document.first_stage,
                similarity: document.similarity,
                logit: document.logit,
            })
        })
        .collect()
}

//! Both engines on the same cases, side by side, and how far their orders agree.

use std::time::{Duration, Instant};

use crate::embeddings::Embeddings;
use crate::error::{Error, ErrorKind, Result};
use crate::ranking::{RankOptions, Ranking};
use crate::scoring::{BiEncoder, CrossEncoder};

/// A query and documents to compare the engines on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Case {
    /// What people call the case.
    pub name: String,
    /// The query.
    pub query: String,
    /// The documents.
    pub documents: Vec<CaseDocument>,
}

/// A document of a [`Case`], with scores that others published for it, if there are any.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct CaseDocument {
    /// The text.
    pub text: String,
    /// A published bi-encoder similarity.
    pub published_embedding: Option<f32>,
    /// A published cross-encoder score.
    pub published_reranker: Option<f32>,
}

impl Case {
    /// A case without published scores.
    pub fn new(
        name: impl Into<String>,
        query: impl Into<String>,
        documents: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let documents = documents.into_iter().map(CaseDocument::new).collect();
        Self { name: name.into(), query: query.into(), documents }
    }
}

impl CaseDocument {
    /// A document without published scores.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// The outcome of [`compare`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Comparison {
    /// The name of the cross-encoder.
    pub reranker: String,
    /// The name of the bi-encoder.
    pub embedder: String,
    /// One for each case, in their order.
    pub cases: Vec<ComparedCase>,
}

/// One case, ranked both ways.
#[derive(Debug)]
#[non_exhaustive]
pub struct ComparedCase {
    /// The documents by cosine similarity of their embeddings with the query's.
    pub embedding: Ranking,
    /// The documents by cross-encoder score.
    pub reranker: Ranking,
    /// How far the two orders agree.
    pub agreement: Agreement,
    /// Time that the bi-encoder took for query and documents.
    pub embedding_time: Duration,
    /// Time that the cross-encoder took for the pairs.
    pub reranker_time: Duration,
}

/// How far two orders of the same documents agree.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Agreement {
    /// Kendall's τ-b of the two score lists, from -1 (reversed) to 1 (the same order); none for fewer than two
    /// documents, or if one list has a single score for all.
    pub kendall_tau: Option<f64>,
    /// Whether both put the same document first; none if there are no documents.
    pub same_top_1: Option<bool>,
}

/// Runs both engines on each case. With `raw_scores` the cross-encoder's logits are compared instead of its scores.
///
/// Documents that one engine cannot score are in the [`failures`](Ranking::failures) of its ranking and left out of
/// the agreement.
///
/// ```
/// use crossrank::{Case, Embedder, Reranker, compare};
///
/// let case = Case::new("capital", "capital of France", ["Paris is the capital of France.", "Bread is baked."]);
/// let comparison = compare(&Reranker::bundled()?, &Embedder::bundled()?, &[case], false)?;
/// assert_eq!(comparison.cases[0].agreement.same_top_1, Some(true));
/// # Ok::<(), crossrank::Error>(())
/// ```
pub fn compare(
    reranker: &dyn CrossEncoder,
    embedder: &dyn BiEncoder,
    cases: &[Case],
    raw_scores: bool,
) -> Result<Comparison> {
    let cases = cases.iter().map(|case| compare_case(reranker, embedder, case, raw_scores)).collect::<Result<_>>()?;
    Ok(Comparison { reranker: reranker.name(), embedder: embedder.name(), cases })
}

fn compare_case(
    reranker: &dyn CrossEncoder,
    embedder: &dyn BiEncoder,
    case: &Case,
    raw_scores: bool,
) -> Result<ComparedCase> {
    let documents: Vec<&str> = case.documents.iter().map(|document| document.text.as_str()).collect();
    let options = RankOptions::new().keep_going(true);

    let start = Instant::now();
    let query = embedder.embed_query(&case.query)?;
    let embeddings = embedder.embed_documents(&documents)?;
    let similarities = similarities(&query, &embeddings, documents.len())?;
    let embedding_time = start.elapsed();

    let start = Instant::now();
    let pairs = reranker.score(&case.query, &documents)?;
    let reranker_time = start.elapsed();
    let scores: Vec<Result<f32>> = pairs
        .scores
        .into_iter()
        .map(|pair| pair.map(|pair| if raw_scores { pair.logit } else { pair.score }))
        .collect();

    let both: Vec<(f32, f32)> =
        similarities.iter().zip(&scores).filter_map(|(a, b)| Some((*a, *b.as_ref().ok()?))).collect();
    let similarities = similarities.into_iter().map(Ok).collect();
    let embedding = Ranking::build(similarities, &documents, embeddings.truncated().to_vec(), &options)?;
    let reranker = Ranking::build(scores, &documents, pairs.truncated, &options)?;
    let top = |ranking: &Ranking| ranking.results().first().map(|result| result.index);
    let agreement = Agreement {
        kendall_tau: kendall_tau(&both),
        same_top_1: top(&embedding).zip(top(&reranker)).map(|(a, b)| a == b),
    };
    Ok(ComparedCase { embedding, reranker, agreement, embedding_time, reranker_time })
}

fn similarities(query: &Embeddings, documents: &Embeddings, expected: usize) -> Result<Vec<f32>> {
    let similarities = match query.get(0) {
        Some(query) => documents.similarities(query),
        None => Vec::new(),
    };
    if similarities.len() == expected {
        return Ok(similarities);
    }
    Err(Error::new(
        ErrorKind::Inference,
        format!("the bi-encoder gave {} embeddings for {expected} documents", similarities.len()),
    ))
}

/// Kendall's τ-b (Kendall 1945): pairs in the same order less pairs in opposite order, over the geometric mean of the
/// pairs that each list does not tie.
fn kendall_tau(scores: &[(f32, f32)]) -> Option<f64> {
    let (mut balance, mut untied_a, mut untied_b) = (0i64, 0u64, 0u64);
    for (i, x) in scores.iter().enumerate() {
        for y in &scores[i + 1..] {
            let a = x.0.partial_cmp(&y.0)? as i64;
            let b = x.1.partial_cmp(&y.1)? as i64;
            balance += a * b;
            untied_a += a.unsigned_abs();
            untied_b += b.unsigned_abs();
        }
    }
    let scale = (untied_a as f64 * untied_b as f64).sqrt();
    (scale > 0.0).then(|| balance as f64 / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::{PairScore, PairScores};

    /// Scores a document by its length, or fails on "bad".
    struct ByLength;

    impl CrossEncoder for ByLength {
        fn name(&self) -> String {
            "by length".to_owned()
        }

        fn score(&self, _: &str, documents: &[&str]) -> Result<PairScores> {
            let score = |(index, text): (usize, &&str)| match *text {
                "bad" => Err(Error::new(ErrorKind::NonFinite, "bad").with_document(index)),
                text => Ok(PairScore { logit: -(text.len() as f32), score: text.len() as f32 }),
            };
            Ok(PairScores { scores: documents.iter().enumerate().map(score).collect(), truncated: Vec::new() })
        }
    }

    /// Embeds a text as a direction that turns with its number of "x".
    struct ByX;

    impl BiEncoder for ByX {
        fn name(&self) -> String {
            "by x".to_owned()
        }

        fn embed_query(&self, query: &str) -> Result<Embeddings> {
            self.embed_documents(&[query])
        }

        fn embed_documents(&self, documents: &[&str]) -> Result<Embeddings> {
            Embeddings::from_rows(documents.iter().map(|text| {
                let angle = text.matches('x').count() as f32 * 0.1;
                vec![angle.cos(), angle.sin()]
            }))
        }
    }

    #[test]
    fn both_orders_and_their_agreement() {
        let case = Case::new("c", "", ["xx", "x", "bad", "xxxx"]);
        let comparison = compare(&ByLength, &ByX, &[case], false).unwrap();
        let compared = &comparison.cases[0];
        let order = |ranking: &Ranking| ranking.iter().map(|result| result.index).collect::<Vec<_>>();
        assert_eq!(order(&compared.embedding), [2, 1, 0, 3]);
        assert_eq!(order(&compared.reranker), [3, 0, 1]);
        assert_eq!(compared.reranker.failures()[0].document(), Some(2));
        assert_eq!(compared.agreement, Agreement { kendall_tau: Some(-1.0), same_top_1: Some(false) });
    }

    #[test]
    fn no_documents_no_agreement() {
        let comparison = compare(&ByLength, &ByX, &[Case::new("c", "q", [""; 0])], true).unwrap();
        let compared = &comparison.cases[0];
        assert!(compared.embedding.is_empty() && compared.reranker.is_empty());
        assert_eq!(compared.agreement, Agreement { kendall_tau: None, same_top_1: None });
    }

    #[test]
    fn tau_b_with_ties_is_scipys() {
        // scipy.stats.kendalltau([1, 2, 2, 3, 5], [1, 3, 2, 3, 4]).statistic
        let scores = [(1.0, 1.0), (2.0, 3.0), (2.0, 2.0), (3.0, 3.0), (5.0, 4.0)];
        assert!((kendall_tau(&scores).unwrap() - 8.0 / 9.0).abs() < 1e-12);
        assert_eq!(kendall_tau(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }
}

//! Both engines on the same cases, side by side, and how far their orders agree.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::ranking::{RankOptions, Ranking};
use crate::scoring::{BiEncoder, CrossEncoder, PairScore, PairScores};
use crate::similarity::Similarities;

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
/// the agreement. A query that the bi-encoder cannot embed is an error.
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
    let options = RankOptions::new().keep_going(true).raw_scores(raw_scores);

    let start = Instant::now();
    let similarities = similarities(embedder, &case.query, &documents)?;
    let embedding_time = start.elapsed();

    let start = Instant::now();
    let pairs = reranker.score(&case.query, &documents)?;
    let reranker_time = start.elapsed();
    pairs.expect_one_for_each(documents.len())?;

    // The raw scores of the documents that both could score, for the agreement.
    let both: Vec<(f32, f32)> = similarities
        .scores
        .iter()
        .zip(&pairs.scores)
        .filter_map(|(a, b)| Some((a.as_ref().ok()?.logit, b.as_ref().ok()?.logit)))
        .collect();
    let agreement = Agreement { kendall_tau: kendall_tau(&both), same_top_1: same_top_1(&both) };
    let embedding = Ranking::build(similarities, &documents, &options)?;
    let reranker = Ranking::build(pairs, &documents, &options)?;
    Ok(ComparedCase { embedding, reranker, agreement, embedding_time, reranker_time })
}

/// The similarity of each document with the query, in the form of a cross-encoder's scores.
fn similarities(embedder: &dyn BiEncoder, query: &str, documents: &[&str]) -> Result<PairScores> {
    let Similarities { of, truncated } = Similarities::embed(embedder, query, documents, true)?;
    let pair = |similarity: Result<f32>| similarity.map(|similarity| PairScore::new(similarity, similarity));
    Ok(PairScores { scores: of.into_iter().map(pair).collect(), truncated })
}

/// Whether the first of the highest scores is the same document in both lists.
fn same_top_1(scores: &[(f32, f32)]) -> Option<bool> {
    let best = |score: fn(&(f32, f32)) -> f32| {
        // `max_by` takes the last of equals: from behind, that is the first.
        scores.iter().enumerate().rev().max_by(|a, b| score(a.1).total_cmp(&score(b.1))).map(|(index, _)| index)
    };
    Some(best(|pair| pair.0)? == best(|pair| pair.1)?)
}

/// Kendall's τ-b of two scores for each of some documents, from -1 (reversed) to 1 (the same order); none for fewer than two
/// documents, or if one list has a single score for all. There must be no NaN.
///
/// τ-b (Kendall 1945): pairs in the same order less pairs in opposite order, over the geometric mean of the pairs that each
/// list does not tie. By Knight's method (1966), in O(n log n).
///
/// ```
/// use crossrank::kendall_tau;
///
/// assert_eq!(kendall_tau(&[(0.1, -5.0), (0.2, -4.0), (0.3, 3.0)]), Some(1.0));
/// assert_eq!(kendall_tau(&[(0.1, 1.0)]), None);
/// ```
pub fn kendall_tau(scores: &[(f32, f32)]) -> Option<f64> {
    // In the order of the first list, the pairs in opposite order are the exchanges that sorting by the second one needs.
    // Adding 0 makes -0.0 and 0.0 the same number for `total_cmp`.
    let mut scores: Vec<(f32, f32)> = scores.iter().map(|(a, b)| (a + 0.0, b + 0.0)).collect();
    scores.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)));
    let pairs = |n: usize| (n as u64 * n.saturating_sub(1) as u64 / 2) as f64;
    let tied = |same: fn(&(f32, f32), &(f32, f32)) -> bool, scores: &[(f32, f32)]| -> f64 {
        scores.chunk_by(same).map(|ties| pairs(ties.len())).sum()
    };
    let tied_first = tied(|x, y| x.0 == y.0, &scores);
    let tied_both = tied(|x, y| x == y, &scores);
    let mut second: Vec<f32> = scores.iter().map(|pair| pair.1).collect();
    let opposite = exchanges(&mut second) as f64;
    let tied_second: f64 = second.chunk_by(|x, y| x == y).map(|ties| pairs(ties.len())).sum();
    let all = pairs(scores.len());
    let balance = all - tied_first - tied_second + tied_both - 2.0 * opposite;
    let scale = ((all - tied_first) * (all - tied_second)).sqrt();
    (scale > 0.0).then(|| balance / scale)
}

/// Sorts the values by merging and counts the exchanges of neighbours that it takes.
fn exchanges(values: &mut [f32]) -> u64 {
    if values.len() < 2 {
        return 0;
    }
    let middle = values.len() / 2;
    let mut count = exchanges(&mut values[..middle]) + exchanges(&mut values[middle..]);
    let (left, right) = (values[..middle].to_vec(), values[middle..].to_vec());
    let (mut i, mut j) = (0, 0);
    for slot in values {
        if j == right.len() || (i < left.len() && left[i] <= right[j]) {
            *slot = left[i];
            i += 1;
        } else {
            *slot = right[j];
            j += 1;
            count += (left.len() - i) as u64;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::Embeddings;
    use crate::error::{Error, ErrorKind};
    use proptest::prelude::*;

    /// Scores a document by its length, or fails on "bad".
    struct ByLength;

    impl CrossEncoder for ByLength {
        fn name(&self) -> String {
            "by length".to_owned()
        }

        fn score(&self, _: &str, documents: &[&str]) -> Result<PairScores> {
            let score = |(index, text): (usize, &&str)| match *text {
                "bad" => Err(Error::new(ErrorKind::NonFinite, "bad").with_document(index)),
                text => Ok(PairScore::new(text.len() as f32, text.len() as f32)),
            };
            Ok(PairScores::new(documents.iter().enumerate().map(score).collect()))
        }
    }

    /// Embeds a text as a direction that turns with its number of "x", or fails on "worse".
    struct ByX;

    impl BiEncoder for ByX {
        fn name(&self) -> String {
            "by x".to_owned()
        }

        fn embed_query(&self, query: &str) -> Result<Vec<f32>> {
            let angle = query.matches('x').count() as f32 * 0.1;
            Ok(vec![angle.cos(), angle.sin()])
        }

        fn embed_documents(&self, documents: &[&str]) -> Result<Embeddings> {
            if let Some(index) = documents.iter().position(|text| *text == "worse") {
                return Err(Error::new(ErrorKind::NonFinite, "worse").with_document(index));
            }
            let rows = documents.iter().map(|text| self.embed_query(text)).collect::<Result<Vec<_>>>()?;
            Embeddings::from_rows(rows)
        }
    }

    fn order(ranking: &Ranking) -> Vec<usize> {
        ranking.iter().map(|result| result.index).collect()
    }

    #[test]
    fn both_orders_and_their_agreement() {
        // By similarity with "": "bad" and "worse" have no x; by length: the longest first.
        let case = Case::new("c", "", ["xx", "bad", "x", "worse", "xxxx"]);
        let comparison = compare(&ByLength, &ByX, &[case], false).unwrap();
        let compared = &comparison.cases[0];
        assert_eq!(order(&compared.embedding), [1, 2, 0, 4]);
        assert_eq!(order(&compared.reranker), [3, 4, 0, 2]);
        assert_eq!(compared.embedding.failures()[0].document(), Some(3));
        assert_eq!(compared.reranker.failures()[0].document(), Some(1));
        // Of the three that both could score the orders are opposite.
        assert_eq!(compared.agreement, Agreement { kendall_tau: Some(-1.0), same_top_1: Some(false) });
    }

    #[test]
    fn failed_documents_are_no_part_of_the_agreement() {
        // The bi-encoder's first document is one that the cross-encoder cannot score.
        let case = Case::new("c", "xxxxxxxxxxxxxxxx", ["bad", "xxxxxxxx", "x"]);
        let case = Case { query: "".to_owned(), documents: case.documents, name: case.name };
        let comparison =
            compare(&ByLength, &ByX, &[Case::new("c", "xxxxxxxx", ["x", "xxxxxxxx"]), case], false).unwrap();
        assert_eq!(comparison.cases[0].agreement.same_top_1, Some(true));
        assert_eq!(order(&comparison.cases[1].embedding), [0, 2, 1]);
        assert_eq!(comparison.cases[1].agreement, Agreement { kendall_tau: Some(-1.0), same_top_1: Some(false) });
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

    /// τ-b straight from its definition.
    fn slow_tau(scores: &[(f32, f32)]) -> Option<f64> {
        let (mut balance, mut untied_a, mut untied_b) = (0i64, 0i64, 0i64);
        for (i, x) in scores.iter().enumerate() {
            for y in &scores[i + 1..] {
                let a = x.0.partial_cmp(&y.0)? as i64;
                let b = x.1.partial_cmp(&y.1)? as i64;
                balance += a * b;
                untied_a += a.abs();
                untied_b += b.abs();
            }
        }
        let scale = (untied_a as f64 * untied_b as f64).sqrt();
        (scale > 0.0).then(|| balance as f64 / scale)
    }

    proptest! {
        #[test]
        fn tau_is_that_of_the_definition(scores in proptest::collection::vec((0u8..6, 0u8..6), 0..40)) {
            let scores: Vec<(f32, f32)> = scores.iter().map(|(a, b)| (f32::from(*a), f32::from(*b))).collect();
            match (kendall_tau(&scores), slow_tau(&scores)) {
                (Some(fast), Some(slow)) => prop_assert!((fast - slow).abs() < 1e-12),
                (fast, slow) => prop_assert_eq!(fast, slow),
            }
        }
    }
}

//! The ranking of first stage, bi-encoder and cross-encoder together.

use super::super::collection::{Candidate, fused};
use super::super::job::Tally;
use super::super::models::Cut;
use crossrank::{Embedder, Error, Reranker};

/// A query's documents by falling sum of their z-scores.
pub(super) struct Fused {
    /// The documents' indexes, and the sums. Ties keep the first stage's order.
    pub(super) results: Vec<(usize, f64)>,
    /// Why documents are missing among them.
    pub(super) reasons: Vec<String>,
    pub(super) tally: Tally,
}

/// Scores all documents by both models and adds what the first stage says.
pub(super) fn rank(
    reranker: &Reranker,
    embedder: &Embedder,
    query: &str,
    documents: &[Candidate<'_>],
) -> Result<Fused, Error> {
    let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
    let pairs = reranker.score(query, &texts)?;
    let (of_query, embeddings) = (embedder.embed_query(query)?, embedder.embed_documents(&texts)?);
    let tally = Tally {
        items: texts.len() as u64,
        cut_by_cross_encoder: Cut::of(&pairs.truncated),
        cut_by_bi_encoder: Cut::of(embeddings.truncated()),
        ..Tally::default()
    };
    let (mut known, mut reasons) = (Vec::new(), Vec::new());
    let (mut first_stage, mut similarities, mut logits) = (Vec::new(), Vec::new(), Vec::new());
    for (((index, document), similarity), pair) in
        documents.iter().enumerate().zip(embeddings.similarities(&of_query)).zip(pairs.scores)
    {
        let problem = match pair {
            Err(error) => error.chain(),
            Ok(_) if !similarity.is_finite() => "its similarity is not a finite number".to_owned(),
            Ok(pair) => {
                known.push(index);
                first_stage.push(document.score);
                similarities.push(f64::from(similarity));
                logits.push(f64::from(pair.logit));
                continue;
            }
        };
        reasons.push(format!("document {}: {problem}", document.id));
    }
    let mut results: Vec<(usize, f64)> = known.into_iter().zip(fused(&first_stage, &similarities, &logits)).collect();
    results.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Ok(Fused { results, reasons, tally })
}

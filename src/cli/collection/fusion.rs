//! First stage, bi-encoder and cross-encoder as one ranking.

use crossrank::z_scores;

/// The sum of the z-scores, within a query, of what the three say of its documents.
pub(in super::super) fn fused(first_stage: &[f64], similarities: &[f64], logits: &[f64]) -> Vec<f64> {
    let three = z_scores(first_stage).into_iter().zip(z_scores(similarities)).zip(z_scores(logits));
    three.map(|((first_stage, similarity), logit)| first_stage + similarity + logit).collect()
}

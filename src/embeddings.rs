//! Embeddings and their similarity.

use crate::error::{Error, ErrorKind, Result};
use crate::ranking::TruncatedDocument;

/// The embeddings of several texts: one row of [`dimensions`](Self::dimensions) numbers for each text, in order.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Embeddings {
    dimensions: usize,
    values: Vec<f32>,
    truncated: Vec<TruncatedDocument>,
}

impl Embeddings {
    /// Embeddings from rows of equal length, for [`BiEncoder`](crate::BiEncoder)s of your own.
    ///
    /// ```
    /// let embeddings = crossrank::Embeddings::from_rows([vec![1.0, 0.0], vec![0.6, 0.8]])?;
    /// assert_eq!((embeddings.len(), embeddings.dimensions()), (2, 2));
    /// # Ok::<(), crossrank::Error>(())
    /// ```
    pub fn from_rows(rows: impl IntoIterator<Item = Vec<f32>>) -> Result<Self> {
        let mut embeddings = Self::default();
        for row in rows {
            embeddings.push(&row)?;
        }
        Ok(embeddings)
    }

    pub(crate) fn push(&mut self, row: &[f32]) -> Result<()> {
        if self.values.is_empty() {
            self.dimensions = row.len();
        }
        if row.is_empty() || row.len() != self.dimensions {
            let message = format!(
                "embedding {} has {} dimensions, and the first has {}: all must have the same number, and one at least",
                self.len(),
                row.len(),
                self.dimensions
            );
            return Err(Error::new(ErrorKind::Options, message));
        }
        self.values.extend_from_slice(row);
        Ok(())
    }

    /// The same embeddings with a report of the texts that were cut.
    #[must_use]
    pub fn with_truncated(mut self, truncated: Vec<TruncatedDocument>) -> Self {
        self.truncated = truncated;
        self
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dimensions).unwrap_or(0)
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The length of each embedding; 0 when there are no texts.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The embedding of the text at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        self.iter().nth(index)
    }

    /// The embeddings, in the order of the texts.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dimensions.max(1))
    }

    /// All numbers, row after row: `len() × dimensions()`.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// The texts that were cut to fit the model; `dropped_query_tokens` is 0 for embeddings.
    pub fn truncated(&self) -> &[TruncatedDocument] {
        &self.truncated
    }

    /// The [`cosine_similarity`] of each embedding with `query`, in order.
    pub fn similarities(&self, query: &[f32]) -> Vec<f32> {
        self.iter().map(|embedding| cosine_similarity(query, embedding)).collect()
    }
}

/// The cosine of the angle between two vectors, from -1 to 1; 0 if one of them is all zeros.
///
/// Vectors of unequal length do not come from one model: their similarity is NaN.
///
/// ```
/// assert_eq!(crossrank::cosine_similarity(&[3.0, 4.0], &[4.0, 3.0]), 0.96);
/// ```
pub fn cosine_similarity(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::NAN;
    }
    // Sums in f64: the rounding error of hundreds of terms stays below the last digit of the f32 result.
    let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    let length = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let lengths = length(a) * length(b);
    if lengths == 0.0 { 0.0 } else { (dot / lengths) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_of_zeros_is_zero() {
        assert_eq!(cosine_similarity(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        assert_eq!(cosine_similarity(&[], &[]), 0.0);
        assert!(cosine_similarity(&[1.0], &[1.0, 0.0]).is_nan());
    }

    #[test]
    fn rows_must_agree() {
        assert!(Embeddings::from_rows([vec![1.0], vec![1.0, 2.0]]).is_err());
        let none = Embeddings::from_rows([]).unwrap();
        assert!(none.is_empty() && none.iter().next().is_none());
    }
}

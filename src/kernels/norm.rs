//! Layer normalisation (Ba et al. 2016) of rows, also of the sum of two: what follows each sublayer of a transformer.
//!
//! `y = (x − mean) / √(variance + ε) · scale + bias`, over each row.

use super::activation::fold;
use super::isa::Isa;

/// The constants of one normalisation.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    isa: Isa,
    scale: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// `scale` and `bias` have the width of a row.
    pub(crate) fn new(isa: Isa, scale: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        assert_eq!(scale.len(), bias.len());
        Self { isa, scale, bias, epsilon }
    }

    /// The numbers of a row.
    pub(crate) fn width(&self) -> usize {
        self.scale.len()
    }

    /// Normalises rows, or their sums with the rows of `residual`.
    pub(crate) fn run(&self, rows: &[f32], residual: Option<&[f32]>, out: &mut [f32]) {
        let width = self.width();
        assert!(rows.len() == out.len() && rows.len().is_multiple_of(width), "rows do not fit the normalisation");
        match residual {
            Some(residual) => {
                assert_eq!(rows.len(), residual.len());
                for ((out, row), residual) in out.iter_mut().zip(rows).zip(residual) {
                    *out = row + residual;
                }
            }
            None => out.copy_from_slice(rows),
        }
        for row in out.chunks_exact_mut(width) {
            match self.isa {
                Isa::Portable => self.row(row),
                // SAFETY: these instruction sets were detected.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni => unsafe { self.row_avx2(row) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Avx512Vnni => unsafe { self.row_avx512(row) },
                #[cfg(target_arch = "aarch64")]
                Isa::Neon | Isa::NeonDot => self.row(row),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn row_avx2(&self, row: &mut [f32]) {
        self.row(row);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn row_avx512(&self, row: &mut [f32]) {
        self.row(row);
    }

    #[inline(always)]
    fn row(&self, row: &mut [f32]) {
        let count = row.len() as f32;
        let mean = sum(row, |value| value) / count;
        let variance = sum(row, |value| (value - mean) * (value - mean)) / count;
        let factor = 1.0 / (variance + self.epsilon).sqrt();
        for ((value, scale), bias) in row.iter_mut().zip(&self.scale).zip(&self.bias) {
            *value = (*value - mean) * factor * scale + bias;
        }
    }
}

/// A sum in many parts: in one, each addition would wait for the last.
#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    const LANES: usize = 64;
    let mut sums = [0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += of(*value);
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += of(*value);
    }
    fold(sums, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_normalised(
            row in proptest::collection::vec(-50f32..50.0, 1..200), factor in 0.1f32..3.0, shift in -2f32..2.0,
        ) {
            let width = row.len();
            let residual: Vec<f32> = row.iter().rev().map(|value| value * 0.5 + 1.0).collect();
            let sum: Vec<f64> = row.iter().zip(&residual).map(|(a, b)| f64::from(a + b)).collect();
            let mean = sum.iter().sum::<f64>() / width as f64;
            let variance = sum.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / width as f64;
            for isa in Isa::available() {
                let norm = LayerNorm::new(isa, vec![factor; width], vec![shift; width], 1e-5);
                let mut out = vec![0.0; width];
                norm.run(&row, Some(&residual), &mut out);
                for (is, value) in out.iter().zip(&sum) {
                    let should = (value - mean) / (variance + 1e-5).sqrt() * f64::from(factor) + f64::from(shift);
                    prop_assert!((f64::from(*is) - should).abs() < 2e-3, "{} {}", is, should);
                }
            }
        }
    }
}

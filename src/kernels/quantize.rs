//! Rows of fp32 numbers → integers.
//!
//! The scale of a row follows from the row alone: its largest absolute value divided by the largest integer, or, where
//! integers have 8 bits, the range of its numbers divided evenly and counted from its middle, because what follows a GELU
//! is not symmetric around 0.

use super::activation::fold;
use super::isa::Isa;
use super::matrix::{Matrix, round};

/// What the integers of a row stand for: `integer · scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RowScale {
    pub(super) scale: f32,
    pub(super) offset: f32,
}

/// Rounds one row to integers up to `limit`, in 16-bit numbers, counted from 0 or from the middle of the row's range.
/// Numbers after the row's end become 0. A row with a number that is not finite gets NaN for its scale, so that what is
/// computed from it is NaN.
///
/// # Safety
///
/// The processor must have `matrix.isa`.
pub(super) unsafe fn row_i16(matrix: &Matrix, limit: f32, from_middle: bool, row: &[f32], out: &mut [i16]) -> RowScale {
    // SAFETY: as the caller promises.
    unsafe {
        match matrix.isa {
            Isa::Portable => generic(limit, from_middle, row, out, |value| value as i16),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::i16_avx2(limit, from_middle, row, out),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => x86::i16_avx512(limit, from_middle, row, out),
        }
    }
}

/// Rounds one row to 8-bit integers, and writes for each block where the sums with 8-bit columns start (see `matrix`).
///
/// # Safety
///
/// The processor must have `matrix.isa`.
pub(super) unsafe fn row_i8(matrix: &Matrix, limit: f32, row: &[f32], out: &mut [i8], starts: &mut [i32]) -> RowScale {
    let length = matrix.block_inputs();
    // SAFETY: as the caller promises.
    unsafe {
        match matrix.isa {
            Isa::Portable => i8_generic(limit, row, out, length, starts),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::i8_avx2(limit, row, out, length, starts),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => x86::i8_avx512(limit, row, out, length, starts),
        }
    }
}

/// The same source, compiled for each instruction set.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{RowScale, generic, i8_generic};

    macro_rules! compiled_for {
        ($features:literal, $of_i16:ident, $of_i8:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $of_i16(limit: f32, from_middle: bool, row: &[f32], out: &mut [i16]) -> RowScale {
                generic(limit, from_middle, row, out, |value| value as i16)
            }

            #[target_feature(enable = $features)]
            pub(super) fn $of_i8(
                limit: f32,
                row: &[f32],
                out: &mut [i8],
                length: usize,
                starts: &mut [i32],
            ) -> RowScale {
                i8_generic(limit, row, out, length, starts)
            }
        };
    }

    compiled_for!("avx2,fma", i16_avx2, i8_avx2);
    compiled_for!("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", i16_avx512, i8_avx512);
}

#[inline(always)]
fn i8_generic(limit: f32, row: &[f32], out: &mut [i8], length: usize, starts: &mut [i32]) -> RowScale {
    let scale = generic(limit, true, row, out, |value| value as i8);
    for (start, block) in starts.iter_mut().zip(out.chunks_exact(length)) {
        *start = -128 * block.iter().map(|value| i32::from(*value)).sum::<i32>();
    }
    scale
}

#[inline(always)]
fn generic<T: Copy + Default>(
    limit: f32,
    from_middle: bool,
    row: &[f32],
    out: &mut [T],
    narrow: impl Fn(i32) -> T,
) -> RowScale {
    let (least, most) = range(row);
    // Halves first: a difference of two finite numbers may not be finite.
    let (half, middle) = if from_middle {
        (most * 0.5 - least * 0.5, most * 0.5 + least * 0.5)
    } else if least.is_nan() {
        (f32::NAN, 0.0)
    } else {
        (if -least > most { -least } else { most }, 0.0)
    };
    let factor = if half > 0.0 { limit / half } else { 0.0 };
    let (head, tail) = out.split_at_mut(row.len());
    tail.fill(T::default());
    for (out, value) in head.iter_mut().zip(row) {
        *out = narrow(round((value - middle) * factor));
    }
    RowScale { scale: half / limit, offset: middle }
}

/// The least and the largest number; NaN for both if one is not finite.
#[inline(always)]
fn range(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 32;
    let (less, more) = (|a: f32, b: f32| if b < a { b } else { a }, |a: f32, b: f32| if b > a { b } else { a });
    let (mut least, mut most, mut spoilt) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0f32; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            least[lane] = less(least[lane], chunk[lane]);
            most[lane] = more(most[lane], chunk[lane]);
            // 0 for finite numbers, NaN for all others.
            spoilt[lane] += chunk[lane] * 0.0;
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        least[lane] = less(least[lane], *value);
        most[lane] = more(most[lane], *value);
        spoilt[lane] += value * 0.0;
    }
    let spoilt = fold(spoilt, |a, b| a + b);
    (fold(least, less) + spoilt, fold(most, more) + spoilt)
}

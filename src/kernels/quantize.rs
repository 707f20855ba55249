//! Rows of fp32 numbers → integers.
//!
//! - 16 bits: one scale for a row, its largest absolute value divided by the largest integer.
//! - 8 bits: for each block of a row, the range of its numbers is divided evenly, and integers are counted from its least
//!   number: what follows a GELU is not symmetric around 0, and a few large channels spoil their own block alone.
//!
//! A row's integers depend on nothing but the row.

use super::activation::fold;
use super::isa::Isa;
use super::matrix::round;

/// What the integers of one row stand for, for each block: `integer · scale + offset`.
pub(super) struct RowScales<'a> {
    pub(super) scales: &'a mut [f32],
    pub(super) offsets: &'a mut [f32],
}

/// How a row is rounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounding {
    /// The largest integer.
    pub(super) limit: f32,
    /// The inputs of a block.
    pub(super) block: usize,
    /// Whether each block has a range of its own, or the whole row one around 0.
    pub(super) by_block: bool,
}

/// Rounds one row to 16-bit integers. Numbers after the row's end become 0. What has a number that is not finite gets NaN
/// for its scale, so that what is computed from it is NaN.
///
/// # Safety
///
/// The processor must have `isa`.
pub(super) unsafe fn row_i16(isa: Isa, how: Rounding, row: &[f32], out: &mut [i16], of: &mut RowScales<'_>) {
    match isa {
        Isa::Portable => i16_generic(how, row, out, of),
        // SAFETY: as the caller promises.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => unsafe { x86::i16_avx2(how, row, out, of) },
        // SAFETY: as the caller promises.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { x86::i16_avx512(how, row, out, of) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot => i16_generic(how, row, out, of),
    }
}

/// Rounds one row to unsigned 8-bit integers.
///
/// # Safety
///
/// The processor must have `isa`.
pub(super) unsafe fn row_u8(isa: Isa, how: Rounding, row: &[f32], out: &mut [u8], of: &mut RowScales<'_>) {
    match isa {
        Isa::Portable => u8_generic(how, row, out, of),
        // SAFETY: as the caller promises.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => unsafe { x86::u8_avx2(how, row, out, of) },
        // SAFETY: as the caller promises.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { x86::u8_avx512(how, row, out, of) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => u8_generic(how, row, out, of),
        // 128 less, as a signed number: the highest bit changes.
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => generic(how, row, out, of, |value| value as u8 ^ isa.subtracts()),
    }
}

/// The same source, compiled for each instruction set.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Rounding, RowScales, i16_generic, u8_generic};

    macro_rules! compiled_for {
        ($features:literal, $of_i16:ident, $of_u8:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $of_i16(how: Rounding, row: &[f32], out: &mut [i16], of: &mut RowScales<'_>) {
                i16_generic(how, row, out, of);
            }

            #[target_feature(enable = $features)]
            pub(super) fn $of_u8(how: Rounding, row: &[f32], out: &mut [u8], of: &mut RowScales<'_>) {
                u8_generic(how, row, out, of);
            }
        };
    }

    compiled_for!("avx2,fma", i16_avx2, u8_avx2);
    compiled_for!("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", i16_avx512, u8_avx512);
}

#[inline(always)]
fn i16_generic(how: Rounding, row: &[f32], out: &mut [i16], of: &mut RowScales<'_>) {
    generic(how, row, out, of, |value| value as i16);
}

#[inline(always)]
fn u8_generic(how: Rounding, row: &[f32], out: &mut [u8], of: &mut RowScales<'_>) {
    generic(how, row, out, of, |value| value as u8);
}

#[inline(always)]
fn generic<T: Copy + Default>(
    how: Rounding,
    row: &[f32],
    out: &mut [T],
    of: &mut RowScales<'_>,
    narrow: impl Fn(i32) -> T,
) {
    let (head, tail) = out.split_at_mut(row.len());
    tail.fill(T::default());
    let spoilt = spoilt(row);
    if how.by_block {
        let blocks = row.chunks(how.block).zip(head.chunks_mut(how.block));
        for ((values, out), (scale, offset)) in blocks.zip(of.scales.iter_mut().zip(of.offsets.iter_mut())) {
            let (least, most) = range(values);
            // Where it is not finite, neither is the scale, nor what is computed from it.
            let extent = most - least + spoilt;
            let factor = if extent > 0.0 { how.limit / extent } else { 0.0 };
            (*scale, *offset) = (extent * (1.0 / how.limit), least);
            for (out, value) in out.iter_mut().zip(values) {
                *out = narrow(round((value - least) * factor));
            }
        }
    } else {
        let (least, most) = range(row);
        let largest = if -least > most { -least } else { most } + spoilt;
        let factor = if largest > 0.0 { how.limit / largest } else { 0.0 };
        of.scales.fill(largest / how.limit);
        of.offsets.fill(0.0);
        for (out, value) in head.iter_mut().zip(row) {
            *out = narrow(round(value * factor));
        }
    }
}

/// The least and the largest number. What is not finite is not looked for: see [`spoilt`].
#[inline(always)]
fn range(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 32;
    let (less, more) = (|a: f32, b: f32| if b < a { b } else { a }, |a: f32, b: f32| if b > a { b } else { a });
    let (mut least, mut most) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            least[lane] = less(least[lane], chunk[lane]);
            most[lane] = more(most[lane], chunk[lane]);
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        least[lane] = less(least[lane], *value);
        most[lane] = more(most[lane], *value);
    }
    (fold(least, less), fold(most, more))
}

/// 0 if all numbers are finite, and NaN otherwise.
#[inline(always)]
fn spoilt(values: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut sums = [0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += chunk[lane] * 0.0;
        }
    }
    rest.iter().zip(&mut sums).for_each(|(value, sum)| *sum += value * 0.0);
    fold(sums, |a, b| a + b)
}

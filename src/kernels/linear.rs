//! Products of rows with a constant matrix: y = GELU(x · W + b).

use std::cell::RefCell;
use std::ops::Range;
use std::ptr;

use super::aligned::Aligned;
use super::isa::Isa;
use super::matrix::{Matrix, Store, Tile, multiply, tiles};
use super::quantize::{self, Rounding, RowScales};
use super::team::in_parts;

/// In which numbers products are computed; sums across blocks, biases and everything else stay in fp32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// fp32.
    Float32,
    /// Integers of 13 bits for columns, and for rows of as many as their sums allow (13 to 16): hardly to be told from
    /// fp32.
    Int16,
    /// Integers of 8 bits for both, those of rows in the range of each block.
    Int8,
}

/// Inputs of a column that share a scale.
const BLOCK: usize = 128;

impl Arithmetic {
    /// The largest integer of a column, and the largest that a row may have. Both are multiples of 127 for columns, so that
    /// weights that were stored in 8 bits stay what they are.
    fn limits(self) -> (f32, i32) {
        match self {
            Arithmetic::Float32 => (f32::INFINITY, i32::MAX),
            Arithmetic::Int16 => (4_064.0, 32_767),
            Arithmetic::Int8 => (127.0, 255),
        }
    }

    /// How its numbers are stored. Where the processor has no exact product of bytes, they are multiplied in 16 bits, with
    /// the same results.
    fn store(self, isa: Isa) -> Store {
        match self {
            Arithmetic::Float32 => Store::F32,
            Arithmetic::Int16 => Store::I16,
            Arithmetic::Int8 if isa.multiplies_bytes() => Store::I8,
            Arithmetic::Int8 => Store::Mixed,
        }
    }
}

/// A constant matrix with its bias, ready to be multiplied with.
#[derive(Debug)]
pub(crate) struct Linear {
    matrix: Matrix,
    arithmetic: Arithmetic,
    /// The largest integer of a row.
    row_limit: f32,
    /// One for each column, and zeros up to a whole panel.
    bias: Vec<f32>,
    gelu: bool,
}

/// Rows whose integers are kept in the cache beside a panel of the matrix.
const CACHED_BYTES: usize = 256 << 10;

/// Row scales of fp32 rows.
const ONES: [f32; 16] = [1.0; 16];

/// Fewer products than this are not divided: it takes a few microseconds to run them.
const SMALLEST_PART: usize = 500_000;

/// Where the rows of a product lie, and where its results go.
#[derive(Debug, Clone, Copy)]
struct Operands {
    a: *const u8,
    a_stride: usize,
    row_scales: *const f32,
    row_offsets: Option<*const f32>,
    out: *mut f32,
}

// SAFETY: what it points to is read by all threads, but for `out`, of which each part writes its own columns; the thread
// that owns all of it waits for the others.
unsafe impl Sync for Operands {}

/// What a thread needs while it multiplies; kept for its next product.
struct Scratch {
    rows: Aligned,
    scales: Vec<f32>,
    offsets: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        rows: Aligned::zeroed(0),
        scales: Vec::new(),
        offsets: Vec::new(),
    });
}

impl Linear {
    /// Packs `weights`, `[inputs, columns]`.
    pub(crate) fn new(
        isa: Isa,
        arithmetic: Arithmetic,
        columns: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
        gelu: bool,
    ) -> Self {
        let matrix = match arithmetic {
            Arithmetic::Float32 => Matrix::floats(isa, columns, weights),
            Arithmetic::Int16 | Arithmetic::Int8 => {
                let (limit, _) = arithmetic.limits();
                Matrix::integers(arithmetic.store(isa), limit, BLOCK, isa, columns, weights)
            }
        };
        // No sum of a block may leave 32 bits: at worst each integer of a row is the largest.
        let row_limit = (i32::MAX / matrix.largest_sum.max(1)).min(arithmetic.limits().1) as f32;
        let mut padded = vec![0.0; matrix.panels() * isa.panel()];
        if let Some(bias) = bias {
            padded[..columns].copy_from_slice(&bias[..columns]);
        }
        Self { matrix, arithmetic, row_limit, bias: padded, gelu }
    }

    /// In which numbers its products are computed.
    #[cfg(test)]
    pub(crate) fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    pub(crate) fn inputs(&self) -> usize {
        self.matrix.inputs
    }

    pub(crate) fn columns(&self) -> usize {
        self.matrix.columns
    }

    /// Multiplies some of the rows (`[rows, inputs]`) and writes theirs of the results (`[rows, columns]`). The matrix is read
    /// once for as many of them as the cache holds, wherever they lie.
    pub(crate) fn run(&self, rows: &[f32], out: &mut [f32], some: impl IntoIterator<Item = Range<usize>>) {
        let (inputs, columns) = (self.inputs(), self.columns());
        let count = rows.len() / inputs;
        assert!(rows.len() == count * inputs && out.len() == count * columns, "rows and results do not fit the matrix");
        let stride = self.matrix.padded_inputs() * self.matrix.store.row_bytes();
        let most = (CACHED_BYTES / stride).max(self.matrix.isa.rows());
        SCRATCH.with_borrow_mut(|scratch| {
            let (mut chunk, mut taken): (Vec<Range<usize>>, usize) = (Vec::new(), 0);
            for mut part in some {
                assert!(part.end <= count, "there are no such rows");
                while !part.is_empty() {
                    let next = part.start..part.end.min(part.start + most - taken);
                    (part.start, taken) = (next.end, taken + next.len());
                    match chunk.last_mut().filter(|last| last.end == next.start) {
                        Some(last) => last.end = next.end,
                        None => chunk.push(next),
                    }
                    if taken == most {
                        self.run_chunk(scratch, rows, out, &chunk);
                        (chunk, taken) = (Vec::new(), 0);
                    }
                }
            }
            if taken > 0 {
                self.run_chunk(scratch, rows, out, &chunk);
            }
        });
    }

    fn run_chunk(&self, scratch: &mut Scratch, rows: &[f32], out: &mut [f32], chunk: &[Range<usize>]) {
        let Matrix { store, isa, inputs, .. } = self.matrix;
        let count: usize = chunk.iter().map(Range::len).sum();
        let (a, a_stride) = match store {
            Store::F32 => (rows.as_ptr().cast(), inputs * 4),
            _ => (self.quantize(scratch, rows, chunk), self.matrix.padded_inputs() * store.row_bytes()),
        };
        let operands = Operands {
            a,
            a_stride,
            row_scales: if store == Store::F32 { ONES.as_ptr() } else { scratch.scales.as_ptr() },
            row_offsets: (self.arithmetic == Arithmetic::Int8).then_some(scratch.offsets.as_ptr()),
            out: out.as_mut_ptr(),
        };
        // Panels of so few products are not worth a thread of their own.
        let grain = SMALLEST_PART.div_ceil(count * inputs * isa.panel());
        let operands = &operands;
        in_parts(self.matrix.panels(), grain, |index| {
            let mut before = 0;
            for part in chunk {
                for (first, height) in tiles(part.len(), isa.rows()) {
                    let row = part.start + first;
                    // Integers stand one after the other in the scratch memory, fp32 rows where they were given.
                    let first = if store == Store::F32 { row } else { before + first };
                    // SAFETY: `row` and `height` are within the rows, `index` is a panel, its columns of `out` are written
                    // by this part alone, and `isa` was detected.
                    unsafe { multiply(isa, store, height, &self.tile(*operands, first, row, index)) };
                }
                before += part.len();
            }
        });
    }

    /// The tile of the rows from `first` on with the columns of a panel; its results begin at `row`.
    ///
    /// # Safety
    ///
    /// `first` must be one of the rows that the operands point to, `row` one of the results, and `panel` one of the matrix.
    unsafe fn tile(&self, operands: Operands, first: usize, row: usize, panel: usize) -> Tile {
        let Matrix { store, isa, columns, blocks, groups, .. } = self.matrix;
        let (column_scales, column_sums, column_starts) = self.matrix.panel_scales(panel);
        let (width, of_first) = (isa.panel(), first * blocks);
        // SAFETY: as the caller promises, all offsets are within what they point into.
        unsafe {
            Tile {
                a: operands.a.add(first * operands.a_stride),
                a_stride: operands.a_stride,
                b: self.matrix.panel(panel),
                blocks,
                groups,
                row_scales: if store == Store::F32 { operands.row_scales } else { operands.row_scales.add(of_first) },
                row_offsets: operands.row_offsets.map_or(ptr::null(), |offsets| offsets.add(of_first)),
                column_scales,
                column_sums,
                column_starts,
                bias: self.bias.as_ptr().add(panel * width),
                gelu: self.gelu,
                out: operands.out.add(row * columns + panel * width),
                out_stride: columns,
                columns: width.min(columns - panel * width),
            }
        }
    }

    /// Writes the rows of a chunk as integers into the scratch memory and returns where they begin.
    fn quantize(&self, scratch: &mut Scratch, rows: &[f32], chunk: &[Range<usize>]) -> *const u8 {
        let Matrix { isa, inputs, blocks, store, .. } = self.matrix;
        let how = Rounding {
            limit: self.row_limit,
            block: self.matrix.block_inputs(),
            by_block: self.arithmetic == Arithmetic::Int8,
        };
        let padded = self.matrix.padded_inputs();
        let count: usize = chunk.iter().map(Range::len).sum();
        scratch.rows.grow(count * padded * store.row_bytes());
        scratch.scales.resize(count * blocks, 0.0);
        scratch.offsets.resize(count * blocks, 0.0);
        for (index, row) in chunk.iter().cloned().flatten().enumerate() {
            let row = &rows[row * inputs..][..inputs];
            let of_row = index * blocks..(index + 1) * blocks;
            let mut of =
                RowScales { scales: &mut scratch.scales[of_row.clone()], offsets: &mut scratch.offsets[of_row] };
            let numbers = index * padded..(index + 1) * padded;
            // SAFETY: the matrix was packed for this processor.
            unsafe {
                match store {
                    Store::I8 => quantize::row_u8(isa, how, row, &mut scratch.rows.as_mut_slice()[numbers], &mut of),
                    Store::F32 | Store::I16 | Store::Mixed => {
                        quantize::row_i16(isa, how, row, &mut scratch.rows.as_i16()[numbers], &mut of);
                    }
                }
            }
        }
        scratch.rows.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::activation;
    use proptest::prelude::*;
    use std::iter;

    /// A fixed sequence of numbers between -1 and 1.
    fn numbers(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    fn linear(isa: Isa, arithmetic: Arithmetic, k: usize, n: usize, gelu: bool) -> (Linear, Vec<f32>, Vec<f32>) {
        let (weights, bias) = (numbers(1, k * n), numbers(2, n));
        let linear = Linear::new(isa, arithmetic, n, &weights, Some(&bias), gelu);
        (linear, weights, bias)
    }

    fn run(linear: &Linear, rows: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; rows.len() / linear.inputs() * linear.columns()];
        linear.run(rows, &mut out, iter::once(0..rows.len() / linear.inputs()));
        out
    }

    const ALL: [Arithmetic; 3] = [Arithmetic::Float32, Arithmetic::Int16, Arithmetic::Int8];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Against the sum in double precision, within what the integers' steps allow.
        #[test]
        fn products_are_right(k in 1usize..300, n in 1usize..80, m in 1usize..30, gelu: bool) {
            let rows = numbers(3, m * k);
            for isa in Isa::available() {
                for arithmetic in ALL {
                    let (linear, weights, bias) = linear(isa, arithmetic, k, n, gelu);
                    let step = match arithmetic {
                        Arithmetic::Float32 => 1e-6,
                        Arithmetic::Int16 => 1.0 / 4_064.0,
                        Arithmetic::Int8 => 1.01 / 127.0,
                    };
                    for (i, value) in run(&linear, &rows).into_iter().enumerate() {
                        let (row, column) = (i / n, i % n);
                        let sum: f64 = (0..k).map(|j| f64::from(rows[row * k + j]) * f64::from(weights[j * n + column])).sum();
                        let should = sum as f32 + bias[column];
                        let should = if gelu { activation::gelu::<false>(should) } else { should };
                        // Rounding errors are independent: they add up like the root of their number.
                        let bound = step * (6.0 * (k as f32).sqrt() + 6.0);
                        prop_assert!((value - should).abs() <= bound, "{isa:?} {arithmetic:?} {value} {should} {bound}");
                    }
                }
            }
        }

        /// Some rows alone have the results that they have among all, and nothing else is written.
        #[test]
        fn some_rows_are_enough(k in 1usize..600, n in 1usize..40, chosen in proptest::collection::vec(any::<bool>(), 1..300)) {
            let rows = numbers(8, chosen.len() * k);
            let some = chosen.iter().enumerate().filter(|(_, is)| **is).map(|(row, _)| row..row + 1);
            for isa in Isa::available() {
                for arithmetic in ALL {
                    let (linear, ..) = linear(isa, arithmetic, k, n, false);
                    let all = run(&linear, &rows);
                    let mut out = vec![f32::NAN; all.len()];
                    linear.run(&rows, &mut out, some.clone());
                    for ((is, should), chosen) in out.chunks(n).zip(all.chunks(n)).zip(&chosen) {
                        let same = is.iter().zip(should).all(|(is, should)| is.to_bits() == should.to_bits());
                        prop_assert!(if *chosen { same } else { is.iter().all(|value| value.is_nan()) }, "{isa:?} {arithmetic:?}");
                    }
                }
            }
        }

        /// A row's result does not depend on the rows beside it.
        #[test]
        fn rows_are_independent(k in 1usize..200, n in 1usize..70, m in 2usize..40) {
            let rows = numbers(4, m * k);
            for isa in Isa::available() {
                for arithmetic in ALL {
                    let (linear, ..) = linear(isa, arithmetic, k, n, true);
                    let together = run(&linear, &rows);
                    for (row, result) in rows.chunks(k).zip(together.chunks(n)) {
                        let alone = run(&linear, row);
                        prop_assert!(alone.iter().zip(result).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?} {arithmetic:?}");
                    }
                }
            }
        }
    }

    /// Integer sums are exact: processors differ in the last bits of the fp32 steps around them alone.
    #[test]
    fn instruction_sets_agree() {
        let rows = numbers(5, 7 * 384);
        for arithmetic in ALL {
            let results: Vec<Vec<f32>> = Isa::available()
                .into_iter()
                .map(|isa| run(&linear(isa, arithmetic, 384, 100, false).0, &rows))
                .collect();
            for other in &results[1..] {
                for (a, b) in results[0].iter().zip(other) {
                    assert!((a - b).abs() < 2e-5, "{arithmetic:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_row_that_is_not_finite_spoils_itself_alone() {
        for isa in Isa::available() {
            for arithmetic in ALL {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let (linear, ..) = linear(isa, arithmetic, 130, 33, false);
                    let mut rows = numbers(6, 3 * 130);
                    let clean = run(&linear, &rows);
                    rows[130 + 70] = bad;
                    let spoilt = run(&linear, &rows);
                    assert!(spoilt[33..66].iter().all(|value| !value.is_finite()), "{isa:?} {arithmetic:?}");
                    assert_eq!(spoilt[..33], clean[..33]);
                    assert_eq!(spoilt[66..], clean[66..]);
                }
            }
        }
    }

    /// All integers at their largest: the sums reach 32 bits, and no further.
    #[test]
    fn sums_do_not_overflow() {
        for isa in Isa::available() {
            for arithmetic in ALL {
                for sign in [1.0, -1.0] {
                    let linear = Linear::new(isa, arithmetic, 1, &[0.7 * sign; 512], None, false);
                    for (value, scale) in [(3.0, 1.0), (-3.0, -1.0)] {
                        let mut row = vec![value; 512];
                        row[0] *= 1.01; // Otherwise the range is empty.
                        let should = 3.0 * 0.7 * 512.01 * sign * scale;
                        let is = run(&linear, &row)[0];
                        assert!((is - should).abs() < 0.01 * should.abs(), "{isa:?} {arithmetic:?} {is} {should}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_and_matrices_of_zeros_give_the_bias() {
        for isa in Isa::available() {
            for arithmetic in ALL {
                let (linear, _, bias) = linear(isa, arithmetic, 20, 5, false);
                assert_eq!(run(&linear, &[0.0; 20]), bias);
                let zero = Linear::new(isa, arithmetic, 5, &[0.0; 100], None, false);
                assert_eq!(run(&zero, &numbers(7, 40)), [0.0; 10]);
            }
        }
    }
}

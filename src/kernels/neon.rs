//! The kernels for 64-bit ARM: one tile of a product, all sums in registers.
//!
//! Instructions multiply a vector of columns by one lane of another vector, so a row's numbers are loaded 16 bytes at a
//! time, which is four groups. With 8 rows and two vectors of columns, sums and rows' numbers take 24 of the 32 registers.
//! In 16 bits, a sum takes two vectors, and 4 rows are computed at once.
//!
//! Products of bytes are those of two signed numbers, so what counts from 0 to 255 is stored as 128 less, and sums start at
//! 128 times the sum of their column: the results are those of other processors to the bit.

#![allow(unsafe_op_in_unsafe_fn)] // Every line of these functions is one.

use std::arch::aarch64::*;

use super::activation;
use super::matrix::{Store, Tile};

/// Columns of a panel.
const PANEL: usize = 8;
/// Rows of a tile of 16-bit numbers.
const WIDE_ROWS: usize = 4;

/// # Safety
///
/// That of [`super::matrix::multiply`].
pub(super) unsafe fn multiply(store: Store, rows: usize, tile: &Tile) {
    match store {
        Store::F32 => with_rows!(rows, f32_tile, tile, 1 2 3 4 5 6 7 8),
        Store::I8 => with_rows!(rows, i8_tile, tile, 1 2 3 4 5 6 7 8),
        Store::I16 => wide::<false>(rows, tile),
        Store::Mixed => wide::<true>(rows, tile),
    }
}

/// Rows in 16 bits; columns too, or, as bytes, widened.
unsafe fn wide<const BYTES: bool>(rows: usize, tile: &Tile) {
    let first = rows.min(WIDE_ROWS);
    wide_rows::<BYTES>(first, tile);
    if rows > first {
        let of_block = first * tile.blocks;
        let rest = Tile {
            a: tile.a.add(first * tile.a_stride),
            row_scales: tile.row_scales.add(of_block),
            row_offsets: if tile.row_offsets.is_null() { tile.row_offsets } else { tile.row_offsets.add(of_block) },
            out: tile.out.add(first * tile.out_stride),
            ..*tile
        };
        wide_rows::<BYTES>(rows - first, &rest);
    }
}

unsafe fn wide_rows<const BYTES: bool>(rows: usize, tile: &Tile) {
    match rows {
        1 => wide_tile::<BYTES, 1>(tile),
        2 => wide_tile::<BYTES, 2>(tile),
        3 => wide_tile::<BYTES, 3>(tile),
        4 => wide_tile::<BYTES, 4>(tile),
        rows => unreachable!("a tile of {rows} rows"),
    }
}

unsafe fn f32_tile<const ROWS: usize>(tile: &Tile) {
    let mut sums = [[vdupq_n_f32(0.0); 2]; ROWS];
    let (mut a, mut b, mut left) = (tile.a, tile.b.cast::<f32>(), tile.groups);
    while left >= 4 {
        let mut rows = [vdupq_n_f32(0.0); ROWS];
        unrolled!(ROWS, row, { rows[row] = vld1q_f32(a.add(row * tile.a_stride).cast()) });
        macro_rules! group {
            ($lane:literal) => {
                let columns = [vld1q_f32(b.add($lane * PANEL)), vld1q_f32(b.add($lane * PANEL + 4))];
                unrolled!(ROWS, row, {
                    sums[row][0] = vfmaq_laneq_f32::<$lane>(sums[row][0], columns[0], rows[row]);
                    sums[row][1] = vfmaq_laneq_f32::<$lane>(sums[row][1], columns[1], rows[row]);
                });
            };
        }
        group!(0);
        group!(1);
        group!(2);
        group!(3);
        (a, b, left) = (a.add(16), b.add(4 * PANEL), left - 4);
    }
    while left > 0 {
        let columns = [vld1q_f32(b), vld1q_f32(b.add(4))];
        unrolled!(ROWS, row, {
            let value = a.add(row * tile.a_stride).cast::<f32>().read_unaligned();
            sums[row] = [vfmaq_n_f32(sums[row][0], columns[0], value), vfmaq_n_f32(sums[row][1], columns[1], value)];
        });
        (a, b, left) = (a.add(4), b.add(PANEL), left - 1);
    }
    let bias = [vld1q_f32(tile.bias), vld1q_f32(tile.bias.add(4))];
    unrolled!(ROWS, row, {
        let scale = *tile.row_scales.add(row);
        write(tile, row, [vfmaq_n_f32(bias[0], sums[row][0], scale), vfmaq_n_f32(bias[1], sums[row][1], scale)]);
    });
}

#[target_feature(enable = "dotprod")]
unsafe fn i8_tile<const ROWS: usize>(tile: &Tile) {
    let mut total = [[vld1q_f32(tile.bias), vld1q_f32(tile.bias.add(4))]; ROWS];
    let (mut a, mut b) = (tile.a, tile.b);
    for block in 0..tile.blocks {
        let starts = tile.column_starts.add(block * PANEL);
        let mut sums = [[vld1q_s32(starts), vld1q_s32(starts.add(4))]; ROWS];
        let mut left = tile.groups;
        while left >= 4 {
            let mut rows = [vdupq_n_u8(0); ROWS];
            unrolled!(ROWS, row, { rows[row] = vld1q_u8(a.add(row * tile.a_stride)) });
            macro_rules! group {
                ($lane:literal) => {
                    let columns = [vld1q_u8(b.add($lane * 4 * PANEL)), vld1q_u8(b.add($lane * 4 * PANEL + 16))];
                    unrolled!(ROWS, row, {
                        sums[row][0] = dot::<$lane>(sums[row][0], columns[0], rows[row]);
                        sums[row][1] = dot::<$lane>(sums[row][1], columns[1], rows[row]);
                    });
                };
            }
            group!(0);
            group!(1);
            group!(2);
            group!(3);
            (a, b, left) = (a.add(16), b.add(16 * PANEL), left - 4);
        }
        while left > 0 {
            let columns = [vld1q_u8(b), vld1q_u8(b.add(16))];
            unrolled!(ROWS, row, {
                let value = vdupq_n_u32(a.add(row * tile.a_stride).cast::<u32>().read_unaligned());
                let value = vreinterpretq_u8_u32(value);
                sums[row] = [dot::<0>(sums[row][0], columns[0], value), dot::<0>(sums[row][1], columns[1], value)];
            });
            (a, b, left) = (a.add(4), b.add(4 * PANEL), left - 1);
        }
        add_block(tile, block, &mut total, sums);
    }
    unrolled!(ROWS, row, { write(tile, row, total[row]) });
}

/// Four products of signed bytes, added: those of each four of `columns` with the four of a lane of `row`.
#[target_feature(enable = "dotprod")]
#[inline]
unsafe fn dot<const LANE: usize>(sum: int32x4_t, columns: uint8x16_t, row: uint8x16_t) -> int32x4_t {
    let mut sum = sum;
    std::arch::asm!(
        "sdot {sum:v}.4s, {columns:v}.16b, {row:v}.4b[{lane}]",
        sum = inout(vreg) sum, columns = in(vreg) columns, row = in(vreg) row, lane = const LANE,
        options(pure, nomem, nostack, preserves_flags),
    );
    sum
}

unsafe fn wide_tile<const BYTES: bool, const ROWS: usize>(tile: &Tile) {
    let mut total = [[vld1q_f32(tile.bias), vld1q_f32(tile.bias.add(4))]; ROWS];
    let (mut a, mut b) = (tile.a, tile.b);
    let step = 2 * PANEL * if BYTES { 1 } else { 2 };
    for block in 0..tile.blocks {
        // Of each vector of four columns: the products of two, then of the other two, those of a pair of inputs apart.
        let mut halves = [[vdupq_n_s32(0); 4]; ROWS];
        for _ in 0..tile.groups {
            let columns = if BYTES {
                let bytes = vld1q_s8(b.cast());
                [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)]
            } else {
                [vld1q_s16(b.cast()), vld1q_s16(b.cast::<i16>().add(PANEL))]
            };
            unrolled!(ROWS, row, {
                let pair = vdupq_n_s32(a.add(row * tile.a_stride).cast::<i32>().read_unaligned());
                let pair = vreinterpretq_s16_s32(pair);
                let sums = &mut halves[row];
                sums[0] = vmlal_s16(sums[0], vget_low_s16(columns[0]), vget_low_s16(pair));
                sums[1] = vmlal_high_s16(sums[1], columns[0], pair);
                sums[2] = vmlal_s16(sums[2], vget_low_s16(columns[1]), vget_low_s16(pair));
                sums[3] = vmlal_high_s16(sums[3], columns[1], pair);
            });
            (a, b) = (a.add(4), b.add(step));
        }
        let mut sums = [[vdupq_n_s32(0); 2]; ROWS];
        unrolled!(ROWS, row, {
            let [first, second, third, fourth] = halves[row];
            sums[row] = [vpaddq_s32(first, second), vpaddq_s32(third, fourth)];
        });
        add_block(tile, block, &mut total, sums);
    }
    unrolled!(ROWS, row, { write(tile, row, total[row]) });
}

/// Adds what the integer sums of a block stand for.
#[inline(always)]
unsafe fn add_block<const ROWS: usize>(
    tile: &Tile,
    block: usize,
    total: &mut [[float32x4_t; 2]; ROWS],
    sums: [[int32x4_t; 2]; ROWS],
) {
    let (scales, column_sums) = (tile.column_scales.add(block * PANEL), tile.column_sums.add(block * PANEL));
    for half in 0..2 {
        let (scales, column_sums) = (vld1q_f32(scales.add(4 * half)), vld1q_f32(column_sums.add(4 * half)));
        unrolled!(ROWS, row, {
            let of_block = row * tile.blocks + block;
            let scale = vmulq_n_f32(scales, *tile.row_scales.add(of_block));
            let mut new = vfmaq_f32(total[row][half], vcvtq_f32_s32(sums[row][half]), scale);
            if !tile.row_offsets.is_null() {
                new = vfmaq_n_f32(new, column_sums, *tile.row_offsets.add(of_block));
            }
            total[row][half] = new;
        });
    }
}

/// Writes a row of results, through GELU where the tile wants it.
#[inline(always)]
unsafe fn write(tile: &Tile, row: usize, values: [float32x4_t; 2]) {
    let out = tile.out.add(row * tile.out_stride);
    if tile.columns == PANEL && !tile.gelu {
        vst1q_f32(out, values[0]);
        vst1q_f32(out.add(4), values[1]);
        return;
    }
    let mut all = [0f32; PANEL];
    vst1q_f32(all.as_mut_ptr(), values[0]);
    vst1q_f32(all.as_mut_ptr().add(4), values[1]);
    if tile.gelu {
        for value in &mut all {
            *value = activation::gelu::<true>(*value);
        }
    }
    std::ptr::copy_nonoverlapping(all.as_ptr(), out, tile.columns);
}

//! The kernels in plain Rust: for processors without one of the others, and the measure for those.

use super::activation;
use super::matrix::{Store, Tile};

/// Columns of a panel.
const PANEL: usize = 16;

/// # Safety
///
/// That of [`super::matrix::multiply`].
pub(super) unsafe fn multiply(store: Store, rows: usize, tile: &Tile) {
    for row in 0..rows {
        let mut total = [0f32; PANEL];
        // SAFETY: the caller's pointers reach as far as the tile says.
        unsafe {
            match store {
                Store::F32 => row_f32(tile, row, &mut total),
                Store::I16 => row_integers::<i16, i16>(tile, row, &mut total),
                Store::I8 => row_integers::<u8, i8>(tile, row, &mut total),
                Store::Mixed => row_integers::<i16, i8>(tile, row, &mut total),
            }
            for (column, value) in total.iter().enumerate().take(tile.columns) {
                let value = value + *tile.bias.add(column);
                let value = if tile.gelu { activation::gelu::<false>(value) } else { value };
                *tile.out.add(row * tile.out_stride + column) = value;
            }
        }
    }
}

unsafe fn row_f32(tile: &Tile, row: usize, total: &mut [f32; PANEL]) {
    // SAFETY: see `multiply`.
    unsafe {
        let a = tile.a.add(row * tile.a_stride).cast::<f32>();
        let b = tile.b.cast::<f32>();
        for k in 0..tile.groups {
            let value = *a.add(k);
            for (column, sum) in total.iter_mut().enumerate() {
                *sum += value * *b.add(k * PANEL + column);
            }
        }
        let scale = *tile.row_scales.add(row);
        for sum in total {
            *sum *= scale;
        }
    }
}

unsafe fn row_integers<A: Copy + Into<i32>, B: Copy + Into<i32>>(tile: &Tile, row: usize, total: &mut [f32; PANEL]) {
    let per_group = 4 / size_of::<A>();
    // SAFETY: see `multiply`.
    unsafe {
        let a = tile.a.add(row * tile.a_stride).cast::<A>();
        let b = tile.b.cast::<B>();
        for block in 0..tile.blocks {
            let of_block = row * tile.blocks + block;
            let mut sums = [0i32; PANEL];
            for group in block * tile.groups..(block + 1) * tile.groups {
                for within in 0..per_group {
                    let value: i32 = (*a.add(group * per_group + within)).into();
                    for (column, sum) in sums.iter_mut().enumerate() {
                        let weight: i32 = (*b.add((group * PANEL + column) * per_group + within)).into();
                        *sum += value * weight;
                    }
                }
            }
            let scale = *tile.row_scales.add(of_block);
            let offset = if tile.row_offsets.is_null() { 0.0 } else { *tile.row_offsets.add(of_block) };
            for (column, sum) in sums.iter().enumerate() {
                let of_column = block * PANEL + column;
                total[column] += *sum as f32 * (scale * *tile.column_scales.add(of_column));
                total[column] += offset * *tile.column_sums.add(of_column);
            }
        }
    }
}

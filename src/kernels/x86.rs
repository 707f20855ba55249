//! The kernels for x86-64: one tile of a product, all sums in registers.
//!
//! For each group of inputs, a kernel loads the two vectors of columns and multiplies them with four bytes of each row.
//! With 12 rows (AVX-512) or 6 (AVX2) and two vectors, the sums take 24 or 12 of the 32 or 16 registers: enough
//! independent sums to hide the latency of the multiplication, and few enough loads for it.

#![allow(unsafe_op_in_unsafe_fn)] // Every line of these functions is one.

use super::matrix::{Store, Tile};

/// Calls a kernel with the number of rows as a constant, which keeps its sums in registers.
macro_rules! with_rows {
    ($rows:expr, $kernel:ident, $tile:expr, $($n:literal)*) => {
        match $rows {
            $($n => $kernel::<$n>($tile),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

/// Writes the kernels of one instruction set. `$vector` and `$integers` are its vectors of floats and of 32-bit integers;
/// the rest are its instructions, by what they do.
macro_rules! kernels {
    (
        features: $features:literal, lanes: $lanes:literal, rows: [$($n:literal)*],
        vector: $vector:ty, integers: $integers:ty,
        zero: $zero:ident, load: $load:ident, store: $store:ident, splat: $splat:ident, fma: $fma:ident, mul: $mul:ident,
        load_integers: $load_integers:ident, splat_integer: $splat_integer:ident, to_floats: $to_floats:ident,
        kinds: { $($name:ident: $dot:ident),* }
    ) => {
        /// # Safety
        ///
        /// That of [`super::super::matrix::multiply`].
        #[target_feature(enable = $features)]
        unsafe fn f32_tile<const ROWS: usize>(tile: &Tile) {
            let mut sums = [[$zero(); 2]; ROWS];
            let (mut a, mut b) = (tile.a, tile.b.cast::<f32>());
            for _ in 0..tile.groups {
                let columns = [$load(b), $load(b.add($lanes))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let value = $splat(a.add(row * tile.a_stride).cast::<f32>().read_unaligned());
                    sums[0] = $fma(value, columns[0], sums[0]);
                    sums[1] = $fma(value, columns[1], sums[1]);
                }
                a = a.add(4);
                b = b.add(2 * $lanes);
            }
            let bias = [$load(tile.bias), $load(tile.bias.add($lanes))];
            for (row, sums) in sums.iter().enumerate() {
                let scale = $splat(*tile.row_scales.add(row));
                write(tile, row, [$fma(sums[0], scale, bias[0]), $fma(sums[1], scale, bias[1])]);
            }
        }

        $(
            /// # Safety
            ///
            /// That of [`super::super::matrix::multiply`].
            #[target_feature(enable = $features)]
            unsafe fn $name<const ROWS: usize>(tile: &Tile) {
                let bias = [$load(tile.bias), $load(tile.bias.add($lanes))];
                let mut total = [bias; ROWS];
                let (mut a, mut b) = (tile.a, tile.b);
                for block in 0..tile.blocks {
                    let mut sums = [[$splat_integer(0); 2]; ROWS];
                    if !tile.row_starts.is_null() {
                        for (row, sums) in sums.iter_mut().enumerate() {
                            *sums = [$splat_integer(*tile.row_starts.add(row * tile.blocks + block)); 2];
                        }
                    }
                    for _ in 0..tile.groups {
                        let columns = [$load_integers(b.cast()), $load_integers(b.add(4 * $lanes).cast())];
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let value = $splat_integer(a.add(row * tile.a_stride).cast::<i32>().read_unaligned());
                            sums[0] = $dot(sums[0], columns[0], value);
                            sums[1] = $dot(sums[1], columns[1], value);
                        }
                        a = a.add(4);
                        b = b.add(8 * $lanes);
                    }
                    let scales = tile.column_scales.add(block * 2 * $lanes);
                    let scales = [$load(scales), $load(scales.add($lanes))];
                    for (row, (total, sums)) in total.iter_mut().zip(&sums).enumerate() {
                        let scale = $splat(*tile.row_scales.add(row * tile.blocks + block));
                        total[0] = $fma($to_floats(sums[0]), $mul(scale, scales[0]), total[0]);
                        total[1] = $fma($to_floats(sums[1]), $mul(scale, scales[1]), total[1]);
                    }
                    if !tile.row_offsets.is_null() {
                        let sums = tile.column_sums.add(block * 2 * $lanes);
                        let sums = [$load(sums), $load(sums.add($lanes))];
                        for (row, total) in total.iter_mut().enumerate() {
                            let offset = $splat(*tile.row_offsets.add(row * tile.blocks + block));
                            total[0] = $fma(offset, sums[0], total[0]);
                            total[1] = $fma(offset, sums[1], total[1]);
                        }
                    }
                }
                for (row, total) in total.iter().enumerate() {
                    write(tile, row, *total);
                }
            }
        )*

        /// Writes a row of results, through GELU where the tile wants it.
        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn write(tile: &Tile, row: usize, values: [$vector; 2]) {
            let out = tile.out.add(row * tile.out_stride);
            if tile.columns == 2 * $lanes && !tile.gelu {
                $store(out, values[0]);
                $store(out.add($lanes), values[1]);
                return;
            }
            let mut all = [0f32; 2 * $lanes];
            $store(all.as_mut_ptr(), values[0]);
            $store(all.as_mut_ptr().add($lanes), values[1]);
            if tile.gelu {
                for value in &mut all {
                    *value = activation::gelu::<true>(*value);
                }
            }
            if tile.columns == 2 * $lanes {
                std::ptr::copy_nonoverlapping(all.as_ptr(), out, 2 * $lanes);
            } else {
                std::ptr::copy_nonoverlapping(all.as_ptr(), out, tile.columns);
            }
        }

        /// # Safety
        ///
        /// That of [`super::super::matrix::multiply`].
        #[target_feature(enable = $features)]
        pub(in crate::kernels) unsafe fn multiply(store: Store, rows: usize, tile: &Tile) {
            match store {
                Store::F32 => with_rows!(rows, f32_tile, tile, $($n)*),
                Store::I16 => with_rows!(rows, i16_tile, tile, $($n)*),
                Store::I8 => i8_rows(rows, tile),
            }
        }
    };
}

/// 16 numbers at once.
pub(super) mod avx512 {
    use std::arch::x86_64::*;

    use super::{Store, Tile};
    use crate::kernels::activation;

    kernels! {
        features: "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma", lanes: 16, rows: [1 2 3 4 5 6 7 8 9 10 11 12],
        vector: __m512, integers: __m512i,
        zero: _mm512_setzero_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps, splat: _mm512_set1_ps,
        fma: _mm512_fmadd_ps, mul: _mm512_mul_ps,
        load_integers: _mm512_loadu_si512, splat_integer: _mm512_set1_epi32, to_floats: _mm512_cvtepi32_ps,
        // Two products of 16 bits, or four of unsigned columns with signed rows of 8 bits, are added to each sum.
        kinds: { i16_tile: add_products, i8_tile: _mm512_dpbusd_epi32 }
    }

    /// `_mm512_dpwssd_epi32`: LLVM takes the intrinsic apart into a multiplication and an addition, at half the speed.
    #[target_feature(enable = "avx512f,avx512vnni")]
    #[inline]
    fn add_products(sums: __m512i, columns: __m512i, value: __m512i) -> __m512i {
        let mut sums = sums;
        // SAFETY: the instruction touches nothing but these registers, and the caller has it.
        unsafe {
            std::arch::asm!(
                "vpdpwssd {sums}, {columns}, {value}",
                sums = inout(zmm_reg) sums, columns = in(zmm_reg) columns, value = in(zmm_reg) value,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
    unsafe fn i8_rows(rows: usize, tile: &Tile) {
        with_rows!(rows, i8_tile, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// 8 numbers at once.
pub(super) mod avx2 {
    use std::arch::x86_64::*;

    use super::{Store, Tile};
    use crate::kernels::activation;

    kernels! {
        features: "avx2,fma", lanes: 8, rows: [1 2 3 4 5 6],
        vector: __m256, integers: __m256i,
        zero: _mm256_setzero_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps, splat: _mm256_set1_ps,
        fma: _mm256_fmadd_ps, mul: _mm256_mul_ps,
        load_integers: load_integers, splat_integer: _mm256_set1_epi32, to_floats: _mm256_cvtepi32_ps,
        kinds: { i16_tile: add_products }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn load_integers(from: *const i32) -> __m256i {
        _mm256_loadu_si256(from.cast())
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add_products(sums: __m256i, columns: __m256i, value: __m256i) -> __m256i {
        _mm256_add_epi32(sums, _mm256_madd_epi16(columns, value))
    }

    /// AVX2 has no exact product of bytes: 8-bit numbers are stored in 16 bits for it (`Arithmetic::store`).
    unsafe fn i8_rows(_: usize, _: &Tile) {
        unreachable!("bytes are not stored for AVX2")
    }
}

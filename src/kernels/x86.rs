//! The kernels for x86-64: one tile of a product, all sums in registers.
//!
//! For each group of inputs, a kernel loads the two vectors of columns and multiplies them with four bytes of each row.
//! With 12 rows (AVX-512) or 6 (AVX2, AVX-VNNI) and two vectors, the sums take 24 or 12 of the 32 or 16 registers: enough
//! independent sums to hide the latency of the multiplication, and few enough loads for it.
//!
//! With AVX-512 and with VNNI, a row's step is written in assembly. The compiler would load the numbers of all rows ahead,
//! for which there are no registers, and computes an address for each; here they are one pointer and a multiple of the
//! distance between rows, as the processor's addressing has it.

#![allow(unsafe_op_in_unsafe_fn)] // Every line of these functions is one.

use super::matrix::{Store, Tile};

/// Runs `$add::<SCALE>(sums, columns, a, index)` for each row: it lies at `a + index * SCALE`. `$odd` are the distances of
/// the rows 1, 3, 5, 7, 9 and 11.
macro_rules! each_row {
    ($add:ident, $rows:ident, $sums:ident, $columns:expr, $a:expr, $odd:ident) => {
        each_row!(@ $add, $rows, $sums, $columns, $a, $odd,
            0: 0 1, 1: 0 1, 2: 0 2, 3: 1 1, 4: 0 4, 5: 2 1, 6: 1 2, 7: 3 1, 8: 0 8, 9: 4 1, 10: 2 2, 11: 5 1)
    };
    (@ $add:ident, $rows:ident, $sums:ident, $columns:expr, $a:expr, $odd:ident, $($row:literal: $index:literal $scale:literal),*) => {
        let (columns, a) = ($columns, $a);
        $(if $rows > $row {
            $add::<$scale>(&mut $sums[$row], columns, a, if $row == 0 { 0 } else { $odd[$index] });
        })*
    };
}

/// Adds the products of `tile.groups` groups to the sums and moves `$a` and `$b` behind them; as many groups a turn as
/// there are numbers in brackets. `$bytes` is what `$load` loads.
macro_rules! add_groups {
    ($rows:ident, $add:ident, $load:ident, $bytes:expr, [$($group:literal)*], $sums:ident, $tile:ident, $a:ident, $b:ident) => {
        const GROUPS: usize = [$($group),*].len();
        let odd = [1, 3, 5, 7, 9, 11].map(|row| row * $tile.a_stride);
        let mut left = $tile.groups;
        while left >= GROUPS {
            $(add_groups!(@ $rows, $add, $load, $bytes, $sums, odd, $a, $b, $group);)*
            $a = $a.add(4 * GROUPS);
            $b = $b.add(2 * $bytes * GROUPS);
            left -= GROUPS;
        }
        while left > 0 {
            add_groups!(@ $rows, $add, $load, $bytes, $sums, odd, $a, $b, 0);
            $a = $a.add(4);
            $b = $b.add(2 * $bytes);
            left -= 1;
        }
    };
    (@ $rows:ident, $add:ident, $load:ident, $bytes:expr, $sums:ident, $odd:ident, $a:ident, $b:ident, $group:literal) => {
        let columns = $b.add(2 * $bytes * $group);
        let columns = [$load(columns.cast()), $load(columns.add($bytes).cast())];
        each_row!($add, $rows, $sums, columns, $a.add(4 * $group), $odd);
    };
}

/// Writes the kernels of one instruction set. `$vector` and `$integers` are its vectors of floats and of 32-bit integers;
/// the rest are its instructions, by what they do.
macro_rules! kernels {
    (
        features: $features:literal, lanes: $lanes:literal, rows: [$($n:literal)*],
        vector: $vector:ty, integers: $integers:ty,
        zero: $zero:ident, load: $load:ident, store: $store:ident, splat: $splat:ident, fma: $fma:ident, mul: $mul:ident,
        splat_integer: $splat_integer:ident, to_floats: $to_floats:ident,
        turn: $turn:tt, add_f32: $add_f32:ident, kinds: { $($name:ident: $add:ident, $load_integers:ident, $bytes:literal;)* }
    ) => {
        /// # Safety
        ///
        /// That of [`super::super::matrix::multiply`].
        #[target_feature(enable = $features)]
        unsafe fn f32_tile<const ROWS: usize>(tile: &Tile) {
            let mut sums = [[$zero(); 2]; ROWS];
            let (mut a, mut b) = (tile.a, tile.b);
            add_groups!(ROWS, $add_f32, $load, 4 * $lanes, $turn, sums, tile, a, b);
            let bias = [$load(tile.bias), $load(tile.bias.add($lanes))];
            unrolled!(ROWS, row, {
                let scale = $splat(*tile.row_scales.add(row));
                write(tile, row, [$fma(sums[row][0], scale, bias[0]), $fma(sums[row][1], scale, bias[1])]);
            });
        }

        $(
            /// # Safety
            ///
            /// That of [`super::super::matrix::multiply`].
            #[target_feature(enable = $features)]
            unsafe fn $name<const ROWS: usize>(tile: &Tile) {
                let bias = [$load(tile.bias), $load(tile.bias.add($lanes))];
                // There are no registers for sums of both kinds. The black box keeps the compiler from trying: it would
                // move all of them to and fro around each block.
                let mut total = [bias; ROWS];
                let total = black_box(&mut total);
                let (mut a, mut b) = (tile.a, tile.b);
                for block in 0..tile.blocks {
                    let mut sums = [[$splat_integer(0); 2]; ROWS];
                    add_groups!(ROWS, $add, $load_integers, $bytes, $turn, sums, tile, a, b);
                    let scales = tile.column_scales.add(block * 2 * $lanes);
                    let scales = [$load(scales), $load(scales.add($lanes))];
                    let column_sums = tile.column_sums.add(block * 2 * $lanes);
                    let column_sums = [$load(column_sums), $load(column_sums.add($lanes))];
                    unrolled!(ROWS, row, {
                        let scale = $splat(*tile.row_scales.add(row * tile.blocks + block));
                        let (first, second) = ($to_floats(sums[row][0]), $to_floats(sums[row][1]));
                        let mut new = [
                            $fma(first, $mul(scale, scales[0]), total[row][0]),
                            $fma(second, $mul(scale, scales[1]), total[row][1]),
                        ];
                        if !tile.row_offsets.is_null() {
                            let offset = $splat(*tile.row_offsets.add(row * tile.blocks + block));
                            new = [$fma(offset, column_sums[0], new[0]), $fma(offset, column_sums[1], new[1])];
                        }
                        total[row] = new;
                    });
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
                Store::I8 | Store::Mixed => bytes(store, rows, tile),
            }
        }
    };
}

/// Writes a function that adds the products of a row's four bytes at `a + index * SCALE` with two vectors of columns.
macro_rules! add_row {
    ($public:vis $name:ident, $features:literal, $vector:ty, $register:ident, $broadcast:literal, $add:literal) => {
        #[target_feature(enable = $features)]
        #[inline]
        $public unsafe fn $name<const SCALE: usize>(sums: &mut [$vector; 2], columns: [$vector; 2], a: *const u8, index: usize) {
            let [mut first, mut second] = *sums;
            let _value: $vector;
            std::arch::asm!(
                concat!($broadcast, " {value}, dword ptr [{a} + {index} * {scale}]"),
                concat!($add, " {first}, {value}, {columns}"),
                concat!($add, " {second}, {value}, {more}"),
                value = out($register) _value, first = inout($register) first, second = inout($register) second,
                columns = in($register) columns[0], more = in($register) columns[1],
                a = in(reg) a, index = in(reg) index, scale = const SCALE,
                options(pure, readonly, nostack, preserves_flags),
            );
            *sums = [first, second];
        }
    };
}

/// 16 numbers at once.
pub(super) mod avx512 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{Store, Tile};
    use crate::kernels::activation;

    kernels! {
        features: "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", lanes: 16, rows: [1 2 3 4 5 6 7 8 9 10 11 12],
        vector: __m512, integers: __m512i,
        zero: _mm512_setzero_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps, splat: _mm512_set1_ps,
        fma: _mm512_fmadd_ps, mul: _mm512_mul_ps,
        splat_integer: _mm512_set1_epi32, to_floats: _mm512_cvtepi32_ps,
        turn: [0 1 2 3], add_f32: add_f32,
        kinds: { i16_tile: add_i16, _mm512_loadu_si512, 64; mixed_tile: add_i16, load_bytes, 32; }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    unsafe fn load_bytes(from: *const __m256i) -> __m512i {
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(from))
    }

    add_row!(pub(super) add_f32, "avx512f", __m512, zmm_reg, "vbroadcastss", "vfmadd231ps");

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    unsafe fn add_i16<const SCALE: usize>(sums: &mut [__m512i; 2], columns: [__m512i; 2], a: *const u8, index: usize) {
        let [mut first, mut second] = *sums;
        let (_value, _product): (__m512i, __m512i);
        std::arch::asm!(
            "vpbroadcastd {value}, dword ptr [{a} + {index} * {scale}]",
            "vpmaddwd {product}, {value}, {columns}",
            "vpmaddwd {value}, {value}, {more}",
            "vpaddd {first}, {first}, {product}",
            "vpaddd {second}, {second}, {value}",
            value = out(zmm_reg) _value, product = out(zmm_reg) _product,
            first = inout(zmm_reg) first, second = inout(zmm_reg) second,
            columns = in(zmm_reg) columns[0], more = in(zmm_reg) columns[1],
            a = in(reg) a, index = in(reg) index, scale = const SCALE,
            options(pure, readonly, nostack, preserves_flags),
        );
        *sums = [first, second];
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn bytes(store: Store, rows: usize, tile: &Tile) {
        assert_eq!(store, Store::Mixed, "without VNNI there is no exact product of bytes");
        with_rows!(rows, mixed_tile, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// 16 numbers at once, with products of integers that are added at once.
pub(super) mod avx512_vnni {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::avx512::add_f32;
    use super::{Store, Tile};
    use crate::kernels::activation;

    kernels! {
        features: "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma", lanes: 16, rows: [1 2 3 4 5 6 7 8 9 10 11 12],
        vector: __m512, integers: __m512i,
        zero: _mm512_setzero_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps, splat: _mm512_set1_ps,
        fma: _mm512_fmadd_ps, mul: _mm512_mul_ps,
        splat_integer: _mm512_set1_epi32, to_floats: _mm512_cvtepi32_ps,
        turn: [0 1 2 3], add_f32: add_f32,
        kinds: { i16_tile: add_i16, _mm512_loadu_si512, 64; i8_tile: add_i8, _mm512_loadu_si512, 64; }
    }

    // Two products of 16 bits; LLVM would take the intrinsic apart into a multiplication and an addition, at half the speed.
    add_row!(add_i16, "avx512f,avx512vnni", __m512i, zmm_reg, "vpbroadcastd", "vpdpwssd");
    // Four products of unsigned (rows) and signed bytes (columns).
    add_row!(add_i8, "avx512f,avx512vnni", __m512i, zmm_reg, "vpbroadcastd", "vpdpbusd");

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
    unsafe fn bytes(store: Store, rows: usize, tile: &Tile) {
        assert_eq!(store, Store::I8, "VNNI multiplies bytes as they are");
        with_rows!(rows, i8_tile, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// 8 numbers at once.
pub(super) mod avx2 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{Store, Tile};
    use crate::kernels::activation;

    kernels! {
        features: "avx2,fma", lanes: 8, rows: [1 2 3 4 5 6],
        vector: __m256, integers: __m256i,
        zero: _mm256_setzero_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps, splat: _mm256_set1_ps,
        fma: _mm256_fmadd_ps, mul: _mm256_mul_ps,
        splat_integer: _mm256_set1_epi32, to_floats: _mm256_cvtepi32_ps,
        // More at once, and the compiler would load the rows' numbers of all of them ahead.
        turn: [0], add_f32: add_f32, kinds: { i16_tile: add_i16, load_integers, 32; mixed_tile: add_i16, load_bytes, 16; }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) unsafe fn load_integers(from: *const i32) -> __m256i {
        _mm256_loadu_si256(from.cast())
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn load_bytes(from: *const __m128i) -> __m256i {
        _mm256_cvtepi8_epi16(_mm_loadu_si128(from))
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(super) unsafe fn add_f32<const SCALE: usize>(
        sums: &mut [__m256; 2],
        columns: [__m256; 2],
        a: *const u8,
        index: usize,
    ) {
        let value = _mm256_set1_ps(a.add(index * SCALE).cast::<f32>().read_unaligned());
        *sums = [_mm256_fmadd_ps(value, columns[0], sums[0]), _mm256_fmadd_ps(value, columns[1], sums[1])];
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn add_i16<const SCALE: usize>(sums: &mut [__m256i; 2], columns: [__m256i; 2], a: *const u8, index: usize) {
        let value = _mm256_set1_epi32(a.add(index * SCALE).cast::<i32>().read_unaligned());
        *sums = [
            _mm256_add_epi32(sums[0], _mm256_madd_epi16(columns[0], value)),
            _mm256_add_epi32(sums[1], _mm256_madd_epi16(columns[1], value)),
        ];
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn bytes(store: Store, rows: usize, tile: &Tile) {
        assert_eq!(store, Store::Mixed, "without VNNI there is no exact product of bytes");
        with_rows!(rows, mixed_tile, tile, 1 2 3 4 5 6)
    }
}

/// 8 numbers at once, with the instructions of AVX-512 VNNI for short vectors.
pub(super) mod avx_vnni {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::avx2::{add_f32, load_integers};
    use super::{Store, Tile};
    use crate::kernels::activation;

    kernels! {
        features: "avx2,fma,avxvnni", lanes: 8, rows: [1 2 3 4 5 6],
        vector: __m256, integers: __m256i,
        zero: _mm256_setzero_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps, splat: _mm256_set1_ps,
        fma: _mm256_fmadd_ps, mul: _mm256_mul_ps,
        splat_integer: _mm256_set1_epi32, to_floats: _mm256_cvtepi32_ps,
        turn: [0 1 2 3], add_f32: add_f32,
        kinds: { i16_tile: add_i16, load_integers, 32; i8_tile: add_i8, load_integers, 32; }
    }

    // Without the prefix the assembler takes AVX-512's form of these instructions.
    add_row!(add_i16, "avx2,avxvnni", __m256i, ymm_reg, "vpbroadcastd", "{{vex}} vpdpwssd");
    add_row!(add_i8, "avx2,avxvnni", __m256i, ymm_reg, "vpbroadcastd", "{{vex}} vpdpbusd");

    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn bytes(store: Store, rows: usize, tile: &Tile) {
        assert_eq!(store, Store::I8, "VNNI multiplies bytes as they are");
        with_rows!(rows, i8_tile, tile, 1 2 3 4 5 6)
    }
}

//! A constant matrix in the order in which kernels read it, and one tile of a product with it.
//!
//! Columns lie in panels of as many as a kernel computes at once ([`Isa::panel`]). Within a panel, inputs come in groups:
//! as many as are four bytes of a row (one `f32`, two `i16` or four `i8`), because a kernel multiplies four bytes of a row
//! with the same inputs of every column: `panel → group → column → input`. Missing columns and inputs are zero.
//!
//! Integer columns have one scale for each block of inputs. Where both are bytes, those of columns are signed and those of
//! rows are not, as the processor's instruction has it.

use super::aligned::Lasting;
use super::isa::Isa;

/// How numbers are stored and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    F32,
    I16,
    I8,
    /// Rows in 16 bits and columns in 8, which a kernel widens as it loads them.
    Mixed,
}

impl Store {
    /// The bytes of one number of a row.
    pub(super) fn row_bytes(self) -> usize {
        match self {
            Store::F32 => 4,
            Store::I16 | Store::Mixed => 2,
            Store::I8 => 1,
        }
    }

    /// The bytes of one number of a column.
    pub(super) fn column_bytes(self) -> usize {
        match self {
            Store::F32 => 4,
            Store::I16 => 2,
            Store::I8 | Store::Mixed => 1,
        }
    }

    /// The inputs of a group.
    pub(super) fn group(self) -> usize {
        4 / self.row_bytes()
    }
}

/// A packed `[inputs, columns]` matrix.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) store: Store,
    pub(super) isa: Isa,
    pub(super) inputs: usize,
    pub(super) columns: usize,
    /// Blocks of inputs that have a scale of their own, and the groups of each.
    pub(super) blocks: usize,
    pub(super) groups: usize,
    /// The largest sum of absolute integers of a column within a block.
    pub(super) largest_sum: i32,
    data: Lasting,
    /// `panel → block → column`; empty for `F32`.
    scales: Vec<f32>,
    /// The sums of what the integers stand for, in the same order.
    sums: Vec<f32>,
    /// What the sums of products begin with, in the same order; empty where that is 0.
    starts: Vec<i32>,
}

/// One tile of a product: some rows with one panel of columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// The first row, and the bytes from one row to the next.
    pub(super) a: *const u8,
    pub(super) a_stride: usize,
    /// The panel.
    pub(super) b: *const u8,
    pub(super) blocks: usize,
    pub(super) groups: usize,
    /// `row → block`: the scale of the row's integers there.
    pub(super) row_scales: *const f32,
    /// `row → block`: the number that the row's integers are counted from. Null where that is 0 everywhere.
    pub(super) row_offsets: *const f32,
    /// `block → column` of this panel: the scale, and the sum of the numbers that the column stands for.
    pub(super) column_scales: *const f32,
    pub(super) column_sums: *const f32,
    /// `block → column`: what the sum of products begins with. Null where that is 0 everywhere.
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))] // ARM's kernels alone read it.
    pub(super) column_starts: *const i32,
    /// One for each column of this panel.
    pub(super) bias: *const f32,
    pub(super) gelu: bool,
    /// The first result, the numbers from one row to the next, and how many columns are written.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
    pub(super) columns: usize,
}

impl Matrix {
    /// Packs fp32 numbers (`[inputs, columns]`) as they are.
    pub(super) fn floats(isa: Isa, columns: usize, values: &[f32]) -> Self {
        let mut matrix = Self::empty(Store::F32, isa, values.len() / columns, columns, 1);
        matrix.fill(values, |_, _, value| value.to_ne_bytes());
        matrix
    }

    /// Rounds numbers (`[inputs, columns]`) to integers up to `limit` with a scale for each column and block of inputs, and
    /// packs them.
    pub(super) fn integers(store: Store, limit: f32, block: usize, isa: Isa, columns: usize, values: &[f32]) -> Self {
        let inputs = values.len() / columns;
        let mut matrix = Self::empty(store, isa, inputs, columns, inputs.div_ceil(block).max(1));
        let (panel, blocks) = (isa.panel(), matrix.blocks);
        matrix.scales = vec![0.0; columns.div_ceil(panel) * panel * blocks];
        matrix.sums = matrix.scales.clone();
        let subtracted = if store == Store::I8 { i32::from(isa.subtracts()) } else { 0 };
        if subtracted != 0 {
            matrix.starts = vec![0; matrix.scales.len()];
        }
        // `block → column`: what a number is multiplied with to be an integer.
        let mut factors = vec![0f32; blocks * columns];
        for (block, rows) in values.chunks(matrix.block_inputs() * columns).enumerate() {
            let factors = &mut factors[block * columns..][..columns];
            for row in rows.chunks_exact(columns) {
                for (largest, value) in factors.iter_mut().zip(row) {
                    *largest = if value.abs() > *largest { value.abs() } else { *largest };
                }
            }
            for (n, largest) in factors.iter_mut().enumerate() {
                // Of numbers so small that the factor is not finite, zeros are left.
                let factor = limit / *largest;
                let scale = if factor.is_finite() { *largest / limit } else { 0.0 };
                matrix.scales[(n / panel * blocks + block) * panel + n % panel] = scale;
                *largest = if factor.is_finite() { factor } else { 0.0 };
            }
        }
        let length = matrix.block_inputs();
        let (mut sums, mut sizes) = (vec![0i32; columns], vec![0i32; columns]);
        for (block, rows) in values.chunks(length * columns).enumerate() {
            let factors = &factors[block * columns..][..columns];
            sums.fill(0);
            sizes.fill(0);
            for row in rows.chunks_exact(columns) {
                for (((sum, size), value), factor) in sums.iter_mut().zip(&mut sizes).zip(row).zip(factors) {
                    let integer = round(value * factor);
                    *sum += integer;
                    *size += integer.abs();
                }
            }
            matrix.largest_sum = sizes.iter().copied().fold(matrix.largest_sum, i32::max);
            for (n, sum) in sums.iter().enumerate() {
                let place = (n / panel * blocks + block) * panel + n % panel;
                matrix.sums[place] = *sum as f32 * matrix.scales[place];
                if let Some(start) = matrix.starts.get_mut(place) {
                    *start = subtracted * sum;
                }
            }
        }
        let round = |k: usize, n: usize, value: f32| round(value * factors[k / length * columns + n]);
        match store {
            Store::F32 => unreachable!("integers are stored as such"),
            Store::I16 => matrix.fill(values, |k, n, value| (round(k, n, value) as i16).to_ne_bytes()),
            Store::I8 | Store::Mixed => matrix.fill(values, |k, n, value| (round(k, n, value) as i8).to_ne_bytes()),
        }
        matrix
    }

    fn empty(store: Store, isa: Isa, inputs: usize, columns: usize, blocks: usize) -> Self {
        let groups = inputs.div_ceil(blocks).div_ceil(store.group()).max(1);
        let bytes =
            columns.div_ceil(isa.panel()) * isa.panel() * blocks * groups * store.group() * store.column_bytes();
        let data = Lasting::zeroed(bytes);
        let (scales, sums, starts) = (Vec::new(), Vec::new(), Vec::new());
        Self { store, isa, inputs, columns, blocks, groups, largest_sum: 0, data, scales, sums, starts }
    }

    /// Writes the numbers of row-major `values` to their places, each as `number` makes bytes of it.
    fn fill<const BYTES: usize>(&mut self, values: &[f32], number: impl Fn(usize, usize, f32) -> [u8; BYTES]) {
        let (panel, per_group, all_groups) = (self.isa.panel(), self.store.group(), self.blocks * self.groups);
        let (columns, of_column) = (self.columns, per_group * BYTES);
        let data = self.data.as_mut_slice();
        for (k, row) in values.chunks_exact(columns).enumerate() {
            let (group, within) = (k / per_group, k % per_group * BYTES);
            for (index, row) in row.chunks(panel).enumerate() {
                let places = &mut data[(index * all_groups + group) * panel * of_column..][..panel * of_column];
                for (column, (place, value)) in places.chunks_exact_mut(of_column).zip(row).enumerate() {
                    place[within..within + BYTES].copy_from_slice(&number(k, index * panel + column, *value));
                }
            }
        }
    }

    /// Inputs of one block.
    pub(super) fn block_inputs(&self) -> usize {
        self.groups * self.store.group()
    }

    /// The numbers that a row must have, zeros at its end included.
    pub(super) fn padded_inputs(&self) -> usize {
        self.blocks * self.block_inputs()
    }

    pub(super) fn panels(&self) -> usize {
        self.columns.div_ceil(self.isa.panel())
    }

    /// Where a panel begins.
    pub(super) fn panel(&self, index: usize) -> *const u8 {
        debug_assert!(index < self.panels());
        let bytes = self.isa.panel() * self.padded_inputs() * self.store.column_bytes();
        // SAFETY: `data` holds `panels` panels of this size.
        unsafe { self.data.as_ptr().add(index * bytes) }
    }

    /// Where the scales, the sums and the starts of a panel begin; null where there are none.
    pub(super) fn panel_scales(&self, index: usize) -> (*const f32, *const f32, *const i32) {
        fn from<T>(values: &[T], first: usize) -> *const T {
            values.get(first).map_or(std::ptr::null(), |value| value)
        }
        let first = index * self.isa.panel() * self.blocks;
        (from(&self.scales, first), from(&self.sums, first), from(&self.starts, first))
    }
}

/// The nearest whole number (of two, the even one) of a number far below 2²²: adding this constant rounds it, and leaves
/// the number in the low bits. NaN gives some number.
#[inline(always)]
pub(super) fn round(value: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    ((value + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}

/// Computes a tile of `rows` rows, at most [`Isa::rows`].
///
/// # Safety
///
/// The pointers must reach as far as `tile`'s numbers say, for `rows` rows and a whole panel (`out`: for `columns`), and
/// the processor must have `isa`.
pub(super) unsafe fn multiply(isa: Isa, store: Store, rows: usize, tile: &Tile) {
    // SAFETY: as the caller promises.
    unsafe {
        match isa {
            Isa::Portable => super::portable::multiply(store, rows, tile),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::x86::avx2::multiply(store, rows, tile),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => super::x86::avx_vnni::multiply(store, rows, tile),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => super::x86::avx512::multiply(store, rows, tile),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => super::x86::avx512_vnni::multiply(store, rows, tile),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => super::neon::multiply(store, rows, tile),
        }
    }
}

/// How `rows` rows are divided into tiles: as few as `most` allows, as equal as possible.
pub(super) fn tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    (0..count).map(move |i| {
        let (from, to) = (i * rows / count, (i + 1) * rows / count);
        (from, to - from)
    })
}

//! Rows of a constant matrix by their numbers: embeddings of tokens.
//!
//! The word embeddings are the largest constant of a small transformer, half of the file. ONNX Runtime holds them twice
//! while it loads a graph; here they are read once, and kept in the numbers that they are computed with.

use super::matrix::round;

/// In which numbers a table is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableNumbers {
    Float32,
    /// 16-bit integers with one scale for each row: near the rounding step of what is computed from them.
    Int16,
    /// 8-bit integers with one scale for each row, as quantised files have them.
    Int8,
    /// 8-bit integers with one scale for each 64 numbers of a row.
    Int8Blocks,
}

/// Numbers that share a scale in [`TableNumbers::Int8Blocks`].
const BLOCK: usize = 64;

/// A constant matrix of which rows are read.
#[derive(Debug)]
pub(crate) struct Table {
    width: usize,
    rows: usize,
    values: Values,
    /// Numbers of a row that share a scale.
    block: usize,
    /// One for each block; none for fp32.
    scales: Vec<f32>,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    I16(Vec<i16>),
    I8(Vec<i8>),
}

impl Table {
    /// An empty table for `rows` rows of `width` numbers.
    pub(crate) fn with_capacity(numbers: TableNumbers, rows: usize, width: usize) -> Self {
        let block = if numbers == TableNumbers::Int8Blocks { BLOCK } else { width };
        let count = rows * width;
        let scales = if numbers == TableNumbers::Float32 { 0 } else { rows * width.div_ceil(block) };
        let values = match numbers {
            TableNumbers::Float32 => Values::F32(Vec::with_capacity(count)),
            TableNumbers::Int16 => Values::I16(Vec::with_capacity(count)),
            TableNumbers::Int8 | TableNumbers::Int8Blocks => Values::I8(Vec::with_capacity(count)),
        };
        Self { width, rows: 0, values, block, scales: Vec::with_capacity(scales) }
    }

    /// The numbers of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The rows that there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row. In a block with a number that is not finite, no number is.
    pub(crate) fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.width, "a row does not fit its table");
        self.rows += 1;
        let blocks = row.chunks(self.block);
        match &mut self.values {
            Values::F32(values) => values.extend_from_slice(row),
            Values::I16(values) => {
                self.scales.extend(blocks.map(|block| rounded(block, 32_767.0, |value| values.push(value as i16))));
            }
            Values::I8(values) => {
                self.scales.extend(blocks.map(|block| rounded(block, 127.0, |value| values.push(value as i8))));
            }
        }
    }

    /// Copies a row.
    pub(crate) fn read(&self, row: usize, out: &mut [f32]) {
        let place = row * self.width..(row + 1) * self.width;
        match &self.values {
            Values::F32(values) => out.copy_from_slice(&values[place]),
            Values::I16(values) => self.widen(row, &values[place], out),
            Values::I8(values) => self.widen(row, &values[place], out),
        }
    }

    fn widen<T: Copy + Into<f32>>(&self, row: usize, values: &[T], out: &mut [f32]) {
        let blocks = self.width.div_ceil(self.block);
        let scales = &self.scales[row * blocks..][..blocks];
        for ((out, values), scale) in out.chunks_mut(self.block).zip(values.chunks(self.block)).zip(scales) {
            for (out, value) in out.iter_mut().zip(values) {
                *out = (*value).into() * scale;
            }
        }
    }
}

/// Rounds numbers to integers up to `limit` and returns their scale.
fn rounded(row: &[f32], limit: f32, mut each: impl FnMut(i32)) -> f32 {
    let largest = row.iter().fold(0f32, |largest, value| if value.abs() > largest { value.abs() } else { largest });
    let spoilt: f32 = row.iter().map(|value| value * 0.0).sum();
    let factor = limit / largest;
    // Of numbers so small that the factor is not finite, zeros are left.
    let factor = if factor.is_finite() { factor } else { 0.0 };
    row.iter().for_each(|value| each(round(value * factor)));
    largest / limit + spoilt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(numbers: TableNumbers, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut table = Table::with_capacity(numbers, rows.len(), rows[0].len());
        rows.iter().for_each(|row| table.push(row));
        assert_eq!((table.rows(), table.width()), (rows.len(), rows[0].len()));
        let row = |index: usize| {
            let mut out = vec![f32::NAN; table.width()];
            table.read(index, &mut out);
            out
        };
        (0..rows.len()).map(row).collect()
    }

    #[test]
    fn rows_are_kept_to_within_half_a_step() {
        let rows: Vec<Vec<f32>> =
            (0..5).map(|r| (0..40).map(|c| ((r * 40 + c) as f32).sin() * 3.0).collect()).collect();
        assert_eq!(read(TableNumbers::Float32, &rows), rows);
        for (numbers, limit) in
            [(TableNumbers::Int16, 32_767.0), (TableNumbers::Int8, 127.0), (TableNumbers::Int8Blocks, 127.0)]
        {
            for (row, is) in rows.iter().zip(read(numbers, &rows)) {
                let step = row.iter().fold(0f32, |m, v| m.max(v.abs())) / limit;
                assert!(row.iter().zip(is).all(|(a, b)| (a - b).abs() <= 0.51 * step), "{numbers:?}");
            }
        }
    }

    /// A large number coarsens its own block alone.
    #[test]
    fn blocks_have_scales_of_their_own() {
        let mut row: Vec<f32> = (0..150).map(|i| (i as f32).sin()).collect();
        row[0] = 100.0;
        let is = &read(TableNumbers::Int8Blocks, std::slice::from_ref(&row))[0];
        let furthest = |from: usize, to: usize| (from..to).map(|i| (row[i] - is[i]).abs()).fold(0f32, f32::max);
        assert!(furthest(0, 64) > 0.1);
        assert!(furthest(64, 128) < 0.51 / 127.0 && furthest(128, 150) < 0.51 / 127.0);
    }

    /// A file whose rows are 8-bit integers times a scale loses nothing.
    #[test]
    fn integers_of_8_bits_stay_what_they_are() {
        let row: Vec<f32> = [-127.0, 3.0, 0.0, 64.0, 126.0].map(|value| value * 0.013).to_vec();
        assert_eq!(read(TableNumbers::Int8, std::slice::from_ref(&row)), [row]);
    }

    #[test]
    fn a_row_that_is_not_finite_spoils_itself_alone() {
        for numbers in [TableNumbers::Float32, TableNumbers::Int16, TableNumbers::Int8, TableNumbers::Int8Blocks] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let is = read(numbers, &[vec![1.0, 2.0], vec![bad, 2.0], vec![0.0, 0.0]]);
                assert!(!is[1][0].is_finite(), "{numbers:?}");
                assert!((is[0][0] - 1.0).abs() < 0.01 && is[2] == [0.0, 0.0], "{numbers:?} {is:?}");
            }
        }
    }
}

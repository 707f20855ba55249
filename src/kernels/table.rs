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
}

/// A constant matrix of which rows are read.
#[derive(Debug)]
pub(crate) struct Table {
    width: usize,
    rows: usize,
    values: Values,
    /// One for each row; none for fp32.
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
        let (count, scales) = (rows * width, if numbers == TableNumbers::Float32 { 0 } else { rows });
        let values = match numbers {
            TableNumbers::Float32 => Values::F32(Vec::with_capacity(count)),
            TableNumbers::Int16 => Values::I16(Vec::with_capacity(count)),
            TableNumbers::Int8 => Values::I8(Vec::with_capacity(count)),
        };
        Self { width, rows: 0, values, scales: Vec::with_capacity(scales) }
    }

    /// The numbers of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The rows that there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row. In one with a number that is not finite, no number is.
    pub(crate) fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.width, "a row does not fit its table");
        self.rows += 1;
        match &mut self.values {
            Values::F32(values) => values.extend_from_slice(row),
            Values::I16(values) => self.scales.push(rounded(row, 32_767.0, |value| values.push(value as i16))),
            Values::I8(values) => self.scales.push(rounded(row, 127.0, |value| values.push(value as i8))),
        }
    }

    /// Copies a row.
    pub(crate) fn read(&self, row: usize, out: &mut [f32]) {
        let place = row * self.width..(row + 1) * self.width;
        match &self.values {
            Values::F32(values) => out.copy_from_slice(&values[place]),
            Values::I16(values) => widen(&values[place], self.scales[row], out),
            Values::I8(values) => widen(&values[place], self.scales[row], out),
        }
    }
}

fn widen<T: Copy + Into<f32>>(values: &[T], scale: f32, out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = (*value).into() * scale;
    }
}

/// Rounds a row to integers up to `limit` and returns its scale.
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
        for (numbers, limit) in [(TableNumbers::Int16, 32_767.0), (TableNumbers::Int8, 127.0)] {
            for (row, is) in rows.iter().zip(read(numbers, &rows)) {
                let step = row.iter().fold(0f32, |m, v| m.max(v.abs())) / limit;
                assert!(row.iter().zip(is).all(|(a, b)| (a - b).abs() <= 0.51 * step), "{numbers:?}");
            }
        }
    }

    /// A file whose rows are 8-bit integers times a scale loses nothing.
    #[test]
    fn integers_of_8_bits_stay_what_they_are() {
        let row: Vec<f32> = [-127.0, 3.0, 0.0, 64.0, 126.0].map(|value| value * 0.013).to_vec();
        assert_eq!(read(TableNumbers::Int8, std::slice::from_ref(&row)), [row]);
    }

    #[test]
    fn a_row_that_is_not_finite_spoils_itself_alone() {
        for numbers in [TableNumbers::Float32, TableNumbers::Int16, TableNumbers::Int8] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let is = read(numbers, &[vec![1.0, 2.0], vec![bad, 2.0], vec![0.0, 0.0]]);
                assert!(!is[1][0].is_finite(), "{numbers:?}");
                assert!((is[0][0] - 1.0).abs() < 0.01 && is[2] == [0.0, 0.0], "{numbers:?} {is:?}");
            }
        }
    }
}

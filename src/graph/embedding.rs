//! Reading the rows of a large constant table (`Gather`), as for the embeddings of tokens, becomes one operation.
//!
//! Tables are fp32, or 8-bit integers with a scale for each row that are widened after the reading.

use super::onnx::{AttributeProto, NodeProto, data_type};
use super::view::View;
use super::{EMBEDDING, Numbers, operation};
use crate::kernels::{Table, TableNumbers};

/// Tables of fewer bytes may stay with ONNX Runtime.
const SMALLEST: usize = 1 << 14;
/// Numbers that are read from the file before it may forget them.
const AT_ONCE: usize = 1 << 18;

/// Rewrites every such reading; the operation's `index` is its place in the result.
pub(super) fn rewrite(view: &mut View, numbers: Numbers, done_with: &(dyn Fn(&[u8]) + Sync)) -> Vec<Table> {
    let mut tables = Vec::new();
    for index in 0..view.nodes.len() {
        let Some(found) = plain(view, index).or_else(|| widened(view, index)) else { continue };
        // Tables of 8 bits stay so, and 16 are near fp32. With one scale a row, 8 would be too few (`benches/NOTES.md`).
        let kept = match (numbers, &found.scales) {
            (_, Some(_)) => TableNumbers::Int8,
            (Numbers::Float32, None) => TableNumbers::Float32,
            (Numbers::Int16, None) => TableNumbers::Int16,
            (Numbers::Int8 | Numbers::W8A8, None) => TableNumbers::Int8Blocks,
        };
        let Some(table) = read(view, &found, kept, done_with) else { continue };
        let attributes = vec![AttributeProto::new_int("index", tables.len() as i64)];
        tables.push(table);
        view.add(operation(EMBEDDING, vec![found.indices], found.out, attributes));
    }
    tables
}

/// A reading of rows.
struct Found {
    table: String,
    /// `[rows, 1]`, for a table of 8-bit integers.
    scales: Option<String>,
    indices: String,
    out: String,
}

/// A `Gather` of rows of a constant matrix, with indices that a caller gives.
fn gather<'a>(view: &'a View, node: &'a NodeProto) -> Option<(&'a str, &'a str)> {
    let [table, indices] = node.input.as_slice() else { return None };
    let rows = node.is("Gather") && node.int("axis").unwrap_or(0) == 0;
    (rows && view.tensor(table)?.dims.len() == 2 && view.is_int64_input(indices)).then_some((table, indices))
}

fn plain(view: &View, index: usize) -> Option<Found> {
    let node = &view.nodes[index];
    let (table, indices) = gather(view, node)?;
    let found =
        Found { table: table.to_owned(), scales: None, indices: indices.to_owned(), out: node.output[0].clone() };
    is_large(view, table, data_type::FLOAT).then_some(found)
}

/// `Cast(Gather(integers, i)) · Gather(scales, i)`.
fn widened(view: &View, index: usize) -> Option<Found> {
    let node = &view.nodes[index];
    let ([a, b], true) = (node.input.as_slice(), node.is("Mul")) else { return None };
    let both = |integers: &str, scales: &str| {
        let cast = &view.nodes[view.producer(integers, "Cast")?];
        let of_integers = &view.nodes[view.producer(cast.input.first()?, "Gather")?];
        let of_scales = &view.nodes[view.producer(scales, "Gather")?];
        let ((table, indices), (scales, others)) = (gather(view, of_integers)?, gather(view, of_scales)?);
        let dims = |name: &str| view.tensor(name).map(|tensor| tensor.dims.to_vec());
        let fits = cast.int("to") == Some(data_type::FLOAT.into())
            && indices == others
            && is_large(view, table, data_type::INT8)
            && view.is_fp32(scales)
            && dims(scales)? == [dims(table)?[0], 1];
        fits.then(|| Found {
            table: table.to_owned(),
            scales: Some(scales.to_owned()),
            indices: indices.to_owned(),
            out: node.output[0].clone(),
        })
    };
    both(a, b).or_else(|| both(b, a))
}

fn is_large(view: &View, table: &str, kind: i32) -> bool {
    view.tensor(table).is_some_and(|tensor| {
        tensor.data_type == kind && tensor.raw_data.as_ref().is_some_and(|raw| raw.len() >= SMALLEST)
    })
}

/// Reads a table piece by piece.
fn read(view: &View, found: &Found, kept: TableNumbers, done_with: &(dyn Fn(&[u8]) + Sync)) -> Option<Table> {
    let tensor = view.tensor(&found.table)?;
    let &[rows, width] = tensor.dims.as_slice() else { return None };
    let (rows, width) = (usize::try_from(rows).ok()?, usize::try_from(width).ok().filter(|width| *width > 0)?);
    let raw = tensor.raw_data.as_ref()?;
    let scales = match &found.scales {
        Some(name) => Some(view.constant(name)?.values).filter(|scales| scales.len() == rows),
        None => None,
    };
    let bytes_of_row = width.checked_mul(if scales.is_some() { 1 } else { 4 })?;
    if rows.checked_mul(bytes_of_row) != Some(raw.len()) || scales.is_none() != found.scales.is_none() {
        return None;
    }
    let mut table = Table::with_capacity(kept, rows, width);
    let mut row = vec![0f32; width];
    for (piece, bytes) in raw.chunks(AT_ONCE.div_ceil(width) * bytes_of_row).enumerate() {
        for (index, bytes) in bytes.chunks_exact(bytes_of_row).enumerate() {
            match &scales {
                Some(scales) => {
                    // Other scales than those by the largest number would be rounded once more.
                    if !matches!(bytes.iter().map(|byte| byte.cast_signed().unsigned_abs()).max(), Some(0 | 127)) {
                        return None;
                    }
                    let scale = scales[piece * AT_ONCE.div_ceil(width) + index];
                    row.iter_mut().zip(bytes).for_each(|(out, byte)| *out = f32::from(byte.cast_signed()) * scale);
                }
                None => {
                    let numbers = bytes.as_chunks::<4>().0;
                    row.iter_mut().zip(numbers).for_each(|(out, bytes)| *out = f32::from_le_bytes(*bytes));
                }
            }
            table.push(&row);
        }
        done_with(bytes);
    }
    Some(table)
}

//! Embeddings on their way to their last form: the unfinished results of a job whose form needs all of them.
//!
//! A row is the index of its text (8 bytes), the length of its id (4) and the id as JSON, and its numbers (4 each), all
//! little-endian. A text that has no embedding has NaN for each number; embeddings are finite.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use serde_json::Value;

/// One text's row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) index: u64,
    pub(super) id: Option<Value>,
    /// None if the text is missing, or failed.
    pub(super) embedding: Option<Vec<f32>>,
}

/// Appends a row with so many dimensions.
pub(super) fn push(bytes: &mut Vec<u8>, row: &Row, dimensions: usize) {
    // A JSON value always serialises. No line of input is so long that its id would not fit.
    let id = row.id.as_ref().map_or(Vec::new(), |id| serde_json::to_vec(id).unwrap_or_default());
    let length = u32::try_from(id.len()).unwrap_or(0);
    bytes.extend(row.index.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(&id[..length as usize]);
    match &row.embedding {
        Some(embedding) => bytes.extend(embedding.iter().flat_map(|number| number.to_le_bytes())),
        None => bytes.extend(f32::NAN.to_le_bytes().repeat(dimensions)),
    }
}

/// Calls `see` with each row of a file.
pub(super) fn for_each<E: From<io::Error>>(
    file: &mut File,
    dimensions: usize,
    mut see: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    file.rewind()?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    while let Some(row) = next(&mut file, dimensions)? {
        see(row)?;
    }
    Ok(())
}

fn next(file: &mut impl Read, dimensions: usize) -> io::Result<Option<Row>> {
    let mut index = [0; 8];
    if file.read(&mut index[..1])? == 0 {
        return Ok(None);
    }
    file.read_exact(&mut index[1..])?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let mut id = Vec::new();
    file.take(u32::from_le_bytes(length).into()).read_to_end(&mut id)?;
    let mut numbers = vec![0; 4 * dimensions];
    file.read_exact(&mut numbers)?;
    let numbers: Vec<f32> = numbers.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    Ok(Some(Row {
        index: u64::from_le_bytes(index),
        id: if id.is_empty() { None } else { Some(serde_json::from_slice(&id)?) },
        embedding: numbers.iter().all(|number| !number.is_nan()).then_some(numbers),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn rows_come_back(
            rows in proptest::collection::vec(
                (any::<u64>(), proptest::option::of(".{0,5}"), proptest::option::of(proptest::array::uniform3(-9.0f32..9.0))),
                0..20,
            ),
            cut in 1usize..8,
        ) {
            let rows: Vec<Row> = rows
                .into_iter()
                .map(|(index, id, numbers)| Row { index, id: id.map(Value::from), embedding: numbers.map(Vec::from) })
                .collect();
            let mut bytes = Vec::new();
            rows.iter().for_each(|row| push(&mut bytes, row, 3));
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let mut found = Vec::new();
            for_each::<io::Error>(&mut file, 3, |row| { found.push(row); Ok(()) }).unwrap();
            prop_assert_eq!(&found, &rows);
            file.set_len((bytes.len().saturating_sub(cut)) as u64).unwrap();
            prop_assert_eq!(for_each::<io::Error>(&mut file, 3, |_| Ok(())).is_err(), !rows.is_empty());
        }
    }
}

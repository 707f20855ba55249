//! NumPy's format of arrays, version 1.0: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::quantize::Type;

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// What a header's length is a multiple of.
const ALIGNMENT: usize = 64;
/// The most bytes of an array that is read: ranges of 65,536 dimensions.
const MOST: u64 = 1 << 20;

/// What goes before the numbers of an array in C order.
pub(super) fn header(numbers: Type, shape: &[u64]) -> Vec<u8> {
    let descr = match numbers {
        Type::Float32 => "<f4",
        Type::Int8 => "|i1",
        Type::Uint8 => "|u1",
    };
    let mut places = String::new();
    for (size, place) in shape.iter().zip(0..) {
        // Writing to a String cannot fail.
        let _ = write!(
            places,
            "{}{size}{}",
            if place > 0 { " " } else { "" },
            if place + 1 < shape.len() { "," } else { "" }
        );
    }
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({places}{comma}), }}");
    // NumPy leaves room for the first size to grow to 21 digits.
    text.push_str(&" ".repeat(21usize.saturating_sub(shape.first().map_or(0, |size| size.to_string().len()))));
    let whole = (MAGIC.len() + 2 + text.len() + 1).next_multiple_of(ALIGNMENT);
    let length = whole - MAGIC.len() - 2;
    text.push_str(&" ".repeat(length - text.len() - 1));
    text.push('\n');
    // A header of an array with two sizes has less than 200 bytes.
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    [MAGIC, &length.to_le_bytes(), text.as_bytes()].concat()
}

/// The shape and the numbers of a small array of `float32` or `float64`.
pub(super) fn read(path: &Path) -> Result<(Vec<usize>, Vec<f32>), String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("it has more than {MOST} bytes"));
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("it is no .npy file")?;
    let cut = || "it is cut short".to_owned();
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(length, rest)| (u32::from(u16::from_le_bytes(*length)), rest)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(length, rest)| (u32::from_le_bytes(*length), rest)),
        version => return Err(format!("version {version} of the format is not known")),
    }
    .ok_or_else(cut)?;
    let (header, numbers) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is no text")?;
    let field = |name: &str| {
        let (_, rest) = header.split_once(&format!("'{name}':"))?;
        Some(rest.trim_start())
    };
    let descr = field("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next());
    if !field("fortran_order").is_some_and(|rest| rest.starts_with("False")) {
        return Err("its numbers are not in C order".to_owned());
    }
    let shape = field("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next()).unwrap_or("none");
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes: Vec<usize> =
        sizes.map(str::parse).collect::<Result<_, _>>().map_err(|_| format!("its shape is ({shape})"))?;
    let numbers: Vec<f32> = match descr {
        Some("<f4") if numbers.len() % 4 == 0 => numbers.as_chunks().0.iter().map(|n| f32::from_le_bytes(*n)).collect(),
        Some("<f8") if numbers.len() % 8 == 0 => {
            numbers.as_chunks().0.iter().map(|n| f64::from_le_bytes(*n) as f32).collect()
        }
        Some("<f4" | "<f8") => return Err(cut()),
        other => return Err(format!("its numbers are of type {}", other.unwrap_or("none"))),
    };
    let expected = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    if expected != Some(numbers.len()) {
        return Err(format!("its shape is {sizes:?}, and it has {} numbers", numbers.len()));
    }
    Ok((sizes, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_numpy_s() {
        let header = header(Type::Float32, &[3, 384]);
        assert_eq!((header.len(), header[header.len() - 1]), (128, b'\n'));
        assert!(header[10..].starts_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 384), }   "));
        assert!(
            super::header(Type::Int8, &[3])[10..]
                .starts_with(b"{'descr': '|i1', 'fortran_order': False, 'shape': (3,), }")
        );
    }

    proptest! {
        #[test]
        fn arrays_are_read_as_they_were_written(rows in 0u64..5, columns in 0u64..5, more in 0usize..3) {
            let numbers: Vec<f32> = (0..rows * columns).map(|n| n as f32 - 3.5).collect();
            let mut bytes = header(Type::Float32, &[rows, columns]);
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            prop_assert_eq!(parse(&bytes), Ok((vec![rows as usize, columns as usize], numbers)));
            bytes.extend(vec![0; more]);
            prop_assert_eq!(parse(&bytes).is_ok(), more == 0);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), place in 0usize..128) {
            let _ = parse(&bytes);
            let mut whole = header(Type::Float32, &[2, 2]);
            whole.extend([0; 16]);
            for (byte, new) in whole[place..].iter_mut().zip(bytes) {
                *byte = new;
            }
            let _ = parse(&whole);
        }
    }
}

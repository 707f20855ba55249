//! Embeddings in fewer bits, as `quantize_embeddings` of sentence-transformers makes them.

use sha2::{Digest, Sha256};

use super::super::failure::Failure;
use super::npy;

/// What the numbers of an embedding become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Quantization {
    /// They stay as they are
    #[default]
    Float32,
    /// Whole numbers from -128 to 127: 256 equal steps between the least and the greatest number of each dimension
    Int8,
    /// Whole numbers from 0 to 255, likewise
    Uint8,
    /// One bit a dimension, whether it is above 0; eight in a byte, as a number from -128 to 127
    Binary,
    /// One bit a dimension; eight in a byte, as a number from 0 to 255
    Ubinary,
}

/// The type of the numbers that come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Float32,
    Int8,
    Uint8,
}

/// One embedding, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    Float32(Vec<f32>),
    Int8(Vec<i8>),
    Uint8(Vec<u8>),
}

/// The least and the greatest number of each dimension.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranges {
    pub(super) least: Vec<f32>,
    pub(super) greatest: Vec<f32>,
}

/// A quantization that knows all that it needs.
#[derive(Debug, Clone)]
pub(super) struct Quantizer {
    quantization: Quantization,
    /// The first number of each dimension, and the step between two.
    steps: Vec<(f32, f32)>,
}

impl Quantization {
    /// Whether it needs ranges.
    pub(super) fn has_ranges(self) -> bool {
        matches!(self, Quantization::Int8 | Quantization::Uint8)
    }

    pub(super) fn output(self) -> Type {
        match self {
            Quantization::Float32 => Type::Float32,
            Quantization::Int8 | Quantization::Binary => Type::Int8,
            Quantization::Uint8 | Quantization::Ubinary => Type::Uint8,
        }
    }

    /// How many numbers come out of so many.
    pub(super) fn width(self, dimensions: usize) -> usize {
        match self {
            Quantization::Binary | Quantization::Ubinary => dimensions.div_ceil(8),
            _ => dimensions,
        }
    }
}

impl Type {
    /// The bytes of one number.
    pub(super) fn bytes(self) -> usize {
        if self == Type::Float32 { 4 } else { 1 }
    }
}

impl Numbers {
    pub(super) fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Numbers::Float32(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Numbers::Int8(numbers) => numbers.iter().map(|number| number.cast_unsigned()).collect(),
            Numbers::Uint8(numbers) => numbers.clone(),
        }
    }
}

impl Ranges {
    /// The ranges of embeddings that are still to be seen.
    pub(super) fn new(dimensions: usize) -> Self {
        Self { least: vec![f32::INFINITY; dimensions], greatest: vec![f32::NEG_INFINITY; dimensions] }
    }

    pub(super) fn see(&mut self, embedding: &[f32]) {
        for (number, (least, greatest)) in embedding.iter().zip(self.least.iter_mut().zip(&mut self.greatest)) {
            *least = least.min(*number);
            *greatest = greatest.max(*number);
        }
    }

    /// Reads an array of two rows, the least numbers and the greatest.
    pub(super) fn read(path: &std::path::Path) -> Result<Self, Failure> {
        let refused = |reason: &str| {
            Failure::Setup(format!(
                "{} has no ranges: {reason}; an .npy file with two rows of float32 or float64 is needed, the least number \
                 of each dimension and the greatest",
                path.display()
            ))
        };
        let (shape, numbers) = npy::read(path).map_err(|reason| refused(&reason))?;
        let [2, dimensions] = shape[..] else { return Err(refused(&format!("its shape is {shape:?}"))) };
        let (least, greatest) = numbers.split_at(dimensions);
        if let Some(place) =
            (0..dimensions).find(|n| !(least[*n] <= greatest[*n] && greatest[*n] - least[*n] < f32::INFINITY))
        {
            return Err(refused(&format!(
                "dimension {place} (counted from 0) goes from {} to {}",
                least[place], greatest[place]
            )));
        }
        Ok(Self { least: least.to_vec(), greatest: greatest.to_vec() })
    }

    pub(super) fn dimensions(&self) -> usize {
        self.least.len()
    }

    /// A hash, to know them again.
    pub(super) fn hash(&self) -> String {
        Sha256::digest(self.to_npy()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The ranges as an .npy file.
    pub(super) fn to_npy(&self) -> Vec<u8> {
        let mut bytes = npy::header(Type::Float32, &[2, self.dimensions() as u64]);
        bytes.extend(Numbers::Float32([&self.least[..], &self.greatest].concat()).to_le_bytes());
        bytes
    }
}

impl Quantizer {
    /// `ranges` must be there if the quantization needs them.
    pub(super) fn new(quantization: Quantization, ranges: Option<&Ranges>) -> Self {
        let step = |(least, greatest): (&f32, &f32)| {
            let step = (greatest - least) / 255.0;
            (*least, if step == 0.0 { 1.0 } else { step })
        };
        let steps = ranges.map_or(Vec::new(), |ranges| ranges.least.iter().zip(&ranges.greatest).map(step).collect());
        Self { quantization, steps }
    }

    pub(super) fn apply(&self, embedding: &[f32]) -> Numbers {
        // From 0 to 255, which the conversion takes as they are.
        let steps = || {
            embedding
                .iter()
                .zip(&self.steps)
                .map(|(number, (start, step))| ((number - start) / step).floor().clamp(0.0, 255.0) as u8)
        };
        // The first dimension is the highest bit; the last byte is filled up with zeros.
        let bits = || {
            embedding.chunks(8).map(|eight| {
                eight.iter().zip((0..8).rev()).fold(0u8, |byte, (number, bit)| byte | u8::from(*number > 0.0) << bit)
            })
        };
        // Less 128, and as a signed number.
        let signed = |byte: u8| (byte ^ 0x80).cast_signed();
        match self.quantization {
            Quantization::Float32 => Numbers::Float32(embedding.to_vec()),
            Quantization::Uint8 => Numbers::Uint8(steps().collect()),
            Quantization::Int8 => Numbers::Int8(steps().map(signed).collect()),
            Quantization::Ubinary => Numbers::Uint8(bits().collect()),
            Quantization::Binary => Numbers::Int8(bits().map(signed).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quantize").join(name)
    }

    fn all(embeddings: &[f32], dimensions: usize, quantizer: &Quantizer) -> Vec<u8> {
        embeddings.chunks(dimensions).flat_map(|row| quantizer.apply(row).to_le_bytes()).collect()
    }

    /// The numbers of sentence-transformers: `tests/fixtures/quantize/make.py`.
    #[test]
    fn equal_to_quantize_embeddings() {
        let (shape, embeddings) = npy::read(&fixture("embeddings.npy")).unwrap();
        let dimensions = shape[1];
        let mut own = Ranges::new(dimensions);
        embeddings.chunks(dimensions).for_each(|row| own.see(row));
        let given = Ranges::read(&fixture("ranges.npy")).unwrap();
        for (name, quantization, ranges) in [
            ("int8", Quantization::Int8, Some(&own)),
            ("uint8", Quantization::Uint8, Some(&own)),
            ("int8_by_ranges", Quantization::Int8, Some(&given)),
            ("uint8_by_ranges", Quantization::Uint8, Some(&given)),
            ("binary", Quantization::Binary, None),
            ("ubinary", Quantization::Ubinary, None),
        ] {
            let expected = std::fs::read(fixture(&format!("{name}.npy"))).unwrap();
            let rows = shape[0] as u64;
            let mut found = npy::header(quantization.output(), &[rows, quantization.width(dimensions) as u64]);
            found.extend(all(&embeddings, dimensions, &Quantizer::new(quantization, ranges)));
            assert!(found == expected, "{name}, with its header");
        }
    }

    #[test]
    fn ranges_that_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ranges.npy");
        let write = |shape: &[u64], numbers: &[f32]| {
            let mut bytes = npy::header(Type::Float32, shape);
            bytes.extend(Numbers::Float32(numbers.to_vec()).to_le_bytes());
            std::fs::write(&path, bytes).unwrap();
            Ranges::read(&path).map_err(|failure| failure.to_string())
        };
        let ranges = Ranges { least: vec![-1.0, 0.0], greatest: vec![1.0, 0.0] };
        assert_eq!(write(&[2, 2], &[-1.0, 0.0, 1.0, 0.0]), Ok(ranges.clone()));
        for (shape, numbers, reason) in [
            (&[4][..], [0.0; 4], "its shape is [4]"),
            (&[2, 2], [0.0, 1.0, 2.0, 0.5], "dimension 1 (counted from 0) goes from 1 to 0.5"),
            (&[2, 2], [f32::NAN, 1.0, 2.0, 1.5], "dimension 0"),
            (&[2, 2], [0.0, f32::MIN, 2.0, f32::MAX], "dimension 1"),
        ] {
            let failure = write(shape, &numbers).unwrap_err();
            assert!(failure.contains(reason), "{failure}");
        }
        std::fs::write(&path, ranges.to_npy()).unwrap();
        assert_eq!(Ranges::read(&path).unwrap(), ranges);
    }

    proptest! {
        #[test]
        fn numbers_within_the_ranges_come_back_within_a_step(
            rows in proptest::collection::vec(proptest::collection::vec(-10.0f32..10.0, 5), 2..20),
        ) {
            let mut ranges = Ranges::new(5);
            rows.iter().for_each(|row| ranges.see(row));
            let quantizer = Quantizer::new(Quantization::Uint8, Some(&ranges));
            for row in &rows {
                let Numbers::Uint8(bytes) = quantizer.apply(row) else { panic!() };
                for ((number, byte), (start, step)) in row.iter().zip(bytes).zip(&quantizer.steps) {
                    let back = start + step * f32::from(byte);
                    prop_assert!((number - back).abs() <= step * 1.01, "{number} {back} {step}");
                }
            }
        }
    }
}

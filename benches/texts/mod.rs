//! The texts of the benchmarks: ordinary words by a fixed sequence, the same in every run.

/// What is asked of them.
pub const QUERY: &str = "how does the old library keep its books dry?";
const WORDS: [&str; 16] = [
    "library", "the", "of", "river", "books", "and", "keeps", "old", "question", "water", "in", "paper", "answer",
    "dry", "system", "city",
];

/// A fixed sequence of numbers (Knuth's linear congruential generator).
pub struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Between 0 and 1.
    fn unit(&mut self) -> f64 {
        self.next() as f64 / f64::from(1u32 << 31)
    }

    /// A text of so many words.
    pub fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| WORDS[self.next() as usize % WORDS.len()]).collect::<Vec<_>>().join(" ")
    }

    /// Of 8 to 40 words.
    pub fn short(&mut self) -> String {
        let words = 8 + self.next() as usize % 33;
        self.text(words)
    }

    /// Of 9 to 350 words: log-normal, with the sum of twelve uniform numbers for the normal one.
    pub fn mixed(&mut self) -> String {
        let normal = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        let words = (4.2 + 0.75 * normal).exp().clamp(9.0, 350.0) as usize;
        self.text(words)
    }
}

/// `n` texts.
pub fn documents(n: usize, make: impl Fn(&mut Sequence) -> String) -> Vec<String> {
    let mut sequence = Sequence(1);
    (0..n).map(|_| make(&mut sequence)).collect()
}

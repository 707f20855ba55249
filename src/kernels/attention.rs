//! Scaled dot-product attention (Vaswani et al. 2017): softmax(scale · Q Kᵀ + mask) · V, for each head.
//!
//! Queries, keys and values are read where a projection wrote them, `[batch, tokens, heads · size]`, and the result is
//! written in the same layout: nothing is transposed in memory but one head's keys at a time, on their way into the
//! kernel's order. Rows of scores never leave the cache.

use std::cell::RefCell;

use super::activation;
use super::aligned::Aligned;
use super::isa::Isa;
use super::matrix::{Store, Tile, multiply, tiles};
use super::team::in_parts;

/// Heads, and the numbers of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    pub(crate) size: usize,
}

impl Heads {
    /// The numbers of one token.
    pub(crate) fn width(self) -> usize {
        self.count * self.size
    }
}

/// What is added to the scores before the softmax.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mask<'a> {
    pub(crate) values: &'a [f32],
    /// How far it is from one text, head, and query to the next; 0 where one serves for all.
    pub(crate) strides: [usize; 3],
}

/// The operands of one call.
#[derive(Debug)]
pub(crate) struct Attention<'a> {
    pub(crate) isa: Isa,
    pub(crate) heads: Heads,
    pub(crate) scale: f32,
    pub(crate) batch: usize,
    /// Tokens that ask, and tokens that are asked; the former are the first of the latter or all of them.
    pub(crate) queries: usize,
    pub(crate) tokens: usize,
    /// The tokens that each text really has, where they may be fewer: what follows them is padding.
    pub(crate) lengths: Option<&'a [i64]>,
    /// `[batch, queries, width]`.
    pub(crate) query: &'a [f32],
    /// `[batch, tokens, width]`.
    pub(crate) key: &'a [f32],
    pub(crate) value: &'a [f32],
    pub(crate) mask: Option<Mask<'a>>,
}

/// What a thread needs for one head; kept for the next.
struct Scratch {
    keys: Aligned,
    values: Aligned,
    scores: Aligned,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        keys: Aligned::zeroed(0),
        values: Aligned::zeroed(0),
        scores: Aligned::zeroed(0),
    });
}

/// Heads of fewer products are not divided among threads.
const SMALLEST_PART: usize = 250_000;

/// Where the results go: each part writes its own columns.
struct Out(*mut f32);

// SAFETY: as above; the thread that owns the results waits for the others.
unsafe impl Sync for Out {}

/// More than any kernel computes at once.
const MOST_ROWS: usize = 16;
const NO_BIAS: [f32; 64] = [0.0; 64];

impl Attention<'_> {
    /// The tokens of a text that ask, and those that are asked, without its padding.
    fn sizes(&self, text: usize) -> (usize, usize) {
        let length = self.lengths.and_then(|lengths| usize::try_from(lengths[text]).ok());
        let length = length.map_or(self.tokens, |length| length.min(self.tokens));
        (self.queries.min(length), length)
    }

    /// Writes `[batch, queries, width]`; zeros for padding.
    pub(crate) fn run(&self, out: &mut [f32]) {
        let width = self.heads.width();
        assert!(
            self.query.len() == self.batch * self.queries * width
                && self.key.len() == self.batch * self.tokens * width
                && self.value.len() == self.key.len()
                && self.lengths.is_none_or(|lengths| lengths.len() == self.batch)
                && out.len() == self.query.len(),
            "the operands of attention do not fit each other"
        );
        if out.is_empty() {
            return;
        }
        if let Some(mask) = &self.mask {
            let last = (self.batch - 1) * mask.strides[0]
                + (self.heads.count - 1) * mask.strides[1]
                + (self.queries - 1) * mask.strides[2]
                + self.tokens;
            assert!(mask.values.len() >= last, "the mask of attention is too small");
        }
        // Without padding, a mask adds nothing.
        let mask = self.mask.filter(|mask| mask.values.iter().any(|value| *value != 0.0));
        let this = &Self { mask, ..*self };
        let out = Out(out.as_mut_ptr());
        let grain = SMALLEST_PART.div_ceil(self.queries * self.tokens * self.heads.size);
        in_parts(self.batch * self.heads.count, grain, |index| {
            let out = &out;
            let (text, head) = (index / self.heads.count, index % self.heads.count);
            // SAFETY: this part alone writes the columns of this head in the rows of this text.
            SCRATCH.with_borrow_mut(|scratch| unsafe {
                this.head(scratch, text, head, out.0.add(text * self.queries * width));
            });
        });
    }

    /// One head of one text.
    ///
    /// # Safety
    ///
    /// `out` must be the text's `[queries, width]`, and nobody else may touch the columns of this head.
    unsafe fn head(&self, scratch: &mut Scratch, text: usize, head: usize, out: *mut f32) {
        let Heads { size, .. } = self.heads;
        let (width, panel) = (self.heads.width(), self.isa.panel());
        let (queries, tokens) = self.sizes(text);
        for padding in queries..self.queries {
            // SAFETY: as the caller promises.
            unsafe { out.add(padding * width + head * size).write_bytes(0, size) };
        }
        let first = text * self.tokens * width + head * size;
        pack_columns(&mut scratch.keys, panel, tokens, size, |token| &self.key[first + token * width..][..size]);
        pack_rows(&mut scratch.values, panel, tokens, size, |token| &self.value[first + token * width..][..size]);
        let stride = tokens.next_multiple_of(panel);
        scratch.scores.grow(MOST_ROWS * stride * 4);
        let scales = [self.scale; MOST_ROWS];
        let query = &self.query[text * self.queries * width + head * size..];
        for (from, height) in tiles(queries, self.isa.rows()) {
            let tile = Tile {
                a: query[from * width..].as_ptr().cast(),
                a_stride: width * 4,
                b: std::ptr::null(),
                blocks: 1,
                groups: size,
                row_scales: scales.as_ptr(),
                row_offsets: std::ptr::null(),
                column_scales: std::ptr::null(),
                column_sums: std::ptr::null(),
                column_starts: std::ptr::null(),
                bias: NO_BIAS.as_ptr(),
                gelu: false,
                out: std::ptr::null_mut(),
                out_stride: stride,
                columns: panel,
            };
            let scores = scratch.scores.as_mut_ptr().cast::<f32>();
            for index in 0..tokens.div_ceil(panel) {
                // SAFETY: the queries are `height` rows of `size` numbers, the packed keys and the scores have whole
                // panels, and `isa` was detected.
                unsafe {
                    let b = scratch.keys.as_ptr().add(index * panel * size * 4);
                    multiply(self.isa, Store::F32, height, &Tile { b, out: scores.add(index * panel), ..tile });
                }
            }
            let mut sums = [1f32; MOST_ROWS];
            for (row, sum) in sums.iter_mut().enumerate().take(height) {
                let scores = &mut scratch.scores.as_floats()[row * stride..][..tokens];
                if let Some(mask) = &self.mask {
                    let [of_text, of_head, of_query] = mask.strides;
                    let mask = &mask.values[text * of_text + head * of_head + (from + row) * of_query..];
                    for (score, mask) in scores.iter_mut().zip(mask) {
                        *score += mask;
                    }
                }
                *sum = 1.0 / exponentials(self.isa, scores);
            }
            for index in 0..size.div_ceil(panel) {
                let at = from * width + head * size + index * panel;
                // SAFETY: the scores are `height` rows of at least `tokens` numbers, the packed values have whole panels,
                // and `out` has the head's columns in each row.
                unsafe {
                    let tile = Tile {
                        a: scratch.scores.as_ptr(),
                        a_stride: stride * 4,
                        b: scratch.values.as_ptr().add(index * panel * tokens * 4),
                        groups: tokens,
                        row_scales: sums.as_ptr(),
                        out: out.add(at),
                        out_stride: width,
                        columns: panel.min(size - index * panel),
                        ..tile
                    };
                    multiply(self.isa, Store::F32, height, &tile);
                }
            }
        }
    }
}

/// The rows `of(0..count)` become columns: `panel → number → row`.
fn pack_columns<'a>(out: &mut Aligned, panel: usize, count: usize, size: usize, of: impl Fn(usize) -> &'a [f32]) {
    out.grow(count.next_multiple_of(panel) * size * 4);
    let out = out.as_floats();
    for first in (0..count).step_by(panel) {
        let out = &mut out[first * size..][..panel * size];
        for column in 0..panel {
            let values = if first + column < count { of(first + column) } else { &[] };
            for (number, slot) in out[column..].iter_mut().step_by(panel).enumerate() {
                *slot = values.get(number).copied().unwrap_or(0.0);
            }
        }
    }
}

/// The rows `of(0..count)` stay rows, cut into panels: `panel → row → number`.
fn pack_rows<'a>(out: &mut Aligned, panel: usize, count: usize, size: usize, of: impl Fn(usize) -> &'a [f32]) {
    out.grow(size.next_multiple_of(panel) * count * 4);
    let out = out.as_floats();
    for first in (0..size).step_by(panel) {
        let filled = panel.min(size - first);
        let out = &mut out[first * count..][..panel * count];
        for (row, slots) in out.chunks_exact_mut(panel).enumerate() {
            slots[..filled].copy_from_slice(&of(row)[first..first + filled]);
            slots[filled..].fill(0.0);
        }
    }
}

/// Replaces scores by e^(score − the largest), and returns their sum: the softmax but for the division.
fn exponentials(isa: Isa, scores: &mut [f32]) -> f32 {
    match isa {
        Isa::Portable => exponentials_generic::<false>(scores),
        // SAFETY: these instruction sets were detected.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => unsafe { exponentials_avx2(scores) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { exponentials_avx512(scores) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot => exponentials_generic::<true>(scores),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn exponentials_avx2(scores: &mut [f32]) -> f32 {
    exponentials_generic::<true>(scores)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn exponentials_avx512(scores: &mut [f32]) -> f32 {
    exponentials_generic::<true>(scores)
}

/// The largest score of many at a time, and sums in as many parts: in one, each addition would wait for the last.
#[inline(always)]
fn exponentials_generic<const FMA: bool>(scores: &mut [f32]) -> f32 {
    const LANES: usize = 32;
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = scores.as_chunks_mut::<LANES>();
    for chunk in chunks.iter() {
        for (largest, score) in largest.iter_mut().zip(chunk) {
            *largest = greater(*score, *largest);
        }
    }
    let largest = rest.iter().copied().fold(activation::fold(largest, greater), greater);
    // Where every score is −∞, as behind a mask of a whole row, all count the same.
    let largest = if largest == f32::NEG_INFINITY { 0.0 } else { largest };
    let mut sums = [0f32; LANES];
    for chunk in chunks {
        for (score, sum) in chunk.iter_mut().zip(&mut sums) {
            *score = activation::exp::<FMA>(*score - largest);
            *sum += *score;
        }
    }
    for (score, sum) in rest.iter_mut().zip(&mut sums) {
        *score = activation::exp::<FMA>(*score - largest);
        *sum += *score;
    }
    activation::fold(sums, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADS: Heads = Heads { count: 3, size: 20 };

    fn run(isa: Isa, texts: &[&[f32]], tokens: usize, lengths: Option<&[i64]>, queries: usize) -> Vec<f32> {
        let width = HEADS.width();
        // Padding must not be read: NaN would show.
        let padded = |tokens: usize| -> Vec<f32> {
            let text = |text: &&[f32]| {
                let mut values = text.to_vec();
                values.resize(values.len().max(tokens * width), f32::NAN);
                values.truncate(tokens * width);
                values
            };
            texts.iter().flat_map(text).collect()
        };
        let (query, all) = (padded(queries), padded(tokens));
        let mut out = vec![f32::NAN; query.len()];
        let batch = texts.len();
        let operands = Attention {
            isa,
            heads: HEADS,
            scale: 0.3,
            batch,
            queries,
            tokens,
            lengths,
            query: &query,
            key: &all,
            value: &all,
            mask: None,
        };
        operands.run(&mut out);
        out
    }

    /// A text's queries, keys and values, which are all the same.
    fn text(tokens: usize, seed: usize) -> Vec<f32> {
        (0..tokens * HEADS.width()).map(|i| (((i + seed) * 37 + 11) as f32 * 0.731).sin() * 2.0).collect()
    }

    /// Attention in double precision.
    fn reference(text: &[f32], tokens: usize, queries: usize) -> Vec<f32> {
        let Heads { count, size } = HEADS;
        let of = |token: usize, head: usize| &text[token * HEADS.width() + head * size..][..size];
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let mut out = Vec::new();
        for (query, head) in (0..queries).flat_map(|query| (0..count).map(move |head| (query, head))) {
            let scores: Vec<f64> = (0..tokens).map(|key| 0.3 * dot(of(query, head), of(key, head))).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            for number in 0..size {
                let sum: f64 = (0..tokens).map(|key| weights[key] * f64::from(of(key, head)[number])).sum();
                out.push((sum / total) as f32);
            }
        }
        out
    }

    #[test]
    fn results_are_right() {
        for (tokens, queries) in [(1, 1), (2, 2), (15, 15), (70, 70), (513, 3)] {
            let text = text(tokens, tokens);
            let should = reference(&text, tokens, queries);
            for isa in Isa::available() {
                let is = run(isa, &[&text], tokens, None, queries);
                let error = is.iter().zip(&should).map(|(is, should)| (is - should).abs()).fold(0.0, f32::max);
                assert!(error < 1e-5, "{isa:?}, {tokens} tokens: {error}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_spoils_its_text_alone() {
        let (clean, whole) = (text(40, 1), text(40, 2));
        for isa in Isa::available() {
            let alone = run(isa, &[&clean], 40, None, 40);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut spoilt = whole.clone();
                spoilt[33 * HEADS.width() + 4] = bad;
                let both = run(isa, &[&spoilt, &clean], 40, None, 40);
                let (of_spoilt, of_clean) = both.split_at(alone.len());
                assert_eq!(of_clean, alone, "{isa:?}");
                let spoilt = |row: &[f32]| row.iter().any(|value| !value.is_finite());
                assert!(of_spoilt.chunks(HEADS.width()).all(spoilt), "{isa:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        /// A text behind which there is padding has the bits that it has alone, and its padding becomes zeros.
        #[test]
        fn padding_is_skipped(lengths in proptest::collection::vec(1usize..70, 1..5), more in 0usize..9, first: bool) {
            let width = HEADS.width();
            let numbers = |i: usize| ((i * 37 + 11) as f32 * 0.731).sin() * 2.0;
            let texts: Vec<Vec<f32>> =
                lengths.iter().map(|length| (0..length * width).map(|i| numbers(i + length)).collect()).collect();
            let texts: Vec<&[f32]> = texts.iter().map(Vec::as_slice).collect();
            let tokens = lengths.iter().max().unwrap() + more;
            let counts: Vec<i64> = lengths.iter().map(|length| *length as i64).collect();
            for isa in Isa::available() {
                let queries = |tokens: usize| if first { 1 } else { tokens };
                let together = run(isa, &texts, tokens, Some(&counts), queries(tokens));
                for ((is, text), length) in together.chunks(queries(tokens) * width).zip(&texts).zip(&lengths) {
                    let alone = run(isa, &[text], *length, None, queries(*length));
                    let (is, padding) = is.split_at(alone.len());
                    prop_assert!(is.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?}");
                    prop_assert!(padding.iter().all(|value| *value == 0.0), "{isa:?}");
                }
            }
        }
    }
}

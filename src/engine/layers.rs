//! Layers on the texts of a batch: which rows are computed, and in which numbers.

use std::cell::RefCell;
use std::ops::Range;

use crate::graph::Layer;

/// Where the texts of a batch lie in its rows.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    texts: Vec<Text>,
    rows: usize,
}

/// The rows of one text.
#[derive(Debug, Clone)]
struct Text {
    /// Those of the query.
    query: Range<usize>,
    /// Those of the document.
    document: Range<usize>,
}

/// Rows of which two layers are computed one after the other: what lies between them stays in the cache.
const ROWS_AT_ONCE: usize = 96;

thread_local! {
    /// What lies between two layers; kept for the next.
    static BETWEEN: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Texts {
    /// Texts with `tokens` rows each. Of these, `lengths` come first and are no padding, and of those `of_query` are the
    /// query's.
    pub(super) fn new(tokens: usize, lengths: &[i64], of_query: Option<&[i64]>) -> Self {
        // Where a layer sees first tokens alone, texts have more tokens than it has rows.
        let at_most = |count: i64, most: usize| usize::try_from(count).map_or(most, |count| count.min(most));
        let text = |(text, length): (usize, &i64)| {
            let (first, length) = (text * tokens, at_most(*length, tokens));
            let of_query = of_query.and_then(|all| all.get(text)).map_or(0, |count| at_most(*count, length));
            Text { query: first..first + of_query, document: first + of_query..first + length }
        };
        Self { texts: lengths.iter().enumerate().map(text).collect(), rows: lengths.len() * tokens }
    }

    /// Rows that have no tokens any more, as behind a pooling, and so are no document's.
    pub(super) fn of_rows(rows: usize) -> Self {
        Self { texts: vec![Text { query: 0..rows, document: rows..rows }], rows }
    }

    /// The texts' parts within a window of the rows, counted from its start.
    fn within(&self, window: &Range<usize>) -> Self {
        let clip = |rows: &Range<usize>| {
            let clip = |row: usize| row.clamp(window.start, window.end) - window.start;
            clip(rows.start)..clip(rows.end)
        };
        let texts = self.texts.iter().filter(|text| text.query.start < window.end && text.document.end > window.start);
        let texts = texts.map(|text| Text { query: clip(&text.query), document: clip(&text.document) });
        Self { texts: texts.collect(), rows: window.len() }
    }

    /// The rows behind the texts.
    fn padding(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = self.texts.iter().skip(1).map(|text| text.query.start).chain([self.rows]);
        self.texts.iter().zip(starts).map(|(text, next)| text.document.end..next)
    }
}

impl Layer {
    pub(super) fn inputs(&self) -> usize {
        self.coarse.inputs()
    }

    pub(super) fn columns(&self) -> usize {
        self.coarse.columns()
    }

    /// Computes the rows of all texts, those of queries precisely where the layer can, and makes zeros of padding.
    pub(super) fn run(&self, texts: &Texts, rows: &[f32], out: &mut [f32]) {
        self.compute(texts, rows, out);
        let columns = self.columns();
        for padding in texts.padding() {
            out[padding.start * columns..padding.end * columns].fill(0.0);
        }
    }

    /// Computes the rows of all texts, and leaves padding as it is.
    fn compute(&self, texts: &Texts, rows: &[f32], out: &mut [f32]) {
        let all = || texts.texts.iter().cloned();
        match &self.precise {
            Some(precise) => {
                precise.run(rows, out, all().map(|text| text.query));
                self.coarse.run(rows, out, all().map(|text| text.document));
            }
            None => self.coarse.run(rows, out, all().map(|text| text.query.start..text.document.end)),
        }
    }
}

/// Computes one layer after the other, as [`Layer::run`] does each, for some rows at a time.
pub(super) fn feed_forward(first: &Layer, then: &Layer, texts: &Texts, rows: &[f32], out: &mut [f32]) {
    let count = texts.rows;
    BETWEEN.with_borrow_mut(|between| {
        for start in (0..count).step_by(ROWS_AT_ONCE) {
            let window = start..count.min(start + ROWS_AT_ONCE);
            let texts = texts.within(&window);
            let needed = window.len() * first.columns();
            if between.len() < needed {
                between.resize(needed, 0.0);
            }
            let between = &mut between[..needed];
            let out = &mut out[window.start * then.columns()..window.end * then.columns()];
            out.fill(0.0);
            first.compute(&texts, &rows[window.start * first.inputs()..window.end * first.inputs()], between);
            then.compute(&texts, between, out);
        }
    });
}

//! What is cut when a pair has more tokens than the model takes.

/// Which of the two texts gives way, by the names that `transformers` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TruncationStrategy {
    /// Only the document is cut: the query stays whole. A query that leaves no room for a single token of the
    /// document is itself cut, to half of the room or what a short document leaves of it, and reported
    /// (`transformers` refuses such a pair).
    #[default]
    OnlySecond,
    /// The longer of the two is cut until both have the same length, then both.
    LongestFirst,
}

/// Which end of a text is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TruncationSide {
    /// The end of the text is dropped.
    #[default]
    Right,
    /// The beginning of the text is dropped.
    Left,
}

/// How over-long inputs are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Truncation {
    pub(crate) strategy: TruncationStrategy,
    pub(crate) side: TruncationSide,
}

impl Truncation {
    /// Which of the two texts of a pair gives way.
    #[must_use]
    pub fn with_strategy(mut self, strategy: TruncationStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Which end of a text is dropped.
    #[must_use]
    pub fn with_side(mut self, side: TruncationSide) -> Self {
        self.side = side;
        self
    }

    /// Which of the two texts of a pair gives way.
    pub fn strategy(&self) -> TruncationStrategy {
        self.strategy
    }

    /// Which end of a text is dropped.
    pub fn side(&self) -> TruncationSide {
        self.side
    }

    /// Whether it is the document alone that gives way.
    pub(crate) fn cuts_documents(&self) -> bool {
        self.strategy == TruncationStrategy::OnlySecond
    }

    /// How many tokens of the query and of the document stay, given their numbers and the room for both.
    pub(crate) fn split(&self, query: usize, document: usize, room: usize) -> (usize, usize) {
        if query + document <= room {
            return (query, document);
        }
        match self.strategy {
            TruncationStrategy::OnlySecond => {
                let for_document = if query < room { room - query } else { room - room / 2 };
                let kept = document.min(for_document);
                (query.min(room - kept), kept)
            }
            TruncationStrategy::LongestFirst => longest_first(query, document, room),
        }
    }

    /// The `keep` tokens that stay.
    pub(crate) fn cut<'a>(&self, ids: &'a [u32], keep: usize) -> &'a [u32] {
        match self.side {
            TruncationSide::Right => &ids[..keep],
            TruncationSide::Left => &ids[ids.len() - keep..],
        }
    }
}

/// The rule of the crate `tokenizers` (and so of `transformers`' fast tokenizers): the shorter text stays whole if it
/// takes at most half; otherwise both get half, the odd token going to the longer one (to the second, if equal).
fn longest_first(query: usize, document: usize, room: usize) -> (usize, usize) {
    let (short, long) = (query.min(document), query.max(document));
    let short_kept = if 2 * short <= room { short } else { room / 2 };
    let long_kept = long.min(room - short_kept);
    if query > document { (long_kept, short_kept) } else { (short_kept, long_kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(strategy: TruncationStrategy, query: usize, document: usize, room: usize) -> (usize, usize) {
        Truncation::default().with_strategy(strategy).split(query, document, room)
    }

    #[test]
    fn the_document_gives_way() {
        use TruncationStrategy::OnlySecond;
        assert_eq!(split(OnlySecond, 10, 20, 61), (10, 20));
        assert_eq!(split(OnlySecond, 10, 90, 61), (10, 51));
        assert_eq!(split(OnlySecond, 60, 90, 61), (60, 1));
        assert_eq!(split(OnlySecond, 61, 90, 61), (30, 31));
        assert_eq!(split(OnlySecond, 700, 0, 61), (61, 0));
        assert_eq!(split(OnlySecond, 700, 5, 61), (56, 5));
    }

    #[test]
    fn the_longer_text_gives_way_first() {
        use TruncationStrategy::LongestFirst;
        assert_eq!(split(LongestFirst, 10, 90, 61), (10, 51));
        assert_eq!(split(LongestFirst, 90, 10, 61), (51, 10));
        assert_eq!(split(LongestFirst, 90, 90, 61), (30, 31));
        assert_eq!(split(LongestFirst, 90, 80, 61), (31, 30));
        assert_eq!(split(LongestFirst, 31, 31, 61), (30, 31));
    }
}

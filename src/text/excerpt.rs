//! Tokenising texts that are far longer than a model's limit, without tokenising all of them.
//!
//! Only the first tokens of a text count (the last ones, when the beginning is dropped). Tokenizers work on words, so
//! the tokens at one end of a text do not depend on what stands thousands of words away: for a text of more than
//! [`EXACT_BYTES`] an excerpt is tokenised that ends at white space and has at least [`SLACK`] tokens more than the
//! model takes, and is made longer until it has, up to [`MOST_BYTES`]: a tokenizer needs some fifty bytes of memory for
//! each byte of text. A document of 5 MB costs little more memory than one of 64 KB. A megabyte with fewer tokens than a
//! model takes (one endless word, or nothing but white space) is not text that anyone ranks; what follows it is left
//! out, and reported as cut.

use super::truncation::TruncationSide;
use crate::error::Result;

/// Texts up to this size are tokenised whole: their number of tokens is known exactly.
pub(super) const EXACT_BYTES: usize = 64 << 10;

/// No longer excerpt is tokenised, unless a model takes so many tokens that it needs one.
const MOST_BYTES: usize = 1 << 20;

/// Tokens near the cut that are not relied on.
pub(super) const SLACK: usize = 64;

/// The tokens of a text, or of an excerpt of it.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) ids: Vec<u32>,
    /// There is more text than was tokenised.
    pub(super) partial: bool,
}

impl Encoded {
    /// The number of tokens that are left out when `kept` are kept: a lower bound of an excerpt.
    pub(super) fn dropped(&self, kept: usize) -> usize {
        (self.ids.len() - kept).max(usize::from(self.partial))
    }
}

/// Encodes the text, or an excerpt of it that has more than `needed` tokens or as many as can be afforded.
pub(super) fn encode(
    text: &str,
    needed: usize,
    side: TruncationSide,
    encode: impl Fn(&str) -> Result<Vec<u32>>,
) -> Result<Encoded> {
    Ok(encode_part(text, needed, side, encode)?.1)
}

/// As [`encode`], with the part of the text that was encoded.
pub(super) fn encode_part(
    text: &str,
    needed: usize,
    side: TruncationSide,
    encode: impl Fn(&str) -> Result<Vec<u32>>,
) -> Result<(&str, Encoded)> {
    let mut bytes = EXACT_BYTES.max(needed.saturating_mul(16));
    let most = MOST_BYTES.max(needed.saturating_mul(64));
    while bytes < text.len() {
        let part = excerpt(text, bytes, side);
        let ids = encode(part)?;
        if ids.len() >= needed.saturating_add(SLACK) || bytes == most {
            let rest = match side {
                TruncationSide::Right => &text[part.len()..],
                TruncationSide::Left => &text[..text.len() - part.len()],
            };
            return Ok((part, Encoded { ids, partial: rest.contains(|c: char| !c.is_whitespace()) }));
        }
        bytes = most.min(bytes.saturating_mul(4));
    }
    Ok((text, Encoded { ids: encode(text)?, partial: false }))
}

/// About `bytes` bytes of one end of the text, cut at white space where there is some near.
fn excerpt(text: &str, bytes: usize, side: TruncationSide) -> &str {
    match side {
        TruncationSide::Right => {
            let end = text.floor_char_boundary(bytes);
            let head = &text[..end];
            let from = head.floor_char_boundary(end - end / 8);
            match head[from..].rfind(char::is_whitespace) {
                Some(at) => &head[..from + at],
                None => head,
            }
        }
        TruncationSide::Left => {
            let start = text.ceil_char_boundary(text.len() - bytes);
            let tail = &text[start..];
            let until = tail.floor_char_boundary(tail.len() / 8);
            match tail[..until].find(char::is_whitespace) {
                Some(at) => &tail[at..],
                None => tail,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_end_at_white_space() {
        let text = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron".repeat(3);
        assert!(excerpt(&text, 100, TruncationSide::Right).len() <= 100);
        let left = excerpt(&text, 100, TruncationSide::Left);
        assert!(left.starts_with(char::is_whitespace) && text.ends_with(left));
    }

    #[test]
    fn excerpts_of_text_without_white_space_respect_characters() {
        let text = "漢字".repeat(100);
        for side in [TruncationSide::Right, TruncationSide::Left] {
            let part = excerpt(&text, 100, side);
            assert!(!part.is_empty() && part.len() <= 102);
        }
    }
}

//! Cutting a long document into windows that fit the model.
//!
//! A window is a part of the text, not of its tokens: it is tokenised again as a document of its own, and reads like one.
//! Only so much of the text as a window may take is tokenised at a time, so that a document of megabytes needs no more
//! memory than a short one.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::error::Result;
use crate::windows::{Combine, WindowOptions};

/// A text that is tokenised again by itself may have a token or two more than it had in the whole: a space before its
/// first word counts, or not.
const SLACK: usize = 8;

/// Smaller windows are of no use: the document is cut instead.
const FEWEST_TOKENS: usize = 16;

/// No more text is tokenised for one window: a megabyte with fewer tokens than a model takes is nothing that anyone ranks.
const MOST_BYTES: usize = 1 << 20;

/// The windows of a text with at most `room` tokens each; none if it fits as it is, or if the room is too small for any.
///
/// Where the first window alone counts ([`Combine::First`]), it is the only one.
///
/// `tokenise` gives the byte range of each token of a text. Where [`WindowOptions::most`] ends the list early, the last
/// window reaches to the end of the text, so that the rest is cut and counted like that of any other document.
pub(super) fn windows(
    text: &str,
    room: usize,
    options: &WindowOptions,
    tokenise: impl Fn(&str) -> Result<Vec<Range<usize>>>,
) -> Result<Vec<Range<usize>>> {
    let Some(room) = room.checked_sub(SLACK).filter(|room| *room >= FEWEST_TOKENS) else { return Ok(Vec::new()) };
    let overlap = options.overlap.min(room / 2);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let rest = &text[start..];
        if found.len() + 1 == options.most {
            found.push(start..text.len());
            break;
        }
        let Some((piece, tokens)) = piece(rest, room, &tokenise)? else {
            found.push(start..text.len());
            break;
        };
        let end = end_of_window(piece, &tokens, room);
        found.push(start..start + end);
        if options.combine == Combine::First && !text[start + end..].trim().is_empty() {
            return Ok(found);
        }
        start += start_of_next(piece, &tokens, end, overlap);
    }
    // What is nothing but white space has nothing to be read for.
    found.retain(|window| !text[window.clone()].trim().is_empty());
    Ok(if found.len() > 1 { found } else { Vec::new() })
}

/// A part of a text and the places of its tokens.
type Piece<'a> = (&'a str, Vec<Range<usize>>);

/// The beginning of a text, with more tokens than the room (with [`SLACK`]); nothing if all of it fits.
fn piece<'a>(
    text: &'a str,
    room: usize,
    tokenise: &impl Fn(&str) -> Result<Vec<Range<usize>>>,
) -> Result<Option<Piece<'a>>> {
    let mut bytes = room.saturating_mul(8).min(MOST_BYTES);
    loop {
        let piece = &text[..text.floor_char_boundary(bytes)];
        let tokens = tokenise(piece)?;
        let all = piece.len() == text.len();
        if all && tokens.len() <= room + SLACK {
            return Ok(None);
        }
        // The last tokens of a piece may be those of half a word: they are not to be among the window's.
        if tokens.len() > room + room / 4 || all || bytes >= MOST_BYTES {
            return Ok(Some((piece, tokens)));
        }
        bytes = bytes.saturating_mul(2).min(MOST_BYTES);
    }
}

/// Where the window that begins with the piece ends: after a sentence, else after a word, else after a token.
fn end_of_window(piece: &str, tokens: &[Range<usize>], room: usize) -> usize {
    let Some(last) = tokens.get(room.min(tokens.len()).saturating_sub(1)) else { return piece.len() };
    let last = piece.floor_char_boundary(last.end);
    let from = tokens.get(room - room / 4).map_or(0, |token| piece.floor_char_boundary(token.start));
    let (from, last) = (from.min(last), last.max(1));
    let last = piece.ceil_char_boundary(last);
    let part = &piece[from..last];
    sentence_starts(part)
        .chain(closing_sentence(piece, last).map(|end| end - from))
        .filter(|at| *at > 0)
        .last()
        .or_else(|| part.rfind(char::is_whitespace).filter(|at| *at > 0))
        .map_or(last, |at| from + at)
}

/// The end of the part, if a sentence of the whole ends just there.
fn closing_sentence(piece: &str, end: usize) -> Option<usize> {
    let next = piece[end..].chars().next();
    let ends = piece[..end].trim_end().ends_with(['.', '!', '?', '。', '！', '？', '\n']);
    (ends && next.is_none_or(char::is_whitespace)).then_some(end)
}

/// Where the next window begins, counted from the beginning of this one: after it, or `overlap` tokens before its end.
fn start_of_next(piece: &str, tokens: &[Range<usize>], end: usize, overlap: usize) -> usize {
    let after = tokens.partition_point(|token| token.start < end);
    let first = after.saturating_sub(overlap).max(1);
    let from = tokens.get(first).map_or(end, |token| piece.floor_char_boundary(token.start)).min(end);
    let part = &piece[from..end];
    let begin = sentence_starts(part).find(|at| *at > 0).or_else(|| part.find(char::is_whitespace)).map(|at| from + at);
    begin.filter(|begin| *begin > 0).unwrap_or(end)
}

/// Where sentences begin (Unicode Standard Annex 29).
fn sentence_starts(text: &str) -> impl Iterator<Item = usize> {
    text.split_sentence_bound_indices().map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A token for each word and each mark.
    fn words(text: &str) -> Result<Vec<Range<usize>>> {
        Ok(text.unicode_word_indices().map(|(at, word)| at..at + word.len()).collect())
    }

    fn cut(text: &str, room: usize, options: WindowOptions) -> Vec<&str> {
        windows(text, room, &options, words).unwrap().into_iter().map(|window| &text[window]).collect()
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert!(cut("a few words", 30, WindowOptions::new()).is_empty());
        assert!(cut("", 30, WindowOptions::new()).is_empty());
        assert!(cut(&"word ".repeat(100), 10, WindowOptions::new()).is_empty(), "too little room for windows");
    }

    #[test]
    fn windows_end_with_sentences_and_overlap_by_whole_ones() {
        let text: String = (0..40).map(|n| format!("Sentence {n} has exactly seven words now. ")).collect();
        let windows = cut(&text, 40, WindowOptions::new().overlap(10));
        assert!(windows.len() > 5);
        for window in &windows {
            assert!(window.starts_with("Sentence") && window.trim_end().ends_with("now."), "{window:?}");
            assert!(words(window).unwrap().len() <= 38);
        }
        let firsts: Vec<&str> = windows.iter().map(|window| &window[..11]).collect();
        assert!(firsts.windows(2).all(|pair| pair[0] != pair[1]), "{firsts:?}");
        let overlapping = windows.windows(2).filter(|pair| pair[0].contains(&pair[1][..24])).count();
        assert_eq!(overlapping, windows.len() - 1);
    }

    #[test]
    fn text_without_sentences_is_cut_between_words() {
        let text = "word ".repeat(200);
        for window in cut(&text, 30, WindowOptions::new()) {
            assert!(window.trim().split(' ').all(|word| word == "word"), "{window:?}");
        }
    }

    #[test]
    fn the_last_of_too_many_windows_has_the_rest() {
        let text = "A sentence of five words. ".repeat(100);
        let windows = cut(&text, 30, WindowOptions::new().most(3));
        assert_eq!(windows.len(), 3);
        assert!(text.ends_with(windows[2]) && windows[2].len() > 1000);
    }

    proptest! {
        #[test]
        fn windows_cover_the_text(
            text in "([a-zé漢]{1,9}[ .!?\n]{1,3}){0,300}", room in 18usize..80, overlap in 0usize..60,
        ) {
            let windows = windows(&text, room, &WindowOptions::new().overlap(overlap), words).unwrap();
            prop_assert!(windows.len() != 1);
            let mut covered = 0;
            for window in &windows {
                prop_assert!(text[covered..window.start.max(covered)].trim().is_empty(), "a gap");
                prop_assert!(window.end > covered, "no progress");
                prop_assert!(words(&text[window.clone()]).unwrap().len() <= room);
                covered = window.end;
            }
            if !windows.is_empty() {
                prop_assert!(text[covered..].trim().is_empty());
            }
        }
    }
}

//! Texts of any length: whole, folded, and as the beginning on one line.

use maud::{Markup, html};
use unicode_segmentation::UnicodeSegmentation;

use super::escape::visible;
use super::score::thousands;

/// A text with more characters, or more lines, is folded.
const CHARACTERS: usize = 420;
const LINES: usize = 8;
/// So much of a folded text is shown.
const BEGINNING: usize = 240;

/// The whole text. A long one is folded behind its beginning, and opens without a script.
///
/// The reading direction is the text's own, and its language is not known to be the page's.
pub(in crate::cli) fn passage(text: &str) -> Markup {
    let characters = text.chars().count();
    if characters <= CHARACTERS && text.lines().count() <= LINES {
        if text.trim().is_empty() {
            return html! { span.passage.quiet { (if text.is_empty() { "(empty)" } else { "(blank)" }) } };
        }
        return html! { div.passage dir="auto" lang="" { (text) } };
    }
    html! {
        details.passage {
            summary {
                span.beginning dir="auto" lang="" { (excerpt(text, BEGINNING)) }
                " "
                span.more { "Show all " (thousands(characters)) " characters" }
                span.less { "Show less" }
            }
            div.whole dir="auto" lang="" { (text) }
        }
    }
}

/// The text's beginning on one line, of at most so many characters; an ellipsis says that it was cut.
pub(in crate::cli) fn excerpt(text: &str, characters: usize) -> String {
    let mut line = String::new();
    let mut room = characters;
    let safe = visible(text.trim());
    // A cluster stays whole, unless it alone is too long: a letter may carry any number of marks.
    for cluster in safe.graphemes(true) {
        let blank = cluster.chars().all(char::is_whitespace);
        if blank && line.ends_with(' ') {
            continue;
        }
        let shown = if blank { " " } else { cluster };
        let length = shown.chars().count();
        if length > room {
            line.truncate(line.trim_end().len());
            if line.is_empty() {
                line.extend(shown.chars().take(characters));
            }
            line.push('…');
            break;
        }
        room -= length;
        line.push_str(shown);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_excerpt_is_one_line_and_says_where_it_ends() {
        assert_eq!(excerpt(" a\r\n\tb  c ", 9), "a b c");
        assert_eq!(excerpt("one two three", 8), "one two…");
        assert_eq!(excerpt("ab👩‍👩‍👧cd", 4), "ab…");
        assert_eq!(excerpt(&format!("e{}", "\u{301}".repeat(1000)), 3), "e\u{301}\u{301}…");
        assert_eq!(excerpt("\n", 3), "");
    }

    #[test]
    fn short_texts_are_whole_and_long_ones_folded() {
        assert_eq!(passage("a <b>").into_string(), r#"<div class="passage" dir="auto" lang="">a &lt;b&gt;</div>"#);
        let long = "word ".repeat(300);
        let folded = passage(&long).into_string();
        assert!(folded.starts_with("<details") && folded.contains("Show all 1,500 characters"), "{folded}");
        assert!(folded.contains(&format!(">{long}</div>")), "{folded}");
        assert!(passage(&"line\n".repeat(9)).into_string().starts_with("<details"));
    }

    proptest! {
        #[test]
        fn excerpts_are_short(text in any::<String>(), most in 1usize..40) {
            let line = excerpt(&text, most);
            prop_assert!(line.chars().count() <= most + 1 && !line.contains('\n'), "{line:?}");
        }
    }
}

//! Characters that must not reach a browser as they are.
//!
//! `<`, `>`, `&` and `"` are maud's business. Here are those that HTML has no right way to write (NUL and other control
//! characters, non-characters), and those that turn the reading direction of what follows around, with which a text can
//! show other words than it has ("Trojan Source", CVE-2021-42574).

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with each such character as its code point in brackets: `[U+202E]`. Line breaks become `\n`, as browsers read
/// them. Marks that only help a neutral character to its direction (LRM, RLM, ALM) stay: Arabic and Hebrew need them.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 64);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => safe.push('\n'),
            c if is_unsafe(c) => {
                // Writing to a String cannot fail.
                let _ = write!(safe, "[U+{:04X}]", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    let directional = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let no_character = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    control || directional || no_character
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(
            visible("a\0b\u{202e}c\u{2069}\u{7f}\u{85}\u{1b}[31m"),
            "a[U+0000]b[U+202E]c[U+2069][U+007F][U+0085][U+001B][31m"
        );
        assert_eq!(visible("a\r\nb\rc\n\td\u{10ffff}\u{fdd0}"), "a\nb\nc\n\td[U+10FFFF][U+FDD0]");
    }

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(visible("שלום\u{200f}! Ünïcode, 日本語 🙂\n\tnext"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in any::<String>()) {
            let safe = visible(&text).into_owned();
            prop_assert!(!safe.contains(is_unsafe));
            prop_assert_eq!(visible(&safe), safe.as_str());
        }
    }
}

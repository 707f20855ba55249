//! The document around a report's parts.

use maud::{DOCTYPE, Markup, html};

use super::escape::visible;

const STYLE: &str = include_str!("style.css");

/// Nothing may be fetched, run, sent or framed; only the style in the file itself counts. A report of strangers' texts
/// stays harmless even if one of them got through as markup.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A whole report.
pub(in crate::cli) struct Page<'a> {
    /// The title, which is the first heading too.
    pub(in crate::cli) title: &'a str,
    /// What stands beneath the title.
    pub(in crate::cli) introduction: Markup,
    /// Sections that begin with an `h2`.
    pub(in crate::cli) body: Markup,
}

impl Page<'_> {
    /// The file.
    pub(in crate::cli) fn render(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="referrer" content="no-referrer";
                    meta name="generator" content=(concat!("crossrank ", env!("CARGO_PKG_VERSION")));
                    title { (self.title) }
                    style { (maud::PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (self.title) }
                        (self.introduction)
                    }
                    main { (self.body) }
                    footer { "Made by crossrank " (env!("CARGO_PKG_VERSION")) ". This file needs no network and runs no script." }
                }
            }
        };
        // Our own markup has none of these characters, so that no text can be forgotten.
        let mut file = visible(&page.into_string()).into_owned();
        file.push('\n');
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn no_text_reaches_the_file_as_it_is() {
        let page = Page { title: "a\0<b>", introduction: html! { p { "\u{202e}" } }, body: html! {} };
        let file = page.render();
        assert!(file.contains("<h1>a[U+0000]&lt;b&gt;</h1><p>[U+202E]</p>"), "{file}");
    }

    #[test]
    fn the_style_fetches_nothing_and_cannot_end_early() {
        for word in ["url(", "@import", "</", "http"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }

    /// The colours that `style.css` gives to its names, in the light scheme and in the dark one.
    fn palettes() -> [HashMap<&'static str, [f64; 3]>; 2] {
        let (light, rest) = STYLE.split_once("@media (prefers-color-scheme: dark)").expect("a dark scheme");
        let (dark, _) = rest.split_once("/* end of the dark scheme */").expect("its end");
        [light, dark].map(|part| {
            let colours = part.lines().filter_map(|line| {
                let (name, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
                let channel = |at: usize| f64::from(u8::from_str_radix(&value[at..at + 2], 16).unwrap()) / 255.0;
                Some((name, [channel(0), channel(2), channel(4)]))
            });
            colours.collect()
        })
    }

    /// The contrast ratio of two colours: WCAG 2.2, "contrast ratio" and "relative luminance".
    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let luminance = |colour: [f64; 3]| {
            let [r, g, b] = colour.map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// WCAG 2.2 AA: 4.5 for text (1.4.3), 3 for what a figure is made of (1.4.11).
    #[test]
    fn both_schemes_have_contrast() {
        let texts = ["text", "quiet", "link", "rise", "fall", "warning"];
        let figures = ["level", "first", "second", "focus"];
        for palette in palettes() {
            for (names, least) in [(&texts[..], 4.5), (&figures[..], 3.0)] {
                for name in names {
                    for ground in ["ground", "panel"] {
                        let ratio = contrast(palette[name], palette[ground]);
                        assert!(ratio >= least, "{name} on {ground}: {ratio:.2}");
                    }
                }
            }
        }
    }
}

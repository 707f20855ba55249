//! Documents with their texts, and their places and scores in two orders.

use maud::{Markup, html};

use super::passage::passage;
use super::score::{Scale, Series, bar, number, thousands};
use super::slope::{Direction, Place};

/// A table of more is folded after so many.
const OPEN: usize = 30;
/// There is no sense in folding a few.
const SLACK: usize = 10;

/// A document of a [`Documents`] table.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Document<'a> {
    pub(in crate::cli) text: &'a str,
    pub(in crate::cli) left: Option<Place>,
    pub(in crate::cli) right: Option<Place>,
    /// Scores that others published, for the left and the right order.
    pub(in crate::cli) published: [Option<f32>; 2],
    /// What else is to be said, such as that it was cut.
    pub(in crate::cli) notes: Vec<String>,
    /// What else is known of it, in small print.
    pub(in crate::cli) remark: Option<String>,
}

/// A table of documents in the right order. On a narrow screen each row becomes a block.
pub(in crate::cli) struct Documents<'a> {
    /// Unique in the page; the ids of its parts begin with it.
    pub(in crate::cli) id: &'a str,
    pub(in crate::cli) caption: &'a str,
    /// What the two orders are called, and what their bars reach to.
    pub(in crate::cli) left: &'a str,
    pub(in crate::cli) left_scale: Scale,
    pub(in crate::cli) right: &'a str,
    pub(in crate::cli) right_scale: Scale,
    pub(in crate::cli) rows: Vec<Document<'a>>,
}

impl Documents<'_> {
    pub(in crate::cli) fn render(mut self) -> Markup {
        // Those without a place in the right order follow, in the left one.
        let key = |place: Option<Place>| place.map_or(usize::MAX, |place| place.rank);
        self.rows.sort_by_key(|row| (key(row.right), key(row.left)));
        let open = if self.rows.len() > OPEN + SLACK { OPEN } else { self.rows.len() };
        let (shown, folded) = self.rows.split_at(open);
        html! {
            (self.table(self.id, self.caption, shown))
            @if !folded.is_empty() {
                details.rest {
                    summary { "The other " (thousands(folded.len())) " documents" }
                    (self.table(&format!("{}-rest", self.id), "The other documents", folded))
                }
            }
        }
    }

    /// The roles are those that the elements have anyway. They are said because browsers forget them where the style makes
    /// blocks of rows.
    fn table(&self, id: &str, caption: &str, rows: &[Document<'_>]) -> Markup {
        html! {
            table.documents id=(id) role="table" {
                caption { (caption) }
                thead role="rowgroup" {
                    tr role="row" {
                        th.rank scope="col" role="columnheader" { "Place" }
                        th.move scope="col" role="columnheader" { "Move" }
                        th.document scope="col" role="columnheader" { "Document" }
                        th.score scope="col" role="columnheader" { (self.left) }
                        th.score scope="col" role="columnheader" { (self.right) }
                    }
                }
                tbody role="rowgroup" { @for row in rows { (self.row(row)) } }
            }
        }
    }

    fn row(&self, row: &Document<'_>) -> Markup {
        let [published_left, published_right] = row.published;
        html! {
            tr role="row" {
                th.rank scope="row" role="rowheader" {
                    @match row.right {
                        Some(place) => (thousands(place.rank)),
                        None => span title="no place" { "–" span.unseen { " no place" } },
                    }
                }
                td.move role="cell" { (movement(row.left, row.right)) }
                td.document role="cell" {
                    (passage(row.text))
                    @for note in &row.notes { div.note { (note) } }
                    @if let Some(remark) = &row.remark { div.detail { (remark) } }
                }
                (score(self.left, row.left, published_left, self.left_scale, Series::First))
                (score(self.right, row.right, published_right, self.right_scale, Series::Second))
            }
        }
    }
}

/// Whence a document came: `▲ 2 from 3`.
fn movement(left: Option<Place>, right: Option<Place>) -> Markup {
    let Some(direction) = Direction::between(left, right) else {
        return match left {
            Some(place) => html! { "from " (thousands(place.rank)) },
            None => html! { "new" },
        };
    };
    let from = left.map_or(0, |place| place.rank);
    let step = |sign: &str, word: &str, by: usize| {
        html! {
            span class=(direction.class()) { span aria-hidden="true" { (sign) } span.unseen { (word) } " " (thousands(by)) }
            " " span.quiet { "from " (thousands(from)) }
        }
    };
    match direction {
        Direction::Rises(by) => step("▲", "up", by),
        Direction::Falls(by) => step("▼", "down", by),
        Direction::Stays => html! { span.quiet { "stays" } },
    }
}

fn score(name: &str, place: Option<Place>, published: Option<f32>, scale: Scale, series: Series) -> Markup {
    html! {
        td.score role="cell" {
            // The column's heading, where the style hides it.
            span.name aria-hidden="true" { (name) }
            @match place {
                Some(place) => { (number(place.score)) (bar(scale, place.score, series)) },
                None => span.none { "not scored" },
            }
            @if let Some(published) = published { span.published { "published " (number(published)) } }
        }
    }
}

//! Tables of numbers and short words.

use maud::{Markup, html};

/// A column of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column<'a> {
    heading: &'a str,
    numeric: bool,
}

impl<'a> Column<'a> {
    /// A column of words.
    pub(in crate::cli) fn words(heading: &'a str) -> Self {
        Self { heading, numeric: false }
    }

    /// A column of numbers: they stand beneath each other.
    pub(in crate::cli) fn numbers(heading: &'a str) -> Self {
        Self { heading, numeric: true }
    }

    fn class(self) -> Option<&'static str> {
        self.numeric.then_some("numeric")
    }
}

/// A table whose first column heads its rows. One that is too wide scrolls in its own box.
pub(in crate::cli) struct Table<'a> {
    /// Unique in the page.
    pub(in crate::cli) id: &'a str,
    pub(in crate::cli) caption: &'a str,
    pub(in crate::cli) columns: &'a [Column<'a>],
    /// Each with a cell for each column.
    pub(in crate::cli) rows: Vec<Vec<Markup>>,
}

impl Table<'_> {
    pub(in crate::cli) fn render(&self) -> Markup {
        html! {
            // A box that scrolls must be within reach of the keyboard, and have a name then.
            div.scroll role="region" tabindex="0" aria-labelledby=(self.id) {
                table.plain {
                    caption id=(self.id) { (self.caption) }
                    thead {
                        tr {
                            @for column in self.columns {
                                th scope="col" class=[column.class()] { (column.heading) }
                            }
                        }
                    }
                    tbody {
                        @for row in &self.rows {
                            tr {
                                @for (place, (cell, column)) in row.iter().zip(self.columns).enumerate() {
                                    @if place == 0 {
                                        th scope="row" class=[column.class()] { (cell) }
                                    } @else {
                                        td class=[column.class()] { (cell) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A few figures, each with its name above it.
#[derive(Default)]
pub(in crate::cli) struct Facts(Vec<(&'static str, Markup)>);

impl Facts {
    #[must_use]
    pub(in crate::cli) fn with(mut self, name: &'static str, value: Markup) -> Self {
        self.0.push((name, value));
        self
    }

    pub(in crate::cli) fn render(&self) -> Markup {
        html! {
            dl.facts {
                @for (name, value) in &self.0 {
                    div {
                        dt { (name) }
                        dd { (value) }
                    }
                }
            }
        }
    }
}

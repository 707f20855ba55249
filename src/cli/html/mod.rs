//! Building blocks of reports in HTML.
//!
//! A report is one file that needs nothing else: no script, no font, no picture from elsewhere. Its parts are functions and
//! small types that give [`Markup`], joined by [`maud`], which escapes every text; [`Page`] puts them into a document with
//! the style of all reports (`style.css`), and makes characters that no one can see, or that turn the order of others
//! around, visible.

mod documents;
mod escape;
mod interval;
mod page;
mod passage;
mod score;
mod slope;
mod table;

pub(super) use maud::{Markup, html};

pub(super) use documents::{Document, Documents};
pub(super) use interval::{Range, interval};
pub(super) use page::Page;
pub(super) use passage::{excerpt, passage};
pub(super) use score::{Scale, duration, thousands};
pub(super) use slope::{Place, Slope, SlopeChart};
pub(super) use table::{Column, Facts, Table};

//! What a job counts: it is kept in the journal, so that the last report of a job that was resumed is the whole one's.

use serde::{Deserialize, Serialize};

use super::super::models::Cut;
use super::super::output::message;
use super::super::text::count;

/// Failed units whose names are kept.
const NAMED: usize = 20;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Tally {
    /// Units that are done, failed ones among them.
    pub(in super::super) units: u64,
    /// What was run for them: pairs, or texts.
    pub(in super::super) items: u64,
    pub(in super::super) failed: u64,
    /// Items with nothing to run: a row of a table without a text.
    #[serde(default)]
    pub(in super::super) missing: u64,
    /// The names of the first failed units.
    pub(in super::super) named: Vec<String>,
    /// Lines of a run for a query and a document that it had before.
    #[serde(default)]
    pub(in super::super) repeated: u64,
    pub(in super::super) cut_by_cross_encoder: Cut,
    pub(in super::super) cut_by_bi_encoder: Cut,
}

impl Tally {
    /// Counts a unit that failed; whether it is one of the first, whose reasons are shown.
    pub(super) fn count_failure(&mut self, name: &str) -> bool {
        self.failed += 1;
        let first = self.named.len() < NAMED;
        if first {
            self.named.push(name.to_owned());
        }
        first
    }

    /// Adds what a unit counted, and the unit.
    pub(super) fn add(&mut self, unit: &Tally) {
        self.units += 1;
        self.items += unit.items;
        self.missing += unit.missing;
        self.repeated += unit.repeated;
        self.cut_by_cross_encoder.add(&unit.cut_by_cross_encoder);
        self.cut_by_bi_encoder.add(&unit.cut_by_bi_encoder);
    }

    /// Says that a run had several lines for a query and a document, if it had.
    pub(in super::super) fn report_repeated(&self, run: &str) {
        if self.repeated > 0 {
            message(&format!(
                "warning: {run} has {} for a query and a document that it had before; the last one counts",
                count(self.repeated, "line")
            ));
        }
    }

    /// The failed units by name, as far as they were kept.
    pub(super) fn failed_names(&self) -> String {
        let more = self.failed - self.named.len() as u64;
        let names = self.named.join("; ");
        if more > 0 { format!("{names}; and {more} more") } else { names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failures_are_named() {
        let mut tally = Tally::default();
        let shown = (1..=23).filter(|n| tally.count_failure(&format!("line {n}"))).count();
        assert_eq!((shown, tally.failed), (NAMED, 23));
        assert!(tally.failed_names().starts_with("line 1; line 2; "));
        assert!(tally.failed_names().ends_with("line 20; and 3 more"));
    }
}

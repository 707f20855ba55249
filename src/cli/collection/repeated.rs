//! Ids that stand in a file more than once.

use super::super::output::message;
use super::super::text::count;

/// How often something stood in a file that had been there before, and the first such id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Repeated {
    pub(super) count: u64,
    pub(super) example: Option<String>,
}

impl Repeated {
    pub(super) fn add(&mut self, id: &str) {
        self.count += 1;
        self.example.get_or_insert_with(|| id.to_owned());
    }

    /// Says it, if there was any; `what` is what has the ids, in the singular.
    pub(in super::super) fn report(&self, file: &str, what: &str) {
        if let Some(id) = &self.example {
            message(&format!(
                "warning: {file} has {} for a {what} that it had before, such as {what} {id}; the last one counts",
                count(self.count, "line")
            ));
        }
    }
}

//! The report of what was cut, in JSON.

use serde::Serialize;

use crossrank::TruncatedDocument;

/// A document that was cut, or beside which the query was.
#[derive(Serialize)]
pub(super) struct JsonTruncated {
    index: usize,
    dropped_tokens: usize,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_query_tokens: usize,
    at_least: bool,
}

impl JsonTruncated {
    pub(super) fn list(truncated: &[TruncatedDocument]) -> Vec<Self> {
        let cut = |cut: &TruncatedDocument| Self {
            index: cut.index,
            dropped_tokens: cut.dropped_tokens,
            dropped_query_tokens: cut.dropped_query_tokens,
            at_least: cut.at_least,
        };
        truncated.iter().map(cut).collect()
    }
}

/// (serde gives a reference.)
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

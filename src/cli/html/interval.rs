//! A mean and its interval on a line, for a table's cell.

use maud::{Markup, html};

/// What the lines of a table reach to, so that they can be compared.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// From the least to the greatest of the values that are numbers.
    pub(in crate::cli) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low < high { Self { low, high } } else { Self { low: 0.0, high: 1.0 } }
    }

    /// Where a value lies, in percent; the ends leave room for the dot.
    fn position(self, value: f64) -> String {
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        format!("{:.2}%", 4.0 + 92.0 * part)
    }
}

/// The picture; its numbers are in the cells beside it.
pub(in crate::cli) fn interval(range: Range, mean: f64, (low, high): (f64, f64)) -> Markup {
    if !(mean.is_finite() && low.is_finite() && high.is_finite()) {
        return html! {};
    }
    html! {
        svg.interval aria-hidden="true" width="128" height="16" {
            line x1=(range.position(low)) x2=(range.position(high)) y1="50%" y2="50%" {}
            circle cx=(range.position(mean)) cy="50%" r="4" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_range_are_near_the_ends_of_the_picture() {
        let range = Range::of([0.2, f64::NAN, 0.6, 0.4]);
        assert_eq!([0.2, 0.4, 0.6, 9.0].map(|value| range.position(value)), ["4.00%", "50.00%", "96.00%", "96.00%"]);
        assert!(interval(range, f64::NAN, (0.0, 1.0)).into_string().is_empty());
        assert!(Range::of([]).position(0.5) == "50.00%" && Range::of([0.3]).position(0.5) == "50.00%");
    }
}

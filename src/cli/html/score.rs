//! Numbers: scores, also as bars, times, and counts.

use std::time::Duration;

use maud::{Markup, html};

/// Which of two lists a bar belongs to: they have different colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Series {
    First,
    Second,
}

/// The values that bars reach from and to. It holds 0, where they begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct Scale {
    low: f32,
    high: f32,
}

impl Scale {
    /// From 0 to 1 if all values are there, else from the least to the greatest of them and 0.
    pub(in crate::cli) fn of(values: impl IntoIterator<Item = f32>) -> Self {
        let (mut low, mut high) = (0.0f32, 0.0f32);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        let unit = (0.0..=1.0).contains(&low) && high <= 1.0;
        if unit || high <= low { Self { low: 0.0, high: 1.0 } } else { Self { low, high } }
    }

    /// The scale in words.
    pub(in crate::cli) fn describe(self) -> String {
        format!("from {} to {}", short(self.low), short(self.high))
    }

    /// How far from left to right a value lies, in percent.
    fn position(self, value: f32) -> f64 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        (100.0 * (f64::from(value) - low) / (high - low)).clamp(0.0, 100.0)
    }
}

/// A bar from 0 to the value. It says nothing that the number beside it does not.
pub(in crate::cli) fn bar(scale: Scale, value: f32, series: Series) -> Markup {
    let (zero, end) = (scale.position(0.0), scale.position(value));
    let class = match series {
        Series::First => "bar first",
        Series::Second => "bar second",
    };
    html! {
        svg class=(class) aria-hidden="true" width="100%" height="8" {
            rect.track width="100%" height="8" rx="1" {}
            rect.value x=(percent(zero.min(end))) width=(percent((end - zero).abs())) height="8" rx="1" {}
            @if scale.low < 0.0 {
                line.zero x1=(percent(zero)) x2=(percent(zero)) y1="0" y2="8" {}
            }
        }
    }
}

/// The value, short for people and exact for programs.
pub(in crate::cli) fn number(value: f32) -> Markup {
    html! { data.number value=(value) { (short(value)) } }
}

/// A time: for programs too. There is no line break before its unit.
pub(in crate::cli) fn duration(time: Duration) -> Markup {
    let seconds = time.as_secs_f64();
    let text = if seconds < 1.0 { format!("{:.1}\u{a0}ms", seconds * 1e3) } else { format!("{seconds:.2}\u{a0}s") };
    html! { time.number datetime={ "PT" (format!("{seconds:.4}")) "S" } { (text) } }
}

/// Four decimals, or two digits of what would be 0.00…
fn short(value: f32) -> String {
    let text = if value != 0.0 && value.abs() < 1e-3 { format!("{value:.1e}") } else { format!("{value:.4}") };
    text.replace('-', "−")
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

/// `12,345`
pub(in crate::cli) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_zero() {
        let scale = |values: &[f32]| Scale::of(values.iter().copied());
        assert_eq!(scale(&[0.2, 0.9]), Scale { low: 0.0, high: 1.0 });
        assert_eq!(scale(&[]), Scale { low: 0.0, high: 1.0 });
        assert_eq!(scale(&[0.0]), Scale { low: 0.0, high: 1.0 });
        assert_eq!(scale(&[-3.0, 7.0]), Scale { low: -3.0, high: 7.0 });
        assert_eq!(scale(&[-3.0, -1.0]), Scale { low: -3.0, high: 0.0 });
        assert_eq!(scale(&[2.0, 40.0]), Scale { low: 0.0, high: 40.0 });
        assert_eq!(scale(&[-0.1, 0.5]), Scale { low: -0.1, high: 0.5 });
    }

    #[test]
    fn bars_begin_at_zero() {
        let scale = Scale { low: -1.0, high: 3.0 };
        assert!(bar(scale, 1.0, Series::First).into_string().contains(r#"x="25.00%" width="25.00%""#));
        assert!(bar(scale, -0.5, Series::First).into_string().contains(r#"x="12.50%" width="12.50%""#));
        let extremes = Scale::of([f32::MIN, f32::MAX]);
        assert!(bar(extremes, f32::MAX, Series::Second).into_string().contains(r#"x="50.00%" width="50.00%""#));
    }

    #[test]
    fn numbers_are_short_and_exact() {
        assert_eq!(number(0.8755509).into_string(), r#"<data class="number" value="0.8755509">0.8756</data>"#);
        assert_eq!(number(-7.4e-5).into_string(), r#"<data class="number" value="-0.000074">−7.4e−5</data>"#);
        let time = duration(Duration::from_micros(24_440)).into_string();
        assert_eq!(time, "<time class=\"number\" datetime=\"PT0.0244S\">24.4\u{a0}ms</time>");
        assert_eq!(short(0.0), "0.0000");
        assert_eq!(short(-11.25), "−11.2500");
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}

//! Slope charts: how things move between two orders.
//!
//! The lines are SVG; the labels on both sides are text of the page, at its size on every screen, cut where there is no
//! room. Both sides have the same axis, so that a line rises exactly if its rank does. Of many things some are drawn, and
//! the axis shrinks where none of them is.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::passage::excerpt;
use super::score::{number, thousands};

/// So many are all drawn.
const ALL: usize = 30;
/// Of more: so many of the first of each order,
const FIRST: usize = 10;
/// and so many others, which moved most.
const MOVED: usize = 5;

/// The most characters of a label; the page cuts it where it has less room.
const LABEL: usize = 100;

/// In ems of the chart's text: the height of a label,
const ROW: f64 = 1.9;
/// the least distance of two ranks that are on different sides,
const STEP: f64 = 0.65;
/// and what is added where ranks are left out.
const GAP: f64 = 0.5;

/// A place in an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) struct Place {
    /// Counted from 1.
    pub(in crate::cli) rank: usize,
    pub(in crate::cli) score: f32,
}

/// A thing in the chart, and its places in the two orders.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Slope<'a> {
    pub(in crate::cli) label: &'a str,
    pub(in crate::cli) left: Option<Place>,
    pub(in crate::cli) right: Option<Place>,
}

/// Which way a thing moved from the left order to the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Direction {
    Rises(usize),
    Falls(usize),
    Stays,
}

impl Direction {
    /// Nothing, if it is not in both.
    pub(in crate::cli) fn between(left: Option<Place>, right: Option<Place>) -> Option<Self> {
        let (left, right) = (left?.rank, right?.rank);
        Some(match left.cmp(&right) {
            std::cmp::Ordering::Greater => Self::Rises(left - right),
            std::cmp::Ordering::Less => Self::Falls(right - left),
            std::cmp::Ordering::Equal => Self::Stays,
        })
    }

    pub(in crate::cli) fn class(self) -> &'static str {
        match self {
            Self::Rises(_) => "rise",
            Self::Falls(_) => "fall",
            Self::Stays => "level",
        }
    }

    fn distance(self) -> usize {
        match self {
            Self::Rises(by) | Self::Falls(by) => by,
            Self::Stays => 0,
        }
    }
}

impl Slope<'_> {
    fn direction(&self) -> Option<Direction> {
        Direction::between(self.left, self.right)
    }

    fn is_among_the_first(&self, n: usize) -> bool {
        self.left.into_iter().chain(self.right).any(|place| place.rank <= n)
    }
}

/// A slope chart.
pub(in crate::cli) struct SlopeChart<'a> {
    /// Unique in the page; the ids of its parts begin with it.
    pub(in crate::cli) id: &'a str,
    /// What the chart shows.
    pub(in crate::cli) title: &'a str,
    /// What the two orders are called.
    pub(in crate::cli) left: &'a str,
    pub(in crate::cli) right: &'a str,
    /// What the things are, such as `documents`.
    pub(in crate::cli) noun: &'a str,
    pub(in crate::cli) slopes: &'a [Slope<'a>],
}

impl SlopeChart<'_> {
    /// The chart, or nothing if nothing has a place.
    pub(in crate::cli) fn render(&self) -> Markup {
        let placed: Vec<&Slope<'_>> =
            self.slopes.iter().filter(|slope| slope.left.is_some() || slope.right.is_some()).collect();
        let drawn = choose(&placed);
        if drawn.is_empty() {
            return html! {};
        }
        let axis = Axis::of(&drawn);
        let (title, description) = (format!("{}-title", self.id), format!("{}-description", self.id));
        html! {
            figure.slope {
                figcaption { (self.caption(&drawn, placed.len())) (legend(&drawn)) }
                div.chart {
                    // The same words are in the table that goes with the chart, and its numbers.
                    div.side.left aria-hidden="true" { (side(self.left, &axis, &drawn, |slope| slope.left)) }
                    svg role="img" aria-labelledby={ (title) " " (description) } height=(em(axis.height)) {
                        title id=(title) { (self.title) }
                        desc id=(description) { (self.description(&drawn)) }
                        @for slope in &drawn { (line(slope, &axis)) }
                    }
                    div.side.right aria-hidden="true" { (side(self.right, &axis, &drawn, |slope| slope.right)) }
                }
            }
        }
    }

    fn caption(&self, drawn: &[&Slope<'_>], of: usize) -> Markup {
        html! {
            span.say {
                (self.title) ". "
                @if drawn.len() < of {
                    "Drawn are " (drawn.len()) " of " (thousands(of)) " " (self.noun) ": the first " (FIRST)
                    " of each order, and the " (MOVED) " others that moved most. Where ranks are left out, the axis is shorter. "
                }
            }
        }
    }

    /// The chart in words.
    fn description(&self, drawn: &[&Slope<'_>]) -> String {
        let count = |class: &str| {
            drawn.iter().filter(|slope| slope.direction().is_some_and(|direction| direction.class() == class)).count()
        };
        let (rise, fall, stay) = (count("rise"), count("fall"), count("level"));
        let mut text = format!(
            "From left, {}, to right, {}: of {} {}, {rise} rise, {fall} fall and {stay} stay.",
            self.left,
            self.right,
            drawn.len(),
            self.noun
        );
        let one_sided = drawn.len() - rise - fall - stay;
        if one_sided > 0 {
            text.push_str(&format!(" {one_sided} have a place on one side alone."));
        }
        text.push_str(" The table after this chart has every place.");
        text
    }
}

/// All, or of many the first ones and those that moved most, in their order.
fn choose<'a>(slopes: &[&'a Slope<'a>]) -> Vec<&'a Slope<'a>> {
    if slopes.len() <= ALL {
        return slopes.to_vec();
    }
    let mut others: Vec<usize> = (0..slopes.len()).filter(|index| !slopes[*index].is_among_the_first(FIRST)).collect();
    others.sort_by_key(|index| std::cmp::Reverse(slopes[*index].direction().map_or(0, Direction::distance)));
    others.truncate(MOVED);
    let chosen = |index: &usize| slopes[*index].is_among_the_first(FIRST) || others.contains(index);
    (0..slopes.len()).filter(chosen).map(|index| slopes[index]).collect()
}

/// Where ranks lie: the same for both sides, and apart enough for the labels of each.
struct Axis {
    /// The middles of the ranks, in ems from the top.
    middles: BTreeMap<usize, f64>,
    height: f64,
}

impl Axis {
    fn of(slopes: &[&Slope<'_>]) -> Self {
        // For each rank whether the left and the right side have a label there.
        let mut used: BTreeMap<usize, [bool; 2]> = BTreeMap::new();
        for slope in slopes {
            for (side, place) in [slope.left, slope.right].into_iter().enumerate() {
                if let Some(place) = place {
                    used.entry(place.rank).or_default()[side] = true;
                }
            }
        }
        let mut middles = BTreeMap::new();
        // The bottom of each side's last label, and the last rank and its middle.
        let mut bottoms = [0.0f64; 2];
        let mut last = (0, ROW / 2.0 - STEP);
        for (rank, sides) in used {
            let gap = if rank > last.0 + 1 { GAP } else { 0.0 };
            let mut middle = last.1 + STEP;
            for (bottom, _) in bottoms.iter().zip(sides).filter(|(_, used)| *used) {
                middle = middle.max(bottom + ROW / 2.0);
            }
            middle += gap;
            for (bottom, _) in bottoms.iter_mut().zip(sides).filter(|(_, used)| *used) {
                *bottom = middle + ROW / 2.0;
            }
            middles.insert(rank, middle);
            last = (rank, middle);
        }
        Self { middles, height: last.1 + ROW / 2.0 }
    }

    fn middle(&self, rank: usize) -> f64 {
        self.middles.get(&rank).copied().unwrap_or_default()
    }
}

/// The labels of a side, from the top.
fn side(heading: &str, axis: &Axis, drawn: &[&Slope<'_>], place: fn(&Slope<'_>) -> Option<Place>) -> Markup {
    let mut labels: Vec<(Place, &str)> = drawn.iter().filter_map(|slope| Some((place(slope)?, slope.label))).collect();
    labels.sort_by_key(|(place, _)| place.rank);
    let tops = labels.iter().map(|(place, _)| axis.middle(place.rank) - ROW / 2.0);
    // The space above each label, and the one below the last.
    let mut bottom = 0.0;
    let spaces: Vec<f64> = tops.map(|top| top - std::mem::replace(&mut bottom, top + ROW)).collect();
    html! {
        div.heading { (heading) }
        @for ((place, text), space) in labels.iter().zip(spaces) {
            div.row style=[(space > 0.005).then(|| format!("margin-top:{}", em(space)))] {
                span.label dir="auto" lang="" { (label(text)) }
                (number(place.score))
                span.rank { (thousands(place.rank)) }
            }
        }
        div style={ "height:" (em((axis.height - bottom).max(0.0))) } {}
    }
}

fn label(text: &str) -> String {
    let label = excerpt(text, LABEL);
    if label.is_empty() { "(blank)".to_owned() } else { label }
}

/// The line of one thing, or the dot of one that is on one side alone. Its title appears where the pointer rests.
fn line(slope: &Slope<'_>, axis: &Axis) -> Markup {
    let y = |place: Option<Place>| place.map(|place| axis.middle(place.rank));
    let (left, right) = (y(slope.left), y(slope.right));
    let class = slope.direction().map_or("alone", Direction::class);
    let rank = |place: Option<Place>| place.map_or("–".to_owned(), |place| place.rank.to_string());
    html! {
        g class=(class) {
            title { (rank(slope.left)) " → " (rank(slope.right)) ": " (label(slope.label)) }
            @if let (Some(left), Some(right)) = (left, right) {
                line.reach x1="0" y1=(em(left)) x2="100%" y2=(em(right)) {}
                line x1="0" y1=(em(left)) x2="100%" y2=(em(right)) {}
            }
            @if let Some(y) = left { circle cx="0" cy=(em(y)) r="4" {} }
            @if let Some(y) = right { circle cx="100%" cy=(em(y)) r="4" {} }
        }
    }
}

fn em(height: f64) -> String {
    format!("{height:.2}em")
}

/// What the lines mean: they differ in colour, in dashes and in direction.
fn legend(drawn: &[&Slope<'_>]) -> Markup {
    let sample = |class: &str, y1: &str, y2: &str, word: &str| {
        html! {
            span.key {
                svg aria-hidden="true" width="28" height="12" {
                    g class=(class) { line x1="1" y1=(y1) x2="27" y2=(y2) {} }
                }
                " " (word)
            }
        }
    };
    html! {
        span.legend {
            (sample("rise", "10", "2", "rises")) " "
            (sample("fall", "2", "10", "falls")) " "
            (sample("level", "6", "6", "stays"))
            @if drawn.iter().any(|slope| slope.direction().is_none()) {
                " " span.key {
                    svg aria-hidden="true" width="12" height="12" { g.alone { circle cx="6" cy="6" r="4" {} } }
                    " in one order alone"
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slope(left: usize, right: usize) -> Slope<'static> {
        let place = |rank: usize| (rank > 0).then_some(Place { rank, score: 1.0 / rank as f32 });
        Slope { label: "text", left: place(left), right: place(right) }
    }

    fn chart(slopes: &[Slope<'_>]) -> String {
        let chart = SlopeChart { id: "c", title: "Title", left: "old", right: "new", noun: "documents", slopes };
        chart.render().into_string()
    }

    #[test]
    fn lines_run_from_place_to_place() {
        let slopes = [slope(1, 2), slope(2, 1), slope(3, 3), slope(0, 4), slope(0, 0)];
        let chart = chart(&slopes);
        assert!(chart.contains(r#"<line x1="0" y1="0.95em" x2="100%" y2="2.85em">"#), "{chart}");
        assert!(
            chart.contains("of 4 documents, 1 rise, 1 fall and 1 stay. 1 have a place on one side alone."),
            "{chart}"
        );
        assert!(chart.contains(r#"height="7.60em""#) && !chart.contains("Drawn are"), "{chart}");
    }

    #[test]
    fn nothing_to_draw() {
        assert_eq!(chart(&[slope(0, 0)]), "");
    }

    #[test]
    fn of_many_the_first_and_those_that_moved_most() {
        // Reversed but for the ends, which are the first of each order: 100 moves far, 50 hardly.
        let slopes: Vec<_> = (1..=1000).map(|rank| slope(rank, 1001 - rank)).collect();
        let placed: Vec<&Slope<'_>> = slopes.iter().collect();
        let ranks: Vec<usize> = choose(&placed).iter().map(|slope| slope.left.unwrap().rank).collect();
        // The movers beyond the first ten of each: 11 to 990 is as far as 990 to 11; ties keep the order.
        let expected: Vec<usize> = (1..=13).chain(989..=1000).collect();
        assert_eq!(ranks, expected);
        let axis = Axis::of(&choose(&placed));
        // Rank 13 is on the left alone, 988 on the right alone, and between them is the gap.
        let height = 24.0 * ROW + 2.0 * STEP + GAP;
        assert!((axis.height - height).abs() < ROW, "{} for {height}", axis.height);
        assert!(chart(&slopes).contains("Drawn are 25 of 1,000 documents"));
    }

    proptest! {
        /// Whatever is drawn: a line rises exactly if the rank does, and no label lies on another.
        #[test]
        fn lines_tell_the_truth(order in Just((1..=80usize).collect::<Vec<_>>()).prop_shuffle()) {
            let slopes: Vec<_> = order.iter().zip(1..).map(|(right, left)| slope(left, *right)).collect();
            let placed: Vec<&Slope<'_>> = slopes.iter().collect();
            let drawn = choose(&placed);
            prop_assert!(drawn.len() <= 2 * FIRST + MOVED);
            let axis = Axis::of(&drawn);
            for side in [|slope: &Slope<'_>| slope.left, |slope: &Slope<'_>| slope.right] {
                let mut ranks: Vec<usize> = drawn.iter().filter_map(|slope| Some(side(slope)?.rank)).collect();
                ranks.sort_unstable();
                for pair in ranks.windows(2) {
                    prop_assert!(axis.middle(pair[1]) - axis.middle(pair[0]) > ROW - 1e-9);
                }
            }
            for slope in drawn {
                let (left, right) = (slope.left.unwrap().rank, slope.right.unwrap().rank);
                prop_assert_eq!(axis.middle(left).total_cmp(&axis.middle(right)), left.cmp(&right));
            }
        }
    }
}

//! The measures of one query's ranking. They are those of trec_eval and, for `Judged` and `RR@k`, of ir_measures' own
//! code.

use super::measure::{Kind, Measure};

/// What the formulas look at.
pub(super) struct Judgements<'a> {
    /// The grades of the found documents in trec_eval's order; none for one without a judgement.
    pub(super) found: &'a [Option<i64>],
    /// The same in the order of ir_measures' own code, which breaks ties the other way round.
    pub(super) found_exact: &'a [Option<i64>],
    /// The grades of all judged documents, found or not, in any order.
    pub(super) judged: &'a [i64],
}

/// The measure of one query.
pub(super) fn value(measure: &Measure, query: &Judgements<'_>) -> f64 {
    let exact = measure.kind == Kind::Judged || measure.kind == Kind::Rr && measure.cutoff.is_some();
    let found = if exact { query.found_exact } else { query.found };
    let kept: Vec<Option<i64>>;
    let found = if measure.judged_only {
        // A negative grade is no judgement.
        kept = found.iter().copied().filter(|grade| grade.is_some_and(|grade| grade >= 0)).collect();
        &kept
    } else {
        found
    };
    let depth = measure.cutoff.unwrap_or(usize::MAX);
    let first = |n: usize| &found[..found.len().min(n)];
    let is_relevant = |grade: &Option<i64>| grade.is_some_and(|grade| grade >= measure.rel);
    let hits = |n: usize| first(n).iter().filter(|grade| is_relevant(grade)).count() as f64;
    let relevant = || query.judged.iter().filter(|grade| **grade >= measure.rel).count();
    match measure.kind {
        Kind::Ndcg => ndcg(measure, first(depth), query.judged, depth),
        Kind::Ap => over(sum_of_precisions(first(depth), is_relevant), relevant()),
        Kind::Rr => first(depth).iter().position(is_relevant).map_or(0.0, |index| 1.0 / (index + 1) as f64),
        Kind::P => hits(depth) / depth as f64,
        Kind::R => over(hits(depth), relevant()),
        Kind::Success => f64::from(first(depth).iter().any(is_relevant)),
        Kind::Judged => over(first(depth).iter().flatten().count() as f64, first(depth).len()),
        Kind::Rprec => over(hits(relevant()), relevant()),
        Kind::Bpref => bpref(found, query.judged, measure.rel),
    }
}

/// The quotient; 0 if there is nothing to divide by.
fn over(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn ndcg(measure: &Measure, found: &[Option<i64>], judged: &[i64], depth: usize) -> f64 {
    let gain = |grade: i64| measure.gains.get(&grade).copied().unwrap_or(grade).max(0);
    let mut ideal: Vec<i64> = judged.iter().map(|grade| gain(*grade)).filter(|gain| *gain > 0).collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let best = dcg(ideal.into_iter().take(depth));
    if best > 0.0 { dcg(found.iter().map(|grade| grade.map_or(0, gain))) / best } else { 0.0 }
}

fn dcg(gains: impl Iterator<Item = i64>) -> f64 {
    gains.zip(2u64..).map(|(gain, discount)| gain as f64 / (discount as f64).log2()).sum()
}

fn sum_of_precisions(found: &[Option<i64>], is_relevant: impl Fn(&Option<i64>) -> bool) -> f64 {
    let ranks = found.iter().zip(1u64..).filter(|(grade, _)| is_relevant(grade)).map(|(_, rank)| rank as f64);
    ranks.zip(1u64..).map(|(rank, hits)| hits as f64 / rank).sum()
}

/// For each relevant document that was found, 1 less the part of the first R judged non-relevant ones that stands before
/// it, over R, the number of relevant documents; where there are fewer than R non-relevant ones, of those.
fn bpref(found: &[Option<i64>], judged: &[i64], rel: i64) -> f64 {
    let relevant = judged.iter().filter(|grade| **grade >= rel).count();
    let others = judged.iter().filter(|grade| (0..rel).contains(*grade)).count();
    let (mut before, mut sum) = (0, 0.0);
    for grade in found.iter().flatten() {
        if (0..rel).contains(grade) {
            before += 1;
        } else if *grade >= rel {
            sum += 1.0 - over(before.min(relevant) as f64, others.min(relevant));
        }
    }
    over(sum, relevant)
}

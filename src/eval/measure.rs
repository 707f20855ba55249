//! What a measure is: its kind, its parameters, and its name.

use std::collections::BTreeMap;
use std::fmt;

/// A measure of a ranking's quality, by the names and with the parameters of
/// [ir_measures](https://ir-measur.es/): `nDCG@10`, `P(rel=2)@5`, `AP`.
///
/// | measure | what it is for one query | parameters |
/// | --- | --- | --- |
/// | `nDCG`, `nDCG@k` | discounted cumulative gain over the greatest that is possible; the gain is the grade, negative grades are 0, the discount is log2(rank + 1) (Järvelin and Kekäläinen 2002) | `gains`, `judged_only` |
/// | `AP`, `AP@k` | average precision: the precisions at the relevant documents, summed, over the number of relevant ones | `rel`, `judged_only` |
/// | `RR`, `RR@k` | reciprocal rank: 1 over the rank of the first relevant document | `rel`, `judged_only` (without `@k`) |
/// | `P@k` | precision: relevant ones of the first k, over k | `rel`, `judged_only` |
/// | `R@k` | recall: relevant ones of the first k, over all relevant ones | `rel`, `judged_only` |
/// | `Success@k` | 1 if one of the first k is relevant | `rel`, `judged_only` |
/// | `Judged`, `Judged@k` | part of the first k (or of the fewer that were found) that has a judgement | |
/// | `Rprec` | precision at R, the number of relevant documents | `rel`, `judged_only` |
/// | `Bpref` | binary preference: how seldom judged non-relevant documents stand before relevant ones (Buckley and Voorhees 2004) | `rel` |
///
/// `rel=N` (1 unless given) is the least grade of a relevant document, `judged_only=True` leaves documents without a
/// judgement out of the ranking, `gains={grade:gain,…}` replaces gains of nDCG. `NDCG`, `MAP`, `MRR`, `Precision`,
/// `Recall`, `RPrec` and `BPref` are other names, as in ir_measures.
///
/// ```
/// use crossrank::eval::Measure;
///
/// let measure: Measure = "P(rel=2)@10".parse()?;
/// assert_eq!(measure.to_string(), "P(rel=2)@10");
/// assert_eq!("MAP".parse::<Measure>()?, "AP".parse()?);
/// assert!("P".parse::<Measure>().unwrap_err().to_string().contains("P@10"));
/// # Ok::<(), crossrank::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Measure {
    pub(super) kind: Kind,
    pub(super) cutoff: Option<usize>,
    /// The least grade of a relevant document; at least 1.
    pub(super) rel: i64,
    pub(super) judged_only: bool,
    /// Gains that differ from the grade.
    pub(super) gains: BTreeMap<i64, i64>,
}

impl Measure {
    /// What is measured where nothing is said: nDCG@10, RR@10, AP, R@100 and P@10.
    pub fn defaults() -> Vec<Self> {
        let of = |kind, cutoff| Self { cutoff, ..Self::plain(kind) };
        vec![
            of(Kind::Ndcg, Some(10)),
            of(Kind::Rr, Some(10)),
            of(Kind::Ap, None),
            of(Kind::R, Some(100)),
            of(Kind::P, Some(10)),
        ]
    }

    pub(super) fn plain(kind: Kind) -> Self {
        Self { kind, cutoff: None, rel: 1, judged_only: false, gains: BTreeMap::new() }
    }
}

/// As ir_measures writes it; parameters that have their usual value are left out.
impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parameters = Vec::new();
        if !self.gains.is_empty() {
            let gains: Vec<String> = self.gains.iter().map(|(grade, gain)| format!("{grade}:{gain}")).collect();
            parameters.push(format!("gains={{{}}}", gains.join(",")));
        }
        if self.rel != 1 {
            parameters.push(format!("rel={}", self.rel));
        }
        if self.judged_only {
            parameters.push("judged_only=True".to_owned());
        }
        f.write_str(self.kind.name())?;
        if !parameters.is_empty() {
            write!(f, "({})", parameters.join(","))?;
        }
        self.cutoff.map_or(Ok(()), |cutoff| write!(f, "@{cutoff}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Ndcg,
    Ap,
    Rr,
    P,
    R,
    Success,
    Judged,
    Rprec,
    Bpref,
}

/// Whether a measure has an `@k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cutoff {
    Needed,
    Possible,
    None,
}

impl Kind {
    pub(super) const ALL: [Kind; 9] =
        [Kind::Ndcg, Kind::Ap, Kind::Rr, Kind::P, Kind::R, Kind::Success, Kind::Judged, Kind::Rprec, Kind::Bpref];

    pub(super) fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The name, and others for the same.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Kind::Ndcg => &["nDCG", "NDCG"],
            Kind::Ap => &["AP", "MAP"],
            Kind::Rr => &["RR", "MRR"],
            Kind::P => &["P", "Precision"],
            Kind::R => &["R", "Recall"],
            Kind::Success => &["Success"],
            Kind::Judged => &["Judged"],
            Kind::Rprec => &["Rprec", "RPrec"],
            Kind::Bpref => &["Bpref", "BPref"],
        }
    }

    pub(super) fn cutoff(self) -> Cutoff {
        match self {
            Kind::P | Kind::R | Kind::Success => Cutoff::Needed,
            Kind::Ndcg | Kind::Ap | Kind::Rr | Kind::Judged => Cutoff::Possible,
            Kind::Rprec | Kind::Bpref => Cutoff::None,
        }
    }

    /// The parameters that stand in brackets, beside `cutoff`.
    pub(super) fn parameters(self) -> &'static [&'static str] {
        match self {
            Kind::Ndcg => &["dcg", "gains", "judged_only"],
            Kind::Judged => &[],
            Kind::Bpref => &["rel"],
            _ => &["rel", "judged_only"],
        }
    }
}

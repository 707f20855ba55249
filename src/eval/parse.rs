//! Names of measures as ir_measures writes them, `Name(parameter=value,…)@cutoff`, → [`Measure`].

use std::collections::BTreeMap;
use std::str::FromStr;

use super::measure::{Cutoff, Kind, Measure};
use crate::error::{Error, ErrorKind, Result};

/// Measures of trec_eval whose names differ, and ours.
const TREC_EVAL: [(&str, Kind); 9] = [
    ("ndcg_cut", Kind::Ndcg),
    ("ndcg", Kind::Ndcg),
    ("map_cut", Kind::Ap),
    ("map", Kind::Ap),
    ("recip_rank", Kind::Rr),
    ("recall", Kind::R),
    ("success", Kind::Success),
    ("P", Kind::P),
    ("bpref", Kind::Bpref),
];

/// # Errors
///
/// [`ErrorKind::Options`] with what is wrong, and the nearest name that exists.
impl FromStr for Measure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|reason| Error::new(ErrorKind::Options, format!("`{text}` is not a measure: {reason}")))
    }
}

fn parse(text: &str) -> Result<Measure, String> {
    let text = text.trim_ascii();
    let end = text.find(|c: char| !(c.is_alphanumeric() || "_.-".contains(c))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let kind = Kind::ALL.into_iter().find(|kind| kind.names().contains(&name)).ok_or_else(|| unknown(name))?;
    let mut measure = Measure::plain(kind);
    let mut rest = rest.trim_ascii();
    if let Some(inner) = rest.strip_prefix('(') {
        let (inner, after) = inner.rsplit_once(')').ok_or("its bracket is not closed")?;
        for parameter in split_outside_braces(inner, |c| c == ',') {
            set(&mut measure, parameter)?;
        }
        rest = after.trim_ascii();
    }
    if let Some(cutoff) = rest.strip_prefix('@') {
        measure.cutoff = Some(parse_cutoff(cutoff)?);
        rest = "";
    }
    if !rest.is_empty() {
        return Err(format!("`{rest}` stands where `(parameter=value)`, `@cutoff` or its end could be"));
    }
    check(&measure)?;
    Ok(measure)
}

/// The measures of a text with blanks between them (outside of brackets).
pub(super) fn split(text: &str) -> Vec<&str> {
    split_outside_braces(text, |c| c.is_ascii_whitespace())
}

/// The parts between separators that stand outside of brackets and braces; empty parts are left out.
fn split_outside_braces(text: &str, separator: impl Fn(char) -> bool) -> Vec<&str> {
    let mut depth = 0i32;
    let parts = text.split(|c: char| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        depth <= 0 && separator(c)
    });
    parts.map(str::trim_ascii).filter(|part| !part.is_empty()).collect()
}

fn set(measure: &mut Measure, parameter: &str) -> Result<(), String> {
    let (key, value) =
        parameter.split_once('=').ok_or_else(|| format!("parameters are `name=value`, and `{parameter}` is not"))?;
    let (key, value) = (key.trim_ascii(), value.trim_ascii());
    let kind = measure.kind;
    let has_cutoff = kind.cutoff() != Cutoff::None;
    if !(kind.parameters().contains(&key) || key == "cutoff" && has_cutoff) {
        let mut known: Vec<&str> = kind.parameters().to_vec();
        known.extend(has_cutoff.then_some("cutoff"));
        let known = if known.is_empty() { "no parameters".to_owned() } else { known.join(", ") };
        return Err(format!("{} has no parameter `{key}`; it has {known}", kind.name()));
    }
    match key {
        "cutoff" => measure.cutoff = Some(parse_cutoff(value)?),
        "rel" => {
            measure.rel = value.parse().ok().filter(|rel| *rel >= 1).ok_or_else(|| {
                format!("rel is the least grade of a relevant document, a whole number from 1; `{value}` is not")
            })?;
        }
        "judged_only" => {
            measure.judged_only = match value {
                "True" | "true" => true,
                "False" | "false" => false,
                _ => return Err(format!("judged_only is True or False; `{value}` is neither")),
            };
        }
        "gains" => measure.gains = parse_gains(value)?,
        _ => match value.trim_matches(['"', '\'']) {
            "log2" => {}
            "exp-log2" => {
                return Err(
                    "dcg='exp-log2' is not built in; its gains are 2^grade - 1, which gains={2:3,3:7,4:15} gives \
                            for grades up to 4"
                        .to_owned(),
                );
            }
            _ => return Err(format!("dcg is 'log2'; {value} is not known")),
        },
    }
    Ok(())
}

fn parse_cutoff(text: &str) -> Result<usize, String> {
    let cutoff = text.trim_ascii().parse().ok().filter(|cutoff| *cutoff >= 1);
    cutoff.ok_or_else(|| format!("a cutoff is a whole number of documents from 1; `{}` is not", text.trim_ascii()))
}

/// `{grade:gain,…}`. A gain that is the grade itself changes nothing and is left out.
fn parse_gains(text: &str) -> Result<BTreeMap<i64, i64>, String> {
    let wrong = || format!("gains are {{grade:gain,…}} with whole numbers from 0; `{text}` is not");
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or_else(wrong)?;
    let whole = |text: &str| text.trim_ascii().parse::<i64>().ok().filter(|number| *number >= 0);
    let mut gains = BTreeMap::new();
    for pair in inner.split(',').filter(|pair| !pair.trim_ascii().is_empty()) {
        let (grade, gain) = pair.split_once(':').and_then(|(a, b)| whole(a).zip(whole(b))).ok_or_else(wrong)?;
        gains.insert(grade, gain);
    }
    gains.retain(|grade, gain| grade != gain);
    Ok(gains)
}

fn check(measure: &Measure) -> Result<(), String> {
    let name = measure.kind.name();
    match (measure.kind.cutoff(), measure.cutoff) {
        (Cutoff::Needed, None) => Err(format!("{name} needs a cutoff, as in `{name}@10`")),
        (Cutoff::None, Some(_)) => Err(format!("{name} has no cutoff")),
        _ if measure.kind == Kind::Rr && measure.cutoff.is_some() && measure.judged_only => {
            Err("RR has judged_only without a cutoff alone (so it is in ir_measures)".to_owned())
        }
        _ => Ok(()),
    }
}

/// What to say of a name that is not known.
fn unknown(name: &str) -> String {
    let (base, cutoff) = match name.rfind(['_', '.']).map(|at| (&name[..at], &name[at + 1..])) {
        Some((base, cutoff)) if cutoff.parse::<usize>().is_ok() => (base, format!("@{cutoff}")),
        _ => (name, String::new()),
    };
    if let Some((_, kind)) = TREC_EVAL.iter().find(|(theirs, _)| *theirs == base) {
        return format!("trec_eval's `{name}` is called `{}{cutoff}` here", kind.name());
    }
    let names = || Kind::ALL.into_iter().map(Kind::name);
    let near = |known: &&str| strsim::jaro_winkler(&known.to_lowercase(), &base.to_lowercase()) > 0.8;
    match names().find(near) {
        Some(known) => format!("there is no `{name}`; did you mean `{known}`?"),
        None => format!("there is no `{name}`; there are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn name_of(text: &str) -> String {
        text.parse::<Measure>().unwrap().to_string()
    }

    #[track_caller]
    fn reason(text: &str) -> String {
        let error = text.parse::<Measure>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Options);
        error.to_string()
    }

    /// The right-hand sides are `repr(ir_measures.parse_measure(…))`.
    #[test]
    fn names_are_those_of_ir_measures() {
        for (text, name) in [
            ("nDCG", "nDCG"),
            ("NDCG@5", "nDCG@5"),
            ("nDCG(dcg='log2')@3", "nDCG@3"),
            ("nDCG(gains={0:0,1:0,2:5},judged_only=True)@10", "nDCG(gains={1:0,2:5},judged_only=True)@10"),
            ("MAP", "AP"),
            ("AP(cutoff=100)", "AP@100"),
            ("MRR@10", "RR@10"),
            (" P( rel = 2 , judged_only=False )@ 10 ", "P(rel=2)@10"),
            ("P(rel=1)@10", "P@10"),
            ("Precision@1", "P@1"),
            ("Recall(rel=2,judged_only=True)@2", "R(rel=2,judged_only=True)@2"),
            ("Success()@1", "Success@1"),
            ("Judged", "Judged"),
            ("RPrec(rel=3)", "Rprec(rel=3)"),
            ("BPref", "Bpref"),
        ] {
            assert_eq!(name_of(text), name);
            assert_eq!(name_of(name), name);
        }
        let defaults: Vec<String> = Measure::defaults().iter().map(Measure::to_string).collect();
        assert_eq!(defaults, ["nDCG@10", "RR@10", "AP", "R@100", "P@10"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("", "there is no ``; there are nDCG, AP"),
            ("ndgc@10", "did you mean `nDCG`"),
            ("ndcg_cut_10", "trec_eval's `ndcg_cut_10` is called `nDCG@10` here"),
            ("recip_rank", "is called `RR` here"),
            ("P_5", "is called `P@5` here"),
            ("P", "needs a cutoff, as in `P@10`"),
            ("P@0", "whole number of documents from 1; `0` is not"),
            ("P@-1", "`-1` is not"),
            ("nDCG@2.5", "`2.5` is not"),
            ("Rprec@3", "has no cutoff"),
            ("P(rel=0)@3", "`0` is not"),
            ("P(foo=1)@3", "no parameter `foo`; it has rel, judged_only, cutoff"),
            ("P(2)@3", "`2` is not"),
            ("P(rel=2@3", "not closed"),
            ("P@3 x", "`3 x` is not"),
            ("AP?", "`?` stands where"),
            ("RR(judged_only=True)@10", "without a cutoff"),
            ("nDCG(dcg='exp-log2')@3", "gains={2:3"),
            ("nDCG(gains={1:-1})", "whole numbers from 0"),
            ("Judged(rel=2)", "it has cutoff"),
        ] {
            assert!(reason(text).contains(words), "{}", reason(text));
        }
    }

    #[test]
    fn lists_are_split_outside_of_brackets() {
        assert_eq!(
            split("nDCG@10  P(rel=2, judged_only=True)@5\tAP"),
            ["nDCG@10", "P(rel=2, judged_only=True)@5", "AP"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_measure_or_an_error(text in "[A-Za-z@(){}:=,0-9. ]{0,30}|\\PC{0,20}") {
            if let Ok(measure) = text.parse::<Measure>() {
                prop_assert_eq!(measure.to_string().parse::<Measure>().unwrap(), measure);
            }
        }
    }
}

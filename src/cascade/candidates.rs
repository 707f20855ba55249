//! How many documents go from the bi-encoder to the cross-encoder.

use crate::error::{Error, ErrorKind, Result};

/// How many of the documents that are most similar to the query the cross-encoder reads.
///
/// A number becomes [`Fixed`](Self::Fixed): `CascadeOptions::new().candidates(20)`.
///
/// # The gap
///
/// With the similarities in falling order, *s*₁ ≥ *s*₂ ≥ … ≥ *s*ₙ, [`Gap`](Self::Gap) takes the *m* from `at_least` to
/// `at_most` whose gap *s*ₘ − *s*ₘ₊₁ is the greatest: the cut falls where the bi-encoder itself sees the clearest step.
/// Of equal gaps the first counts. If there are no more than `at_least` documents, all are taken. If no gap is greater
/// than zero, because all of these similarities are equal, nothing speaks for a cut, and `at_most` are taken.
///
/// So documents of equal similarity are never separated by the gap unless all in its range are equal. Where they are
/// separated, there and by [`Fixed`](Self::Fixed), those that come first in the caller's list are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Candidates {
    /// This many, or all documents if there are fewer.
    Fixed(usize),
    /// As many as the largest gap between neighbouring similarities says.
    Gap {
        /// Take no fewer than these; 1 at least.
        at_least: usize,
        /// Take no more than these.
        at_most: usize,
    },
}

/// The gap, between 10 and 50.
impl Default for Candidates {
    fn default() -> Self {
        Self::Gap { at_least: 10, at_most: 50 }
    }
}

impl From<usize> for Candidates {
    fn from(m: usize) -> Self {
        Self::Fixed(m)
    }
}

impl Candidates {
    /// Refuses numbers that make no sense.
    pub(super) fn check(self) -> Result<()> {
        let problem = match self {
            Self::Fixed(0) => {
                "a cascade of 0 candidates ranks nothing: give 1 or more, or leave the cross-encoder out".to_owned()
            }
            Self::Gap { at_least: 0, .. } => {
                "a cascade of at least 0 candidates may rank nothing: `at_least` must be 1 or more".to_owned()
            }
            Self::Gap { at_least, at_most } if at_least > at_most => format!(
                "a cascade cannot take at least {at_least} and at most {at_most} candidates: `at_most` must not be \
                 less than `at_least`"
            ),
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Options, problem))
    }

    /// How many documents are taken, given their similarities in falling order.
    ///
    /// ```
    /// use crossrank::Candidates;
    ///
    /// assert_eq!(Candidates::Fixed(3).choose(&[0.9, 0.5]), 2);
    /// let gap = Candidates::Gap { at_least: 1, at_most: 3 };
    /// assert_eq!(gap.choose(&[0.9, 0.8, 0.2, 0.1]), 2);
    /// ```
    pub fn choose(self, falling: &[f32]) -> usize {
        let n = falling.len();
        match self {
            Self::Fixed(m) => m.min(n),
            Self::Gap { at_least, .. } if n <= at_least => n,
            Self::Gap { at_least, at_most } => {
                // In f64, so that the rounding of a difference does not decide which of two gaps is greater.
                let gap = |m: usize| f64::from(falling[m - 1]) - f64::from(falling[m]);
                let (mut best, mut greatest) = (at_most.min(n), 0.0);
                for m in at_least..=at_most.min(n - 1) {
                    if gap(m) > greatest {
                        (best, greatest) = (m, gap(m));
                    }
                }
                best
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gap(at_least: usize, at_most: usize) -> Candidates {
        Candidates::Gap { at_least, at_most }
    }

    #[test]
    fn the_greatest_gap_in_range_is_the_cut() {
        let falling = [0.9, 0.5, 0.45, 0.44, 0.24, 0.22, 0.0];
        assert_eq!(gap(1, 6).choose(&falling), 1);
        assert_eq!(gap(2, 5).choose(&falling), 4);
        assert_eq!(gap(2, 3).choose(&falling), 2);
        assert_eq!(gap(5, 100).choose(&falling), 6, "the end of the list is no gap");
        assert_eq!(gap(3, 3).choose(&falling), 3);
        assert_eq!(gap(7, 9).choose(&falling), 7, "no more than at_least");
        assert_eq!(gap(1, 9).choose(&[]), 0);
    }

    #[test]
    fn of_equal_gaps_the_first_counts_and_without_a_gap_at_most_are_taken() {
        assert_eq!(gap(1, 3).choose(&[0.75, 0.5, 0.25, 0.0]), 1);
        assert_eq!(gap(1, 3).choose(&[0.5; 9]), 3);
        assert_eq!(gap(1, 30).choose(&[0.5; 9]), 9);
        assert_eq!(gap(1, 3).choose(&[0.0, -0.0, 0.0, -0.5]), 3);
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for (candidates, words) in [
            (Candidates::Fixed(0), "0 candidates"),
            (gap(0, 5), "`at_least` must be 1"),
            (gap(6, 5), "at least 6 and at most 5"),
        ] {
            let error = candidates.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Options);
            assert!(error.to_string().contains(words), "{error}");
        }
        for candidates in [Candidates::default(), 1.into(), gap(5, 5)] {
            candidates.check().unwrap();
        }
    }

    proptest! {
        #[test]
        fn the_gap_keeps_its_range_and_separates_no_equals(
            mut similarities in proptest::collection::vec((-8i8..8).prop_map(|step| f32::from(step) / 8.0), 0..40),
            at_least in 1usize..12,
            more in 0usize..30,
        ) {
            similarities.sort_by(|a, b| b.total_cmp(a));
            let (n, at_most) = (similarities.len(), at_least + more);
            let m = gap(at_least, at_most).choose(&similarities);
            prop_assert!(m <= n && m >= at_least.min(n) && m <= at_most.min(n));
            if n > at_least && m < n && similarities[m - 1] == similarities[m] {
                prop_assert_eq!(m, at_most);
                prop_assert!(similarities[at_least - 1..=m].iter().all(|s| *s == similarities[m]));
            }
        }
    }
}

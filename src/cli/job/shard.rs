//! One job, spread over several processes by hand.

use std::str::FromStr;

/// Every `of`th unit, beginning with the `number`th: `--shard 2/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Shard {
    number: u64,
    of: u64,
}

impl Shard {
    /// All units.
    pub(super) const WHOLE: Shard = Shard { number: 1, of: 1 };

    /// Whether the unit at `index`, counted from 0, belongs to the shard.
    pub(super) fn has(self, index: u64) -> bool {
        index % self.of == self.number - 1
    }

    /// How many shards there are.
    pub(super) fn of(self) -> u64 {
        self.of
    }

    /// How many of `units` belong to the shard.
    pub(super) fn share(self, units: u64) -> u64 {
        (units + self.of - self.number) / self.of
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("the number of the shard and how many there are is needed, such as 1/4 to 4/4".to_owned()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_unit_belongs_to_one_shard(of in 1u64..20, units in 0u64..100) {
            let shards: Vec<Shard> = (1..=of).map(|number| format!("{number}/{of}").parse().unwrap()).collect();
            for unit in 0..units {
                prop_assert_eq!(shards.iter().filter(|shard| shard.has(unit)).count(), 1);
            }
            for shard in shards {
                prop_assert_eq!(shard.share(units), (0..units).filter(|unit| shard.has(*unit)).count() as u64);
            }
        }
    }

    #[test]
    fn no_such_shard() {
        for text in ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
    }
}

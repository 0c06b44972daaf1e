//! The instruction counts that were accepted, and how others compare.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::{counts::Counts, machine::Machine};

/// Counts that were accepted, and what they were made with. In baseline.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What they were made with. On another machine they say nothing.
    pub machine: Machine,
    /// The counts.
    pub counts: Counts,
}

/// By how many percent a count may differ from its baseline. From run to run it differs by up to 0.6 %, by how the keys of hash maps happen to fall;
/// the rest is for what the compiler makes of code elsewhere.
pub const TOLERANCE_PERCENT: u64 = 2;

/// How a count differs from its baseline, by more than the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It has grown.
    Grown {
        /// To this.
        count: u64,
        /// From this.
        baseline: u64,
    },
    /// It has shrunk.
    Shrunk {
        /// To this.
        count: u64,
        /// From this.
        baseline: u64,
    },
    /// It has no baseline.
    New {
        /// The count.
        count: u64,
    },
    /// There is a baseline only.
    Gone {
        /// The baseline.
        baseline: u64,
    },
}

impl Difference {
    /// Whether it is good news.
    #[must_use]
    pub fn is_improvement(self) -> bool {
        matches!(self, Self::Shrunk { .. })
    }

    fn between(baseline: Option<u64>, count: Option<u64>) -> Option<Self> {
        match (baseline, count) {
            (None, None) => None,
            (None, Some(count)) => Some(Self::New { count }),
            (Some(baseline), None) => Some(Self::Gone { baseline }),
            (Some(baseline), Some(count)) if count * 100 > baseline * (100 + TOLERANCE_PERCENT) => {
                Some(Self::Grown { count, baseline })
            }
            (Some(baseline), Some(count)) if count * 100 < baseline * (100 - TOLERANCE_PERCENT) => {
                Some(Self::Shrunk { count, baseline })
            }
            (Some(_), Some(_)) => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Grown { count, baseline } | Self::Shrunk { count, baseline } => {
                write!(f, "{count} instructions, baseline {baseline} ({:+.1} %)", percent(baseline, count))
            }
            Self::New { count } => write!(f, "{count} instructions, no baseline"),
            Self::Gone { baseline } => write!(f, "not counted, baseline {baseline}"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percent(baseline: u64, count: u64) -> f64 {
    (count as f64 / baseline as f64 - 1.0) * 100.0
}

impl Baseline {
    /// The baseline in this file.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no baseline", file.display()))
    }

    /// Writes the baseline to this file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
    }

    /// How these counts differ, by more than the tolerance, by the names of their benches.
    #[must_use]
    pub fn differences(&self, counts: &Counts) -> BTreeMap<String, Difference> {
        let names = self.counts.keys().chain(counts.keys());
        let difference = |name: &String| {
            let difference = Difference::between(self.counts.get(name).copied(), counts.get(name).copied());
            difference.map(|difference| (name.clone(), difference))
        };
        names.filter_map(difference).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(baseline: Option<u64>, count: Option<u64>, expected: Option<&str>) {
        let counts = |count: Option<u64>| count.map(|count| ("bench".to_owned(), count)).into_iter().collect();
        let baseline = Baseline { machine: Machine::default(), counts: counts(baseline) };
        let differences = baseline.differences(&counts(count));
        let text = differences.get("bench").map(ToString::to_string);
        assert_eq!(text.as_deref(), expected);
    }

    #[test]
    fn what_is_within_the_tolerance_is_no_difference() {
        check(Some(1000), Some(1000), None);
        check(Some(1000), Some(1020), None);
        check(Some(1000), Some(980), None);
    }

    #[test]
    fn what_grows_or_shrinks_by_more_is_a_difference() {
        check(Some(1000), Some(1021), Some("1021 instructions, baseline 1000 (+2.1 %)"));
        check(Some(1000), Some(979), Some("979 instructions, baseline 1000 (-2.1 %)"));
    }

    #[test]
    fn what_is_not_on_both_sides_is_a_difference() {
        check(None, Some(1000), Some("1000 instructions, no baseline"));
        check(Some(1000), None, Some("not counted, baseline 1000"));
    }
}

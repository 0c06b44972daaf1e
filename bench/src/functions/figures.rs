//! What was measured, over several runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{subjects::Kind, workload::Outcome};

/// The middle of several measurements, and how far they are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// As many are below as above.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of these measurements; zeros if there are none.
    #[must_use]
    pub(crate) fn of(measurements: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = measurements.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) };
        Self { median, min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }
}

/// The measurement below which this share of them is, of measurements in any order.
pub(crate) fn quantile(measurements: &mut [f64], share: f64) -> f64 {
    measurements.sort_by(f64::total_cmp);
    let place = (as_f64(measurements.len()) * share).ceil();
    // The place is among them: nobody measures more than this can count.
    let place = (1..=measurements.len()).find(|n| as_f64(*n) >= place).unwrap_or(1);
    measurements.get(place - 1).copied().unwrap_or_default()
}

/// A count as a number to calculate with.
pub(crate) fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A count as a number to calculate with.
pub(crate) fn u64_as_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What one subject took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    /// What it is called.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// The size of what is deployed, in bytes; absent where there is nothing to weigh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_bytes: Option<u64>,
    /// The same, zipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zip_bytes: Option<u64>,
    /// From the start of the process to its asking for an event, in milliseconds of processor time.
    pub(crate) start_cpu_ms: Spread,
    /// The same, in milliseconds of the clock.
    pub(crate) start_wall_ms: Spread,
    /// The first event, with what is set up for it, in milliseconds of processor time.
    pub(crate) first_cpu_ms: Spread,
    /// The same, in milliseconds of the clock.
    pub(crate) first_wall_ms: Spread,
    /// How many TLS connections it made until the first event was answered.
    pub(crate) connections: f64,
    /// The most memory after all events, in millions of bytes.
    pub(crate) peak_mb: Spread,
    /// What each event takes, by what becomes of it.
    pub(crate) outcomes: BTreeMap<Outcome, PerEvent>,
    /// What it takes with the share of a core that a small function has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttled: Option<Throttled>,
}

/// What one event takes, or one batch where events come in batches.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct PerEvent {
    /// How many events are in a batch.
    pub(crate) batch: u32,
    /// Processor time, in microseconds.
    pub(crate) cpu_us: Spread,
    /// Time of the clock until the answer, in microseconds: the median of each run.
    pub(crate) wall_us: Spread,
    /// The time that 99 of a hundred do not exceed, in microseconds.
    pub(crate) wall_p99_us: Spread,
    /// What it asks for and writes.
    #[serde(flatten)]
    pub(crate) amounts: Amounts,
}

/// What an event asks for and writes. The same in each run, within a byte or two.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Amounts {
    /// Calls to AWS.
    pub(crate) calls: f64,
    /// The same by operation.
    pub(crate) calls_by_operation: BTreeMap<String, f64>,
    /// Bytes to AWS, as they are on the wire.
    pub(crate) bytes_out: f64,
    /// Bytes from AWS, likewise.
    pub(crate) bytes_in: f64,
    /// Bytes in the log.
    pub(crate) log_bytes: f64,
    /// Lines in the log.
    pub(crate) log_lines: f64,
    /// Write units of DynamoDB.
    pub(crate) write_units: f64,
    /// Read units of DynamoDB.
    pub(crate) read_units: f64,
    /// Requests to SQS.
    pub(crate) queue_requests: f64,
}

/// What it takes with the share of a core that a function with 128 MB has: times of the clock.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Throttled {
    /// From the start of the process to its asking for an event, in milliseconds.
    pub(crate) start_ms: Spread,
    /// The first event, in milliseconds.
    pub(crate) first_ms: Spread,
    /// Each event, in milliseconds: the median of each run.
    pub(crate) median_ms: Spread,
    /// The time that 99 of a hundred do not exceed, in milliseconds.
    pub(crate) p99_ms: Spread,
}

/// One run of one subject.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) start_cpu_ms: f64,
    pub(crate) start_wall_ms: f64,
    pub(crate) first_cpu_ms: f64,
    pub(crate) first_wall_ms: f64,
    pub(crate) connections: f64,
    pub(crate) peak_mb: f64,
    pub(crate) outcomes: BTreeMap<Outcome, Batch>,
}

/// Many events with one outcome.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) batch: u32,
    pub(crate) cpu_us: f64,
    pub(crate) wall_us: f64,
    pub(crate) wall_p99_us: f64,
    pub(crate) amounts: Amounts,
}

impl Figures {
    /// Of these runs.
    pub(crate) fn of(name: &str, kind: Kind, runs: &[Run], throttled: &[Run]) -> Self {
        let spread = |of: fn(&Run) -> f64| Spread::of(runs.iter().map(of));
        let mut outcomes: BTreeMap<Outcome, Vec<&Batch>> = BTreeMap::new();
        for (outcome, batch) in runs.iter().flat_map(|run| &run.outcomes) {
            outcomes.entry(*outcome).or_default().push(batch);
        }
        Self {
            name: name.to_owned(),
            kind,
            artifact_bytes: None,
            zip_bytes: None,
            start_cpu_ms: spread(|run| run.start_cpu_ms),
            start_wall_ms: spread(|run| run.start_wall_ms),
            first_cpu_ms: spread(|run| run.first_cpu_ms),
            first_wall_ms: spread(|run| run.first_wall_ms),
            connections: spread(|run| run.connections).median,
            peak_mb: spread(|run| run.peak_mb),
            outcomes: outcomes.into_iter().map(|(outcome, batches)| (outcome, PerEvent::of(&batches))).collect(),
            throttled: Throttled::of(throttled),
        }
    }

    /// What a new event takes.
    #[must_use]
    pub(crate) fn fresh(&self) -> Option<&PerEvent> {
        self.outcomes.get(&Outcome::Fresh)
    }
}

impl PerEvent {
    fn of(batches: &[&Batch]) -> Self {
        let spread = |of: fn(&Batch) -> f64| Spread::of(batches.iter().map(|batch| of(batch)));
        Self {
            batch: batches.first().map_or(1, |batch| batch.batch),
            cpu_us: spread(|batch| batch.cpu_us),
            wall_us: spread(|batch| batch.wall_us),
            wall_p99_us: spread(|batch| batch.wall_p99_us),
            amounts: batches.last().map(|batch| batch.amounts.clone()).unwrap_or_default(),
        }
    }
}

impl Throttled {
    fn of(runs: &[Run]) -> Option<Self> {
        let spread = |of: fn(&Run) -> f64| Spread::of(runs.iter().map(of));
        let fresh = |of: fn(&Batch) -> f64| {
            Spread::of(runs.iter().filter_map(|run| run.outcomes.get(&Outcome::Fresh)).map(|batch| of(batch) / 1000.0))
        };
        (!runs.is_empty()).then(|| Self {
            start_ms: spread(|run| run.start_wall_ms),
            first_ms: spread(|run| run.first_wall_ms),
            median_ms: fresh(|batch| batch.wall_us),
            p99_ms: fresh(|batch| batch.wall_p99_us),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_around_the_median() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 100.0]), Spread { median: 3.0, min: 1.0, max: 100.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn a_quantile_is_one_of_the_measurements() {
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&mut hundred, 0.5), quantile(&mut hundred, 0.99)), (50.0, 99.0));
        assert_eq!((quantile(&mut [7.0], 0.99), quantile(&mut [], 0.5)), (7.0, 0.0));
    }
}

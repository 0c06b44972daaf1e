//! What a million callbacks cost, by what was measured.

use serde::Serialize;

use super::{
    bars::{find, is_provider, with_peers},
    figures::{Figures, PerEvent},
    workload::Outcome,
};

/// AWS's list prices in US dollars, those of docs/cost.md: change them there and here.
mod prices {
    /// A million requests to an HTTP API.
    pub(super) const API: f64 = 1.00;
    /// A million invocations.
    pub(super) const INVOCATIONS: f64 = 0.20;
    /// A million gigabyte-seconds on arm64.
    pub(super) const GIGABYTE_SECONDS: f64 = 13.3334;
    /// A million write units.
    pub(super) const WRITE_UNITS: f64 = 0.625;
    /// A million read units.
    pub(super) const READ_UNITS: f64 = 0.125;
    /// A million requests to a FIFO queue.
    pub(super) const QUEUE_REQUESTS: f64 = 0.50;
    /// A gigabyte of logs.
    pub(super) const LOGS: f64 = 0.50;
}

/// What is charged for each line of a log, in bytes, beside what is in it.
const BYTES_PER_LINE: f64 = 26.0;

/// What Lambda writes into the log for each invocation, in bytes, lines included, unless it is told not to (docs/cost.md).
const BYTES_PER_INVOCATION: f64 = 600.0;

/// What the API writes into our access log for each callback, in bytes (docs/cost.md). Powertools' documents set none up.
const BYTES_OF_ACCESS_LOG: f64 = 430.0;

/// How long AWS takes for a call, in milliseconds: an assumption.
pub(crate) const MS_PER_CALL: f64 = 5.0;

/// With so many megabytes, a function has a whole core.
const MB_OF_A_CORE: f64 = 1769.0;

/// The sizes among which the smallest is taken that holds what was measured, in megabytes.
const SIZES: [f64; 4] = [128.0, 256.0, 512.0, 1024.0];

/// A million new callbacks, each by itself, in US dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// What takes them.
    pub(crate) name: String,
    /// How much memory it is given, in megabytes.
    pub(crate) memory_mb: f64,
    /// How long each is charged for, in milliseconds, publishing included.
    pub(crate) billed_ms: f64,
    /// API Gateway.
    pub(crate) api: f64,
    /// Lambda's invocations.
    pub(crate) invocations: f64,
    /// Lambda's time.
    pub(crate) time: f64,
    /// DynamoDB.
    pub(crate) table: f64,
    /// SQS.
    pub(crate) queue: f64,
    /// CloudWatch Logs.
    pub(crate) logs: f64,
}

impl Cost {
    /// The sum.
    pub(crate) fn total(&self) -> f64 {
        self.api + self.invocations + self.time + self.table + self.queue + self.logs
    }

    fn new(name: &str) -> Self {
        let nothing = 0.0;
        Self {
            name: name.to_owned(),
            memory_mb: nothing,
            billed_ms: nothing,
            api: prices::API,
            invocations: nothing,
            time: nothing,
            table: nothing,
            queue: nothing,
            logs: nothing,
        }
    }

    /// Adds an invocation, for which others write so many bytes into logs.
    fn add(&mut self, figures: &Figures, event: &PerEvent, others_bytes: f64) {
        let memory_mb = memory_mb(figures.peak_mb.max);
        let billed_ms = billed_ms(event.cpu_us.median, event.amounts.calls, memory_mb);
        let amounts = &event.amounts;
        let log_bytes = amounts.log_bytes + amounts.log_lines * BYTES_PER_LINE + others_bytes;
        self.memory_mb = self.memory_mb.max(memory_mb);
        self.billed_ms += billed_ms;
        self.invocations += prices::INVOCATIONS;
        self.time += billed_ms / 1000.0 * memory_mb / 1024.0 * prices::GIGABYTE_SECONDS;
        self.table += amounts.write_units * prices::WRITE_UNITS + amounts.read_units * prices::READ_UNITS;
        self.queue += amounts.queue_requests * prices::QUEUE_REQUESTS;
        // A million times so many bytes are so many thousandths of a gigabyte.
        self.logs += log_bytes / 1000.0 * prices::LOGS;
    }
}

/// The smallest size that holds so much.
fn memory_mb(peak_mb: f64) -> f64 {
    SIZES.into_iter().find(|size| peak_mb < *size).unwrap_or(peak_mb)
}

/// Time that is charged: processor time at the share of a core that the size brings, and waiting, in whole milliseconds.
fn billed_ms(cpu_us: f64, calls: f64, memory_mb: f64) -> f64 {
    let share = (memory_mb / MB_OF_A_CORE).min(1.0);
    (cpu_us / 1000.0 / share + calls * MS_PER_CALL).ceil()
}

/// What the functions that receive callbacks cost, publishing included, and what their peers cost.
pub(crate) fn costs(all: &[Figures]) -> Vec<Cost> {
    let Some(publisher) = find(all, "publisher") else { return Vec::new() };
    let Some(alone) = publisher.outcomes.get(&Outcome::Alone) else { return Vec::new() };
    let ours = all.iter().filter(|figures| is_provider(figures)).filter_map(|figures| {
        let mut cost = Cost::new(&figures.name);
        // Lambda writes nothing of its own (SystemLogLevel in template.yaml).
        cost.add(figures, figures.fresh()?, BYTES_OF_ACCESS_LOG);
        cost.add(publisher, alone, 0.0);
        Some(cost)
    });
    let peers = with_peers(all).filter_map(|(_, _, peer)| {
        let mut cost = Cost::new(&peer.name);
        cost.add(peer, peer.fresh()?, BYTES_PER_INVOCATION);
        Some(cost)
    });
    ours.chain(peers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::bars::tests::example;

    #[track_caller]
    fn about(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
    }

    #[test]
    fn time_is_charged_at_the_share_of_a_core_in_whole_milliseconds() {
        // 0.25 ms at 128 / 1769 are 3.455 ms.
        about(billed_ms(250.0, 1.0, 128.0), 9.0);
        about(billed_ms(250.0, 0.0, 1769.0), 1.0);
        about(billed_ms(5000.0, 2.0, 256.0), 45.0);
    }

    #[test]
    fn the_smallest_size_that_holds_it_is_taken() {
        about(memory_mb(9.0), 128.0);
        about(memory_mb(130.0), 256.0);
    }

    #[test]
    fn a_callback_is_charged_with_its_publishing_and_a_peer_is_not() {
        let costs = costs(&example());
        let cost = |name: &str| costs.iter().find(|cost| cost.name == name).unwrap().clone();
        let ours = cost("verifyvasp");
        about(ours.invocations, 0.40);
        about(ours.table, 2.0 * 2.0 * 0.625);
        about(ours.logs, (2.0 * (100.0 + 52.0) + 430.0) / 1000.0 * 0.50);
        // 9 ms, and 0.5 ms at the share and three calls for the publisher: 22 ms.
        about(ours.billed_ms, 31.0);
        about(ours.time, 0.031 * 0.125 * 13.3334);
        about(ours.total(), ours.api + 0.40 + ours.time + 2.5 + ours.logs);
        about(cost("python-verifyvasp").invocations, 0.20);
    }
}

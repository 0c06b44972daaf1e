//! What a run found out.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::made::Deleted;
use crate::{
    doctor::{Finding, Verdict},
    stack::Stack,
    terminal,
};

/// What a run found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version that is deployed.
    version: String,
    /// The address that callbacks were sent to.
    api_url: String,
    /// What all subjects of the run begin with.
    subjects: String,
    pub(super) findings: Vec<OfFunction>,
    /// How long it took, by function.
    pub(super) times: BTreeMap<String, Times>,
    pub(super) deleted: Deleted,
    pub(super) interrupted: bool,
}

/// What was found about a function.
#[derive(Debug, Serialize)]
pub(super) struct OfFunction {
    pub(super) function: String,
    #[serde(flatten)]
    pub(super) finding: Finding,
}

/// How long a function took.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Times {
    /// The first callback of the run, answered: with a cold start if none was sent for a while.
    pub(super) first: Option<Quantiles>,
    /// Callbacks that were sent at once, answered: with cold starts, since each instance takes one at a time.
    pub(super) at_once: Option<Quantiles>,
    /// Callbacks that were sent one after the other, answered: by warm instances.
    pub(super) in_turn: Option<Quantiles>,
    /// From the receipt of a callback until the publisher had decided about it, by AWS's own clocks.
    pub(super) decided: Option<Quantiles>,
    /// From the receipt of a callback until its message was in the queue, by AWS's own clocks.
    pub(super) in_queue: Option<Quantiles>,
}

/// How long several things took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) count: usize,
    /// Half of them took no longer.
    pub(super) p50_ms: f64,
    /// 99 of a hundred took no longer.
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Quantiles {
    /// Of these times. None if there are none.
    pub(super) fn of(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort();
        // The nearest rank: the least that so many of a hundred do not exceed.
        let quantile = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            Some(times.get(rank.checked_sub(1)?)?.as_secs_f64() * 1000.0)
        };
        Some(Self { count: times.len(), p50_ms: quantile(50)?, p99_ms: quantile(99)?, max_ms: quantile(100)? })
    }
}

impl Report {
    pub(super) fn new(stack: &Stack, subjects: &str) -> Self {
        Self {
            version: stack.version.clone(),
            api_url: stack.api_url.clone(),
            subjects: subjects.to_owned(),
            findings: Vec::new(),
            times: BTreeMap::new(),
            deleted: Deleted::default(),
            interrupted: false,
        }
    }

    pub(super) fn note(&mut self, function: &str, check: impl Into<String>, verdict: Verdict, about: String) {
        let finding = Finding { check: check.into(), verdict, about };
        self.findings.push(OfFunction { function: function.to_owned(), finding });
    }

    pub(super) fn print(&self) {
        for OfFunction { function, finding } in &self.findings {
            let Finding { check, verdict, about } = finding;
            let colon = if about.is_empty() { "" } else { ": " };
            // What others answered may be in it.
            let line = format!("{function}: {check}{colon}{about}");
            say!("{}  {}", verdict.mark(), terminal::harmless(&line));
        }
        if !self.times.is_empty() {
            say!("{}", self.table());
        }
        let Deleted { events, parts, rows, claims, expectations, left } = &self.deleted;
        terminal::print(&format!(
            "Deleted: {events} events, {parts} parts of bodies, {rows} rows, {claims} claims of tokens, {expectations} \
             expectations."
        ));
        for left in left {
            terminal::print(&format!("Left: {left}"));
        }
    }

    /// How long it took, in milliseconds.
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["milliseconds", "callbacks", "p50", "p99", "max"]);
        for (function, times) in &self.times {
            for (what, quantiles) in [
                ("first answer", times.first),
                ("answers, all at once", times.at_once),
                ("answers, one after the other", times.in_turn),
                ("received until decided", times.decided),
                ("received until in the queue", times.in_queue),
            ] {
                let Some(Quantiles { count, p50_ms, p99_ms, max_ms }) = quantiles else { continue };
                let times = [p50_ms, p99_ms, max_ms].map(|ms| format!("{ms:.0}"));
                table.add_row([vec![format!("{function}: {what}"), count.to_string()], times.into()].concat());
            }
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let of = |milliseconds: &[u64]| Quantiles::of(milliseconds.iter().copied().map(Duration::from_millis));
        let quantiles = |count, p50_ms, p99_ms, max_ms| Some(Quantiles { count, p50_ms, p99_ms, max_ms });
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), quantiles(1, 7.0, 7.0, 7.0));
        assert_eq!(of(&[4, 1, 3, 2]), quantiles(4, 2.0, 4.0, 4.0));
        assert_eq!(of(&(1..=200).rev().collect::<Vec<_>>()), quantiles(200, 100.0, 198.0, 200.0));
    }
}

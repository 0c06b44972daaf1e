//! What must be reached, and what is.

use serde::Serialize;

use super::{
    figures::{Figures, PerEvent, u64_as_f64},
    subjects::Kind,
    workload::Outcome,
};

/// One bar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Bar {
    /// What is measured.
    pub(crate) what: String,
    /// What it must be.
    pub(crate) bar: String,
    /// What it is: of the function that is farthest from it.
    pub(crate) measured: String,
    /// Which function that is.
    pub(crate) of: String,
    /// Whether the bar is met.
    pub(crate) is_met: bool,
}

/// The six that receive callbacks are known by their not understanding some.
pub(crate) fn is_provider(figures: &Figures) -> bool {
    figures.kind == Kind::Function && figures.outcomes.contains_key(&Outcome::Unrecognized)
}

/// Whether it looks a code up for each callback.
pub(crate) fn looks_up(figures: &Figures) -> bool {
    figures.name.starts_with("wallet-")
}

/// The floor that a function is measured against.
pub(crate) fn floor_of(figures: &Figures) -> &'static str {
    if looks_up(figures) { "get-put-item" } else { "put-item" }
}

/// The figures of this name.
pub(crate) fn find<'a>(all: &'a [Figures], name: &str) -> Option<&'a Figures> {
    all.iter().find(|figures| figures.name == name)
}

/// What a new event takes, in microseconds of processor time.
pub(crate) fn fresh_cpu(figures: &Figures) -> Option<f64> {
    figures.fresh().map(|event| event.cpu_us.median)
}

/// What a callback takes from its coming to its message's leaving, in microseconds: the function, and a tenth of the publisher's batch of ten. That is the work that a peer
/// does.
pub(crate) fn whole_work(all: &[Figures], function: &Figures) -> Option<f64> {
    let publisher = find(all, "publisher")?.fresh()?;
    Some(fresh_cpu(function)? + publisher.cpu_us.median / f64::from(publisher.batch))
}

/// The functions that have peers, each with its peer's language and figures.
pub(crate) fn with_peers(all: &[Figures]) -> impl Iterator<Item = (&Figures, &'static str, &Figures)> {
    all.iter().filter(|figures| figures.kind == Kind::Function).flat_map(move |function| {
        ["python", "typescript"].into_iter().filter_map(move |language| {
            Some((function, language, find(all, &format!("{language}-{}", function.name))?))
        })
    })
}

/// All bars that can be judged by what was measured.
pub(crate) fn bars(all: &[Figures]) -> Vec<Bar> {
    let functions = || all.iter().filter(|figures| figures.kind == Kind::Function);
    let at_most = |what: &str, unit: &str, limit: f64, of: &dyn Fn(&Figures) -> Option<f64>| {
        let measured = functions().filter_map(|function| Some((function.name.clone(), of(function)?)));
        worst(measured, limit, what, &format!("at most {limit} {unit}"), |value| format!("{value:.2} {unit}"))
    };
    let floors = functions().filter(|function| is_provider(function)).filter_map(|function| {
        let floor = fresh_cpu(find(all, floor_of(function))?)?;
        Some((function.name.clone(), fresh_cpu(function)? / floor))
    });
    let times = |value| format!("{value:.2} times");
    let part = |value| format!("1/{:.1}", 1.0 / value);
    let peers = with_peers(all).filter_map(|(function, language, peer)| {
        Some((format!("{}, {language}", function.name), whole_work(all, function)? / fresh_cpu(peer)?))
    });
    let starts = with_peers(all).map(|(function, language, peer)| {
        (format!("{}, {language}", function.name), function.start_cpu_ms.median / peer.start_cpu_ms.median)
    });
    [
        calls(all, Outcome::Fresh, 1.0),
        calls(all, Outcome::Repeat, 1.0),
        calls(all, Outcome::Refused, 0.0),
        publishing(all),
        worst(floors, 2.0, "processor time per callback, beside the floor", "at most 2 times", times),
        worst(
            peers,
            1.0 / 12.0,
            "processor time per callback, publishing included, beside the peers",
            "at most 1/12",
            part,
        ),
        at_most("start, from exec to the first poll, processor time", "ms", 8.0, &|of| Some(of.start_cpu_ms.median)),
        worst(starts, 1.0 / 25.0, "the same, beside the peers", "at most 1/25", part),
        at_most("first event, TLS handshake included, processor time", "ms", 3.0, &first_event),
        at_most("peak memory", "MB", 12.0, &|of| Some(of.peak_mb.max)),
        at_most("artifact, zipped", "MB", 3.5, &|of| of.zip_bytes.map(|bytes| u64_as_f64(bytes) / 1e6)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the first event takes, in milliseconds of processor time. The drain's is left out: it is a batch of ten, and nobody waits for it.
fn first_event(figures: &Figures) -> Option<f64> {
    (figures.name != "spill-drain").then_some(figures.first_cpu_ms.median)
}

fn worst(
    measured: impl IntoIterator<Item = (String, f64)>,
    limit: f64,
    what: &str,
    bar: &str,
    show: impl Fn(f64) -> String,
) -> Option<Bar> {
    let (of, value) = measured.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    Some(Bar { what: what.to_owned(), bar: bar.to_owned(), measured: show(value), of, is_met: value <= limit })
}

/// Where a code is looked up, that is one call more: only by it can the callback be known.
fn calls(all: &[Figures], outcome: Outcome, allowed: f64) -> Option<Bar> {
    let beyond = |(figures, event): (&Figures, &PerEvent)| {
        let look_up = if looks_up(figures) { 1.0 } else { 0.0 };
        (figures.name.clone(), event.amounts.calls - look_up)
    };
    let events = all
        .iter()
        .filter(|figures| is_provider(figures))
        .filter_map(|figures| Some((figures, figures.outcomes.get(&outcome)?)));
    let what = format!("AWS calls per callback, {} (wallets: and one look-up)", outcome.name());
    worst(events.map(beyond), allowed, &what, &format!("{allowed}"), |calls| format!("{calls}"))
}

/// One read and one send for the batch, and for each event its row.
fn publishing(all: &[Figures]) -> Option<Bar> {
    let publisher = find(all, "publisher")?;
    let event = publisher.fresh()?;
    let calls = [(publisher.name.clone(), event.amounts.calls)];
    let what = format!("AWS calls of the publisher for {} events", event.batch);
    let allowed = f64::from(event.batch) + 2.0;
    worst(calls, allowed, &what, &format!("{allowed}"), |calls| format!("{calls}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::functions::figures::{Amounts, Spread};

    pub(crate) fn figures(name: &str, kind: Kind, cpu_us: f64, outcomes: &[(Outcome, f64)]) -> Figures {
        let spread = |median| Spread { median, min: median, max: median };
        let event = |calls| PerEvent {
            batch: if name == "publisher" { 10 } else { 1 },
            cpu_us: spread(cpu_us),
            amounts: Amounts { calls, log_bytes: 100.0, log_lines: 2.0, write_units: 2.0, ..Amounts::default() },
            ..PerEvent::default()
        };
        let outcomes: BTreeMap<_, _> = outcomes.iter().map(|(outcome, calls)| (*outcome, event(*calls))).collect();
        let mut figures = Figures::of(name, kind, &[], &[]);
        figures.outcomes = outcomes;
        figures.start_cpu_ms = spread(cpu_us / 100.0);
        figures.zip_bytes = Some(3_000_000);
        figures
    }

    pub(crate) fn example() -> Vec<Figures> {
        use Outcome::{Fresh, Refused, Repeat, Unrecognized};
        let provider =
            |calls: f64| [(Fresh, 1.0 + calls), (Repeat, 1.0 + calls), (Refused, calls), (Unrecognized, 1.0 + calls)];
        vec![
            figures("verifyvasp", Kind::Function, 250.0, &provider(0.0)),
            figures("wallet-verification", Kind::Function, 500.0, &provider(1.0)),
            figures("publisher", Kind::Function, 500.0, &[(Fresh, 12.0), (Outcome::Alone, 3.0)]),
            figures("put-item", Kind::Floor, 125.0, &[(Fresh, 1.0)]),
            figures("get-put-item", Kind::Floor, 200.0, &[(Fresh, 2.0)]),
            figures("python-verifyvasp", Kind::Peer, 6000.0, &[(Fresh, 3.0)]),
        ]
    }

    #[track_caller]
    fn check(what: &str, measured: &str, of: &str, is_met: bool) {
        let bars = bars(&example());
        let bar = bars.iter().find(|bar| bar.what.contains(what)).unwrap();
        assert_eq!((bar.measured.as_str(), bar.of.as_str(), bar.is_met), (measured, of, is_met), "{bar:?}");
    }

    #[test]
    fn a_look_up_is_no_call_too_many() {
        check("calls per callback, fresh", "1", "wallet-verification", true);
        check("calls per callback, refused", "0", "wallet-verification", true);
    }

    #[test]
    fn each_is_measured_against_its_own_floor() {
        check("beside the floor", "2.50 times", "wallet-verification", false);
    }

    #[test]
    fn a_peer_publishes_too() {
        // (250 + 500 / 10) of 6000.
        check("publishing included", "1/20.0", "verifyvasp, python", true);
        check("the same, beside the peers", "1/24.0", "verifyvasp, python", false);
    }

    #[test]
    fn a_batch_has_a_read_a_send_and_a_row_for_each_event() {
        check("calls of the publisher for 10", "12", "publisher", true);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(bars(&[]).is_empty());
    }
}

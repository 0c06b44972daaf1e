//! The report: docs/performance.md, with what is written in it by hand, and the same as JSON.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    bars::{Bar, bars, find, floor_of, fresh_cpu, is_provider, looks_up, whole_work, with_peers},
    cost::{Cost, MS_PER_CALL, costs},
    figures::{Figures, Spread, u64_as_f64},
    machine::Machine,
    markdown::{self, table},
    plot,
    quota::SHARE,
    subjects::Kind,
    workload::Outcome,
};

/// Everything that was found out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// On what.
    pub(crate) machine: Machine,
    /// Of what.
    pub(crate) versions: BTreeMap<String, String>,
    /// How often.
    pub(crate) runs: usize,
    /// With how many events of each outcome.
    pub(crate) events: usize,
    /// What must be reached, and what is.
    pub(crate) bars: Vec<Bar>,
    /// What each took.
    pub(crate) figures: Vec<Figures>,
    /// What a million callbacks cost.
    pub(crate) costs: Vec<Cost>,
}

impl Report {
    /// Of these figures.
    pub(crate) fn new(
        machine: Machine,
        versions: BTreeMap<String, String>,
        runs: usize,
        events: usize,
        figures: Vec<Figures>,
    ) -> Self {
        Self { machine, versions, runs, events, bars: bars(&figures), costs: costs(&figures), figures }
    }

    /// Writes performance.md, .json and .svg into a folder. What was written by hand into the first stays.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let page = folder.join("performance.md");
        // The first time, there is none.
        let before = std::fs::read_to_string(&page).unwrap_or_default();
        for (name, text) in [
            ("performance.md", self.page(markdown::words(&before))),
            ("performance.json", serde_json::to_string_pretty(self)? + "\n"),
            ("performance.svg", plot::draw(&self.figures)?),
        ] {
            let file = folder.join(name);
            std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
        }
        Ok(())
    }

    fn page(&self, words: &str) -> String {
        let Machine { processor, cores, memory_gb, kernel } = &self.machine;
        let versions: Vec<String> = self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let sections = [
            format!(
                "# What the functions take\n\nMeasured by `cargo run --release -p bench -- functions`, which writes this page, [the numbers](performance.json) and \
                 the plot. Medians of {} runs, in which all take turns, with {} events of each outcome; in parentheses the least and the greatest. Each function is its real \
                 binary, started as Lambda starts it and given the events in `events/`; AWS is played over TLS on the same machine, and answers at once. \
                 Processor time is that of the whole process, in its own code and in the kernel, read from outside.",
                self.runs, self.events
            ),
            format!("{}{words}{}", markdown::WORDS, markdown::END_OF_WORDS),
            "## What must be reached".to_owned(),
            self.bars_table(),
            "## Processor time per callback".to_owned(),
            "![Processor time per callback, of functions, floors and peers](performance.svg)".to_owned(),
            "As a multiple of what the floor takes for a new callback. The floor `put-item` is written by hand: `lambda_runtime`, and one signed `PutItem`. \
             `get-put-item` makes one `GetItem` before that, as wallets' callbacks need; `hello` is `lambda_runtime` alone. A `repeat` is the same callback again: \
             a function stores it as another event, and the publisher decides that it is not news. A floor finds it in the table, and a peer does not process it again."
                .to_owned(),
            self.ratios(),
            "## Beside the peers".to_owned(),
            "How many times what ours takes. The peers do the same work in one function, as the documents of Powertools for AWS Lambda recommend: the check of authenticity, idempotency on \
             DynamoDB, and a message to SQS. So ours is the function, and for each callback a tenth of the publisher's batch of ten."
                .to_owned(),
            self.peers(),
            "## Start, memory and size".to_owned(),
            self.starts(),
            "## Each event".to_owned(),
            "The publisher and the drain take batches: so many events as are in parentheses, all in one row. Each event of a batch of the publisher's is on another track, so each needs a row in the verifications table. \
             A repeat of the drain's was drained before. Bytes are those on the wire, encrypted. Units are what DynamoDB charges."
                .to_owned(),
            self.events(),
            format!("## With {SHARE} of a core"),
            self.throttled(),
            "## What a million callbacks cost".to_owned(),
            format!(
                "In US dollars, for new callbacks, each by itself, with the prices in [cost.md](cost.md), which has what is left out here: consumers, X-Ray, storage, and what is charged by the month. \
                 Assumed: the smallest memory that holds the peak; processor time at the share of a core that comes with it, and {MS_PER_CALL} ms for each call to AWS, in whole milliseconds; no cold starts. \
                 Ours have the publisher's invocation in them. Ours keep each event, with an index, and a row for its track, and an access log; the peers keep no event, only a record that it came."
            ),
            self.cost(),
            "## Machine and versions".to_owned(),
            format!("{processor}, {cores} cores, {memory_gb} GB, {kernel}."),
            format!("{}.", versions.join(", ")),
        ];
        sections.join("\n\n") + "\n"
    }

    fn bars_table(&self) -> String {
        let row = |bar: &Bar| {
            let is_met = if bar.is_met { "yes" } else { "**no**" };
            vec![bar.what.clone(), bar.bar.clone(), bar.measured.clone(), bar.of.clone(), is_met.to_owned()]
        };
        table(&["what", "bar", "measured", "farthest", "met"], self.bars.iter().map(row))
    }

    fn ratios(&self) -> String {
        let Some(floor) = find(&self.figures, "put-item").and_then(fresh_cpu) else { return NOTHING.to_owned() };
        let row = |of: &Figures| {
            let ratio = |outcome| {
                of.outcomes.get(&outcome).map_or_else(String::new, |event| times(event.cpu_us.median / floor))
            };
            let own_floor = find(&self.figures, floor_of(of)).and_then(fresh_cpu).filter(|_| looks_up(of));
            let of_own = own_floor.zip(fresh_cpu(of)).map_or_else(String::new, |(floor, cpu)| times(cpu / floor));
            vec![
                of.name.clone(),
                ratio(Outcome::Fresh),
                of_own,
                ratio(Outcome::Repeat),
                ratio(Outcome::Refused),
                ratio(Outcome::Unrecognized),
            ]
        };
        let compared = self.figures.iter().filter(|of| is_provider(of) || of.kind != Kind::Function);
        table(&["", "fresh", "of get-put-item", "repeat", "refused", "unrecognized"], compared.map(row))
    }

    fn peers(&self) -> String {
        let row = |(ours, _, peer): (&Figures, &str, &Figures)| {
            let cpu = whole_work(&self.figures, ours).zip(fresh_cpu(peer)).map(|(ours, peer)| peer / ours);
            let zip = ours.zip_bytes.zip(peer.zip_bytes).map(|(ours, peer)| u64_as_f64(peer) / u64_as_f64(ours));
            let ratio = |of: fn(&Figures) -> Spread| times(of(peer).median / of(ours).median);
            let shown = |ratio: Option<f64>| ratio.map_or_else(String::new, times);
            vec![
                peer.name.clone(),
                shown(cpu),
                ratio(|of| of.start_cpu_ms),
                ratio(|of| of.first_cpu_ms),
                ratio(|of| of.peak_mb),
                shown(zip),
            ]
        };
        let rows: Vec<_> = with_peers(&self.figures).map(row).collect();
        if rows.is_empty() {
            return NOTHING.to_owned();
        }
        table(&["", "per callback", "start", "first event", "peak memory", "zipped"], rows)
    }

    fn starts(&self) -> String {
        let megabytes =
            |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| format!("{:.2}", u64_as_f64(bytes) / 1e6));
        let row = |of: &Figures| {
            vec![
                of.name.clone(),
                spread(&of.start_cpu_ms, 1),
                spread(&of.start_wall_ms, 1),
                spread(&of.first_cpu_ms, 1),
                spread(&of.first_wall_ms, 1),
                format!("{}", of.connections),
                spread(&of.peak_mb, 1),
                megabytes(of.artifact_bytes),
                megabytes(of.zip_bytes),
            ]
        };
        let header = [
            "",
            "start, CPU ms",
            "start, ms",
            "first event, CPU ms",
            "first event, ms",
            "TLS connections",
            "peak MB",
            "MB",
            "zipped MB",
        ];
        table(&header, self.figures.iter().map(row))
    }

    fn events(&self) -> String {
        let rows = self.figures.iter().flat_map(|of| {
            of.outcomes.iter().map(|(outcome, event)| {
                let amounts = &event.amounts;
                let batch = if event.batch > 1 { format!(" ({})", event.batch) } else { String::new() };
                vec![
                    format!("{}, {}{batch}", of.name, outcome.name()),
                    spread(&event.cpu_us, 0),
                    spread(&event.wall_us, 0),
                    spread(&event.wall_p99_us, 0),
                    format!("{}", amounts.calls),
                    format!("{:.0}", amounts.bytes_out),
                    format!("{:.0}", amounts.bytes_in),
                    format!("{:.0}", amounts.log_bytes),
                    format!("{}", amounts.write_units),
                    format!("{}", amounts.read_units),
                ]
            })
        });
        let header = [
            "",
            "CPU µs",
            "µs",
            "µs, p99",
            "AWS calls",
            "bytes out",
            "bytes in",
            "log bytes",
            "write units",
            "read units",
        ];
        table(&header, rows)
    }

    fn throttled(&self) -> String {
        let row = |of: &Figures| {
            let throttled = of.throttled.as_ref()?;
            let times = [&throttled.start_ms, &throttled.first_ms, &throttled.median_ms, &throttled.p99_ms];
            Some(std::iter::once(of.name.clone()).chain(times.map(|time| spread(time, 1))).collect::<Vec<_>>())
        };
        let rows: Vec<_> = self.figures.iter().filter_map(row).collect();
        if rows.is_empty() {
            return "Not measured: control groups with a processor quota could not be made on this machine.".to_owned();
        }
        format!(
            "What a function with 128 MB has. In milliseconds of the clock; 200 new events (peers: 50), one straight after the other. The quota is given in pieces of 1.44 ms in every 20 ms: what fits one is not held up. \
             On Lambda the start is not under the quota.\n\n{}",
            table(&["", "start", "first event", "event", "event, p99"], rows)
        )
    }

    fn cost(&self) -> String {
        let row = |cost: &Cost| {
            let dollars = |amount: f64| format!("{amount:.2}");
            vec![
                cost.name.clone(),
                format!("{}", cost.memory_mb),
                format!("{}", cost.billed_ms),
                dollars(cost.api),
                dollars(cost.invocations),
                dollars(cost.time),
                dollars(cost.table),
                dollars(cost.queue),
                dollars(cost.logs),
                dollars(cost.total()),
            ]
        };
        if self.costs.is_empty() {
            return NOTHING.to_owned();
        }
        let header = ["", "MB", "ms charged", "API Gateway", "invocations", "time", "DynamoDB", "SQS", "logs", "sum"];
        table(&header, self.costs.iter().map(row))
    }
}

const NOTHING: &str = "Not measured.";

fn times(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// The median, and the least and the greatest if they are different.
fn spread(spread: &Spread, digits: usize) -> String {
    let show = |value: f64| format!("{value:.digits$}");
    let (median, min, max) = (show(spread.median), show(spread.min), show(spread.max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::bars::tests::example;

    fn report() -> Report {
        let machine =
            Machine { processor: "A Processor".to_owned(), cores: 2, memory_gb: 8.0, kernel: "Linux 6".to_owned() };
        Report::new(machine, BTreeMap::from([("rustc".to_owned(), "1.91.0".to_owned())]), 5, 2000, example())
    }

    #[track_caller]
    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }

    #[test]
    fn ratios_are_to_the_floors() {
        let page = report().page("");
        has(&page, "| verifyvasp | 2.00 |  | 2.00 | 2.00 | 2.00 |");
        has(&page, "| wallet-verification | 4.00 | 2.50 | 4.00 | 4.00 | 4.00 |");
        has(&page, "| put-item | 1.00 |  |  |  |  |");
    }

    #[test]
    fn machine_bars_and_costs_are_named() {
        let page = report().page("");
        has(&page, "A Processor, 2 cores, 8 GB, Linux 6.");
        has(&page, "rustc 1.91.0.");
        has(
            &page,
            "| processor time per callback, beside the floor | at most 2 times | 2.50 times | wallet-verification | **no** |",
        );
        assert!(page.contains("| verifyvasp | 128 | 31 | 1.00 | 0.40 |"), "{page}");
    }

    #[test]
    fn what_was_written_by_hand_stays() {
        let folder = std::env::temp_dir().join(format!("bench-report-{}", std::process::id()));
        let page = || std::fs::read_to_string(folder.join("performance.md")).unwrap();
        report().write(&folder).unwrap();
        let written = page().replace(markdown::END_OF_WORDS, "By hand.\n<!-- /words -->");
        std::fs::write(folder.join("performance.md"), &written).unwrap();
        report().write(&folder).unwrap();
        assert_eq!(page(), written);
        assert!(written.contains("By hand."));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_spread_is_shown_where_there_is_one() {
        assert_eq!(spread(&Spread { median: 2.04, min: 1.96, max: 2.96 }, 1), "2.0 (2.0–3.0)");
        assert_eq!(spread(&Spread { median: 2.0, min: 2.01, max: 1.99 }, 1), "2.0");
    }
}

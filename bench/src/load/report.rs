//! What came of a run.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    reconcile::{OffenceKind, Reconciliation},
    send::{Sent, Verdict},
};

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What all subjects of the run begin with.
    pub subjects: String,
    /// By what its courses were drawn.
    pub seed: u64,
    /// Whether it was stopped before all was sent.
    pub is_interrupted: bool,
    /// For how long it sent.
    pub seconds: f64,
    /// How long it took after that until the last message had come.
    pub seconds_until_received: f64,
    /// Callbacks that were not sent, as they could not be announced.
    pub not_announced: usize,
    /// What was answered, by function.
    pub functions: BTreeMap<String, Answers>,
    /// What was answered in all.
    pub all: Answers,
    /// How that fits what was stored and received.
    pub reconciliation: Reconciliation,
}

/// What was answered.
#[derive(Debug, Default, Serialize)]
pub struct Answers {
    /// Callbacks that were sent, copies and forged ones included.
    pub callbacks: usize,
    /// Of these, copies of another.
    pub copies: usize,
    /// Of these, forged ones.
    pub forged: usize,
    /// Authentic callbacks that were acknowledged.
    pub acknowledged: usize,
    /// Callbacks that were not answered for good, however often they were sent.
    pub not_acknowledged: usize,
    /// How often a callback was sent again, as it was not acknowledged before.
    pub sent_again: usize,
    /// Callbacks a second.
    pub callbacks_per_second: f64,
    /// How often each status came, and `none` where nothing came.
    pub statuses: BTreeMap<String, usize>,
    /// How long the answers took.
    pub latency: Latency,
}

/// How long answers took, in milliseconds, each attempt by itself.
#[derive(Debug, Default, Serialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// Nine of ten took no longer.
    pub p90_ms: f64,
    /// 99 of a hundred took no longer.
    pub p99_ms: f64,
    /// The one that took longest.
    pub max_ms: f64,
}

impl Report {
    /// Whether nothing is wrong: no offence; and, in a run that was not interrupted, every function
    /// acknowledged something, without which that would mean nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.reconciliation.offences.is_empty() && (self.is_interrupted || self.silent().next().is_none())
    }

    /// The functions that acknowledged no authentic callback, though there were some.
    fn silent(&self) -> impl Iterator<Item = &str> {
        let is_silent = |answers: &Answers| answers.callbacks > answers.forged && answers.acknowledged == 0;
        let functions = self.functions.iter().filter(move |(_, answers)| is_silent(answers));
        functions.map(|(function, _)| function.as_str())
    }
}

/// What was answered to these callbacks, by function and in all.
pub(crate) fn answers(sent: &[Sent], sending: Duration) -> anyhow::Result<(BTreeMap<String, Answers>, Answers)> {
    let mut by_function: BTreeMap<String, Vec<&Sent>> = BTreeMap::new();
    for sent in sent {
        by_function.entry(sent.function.clone()).or_default().push(sent);
    }
    let of_function = |(function, sent): (String, Vec<&Sent>)| Ok((function, Answers::to(&sent, sending)?));
    let by_function = by_function.into_iter().map(of_function).collect::<anyhow::Result<_>>()?;
    Ok((by_function, Answers::to(&sent.iter().collect::<Vec<_>>(), sending)?))
}

impl Answers {
    fn to(sent: &[&Sent], sending: Duration) -> anyhow::Result<Self> {
        let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
        // Of microseconds, exact to the third digit.
        let mut latencies = Histogram::<u64>::new(3).context("failed to make a histogram")?;
        for attempt in sent.iter().flat_map(|sent| &sent.attempts) {
            let status = attempt.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
            *statuses.entry(status).or_default() += 1;
            let microseconds = u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX);
            latencies.record(microseconds).context("failed to note a latency")?;
        }
        let count = |is: fn(&Sent) -> bool| sent.iter().filter(|sent| is(sent)).count();
        let milliseconds = |microseconds| Duration::from_micros(microseconds).as_secs_f64() * 1000.0;
        let quantile = |quantile| milliseconds(latencies.value_at_quantile(quantile));
        Ok(Self {
            callbacks: sent.len(),
            copies: count(|sent| sent.is_copy),
            forged: count(|sent| sent.is_forged),
            acknowledged: count(|sent| !sent.is_forged && sent.verdict == Verdict::Acknowledged),
            not_acknowledged: count(|sent| sent.verdict == Verdict::NotAcknowledged),
            sent_again: sent.iter().map(|sent| sent.attempts.len().saturating_sub(1)).sum(),
            callbacks_per_second: Duration::from_secs(1).div_duration_f64(sending) * count_as_f64(sent.len()),
            statuses,
            latency: Latency {
                p50_ms: quantile(0.5),
                p90_ms: quantile(0.9),
                p99_ms: quantile(0.99),
                max_ms: milliseconds(latencies.max()),
            },
        })
    }
}

/// Nobody sends more callbacks than this can count.
fn count_as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Two tables, what is out of the ordinary, and the references of whatever must not be.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.answers())?;
        let statuses = self.all.statuses.iter().map(|(status, count)| format!("{count} × {status}"));
        writeln!(f, "answers: {}", statuses.collect::<Vec<_>>().join(", "))?;
        writeln!(
            f,
            "sent for {:.1} s; the last message came {:.1} s later; seed {}; subjects {}…\n",
            self.seconds, self.seconds_until_received, self.seed, self.subjects
        )?;
        writeln!(f, "{}", self.reconciled())?;
        for offence in &self.reconciliation.offences {
            let event = &offence.event;
            let reasons = event.unrecognized.clone().unwrap_or_else(|| event.reasons.join(", "));
            let what = format!("{} {} {} {reasons}", event.subject, event.kind, event.outcome.as_str());
            writeln!(f, "{}: {}: {}", offence.kind.description(), what.trim_end(), offence.what)?;
        }
        if self.not_announced > 0 {
            writeln!(f, "{} callbacks could not be announced, and were not sent", self.not_announced)?;
        }
        for function in self.silent() {
            writeln!(f, "{function} acknowledged nothing")?;
        }
        let verdict = if self.is_clean() { "It reconciles." } else { "It does NOT reconcile." };
        write!(f, "{verdict}{}", if self.is_interrupted { " It was interrupted." } else { "" })
    }
}

impl Report {
    fn answers(&self) -> Table {
        let mut table = table();
        table.set_header([
            "function",
            "callbacks",
            "copies",
            "forged",
            "sent again",
            "not ack.",
            "per s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms",
        ]);
        let functions = self.functions.iter().map(|(function, answers)| (function.as_str(), answers));
        for (function, answers) in functions.chain([("all", &self.all)]) {
            let Latency { p50_ms, p90_ms, p99_ms, max_ms } = answers.latency;
            let counts =
                [answers.callbacks, answers.copies, answers.forged, answers.sent_again, answers.not_acknowledged];
            let mut row = vec![function.to_owned()];
            row.extend(counts.map(|count| count.to_string()));
            row.push(format!("{:.1}", answers.callbacks_per_second));
            row.extend([p50_ms, p90_ms, p99_ms, max_ms].map(|latency| format!("{latency:.0}")));
            table.add_row(row);
        }
        align(&mut table);
        table
    }

    fn reconciled(&self) -> Table {
        let this = &self.reconciliation;
        let mut table = table();
        table.set_header(["reconciliation", "events"]);
        let counts = [
            ("authentic, and sent", this.sent),
            ("acknowledged", this.acknowledged),
            ("not acknowledged (may be stored or not)", this.not_acknowledged),
            ("in the table", this.stored),
            ("out of a queue", this.received),
            ("verifications compared in table, API and consumer, by track", this.compared),
            ("stored while a token's keys were unavailable", this.without_keys),
            ("messages that came again (same id)", this.repeated_messages),
            ("messages after a later one of their verification", this.out_of_order),
        ];
        let offences = OffenceKind::ALL.map(|kind| (kind.description(), this.count_of(kind)));
        for (what, count) in counts.into_iter().chain(offences) {
            table.add_row([what.to_owned(), count.to_string()]);
        }
        align(&mut table);
        table
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table
}

/// Numbers stand to the right.
fn align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

#[cfg(test)]
mod tests {
    use cli::sample::ExpectedEvent;
    use model::Outcome;

    use super::{
        super::{reconcile::Offence, send::Attempt},
        *,
    };

    fn event(subject: &str) -> ExpectedEvent {
        ExpectedEvent {
            kind: "example.verdict".to_owned(),
            subject: subject.to_owned(),
            outcome: Outcome::Approved,
            reasons: Vec::new(),
            unrecognized: None,
            delivery: false,
        }
    }

    /// A callback that was answered so, after so many milliseconds each time.
    fn sent(function: &str, answers: &[(Option<u16>, u64)], verdict: Verdict) -> Sent {
        let attempt = |&(status, ms): &(Option<u16>, u64)| Attempt { status, took: Duration::from_millis(ms) };
        let attempts = answers.iter().map(attempt).collect();
        Sent {
            function: function.to_owned(),
            event: event("a"),
            is_forged: false,
            is_copy: false,
            turn: 0,
            attempts,
            verdict,
        }
    }

    fn report(sent: &[Sent], offences: Vec<Offence>) -> Report {
        let (functions, all) = answers(sent, Duration::from_secs(10)).unwrap();
        Report {
            subjects: "load-example-".to_owned(),
            seed: 1,
            is_interrupted: false,
            seconds: 10.0,
            seconds_until_received: 1.0,
            not_announced: 0,
            functions,
            all,
            reconciliation: Reconciliation { offences, ..Reconciliation::default() },
        }
    }

    #[test]
    fn latencies_and_statuses_are_of_every_attempt_and_callbacks_are_counted_once() {
        let mut all_sent: Vec<Sent> =
            (1..=99).map(|ms| sent("fast", &[(Some(200), ms)], Verdict::Acknowledged)).collect();
        all_sent.push(sent("slow", &[(Some(503), 1000), (None, 1000), (Some(200), 500)], Verdict::Acknowledged));
        let report = report(&all_sent, Vec::new());
        let rounded =
            |latency: &Latency| [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms].map(f64::round);
        assert_eq!(rounded(&report.functions["fast"].latency), [50.0, 90.0, 99.0, 99.0]);
        assert_eq!(rounded(&report.functions["slow"].latency), [1000.0; 4]);
        assert_eq!((report.all.callbacks, report.all.sent_again, report.all.callbacks_per_second), (100, 2, 10.0));
        let statuses = [("200", 100), ("503", 1), ("none", 1)];
        assert_eq!(report.all.statuses, statuses.map(|(status, count)| (status.to_owned(), count)).into());
    }

    #[test]
    fn a_report_with_an_offence_is_not_clean_and_names_it() {
        let answered = [sent("example", &[(Some(200), 1)], Verdict::Acknowledged)];
        let clean = report(&answered, Vec::new());
        assert!(clean.is_clean() && clean.to_string().ends_with("It reconciles."), "{clean}");
        for kind in OffenceKind::ALL {
            let report =
                report(&answered, vec![Offence { kind, what: "example".to_owned(), event: event("load-example-17") }]);
            assert!(!report.is_clean() && report.to_string().contains("load-example-17"), "{report}");
            assert!(serde_json::to_string(&report).unwrap().contains("load-example-17"));
        }
    }

    #[test]
    fn where_a_function_acknowledged_nothing_nothing_is_proved() {
        let answered = sent("one", &[(Some(200), 1)], Verdict::Acknowledged);
        let silent = sent("other", &[(Some(503), 1)], Verdict::NotAcknowledged);
        let report = report(&[answered, silent], Vec::new());
        assert!(!report.is_clean() && report.to_string().contains("other acknowledged nothing"), "{report}");
    }
}

//! `callbacks logs`: what came of each callback, by what the functions logged.
//!
//! The function that received a callback logs whether it was stored or refused. The publisher logs what it decided about
//! it: nothing is published of a repeat, and what came too late is published as late. The two are one line here.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use console::Style;
use jiff::SignedDuration;
use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Target,
    local::{INTERRUPTED, interrupted},
    parsers,
    selection::{now, time},
    stack::Stack,
    terminal::{self, Columns},
};

/// Show what came of each callback: stored, a repeat, late, unrecognized, or refused and why (default: the last hour).
///
/// Reads the functions' logs, one line a callback. They hold no subject, payload, secret or address. The id is shortened;
/// --json has it whole. A callback that the API itself answered (404, 429) is in its access log only. Exits with 1 if it
/// shows nothing.
#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    target: Target,
    /// From when on, such as 2026-01-31T12:00:00Z, or how long ago, such as 30m, 2h or 7d [default: 1h; with --follow, now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only of this provider, such as jumio.
    #[arg(long, value_parser = parsers::provider)]
    provider: Option<String>,
    /// Only what was refused.
    #[arg(long)]
    refused: bool,
    /// Go on with what comes, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// Print one JSON object a callback.
    #[arg(long)]
    json: bool,
}

impl Logs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let lines = if self.refused { Lines::Refused } else { Lines::Decided };
        let wanted = Wanted { provider: self.provider, lines };
        if self.follow {
            let followed = follow(&stack, wanted, self.since.unwrap_or_else(now), self.json);
            return tokio::select! {
                followed = followed => followed.map(|()| ExitCode::SUCCESS),
                signal = interrupted() => signal.map(|()| INTERRUPTED.into()),
            };
        }
        let since = self.since.unwrap_or_else(|| now() - SignedDuration::from_hours(1));
        let callbacks = between(&stack, wanted, since, None).await?;
        for callback in &callbacks {
            callback.print(self.json)?;
        }
        if callbacks.is_empty() {
            eprintln!("The logs have none since {since:.0}.");
        }
        Ok(if callbacks.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Which callbacks are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Only this provider's.
    pub(crate) provider: Option<String>,
    pub(crate) lines: Lines,
}

/// Which lines are read of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// That they were refused.
    Refused,
    /// That they were received: stored, or refused.
    Received,
    /// That, and what was decided about them.
    Decided,
}

/// What came of each callback of that time, in the order in which they came.
///
/// # Errors
/// If the logs cannot be read.
pub(crate) async fn between(
    stack: &Stack,
    wanted: Wanted,
    since: Timestamp,
    until: Option<Timestamp>,
) -> anyhow::Result<Vec<Callback>> {
    let mut reader = Reader::new(stack, wanted, since).await?;
    let mut joined = Joined::default();
    let lines = reader.read(until).await?;
    joined.take(lines, now());
    Ok(joined.settled(None))
}

/// Prints what comes of each callback from then on, until this is dropped.
///
/// # Errors
/// If the logs cannot be read.
pub(crate) async fn follow(stack: &Stack, wanted: Wanted, since: Timestamp, json: bool) -> anyhow::Result<()> {
    let pause = if stack.endpoint_url.is_some() { LOCAL_PAUSE } else { PAUSE };
    let mut reader = Reader::new(stack, wanted, since).await?;
    let mut joined = Joined::default();
    loop {
        let lines = reader.read(None).await?;
        joined.take(lines, now());
        for callback in joined.settled(Some(now())) {
            callback.print(json)?;
        }
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait between two looks at the emulator's logs.
const LOCAL_PAUSE: Duration = Duration::from_millis(500);

/// How long to wait between two looks at CloudWatch's logs: it answers five an account and second, and a look asks each group.
const PAUSE: Duration = Duration::from_secs(3);

/// Where a look begins, before the last one: CloudWatch takes some seconds to show what was logged.
const OVERLAP: SignedDuration = SignedDuration::from_secs(30);

/// How long to wait for the publisher's decision before a callback is shown as stored.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// For how long a decision is remembered whose callback did not show up.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// How many characters of an event's id are shown: a repeat begins with the same ones.
const SHORT_ID: usize = 12;

/// What came of one callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Callback {
    /// When that was logged.
    #[serde(serialize_with = "milliseconds")]
    pub(crate) time: Timestamp,
    pub(crate) what: What,
    pub(crate) provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Why it was refused or not recognized, or could not be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What there is to know beside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<&'static str>,
}

/// What came of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// It is in the table, and published unless nothing was decided yet.
    Stored,
    /// It is stored, and says the same as the one before: nothing is published.
    Repeat,
    /// It is stored, and came too late to change anything.
    Late,
    /// It is stored, and this version does not understand it.
    Unrecognized,
    /// It waits in the spill queue.
    Spilled,
    /// It is not authentic. Nothing is stored.
    Refused,
    /// It was answered 503. Nothing is stored.
    Unavailable,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Repeat => "repeat",
            Self::Late => "late",
            Self::Unrecognized => "unrecognized",
            Self::Spilled => "spilled",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Stored => Style::new().green(),
            Self::Repeat => Style::new().dim(),
            Self::Late | Self::Unrecognized | Self::Spilled => Style::new().yellow(),
            Self::Refused | Self::Unavailable => Style::new().red(),
        }
    }

    /// Whether it is authentic and stored, or on its way into the table.
    pub(crate) fn is_authentic(self) -> bool {
        !matches!(self, Self::Refused | Self::Unavailable)
    }
}

impl Callback {
    fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            return terminal::print_json(self);
        }
        self.columns().print();
        Ok(())
    }

    fn columns(&self) -> Columns {
        let kind = self.kind.as_deref().map(|kind| kind.split_once('.').map_or(kind, |(_, name)| name));
        let (outcome, id) = (self.outcome.as_deref().unwrap_or_default(), self.id.as_deref().unwrap_or_default());
        let reasons = self.reason.iter().map(String::as_str).chain(self.notes.iter().copied());
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let columns = Columns::default()
            .plain(&format!("{:.3}", self.time), 24)
            .styled(self.what.word(), 12, self.what.style())
            .plain(&self.provider, 10);
        match kind {
            // The reason is what there is to know.
            None => columns.plain(&reasons, 0),
            Some(kind) => columns
                .plain(kind, 26)
                .styled(outcome, 15, terminal::outcome_style(outcome))
                .plain(&id.chars().take(SHORT_ID).collect::<String>(), SHORT_ID)
                .plain(&reasons, 0),
        }
    }
}

fn milliseconds<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// A line of a function's log, as far as it is about callbacks.
#[derive(Debug, Deserialize)]
struct Line {
    message: String,
    timestamp: Option<Timestamp>,
    #[serde(rename = "_aws")]
    metrics: Option<Metrics>,
    provider: Option<String>,
    refusal: Option<String>,
    reason: Option<String>,
    error: Option<String>,
    inserted: Option<String>,
    #[serde(rename = "event.id")]
    id: Option<String>,
    #[serde(rename = "event.kind")]
    kind: Option<String>,
    #[serde(rename = "event.outcome")]
    outcome: Option<String>,
    #[serde(rename = "event.ids", default)]
    ids: Vec<String>,
}

/// What CloudWatch needs to make metrics of a line.
#[derive(Debug, Deserialize)]
struct Metrics {
    /// In milliseconds since 1970.
    #[serde(rename = "Timestamp")]
    time: i64,
}

/// The lines of the functions that receive callbacks: see docs/LOGGING.md.
const OF_RECEIVERS: [&str; 4] = [STORED, UNRECOGNIZED, REFUSED, UNAVAILABLE];
const STORED: &str = "callback stored";
const UNRECOGNIZED: &str = "callback not recognized, but stored";
const REFUSED: &str = "callback refused";
const UNAVAILABLE: &str = "failed to process a callback";

/// Those of the publisher.
const OF_PUBLISHER: [&str; 5] = [PUBLISHED, NOT_NEWS, LATE, CONFLICT, EXPIRED];
const PUBLISHED: &str = "published";
const NOT_NEWS: &str = "not news";
const LATE: &str = "late";
const CONFLICT: &str = "final verdicts contradict";
const EXPIRED: &str = "expired before it could be delivered";

/// The [filter pattern](https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html) for lines that say one of these.
fn pattern(messages: &[&str]) -> String {
    let terms: Vec<String> = messages.iter().map(|message| format!(r#"($.message = "{message}")"#)).collect();
    format!("{{ {} }}", terms.join(" || "))
}

/// Reads the lines that came since the last time.
struct Reader {
    client: aws_sdk_cloudwatchlogs::Client,
    wanted: Wanted,
    /// The log groups, each with the messages to look for.
    groups: Vec<(String, &'static [&'static str])>,
    from: Timestamp,
    /// When each line was logged that a look can find again.
    seen: BTreeMap<String, Timestamp>,
}

impl Reader {
    async fn new(stack: &Stack, wanted: Wanted, since: Timestamp) -> anyhow::Result<Self> {
        let is_wanted = |provider: &str| wanted.provider.as_deref().is_none_or(|wanted| wanted == provider);
        let receivers: &'static [&str] = if wanted.lines == Lines::Refused { &[REFUSED] } else { &OF_RECEIVERS };
        let parsers = parsers::parsers();
        let of_wanted = parsers.iter().filter(|parser| is_wanted(parser.provider));
        let mut groups: Vec<_> =
            of_wanted.filter_map(|parser| Some((stack.log_groups.get(parser.function)?.clone(), receivers))).collect();
        if groups.is_empty() {
            let whose = wanted.provider.map(|provider| format!(" of {provider}")).unwrap_or_default();
            bail!("the stack has no log group{whose}: is the provider among its parameter Providers?");
        }
        if wanted.lines == Lines::Decided {
            groups.extend(stack.log_groups.get("publisher").map(|group| (group.clone(), &OF_PUBLISHER[..])));
        }
        let client = stack.connect().await.logs;
        Ok(Self { client, wanted, groups, from: since, seen: BTreeMap::new() })
    }

    /// The lines that were logged since then, until before `until`, and were not read before. The receivers' come first.
    async fn read(&mut self, until: Option<Timestamp>) -> anyhow::Result<Vec<Line>> {
        let began = now();
        let mut lines = Vec::new();
        for (group, messages) in &self.groups {
            for (key, time, message) in events(&self.client, group, &pattern(messages), self.from, until).await? {
                if self.seen.insert(key, time).is_some() {
                    continue;
                }
                // Lambda's own lines are none of ours, and the emulator's filter lets everything through.
                let found = message.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
                let found = found.filter(|line| messages.contains(&line.message.as_str()));
                lines.extend(found.map(|line| Line { timestamp: Some(line.time().unwrap_or(time)), ..line }));
            }
        }
        let is_wanted = |provider: &str| self.wanted.provider.as_deref().is_none_or(|wanted| wanted == provider);
        lines.retain(|line| line.provider.as_deref().is_none_or(is_wanted));
        self.from = self.from.max(began - OVERLAP);
        self.seen.retain(|_, time| *time >= self.from);
        Ok(lines)
    }
}

/// The log events of a group of that time: a key for each, when it was logged, and what. One may be there twice.
pub(crate) async fn events(
    client: &aws_sdk_cloudwatchlogs::Client,
    group: &str,
    pattern: &str,
    since: Timestamp,
    until: Option<Timestamp>,
) -> anyhow::Result<Vec<(String, Timestamp, String)>> {
    let (mut from, mut token, mut found) = (since.as_millisecond(), None, Vec::new());
    loop {
        let request = client.filter_log_events().log_group_name(group).filter_pattern(pattern).start_time(from);
        let request = request.set_end_time(until.map(|until| until.as_millisecond() - 1)).set_next_token(token);
        let page = request.send().await;
        let page =
            page.with_context(|| format!("failed to read the log group {group}: may you call logs:FilterLogEvents?"))?;
        let events = page.events.unwrap_or_default();
        let (count, last) = (events.len(), events.last().and_then(|event| event.timestamp).unwrap_or_default());
        for event in events {
            let (stream, message) = (event.log_stream_name.unwrap_or_default(), event.message.unwrap_or_default());
            let milliseconds = event.timestamp.unwrap_or_default();
            // The emulator's events have no id.
            let key = event.event_id.unwrap_or_else(|| format!("{stream} {milliseconds} {message}"));
            found.push((key, Timestamp::from_millisecond(milliseconds).unwrap_or(since), message));
        }
        token = page.next_token;
        if token.is_none() {
            // Nor has a page of the emulator a token for the next one, so that begins with the last event of this one.
            if count < LARGEST_PAGE || last <= from {
                return Ok(found);
            }
            from = last;
        }
    }
}

/// How many events a page has at most.
const LARGEST_PAGE: usize = 10_000;

impl Line {
    /// When it was written, by its own account.
    fn time(&self) -> Option<Timestamp> {
        let counted = || Timestamp::from_millisecond(self.metrics.as_ref()?.time).ok();
        self.timestamp.or_else(counted)
    }
}

/// What the functions said of callbacks, by their events' ids.
#[derive(Default)]
struct Joined {
    /// What needs no decision.
    done: Vec<Callback>,
    /// Those that were stored, and when that was read.
    open: BTreeMap<String, (Callback, Timestamp)>,
    /// Why they are not recognized.
    reasons: BTreeMap<String, (String, Timestamp)>,
    /// What the publisher said, and when that was read.
    decided: BTreeMap<String, (BTreeSet<&'static str>, Timestamp)>,
}

impl Joined {
    fn take(&mut self, lines: Vec<Line>, read_at: Timestamp) {
        for line in lines {
            let said = OF_RECEIVERS.iter().chain(&OF_PUBLISHER).find(|message| **message == line.message);
            match said.copied().unwrap_or_default() {
                STORED => {
                    let id = line.id.clone().unwrap_or_default();
                    let what = match line.inserted.as_deref() {
                        Some("spilled") => What::Spilled,
                        Some("duplicate") => What::Repeat,
                        _ => What::Stored,
                    };
                    let callback = line.callback(what, read_at);
                    // The same request a second time. The table has it, and nothing is decided about it again.
                    if what == What::Repeat {
                        self.done.push(callback);
                    } else {
                        self.open.insert(id, (callback, read_at));
                    }
                }
                UNRECOGNIZED => {
                    if let (Some(id), Some(reason)) = (line.id, line.reason) {
                        self.reasons.insert(id, (reason, read_at));
                    }
                }
                REFUSED => self.done.push(line.callback(What::Refused, read_at)),
                UNAVAILABLE => self.done.push(line.callback(What::Unavailable, read_at)),
                decision => {
                    for id in line.id.into_iter().chain(line.ids) {
                        self.decided.entry(id).or_insert((BTreeSet::new(), read_at)).0.insert(decision);
                    }
                }
            }
        }
    }

    /// The callbacks of which it is known what came of them, in the order in which they came: all of them, or those that
    /// are decided or have waited long enough at this time.
    fn settled(&mut self, now: Option<Timestamp>) -> Vec<Callback> {
        let decided = &self.decided;
        let is_settled = |id: &String, (callback, since): &mut (Callback, Timestamp)| {
            // That it is late or contradicts is said before it is published.
            let is_decided = decided
                .get(id)
                .is_some_and(|(said, _)| [PUBLISHED, NOT_NEWS, EXPIRED].iter().any(|end| said.contains(end)));
            is_decided || callback.what == What::Spilled || now.is_none_or(|now| *since + PATIENCE < now)
        };
        let settled: Vec<_> = self.open.extract_if(.., is_settled).collect();
        let mut callbacks = std::mem::take(&mut self.done);
        for (id, (mut callback, _)) in settled {
            let said = self.decided.get(&id).map(|(said, _)| said.clone()).unwrap_or_default();
            callback.decide(&said);
            if let Some((reason, _)) = self.reasons.remove(&id) {
                callback.reason = Some(reason);
            }
            callbacks.push(callback);
        }
        if let Some(now) = now {
            self.decided.retain(|_, (_, since)| *since + REMEMBERED > now);
            self.reasons.retain(|_, (_, since)| *since + REMEMBERED > now);
        }
        callbacks.sort_by_key(|callback| callback.time);
        callbacks
    }
}

impl Line {
    fn callback(self, what: What, read_at: Timestamp) -> Callback {
        let time = self.time().unwrap_or(read_at);
        let reason = self.refusal.or(self.error);
        let provider = self.provider.unwrap_or_default();
        Callback {
            time,
            what,
            provider,
            kind: self.kind,
            outcome: self.outcome,
            id: self.id,
            reason,
            notes: Vec::new(),
        }
    }
}

impl Callback {
    /// Adds what the publisher said.
    fn decide(&mut self, said: &BTreeSet<&'static str>) {
        let is_unrecognized = self.kind.as_deref().is_some_and(|kind| kind.ends_with(".unrecognized"));
        let decided = match self.what {
            _ if said.contains(NOT_NEWS) => What::Repeat,
            _ if said.contains(LATE) => What::Late,
            _ if said.contains(PUBLISHED) => What::Stored,
            as_received => as_received,
        };
        if is_unrecognized {
            self.what = What::Unrecognized;
            self.notes.extend(
                [(What::Repeat, "repeat"), (What::Late, "late")]
                    .iter()
                    .filter_map(|(what, note)| (*what == decided).then_some(*note)),
            );
        } else {
            self.what = decided;
        }
        let others = [(CONFLICT, "conflict"), (EXPIRED, "expired")];
        self.notes.extend(others.iter().filter(|(line, _)| said.contains(line)).map(|(_, note)| *note));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const READ_AT: &str = "2026-01-31T09:30:10Z";

    fn line(value: Value) -> Line {
        serde_json::from_value(value).unwrap()
    }

    fn stored(id: &str, kind: &str, inserted: &str) -> Line {
        line(json!({
            "_aws": { "Timestamp": 1_769_851_800_125_i64, "CloudWatchMetrics": [] }, "provider": "verifyvasp",
            "AcknowledgeTime": 3.5, "level": "INFO", "message": STORED, "event.id": id, "event.kind": kind,
            "event.outcome": "rejected", "inserted": inserted,
        }))
    }

    fn about(message: &str, id: &str) -> Line {
        line(json!({ "message": message, "event.id": id, "reason": "not_json", "timestamp": READ_AT }))
    }

    #[track_caller]
    fn check(lines: Vec<Line>, expected: &[&str]) {
        let mut joined = Joined::default();
        joined.take(lines, READ_AT.parse().unwrap());
        let shown: Vec<String> = joined.settled(None).iter().map(|callback| callback.columns().text()).collect();
        assert_eq!(shown, expected);
    }

    const KIND: &str = "verifyvasp.verification-result";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_line_says_what_came_of_a_callback() {
        let shown = |what: &str, notes: &str| {
            let line = format!(
                "2026-01-31T09:30:00.125Z  {what:<12}  verifyvasp  verification-result         rejected         0123456789ab  {notes}"
            );
            line.trim_end().to_owned()
        };
        let fresh = || stored(ID, KIND, "fresh");
        let published = || line(json!({ "message": PUBLISHED, "event.ids": ["other", ID] }));
        check(vec![fresh()], &[&shown("stored", "")]);
        check(vec![published(), fresh()], &[&shown("stored", "")]);
        check(vec![fresh(), about(NOT_NEWS, ID)], &[&shown("repeat", "")]);
        check(vec![fresh(), about(LATE, ID), published()], &[&shown("late", "")]);
        check(vec![fresh(), about(CONFLICT, ID), published()], &[&shown("stored", "conflict")]);
        check(vec![stored(ID, KIND, "spilled")], &[&shown("spilled", "")]);
        check(vec![stored(ID, KIND, "duplicate")], &[&shown("repeat", "")]);
        check(
            vec![stored(ID, "verifyvasp.unrecognized", "fresh"), about(UNRECOGNIZED, ID), about(NOT_NEWS, ID)],
            &["2026-01-31T09:30:00.125Z  unrecognized  verifyvasp  unrecognized                rejected         \
               0123456789ab  not_json, repeat"],
        );
    }

    #[test]
    fn a_line_says_why_a_callback_was_refused() {
        let refused = json!({
            "message": REFUSED, "timestamp": "2026-01-31T09:30:00.5Z", "provider": "jumio", "refusal": "source_address",
        });
        let failed = json!({
            "message": UNAVAILABLE, "timestamp": "2026-01-31T09:30:01Z", "provider": "jumio", "error": "no\u{1b}[2J",
        });
        check(
            vec![line(failed), line(refused)],
            &[
                "2026-01-31T09:30:00.500Z  refused       jumio       source_address",
                r"2026-01-31T09:30:01.000Z  unavailable   jumio       no\u{1b}[2J",
            ],
        );
    }

    #[test]
    fn a_callback_is_shown_when_it_is_decided_or_has_waited_long_enough() {
        let read_at: Timestamp = READ_AT.parse().unwrap();
        let mut joined = Joined::default();
        joined.take(vec![stored(ID, KIND, "fresh"), stored("other", KIND, "fresh"), about(LATE, "other")], read_at);
        assert_eq!(joined.settled(Some(read_at)), [], "neither is published yet");
        joined.take(vec![line(json!({ "message": PUBLISHED, "event.ids": ["other"] }))], read_at);
        let settled = joined.settled(Some(read_at));
        assert_eq!((settled.len(), settled[0].what), (1, What::Late));
        let settled = joined.settled(Some(read_at + PATIENCE + SignedDuration::from_secs(1)));
        assert_eq!((settled.len(), settled[0].what), (1, What::Stored));
    }

    #[test]
    fn cloudwatch_is_asked_for_these_lines_only() {
        assert_eq!(pattern(&["one"]), r#"{ ($.message = "one") }"#);
        assert_eq!(pattern(&["one", "two"]), r#"{ ($.message = "one") || ($.message = "two") }"#);
    }
}

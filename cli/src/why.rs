//! `callbacks why`: what is behind an alarm.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use console::Style;
use jiff::SignedDuration;
use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Target,
    logs::{self, Lines, Wanted, What},
    parsers,
    selection::{now, time},
    stack::Stack,
    terminal::{self, Columns},
};

/// Diagnose an alarm.
#[derive(Debug, Subcommand)]
pub(crate) enum Why {
    Refused(Refused),
    Errors(Errors),
}

/// Say why a provider's callbacks are refused: a stranger calls, or the provider is locked out.
///
/// Counts the refusals by reason and by address, and looks for the last authentic callback and the last change of the
/// secret. Reads the logs and what Secrets Manager says about the secret, never the secret itself. Exits with 1 if the
/// provider is locked out, or may be.
#[derive(Debug, Args)]
pub(crate) struct Refused {
    /// The provider, such as jumio.
    #[arg(value_parser = parsers::provider)]
    provider: String,
    #[command(flatten)]
    target: Target,
    /// From when on, such as 2026-01-31T12:00:00Z, or how long ago, such as 30m, 2h or 7d [default: 2h].
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Why {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Refused(command) => command.run().await,
            Self::Errors(command) => command.run().await,
        }
    }
}

/// Count the warnings and errors that the functions logged, by function and cause (default: the last hour).
///
/// The most frequent come first. What Lambda itself logs about a function that failed or ran out of time is among them.
/// docs/LOGGING.md says what each message means. They hold no subject, payload or secret.
#[derive(Debug, Args)]
pub(crate) struct Errors {
    /// Only these functions, such as publisher or spill-drain. The name of a provider means all of its functions.
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// From when on, such as 2026-01-31T12:00:00Z, or how long ago, such as 30m, 2h or 7d [default: 1h].
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Print one JSON object a cause.
    #[arg(long)]
    json: bool,
}

/// A line that a function wrote, or Lambda about it.
#[derive(Debug, Deserialize)]
struct Trouble {
    level: Option<String>,
    message: Option<String>,
    what: Option<String>,
    refusal: Option<String>,
    reason: Option<String>,
    error: Option<String>,
    /// Of Lambda's own.
    #[serde(rename = "type")]
    event: Option<String>,
    record: Option<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    status: Option<String>,
}

/// How often a function logged something, and when for the last time.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Cause {
    count: usize,
    last_at: Timestamp,
    function: String,
    level: String,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cause: String,
}

impl Trouble {
    /// Level, message and cause, if it is worth counting.
    fn said(self) -> Option<(String, String, String)> {
        let Self { level, message, what, refusal, reason, error, event, record } = self;
        if let Some(event) = event.filter(|event| event.starts_with("platform.")) {
            let status = record.and_then(|record| record.status).filter(|status| status != "success")?;
            return Some(("ERROR".to_owned(), event, status));
        }
        let level = level.filter(|level| ["WARN", "ERROR"].contains(&level.as_str()))?;
        let causes = [what, refusal.or(reason), error].into_iter().flatten();
        Some((level, message.unwrap_or_default(), causes.collect::<Vec<_>>().join(": ")))
    }
}

impl Errors {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let since = self.since.unwrap_or_else(|| now() - SignedDuration::from_hours(1));
        let client = stack.connect().await.logs;
        let pattern = r#"{ ($.level = "WARN") || ($.level = "ERROR") || ($.type = "platform.*") }"#;
        let mut lines = Vec::new();
        for (function, group) in groups(&stack, &self.functions)? {
            let mut seen = BTreeSet::new();
            for (key, time, message) in logs::events(&client, group, pattern, since, None).await? {
                if seen.insert(key) {
                    lines.extend(message.lines().map(|line| (function, time, line.to_owned())));
                }
            }
        }
        let causes = causes(lines);
        for cause in &causes {
            if self.json {
                terminal::print_json(cause)?;
                continue;
            }
            let Cause { count, last_at, function, level, message, cause } = cause;
            let style = if level == "ERROR" { Style::new().red() } else { Style::new().yellow() };
            let line = Columns::default().plain(&format!("{count:>5}"), 5).plain(&format!("{last_at:.0}"), 20);
            line.plain(function, 19).styled(message, 0, style).plain(cause, 0).print();
        }
        if causes.is_empty() {
            eprintln!("The logs have no warning and no error since {since:.0}.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The log groups of these functions, or of all.
fn groups<'a>(stack: &'a Stack, wanted: &[String]) -> anyhow::Result<Vec<(&'a str, &'a str)>> {
    // No function writes the API's access log.
    let all = || stack.log_groups.iter().filter(|(name, _)| *name != "access").map(|(name, group)| (&**name, &**group));
    if wanted.is_empty() {
        return Ok(all().collect());
    }
    let parsers = parsers::parsers();
    let mut found = Vec::new();
    for name in wanted {
        let is_wanted = |function: &str| {
            let of_provider = parsers.iter().any(|parser| parser.provider == name && parser.function == function);
            function == name || of_provider
        };
        let before = found.len();
        found.extend(all().filter(|(function, _)| is_wanted(function)));
        if found.len() == before {
            let known: Vec<&str> = all().map(|(function, _)| function).collect();
            bail!("the stack has no function {name}, only {}", known.join(", "));
        }
    }
    Ok(found)
}

/// What these lines come to, the most frequent first.
fn causes(lines: Vec<(&str, Timestamp, String)>) -> Vec<Cause> {
    let mut counts = BTreeMap::<_, (usize, Timestamp)>::new();
    for (function, time, line) in lines {
        // Not all that is in a log is JSON.
        let Some(said) = serde_json::from_str::<Trouble>(&line).ok().and_then(Trouble::said) else { continue };
        let (count, last_at) = counts.entry((function.to_owned(), said)).or_insert((0, time));
        *count += 1;
        *last_at = time.max(*last_at);
    }
    let causes = counts.into_iter().map(|((function, (level, message, cause)), (count, last_at))| Cause {
        count,
        last_at,
        function,
        level,
        message,
        cause,
    });
    let mut causes: Vec<_> = causes.collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    causes
}

/// How far back it is looked for authentic callbacks.
const FAR_BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many authentic callbacks tell how long the provider is silent between two.
const ENOUGH: usize = 20;

/// For how long a function may go on with the secret that was there before.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(5);

/// A silence that means nothing in any case.
const SHORT: SignedDuration = SignedDuration::from_mins(5);

impl Refused {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let now = now();
        let since = self.since.unwrap_or_else(|| now - SignedDuration::from_hours(2));
        let report = Report::make(&stack, self.target.stack.as_deref(), &self.provider, since, now).await?;
        if self.json {
            terminal::print_json(&report)?
        } else {
            report.print()
        }
        let is_harmless = matches!(report.verdict, Verdict::NoRefusals | Verdict::Stranger);
        Ok(if is_harmless { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What is known about a provider's refusals.
#[derive(Debug, Clone, Default)]
struct Evidence {
    /// When, and for which reason.
    refused: Vec<(Timestamp, String)>,
    /// When authentic callbacks arrived, also before that time.
    authentic: Vec<Timestamp>,
    /// The calls that are in the API's access log.
    calls: Vec<Call>,
    /// The secret, if the provider has one.
    secret: Option<Secret>,
}

/// A call of the provider's route.
#[derive(Debug, Clone)]
struct Call {
    time: Timestamp,
    address: String,
    /// Whether it was answered 200; else it was refused.
    is_accepted: bool,
}

/// What Secrets Manager says about a secret.
#[derive(Debug, Clone)]
struct Secret {
    id: String,
    changed_at: Option<Timestamp>,
    /// The versions that hold now, and before.
    current: Option<String>,
    previous: Option<String>,
}

/// What the evidence comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    NoRefusals,
    Stranger,
    LockedOut,
    NotClear,
}

impl Verdict {
    pub(crate) fn text(self) -> (&'static str, Style) {
        match self {
            Self::NoRefusals => ("nothing was refused", Style::new().green()),
            Self::Stranger => ("a stranger", Style::new().green()),
            Self::LockedOut => ("LOCKED OUT", Style::new().red()),
            Self::NotClear => ("not clear yet", Style::new().yellow()),
        }
    }
}

impl Evidence {
    async fn of(stack: &Stack, provider: &str, since: Timestamp, now: Timestamp) -> anyhow::Result<Self> {
        let mut evidence = Self { calls: calls(stack, provider, since).await?, ..Self::default() };
        let (mut from, mut until) = (since, None);
        loop {
            let wanted = Wanted { provider: Some(provider.to_owned()), lines: Lines::Received };
            for callback in logs::between(stack, wanted, from, until).await? {
                if callback.what.is_authentic() {
                    evidence.authentic.push(callback.time);
                } else if callback.what == What::Refused && callback.time >= since {
                    evidence.refused.push((callback.time, callback.reason.unwrap_or_default()));
                }
            }
            let earliest = now - FAR_BACK;
            if evidence.authentic.len() >= ENOUGH || from <= earliest {
                break;
            }
            // Further back each time: a provider that sends much needs no look at a week of logs.
            until = Some(from);
            from = earliest.max(from - now.duration_since(from) * 3);
        }
        evidence.authentic.sort();
        evidence.refused.sort();
        evidence.secret = match stack.secret_ids.get(provider) {
            Some(id) => Some(Secret::look_up(stack, id).await?),
            None => None,
        };
        Ok(evidence)
    }

    /// What it comes to, and why.
    fn verdict(&self) -> (Verdict, String) {
        let (Some((first, _)), Some((last, _))) = (self.refused.first(), self.refused.last()) else {
            return (Verdict::NoRefusals, "the logs have no refusal of that time".to_owned());
        };
        let authentic = self.authentic.last();
        // A function knows the one before for some minutes, so what was authentic just after the change says nothing.
        if let Some(changed_at) = self.secret.as_ref().and_then(|secret| secret.changed_at)
            && authentic.is_some_and(|authentic| *authentic < changed_at)
            && self.refused.iter().any(|(time, reason)| *time >= changed_at && is_of_secret(reason))
        {
            return (Verdict::LockedOut, format!("nothing was authentic since the secret changed at {changed_at:.0}"));
        }
        if let Some((address, accepted_at)) = self.locked_out_address() {
            return (Verdict::LockedOut, format!("{address} was accepted at {accepted_at:.0}, and only refused since"));
        }
        let Some(authentic) = authentic else {
            return (
                Verdict::LockedOut,
                "nothing was authentic in the last 7 days; or is it not in use yet?".to_owned(),
            );
        };
        let silence = last.duration_since(*authentic);
        let gaps = self.authentic.windows(2).filter_map(|two| Some(two.last()?.duration_since(*two.first()?)));
        let longest = gaps.max().unwrap_or_default().max(SHORT);
        if silence > longest {
            let because = format!(
                "nothing was authentic since {authentic:.0}, and it was never silent that long before ({:#})",
                rounded(longest)
            );
            return (Verdict::LockedOut, because);
        }
        let meanwhile = self.authentic.iter().filter(|time| *time >= first).count();
        if meanwhile == 0 {
            let because = format!(
                "nothing was authentic since the first refusal at {first:.0}, but the provider is silent that long at \
                 times"
            );
            return (Verdict::NotClear, because);
        }
        (Verdict::Stranger, format!("authentic callbacks arrive as before: {meanwhile} since the first refusal"))
    }

    /// An address that was accepted, and since then only refused.
    fn locked_out_address(&self) -> Option<(&str, Timestamp)> {
        let mut last_calls: BTreeMap<&str, (Option<Timestamp>, Option<Timestamp>)> = BTreeMap::new();
        for Call { time, address, is_accepted } in &self.calls {
            let (accepted, refused) = last_calls.entry(address).or_default();
            let last = if *is_accepted { accepted } else { refused };
            *last = (*last).max(Some(*time));
        }
        last_calls.into_iter().find_map(|(address, (accepted, refused))| {
            let accepted = accepted?;
            (refused? > accepted).then_some((address, accepted))
        })
    }

    fn by_reason(&self) -> BTreeMap<&str, usize> {
        counted(self.refused.iter().map(|(_, reason)| reason.as_str()))
    }

    fn by_address(&self) -> BTreeMap<&str, usize> {
        counted(self.calls.iter().filter(|call| !call.is_accepted).map(|call| call.address.as_str()))
    }

    /// What to do, and the command for it.
    fn next(&self, verdict: Verdict, provider: &str, stack: &Stack, name: Option<&str>) -> Next {
        let of_stack = name.map(|name| format!(" --stack {name}")).unwrap_or_default();
        let watch = format!("callbacks logs{of_stack} --provider {provider} --follow");
        match verdict {
            Verdict::NoRefusals => Next::new("Nothing to do.", watch),
            Verdict::Stranger => Next::new("Nothing to do: nothing was stored. To watch:", watch),
            Verdict::NotClear => Next::new("Ask the provider whether its calls are refused, and watch:", watch),
            Verdict::LockedOut => self.unlock(provider, stack, &of_stack),
        }
    }

    fn unlock(&self, provider: &str, stack: &Stack, of_stack: &str) -> Next {
        let after = |time: &Timestamp| self.authentic.last().is_none_or(|authentic| time > authentic);
        let since = self.refused.iter().filter(|(time, _)| after(time)).map(|(_, reason)| reason.as_str());
        let reason = counted(since).into_iter().max_by_key(|(_, count)| *count).map_or("", |(reason, _)| reason);
        if reason == "source_address" {
            let variable = format!("P={provider} callbacks logs{of_stack} --provider {provider} --refused");
            return Next::new(
                "Ask the provider for its new addresses, and let them in: docs/runbook.md, \"Let a provider's new \
                 addresses in\". What was refused:",
                variable.trim_start_matches(&format!("P={provider} ")).to_owned(),
            );
        }
        if reason == "timestamp" {
            return Next::new(
                "The signatures are right, but their timestamps are not current: tell the provider that its clock is \
                 wrong, or that it sends old attempts again. What was refused:",
                format!("callbacks logs{of_stack} --provider {provider} --refused"),
            );
        }
        if !is_of_secret(reason) {
            let refused = format!("callbacks logs{of_stack} --provider {provider} --refused");
            return Next::new(
                "The provider's requests have changed: compare with its page in docs/providers.",
                refused,
            );
        }
        match &self.secret {
            None => Next::new(
                "Codes come that are not announced. Does your service announce them? Its announcements:",
                format!("aws logs tail {} --since 2h", stack.log_groups.get("expectations").map_or("", String::as_str)),
            ),
            Some(secret) => secret.mend(self.authentic.last().copied()),
        }
    }
}

impl Secret {
    async fn look_up(stack: &Stack, id: &str) -> anyhow::Result<Self> {
        let described = stack.connect().await.secrets_manager.describe_secret().secret_id(id).send().await;
        let described =
            described.context("failed to look at the secret: may you call secretsmanager:DescribeSecret?")?;
        let changed_at =
            described.last_changed_date().and_then(|time| Timestamp::from_millisecond(time.to_millis().ok()?).ok());
        let versions = described.version_ids_to_stages.unwrap_or_default();
        let version = |wanted: &str| {
            let mut versions = versions.iter();
            versions.find(|(_, stages)| stages.iter().any(|stage| stage == wanted)).map(|(id, _)| id.clone())
        };
        let (current, previous) = (version("AWSCURRENT"), version("AWSPREVIOUS"));
        Ok(Self { id: id.to_owned(), changed_at, current, previous })
    }

    /// How to have it accept what the provider presents.
    fn mend(&self, last_authentic: Option<Timestamp>) -> Next {
        let Self { id, changed_at, current, previous } = self;
        let stopped_since = |changed_at| last_authentic.is_some_and(|authentic| authentic < changed_at + KNOWN_FOR);
        let was_changed = changed_at.is_some_and(stopped_since);
        match (current, previous) {
            (Some(current), Some(previous)) if was_changed => Next::new(
                "The secret was changed here, and the provider does not have it. Go back to the one before:",
                format!(
                    "aws secretsmanager update-secret-version-stage --secret-id {id} --version-stage AWSCURRENT \
                     --move-to-version-id {previous} --remove-from-version-id {current}"
                ),
            ),
            _ => Next::new(
                "The provider presents another secret. Put what it presents into a file as {\"current\": \"<new>\", \
                 \"previous\": \"<old>\"}, and:",
                format!("aws secretsmanager put-secret-value --secret-id {id} --secret-string file://secret.json"),
            ),
        }
    }
}

/// Whether a refusal is for this reason if the provider presents another secret.
fn is_of_secret(reason: &str) -> bool {
    ["wrong", "missing", "malformed", "path"].contains(&reason)
}

fn counted<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    words.fold(BTreeMap::new(), |mut counts, word| {
        *counts.entry(word).or_default() += 1;
        counts
    })
}

/// A length of time to the minute.
fn rounded(time: SignedDuration) -> SignedDuration {
    SignedDuration::from_mins(time.as_mins())
}

/// The calls of a provider's routes that are in the API's access log.
async fn calls(stack: &Stack, provider: &str, since: Timestamp) -> anyhow::Result<Vec<Call>> {
    /// A line of the access log: see docs/LOGGING.md.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        route_key: String,
        status: String,
        source_ip: String,
    }
    let Some(group) = stack.log_groups.get("access") else { return Ok(Vec::new()) };
    let client = stack.connect().await.logs;
    let mut calls = Vec::new();
    for parser in parsers::parsers().iter().filter(|parser| parser.provider == provider) {
        let route = format!("POST {}", parser.source);
        let pattern = format!(r#"{{ $.routeKey = "{route}*" }}"#);
        for (_, time, message) in logs::events(&client, group, &pattern, since, None).await? {
            let Ok(Line { route_key, status, source_ip }) = serde_json::from_str(&message) else { continue };
            let is_refused = ["400", "401", "403", "413"].contains(&status.as_str());
            if route_key.starts_with(&route) && (is_refused || status == "200") {
                calls.push(Call { time, address: source_ip, is_accepted: !is_refused });
            }
        }
    }
    Ok(calls)
}

/// What to do next.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Next {
    pub(crate) what: String,
    pub(crate) command: String,
}

impl Next {
    fn new(what: &str, command: String) -> Self {
        Self { what: what.to_owned(), command }
    }
}

/// Why a provider's callbacks are refused.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) provider: String,
    pub(crate) since: Timestamp,
    /// How many authentic callbacks arrived since then.
    #[serde(skip)]
    pub(crate) received: usize,
    pub(crate) refused: usize,
    pub(crate) by_reason: BTreeMap<String, usize>,
    pub(crate) by_address: BTreeMap<String, usize>,
    first_refused_at: Option<Timestamp>,
    pub(crate) last_refused_at: Option<Timestamp>,
    pub(crate) last_authentic_at: Option<Timestamp>,
    /// None if the provider has no secret.
    pub(crate) secret_changed_at: Option<Timestamp>,
    pub(crate) verdict: Verdict,
    pub(crate) because: String,
    pub(crate) next: Next,
}

impl Report {
    /// Looks into the logs since then, and at the secret. The stack's name is for the commands that it advises.
    ///
    /// # Errors
    /// If either cannot be read.
    pub(crate) async fn make(
        stack: &Stack,
        name: Option<&str>,
        provider: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let evidence = Evidence::of(stack, provider, since, now).await?;
        let (verdict, because) = evidence.verdict();
        let next = evidence.next(verdict, provider, stack, name);
        let owned =
            |counts: BTreeMap<&str, usize>| counts.into_iter().map(|(word, count)| (word.to_owned(), count)).collect();
        Ok(Self {
            provider: provider.to_owned(),
            since,
            received: evidence.authentic.iter().filter(|time| **time >= since).count(),
            refused: evidence.refused.len(),
            by_reason: owned(evidence.by_reason()),
            by_address: owned(evidence.by_address()),
            first_refused_at: evidence.refused.first().map(|(time, _)| *time),
            last_refused_at: evidence.refused.last().map(|(time, _)| *time),
            last_authentic_at: evidence.authentic.last().copied(),
            secret_changed_at: evidence.secret.as_ref().and_then(|secret| secret.changed_at),
            verdict,
            because,
            next,
        })
    }

    fn print(&self) {
        let row = |name: &str, text: &str| Columns::default().plain(name, 15).plain(text, 0).print();
        let time = |time: Option<Timestamp>| time.map(|time| format!("{time:.0}"));
        let period = time(self.first_refused_at).zip(time(self.last_refused_at));
        let period = period.map(|(first, last)| format!(", from {first} to {last}")).unwrap_or_default();
        row("Refused", &format!("{} since {:.0}{period}", self.refused, self.since));
        row("By reason", &listed(&self.by_reason));
        let addresses = match self.by_address.is_empty() && self.refused > 0 {
            true => "the access log has none yet: it comes some minutes later".to_owned(),
            false => listed(&self.by_address),
        };
        row("By address", &addresses);
        row("Last authentic", &time(self.last_authentic_at).unwrap_or_else(|| "none in the last 7 days".to_owned()));
        row("Secret changed", &time(self.secret_changed_at).unwrap_or_else(|| "it has no secret".to_owned()));
        let (verdict, style) = self.verdict.text();
        Columns::default().plain("Verdict", 15).styled(verdict, 0, style).plain(&self.because, 0).print();
        row("Next", &self.next.what);
        row("", &self.next.command);
    }
}

/// Each with how often it is there, the most frequent first.
pub(crate) fn listed(counts: &BTreeMap<impl std::fmt::Display, usize>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let counts: Vec<String> = counts.into_iter().map(|(word, count)| format!("{word} {count}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    /// Refusals for this reason and authentic callbacks at these minutes, and a secret that was changed at this one.
    fn evidence(reason: &str, refused: &[i64], authentic: &[i64], changed: i64) -> Evidence {
        Evidence {
            refused: refused.iter().map(|minute| (at(*minute), reason.to_owned())).collect(),
            authentic: authentic.iter().map(|minute| at(*minute)).collect(),
            calls: Vec::new(),
            secret: Some(Secret {
                id: "a-secret".to_owned(),
                changed_at: Some(at(changed)),
                current: Some("new".to_owned()),
                previous: Some("old".to_owned()),
            }),
        }
    }

    #[track_caller]
    fn check(evidence: &Evidence, expected: Verdict, because: &str) {
        let (verdict, text) = evidence.verdict();
        assert_eq!(verdict, expected, "{text}");
        assert!(text.contains(because), "{text}");
    }

    #[test]
    fn without_a_refusal_there_is_nothing_to_explain() {
        check(&evidence("", &[], &[10, 20], 0), Verdict::NoRefusals, "no refusal");
    }

    #[test]
    fn it_is_a_stranger_if_authentic_callbacks_go_on() {
        check(&evidence("wrong", &[31, 32, 33], &[10, 20, 30, 40], 0), Verdict::Stranger, "as before: 1 since");
        // The last one came before the last refusal, but no longer than usual.
        check(&evidence("wrong", &[31, 45], &[10, 20, 30, 40], 0), Verdict::Stranger, "as before");
        check(&evidence("source_address", &[31, 45], &[10, 20, 30, 40], 0), Verdict::Stranger, "as before");
    }

    #[test]
    fn it_is_locked_out_if_nothing_is_authentic_since_the_secret_changed() {
        let locked_out = evidence("wrong", &[41, 42], &[10, 20, 30, 40], 41);
        check(&evidence("wrong", &[42], &[10, 20, 30, 40], 41), Verdict::LockedOut, "the secret changed at");
        let next = locked_out.unlock("jumio", &a_stack(), "");
        assert!(next.what.contains("Go back") && next.command.contains("--move-to-version-id old"), "{next:?}");
        // What a new secret does not explain.
        check(&evidence("source_address", &[42], &[10, 20, 30, 40], 41), Verdict::NotClear, "at times");
        check(&evidence("wrong", &[42], &[10, 20, 30, 43], 41), Verdict::Stranger, "as before");
    }

    #[test]
    fn it_is_locked_out_if_it_is_silent_longer_than_ever() {
        let locked_out = evidence("wrong", &[41, 60], &[10, 20, 30, 40], 0);
        check(&locked_out, Verdict::LockedOut, "never silent that long");
        let next = locked_out.unlock("jumio", &a_stack(), "");
        assert!(next.command.contains("put-secret-value --secret-id a-secret"), "{next:?}");
        check(&evidence("wrong", &[41], &[], 0), Verdict::LockedOut, "nothing was authentic");
        // A provider that sends little.
        check(&evidence("wrong", &[60], &[0, 50], 0), Verdict::NotClear, "at times");
        let moved = evidence("source_address", &[41, 60], &[10, 20, 30, 40], 0);
        check(&moved, Verdict::LockedOut, "never silent");
        let next = moved.unlock("jumio", &a_stack(), " --stack prod");
        assert!(next.what.contains("new addresses"), "{next:?}");
        assert_eq!(next.command, "callbacks logs --stack prod --provider jumio --refused");
        // Another secret does not help a provider whose clock is wrong.
        let late = evidence("timestamp", &[41, 60], &[10, 20, 30, 40], 0);
        check(&late, Verdict::LockedOut, "never silent");
        let next = late.unlock("jumio", &a_stack(), "");
        assert!(next.what.contains("its clock is wrong"), "{next:?}");
        assert_eq!(next.command, "callbacks logs --provider jumio --refused");
    }

    #[test]
    fn it_is_locked_out_if_an_address_that_was_accepted_is_refused_since() {
        let call =
            |minute, address: &str, is_accepted| Call { time: at(minute), address: address.to_owned(), is_accepted };
        let mut evidence = evidence("wrong", &[41, 42], &[10, 20, 30, 40], 0);
        evidence.calls = vec![call(40, "192.0.2.1", true), call(41, "198.51.100.1", false)];
        check(&evidence, Verdict::NotClear, "at times");
        evidence.calls.push(call(42, "192.0.2.1", false));
        check(&evidence, Verdict::LockedOut, "192.0.2.1 was accepted");
        assert_eq!(listed(&evidence.by_address()), "192.0.2.1 1, 198.51.100.1 1");
        evidence.calls.push(call(43, "192.0.2.1", true));
        assert_eq!(evidence.locked_out_address(), None);
    }

    #[test]
    fn warnings_and_errors_are_counted_by_function_and_cause() {
        let lines = [
            ("jumio", 1, r#"{"level":"WARN","message":"callback refused","refusal":"wrong"}"#),
            ("jumio", 3, r#"{"level":"WARN","message":"callback refused","refusal":"wrong"}"#),
            ("jumio", 2, r#"{"level":"WARN","message":"failed to look up","what":"the secret","error":"none"}"#),
            ("publisher", 4, r#"{"level":"INFO","message":"published"}"#),
            ("publisher", 4, r#"{"type":"platform.report","record":{"status":"timeout"}}"#),
            ("publisher", 4, r#"{"type":"platform.report","record":{"status":"success"}}"#),
            ("publisher", 4, "no JSON"),
        ];
        let found = causes(lines.map(|(function, minute, line)| (function, at(minute), line.to_owned())).into());
        let cause = |count, minute, function: &str, level: &str, message: &str, cause: &str| Cause {
            count,
            last_at: at(minute),
            function: function.to_owned(),
            level: level.to_owned(),
            message: message.to_owned(),
            cause: cause.to_owned(),
        };
        assert_eq!(
            found,
            [
                cause(2, 3, "jumio", "WARN", "callback refused", "wrong"),
                cause(1, 2, "jumio", "WARN", "failed to look up", "the secret: none"),
                cause(1, 4, "publisher", "ERROR", "platform.report", "timeout"),
            ]
        );
    }

    #[test]
    fn a_providers_name_means_all_its_functions_and_an_unknown_one_is_answered_with_those_there_are() {
        let names = ["access", "jumio", "publisher", "wallet-issuance", "wallet-verification"];
        let log_groups = names.map(|name| (name.to_owned(), format!("group of {name}"))).into();
        let stack = Stack { log_groups, ..a_stack() };
        let found = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            groups(&stack, &wanted).map(|found| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(found(&[]).unwrap(), names[1..]);
        assert_eq!(found(&["wallet", "jumio"]).unwrap(), ["wallet-issuance", "wallet-verification", "jumio"]);
        let error = found(&["access"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the stack has no function access, only jumio, publisher, wallet-issuance, wallet-verification"
        );
    }

    fn a_stack() -> Stack {
        serde_json::from_value(serde_json::json!({
            "version": "", "api_url": "", "region": "", "routes": {}, "functions": {}, "function_ids": {},
            "events_table": "", "expectations_table": "", "verifications_table": "", "event_retention_days": 1,
            "perishable_seconds": 1, "message_detail": "reference", "verification_queue_url": "",
            "verification_dead_letters_url": "", "delivery_queue_url": "", "delivery_dead_letters_url": "",
            "spill_queue_url": "", "spill_dead_letters_url": "", "unpublished_queue_url": "", "secrets": {},
        }))
        .unwrap()
    }
}

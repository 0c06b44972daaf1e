//! `callbacks erase`: the personal data of one verification, out of the tables and the spill queue.

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::{error::SdkError, operation::put_item::PutItemError, types::AttributeValue};
use aws_sdk_sqs::types::Message as SqsMessage;
use clap::Args;
use jiff::{SignedDuration, tz::TimeZone};
use model::{Course, CourseKey, Courses as _, Dues as _, Erasure, Message, Part, StoredEvent, Timestamp, Written};
use runtime::{DynamoCourses, DynamoErasures, DynamoStore, Spilled};
use serde_json::json;

use crate::{
    Target,
    held::Held,
    local::INTERRUPTED,
    parsers,
    selection::now,
    stack::{Connections, Stack},
    step::{Interrupt, progress, step},
    terminal,
};

/// Erase the personal data of a verification.
///
/// Removes payloads and their parts, evidence, recipients, and the details of passwords and links: from the events table,
/// the verifications table, the spill queue, and the dead letters of the spill and delivery queues. Ids, digests, kinds,
/// outcomes and times stay, as proof that something was received and erased. Publishes nothing.
///
/// The verification is put on a list of erased ones. Whatever comes back of it later, from a backup, the spill queue or the
/// provider, is stored and published without its payload. docs/erasure.md says what stays, and where copies remain.
///
/// May be interrupted and repeated. Exits with 1 if something could not be erased.
#[derive(Debug, Args)]
pub struct Erase {
    /// The provider's reference of the verification.
    subject: String,
    /// The provider, such as jumio [default: the one whose events have this subject].
    #[arg(long, value_parser = parsers::provider)]
    provider: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Only show what would be erased.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before erasing.
    #[arg(long)]
    yes: bool,
    /// Put the verification on the list even if nothing of it is stored, such as before a restore.
    #[arg(long, requires = "provider")]
    even_if_unknown: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) type Item = HashMap<String, AttributeValue>;

/// How often a row is read again that the publisher has written meanwhile.
const MAX_ATTEMPTS: usize = 5;

/// For how many days SQS keeps verdicts.
const QUEUE_DAYS: i64 = 14;

/// For how many days DynamoDB keeps the means to restore a table.
const BACKUP_DAYS: i64 = 35;

impl Erase {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let connections = stack.connect().await;
        let items = items_of(&connections, &stack, &self.subject).await?;
        let provider = self.provider_of(&items)?;
        let work = Work::new(&stack, &connections, provider, &self.subject);
        let found = work.found(items).await?;
        let known = work.erasures.find(&work.entry).await.context("failed to read the list of erased verifications")?;

        if self.dry_run {
            let interrupt = Interrupt::listen();
            let queued = step("looking into the queues", work.look_into_queues(&found.ids, &interrupt)).await?;
            return self.print(&work, &found, &queued, known.map(|entry| entry.erased_at), &interrupt);
        }
        let is_known = !found.items.is_empty() || !found.rows.is_empty() || known.is_some();
        if !self.yes {
            terminal::confirm(&format!("{} This cannot be undone.\nTo look first, use --dry-run.", found.text()))?;
        }
        // From here on, since Ctrl-C is an answer to the question.
        let interrupt = Interrupt::listen();
        // First, so that nothing comes back while the rest is done.
        let listed = if is_known || self.even_if_unknown { Some(work.put_on_list(&found, known).await?) } else { None };
        let rows = work.erase_rows(&found.rows).await?;
        let erased = work.erase_events(&found, &interrupt).await?;
        let mut queued = Queued::default();
        if !interrupt.came() {
            queued = step("looking into the queues", work.erase_from_queues(&found.ids, &interrupt)).await?;
        }
        let listed = match listed {
            // Something of it was in a queue only.
            None if queued.is_any() => Some(work.put_on_list(&found, None).await?),
            listed => listed,
        };
        let Some(listed) = listed else {
            bail!(
                "nothing of {} is stored under {}: check both, or add --even-if-unknown",
                terminal::harmless(&self.subject),
                work.provider
            );
        };
        let done = Found { erased, rows_erased: rows, ..found };
        self.print(&work, &done, &queued, Some(listed.erased_at), &interrupt)
    }

    /// The provider that is given, or the only one that has events with this subject.
    fn provider_of(&self, items: &[Item]) -> anyhow::Result<String> {
        if let Some(provider) = &self.provider {
            return Ok(provider.clone());
        }
        let providers: BTreeSet<String> = items.iter().filter_map(|item| text(item, "provider")).collect();
        let mut of_subject = providers.iter();
        match (of_subject.next(), of_subject.next()) {
            (Some(provider), None) => Ok(provider.clone()),
            (None, _) => bail!("no event has this subject: name the provider with --provider"),
            (Some(_), Some(_)) => {
                let providers: Vec<&str> = providers.iter().map(String::as_str).collect();
                bail!("several providers have this subject: name one with --provider, of {}", providers.join(", "))
            }
        }
    }

    fn print(
        &self,
        work: &Work<'_>,
        found: &Found,
        queued: &Queued,
        erased_at: Option<Timestamp>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<ExitCode> {
        let remains = if self.dry_run { Vec::new() } else { work.where_copies_remain() };
        let interrupted = interrupt.came();
        if self.json {
            terminal::print_json(&json!({
                "provider": work.provider, "dry_run": self.dry_run, "on_list_since": erased_at,
                "events": found.items.len(), "erased_before": found.erased_before,
                "to_erase": found.to_erase(), "erased": found.erased, "parts": found.parts,
                "rows": if self.dry_run { found.rows.len() } else { found.rows_erased },
                "spilled": queued.spilled, "deliveries": queued.deliveries, "unreadable": queued.unreadable,
                "interrupted": interrupted, "copies_remain": remains,
            }))?;
        } else if self.dry_run {
            terminal::print(&found.text());
            terminal::print(&queued.text("would be erased from"));
        } else {
            let Found { erased, erased_before, parts, rows_erased, .. } = found;
            terminal::print(&format!(
                "{erased} events and {parts} parts of bodies erased, {erased_before} were before; {rows_erased} rows changed."
            ));
            terminal::print(&queued.text("erased from"));
            terminal::print("Copies remain:");
            for Remains { place, until } in &remains {
                terminal::print(&format!("  {place}: {until}"));
            }
        }
        if queued.unreadable > 0 {
            eprintln!(
                "This version cannot read {} messages of the spill queue: they may be of this verification.",
                queued.unreadable
            );
        }
        if interrupted {
            eprintln!("Interrupted: run it again for the rest.");
            return Ok(INTERRUPTED.into());
        }
        Ok(if queued.unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The list of erased verifications of a stack.
pub(crate) fn erasures(stack: &Stack, connections: &Connections) -> DynamoErasures {
    let (list, events) = (stack.expectations_table.clone(), stack.events_table.clone());
    DynamoErasures::new(connections.dynamodb.clone(), list, events)
}

/// The same events, each without its payload if its verification is erased.
pub(crate) async fn without_what_is_erased(
    erasures: &DynamoErasures,
    events: Vec<StoredEvent>,
) -> anyhow::Result<Vec<StoredEvent>> {
    let entry = |event: &StoredEvent| Erasure::key_of(&event.provider, &event.subject);
    let erased = erasures.among(&events.iter().map(entry).collect()).await;
    let erased = erased.context("failed to read the list of erased verifications")?;
    let (now, is_erased) = (now(), |event: &StoredEvent| erased.contains(&entry(event)));
    Ok(events.into_iter().map(|event| if is_erased(&event) { event.erased(now) } else { event }).collect())
}

/// What stays of an event's item when its verification is erased. See [`StoredEvent::erased`].
pub(crate) fn remains(item: Item, at: Timestamp) -> anyhow::Result<Item> {
    // Of an item that this version cannot read, what it knows to be no payload.
    const KEPT: [&str; 22] = [
        "pk",
        "sk",
        "provider",
        "source",
        "kind",
        "track",
        "policy",
        "outcome",
        "final",
        "reasons",
        "unrecognized",
        "assurance",
        "occurred_at",
        "received_at",
        "due_at",
        "has_verdict_elsewhere",
        "drained_at",
        "replaces",
        "proofs",
        "day",
        "expires_at",
        "perishable",
    ];
    if let Ok(event) = serde_dynamo::from_item::<_, StoredEvent>(item.clone()) {
        return Ok(serde_dynamo::to_item(event.erased(at))?);
    }
    let mut kept: Item = item.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())).collect();
    kept.insert("erased_at".to_owned(), AttributeValue::S(format!("{at:.3}")));
    Ok(kept)
}

/// The row of a track without to whom something was delivered, and without when it is due.
pub(crate) fn row_without_recipients(mut row: Item) -> Item {
    row.retain(|name, _| !["due_shard", "ask_at", "due_at", "asks"].contains(&name.as_str()));
    if let Some(AttributeValue::M(course)) = row.get_mut("course")
        && let Some(AttributeValue::L(decisions)) = course.get_mut("decisions")
    {
        for decision in decisions {
            if let AttributeValue::M(decision) = decision {
                decision.remove("recipient");
            }
        }
    }
    row
}

pub(crate) fn text(item: &Item, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

pub(crate) fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// All items of a subject in the events table, in the order in which they were received.
async fn items_of(connections: &Connections, stack: &Stack, subject: &str) -> anyhow::Result<Vec<Item>> {
    let query = connections.dynamodb.query().table_name(&stack.events_table).consistent_read(true);
    let query = query.key_condition_expression("pk = :subject").filter_expression("attribute_exists(kind)");
    let query = query.expression_attribute_values(":subject", AttributeValue::S(subject.to_owned()));
    let items = query.into_paginator().items().send().collect::<Result<Vec<Item>, _>>().await;
    let mut items = items.context("failed to read the events table")?;
    items.sort_by_key(|item| text(item, "received_at"));
    Ok(items)
}

/// What there is of a verification, and what was done about it.
#[derive(Debug, Default)]
struct Found {
    /// The items of its events.
    items: Vec<Item>,
    /// Their ids.
    ids: BTreeSet<String>,
    /// How many of them were erased before.
    erased_before: usize,
    /// How many parts their bodies are in.
    parts: usize,
    /// The rows that hold to whom something was delivered, or when a verdict is due.
    rows: Vec<(CourseKey, Course)>,
    /// How many events were erased now.
    erased: usize,
    /// How many rows were changed now.
    rows_erased: usize,
}

impl Found {
    fn to_erase(&self) -> usize {
        self.items.len() - self.erased_before
    }

    fn text(&self) -> String {
        let Self { erased_before, parts, rows, .. } = self;
        format!(
            "{} events and {parts} parts of bodies would be erased, {erased_before} are already; {} rows would change.",
            self.to_erase(),
            rows.len()
        )
    }

    /// When the last of the events expires.
    fn last_expiry(&self) -> i64 {
        self.items.iter().filter_map(|item| number(item, "expires_at")).max().unwrap_or_default()
    }
}

/// How many messages of a verification there are in the queues.
#[derive(Debug, Default)]
struct Queued {
    /// Events and parts in the spill queue and its dead letters.
    spilled: usize,
    /// Passwords and links among the dead letters.
    deliveries: usize,
    /// What this version cannot read in the spill queue and its dead letters.
    unreadable: usize,
}

impl Queued {
    fn is_any(&self) -> bool {
        self.spilled + self.deliveries > 0
    }

    fn text(&self, done: &str) -> String {
        let Self { spilled, deliveries, .. } = self;
        format!(
            "{spilled} messages {done} the spill queue and its dead letters, {deliveries} {done} those of deliveries."
        )
    }
}

/// A place where copies remain.
#[derive(Debug, serde::Serialize)]
struct Remains {
    place: &'static str,
    /// Until when, or what to do there.
    until: String,
}

/// One verification to be erased.
struct Work<'a> {
    stack: &'a Stack,
    connections: &'a Connections,
    provider: String,
    subject: &'a str,
    /// The key of its entry on the list.
    entry: String,
    erasures: DynamoErasures,
    courses: DynamoCourses,
    store: DynamoStore,
}

impl<'a> Work<'a> {
    fn new(stack: &'a Stack, connections: &'a Connections, provider: String, subject: &'a str) -> Self {
        let dynamodb = || connections.dynamodb.clone();
        Self {
            stack,
            connections,
            entry: Erasure::key_of(&provider, subject),
            provider,
            subject,
            erasures: erasures(stack, connections),
            courses: DynamoCourses::new(dynamodb(), stack.verifications_table.clone()),
            store: DynamoStore::new(dynamodb(), stack.events_table.clone(), stack.retention()),
        }
    }

    /// What there is of it among these items, and in the verifications table.
    async fn found(&self, mut items: Vec<Item>) -> anyhow::Result<Found> {
        // Of an item without a provider, nobody knows whose it is: it has this subject.
        items.retain(|item| text(item, "provider").is_none_or(|provider| provider == self.provider));
        let to_erase = || items.iter().filter(|item| !item.contains_key("erased_at"));
        let parts = to_erase().filter_map(|item| number(item, "parts")).sum::<i64>();
        let erased_before = items.len() - to_erase().count();
        let ids = items.iter().filter_map(|item| text(item, "sk")).collect();
        let mut rows = Vec::new();
        for (track, course) in self.rows().await? {
            let key = CourseKey { provider: self.provider.clone(), subject: self.subject.to_owned(), track };
            if self.has_something(&key, &course).await? {
                rows.push((key, course));
            }
        }
        Ok(Found { items, ids, erased_before, parts: usize::try_from(parts)?, rows, ..Found::default() })
    }

    async fn rows(&self) -> anyhow::Result<Vec<(String, Course)>> {
        let rows = self.courses.of_verification(&self.provider, self.subject).await;
        rows.context("failed to read the verifications table")
    }

    /// Whether a row says to whom something was delivered, or when a verdict is due.
    async fn has_something(&self, key: &CourseKey, course: &Course) -> anyhow::Result<bool> {
        if course.decisions.iter().any(|decision| decision.recipient.is_some()) {
            return Ok(true);
        }
        Ok(self.courses.read_due(key).await.context("failed to read the verifications table")?.is_some())
    }

    /// Puts the verification on the list. It stays there as long as it was to stay before, at least.
    async fn put_on_list(&self, found: &Found, known: Option<Erasure>) -> anyhow::Result<Erasure> {
        let entry = Erasure::new(&self.provider, self.subject, now(), self.stack.retention(), found.last_expiry());
        let (erased_at, until) = known.map_or((entry.erased_at, 0), |known| (known.erased_at, known.expires_at));
        let entry = Erasure { erased_at, expires_at: entry.expires_at.max(until), ..entry };
        self.erasures.add(&entry).await.context("failed to write the list of erased verifications")?;
        Ok(entry)
    }

    /// Erases rows, each over the version that was read. Returns how many that were.
    async fn erase_rows(&self, rows: &[(CourseKey, Course)]) -> anyhow::Result<usize> {
        for (key, course) in rows {
            let mut course = course.clone();
            for attempt in 0.. {
                course.erase();
                match self.courses.write(key, &course).await.context("failed to write the verifications table")? {
                    Written::Kept => break,
                    Written::Overtaken if attempt == MAX_ATTEMPTS => {
                        bail!("others write a row all the time: try again")
                    }
                    Written::Overtaken => {
                        let read = self.courses.read(std::slice::from_ref(key)).await;
                        let read = read.context("failed to read the verifications table")?;
                        course = read.into_iter().next().unwrap_or_default();
                    }
                }
            }
        }
        Ok(rows.len())
    }

    /// Erases the events that are not yet. Returns how many that were.
    async fn erase_events(&self, found: &Found, interrupt: &Interrupt) -> anyhow::Result<usize> {
        let progress = progress("erased", found.to_erase());
        let mut erased = 0;
        for item in found.items.iter().filter(|item| !item.contains_key("erased_at")) {
            if interrupt.came() {
                break;
            }
            self.erase_event(item).await?;
            erased += 1;
            progress.inc(1);
        }
        progress.finish_and_clear();
        Ok(erased)
    }

    /// Overwrites an event after the parts of its body, since it says how many there are.
    async fn erase_event(&self, item: &Item) -> anyhow::Result<()> {
        let id = text(item, "sk").unwrap_or_default();
        for number in 0..number(item, "parts").and_then(|parts| u16::try_from(parts).ok()).unwrap_or_default() {
            let expires_at = self::number(item, "expires_at").unwrap_or_default();
            let (key, sort_key) = (Part::key(&id, number), Part::SORT_KEY.to_owned());
            self.overwrite(serde_dynamo::to_item(Part { key, sort_key, body: Vec::new(), expires_at })?).await?;
        }
        self.overwrite(remains(item.clone(), now())?).await
    }

    /// Puts an item in the place of one that is there.
    async fn overwrite(&self, item: Item) -> anyhow::Result<()> {
        let put = self.connections.dynamodb.put_item().table_name(&self.stack.events_table).set_item(Some(item));
        match put.condition_expression("attribute_exists(pk)").send().await {
            Ok(_) => Ok(()),
            // It has expired meanwhile.
            Err(SdkError::ServiceError(e)) if matches!(e.err(), PutItemError::ConditionalCheckFailedException(_)) => {
                Ok(())
            }
            Err(error) => Err(error).context("failed to write the events table"),
        }
    }

    /// The queues that hold events on their way into the table.
    fn spill_queues(&self) -> [&str; 2] {
        [&self.stack.spill_queue_url, &self.stack.spill_dead_letters_url]
    }

    /// Counts what is in the queues, and leaves it there.
    async fn look_into_queues(&self, ids: &BTreeSet<String>, interrupt: &Interrupt) -> anyhow::Result<Queued> {
        let mut queued = Queued::default();
        for url in self.spill_queues() {
            let mut held = Held::new(self.connections, url);
            let received = held.receive_all(interrupt).await;
            held.release().await?;
            let (of_verification, unreadable) = self.spilled_of(received?, ids);
            queued.spilled += of_verification.len();
            queued.unreadable += unreadable;
        }
        let mut held = Held::new(self.connections, &self.stack.delivery_dead_letters_url);
        let received = held.receive_all(interrupt).await;
        held.release().await?;
        queued.deliveries = received?.iter().filter(|message| self.is_delivery_of_it(message)).count();
        Ok(queued)
    }

    /// Erases what is in the queues, and gives all else back. What was spilled is drained, without its payload.
    async fn erase_from_queues(&self, ids: &BTreeSet<String>, interrupt: &Interrupt) -> anyhow::Result<Queued> {
        let mut queued = Queued::default();
        for url in self.spill_queues() {
            let mut held = Held::new(self.connections, url);
            let erased = self.erase_spilled(&mut held, ids, interrupt, &mut queued).await;
            held.release().await?;
            erased?;
        }
        let mut held = Held::new(self.connections, &self.stack.delivery_dead_letters_url);
        let erased = self.erase_deliveries(&mut held, interrupt).await;
        held.release().await?;
        queued.deliveries = erased?;
        Ok(queued)
    }

    async fn erase_spilled(
        &self,
        held: &mut Held,
        ids: &BTreeSet<String>,
        interrupt: &Interrupt,
        queued: &mut Queued,
    ) -> anyhow::Result<()> {
        let received = held.receive_all(interrupt).await?;
        let (of_verification, unreadable) = self.spilled_of(received, ids);
        queued.unreadable += unreadable;
        for (message, spilled) in of_verification {
            let drained = spilled.drain_erased(&self.store, &self.erasures, now()).await;
            drained.context("failed to put what was spilled into the table")?;
            held.delete(&message).await?;
            queued.spilled += 1;
        }
        Ok(())
    }

    async fn erase_deliveries(&self, held: &mut Held, interrupt: &Interrupt) -> anyhow::Result<usize> {
        let mut erased = 0;
        for message in held.receive_all(interrupt).await? {
            if self.is_delivery_of_it(&message) {
                held.delete(&message).await?;
                erased += 1;
            }
        }
        Ok(erased)
    }

    /// Those of these messages that hold something of the verification, and how many cannot be read. `ids` are those of its
    /// events in the table.
    fn spilled_of(&self, messages: Vec<SqsMessage>, ids: &BTreeSet<String>) -> (Vec<(SqsMessage, Spilled)>, usize) {
        let (mut read, mut unreadable) = (Vec::new(), 0);
        for message in messages {
            match serde_json::from_str::<Spilled>(message.body().unwrap_or_default()) {
                Ok(spilled) => read.push((message, spilled)),
                Err(_) => unreadable += 1,
            }
        }
        let is_its = |spilled: &Spilled| spilled.erasure_key().as_ref() == Some(&self.entry);
        // A part that an older version spilled does not say whose it is, but its event does.
        let ids_here = read.iter().filter(|(_, spilled)| is_its(spilled)).map(|(_, spilled)| spilled.id_of_whole());
        let ids: BTreeSet<String> = ids_here.map(str::to_owned).chain(ids.iter().cloned()).collect();
        read.retain(|(_, spilled)| is_its(spilled) || ids.contains(spilled.id_of_whole()));
        (read, unreadable)
    }

    /// Whether a message is about a password or a link of the verification.
    fn is_delivery_of_it(&self, message: &SqsMessage) -> bool {
        serde_json::from_str::<Message>(message.body().unwrap_or_default())
            .is_ok_and(|message| message.subject == self.subject && message.data.provider == self.provider)
    }

    /// The places that this command does not reach, with what is true of them in this stack.
    fn where_copies_remain(&self) -> Vec<Remains> {
        let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let in_days = |days: i64| date(now() + SignedDuration::from_hours(24 * days));
        let in_seconds = |seconds: i64| now() + SignedDuration::from_secs(seconds);
        let verdicts = match self.stack.message_detail.as_str() {
            "full" => format!("payloads, until {} at most", in_days(QUEUE_DAYS)),
            _ => "no payload, only references and codes".to_owned(),
        };
        let deliveries = format!("until {:.0} at most", in_seconds(self.stack.perishable_seconds));
        [
            ("point-in-time backups", format!("until {}; `callbacks restore` leaves them out", in_days(BACKUP_DAYS))),
            ("the events table's stream", format!("until {}; nothing of it is published", in_days(1))),
            ("the queue of verdicts and its dead letters", verdicts),
            ("the queue of deliveries", deliveries),
            ("your services", "what they received or fetched: erase it there".to_owned()),
            ("backups and exports of your own", "as long as you keep them".to_owned()),
            ("logs and metrics", "none".to_owned()),
        ]
        .map(|(place, until)| Remains { place, until })
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn item(attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> Item {
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn of_an_item_that_cannot_be_read_only_what_is_no_payload_stays() {
        let payload = ["body", "details", "evidence", "recipient", "from_the_future"];
        let known = [("pk", s("subject")), ("sk", s("id")), ("kind", s("example.kind")), ("expires_at", s("never"))];
        let before = item(known.clone().into_iter().chain(payload.map(|name| (name, s("Erika")))));
        let after = remains(before, Timestamp::UNIX_EPOCH).unwrap();
        let expected = item(known.into_iter().chain([("erased_at", s("1970-01-01T00:00:00.000Z"))]));
        assert_eq!(after, expected);
    }

    #[test]
    fn a_row_forgets_to_whom_something_was_delivered_and_when_it_is_due() {
        let decision = |attributes: &[(&'static str, AttributeValue)]| AttributeValue::M(item(attributes.to_vec()));
        let row = |decisions: Vec<AttributeValue>, more: &[(&'static str, AttributeValue)]| {
            let course = AttributeValue::M(item([("decisions", AttributeValue::L(decisions))]));
            item([("pk", s("a#b")), ("course", course)].into_iter().chain(more.iter().cloned()))
        };
        let before = row(
            vec![decision(&[("id", s("1")), ("recipient", s("00ff"))]), decision(&[("id", s("2"))])],
            &[("due_shard", s("1")), ("ask_at", s("x")), ("due_at", s("x")), ("asks", s("1"))],
        );
        let after = row(vec![decision(&[("id", s("1"))]), decision(&[("id", s("2"))])], &[]);
        assert_eq!(row_without_recipients(before), after);
    }
}

//! `callbacks redrive`: what could not be dealt with, once more.

use std::{cmp::Ordering, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use aws_sdk_dynamodbstreams::{
    Error as StreamError,
    types::{OperationType, Record, ShardIteratorType},
};
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName, QueueAttributeName};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use model::{Message, StoredEvent, Timestamp};
use runtime::{Spilled, Unreadable};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Target,
    events::{Events, PAGE, UNREADABLE, Whole},
    held::Held,
    local::INTERRUPTED,
    replay::{publish, publisher},
    selection::now,
    stack::{Connections, Stack},
    step::Interrupt,
    tail::line_of,
    terminal::{self, json_line},
};

/// Look into the dead-letter queues, and send what is there where it was meant to go.
///
/// Without a queue, or with --dry-run, it only looks: it shows each message's event, how often it was received, and when it
/// died. What it looks at is hidden from others until it ends, and then given
/// back. Dead-letter queues have no dead-letter queue of their own, so a look moves nothing, however often.
///
/// A message is deleted from its dead-letter queue when it has been accepted where it goes, so it is safe to interrupt and
/// to repeat: at worst, a message comes twice, with the id that it had. A record of `unpublished` is deleted if as many
/// events were found and published as it stands for. Exits with 1 if something has to stay.
#[derive(Debug, Args)]
pub struct Redrive {
    /// What to send again. Look first, and mend what was in the way: it is in the way of the second time too.
    #[arg(value_enum)]
    queues: Vec<DeadLetters>,
    #[command(flatten)]
    target: Target,
    /// Only look.
    #[arg(long)]
    dry_run: bool,
    /// Only this message: its event's id, or its own if it has no event (--json shows both).
    #[arg(long, value_name = "ID")]
    message: Option<String>,
    /// Delete records of `unpublished` of which not all events were found; those that were are published first.
    #[arg(long, conflicts_with = "dry_run")]
    forget: bool,
    /// Print one JSON object a message.
    #[arg(long)]
    json: bool,
}

/// What could not be dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeadLetters {
    /// Verdicts that a consumer received five times and never deleted: back to the queue of the verdicts.
    Verdicts,
    /// Passwords and links that a sender received five times and never deleted: back to the queue of deliveries, unless they have expired.
    Deliveries,
    /// Events that the table did not take for more than a day: back to the spill queue.
    Spill,
    /// Events that could not be published: published from the table.
    Unpublished,
}

/// What was done with a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It was accepted where it goes.
    Sent,
    /// All events that a record stands for were found, and published.
    Published(Found),
    /// Not all of them were, and the record is deleted on purpose.
    Forgotten(Found),
}

/// How many events of a record were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many were found, can be read, and are published.
    events: usize,
    /// How many were found and cannot be read.
    unreadable: usize,
    /// How many the record stands for.
    of: usize,
}

impl Done {
    fn word(&self) -> &'static str {
        match self {
            Self::Sent | Self::Published(_) => "sent",
            Self::Forgotten(_) => "forgotten",
        }
    }

    fn found(&self) -> Option<Found> {
        match self {
            Self::Sent => None,
            Self::Published(found) | Self::Forgotten(found) => Some(*found),
        }
    }
}

impl Found {
    /// Whether the record is of no more use. If one event cannot be read, it may be one of the record's.
    fn is_all(self) -> bool {
        self.events >= self.of && self.unreadable == 0
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { events, unreadable, of } = self;
        if events > of {
            write!(f, "found {events} events for its {of}")?;
        } else {
            write!(f, "found {events} of its {of} events")?;
        }
        if *unreadable > 0 {
            write!(f, " and {unreadable} that cannot be read")?;
        }
        Ok(())
    }
}

impl DeadLetters {
    pub(crate) fn url(self, stack: &Stack) -> &str {
        match self {
            Self::Verdicts => &stack.verification_dead_letters_url,
            Self::Deliveries => &stack.delivery_dead_letters_url,
            Self::Spill => &stack.spill_dead_letters_url,
            Self::Unpublished => &stack.unpublished_queue_url,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Verdicts => "verdicts",
            Self::Deliveries => "deliveries",
            Self::Spill => "spill",
            Self::Unpublished => "unpublished",
        }
    }

    /// The event that a message is about, if it is about one.
    fn event_id(self, body: &str) -> Option<String> {
        match self {
            Self::Verdicts | Self::Deliveries => serde_json::from_str::<Message>(body).ok().map(|message| message.id),
            Self::Spill => serde_json::from_str::<Spilled>(body).ok()?.event_id().map(str::to_owned),
            Self::Unpublished => match serde_json::from_str(body).ok()? {
                Unpublished::Unreadable(unreadable) => Some(unreadable.id),
                Unpublished::Batch { .. } => None,
            },
        }
    }

    /// Whether a message came into this queue when it was sent to it, so that its time is when it died.
    ///
    /// SQS [keeps](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html) the time
    /// of a message that it moves to a standard queue of dead letters, and gives it a new one in a FIFO queue.
    fn dates_deaths(self) -> bool {
        match self {
            Self::Verdicts | Self::Unpublished => true,
            Self::Deliveries | Self::Spill => false,
        }
    }

    /// What a message is, without what is nobody's business.
    fn describe(self, body: &str) -> String {
        match self {
            Self::Verdicts => line_of(body),
            // The message itself is a password.
            Self::Deliveries => serde_json::from_str::<Message>(body).map_or(NOT_OURS.to_owned(), |message| {
                let expires = message.expirytime.map(|time| format!("  expires {time:.0}")).unwrap_or_default();
                format!("{}{expires}", message.event_type)
            }),
            Self::Spill => match serde_json::from_str::<Spilled>(body) {
                Ok(spilled) => spilled.event_id().map_or("a part of a body", |_| "an event").to_owned(),
                Err(_) => NOT_OURS.to_owned(),
            },
            Self::Unpublished => match serde_json::from_str(body) {
                Ok(Unpublished::Unreadable(_)) => "an event that the publisher could not read".to_owned(),
                Ok(Unpublished::Batch { batch }) => {
                    format!("{} events from {} to {}", batch.size, batch.first_arrived_at, batch.last_arrived_at)
                }
                Err(_) => NOT_OURS.to_owned(),
            },
        }
    }
}

const NOT_OURS: &str = "nothing that this version knows";

impl Redrive {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        if self.forget && self.queues != [DeadLetters::Unpublished] {
            bail!("--forget is about the records of one queue: callbacks redrive unpublished --forget");
        }
        let stack = self.target.resolve().await?;
        let connections = stack.connect().await;
        let queues = if self.queues.is_empty() { DeadLetters::value_variants() } else { &self.queues };
        let only_look = self.dry_run || self.queues.is_empty();
        let interrupt = Interrupt::listen();
        let (mut all_gone, mut found) = (true, self.message.is_none());
        for &queue in queues {
            let (json, forget, only) = (self.json, self.forget, self.message.as_deref());
            let work = Work { stack: &stack, connections: &connections, queue, json, forget, only };
            if only_look {
                found |= work.look(&interrupt).await? > 0;
            } else {
                let (sent, stay) = work.redrive(&interrupt).await?;
                found |= sent + stay > 0;
                all_gone &= stay == 0;
            }
            if interrupt.came() {
                return Ok(INTERRUPTED.into());
            }
        }
        if let Some(id) = self.message.filter(|_| !found) {
            bail!(
                "there is no message {id} in {}; of a verification, only the first ones can be seen",
                queues.iter().map(|queue| queue.name()).collect::<Vec<_>>().join(", ")
            );
        }
        Ok(if all_gone { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// One queue to be dealt with.
pub(crate) struct Work<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) connections: &'a Connections,
    pub(crate) queue: DeadLetters,
    pub(crate) json: bool,
    pub(crate) forget: bool,
    /// The only message that is wanted, if it is not all.
    pub(crate) only: Option<&'a str>,
}

impl Work<'_> {
    /// Whether a message is wanted.
    fn is_wanted(&self, message: &SqsMessage) -> bool {
        let event_id = || self.queue.event_id(message.body().unwrap_or_default());
        self.only.is_none_or(|only| message.message_id() == Some(only) || event_id().as_deref() == Some(only))
    }

    /// Shows what is in the queue, and leaves it there. Returns how many messages that is. Of a FIFO queue, only the first messages of a
    /// verification can be seen.
    async fn look(&self, interrupt: &Interrupt) -> anyhow::Result<usize> {
        let count = self.count().await?;
        if !self.json {
            terminal::print(&format!("{}: about {count}", self.queue.name()));
        }
        let seen = self.seen(interrupt).await?;
        for message in &seen {
            self.print(message, None)?;
        }
        Ok(seen.len())
    }

    /// About how many messages are in the queue.
    async fn count(&self) -> anyhow::Result<String> {
        let url = self.queue.url(self.stack);
        let attributes = self.connections.sqs.get_queue_attributes().queue_url(url);
        let attributes = attributes.attribute_names(QueueAttributeName::ApproximateNumberOfMessages).send().await;
        let attributes = attributes.with_context(|| format!("failed to look at {url}"))?.attributes.unwrap_or_default();
        let count = attributes.get(&QueueAttributeName::ApproximateNumberOfMessages);
        Ok(count.map_or_else(|| "?".to_owned(), String::clone))
    }

    /// The messages in the queue that are wanted, which stay there.
    pub(crate) async fn seen(&self, interrupt: &Interrupt) -> anyhow::Result<Vec<SqsMessage>> {
        let mut held = Held::new(self.connections, self.queue.url(self.stack));
        let seen = held.receive_all(interrupt).await;
        // Given back first: printing may end this command, if nobody reads on.
        let released = held.release().await;
        let mut seen = seen?;
        released?;
        seen.retain(|message| self.is_wanted(message));
        Ok(seen)
    }

    /// Sends what is in the queue where it was meant to go. Returns how many messages were sent, and how many stay.
    async fn redrive(&self, interrupt: &Interrupt) -> anyhow::Result<(usize, usize)> {
        let print = |message: &SqsMessage, done: &anyhow::Result<Done>| self.print(message, Some(done));
        let (sent, stay) = self.redrive_all(interrupt, print).await?;
        if !self.json {
            terminal::print(&format!("{}: {sent} sent, {stay} stay", self.queue.name()));
        }
        Ok((sent, stay))
    }

    /// The same, and tells what was done with each message.
    pub(crate) async fn redrive_all(
        &self,
        interrupt: &Interrupt,
        tell: impl FnMut(&SqsMessage, &anyhow::Result<Done>) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<(usize, usize)> {
        let mut held = Held::new(self.connections, self.queue.url(self.stack));
        let redriven = self.redrive_from(&mut held, interrupt, tell).await;
        let released = held.release().await;
        let redriven = redriven?;
        released?;
        Ok(redriven)
    }

    async fn redrive_from(
        &self,
        held: &mut Held,
        interrupt: &Interrupt,
        mut tell: impl FnMut(&SqsMessage, &anyhow::Result<Done>) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<(usize, usize)> {
        let (mut sent, mut stay) = (0, 0);
        while !interrupt.came() {
            let messages = held.receive().await?;
            if messages.is_empty() {
                break;
            }
            for message in messages.into_iter().filter(|message| self.is_wanted(message)) {
                let done = self.send_on(&message).await;
                if done.is_ok() {
                    held.delete(&message).await?;
                    sent += 1;
                } else {
                    stay += 1;
                }
                tell(&message, &done)?;
            }
        }
        Ok((sent, stay))
    }

    async fn send_on(&self, message: &SqsMessage) -> anyhow::Result<Done> {
        let body = message.body().unwrap_or_default();
        let url = match self.queue {
            DeadLetters::Verdicts => &self.stack.verification_queue_url,
            DeadLetters::Deliveries => {
                let expired = serde_json::from_str(body)
                    .is_ok_and(|message: Message| message.expirytime.is_some_and(|time| time < now()));
                if expired {
                    bail!("it has expired");
                }
                &self.stack.delivery_queue_url
            }
            DeadLetters::Spill => &self.stack.spill_queue_url,
            DeadLetters::Unpublished => return self.publish(body).await,
        };
        self.send_to(url, message).await?;
        Ok(Done::Sent)
    }

    /// Sends a message as it is, to the group it was in.
    async fn send_to(&self, url: &str, message: &SqsMessage) -> anyhow::Result<()> {
        let attribute = |name| message.attributes().and_then(|attributes| attributes.get(&name)).cloned();
        let group = attribute(MessageSystemAttributeName::MessageGroupId);
        // Another one than it had: SQS remembers that for five minutes, and would drop it. The same for every attempt to redrive it.
        let deduplication = group.is_some().then(|| format!("redrive-{}", message.message_id().unwrap_or_default()));
        self.connections
            .sqs
            .send_message()
            .queue_url(url)
            .message_body(message.body().unwrap_or_default())
            .set_message_attributes(message.message_attributes().cloned())
            .set_message_group_id(group)
            .set_message_deduplication_id(deduplication)
            .send()
            .await
            .with_context(|| format!("failed to send to {url}"))?;
        Ok(())
    }

    /// Publishes what could not be, as the publisher does, as far as it is found.
    async fn publish(&self, body: &str) -> anyhow::Result<Done> {
        let events = Events::of(self.stack).await;
        let (of, Search { found, unreadable }) = match serde_json::from_str(body).context(NOT_OURS)? {
            Unpublished::Unreadable(Unreadable { subject, id }) => match events.whole(&subject, &id).await? {
                Whole::Found(event) => (1, Search { found: vec![*event], unreadable: 0 }),
                Whole::Missing => (1, Search::default()),
                Whole::Skipped => (1, Search { unreadable: 1, ..Search::default() }),
            },
            Unpublished::Batch { batch } => {
                let search = match self.in_stream(&events, &batch).await? {
                    Some(search) => search,
                    None => in_table(&events, &batch).await?,
                };
                (usize::try_from(batch.size).unwrap_or(usize::MAX), search)
            }
        };
        let count = found.len();
        let publisher = publisher(self.stack, self.connections, None)?;
        let Some(published) = publish(&publisher, &events, found).await? else {
            bail!("a queue does not accept a message, or a row cannot be written");
        };
        // Those whose body or row cannot be read were left out.
        let found = Found { events: published, unreadable: unreadable + count - published, of };
        match found.is_all() {
            true => Ok(Done::Published(found)),
            false if self.forget => Ok(Done::Forgotten(found)),
            false => bail!("{found}, and published what can be; --forget deletes this record all the same"),
        }
    }

    /// The events of a batch, if the stream still has them: for 24 hours. Those that this version cannot read are skipped.
    async fn in_stream(&self, events: &Events, batch: &Batch) -> anyhow::Result<Option<Search>> {
        let streams = &self.connections.streams;
        let iterator = streams.get_shard_iterator().stream_arn(&batch.stream_arn).shard_id(&batch.shard_id);
        let iterator = iterator.shard_iterator_type(ShardIteratorType::AtSequenceNumber).sequence_number(&batch.start);
        let mut iterator = match iterator.send().await.map_err(StreamError::from) {
            Ok(output) => output.shard_iterator,
            Err(error) if is_forgotten(&error) => return Ok(None),
            Err(error) => return Err(error).context("failed to read the stream"),
        };
        let (mut search, mut empty_pages) = (Search::default(), 0);
        // The iterator of an open shard never ends, so the batch's last record does. If that is not there, what was found is
        // counted as all else.
        while let Some(position) = iterator.filter(|_| empty_pages < MAX_EMPTY_PAGES) {
            let page = match streams.get_records().shard_iterator(position).send().await.map_err(StreamError::from) {
                Ok(page) => page,
                Err(error) if is_forgotten(&error) => return Ok(None),
                Err(error) => return Err(error).context("failed to read the stream"),
            };
            let records = page.records.unwrap_or_default();
            empty_pages = if records.is_empty() { empty_pages + 1 } else { 0 };
            for record in records {
                let sequence_number = record.dynamodb.as_ref().and_then(|change| change.sequence_number.clone());
                let order = in_sequence(sequence_number.as_deref().unwrap_or_default(), &batch.end);
                if order != Ordering::Greater {
                    search.take(events, record);
                }
                if order != Ordering::Less {
                    return Ok(Some(search));
                }
            }
            iterator = page.next_shard_iterator;
            // A shard is read five times a second at most, and the publisher reads it too.
            tokio::time::sleep(BETWEEN_PAGES).await;
        }
        Ok(Some(search))
    }

    fn print(&self, message: &SqsMessage, done: Option<&anyhow::Result<Done>>) -> anyhow::Result<()> {
        let line = if self.json { json_line(&self.json(message, done))? } else { self.line(message, done) };
        terminal::try_print(&line).context("failed to print")
    }

    fn line(&self, message: &SqsMessage, done: Option<&anyhow::Result<Done>>) -> String {
        let what = self.queue.describe(message.body().unwrap_or_default());
        let history = self.history(message);
        match done {
            None => format!("  {what}  {history}"),
            Some(Err(reason)) => format!("  {what}  {history}  stays: {reason:#}"),
            Some(Ok(done)) => {
                let found = done.found().map(|found| format!(" ({found})")).unwrap_or_default();
                format!("  {what}  {history}  {}{found}", done.word())
            }
        }
    }

    /// Which event a message is about, how often it was received, and when it died or was sent.
    fn history(&self, message: &SqsMessage) -> String {
        let received = match received(message) {
            Some(1) => "received once".to_owned(),
            received => format!("received {} times", received.unwrap_or_default()),
        };
        let verb = if self.queue.dates_deaths() { "died" } else { "sent" };
        let time = sent_at(message).map(|time| format!("  {verb} {time:.0}")).unwrap_or_default();
        match self.queue.event_id(message.body().unwrap_or_default()) {
            Some(id) => format!("{received}{time}  event {id}"),
            None => format!("{received}{time}  message {}", message.message_id().unwrap_or_default()),
        }
    }

    pub(crate) fn json(&self, message: &SqsMessage, done: Option<&anyhow::Result<Done>>) -> Value {
        let body = message.body().unwrap_or_default();
        let (what, sent_at) = (self.queue.describe(body), sent_at(message));
        let mut line = json!({
            "queue": self.queue.name(), "message": message.message_id(), "event": self.queue.event_id(body),
            "what": what, "received": received(message), "sent_at": sent_at,
            "died_at": sent_at.filter(|_| self.queue.dates_deaths()),
            "done": done.map(|done| match done {
                Ok(done) => done.word().to_owned(),
                Err(reason) => format!("stays: {reason:#}"),
            }),
        });
        if let (Some(Ok(done)), Some(line)) = (done, line.as_object_mut())
            && let Some(Found { events, unreadable, of }) = done.found()
        {
            line.insert("found".to_owned(), json!({ "events": events, "unreadable": unreadable, "of": of }));
        }
        line
    }
}

/// When a message was sent to the queue it is in, or to the one before.
fn sent_at(message: &SqsMessage) -> Option<Timestamp> {
    let milliseconds = message.attributes()?.get(&MessageSystemAttributeName::SentTimestamp)?;
    Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()
}

/// How often a message was received, this time included.
fn received(message: &SqsMessage) -> Option<u32> {
    message.attributes()?.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok()
}

/// How many empty pages in a row are the end of what a shard has now. There are some in the middle.
const MAX_EMPTY_PAGES: usize = 10;

/// How long to wait between two pages of the stream.
const BETWEEN_PAGES: Duration = Duration::from_millis(250);

/// Whether the stream no longer has what is asked for.
fn is_forgotten(error: &StreamError) -> bool {
    matches!(error, StreamError::TrimmedDataAccessException(_) | StreamError::ResourceNotFoundException(_))
}

/// The order of two sequence numbers: whole numbers of up to 40 digits.
fn in_sequence(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    (one.len(), one).cmp(&(other.len(), other))
}

/// The events that were found of a record.
#[derive(Default)]
struct Search {
    found: Vec<StoredEvent>,
    /// How many of them this version cannot read.
    unreadable: usize,
}

impl Search {
    /// Takes the event that a record of the stream inserted, as the mapping's filter lets it through: beside events, there
    /// are parts of bodies, which have no kind.
    fn take(&mut self, events: &Events, record: Record) {
        let image = record.dynamodb.and_then(|change| change.new_image).unwrap_or_default();
        if record.event_name != Some(OperationType::Insert) || !image.contains_key("kind") {
            return;
        }
        let id = image.get("sk").and_then(|id| id.as_s().ok()).cloned().unwrap_or_default();
        match serde_dynamo::from_item(image) {
            Ok(event) => self.found.push(event),
            Err(_) => {
                self.unreadable += 1;
                events.skip(&id, UNREADABLE);
            }
        }
    }
}

/// A message that says what could not be published.
#[derive(Deserialize)]
#[serde(untagged)]
enum Unpublished {
    /// By the publisher: an item that it could not read.
    Unreadable(Unreadable),
    /// By [Lambda](https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html): a part of the stream that it gave up.
    Batch {
        #[serde(rename = "DDBStreamBatchInfo")]
        batch: Batch,
    },
}

/// A part of the stream.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "streamArn")]
    stream_arn: String,
    #[serde(rename = "shardId")]
    shard_id: String,
    #[serde(rename = "startSequenceNumber")]
    start: String,
    #[serde(rename = "endSequenceNumber")]
    end: String,
    #[serde(rename = "approximateArrivalOfFirstRecord")]
    first_arrived_at: Timestamp,
    #[serde(rename = "approximateArrivalOfLastRecord")]
    last_arrived_at: Timestamp,
    /// How many records it had. Lambda makes batches of the records that the mapping's filter lets through, so these are
    /// inserts of events. If it counted others too, fewer events would be found than this, and the record would stay.
    #[serde(rename = "batchSize")]
    size: u32,
}

/// The events that were written when this part of the stream was, which the stream has forgotten: those received or drained
/// around that time, and those that were read again by a later version, which may have been then. More than were in it,
/// perhaps: those are sent again, word for word.
///
/// It finds no event that was put back from a restored table, as nothing says when that was.
async fn in_table(events: &Events, batch: &Batch) -> anyhow::Result<Search> {
    // A callback is in the table within seconds, or else it was spilled, and the drain says when it put it there.
    let (since, until) =
        (batch.first_arrived_at - SignedDuration::from_mins(30), batch.last_arrived_at + SignedDuration::from_mins(1));
    let was_written = |time: Timestamp| since <= time && time < until;
    let may_be =
        |event: &StoredEvent| was_written(event.drained_at.unwrap_or(event.received_at)) || event.replaces.is_some();
    let mut search = Search::default();
    for page in events.keys_received(since - SPILLED_FOR, until).await?.chunks(PAGE) {
        search.found.extend(events.get(page).await?.into_iter().filter(may_be));
        let unreadable = page.iter().filter(|key| was_written(key.received_at) && events.is_skipped(&key.id));
        search.unreadable += unreadable.count();
    }
    eprintln!(
        "The stream has forgotten a record: publishing {} events written from {since:.0} to {until:.0}.",
        search.found.len()
    );
    Ok(search)
}

/// For how long an event may be in the spill queue or its dead letters: what SQS keeps a message for at most, twice.
const SPILLED_FOR: SignedDuration = SignedDuration::from_hours(2 * 14 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_compared_as_numbers() {
        for (one, other, order) in [
            ("4421584500000000017450439091", "4421584500000000017450439092", Ordering::Less),
            ("99", "100", Ordering::Less),
            ("00100", "100", Ordering::Equal),
            ("100000000000000000000", "99999999999999999999", Ordering::Greater),
        ] {
            assert_eq!(in_sequence(one, other), order, "{one} {other}");
            assert_eq!(in_sequence(other, one), order.reverse(), "{other} {one}");
        }
    }

    #[test]
    fn a_record_is_of_use_until_as_many_events_are_found_as_it_stands_for() {
        for (events, unreadable, of, is_all, says) in [
            (3, 0, 3, true, "found 3 of its 3 events"),
            (7, 0, 3, true, "found 7 events for its 3"),
            (2, 0, 3, false, "found 2 of its 3 events"),
            (0, 0, 1, false, "found 0 of its 1 events"),
            (2, 1, 3, false, "found 2 of its 3 events and 1 that cannot be read"),
            (3, 1, 3, false, "found 3 of its 3 events and 1 that cannot be read"),
        ] {
            let found = Found { events, unreadable, of };
            assert_eq!((found.is_all(), found.to_string().as_str()), (is_all, says));
        }
    }

    #[test]
    fn what_a_dead_letter_is_tells_no_password_and_no_payload() {
        let spilled = r#"{"item":{"event":{"pk":"secret-subject"}},"body":"c2VjcmV0"}"#;
        for (queue, body, what) in [
            (DeadLetters::Deliveries, "my secret", NOT_OURS),
            (DeadLetters::Spill, spilled, NOT_OURS),
            (DeadLetters::Unpublished, r#"{"pk":"secret","sk":"0a1b"}"#, "an event that the publisher could not read"),
            (DeadLetters::Unpublished, r#"{"secret":true}"#, NOT_OURS),
        ] {
            assert_eq!(queue.describe(body), what);
        }
    }
}

//! `callbacks redrive`: what could not be dealt with, once more.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use aws_sdk_dynamodbstreams::types::{OperationType, ShardIteratorType};
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName, QueueAttributeName};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use model::{Message, StoredEvent, Timestamp};
use runtime::{Spilled, Unreadable};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Target,
    events::{Events, PAGE},
    local::INTERRUPTED,
    replay::{publish, publisher},
    selection::now,
    stack::{Connections, Stack},
    step::Interrupt,
    tail::{delete, line, receive},
};

/// Looks into the dead-letter queues, and sends what is there where it was meant to go.
///
/// Without a queue, or with --dry-run, it only looks. A message is deleted from its dead-letter queue when it has been accepted where it goes, so it is safe to
/// interrupt and to repeat: at worst, a message comes twice, with the id that it had. Exits with 1 if something has to stay.
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
    /// Print one JSON object a message.
    #[arg(long)]
    json: bool,
}

/// What could not be dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeadLetters {
    /// Verdicts that a consumer received five times and never deleted: back to the queue of the verdicts.
    Verdicts,
    /// Passwords and links that a sender received five times and never deleted: back to the queue of deliveries, unless they have expired.
    Deliveries,
    /// Events that the table did not take for more than a day: back to the spill queue.
    Spill,
    /// Events that could not be published: published from the table.
    Unpublished,
}

impl DeadLetters {
    fn url(self, stack: &Stack) -> &str {
        match self {
            Self::Verdicts => &stack.verification_dead_letters_url,
            Self::Deliveries => &stack.delivery_dead_letters_url,
            Self::Spill => &stack.spill_dead_letters_url,
            Self::Unpublished => &stack.unpublished_queue_url,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Verdicts => "verdicts",
            Self::Deliveries => "deliveries",
            Self::Spill => "spill",
            Self::Unpublished => "unpublished",
        }
    }

    /// What a message is, without what is nobody's business.
    fn describe(self, body: &str) -> String {
        match self {
            Self::Verdicts => line(body),
            // The message itself is a password.
            Self::Deliveries => serde_json::from_str::<Message>(body).map_or(NOT_OURS.to_owned(), |message| {
                let expires = message.expirytime.map(|time| format!("  expires {time:.0}")).unwrap_or_default();
                format!("{}  {}{expires}", message.event_type, message.id)
            }),
            Self::Spill => match serde_json::from_str::<Spilled>(body) {
                Ok(spilled) => spilled.event_id().map_or("a part of a body".to_owned(), |id| format!("event {id}")),
                Err(_) => NOT_OURS.to_owned(),
            },
            Self::Unpublished => match serde_json::from_str(body) {
                Ok(Unpublished::Unreadable(unreadable)) => {
                    format!("event {}, unreadable to the publisher", unreadable.id)
                }
                Ok(Unpublished::Batch { batch }) => {
                    format!("{} events from {} to {}", batch.size, batch.first_arrived_at, batch.last_arrived_at)
                }
                Err(_) => NOT_OURS.to_owned(),
            },
        }
    }
}

const NOT_OURS: &str = "nothing that this version knows";

/// For how long a message is ours to deal with, and hidden from a second `redrive`.
const HIDDEN: Duration = Duration::from_secs(120);

impl Redrive {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let connections = stack.connect().await;
        let queues = if self.queues.is_empty() { DeadLetters::value_variants() } else { &self.queues };
        let only_look = self.dry_run || self.queues.is_empty();
        let interrupt = Interrupt::listen();
        let mut all_gone = true;
        for &queue in queues {
            let work = Work { stack: &stack, connections: &connections, queue, json: self.json };
            if only_look {
                work.look().await?;
            } else {
                all_gone &= work.redrive(&interrupt).await?;
            }
            if interrupt.came() {
                return Ok(INTERRUPTED.into());
            }
        }
        Ok(if all_gone { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// One queue to be dealt with.
struct Work<'a> {
    stack: &'a Stack,
    connections: &'a Connections,
    queue: DeadLetters,
    json: bool,
}

impl Work<'_> {
    /// Shows what is in the queue, and leaves it there. Of a FIFO queue, only the first messages of a verification can be seen.
    async fn look(&self) -> anyhow::Result<()> {
        let url = self.queue.url(self.stack);
        let attributes = self.connections.sqs.get_queue_attributes().queue_url(url);
        let attributes = attributes.attribute_names(QueueAttributeName::ApproximateNumberOfMessages).send().await;
        let attributes = attributes.with_context(|| format!("failed to look at {url}"))?.attributes.unwrap_or_default();
        let count = attributes.get(&QueueAttributeName::ApproximateNumberOfMessages).map_or("?", String::as_str);
        if !self.json {
            say!("{}: about {count}", self.queue.name());
        }
        let mut seen = Vec::new();
        loop {
            let messages = self.receive_new(&seen).await?;
            if messages.is_empty() {
                break;
            }
            for message in &messages {
                self.print(message, None);
            }
            seen.extend(messages);
        }
        for message in seen {
            self.show_again(&message).await?;
        }
        Ok(())
    }

    /// Sends what is in the queue where it was meant to go. Returns whether all of it is gone.
    async fn redrive(&self, interrupt: &Interrupt) -> anyhow::Result<bool> {
        let url = self.queue.url(self.stack);
        let (mut sent, mut stays) = (0, Vec::new());
        while !interrupt.came() {
            let messages = self.receive_new(&stays).await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                match self.send_on(&message).await {
                    Ok(()) => {
                        delete(self.connections, url, &message).await?;
                        sent += 1;
                        self.print(&message, Some("sent"));
                    }
                    Err(reason) => {
                        self.print(&message, Some(&format!("stays: {reason:#}")));
                        stays.push(message);
                    }
                }
            }
        }
        for message in &stays {
            self.show_again(message).await?;
        }
        if !self.json {
            say!("{}: {sent} sent, {} stay", self.queue.name(), stays.len());
        }
        Ok(stays.is_empty())
    }

    /// What is in the queue and not among these. When there is so much that they come again meanwhile, it is enough.
    async fn receive_new(&self, seen: &[SqsMessage]) -> anyhow::Result<Vec<SqsMessage>> {
        let mut messages = receive(self.connections, self.queue.url(self.stack), HIDDEN).await?;
        messages.retain(|message| seen.iter().all(|seen| seen.message_id != message.message_id));
        Ok(messages)
    }

    async fn send_on(&self, message: &SqsMessage) -> anyhow::Result<()> {
        let body = message.body().unwrap_or_default();
        match self.queue {
            DeadLetters::Verdicts => self.send_to(&self.stack.verification_queue_url, message).await,
            DeadLetters::Deliveries => {
                let expired = serde_json::from_str(body)
                    .is_ok_and(|message: Message| message.expirytime.is_some_and(|time| time < now()));
                if expired {
                    bail!("it has expired");
                }
                self.send_to(&self.stack.delivery_queue_url, message).await
            }
            DeadLetters::Spill => self.send_to(&self.stack.spill_queue_url, message).await,
            DeadLetters::Unpublished => self.publish(body).await,
        }
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

    /// Publishes what could not be, as the publisher does.
    async fn publish(&self, body: &str) -> anyhow::Result<()> {
        let events = Events::of(self.stack).await;
        let unpublished = match serde_json::from_str(body).context(NOT_OURS)? {
            Unpublished::Unreadable(unreadable) => {
                vec![events.find(&unreadable.id, Some(&unreadable.subject)).await?]
            }
            Unpublished::Batch { batch } => match self.in_stream(&batch).await? {
                Some(events) => events,
                None => in_table(&events, &batch).await?,
            },
        };
        let publisher = publisher(self.stack, self.connections, None)?;
        if !publish(&publisher, &events, unpublished).await? {
            bail!("the queue does not take it");
        }
        Ok(())
    }

    /// The events of a batch, if the stream still has them: for 24 hours.
    async fn in_stream(&self, batch: &Batch) -> anyhow::Result<Option<Vec<StoredEvent>>> {
        let streams = &self.connections.streams;
        let iterator = streams.get_shard_iterator().stream_arn(&batch.stream_arn).shard_id(&batch.shard_id);
        let iterator = iterator.shard_iterator_type(ShardIteratorType::AtSequenceNumber).sequence_number(&batch.start);
        let mut iterator = match iterator.send().await.map_err(aws_sdk_dynamodbstreams::Error::from) {
            Ok(output) => output.shard_iterator,
            Err(
                aws_sdk_dynamodbstreams::Error::TrimmedDataAccessException(_)
                | aws_sdk_dynamodbstreams::Error::ResourceNotFoundException(_),
            ) => return Ok(None),
            Err(error) => return Err(error).context("failed to read the stream"),
        };
        let mut found = Vec::new();
        while let Some(position) = iterator {
            let page =
                streams.get_records().shard_iterator(position).send().await.context("failed to read the stream")?;
            for record in page.records.unwrap_or_default() {
                let Some(change) = record.dynamodb else { continue };
                let is_last = change.sequence_number.as_deref() == Some(batch.end.as_str());
                let image = change.new_image.unwrap_or_default();
                // Beside events there are parts of bodies, which have no kind.
                if record.event_name == Some(OperationType::Insert) && image.contains_key("kind") {
                    // One that was passed over would be forgotten with the batch's record.
                    let event = serde_dynamo::from_item(image).context("this version cannot read an event in it")?;
                    found.push(event);
                }
                if is_last {
                    return Ok(Some(found));
                }
            }
            iterator = page.next_shard_iterator;
        }
        Ok(Some(found))
    }

    async fn show_again(&self, message: &SqsMessage) -> anyhow::Result<()> {
        let change = self.connections.sqs.change_message_visibility().queue_url(self.queue.url(self.stack));
        let change = change.receipt_handle(message.receipt_handle().unwrap_or_default()).visibility_timeout(0);
        change.send().await.context("failed to put a message back")?;
        Ok(())
    }

    fn print(&self, message: &SqsMessage, done: Option<&str>) {
        let what = self.queue.describe(message.body().unwrap_or_default());
        if self.json {
            let attribute = |name| message.attributes().and_then(|attributes| attributes.get(&name)).cloned();
            let sent_at = attribute(MessageSystemAttributeName::SentTimestamp)
                .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds.parse().ok()?).ok());
            say!(
                "{}",
                json!({
                    "queue": self.queue.name(), "message": message.message_id(), "what": what, "sent_at": sent_at,
                    "done": done.map_or(Value::Null, Value::from),
                })
            );
        } else {
            say!("  {what}{}", done.map(|done| format!("  {done}")).unwrap_or_default());
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
    #[serde(rename = "batchSize")]
    size: u32,
}

/// The events that were written when this part of the stream was, which the stream has forgotten: those received or drained
/// around that time. More than were in it, perhaps: those are sent again, word for word.
async fn in_table(events: &Events, batch: &Batch) -> anyhow::Result<Vec<StoredEvent>> {
    // A callback is in the table within seconds, or else it was spilled, and the drain says when it put it there.
    let (since, until) =
        (batch.first_arrived_at - SignedDuration::from_mins(30), batch.last_arrived_at + SignedDuration::from_mins(1));
    let was_written = |time: Timestamp| since <= time && time < until;
    let mut found = Vec::new();
    for page in events.keys_received(since - SPILLED_FOR, until).await?.chunks(PAGE) {
        let page = events.get(page).await?.into_iter();
        found.extend(page.filter(|event| was_written(event.drained_at.unwrap_or(event.received_at))));
    }
    eprintln!(
        "The stream has forgotten it: {} events written from {since:.0} to {until:.0} are published.",
        found.len()
    );
    Ok(found)
}

/// For how long an event may be in the spill queue or its dead letters: what SQS keeps a message for at most, twice.
const SPILLED_FOR: SignedDuration = SignedDuration::from_hours(2 * 14 * 24);

//! Triggers other than requests: the events table's stream, the spill queue and a schedule.

use std::time::Duration;

use aws_lambda_events::{
    dynamodb::{Event as StreamEvent, EventRecord},
    sqs::{SqsBatchResponse, SqsEvent, SqsMessage},
    streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse},
};
use lambda_runtime::{LambdaEvent, service_fn};
use model::StoredEvent;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_dynamo::AttributeValue;

use crate::{Error, InternalQueue, telemetry};

/// A stream record whose item this version cannot read as an event. It does not quote the item,
/// which could hold personal data. The key finds the item even after the stream has expired.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the record's item is no event that this version can read")]
pub struct Unreadable {
    /// The item's partition key.
    #[serde(rename = "pk")]
    pub subject: String,
    /// The item's sort key.
    #[serde(rename = "sk")]
    pub id: String,
}

/// Shows what may be logged: not the subject.
impl std::fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unreadable").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A place for records that cannot be published, so that they block nothing.
pub trait Quarantine: Send + Sync {
    /// Stores the key of this record's item.
    ///
    /// # Errors
    /// If the quarantine does not confirm it. Setting it aside again is safe.
    fn set_aside(&self, unreadable: &Unreadable) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Quarantine for InternalQueue {
    async fn set_aside(&self, unreadable: &Unreadable) -> Result<(), Error> {
        self.send(unreadable).await
    }
}

/// One insert into the events table.
#[derive(Debug)]
pub struct Record {
    /// Its place in the stream.
    pub sequence_number: String,
    /// The event that was inserted.
    pub event: Result<StoredEvent, Unreadable>,
}

impl From<EventRecord> for Record {
    fn from(EventRecord { change, .. }: EventRecord) -> Self {
        let key = |name: &str| match change.keys.get(name) {
            Some(AttributeValue::S(text)) => text.clone(),
            _ => String::new(),
        };
        let unreadable = Unreadable { subject: key("pk"), id: key("sk") };
        Self {
            sequence_number: change.sequence_number.unwrap_or_default(),
            event: serde_dynamo::from_item(change.new_image).map_err(|_| unreadable),
        }
    }
}

/// Consumes the stream with a function that returns the sequence numbers of the records that must
/// be retried.
///
/// The mapping's filter passes only inserts of events. Other records (without the filter) are
/// skipped.
///
/// # Errors
/// If Lambda's Runtime API fails.
pub async fn consume<F: Future<Output = Vec<String>>>(deal_with: impl Fn(Vec<Record>) -> F) -> Result<(), Error> {
    let deal_with = &deal_with;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<StreamEvent>| async move {
        let inserts = event.payload.records.into_iter().filter(is_insert_of_event);
        // Boxed, or the type of everything awaited in here grows beyond what the compiler lays out.
        let failures = Box::pin(deal_with(inserts.map(Record::from).collect())).await;
        let mut response = DynamoDbEventResponse::default();
        response.batch_item_failures = failures.into_iter().map(batch_item_failure).collect();
        telemetry::flush();
        Ok::<_, Error>(response)
    }))
    .await
}

/// The table also has other items, whose sort keys are not ids.
fn is_insert_of_event(record: &EventRecord) -> bool {
    let sort_key = record.change.keys.get("sk");
    record.event_name == "INSERT" && !matches!(sort_key, Some(AttributeValue::S(key)) if key.contains('#'))
}

/// A message of a queue.
#[derive(Debug)]
pub struct QueuedMessage {
    /// Its id in the queue.
    pub id: String,
    /// Its text.
    pub body: String,
    /// The handle for postponing it.
    receipt_handle: String,
    /// How often it was received, this time included.
    received: u32,
}

impl From<SqsMessage> for QueuedMessage {
    fn from(message: SqsMessage) -> Self {
        let received = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
        Self {
            id: message.message_id.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
            receipt_handle: message.receipt_handle.unwrap_or_default(),
            received: received.unwrap_or(1),
        }
    }
}

/// Consumes the spill queue with a function that returns which messages of a batch must be retried.
/// The delay grows each time: 10 s, 20 s, 40 s, and so on, up to a quarter of an hour.
///
/// # Errors
/// If Lambda's Runtime API fails.
pub async fn consume_queue<F: Future<Output = Vec<QueuedMessage>>>(
    queue: &InternalQueue,
    deal_with: impl Fn(Vec<QueuedMessage>) -> F,
) -> Result<(), Error> {
    let deal_with = &deal_with;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let messages = event.payload.records.into_iter().map(QueuedMessage::from).collect();
        // Boxed, or the type of everything awaited in here grows beyond what the compiler lays out.
        let again = Box::pin(deal_with(messages)).await;
        let mut response = SqsBatchResponse::default();
        for QueuedMessage { id, receipt_handle, received, .. } in again {
            let delay = Duration::from_secs(10) * 2_u32.saturating_pow(received.saturating_sub(1).min(7));
            queue.hide(&receipt_handle, delay.min(Duration::from_secs(900))).await;
            response.add_failure(id);
        }
        telemetry::flush();
        Ok::<_, Error>(response)
    }))
    .await
}

/// Runs a function on a schedule.
///
/// # Errors
/// If Lambda's Runtime API fails.
pub async fn on_schedule<F: Future<Output = ()>>(act: impl Fn() -> F) -> Result<(), Error> {
    let act = &act;
    lambda_runtime::run(service_fn(move |_: LambdaEvent<IgnoredAny>| async move {
        Box::pin(act()).await;
        telemetry::flush();
        Ok::<_, Error>(())
    }))
    .await
}

fn batch_item_failure(sequence_number: String) -> DynamoDbBatchItemFailure {
    let mut failure = DynamoDbBatchItemFailure::default();
    failure.item_identifier = Some(sequence_number);
    failure
}

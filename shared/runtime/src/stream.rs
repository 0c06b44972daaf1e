//! The events table's stream, as Lambda's event source mapping hands it over.

use aws_lambda_events::{
    dynamodb::{Event as StreamEvent, EventRecord},
    streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse},
};
use lambda_runtime::{LambdaEvent, service_fn};
use model::StoredEvent;
use serde_dynamo::AttributeValue;

use crate::Error;

/// A stream record's item is not an event as this version knows them. What it is instead is not said, as that could be
/// personal data; the record's sequence number leads to it.
#[derive(Debug, thiserror::Error)]
#[error("the record's item is no event that this version can read")]
pub struct Unreadable;

/// One insert into the events table.
#[derive(Debug)]
pub struct Record {
    /// Its place in the stream.
    pub sequence_number: String,
    /// The event that was inserted.
    pub event: Result<StoredEvent, Unreadable>,
}

impl From<EventRecord> for Record {
    fn from(record: EventRecord) -> Self {
        Self {
            sequence_number: record.change.sequence_number.unwrap_or_default(),
            event: serde_dynamo::from_item(record.change.new_image).map_err(|_| Unreadable),
        }
    }
}

/// Consumes the stream with a function that says which records of a batch it could not deal with, by their sequence numbers.
///
/// The mapping's filter lets inserts of events through only; what else comes (a mapping without the filter) is passed over.
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
        Ok::<_, Error>(response)
    }))
    .await
}

/// Beside events there are other items in the table, whose sort keys are no ids: they begin with what they are, and `#`.
fn is_insert_of_event(record: &EventRecord) -> bool {
    let sort_key = record.change.keys.get("sk");
    record.event_name == "INSERT" && !matches!(sort_key, Some(AttributeValue::S(key)) if key.contains('#'))
}

fn batch_item_failure(sequence_number: String) -> DynamoDbBatchItemFailure {
    let mut failure = DynamoDbBatchItemFailure::default();
    failure.item_identifier = Some(sequence_number);
    failure
}

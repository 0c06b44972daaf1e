//! The events table.

use aws_sdk_dynamodb::{
    Client,
    config::retry::{ClassifyRetry, RetryAction},
    error::{BuildError, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{AttributeValue, Put, TransactWriteItem, error::TransactionCanceledException},
};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use model::{Event, EventStore, Head, Inserted, Part, Retention, StoreError, StoredEvent};
use serde::Serialize;

/// Events in DynamoDB: one conditional PutItem each, which is the event, the record of its having been seen, and the outbox entry. For an
/// event that can recur, or whose body is too large for one item, one TransactWriteItems: the event, the head by which a repeat of it is
/// known, the parts of the body.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
    retention: Retention,
}

/// Beside a subject's events, what the latest one was that can recur.
#[derive(Serialize)]
struct HeadItem<'a> {
    pk: &'a str,
    sk: &'a str,
    latest: &'a str,
    expires_at: i64,
}

impl DynamoStore {
    /// The events in this table, each kept for so long.
    #[must_use]
    pub fn new(client: Client, table: String, retention: Retention) -> Self {
        let config = client.config().to_builder().retry_classifier(ConflictIsTransient).build();
        Self { client: Client::from_conf(config), table, retention }
    }

    /// Puts an event, unless it is there or is a repeat of its head.
    ///
    /// # Errors
    /// If the table refuses or does not answer in time.
    pub async fn put_event(&self, event: StoredEvent, head: Option<&Head>) -> Result<Inserted, StoreError> {
        let (event, parts) = event.into_items();
        match head {
            None if parts.is_empty() => self.put(event).await,
            head => self.put_together(event, head, parts).await,
        }
    }

    /// Puts a part of a body by itself.
    pub(crate) async fn put_part(&self, part: Part) -> Result<(), StoreError> {
        let item = serde_dynamo::to_item(part).map_err(failed)?;
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await.map_err(failed)?;
        Ok(())
    }

    async fn put(&self, event: StoredEvent) -> Result<Inserted, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(serde_dynamo::to_item(event).map_err(failed)?))
            .condition_expression(IS_NEW);
        match put.send().await {
            Ok(_) => Ok(Inserted::Fresh),
            Err(SdkError::ServiceError(e)) if matches!(e.err(), PutItemError::ConditionalCheckFailedException(_)) => {
                Ok(Inserted::Duplicate)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts an event together with its head, the parts of its body, or both.
    async fn put_together(
        &self,
        event: StoredEvent,
        head: Option<&Head>,
        parts: Vec<Part>,
    ) -> Result<Inserted, StoreError> {
        let put = || Put::builder().table_name(&self.table);
        let mut puts = Vec::with_capacity(parts.len() + 2);
        if let Some(head) = head {
            let item = HeadItem {
                pk: &event.subject,
                sk: &head.sort_key,
                latest: &head.latest,
                // As long as its event: what comes later than that is news.
                expires_at: event.expires_at,
            };
            let put = put()
                .set_item(Some(serde_dynamo::to_item(item).map_err(failed)?))
                .condition_expression("attribute_not_exists(pk) OR latest <> :latest")
                .expression_attribute_values(":latest", AttributeValue::S(head.latest.clone()));
            puts.push(put);
        }
        for part in parts {
            puts.push(put().set_item(Some(serde_dynamo::to_item(part).map_err(failed)?)));
        }
        let event = serde_dynamo::to_item(event).map_err(failed)?;
        puts.push(put().set_item(Some(event)).condition_expression(IS_NEW));

        let writes = puts.into_iter().map(|put| Ok(TransactWriteItem::builder().put(put.build()?).build()));
        let writes = writes.collect::<Result<_, BuildError>>().map_err(failed)?;
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(Inserted::Fresh),
            Err(SdkError::ServiceError(e)) if was_canceled_for(e.err(), "ConditionalCheckFailed") => {
                Ok(Inserted::Duplicate)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The event with this subject and id, with its whole body.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn find(&self, subject: &str, id: &str) -> Result<Option<StoredEvent>, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let got = get.key("pk", text(subject)).key("sk", text(id)).send().await.map_err(failed)?;
        let Some(item) = got.item else { return Ok(None) };
        let event: StoredEvent = serde_dynamo::from_item(item).map_err(failed)?;
        if event.parts.is_none() {
            return Ok(Some(event));
        }
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :subject AND begins_with(sk, :prefix)")
            .expression_attribute_values(":subject", text(subject))
            .expression_attribute_values(":prefix", text(&Part::prefix(id)))
            .into_paginator()
            .items()
            .send();
        let mut parts: Vec<Part> = Vec::new();
        while let Some(part) = pages.next().await {
            parts.push(serde_dynamo::from_item(part.map_err(failed)?).map_err(failed)?);
        }
        if event.parts.map(usize::from) != Some(parts.len()) {
            return Err(StoreError("parts of the event's body are missing: they may still be on their way".into()));
        }
        Ok(Some(event.with_parts(parts)))
    }
}

const IS_NEW: &str = "attribute_not_exists(pk)";

impl EventStore for DynamoStore {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        self.put_event(StoredEvent::new(event, self.retention), event.head()).await
    }
}

pub(crate) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError(error.into())
}

fn was_canceled_for(error: &TransactWriteItemsError, code: &str) -> bool {
    match error {
        TransactWriteItemsError::TransactionCanceledException(TransactionCanceledException {
            cancellation_reasons: Some(reasons),
            ..
        }) => reasons.iter().any(|reason| reason.code() == Some(code)),
        _ => false,
    }
}

/// Two transactions on one head at the same instant: one of them is canceled, and may just try again. The SDK does not take that for transient
/// by itself.
#[derive(Debug)]
struct ConflictIsTransient;

impl ClassifyRetry for ConflictIsTransient {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        match error.and_then(|error| error.downcast_ref::<TransactWriteItemsError>()) {
            // One that is a repeat as well is answered at once.
            Some(error)
                if was_canceled_for(error, "TransactionConflict")
                    && !was_canceled_for(error, "ConditionalCheckFailed") =>
            {
                RetryAction::transient_error()
            }
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "transaction conflicts are transient"
    }
}

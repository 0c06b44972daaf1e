//! The events table.

use aws_sdk_dynamodb::{
    Client,
    config::retry::{ClassifyRetry, RetryAction},
    error::SdkError,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
        error::TransactionCanceledException,
    },
};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use model::{Event, EventStore, Head, Inserted, Retention, StoreError, StoredEvent};
use serde::Serialize;

/// Events in DynamoDB: one conditional PutItem each, which is the event, the record of its having been seen, and the outbox entry. For an
/// event that can recur, one TransactWriteItems: the event, and the head by which a repeat of it is known.
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

    async fn put(&self, event: StoredEvent) -> Result<Inserted, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(serde_dynamo::to_item(event).map_err(failed)?))
            .condition_expression(IS_NEW)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Inserted::Fresh),
            Err(SdkError::ServiceError(e)) if matches!(e.err(), PutItemError::ConditionalCheckFailedException(_)) => {
                Ok(Inserted::Duplicate)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn put_with_head(&self, event: StoredEvent, head: &Head) -> Result<Inserted, StoreError> {
        let head_item = HeadItem {
            pk: &event.subject,
            sk: &head.sort_key,
            latest: &head.latest,
            // As long as its event: what comes later than that is news.
            expires_at: event.expires_at,
        };
        let put = || Put::builder().table_name(&self.table);
        let head = put()
            .set_item(Some(serde_dynamo::to_item(&head_item).map_err(failed)?))
            .condition_expression("attribute_not_exists(pk) OR latest <> :latest")
            .expression_attribute_values(":latest", AttributeValue::S(head.latest.clone()));
        let event = put().set_item(Some(serde_dynamo::to_item(&event).map_err(failed)?)).condition_expression(IS_NEW);
        let write = |put: Put| TransactWriteItem::builder().put(put).build();
        let written = self
            .client
            .transact_write_items()
            .transact_items(write(event.build().map_err(failed)?))
            .transact_items(write(head.build().map_err(failed)?))
            .send()
            .await;
        match written {
            Ok(_) => Ok(Inserted::Fresh),
            Err(SdkError::ServiceError(e)) if was_canceled_for(e.err(), "ConditionalCheckFailed") => {
                Ok(Inserted::Duplicate)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

const IS_NEW: &str = "attribute_not_exists(pk)";

impl EventStore for DynamoStore {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        let stored = StoredEvent::new(event, self.retention);
        match event.head() {
            None => self.put(stored).await,
            Some(head) => self.put_with_head(stored, head).await,
        }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
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

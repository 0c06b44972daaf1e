//! The events table.

use aws_sdk_dynamodb::{
    Client, error::SdkError, operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure,
};
use jiff::SignedDuration;
use model::{Event, EventStore, Inserted, StoreError, StoredEvent};

/// Events in DynamoDB: one conditional PutItem each, which is the event, the record of its having been seen, and the outbox entry.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
    retention: SignedDuration,
}

impl DynamoStore {
    /// The events in this table, each kept for so long.
    #[must_use]
    pub fn new(client: Client, table: String, retention: SignedDuration) -> Self {
        Self { client, table, retention }
    }
}

impl EventStore for DynamoStore {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        let item = serde_dynamo::to_item(StoredEvent::new(event, self.retention)).map_err(|e| StoreError(e.into()))?;
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Inserted::Fresh),
            Err(SdkError::ServiceError(e)) if matches!(e.err(), PutItemError::ConditionalCheckFailedException(_)) => {
                Ok(Inserted::Duplicate)
            }
            Err(error) => Err(StoreError(error.into())),
        }
    }
}

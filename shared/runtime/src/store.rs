//! The events table.

use aws_sdk_dynamodb::{Client, error::SdkError, operation::put_item::PutItemError, types::AttributeValue};
use model::{Event, EventStore, Events, Inserted, Part, Retention, StoreError, StoredEvent};

/// Events in DynamoDB: one conditional PutItem each. The item is the event, the record of its
/// receipt, and the outbox entry. The parts of a body that is too large for one item are put before
/// it, one PutItem each.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
    retention: Retention,
}

impl DynamoStore {
    /// The events in this table, with this retention.
    #[must_use]
    pub fn new(client: Client, table: String, retention: Retention) -> Self {
        Self { client, table, retention }
    }

    /// Puts an event, unless it is there already.
    ///
    /// # Errors
    /// If the table refuses or does not answer in time.
    pub async fn put_event(&self, event: StoredEvent) -> Result<Inserted, StoreError> {
        let (event, parts) = event.into_items();
        // Parts are unused without their event. It goes last, so a reader who finds it finds them
        // too.
        for part in parts {
            self.put_part(part).await?;
        }
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(serde_dynamo::to_item(event).map_err(failed)?))
            .condition_expression("attribute_not_exists(pk)");
        match put.send().await {
            Ok(_) => Ok(Inserted::Fresh),
            Err(SdkError::ServiceError(e)) if matches!(e.err(), PutItemError::ConditionalCheckFailedException(_)) => {
                Ok(Inserted::Duplicate)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts a part of a body. Its key depends on the bytes of the body, so putting it again changes
    /// nothing.
    pub(crate) async fn put_part(&self, part: Part) -> Result<(), StoreError> {
        let item = serde_dynamo::to_item(part).map_err(failed)?;
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await.map_err(failed)?;
        Ok(())
    }

    /// Returns the event with this subject and id, with its whole body.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn find(&self, subject: &str, id: &str) -> Result<Option<StoredEvent>, StoreError> {
        let Some(event) = self.get::<StoredEvent>(subject, id).await? else { return Ok(None) };
        let Some(count) = event.parts else { return Ok(Some(event)) };
        let mut parts = Vec::new();
        for number in 0..count {
            let part: Option<Part> = self.get(&Part::key(id, number), Part::SORT_KEY).await?;
            parts.push(part.ok_or_else(|| {
                StoreError("parts of the event's body are missing: they may still be on their way".into())
            })?);
        }
        Ok(Some(event.with_parts(parts)))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, pk: &str, sk: &str) -> Result<Option<T>, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let got = get.key("pk", text(pk)).key("sk", text(sk)).send().await.map_err(failed)?;
        got.item.map(serde_dynamo::from_item).transpose().map_err(failed)
    }
}

impl EventStore for DynamoStore {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        self.put_event(StoredEvent::new(event, self.retention)).await
    }
}

impl Events for DynamoStore {
    async fn record(&self, event: StoredEvent) -> Result<(), StoreError> {
        self.put_event(event).await.map(|_| ())
    }

    async fn find(&self, subject: &str, id: &str) -> Result<Option<StoredEvent>, StoreError> {
        Self::find(self, subject, id).await
    }
}

pub(crate) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError(error.into())
}

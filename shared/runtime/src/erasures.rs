//! The list of erased verifications, in the expectations table, and the erasure of their later
//! events.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::put_item::PutItemError,
    types::{AttributeValue, KeysAndAttributes},
};
use model::{Erasure, Part, StoreError, StoredEvent, Timestamp};
use serde::Serialize;

use crate::store::failed;

/// How many items one BatchGetItem accepts.
pub(crate) const MAX_KEYS: usize = 100;

/// How often items that DynamoDB left out of an answer are requested again.
pub(crate) const MAX_CALLS: usize = 5;

/// Erased verifications in DynamoDB.
///
/// The list is in the expectations table, which is never restored together with events and rows:
/// see [`Erasure`].
#[derive(Debug, Clone)]
pub struct DynamoErasures {
    client: Client,
    pub(crate) list: String,
    events: String,
}

impl DynamoErasures {
    /// The list in this expectations table, of the verifications whose events are in this events
    /// table.
    #[must_use]
    pub fn new(client: Client, expectations_table: String, events_table: String) -> Self {
        Self { client, list: expectations_table, events: events_table }
    }

    /// Puts a verification on the list. Its entry keeps the time of the first erasure.
    ///
    /// # Errors
    /// If the table refuses or does not answer in time. Doing it again is safe.
    pub async fn add(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let update = self.client.update_item().table_name(&self.list);
        let update = update.key("pk", AttributeValue::S(erasure.key.clone()));
        let update = update
            .update_expression("SET erased_at = if_not_exists(erased_at, :erased_at), expires_at = :expires_at")
            .expression_attribute_values(":erased_at", AttributeValue::S(format!("{:.3}", erasure.erased_at)))
            .expression_attribute_values(":expires_at", AttributeValue::N(erasure.expires_at.to_string()));
        update.send().await.map_err(failed)?;
        Ok(())
    }

    /// The entry with this key, if there is one.
    ///
    /// # Errors
    /// If the table refuses or does not answer in time.
    pub async fn find(&self, key: &str) -> Result<Option<Erasure>, StoreError> {
        let get = self.client.get_item().table_name(&self.list).consistent_read(true);
        let got = get.key("pk", AttributeValue::S(key.to_owned())).send().await.map_err(failed)?;
        got.item.map(serde_dynamo::from_item).transpose().map_err(failed)
    }

    /// Which of these [keys](Erasure::key_of) are on the list.
    ///
    /// # Errors
    /// If the table refuses or does not answer in time.
    pub async fn among(&self, keys: &BTreeSet<String>) -> Result<BTreeSet<String>, StoreError> {
        let keys: Vec<&String> = keys.iter().collect();
        let mut found = BTreeSet::new();
        for keys in keys.chunks(MAX_KEYS) {
            let mut requests = HashMap::from([(self.list.clone(), entries(keys.iter().copied())?)]);
            for call in 0.. {
                if call == MAX_CALLS {
                    return Err(StoreError(
                        "the expectations table is throttled: it left out a part of its answer".into(),
                    ));
                }
                let got =
                    self.client.batch_get_item().set_request_items(Some(requests)).send().await.map_err(failed)?;
                found.extend(got.responses.into_iter().flatten().flat_map(|(_, items)| items).filter_map(key_of));
                requests = got.unprocessed_keys.unwrap_or_default();
                if requests.is_empty() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Overwrites a stored event and the parts of its body with what stays of it.
    ///
    /// # Errors
    /// If the table refuses or does not answer in time. Erasing it again is safe.
    pub async fn erase(&self, event: &StoredEvent, now: Timestamp) -> Result<(), StoreError> {
        // The event goes last: it says how many parts there are.
        for number in 0..event.parts.unwrap_or_default() {
            let (key, sort_key) = (Part::key(&event.id, number), Part::SORT_KEY.to_owned());
            self.overwrite(&Part { key, sort_key, body: Vec::new(), expires_at: event.expires_at }).await?;
        }
        self.overwrite(&event.clone().erased(now)).await
    }

    /// Replaces an existing item. If there is none, it has expired, and nothing is written.
    async fn overwrite(&self, item: &(impl Serialize + Sync)) -> Result<(), StoreError> {
        let item = serde_dynamo::to_item(item).map_err(failed)?;
        let put = self.client.put_item().table_name(&self.events).set_item(Some(item));
        match put.condition_expression("attribute_exists(pk)").send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(e)) if matches!(e.err(), PutItemError::ConditionalCheckFailedException(_)) => {
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// A consistent read of these entries.
pub(crate) fn entries<'a>(keys: impl Iterator<Item = &'a String>) -> Result<KeysAndAttributes, StoreError> {
    let key = |key: &String| HashMap::from([("pk".to_owned(), AttributeValue::S(key.clone()))]);
    let request = KeysAndAttributes::builder().set_keys(Some(keys.map(key).collect())).projection_expression("pk");
    request.consistent_read(true).build().map_err(failed)
}

/// The key of an entry.
pub(crate) fn key_of(mut entry: HashMap<String, AttributeValue>) -> Option<String> {
    match entry.remove("pk") {
        Some(AttributeValue::S(key)) => Some(key),
        _ => None,
    }
}

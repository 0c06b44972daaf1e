//! The expectations table.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use model::{Announced, Announcement, Expectation, Expectations, Registered, StoreError, Timestamp, Unavailable};

use serde::Serialize;

use crate::store::failed;

/// Expectations in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoExpectations {
    client: Client,
    table: String,
}

impl DynamoExpectations {
    /// The expectations in this table.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}

impl DynamoExpectations {
    /// Puts an item, unless one exists that has not expired. Returns the existing one.
    async fn put(
        &self,
        item: &(impl Serialize + Sync),
        now: Timestamp,
    ) -> Result<Option<HashMap<String, AttributeValue>>, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(serde_dynamo::to_item(item).map_err(failed)?))
            // DynamoDB deletes expired items within days, not at once.
            .condition_expression("attribute_not_exists(pk) OR expires_at < :now")
            .expression_attribute_values(":now", AttributeValue::N(now.as_second().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(None),
            Err(SdkError::ServiceError(e)) => match e.into_err() {
                PutItemError::ConditionalCheckFailedException(known) => Ok(Some(known.item.unwrap_or_default())),
                error => Err(failed(error)),
            },
            Err(error) => Err(failed(error)),
        }
    }
}

impl Expectations for DynamoExpectations {
    async fn find(&self, code_sha256: &str) -> Result<Option<Expectation>, Unavailable> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let got = get.key("pk", AttributeValue::S(code_sha256.to_owned())).send().await;
        let item = got.map_err(|error| Unavailable(error.into()))?.item;
        item.map(serde_dynamo::from_item).transpose().map_err(|error| Unavailable(error.into()))
    }

    async fn register(&self, expectation: &Expectation, now: Timestamp) -> Result<Registered, StoreError> {
        match self.put(expectation, now).await? {
            None => Ok(Registered::Fresh),
            Some(known) => Ok(Registered::beside(serde_dynamo::from_item(known).map_err(failed)?, expectation)),
        }
    }

    async fn announce(&self, announcement: &Announcement, now: Timestamp) -> Result<Announced, StoreError> {
        match self.put(announcement, now).await? {
            None => Ok(Announced::Fresh),
            Some(known) => Ok(Announced::beside(&serde_dynamo::from_item(known).map_err(failed)?, announcement)),
        }
    }
}

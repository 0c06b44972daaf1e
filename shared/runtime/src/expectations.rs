//! The expectations table.

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use model::{Expectation, Expectations, Registered, StoreError, Timestamp, Unavailable};

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

impl Expectations for DynamoExpectations {
    async fn find(&self, code_sha256: &str) -> Result<Option<Expectation>, Unavailable> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let got = get.key("pk", AttributeValue::S(code_sha256.to_owned())).send().await;
        let item = got.map_err(|error| Unavailable(error.into()))?.item;
        item.map(serde_dynamo::from_item).transpose().map_err(|error| Unavailable(error.into()))
    }

    async fn register(&self, expectation: &Expectation, now: Timestamp) -> Result<Registered, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(serde_dynamo::to_item(expectation).map_err(failed)?))
            // DynamoDB deletes what has expired within days, not at once.
            .condition_expression("attribute_not_exists(pk) OR expires_at < :now")
            .expression_attribute_values(":now", AttributeValue::N(now.as_second().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Registered::Fresh),
            Err(SdkError::ServiceError(e)) => match e.into_err() {
                PutItemError::ConditionalCheckFailedException(known) => {
                    let known = serde_dynamo::from_item(known.item.unwrap_or_default()).map_err(failed)?;
                    Ok(Registered::beside(known, expectation))
                }
                error => Err(failed(error)),
            },
            Err(error) => Err(failed(error)),
        }
    }
}

//! The pauses of providers, in the verifications table.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use model::{Pause, Pauses, StoreError, Timestamp};

use crate::store::failed;

/// Pauses in DynamoDB, one item for each provider: partition key `pause/<provider>`, sort key
/// `pause`. The partition key has no `#`, so it is not that of a verification. Only the reconciler
/// writes them, and its next process reads them.
#[derive(Debug, Clone)]
pub struct DynamoPauses {
    client: Client,
    table: String,
}

/// The sort key of every pause.
const SORT_KEY: &str = "pause";

/// How long an item is stored after its pause, in seconds.
const KEPT: i64 = 24 * 3600;

impl DynamoPauses {
    /// The pauses in this table.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}

impl Pauses for DynamoPauses {
    async fn read_pause(&self, provider: &str) -> Result<Option<Pause>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true).key("pk", key(provider));
        let got = get.key("sk", AttributeValue::S(SORT_KEY.to_owned())).send().await.map_err(failed)?;
        got.item.map(serde_dynamo::from_item).transpose().map_err(failed)
    }

    async fn keep_pause(&self, provider: &str, pause: Pause, now: Timestamp) -> Result<(), StoreError> {
        let expires_at = pause.until.unwrap_or(now).max(now).as_second().saturating_add(KEPT);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", key(provider))
            .key("sk", AttributeValue::S(SORT_KEY.to_owned()))
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":failures", AttributeValue::N(pause.failures.to_string()))
            .expression_attribute_values(":expires_at", AttributeValue::N(expires_at.to_string()));
        let update = match pause.until {
            Some(until) => update
                .update_expression("SET failures = :failures, expires_at = :expires_at, #until = :until")
                .expression_attribute_values(":until", AttributeValue::S(until.to_string())),
            None => update.update_expression("SET failures = :failures, expires_at = :expires_at REMOVE #until"),
        };
        update.send().await.map(|_| ()).map_err(failed)
    }
}

fn key(provider: &str) -> AttributeValue {
    AttributeValue::S(format!("pause/{provider}"))
}

//! The queues between our own functions.

use std::time::Duration;

use aws_sdk_sqs::Client;
use serde::Serialize;
use tracing::warn;

use crate::{Error, queue::as_sqs_text, start::chain};

/// A standard SQS queue for internal use: spilled events, and records that cannot be published.
#[derive(Debug, Clone)]
pub struct InternalQueue {
    client: Client,
    url: String,
}

impl InternalQueue {
    /// The queue with this URL.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends this as JSON.
    pub(crate) async fn send(&self, message: &(impl Serialize + Sync)) -> Result<(), Error> {
        let body = as_sqs_text(serde_json::to_string(message)?);
        self.client.send_message().queue_url(&self.url).message_body(body).send().await?;
        Ok(())
    }

    /// Postpones a received message by this time. If that fails, it is retried after the queue's
    /// own visibility timeout.
    pub(crate) async fn hide(&self, receipt_handle: &str, time: Duration) {
        let seconds = i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
        let change = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt_handle);
        if let Err(error) = change.visibility_timeout(seconds).send().await {
            warn!(error = chain(&error), "failed to put a message off");
        }
    }
}

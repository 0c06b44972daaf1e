//! The queues that messages are published to.

use aws_sdk_sqs::{
    Client,
    types::{
        MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
        SendMessageBatchRequestEntry,
    },
};
use model::{Message, MessageQueue, NotSent};

use crate::{start::chain, trace};

/// A queue in SQS. In a FIFO one, messages are ordered by subject, and repeats of an id within five
/// minutes are dropped.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
    is_fifo: bool,
    replay: Option<String>,
}

/// What one call to SendMessageBatch may hold, all messages and attributes together, is 1 MiB. Some
/// room is left for the attributes.
const MAX_BATCH_BYTES: usize = 1024 * 1024 - 16 * 1024;

impl SqsQueue {
    /// The queue with this URL.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        // SQS requires this suffix.
        let is_fifo = url.ends_with(".fifo");
        Self { client, url, is_fifo, replay: None }
    }

    /// The same queue, for messages that are sent again on purpose. SQS drops a message whose
    /// MessageDeduplicationId it has seen, so that includes this replay's name. The event's id
    /// stays the same.
    #[must_use]
    pub fn replaying(self, replay: &str) -> Self {
        Self { replay: Some(replay.to_owned()), ..self }
    }

    async fn send_entries(
        &self,
        entries: Vec<SendMessageBatchRequestEntry>,
    ) -> Result<Vec<(String, NotSent)>, NotSent> {
        let output = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| NotSent(chain(&error)))?;
        Ok(output.failed.into_iter().map(|failed| (failed.id, NotSent(failed.code))).collect())
    }
}

impl MessageQueue for SqsQueue {
    async fn send(&self, batch: &[Message]) -> Vec<Result<(), NotSent>> {
        let mut results = Vec::with_capacity(batch.len());
        let mut entries: Vec<SendMessageBatchRequestEntry> = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        for message in batch {
            match self.entry(message) {
                // A missing entry keeps its place among the results.
                Err(not_sent) => {
                    self.flush(&mut entries, &mut results).await;
                    results.push(Err(not_sent));
                }
                Ok(entry) => {
                    let size = entry.message_body.len();
                    if bytes + size > MAX_BATCH_BYTES {
                        self.flush(&mut entries, &mut results).await;
                        bytes = 0;
                    }
                    bytes += size;
                    entries.push(entry);
                }
            }
        }
        self.flush(&mut entries, &mut results).await;
        results
    }
}

impl SqsQueue {
    /// Sends the collected messages, and adds a result for each.
    async fn flush(&self, entries: &mut Vec<SendMessageBatchRequestEntry>, results: &mut Vec<Result<(), NotSent>>) {
        if entries.is_empty() {
            return;
        }
        let entries = std::mem::take(entries);
        let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
        match self.send_entries(entries).await {
            Ok(failed) => {
                results.extend(ids.iter().map(|id| match failed.iter().find(|(failed_id, _)| failed_id == id) {
                    Some((_, NotSent(code))) => Err(NotSent(code.clone())),
                    None => Ok(()),
                }))
            }
            Err(NotSent(reason)) => results.extend(ids.iter().map(|_| Err(NotSent(reason.clone())))),
        }
    }

    fn deduplication_id(&self, message: &Message) -> String {
        match &self.replay {
            None => message.id.clone(),
            Some(replay) => format!("{}-{replay}", message.id),
        }
    }

    /// The batch entry of a message. A payload that would make it too large is left out.
    fn entry(&self, message: &Message) -> Result<SendMessageBatchRequestEntry, NotSent> {
        let body = |message: &Message| serde_json::to_string(message).map_err(|error| NotSent(error.to_string()));
        let mut text = as_sqs_text(body(message)?);
        if text.len() > MAX_BATCH_BYTES {
            text = as_sqs_text(body(&message.clone().without_payload())?);
        }
        let attributes = [
            ("content-type", "application/cloudevents+json"),
            ("provider", message.data.provider.as_str()),
            ("type", message.event_type.as_str()),
            ("outcome", message.outcome.as_str()),
        ];
        let mut entry = SendMessageBatchRequestEntry::builder()
            // Unique within the batch, because every event of a batch is.
            .id(&message.id)
            .message_body(text)
            .set_message_group_id(self.is_fifo.then(|| message.group_id()))
            .set_message_deduplication_id(self.is_fifo.then(|| self.deduplication_id(message)));
        if let Some(trace) = message.traceparent.as_deref().and_then(trace::to_xray) {
            let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build();
            let value = value.map_err(|error| NotSent(error.to_string()))?;
            entry = entry.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
        }
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            entry = entry.message_attributes(name, value.map_err(|error| NotSent(error.to_string()))?);
        }
        entry.build().map_err(|error| NotSent(error.to_string()))
    }
}

/// The same JSON, in a form that SQS accepts. SQS would always refuse two characters that JSON
/// allows and [XML 1.0](https://www.w3.org/TR/xml/#charsets) does not. They occur only in strings,
/// where JSON can escape them.
pub(crate) fn as_sqs_text(json: String) -> String {
    if json.contains(['\u{fffe}', '\u{ffff}']) {
        json.replace('\u{fffe}', r"\ufffe").replace('\u{ffff}', r"\uffff")
    } else {
        json
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_sqs_would_refuse_is_written_in_another_way_and_reads_the_same() {
        let value =
            json!({ "\u{ffff}": ["\u{0}\u{1f}\u{7f}\u{fffd}\u{fffe}\u{ffff}\u{10000}\u{10ffff}", "\\ufffe \\"] });
        let text = as_sqs_text(value.to_string());
        let is_taken = |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert!(text.chars().all(is_taken), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}

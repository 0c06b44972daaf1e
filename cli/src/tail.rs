//! `callbacks tail`: what comes out of the queues.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use anyhow::Context as _;
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName};
use clap::Args;
use model::Message;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Target,
    local::{INTERRUPTED, interrupted},
    stack::{Connections, Stack},
};

/// Shows what comes out of the queues, until Ctrl-C.
///
/// Messages stay in their queues unless --delete is given. While one is shown, and for some seconds after, no other consumer gets it, nor
/// a later one of its verification: on a stack in use, mind the consumers.
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    target: Target,
    /// Delete what was shown.
    #[arg(long)]
    delete: bool,
    /// End after so many seconds without a new message.
    #[arg(long, value_name = "SECONDS")]
    quiet: Option<u64>,
    /// Print each message as it is, one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let connections = stack.connect().await;
        tokio::select! {
            shown = self.show(&stack, &connections) => shown.map(|()| ExitCode::SUCCESS),
            signal = interrupted() => signal.map(|()| INTERRUPTED.into()),
        }
    }

    async fn show(&self, stack: &Stack, connections: &Connections) -> anyhow::Result<()> {
        let mut shown = BTreeSet::new();
        let mut last_new = Instant::now();
        loop {
            for url in [&stack.verification_queue_url, &stack.delivery_queue_url] {
                for message in receive(connections, url, Duration::from_secs(5)).await? {
                    let body = message.body().unwrap_or_default();
                    if shown.insert(message.message_id().unwrap_or_default().to_owned()) {
                        last_new = Instant::now();
                        say!("{}", if self.json { body.to_owned() } else { line(body) });
                    }
                    if self.delete {
                        delete(connections, url, &message).await?;
                    }
                }
            }
            if self.quiet.is_some_and(|seconds| last_new.elapsed() > Duration::from_secs(seconds)) {
                return Ok(());
            }
        }
    }
}

pub(crate) fn line(body: &str) -> String {
    match serde_json::from_str::<Message>(body) {
        Ok(message) => format!(
            "{:.3}  {:<8}  {}  {}{}",
            message.time,
            if message.expirytime.is_some() { "deliver" } else { message.outcome.as_str() },
            message.event_type,
            message.subject,
            if message.data.reasons.is_empty() {
                String::new()
            } else {
                format!("  {}", message.data.reasons.join(", "))
            },
        ),
        Err(_) => json!({ "not a CloudEvent": body }).to_string(),
    }
}

/// Receives what is in a queue now, and hides it from others for so long.
///
/// # Errors
/// If the queue does not answer.
pub async fn receive(connections: &Connections, url: &str, hidden_for: Duration) -> anyhow::Result<Vec<SqsMessage>> {
    let received = connections
        .sqs
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(1)
        .visibility_timeout(i32::try_from(hidden_for.as_secs()).unwrap_or(i32::MAX))
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All")
        .send()
        .await;
    Ok(received.with_context(|| format!("failed to receive from {url}"))?.messages.unwrap_or_default())
}

/// Deletes a received message.
///
/// # Errors
/// If the queue does not answer.
pub async fn delete(connections: &Connections, url: &str, message: &SqsMessage) -> anyhow::Result<()> {
    let handle = message.receipt_handle().unwrap_or_default();
    let deleted = connections.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await;
    deleted.with_context(|| format!("failed to delete a message from {url}"))?;
    Ok(())
}

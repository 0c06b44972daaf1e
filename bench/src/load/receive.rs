//! Receiving the messages of a run from the queues.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};
use cli::{
    sample::ExpectedEvent,
    stack::{Connections, Stack},
    tail,
};
use indicatif::ProgressBar;
use model::Message;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    found::{Found, Reader, verifications_of},
    send::{Sent, Verdict},
};

/// A message of the run.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) event: ExpectedEvent,
    pub(crate) message: Message,
}

/// How long nothing has to come after the last that is waited for.
const SILENCE: Duration = Duration::from_secs(3);

/// How long nothing has to come before what is waited for is given up, with nothing left in the spill queue.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same while something is in the spill queue, from which it comes again after six minutes at the latest.
const PATIENCE_WITH_SPILLED: Duration = Duration::from_secs(600);

/// How long a message is hidden from others while it is looked at. One that is not of the run is hidden for the run, and not given back before:
/// it would be received again and again, and be a dead letter after a few times.
const HIDDEN_FOR: Duration = Duration::from_secs(3600);

/// Takes the messages of a run from both queues, from now on.
pub(crate) struct Receiver {
    connections: Connections,
    spill_queue_url: String,
    messages: mpsc::UnboundedReceiver<Received>,
    receiving: JoinSet<anyhow::Result<()>>,
    end: watch::Sender<bool>,
}

impl Receiver {
    /// Begins to receive what is about subjects with this prefix.
    pub(crate) async fn start(stack: &Stack, prefix: &str) -> Self {
        let connections = stack.connect().await;
        let (end, ended) = watch::channel(false);
        let (sender, messages) = mpsc::unbounded_channel();
        let mut receiving = JoinSet::new();
        for (url, is_delivery) in [(&stack.verification_queue_url, false), (&stack.delivery_queue_url, true)] {
            let queue = Queue {
                connections: connections.clone(),
                url: url.clone(),
                is_delivery,
                prefix: prefix.to_owned(),
                foreign: Vec::new(),
            };
            receiving.spawn(queue.receive(sender.clone(), ended.clone()));
        }
        Self { connections, spill_queue_url: stack.spill_queue_url.clone(), messages, receiving, end }
    }

    /// Waits until everything that was sent is decided and received, or no more can be expected, and nothing else comes.
    /// Returns what came, what the tables and the API hold then, and how long it took until the last message.
    pub(crate) async fn finish(
        mut self,
        reader: &Reader,
        sent: &[Sent],
        progress: &ProgressBar,
    ) -> anyhow::Result<(Vec<Received>, Vec<Found>, Duration)> {
        let authentic = || sent.iter().filter(|sent| !sent.is_forged);
        let acknowledged = authentic().filter(|sent| sent.verdict == Verdict::Acknowledged);
        let mut missing: HashSet<&ExpectedEvent> = acknowledged.map(|sent| &sent.event).collect();
        // These may be stored all the same.
        let others = authentic().any(|sent| sent.verdict != Verdict::Acknowledged);
        let mut all_received: Vec<Received> = Vec::new();
        let mut open = verifications_of(sent);
        let mut all_found = Vec::new();
        let begun = Instant::now();
        let mut last = begun;
        loop {
            progress.set_message(format!(
                "receiving: {} of {} left",
                missing.len(),
                missing.len() + all_received.len()
            ));
            match timeout(SILENCE, self.messages.recv()).await {
                Ok(Some(received)) => {
                    last = Instant::now();
                    missing.remove(&received.event);
                    all_received.push(received);
                    continue;
                }
                // Both receivers have ended: the reason is below.
                Ok(None) => break,
                Err(_) => {}
            }
            let silence = last.elapsed();
            let is_over = silence > PATIENCE_WITH_SPILLED || (silence > PATIENCE && self.is_nothing_spilled().await?);
            if is_over || (missing.is_empty() && !others) {
                progress.set_message("reading the tables");
                let ids = all_received.iter().map(|received| received.message.id.as_str()).collect();
                let found = reader.read(&open).await?;
                let (settled, unsettled): (Vec<_>, Vec<_>) =
                    found.into_iter().partition(|found| is_over || found.is_settled(sent, &ids));
                all_found.extend(settled);
                if unsettled.is_empty() {
                    break;
                }
                open = unsettled.into_iter().map(|found| (found.provider, found.subject)).collect();
            }
        }
        self.end.send_replace(true);
        while let Some(ended) = self.receiving.join_next().await {
            ended.context("failed to receive")??;
        }
        while let Ok(received) = self.messages.try_recv() {
            all_received.push(received);
        }
        Ok((all_received, all_found, last - begun))
    }

    async fn is_nothing_spilled(&self) -> anyhow::Result<bool> {
        let counts = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self.connections.sqs.get_queue_attributes().queue_url(&self.spill_queue_url);
        let answered = asked.set_attribute_names(Some(counts.to_vec())).send().await;
        let answered = answered.context("failed to look into the spill queue")?;
        Ok(answered.attributes().is_some_and(|attributes| attributes.values().all(|count| count == "0")))
    }
}

/// One queue, as the run receives from it.
struct Queue {
    connections: Connections,
    url: String,
    is_delivery: bool,
    prefix: String,
    /// The receipts of messages that are not of the run.
    foreign: Vec<String>,
}

impl Queue {
    async fn receive(
        mut self,
        messages: mpsc::UnboundedSender<Received>,
        ended: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        while !*ended.borrow() {
            let mut receipts = Vec::new();
            for message in tail::receive(&self.connections, &self.url, HIDDEN_FOR).await? {
                let receipt = message.receipt_handle().unwrap_or_default().to_owned();
                match serde_json::from_str::<Message>(message.body().unwrap_or_default()) {
                    Ok(message) if message.subject.starts_with(&self.prefix) => {
                        receipts.push(receipt);
                        let event = ExpectedEvent { delivery: self.is_delivery, ..ExpectedEvent::from(&message) };
                        // Nobody listens only if the run has failed.
                        let _ = messages.send(Received { event, message });
                    }
                    _ => self.foreign.push(receipt),
                }
            }
            if !receipts.is_empty() {
                self.delete(receipts).await?;
            }
        }
        self.give_back().await
    }

    async fn delete(&self, receipts: Vec<String>) -> anyhow::Result<()> {
        let entry = |(n, receipt): (usize, String)| {
            DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(receipt).build()
        };
        let entries = receipts.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let deleted = self.connections.sqs.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        deleted.send().await.with_context(|| format!("failed to delete messages from {}", self.url))?;
        Ok(())
    }

    /// Lets others receive what is not of the run.
    async fn give_back(&self) -> anyhow::Result<()> {
        for receipts in self.foreign.chunks(10) {
            let entry = |(n, receipt): (usize, &String)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
                entry.receipt_handle(receipt).visibility_timeout(0).build()
            };
            let entries = receipts.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
            let change = self.connections.sqs.change_message_visibility_batch().queue_url(&self.url);
            let changed = change.set_entries(Some(entries)).send().await;
            changed.with_context(|| format!("failed to give messages back to {}", self.url))?;
        }
        Ok(())
    }
}

//! Receiving what a run left behind: from the queues, and from the table.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};
use cli::{
    events::Events,
    sample::ExpectedEvent,
    stack::{Connections, Stack},
    tail,
};
use indicatif::ProgressBar;
use model::{Message, Timestamp};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// A message of the run.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) event: ExpectedEvent,
    pub(crate) id: String,
    /// When the callback came that it is about.
    pub(crate) received_at: Timestamp,
}

/// An event of the run in the table.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) event: ExpectedEvent,
    pub(crate) id: String,
    /// Whether every part of its body is there.
    pub(crate) is_whole: bool,
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

    /// Waits until all of these events have come, or no more can be hoped for, and nothing else comes either. Returns all that came, and how
    /// long it took from now until the last.
    ///
    /// With `others`, there may be more to come than is known.
    pub(crate) async fn finish(
        mut self,
        mut missing: HashSet<ExpectedEvent>,
        others: bool,
        progress: &ProgressBar,
    ) -> anyhow::Result<(Vec<Received>, Duration)> {
        let mut all_received = Vec::new();
        let begun = Instant::now();
        let mut last = begun;
        loop {
            progress.set_message(format!(
                "receiving: {} of {} left",
                missing.len(),
                missing.len() + all_received.len()
            ));
            let silence = if missing.is_empty() && !others { SILENCE } else { PATIENCE };
            match timeout(silence, self.messages.recv()).await {
                Ok(Some(received)) => {
                    last = Instant::now();
                    missing.remove(&received.event);
                    all_received.push(received);
                }
                // Both receivers have ended: the reason is below.
                Ok(None) => break,
                Err(_) if silence == SILENCE || last.elapsed() > PATIENCE_WITH_SPILLED => break,
                Err(_) if self.is_nothing_spilled().await? => break,
                Err(_) => {}
            }
        }
        self.end.send_replace(true);
        while let Some(ended) = self.receiving.join_next().await {
            ended.context("failed to receive")??;
        }
        while let Ok(received) = self.messages.try_recv() {
            all_received.push(received);
        }
        Ok((all_received, last - begun))
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
                        let received_at = message.data.received_at;
                        // Nobody listens only if the run has failed.
                        let _ = messages.send(Received { event, id: message.id, received_at });
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

/// The events of these subjects in the table.
pub(crate) async fn stored(stack: &Stack, subjects: BTreeSet<String>) -> anyhow::Result<Vec<Stored>> {
    let events = Arc::new(Events::of(stack).await);
    let subjects: Vec<String> = subjects.into_iter().collect();
    let mut all_stored = Vec::new();
    // So many calls at the same time.
    for subjects in subjects.chunks(8) {
        let mut reading = JoinSet::new();
        for subject in subjects {
            let (events, subject) = (Arc::clone(&events), subject.clone());
            reading.spawn(async move { of_subject(&events, &subject).await });
        }
        while let Some(read) = reading.join_next().await {
            all_stored.extend(read.context("failed to read the events table")??);
        }
    }
    Ok(all_stored)
}

async fn of_subject(events: &Events, subject: &str) -> anyhow::Result<Vec<Stored>> {
    let mut all_stored = Vec::new();
    for event in events.of_subject(subject).await? {
        let is_whole = event.parts.is_none() || events.find(&event.id, Some(subject)).await.is_ok();
        all_stored.push(Stored { event: ExpectedEvent::from(&event), id: event.id, is_whole });
    }
    Ok(all_stored)
}

//! Messages that are looked at: received once, hidden from others meanwhile, and given back once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, Message as SqsMessage};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    stack::Connections,
    step::Interrupt,
    tail::{delete, receive},
};

/// The messages of one queue that were received and not deleted.
///
/// Each stays hidden until [`release`](Self::release), so that it is received once, however long that takes: with every
/// time, it would come nearer to the queue's maxReceiveCount. If the process is killed, all of them are visible again after
/// [`HIDDEN`].
pub(crate) struct Held {
    connections: Connections,
    url: String,
    /// The ids of all messages that were received.
    seen: BTreeSet<String>,
    receipts: Receipts,
    /// Ends the keeper when it is dropped.
    end: Option<oneshot::Sender<()>>,
    keeper: JoinHandle<anyhow::Result<()>>,
}

/// The receipt of each message that is held, by its id.
type Receipts = Arc<Mutex<BTreeMap<String, String>>>;

/// For how long messages are hidden at a time.
const HIDDEN: Duration = Duration::from_secs(300);

/// How often that is begun anew.
const RENEWED: Duration = Duration::from_secs(100);

/// For how long messages are held. [SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html)
/// hides none for longer than 12 hours.
const LONGEST: Duration = Duration::from_secs(11 * 60 * 60);

/// How many messages one call changes.
const BATCH: usize = 10;

impl Held {
    /// Holds what will be received from this queue.
    pub(crate) fn new(connections: &Connections, url: &str) -> Self {
        let receipts = Receipts::default();
        let (end, ended) = oneshot::channel();
        let keeper = tokio::spawn(keep(connections.clone(), url.to_owned(), Arc::clone(&receipts), ended));
        Self {
            connections: connections.clone(),
            url: url.to_owned(),
            seen: BTreeSet::new(),
            receipts,
            end: Some(end),
            keeper,
        }
    }

    /// Waits up to a second for messages that were not received before, and holds them.
    ///
    /// # Errors
    /// If the queue does not answer, or if messages could not be hidden any longer: they would be received again.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Vec<SqsMessage>> {
        if self.keeper.is_finished() {
            (&mut self.keeper).await.context("failed to keep messages hidden")??;
        }
        let mut messages = receive(&self.connections, &self.url, HIDDEN).await?;
        let mut receipts = lock(&self.receipts);
        messages.retain(|message| {
            let id = message.message_id().unwrap_or_default();
            // A standard queue may hand a message out twice. The last receipt is the one that counts.
            receipts.insert(id.to_owned(), message.receipt_handle().unwrap_or_default().to_owned());
            self.seen.insert(id.to_owned())
        });
        Ok(messages)
    }

    /// Receives and holds every message of the queue, until it is empty or Ctrl-C was pressed.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub(crate) async fn receive_all(&mut self, interrupt: &Interrupt) -> anyhow::Result<Vec<SqsMessage>> {
        let mut received = Vec::new();
        while !interrupt.came() {
            let messages = self.receive().await?;
            if messages.is_empty() {
                break;
            }
            received.extend(messages);
        }
        Ok(received)
    }

    /// Deletes a message that is held.
    ///
    /// # Errors
    /// If the queue does not answer.
    pub(crate) async fn delete(&self, message: &SqsMessage) -> anyhow::Result<()> {
        delete(&self.connections, &self.url, message).await?;
        lock(&self.receipts).remove(message.message_id().unwrap_or_default());
        Ok(())
    }

    /// Lets others receive what is held.
    ///
    /// # Errors
    /// If the queue does not answer. Then they can after [`HIDDEN`].
    pub(crate) async fn release(mut self) -> anyhow::Result<()> {
        // The keeper first: what it has begun must not come after this.
        drop(self.end.take());
        if !self.keeper.is_finished() {
            // If it failed meanwhile, these were not hidden any longer.
            let _ = (&mut self.keeper).await;
        }
        let receipts: Vec<String> = lock(&self.receipts).values().cloned().collect();
        for receipts in receipts.chunks(BATCH) {
            // One that cannot be released is visible again already, or soon.
            hide(&self.connections, &self.url, receipts, Duration::ZERO).await?;
        }
        Ok(())
    }
}

fn lock(receipts: &Receipts) -> MutexGuard<'_, BTreeMap<String, String>> {
    receipts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hides what is held again and again, until `ended` is closed.
async fn keep(
    connections: Connections,
    url: String,
    receipts: Receipts,
    mut ended: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while timeout(RENEWED, &mut ended).await.is_err() {
        if began.elapsed() > LONGEST {
            bail!("SQS hides no message for longer than 12 hours: begin again");
        }
        let held: Vec<String> = lock(&receipts).values().cloned().collect();
        for held in held.chunks(BATCH) {
            let failed = hide(&connections, &url, held, HIDDEN).await?;
            // Those that were deleted meanwhile do not matter.
            if failed.iter().any(|receipt| lock(&receipts).values().any(|held| held == receipt)) {
                bail!("messages of {url} could not be hidden any longer");
            }
        }
    }
    Ok(())
}

/// Hides messages for so long from now on, at most [`BATCH`]. Returns the receipts of those for which that failed.
async fn hide(
    connections: &Connections,
    url: &str,
    receipts: &[String],
    time: Duration,
) -> anyhow::Result<Vec<String>> {
    let seconds = i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    let entry = |(n, receipt): (usize, &String)| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(receipt).visibility_timeout(seconds).build()
    };
    let entries = receipts.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
    let change = connections.sqs.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
    let changed = change.send().await.with_context(|| format!("failed to hide messages of {url}"))?;
    let receipt_of = |id: &str| receipts.get(id.parse::<usize>().ok()?).cloned();
    Ok(changed.failed().iter().filter_map(|failed| receipt_of(failed.id())).collect())
}

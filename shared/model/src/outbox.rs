//! The queue that messages are published to.

use crate::Message;

/// The queue did not accept a message.
#[derive(Debug, thiserror::Error)]
#[error("failed to send a message: {0}")]
pub struct NotSent(pub String);

/// A queue. In a FIFO queue, the order within a group is the order in which messages were accepted.
pub trait MessageQueue: Send + Sync {
    /// How many messages one call accepts.
    const MAX_BATCH: usize = 10;

    /// Sends up to [`MAX_BATCH`](Self::MAX_BATCH) messages in one call, and says for each, in the
    /// same order, whether it was accepted. If it is unknown whether a message was accepted, it
    /// counts as not accepted: sending it again is safe.
    fn send(&self, batch: &[Message]) -> impl Future<Output = Vec<Result<(), NotSent>>> + Send;
}

//! A queue and a quarantine that take nothing, for what is only decided.

use model::{Message, MessageQueue, NotSent};
use runtime::{Error, Quarantine, Unreadable};

/// Takes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl MessageQueue for Nowhere {
    async fn send(&self, batch: &[Message]) -> Vec<Result<(), NotSent>> {
        batch.iter().map(|_| Err(NotSent("nothing is sent".to_owned()))).collect()
    }
}

impl Quarantine for Nowhere {
    async fn set_aside(&self, _unreadable: &Unreadable) -> Result<(), Error> {
        Err("nothing is set aside".into())
    }
}

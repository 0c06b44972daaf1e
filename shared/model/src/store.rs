//! Where events are kept.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{Event, Retention, StoredEvent};

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The event was new and is kept now.
    Fresh,
    /// The event was there already, and nothing changed.
    Duplicate,
}

/// The store does not say that it kept the event. It may have: inserting again is safe.
#[derive(Debug, thiserror::Error)]
#[error("failed to insert the event")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps each event once.
pub trait EventStore: Send + Sync {
    /// Keeps the event unless it is there already, or is a repeat of its [head](Event::head). Of several inserts of one event at the
    /// same instant, one is fresh.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn insert(&self, event: &Event) -> impl Future<Output = Result<Inserted, StoreError>> + Send;
}

/// A store in memory, for tests.
#[derive(Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    events: BTreeMap<String, StoredEvent>,
    heads: BTreeMap<(String, String), String>,
}

impl MemoryStore {
    /// All that is kept, ordered by event id.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).events.values().cloned().collect()
    }
}

impl EventStore for MemoryStore {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        let stored = StoredEvent::new(event, Retention::default());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.events.contains_key(&stored.id) {
            return Ok(Inserted::Duplicate);
        }
        if let Some(head) = event.head() {
            let key = (stored.subject.clone(), head.sort_key.clone());
            if kept.heads.insert(key, head.latest.clone()).as_ref() == Some(&head.latest) {
                return Ok(Inserted::Duplicate);
            }
        }
        kept.events.insert(stored.id.clone(), stored);
        Ok(Inserted::Fresh)
    }
}

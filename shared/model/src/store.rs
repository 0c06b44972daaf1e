//! Where events are kept.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{Event, Expectation, Expectations, Registered, Retention, StoredEvent, Unavailable};

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The event was new and is kept now.
    Fresh,
    /// The event was there already, and nothing changed.
    Duplicate,
    /// The event is kept elsewhere, as durably, and will be inserted from there. Whether it is new is not known yet.
    Spilled,
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

/// Expectations in memory, for tests.
#[derive(Default)]
pub struct MemoryExpectations(Mutex<BTreeMap<String, Expectation>>);

impl Expectations for MemoryExpectations {
    async fn find(&self, code_sha256: &str) -> Result<Option<Expectation>, Unavailable> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(code_sha256).cloned())
    }

    async fn register(&self, expectation: &Expectation) -> Result<Registered, StoreError> {
        let mut expectations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match expectations.get(&expectation.code_sha256) {
            Some(known) if known.is_same_as(expectation) => Ok(Registered::Same),
            Some(_) => Ok(Registered::Conflict),
            None => {
                expectations.insert(expectation.code_sha256.clone(), expectation.clone());
                Ok(Registered::Fresh)
            }
        }
    }
}

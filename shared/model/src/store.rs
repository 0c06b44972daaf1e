//! Where events are kept.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    Claim, Course, CourseKey, Courses, Event, Expectation, Expectations, Proofs, Registered, Retention, StoredEvent,
    Timestamp, Unavailable, Written,
};

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The event was new and is kept now.
    Fresh,
    /// The event was there already, and nothing changed.
    Duplicate,
    /// The event is kept elsewhere, as durably, and will be inserted from there.
    Spilled,
}

/// A store refuses, or does not answer in time. What was to be kept may have been: keeping it again is safe.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps each event once. Whether it is news is decided later: see [`Course`].
pub trait EventStore: Send + Sync {
    /// Keeps the event unless it is there already. Of several inserts of one event at the same instant, one is fresh.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn insert(&self, event: &Event) -> impl Future<Output = Result<Inserted, StoreError>> + Send;
}

/// A store in memory, for tests.
#[derive(Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, StoredEvent>>);

impl MemoryStore {
    /// All that is kept, ordered by event id.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl EventStore for MemoryStore {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        let stored = StoredEvent::new(event, Retention::default());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.contains_key(&stored.id) {
            return Ok(Inserted::Duplicate);
        }
        kept.insert(stored.id.clone(), stored);
        Ok(Inserted::Fresh)
    }
}

/// Courses and proofs in memory, for tests.
#[derive(Default)]
pub struct MemoryCourses {
    courses: Mutex<BTreeMap<CourseKey, Course>>,
    claims: Mutex<BTreeMap<String, Claim>>,
}

impl MemoryCourses {
    /// All courses that are kept.
    #[must_use]
    pub fn all(&self) -> BTreeMap<CourseKey, Course> {
        self.courses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The claim of each proof, by the proof's id.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<String, Claim> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Proofs for MemoryCourses {
    async fn claim(&self, claim: &Claim) -> Result<Claim, StoreError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(claims.entry(claim.proof.clone()).or_insert_with(|| claim.clone()).clone())
    }
}

impl Courses for MemoryCourses {
    async fn read(&self, keys: &[CourseKey]) -> Result<Vec<Course>, StoreError> {
        let courses = self.courses.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.iter().map(|key| courses.get(key).cloned().unwrap_or_default()).collect())
    }

    async fn write(&self, key: &CourseKey, course: &Course) -> Result<Written, StoreError> {
        let mut courses = self.courses.lock().unwrap_or_else(PoisonError::into_inner);
        if courses.get(key).map_or(0, |kept| kept.version) != course.version {
            return Ok(Written::Overtaken);
        }
        courses.insert(key.clone(), Course { version: course.version + 1, ..course.clone() });
        Ok(Written::Kept)
    }

    async fn of_verification(&self, provider: &str, subject: &str) -> Result<Vec<(String, Course)>, StoreError> {
        let is_of = |key: &CourseKey| key.provider == provider && key.subject == subject;
        let courses = self.all().into_iter().filter(|(key, _)| is_of(key));
        Ok(courses.map(|(key, course)| (key.track, course)).collect())
    }
}

/// Expectations in memory, for tests.
#[derive(Default)]
pub struct MemoryExpectations(Mutex<BTreeMap<String, Expectation>>);

impl Expectations for MemoryExpectations {
    async fn find(&self, code_sha256: &str) -> Result<Option<Expectation>, Unavailable> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(code_sha256).cloned())
    }

    async fn register(&self, expectation: &Expectation, now: Timestamp) -> Result<Registered, StoreError> {
        let mut expectations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match expectations.get(&expectation.code_sha256) {
            Some(known) if known.counts_at(now) => Ok(Registered::beside(known.clone(), expectation)),
            _ => {
                expectations.insert(expectation.code_sha256.clone(), expectation.clone());
                Ok(Registered::Fresh)
            }
        }
    }
}

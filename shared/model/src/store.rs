//! Where events are stored.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    Announced, Announcement, Claim, Course, CourseKey, Courses, Due, DueChange, Dues, Erasure, Erasures, Event,
    Expectation, Expectations, Proofs, Registered, Retention, StoredEvent, Timestamp, Unavailable, Written,
};

/// The result of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The event was new and is now stored.
    Fresh,
    /// The event was already stored, and nothing changed.
    Duplicate,
    /// The event is stored elsewhere, as durably, and will be inserted from there.
    Spilled,
}

/// A store refuses, or does not answer in time. The write may have happened: repeating it is safe.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Stores each event once. The publisher decides later whether to publish it: see [`Course`].
pub trait EventStore: Send + Sync {
    /// Stores the event unless it is there already. Of several inserts of one event at the same
    /// instant, one is fresh.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn insert(&self, event: &Event) -> impl Future<Output = Result<Inserted, StoreError>> + Send;
}

/// Events that are no callbacks of their own: this system records them itself, or reads one again.
pub trait Events: Send + Sync {
    /// Keeps an event unless it is there already.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn record(&self, event: StoredEvent) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the event with this subject and id, with its whole body.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn find(&self, subject: &str, id: &str) -> impl Future<Output = Result<Option<StoredEvent>, StoreError>> + Send;
}

impl<E: Events> Events for Arc<E> {
    async fn record(&self, event: StoredEvent) -> Result<(), StoreError> {
        (**self).record(event).await
    }

    async fn find(&self, subject: &str, id: &str) -> Result<Option<StoredEvent>, StoreError> {
        (**self).find(subject, id).await
    }
}

/// A store in memory, for tests.
#[derive(Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, StoredEvent>>);

impl MemoryStore {
    /// All stored events, ordered by event id.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn keep(&self, event: StoredEvent) -> Inserted {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(event.id.clone()) {
            Entry::Occupied(_) => Inserted::Duplicate,
            Entry::Vacant(place) => {
                place.insert(event);
                Inserted::Fresh
            }
        }
    }
}

impl EventStore for MemoryStore {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        Ok(self.keep(StoredEvent::new(event, Retention::default())))
    }
}

impl Events for MemoryStore {
    async fn record(&self, event: StoredEvent) -> Result<(), StoreError> {
        self.keep(event);
        Ok(())
    }

    async fn find(&self, subject: &str, id: &str) -> Result<Option<StoredEvent>, StoreError> {
        Ok(self.events().into_iter().find(|event| event.subject == subject && event.id == id))
    }
}

/// Courses and proofs in memory, for tests.
#[derive(Default)]
pub struct MemoryCourses {
    courses: Mutex<BTreeMap<CourseKey, Course>>,
    dues: Mutex<BTreeMap<CourseKey, Due>>,
    claims: Mutex<BTreeMap<String, Claim>>,
    /// The keys of the verifications that are erased.
    erasures: Mutex<BTreeSet<String>>,
    /// The ids of the events that were erased.
    erased: Mutex<BTreeSet<String>>,
}

impl MemoryCourses {
    /// All stored courses.
    #[must_use]
    pub fn all(&self) -> BTreeMap<CourseKey, Course> {
        self.courses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The claim of each proof, by the proof's id.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<String, Claim> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a verification on the list of erased ones.
    pub fn list_as_erased(&self, provider: &str, subject: &str) {
        let mut erasures = self.erasures.lock().unwrap_or_else(PoisonError::into_inner);
        erasures.insert(Erasure::key_of(provider, subject));
    }

    /// The ids of the stored events that were erased.
    #[must_use]
    pub fn erased(&self) -> BTreeSet<String> {
        self.erased.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Erasures for MemoryCourses {
    async fn read_with_erasures(&self, keys: &[CourseKey]) -> Result<Vec<(Course, bool)>, StoreError> {
        let courses = self.read(keys).await?;
        let erasures = self.erasures.lock().unwrap_or_else(PoisonError::into_inner);
        let is_erased = |key: &CourseKey| erasures.contains(&Erasure::key_of(&key.provider, &key.subject));
        Ok(courses.into_iter().zip(keys.iter().map(is_erased)).collect())
    }

    async fn erase(&self, event: &StoredEvent, _now: Timestamp) -> Result<(), StoreError> {
        self.erased.lock().unwrap_or_else(PoisonError::into_inner).insert(event.id.clone());
        Ok(())
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
        let kept = Course { version: course.version + 1, due: DueChange::Keep, ..course.clone() };
        courses.insert(key.clone(), kept);
        let mut dues = self.dues.lock().unwrap_or_else(PoisonError::into_inner);
        let due = |time| Due { key: key.clone(), due_at: time, ask_at: time, asks: 0 };
        match course.due {
            DueChange::Keep => {}
            DueChange::Set(time) => {
                dues.entry(key.clone()).or_insert_with(|| due(time));
            }
            DueChange::Reset(time) => {
                dues.insert(key.clone(), due(time));
            }
            DueChange::Clear => {
                dues.remove(key);
            }
        }
        Ok(Written::Kept)
    }

    async fn of_verification(&self, provider: &str, subject: &str) -> Result<Vec<(String, Course)>, StoreError> {
        let is_of = |key: &CourseKey| key.provider == provider && key.subject == subject;
        let courses = self.all().into_iter().filter(|(key, _)| is_of(key));
        Ok(courses.map(|(key, course)| (key.track, course)).collect())
    }
}

impl Dues for MemoryCourses {
    async fn due(&self, shard: u8, now: Timestamp, limit: usize) -> Result<Vec<CourseKey>, StoreError> {
        // All are in one shard.
        let dues = self.dues.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due: Vec<&Due> = dues.values().filter(|due| due.ask_at <= now && shard == 0).collect();
        due.sort_by_key(|due| due.ask_at);
        Ok(due.into_iter().take(limit).map(|due| due.key.clone()).collect())
    }

    async fn read_due(&self, key: &CourseKey) -> Result<Option<(Due, Course)>, StoreError> {
        let due = self.dues.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let course = self.all().remove(key).unwrap_or_default();
        Ok(due.map(|due| (due, course)))
    }

    async fn move_on(&self, due: &Due, next: Option<&Due>) -> Result<bool, StoreError> {
        let mut dues = self.dues.lock().unwrap_or_else(PoisonError::into_inner);
        if dues.get(&due.key) != Some(due) {
            return Ok(false);
        }
        match next {
            Some(next) => dues.insert(due.key.clone(), next.clone()),
            None => dues.remove(&due.key),
        };
        Ok(true)
    }
}

/// Expectations in memory, for tests.
#[derive(Default)]
pub struct MemoryExpectations {
    of_codes: Mutex<BTreeMap<String, Expectation>>,
    of_tracks: Mutex<BTreeMap<String, Announcement>>,
}

impl Expectations for MemoryExpectations {
    async fn find(&self, code_sha256: &str) -> Result<Option<Expectation>, Unavailable> {
        Ok(self.of_codes.lock().unwrap_or_else(PoisonError::into_inner).get(code_sha256).cloned())
    }

    async fn register(&self, expectation: &Expectation, now: Timestamp) -> Result<Registered, StoreError> {
        let mut expectations = self.of_codes.lock().unwrap_or_else(PoisonError::into_inner);
        match expectations.get(&expectation.code_sha256) {
            Some(known) if known.counts_at(now) => Ok(Registered::beside(known.clone(), expectation)),
            _ => {
                expectations.insert(expectation.code_sha256.clone(), expectation.clone());
                Ok(Registered::Fresh)
            }
        }
    }

    async fn announce(&self, announcement: &Announcement, now: Timestamp) -> Result<Announced, StoreError> {
        let mut announcements = self.of_tracks.lock().unwrap_or_else(PoisonError::into_inner);
        match announcements.get(&announcement.key) {
            Some(known) if known.expires_at >= now.as_second() => Ok(Announced::beside(known, announcement)),
            _ => {
                announcements.insert(announcement.key.clone(), announcement.clone());
                Ok(Announced::Fresh)
            }
        }
    }
}

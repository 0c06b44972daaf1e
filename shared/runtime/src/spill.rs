//! The second durable store: an event that the table does not accept is spilled into a queue, and
//! drained when the table accepts it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use model::{Erasure, Event, EventStore, Inserted, Part, Retention, StoreError, StoredEvent, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    DynamoErasures, Error, InternalQueue,
    start::chain,
    store::{DynamoStore, failed},
};

/// A spilled event or part: the item for the table. Its body is beside it, in base64, because JSON
/// has no bytes.
#[derive(Serialize, Deserialize)]
pub struct Spilled {
    item: Item,
    body: String,
    /// The [key](Erasure::key_of) of its verification on the list of erased ones, because a part
    /// does not name its verification. Items that an older version spilled do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verification: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Item {
    Event(Box<StoredEvent>),
    /// A part of a body that is too large for one item, and for one message.
    Part(Part),
}

impl Spilled {
    /// The messages of an event: the parts of its body if it is large, and the event last.
    fn from_event(event: &Event, retention: Retention) -> Vec<Self> {
        let (mut stored, parts) = StoredEvent::new(event, retention).into_items();
        let verification = Some(Erasure::key_of(&stored.provider, &stored.subject));
        let parts = parts.into_iter().map(|mut part| {
            let body = BASE64.encode(std::mem::take(&mut part.body));
            Self { item: Item::Part(part), body, verification: verification.clone() }
        });
        let body = BASE64.encode(std::mem::take(&mut stored.body));
        let event = Self { item: Item::Event(Box::new(stored)), body, verification: verification.clone() };
        parts.chain([event]).collect()
    }

    /// Puts a spilled item into the table, marked as drained at this time. Repeating it changes
    /// nothing.
    ///
    /// # Errors
    /// If the table still does not accept it, or it is not a spilled item.
    pub async fn drain(self, store: &DynamoStore, now: Timestamp) -> Result<Inserted, StoreError> {
        let body = BASE64.decode(self.body).map_err(failed)?;
        match self.item {
            Item::Event(event) => store.put_event(StoredEvent { body, drained_at: Some(now), ..*event }).await,
            Item::Part(part) => store.put_part(Part { body, ..part }).await.map(|()| Inserted::Fresh),
        }
    }

    /// Puts what stays of it into the table, because its verification is erased. Of a part, nothing
    /// stays. Repeating it changes nothing.
    ///
    /// # Errors
    /// If the table still does not accept it.
    pub async fn drain_erased(
        self,
        store: &DynamoStore,
        erasures: &DynamoErasures,
        now: Timestamp,
    ) -> Result<Inserted, StoreError> {
        let Item::Event(event) = self.item else { return Ok(Inserted::Duplicate) };
        // The table may have it already, and parts of its body.
        erasures.erase(&event, now).await?;
        store.put_event(StoredEvent { drained_at: Some(now), ..event.erased(now) }).await
    }

    /// The [key](Erasure::key_of) of its verification on the list of erased ones, if that is known.
    #[must_use]
    pub fn erasure_key(&self) -> Option<String> {
        let of_event = || match &self.item {
            Item::Event(event) => Some(Erasure::key_of(&event.provider, &event.subject)),
            Item::Part(_) => None,
        };
        self.verification.clone().or_else(of_event)
    }

    /// The id of its event.
    #[must_use]
    pub fn id_of_whole(&self) -> &str {
        match &self.item {
            Item::Event(event) => &event.id,
            Item::Part(part) => part.key.split_once('#').map_or(&part.key, |(id, _)| id),
        }
    }

    /// The id of its event, if it is not a part of one.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        match &self.item {
            Item::Event(event) => Some(&event.id),
            Item::Part(_) => None,
        }
    }
}

/// A queue for spilled items.
pub trait SpillQueue: Send + Sync {
    /// Stores this.
    ///
    /// # Errors
    /// If the queue does not confirm it. Spilling it again is safe.
    fn spill(&self, spilled: &Spilled) -> impl Future<Output = Result<(), Error>> + Send;
}

impl SpillQueue for InternalQueue {
    async fn spill(&self, spilled: &Spilled) -> Result<(), Error> {
        self.send(spilled).await
    }
}

/// A store with a queue behind it. An event that the store does not accept is spilled. Only if that
/// fails too, inserting fails.
#[derive(Debug)]
pub struct SpillingStore<S = DynamoStore, Q = InternalQueue> {
    store: S,
    queue: Q,
    retention: Retention,
    patience: Duration,
}

impl<S, Q> SpillingStore<S, Q> {
    /// This store, with this queue behind it and this retention. An event that the store does not
    /// accept within `patience` is spilled.
    pub fn new(store: S, queue: Q, retention: Retention, patience: Duration) -> Self {
        Self { store, queue, retention, patience }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not done within {} ms", .0.as_millis())]
struct TooSlow(Duration);

impl<S: EventStore, Q: SpillQueue> EventStore for SpillingStore<S, Q> {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        // Each call has a limit of its own, but a large body takes several.
        let inserted = tokio::time::timeout(self.patience, self.store.insert(event)).await;
        let failure = match inserted.unwrap_or_else(|_| Err(failed(TooSlow(self.patience)))) {
            Ok(inserted) => return Ok(inserted),
            Err(failure) => failure,
        };
        let id = event.id().as_str();
        warn!(event.id = id, error = chain(&failure), "the table did not take an event: spilling it");
        // The table may have stored it already. Draining it then changes nothing, because its id is
        // the same. The event goes last: without it, the parts of its body are unused.
        for spilled in Spilled::from_event(event, self.retention) {
            self.queue.spill(&spilled).await.map_err(StoreError)?;
        }
        Ok(Inserted::Spilled)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use model::{MemoryStore, Outcome, Request, SecretPair, Timestamp};

    use super::*;

    struct Refusing;

    impl EventStore for Refusing {
        async fn insert(&self, _event: &Event) -> Result<Inserted, StoreError> {
            Err(StoreError("the table is gone".into()))
        }
    }

    /// Keeps messages as SQS would, the first few of them at least.
    struct Queue {
        takes: usize,
        messages: Mutex<Vec<String>>,
    }

    impl SpillQueue for Queue {
        async fn spill(&self, spilled: &Spilled) -> Result<(), Error> {
            let mut messages = self.messages.lock().unwrap();
            if messages.len() == self.takes {
                return Err("the queue is gone".into());
            }
            messages.push(serde_json::to_string(spilled)?);
            Ok(())
        }
    }

    const THING: model::Kind<model::NoDetails> =
        model::Kind::new("thing", model::Track::new("thing", model::Policy::Reopens), &[Outcome::Approved]);

    /// A provider that takes everything for an approval.
    struct Anything(SecretPair);

    impl model::Provider for Anything {
        const NAME: model::ProviderName = model::ProviderName::new("anything");
        const SOURCE: &'static str = "/callbacks/anything";
        const ACKNOWLEDGEMENT: &'static str = "{}";
        const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);
        const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

        async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<model::Verified, model::AuthError> {
            model::shared_secret(request, "authorization", Ok, &self.0, now).await
        }

        fn parse(verified: &model::Verified) -> Result<model::Parsed, model::Unrecognized> {
            let subject = model::Subject::new("subject").map_err(|_| model::Unrecognized::missing("subject"))?;
            let identity = model::Identity::of_bytes(verified.body());
            Ok(model::Parsed::new(&THING, subject, identity, Outcome::Approved, &model::NoDetails {}))
        }
    }

    /// What comes of a body of this size where the store is as given, and the queue takes so many
    /// messages.
    async fn receive(store: impl EventStore, takes: usize, bytes: usize) -> (Option<Inserted>, Vec<String>) {
        let queue = Queue { takes, messages: Mutex::default() };
        let store = SpillingStore::new(store, queue, Retention::default(), Duration::from_secs(1));
        let provider = Anything(SecretPair::new("secret", None).unwrap());
        let request = Request::new(vec![b'x'; bytes]).with_header("authorization", "secret");
        let received = model::receive(&provider, &store, &request, Timestamp::UNIX_EPOCH).await;
        (received.ok().map(|receipt| receipt.inserted), store.queue.messages.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_the_store_takes_is_not_spilled() {
        assert_eq!(receive(MemoryStore::default(), 9, 10).await, (Some(Inserted::Fresh), vec![]));
    }

    #[tokio::test]
    async fn what_the_store_refuses_is_spilled_whole() {
        let (inserted, messages) = receive(Refusing, 9, 10).await;
        assert_eq!((inserted, messages.len()), (Some(Inserted::Spilled), 1));
        let spilled: Spilled = serde_json::from_str(&messages[0]).unwrap();
        assert_eq!(BASE64.decode(spilled.body).unwrap(), [b'x'; 10]);
    }

    #[tokio::test]
    async fn a_large_body_is_spilled_in_messages_that_sqs_takes_and_the_event_last() {
        let (inserted, messages) = receive(Refusing, 99, 3 * 1024 * 1024).await;
        let parts = (3 * 1024 * 1024) / Part::BYTES;
        assert_eq!((inserted, messages.len()), (Some(Inserted::Spilled), parts + 1));
        assert!(messages.iter().all(|message| message.len() < 1024 * 1024));
        let spilled: Vec<Spilled> = messages.iter().map(|message| serde_json::from_str(message).unwrap()).collect();
        let keys: Vec<_> = spilled.iter().map(Spilled::erasure_key).collect();
        assert!(keys.iter().all(|key| *key == Some(Erasure::key_of("anything", "subject"))), "{keys:?}");
        let whole = spilled.last().unwrap().event_id().unwrap();
        assert!(spilled.iter().all(|spilled| spilled.id_of_whole() == whole));
        let events: Vec<bool> = spilled.iter().map(|spilled| spilled.event_id().is_some()).collect();
        assert!(events[parts] && !events[..parts].contains(&true));
    }

    #[tokio::test]
    async fn what_neither_takes_is_not_acknowledged() {
        assert_eq!(receive(Refusing, 0, 10).await, (None, vec![]));
        assert_eq!(receive(Refusing, 5, 3 * 1024 * 1024).await.0, None);
    }
}

//! The item in the events table. Its layout is a contract: other services may read it.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    Assurance, CourseKey, Details, Event, EventId, Identity, Kind, NoDetails, Origin, Outcome, Policy, Proof, Provider,
    Timestamp, Verified,
};

/// An event as the events table holds it. Each field is an attribute of the same name.
///
/// `pk` and `sk` are the key. `day` and `received_at` are the key of the index `by-day`, which
/// lists events by time. `expires_at` is the table's TTL attribute.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Partition key (S): the subject.
    #[serde(rename = "pk")]
    pub subject: String,
    /// Sort key (S): the event's id, 64 hexadecimal digits.
    #[serde(rename = "sk")]
    pub id: String,
    /// The provider (S).
    pub provider: String,
    /// The route of the callback (S), such as `/callbacks/verifyvasp`.
    pub source: String,
    /// Provider and kind (S), such as `verifyvasp.tx-report`.
    pub kind: String,
    /// Its track (S), such as `process-status` or `issuance/2`.
    pub track: String,
    /// What a second final verdict on the track means (S); absent if it contradicts the first.
    #[serde(default, skip_serializing_if = "Policy::is_default")]
    pub policy: Policy,
    /// The recipient of a delivery (S, 32 hexadecimal digits of a digest); absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The verdict (S).
    pub outcome: Outcome,
    /// Whether the verdict is final (BOOL); absent if it is not.
    #[serde(rename = "final", default, skip_serializing_if = "is_false")]
    pub is_final: bool,
    /// The provider's codes for the outcome (L of S).
    pub reasons: Vec<String>,
    /// Why the callback was not understood (S); absent if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrecognized: Option<String>,
    /// How it was authenticated (S).
    pub assurance: Assurance,
    /// The provider's own time (S, RFC 3339); absent if it gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// When the callback was received (S, RFC 3339, UTC, always with milliseconds, so that the
    /// texts sort like the times).
    #[serde(serialize_with = "milliseconds")]
    pub received_at: Timestamp,
    /// When the verdict is due, or checked again (S, as `received_at`); absent if it has no due
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "milliseconds_if_any")]
    pub due_at: Option<Timestamp>,
    /// Whether the provider has a verdict that its callback does not contain (BOOL); absent if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_verdict_elsewhere: bool,
    /// When the drain moved it from the spill queue into the table (S, as `received_at`); absent if
    /// it was not spilled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_at: Option<Timestamp>,
    /// The id of the event that this one replaces after a second reading (S); absent if there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Its trace (S, a W3C traceparent); absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// References and codes beside the verdict (M).
    pub details: Details,
    /// Evidence from authentication, to verify it again (M); absent if there is none.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub evidence: Details,
    /// The proofs that the verdict rests on (L of M); absent if there are none. See [`Proof`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Proof>,
    /// The body as received (B). Empty if it is in parts.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// The number of [parts](Part) of a body that is too large for the item (N); absent if it is
    /// not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u16>,
    /// The day of `received_at` and a shard of it (S), such as `2026-01-31#5`.
    pub day: String,
    /// When DynamoDB may delete the item (N, seconds since 1970).
    pub expires_at: i64,
    /// Whether it may hold a password or a link, so that it expires soon (BOOL); absent if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub perishable: bool,
    /// When its personal data was erased (S, as `received_at`); absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "milliseconds_if_any")]
    pub erased_at: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

/// A part of a body that is too large for one item. It has no `kind`, unlike an event.
///
/// Parts are put before their event. Each has a partition of its own, because a body of 3 MB at
/// once is more than one partition accepts.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Partition key (S): the event's id, `#` and the number in three digits, from 000.
    #[serde(rename = "pk")]
    pub key: String,
    /// Sort key (S): always `part`.
    #[serde(rename = "sk")]
    pub sort_key: String,
    /// The bytes (B).
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// When DynamoDB may delete the item, as its event.
    pub expires_at: i64,
}

impl Part {
    /// How much of a body fits into one item of 400 KB, with the other attributes.
    pub const BYTES: usize = 256 * 1024;

    /// The sort key of every part.
    pub const SORT_KEY: &str = "part";

    /// The partition key of an event's part with this number.
    #[must_use]
    pub fn key(event_id: &str, number: u16) -> String {
        format!("{event_id}#{number:03}")
    }
}

/// How long events are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// For most events.
    pub events: SignedDuration,
    /// For those that may hold a password or a link.
    pub perishables: SignedDuration,
}

/// A year, and an hour for perishable events.
impl Default for Retention {
    fn default() -> Self {
        Self { events: SignedDuration::from_hours(365 * 24), perishables: SignedDuration::from_hours(1) }
    }
}

impl StoredEvent {
    /// The number of partitions of a day in the index, so that a busy day does not exceed one
    /// partition's limit.
    pub const SHARDS_PER_DAY: u8 = 8;

    /// The item of an event with this retention.
    #[must_use]
    pub fn new(event: &Event, retention: Retention) -> Self {
        let retention = if event.perishable { retention.perishables } else { retention.events };
        let id = event.id.as_str().to_owned();
        let day = day_of(&id, event.received_at);
        Self {
            subject: event.subject.as_str().to_owned(),
            id,
            provider: event.provider.as_str().to_owned(),
            source: event.source.to_owned(),
            kind: event.kind.clone(),
            track: event.track.clone(),
            policy: event.policy,
            recipient: event.recipient.map(|recipient| recipient.short()),
            outcome: event.outcome,
            is_final: event.is_final,
            reasons: event.reasons.clone(),
            unrecognized: event.unrecognized.clone(),
            assurance: event.assurance,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            due_at: event.due_at,
            has_verdict_elsewhere: event.has_verdict_elsewhere,
            drained_at: None,
            replaces: None,
            traceparent: event.traceparent.clone(),
            details: event.details.clone(),
            evidence: event.evidence.clone(),
            proofs: event.proofs.clone(),
            body: event.body.to_vec(),
            parts: None,
            day,
            expires_at: event.received_at.as_second().saturating_add(retention.as_secs()),
            perishable: event.perishable,
            erased_at: None,
        }
    }

    /// Parses an unrecognized event again: the result is another event with the same time of
    /// receipt, which replaces the first one in its course. It is a new event in the store, beside
    /// the first one. Needs the whole body.
    ///
    /// # Errors
    /// With the reason, if it is still not understood.
    pub fn reread<P: Provider>(&self, retention: Retention) -> Result<Self, String> {
        let verified = Verified::once(self);
        let event =
            Event::new::<P>(&verified, P::parse(&verified), self.received_at).traced_by(self.traceparent.clone());
        match &event.unrecognized {
            Some(reason) => Err(reason.clone()),
            None => {
                let replaces = Some(self.id.clone()).filter(|id| *id != event.id.as_str());
                Ok(Self { replaces, ..Self::new(&event, retention) })
            }
        }
    }

    /// The event after its evidence was checked again with this result: another event with the same
    /// time of receipt, which replaces the first one in its course. None if nothing changes. Needs
    /// the whole body.
    #[must_use]
    pub fn rechecked<P: Provider>(
        &self,
        evidence: &str,
        value: serde_json::Value,
        retention: Retention,
    ) -> Option<Self> {
        let verified = Verified::once(self).with_evidence(evidence, value);
        let event =
            Event::new::<P>(&verified, P::parse(&verified), self.received_at).traced_by(self.traceparent.clone());
        let replaces = Some(self.id.clone()).filter(|id| *id != event.id.as_str())?;
        Some(Self { replaces: Some(replaces), ..Self::new(&event, retention) })
    }

    /// The record of an announcement: a verdict is expected on the track from this time on, and due
    /// at that time.
    #[must_use]
    pub fn announced(key: &CourseKey, at: Timestamp, due_at: Option<Timestamp>, retention: Retention) -> Self {
        Self { due_at, ..Self::internal(&Kind::ANNOUNCED, key, at, retention) }
    }

    /// The record that no verdict arrived until this time. Two reconcilers that record the same
    /// time make one event.
    #[must_use]
    pub fn overdue(key: &CourseKey, due_at: Timestamp, retention: Retention) -> Self {
        Self::internal(&Kind::OVERDUE, key, due_at, retention)
    }

    fn internal(kind: &Kind<NoDetails>, key: &CourseKey, at: Timestamp, retention: Retention) -> Self {
        let CourseKey { provider, subject, track } = key;
        let content = Identity::of([provider.as_str(), kind.name(), subject, track].map(Some));
        let id = EventId::new(&content, at, &[]).as_str().to_owned();
        Self {
            day: day_of(&id, at),
            subject: subject.clone(),
            id,
            provider: provider.clone(),
            source: format!("/expectations/{provider}"),
            kind: format!("{provider}.{}", kind.name()),
            track: track.clone(),
            policy: kind.track().policy(),
            recipient: None,
            outcome: Outcome::None,
            is_final: false,
            reasons: Vec::new(),
            unrecognized: None,
            assurance: Assurance::Internal,
            occurred_at: None,
            received_at: at,
            due_at: None,
            has_verdict_elsewhere: false,
            drained_at: None,
            replaces: None,
            traceparent: None,
            details: Details::new(),
            evidence: Details::new(),
            proofs: Vec::new(),
            body: Vec::new(),
            parts: None,
            expires_at: at.as_second().saturating_add(retention.events.as_secs()),
            perishable: false,
            erased_at: None,
        }
    }

    /// The event's origin.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let is_overdue = || self.kind.strip_prefix(&self.provider).and_then(|kind| kind.strip_prefix('.'));
        match self.assurance {
            Assurance::Fetched => Origin::Fetched,
            Assurance::Internal if is_overdue() == Some(Kind::OVERDUE.name()) => Origin::Overdue,
            Assurance::Internal => Origin::Announced,
            _ => Origin::Callback,
        }
    }

    /// The item, and the parts of its body if that is too large for the item.
    #[must_use]
    pub fn into_items(mut self) -> (Self, Vec<Part>) {
        if self.body.len() <= Part::BYTES {
            return (self, Vec::new());
        }
        let body = std::mem::take(&mut self.body);
        let part = |(number, bytes): (u16, &[u8])| Part {
            key: Part::key(&self.id, number),
            sort_key: Part::SORT_KEY.to_owned(),
            body: bytes.to_vec(),
            expires_at: self.expires_at,
        };
        let parts: Vec<Part> = (0..).zip(body.chunks(Part::BYTES)).map(part).collect();
        self.parts = u16::try_from(parts.len()).ok();
        (self, parts)
    }

    /// The event with its body from these parts, in their order.
    #[must_use]
    pub fn with_parts(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.body = parts.into_iter().flat_map(|part| part.body).collect();
        self.parts = None;
        self
    }

    /// The digest of the content, 32 hexadecimal digits. See [`EventId::content_of`].
    #[must_use]
    pub fn content(&self) -> &str {
        EventId::content_of(&self.id)
    }

    /// Whether it is an instruction to deliver a password or a link, rather than a verdict.
    #[must_use]
    pub fn is_delivery(&self) -> bool {
        self.perishable && self.unrecognized.is_none()
    }
}

/// The day of an event, and a shard of it. The id is a hash, so any byte of it spreads evenly.
fn day_of(id: &str, received_at: Timestamp) -> String {
    let shard = id.bytes().last().unwrap_or_default() % StoredEvent::SHARDS_PER_DAY;
    format!("{}#{shard}", received_at.strftime("%Y-%m-%d"))
}

/// The same, if there is a time.
#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn milliseconds_if_any<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| format!("{time:.3}")).serialize(serializer)
}

/// A time with exactly three fractional digits.
pub(crate) fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// Shows what may be logged: not the body, not the subject.
impl std::fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredEvent")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("outcome", &self.outcome)
            .field("unrecognized", &self.unrecognized)
            .finish_non_exhaustive()
    }
}

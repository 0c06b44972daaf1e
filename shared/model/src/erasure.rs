//! Erasure: what stays of a verification whose personal data was deleted on request.
//!
//! Each erased verification is on a list in the expectations table, which no restore touches. So
//! restoring events and rows does not undo an erasure. The publisher, the drain and every command
//! that restores or publishes events read the list.
//!
//! docs/adr/0018 has the rules and the reasons for them.

use serde::{Deserialize, Serialize};

use crate::{
    Course, CourseKey, Details, Identity, Retention, StoreError, StoredEvent, Timestamp, authenticity::CODE_SHA256,
};

/// One erased verification on the list: an item of the expectations table with these attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Partition key (S): `erased/` and a digest of provider and subject. See
    /// [`key_of`](Self::key_of).
    #[serde(rename = "pk")]
    pub key: String,
    /// When it was erased (S, RFC 3339).
    pub erased_at: Timestamp,
    /// When no copy of its events can return any more (N, seconds since 1970): the table's TTL
    /// attribute.
    pub expires_at: i64,
}

impl Erasure {
    /// How many days DynamoDB keeps point-in-time backups, which may hold events until then.
    const BACKUP_DAYS: i64 = 35;

    /// The entry of a verification that is erased at this time. Its last event expires at
    /// `last_expiry`, in seconds since 1970.
    #[must_use]
    pub fn new(provider: &str, subject: &str, now: Timestamp, retention: Retention, last_expiry: i64) -> Self {
        let kept = now.as_second().saturating_add(retention.events.as_secs()).max(last_expiry);
        let expires_at = kept.saturating_add(Self::BACKUP_DAYS * 24 * 60 * 60);
        // As it is kept.
        let erased_at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        Self { key: Self::key_of(provider, subject), erased_at, expires_at }
    }

    /// The key of a verification's entry. No code's hash and no announcement begins like it,
    /// because no provider's name has a `/`.
    #[must_use]
    pub fn key_of(provider: &str, subject: &str) -> String {
        format!("erased/{}", Identity::of([Some("erased"), Some(provider), Some(subject)]).to_hex())
    }
}

impl StoredEvent {
    /// What stays of the event when its verification is erased: that it was received, when, and
    /// with which verdict.
    ///
    /// Removed are the body, its parts, the recipient and the evidence, and the details of an event
    /// that may hold a password or a link. Other details are references and codes. The hash of a
    /// wallet's code stays, because the claims of the event's proofs depend on it.
    #[must_use]
    pub fn erased(self, at: Timestamp) -> Self {
        let details = if self.perishable { Details::new() } else { self.details };
        let evidence = self.evidence.into_iter().filter(|(name, _)| name == CODE_SHA256).collect();
        // Every field by name, so that a new field needs a decision.
        Self {
            subject: self.subject,
            id: self.id,
            provider: self.provider,
            source: self.source,
            kind: self.kind,
            track: self.track,
            policy: self.policy,
            recipient: None,
            outcome: self.outcome,
            is_final: self.is_final,
            reasons: self.reasons,
            unrecognized: self.unrecognized,
            assurance: self.assurance,
            occurred_at: self.occurred_at,
            received_at: self.received_at,
            due_at: self.due_at,
            has_verdict_elsewhere: self.has_verdict_elsewhere,
            drained_at: self.drained_at,
            replaces: self.replaces,
            traceparent: self.traceparent,
            details,
            evidence,
            proofs: self.proofs,
            body: Vec::new(),
            parts: None,
            day: self.day,
            expires_at: self.expires_at,
            perishable: self.perishable,
            erased_at: Some(self.erased_at.unwrap_or(at)),
        }
    }

    /// Whether the event was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.erased_at.is_some()
    }
}

impl Course {
    /// Removes the recipients of deliveries, and no longer awaits a verdict.
    pub fn erase(&mut self) {
        self.decisions.iter_mut().for_each(|decision| decision.recipient = None);
        self.due = crate::DueChange::Clear;
    }
}

/// Knows which verifications are erased, and erases their events again.
pub trait Erasures: Send + Sync {
    /// The courses with these keys, in order, and whether their verifications are erased. Reads
    /// consistently, with one call.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn read_with_erasures(
        &self,
        keys: &[CourseKey],
    ) -> impl Future<Output = Result<Vec<(Course, bool)>, StoreError>> + Send;

    /// Overwrites a stored event and the parts of its body with what stays. Changes nothing that is
    /// not stored.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time. Erasing it again is safe.
    fn erase(&self, event: &StoredEvent, now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Proof;

    fn event(perishable: bool) -> StoredEvent {
        let mut event: StoredEvent = serde_json::from_value(json!({
            "pk": "subject", "sk": "0a1b", "provider": "example", "source": "/callbacks/example", "kind": "example.kind",
            "track": "kind", "policy": "reopens", "recipient": "00ff", "outcome": "approved", "final": true,
            "reasons": ["CODE"], "assurance": "one_time_code", "received_at": "1970-01-01T00:00:00Z",
            "details": { "reference": "r" }, "evidence": { "code_sha256": "c0de", "tokens": { "name": "Erika" } },
            "body": [1, 2, 3], "parts": 2, "day": "1970-01-01#0", "expires_at": 200, "perishable": perishable,
        }))
        .unwrap();
        event.proofs = vec![Proof::new("token", Identity::of_bytes(b"token"), ["credentials", "1"])];
        event
    }

    #[test]
    fn what_stays_of_an_event_is_that_it_was_received() {
        let at = Timestamp::from_second(100).unwrap();
        for perishable in [false, true] {
            let before = serde_json::to_value(event(perishable)).unwrap();
            let mut after = serde_json::to_value(event(perishable).erased(at)).unwrap();
            let details = if perishable { json!({}) } else { before["details"].clone() };
            assert_eq!(after["details"], details);
            assert_eq!(
                (&after["body"], &after["evidence"], &after["erased_at"]),
                (&json!([]), &json!({ "code_sha256": "c0de" }), &json!("1970-01-01T00:01:40.000Z"))
            );
            let (after, gone) = (after.as_object_mut().unwrap(), ["recipient", "parts"]);
            assert!(gone.iter().all(|name| !after.contains_key(*name)), "{after:?}");
            for (name, value) in before.as_object().unwrap() {
                let is_kept =
                    !["details", "evidence", "body"].contains(&name.as_str()) && !gone.contains(&name.as_str());
                assert!(!is_kept || after.get(name) == Some(value), "{name}");
            }
        }
    }

    #[test]
    fn erasing_again_changes_nothing() {
        let once = event(true).erased(Timestamp::from_second(100).unwrap());
        assert!(once.clone().erased(Timestamp::from_second(101).unwrap()) == once);
    }

    #[test]
    fn the_proofs_of_an_erased_event_stand_for_what_they_stood_for() {
        let claims = |event: &StoredEvent| event.claims().collect::<Vec<_>>();
        assert_eq!(claims(&event(false).erased(Timestamp::UNIX_EPOCH)), claims(&event(false)));
    }

    #[test]
    fn an_entry_outlives_every_copy_of_the_events() {
        let (now, day) = (Timestamp::from_second(1_000).unwrap(), 24 * 60 * 60);
        let expires_at = |last| Erasure::new("a", "b", now, Retention::default(), last).expires_at;
        assert_eq!(expires_at(0), 1_000 + (365 + 35) * day);
        assert_eq!(expires_at(1_000 * day), (1_000 + 35) * day);
    }

    #[test]
    fn an_entry_is_of_one_verification_of_one_provider() {
        let keys = [("a", "b"), ("a", "c"), ("c", "b"), ("ab", ""), ("", "ab")].map(|(p, s)| Erasure::key_of(p, s));
        let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert!(keys.iter().all(|key| key.starts_with("erased/") && !key.contains('#')));
    }
}

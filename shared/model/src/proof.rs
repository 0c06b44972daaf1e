//! Proofs: what an approval rests on. Each proof counts for one thing only.
//!
//! A signed token proves that somebody presented a credential. Presented again, for another
//! template or under another code, it proves nothing. The receiver of one callback does not see the
//! others, so its event only names its proofs. The publisher claims each of them before it decides:
//! the first claim counts, and no later one changes it.
//!
//! docs/adr/0014 has the rules and the reasons for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Details, Identity, Outcome, StoreError, StoredEvent, authenticity::code_sha256_of};

/// Something that an approval rests on, such as a token. It counts for one detail of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Its kind (S), such as `token`.
    pub what: String,
    /// Its identity (S, 32 hexadecimal digits of a digest).
    pub id: String,
    /// The detail that rests on it (S, a [JSON pointer](https://www.rfc-editor.org/rfc/rfc6901)
    /// into `details`), such as `/credentials/1`.
    pub detail: String,
}

impl Proof {
    /// The proof of this kind with this identity. The detail at this path rests on it: an object
    /// with a `verdict`.
    #[must_use]
    pub fn new<const N: usize>(what: &'static str, identity: Identity, path: [&str; N]) -> Self {
        let id = identity.within(["proof", what]).short();
        let detail = path.map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).concat();
        Self { what: what.to_owned(), id, detail }
    }

    /// The reason not to trust the detail if the proof was used before.
    #[must_use]
    pub fn reused(&self) -> String {
        format!("{}_reused", self.what)
    }
}

/// What a proof counts for, and since which event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The proof's id.
    #[serde(skip)]
    pub proof: String,
    /// The proof's kind, such as `token`.
    #[serde(skip)]
    pub what: String,
    /// What it counts for: a digest of the provider, the verification, its track, its code and the
    /// detail.
    pub holder: String,
    /// The event that claimed it.
    pub event_id: String,
}

/// Stores claims: in the verifications table, beside the courses.
pub trait Proofs: Send + Sync {
    /// Claims a proof, unless it is claimed already. Returns the claim that counts: the first one.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time. The proof may have been claimed: claiming
    /// it again is safe.
    fn claim(&self, claim: &Claim) -> impl Future<Output = Result<Claim, StoreError>> + Send;
}

impl StoredEvent {
    /// The claims of the event: each of its proofs, for the detail that rests on it.
    pub fn claims(&self) -> impl Iterator<Item = Claim> + '_ {
        let code_sha256 = code_sha256_of(&self.evidence);
        self.proofs.iter().map(move |proof| {
            // With the code, so that a proof does not count under another code of the same
            // verification either.
            let holder = [Some(self.provider.as_str()), Some(&self.subject), Some(&self.track), code_sha256];
            let holder = Identity::of(holder.into_iter().chain([Some(proof.detail.as_str())]));
            Claim {
                proof: proof.id.clone(),
                what: proof.what.clone(),
                holder: holder.short(),
                event_id: self.id.clone(),
            }
        })
    }

    /// The callback's verdict if these of its proofs were used before. An approval needs all of
    /// them.
    #[must_use]
    pub(crate) fn outcome_without(&self, reused: &[u16]) -> Outcome {
        match self.outcome {
            Outcome::Approved if !reused.is_empty() => Outcome::Review,
            own => own,
        }
    }

    /// The codes for the verdict if these proofs were used before: one more for each detail that
    /// rests on one.
    #[must_use]
    pub fn reasons_without(&self, reused: &[u16]) -> Vec<String> {
        self.reasons.iter().cloned().chain(self.details_of(reused).into_values()).collect()
    }

    /// The details of the message if these proofs were used before: every detail that rests on one
    /// is untrusted.
    pub(crate) fn details_without(&self, reused: &[u16]) -> Details {
        let mut details = Value::Object(self.details.clone());
        for (detail, reason) in self.details_of(reused) {
            if let Some(detail) = details.pointer_mut(detail) {
                *detail = json!({ "verdict": "untrusted", "reason": reason });
            }
        }
        match details {
            Value::Object(details) => details,
            _ => Details::new(),
        }
    }

    /// The details that rest on these proofs, each with a reason not to trust it.
    fn details_of(&self, reused: &[u16]) -> BTreeMap<&str, String> {
        let mut details = BTreeMap::new();
        for proof in reused.iter().filter_map(|place| self.proofs.get(usize::from(*place))) {
            details.entry(proof.detail.as_str()).or_insert_with(|| proof.reused());
        }
        details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(subject: &str, track: &str, code: &str, proofs: &[Proof]) -> StoredEvent {
        serde_json::from_value(json!({
            "pk": subject, "sk": "0", "provider": "example", "source": "/callbacks/example", "kind": "example.kind",
            "track": track, "outcome": "approved", "final": true, "reasons": [], "assurance": "one_time_code",
            "received_at": "1970-01-01T00:00:00Z", "evidence": { "code_sha256": code }, "proofs": proofs,
            "details": { "credentials": { "a/b~c": { "verdict": "approved" }, "2": { "verdict": "approved" } } },
            "body": [], "day": "1970-01-01#0", "expires_at": 1,
        }))
        .unwrap()
    }

    fn proof(what: &'static str, which: &str, template: &str) -> Proof {
        Proof::new(what, Identity::of([Some(which)]), ["credentials", template])
    }

    #[test]
    fn proofs_of_two_kinds_are_two_proofs() {
        assert_ne!(proof("token", "a", "1").id, proof("verification_id", "a", "1").id);
        assert_ne!(proof("token", "a", "1").id, proof("token", "b", "1").id);
        assert_eq!(proof("token", "a", "1").id, proof("token", "a", "2").id);
    }

    #[test]
    fn a_claim_is_for_one_detail_of_one_verification_under_one_code() {
        let holder = |subject, track, code, template| {
            let event = event(subject, track, code, &[proof("token", "a", template)]);
            event.claims().next().unwrap().holder
        };
        let first = holder("s", "verification", "c", "1");
        assert_eq!(first, holder("s", "verification", "c", "1"));
        for other in [
            holder("t", "verification", "c", "1"),
            holder("s", "another", "c", "1"),
            holder("s", "verification", "d", "1"),
            holder("s", "verification", "c", "2"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn what_rests_on_a_reused_proof_is_untrusted_and_the_rest_stays() {
        let proofs = [proof("token", "a", "a/b~c"), proof("verification_id", "a", "a/b~c"), proof("token", "b", "2")];
        assert_eq!(proofs[0].detail, "/credentials/a~1b~0c");
        let event = event("s", "verification", "c", &proofs);
        assert_eq!((event.outcome_without(&[]), event.reasons_without(&[]).len()), (Outcome::Approved, 0));
        assert_eq!(event.details_without(&[]), event.details);

        assert_eq!(event.outcome_without(&[0, 1]), Outcome::Review);
        assert_eq!(event.reasons_without(&[0, 1]), ["token_reused"]);
        let untrusted = json!({ "verdict": "untrusted", "reason": "token_reused" });
        assert_eq!(
            Value::Object(event.details_without(&[0, 1])),
            json!({ "credentials": { "a/b~c": untrusted, "2": { "verdict": "approved" } } })
        );
        assert_eq!(event.reasons_without(&[1, 2]), ["token_reused", "verification_id_reused"]);
        let failed = StoredEvent { outcome: Outcome::Failed, ..event };
        assert_eq!(failed.outcome_without(&[0]), Outcome::Failed);
    }
}

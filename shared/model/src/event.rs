//! The event that a callback becomes.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Assurance, Kind, NoDetails, Part, Policy, Proof, Provider, ProviderName, Timestamp, Track, Verified};

/// The verdict of a callback, in the same words for every provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The verification succeeded.
    Approved,
    /// The verification was carried out and the answer is no.
    Rejected,
    /// A human has to decide.
    Review,
    /// The customer or an operator has to do something before there is an answer.
    ActionRequired,
    /// There is no answer yet.
    Pending,
    /// The verification could not be carried out to its end.
    Failed,
    /// The callback carries no verdict.
    None,
}

impl Outcome {
    /// The outcome's name in items, messages and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Review => "review",
            Self::ActionRequired => "action_required",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::None => "none",
        }
    }
}

/// The provider's reference of a verification: the unit of order, and the partition key in the
/// table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

/// A text that cannot be a [`Subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subject has 1 to {max} bytes", max = Subject::MAX_BYTES)]
pub struct InvalidSubject;

impl Subject {
    /// Half of DynamoDB's limit for a partition key. Every provider's references are far shorter.
    pub const MAX_BYTES: usize = 1024;

    /// A subject of this text.
    ///
    /// # Errors
    /// If it is empty or longer than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(reference: impl Into<String>) -> Result<Self, InvalidSubject> {
        let reference = reference.into();
        if reference.is_empty() || reference.len() > Self::MAX_BYTES {
            Err(InvalidSubject)
        } else {
            Ok(Self(reference))
        }
    }

    /// The reference's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidSubject;

    fn try_from(reference: String) -> Result<Self, Self::Error> {
        Self::new(reference)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// The id of one callback. The same callback has the same id each time that it is recorded,
/// directly or through the spill queue. A provider's repeat of it is another event with an id of
/// its own.
///
/// 64 lowercase hexadecimal digits: 32 of the [content](Self::content_of), 16 of the milliseconds
/// since 1970 when it was received, and 16 more of the content, or of the body if that is stored in
/// parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(String);

impl EventId {
    pub(crate) fn new(content: &Identity, received_at: Timestamp, body: &[u8]) -> Self {
        // Parts have the event's id in their keys. Two bodies with the same content must not share
        // them.
        let large = (body.len() > Part::BYTES).then(|| Identity::of_bytes(body));
        let rest = large.as_ref().map_or(&content.0[16..24], |body| &body.0[..8]);
        Self(hex(&[&content.0[..16], &received_at.as_millisecond().to_be_bytes(), rest].concat()))
    }

    /// The digest of the content, 32 digits: equal for two callbacks of one verification with the
    /// same content.
    #[must_use]
    pub fn content_of(id: &str) -> &str {
        id.get(..32).unwrap_or(id)
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A digest of a callback's content: equal for two callbacks of one provider, kind and subject with
/// the same content.
///
/// It must include everything that a consumer could act on, and nothing that differs between two
/// attempts to deliver the same callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity([u8; 32]);

impl Identity {
    /// The identity made of these fields, in this order. An absent field differs from an empty one.
    pub fn of<'a>(fields: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut digest = Fields::new();
        fields.into_iter().for_each(|field| digest.add(field));
        Self(digest.0.finalize().into())
    }

    /// The identity of a body: the same bytes have the same one.
    #[must_use]
    pub fn of_bytes(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// The identities of the beginning of a text and of all of it, made in one pass.
    #[must_use]
    pub fn of_beginning_and_whole(beginning: &str, rest: &str) -> (Self, Self) {
        let digest = Sha256::new_with_prefix(beginning);
        (Self(digest.clone().finalize().into()), Self(digest.chain_update(rest).finalize().into()))
    }

    /// The digest as text: 64 lowercase hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// The identity among those with other fields beside it.
    pub(crate) fn within<const N: usize>(&self, fields: [&str; N]) -> Self {
        let mut digest = Fields::new();
        fields.into_iter().for_each(|field| digest.add(Some(field)));
        digest.0.update(self.0);
        Self(digest.0.finalize().into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first half of the digest, as text: enough to tell contents apart, and short in a row.
    pub(crate) fn short(&self) -> String {
        hex(&self.0[..16])
    }
}

/// Hashes fields so that no two lists of fields give the same bytes.
struct Fields(Sha256);

impl Fields {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn add(&mut self, field: Option<&str>) {
        self.0.update([u8::from(field.is_some())]);
        if let Some(text) = field {
            self.0.update((text.len() as u64).to_be_bytes());
            self.0.update(text.as_bytes());
        }
    }
}

/// What a message has beside the verdict: references and codes, never personal data.
pub type Details = serde_json::Map<String, serde_json::Value>;

/// The result of a provider's parser.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The name of its [`Kind`].
    pub kind: &'static str,
    /// The provider's reference of the verification.
    pub subject: Subject,
    /// The digest by which it is compared with other callbacks.
    pub identity: Identity,
    /// The verdict.
    pub outcome: Outcome,
    /// The provider's codes for the outcome.
    pub reasons: Vec<String>,
    /// The provider's own time of the event, if it gives one.
    pub occurred_at: Option<Timestamp>,
    /// What else a message may have.
    pub details: Details,
    /// The track of the verdict. Usually one for each kind; see
    /// [`on_one_of_several`](Self::on_one_of_several).
    pub track: String,
    /// What a second final verdict on the track means.
    pub policy: Policy,
    /// Whether the provider's verdict is final.
    pub is_final: bool,
    /// Whether it is an instruction to deliver a password or a link rather than a verdict.
    pub delivery: bool,
    /// The recipient of the delivery, as a digest.
    pub recipient: Option<Identity>,
    /// The proofs that the verdict rests on. Each may count only once.
    pub proofs: Vec<Proof>,
    /// When a verdict that is not final is due, if the provider's usual time does not fit.
    pub due_after: Option<SignedDuration>,
    /// Whether the provider has a verdict that its callback does not contain.
    pub has_verdict_elsewhere: bool,
}

impl Parsed {
    /// A callback of this kind about this subject, without codes. Approved, rejected and failed are
    /// final.
    #[must_use]
    pub fn new<D: Serialize>(
        kind: &Kind<D>,
        subject: Subject,
        identity: Identity,
        outcome: Outcome,
        details: &D,
    ) -> Self {
        debug_assert!(kind.outcomes().contains(&outcome), "{} is not declared to be {outcome:?}", kind.name());
        Self {
            kind: kind.name(),
            subject,
            identity,
            outcome,
            reasons: Vec::new(),
            occurred_at: None,
            details: kind.details(details),
            track: kind.track().name().to_owned(),
            policy: kind.track().policy(),
            is_final: matches!(outcome, Outcome::Approved | Outcome::Rejected | Outcome::Failed),
            delivery: kind.is_delivery(),
            recipient: None,
            proofs: Vec::new(),
            due_after: None,
            has_verdict_elsewhere: false,
        }
    }

    /// The same, with a final verdict due after this time. See [`due`](crate::DueChange).
    #[must_use]
    pub fn due_after(self, time: SignedDuration) -> Self {
        Self { due_after: Some(time), ..self }
    }

    /// The same, with a verdict that only the provider has. If the provider can be asked, it is
    /// asked at once. If not, the verdict is due as usual.
    #[must_use]
    pub fn with_verdict_elsewhere(self) -> Self {
        Self { has_verdict_elsewhere: true, ..self }
    }

    /// The same, final or not.
    #[must_use]
    pub fn with_final(self, is_final: bool) -> Self {
        Self { is_final, ..self }
    }

    /// The same, on one of several tracks of its kind: the one with this name, such as a template's
    /// id.
    #[must_use]
    pub fn on_one_of_several(self, name: &str) -> Self {
        Self { track: format!("{}/{name}", self.track), ..self }
    }

    /// The same, to be delivered to this recipient. The subject makes the digest of a phone number
    /// hard to guess.
    #[must_use]
    pub fn to_recipient(self, recipient: &str) -> Self {
        let recipient = Identity::of([Some(self.subject.as_str()), Some(recipient)]);
        Self { recipient: Some(recipient), ..self }
    }

    /// The same, with these proofs of its details. The publisher trusts a detail only if no proof
    /// of it was used before.
    #[must_use]
    pub fn resting_on(self, proofs: Vec<Proof>) -> Self {
        Self { proofs, ..self }
    }

    /// The same, unless its details would make the item in the table too large. DynamoDB would
    /// always refuse it, so it is stored as unrecognized.
    fn within_bounds(self) -> Result<Self, Unrecognized> {
        match serde_json::to_vec(&(&self.details, &self.reasons, &self.proofs)) {
            Ok(json) if json.len() <= Self::MAX_BYTES_BESIDE_BODY => Ok(self),
            _ => {
                let unrecognized = Unrecognized::new("too_large:details");
                let unrecognized = unrecognized.about(Some(self.subject)).perishable_if(self.delivery);
                Err(Unrecognized { track: Some((self.track, self.policy)), ..unrecognized })
            }
        }
    }

    /// The largest size of details, reasons and proofs, as JSON. With a body of 256 KB and evidence
    /// of at most 64 KB, this leaves room in the 400 KB of an item.
    const MAX_BYTES_BESIDE_BODY: usize = 48 * 1024;

    /// The same, for these reasons.
    #[must_use]
    pub fn because(self, reasons: impl IntoIterator<Item = String>) -> Self {
        Self { reasons: reasons.into_iter().collect(), ..self }
    }
}

/// An authentic callback that was not understood. It is still stored and published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized: {reason}")]
pub struct Unrecognized {
    /// A code for the problem, such as `missing_field:status`. Quotes nothing from the callback.
    pub reason: String,
    /// Its verification, if that is clear.
    pub subject: Option<Subject>,
    /// The track that it would be on if it were understood, if that is clear.
    pub track: Option<(String, Policy)>,
    /// Whether it may hold a password or a link, so it must expire soon. The callback's type
    /// decides: a password can be under any field name.
    pub perishable: bool,
}

impl Unrecognized {
    /// The kind of every callback that was not understood.
    pub const KIND: Kind<NoDetails> =
        Kind::new("unrecognized", Track::new("unrecognized", Policy::Reopens), &[Outcome::None]);

    /// A callback that was not understood for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), subject: None, track: None, perishable: false }
    }

    /// A callback in which this field is missing or empty.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self::new(format!("missing_field:{field}"))
    }

    /// The same, of this verification.
    #[must_use]
    pub fn about(self, subject: Option<Subject>) -> Self {
        Self { subject, ..self }
    }

    /// The same, on the track of this kind.
    #[must_use]
    pub fn on_track_of<D>(self, kind: &Kind<D>) -> Self {
        Self { track: Some((kind.track().name().to_owned(), kind.track().policy())), ..self }
    }

    /// The same, on one of several tracks: the one with this name, such as a template's id.
    #[must_use]
    pub fn on_one_of_several(self, name: &str) -> Self {
        Self { track: self.track.map(|(track, policy)| (format!("{track}/{name}"), policy)), ..self }
    }

    /// The same, possibly with a password or a link in it.
    #[must_use]
    pub fn perishable_if(self, perishable: bool) -> Self {
        Self { perishable, ..self }
    }
}

/// An authentic callback, understood or not, as it will be stored and published.
#[derive(Clone)]
pub struct Event {
    pub(crate) id: EventId,
    pub(crate) track: String,
    pub(crate) policy: Policy,
    pub(crate) is_final: bool,
    pub(crate) recipient: Option<Identity>,
    pub(crate) proofs: Vec<Proof>,
    pub(crate) provider: ProviderName,
    pub(crate) source: &'static str,
    pub(crate) kind: String,
    pub(crate) subject: Subject,
    pub(crate) outcome: Outcome,
    pub(crate) reasons: Vec<String>,
    pub(crate) unrecognized: Option<String>,
    pub(crate) assurance: Assurance,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) received_at: Timestamp,
    pub(crate) details: Details,
    pub(crate) body: bytes::Bytes,
    pub(crate) evidence: Details,
    pub(crate) perishable: bool,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) has_verdict_elsewhere: bool,
    pub(crate) traceparent: Option<String>,
}

impl Event {
    /// The event of a verified callback. An unrecognized callback becomes an event too.
    #[must_use]
    pub fn new<P: Provider>(verified: &Verified, parsed: Result<Parsed, Unrecognized>, received_at: Timestamp) -> Self {
        let (parsed, unrecognized, perishable) = match parsed.and_then(Parsed::within_bounds) {
            Ok(parsed) => {
                let perishable = parsed.delivery;
                (parsed, None, perishable)
            }
            Err(Unrecognized { reason, subject, track, perishable }) => {
                let identity = verified.identity();
                let subject = subject
                    .unwrap_or_else(|| Subject(format!("{}-{}", Unrecognized::KIND.name(), hex(identity.as_bytes()))));
                let mut parsed = Parsed::new(&Unrecognized::KIND, subject, identity, Outcome::None, &NoDetails {});
                if let Some((track, policy)) = track {
                    (parsed.track, parsed.policy) = (track, policy);
                }
                (parsed, Some(reason), perishable)
            }
        };
        let kind = format!("{}.{}", P::NAME, parsed.kind);
        let content = parsed.identity.within([P::NAME.as_str(), parsed.kind, parsed.subject.as_str()]);
        Self {
            id: EventId::new(&content, received_at, verified.body()),
            track: parsed.track,
            policy: parsed.policy,
            is_final: parsed.is_final,
            recipient: parsed.recipient,
            proofs: parsed.proofs,
            provider: P::NAME,
            source: P::SOURCE,
            kind,
            subject: parsed.subject,
            outcome: parsed.outcome,
            reasons: parsed.reasons,
            unrecognized,
            assurance: verified.assurance(),
            occurred_at: parsed.occurred_at,
            received_at,
            details: parsed.details,
            body: verified.body().clone(),
            evidence: verified.evidence().clone(),
            perishable,
            due_at: parsed.due_after.and_then(|time| received_at.checked_add(time).ok()),
            has_verdict_elsewhere: parsed.has_verdict_elsewhere,
            traceparent: None,
        }
    }

    /// The same event, with its trace.
    pub(crate) fn traced_by(self, traceparent: Option<String>) -> Self {
        Self { traceparent, ..self }
    }

    /// The event's name.
    #[must_use]
    pub fn id(&self) -> &EventId {
        &self.id
    }

    /// The provider's name.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.provider.as_str()
    }

    /// Provider and kind, such as `verifyvasp.tx-report`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its verification.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The verdict.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Why it was not understood, if it was not.
    #[must_use]
    pub fn unrecognized(&self) -> Option<&str> {
        self.unrecognized.as_deref()
    }
}

/// Shows what may be logged: not the body, not the subject.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id.as_str())
            .field("kind", &self.kind)
            .field("outcome", &self.outcome)
            .field("unrecognized", &self.unrecognized)
            .finish_non_exhaustive()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    // Written as bytes, which is faster than character by character: each event has several
    // digests.
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect();
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        assert_ne!(Identity::of([Some("ab"), Some("c")]), Identity::of([Some("a"), Some("bc")]));
        assert_ne!(Identity::of([None, Some("a")]), Identity::of([Some("a"), None]));
        assert_ne!(Identity::of([None]), Identity::of([Some("")]));
        assert_ne!(Identity::of([]), Identity::of([None]));
    }

    #[test]
    fn the_beginning_and_the_whole_are_what_they_are_alone() {
        let of = |text: &str| Identity::of_bytes(text.as_bytes());
        assert_eq!(Identity::of_beginning_and_whole("header.claims", ".signature"), {
            (of("header.claims"), of("header.claims.signature"))
        });
        assert_eq!(of("abc").to_hex(), crate::Expectation::code_hash("abc"));
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }

    #[test]
    fn a_subject_is_neither_empty_nor_endless() {
        assert_eq!(Subject::new(""), Err(InvalidSubject));
        assert_eq!(Subject::new("x".repeat(1025)), Err(InvalidSubject));
        assert!(Subject::new("x".repeat(1024)).is_ok());
    }
}

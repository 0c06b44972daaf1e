//! Announcements: what your service expects before its callback arrives.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{CourseKey, Details, InvalidSubject, StoreError, Subject, Timestamp, Unavailable, event::hex};

/// What was started at the wallet gateway. A code is valid for this purpose only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A wallet is asked for credentials.
    Verification,
    /// Credentials are issued to a wallet.
    Issuance,
}

/// A verification or issuance that was started at the wallet gateway: an item of the expectations
/// table with these attributes. A service may write it itself instead of calling the API.
///
/// The code is a secret and is stored nowhere, only its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Partition key (S): the SHA-256 of the code's UTF-8, as 64 lowercase hexadecimal digits. See
    /// [`code_hash`](Self::code_hash).
    #[serde(rename = "pk")]
    pub code_sha256: String,
    /// The code's purpose (S): `verification` or `issuance`.
    pub purpose: Purpose,
    /// The subject of the code's events (S): the state or, without one, a random id. The callback
    /// does not choose it.
    pub subject: Subject,
    /// The `state` that was given to init (S); absent if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The ids of the templates whose credentials are expected (L of S). May be empty for a
    /// verification. An issuance of another template is not recognized.
    #[serde(default)]
    pub template_ids: Vec<String>,
    /// When the callback is due (S, RFC 3339); absent if that is not known. A later one is still
    /// accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// When it was announced (S, RFC 3339); absent in an item that a service has written itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<Timestamp>,
    /// When the code expires (N, seconds since 1970): the table's TTL attribute. After that the
    /// code is refused, even if DynamoDB has not deleted the item yet.
    pub expires_at: i64,
}

impl Expectation {
    /// How long a code is valid after its announcement or, if that is later, after it is due.
    pub const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

    /// The expectation of this code. Its events have this subject, unless there is a
    /// [state](Self::with_state).
    #[must_use]
    pub fn new(code: &str, purpose: Purpose, subject: Subject, now: Timestamp) -> Self {
        Self {
            code_sha256: Self::code_hash(code),
            purpose,
            subject,
            state: None,
            template_ids: Vec::new(),
            due_at: None,
            announced_at: Some(now),
            expires_at: Self::expiry(now),
        }
    }

    /// The same, with the state that was given to init, if it [is one](is_state). It becomes the
    /// subject.
    ///
    /// # Errors
    /// If the state is too long for a subject.
    pub fn with_state(self, state: Option<String>) -> Result<Self, InvalidSubject> {
        match state.filter(|state| is_state(state)) {
            Some(state) => Ok(Self { subject: Subject::new(state.clone())?, state: Some(state), ..self }),
            None => Ok(self),
        }
    }

    /// The same, for these templates.
    #[must_use]
    pub fn with_template_ids(self, template_ids: Vec<String>) -> Self {
        Self { template_ids, ..self }
    }

    /// The same, with a callback that is due at this time, if that is known.
    #[must_use]
    pub fn with_due_at(self, due_at: Option<Timestamp>) -> Self {
        let expires_at = due_at.map_or(self.expires_at, |due_at| Self::expiry(due_at).max(self.expires_at));
        Self { due_at, expires_at, ..self }
    }

    fn expiry(from: Timestamp) -> i64 {
        from.as_second().saturating_add(Self::LIFE.as_secs())
    }

    /// The key of the expectation with this code.
    #[must_use]
    pub fn code_hash(code: &str) -> String {
        hex(&Sha256::digest(code.as_bytes()))
    }

    /// Whether the code can still be used at this time.
    #[must_use]
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.expires_at >= now.as_second()
    }

    /// Whether this is the same announcement, made at any time. The subject does not count: without
    /// a state, each announcement has a new one, and the first one stays.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let content = |e: &Self| (e.code_sha256.clone(), e.purpose, e.state.clone(), e.template_ids.clone(), e.due_at);
        content(self) == content(other)
    }
}

/// Whether a state was given: the gateway's default is `none`.
#[must_use]
pub fn is_state(state: &str) -> bool {
    !state.is_empty() && state != "none"
}

/// The result of an announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// It is expected now.
    Fresh,
    /// It was expected already.
    Same {
        /// The subject that it has had since then.
        subject: Subject,
        /// When that was, if it is known.
        announced_at: Option<Timestamp>,
    },
    /// Something else is expected under the same code, and this stays so.
    Conflict,
}

impl Registered {
    /// The result of an announcement if this is already announced under its code.
    #[must_use]
    pub fn beside(known: Expectation, announced: &Expectation) -> Self {
        if known.is_same_as(announced) {
            Self::Same { subject: known.subject, announced_at: known.announced_at }
        } else {
            Self::Conflict
        }
    }
}

/// A verdict that your service expects: an item of the expectations table with these attributes.
/// Those of the wallet gateway are [`Expectation`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Partition key (S): provider, track and subject, with `#` between them.
    #[serde(rename = "pk")]
    pub key: String,
    /// When the verdict is due (S, RFC 3339).
    pub due_at: Timestamp,
    /// When it was announced (S, RFC 3339).
    pub announced_at: Timestamp,
    /// References that are needed to ask the provider (M); absent if none were announced.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// When it expires (N, seconds since 1970): the table's TTL attribute.
    pub expires_at: i64,
}

impl Announcement {
    /// The announcement of a verdict on this track that is due at this time.
    #[must_use]
    pub fn new(track: &CourseKey, due_at: Timestamp, now: Timestamp) -> Self {
        let CourseKey { provider, subject, track } = track;
        let expires_at = Expectation::expiry(due_at.max(now));
        Self {
            key: format!("{provider}#{track}#{subject}"),
            due_at,
            announced_at: now,
            details: Details::new(),
            expires_at,
        }
    }

    /// The same, with these references.
    #[must_use]
    pub fn with_details(self, details: Details) -> Self {
        Self { details, ..self }
    }
}

/// The result of announcing a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announced {
    /// It is expected now.
    Fresh,
    /// It was expected already, since this time.
    Same(Timestamp),
    /// It is already expected with another due time, or with other references.
    Conflict,
}

impl Announced {
    /// The result of an announcement if this is already announced on its track.
    #[must_use]
    pub fn beside(known: &Announcement, announced: &Announcement) -> Self {
        let content = |announcement: &Announcement| (announcement.due_at, announcement.details.clone());
        if content(known) == content(announced) { Self::Same(known.announced_at) } else { Self::Conflict }
    }
}

/// Stores expectations.
pub trait Expectations: Send + Sync {
    /// The announcement of the code with this hash. It may have expired.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time. The code may be announced.
    fn find(&self, code_sha256: &str) -> impl Future<Output = Result<Option<Expectation>, Unavailable>> + Send;

    /// Stores this announcement, unless something else is expected under its code. Expired ones do
    /// not count.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn register(
        &self,
        expectation: &Expectation,
        now: Timestamp,
    ) -> impl Future<Output = Result<Registered, StoreError>> + Send;

    /// Stores this announcement, unless the verdict is expected with another due time. Expired ones
    /// do not count.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn announce(
        &self,
        announcement: &Announcement,
        now: Timestamp,
    ) -> impl Future<Output = Result<Announced, StoreError>> + Send;
}

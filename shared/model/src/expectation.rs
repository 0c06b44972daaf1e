//! What was announced before its callback comes.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{StoreError, Timestamp, Unavailable, event::hex};

/// A verification or issuance that was begun at the wallet gateway, as the expectations table holds it: an item with these attributes. A
/// service may write it itself instead of calling the API.
///
/// The code is a secret, and is not in it: only its SHA-256 is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Partition key (S): the SHA-256 of the code's UTF-8, as 64 lowercase hexadecimal digits. See [`code_hash`](Self::code_hash).
    #[serde(rename = "pk")]
    pub code_sha256: String,
    /// The `state` that was given to init (S); absent if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The ids of the templates whose credentials are expected (L of S); empty if that does not matter.
    #[serde(default)]
    pub template_ids: Vec<String>,
    /// When the callback is due (S, RFC 3339); absent if that is not known. A later one is accepted all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// When DynamoDB may delete the item (N, seconds since 1970), the table's TTL attribute.
    pub expires_at: i64,
}

impl Expectation {
    /// How long a callback is waited for after it was announced or, if that is later, after it is due.
    pub const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

    /// What is expected under this code.
    #[must_use]
    pub fn new(
        code: &str,
        state: Option<String>,
        template_ids: Vec<String>,
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let from = due_at.map_or(now, |due_at| due_at.max(now));
        Self {
            code_sha256: Self::code_hash(code),
            state: state.filter(|state| is_state(state)),
            template_ids,
            due_at,
            expires_at: from.as_second().saturating_add(Self::LIFE.as_secs()),
        }
    }

    /// The key of the expectation with this code.
    #[must_use]
    pub fn code_hash(code: &str) -> String {
        hex(&Sha256::digest(code.as_bytes()))
    }

    /// Whether this is the same announcement, whenever it was made.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let content = |e: &Self| (e.code_sha256.clone(), e.state.clone(), e.template_ids.clone(), e.due_at);
        content(self) == content(other)
    }
}

/// Whether a state is one: the gateway's default is `none`.
#[must_use]
pub fn is_state(state: &str) -> bool {
    !state.is_empty() && state != "none"
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It is expected now.
    Fresh,
    /// It was expected already.
    Same,
    /// Something else is expected under the same code, and still is.
    Conflict,
}

/// Knows what is expected.
pub trait Expectations: Send + Sync {
    /// What is expected under the code with this hash.
    ///
    /// # Errors
    /// If that could not be found out. It may be expected.
    fn find(&self, code_sha256: &str) -> impl Future<Output = Result<Option<Expectation>, Unavailable>> + Send;

    /// Expects this from now on, unless something else is expected under its code.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn register(&self, expectation: &Expectation) -> impl Future<Output = Result<Registered, StoreError>> + Send;
}

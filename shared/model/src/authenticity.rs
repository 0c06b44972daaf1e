//! Authenticity as a type: only a check in this file makes a [`Verified`] request.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Header, Request, SecretSource, StoredEvent, Timestamp, Unavailable};

/// How it was established that a callback comes from its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Assurance {
    /// It bears a token signed by a pinned issuer.
    SignedToken,
    /// It bears a secret that only we and the provider know.
    SharedSecret,
    /// It bears a code that was given to one verification only.
    OneTimeCode,
    /// It comes from one of the provider's addresses.
    SourceAddress,
}

/// A request that was found authentic: its body, and how we know.
///
/// Nothing outside this module can make one, and an [`Event`](crate::Event) cannot be made without one.
#[derive(Clone)]
pub struct Verified {
    body: Bytes,
    assurance: Assurance,
}

impl Verified {
    /// The body as it came, apart from a secret in it that the check removed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How the request was found authentic.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }
}

/// An event that is kept was verified before it was kept, so it may be parsed again.
impl From<&StoredEvent> for Verified {
    fn from(stored: &StoredEvent) -> Self {
        Self { body: Bytes::copy_from_slice(&stored.body), assurance: stored.assurance }
    }
}

/// Shows the body's size only.
impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified")
            .field("assurance", &self.assurance)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why a request is not authentic. For the log and the metrics: the sender is never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The place for the credential is not there.
    #[error("credential missing")]
    Missing,
    /// A credential is there but has not the form of one.
    #[error("credential malformed")]
    Malformed,
    /// The credential is not the current nor the previous one.
    #[error("credential wrong")]
    Wrong,
}

impl Refusal {
    /// The refusal's name in metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
        }
    }
}

/// A request was not found authentic.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It is not authentic.
    #[error("not authentic: {0}")]
    Refused(Refusal),
    /// Whether it is could not be found out. It may be authentic, so it must not be refused for good.
    #[error("failed to check authenticity")]
    Unavailable(#[from] Unavailable),
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Verifies a request by a secret it presents: `read` finds it in the request's header `name`.
///
/// When the secret does not fit, it is looked up once more, as it may just have been rotated.
///
/// # Errors
/// [`AuthError::Refused`] if the secret is missing, malformed or wrong; [`AuthError::Unavailable`] if we do not
/// know our own.
pub async fn shared_secret<'a>(
    request: &'a Request,
    name: &str,
    read: impl FnOnce(&'a str) -> Result<&'a str, Refusal> + Send,
    secrets: &impl SecretSource,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    let presented = match request.header(name) {
        Header::Absent => return Err(Refusal::Missing.into()),
        Header::Value(value) => read(value)?,
    };
    let accepted = secrets.secrets(now).await?.accepts(presented)
        || secrets.refreshed(now).await.is_some_and(|pair| pair.accepts(presented));
    if accepted {
        Ok(Verified { body: request.body.clone(), assurance: Assurance::SharedSecret })
    } else {
        Err(Refusal::Wrong.into())
    }
}

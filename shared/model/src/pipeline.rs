//! The pipeline of every callback: authenticate, parse, insert. Written once.

use crate::{AuthError, Event, EventStore, Inserted, Provider, Refusal, Request, StoreError, Timestamp};

/// An authentic callback is stored, and may be acknowledged.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// What it became.
    pub event: Event,
    /// Whether it was new.
    pub inserted: Inserted,
}

/// A callback was not stored, and must not be acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// Larger than its provider's callbacks can be. Nothing has read it.
    #[error("body of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The body's size in bytes.
        bytes: usize,
        /// The provider's limit in bytes.
        limit: usize,
    },
    /// Not authentic.
    #[error("not authentic: {0}")]
    NotAuthentic(Refusal),
    /// A dependency does not answer. The sender should retry.
    #[error("failed to process the callback")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<AuthError> for Rejection {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Refused(refusal) => Self::NotAuthentic(refusal),
            AuthError::Unavailable(error) => Self::Unavailable(error.into()),
        }
    }
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Processes one callback: authenticates it, parses it and stores it.
///
/// # Errors
/// If it is too large, not authentic, or could not be stored. A callback that cannot be parsed is
/// not an error: it is stored as received.
pub async fn receive<P: Provider>(
    provider: &P,
    store: &impl EventStore,
    request: &Request,
    now: Timestamp,
) -> Result<Receipt, Rejection> {
    if request.body.len() > P::MAX_BODY_BYTES {
        return Err(Rejection::TooLarge { bytes: request.body.len(), limit: P::MAX_BODY_BYTES });
    }
    let verified = provider.authenticate(request, now).await?;
    let event = Event::new::<P>(&verified, P::parse(&verified), request.received_at(now));
    let event = event.traced_by(request.traceparent.clone());
    let inserted = store.insert(&event).await?;
    Ok(Receipt { event, inserted })
}

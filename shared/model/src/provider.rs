//! What a provider implements: everything that a new provider adds.

use std::{fmt, time::Duration};

use crate::{AuthError, Parsed, Request, Timestamp, Unrecognized, Verified};

/// A provider's name: the first part of each of its kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProviderName(&'static str);

impl ProviderName {
    /// The provider of this name, in kebab-case.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One provider's callbacks.
pub trait Provider: Send + Sync {
    /// Its name.
    const NAME: ProviderName;

    /// The route of its callbacks, without the secret in it: the `source` of its messages.
    const SOURCE: &'static str;

    /// The body that the provider expects as an acknowledgement, always with status 200.
    const ACKNOWLEDGEMENT: &'static str;

    /// How long the provider waits for an answer. All time limits follow from it.
    const ANSWER_WITHIN: Duration;

    /// The largest body that is accepted, in bytes. It must fit into one DynamoDB item (400 KB)
    /// with the other attributes.
    const MAX_BODY_BYTES: usize = 256 * 1024;

    /// Authenticates the request, before anything in its body is trusted.
    ///
    /// # Errors
    /// If it is not authentic, or if that could not be checked.
    fn authenticate(
        &self,
        request: &Request,
        now: Timestamp,
    ) -> impl Future<Output = Result<Verified, AuthError>> + Send;

    /// Parses the callback. No state, no IO, no clock: the same body always gives the same result,
    /// at receipt and when it is [read again](crate::StoredEvent::reread).
    ///
    /// # Errors
    /// If it is not recognized. The callback is then stored as received.
    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized>;
}

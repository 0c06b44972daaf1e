//! What a provider has to say for itself: all that a new one adds.

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

    /// The route its callbacks come by, without what is secret in it: the `source` of its messages.
    const SOURCE: &'static str;

    /// The body with which the provider wants its callbacks acknowledged, always with status 200.
    const ACKNOWLEDGEMENT: &'static str;

    /// How long the provider waits for an answer. What is done before that is planned from it.
    const ANSWER_WITHIN: Duration;

    /// The largest body that is taken in, in bytes. It has to fit one DynamoDB item (400 KB) with all else in it.
    const MAX_BODY_BYTES: usize = 256 * 1024;

    /// Finds out whether the request is authentic, before anything in its body is believed.
    ///
    /// # Errors
    /// If it is not, or if that could not be found out.
    fn authenticate(
        &self,
        request: &Request,
        now: Timestamp,
    ) -> impl Future<Output = Result<Verified, AuthError>> + Send;

    /// Reads the callback. No state, no IO, no clock: the same body always reads the same, when it comes and when it is read
    /// [again](crate::StoredEvent::reread).
    ///
    /// # Errors
    /// If it is not understood; the callback is then kept as it is.
    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized>;
}

//! Secrets that callers share with us. Only this crate can read them.

use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::Timestamp;

/// A shared secret and, while it rotates, its predecessor: both are accepted.
///
/// Comparisons are of SHA-256 digests, which hides the secrets' lengths. The texts are kept because
/// signatures are checked with them. They do not leave this crate, and `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretPair {
    current: Secret,
    previous: Option<Secret>,
}

/// One secret. Shared, since each request gets a copy of the pair.
#[derive(Clone)]
struct Secret {
    text: Arc<str>,
    digest: [u8; 32],
}

impl Secret {
    fn new(text: &str) -> Self {
        Self { text: text.into(), digest: digest(text) }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.digest.ct_eq(&other.digest).into()
    }
}

impl Eq for Secret {}

/// Why a secret's text is not a [`SecretPair`]. Never says what the text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Not a JSON object with a string `current` and an optional string `previous`.
    #[error("not JSON of the form {{\"current\": \"…\", \"previous\": \"…\"}} (previous is optional)")]
    Form,
    /// Empty, or the word `undefined` that a caller without configuration sends.
    #[error("{0} is empty or \"undefined\"")]
    Unusable(&'static str),
    /// Not a secret of Standard Webhooks.
    #[error(
        "{0} is neither whsec_ with the base64 of 24 to 64 bytes nor whpk_ with the base64 of an Ed25519 public key"
    )]
    StandardWebhooks(&'static str),
    /// Nothing that a sender of Standard Webhooks could sign with.
    #[error("a public key cannot sign: give whsec_… or whsk_ with the base64 of an Ed25519 secret key")]
    SigningKey,
}

#[derive(Deserialize)]
struct SecretText {
    current: String,
    previous: Option<String>,
}

impl SecretPair {
    /// A pair of these secrets' texts.
    ///
    /// # Errors
    /// If one of them is empty or "undefined".
    pub fn new(current: &str, previous: Option<&str>) -> Result<Self, InvalidSecret> {
        let usable =
            |name, text| if is_usable(text) { Ok(Secret::new(text)) } else { Err(InvalidSecret::Unusable(name)) };
        Ok(Self {
            current: usable("current", current)?,
            previous: previous.map(|text| usable("previous", text)).transpose()?,
        })
    }

    /// A pair from the JSON in which Secrets Manager holds it: `{"current": "…", "previous": "…"}`.
    ///
    /// # Errors
    /// If it has another form, or a secret in it is empty or "undefined".
    pub fn from_json(text: &str) -> Result<Self, InvalidSecret> {
        // serde's own message could quote the secret.
        let text: SecretText = serde_json::from_str(text).map_err(|_| InvalidSecret::Form)?;
        Self::new(&text.current, text.previous.as_deref())
    }

    /// Whether this is the current or the previous secret. Takes the same time for any text of a
    /// length, and always compares with two.
    #[must_use]
    pub fn accepts(&self, presented: &str) -> bool {
        let presented_digest = digest(presented);
        let is_current = presented_digest.ct_eq(&self.current.digest);
        let previous_digest = self.previous.as_ref().map(|previous| previous.digest);
        let is_previous = presented_digest.ct_eq(&previous_digest.unwrap_or_default())
            & Choice::from(u8::from(self.previous.is_some()));
        (is_current | is_previous).into() && is_usable(presented)
    }

    /// The secrets' texts with their names. For the checks of signatures alone.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let previous = self.previous.as_ref().map(|previous| ("previous", &*previous.text));
        std::iter::once(("current", &*self.current.text)).chain(previous)
    }
}

/// Shows nothing: not even a digest, since a weak secret could be guessed from it.
impl std::fmt::Debug for SecretPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretPair").finish_non_exhaustive()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// A caller with nothing configured sends an empty secret, or `undefined`.
fn is_usable(text: &str) -> bool {
    !text.trim().is_empty() && text != "undefined"
}

/// Secrets could not be looked up. The refusal of a callback must not follow from it.
#[derive(Debug, thiserror::Error)]
#[error("failed to look up a secret")]
pub struct Unavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where shared secrets come from.
pub trait SecretSource: Send + Sync {
    /// The secrets in force, as far as known.
    ///
    /// # Errors
    /// If there are none, not even old ones.
    fn secrets(&self, now: Timestamp) -> impl Future<Output = Result<SecretPair, Unavailable>> + Send;

    /// The secrets looked up again, because those from [`secrets`](Self::secrets) did not fit: they may have been
    /// rotated meanwhile. None if they were looked up a short time ago, so that strangers cannot
    /// make us look them up at will.
    fn refreshed(&self, now: Timestamp) -> impl Future<Output = Option<SecretPair>> + Send;
}

/// Secrets that never change.
impl SecretSource for SecretPair {
    async fn secrets(&self, _now: Timestamp) -> Result<SecretPair, Unavailable> {
        Ok(self.clone())
    }

    async fn refreshed(&self, _now: Timestamp) -> Option<SecretPair> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, presented: &str, expected: Result<bool, InvalidSecret>) {
        assert_eq!(SecretPair::from_json(json).map(|pair| pair.accepts(presented)), expected, "{json} {presented}");
    }

    #[test]
    fn the_current_and_the_previous_secret_are_accepted() {
        check(r#"{"current":"new"}"#, "new", Ok(true));
        check(r#"{"current":"new","previous":"old"}"#, "old", Ok(true));
        check(r#"{"current":"new","previous":null}"#, "old", Ok(false));
        check(r#"{"current":"new","previous":"old"}"#, "older", Ok(false));
        check(r#"{"current":"new","extra":1}"#, "ne", Ok(false));
    }

    #[test]
    fn an_empty_secret_and_undefined_are_never_accepted() {
        check(r#"{"current":"new"}"#, "", Ok(false));
        check(r#"{"current":"new"}"#, "undefined", Ok(false));
        check(r#"{"current":""}"#, "", Err(InvalidSecret::Unusable("current")));
        check(r#"{"current":" "}"#, " ", Err(InvalidSecret::Unusable("current")));
        check(r#"{"current":"undefined"}"#, "undefined", Err(InvalidSecret::Unusable("current")));
        check(r#"{"current":"new","previous":""}"#, "", Err(InvalidSecret::Unusable("previous")));
    }

    #[test]
    fn a_secret_of_another_form_is_an_error_that_does_not_quote_it() {
        for text in ["", "s3cret", "[]", "{}", r#"{"current":5}"#, r#"{"previous":"s3cret"}"#] {
            let error = SecretPair::from_json(text).unwrap_err();
            assert_eq!(error, InvalidSecret::Form, "{text}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn pairs_are_the_same_if_both_secrets_are() {
        let pair = |current, previous| SecretPair::new(current, previous).unwrap();
        assert_eq!(pair("new", Some("old")), pair("new", Some("old")));
        assert_ne!(pair("new", Some("old")), pair("old", Some("new")));
        assert_ne!(pair("new", Some("old")), pair("new", None));
        let texts: Vec<_> = pair("new", Some("old")).texts().map(|(name, text)| (name, text.to_owned())).collect();
        assert_eq!(texts, [("current", "new".to_owned()), ("previous", "old".to_owned())]);
        assert_eq!(format!("{:?}", pair("new", Some("old"))), "SecretPair { .. }");
    }

    #[test]
    fn no_previous_secret_is_not_the_zero_digest() {
        let pair = SecretPair::new("new", None).unwrap();
        assert!(!format!("{pair:?}").contains("current"));
        assert!(!pair.accepts("\0"));
    }
}

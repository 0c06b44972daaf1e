//! Providers' secrets.

use std::fmt;

use aws_sdk_secretsmanager::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::get_secret_value::GetSecretValueError,
};
use jiff::SignedDuration;
use model::{SecretPair, SecretSource, Timestamp, Unavailable};
use serde::de::DeserializeOwned;

use crate::{
    Error,
    cached::{Cached, LookUp, Unusable},
    config::SecretReference,
};

/// A provider's secret, from the place that the environment names. Accepts the current and the
/// previous one.
pub type Secrets = Cached<Vault>;

/// A secret in AWS Secrets Manager, or one that is given at the start: JSON with `current` and,
/// during a rotation, `previous`.
#[derive(Debug)]
pub enum Vault {
    /// In Secrets Manager.
    SecretsManager {
        /// The connection to it.
        client: aws_sdk_secretsmanager::Client,
        /// The secret's ARN.
        arn: String,
    },
    /// Known from the start.
    Fixed(SecretPair),
}

impl Vault {
    pub(crate) fn open(client: aws_sdk_secretsmanager::Client, reference: SecretReference) -> Result<Self, Error> {
        Ok(match reference {
            SecretReference::SecretsManager(arn) => Self::SecretsManager { client, arn },
            SecretReference::Environment(text) => Self::Fixed(SecretPair::from_json(&text)?),
        })
    }
}

impl LookUp for Vault {
    type Value = SecretPair;
    const WHAT: &'static str = "secret";
    /// An outage of Secrets Manager must not refuse callbacks that the provider may never resend. A
    /// day is longer than any outage so far. See docs/adr/0015.
    const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
    /// A secret that was deleted, withdrawn or replaced must not be accepted forever. An hour is
    /// enough time to store a readable one.
    const MAX_AGE_UNUSABLE: SignedDuration = SignedDuration::from_hours(1);

    async fn look_up(&self) -> Result<SecretPair, Error> {
        match self {
            Self::Fixed(pair) => Ok(pair.clone()),
            Self::SecretsManager { client, arn } => {
                let text = text_of(client, arn).await?;
                Ok(SecretPair::from_json(&text).map_err(|error| Unusable(error.into()))?)
            }
        }
    }
}

/// The credentials for asking a provider: JSON in a secret of their own.
pub enum CredentialVault<C> {
    /// In Secrets Manager.
    SecretsManager {
        /// The connection to it.
        client: aws_sdk_secretsmanager::Client,
        /// The secret's ARN.
        arn: String,
    },
    /// Known from the start.
    Fixed(C),
}

/// Credentials, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden<C>(pub C);

impl<C> fmt::Debug for Hidden<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hidden").finish_non_exhaustive()
    }
}

/// Shows where they are.
impl<C> fmt::Debug for CredentialVault<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretsManager { arn, .. } => {
                f.debug_struct("SecretsManager").field("arn", arn).finish_non_exhaustive()
            }
            Self::Fixed(_) => f.debug_struct("Fixed").finish_non_exhaustive(),
        }
    }
}

impl<C: DeserializeOwned> CredentialVault<C> {
    pub(crate) fn open(client: aws_sdk_secretsmanager::Client, reference: SecretReference) -> Result<Self, Error> {
        Ok(match reference {
            SecretReference::SecretsManager(arn) => Self::SecretsManager { client, arn },
            SecretReference::Environment(text) => Self::Fixed(credentials(&text)?),
        })
    }
}

impl<C: DeserializeOwned + Clone + PartialEq + Send + Sync> LookUp for CredentialVault<C> {
    type Value = Hidden<C>;
    const WHAT: &'static str = "credentials for asking a provider";
    const MAX_AGE: SignedDuration = Vault::MAX_AGE;
    const MAX_AGE_UNUSABLE: SignedDuration = Vault::MAX_AGE_UNUSABLE;

    async fn look_up(&self) -> Result<Hidden<C>, Error> {
        match self {
            Self::Fixed(credentials) => Ok(Hidden(credentials.clone())),
            Self::SecretsManager { client, arn } => {
                let text = text_of(client, arn).await?;
                Ok(Hidden(credentials(&text).map_err(Unusable)?))
            }
        }
    }
}

/// The credentials that a secret holds.
fn credentials<C: DeserializeOwned>(text: &str) -> Result<C, Error> {
    // serde's own message could quote the secret.
    serde_json::from_str(text)
        .map_err(|_| "the secret is not JSON with what its provider's page in docs/providers/ names".into())
}

/// The text of a secret in Secrets Manager.
async fn text_of(client: &aws_sdk_secretsmanager::Client, arn: &str) -> Result<String, Error> {
    let output = client.get_secret_value().secret_id(arn).send().await.map_err(classify)?;
    Ok(output.secret_string.ok_or_else(|| Unusable("the secret holds bytes, not text".into()))?)
}

/// Distinguishes an answer about the secret (it is missing, or this function may not read it) from
/// no answer. Every error that is not known to be about the secret counts as no answer.
fn classify<R: std::fmt::Debug + Send + Sync + 'static>(error: SdkError<GetSecretValueError, R>) -> Error {
    let is_answer = error.as_service_error().is_some_and(|answer| {
        answer.is_resource_not_found_exception()
            || answer.is_invalid_request_exception()
            || answer.is_decryption_failure()
            || answer.code() == Some("AccessDeniedException")
    });
    if is_answer { Unusable(error.into()).into() } else { error.into() }
}

impl<L: LookUp<Value = SecretPair>> SecretSource for Cached<L> {
    async fn secrets(&self, now: Timestamp) -> Result<SecretPair, Unavailable> {
        self.get(now).await.ok_or_else(|| Unavailable("no look-up has succeeded yet".into()))
    }

    async fn refreshed(&self, now: Timestamp) -> Option<SecretPair> {
        Self::refreshed(self, now).await
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_secretsmanager::{
        error::ErrorMetadata,
        types::error::{DecryptionFailure, InternalServiceError, InvalidRequestException, ResourceNotFoundException},
    };

    use super::*;
    use crate::chain;

    #[track_caller]
    fn check(answer: GetSecretValueError, is_unusable: bool) {
        let text = format!("{answer:?}");
        assert_eq!(classify(SdkError::service_error(answer, ())).is::<Unusable>(), is_unusable, "{text}");
    }

    #[test]
    fn credentials_of_another_form_are_an_error_that_does_not_quote_them() {
        type Credentials = std::collections::BTreeMap<String, String>;
        assert_eq!(credentials::<Credentials>(r#"{"key":"s3cret"}"#).unwrap()["key"], "s3cret");
        for text in ["", "s3cret", "[]", r#"{"key":["s3cret"]}"#] {
            assert!(!chain(credentials::<Credentials>(text).unwrap_err().as_ref()).contains("s3cret"), "{text}");
        }
    }

    #[tokio::test]
    async fn credentials_are_printed_by_nothing() {
        let vault = CredentialVault::Fixed("s3cret".to_owned());
        assert!(!format!("{vault:?} {:?}", vault.look_up().await.unwrap()).contains("s3cret"));
    }

    #[test]
    fn only_an_answer_about_the_secret_makes_it_unusable() {
        let of_code = |code| GetSecretValueError::generic(ErrorMetadata::builder().code(code).build());
        check(GetSecretValueError::ResourceNotFoundException(ResourceNotFoundException::builder().build()), true);
        check(GetSecretValueError::InvalidRequestException(InvalidRequestException::builder().build()), true);
        check(GetSecretValueError::DecryptionFailure(DecryptionFailure::builder().build()), true);
        check(of_code("AccessDeniedException"), true);
        check(GetSecretValueError::InternalServiceError(InternalServiceError::builder().build()), false);
        check(of_code("ThrottlingException"), false);
        check(of_code("ExpiredTokenException"), false);

        let late = SdkError::<GetSecretValueError, ()>::timeout_error("late");
        assert!(!classify(late).is::<Unusable>());
    }
}

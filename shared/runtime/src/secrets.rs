//! Providers' secrets.

use model::{SecretPair, SecretSource, Timestamp, Unavailable};

use crate::{
    Error,
    cached::{Cached, LookUp},
    config::SecretReference,
};

/// A provider's secret, where the environment says it is. Accepts the current and the previous one.
pub type Secrets = Cached<Vault>;

/// A secret in AWS Secrets Manager, or one that is known from the start: JSON with `current` and, while it rotates, `previous`.
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

    async fn look_up(&self) -> Result<SecretPair, Error> {
        match self {
            Self::Fixed(pair) => Ok(pair.clone()),
            Self::SecretsManager { client, arn } => {
                let output = client.get_secret_value().secret_id(arn).send().await?;
                let text = output.secret_string.ok_or("the secret holds bytes where text is expected")?;
                Ok(SecretPair::from_json(&text)?)
            }
        }
    }
}

impl<L: LookUp<Value = SecretPair>> SecretSource for Cached<L> {
    async fn secrets(&self, now: Timestamp) -> Result<SecretPair, Unavailable> {
        self.get(now).await.ok_or_else(|| Unavailable("no look-up has succeeded yet".into()))
    }

    async fn refreshed(&self, now: Timestamp) -> Option<SecretPair> {
        Self::refreshed(self, now).await
    }
}

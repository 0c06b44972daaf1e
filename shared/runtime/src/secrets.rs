//! Secrets that are looked up elsewhere and kept for a while.

use std::time::Duration;

use jiff::SignedDuration;
use model::{SecretPair, SecretSource, Timestamp, Unavailable};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{Error, config::SecretReference, start::chain};

/// Fetches a secret's text.
pub trait FetchSecret: Send + Sync {
    /// The secret as it is now: JSON with `current` and, while it rotates, `previous`.
    ///
    /// # Errors
    /// If it cannot be fetched.
    fn fetch(&self) -> impl Future<Output = Result<String, Error>> + Send;
}

/// A secret in AWS Secrets Manager, or one that is known from the start.
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
    Fixed(String),
}

impl FetchSecret for Vault {
    async fn fetch(&self) -> Result<String, Error> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::SecretsManager { client, arn } => {
                let output = client.get_secret_value().secret_id(arn).send().await?;
                output.secret_string.ok_or_else(|| "the secret holds bytes where text is expected".into())
            }
        }
    }
}

/// A provider's secret, kept for [`Secrets::TTL`]. A failed look-up keeps what is known.
#[derive(Debug)]
pub struct Secrets<F = Vault> {
    vault: F,
    /// How long a look-up may take while a provider waits.
    patience: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    secrets: Option<(SecretPair, Timestamp)>,
    tried_at: Option<Timestamp>,
}

impl Secrets<Vault> {
    /// Long enough for a new TLS connection from a small function; nobody is waiting during init.
    const PATIENCE_AT_START: Duration = Duration::from_secs(5);

    pub(crate) async fn load(
        client: aws_sdk_secretsmanager::Client,
        reference: SecretReference,
        patience: Duration,
    ) -> Result<Self, Error> {
        let vault = match reference {
            SecretReference::SecretsManager(arn) => Vault::SecretsManager { client, arn },
            SecretReference::Environment(text) => {
                SecretPair::from_json(&text)?;
                Vault::Fixed(text)
            }
        };
        let secrets = Self::new(vault, patience);
        secrets.look_up(&mut *secrets.known.lock().await, crate::http::now(), Self::PATIENCE_AT_START).await;
        Ok(secrets)
    }
}

impl<F: FetchSecret> Secrets<F> {
    /// How long a secret is used before it is looked up again. A rotation keeps the previous one for longer.
    pub const TTL: SignedDuration = SignedDuration::from_mins(5);

    /// How long after a look-up there is no other one, whatever comes in.
    pub const COOL_DOWN: SignedDuration = SignedDuration::from_secs(30);

    /// The secret in this vault. Nothing is looked up yet.
    pub fn new(vault: F, patience: Duration) -> Self {
        Self { vault, patience, known: Mutex::default() }
    }

    /// Looks the secret up unless that was done a short time ago. Says whether a usable one was found.
    async fn look_up(&self, known: &mut Known, now: Timestamp, patience: Duration) -> bool {
        if known.tried_at.is_some_and(|tried_at| now.duration_since(tried_at) < Self::COOL_DOWN) {
            return false;
        }
        known.tried_at = Some(now);
        let fetched = match tokio::time::timeout(patience, self.vault.fetch()).await {
            Ok(Ok(text)) => SecretPair::from_json(&text).map_err(Error::from),
            Ok(Err(error)) => Err(error),
            Err(elapsed) => Err(elapsed.into()),
        };
        match fetched {
            Ok(pair) => {
                if known.secrets.as_ref().is_some_and(|(old, _)| *old != pair) {
                    info!("secret rotated");
                }
                known.secrets = Some((pair, now));
                true
            }
            Err(error) => {
                warn!(error = chain(error.as_ref()), kept = known.secrets.is_some(), "failed to look up a secret");
                false
            }
        }
    }
}

impl<F: FetchSecret> SecretSource for Secrets<F> {
    async fn secrets(&self, now: Timestamp) -> Result<SecretPair, Unavailable> {
        let mut known = self.known.lock().await;
        let fresh = known.secrets.as_ref().is_some_and(|(_, at)| now.duration_since(*at) < Self::TTL);
        if !fresh {
            self.look_up(&mut known, now, self.patience).await;
        }
        match &known.secrets {
            Some((pair, _)) => Ok(pair.clone()),
            None => Err(Unavailable("no look-up has succeeded yet".into())),
        }
    }

    async fn refreshed(&self, now: Timestamp) -> Option<SecretPair> {
        let mut known = self.known.lock().await;
        let found = self.look_up(&mut known, now, self.patience).await;
        known.secrets.as_ref().filter(|_| found).map(|(pair, _)| pair.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex as StdMutex,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// A vault that counts, and holds a text or fails.
    #[derive(Default)]
    struct TestVault {
        text: StdMutex<Option<&'static str>>,
        fetches: AtomicUsize,
    }

    impl FetchSecret for &TestVault {
        async fn fetch(&self) -> Result<String, Error> {
            self.fetches.fetch_add(1, Ordering::Relaxed);
            self.text.lock().unwrap().map(str::to_owned).ok_or_else(|| "the vault is closed".into())
        }
    }

    impl TestVault {
        fn holding(text: &'static str) -> Self {
            Self { text: StdMutex::new(Some(text)), ..Self::default() }
        }

        fn now_holds(&self, text: Option<&'static str>) {
            *self.text.lock().unwrap() = text;
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::Relaxed)
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_769_817_600 + seconds).unwrap()
    }

    fn secrets(vault: &TestVault) -> Secrets<&TestVault> {
        Secrets::new(vault, Duration::from_millis(50))
    }

    const OLD: &str = r#"{"current":"old"}"#;
    const NEW: &str = r#"{"current":"new","previous":"old"}"#;

    #[tokio::test]
    async fn a_secret_is_looked_up_once_within_its_ttl() {
        let vault = TestVault::holding(OLD);
        let secrets = secrets(&vault);
        for second in 0..300 {
            assert!(secrets.secrets(at(second)).await.unwrap().accepts("old"));
        }
        assert_eq!(vault.fetches(), 1);
        secrets.secrets(at(300)).await.unwrap();
        assert_eq!(vault.fetches(), 2);
    }

    #[tokio::test]
    async fn a_rotated_secret_is_found_when_a_check_fails() {
        let vault = TestVault::holding(OLD);
        let secrets = secrets(&vault);
        secrets.secrets(at(0)).await.unwrap();
        vault.now_holds(Some(NEW));
        assert!(secrets.refreshed(at(31)).await.unwrap().accepts("new"));
        assert!(secrets.secrets(at(32)).await.unwrap().accepts("new"));
        assert!(secrets.secrets(at(32)).await.unwrap().accepts("old"));
    }

    #[tokio::test]
    async fn failing_checks_cause_one_look_up_in_a_cool_down() {
        let vault = TestVault::holding(OLD);
        let secrets = secrets(&vault);
        secrets.secrets(at(0)).await.unwrap();
        for second in 0..120 {
            secrets.refreshed(at(second)).await;
        }
        // At 0, 30, 60 and 90.
        assert_eq!(vault.fetches(), 4);
    }

    #[tokio::test]
    async fn a_failed_look_up_keeps_what_is_known_and_counts_for_the_cool_down() {
        let vault = TestVault::holding(OLD);
        let secrets = secrets(&vault);
        secrets.secrets(at(0)).await.unwrap();
        vault.now_holds(None);
        for second in 300..330 {
            assert!(secrets.secrets(at(second)).await.unwrap().accepts("old"));
            assert!(secrets.refreshed(at(second)).await.is_none());
        }
        assert_eq!(vault.fetches(), 2);
        // Neither does a text that is no secret.
        vault.now_holds(Some("{}"));
        assert!(secrets.secrets(at(330)).await.unwrap().accepts("old"));
        assert_eq!(vault.fetches(), 3);
    }

    #[tokio::test]
    async fn a_secret_that_was_never_found_is_unavailable_and_sought_again() {
        let vault = TestVault::default();
        let secrets = secrets(&vault);
        assert!(secrets.secrets(at(0)).await.is_err());
        assert!(secrets.secrets(at(29)).await.is_err());
        assert_eq!(vault.fetches(), 1);
        vault.now_holds(Some(NEW));
        assert!(secrets.secrets(at(30)).await.unwrap().accepts("new"));
    }

    #[tokio::test]
    async fn a_vault_that_does_not_answer_is_not_waited_for() {
        struct Silent;
        impl FetchSecret for Silent {
            async fn fetch(&self) -> Result<String, Error> {
                std::future::pending().await
            }
        }
        let secrets = Secrets::new(Silent, Duration::from_millis(20));
        assert!(secrets.secrets(at(0)).await.is_err());
    }
}

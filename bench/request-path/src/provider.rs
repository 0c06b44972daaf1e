//! The functions that receive callbacks, each with the callbacks that are measured.

use std::time::Duration;

use anyhow::bail;
use model::{
    AuthError, EventStore, Expectation, Expectations as _, MemoryExpectations, Parsed, Provider as _, Receipt,
    Rejection, Request, SecretPair, Unrecognized, Verified,
};
use providers::{wallet_issuance::WalletIssuance, wallet_verification::WalletVerification};
use runtime::{Cached, GatewayRequest, Secrets, Vault};

use crate::{
    issuer::{Issuer, PublicKeys},
    now,
};

/// The functions that receive callbacks.
pub use providers::FUNCTIONS;

macro_rules! provider {
    ($($name:ident)*) => {
        /// One provider of them all, with all that it needs at hand.
        #[expect(non_camel_case_types, missing_docs, reason = "the names that the providers are registered by")]
        pub enum Provider {
            $($name(providers::$name::Receiver<Secrets>),)*
            wallet_issuance(WalletIssuance<MemoryExpectations>),
            wallet_verification(WalletVerification<MemoryExpectations, PublicKeys>),
        }

        impl Provider {
            /// The provider of this function, with the secrets of the local stack.
            ///
            /// # Errors
            /// If there is no such function.
            pub async fn of(function: &str, expected: Option<Expectation>, issuer: &Issuer) -> anyhow::Result<Self> {
                let secret = Vault::Fixed(SecretPair::new(&format!("local-{function}-secret"), None)?);
                let secrets = Cached::new(secret, Duration::from_secs(1)).filled(now(), Duration::from_secs(1)).await;
                let expectations = MemoryExpectations::default();
                if let Some(expected) = expected {
                    expectations.register(&expected, now()).await?;
                }
                Ok(match function {
                    $(stringify!($name) => Self::$name(providers::$name::receiver(secrets)),)*
                    "wallet-issuance" => Self::wallet_issuance(WalletIssuance::new(expectations)),
                    "wallet-verification" => {
                        Self::wallet_verification(WalletVerification::new(expectations, issuer.trusted().await?))
                    }
                    _ => bail!("there is no function {function}"),
                })
            }

            /// What the function answers to an event of the gateway's: JSON in, JSON out, as Lambda's runtime hands them over.
            ///
            /// # Errors
            /// If the event is none.
            pub async fn answer(&self, store: &impl EventStore, event: &[u8]) -> serde_json::Result<Vec<u8>> {
                let request: GatewayRequest = serde_json::from_slice(event)?;
                let response = match self {
                    $(Self::$name(one) => runtime::answer(one, store, request, now()).await,)*
                    Self::wallet_issuance(one) => runtime::answer(one, store, request, now()).await,
                    Self::wallet_verification(one) => runtime::answer(one, store, request, now()).await,
                };
                serde_json::to_vec(&response)
            }

            /// See [`model::receive`].
            ///
            /// # Errors
            /// If the callback is refused.
            pub async fn receive(&self, store: &impl EventStore, request: &Request) -> Result<Receipt, Rejection> {
                match self {
                    $(Self::$name(one) => model::receive(one, store, request, now()).await,)*
                    Self::wallet_issuance(one) => model::receive(one, store, request, now()).await,
                    Self::wallet_verification(one) => model::receive(one, store, request, now()).await,
                }
            }

            /// See [`model::Provider::authenticate`].
            ///
            /// # Errors
            /// If the callback is refused.
            pub async fn authenticate(&self, request: &Request) -> Result<Verified, AuthError> {
                match self {
                    $(Self::$name(one) => one.authenticate(request, now()).await,)*
                    Self::wallet_issuance(one) => one.authenticate(request, now()).await,
                    Self::wallet_verification(one) => one.authenticate(request, now()).await,
                }
            }

            /// See [`model::Provider::parse`].
            ///
            /// # Errors
            /// If the callback is not understood.
            pub fn parse(&self, verified: &Verified) -> Result<Parsed, Unrecognized> {
                fn parse<P: model::Provider>(_: &P, verified: &Verified) -> Result<Parsed, Unrecognized> {
                    P::parse(verified)
                }
                match self {
                    $(Self::$name(one) => parse(one, verified),)*
                    Self::wallet_issuance(one) => parse(one, verified),
                    Self::wallet_verification(one) => parse(one, verified),
                }
            }
        }
    };
}
providers::each!(provider);

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use model::{Inserted, MemoryStore, Outcome};

    use super::*;
    use crate::{
        callback::{Callback, Reception},
        tokio_runtime,
    };

    async fn received(function: &str, reception: Reception) -> Result<(Inserted, Outcome), Rejection> {
        let issuer = Issuer::new(Algorithm::EdDSA).unwrap();
        let callback = Callback::of(function, reception, &issuer).unwrap();
        let request = callback.request().unwrap();
        let provider = Provider::of(function, callback.expected, &issuer).await.unwrap();
        let Receipt { event, inserted } = provider.receive(&MemoryStore::default(), &request).await?;
        Ok((inserted, event.outcome()))
    }

    #[test]
    fn a_callback_is_received_as_it_is_said_to_be() {
        tokio_runtime().unwrap().block_on(async {
            for function in FUNCTIONS {
                let of = |reception| received(function, reception);
                assert_eq!(of(Reception::Fresh).await.unwrap(), (Inserted::Fresh, Outcome::Approved), "{function}");
                assert_eq!(of(Reception::Unrecognized).await.unwrap(), (Inserted::Fresh, Outcome::None), "{function}");
                let refused = of(Reception::Refused).await;
                assert!(matches!(refused, Err(Rejection::NotAuthentic(_))), "{function}");
            }
        });
    }
}

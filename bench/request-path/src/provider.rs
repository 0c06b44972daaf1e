//! The functions that receive callbacks, each with the callbacks that are measured.

use std::{net::IpAddr, time::Duration};

use anyhow::bail;
use identomat::Identomat;
use jumio::Jumio;
use model::{
    AuthError, EventStore, Expectation, Expectations as _, MemoryExpectations, Networks, Parsed, Provider as _,
    Receipt, Rejection, Request, SecretPair, Timestamp, Unrecognized, Verified,
};
use runtime::{Cached, GatewayRequest, GatewayResponse, Secrets, Vault};
use signicat::Signicat;
use verifyvasp::VerifyVasp;
use wallet_issuance::WalletIssuance;
use wallet_verification::WalletVerification;

use crate::{
    issuer::{Issuer, PublicKeys},
    now,
};

/// The functions that receive callbacks.
pub const FUNCTIONS: [&str; 6] =
    ["identomat", "jumio", "signicat", "verifyvasp", "wallet-issuance", "wallet-verification"];

/// One provider of them all, with all that it needs at hand.
pub enum Provider {
    /// Identomat.
    Identomat(Identomat<Secrets>),
    /// Jumio.
    Jumio(Jumio<Documented, Secrets>),
    /// Signicat Assure.
    Signicat(Signicat<Secrets>),
    /// `VerifyVASP`.
    VerifyVasp(VerifyVasp<Secrets>),
    /// The wallet gateway, about issuances.
    WalletIssuance(WalletIssuance<MemoryExpectations>),
    /// The wallet gateway, about verifications.
    WalletVerification(WalletVerification<MemoryExpectations, PublicKeys>),
}

/// The same of each provider. They have no type in common: a function has one.
macro_rules! of_each {
    ($provider:expr, $one:ident => $what:expr) => {
        match $provider {
            Provider::Identomat($one) => $what,
            Provider::Jumio($one) => $what,
            Provider::Signicat($one) => $what,
            Provider::VerifyVasp($one) => $what,
            Provider::WalletIssuance($one) => $what,
            Provider::WalletVerification($one) => $what,
        }
    };
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
            "identomat" => Self::Identomat(Identomat::new(secrets)),
            "jumio" => Self::Jumio(Jumio::new(Documented, secrets)),
            "signicat" => Self::Signicat(Signicat::new(secrets)),
            "verifyvasp" => Self::VerifyVasp(VerifyVasp::new(secrets)),
            "wallet-issuance" => Self::WalletIssuance(WalletIssuance::new(expectations)),
            "wallet-verification" => {
                Self::WalletVerification(WalletVerification::new(expectations, issuer.trusted().await?))
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
        let response: GatewayResponse = of_each!(self, one => runtime::answer(one, store, request, now()).await);
        serde_json::to_vec(&response)
    }

    /// See [`model::receive`].
    ///
    /// # Errors
    /// If the callback is refused.
    pub async fn receive(&self, store: &impl EventStore, request: &Request) -> Result<Receipt, Rejection> {
        of_each!(self, one => model::receive(one, store, request, now()).await)
    }

    /// See [`model::Provider::authenticate`].
    ///
    /// # Errors
    /// If the callback is refused.
    pub async fn authenticate(&self, request: &Request) -> Result<Verified, AuthError> {
        of_each!(self, one => one.authenticate(request, now()).await)
    }

    /// See [`model::Provider::parse`].
    ///
    /// # Errors
    /// If the callback is not understood.
    pub fn parse(&self, verified: &Verified) -> Result<Parsed, Unrecognized> {
        fn parse<P: model::Provider>(_: &P, verified: &Verified) -> Result<Parsed, Unrecognized> {
            P::parse(verified)
        }
        of_each!(self, one => parse(one, verified))
    }
}

/// The addresses in Jumio's document.
pub struct Documented;

impl Networks for Documented {
    async fn contain(&self, address: IpAddr, _now: Timestamp) -> bool {
        jumio::ADDRESSES.contains(&address)
    }
}

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

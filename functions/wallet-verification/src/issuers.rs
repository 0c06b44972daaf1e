//! The issuers whose tokens are trusted.

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use model::Timestamp;
use runtime::{Aws, Cached, Error, Https, LookUp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    keys::{JwksUrl, Key, KeySet},
    token::{Token, Untrusted, is_asymmetric},
};

/// An issuer that is trusted, as the configuration pins it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedIssuer {
    /// What its tokens say in `iss`.
    pub issuer: String,
    /// Where its keys are. HTTPS, or HTTP on this machine.
    pub jwks_url: String,
    /// The algorithms that its tokens may be signed by: asymmetric ones only.
    pub algorithms: Vec<Algorithm>,
}

/// The issuers whose tokens are trusted, with their keys.
#[derive(Debug)]
pub struct TrustedIssuers<L: LookUp = JwksUrl>(Vec<(PinnedIssuer, Cached<L>)>);

/// A token that was found to be its issuer's.
#[derive(Debug, Clone, PartialEq)]
pub struct Trusted {
    /// The issuer.
    pub issuer: String,
    /// The public key, as a JWK.
    pub key: Value,
    /// The gateway's reference of the verification.
    pub verification_id: Option<String>,
}

impl TrustedIssuers {
    /// The issuers that the environment names, with their keys, looked up once.
    ///
    /// # Errors
    /// If the environment names none, or something that cannot be trusted.
    pub async fn from_env(aws: &Aws) -> Result<Self, Error> {
        let https = Https::new()?;
        let mut issuers = Vec::new();
        for pinned in aws.issuers::<Vec<PinnedIssuer>>()? {
            let source = JwksUrl::new(https.clone(), pinned.jwks_url.clone());
            issuers.push((pinned, Cached::new(source, aws.patience()).filled(runtime::now()).await));
        }
        Self::new(issuers)
    }
}

impl<L: LookUp<Value = Arc<KeySet>>> TrustedIssuers<L> {
    /// These issuers.
    ///
    /// # Errors
    /// If one allows a symmetric algorithm, or none at all, or has its keys where anybody could change them on their way.
    pub fn new(issuers: Vec<(PinnedIssuer, Cached<L>)>) -> Result<Self, Error> {
        for (PinnedIssuer { issuer, jwks_url, algorithms }, _) in &issuers {
            if !Https::fetches(jwks_url) {
                return Err(format!("the keys of the issuer {issuer} have to be at an https address").into());
            }
            if algorithms.is_empty() || !algorithms.iter().copied().all(is_asymmetric) {
                return Err(format!("the issuer {issuer} needs asymmetric algorithms, and no others").into());
            }
        }
        Ok(Self(issuers))
    }

    /// Verifies a token at this time. A key that is not known is looked up, though not more often than the cache allows.
    ///
    /// # Errors
    /// With the reason for which it is not trusted.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Trusted, Untrusted> {
        let token = Token::read(token)?;
        let (pinned, keys) =
            self.0.iter().find(|(pinned, _)| token.issuer() == Some(&pinned.issuer)).ok_or(Untrusted::Issuer)?;
        if !token.agrees_with_jwks_url(&pinned.jwks_url) {
            return Err(Untrusted::JwksUri);
        }
        let key_set = keys.get(now).await.ok_or(Untrusted::KeysUnavailable)?;
        let key = match key_set.find(&token.key_id) {
            Some(key) => key.clone(),
            None => {
                let newer = keys.refreshed(now).await;
                newer.and_then(|newer| newer.find(&token.key_id).cloned()).ok_or(Untrusted::UnknownKey)?
            }
        };
        verify_with(&token, &key, &pinned.algorithms, now)?;
        let verification_id = token.claims.verification_id.filter(|id| id.len() <= MAX_VERIFICATION_ID_BYTES);
        Ok(Trusted { issuer: pinned.issuer.clone(), key: key.jwk(), verification_id })
    }
}

fn verify_with(token: &Token<'_>, key: &Key, allowed: &[Algorithm], now: Timestamp) -> Result<(), Untrusted> {
    token.check_signature(key, allowed)?;
    token.check_time(now)
}

/// A longer one is no reference that anybody works with, and would fill the event's item.
const MAX_VERIFICATION_ID_BYTES: usize = 256;

impl Trusted {
    /// What is kept of it, so that the token can be [verified again](verify_again).
    #[must_use]
    pub fn to_evidence(&self) -> Value {
        json!({ "issuer": self.issuer, "key": self.key, "verification_id": self.verification_id })
    }
}

/// Verifies a token again by what was kept when it was trusted at that time: issuer and key.
///
/// # Errors
/// With the reason for which it would not be trusted.
pub fn verify_again(token: &str, evidence: &Value, then: Timestamp) -> Result<(), Untrusted> {
    let token = Token::read(token)?;
    if token.issuer() != evidence.get("issuer").and_then(Value::as_str) {
        return Err(Untrusted::Issuer);
    }
    let key = evidence.get("key").and_then(Key::from_jwk).ok_or(Untrusted::UnknownKey)?;
    verify_with(&token, &key, key.algorithms(), then)
}

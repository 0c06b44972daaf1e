//! The issuers whose tokens are trusted.

use std::sync::Arc;

use futures_util::future::join_all;
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedIssuer {
    /// What its tokens say in `iss`.
    pub issuer: String,
    /// Where its keys are. HTTPS, or HTTP on this machine.
    pub jwks_url: String,
    /// The algorithms that its tokens may be signed by: asymmetric ones only.
    pub algorithms: Vec<Algorithm>,
    /// What its tokens must have in `aud`, alone or among others. Without it, `aud` is not looked at.
    #[serde(default)]
    pub audience: Option<String>,
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
    /// The audience that it is for, where one is pinned.
    pub audience: Option<String>,
    /// The gateway's reference of the verification.
    pub verification_id: Option<String>,
    /// When it was verified, if that was later than it was presented.
    pub verified_at: Option<Timestamp>,
}

impl TrustedIssuers {
    /// The issuers that the environment names, with their keys, looked up once.
    ///
    /// # Errors
    /// If the environment names none, or something that cannot be trusted.
    pub async fn from_env(aws: &Aws) -> Result<Self, Error> {
        let https = Https::new()?;
        let keys =
            async |issuer: &PinnedIssuer| aws.looked_up(JwksUrl::new(https.clone(), issuer.jwks_url.clone())).await;
        Self::new(with_keys(aws.issuers()?, keys).await)
    }
}

/// The issuers with their keys, all looked up at the same time: together they take no longer than the slowest.
async fn with_keys<L: LookUp>(
    issuers: Vec<PinnedIssuer>,
    look_up: impl AsyncFn(&PinnedIssuer) -> Cached<L>,
) -> Vec<(PinnedIssuer, Cached<L>)> {
    let keys = join_all(issuers.iter().map(|issuer| look_up(issuer))).await;
    issuers.into_iter().zip(keys).collect()
}

impl<L: LookUp<Value = Arc<KeySet>>> TrustedIssuers<L> {
    /// These issuers.
    ///
    /// # Errors
    /// If one allows a symmetric algorithm, or none at all, has its keys where anybody could change them on their way, or an empty audience.
    pub fn new(issuers: Vec<(PinnedIssuer, Cached<L>)>) -> Result<Self, Error> {
        for (PinnedIssuer { issuer, jwks_url, algorithms, audience }, _) in &issuers {
            if !Https::fetches(jwks_url) {
                return Err(format!("the keys of the issuer {issuer} have to be at an https address").into());
            }
            if algorithms.is_empty() || !algorithms.iter().copied().all(is_asymmetric) {
                return Err(format!("the issuer {issuer} needs asymmetric algorithms, and no others").into());
            }
            if audience.as_ref().is_some_and(String::is_empty) {
                return Err(format!("the audience of the issuer {issuer} is empty: leave it out or name one").into());
            }
        }
        Ok(Self(issuers))
    }

    /// Verifies a token that was presented at this time, by what is known now. A key that is not known is looked up, though
    /// not more often than the cache allows.
    ///
    /// # Errors
    /// With the reason for which it is not trusted.
    pub async fn verify(&self, token: &str, presented_at: Timestamp, now: Timestamp) -> Result<Trusted, Untrusted> {
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
        verify_with(&token, &key, &pinned.algorithms, pinned.audience.as_deref(), presented_at, now)?;
        let verification_id = token.claims.verification_id.filter(|id| id.len() <= MAX_VERIFICATION_ID_BYTES);
        let audience = pinned.audience.clone();
        let verified_at = Some(now).filter(|now| *now != presented_at);
        Ok(Trusted { issuer: pinned.issuer.clone(), key: key.jwk(), audience, verification_id, verified_at })
    }
}

fn verify_with(
    token: &Token<'_>,
    key: &Key,
    allowed: &[Algorithm],
    audience: Option<&str>,
    presented_at: Timestamp,
    now: Timestamp,
) -> Result<(), Untrusted> {
    token.check_signature(key, allowed)?;
    token.check_time(presented_at, now)?;
    audience.map_or(Ok(()), |audience| token.check_audience(audience))
}

/// A longer one is no reference that anybody works with, and would fill the event's item.
const MAX_VERIFICATION_ID_BYTES: usize = 256;

impl Trusted {
    /// What is kept of it, so that the token can be [verified again](verify_again).
    #[must_use]
    pub fn to_evidence(&self) -> Value {
        let Self { issuer, key, audience, verification_id, verified_at } = self;
        let mut evidence =
            json!({ "issuer": issuer, "key": key, "audience": audience, "verification_id": verification_id });
        if let (Some(evidence), Some(verified_at)) = (evidence.as_object_mut(), verified_at) {
            evidence.insert("verified_at".to_owned(), json!(verified_at));
        }
        evidence
    }
}

/// Verifies a token that was presented at that time again, by what was kept when it was trusted: issuer, key and audience.
///
/// # Errors
/// With the reason for which it would not be trusted.
pub fn verify_again(token: &str, evidence: &Value, presented_at: Timestamp) -> Result<(), Untrusted> {
    let token = Token::read(token)?;
    if token.issuer() != evidence.get("issuer").and_then(Value::as_str) {
        return Err(Untrusted::Issuer);
    }
    let key = evidence.get("key").and_then(Key::from_jwk).ok_or(Untrusted::UnknownKey)?;
    let audience = evidence.get("audience").and_then(Value::as_str);
    let verified_at = evidence.get("verified_at").and_then(Value::as_str).and_then(|time| time.parse().ok());
    verify_with(&token, &key, key.algorithms(), audience, presented_at, verified_at.unwrap_or(presented_at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    struct Silent;

    impl LookUp for Silent {
        type Value = Arc<KeySet>;
        const WHAT: &'static str = "silence";

        async fn look_up(&self) -> Result<Self::Value, Error> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_issuers_that_do_not_answer_take_as_long_as_one() {
        let issuer = |n| PinnedIssuer {
            issuer: format!("https://issuer-{n}.example.com"),
            jwks_url: format!("https://issuer-{n}.example.com/jwks.json"),
            algorithms: vec![Algorithm::ES256],
            audience: None,
        };
        let time = Duration::from_secs(4);
        let began = Instant::now();
        let look_up = async |_: &PinnedIssuer| Cached::new(Silent, time).filled(runtime::now(), time).await;
        let issuers = with_keys((0..10).map(issuer).collect(), look_up).await;
        assert_eq!(began.elapsed(), time);
        assert!(issuers.iter().map(|(issuer, _)| issuer).eq(&(0..10).map(issuer).collect::<Vec<_>>()));
    }
}

//! Issuers' public keys.

use std::{fmt, sync::Arc};

use jiff::SignedDuration;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use runtime::{Error, Https, LookUp};
use serde::Deserialize;
use serde_json::Value;

/// One public key that tokens can be verified with.
#[derive(Clone)]
pub struct Key {
    jwk: Jwk,
    decoding_key: DecodingKey,
    algorithms: &'static [Algorithm],
}

impl Key {
    /// The key that a JWK is ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)). None if tokens are not verified with it: because it is symmetric, for
    /// encryption, of a kind that is not known, or broken.
    #[must_use]
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let jwk = Jwk::deserialize(jwk).ok()?;
        let for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature)
            && jwk.common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !for_signatures {
            return None;
        }
        let algorithms = algorithms_of(&jwk)?;
        let decoding_key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { jwk, decoding_key, algorithms })
    }

    /// The key as a JWK: what it takes to verify with it, without the certificates that may come along.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(&self.jwk).unwrap_or_default();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| ["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid"].contains(&name.as_str()));
        }
        jwk
    }

    /// Its id in its set.
    fn id(&self) -> Option<&str> {
        self.jwk.common.key_id.as_deref()
    }

    /// The algorithms that it is for: one, unless it is an RSA key that does not say which.
    pub(crate) fn algorithms(&self) -> &[Algorithm] {
        self.algorithms
    }

    pub(crate) fn decoding_key(&self) -> &DecodingKey {
        &self.decoding_key
    }
}

/// The algorithms that a key is for, by its kind and its curve, and by what it says itself.
fn algorithms_of(jwk: &Jwk) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    const RSA: &[Algorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];
    let possible: &'static [Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        AlgorithmParameters::RSA(_) => RSA,
        _ => return None,
    };
    let Some(stated) = &jwk.common.key_algorithm else { return Some(possible) };
    let stated = match stated {
        KeyAlgorithm::ES256 => ES256,
        KeyAlgorithm::ES384 => ES384,
        KeyAlgorithm::EdDSA => EdDSA,
        KeyAlgorithm::RS256 => RS256,
        KeyAlgorithm::RS384 => RS384,
        KeyAlgorithm::RS512 => RS512,
        KeyAlgorithm::PS256 => PS256,
        KeyAlgorithm::PS384 => PS384,
        KeyAlgorithm::PS512 => PS512,
        _ => return None,
    };
    // A part of the slice that holds just the one.
    let at = possible.iter().position(|algorithm| *algorithm == stated)?;
    possible.get(at..=at)
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk
    }
}

/// Shows the id only, so that logs stay readable.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id()).finish()
    }
}

/// The public keys of one issuer.
#[derive(Debug, Clone, PartialEq)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// The keys in a JWK set that tokens can be verified with; others in it are passed over.
    ///
    /// # Errors
    /// If it is no JWK set, or has no such key.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct JwkSet {
            keys: Vec<Value>,
        }
        // serde's own message could quote the document.
        let JwkSet { keys } = serde_json::from_slice(json).map_err(|_| "the document is no JWK set")?;
        let keys: Vec<Key> = keys.iter().filter_map(Key::from_jwk).collect();
        if keys.is_empty() { Err("no key in the JWK set can verify tokens".into()) } else { Ok(Self(keys)) }
    }

    /// The key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id() == Some(id))
    }
}

/// Where an issuer publishes its keys.
#[derive(Debug)]
pub struct JwksUrl {
    https: Https,
    url: String,
}

impl JwksUrl {
    /// The keys at this address.
    #[must_use]
    pub fn new(https: Https, url: String) -> Self {
        Self { https, url }
    }
}

/// Far larger than any set of keys.
const MAX_JWKS_BYTES: usize = 256 * 1024;

impl LookUp for JwksUrl {
    type Value = Arc<KeySet>;
    const WHAT: &'static str = "issuer's keys";
    /// An issuer that withdraws a key must be able to count on it.
    const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

    async fn look_up(&self) -> Result<Self::Value, Error> {
        Ok(Arc::new(KeySet::parse(&self.https.get(&self.url, MAX_JWKS_BYTES).await?)?))
    }
}

//! Tokens: JWTs signed by the gateway ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)), read the way
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725) asks for.
//!
//! Nothing in a token decides how it is checked. Its issuer and key id choose among pinned issuers and their keys; the algorithm is the key's. `jku`,
//! `x5u`, `jwk` and `x5c` in a header are not even read.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, crypto};
use model::{
    Timestamp,
    wire::{self, Members},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::keys::Key;

/// Why a token is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Untrusted {
    /// There is none.
    Missing,
    /// Larger than any token, or with a header larger than any header.
    TooLarge,
    /// Not three parts of base64url, of which two are JSON objects.
    Malformed,
    /// A name is there twice in its header or its claims.
    RepeatedName,
    /// Its header has `crit` or `b64`, which changes what the rest means.
    Critical,
    /// Its algorithm is none, symmetric, not allowed for the issuer, or not the key's.
    Algorithm,
    /// Its header names no key.
    NoKeyId,
    /// It is of no pinned issuer.
    Issuer,
    /// It says that its issuer's keys are elsewhere.
    JwksUri,
    /// The issuer's keys are unavailable.
    KeysUnavailable,
    /// The issuer has no such key.
    UnknownKey,
    /// It is not signed with the key.
    Signature,
    /// One of its times is no number.
    Time,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is not for the audience that is pinned with its issuer.
    Audience,
    /// The same token is there for another credential.
    Reused,
    /// A token for another credential has the same `verification_id`.
    VerificationIdReused,
}

impl Untrusted {
    /// Whether it may pass with time. Then the token is [checked again](crate::recheck).
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::UnknownKey | Self::NotYetValid)
    }

    /// The reason's code in events, logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::TooLarge => "token_too_large",
            Self::Malformed => "token_malformed",
            Self::RepeatedName => "token_repeated_name",
            Self::Critical => "token_critical_header",
            Self::Algorithm => "token_algorithm",
            Self::NoKeyId => "token_no_key_id",
            Self::Issuer => "token_issuer",
            Self::JwksUri => "token_jwks_uri",
            Self::KeysUnavailable => "token_keys_unavailable",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Time => "token_time",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Reused => "token_reused",
            Self::VerificationIdReused => "verification_id_reused",
        }
    }
}

/// The largest token: the largest callback holds one such.
const MAX_TOKEN_BYTES: usize = 3 * 1024 * 1024;

/// The largest header, encoded. Ours hold an algorithm and a key id.
const MAX_HEADER_BYTES: usize = 4 * 1024;

/// How far the clocks of issuer and verifier may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// A token that was read, and nothing more: whoever wrote it may have written anything.
#[derive(Debug)]
pub struct Token<'a> {
    /// The header's algorithm.
    algorithm: Algorithm,
    /// The header's key id.
    pub(crate) key_id: String,
    /// The claims that matter here.
    pub(crate) claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

/// The claims by which a token is checked, and its reference. All others stay where they are.
#[derive(Debug, Deserialize)]
pub struct Claims {
    iss: Option<String>,
    jwks_uri: Option<String>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Value>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) verification_id: Option<String>,
}

/// A claim that is there, also if it is null: that is neither a time nor an audience.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl<'a> Token<'a> {
    /// Reads a token without believing it.
    ///
    /// # Errors
    /// If it is no token of a kind that could be trusted.
    pub fn read(token: &'a str) -> Result<Self, Untrusted> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Untrusted::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Untrusted::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Untrusted::Malformed)?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(Untrusted::TooLarge);
        }
        let (header, claims) = (decode(header)?, decode(claims)?);
        decode(signature)?;

        let Header { alg, kid } = read_object(&header, |members| {
            let critical = members.0.iter().any(|(name, _)| name == "crit" || name == "b64");
            if critical { Err(Untrusted::Critical) } else { Ok(()) }
        })?;
        let claims: Claims = read_object(&claims, |_| Ok(()))?;
        let algorithm = alg.parse().ok().filter(|algorithm| is_asymmetric(*algorithm)).ok_or(Untrusted::Algorithm)?;
        let key_id = kid.filter(|kid| !kid.is_empty()).ok_or(Untrusted::NoKeyId)?;
        Ok(Self { algorithm, key_id, claims, signed, signature })
    }

    /// Who says to have issued it.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.iss.as_deref()
    }

    /// Whether it names this address of keys, or none.
    pub(crate) fn agrees_with_jwks_url(&self, url: &str) -> bool {
        self.claims.jwks_uri.as_deref().is_none_or(|uri| uri == url)
    }

    /// Checks the signature with this key, by the key's algorithm, if that is among those allowed.
    ///
    /// # Errors
    /// If the algorithm is not the key's, or not allowed, or the signature is not the key's.
    pub fn check_signature(&self, key: &Key, allowed: &[Algorithm]) -> Result<(), Untrusted> {
        if !key.algorithms().contains(&self.algorithm) || !allowed.contains(&self.algorithm) {
            return Err(Untrusted::Algorithm);
        }
        match crypto::verify(self.signature, self.signed.as_bytes(), key.decoding_key(), self.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Untrusted::Signature),
        }
    }

    /// Checks that it had not expired when it was presented, and is valid by now.
    ///
    /// # Errors
    /// If it is not, or a time in it is no number.
    pub fn check_time(&self, presented_at: Timestamp, now: Timestamp) -> Result<(), Untrusted> {
        let time = |claim: &Option<Value>| match claim {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(Untrusted::Time),
        };
        let (expires, begins) = (time(&self.claims.exp)?, time(&self.claims.nbf)?);
        let seconds = |time: Timestamp| time.as_duration().as_secs_f64();
        let leeway = LEEWAY.as_secs_f64();
        if expires.is_some_and(|expires| seconds(presented_at) >= expires + leeway) {
            Err(Untrusted::Expired)
        } else if begins.is_some_and(|begins| seconds(now) < begins - leeway) {
            Err(Untrusted::NotYetValid)
        } else {
            Ok(())
        }
    }

    /// Checks that it is for this audience: that its `aud` is this text, or an array of texts with this one in it
    /// ([RFC 7519 §4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3)).
    ///
    /// # Errors
    /// If it is not.
    pub fn check_audience(&self, audience: &str) -> Result<(), Untrusted> {
        let is_for = match &self.claims.aud {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => {
                several.iter().all(Value::is_string) && several.iter().any(|one| one == audience)
            }
            _ => false,
        };
        if is_for { Ok(()) } else { Err(Untrusted::Audience) }
    }
}

/// The parts of a token that are signed, and the rest: its signature, with the dot before it. Nothing in the signed parts can
/// be spelled in another way without breaking the signature, but one token can have several valid signatures. So the signed
/// parts say whether two tokens are the same.
pub(crate) fn signed_parts(token: &str) -> (&str, &str) {
    token.rfind('.').and_then(|dot| token.split_at_checked(dot)).unwrap_or((token, ""))
}

/// Decodes base64url in its one canonical spelling: no padding, no blanks, no stray bits.
fn decode(part: &str) -> Result<Vec<u8>, Untrusted> {
    BASE64URL.decode(part).map_err(|_| Untrusted::Malformed)
}

/// Reads a JSON object that has each name once, after another look at its members.
fn read_object<T: serde::de::DeserializeOwned>(
    json: &[u8],
    look: impl FnOnce(&Members<'_>) -> Result<(), Untrusted>,
) -> Result<T, Untrusted> {
    let members: Members<'_> = serde_json::from_slice(json).map_err(|_| Untrusted::Malformed)?;
    if members.has_repeats() {
        return Err(Untrusted::RepeatedName);
    }
    look(&members)?;
    serde_json::from_slice(json).map_err(|_| Untrusted::Malformed)
}

/// Whether an algorithm is one for which a public key can stand in a set of keys.
pub(crate) fn is_asymmetric(algorithm: Algorithm) -> bool {
    !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

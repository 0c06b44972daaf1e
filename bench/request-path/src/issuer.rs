//! The wallet gateway as an issuer of tokens, with a key for one algorithm.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
    },
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use providers::wallet_verification::{
    issuers::{PinnedIssuer, TrustedIssuers},
    keys::KeySet,
};
use runtime::{Cached, Error, LookUp};
use serde_json::{Value, json};

use crate::now;

const ISSUER: &str = "https://wallet-gateway.example.com";
const JWKS_URL: &str = "https://wallet-gateway.example.com/jwks.json";
const KEY_ID: &str = "local-wallet-key";

/// The algorithms by which tokens may be signed.
pub const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// An issuer with a private key.
pub struct Issuer {
    algorithm: Algorithm,
    private_key: EncodingKey,
}

impl Issuer {
    /// An issuer whose tokens are signed by this algorithm. For `EdDSA` it has always the same key, so that its tokens are always the same.
    ///
    /// # Errors
    /// If there is no key for the algorithm.
    pub fn new(algorithm: Algorithm) -> anyhow::Result<Self> {
        let ecdsa = |algorithm| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())?;
            anyhow::Ok(EncodingKey::from_ec_der(pkcs8.as_ref()))
        };
        let private_key = match algorithm {
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32])?;
                EncodingKey::from_ed_der(pair.to_pkcs8v1()?.as_ref())
            }
            Algorithm::ES256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            Algorithm::ES384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => bail!("tokens are not signed by {algorithm:?}"),
            _ => {
                let pkcs8: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?;
                EncodingKey::from_rsa_der(pkcs8.as_ref().get(PKCS8_HEADER_BYTES..).context("a key has more bytes")?)
            }
        };
        Ok(Self { algorithm, private_key })
    }

    /// A token with these claims, beside those by which its issuer is known.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let mut claims = claims.clone();
        if let Some(claims) = claims.as_object_mut() {
            claims.entry("iss").or_insert_with(|| ISSUER.into());
            claims.entry("jwks_uri").or_insert_with(|| JWKS_URL.into());
        }
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(self.algorithm) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.private_key)?)
    }

    /// What trusts this issuer, and has its keys at hand.
    ///
    /// # Errors
    /// If its key is none.
    pub async fn trusted(&self) -> anyhow::Result<TrustedIssuers<PublicKeys>> {
        let mut jwk = Jwk::from_encoding_key(&self.private_key, self.algorithm)?;
        jwk.common.key_id = Some(KEY_ID.to_owned());
        let keys = Cached::new(PublicKeys(json!({ "keys": [jwk] }).to_string()), Duration::from_secs(1));
        let pinned = PinnedIssuer {
            issuer: ISSUER.to_owned(),
            jwks_url: JWKS_URL.to_owned(),
            algorithms: vec![self.algorithm],
            audience: None,
        };
        TrustedIssuers::new(vec![(pinned, keys.filled(now(), Duration::from_secs(1)).await)])
            .map_err(anyhow::Error::from_boxed)
    }
}

/// The key in PKCS#8, which is what can be had, is the one in PKCS#1, which is asked for, behind this.
const PKCS8_HEADER_BYTES: usize = 26;

/// An issuer's JWK set, which is at hand.
#[derive(Debug)]
pub struct PublicKeys(String);

impl LookUp for PublicKeys {
    type Value = Arc<KeySet>;
    const WHAT: &'static str = "issuer's keys";

    async fn look_up(&self) -> Result<Self::Value, Error> {
        Ok(Arc::new(KeySet::parse(self.0.as_bytes())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokio_runtime;

    #[test]
    fn a_token_is_trusted_by_each_algorithm() {
        for algorithm in ALGORITHMS {
            let issuer = Issuer::new(algorithm).unwrap();
            let token = issuer.sign(&json!({ "verification_id": "example" })).unwrap();
            let verified = tokio_runtime().unwrap().block_on(async {
                let trusted = issuer.trusted().await.unwrap();
                trusted.verify(&token, now(), now()).await
            });
            let verification_id = verified.map(|trusted| trusted.verification_id);
            assert_eq!(verification_id, Ok(Some("example".to_owned())), "{algorithm:?}");
        }
    }
}

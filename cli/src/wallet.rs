//! The wallet gateway, played on this machine: an issuer with a key of its own.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, anyhow};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::{Expectation, InvalidSubject, Purpose, Subject, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    expect,
    stack::{Connections, Stack},
};

/// What a local stack trusts as the wallet gateway. In stack.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wallet {
    /// What the gateway's tokens say in `iss`.
    pub issuer: String,
    /// Where its public keys are.
    pub jwks_url: String,
    /// The file with its private key, as a JWK with its `kid`.
    pub signing_key: String,
}

/// The issuer of every local stack.
pub(crate) const LOCAL_ISSUER: &str = "https://wallet-gateway.example.com";

/// A private key that tokens are signed with.
#[derive(Clone)]
pub struct SigningKey {
    jwk: Value,
    algorithm: Algorithm,
    key_id: String,
    encoding_key: EncodingKey,
}

impl SigningKey {
    /// A new key for ES256.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate(key_id: &str) -> anyhow::Result<Self> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| anyhow!("failed to make a key"))?;
        let d = aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(
            &pair.private_key(),
        )
        .map_err(|_| anyhow!("failed to read a new key"))?;
        let (x, y) = coordinates(pair.public_key().as_ref())?;
        Self::from_jwk(&json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key_id,
            "x": BASE64URL.encode(x), "y": BASE64URL.encode(y), "d": BASE64URL.encode(d.as_ref()),
        }))
    }

    /// The Ed25519 key with this seed: its signatures are always the same, for tests.
    ///
    /// # Errors
    /// If the seed has not 32 bytes.
    pub fn from_seed(key_id: &str, seed: &[u8]) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| anyhow!("a seed has 32 bytes"))?;
        Self::from_jwk(&json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key_id,
            "x": BASE64URL.encode(pair.public_key()), "d": BASE64URL.encode(seed),
        }))
    }

    /// The private key that a JWK is: an EC key on P-256, or an Ed25519 key.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_jwk(jwk: &Value) -> anyhow::Result<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).with_context(|| format!("the key has no {name}"));
        let bytes = |name: &str| Ok::<_, anyhow::Error>(BASE64URL.decode(text(name)?)?);
        let broken = |_| anyhow!("the key is broken");
        let (algorithm, encoding_key) = match text("crv")? {
            "P-256" => {
                let public = [&[4], bytes("x")?.as_slice(), bytes("y")?.as_slice()].concat();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(
                    &ECDSA_P256_SHA256_FIXED_SIGNING,
                    &bytes("d")?,
                    &public,
                );
                let pkcs8 = pair.map_err(|_| anyhow!("the key is broken"))?.to_pkcs8v1().map_err(broken)?;
                (Algorithm::ES256, EncodingKey::from_ec_der(pkcs8.as_ref()))
            }
            "Ed25519" => {
                let pair =
                    Ed25519KeyPair::from_seed_unchecked(&bytes("d")?).map_err(|_| anyhow!("the key is broken"))?;
                (Algorithm::EdDSA, EncodingKey::from_ed_der(pair.to_pkcs8().map_err(broken)?.as_ref()))
            }
            other => return Err(anyhow!("keys on {other} are not for signing here, only P-256 and Ed25519")),
        };
        Ok(Self { jwk: jwk.clone(), algorithm, key_id: text("kid")?.to_owned(), encoding_key })
    }

    /// The private key in this file.
    ///
    /// # Errors
    /// If there is none in it.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        let jwk = serde_json::from_str(&text).with_context(|| format!("{} is no JWK", file.display()))?;
        Self::from_jwk(&jwk).with_context(|| format!("failed to use the key in {}", file.display()))
    }

    /// Writes the private key to a file that only its owner can read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
        let text = serde_json::to_string_pretty(&self.jwk)?;
        open.and_then(|mut file| writeln!(file, "{text}"))
            .with_context(|| format!("failed to write {}", file.display()))
    }

    /// The set with its public key.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let mut public = self.jwk.clone();
        if let Some(fields) = public.as_object_mut() {
            fields.remove("d");
        }
        json!({ "keys": [public] })
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.encoding_key).context("failed to sign a token")
    }
}

fn coordinates(point: &[u8]) -> anyhow::Result<(&[u8], &[u8])> {
    point.strip_prefix(&[4]).and_then(|point| point.split_at_checked(32)).context("a public key is a point")
}

/// What a sample of the wallet gateway needs before it can be sent. In files in events/, beside the event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// What is announced first.
    pub announce: Option<Announcement>,
    /// The tokens that are put into the body, each where it has `<token NAME>`, by these names.
    #[serde(default)]
    pub tokens: BTreeMap<String, SampleToken>,
}

/// The body of `PUT /expectations/wallet`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Announcement {
    /// What was begun with init.
    pub purpose: Purpose,
    /// The code that init returned.
    pub code: String,
    /// The state that was given to init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The templates that were asked for.
    #[serde(default)]
    pub template_ids: Vec<String>,
    /// When the callback is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

impl Announcement {
    /// What is expected after this announcement. Without a state, its events have this subject.
    ///
    /// # Errors
    /// If the state is too long for a subject.
    pub fn expectation(&self, subject: Subject, now: Timestamp) -> Result<Expectation, InvalidSubject> {
        let expectation = Expectation::new(&self.code, self.purpose, subject, now).with_state(self.state.clone())?;
        Ok(expectation.with_template_ids(self.template_ids.clone()).with_due_at(self.due_at))
    }
}

/// A token to be signed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleToken {
    /// Its claims; `iss` and `jwks_uri` are the local issuer's unless they are here.
    pub claims: Value,
    /// Whether somebody else signs it, under the same key id.
    #[serde(default)]
    pub forged: bool,
}

/// The local issuer: what it is, and its key.
#[derive(Clone)]
pub struct Issuer {
    /// What its tokens say in `iss`.
    pub issuer: String,
    /// What its tokens say in `jwks_uri`.
    pub jwks_url: String,
    /// Its key.
    pub key: SigningKey,
    /// Somebody else's, under the same id.
    pub stranger: SigningKey,
}

impl Issuer {
    /// The issuer of a local stack.
    ///
    /// # Errors
    /// If the stack is not local, or its key cannot be read.
    pub fn of(stack: &Stack) -> anyhow::Result<Self> {
        let wallet =
            stack.wallet.as_ref().context("only a local stack's tokens can be signed here, not a deployed one's")?;
        let key = SigningKey::read(Path::new(&wallet.signing_key))?;
        let stranger = SigningKey::generate(&key.key_id)?;
        Ok(Self { issuer: wallet.issuer.clone(), jwks_url: wallet.jwks_url.clone(), key, stranger })
    }

    /// Signs a sample's token.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn sign(&self, token: &SampleToken) -> anyhow::Result<String> {
        let mut claims = token.claims.clone();
        if let Some(claims) = claims.as_object_mut() {
            claims.entry("iss").or_insert_with(|| self.issuer.clone().into());
            claims.entry("jwks_uri").or_insert_with(|| self.jwks_url.clone().into());
        }
        if token.forged { self.stranger.sign(&claims) } else { self.key.sign(&claims) }
    }
}

/// Announces what the gateway will call back about, and returns the status and the body of the answer.
///
/// # Errors
/// If there are no credentials, or no answer.
pub async fn announce(
    http: &reqwest::Client,
    stack: &Stack,
    connections: &Connections,
    announcement: &Announcement,
) -> anyhow::Result<(u16, String)> {
    expect::put(http, stack, connections, "wallet", serde_json::to_string(announcement)?).await
}

/// The subject that an answer to an announcement has: that of the callback's events.
///
/// # Errors
/// If it has none.
pub(crate) fn announced_subject(answer: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Expected {
        subject: String,
    }
    let Expected { subject } = serde_json::from_str(answer)
        .with_context(|| format!("the answer to an announcement has no subject: {answer}"))?;
    Ok(subject)
}

//! Signature schemes of callbacks. A scheme is data: it says where the signature is and what it
//! covers. [`signed_body`](crate::signed_body) checks requests against it.
//!
//! HMAC and Ed25519 are those of `aws-lc-rs`, which every function links for TLS anyway. The crate
//! `hmac` would do for HMAC, but not for Ed25519. The crate `standardwebhooks` reads one scheme
//! only, without Ed25519. It takes secrets of any length, requires a body that is UTF-8, and checks
//! the timestamp before the signature.

use aws_lc_rs::{
    hmac,
    signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::SignedDuration;
use subtle::{Choice, ConstantTimeEq as _};

use crate::{Header, InvalidSecret, Refusal, Request, SecretPair, Timestamp, event::hex, is_plain_reference};

/// The longest signature header that is read. Eight signatures of 64 bytes fit.
const MAX_HEADER_BYTES: usize = 2048;

/// How many signatures of a request are looked at. Senders put two there while a secret rotates.
const MAX_SIGNATURES: usize = 8;

/// How far a signed timestamp may be from now, before or after. The libraries of Standard Webhooks
/// and Stripe have the same.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// How a sender signs its callbacks.
///
/// The body is always signed, and what is read beside it is always signed too: a [`Part`] names the
/// place that it is read from. So a scheme cannot trust anything that its signature does not cover.
///
/// ```
/// use model::signature::{Algorithm, Encoding, Hmac, Layout, SecretForm, SigningScheme};
///
/// const EXAMPLE: SigningScheme = SigningScheme {
///     header: "x-example-signature",
///     layout: Layout::Alone,
///     before_body: &[],
///     algorithm: Algorithm::Fixed(Hmac::Sha256),
///     encoding: Encoding::Hex,
///     secret: SecretForm::Text,
/// };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningScheme {
    /// The header that has the signature, in lower case.
    pub header: &'static str,
    /// How signatures are written in that header.
    pub layout: Layout,
    /// What is signed before the body. The body's bytes follow as they came.
    pub before_body: &'static [Part],
    /// The HMAC's hash function.
    pub algorithm: Algorithm,
    /// How a signature is written as text.
    pub encoding: Encoding,
    /// How a secret becomes a key.
    pub secret: SecretForm,
}

/// How signatures are written in their header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One signature and nothing else.
    Alone,
    /// Fields separated by commas, `t=1769851800,v1=…`. A field of another name is ignored.
    Fields {
        /// The name of the fields that are signatures. There may be several.
        signature: &'static str,
        /// What separates groups of such fields, if there may be several. Each group has a
        /// timestamp and signatures of its own.
        group_separator: Option<char>,
    },
    /// Signatures separated by blanks, each after its version and a comma: `v1,… v1a,…`. One of
    /// another version is ignored.
    Versions {
        /// The version of signatures by HMAC.
        hmac: &'static str,
        /// The version of signatures by Ed25519.
        ed25519: &'static str,
    },
}

/// A part of the signed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A text that is always the same.
    Text(&'static str),
    /// The callback's id: 1 to 128 letters, digits, `-` and `_`. Verified requests have it as
    /// [`callback_id`](crate::Verified::callback_id).
    Id(Place),
    /// When it was signed, in seconds since 1970.
    Timestamp {
        /// Where it is.
        at: Place,
        /// How far it may be from now, before or after.
        tolerance: SignedDuration,
    },
}

/// Where a part of the signed text is in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the header of this name.
    Header(&'static str),
    /// In the field of this name, beside the signature ([`Layout::Fields`]). It is there once.
    Field(&'static str),
}

/// An HMAC. Neither SHA-1 nor "none" can be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hmac {
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// What chooses the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// It is always this one.
    Fixed(Hmac),
    /// A header names one of several.
    Named {
        /// The header.
        header: &'static str,
        /// What is allowed, by its exact name there. [`SigningScheme::sign`] takes the first.
        allowed: &'static [(&'static str, Hmac)],
    },
}

/// How a signature is written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits in lower case. All known senders write them so, and one form is enough: a
    /// signature in upper case is refused.
    Hex,
    /// Base64 of the standard alphabet, with padding.
    Base64,
}

/// How a secret becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretForm {
    /// The bytes of its text are the key.
    Text,
    /// `whsec_` and the base64 of 24 to 64 bytes: an HMAC key. `whpk_` and the base64 of 32 bytes:
    /// an Ed25519 public key. A public key never checks an HMAC.
    StandardWebhooks,
}

/// [Standard
/// Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md),
/// with symmetric (`v1`) and asymmetric (`v1a`) signatures.
pub const STANDARD_WEBHOOKS: SigningScheme = SigningScheme {
    header: "webhook-signature",
    layout: Layout::Versions { hmac: "v1", ed25519: "v1a" },
    before_body: &[
        Part::Id(Place::Header("webhook-id")),
        Part::Text("."),
        Part::Timestamp { at: Place::Header("webhook-timestamp"), tolerance: TOLERANCE },
        Part::Text("."),
    ],
    algorithm: Algorithm::Fixed(Hmac::Sha256),
    encoding: Encoding::Base64,
    secret: SecretForm::StandardWebhooks,
};

impl SigningScheme {
    /// Checks that both secrets have the form that this scheme asks for.
    ///
    /// # Errors
    /// If one has another. The error does not quote it.
    pub fn check_secrets(&self, secrets: &SecretPair) -> Result<(), InvalidSecret> {
        secrets.texts().try_for_each(|(name, text)| self.secret.key(name, text).map(|_| ()))
    }

    /// The headers that a sender puts beside this body: the signature, and the id, timestamp and
    /// algorithm if the scheme has headers for them. For the command line and tests, which play the
    /// sender.
    ///
    /// The secret is the receiver's. Only a public key cannot sign: in place of `whpk_…`, give the
    /// secret key, `whsk_` and the base64 of its 32 bytes (or of 64, with the public key after
    /// them).
    ///
    /// # Errors
    /// If the secret does not have the form that the scheme asks for, or is a public key.
    pub fn sign(
        &self,
        secret: &str,
        id: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<(&'static str, String)>, InvalidSecret> {
        let timestamp = now.as_second().to_string();
        let (mut headers, mut fields, mut before_body) = (Vec::new(), Vec::new(), String::new());
        for part in self.before_body {
            let (place, value) = match *part {
                Part::Text(text) => (None, text),
                Part::Id(place) => (Some(place), id),
                Part::Timestamp { at, .. } => (Some(at), timestamp.as_str()),
            };
            before_body.push_str(value);
            match place {
                Some(Place::Header(name)) => headers.push((name, value.to_owned())),
                Some(Place::Field(name)) => fields.push(format!("{name}={value}")),
                None => {}
            }
        }
        let algorithm = match self.algorithm {
            Algorithm::Fixed(hmac) => hmac,
            Algorithm::Named { header, allowed } => {
                let (name, hmac) = allowed.first().copied().unwrap_or(("", Hmac::Sha256));
                headers.push((header, name.to_owned()));
                hmac
            }
        };

        let key_pair = self.secret.key_pair(secret)?;
        let signature = match &key_pair {
            Some(key_pair) => {
                let signed = [before_body.as_bytes(), body].concat();
                key_pair.try_sign(&signed).map_err(|_| InvalidSecret::SigningKey)?.as_ref().to_vec()
            }
            None => match self.secret.key("secret", secret)? {
                Key::Hmac(key) => algorithm.tag(&key, &before_body, body).as_ref().to_vec(),
                Key::Ed25519(_) => return Err(InvalidSecret::SigningKey),
            },
        };
        let signature = match self.encoding {
            Encoding::Hex => hex(&signature),
            Encoding::Base64 => BASE64.encode(&signature),
        };
        let value = match self.layout {
            Layout::Alone => signature,
            Layout::Fields { signature: name, .. } => {
                fields.push(format!("{name}={signature}"));
                fields.join(",")
            }
            Layout::Versions { hmac, ed25519 } => {
                format!("{},{signature}", if key_pair.is_some() { ed25519 } else { hmac })
            }
        };
        headers.push((self.header, value));
        Ok(headers)
    }

    /// Reads what a request presents. Nothing of it is believed before [`Presented::fits`].
    pub(crate) fn read<'a>(&self, request: &'a Request, now: Timestamp) -> Result<Presented<'a>, Refusal> {
        let header = present(request, self.header)?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(Refusal::Malformed);
        }
        let algorithm = match self.algorithm {
            Algorithm::Fixed(hmac) => hmac,
            Algorithm::Named { header, allowed } => {
                let named = present(request, header)?;
                let of_name = allowed.iter().find(|(name, _)| *name == named);
                of_name.map(|(_, hmac)| *hmac).ok_or(Refusal::Malformed)?
            }
        };
        let groups = match self.layout {
            Layout::Fields { group_separator: Some(separator), .. } => header.split(separator).collect(),
            Layout::Fields { .. } | Layout::Alone | Layout::Versions { .. } => vec![header],
        };
        let groups = groups.into_iter().map(|group| self.read_group(request, group, algorithm, now));
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        let count: usize = groups.iter().map(|group| group.signatures.len()).sum();
        if count > MAX_SIGNATURES {
            return Err(Refusal::Malformed);
        }
        Ok(Presented { algorithm, groups, body: &request.body })
    }

    fn read_group<'a>(
        &self,
        request: &'a Request,
        text: &'a str,
        algorithm: Hmac,
        now: Timestamp,
    ) -> Result<Group<'a>, Refusal> {
        let decode = |text, bytes, is_hmac| {
            let bytes = self.encoding.decode(text, bytes).ok_or(Refusal::Malformed)?;
            Ok(Signature { is_hmac, bytes })
        };
        let by_hmac = |text| decode(text, algorithm.bytes(), true);
        let by_ed25519 = |text| decode(text, ED25519_BYTES, false);
        let mut fields = Vec::new();
        let signatures = match self.layout {
            Layout::Alone => vec![by_hmac(text)?],
            Layout::Fields { signature, .. } => {
                for field in text.split(',') {
                    fields.push(field.split_once('=').ok_or(Refusal::Malformed)?);
                }
                let signatures = fields.iter().filter(|(name, _)| *name == signature).map(|(_, text)| by_hmac(text));
                signatures.collect::<Result<_, Refusal>>()?
            }
            Layout::Versions { hmac, ed25519 } => {
                let mut signatures = Vec::new();
                for entry in text.split(' ') {
                    match entry.split_once(',').ok_or(Refusal::Malformed)? {
                        (version, text) if version == hmac => signatures.push(by_hmac(text)?),
                        (version, text) if version == ed25519 => signatures.push(by_ed25519(text)?),
                        _ => {}
                    }
                }
                signatures
            }
        };

        // Each group costs an HMAC of the body.
        if signatures.is_empty() {
            return Err(Refusal::Malformed);
        }

        let at = |place| match place {
            Place::Header(name) => present(request, name),
            Place::Field(name) => {
                let mut values = fields.iter().filter(|(field, _)| *field == name).map(|(_, value)| *value);
                match (values.next(), values.next()) {
                    (Some(value), None) => Ok(value),
                    _ => Err(Refusal::Malformed),
                }
            }
        };
        let mut group = Group { before_body: String::new(), id: None, is_current: true, signatures };
        for part in self.before_body {
            group.before_body.push_str(match *part {
                Part::Text(text) => text,
                Part::Id(place) => {
                    let id = at(place)?;
                    // Without a full stop in it, no other id and timestamp give the same signed
                    // text.
                    if !is_plain_reference(id) {
                        return Err(Refusal::Malformed);
                    }
                    group.id = Some(id);
                    id
                }
                Part::Timestamp { at: place, tolerance } => {
                    let text = at(place)?;
                    let signed_at = timestamp(text).ok_or(Refusal::Malformed)?;
                    group.is_current &= now.duration_since(signed_at).abs() <= tolerance;
                    text
                }
            });
        }
        Ok(group)
    }
}

const ED25519_BYTES: usize = 64;

impl Hmac {
    /// The length of a signature.
    fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn tag(self, key: &[u8], before_body: &str, body: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
        context.update(before_body.as_bytes());
        context.update(body);
        context.sign()
    }
}

impl Encoding {
    /// The bytes of a text that encodes this many, in the one form that is accepted.
    fn decode(self, text: &str, bytes: usize) -> Option<Vec<u8>> {
        let decoded = match self {
            Self::Hex if text.len() == 2 * bytes => {
                let digits: Option<Vec<u8>> = text.bytes().map(lower_hex_digit).collect();
                digits?.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect()
            }
            Self::Base64 if text.len() == bytes.div_ceil(3) * 4 => BASE64.decode(text).ok()?,
            Self::Hex | Self::Base64 => return None,
        };
        (decoded.len() == bytes).then_some(decoded)
    }
}

fn lower_hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl SecretForm {
    /// The key to check signatures with that a secret of this name is.
    fn key(self, name: &'static str, text: &str) -> Result<Key, InvalidSecret> {
        if self == Self::Text {
            return Ok(Key::Hmac(text.as_bytes().to_vec()));
        }
        let key = if let Some(key) = text.strip_prefix("whsec_") {
            BASE64.decode(key).ok().filter(|key| (24..=64).contains(&key.len())).map(Key::Hmac)
        } else {
            let key = text.strip_prefix("whpk_").and_then(|key| BASE64.decode(key).ok());
            key.filter(|key| key.len() == 32).map(Key::Ed25519)
        };
        key.ok_or(InvalidSecret::StandardWebhooks(name))
    }

    /// The key pair that a sender signs with, if the secret is one.
    fn key_pair(self, text: &str) -> Result<Option<Ed25519KeyPair>, InvalidSecret> {
        let Some(key) = text.strip_prefix("whsk_").filter(|_| self == Self::StandardWebhooks) else { return Ok(None) };
        let key = BASE64.decode(key).map_err(|_| InvalidSecret::SigningKey)?;
        let key_pair = match key.split_at_checked(32) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public_key)) => Ed25519KeyPair::from_seed_and_public_key(seed, public_key),
            None => return Err(InvalidSecret::SigningKey),
        };
        key_pair.map(Some).map_err(|_| InvalidSecret::SigningKey)
    }
}

/// What a signature is checked with.
enum Key {
    Hmac(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// What a request presents: signatures, and what they are said to cover.
pub(crate) struct Presented<'a> {
    algorithm: Hmac,
    groups: Vec<Group<'a>>,
    body: &'a [u8],
}

/// Signatures of the same text.
struct Group<'a> {
    /// The signed text before the body.
    before_body: String,
    id: Option<&'a str>,
    /// Whether the timestamp is within the tolerance, if there is one.
    is_current: bool,
    signatures: Vec<Signature>,
}

struct Signature {
    is_hmac: bool,
    bytes: Vec<u8>,
}

/// What a fitting signature covers beside the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) is_current: bool,
}

impl<'a> Presented<'a> {
    /// What is signed with one of these secrets, or nothing if no signature fits. If several fit,
    /// one within the tolerance counts.
    ///
    /// # Errors
    /// If no signature fits and a secret does not have the form that the scheme asks for. The
    /// request may be authentic.
    pub(crate) fn fits(&self, form: SecretForm, secrets: &SecretPair) -> Result<Option<Signed<'a>>, InvalidSecret> {
        let (mut fitting, mut invalid) = (None, None);
        for (name, text) in secrets.texts() {
            let key = match form.key(name, text) {
                Ok(key) => key,
                Err(error) => {
                    invalid = Some(error);
                    continue;
                }
            };
            for group in &self.groups {
                if !group.is_signed_with(&key, self.algorithm, self.body) {
                    continue;
                }
                let signed = Signed { id: group.id, is_current: group.is_current };
                if signed.is_current {
                    return Ok(Some(signed));
                }
                fitting = Some(signed);
            }
        }
        match (fitting, invalid) {
            (None, Some(error)) => Err(error),
            (fitting, _) => Ok(fitting),
        }
    }
}

impl Group<'_> {
    fn is_signed_with(&self, key: &Key, algorithm: Hmac, body: &[u8]) -> bool {
        // The kind of the key decides which signatures count, so a public key never serves as a key
        // of an HMAC.
        let mut signatures = self.signatures.iter();
        match key {
            Key::Hmac(key) => {
                let tag = algorithm.tag(key, &self.before_body, body);
                let fits = |signature: &Signature| {
                    Choice::from(u8::from(signature.is_hmac)) & tag.as_ref().ct_eq(&signature.bytes)
                };
                signatures.fold(Choice::from(0), |any, signature| any | fits(signature)).into()
            }
            Key::Ed25519(key) => {
                let signed = [self.before_body.as_bytes(), body].concat();
                let key = UnparsedPublicKey::new(&ED25519, key);
                signatures.any(|signature| !signature.is_hmac && key.verify(&signed, &signature.bytes).is_ok())
            }
        }
    }
}

/// The value of a header that has to be there.
fn present<'a>(request: &'a Request, name: &str) -> Result<&'a str, Refusal> {
    match request.header(name) {
        Header::Absent | Header::Value("") => Err(Refusal::Missing),
        Header::Value(value) => Ok(value),
    }
}

/// Reads seconds since 1970, in digits alone.
fn timestamp(text: &str) -> Option<Timestamp> {
    let is_plain = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    Timestamp::from_second(text.parse().ok().filter(|_| is_plain)?).ok()
}

#[cfg(test)]
mod tests;

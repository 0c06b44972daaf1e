//! Authenticity as a type: only the checks in this file make a [`Verified`] request.

use std::{borrow::Cow, net::IpAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use subtle::ConstantTimeEq as _;

use crate::{
    Details, Expectation, Expectations, Header, Identity, Purpose, Request, SecretSource, SigningScheme, StoredEvent,
    Subject, Timestamp, Unavailable, is_state,
    wire::{self, Members},
};

/// The evidence that names the code of a wallet's callback. It stays in the table and is in no
/// message.
pub(crate) const CODE_SHA256: &str = "code_sha256";

/// The evidence that has the subject that was announced with the code.
const SUBJECT: &str = "subject";

/// The evidence that has the id that the provider gave to the callback, and signed.
const CALLBACK_ID: &str = "callback_id";

/// The evidence that has the templates that were announced with the code.
const TEMPLATE_IDS: &str = "template_ids";

/// The hash of a callback's code in its evidence, if it has one.
pub(crate) fn code_sha256_of(evidence: &Details) -> Option<&str> {
    evidence.get(CODE_SHA256).and_then(serde_json::Value::as_str)
}

/// How a verdict was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Assurance {
    /// The callback has a token that a pinned issuer signed.
    SignedToken,
    /// The provider's signature covers the callback's body.
    SignedBody,
    /// The callback has a secret that only we and the provider know.
    SharedSecret,
    /// The callback has a code that belongs to one verification.
    OneTimeCode,
    /// The callback comes from one of the provider's addresses.
    SourceAddress,
    /// Not a callback: the provider gave this answer when it was asked, over TLS and with our
    /// credentials.
    Fetched,
    /// Not a callback: this system recorded an announcement or an overdue verdict itself.
    Internal,
}

/// An authenticated request: its body, and how it was authenticated.
///
/// Nothing outside this module can make one, and an [`Event`](crate::Event) cannot be made without one.
///
/// ```compile_fail
/// let forged = model::Verified { body: "{}".into(), assurance: model::Assurance::SignedToken, evidence: Default::default() };
/// ```
#[derive(Clone)]
pub struct Verified {
    body: Bytes,
    assurance: Assurance,
    evidence: Details,
}

impl Verified {
    fn new(body: impl Into<Bytes>, assurance: Assurance) -> Self {
        Self { body: body.into(), assurance, evidence: Details::new() }
    }

    /// The request that an event was made from. It was verified then, and what was found out was kept with it.
    ///
    /// Not public: what it is read from has to have come from the store, which no type can tell. [`StoredEvent::reread`] is the one use.
    pub(crate) fn once(event: &StoredEvent) -> Self {
        Self { body: event.body.clone().into(), assurance: event.assurance, evidence: event.evidence.clone() }
    }

    /// What a provider answered when it was asked: over TLS, or in a network of the company's, and with our credentials. The
    /// fetcher has made sure of that. What the answer says is as hostile as any input.
    #[must_use]
    pub fn fetched(answer: impl Into<Bytes>) -> Self {
        Self::new(answer, Assurance::Fetched)
    }

    /// What the check found out that a parser or a later verification needs: no secrets, no personal data.
    #[must_use]
    pub fn evidence(&self) -> &Details {
        &self.evidence
    }

    /// The same, with more evidence.
    #[must_use]
    pub fn with_evidence(mut self, name: &str, value: serde_json::Value) -> Self {
        self.evidence.insert(name.to_owned(), value);
        self
    }

    /// The hash of the callback's code, if it has one.
    #[must_use]
    pub fn code_sha256(&self) -> Option<&str> {
        code_sha256_of(&self.evidence)
    }

    /// The subject that was announced with the callback's code, if it has one.
    #[must_use]
    pub fn announced_subject(&self) -> Option<Subject> {
        self.evidence.get(SUBJECT).and_then(serde_json::Value::as_str).and_then(|subject| Subject::new(subject).ok())
    }

    /// The id that the provider signed with the body, if its scheme has one. It is the same in
    /// every attempt to deliver the callback.
    #[must_use]
    pub fn callback_id(&self) -> Option<&str> {
        self.evidence.get(CALLBACK_ID).and_then(serde_json::Value::as_str)
    }

    /// The templates that were announced with the callback's code.
    pub fn announced_template_ids(&self) -> impl Iterator<Item = &str> {
        let template_ids = self.evidence.get(TEMPLATE_IDS).and_then(serde_json::Value::as_array);
        template_ids.into_iter().flatten().filter_map(serde_json::Value::as_str)
    }

    /// The body as it came, apart from a secret in it that the check removed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What the callback says if it is not understood: its body, and the code that was cut out of it.
    pub(crate) fn identity(&self) -> Identity {
        let body = Identity::of_bytes(&self.body);
        match self.code_sha256() {
            Some(code_sha256) => body.within([code_sha256]),
            None => body,
        }
    }

    /// How the request was found authentic.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }
}

/// Shows the body's size only.
impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified")
            .field("assurance", &self.assurance)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why authentication failed. Logged and counted, never sent to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no credential.
    #[error("credential missing")]
    Missing,
    /// The credential is malformed.
    #[error("credential malformed")]
    Malformed,
    /// The credential is neither the current nor the previous one.
    #[error("credential wrong")]
    Wrong,
    /// The signature is right, but its timestamp is too old or in the future.
    #[error("timestamp outside the tolerance")]
    Timestamp,
    /// The source address is not one of the provider's.
    #[error("source address not allowed")]
    SourceAddress,
    /// The secret in the path is missing or wrong.
    #[error("secret in the path missing or wrong")]
    Path,
}

impl Refusal {
    /// The refusal's name in metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
            Self::Timestamp => "timestamp",
            Self::SourceAddress => "source_address",
            Self::Path => "path",
        }
    }
}

/// A request could not be authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It is not authentic.
    #[error("not authentic: {0}")]
    Refused(Refusal),
    /// The check failed. The request may be authentic, so the sender must be able to retry.
    #[error("failed to check authenticity")]
    Unavailable(#[from] Unavailable),
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Verifies a request by the secret that `read` finds in its header `name`.
///
/// # Errors
/// [`AuthError::Refused`] if the secret is missing, malformed or wrong; [`AuthError::Unavailable`]
/// if our own secret is unavailable.
pub async fn shared_secret<'a>(
    request: &'a Request,
    name: &str,
    read: impl FnOnce(&'a str) -> Result<&'a str, Refusal> + Send,
    secrets: &impl SecretSource,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    let presented = match request.header(name) {
        Header::Absent => return Err(Refusal::Missing.into()),
        Header::Value(value) => read(value)?,
    };
    if accepts(secrets, presented, now).await? {
        Ok(Verified::new(request.body.clone(), Assurance::SharedSecret))
    } else {
        Err(Refusal::Wrong.into())
    }
}

/// Verifies a request by a signature of its body. Any of several signatures may fit, with the
/// current secret or the previous one.
///
/// The evidence has the id that was signed, if the scheme has one, as `callback_id`.
///
/// # Errors
/// [`AuthError::Refused`] if the signature is missing, malformed or wrong, or if it is right and
/// its timestamp is not within the tolerance; [`AuthError::Unavailable`] if we do not know our own
/// secret, or if it does not have the form that the scheme asks for and nothing else fits.
pub async fn signed_body(
    request: &Request,
    scheme: &SigningScheme,
    secrets: &impl SecretSource,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    let presented = scheme.read(request, now)?;
    let mut fitting = presented.fits(scheme.secret, &secrets.secrets(now).await?);
    if !matches!(fitting, Ok(Some(_)))
        && let Some(pair) = secrets.refreshed(now).await
    {
        fitting = presented.fits(scheme.secret, &pair);
    }
    let signed = fitting.map_err(|invalid| Unavailable(invalid.into()))?.ok_or(Refusal::Wrong)?;
    if !signed.is_current {
        return Err(Refusal::Timestamp.into());
    }
    let verified = Verified::new(request.body.clone(), Assurance::SignedBody);
    Ok(match signed.id {
        Some(id) => verified.with_evidence(CALLBACK_ID, id.into()),
        None => verified,
    })
}

/// Verifies a request by a secret in this field of its JSON body, an object. The verified body does
/// not contain the field. All other bytes stay as received.
///
/// # Errors
/// [`AuthError::Refused`] if the body is not a JSON object in which this field is a string and there
/// once, or if the secret is wrong; [`AuthError::Unavailable`] if our own secret is unavailable.
pub async fn secret_in_body(
    request: &Request,
    field: &str,
    secrets: &impl SecretSource,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    let text = std::str::from_utf8(&request.body).map_err(|_| Refusal::Malformed)?;
    let Members(members) = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
    let value = only_member(&members, field)?.ok_or(Refusal::Missing)?;
    let presented: String = serde_json::from_str(value.get()).map_err(|_| Refusal::Malformed)?;
    if accepts(secrets, &presented, now).await? {
        let body = without_member(text, value).ok_or(Refusal::Malformed)?;
        Ok(Verified::new(body, Assurance::SharedSecret))
    } else {
        Err(Refusal::Wrong.into())
    }
}

/// Verifies a request by the `code` and `state` in its JSON body. The code must be announced for this
/// purpose and not expired, and the state must be the announced one. The verified body does not
/// contain the code. All other bytes stay as received.
///
/// The evidence has what was announced: the code's hash as `code_sha256`, the subject of its events
/// as `subject`, and its templates as `template_ids`.
///
/// # Errors
/// [`AuthError::Refused`] if the body is not a JSON object in which `code` is a string and there once,
/// if the code is not expected for this purpose now, or if the state differs;
/// [`AuthError::Unavailable`] if the announcements cannot be read.
pub async fn one_time_code(
    request: &Request,
    purpose: Purpose,
    expectations: &impl Expectations,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    let text = std::str::from_utf8(&request.body).map_err(|_| Refusal::Malformed)?;
    let Members(members) = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
    let code_value = only_member(&members, "code")?.ok_or(Refusal::Missing)?;
    let code: String = serde_json::from_str(code_value.get()).map_err(|_| Refusal::Malformed)?;
    let state = match only_member(&members, "state")? {
        None => None,
        Some(state) => wire::text(state).map_err(|_| Refusal::Malformed)?.filter(|state| is_state(state)),
    };

    let code_sha256 = Expectation::code_hash(&code);
    let expectation = expectations.find(&code_sha256).await?.ok_or(Refusal::Wrong)?;
    // The store was asked by the hash. Its answer is checked all the same.
    let is_expected: bool = expectation.code_sha256.as_bytes().ct_eq(code_sha256.as_bytes()).into();
    // DynamoDB deletes what has expired within days, not at once.
    let is_current = expectation.purpose == purpose && expectation.counts_at(now);
    if !is_expected || !is_current || expectation.state.is_some_and(|expected| state.as_ref() != Some(&expected)) {
        return Err(Refusal::Wrong.into());
    }
    let body = without_member(text, code_value).ok_or(Refusal::Malformed)?;
    Ok(Verified::new(body, Assurance::OneTimeCode)
        .with_evidence(CODE_SHA256, code_sha256.into())
        .with_evidence(SUBJECT, String::from(expectation.subject).into())
        .with_evidence(TEMPLATE_IDS, expectation.template_ids.into()))
}

/// Returns the value of the member of this name, if there is one. Several are refused.
fn only_member<'a>(members: &[(Cow<'a, str>, &'a RawValue)], name: &str) -> Result<Option<&'a RawValue>, Refusal> {
    let mut values = members.iter().filter(|(member, _)| member == name).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Refusal::Malformed),
    }
}

/// Returns the text of a JSON object without the member that has this value, a slice of the text.
fn without_member(text: &str, value: &RawValue) -> Option<String> {
    let value_at = value.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let (before, after) = (text.get(..value_at)?, text.get(value_at + value.get().len()..)?);
    // Before the value stand its name in quotes and a colon. Within the name, a quote would be escaped; that of a
    // field we look for has none.
    let name_ends = before.rfind('"')?;
    let before = before.get(..before.get(..name_ends)?.rfind('"')?)?.trim_end();
    let after = after.trim_start();
    Some(match (after.strip_prefix(','), before.strip_suffix(',')) {
        (Some(rest), _) => format!("{before}{rest}"),
        (None, Some(rest)) => format!("{rest}{after}"),
        (None, None) => format!("{before}{after}"),
    })
}

/// The networks from which a provider calls.
pub trait Networks: Send + Sync {
    /// Whether this address is in one of them.
    fn contain(&self, address: IpAddr, now: Timestamp) -> impl Future<Output = bool> + Send;
}

/// Verifies a request by its source address, as the gateway saw it, and by a secret in its path.
///
/// An address alone would be a weak credential: it is public, and any other customer of the provider
/// can make it call any URL.
///
/// # Errors
/// [`AuthError::Refused`] if the address is not in the networks, or the path's parameter of this name
/// is not the secret; [`AuthError::Unavailable`] if our own secret is unavailable.
pub async fn source_address(
    request: &Request,
    parameter: &str,
    networks: &impl Networks,
    secrets: &impl SecretSource,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    let address = request.source_address.ok_or(Refusal::SourceAddress)?;
    if !networks.contain(address.to_canonical(), now).await {
        return Err(Refusal::SourceAddress.into());
    }
    let presented = request.path_parameters.get(parameter).map_or("", String::as_str);
    if accepts(secrets, presented, now).await? {
        Ok(Verified::new(request.body.clone(), Assurance::SourceAddress))
    } else {
        Err(Refusal::Path.into())
    }
}

/// Returns whether this is the secret. If it is not, our own is looked up once more, because it may
/// just have been rotated.
async fn accepts(secrets: &impl SecretSource, presented: &str, now: Timestamp) -> Result<bool, Unavailable> {
    Ok(secrets.secrets(now).await?.accepts(presented)
        || secrets.refreshed(now).await.is_some_and(|pair| pair.accepts(presented)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_removed(body: &str, expected: &str) {
        let Members(members) = serde_json::from_str::<Members<'_>>(body).unwrap();
        let (_, value) = members.iter().find(|(name, _)| name == "key").unwrap();
        let without = without_member(body, value).unwrap();
        assert_eq!(without, expected);
        assert!(serde_json::from_slice::<serde_json::Value>(without.as_bytes()).is_ok(), "{without}");
    }

    #[test]
    fn a_member_is_removed_and_all_else_stays_as_it_came() {
        check_removed(r#"{"key":"s"}"#, "{}");
        check_removed(r#"{"key":"s","a":1}"#, r#"{"a":1}"#);
        check_removed(r#"{"a":1,"key":"s"}"#, r#"{"a":1}"#);
        check_removed(r#"{"a":1, "key" : "s" , "b":2}"#, r#"{"a":1, "b":2}"#);
        check_removed("{\n  \"a\": 1.50,\n  \"key\": \"s\"\n}\n", "{\n  \"a\": 1.50}\n");
        check_removed(r#"{"\u006bey":"s\"}","a":"\"key\":"}"#, r#"{"a":"\"key\":"}"#);
        check_removed(r#"{"b":{"key":"s"},"key":"s"}"#, r#"{"b":{"key":"s"}}"#);
    }
}

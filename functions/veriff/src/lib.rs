//! The webhooks of Veriff (`POST /callbacks/veriff`): decisions about sessions, and events of
//! sessions.
//!
//! Follows Veriff's documents "Decision webhook", "Event webhook", "Webhooks Guide", "HMAC
//! authentication and endpoint security", "Verification session status codes" and "General FAQ".
//! The signature is an HMAC-SHA-256 of the body with the integration's shared secret key. It has
//! no timestamp, and webhooks have no id.
//!
//! Inferred, as the documents do not say it: how long Veriff waits (10 s is what others give); that
//! a decision does not change, so a second, different one is a contradiction; and that a reason
//! beside an approval is one.
//!
//! **The subject** is Veriff's id of the session. `vendorData`, the company's own reference, is
//! optional and names a person, who can have several sessions.
//!
//! **What else Veriff signs with the same key**: the answers of its API. A stranger can have some
//! of them, as a browser that begins a session gets one. They are no decisions: their statuses are
//! `created`, `started` or `submitted`, and none of these is an approval.
//!
//! **Full Auto** and the webhooks of other products are not read. They are kept as `unrecognized`.

pub mod fetch;
pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::{Decision, SessionEvent};
use model::{
    AuthError, Credential, Identity, Outcome, Parsed, Provider, ProviderName, Request, Retrieval, SecretSource,
    Settings, SigningScheme, Subject, Timestamp, Unrecognized, Verified, is_plain_reference,
    signature::{Algorithm, Encoding, Hmac, Layout, SecretForm},
    signed_body,
    wire::{self, Object},
};
use payload::{Verification, Webhook};

/// How Veriff signs its webhooks: with the shared secret key of the integration.
pub const SCHEME: SigningScheme = SigningScheme {
    header: "x-hmac-signature",
    layout: Layout::Alone,
    before_body: &[],
    algorithm: Algorithm::Fixed(Hmac::Sha256),
    encoding: Encoding::Hex,
    secret: SecretForm::Text,
};

/// Veriff, with the shared secret key of the integration.
pub struct Veriff<S> {
    secrets: S,
}

impl<S: SecretSource> Veriff<S> {
    /// The provider that signs with one of these keys.
    pub fn new(secrets: S) -> Self {
        Self { secrets }
    }
}

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "Veriff",
    description: "Receives Veriff's webhooks",
    credential: Credential::Signed(&SCHEME),
    authenticated_by: "a signature of the body, in `X-HMAC-SIGNATURE`",
    secret: "The shared secret key with which Veriff signs its webhooks",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: false,
    verification: "A session that was begun at Veriff",
    tracks: kinds::TRACKS,
    references: &[],
    retrieval: Some(Retrieval {
        parameter: "VeriffApiUrl",
        example: "https://stationapi.veriff.com",
        credentials: Some("The api_key and the shared_secret_key"),
    }),
};

/// The provider with one secret.
pub type Receiver<S> = Veriff<S>;

/// The provider that signs with one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    Veriff::new(secret)
}

impl<S: SecretSource> Provider for Veriff<S> {
    const NAME: ProviderName = ProviderName::new("veriff");
    const SOURCE: &'static str = "/callbacks/veriff";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    // Not published; what other providers give.
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        signed_body(request, &SCHEME, &self.secrets, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let webhook: Webhook = wire::from_json(verified.body())?;
        match webhook {
            // Another product's, with a shape of its own.
            Webhook { event_type: Some(_), session_id, .. } => {
                let subject = session_id.and_then(|id| Subject::new(id).ok());
                Err(Unrecognized::new("unknown_type").about(subject))
            }
            Webhook { action: None, status, verification: Some(Object(verification)), .. } => {
                decision(status.as_deref(), verification)
            }
            Webhook { action: Some(action), verification: None, id, attempt_id, code, vendor_data, .. } => {
                session_event(id, attempt_id, &action, code.as_deref(), vendor_data)
            }
            Webhook { action: Some(_), verification: Some(_), .. } => Err(Unrecognized::new("contradictory_results")),
            Webhook { action: None, verification: None, .. } => Err(Unrecognized::missing("verification")),
        }
    }
}

/// What a decision means, in a webhook or in an answer of Veriff's API. `api_status` is the status
/// beside it.
fn decision(api_status: Option<&str>, verification: Verification) -> Result<Parsed, Unrecognized> {
    let Verification { id, attempt_id, status, code, reason, reason_code, vendor_data, decision_time } = verification;
    let subject = id.and_then(|id| Subject::new(id).ok());
    let unrecognized = |reason: Unrecognized| reason.about(subject.clone()).on_track_of(&kinds::DECISION);

    let status = status.ok_or_else(|| unrecognized(Unrecognized::missing("status")))?;
    let (outcome, is_final, own_code) = match status.as_str() {
        "approved" => (Outcome::Approved, true, "9001"),
        "declined" => (Outcome::Rejected, true, "9102"),
        "resubmission_requested" => (Outcome::ActionRequired, false, "9103"),
        "expired" | "abandoned" => (Outcome::Failed, true, "9104"),
        "review" => (Outcome::Review, false, "9121"),
        "started" => (Outcome::Pending, false, "7001"),
        "submitted" => (Outcome::Pending, false, "7002"),
        _ => return Err(unrecognized(Unrecognized::new("unknown_status"))),
    };
    // The code says the same in a number.
    let is_contradicted = code.is_some_and(|code| code != own_code)
        || api_status.is_some_and(|status| status != "success")
        || (outcome == Outcome::Approved && (reason.is_some() || reason_code.is_some()));
    if is_contradicted {
        return Err(unrecognized(Unrecognized::new("contradictory_results")));
    }

    let subject = subject.clone().ok_or_else(|| unrecognized(Unrecognized::missing("id")))?;
    let identity = Identity::of([attempt_id.as_deref(), Some(status.as_str()), reason_code.as_deref()]);
    let reason_code = reason_code.as_deref().map(wire::code);
    let reason = match outcome {
        Outcome::Approved | Outcome::Pending => None,
        _ => Some(reason_code.clone().unwrap_or_else(|| status.clone())),
    };
    let details = Decision {
        session_id: subject.as_str().to_owned(),
        attempt_id: attempt_id.as_deref().map(wire::code),
        status,
        reason_code,
        vendor_data: vendor_data.filter(|reference| is_plain_reference(reference)),
    };
    let parsed = Parsed::new(&kinds::DECISION, subject, identity, outcome, &details);
    let occurred_at = decision_time.and_then(|time| time.parse().ok());
    Ok(Parsed { occurred_at, ..parsed.because(reason).with_final(is_final) })
}

/// The person began a session, or submitted it.
fn session_event(
    id: Option<String>,
    attempt_id: Option<String>,
    action: &str,
    code: Option<&str>,
    vendor_data: Option<String>,
) -> Result<Parsed, Unrecognized> {
    let subject = id.and_then(|id| Subject::new(id).ok());
    let unrecognized = |reason: Unrecognized| reason.about(subject.clone()).on_track_of(&kinds::SESSION_EVENT);
    let own_code = match action {
        "started" => "7001",
        "submitted" => "7002",
        _ => return Err(unrecognized(Unrecognized::new("unknown_type"))),
    };
    if code.is_some_and(|code| code != own_code) {
        return Err(unrecognized(Unrecognized::new("contradictory_results")));
    }
    let subject = subject.clone().ok_or_else(|| unrecognized(Unrecognized::missing("id")))?;
    let identity = Identity::of([attempt_id.as_deref(), Some(action)]);
    let details = SessionEvent {
        session_id: subject.as_str().to_owned(),
        attempt_id: attempt_id.as_deref().map(wire::code),
        action: action.to_owned(),
        vendor_data: vendor_data.filter(|reference| is_plain_reference(reference)),
    };
    Ok(Parsed::new(&kinds::SESSION_EVENT, subject, identity, Outcome::Pending, &details))
}

#[cfg(test)]
mod tests;

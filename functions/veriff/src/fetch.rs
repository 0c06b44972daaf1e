//! Asking Veriff for the decision about a session (`GET /v1/sessions/{id}/decision`).
//!
//! Follows Veriff's API reference, "Decision data". A question is signed like a webhook, with the
//! session's id in place of the body. The answer has the form of the webhook, so the same rule
//! decides about it.

use model::{
    CourseKey, Fetcher, Found, Parsed, Question, Schedule, Timestamp, Unrecognized, Web, is_plain_reference,
    wire::{self, Object},
};
use runtime::Secrets;
use serde::Deserialize;

use crate::{SCHEME, Veriff, decision, kinds, payload::Webhook};

/// Asks Veriff.
#[derive(Debug, Clone)]
pub struct VeriffFetcher {
    base_url: String,
}

/// The API key of an integration, and its shared secret key.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct VeriffCredentials {
    api_key: String,
    shared_secret_key: String,
}

/// Shows nothing.
impl std::fmt::Debug for VeriffCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VeriffCredentials").finish_non_exhaustive()
    }
}

impl VeriffFetcher {
    /// Asks at this address, such as `https://stationapi.veriff.com`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned() }
    }
}

impl Fetcher for VeriffFetcher {
    type Provider = Veriff<Secrets>;
    type Credentials = VeriffCredentials;

    /// Veriff publishes neither a limit nor an interval.
    const SCHEDULE: Schedule = Schedule(&[0, 60, 300, 900, 1800, 3600]);

    fn fetches(&self, key: &CourseKey) -> bool {
        key.provider == "veriff" && key.track == kinds::DECISION.track().name()
    }

    async fn fetch(
        &self,
        key: &CourseKey,
        _reference: Option<&str>,
        credentials: &VeriffCredentials,
        web: &impl Web,
        now: Timestamp,
    ) -> Found {
        let session_id = key.subject.as_str();
        if !is_plain_reference(session_id) {
            return Found::Unavailable(Found::NO_REFERENCE, None);
        }
        let Ok(signature) = SCHEME.sign(&credentials.shared_secret_key, "", session_id.as_bytes(), now) else {
            return Found::Unavailable(Found::NOT_AUTHORIZED, None);
        };
        let question = Question::get(format!("{}/v1/sessions/{session_id}/decision", self.base_url))
            .with_header("accept", "application/json".to_owned())
            .with_header("x-auth-client", credentials.api_key.clone());
        let question =
            signature.into_iter().fold(question, |question, (name, value)| question.with_header(name, value));
        let Ok(reply) = web.ask(question).await else {
            return Found::no_reply();
        };
        if reply.status != 200 {
            return Found::of_status(&reply);
        }
        match verdict(&reply.body, session_id) {
            Ok(Some(parsed)) if parsed.is_final => Found::Verdict(Box::new(parsed), reply.body),
            Ok(_) => Found::NotYet,
            Err(_) => Found::not_understood(),
        }
    }
}

/// What an answer says about this session. Nothing as long as there is no decision.
fn verdict(answer: &[u8], session_id: &str) -> Result<Option<Parsed>, Unrecognized> {
    let Webhook { status, verification, .. } = wire::from_json(answer)?;
    if status.as_deref() != Some("success") {
        return Err(Unrecognized::new("unknown_status"));
    }
    let Some(Object(verification)) = verification else { return Ok(None) };
    if verification.id.as_deref() != Some(session_id) {
        return Err(Unrecognized::new("another_reference"));
    }
    decision(status.as_deref(), verification).map(Some)
}

#[cfg(test)]
mod tests;

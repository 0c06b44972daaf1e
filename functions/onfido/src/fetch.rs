//! Asking Onfido what a check or a workflow run came to (`GET /checks/{id}`,
//! `GET /workflow_runs/{id}`).
//!
//! Follows Onfido's API v3.6. The address is made of the base address and the id: an address in a
//! webhook (`href`) is never asked.

use model::{
    CourseKey, Fetcher, Found, Parsed, Question, Schedule, Subject, Timestamp, Unrecognized, Web, is_plain_reference,
    wire,
};
use runtime::Secrets;
use serde::Deserialize;

use crate::{Onfido, check_result, kinds, payload, workflow_run};

/// Asks Onfido.
#[derive(Debug, Clone)]
pub struct OnfidoFetcher {
    base_url: String,
}

/// A token of Onfido's API, live or of the sandbox.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct OnfidoCredentials {
    api_token: String,
}

/// Shows nothing.
impl std::fmt::Debug for OnfidoCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnfidoCredentials").finish_non_exhaustive()
    }
}

/// What can be asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Check,
    WorkflowRun,
}

impl Asked {
    fn by_track(track: &str) -> Option<Self> {
        if track == kinds::CHECK.track().name() {
            Some(Self::Check)
        } else if track == kinds::WORKFLOW_RUN.track().name() {
            Some(Self::WorkflowRun)
        } else {
            None
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Check => "checks",
            Self::WorkflowRun => "workflow_runs",
        }
    }
}

impl OnfidoFetcher {
    /// Asks at this address, such as `https://api.eu.onfido.com/v3.6`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned() }
    }
}

impl Fetcher for OnfidoFetcher {
    type Provider = Onfido<Secrets>;
    type Credentials = OnfidoCredentials;

    /// Onfido publishes no interval. A completed check is due at once, and its verdict is there.
    const SCHEDULE: Schedule = Schedule(&[0, 60, 300, 900, 1800, 3600]);

    fn fetches(&self, key: &CourseKey) -> bool {
        key.provider == "onfido" && Asked::by_track(&key.track).is_some()
    }

    async fn fetch(
        &self,
        key: &CourseKey,
        _reference: Option<&str>,
        credentials: &OnfidoCredentials,
        web: &impl Web,
        _now: Timestamp,
    ) -> Found {
        let Some(asked) = Asked::by_track(&key.track).filter(|_| is_plain_reference(&key.subject)) else {
            return Found::Unavailable(Found::NO_REFERENCE, None);
        };
        let url = format!("{}/{}/{}", self.base_url, asked.path(), key.subject);
        let question = Question::get(url)
            .with_header("accept", "application/json".to_owned())
            .with_header("authorization", format!("Token token={}", credentials.api_token));
        let Ok(reply) = web.ask(question).await else {
            return Found::no_reply();
        };
        if reply.status != 200 {
            return Found::of_status(&reply);
        }
        match verdict(asked, &key.subject, &reply.body) {
            Ok(parsed) if parsed.is_final => Found::Verdict(Box::new(parsed), reply.body),
            Ok(_) => Found::NotYet,
            Err(_) => Found::not_understood(),
        }
    }
}

/// What an answer says about this check or run.
fn verdict(asked: Asked, id: &str, answer: &[u8]) -> Result<Parsed, Unrecognized> {
    let parsed = match asked {
        Asked::Check => check_result(wire::from_json(answer)?)?,
        Asked::WorkflowRun => {
            let payload::Run { id, status, applicant_id, reasons, error } = wire::from_json(answer)?;
            let subject = id.and_then(|id| Subject::new(id).ok()).ok_or_else(|| Unrecognized::missing("id"))?;
            workflow_run(subject, status, applicant_id, reasons, error)?
        }
    };
    if parsed.subject.as_str() == id { Ok(parsed) } else { Err(Unrecognized::new("another_reference")) }
}

#[cfg(test)]
mod tests;

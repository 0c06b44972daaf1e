//! What Onfido posts, and what its API answers, as far as it is read.
//!
//! An event's `href` is not read. Neither is most of `resource`: it can hold names and dates of
//! birth.

use model::wire::{self, Object};
use serde::Deserialize;

/// The body of a webhook.
#[derive(Debug, Deserialize)]
pub(crate) struct Webhook {
    pub(crate) payload: Option<Object<Payload>>,
}

/// What happened to what.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) resource_type: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) action: Option<String>,
    pub(crate) object: Option<Object<Affected>>,
    /// Not in every version of the payload.
    pub(crate) resource: Option<Object<Resource>>,
}

/// What the event is about.
#[derive(Debug, Deserialize)]
pub(crate) struct Affected {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) workflow_run_id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) started_at_iso8601: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) completed_at_iso8601: Option<String>,
}

/// The same with what Onfido knows about it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Resource {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) workflow_run_id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) applicant_id: Option<String>,
    pub(crate) reasons: Option<Vec<String>>,
    pub(crate) error: Option<Object<RunError>>,
}

/// Why a workflow run is in the status `error`.
#[derive(Debug, Deserialize)]
pub(crate) struct RunError {
    #[serde(rename = "type", default, deserialize_with = "wire::text")]
    error_type: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    message: Option<String>,
}

impl RunError {
    /// Whether it says anything.
    pub(crate) fn is_one(&self) -> bool {
        self.error_type.is_some() || self.message.is_some()
    }
}

/// The answer of `GET /checks/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Check {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) result: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) applicant_id: Option<String>,
    pub(crate) sandbox: Option<bool>,
    pub(crate) paused: Option<bool>,
}

/// The answer of `GET /workflow_runs/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) applicant_id: Option<String>,
    pub(crate) reasons: Option<Vec<String>>,
    pub(crate) error: Option<Object<RunError>>,
}

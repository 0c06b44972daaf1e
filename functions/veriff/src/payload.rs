//! What Veriff posts, and what its API answers, as far as it is read. `person`, `document` and
//! `technicalData` are not read: they are personal data.

use model::wire::{self, Object};
use serde::Deserialize;

/// The fields of every webhook together, and of the answer to a question about a decision.
#[derive(Debug, Deserialize)]
pub(crate) struct Webhook {
    // Decisions.
    /// The status of Veriff's API, not of the session.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    pub(crate) verification: Option<Object<Verification>>,

    // Events of a session.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) id: Option<String>,
    #[serde(rename = "attemptId", default, deserialize_with = "wire::text")]
    pub(crate) attempt_id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) code: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) action: Option<String>,
    #[serde(rename = "vendorData", default, deserialize_with = "wire::text")]
    pub(crate) vendor_data: Option<String>,

    // Webhooks of other products.
    #[serde(rename = "eventType", default, deserialize_with = "wire::text")]
    pub(crate) event_type: Option<String>,
    #[serde(rename = "sessionId", default, deserialize_with = "wire::text")]
    pub(crate) session_id: Option<String>,
}

/// The decision about a session.
#[derive(Debug, Deserialize)]
pub(crate) struct Verification {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) id: Option<String>,
    #[serde(rename = "attemptId", default, deserialize_with = "wire::text")]
    pub(crate) attempt_id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) code: Option<String>,
    /// Free text. Only whether it is there counts.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) reason: Option<String>,
    #[serde(rename = "reasonCode", default, deserialize_with = "wire::text")]
    pub(crate) reason_code: Option<String>,
    #[serde(rename = "vendorData", default, deserialize_with = "wire::text")]
    pub(crate) vendor_data: Option<String>,
    #[serde(rename = "decisionTime", default, deserialize_with = "wire::text")]
    pub(crate) decision_time: Option<String>,
}

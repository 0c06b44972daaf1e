//! The kinds of Veriff's webhooks, and the details of their messages.

use model::{
    Kind,
    Outcome::{ActionRequired, Approved, Failed, Pending, Rejected, Review},
    Policy::Contradicts,
    Track,
};
use serde::Serialize;

/// The one track of a session: events say that it goes on, and a decision ends it.
const SESSION: Track = Track::new("session", Contradicts);

/// Veriff decided about a session.
pub const DECISION: Kind<Decision> =
    Kind::new("decision", SESSION, &[Approved, Rejected, Review, ActionRequired, Pending, Failed]);

/// The person began a session, or submitted it.
pub const SESSION_EVENT: Kind<SessionEvent> = Kind::new("session-event", SESSION, &[Pending]);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[SESSION];

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![DECISION.schema(), SESSION_EVENT.schema()]
}

/// The decision about a session.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Decision {
    /// Veriff's reference of the session: the message's subject.
    pub session_id: String,
    /// Veriff's reference of the attempt. A session has several if data is submitted again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// Veriff's status of the session.
    pub status: String,
    /// Veriff's code for why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// The company's reference (`vendorData`), if it is made of letters, digits, `-` and `_` only.
    /// Any other could be about a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_data: Option<String>,
}

/// How far a session is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionEvent {
    /// Veriff's reference of the session: the message's subject.
    pub session_id: String,
    /// Veriff's reference of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// What happened: `started` or `submitted`.
    pub action: String,
    /// The company's reference (`vendorData`), if it is made of letters, digits, `-` and `_` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_data: Option<String>,
}

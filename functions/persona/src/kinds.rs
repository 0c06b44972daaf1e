//! The kind of Persona's webhooks about inquiries, and its details.

use model::{
    Kind,
    Outcome::{Approved, Failed, Pending, Rejected, Review},
    Policy::Contradicts,
    Track,
};
use serde::Serialize;

/// An inquiry has another status.
pub const INQUIRY_STATUS: Kind<InquiryStatus> = Kind::new(
    "inquiry-status",
    Track::new("inquiry-status", Contradicts),
    &[Approved, Rejected, Review, Pending, Failed],
);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[INQUIRY_STATUS.track()];

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![INQUIRY_STATUS.schema()]
}

/// The status of an inquiry.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InquiryStatus {
    /// Persona's reference of the inquiry: the message's subject.
    pub inquiry_id: String,
    /// Persona's id of the event.
    pub event_id: String,
    /// Persona's name of the event.
    pub event_name: String,
    /// The template that the inquiry follows. An approval is for this template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// The company's reference of the account, if it has only letters, digits, `-` and `_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_id: Option<String>,
    /// Whether the status is a final one: approved or declined.
    pub r#final: bool,
}

//! The kinds of Sumsub's webhooks, and the details of each.

use model::{
    Kind, Outcome,
    Outcome::{ActionRequired, Approved, Pending, Rejected, Review},
    Policy::{Contradicts, Reopens},
    Track,
};
use serde::Serialize;

/// An applicant has another status.
pub const APPLICANT_STATUS: Kind<ApplicantStatus> = Kind::new(
    "applicant-status",
    Track::new("applicant-status", Contradicts),
    &[Approved, Rejected, Review, ActionRequired, Pending],
);

/// Somebody sent a test by hand, in the Webhook manager. It says nothing about an applicant.
pub const TEST: Kind<Test> = Kind::new("test", Track::new("test", Reopens), &[Outcome::None]);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[APPLICANT_STATUS.track()];

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![APPLICANT_STATUS.schema(), TEST.schema()]
}

/// The status of an applicant.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ApplicantStatus {
    /// Sumsub's reference of the applicant: the message's subject.
    pub applicant_id: String,
    /// Sumsub's type of the webhook.
    pub r#type: String,
    /// The level that was checked, by the company's name for it. An approval is for this level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_name: Option<String>,
    /// The company's reference of the person, if it has only letters, digits, `-` and `_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_user_id: Option<String>,
    /// Sumsub's answer, in a webhook that has a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_answer: Option<String>,
    /// Whether the applicant can try again, for a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_reject_type: Option<String>,
    /// Whether it comes from Sumsub's sandbox. Its approvals are for review.
    pub sandbox_mode: bool,
    /// Whether the status is a final one.
    pub r#final: bool,
}

/// A test that was sent by hand.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Test {
    /// The reference of an applicant that the test has.
    pub applicant_id: String,
    /// The type of webhook that the test stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Always true.
    pub test_mode: bool,
}

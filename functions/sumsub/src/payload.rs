//! What Sumsub posts.

use model::wire::{self, Object};
use serde::Deserialize;

model::open_enum! {
    /// What happened.
    pub(crate) enum CallbackType {
        /// An applicant was created.
        Created = "applicantCreated",
        /// All data is there, and is being checked.
        Pending = "applicantPending",
        /// The first check is done.
        Prechecked = "applicantPrechecked",
        /// The check waits for another service. Its result so far can be `GREEN`.
        AwaitingService = "applicantAwaitingService",
        /// The check waits for the applicant.
        AwaitingUser = "applicantAwaitingUser",
        /// An expert has to decide.
        OnHold = "applicantOnHold",
        /// The applicant starts again.
        Reset = "applicantReset",
        /// The check is complete, and has a result.
        Reviewed = "applicantReviewed",
    }
}

/// The body of a webhook about an applicant.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Callback {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) applicant_id: Option<String>,
    /// Sumsub's id of what happened.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) correlation_id: Option<String>,
    /// The company's reference of the person.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) external_user_id: Option<String>,
    /// The company's name of what is checked.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) level_name: Option<String>,
    #[serde(rename = "type", default, deserialize_with = "wire::text")]
    callback_type: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) review_status: Option<String>,
    pub(crate) review_result: Option<Object<ReviewResult>>,
    /// When it happened, in UTC: `2026-01-31 00:00:00.000`.
    #[serde(default, deserialize_with = "wire::text")]
    created_at_ms: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    sandbox_mode: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    test_mode: Option<String>,
}

impl Callback {
    pub(crate) fn callback_type(&self) -> Option<CallbackType> {
        self.callback_type.clone().map(CallbackType::from)
    }

    /// Whether it was sent by hand, in the Webhook manager.
    pub(crate) fn is_test(&self) -> bool {
        is_set(self.test_mode.as_deref())
    }

    /// Whether it comes from Sumsub's sandbox, where results are simulated.
    pub(crate) fn is_sandbox(&self) -> bool {
        is_set(self.sandbox_mode.as_deref())
    }

    pub(crate) fn created_at(&self) -> Option<model::Timestamp> {
        let time: jiff::civil::DateTime = self.created_at_ms.as_deref()?.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(time).ok()
    }
}

/// Whether a mark is there. Only `false` says that it is not: another value must not pass for live.
fn is_set(mark: Option<&str>) -> bool {
    mark.is_some_and(|mark| mark != "false")
}

/// The result of a check. Its comments are free text, and can be about the person.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReviewResult {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) review_answer: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) review_reject_type: Option<String>,
    pub(crate) reject_labels: Option<Vec<String>>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) moderation_comment: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) client_comment: Option<String>,
}

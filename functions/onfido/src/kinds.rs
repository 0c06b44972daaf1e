//! The kinds of Onfido's webhooks, and the details of their messages.

use model::{
    Kind,
    Outcome::{self, Approved, Failed, Pending, Rejected, Review},
    Policy::{Contradicts, Reopens},
    Track,
};
use serde::Serialize;

/// A check changed. Its webhooks have no verdict: that is fetched. Onfido can reopen a check
/// (`check.reopened`), so its verdict can change.
pub const CHECK: Kind<Check> = Kind::new("check", Track::new("check", Reopens), &[Approved, Review, Pending, Failed]);

/// A workflow run of Onfido Studio completed.
pub const WORKFLOW_RUN: Kind<WorkflowRun> =
    Kind::new("workflow-run", Track::new("workflow-run", Contradicts), &[Approved, Rejected, Review, Pending, Failed]);

/// Another documented event, which has no verdict.
pub const NOTICE: Kind<Notice> = Kind::new("notice", Track::new("notice", Reopens), &[Outcome::None]);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[WORKFLOW_RUN.track(), CHECK.track()];

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![CHECK.schema(), WORKFLOW_RUN.schema(), NOTICE.schema()]
}

/// What happened to a check, or what came of it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// Onfido's reference of the check: the message's subject.
    pub check_id: String,
    /// What happened, such as `check.completed`. Not in a verdict that was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Onfido's status of the check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Onfido's result. Only in a verdict that was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Onfido's reference of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applicant_id: Option<String>,
    /// Whether the check was made in Onfido's sandbox and verifies nobody. Only in a verdict that
    /// was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<bool>,
}

/// The status of a workflow run.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkflowRun {
    /// Onfido's reference of the run: the message's subject.
    pub workflow_run_id: String,
    /// Onfido's status of the run.
    pub status: String,
    /// Onfido's reference of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applicant_id: Option<String>,
}

/// An event without a verdict.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Notice {
    /// What happened, such as `report.completed`.
    pub action: String,
    /// Onfido's reference of what it happened to, such as the report.
    pub object_id: String,
    /// Onfido's status of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

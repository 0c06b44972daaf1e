//! The kind of Signicat's notifications and the details of its messages.

use model::{
    Kind,
    Outcome::{Approved, Failed, Pending, Rejected, Review},
    Policy::Contradicts,
    Track,
};
use serde::Serialize;

/// A process has another status.
pub const PROCESS_STATUS: Kind<ProcessStatus> = Kind::new(
    "process-status",
    Track::new("process-status", Contradicts),
    &[Approved, Rejected, Review, Pending, Failed],
);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[PROCESS_STATUS.track()];

/// The detail that names the dossier. It is needed beside the process to ask where that stands.
pub const DOSSIER_ID: &str = "dossier_id";

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![PROCESS_STATUS.schema()]
}

/// The status of a process in a dossier.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessStatus {
    /// Signicat's reference of the dossier.
    pub dossier_id: String,
    /// Signicat's reference of the process: the message's subject.
    pub process_id: String,
    /// Signicat's status.
    pub status: String,
    /// Whether the status is final. A status that is not final changes nothing after a final one.
    pub r#final: bool,
}

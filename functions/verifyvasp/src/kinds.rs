//! The kinds of VerifyVASP's callbacks, and what is told of each.

use model::{
    Kind, Outcome,
    Outcome::{Approved, Failed, Rejected, Review},
    Policy::{Corrects, Reopens},
    Track,
};
use serde::Serialize;

/// The verdict of a verification. VerifyVASP's document says that a later result that differs from the first is to be
/// used.
const VERIFICATION: Track = Track::new("verification", Corrects);

/// The other side has answered a verification.
pub const VERIFICATION_RESULT: Kind<Verification> =
    Kind::new("verification-result", VERIFICATION, &[Approved, Rejected, Review, Failed]);
/// The other side has reported the transaction of a verification.
pub const TX_REPORT: Kind<Verification> = Kind::new("tx-report", Track::new("tx-report", Reopens), &[Outcome::None]);
/// The other side has reported that a verification came to nothing.
pub const ERROR_REPORT: Kind<Verification> = Kind::new("error-report", VERIFICATION, &[Failed]);

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![VERIFICATION_RESULT.schema(), TX_REPORT.schema(), ERROR_REPORT.schema()]
}

/// A verification, as far as the callback speaks of it: a result has a `result`, and a report of a transaction a `tx_hash`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verification {
    /// VerifyVASP's reference of the verification: the message's subject.
    pub verification_uuid: String,
    /// VerifyVASP's verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The hash of the transaction, as it was reported: not always hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
    /// The index of the transaction's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vout: Option<String>,
}

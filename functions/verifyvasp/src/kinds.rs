//! The kinds of VerifyVASP's callbacks and the details of their messages.

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
/// The other side has answered whether an account is its owner's. VerifyVASP's document says that a result that differs
/// from the first is to be used.
pub const OWNER_VERIFICATION_RESULT_REPORT: Kind<OwnerVerification> = Kind::new(
    "owner-verification-result-report",
    Track::new("owner-verification", Corrects),
    &[Approved, Rejected, Review, Failed],
);
/// The other side has reported the transaction of a verification of an owner.
pub const OWNER_VERIFICATION_TX_REPORT: Kind<OwnerVerification> =
    Kind::new("owner-verification-tx-report", Track::new("owner-verification-tx-report", Reopens), &[Outcome::None]);
/// Chainalysis has assessed the risk of an address or a transaction. That is no verdict.
pub const CHAINALYSIS_KYT_RESULT: Kind<ChainalysisKyt> =
    Kind::new("chainalysis-kyt-result", Track::new("chainalysis-kyt-result", Reopens), &[Outcome::None]);
/// Refinitiv has screened a person. That is no verdict.
pub const REFINITIV_WCO_RESULT: Kind<WorldCheckOne> =
    Kind::new("refinitiv-wco-result", Track::new("refinitiv-wco-result", Reopens), &[Outcome::None]);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[VERIFICATION_RESULT.track(), OWNER_VERIFICATION_RESULT_REPORT.track()];

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![
        VERIFICATION_RESULT.schema(),
        TX_REPORT.schema(),
        ERROR_REPORT.schema(),
        OWNER_VERIFICATION_RESULT_REPORT.schema(),
        OWNER_VERIFICATION_TX_REPORT.schema(),
        CHAINALYSIS_KYT_RESULT.schema(),
        REFINITIV_WCO_RESULT.schema(),
    ]
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

/// A verification of an account's owner, as far as the callback speaks of it: a result has a `result`, and a report of a transaction a
/// `tx_hash`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnerVerification {
    /// VerifyVASP's reference of the request: the message's subject.
    pub request_id: String,
    /// VerifyVASP's verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The hash of the transaction, as it was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
}

/// An assessment by Chainalysis KYT (Know Your Transaction).
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainalysisKyt {
    /// VerifyVASP's reference of the verification: the message's subject.
    pub verification_uuid: String,
    /// Whether the assessment is done (`PROCESSED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How many alerts there are: as many as the assessment says or as it lists, whichever is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_count: Option<u64>,
    /// The highest level of the listed alerts. A level that this version does not know comes after `SEVERE` and before `HIGH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_alert_level: Option<String>,
}

/// A screening by Refinitiv World-Check One.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorldCheckOne {
    /// VerifyVASP's reference of the verification: the message's subject.
    pub verification_uuid: String,
    /// Whether the screening is done (`PROCESSED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How well the best match fits, such as `EXACT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_strength: Option<String>,
}

//! The kind of the wallet gateway's callbacks about verifications and the details of its messages.

use std::collections::BTreeMap;

use model::{
    Kind,
    Outcome::{Approved, Failed, Review},
    Policy::Contradicts,
    Track,
};
use serde::Serialize;

/// A wallet has presented the credentials that it was asked for, or not. Approved only if every one is, and none is missing.
pub const VERIFICATION: Kind<Verification> =
    Kind::new("verification", Track::new("verification", Contradicts), &[Approved, Failed, Review]);

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![VERIFICATION.schema()]
}

/// What came of each credential.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verification {
    /// The credentials by the ids of their templates.
    pub credentials: BTreeMap<String, Verdict>,
}

/// What came of one credential.
#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It was presented, and its token is trusted.
    Approved {
        /// The gateway's reference of the verification, from the token.
        verification_id: Option<String>,
    },
    /// The gateway says that it failed.
    Failed {
        /// The gateway's status.
        status: String,
    },
    /// The gateway says that it was presented, and its token is not trusted.
    Untrusted {
        /// Why not.
        reason: String,
    },
    /// It was asked for, and nothing is said of it.
    #[serde(rename = "failed")]
    Missing {
        /// Always `credential_missing`.
        reason: &'static str,
    },
}

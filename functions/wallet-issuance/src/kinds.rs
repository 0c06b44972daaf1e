//! The kind of the wallet gateway's callbacks about issuances and the details of its messages.

use model::{
    Kind,
    Outcome::{Approved, Failed, Pending},
    Policy::Contradicts,
    Track,
};
use serde::Serialize;

/// A credential was issued to a wallet, or not, or not yet. Each template has a track of its own, such as `issuance/2`.
pub const ISSUANCE: Kind<Issuance> =
    Kind::new("issuance", Track::new("issuance", Contradicts), &[Approved, Failed, Pending]);

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![ISSUANCE.schema()]
}

/// What came of issuing one credential.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Issuance {
    /// The id of the credential's template.
    pub template_id: String,
    /// The gateway's status.
    pub status: String,
    /// Whether gateway and wallet are done with each other.
    pub completed: bool,
}

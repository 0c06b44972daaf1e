//! The kinds of Jumio's callbacks and the details of their messages.

use model::{
    Kind, Outcome,
    Outcome::{Approved, Failed, Rejected, Review},
    Policy::Contradicts,
    Track,
};
use serde::Serialize;

/// An identity document was checked, and perhaps its holder's face.
pub const NETVERIFY_ID: Kind<NetverifyId> =
    Kind::new("netverify-id", Track::new("netverify-id", Contradicts), &[Approved, Rejected, Review, Failed]);
/// A person who was verified before was seen again.
pub const NETVERIFY_AUTHENTICATION: Kind<NetverifyAuthentication> = Kind::new(
    "netverify-authentication",
    Track::new("netverify-authentication", Contradicts),
    &[Approved, Rejected, Review, Failed],
);
/// A document other than one of identity came in, or did not.
pub const DOCUMENT_VERIFICATION: Kind<DocumentVerification> =
    Kind::new("document-verification", Track::new("document-verification", Contradicts), &[Failed, Outcome::None]);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[NETVERIFY_ID.track(), NETVERIFY_AUTHENTICATION.track(), DOCUMENT_VERIFICATION.track()];

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![NETVERIFY_ID.schema(), NETVERIFY_AUTHENTICATION.schema(), DOCUMENT_VERIFICATION.schema()]
}

/// What became of an identity document. Its reference is the message's subject.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetverifyId {
    /// Jumio's verdict about the document alone.
    pub verification_status: String,
    /// Why the document was refused, in Jumio's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<String>,
    /// The company's reference of the transaction (`merchantIdScanReference`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merchant_reference: Option<String>,
}

/// Whether it was the same person. The reference of the authentication is the message's subject.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetverifyAuthentication {
    /// Jumio's verdict.
    pub transaction_result: String,
    /// Jumio's reference of the verification before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_reference: Option<String>,
}

/// Whether a document came in, and was read. The reference of the transaction is the message's subject.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DocumentVerification {
    /// Whether the document came in.
    pub transaction_status: String,
    /// What was done with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_status: Option<String>,
    /// Jumio's code for the kind of document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_type: Option<String>,
    /// The company's reference of the transaction (`merchantScanReference`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merchant_reference: Option<String>,
}

//! What a VerifyVASP enclave posts, as its Callback API document has it and as it really comes: every field may be missing.

use model::wire::{self, Object};
use serde::Deserialize;

/// The body of a callback. `ivms101`, `message` and all else is left unread: it is personal data, and comes in many shapes.
#[derive(Debug, Deserialize)]
pub(crate) struct Callback {
    #[serde(rename = "callbackType", alias = "callback_type", default, deserialize_with = "wire::text")]
    pub(crate) callback_type: Option<String>,
    pub(crate) data: Option<Object<Data>>,
}

/// The fields of every type of callback together.
#[derive(Debug, Deserialize)]
pub(crate) struct Data {
    #[serde(rename = "verificationUuid", alias = "verification_uuid", default, deserialize_with = "wire::text")]
    pub(crate) verification_uuid: Option<String>,
    #[serde(rename = "verificationResult", default, deserialize_with = "wire::text")]
    pub(crate) verification_result: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) result: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) reason: Option<String>,
    #[serde(rename = "txHash", default, deserialize_with = "wire::text")]
    pub(crate) tx_hash: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) vout: Option<String>,
}

impl Data {
    /// The verdict, which comes under a long or a short name.
    pub(crate) fn verdict(&self) -> Option<&str> {
        self.verification_result.as_deref().or(self.result.as_deref())
    }

    /// Whether it comes under both names, and is not the same.
    pub(crate) fn contradicts_itself(&self) -> bool {
        matches!((&self.verification_result, &self.result), (Some(long), Some(short)) if long != short)
    }
}

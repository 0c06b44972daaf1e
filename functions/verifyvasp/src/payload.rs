//! What a VerifyVASP enclave posts, as its Callback API document has it and as it really comes: every field may be missing.

use std::borrow::Cow;

use model::wire::{self, Object};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The body of a callback. `ivms101` and all else is left unread: it is personal data, and comes in many shapes. So is `message`: only
/// its digest is used.
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
    message: Option<Box<RawValue>>,
}

impl Data {
    /// The verdict, which comes under a long or a short name.
    pub(crate) fn verdict(&self) -> Option<&str> {
        self.verification_result.as_deref().or(self.result.as_deref())
    }

    /// What `message` says, however it is escaped. If it is no text, its JSON.
    pub(crate) fn message(&self) -> Option<Cow<'_, str>> {
        let json = self.message.as_ref()?.get();
        let text = serde_json::from_str::<String>(json).map_or(Cow::Borrowed(json), Cow::Owned);
        Some(text).filter(|text| !text.is_empty())
    }

    /// Whether it comes under both names, and is not the same.
    pub(crate) fn contradicts_itself(&self) -> bool {
        matches!((&self.verification_result, &self.result), (Some(long), Some(short)) if long != short)
    }
}

//! What Identomat posts, as its "Callbacks" document has it and as it really comes. The key that authenticates it is gone already.

use model::{
    open_enum,
    wire::{self, Members, Object},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields of every type of callback together.
#[derive(Debug, Deserialize)]
pub(crate) struct Callback {
    #[serde(rename = "type")]
    pub(crate) callback_type: Option<CallbackType>,
    #[serde(rename = "sessionId", default, deserialize_with = "wire::text")]
    pub(crate) session_id: Option<String>,

    // Deliveries.
    /// The message to be sent; for a password, it holds the password.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) text: Option<String>,
    #[serde(rename = "sessionLink", default, deserialize_with = "wire::text")]
    pub(crate) session_link: Option<String>,
    #[serde(rename = "phoneNumber", default, deserialize_with = "wire::text")]
    pub(crate) phone_number: Option<String>,
    /// Not published under which name an e-mail address comes.
    #[serde(default, deserialize_with = "wire::text")]
    email: Option<String>,
    #[serde(rename = "emailAddress", default, deserialize_with = "wire::text")]
    email_address: Option<String>,

    // Changes of a session.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) result: Option<String>,
    /// Only for sessions about a business (KYB).
    #[serde(rename = "sessionType", default, deserialize_with = "wire::text")]
    pub(crate) session_type: Option<String>,

    // Video calls.
    #[serde(rename = "roomId", default, deserialize_with = "wire::text")]
    pub(crate) room_id: Option<String>,
    #[serde(rename = "roomStatus", default, deserialize_with = "wire::text")]
    pub(crate) room_status: Option<String>,
    #[serde(rename = "compositionStatus", default, deserialize_with = "wire::text")]
    pub(crate) composition_status: Option<String>,
    #[serde(rename = "videoFileStatus", default, deserialize_with = "wire::text")]
    pub(crate) video_file_status: Option<String>,
    #[serde(rename = "videoFileId", default, deserialize_with = "wire::text")]
    pub(crate) video_file_id: Option<String>,
}

impl Callback {
    pub(crate) fn email(&self) -> Option<&str> {
        self.email.as_deref().or(self.email_address.as_deref())
    }

    /// Whether it must not be kept for long if it is not understood: see [`is_perishable`].
    pub(crate) fn is_perishable(&self) -> bool {
        !self.callback_type.as_ref().is_some_and(CallbackType::is_lasting)
            || self.text.is_some()
            || self.session_link.is_some()
    }
}

/// The same of a body that cannot be read as a callback. Only one `type` that is a string counts, as in a callback.
///
/// The type decides, because a password can be under any name. A callback of a lasting type that is not understood has
/// no verdict to lose, so it perishes too if it has one of the fields that deliveries are known to have.
pub(crate) fn is_perishable(body: &[u8]) -> bool {
    let Ok(Members(members)) = serde_json::from_slice(body) else { return true };
    let mut types = members.iter().filter(|(name, _)| name == "type").map(|(_, value)| value.get());
    let (Some(one), None) = (types.next(), types.next()) else { return true };
    !serde_json::from_str::<CallbackType>(one).is_ok_and(|callback_type| callback_type.is_lasting())
        || members.iter().any(|(name, _)| name == "text" || name == "sessionLink")
}

/// What the result API answers, as far as it is a verdict. All else is left unread: it is personal data.
#[derive(Debug, Deserialize)]
pub(crate) struct SessionResult {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) result: Option<String>,
    reject_reason: Option<Box<RawValue>>,
}

impl SessionResult {
    /// Whether it says why the session was rejected. A reason of another shape than the usual one is a reason.
    pub(crate) fn has_reject_reason(&self) -> bool {
        #[derive(Deserialize)]
        struct RejectReason {
            #[serde(default, deserialize_with = "wire::text")]
            value: Option<String>,
        }
        let Some(reason) = self.reject_reason.as_deref().map(RawValue::get) else { return false };
        match serde_json::from_str::<Object<RejectReason>>(reason) {
            Ok(Object(reason)) => reason.value.is_some_and(|value| !value.trim().is_empty()),
            Err(_) => reason != r#""""#,
        }
    }
}

open_enum! {
    /// What a callback is about.
    pub(crate) enum CallbackType {
        /// A password to be sent by SMS.
        OneTimePassword = "one-time-password",
        /// The same, as real payloads spell it.
        OneTimePasswordRequest = "one-time-password-request",
        /// A link to be sent by SMS.
        ShareSessionLinkViaSms = "share-session-link-via-sms",
        /// A link to be sent by e-mail.
        ShareSessionLinkViaEmail = "share-session-link-via-email",
        /// A password to be sent by e-mail.
        EmailOneTimePasswordRequest = "email-one-time-password-request",
        /// A session has another result.
        SessionChange = "session-change",
        /// A video call has another status.
        VideoCallStatusUpdate = "video-call-status-update",
    }
}

impl CallbackType {
    /// Whether callbacks of this type are documented to hold neither a password nor a link.
    fn is_lasting(&self) -> bool {
        matches!(self, Self::SessionChange | Self::VideoCallStatusUpdate)
    }
}

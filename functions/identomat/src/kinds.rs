//! The kinds of Identomat's callbacks and the details of their messages.

use model::{
    Kind, Outcome,
    Outcome::{ActionRequired, Approved, Rejected, Review},
    Policy::Reopens,
    Track,
};
use serde::Serialize;

/// A password to be sent by SMS.
pub const ONE_TIME_PASSWORD: Kind<Delivery> = Kind::delivery("one-time-password");
/// A password to be sent by e-mail.
pub const EMAIL_ONE_TIME_PASSWORD_REQUEST: Kind<Delivery> = Kind::delivery("email-one-time-password-request");
/// A link to be sent by SMS.
pub const SHARE_SESSION_LINK_VIA_SMS: Kind<Delivery> = Kind::delivery("share-session-link-via-sms");
/// A link to be sent by e-mail.
pub const SHARE_SESSION_LINK_VIA_EMAIL: Kind<Delivery> = Kind::delivery("share-session-link-via-email");
/// A session has another result.
pub const SESSION_CHANGE: Kind<SessionChange> =
    Kind::new("session-change", Track::new("session-change", Reopens), &[Approved, Rejected, Review, ActionRequired]);
/// A video call has another status.
pub const VIDEO_CALL_STATUS_UPDATE: Kind<VideoCall> =
    Kind::new("video-call-status-update", Track::new("video-call-status-update", Reopens), &[Outcome::None]);

/// The tracks that have verdicts, the usual one first.
pub const TRACKS: &[Track] = &[SESSION_CHANGE.track()];

/// What their messages look like, for docs/contract/.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<model::schema::KindSchema> {
    vec![
        ONE_TIME_PASSWORD.schema(),
        EMAIL_ONE_TIME_PASSWORD_REQUEST.schema(),
        SHARE_SESSION_LINK_VIA_SMS.schema(),
        SHARE_SESSION_LINK_VIA_EMAIL.schema(),
        SESSION_CHANGE.schema(),
        VIDEO_CALL_STATUS_UPDATE.schema(),
    ]
}

/// What to send to whom. Of `text` and `link`, at least one is there.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Delivery {
    /// The way to the customer.
    pub by: By,
    /// The phone number or e-mail address.
    pub to: String,
    /// The message to be sent; for a password, it holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The link to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// The way to a customer.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// To a phone number.
    Sms,
    /// To an e-mail address.
    Email,
}

/// The result of a session.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionChange {
    /// Identomat's result, in upper case.
    pub result: String,
    /// The type of the session, where Identomat says one: for those about a business.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_type: Option<String>,
}

/// The status of a video call, as far as Identomat says it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VideoCall {
    /// The status of its room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_status: Option<String>,
    /// The status of the composition of its recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composition_status: Option<String>,
    /// The status of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_file_status: Option<String>,
    /// Identomat's reference of its room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// Identomat's reference of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_file_id: Option<String>,
}

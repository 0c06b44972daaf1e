//! The callbacks of Identomat (`POST /callbacks/identomat`): results of sessions, statuses of video calls, and passwords and links that
//! the company has to send to its customers itself.
//!
//! Follows Identomat's document "Callbacks"; `fetch.rs` follows its API reference. Each callback has the company's `callbackApiKey` in its body. It has neither an id nor a
//! time; Identomat publishes neither how long it waits nor whether it comes again.
//!
//! Identomat does not publish the field names of its e-mail deliveries, so a password can come under any name. How long a
//! callback is kept therefore follows from its type alone: all but two types are perishable.

pub mod fetch;
pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::{By, Delivery, SessionChange, VideoCall};
use model::{
    AuthError, Credential, Identity, Kind, Outcome, Parsed, Place, Provider, ProviderName, Request, Retrieval,
    SecretSource, Settings, Subject, Timestamp, Unrecognized, Verified, secret_in_body, wire,
};
use payload::{Callback, CallbackType};

/// Identomat, with the key that the company's settings there name.
pub struct Identomat<S> {
    callback_api_key: S,
}

impl<S: SecretSource> Identomat<S> {
    /// The provider that presents one of these keys.
    pub fn new(callback_api_key: S) -> Self {
        Self { callback_api_key }
    }
}

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "Identomat",
    description: "Receives Identomat's callbacks",
    credential: Credential::Presented(Place::Field("callbackApiKey")),
    authenticated_by: "the key in the body",
    secret: "The callbackApiKey in the company's settings at Identomat",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: true,
    verification: "A session that was begun at Identomat",
    tracks: kinds::TRACKS,
    references: &[],
    retrieval: Some(Retrieval {
        parameter: "IdentomatApiUrl",
        example: "https://widget.identomat.com",
        credentials: Some("The company_key"),
    }),
};

/// The provider with one secret.
pub type Receiver<S> = Identomat<S>;

/// The provider that presents one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    Identomat::new(secret)
}

impl<S: SecretSource> Provider for Identomat<S> {
    const NAME: ProviderName = ProviderName::new("identomat");
    const SOURCE: &'static str = "/callbacks/identomat";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    // Not published; what other providers give.
    const ANSWER_WITHIN: Duration = Duration::from_secs(5);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        secret_in_body(request, "callbackApiKey", &self.callback_api_key, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let callback: Callback = wire::from_json(verified.body())
            .map_err(|unrecognized| unrecognized.perishable_if(payload::is_perishable(verified.body())))?;
        let subject = callback.session_id.as_deref().and_then(|id| Subject::new(id).ok());
        let parsed = match &subject {
            None => Err(Unrecognized::missing("sessionId")),
            Some(subject) => parse_about(subject.clone(), &callback),
        };
        parsed.map_err(|unrecognized| unrecognized.about(subject).perishable_if(callback.is_perishable()))
    }
}

fn parse_about(subject: Subject, callback: &Callback) -> Result<Parsed, Unrecognized> {
    match callback.callback_type.as_ref().ok_or_else(|| Unrecognized::missing("type"))? {
        CallbackType::OneTimePassword | CallbackType::OneTimePasswordRequest => {
            delivery(&kinds::ONE_TIME_PASSWORD, subject, callback, By::Sms)
        }
        CallbackType::ShareSessionLinkViaSms => {
            delivery(&kinds::SHARE_SESSION_LINK_VIA_SMS, subject, callback, By::Sms)
        }
        CallbackType::ShareSessionLinkViaEmail => {
            delivery(&kinds::SHARE_SESSION_LINK_VIA_EMAIL, subject, callback, By::Email)
        }
        CallbackType::EmailOneTimePasswordRequest => {
            delivery(&kinds::EMAIL_ONE_TIME_PASSWORD_REQUEST, subject, callback, By::Email)
        }
        CallbackType::SessionChange => {
            let changed = session_change(subject, callback.result.as_deref(), callback.session_type.as_deref());
            changed.map_err(|reason| reason.on_track_of(&kinds::SESSION_CHANGE))
        }
        CallbackType::VideoCallStatusUpdate => Ok(video_call_status_update(subject, callback)),
        CallbackType::Other(_) => Err(Unrecognized::new("unknown_type")),
    }
}

/// A password or a link to be sent. Which of `text` and `sessionLink` holds it is not published for every type: both go along, and one has
/// to be there.
fn delivery(kind: &Kind<Delivery>, subject: Subject, callback: &Callback, by: By) -> Result<Parsed, Unrecognized> {
    let (field, to) = match by {
        By::Sms => ("phoneNumber", callback.phone_number.as_deref()),
        By::Email => ("email", callback.email()),
    };
    let to = to.ok_or_else(|| Unrecognized::missing(field))?;
    let (text, link) = (callback.text.as_deref(), callback.session_link.as_deref());
    if text.is_none() && link.is_none() {
        return Err(Unrecognized::missing("text"));
    }
    let identity = Identity::of([text, link, Some(to)]);
    let details = Delivery { by, to: to.to_owned(), text: text.map(str::to_owned), link: link.map(str::to_owned) };
    Ok(Parsed::new(kind, subject, identity, Outcome::None, &details).to_recipient(to))
}

/// A session has another result. It may get one again that it had before.
fn session_change(subject: Subject, result: Option<&str>, session_type: Option<&str>) -> Result<Parsed, Unrecognized> {
    // Upper case here and lower case in Identomat's result API.
    let result = result.ok_or_else(|| Unrecognized::missing("result"))?.to_ascii_uppercase();
    let outcome = match result.as_str() {
        "APPROVED" => Outcome::Approved,
        "REJECTED" => Outcome::Rejected,
        "MANUAL_CHECK" => Outcome::Review,
        "ADDITIONAL_INFORMATION_REQUESTED" => Outcome::ActionRequired,
        _ => return Err(Unrecognized::new("unknown_result")),
    };
    let reason = (outcome != Outcome::Approved).then(|| result.clone());
    let identity = Identity::of([Some(result.as_str()), session_type]);
    let details = SessionChange { result, session_type: session_type.map(wire::code) };
    Ok(Parsed::new(&kinds::SESSION_CHANGE, subject, identity, outcome, &details).because(reason))
}

fn video_call_status_update(subject: Subject, callback: &Callback) -> Parsed {
    let Callback { room_status, composition_status, video_file_status, room_id, video_file_id, .. } = callback;
    let fields = [room_status, composition_status, video_file_status, room_id, video_file_id];
    let identity = Identity::of(fields.map(|field| field.as_deref()));
    let details = VideoCall {
        room_status: room_status.as_deref().map(wire::code),
        composition_status: composition_status.as_deref().map(wire::code),
        video_file_status: video_file_status.as_deref().map(wire::code),
        room_id: room_id.clone(),
        video_file_id: video_file_id.clone(),
    };
    Parsed::new(&kinds::VIDEO_CALL_STATUS_UPDATE, subject, identity, Outcome::None, &details)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{
        Course, CourseKey, EventStore, MemoryStore, Message, MessageDetail, Refusal, Rejection, Retention, SecretPair,
        StoredEvent, receive,
    };

    use super::*;

    /// Receives bodies one after the other, a second apart.
    fn receive_all(bodies: &[&str]) -> (Vec<Result<StoredEvent, Rejection>>, Vec<StoredEvent>) {
        let provider = Identomat::new(SecretPair::new("new-key", Some("old-key")).unwrap());
        let store = MemoryStore::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let received = bodies.iter().zip(0..).map(|(body, second)| {
            let now = Timestamp::from_second(second).unwrap();
            let received = receive_one(&provider, &store, body, now);
            runtime.block_on(received)
        });
        (received.collect(), store.events())
    }

    async fn receive_one(
        provider: &impl Provider,
        store: &impl EventStore,
        body: &str,
        now: Timestamp,
    ) -> Result<StoredEvent, Rejection> {
        let receipt = receive(provider, store, &Request::new(body.to_owned()), now).await?;
        Ok(StoredEvent::new(&receipt.event, Retention::default()))
    }

    #[track_caller]
    fn check_key(body: &str, expected: Result<&str, Refusal>) {
        let (mut received, stored) = receive_all(&[body]);
        match (received.remove(0), expected) {
            (Ok(event), Ok(kept)) => assert_eq!(String::from_utf8(event.body).unwrap(), kept, "{body}"),
            (Err(Rejection::NotAuthentic(refusal)), Err(expected)) => {
                assert_eq!((refusal, stored.len()), (expected, 0), "{body}");
            }
            (result, expected) => panic!("{body}: {result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn identomat_is_known_by_its_key_which_is_gone_afterwards() {
        check_key(r#"{"callbackApiKey":"new-key","type":"x"}"#, Ok(r#"{"type":"x"}"#));
        check_key(r#"{"type":"x","callbackApiKey":"old-key"}"#, Ok(r#"{"type":"x"}"#));
        check_key(r#"{"callback\u0041piKey":"new-ke\u0079"}"#, Ok("{}"));
    }

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        check_key("", Err(Refusal::Malformed));
        check_key("[]", Err(Refusal::Malformed));
        check_key(r#""new-key""#, Err(Refusal::Malformed));
        check_key(r#"["new-key"]"#, Err(Refusal::Malformed));
        check_key(r#"{"callbackApiKey":"new-key""#, Err(Refusal::Malformed));
        check_key(r#"{"callbackApiKey":"new-key"} {}"#, Err(Refusal::Malformed));
        check_key("{}", Err(Refusal::Missing));
        check_key(r#"{"data":{"callbackApiKey":"new-key"}}"#, Err(Refusal::Missing));
        check_key(r#"{"CallbackApiKey":"new-key"}"#, Err(Refusal::Missing));
        check_key(r#"{"callbackApiKey":null}"#, Err(Refusal::Malformed));
        check_key(r#"{"callbackApiKey":["new-key"]}"#, Err(Refusal::Malformed));
        check_key(r#"{"callbackApiKey":""}"#, Err(Refusal::Wrong));
        check_key(r#"{"callbackApiKey":"undefined"}"#, Err(Refusal::Wrong));
        check_key(r#"{"callbackApiKey":"wrong"}"#, Err(Refusal::Wrong));
        check_key(r#"{"callbackApiKey":"new-key "}"#, Err(Refusal::Wrong));
        check_key(r#"{"callbackApiKey":"wrong","callbackApiKey":"new-key"}"#, Err(Refusal::Malformed));
        check_key(r#"{"callbackApiKey":"new-key","callbackApiKey":"new-key"}"#, Err(Refusal::Malformed));
    }

    fn session_change(result: &str) -> String {
        format!(r#"{{"callbackApiKey":"new-key","type":"session-change","sessionId":"s","result":"{result}"}}"#)
    }

    /// How many of these callbacks are news, received a second apart.
    fn news(bodies: &[&str]) -> usize {
        let mut stored = receive_all(bodies).1;
        assert_eq!(stored.len(), bodies.len());
        stored.sort_by_key(|event| event.received_at);
        let mut courses: BTreeMap<CourseKey, Course> = BTreeMap::new();
        let published = stored.iter().filter(|event| {
            let course = courses.entry(CourseKey::of(event)).or_default();
            course.decide(event, event.received_at).published.is_some()
        });
        published.count()
    }

    #[track_caller]
    fn check_course(results: &[&str], events: usize) {
        let bodies: Vec<String> = results.iter().map(|result| session_change(result)).collect();
        assert_eq!(news(&bodies.iter().map(String::as_str).collect::<Vec<_>>()), events, "{results:?}");
    }

    #[test]
    fn only_the_same_result_once_more_is_no_news() {
        check_course(&["REJECTED", "REJECTED"], 1);
        check_course(&["REJECTED", "rejected", "Rejected"], 1);
        check_course(&["REJECTED", "APPROVED", "REJECTED"], 3);
        check_course(&["REJECTED", "BLOCKED", "REJECTED"], 3);
        check_course(&["APPROVED", "BLOCKED", "APPROVED"], 3);
        check_course(&["REJECTED", "REJECTED", "APPROVED", "APPROVED", "REJECTED", "REJECTED"], 3);
    }

    #[track_caller]
    fn check(fields: &str, kind: &str, outcome: Outcome, unrecognized: Option<&str>, perishable: bool) {
        let body = format!(r#"{{"callbackApiKey":"new-key",{fields}}}"#);
        let event = receive_all(&[&body]).0.remove(0).unwrap();
        assert_eq!(
            (event.kind.as_str(), event.outcome, event.unrecognized.as_deref(), event.perishable),
            (kind, outcome, unrecognized, perishable),
            "{fields}"
        );
        let seconds = if perishable { 3600 } else { 365 * 24 * 3600 };
        assert_eq!(event.expires_at, seconds, "{fields}");
    }

    #[test]
    fn each_result_has_its_outcome() {
        let result = |result: &str| format!(r#""type":"session-change","sessionId":"s","result":"{result}""#);
        let kind = "identomat.session-change";
        check(&result("APPROVED"), kind, Outcome::Approved, None, false);
        check(&result("REJECTED"), kind, Outcome::Rejected, None, false);
        check(&result("manual_check"), kind, Outcome::Review, None, false);
        check(&result("ADDITIONAL_INFORMATION_REQUESTED"), kind, Outcome::ActionRequired, None, false);
        check(&result("POSTPONED"), "identomat.unrecognized", Outcome::None, Some("unknown_result"), false);
    }

    /// Checks that a callback with these fields is perishable, and understood or not.
    #[track_caller]
    fn check_perishable(fields: &str, kind: &str, unrecognized: Option<&str>) {
        check(fields, kind, Outcome::None, unrecognized, true);
    }

    #[test]
    fn a_delivery_is_kept_for_a_short_time() {
        for spelling in ["one-time-password", "one-time-password-request"] {
            let fields = format!(r#""type":"{spelling}","sessionId":"s","phoneNumber":"+000","text":"code 0000""#);
            check_perishable(&fields, "identomat.one-time-password", None);
        }
        check_perishable(
            r#""type":"share-session-link-via-email","sessionId":"s","emailAddress":"a@example.com","sessionLink":"https://example.com""#,
            "identomat.share-session-link-via-email",
            None,
        );
    }

    /// Every type but those that are known to hold neither a password nor a link, as a member of the callback.
    const PERISHABLE_TYPES: [&str; 17] = [
        r#""type":"one-time-password""#,
        r#""type":"one-time-password-request""#,
        r#""type":"share-session-link-via-sms""#,
        r#""type":"share-session-link-via-email""#,
        r#""type":"email-one-time-password-request""#,
        r#""type":"email-one-time-password""#,
        r#""type":"example""#,
        r#""type":"Session-Change""#,
        r#""type":"session-change ""#,
        r#""type":"session_change""#,
        r#""type":"""#,
        r#""type":null"#,
        r#""type":7"#,
        r#""type":["session-change"]"#,
        r#""type":{"session-change":"session-change"}"#,
        r#""type":"session-change","type":"session-change""#,
        r#""Type":"session-change""#,
    ];

    #[test]
    fn a_password_under_any_name_is_kept_for_a_short_time_and_sent_to_nobody() {
        for member in PERISHABLE_TYPES {
            for secret in [
                r#""code":"135790""#,
                r#""password":135790"#,
                r#""otp":{"value":"135790"}"#,
                r#""link":"https://example.com/135790""#,
                r#""message":["135790"]"#,
                r#""text":{"code":"135790"}"#,
                r#""sessionLink":["https://example.com/135790"]"#,
                r#""result":"135790""#,
                r#""sessionType":"135790""#,
                r#""roomId":"135790""#,
                r#""videoFileId":"135790""#,
            ] {
                let body = format!(r#"{{"callbackApiKey":"new-key","sessionId":"s",{member},{secret}}}"#);
                let event = receive_all(&[&body]).0.remove(0).unwrap();
                assert!(event.unrecognized.is_some() && event.perishable, "{body}");
                assert_eq!(event.expires_at, 3600, "{body}");
                assert!(event.details.is_empty() && event.reasons.is_empty() && event.evidence.is_empty(), "{body}");
                assert!(!event.is_delivery(), "{body}");
                for detail in [MessageDetail::Reference, MessageDetail::Full] {
                    let published = Course::default().decide(&event, event.received_at).published.unwrap();
                    let message = serde_json::to_string(&Message::new(&event, &published, detail)).unwrap();
                    assert!(!message.contains("135790") && !message.contains("payload"), "{message}");
                }
            }
        }
    }

    #[test]
    fn a_delivery_that_is_not_understood_says_why() {
        let check = |fields: &str, reason| check_perishable(fields, "identomat.unrecognized", Some(reason));
        check(r#""type":"one-time-password","sessionId":"s","text":"0000""#, "missing_field:phoneNumber");
        check(r#""type":"one-time-password","sessionId":"s","phoneNumber":"+000""#, "missing_field:text");
        check(r#""type":"one-time-password","phoneNumber":"+000","text":"0000""#, "missing_field:sessionId");
        check(r#""type":"new","sessionId":"s","text":"0000""#, "unknown_type");
        check(r#""type":["one-time-password"],"text":"0000""#, "unexpected_shape");
        check(r#""type":"one-time-password","text":{"code":"0000"}"#, "unexpected_shape");
    }

    #[test]
    fn a_verdict_is_kept_for_long_also_when_it_is_not_understood() {
        let check = |fields: &str, reason| {
            check(fields, "identomat.unrecognized", Outcome::None, Some(reason), false);
        };
        check(r#""type":"session-change","sessionId":"s""#, "missing_field:result");
        check(r#""type":"session-change","result":"REJECTED""#, "missing_field:sessionId");
        check(r#""type":"session-change","sessionId":"s","result":"BLOCKED","comment":"0000""#, "unknown_result");
        check(r#""type":"session-change","sessionId":"s","result":["REJECTED"]"#, "unexpected_shape");
        check(r#""\u0074ype":"session\u002dchange","result":{}"#, "unexpected_shape");
        check(r#""type":"video-call-status-update""#, "missing_field:sessionId");
        check(r#""type":"video-call-status-update","sessionId":"s","roomId":["r"]"#, "unexpected_shape");
    }

    #[test]
    fn a_verdict_with_the_fields_of_a_delivery_is_kept_for_long_only_if_it_is_understood() {
        for secret in [r#""text":"0000""#, r#""sessionLink":"https://example.com""#] {
            let session_change = format!(r#""type":"session-change","sessionId":"s",{secret}"#);
            let approved = format!(r#"{session_change},"result":"APPROVED""#);
            check(&approved, "identomat.session-change", Outcome::Approved, None, false);
            let video_call = format!(r#""type":"video-call-status-update","sessionId":"s",{secret}"#);
            check(&video_call, "identomat.video-call-status-update", Outcome::None, None, false);

            let check = |fields: &str, reason| check_perishable(fields, "identomat.unrecognized", Some(reason));
            check(&session_change, "missing_field:result");
            check(&format!(r#"{session_change},"result":"BLOCKED""#), "unknown_result");
            check(&format!(r#"{session_change},"result":["APPROVED"]"#), "unexpected_shape");
            check(&format!(r#"{video_call},"roomId":["r"]"#), "unexpected_shape");
        }
    }

    #[test]
    fn another_password_recipient_or_video_file_is_news() {
        let password = |to: &str, text: &str| {
            format!(
                r#"{{"callbackApiKey":"new-key","type":"one-time-password","sessionId":"s","phoneNumber":"{to}","text":"{text}"}}"#
            )
        };
        let (first, to_another) = (password("+000", "0000"), password("+001", "0000"));
        assert_eq!(news(&[&first, &first, &password("+000", "1111")]), 2);
        assert_eq!(news(&[&first, &to_another, &first, &to_another]), 2);
        let video = |fields: &str| {
            format!(
                r#"{{"callbackApiKey":"new-key","type":"video-call-status-update","sessionId":"s","roomId":"r"{fields}}}"#
            )
        };
        let ended = video(r#","roomStatus":"ended","videoFileStatus":null"#);
        let available = video(r#","roomStatus":"ended","videoFileStatus":"available","videoFileId":"f""#);
        assert_eq!(news(&[&ended, &ended, &available, &ended]), 3);
    }
}

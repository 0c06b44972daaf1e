//! Asking Identomat for the result of a session (`POST /external-api/result/`).
//!
//! Follows Identomat's API reference. The answer has the results of the callback in lower case, and no reference of the
//! session. Results that are not final are none yet: the callback tells of them.

use model::{
    CourseKey, Fetcher, Found, Outcome, Parsed, Question, Schedule, Subject, Timestamp, Unrecognized, Web,
    is_plain_reference, wire,
};
use runtime::Secrets;
use serde::Deserialize;

use crate::{Identomat, kinds, payload::SessionResult, session_change};

/// Asks Identomat.
#[derive(Debug, Clone)]
pub struct IdentomatFetcher {
    url: String,
}

/// The company's key for Identomat's API.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct IdentomatCredentials {
    company_key: String,
}

/// Shows nothing.
impl std::fmt::Debug for IdentomatCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentomatCredentials").finish_non_exhaustive()
    }
}

impl IdentomatFetcher {
    /// Asks at this address, such as `https://widget.identomat.com`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        Self { url: format!("{}/external-api/result/", base_url.trim_end_matches('/')) }
    }
}

impl Fetcher for IdentomatFetcher {
    type Provider = Identomat<Secrets>;
    type Credentials = IdentomatCredentials;

    // Identomat publishes no interval. A result that is not there after a quarter of an hour needs a person.
    const SCHEDULE: Schedule = Schedule(&[0, 60, 180, 420, 900]);

    fn fetches(&self, key: &CourseKey) -> bool {
        key.provider == "identomat" && key.track == kinds::SESSION_CHANGE.track().name()
    }

    async fn fetch(
        &self,
        key: &CourseKey,
        _reference: Option<&str>,
        credentials: &IdentomatCredentials,
        web: &impl Web,
        _now: Timestamp,
    ) -> Found {
        let (true, Ok(subject)) = (is_plain_reference(&key.subject), Subject::new(key.subject.clone())) else {
            return Found::Unavailable(Found::NO_REFERENCE, None);
        };
        // In the body, because addresses are logged.
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("company_key", &credentials.company_key)
            .append_pair("session_token", subject.as_str())
            .finish();
        let question = Question::post(self.url.clone(), "application/x-www-form-urlencoded", form.into_bytes());
        let Ok(reply) = web.ask(question.with_header("accept", "application/json".to_owned())).await else {
            return Found::no_reply();
        };
        if reply.status != 200 {
            return Found::of_status(&reply);
        }
        match read(subject, &reply.body) {
            Ok(Some(parsed)) if parsed.is_final => Found::Verdict(Box::new(parsed), reply.body),
            Ok(_) => Found::NotYet,
            Err(_) => Found::not_understood(),
        }
    }
}

/// What a callback with the result in this answer would say. Nothing while the session is in progress: there is no callback
/// for that.
fn read(subject: Subject, answer: &[u8]) -> Result<Option<Parsed>, Unrecognized> {
    let answer: SessionResult = wire::from_json(answer)?;
    let is_in_progress = answer.result.as_deref().is_some_and(|result| {
        // Not documented in which spelling.
        ["in_progress", "inprogress"].iter().any(|spelling| result.eq_ignore_ascii_case(spelling))
    });
    if is_in_progress {
        return Ok(None);
    }
    let parsed = session_change(subject, answer.result.as_deref(), None)?;
    if parsed.outcome == Outcome::Approved && answer.has_reject_reason() {
        return Err(Unrecognized::new("contradictory_results"));
    }
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use model::{
        Assurance, Course, MemoryWeb, Provider as _, Request, Retention, SecretPair, StoredEvent, Verified, fetched,
        receive,
    };

    use super::*;

    fn key(subject: &str) -> CourseKey {
        CourseKey { provider: "identomat".to_owned(), subject: subject.to_owned(), track: "session-change".to_owned() }
    }

    fn fetch_with(web: &MemoryWeb, subject: &str) -> Found {
        let fetcher = IdentomatFetcher::new("https://widget.example.com/");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (key, credentials) = (key(subject), IdentomatCredentials { company_key: "example-key&+".to_owned() });
        runtime.block_on(fetcher.fetch(&key, None, &credentials, web, Timestamp::UNIX_EPOCH))
    }

    fn fetch(status: u16, body: &str) -> Found {
        fetch_with(&MemoryWeb::new(status, body), "session-1")
    }

    #[test]
    fn the_key_and_the_session_are_in_the_body_and_not_in_the_address() {
        let web = MemoryWeb::new(200, r#"{"result":"in_progress"}"#);
        assert!(matches!(fetch_with(&web, "session-1"), Found::NotYet));
        let asked = web.asked();
        let [question] = asked.as_slice() else { panic!("one question") };
        assert_eq!(
            (question.method, question.url.as_str()),
            ("POST", "https://widget.example.com/external-api/result/")
        );
        assert_eq!(question.body, b"company_key=example-key%26%2B&session_token=session-1");
        assert!(question.headers.contains(&("content-type", "application/x-www-form-urlencoded".to_owned())));
    }

    #[test]
    fn only_sessions_are_asked_about_and_only_by_plain_references() {
        let fetcher = IdentomatFetcher::new("https://widget.example.com");
        assert!(fetcher.fetches(&key("session-1")));
        assert!(!fetcher.fetches(&CourseKey { track: "video-call-status-update".to_owned(), ..key("session-1") }));
        assert!(!fetcher.fetches(&CourseKey { provider: "jumio".to_owned(), ..key("session-1") }));
        for subject in ["", "session 1", "s&company_key=other", "../delete/", "s%00", "s\r\n", "sé", &"s".repeat(129)]
        {
            let web = MemoryWeb::new(200, r#"{"result":"approved"}"#);
            let found = fetch_with(&web, subject);
            assert!(matches!(found, Found::Unavailable(Found::NO_REFERENCE, None)), "{subject}: {found:?}");
            assert!(web.asked().is_empty(), "{subject}");
        }
    }

    /// The event of the callback with this result.
    fn called_back(result: &str) -> StoredEvent {
        let body = format!(
            r#"{{"callbackApiKey":"example","type":"session-change","sessionId":"session-1","result":"{result}"}}"#
        );
        let provider = Identomat::new(SecretPair::new("example", None).unwrap());
        let store = model::MemoryStore::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let receipt = runtime.block_on(receive(&provider, &store, &Request::new(body), Timestamp::UNIX_EPOCH));
        StoredEvent::new(&receipt.unwrap().event, Retention::default())
    }

    #[track_caller]
    fn check_verdict(answer: &str, callback: &str, outcome: Outcome) {
        let Found::Verdict(parsed, body) = fetch(200, answer) else { panic!("{answer}: no verdict") };
        assert_eq!(body, answer);
        let later = Timestamp::from_second(60).unwrap();
        let event = fetched::<Identomat<Secrets>>(*parsed, body, later, Retention::default());
        assert_eq!((event.outcome, event.assurance, event.is_final), (outcome, Assurance::Fetched, true), "{answer}");
        let called_back = called_back(callback);
        assert_eq!(
            (&event.kind, &event.track, &event.reasons, &event.details, event.policy),
            (&called_back.kind, &called_back.track, &called_back.reasons, &called_back.details, called_back.policy)
        );
        // Whichever comes second says nothing new.
        for [first, second] in [[&called_back, &event], [&event, &called_back]] {
            let mut course = Course::default();
            assert!(course.decide(first, first.received_at).published.is_some());
            assert!(course.decide(second, later).published.is_none());
        }
    }

    #[test]
    fn a_final_result_is_the_verdict_of_its_callback() {
        check_verdict(r#"{"result":"approved"}"#, "APPROVED", Outcome::Approved);
        check_verdict(
            r#"{"result":"approved","reject_reason":{"value":"","description":""}}"#,
            "APPROVED",
            Outcome::Approved,
        );
        check_verdict(r#"{"result":"Approved","reject_reason":null}"#, "APPROVED", Outcome::Approved);
        check_verdict(r#"{"result":"approved","reject_reason":""}"#, "APPROVED", Outcome::Approved);
        check_verdict(
            r#"{"result":"rejected","similarity":0.65,"reject_reason":{"value":"face_mismatch"},"person":{"first_name":"ERIKA"}}"#,
            "REJECTED",
            Outcome::Rejected,
        );
        check_verdict(r#"{"result":"REJECTED"}"#, "REJECTED", Outcome::Rejected);
    }

    #[test]
    fn what_is_not_final_is_no_verdict_yet() {
        for result in ["in_progress", "inProgress", "IN_PROGRESS", "manual_check", "additional_information_requested"] {
            let found = fetch(200, &format!(r#"{{"result":"{result}"}}"#));
            assert!(matches!(found, Found::NotYet), "{result}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_never_an_approval() {
        for answer in [
            "",
            "approved",
            "[]",
            r#"["approved"]"#,
            "{}",
            r#"{"result":null}"#,
            r#"{"result":""}"#,
            r#"{"result":["approved"]}"#,
            r#"{"result":"approved_with_conditions"}"#,
            r#"{"result":"disagreed_with_terms"}"#,
            r#"{"result":"approved","result":"approved"}"#,
            r#"{"result":"approved","result":"rejected"}"#,
            r#"{"result":"approved""#,
            r#"{"result":"approved"} {}"#,
            r#"{"argumentError":"session_token"}"#,
            r#"{"result":"approved","reject_reason":{"value":"face_mismatch"}}"#,
            r#"{"result":"approved","reject_reason":{"value":"","value":"face_mismatch"}}"#,
            r#"{"result":"approved","reject_reason":{"value":["face_mismatch"]}}"#,
            r#"{"result":"approved","reject_reason":"face_mismatch"}"#,
            r#"{"result":"approved","reject_reason":[]}"#,
        ] {
            let found = fetch(200, answer);
            assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{answer}: {found:?}");
        }
    }

    #[test]
    fn another_status_brings_no_verdict_whatever_the_body_says() {
        for (status, expected) in [
            (201, "unexpected_status"),
            (204, "unexpected_status"),
            (302, "unexpected_status"),
            (400, "unexpected_status"),
            (401, Found::NOT_AUTHORIZED),
            (403, Found::NOT_AUTHORIZED),
            (429, Found::TOO_MANY_REQUESTS),
            (500, "server_error"),
            (503, "server_error"),
        ] {
            let mut web = MemoryWeb::new(status, r#"{"result":"approved"}"#);
            let pause = SignedDuration::from_secs(120);
            web.reply.as_mut().unwrap().retry_after = Some(pause);
            match fetch_with(&web, "session-1") {
                Found::Unavailable(code, asked_for) => {
                    assert_eq!((code, asked_for), (expected, Some(pause)), "{status}")
                }
                found => panic!("{status}: {found:?}"),
            }
        }
        for status in [404, 410] {
            assert!(matches!(fetch(status, r#"{"result":"approved"}"#), Found::Unknown), "{status}");
        }
        let silent = MemoryWeb::silent();
        assert!(matches!(fetch_with(&silent, "session-1"), Found::Unavailable(Found::NO_REPLY, None)));
    }

    #[test]
    fn credentials_are_read_from_the_secret_and_shown_nowhere() {
        let key: IdentomatCredentials = serde_json::from_str(r#"{"company_key":"example-key"}"#).unwrap();
        assert!(key.company_key == "example-key" && !format!("{key:?}").contains("example-key"));
        for wrong in ["{}", r#"{"company_key":null}"#, r#"{"current":"example-key"}"#] {
            assert!(serde_json::from_str::<IdentomatCredentials>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_no_callback() {
        let answer = Verified::fetched(r#"{"result":"approved"}"#);
        assert!(Identomat::<SecretPair>::parse(&answer).is_err());
    }
}

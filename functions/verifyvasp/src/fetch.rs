//! Asking an enclave for the result of a verification (`GET /v1/verifications/{uuid}`).
//!
//! Follows VerifyVASP's "VerifyVaspFetcher API reference". The enclave runs in the company's own network and documents no
//! authentication, so this needs a network path to it and no credentials. The answer has the fields of the callback
//! `VERIFICATION_RESULT`, but no `result` until the other side has answered.
//!
//! Transactions can be inquired about too (`POST /v1/verifications/tx/inquiry`). Nothing here does: the answer holds no
//! verdict, and it makes the enclave ask the other company.

use model::{
    CourseKey, Fetcher, Found, NoCredentials, Parsed, Question, Schedule, Timestamp, Unrecognized, Web,
    is_plain_reference, wire,
};
use runtime::Secrets;
use serde::Deserialize;

use crate::{About, VERIFICATION_RESULT, VerifyVasp, kinds, payload::Data, verification_result};

/// Asks an enclave.
#[derive(Debug, Clone)]
pub struct VerifyVaspFetcher {
    base_url: String,
}

impl VerifyVaspFetcher {
    /// Asks at this address, such as `http://enclave.internal.example.com:3000`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned() }
    }
}

impl Fetcher for VerifyVaspFetcher {
    type Provider = VerifyVasp<Secrets>;
    type Credentials = NoCredentials;

    const WITHOUT_CREDENTIALS: Option<NoCredentials> = Some(NoCredentials {});

    // VerifyVASP publishes no interval. The enclave is the company's own.
    const SCHEDULE: Schedule = Schedule(&[0, 60, 180, 420, 900]);

    fn fetches(&self, key: &CourseKey) -> bool {
        key.provider == "verifyvasp" && key.track == kinds::VERIFICATION_RESULT.track().name()
    }

    async fn fetch(
        &self,
        key: &CourseKey,
        _reference: Option<&str>,
        _credentials: &NoCredentials,
        web: &impl Web,
        _now: Timestamp,
    ) -> Found {
        if !is_plain_reference(&key.subject) {
            return Found::Unavailable(Found::NO_REFERENCE, None);
        }
        let question = Question::get(format!("{}/v1/verifications/{}", self.base_url, key.subject));
        let Ok(reply) = web.ask(question.with_header("accept", "application/json".to_owned())).await else {
            return Found::no_reply();
        };
        match reply.status {
            200 => match read(&key.subject, &reply.body) {
                Ok(Some(parsed)) if parsed.is_final => Found::Verdict(Box::new(parsed), reply.body),
                Ok(_) => Found::NotYet,
                Err(_) => Found::not_understood(),
            },
            400 if is_not_found(&reply.body) => Found::Unknown,
            _ => Found::of_status(&reply),
        }
    }
}

/// What the callback with the result in this answer would say. Nothing while there is no result.
fn read(subject: &str, answer: &[u8]) -> Result<Option<Parsed>, Unrecognized> {
    let data: Data = wire::from_json(answer)?;
    if data.verification_uuid.as_deref() != Some(subject) {
        return Err(Unrecognized::new("another_verification"));
    }
    match data.verdict() {
        None => Ok(None),
        Some(_) => verification_result(About::new(Some(VERIFICATION_RESULT), &data), data).map(Some),
    }
}

/// Whether an error is that the enclave does not know the verification. It says that with status 400.
fn is_not_found(error: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Problem {
        #[serde(default, deserialize_with = "wire::text")]
        code: Option<String>,
    }
    wire::from_json::<Problem>(error).is_ok_and(|problem| problem.code.as_deref() == Some("VERIFICATION-NOT-FOUND"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use model::{
        Assurance, Course, MemoryStore, MemoryWeb, Outcome, Request, Retention, SecretPair, StoredEvent, fetched,
        receive,
    };

    use super::*;

    fn key(subject: &str) -> CourseKey {
        CourseKey { provider: "verifyvasp".to_owned(), subject: subject.to_owned(), track: "verification".to_owned() }
    }

    fn fetch_with(web: &MemoryWeb, subject: &str) -> Found {
        let fetcher = VerifyVaspFetcher::new("http://enclave.example.com:3000/");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fetcher.fetch(&key(subject), None, &NoCredentials {}, web, Timestamp::UNIX_EPOCH))
    }

    fn fetch(status: u16, body: &str) -> Found {
        fetch_with(&MemoryWeb::new(status, body), "uuid-1")
    }

    #[test]
    fn the_verification_is_in_the_address() {
        let web = MemoryWeb::new(200, r#"{"verificationUuid":"uuid-1"}"#);
        assert!(matches!(fetch_with(&web, "uuid-1"), Found::NotYet));
        let asked = web.asked();
        let [question] = asked.as_slice() else { panic!("one question") };
        let address = "http://enclave.example.com:3000/v1/verifications/uuid-1";
        assert_eq!((question.method, question.url.as_str(), question.body.len()), ("GET", address, 0));
    }

    #[test]
    fn only_verifications_are_asked_about_and_only_by_plain_references() {
        let fetcher = VerifyVaspFetcher::new("http://enclave.example.com");
        assert!(fetcher.fetches(&key("uuid-1")));
        for track in ["owner-verification", "tx-report", "unrecognized", ""] {
            assert!(!fetcher.fetches(&CourseKey { track: track.to_owned(), ..key("uuid-1") }), "{track}");
        }
        assert!(!fetcher.fetches(&CourseKey { provider: "signicat".to_owned(), ..key("uuid-1") }));
        let hostile =
            ["", ".", "..", "../tx", "uuid/1", "uuid?1", "uuid#1", "uuid%2f1", "uuid 1", "uuid\r\nx", "@h", "é"];
        for subject in hostile.into_iter().chain([&*"u".repeat(129)]) {
            let web = MemoryWeb::new(200, &format!(r#"{{"verificationUuid":{subject:?},"result":"VERIFIED"}}"#));
            let found = fetch_with(&web, subject);
            assert!(matches!(found, Found::Unavailable(Found::NO_REFERENCE, None)), "{subject}: {found:?}");
            assert!(web.asked().is_empty(), "{subject}");
        }
    }

    /// The event of a callback with these fields.
    fn called_back(fields: &str) -> StoredEvent {
        let data = format!(r#"{{"verificationUuid":"uuid-1"{fields}}}"#);
        let body = format!(r#"{{"callbackType":"VERIFICATION_RESULT","data":{data}}}"#);
        let provider = VerifyVasp::new(SecretPair::new("example", None).unwrap());
        let request = Request::new(body).with_header("authorization", "Bearer example");
        let store = MemoryStore::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let receipt = runtime.block_on(receive(&provider, &store, &request, Timestamp::UNIX_EPOCH));
        StoredEvent::new(&receipt.unwrap().event, Retention::default())
    }

    /// Checks that an answer with these fields is the same verdict as the callback with them.
    #[track_caller]
    fn check_verdict(fields: &str, outcome: Outcome) {
        let beside =
            r#""verificationId":"10","txHash":"00","vout":null,"assetInfo":{"symbol":"BTC"},"ivms101Originator":"{}""#;
        let answer = format!(r#"{{"verificationUuid":"uuid-1",{beside}{fields}}}"#);
        let Found::Verdict(parsed, body) = fetch(200, &answer) else { panic!("{answer}: no verdict") };
        assert_eq!(body, answer);
        let later = Timestamp::from_second(60).unwrap();
        let event = fetched::<VerifyVasp<Secrets>>(*parsed, body, later, Retention::default());
        assert_eq!((event.outcome, event.assurance, event.is_final), (outcome, Assurance::Fetched, true), "{answer}");
        let called_back = called_back(fields);
        assert_eq!(
            (&event.kind, &event.track, &event.reasons, event.policy),
            (&called_back.kind, &called_back.track, &called_back.reasons, called_back.policy)
        );
        // Whichever comes second says nothing new.
        for [first, second] in [[&called_back, &event], [&event, &called_back]] {
            let mut course = Course::default();
            assert!(course.decide(first, first.received_at).published.is_some());
            assert!(course.decide(second, later).published.is_none(), "{answer}");
        }
    }

    #[test]
    fn a_result_is_the_verdict_of_its_callback() {
        check_verdict(r#","result":"VERIFIED","reason":"OK","message":"""#, Outcome::Approved);
        check_verdict(r#","result":"VERIFIED""#, Outcome::Approved);
        check_verdict(r#","result":"VERIFIED","reason":"BLACKLISTED""#, Outcome::Review);
        check_verdict(r#","result":"DENIED","reason":"LACK-OF-INFORMATION","message":"name""#, Outcome::Rejected);
        check_verdict(r#","result":"DENIED""#, Outcome::Rejected);
        check_verdict(r#","result":"ERROR","reason":"REQUEST-TIMEOUT""#, Outcome::Failed);
        check_verdict(r#","result":"UNKNOWN","reason":"Unknown address""#, Outcome::Review);
    }

    #[test]
    fn without_a_result_there_is_no_verdict_yet() {
        for fields in
            ["", r#","result":null"#, r#","result":"""#, r#","result":null,"reason":"OK""#, r#","reason":"OK""#]
        {
            let found = fetch(200, &format!(r#"{{"verificationUuid":"uuid-1"{fields}}}"#));
            assert!(matches!(found, Found::NotYet), "{fields}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_never_an_approval() {
        for answer in [
            "",
            "VERIFIED",
            "[]",
            "{}",
            r#"{"result":"VERIFIED"}"#,
            r#"{"verificationUuid":"uuid-2","result":"VERIFIED"}"#,
            r#"{"verificationUuid":null,"result":"VERIFIED"}"#,
            r#"{"verificationUuid":"UUID-1","result":"VERIFIED"}"#,
            r#"{"request_id":"uuid-1","result":"VERIFIED"}"#,
            r#"{"data":{"verificationUuid":"uuid-1","result":"VERIFIED"}}"#,
            r#"{"verificationUuid":"uuid-1","result":"verified"}"#,
            r#"{"verificationUuid":"uuid-1","result":"POSTPONED"}"#,
            r#"{"verificationUuid":"uuid-1","result":["VERIFIED"]}"#,
            r#"{"verificationUuid":"uuid-1","result":"VERIFIED","result":"VERIFIED"}"#,
            r#"{"verificationUuid":"uuid-1","result":"VERIFIED","verificationResult":"DENIED"}"#,
            r#"{"verificationUuid":"uuid-1","result":"VERIFIED","reason":["BLACKLISTED"]}"#,
            r#"{"verificationUuid":"uuid-1","result":"VERIFIED""#,
        ] {
            let found = fetch(200, answer);
            assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{answer}: {found:?}");
        }
    }

    #[test]
    fn an_enclave_says_that_it_does_not_know_a_verification() {
        let not_found = r#"{"code":"VERIFICATION-NOT-FOUND","message":"example"}"#;
        assert!(matches!(fetch(400, not_found), Found::Unknown));
        for status in [404, 410] {
            assert!(matches!(fetch(status, ""), Found::Unknown), "{status}");
        }
        for other in [
            "",
            "VERIFICATION-NOT-FOUND",
            r#"{"code":"MISSING-VERIFICATION-UUID"}"#,
            r#"{"message":"VERIFICATION-NOT-FOUND"}"#,
            r#"{"code":["VERIFICATION-NOT-FOUND"]}"#,
            r#"{"verificationUuid":"uuid-1","result":"VERIFIED"}"#,
        ] {
            let found = fetch(400, other);
            assert!(matches!(found, Found::Unavailable("unexpected_status", None)), "{other}: {found:?}");
        }
        // Only with this status.
        assert!(matches!(fetch(200, not_found), Found::Unavailable(Found::NOT_UNDERSTOOD, None)));
        assert!(matches!(fetch(500, not_found), Found::Unavailable("server_error", None)));
    }

    #[test]
    fn another_status_brings_no_verdict_whatever_the_body_says() {
        for (status, expected) in [
            (201, "unexpected_status"),
            (302, "unexpected_status"),
            (401, Found::NOT_AUTHORIZED),
            (403, Found::NOT_AUTHORIZED),
            (429, Found::TOO_MANY_REQUESTS),
            (500, "server_error"),
            (503, "server_error"),
        ] {
            let mut web = MemoryWeb::new(status, r#"{"verificationUuid":"uuid-1","result":"VERIFIED"}"#);
            let pause = SignedDuration::from_secs(120);
            web.reply.as_mut().unwrap().retry_after = Some(pause);
            match fetch_with(&web, "uuid-1") {
                Found::Unavailable(code, asked_for) => {
                    assert_eq!((code, asked_for), (expected, Some(pause)), "{status}")
                }
                found => panic!("{status}: {found:?}"),
            }
        }
        let silent = MemoryWeb::silent();
        assert!(matches!(fetch_with(&silent, "uuid-1"), Found::Unavailable(Found::NO_REPLY, None)));
    }
}

//! What Veriff is asked, and what comes of its answers.

use std::sync::Mutex;

use jiff::SignedDuration;
use model::{Assurance, NoReply, Outcome, Provider as _, Reply, Retention, Verified, fetched};
use serde_json::{Value, json};

use super::*;

/// Answers every question with this, and keeps the questions.
struct Canned {
    reply: Option<Reply>,
    asked: Mutex<Vec<Question>>,
}

impl Canned {
    fn new(reply: Option<Reply>) -> Self {
        Self { reply, asked: Mutex::default() }
    }
}

impl Web for Canned {
    async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
        self.asked.lock().unwrap().push(question);
        self.reply.clone().ok_or_else(|| NoReply("late".into()))
    }
}

fn reply(status: u16, body: impl ToString) -> Option<Reply> {
    Some(Reply { status, retry_after: None, body: body.to_string().into() })
}

fn credentials() -> VeriffCredentials {
    serde_json::from_value(json!({ "api_key": "example-api-key", "shared_secret_key": "s3cret" })).unwrap()
}

fn key(subject: &str) -> CourseKey {
    CourseKey { provider: "veriff".to_owned(), subject: subject.to_owned(), track: "session".to_owned() }
}

fn fetch_from(web: &Canned, subject: &str) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fetcher = VeriffFetcher::new("https://api.example.com/");
    assert!(fetcher.fetches(&key(subject)));
    runtime.block_on(fetcher.fetch(&key(subject), None, &credentials(), web, Timestamp::UNIX_EPOCH))
}

fn fetch(reply: Option<Reply>) -> Found {
    fetch_from(&Canned::new(reply), "s-1")
}

fn answer(status: &str, code: u32) -> Value {
    json!({
        "status": "success",
        "verification": {
            "id": "s-1", "attemptId": "a-1", "vendorData": "user-1", "status": status, "code": code, "reason": null,
            "reasonCode": null, "decisionTime": "2026-01-31T00:00:00Z", "person": { "firstName": "ERIKA" },
        },
        "technicalData": { "ip": "192.0.2.7" },
    })
}

const FINAL: [(&str, u32, Outcome); 4] = [
    ("approved", 9001, Outcome::Approved),
    ("declined", 9102, Outcome::Rejected),
    ("expired", 9104, Outcome::Failed),
    ("abandoned", 9104, Outcome::Failed),
];

#[test]
fn a_decision_comes_to_what_its_webhook_comes_to() {
    for (status, code, outcome) in FINAL {
        let answer = answer(status, code);
        let Found::Verdict(found, body) = fetch(reply(200, &answer)) else { panic!("{status}") };
        assert_eq!((found.outcome, body.as_ref()), (outcome, answer.to_string().as_bytes()), "{status}");
        assert_eq!(*found, Veriff::<Secrets>::parse(&Verified::fetched(body.clone())).unwrap(), "{status}");
        let event = fetched::<Veriff<Secrets>>(*found, body, Timestamp::UNIX_EPOCH, Retention::default());
        assert_eq!((CourseKey::of(&event), event.assurance), (key("s-1"), Assurance::Fetched));
    }
}

#[test]
fn what_is_not_final_is_no_verdict_yet() {
    for (status, code) in [("started", 7001), ("submitted", 7002), ("review", 9121), ("resubmission_requested", 9103)] {
        let found = fetch(reply(200, answer(status, code)));
        assert!(matches!(found, Found::NotYet), "{status}: {found:?}");
    }
    for undecided in [json!({ "status": "success", "verification": null }), json!({ "status": "success" })] {
        let found = fetch(reply(200, &undecided));
        assert!(matches!(found, Found::NotYet), "{undecided}: {found:?}");
    }
}

#[test]
fn what_is_not_understood_is_never_a_verdict() {
    let approved = answer("approved", 9001).to_string();
    let with = |pointer: &str, value: Value| {
        let mut answer = answer("approved", 9001);
        *answer.pointer_mut(pointer).unwrap() = value;
        answer.to_string()
    };
    for odd in [
        with("/status", json!("fail")),
        with("/status", Value::Null),
        with("/verification/id", json!("s-2")),
        with("/verification/id", Value::Null),
        with("/verification/status", json!("Approved")),
        with("/verification/status", json!("approved ")),
        with("/verification/status", json!("created")),
        with("/verification/status", Value::Null),
        with("/verification/status", json!(["approved"])),
        with("/verification/code", json!(9102)),
        with("/verification/reason", json!("An example of a reason")),
        with("/verification/reasonCode", json!("102")),
        with("/verification", json!({})),
        with("/verification", json!([])),
        approved.replace(r#""status":"approved""#, r#""status":"declined","status":"approved""#),
        approved[..approved.len() - 1].to_owned(),
        format!("[{approved}]"),
        "{}".to_owned(),
        "<html>".to_owned(),
        String::new(),
    ] {
        let found = fetch(reply(200, &odd));
        assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{odd}: {found:?}");
    }
}

#[test]
fn every_other_answer_is_no_verdict() {
    let wait = Some(SignedDuration::from_secs(7));
    for (code, wish, reply) in [
        (Found::NOT_AUTHORIZED, None, reply(401, "")),
        (Found::NOT_AUTHORIZED, None, reply(403, "")),
        (Found::TOO_MANY_REQUESTS, None, reply(429, "")),
        (Found::TOO_MANY_REQUESTS, wait, Some(Reply { status: 429, retry_after: wait, body: "".into() })),
        ("server_error", None, reply(500, "")),
        ("unexpected_status", None, reply(204, "")),
        ("unexpected_status", None, reply(302, "")),
        ("unexpected_status", None, reply(400, answer("approved", 9001))),
        (Found::NO_REPLY, None, None),
    ] {
        let found = fetch(reply);
        assert!(matches!(found, Found::Unavailable(c, w) if c == code && w == wish), "{code}: {found:?}");
    }
    for status in [404, 410] {
        assert!(matches!(fetch(reply(status, "")), Found::Unknown));
    }
}

#[test]
fn a_question_is_signed_and_says_nothing_secret_in_its_address() {
    let web = Canned::new(reply(404, ""));
    fetch_from(&web, "s-1");
    let asked = web.asked.lock().unwrap();
    let [question] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((question.method, question.body.len()), ("GET", 0));
    assert_eq!(question.url, "https://api.example.com/v1/sessions/s-1/decision");
    let header = |name| question.headers.iter().find(|(header, _)| *header == name).unwrap().1.as_str();
    assert_eq!((header("x-auth-client"), header("accept")), ("example-api-key", "application/json"));
    // HMAC-SHA-256 of `s-1` with `s3cret`, as Python's hmac has it.
    assert_eq!(header("x-hmac-signature"), "2cb03f3d56e6016145e59edc8ba64ab1be1ba89aa563a53275dc9e2f9325efaf");
    let shown = format!("{question:?}{:?}{:?}", VeriffFetcher::new("https://api.example.com"), credentials());
    assert!(!shown.contains("s3cret") && !shown.contains("example-api-key"), "{shown}");
}

#[test]
fn nobody_is_asked_about_what_is_no_reference() {
    for subject in ["", "..", "s/1", "s?1", "s#1", "s 1", "../../sessions", "s%2f1", "https://attacker.example.com"] {
        let web = Canned::new(reply(200, answer("approved", 9001)));
        let found = fetch_from(&web, subject);
        assert!(matches!(found, Found::Unavailable(Found::NO_REFERENCE, None)), "{subject}: {found:?}");
        assert!(web.asked.lock().unwrap().is_empty());
    }
}

#[test]
fn only_sessions_of_veriff_can_be_asked_about() {
    let fetcher = VeriffFetcher::new("https://api.example.com");
    assert!(!fetcher.fetches(&CourseKey { provider: "another".to_owned(), ..key("s-1") }));
    assert!(!fetcher.fetches(&CourseKey { track: "unrecognized".to_owned(), ..key("s-1") }));
    assert_eq!(VeriffFetcher::REFERENCE, None);
}

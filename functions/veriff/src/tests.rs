//! What is refused, what each webhook means, and what has the same content.

use model::{
    Course, MemoryStore, Refusal, Rejection, Retention, SecretPair, StoredEvent, receive, signature::TOLERANCE,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "example-key";

fn receive_at(request: &Request, second: i64) -> Result<StoredEvent, Rejection> {
    let provider = Veriff::new(SecretPair::new(KEY, Some("former-key")).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = MemoryStore::default();
    let now = Timestamp::from_second(second).unwrap();
    let received = runtime.block_on(receive(&provider, &store, request, now));
    assert_eq!(store.events().len(), usize::from(received.is_ok()));
    received.map(|receipt| StoredEvent::new(&receipt.event, Retention::default()))
}

fn signature(key: &str, body: &str) -> String {
    let mut headers = SCHEME.sign(key, "", body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
    let (name, value) = headers.pop().unwrap();
    assert_eq!((name, headers.len()), ("x-hmac-signature", 0));
    value
}

fn signed(body: &str) -> Request {
    Request::new(body.to_owned()).with_header("X-HMAC-SIGNATURE", &signature(KEY, body))
}

const BODY: &str = r#"{"status":"success","verification":{"id":"s-1","status":"approved","code":9001}}"#;

/// Checks what a request with this signature is refused for, or that it is not.
#[track_caller]
fn check_signature(value: Option<&str>, expected: Result<(), Refusal>) {
    let request = Request::new(BODY).with_header("x-auth-client", "example-api-key");
    let request = value.iter().fold(request, |request, value| request.with_header("x-hmac-signature", value));
    match (receive_at(&request, 0), expected) {
        (Ok(_), Ok(())) => {}
        (Err(Rejection::NotAuthentic(refusal)), Err(expected)) => assert_eq!(refusal, expected, "{value:?}"),
        (result, expected) => panic!("{value:?}: {result:?} instead of {expected:?}"),
    }
}

#[test]
fn a_webhook_is_signed_with_the_current_or_the_previous_key() {
    let current = signature(KEY, BODY);
    check_signature(Some(&current), Ok(()));
    check_signature(Some(&signature("former-key", BODY)), Ok(()));
    check_signature(None, Err(Refusal::Missing));
    check_signature(Some(""), Err(Refusal::Missing));
    check_signature(Some(KEY), Err(Refusal::Malformed));
    check_signature(Some(&current[..63]), Err(Refusal::Malformed));
    check_signature(Some(&current.to_uppercase()), Err(Refusal::Malformed));
    check_signature(Some(&format!("{current},{current}")), Err(Refusal::Malformed));
    check_signature(Some(&signature("another-key", BODY)), Err(Refusal::Wrong));
    check_signature(Some(&signature(KEY, &BODY.replace("s-1", "s-2"))), Err(Refusal::Wrong));
    // What a question about this session is signed with.
    check_signature(Some(&signature(KEY, "s-1")), Err(Refusal::Wrong));
    check_signature(Some(&"0".repeat(64)), Err(Refusal::Wrong));
}

#[test]
fn neither_the_api_key_nor_an_older_header_is_a_signature() {
    for name in ["x-signature", "vrf-hmac-signature", "authorization"] {
        let request = Request::new(BODY).with_header("x-auth-client", KEY).with_header(name, &signature(KEY, BODY));
        let refused = receive_at(&request, 0);
        assert!(matches!(refused, Err(Rejection::NotAuthentic(Refusal::Missing))), "{name}: {refused:?}");
    }
}

#[test]
fn the_scheme_is_that_of_veriff_s_documents() {
    let body = concat!(
        r#"{"verification":{"callback":"https://veriff.com","person":{"firstName":"John","lastName":"Smith"},"#,
        r#""document":{"type":"PASSPORT","country":"EE"},"vendorData":"unique id of a user","#,
        r#""timestamp":"2016-05-19T08:30:25.597Z"}}"#
    );
    assert_eq!(
        signature("abcdef12-abcd-abcd-abcd-abcdef012345", body),
        "6af6d95822e19e9cc707aec55395d8d363ba2c7bc4625bc04ebeca0c7bf8cd67"
    );
}

#[test]
fn a_signature_has_no_time_so_it_does_not_expire() {
    assert!(receive_at(&signed(BODY), TOLERANCE.as_secs() * 1000).is_ok());
}

fn event_of(body: &Value) -> StoredEvent {
    receive_at(&signed(&body.to_string()), 100).unwrap()
}

fn decision_of(status: &str, code: u32, reason_code: Option<&str>) -> Value {
    json!({
        "status": "success",
        "verification": {
            "id": "s-1", "attemptId": "a-1", "vendorData": "user-1", "status": status, "code": code,
            "reason": reason_code.map(|_| "An example of a reason"), "reasonCode": reason_code,
            "decisionTime": "2026-01-31T00:00:00.000000Z", "acceptanceTime": "2026-01-30T23:59:00.000000Z",
            "person": { "firstName": "ERIKA", "lastName": "EXAMPLE", "dateOfBirth": "1990-01-01" },
            "document": { "number": "X0000000", "type": "PASSPORT", "country": "AT" },
        },
        "technicalData": { "ip": "192.0.2.7" },
    })
}

fn session_event_of(action: &str, code: u32) -> Value {
    json!({
        "id": "s-1", "attemptId": "a-1", "feature": "selfid", "code": code, "action": action, "vendorData": "user-1",
    })
}

/// The webhook with another value at this place.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

#[track_caller]
fn check(body: &Value, kind: &str, outcome: Outcome, is_final: bool, reasons: &[&str]) {
    let event = event_of(body);
    let (event_kind, unrecognized) = (event.kind.as_str(), event.unrecognized.as_deref());
    assert_eq!((event_kind, event.outcome, unrecognized), (kind, outcome, None), "{body}");
    assert_eq!(event.reasons, reasons, "{body}");
    assert_eq!((event.is_final, event.subject.as_str(), event.track.as_str()), (is_final, "s-1", "session"), "{body}");
}

#[track_caller]
fn check_unrecognized(body: &Value, reason: &str, track: &str) {
    let event = event_of(body);
    assert_eq!(event.unrecognized.as_deref(), Some(reason), "{body}");
    assert_eq!((event.outcome, event.track.as_str()), (Outcome::None, track), "{body}");
}

#[test]
fn each_status_has_its_outcome() {
    for (status, code, reason_code, outcome, is_final, reasons) in [
        ("approved", 9001, None, Outcome::Approved, true, &[] as &[&str]),
        ("declined", 9102, Some("102"), Outcome::Rejected, true, &["102"]),
        ("declined", 9102, None, Outcome::Rejected, true, &["declined"]),
        ("resubmission_requested", 9103, Some("204"), Outcome::ActionRequired, false, &["204"]),
        ("expired", 9104, None, Outcome::Failed, true, &["expired"]),
        ("abandoned", 9104, None, Outcome::Failed, true, &["abandoned"]),
        ("review", 9121, None, Outcome::Review, false, &["review"]),
        ("started", 7001, None, Outcome::Pending, false, &[]),
        ("submitted", 7002, None, Outcome::Pending, false, &[]),
    ] {
        let body = decision_of(status, code, reason_code);
        check(&body, "veriff.decision", outcome, is_final, reasons);
        // The code is the same as text, and the status decides without it.
        let as_text = with(body.clone(), "/verification/code", json!(code.to_string()));
        check(&as_text, "veriff.decision", outcome, is_final, reasons);
        let without = with(body, "/verification/code", Value::Null);
        check(&without, "veriff.decision", outcome, is_final, reasons);
    }
}

#[test]
fn an_event_of_a_session_is_pending() {
    for (action, code) in [("started", 7001), ("submitted", 7002)] {
        check(&session_event_of(action, code), "veriff.session-event", Outcome::Pending, false, &[]);
    }
    check_unrecognized(&session_event_of("approved", 9001), "unknown_type", "session");
    check_unrecognized(&session_event_of("Submitted", 7002), "unknown_type", "session");
    check_unrecognized(&session_event_of("submitted", 7001), "contradictory_results", "session");
    check_unrecognized(&with(session_event_of("submitted", 7002), "/id", Value::Null), "missing_field:id", "session");
}

#[test]
fn a_status_that_is_not_known_approves_nothing() {
    for status in ["Approved", "approved ", "created", "success", "9001"] {
        check_unrecognized(&decision_of(status, 9001, None), "unknown_status", "session");
    }
    check_unrecognized(&decision_of("", 9001, None), "missing_field:status", "session");
}

#[test]
fn an_approval_that_is_contradicted_approves_nothing() {
    let approved = decision_of("approved", 9001, None);
    for (pointer, value) in [
        ("/verification/code", json!(9102)),
        ("/verification/code", json!(9121)),
        ("/verification/code", json!("9001.0")),
        ("/verification/reasonCode", json!("102")),
        ("/verification/reasonCode", json!(102)),
        ("/verification/reason", json!("Suspected document tampering")),
        ("/status", json!("fail")),
    ] {
        check_unrecognized(&with(approved.clone(), pointer, value), "contradictory_results", "session");
    }
    check_unrecognized(&decision_of("declined", 9001, Some("102")), "contradictory_results", "session");
    let with_action = with(approved.clone(), "/action", json!("submitted"));
    check_unrecognized(&with_action, "contradictory_results", "unrecognized");
    // Whichever comes first.
    let text = approved.to_string();
    for status in ["declined", "approved"] {
        let text = text.replace(r#""status":"approved""#, &format!(r#""status":"{status}","status":"approved""#));
        let event = receive_at(&signed(&text), 0).unwrap();
        assert_eq!(event.unrecognized.as_deref(), Some("unexpected_shape"), "{text}");
    }
}

#[test]
fn what_else_veriff_signs_with_the_key_is_no_decision() {
    // The answer to a request for a session, which a browser can get.
    let created = json!({ "status": "success", "verification": {
        "id": "s-1", "url": "https://example.com/v/x", "vendorData": "user-1", "host": "https://example.com",
        "status": "created", "sessionToken": "x",
    } });
    check_unrecognized(&created, "unknown_status", "session");
    // Webhooks of other products.
    let full_auto = json!({
        "status": "success", "eventType": "fullauto", "sessionId": "s-1", "attemptId": "a-1",
        "data": { "verification": { "decision": "approved", "decisionScore": 0.9 } },
    });
    check_unrecognized(&full_auto, "unknown_type", "unrecognized");
    assert_eq!(event_of(&full_auto).subject, "s-1");
    let with_verification = with(decision_of("approved", 9001, None), "/eventType", json!("example"));
    check_unrecognized(&with_verification, "unknown_type", "unrecognized");
    for body in [json!({}), json!({ "status": "success" }), json!({ "status": "success", "verification": null })] {
        check_unrecognized(&body, "missing_field:verification", "unrecognized");
    }
    // The text that a question about a session is signed with.
    for body in ["s-1", "", "[]", "not json", r#"{"verification":["approved"]}"#] {
        let event = receive_at(&signed(body), 0).unwrap();
        assert!(event.unrecognized.is_some() && event.outcome == Outcome::None, "{body}");
    }
}

#[test]
fn what_lacks_a_session_is_not_understood() {
    let without = with(decision_of("approved", 9001, None), "/verification/id", Value::Null);
    check_unrecognized(&without, "missing_field:id", "session");
    let odd = with(decision_of("approved", 9001, None), "/verification/id", json!(["s-1"]));
    check_unrecognized(&odd, "unexpected_shape", "unrecognized");
}

/// Whether two webhooks about one session have the same content.
fn say_the_same(one: &Value, other: &Value) -> bool {
    event_of(one).content() == event_of(other).content()
}

#[test]
fn another_attempt_status_or_reason_is_other_content_and_a_resend_is_not() {
    let declined = decision_of("declined", 9102, Some("102"));
    for (pointer, value) in [
        ("/verification/decisionTime", json!("2026-01-31T00:00:01Z")),
        ("/verification/reason", json!("Other words")),
        ("/verification/code", json!("9102")),
        ("/verification/person", Value::Null),
        ("/technicalData", Value::Null),
    ] {
        assert!(say_the_same(&declined, &with(declined.clone(), pointer, value)), "{pointer}");
    }
    assert!(!say_the_same(&declined, &decision_of("declined", 9102, Some("106"))));
    assert!(!say_the_same(&declined, &decision_of("expired", 9104, Some("102"))));
    assert!(!say_the_same(&declined, &with(declined.clone(), "/verification/attemptId", json!("a-2"))));

    let started = session_event_of("started", 7001);
    assert!(say_the_same(&started, &with(started.clone(), "/feature", json!("other"))));
    assert!(!say_the_same(&started, &session_event_of("submitted", 7002)));
    assert!(!say_the_same(&started, &with(started.clone(), "/attemptId", json!("a-2"))));
}

#[test]
fn details_have_no_personal_data() {
    let event = event_of(&decision_of("declined", 9102, Some("102")));
    let details = json!({
        "session_id": "s-1", "attempt_id": "a-1", "status": "declined", "reason_code": "102", "vendor_data": "user-1",
    });
    assert_eq!(Value::Object(event.details), details);
    assert_eq!(event.occurred_at, Some("2026-01-31T00:00:00Z".parse().unwrap()));
    for reference in ["erika@example.com", "Erika Example", "+000000000", ""] {
        let decision = with(decision_of("approved", 9001, None), "/verification/vendorData", json!(reference));
        let event = with(session_event_of("started", 7001), "/vendorData", json!(reference));
        for body in [decision, event] {
            assert_eq!(event_of(&body).details.get("vendor_data"), None, "{body}");
        }
    }
    let free_text = decision_of("declined", 9102, Some("Erika Example was here"));
    check(&free_text, "veriff.decision", Outcome::Rejected, true, &["OTHER"]);
}

#[test]
fn a_session_ends_with_a_decision() {
    let stands = |bodies: &[Value]| {
        let mut course = Course::default();
        for (body, second) in bodies.iter().zip(0..) {
            let event = receive_at(&signed(&body.to_string()), second).unwrap();
            course.decide(&event, event.received_at);
        }
        let standing = course.standing(Timestamp::from_second(100).unwrap());
        (standing.outcome, standing.conflict)
    };
    let (started, submitted) = (session_event_of("started", 7001), session_event_of("submitted", 7002));
    let (approved, declined) = (decision_of("approved", 9001, None), decision_of("declined", 9102, Some("102")));
    let (review, again) = (decision_of("review", 9121, None), decision_of("resubmission_requested", 9103, Some("204")));
    assert_eq!(stands(&[started.clone(), submitted.clone()]), (Outcome::Pending, false));
    assert_eq!(stands(&[submitted.clone(), again, submitted.clone(), approved.clone()]), (Outcome::Approved, false));
    assert_eq!(stands(&[review, approved.clone()]), (Outcome::Approved, false));
    // Late, or replayed.
    assert_eq!(stands(&[approved.clone(), submitted, started]), (Outcome::Approved, false));
    // A replayed approval does not turn a rejection.
    assert_eq!(stands(&[approved.clone(), declined.clone(), approved]), (Outcome::Review, true));
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in ".{0,200}", status in "[a-z_]{0,30}", id in any::<i64>()) {
        receive_at(&signed(&body), 0).unwrap();
        let body = json!({ "status": body, "verification": { "id": id, "status": status, "reasonCode": body } });
        receive_at(&signed(&body.to_string()), 0).unwrap();
    }
}

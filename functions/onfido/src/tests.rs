//! What is refused, what each event means, and what has the same content.

use model::{
    Course, MemoryStore, Origin, Refusal, Rejection, Retention, SecretPair, StoredEvent, receive, signature::TOLERANCE,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TOKEN: &str = "example-token";

fn receive_at(request: &Request, second: i64) -> Result<StoredEvent, Rejection> {
    let provider = Onfido::new(SecretPair::new(TOKEN, Some("former-token")).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = MemoryStore::default();
    let now = Timestamp::from_second(second).unwrap();
    let received = runtime.block_on(receive(&provider, &store, request, now));
    assert_eq!(store.events().len(), usize::from(received.is_ok()));
    received.map(|receipt| StoredEvent::new(&receipt.event, Retention::default()))
}

fn signature(token: &str, body: &str) -> String {
    let mut headers = SCHEME.sign(token, "", body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
    let (name, value) = headers.pop().unwrap();
    assert_eq!((name, headers.len()), ("x-sha2-signature", 0));
    value
}

fn signed(body: &str) -> Request {
    Request::new(body.to_owned()).with_header("X-SHA2-Signature", &signature(TOKEN, body))
}

const BODY: &str = r#"{"payload":{"resource_type":"check","action":"check.completed","object":{"id":"c-1"}}}"#;

/// Checks what a request with this signature is refused for, or that it is not.
#[track_caller]
fn check_signature(value: Option<&str>, expected: Result<(), Refusal>) {
    let request =
        value.iter().fold(Request::new(BODY), |request, value| request.with_header("x-sha2-signature", value));
    match (receive_at(&request, 0), expected) {
        (Ok(_), Ok(())) => {}
        (Err(Rejection::NotAuthentic(refusal)), Err(expected)) => assert_eq!(refusal, expected, "{value:?}"),
        (result, expected) => panic!("{value:?}: {result:?} instead of {expected:?}"),
    }
}

#[test]
fn a_webhook_is_signed_with_the_current_or_the_previous_token() {
    let current = signature(TOKEN, BODY);
    check_signature(Some(&current), Ok(()));
    check_signature(Some(&signature("former-token", BODY)), Ok(()));
    check_signature(None, Err(Refusal::Missing));
    check_signature(Some(""), Err(Refusal::Missing));
    check_signature(Some(TOKEN), Err(Refusal::Malformed));
    check_signature(Some(&current[..63]), Err(Refusal::Malformed));
    check_signature(Some(&current.to_uppercase()), Err(Refusal::Malformed));
    check_signature(Some(&format!("sha256={current}")), Err(Refusal::Malformed));
    check_signature(Some(&format!("{current},{current}")), Err(Refusal::Malformed));
    check_signature(Some(&signature("another-token", BODY)), Err(Refusal::Wrong));
    check_signature(Some(&signature(TOKEN, &BODY.replace("c-1", "c-2"))), Err(Refusal::Wrong));
    check_signature(Some(&"0".repeat(64)), Err(Refusal::Wrong));
}

#[test]
fn the_scheme_is_that_of_onfido_s_client_libraries() {
    // onfido-python, tests/test_classic_webhook_event_verification.py.
    let body = concat!(
        r#"{"payload":{"resource_type":"check","action":"check.completed","object":{"id":"#,
        r#""f2302f45-227d-413d-ad61-09ec077a086a","status":"complete","completed_at_iso8601":"2024-04-04T09:21:21Z","#,
        r#""href":"https://api.onfido.com/v3.6/checks/f2302f45-227d-413d-ad61-09ec077a086a"}}}"#
    );
    assert_eq!(
        signature("wU99mE6jJ7nXOLFwZ0tJymM1lpI15pZh", body),
        "77ebc3e418f26be6eebb47f7ebe551321de26734fc273961e075fc9ab163d9c7"
    );
}

#[test]
fn a_signature_has_no_time_so_it_does_not_expire() {
    assert!(receive_at(&signed(BODY), TOLERANCE.as_secs() * 1000).is_ok());
}

fn event_of(body: &Value) -> StoredEvent {
    receive_at(&signed(&body.to_string()), 100).unwrap()
}

fn webhook(resource_type: &str, action: &str, status: &str) -> Value {
    json!({ "payload": {
        "resource_type": resource_type,
        "action": action,
        "object": {
            "id": "o-1", "status": status, "completed_at_iso8601": "2026-01-31T00:00:00Z",
            "href": "https://attacker.example.com/v3.6/checks/o-1",
        },
    } })
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
    assert_eq!((event.is_final, event.subject.as_str()), (is_final, "o-1"), "{body}");
}

#[track_caller]
fn check_unrecognized(body: &Value, reason: &str, track: &str) {
    let event = event_of(body);
    assert_eq!(event.unrecognized.as_deref(), Some(reason), "{body}");
    assert_eq!((event.outcome, event.track.as_str()), (Outcome::None, track), "{body}");
}

#[test]
fn no_webhook_about_a_check_has_a_verdict() {
    for action in ["check.started", "check.reopened", "check.completed", "check.form_completed"] {
        for status in ["in_progress", "awaiting_applicant", "complete", "withdrawn", "paused", "reopened", "new"] {
            check(&webhook("check", action, status), "onfido.check", Outcome::Pending, false, &[]);
        }
        let body = with(webhook("check", action, "complete"), "/payload/object/result", json!("clear"));
        check(&body, "onfido.check", Outcome::Pending, false, &[]);
    }
    let withdrawn = webhook("check", "check.withdrawn", "withdrawn");
    check(&withdrawn, "onfido.check", Outcome::Failed, true, &["withdrawn"]);
    let without_status = with(withdrawn, "/payload/object/status", Value::Null);
    check(&without_status, "onfido.check", Outcome::Failed, true, &["withdrawn"]);
    check(&webhook("check", "check.withdrawn", "complete"), "onfido.check", Outcome::Pending, false, &[]);
}

#[test]
fn only_a_completed_check_has_a_verdict_that_is_fetched_at_once() {
    let has_verdict = |action| event_of(&webhook("check", action, "complete")).has_verdict_elsewhere;
    assert!(has_verdict("check.completed"));
    for action in ["check.started", "check.reopened", "check.withdrawn", "check.form_completed"] {
        assert!(!has_verdict(action), "{action}");
    }
}

#[test]
fn each_status_of_a_run_has_its_outcome() {
    for (status, outcome, is_final, reasons) in [
        ("approved", Outcome::Approved, true, &[] as &[&str]),
        ("declined", Outcome::Rejected, true, &["declined"]),
        ("review", Outcome::Review, true, &["review"]),
        ("abandoned", Outcome::Failed, true, &["abandoned"]),
        ("error", Outcome::Failed, true, &["error"]),
        ("processing", Outcome::Pending, false, &[]),
        ("awaiting_input", Outcome::Pending, false, &[]),
        ("awaiting_client_input", Outcome::Pending, false, &[]),
    ] {
        let body = webhook("workflow_run", "workflow_run.completed", status);
        check(&body, "onfido.workflow-run", outcome, is_final, reasons);
        // The resource says it too, or alone.
        let twice = with(body.clone(), "/payload/resource", json!({ "status": status }));
        check(&twice, "onfido.workflow-run", outcome, is_final, reasons);
        let alone = with(twice, "/payload/object/status", Value::Null);
        check(&alone, "onfido.workflow-run", outcome, is_final, reasons);
    }
}

#[test]
fn a_status_that_is_not_known_approves_nothing() {
    let run = |status: &str| webhook("workflow_run", "workflow_run.completed", status);
    check_unrecognized(&run("Approved"), "unknown_status", "workflow-run");
    check_unrecognized(&run("approved "), "unknown_status", "workflow-run");
    check_unrecognized(&run("complete"), "unknown_status", "workflow-run");
    check_unrecognized(&run(""), "missing_field:status", "workflow-run");
}

#[test]
fn what_contradicts_itself_approves_nothing() {
    let approved = webhook("workflow_run", "workflow_run.completed", "approved");
    for resource in [json!({ "status": "declined" }), json!({ "error": { "type": "example" } })] {
        let body = with(approved.clone(), "/payload/resource", resource);
        check_unrecognized(&body, "contradictory_results", "workflow-run");
    }
    let declined = webhook("workflow_run", "workflow_run.completed", "declined");
    let body = with(declined, "/payload/resource", json!({ "status": "approved" }));
    check_unrecognized(&body, "contradictory_results", "workflow-run");
    let body = with(approved.clone(), "/payload/resource_type", json!("check"));
    check_unrecognized(&body, "contradictory_results", "check");
    // No error is none.
    for error in [Value::Null, json!({}), json!({ "type": null, "message": "" })] {
        let body = with(approved.clone(), "/payload/resource", json!({ "error": error }));
        check(&body, "onfido.workflow-run", Outcome::Approved, true, &[]);
    }
}

#[test]
fn reasons_are_codes_and_never_those_of_an_approval() {
    let with_reasons = |status: &str| {
        let body = webhook("workflow_run", "workflow_run.completed", status);
        let reasons = json!({ "reasons": ["document_fake", "", "Erika Example was here"] });
        with(body, "/payload/resource", reasons)
    };
    let declined = with_reasons("declined");
    check(&declined, "onfido.workflow-run", Outcome::Rejected, true, &["declined", "document_fake", "OTHER"]);
    check(&with_reasons("approved"), "onfido.workflow-run", Outcome::Approved, true, &[]);
}

#[test]
fn the_other_documented_events_have_no_verdict() {
    for action in [
        "report.withdrawn",
        "report.resumed",
        "report.cancelled",
        "report.awaiting_approval",
        "report.completed",
        "workflow_task.started",
        "workflow_task.completed",
        "watchlist_monitor.matches_updated",
        "audit_log.created",
        "workflow_timeline_file.created",
        "workflow_run_evidence_folder.created",
    ] {
        let body = webhook(action.split_once('.').unwrap().0, action, "approved");
        check(&body, "onfido.notice", Outcome::None, false, &[]);
        assert_eq!(event_of(&body).track, "notice");
    }
}

#[test]
fn a_task_belongs_to_its_run() {
    let task = webhook("workflow_task", "workflow_task.completed", "completed");
    for place in ["/payload/object", "/payload/resource"] {
        let mut body = with(task.clone(), "/payload/resource", json!({}));
        body.pointer_mut(place).unwrap()["workflow_run_id"] = json!("r-1");
        let event = event_of(&body);
        assert_eq!((event.subject.as_str(), event.details["object_id"].as_str()), ("r-1", Some("o-1")));
    }
}

#[test]
fn what_is_not_understood_says_why() {
    let completed = webhook("check", "check.completed", "complete");
    check_unrecognized(&json!({}), "missing_field:payload", "unrecognized");
    check_unrecognized(&json!({ "payload": {} }), "missing_field:object", "unrecognized");
    check_unrecognized(&json!({ "payload": [] }), "unexpected_shape", "unrecognized");
    check_unrecognized(&with(completed.clone(), "/payload/action", json!("")), "missing_field:action", "check");
    check_unrecognized(&with(completed.clone(), "/payload/object/id", json!("")), "missing_field:id", "check");
    check_unrecognized(&with(completed.clone(), "/payload/action", json!("check.approved")), "unknown_type", "check");
    check_unrecognized(
        &with(completed, "/payload/action", json!(["check.completed"])),
        "unexpected_shape",
        "unrecognized",
    );
    check_unrecognized(&webhook("workflow_run", "workflow_run.started", "processing"), "unknown_type", "workflow-run");
    check_unrecognized(&webhook("example", "example.created", "approved"), "unknown_type", "unrecognized");
    // An answer of Onfido's API is no webhook.
    let answer = json!({ "id": "o-1", "status": "complete", "result": "clear" });
    check_unrecognized(&answer, "missing_field:payload", "unrecognized");
    for body in ["", "not json", "[]", r#"{"payload":{"object":{"id":"o-1"},"object":{"id":"o-2"}}}"#] {
        let event = receive_at(&signed(body), 0).unwrap();
        assert!(event.unrecognized.is_some() && event.outcome == Outcome::None, "{body}");
    }
}

/// Whether two webhooks about one subject have the same content.
fn say_the_same(one: &Value, other: &Value) -> bool {
    event_of(one).content() == event_of(other).content()
}

#[test]
fn another_action_status_or_time_is_other_content_and_a_resend_is_not() {
    let check = webhook("check", "check.completed", "complete");
    let resent = with(check.clone(), "/payload/object/href", json!("https://api.us.onfido.com/v3.6/checks/o-1"));
    assert!(say_the_same(&check, &with(resent, "/payload/resource", json!({ "first_name": "ERIKA" }))));
    assert!(!say_the_same(&check, &webhook("check", "check.completed", "reopened")));
    assert!(!say_the_same(&check, &webhook("check", "check.started", "complete")));
    let later = json!("2026-01-31T00:00:01Z");
    assert!(!say_the_same(&check, &with(check.clone(), "/payload/object/completed_at_iso8601", later.clone())));

    let run = webhook("workflow_run", "workflow_run.completed", "declined");
    assert!(say_the_same(&run, &with(run.clone(), "/payload/object/completed_at_iso8601", later.clone())));
    assert!(!say_the_same(&run, &webhook("workflow_run", "workflow_run.completed", "review")));
    assert!(!say_the_same(&run, &with(run.clone(), "/payload/resource", json!({ "reasons": ["another"] }))));

    let notice = webhook("report", "report.completed", "complete");
    assert!(!say_the_same(&notice, &with(notice.clone(), "/payload/object/completed_at_iso8601", later)));
    assert!(!say_the_same(&notice, &webhook("report", "report.withdrawn", "complete")));
}

#[test]
fn a_webhook_s_time_is_onfido_s() {
    let body = webhook("workflow_run", "workflow_run.completed", "approved");
    assert_eq!(event_of(&body).occurred_at, Some("2026-01-31T00:00:00Z".parse().unwrap()));
    let odd = with(body, "/payload/object/completed_at_iso8601", json!("yesterday"));
    check(&odd, "onfido.workflow-run", Outcome::Approved, true, &[]);
    assert_eq!(event_of(&odd).occurred_at, None);
}

#[test]
fn details_have_no_personal_data() {
    let resource = json!({
        "status": "declined", "applicant_id": "a-1", "first_name": "ERIKA", "reasons": ["ERIKA EXAMPLE"],
        "input": { "dob": "1990-01-01" }, "output": { "last_name": "EXAMPLE" }, "customer_user_id": "erika@example.com",
        "dashboard_url": "https://dashboard.example.com/results/o-1",
    });
    let body =
        with(webhook("workflow_run", "workflow_run.completed", "declined"), "/payload/resource", resource.clone());
    let event = event_of(&body);
    let details = json!({ "workflow_run_id": "o-1", "status": "declined", "applicant_id": "a-1" });
    assert_eq!(Value::Object(event.details), details);
    let body = with(webhook("check", "check.completed", "Erika Example"), "/payload/resource", resource);
    let details = json!({
        "check_id": "o-1", "action": "check.completed", "status": "OTHER", "applicant_id": "a-1",
    });
    assert_eq!(Value::Object(event_of(&body).details), details);
}

/// What stands on a track after these events, the first of which came first.
fn standing(events: &[StoredEvent]) -> Outcome {
    let mut course = Course::default();
    for event in events {
        course.decide(event, event.received_at);
    }
    course.standing(events.last().unwrap().received_at).outcome
}

#[test]
fn a_check_that_is_reopened_does_not_stay_approved() {
    let answer = json!({ "id": "o-1", "status": "complete", "result": "clear" });
    let fetched = |result: &str, second| {
        let body = with(answer.clone(), "/result", json!(result)).to_string();
        let parsed = check_result(wire::from_json(body.as_bytes()).unwrap()).unwrap();
        let asked_at = Timestamp::from_second(second).unwrap();
        model::fetched::<Onfido<SecretPair>>(parsed, body.into(), asked_at, Retention::default())
    };
    let at = |action: &str, second| receive_at(&signed(&webhook("check", action, "x").to_string()), second).unwrap();
    let mut events = vec![at("check.completed", 1), fetched("clear", 2)];
    assert_eq!(events[1].origin(), Origin::Fetched);
    assert_eq!(standing(&events), Outcome::Approved);
    events.push(at("check.reopened", 3));
    assert_eq!(standing(&events), Outcome::Pending);
    events.push(fetched("consider", 4));
    assert_eq!(standing(&events), Outcome::Review);
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in ".{0,200}", field in "[a-z_.]{0,30}", value in any::<i64>()) {
        receive_at(&signed(&body), 0).unwrap();
        let body = json!({ "payload": { "resource_type": field, "action": field, "object": { "id": value, "status": body } } });
        receive_at(&signed(&body.to_string()), 0).unwrap();
    }
}

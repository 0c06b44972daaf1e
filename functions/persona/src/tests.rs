use model::{Course, MemoryStore, Published, Refusal, Rejection, SecretPair, StoredEvent, receive};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// When everything here is received: 2026-01-31T09:30:00Z.
const NOW: i64 = 1_769_851_800;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn receive_into(store: &MemoryStore, request: &Request, second: i64) -> Result<(), Rejection> {
    let provider = Persona::new(SecretPair::new("new", Some("old")).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(receive(&provider, store, request, at(second))).map(|_| ())
}

fn receive_one(request: &Request) -> Result<StoredEvent, Rejection> {
    let store = MemoryStore::default();
    let received = receive_into(&store, request, NOW);
    assert_eq!(store.events().len(), usize::from(received.is_ok()));
    received.map(|()| store.events().remove(0))
}

/// The header that Persona signs this body with, with this secret and at this time.
fn signature(secret: &str, body: &str, second: i64) -> String {
    SCHEME.sign(secret, "", body.as_bytes(), at(second)).unwrap().remove(0).1
}

fn with_signature(body: &str, signature: &str) -> Request {
    Request::new(body.to_owned()).with_header("Persona-Signature", signature)
}

fn signed(body: &str) -> Request {
    with_signature(body, &signature("new", body, NOW))
}

fn stored(body: &Value) -> StoredEvent {
    receive_one(&signed(&body.to_string())).unwrap()
}

/// An event of this name about an inquiry with this status.
fn webhook(name: &str, status: &str) -> Value {
    json!({ "data": { "type": "event", "id": "evt_0", "attributes": {
        "name": name,
        "created-at": "2026-01-31T09:29:59.000Z",
        "payload": {
            "data": {
                "type": "inquiry", "id": "inq_0",
                "attributes": { "status": status, "reference-id": "user-0", "name-first": "ERIKA" },
                "relationships": { "inquiry-template": { "data": { "type": "inquiry-template", "id": "itmpl_0" } } },
            },
            "included": [{ "type": "verification/selfie", "id": "ver_0", "attributes": { "status": "failed" } }],
        },
    } } })
}

fn inquiry(body: &mut Value) -> &mut Value {
    &mut body["data"]["attributes"]["payload"]["data"]
}

#[track_caller]
fn check_refused(request: Request, expected: Refusal) {
    match receive_one(&request) {
        Err(Rejection::NotAuthentic(refusal)) => assert_eq!(refusal, expected),
        other => panic!("{other:?} instead of {expected:?}"),
    }
}

#[test]
fn persona_is_known_by_its_signature_of_time_and_body() {
    let body = webhook("inquiry.approved", "approved").to_string();
    let with = |signature: &str| with_signature(&body, signature);
    let right = signature("new", &body, NOW);
    let (time, v1) = right.split_once(',').unwrap();
    assert!(receive_one(&with(&right)).is_ok());
    assert!(receive_one(&with(&signature("old", &body, NOW))).is_ok());
    check_refused(with(&signature("other", &body, NOW)), Refusal::Wrong);
    check_refused(Request::new(body.clone()), Refusal::Missing);
    check_refused(with(""), Refusal::Missing);
    check_refused(with(time), Refusal::Malformed);
    check_refused(with(v1), Refusal::Malformed);
    check_refused(with(&v1["v1=".len()..]), Refusal::Malformed);
    check_refused(with(&format!("{time},{time},{v1}")), Refusal::Malformed);
    check_refused(with(&format!("t=now,{v1}")), Refusal::Malformed);
    check_refused(with(&format!("{time},v1=")), Refusal::Malformed);
    check_refused(with(&format!("{time},v1={}", &v1["v1=x".len()..])), Refusal::Malformed);
    check_refused(with(&format!("{time},v0={}", &v1["v1=".len()..])), Refusal::Malformed);
    check_refused(with(&right.to_uppercase()), Refusal::Malformed);
    check_refused(with(&format!("{time},v1={}", "0".repeat(64))), Refusal::Wrong);
    check_refused(with_signature(&body.replace("approved", "declined"), &right), Refusal::Wrong);
}

#[test]
fn the_time_is_signed_and_within_five_minutes() {
    let body = webhook("inquiry.approved", "approved").to_string();
    for second in [NOW - 300, NOW + 300] {
        assert!(receive_one(&with_signature(&body, &signature("new", &body, second))).is_ok());
    }
    for second in [NOW - 301, NOW + 301, 0] {
        check_refused(with_signature(&body, &signature("new", &body, second)), Refusal::Timestamp);
    }
    let old = signature("new", &body, NOW - 3600);
    let made_new = format!("t={NOW},{}", old.split_once(',').unwrap().1);
    check_refused(with_signature(&body, &made_new), Refusal::Wrong);
}

#[test]
fn while_a_secret_is_rotated_one_of_two_signatures_fits() {
    let body = webhook("inquiry.approved", "approved").to_string();
    let (right, other) = (signature("new", &body, NOW), signature("other", &body, NOW));
    assert!(receive_one(&with_signature(&body, &format!("{right} {other}"))).is_ok());
    assert!(receive_one(&with_signature(&body, &format!("{other} {right}"))).is_ok());
    check_refused(with_signature(&body, &format!("{other} {other}")), Refusal::Wrong);
    check_refused(with_signature(&body, &format!("{right}  {right}")), Refusal::Malformed);
    // One group's time does not make another one's signature current.
    let stale = signature("new", &body, NOW - 3600);
    check_refused(with_signature(&body, &format!("{stale} {other}")), Refusal::Timestamp);
}

#[test]
fn a_signature_that_was_computed_elsewhere_is_accepted() {
    // Computed with Python's hmac.
    let body = r#"{"data":{"id":"evt_0001","attributes":{"name":"inquiry.approved"}}}"#;
    let signature = "t=1769851800,v1=f98233f62c5d34e773ec6fe37356e4bcb4fffa09c7910c783c6747010e442946";
    let secrets = SecretPair::new("wbhsec_00000000-0000-4000-8000-000000000000", None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let provider = Persona::new(secrets);
    let authenticate = |body: &str| runtime.block_on(provider.authenticate(&with_signature(body, signature), at(NOW)));
    assert!(authenticate(body).is_ok());
    assert!(authenticate(&body.replace("0001", "0002")).is_err());
}

/// Checks the outcome of an event, its reason, and whether it is final.
#[track_caller]
fn check(body: &Value, outcome: Outcome, reason: Option<&str>, is_final: bool) {
    let stored = stored(body);
    assert_eq!((stored.outcome, stored.unrecognized.as_deref()), (outcome, None), "{body}");
    assert_eq!((stored.reasons.first().map(String::as_str), stored.is_final), (reason, is_final), "{body}");
    assert_eq!((stored.subject.as_str(), stored.track.as_str()), ("inq_0", "inquiry-status"));
}

#[test]
fn each_event_has_its_outcome() {
    check(&webhook("inquiry.created", "created"), Outcome::Pending, None, false);
    check(&webhook("inquiry.started", "pending"), Outcome::Pending, None, false);
    check(&webhook("inquiry.completed", "completed"), Outcome::Pending, None, false);
    check(&webhook("inquiry.failed", "failed"), Outcome::Failed, Some("failed"), false);
    check(&webhook("inquiry.expired", "expired"), Outcome::Failed, Some("expired"), false);
    check(&webhook("inquiry.marked-for-review", "needs_review"), Outcome::Review, Some("needs_review"), false);
    check(&webhook("inquiry.approved", "approved"), Outcome::Approved, None, true);
    check(&webhook("inquiry.declined", "declined"), Outcome::Rejected, Some("declined"), true);
}

#[test]
fn an_approval_of_an_inquiry_with_another_status_is_for_a_human() {
    for status in ["declined", "needs_review", "completed", "failed", "Approved"] {
        check(&webhook("inquiry.approved", status), Outcome::Review, Some(status), true);
    }
    check(&webhook("inquiry.approved", "Mr. Example"), Outcome::Review, Some("OTHER"), true);
    // The name decides otherwise: no status makes another event an approval.
    check(&webhook("inquiry.completed", "approved"), Outcome::Pending, None, false);
    check(&webhook("inquiry.declined", "approved"), Outcome::Rejected, Some("declined"), true);
    check(&webhook("inquiry.marked-for-review", "approved"), Outcome::Review, Some("needs_review"), false);
}

#[test]
fn a_status_that_the_company_keeps_from_being_sent_is_no_contradiction() {
    check(&webhook("inquiry.approved", ""), Outcome::Approved, None, true);
    let mut body = webhook("inquiry.approved", "approved");
    inquiry(&mut body).as_object_mut().unwrap().remove("attributes").unwrap();
    check(&body, Outcome::Approved, None, true);
}

/// Checks that a body is not understood, what it is about, and on which track it is.
#[track_caller]
fn check_unrecognized(body: &Value, reason: &str, subject: Option<&str>, track: &str) {
    let stored = stored(body);
    assert_eq!((stored.outcome, stored.unrecognized.as_deref()), (Outcome::None, Some(reason)), "{body}");
    let subject_of_body = Some(stored.subject.as_str()).filter(|subject| !subject.starts_with("unrecognized-"));
    assert_eq!((subject_of_body, stored.track.as_str()), (subject, track), "{body}");
}

#[test]
fn what_is_not_known_is_kept_and_approves_nothing() {
    for name in ["inquiry.transitioned", "inquiry.redacted", "Inquiry.approved", "inquiry.approved ", "approved"] {
        check_unrecognized(&webhook(name, "approved"), "unknown_event", Some("inq_0"), "unrecognized");
    }
    let mut verification = webhook("verification.passed", "passed");
    inquiry(&mut verification)["type"] = json!("verification/selfie");
    check_unrecognized(&verification, "unknown_event", None, "unrecognized");
    let mut account = webhook("inquiry.approved", "approved");
    inquiry(&mut account)["type"] = json!("account");
    check_unrecognized(&account, "unknown_resource", None, "unrecognized");
}

#[test]
fn what_is_missing_is_named() {
    let approved = || webhook("inquiry.approved", "approved");
    let mut body = approved();
    body["data"]["id"] = json!(null);
    check_unrecognized(&body, "missing_field:data.id", Some("inq_0"), "inquiry-status");
    let mut body = approved();
    body["data"]["attributes"]["name"] = json!("");
    check_unrecognized(&body, "missing_field:data.attributes.name", None, "unrecognized");
    let mut body = approved();
    body["data"]["attributes"] = json!(null);
    check_unrecognized(&body, "missing_field:data.attributes", None, "unrecognized");
    check_unrecognized(&json!({}), "missing_field:data", None, "unrecognized");

    let reason = "missing_field:data.attributes.payload.data.id";
    let mut without_id = approved();
    inquiry(&mut without_id)["id"] = json!("");
    let mut too_long = approved();
    inquiry(&mut too_long)["id"] = json!("i".repeat(Subject::MAX_BYTES + 1));
    let mut without_type = approved();
    inquiry(&mut without_type)["type"] = json!(null);
    let mut without_data = approved();
    without_data["data"]["attributes"]["payload"]["data"] = json!(null);
    let mut without_payload = approved();
    without_payload["data"]["attributes"]["payload"] = json!(null);
    for body in [without_id, too_long, without_type, without_data, without_payload] {
        check_unrecognized(&body, reason, None, "unrecognized");
    }
}

#[test]
fn a_body_of_another_form_is_kept_and_approves_nothing() {
    let approved = webhook("inquiry.approved", "approved").to_string();
    for (body, reason) in [
        (String::new(), "not_json"),
        ("inquiry.approved".to_owned(), "not_json"),
        (approved[..approved.len() - 1].to_owned(), "not_json"),
        ("[]".to_owned(), "unexpected_shape"),
        (r#"{"data":[]}"#.to_owned(), "unexpected_shape"),
        (r#"{"data":{"attributes":"inquiry.approved"}}"#.to_owned(), "unexpected_shape"),
        (approved.replace(r#""inq_0""#, r#"["inq_0"]"#), "unexpected_shape"),
        (approved.replace(r#""approved""#, r#"{"status":"approved"}"#), "unexpected_shape"),
        (approved.replace(r#""approved""#, r#""declined","status":"approved""#), "unexpected_shape"),
        (approved.replace(r#""reference-id""#, r#""referenceId":"b","reference-id""#), "unexpected_shape"),
        (approved.replace(r#""evt_0""#, r#""evt_0","id":"evt_1""#), "unexpected_shape"),
        (format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)), "unexpected_shape"),
    ] {
        let stored = receive_one(&signed(&body)).unwrap();
        assert_eq!((stored.outcome, stored.unrecognized.as_deref()), (Outcome::None, Some(reason)), "{body}");
    }
}

#[test]
fn details_are_references_and_codes() {
    let approved = stored(&webhook("inquiry.approved", "approved"));
    let expected = json!({
        "inquiry_id": "inq_0", "event_id": "evt_0", "event_name": "inquiry.approved", "template_id": "itmpl_0",
        "reference_id": "user-0", "final": true,
    });
    assert_eq!(Value::from(approved.details), expected);
    assert_eq!(approved.occurred_at, Some(at(NOW - 1)));

    let mut body = webhook("inquiry.started", "pending");
    inquiry(&mut body)["attributes"]["reference-id"] = json!("erika@example.com");
    inquiry(&mut body)["relationships"]["inquiry-template"]["data"] = json!(null);
    body["data"]["attributes"]["created-at"] = json!("today");
    let started = stored(&body);
    let expected =
        json!({ "inquiry_id": "inq_0", "event_id": "evt_0", "event_name": "inquiry.started", "final": false });
    assert_eq!((Value::from(started.details), started.occurred_at), (expected, None));
}

#[test]
fn every_key_inflection_reads_the_same() {
    let kebab = webhook("inquiry.approved", "approved").to_string();
    let expected = receive_one(&signed(&kebab)).unwrap();
    for inflected in
        [["created_at", "reference_id", "inquiry_template"], ["createdAt", "referenceId", "inquiryTemplate"]]
    {
        let names = ["created-at", "reference-id", "inquiry-template"];
        let body = names.iter().zip(inflected).fold(kebab.clone(), |body, (name, inflected)| {
            body.replace(&format!(r#""{name}":"#), &format!(r#""{inflected}":"#))
        });
        assert_ne!(body, kebab);
        let stored = receive_one(&signed(&body)).unwrap();
        assert_eq!((stored.id, stored.details), (expected.id.clone(), expected.details.clone()));
        assert_eq!(stored.occurred_at, expected.occurred_at);
    }
}

#[test]
fn an_event_has_one_content_however_often_it_is_sent() {
    let id = |body: &Value| stored(body).id;
    let first = webhook("inquiry.declined", "declined");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = first.clone();
        change(&mut body);
        body
    };
    // Of another version of the API, say.
    assert_eq!(id(&first), id(&changed(&|body| inquiry(body)["attributes"]["fields"] = json!({ "a": 1 }))));
    assert_eq!(id(&first), id(&changed(&|body| body["data"]["attributes"]["created-at"] = json!(null))));
    // And a time that is signed anew.
    let body = first.to_string();
    assert_eq!(id(&first), receive_one(&with_signature(&body, &signature("old", &body, NOW - 60))).unwrap().id);

    assert_ne!(id(&first), id(&changed(&|body| body["data"]["id"] = json!("evt_1"))));
    assert_ne!(id(&first), id(&changed(&|body| body["data"]["attributes"]["name"] = json!("inquiry.approved"))));
    assert_ne!(id(&first), id(&changed(&|body| inquiry(body)["attributes"]["status"] = json!("approved"))));
    assert_ne!(id(&first), id(&changed(&|body| inquiry(body)["id"] = json!("inq_1"))));
}

/// What is published of events with these names and statuses, received a second apart.
fn published(events: &[(&str, &str)]) -> Vec<Option<Published>> {
    let store = MemoryStore::default();
    for (number, (name, status)) in (0..).zip(events) {
        let mut body = webhook(name, status);
        body["data"]["id"] = json!(format!("evt_{name}"));
        receive_into(&store, &signed(&body.to_string()), NOW + number).unwrap();
    }
    let mut stored = store.events();
    stored.sort_by_key(|event| event.received_at);
    let mut course = Course::default();
    stored.iter().map(|event| course.decide(event, event.received_at).published).collect()
}

#[track_caller]
fn check_course(events: &[(&str, &str)], expected: &[Option<Outcome>]) {
    let outcomes: Vec<_> =
        published(events).into_iter().map(|published| published.map(|published| published.outcome)).collect();
    assert_eq!(outcomes, expected);
}

#[test]
fn only_a_decision_is_final() {
    let (approved, declined) = (("inquiry.approved", "approved"), ("inquiry.declined", "declined"));
    let failed = Some(Outcome::Failed);
    check_course(&[("inquiry.failed", "failed"), approved], &[failed, Some(Outcome::Approved)]);
    check_course(&[("inquiry.expired", "expired"), declined], &[failed, Some(Outcome::Rejected)]);
    check_course(&[approved, approved], &[Some(Outcome::Approved), None]);
    check_course(&[approved, declined], &[Some(Outcome::Approved), Some(Outcome::Rejected)]);
    let review = Some(Outcome::Review);
    check_course(&[declined, approved], &[Some(Outcome::Rejected), review]);
    check_course(&[approved, declined, approved], &[Some(Outcome::Approved), Some(Outcome::Rejected), review]);
    // Persona does not keep the order.
    let late = published(&[approved, ("inquiry.completed", "completed")]).pop().unwrap().unwrap();
    assert!(late.late && late.outcome == Outcome::None);
}

proptest! {
    /// Whatever an authentic body holds, it is kept, and only one that says so in so many words is
    /// an approval.
    #[test]
    fn no_body_makes_the_parser_panic(text in ".{0,300}", body in any_body()) {
        prop_assert_eq!(receive_one(&signed(&text)).unwrap().outcome, Outcome::None);
        if stored(&body).outcome == Outcome::Approved {
            let attributes = &body["data"]["attributes"];
            prop_assert_eq!(&attributes["name"], "inquiry.approved");
            let status = &attributes["payload"]["data"]["attributes"]["status"];
            prop_assert!(status == "approved" || status == "" || status.is_null());
        }
    }
}

fn any_body() -> impl Strategy<Value = Value> {
    let any_of = |values: Value| proptest::sample::select(values.as_array().unwrap().clone());
    let odd = json!([null, "", 1, {}, [], "Mr. Example", true]);
    let or_odd = move |values: Value| prop_oneof![4 => any_of(values), 1 => any_of(odd.clone())];
    (
        or_odd(json!(["inquiry.approved", "inquiry.approved", "inquiry.declined", "inquiry.completed"])),
        or_odd(json!(["approved", "approved", "declined", "completed"])),
        or_odd(json!(["inquiry"])),
        or_odd(json!(["inq_0", "inq_1"])),
        or_odd(json!(["evt_0", "evt_1"])),
    )
        .prop_map(|(name, status, resource_type, id, event_id)| {
            let mut body = webhook("", "");
            body["data"]["id"] = event_id;
            body["data"]["attributes"]["name"] = name;
            let inquiry = inquiry(&mut body);
            (inquiry["type"], inquiry["id"]) = (resource_type, id);
            inquiry["attributes"]["status"] = status;
            body
        })
}

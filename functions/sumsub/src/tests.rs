use model::{
    Course, Event, MemoryStore, Published, Refusal, Rejection, Request, Retention, SecretPair, StoredEvent, receive,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn receive_into(store: &MemoryStore, request: &Request, second: i64) -> Result<Event, Rejection> {
    let provider = Sumsub::new(SecretPair::new("new", Some("old")).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let now = Timestamp::from_second(second).unwrap();
    runtime.block_on(receive(&provider, store, request, now)).map(|receipt| receipt.event)
}

fn receive_one(request: &Request) -> Result<Event, Rejection> {
    let store = MemoryStore::default();
    let received = receive_into(&store, request, 0);
    assert_eq!(store.events().len(), usize::from(received.is_ok()));
    received
}

/// A request with this body that Sumsub has signed with this secret.
fn signed(secret: &str, body: &str) -> Request {
    let headers = SCHEME.sign(secret, "", body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
    headers.iter().fold(Request::new(body.to_owned()), |request, (name, value)| request.with_header(name, value))
}

fn event(body: &Value) -> Event {
    receive_one(&signed("new", &body.to_string())).unwrap()
}

fn stored(body: &Value) -> StoredEvent {
    StoredEvent::new(&event(body), Retention::default())
}

/// A webhook of this type, with these fields beside those that all have.
fn webhook(callback_type: &str, fields: Value) -> Value {
    let mut webhook = json!({
        "applicantId": "a", "type": callback_type, "correlationId": "c", "levelName": "basic-level",
        "externalUserId": "user-0", "sandboxMode": false, "reviewStatus": "completed",
        "createdAtMs": "2026-01-31 00:00:01.500", "clientId": "example",
    });
    let members = webhook.as_object_mut().unwrap();
    members.extend(fields.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    webhook
}

fn reviewed(result: Value) -> Value {
    webhook("applicantReviewed", json!({ "reviewResult": result }))
}

fn green() -> Value {
    reviewed(json!({ "reviewAnswer": "GREEN" }))
}

fn red(reject_type: &str) -> Value {
    reviewed(json!({ "reviewAnswer": "RED", "reviewRejectType": reject_type, "rejectLabels": ["FORGERY"] }))
}

#[track_caller]
fn check_refused(request: Request, expected: Refusal) {
    match receive_one(&request) {
        Err(Rejection::NotAuthentic(refusal)) => assert_eq!(refusal, expected),
        other => panic!("{other:?} instead of {expected:?}"),
    }
}

#[test]
fn sumsub_is_known_by_its_signature_of_the_body() {
    let body = green().to_string();
    assert!(receive_one(&signed("new", &body)).is_ok());
    assert!(receive_one(&signed("old", &body)).is_ok());
    check_refused(signed("other", &body), Refusal::Wrong);
    check_refused(Request::new(body.clone()), Refusal::Missing);

    let digest = &SCHEME.sign("new", "", body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap()[1].1;
    let with = |digest: &str, algorithm: &str| {
        let request = Request::new(body.clone()).with_header("X-Payload-Digest", digest);
        request.with_header("X-Payload-Digest-Alg", algorithm)
    };
    assert!(receive_one(&with(digest, "HMAC_SHA256_HEX")).is_ok());
    check_refused(with("", "HMAC_SHA256_HEX"), Refusal::Missing);
    check_refused(with(&digest[1..], "HMAC_SHA256_HEX"), Refusal::Malformed);
    check_refused(with(&digest.to_uppercase(), "HMAC_SHA256_HEX"), Refusal::Malformed);
    check_refused(with(&format!("{digest},{digest}"), "HMAC_SHA256_HEX"), Refusal::Malformed);
    check_refused(with(&"0".repeat(64), "HMAC_SHA256_HEX"), Refusal::Wrong);

    let mut changed = with(digest, "HMAC_SHA256_HEX");
    changed.body = body.replace("GREEN", "green").into();
    check_refused(changed, Refusal::Wrong);
    check_refused(Request::new("").with_header("X-Payload-Digest", digest), Refusal::Missing);
}

#[test]
fn the_algorithm_is_one_of_two() {
    // Computed with Python's hmac.
    let body = r#"{"applicantId":"000000000000000000000001","type":"applicantReviewed","reviewResult":{"reviewAnswer":"GREEN"},"reviewStatus":"completed"}"#;
    let sha1 = "d33eaa887d570bb01b689bbcabf54922f6ecacb1";
    let sha256 = "6ce0e07a0dd0a9f01f394b9f03a3f9bead293bb4e88171b5841473520e3b6556";
    let sha512 = "ba9e2a17d801ff01c31478aedcf1a9b5ed1e6c025a6074978a5534a6b4f6bdb0d4719fc3fd5e8e4356a017d09642daa6544fa908a61cf398166a1cfdf3d8a171";
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let provider = Sumsub::new(SecretPair::new("example-sumsub-secret", None).unwrap());
    let check = |digest: &str, algorithm: Option<&str>, expected: Option<Refusal>| {
        let request = Request::new(body).with_header("x-payload-digest", digest);
        let request =
            algorithm.iter().fold(request, |request, algorithm| request.with_header("x-payload-digest-alg", algorithm));
        match (runtime.block_on(provider.authenticate(&request, Timestamp::UNIX_EPOCH)), expected) {
            (Ok(_), None) => {}
            (Err(AuthError::Refused(refusal)), Some(expected)) => assert_eq!(refusal, expected, "{algorithm:?}"),
            (result, expected) => panic!("{algorithm:?}: {result:?} instead of {expected:?}"),
        }
    };
    check(sha256, Some("HMAC_SHA256_HEX"), None);
    check(sha512, Some("HMAC_SHA512_HEX"), None);
    check(sha1, Some("HMAC_SHA1_HEX"), Some(Refusal::Malformed));
    check(sha1, Some("HMAC_SHA256_HEX"), Some(Refusal::Malformed));
    check(sha256, Some("HMAC_SHA512_HEX"), Some(Refusal::Malformed));
    check(sha512, Some("HMAC_SHA256_HEX"), Some(Refusal::Malformed));
    check(sha256, Some("HMAC_SHA1_HEX"), Some(Refusal::Malformed));
    check(sha256, Some("hmac_sha256_hex"), Some(Refusal::Malformed));
    check(sha256, Some("HMAC_SHA256_HEX,HMAC_SHA256_HEX"), Some(Refusal::Malformed));
    check(sha256, Some("none"), Some(Refusal::Malformed));
    check(sha256, Some(""), Some(Refusal::Missing));
    check(sha256, None, Some(Refusal::Missing));
}

/// Checks the outcome of a webhook, its reasons, and whether it is final.
#[track_caller]
fn check(body: &Value, outcome: Outcome, reasons: &[&str], is_final: bool) {
    let stored = stored(body);
    assert_eq!((stored.outcome, stored.unrecognized.as_deref()), (outcome, None), "{body}");
    assert_eq!(
        (stored.reasons, stored.is_final),
        (reasons.iter().map(|&reason| reason.to_owned()).collect(), is_final)
    );
    assert_eq!((stored.subject.as_str(), stored.track.as_str()), ("a", "applicant-status"), "{body}");
}

#[test]
fn each_result_has_its_outcome() {
    check(&green(), Outcome::Approved, &[], true);
    check(&red("FINAL"), Outcome::Rejected, &["FORGERY"], true);
    check(&red("RETRY"), Outcome::ActionRequired, &["FORGERY"], false);
    for (reject_type, outcome) in [("FINAL", Outcome::Rejected), ("RETRY", Outcome::ActionRequired)] {
        let result = json!({ "reviewAnswer": "RED", "reviewRejectType": reject_type });
        check(&reviewed(result), outcome, &[reject_type], reject_type == "FINAL");
    }
    let result =
        json!({ "reviewAnswer": "RED", "reviewRejectType": "FINAL", "rejectLabels": ["FORGERY", "Mr. Example"] });
    check(&reviewed(result), Outcome::Rejected, &["FORGERY", "OTHER"], true);
}

#[test]
fn each_step_has_its_outcome_and_none_is_final() {
    for step in
        ["applicantCreated", "applicantPending", "applicantPrechecked", "applicantAwaitingService", "applicantReset"]
    {
        check(&webhook(step, json!({ "reviewStatus": "pending" })), Outcome::Pending, &[], false);
        // So does an applicant who waits for a service, by Sumsub's document.
        check(&webhook(step, json!({ "reviewResult": { "reviewAnswer": "GREEN" } })), Outcome::Pending, &[], false);
    }
    let labels = json!({ "reviewResult": { "reviewAnswer": "RED", "rejectLabels": ["SPAM"] } });
    let awaiting_user = "applicantAwaitingUser";
    check(&webhook(awaiting_user, json!({})), Outcome::ActionRequired, &[awaiting_user], false);
    check(&webhook(awaiting_user, labels.clone()), Outcome::ActionRequired, &["SPAM"], false);
    check(&webhook("applicantOnHold", json!({})), Outcome::Review, &["applicantOnHold"], false);
    check(&webhook("applicantOnHold", labels), Outcome::Review, &["SPAM"], false);
}

#[test]
fn an_approval_that_contradicts_itself_is_for_a_human() {
    let green = |fields: Value, result: Value| {
        let mut webhook = webhook("applicantReviewed", fields);
        webhook["reviewResult"] = json!({ "reviewAnswer": "GREEN" });
        webhook["reviewResult"].as_object_mut().unwrap().extend(result.as_object().unwrap().clone());
        webhook
    };
    check(&green(json!({}), json!({ "reviewRejectType": "FINAL" })), Outcome::Review, &["FINAL"], true);
    check(&green(json!({}), json!({ "reviewRejectType": "RETRY" })), Outcome::Review, &["RETRY"], true);
    check(&green(json!({}), json!({ "rejectLabels": ["FORGERY"] })), Outcome::Review, &["FORGERY"], true);
    check(&green(json!({ "reviewStatus": "onHold" }), json!({})), Outcome::Review, &["onHold"], true);
    check(&green(json!({ "reviewStatus": "pending" }), json!({})), Outcome::Review, &["pending"], true);
    check(&green(json!({ "sandboxMode": true }), json!({})), Outcome::Review, &["SANDBOX_MODE"], true);
    check(&green(json!({ "sandboxMode": "TRUE" }), json!({})), Outcome::Review, &["SANDBOX_MODE"], true);
    check(
        &green(json!({ "reviewStatus": "onHold", "sandboxMode": 1 }), json!({ "rejectLabels": ["SPAM"] })),
        Outcome::Review,
        &["onHold", "SPAM", "SANDBOX_MODE"],
        true,
    );
    // Nothing of this says anything.
    let quiet = json!({ "reviewRejectType": "", "rejectLabels": [], "moderationComment": "", "clientComment": null });
    check(&green(json!({ "sandboxMode": "false", "reviewStatus": null }), quiet), Outcome::Approved, &[], true);
}

#[test]
fn a_test_is_a_verdict_about_nobody() {
    for mark in [json!(true), json!("true"), json!("yes"), json!(1), json!(0)] {
        for body in [green(), red("FINAL"), webhook("applicantPending", json!({})), webhook("new", json!({}))] {
            let mut body = body;
            body["testMode"] = mark.clone();
            let stored = stored(&body);
            assert_eq!((stored.kind.as_str(), stored.outcome, stored.is_final), ("sumsub.test", Outcome::None, false));
            assert_eq!((stored.track.as_str(), &stored.details["test_mode"]), ("test", &json!(true)));
            assert!(stored.details.get("review_answer").is_none() && stored.reasons.is_empty());
        }
    }
    for mark in [json!(false), json!("false"), json!(null), json!("")] {
        let mut body = green();
        body["testMode"] = mark;
        assert_eq!(event(&body).outcome(), Outcome::Approved);
    }
    let mut odd = green();
    odd["testMode"] = json!({ "enabled": true });
    assert_eq!(event(&odd).unrecognized(), Some("unexpected_shape"));
}

/// Checks that a webhook is not understood, and on which track it is.
#[track_caller]
fn check_unrecognized(body: &Value, reason: &str, track: &str) {
    let stored = stored(body);
    assert_eq!(stored.unrecognized.as_deref(), Some(reason), "{body}");
    assert_eq!((stored.outcome, stored.track.as_str()), (Outcome::None, track), "{body}");
    assert_eq!(stored.subject == "a", body["applicantId"] == "a", "{body}");
}

#[test]
fn what_is_not_known_is_kept_and_approves_nothing() {
    let track = "applicant-status";
    for answer in ["green", "GREEN ", "YELLOW", "IGNORED", "ERROR"] {
        check_unrecognized(&reviewed(json!({ "reviewAnswer": answer })), "unknown_answer", track);
    }
    for reject_type in ["final", "EXTERNAL"] {
        check_unrecognized(&red(reject_type), "unknown_reject_type", track);
    }
    check_unrecognized(&reviewed(json!(null)), "missing_field:reviewResult.reviewAnswer", track);
    check_unrecognized(&reviewed(json!({})), "missing_field:reviewResult.reviewAnswer", track);
    let reason = "missing_field:reviewResult.reviewRejectType";
    check_unrecognized(&reviewed(json!({ "reviewAnswer": "RED" })), reason, track);

    let unclear = "unrecognized";
    let green = json!({ "reviewResult": { "reviewAnswer": "GREEN" } });
    for other in
        ["applicantActionReviewed", "applicantWorkflowCompleted", "applicantDeleted", "ApplicantReviewed", "new"]
    {
        check_unrecognized(&webhook(other, green.clone()), "unknown_type", unclear);
    }
    check_unrecognized(&webhook("", green.clone()), "missing_field:type", unclear);
    let without_applicant = json!({ "applicantId": null, "reviewResult": { "reviewAnswer": "GREEN" } });
    check_unrecognized(&webhook("applicantReviewed", without_applicant), "missing_field:applicantId", unclear);
}

#[test]
fn a_body_of_another_form_is_kept_and_approves_nothing() {
    for (body, reason) in [
        ("", "not_json"),
        ("reviewAnswer=GREEN", "not_json"),
        (r#"{"applicantId":"a""#, "not_json"),
        ("[]", "unexpected_shape"),
        (r#"{"applicantId":["a"]}"#, "unexpected_shape"),
        (r#"{"applicantId":"a","reviewResult":["GREEN"]}"#, "unexpected_shape"),
        (r#"{"applicantId":"a","reviewResult":"GREEN"}"#, "unexpected_shape"),
        (r#"{"applicantId":"a","reviewResult":{"rejectLabels":"SPAM"}}"#, "unexpected_shape"),
        (r#"{"applicantId":"a","reviewResult":{"rejectLabels":[1]}}"#, "unexpected_shape"),
        (r#"{"applicantId":"a","type":"applicantReviewed","type":"applicantReviewed"}"#, "unexpected_shape"),
        (
            r#"{"applicantId":"a","type":"applicantReviewed","reviewResult":{"reviewAnswer":"RED","reviewAnswer":"GREEN"}}"#,
            "unexpected_shape",
        ),
        (r#"{"applicantId":"a","testMode":true,"testMode":false}"#, "unexpected_shape"),
    ] {
        let event = receive_one(&signed("new", body)).unwrap();
        assert_eq!((event.outcome(), event.unrecognized()), (Outcome::None, Some(reason)), "{body}");
    }
}

#[test]
fn details_are_references_and_codes() {
    let result = json!({
        "reviewAnswer": "RED", "reviewRejectType": "FINAL", "rejectLabels": ["FORGERY"],
        "moderationComment": "Mr. Example", "clientComment": "Mr. Example",
    });
    let result = stored(&reviewed(result));
    let expected = json!({
        "applicant_id": "a", "type": "applicantReviewed", "level_name": "basic-level", "external_user_id": "user-0",
        "review_answer": "RED", "review_reject_type": "FINAL", "sandbox_mode": false, "final": true,
    });
    assert_eq!(Value::from(result.details), expected);
    assert_eq!(result.occurred_at, Some("2026-01-31T00:00:01.5Z".parse().unwrap()));

    let fields = json!({
        "externalUserId": "erika@example.com", "levelName": null, "createdAtMs": "today", "sandboxMode": true,
        "reviewResult": { "reviewAnswer": "GREEN", "reviewRejectType": "Mr. Example" },
    });
    let step = stored(&webhook("applicantAwaitingService", fields));
    let expected = json!({
        "applicant_id": "a", "type": "applicantAwaitingService", "sandbox_mode": true, "final": false,
    });
    assert_eq!((Value::from(step.details), step.occurred_at), (expected, None));
}

#[test]
fn another_attempt_has_the_same_content_and_another_result_has_not() {
    let id = |body: &Value| event(body).id().clone();
    let labels = |labels: Value| {
        reviewed(json!({
            "reviewAnswer": "RED", "reviewRejectType": "RETRY", "rejectLabels": labels, "moderationComment": "no",
        }))
    };
    let first = labels(json!(["SPAM", "FORGERY"]));
    let with = |field: &str, value: Value| {
        let mut body = first.clone();
        body[field] = value;
        body
    };
    assert_eq!(id(&first), id(&labels(json!(["FORGERY", "SPAM"]))));
    assert_eq!(id(&first), id(&with("createdAtMs", json!("2026-01-31 00:05:01.500"))));
    assert_eq!(id(&first), id(&with("somethingElse", json!(1))));
    assert_ne!(id(&first), id(&labels(json!(["SPAM"]))));
    assert_ne!(id(&first), id(&labels(json!(["SPAM", "FORGERY", "FORGERY"]))));
    for (field, value) in [
        ("correlationId", json!("d")),
        ("applicantId", json!("b")),
        ("levelName", json!("full-level")),
        ("externalUserId", json!("user-1")),
        ("reviewStatus", json!("onHold")),
        ("sandboxMode", json!(true)),
        ("testMode", json!(true)),
        ("type", json!("applicantOnHold")),
    ] {
        assert_ne!(id(&first), id(&with(field, value)), "{field}");
    }
    for (field, value) in [
        ("reviewAnswer", "GREEN"),
        ("reviewRejectType", "FINAL"),
        ("moderationComment", "yes"),
        ("clientComment", "no"),
    ] {
        let mut body = first.clone();
        body["reviewResult"][field] = json!(value);
        assert_ne!(id(&first), id(&body), "{field}");
    }
}

/// What is published of these webhooks, received a second apart.
fn published(bodies: &[Value]) -> Vec<Option<Published>> {
    let store = MemoryStore::default();
    for (second, body) in bodies.iter().enumerate() {
        receive_into(&store, &signed("new", &body.to_string()), i64::try_from(second).unwrap()).unwrap();
    }
    let mut stored = store.events();
    stored.sort_by_key(|event| event.received_at);
    let mut course = Course::default();
    stored.iter().map(|event| course.decide(event, event.received_at).published).collect()
}

#[track_caller]
fn check_course(bodies: &[Value], expected: &[Option<Outcome>]) {
    let outcomes: Vec<_> =
        published(bodies).into_iter().map(|published| published.map(|published| published.outcome)).collect();
    assert_eq!(outcomes, expected);
}

#[test]
fn an_old_approval_never_turns_a_rejection_into_an_approval() {
    let approved = Some(Outcome::Approved);
    let rejected = Some(Outcome::Rejected);
    check_course(&[green(), green()], &[approved, None]);
    check_course(&[green(), red("FINAL")], &[approved, rejected]);
    check_course(&[green(), red("FINAL"), green()], &[approved, rejected, Some(Outcome::Review)]);
    check_course(&[red("FINAL"), green()], &[rejected, Some(Outcome::Review)]);
}

#[test]
fn what_is_not_final_after_an_approval_is_published_as_late_with_its_own_outcome() {
    for after in [red("RETRY"), webhook("applicantReset", json!({ "reviewStatus": "init" }))] {
        let published = published(&[green(), after]).pop().unwrap().unwrap();
        assert!(published.late && !published.conflict);
        assert_eq!((published.outcome, published.previous), (Outcome::None, Some(Outcome::Approved)));
    }
}

#[test]
fn an_applicant_who_tries_again_can_be_approved() {
    let course = [
        webhook("applicantCreated", json!({ "reviewStatus": "init" })),
        webhook("applicantPending", json!({ "reviewStatus": "pending" })),
        red("RETRY"),
        webhook("applicantPending", json!({ "reviewStatus": "pending" })),
        webhook("applicantOnHold", json!({ "reviewStatus": "onHold" })),
        green(),
        webhook("applicantPending", json!({ "reviewStatus": "pending" })),
    ];
    let outcomes = [
        Outcome::Pending,
        Outcome::Pending,
        Outcome::ActionRequired,
        Outcome::Pending,
        Outcome::Review,
        Outcome::Approved,
        Outcome::None,
    ];
    check_course(&course, &outcomes.map(Some));
    assert!(published(&course).pop().unwrap().unwrap().late);
}

proptest! {
    /// Whatever an authentic body holds, it is kept, and only one that says so in so many words is
    /// an approval.
    #[test]
    fn no_body_makes_the_parser_panic(body in ".{0,300}", fields in any_fields()) {
        let event = receive_one(&signed("new", &body)).unwrap();
        prop_assert_eq!(event.outcome(), Outcome::None);
        let event = receive_one(&signed("new", &fields.to_string())).unwrap();
        if event.outcome() == Outcome::Approved {
            prop_assert!(fields["type"] == "applicantReviewed" && fields["reviewResult"]["reviewAnswer"] == "GREEN");
            prop_assert!(fields["testMode"] != true && fields["sandboxMode"] != true);
            prop_assert!(fields["reviewResult"]["rejectLabels"].as_array().is_none_or(Vec::is_empty));
        }
    }
}

fn any_fields() -> impl Strategy<Value = Value> {
    let any_of = |values: Value| proptest::sample::select(values.as_array().unwrap().clone());
    let odd = json!([null, "", 1, {}, [], "Mr. Example", true]);
    let or_odd = move |values: Value| prop_oneof![4 => any_of(values), 1 => any_of(odd.clone())];
    let mark = or_odd(json!([false, false, true]));
    let result = (
        or_odd(json!(["GREEN", "GREEN", "RED"])),
        or_odd(json!([null, null, "FINAL", "RETRY"])),
        or_odd(json!([null, [], ["SPAM"]])),
    )
        .prop_map(|(answer, reject_type, labels)| {
            json!({ "reviewAnswer": answer, "reviewRejectType": reject_type, "rejectLabels": labels })
        });
    (
        or_odd(json!(["a", "b"])),
        or_odd(json!(["applicantReviewed", "applicantReviewed", "applicantPending", "applicantOnHold"])),
        or_odd(json!(["completed", "completed", "pending"])),
        mark.clone(),
        mark,
        result,
    )
        .prop_map(|(applicant, callback_type, status, test, sandbox, result)| {
            json!({
                "applicantId": applicant, "type": callback_type, "reviewStatus": status, "testMode": test,
                "sandboxMode": sandbox, "reviewResult": result,
            })
        })
}

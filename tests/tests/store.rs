//! The events table: what is kept, and by how many calls.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::SignedDuration;
use model::{
    Claim, Course, CourseKey, Courses as _, Expectation, Expectations as _, Inserted, MessageDetail, Outcome, Part,
    Proofs as _, Purpose, Registered, Retention, StoredEvent, Subject, Timestamp,
};
use runtime::{Error, SpillQueue, Spilled, SpillingStore};
use serde_json::{Value, json};
use tests::{Database, ISSUER, VERIFICATION_CODE, answer, local_time, message_of, samples};
use wallet_issuance::WalletIssuance;

const PUT_ITEM: &str = "DynamoDB_20120810.PutItem";
const UPDATE_ITEM: &str = "DynamoDB_20120810.UpdateItem";

#[tokio::test]
async fn an_authentic_callback_is_one_call_and_a_refused_one_none() {
    let database = Database::start().await;
    for sample in samples() {
        let expected: &[&str] = match sample.expect.status {
            200 => &[PUT_ITEM],
            _ => &[],
        };
        for attempt in ["fresh", "repeated"] {
            let response = answer(&sample.function, &database.store(), &sample.text, local_time()).await.unwrap();
            assert_eq!(response.status_code, i64::from(sample.expect.status), "{} {attempt}", sample.name());
            assert_eq!(database.proxy.calls(), expected, "{} {attempt}", sample.name());
        }
    }
}

#[tokio::test]
async fn what_is_stored_comes_back_as_it_was() {
    let database = Database::start().await;
    // Each at a time of its own: some say the same as others.
    for (sample, second) in samples().into_iter().filter(|sample| sample.expect.event.is_some()).zip(0..) {
        let now = local_time() + SignedDuration::from_secs(second);
        let memory = model::MemoryStore::default();
        answer(&sample.function, &memory, &sample.text, now).await.unwrap();
        answer(&sample.function, &database.store(), &sample.text, now).await.unwrap();
        let expected = memory.events().remove(0);
        let stored = database.events().await.into_iter().find(|event| event.id == expected.id).unwrap();
        assert!(stored == expected, "{}", sample.name());
        assert_eq!(stored.received_at, now);
    }
}

#[tokio::test]
async fn of_twenty_copies_at_the_same_instant_one_is_stored_and_all_are_acknowledged() {
    let database = Arc::new(Database::start().await);
    let sample = samples().into_iter().find(|sample| sample.name() == "verifyvasp/verification-result").unwrap();
    let copies = (0..20).map(|_| {
        let (database, sample) = (Arc::clone(&database), sample.clone());
        tokio::spawn(
            async move { answer(&sample.function, &database.store(), &sample.text, local_time()).await.unwrap() },
        )
    });
    for copy in copies.collect::<Vec<_>>() {
        let response = copy.await.unwrap();
        assert_eq!((response.status_code, response.body.unwrap().as_ref()), (200, br#"{"result": true}"#.as_slice()));
    }
    assert_eq!(database.events().await.len(), 1);
    assert_eq!(database.proxy.calls().iter().filter(|call| *call == PUT_ITEM).count(), 20);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_answered_503_with_the_time_to_come_again() {
    let database = Database::start().await;
    let store = database.nowhere().store();
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()).take(3) {
        let response = answer(&sample.function, &store, &sample.text, local_time()).await.unwrap();
        assert_eq!((response.status_code, response.body.unwrap().as_ref()), (503, b"{}".as_slice()));
        assert!(response.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn the_same_callback_is_one_item_and_a_repeat_of_it_another() {
    let database = Database::start().await;
    let sample = samples().into_iter().find(|sample| sample.name() == "identomat/session-course-1-rejected").unwrap();
    for (millisecond, items) in [(0, 1), (0, 1), (5, 2), (5, 2), (0, 2)] {
        let now = local_time() + SignedDuration::from_millis(millisecond);
        assert_eq!(answer("identomat", &database.store(), &sample.text, now).await.unwrap().status_code, 200);
        assert_eq!(database.events().await.len(), items, "{millisecond}");
    }
    let events = database.events().await;
    assert_eq!(events[0].content(), events[1].content());
}

#[tokio::test]
async fn the_gateway_says_when_a_callback_was_received() {
    let sample = samples().into_iter().find(|sample| sample.name() == "signicat/accepted").unwrap();
    let received_at = async |gateway: SignedDuration| {
        let mut event: Value = serde_json::from_str(&sample.text).unwrap();
        event["requestContext"]["timeEpoch"] = (local_time() + gateway).as_millisecond().into();
        let store = model::MemoryStore::default();
        answer("signicat", &store, &event.to_string(), local_time()).await.unwrap();
        store.events().remove(0).received_at
    };
    for seconds in [-20, 0, 20] {
        let gateway = SignedDuration::from_secs(seconds);
        assert_eq!(received_at(gateway).await, local_time() + gateway);
    }
    // Not this request's: that of a sample which was written some day.
    assert_eq!(received_at(SignedDuration::from_hours(-24)).await, local_time());
    assert_eq!(received_at(SignedDuration::from_hours(24)).await, local_time());
}

/// A wallet callback whose one token carries a portrait of this size.
fn callback_with_portrait(bytes: usize) -> (String, Vec<u8>) {
    let sample = samples().into_iter().find(|sample| sample.name() == "wallet-verification/without-state").unwrap();
    let claims = json!({ "iss": ISSUER.issuer, "vp_token": "x".repeat(bytes) });
    let token = ISSUER.key.sign(&claims).unwrap();
    let body = |code: &str| format!(r#"{{{code}"tokens":{{"1":{{"token":"{token}","status":"COMPLETED"}}}}}}"#);
    let mut event: Value = serde_json::from_str(&sample.text).unwrap();
    event["body"] = json!(body(&format!(r#""code":"{VERIFICATION_CODE}","#)));
    (event.to_string(), body("").into_bytes())
}

#[tokio::test]
async fn a_large_callback_is_stored_in_parts_and_comes_back_byte_for_byte() {
    // Encoded, a token is a third larger.
    for megabytes in [0.5, 1.5, 2.0] {
        let database = Database::start().await;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test's sizes")]
        let (event, body) = callback_with_portrait((megabytes * 1024.0 * 1024.0) as usize);
        for _ in ["fresh", "repeated"] {
            let response = answer("wallet-verification", &database.store(), &event, local_time()).await.unwrap();
            assert_eq!(response.status_code, 200);
            // One for each part, and one for the event.
            assert_eq!(database.proxy.calls(), vec![PUT_ITEM; body.len().div_ceil(Part::BYTES) + 1]);
        }
        let item = database.events().await.remove(0);
        assert_eq!((item.outcome, item.body.len()), (Outcome::Approved, 0));
        let message = message_of(&item, MessageDetail::Full);
        assert!(message.data.payload.is_none());
        assert_eq!(message.data.details["payload_omitted"], true);
        let whole = database.store().find(&item.subject, &item.id).await.unwrap().unwrap();
        assert!(whole.body == body, "{megabytes} MB");
    }
}

fn claim(holder: &str, event_id: &str) -> Claim {
    let text = str::to_owned;
    Claim { proof: text("p"), what: text("token"), holder: text(holder), event_id: text(event_id) }
}

#[tokio::test]
async fn a_proof_stands_for_what_it_was_claimed_for_first() {
    let database = Database::start().await;
    let courses = database.courses();
    let first = claim("a", "1");
    // Whoever claims it later, and however often: also for the same, by another event.
    for later in [claim("a", "1"), claim("b", "2"), claim("a", "3"), claim("b", "2"), claim("a", "1")] {
        assert_eq!(courses.claim(&later).await.unwrap(), first);
        assert_eq!(database.proxy.calls(), [UPDATE_ITEM]);
    }
    let another = Claim { proof: "q".to_owned(), ..claim("b", "2") };
    assert_eq!(courses.claim(&another).await.unwrap(), another);
    for row in database.rows().await {
        let mut names: Vec<&str> = row.keys().map(String::as_str).collect();
        names.sort_unstable();
        // No time to live: nothing is forgotten.
        assert_eq!(names, ["event_id", "holder", "pk", "sk"]);
    }
}

#[tokio::test]
async fn of_twenty_claims_of_one_proof_at_the_same_instant_one_counts() {
    let database = Database::start().await;
    let claims = (0..20).map(|n| {
        let courses = database.courses();
        tokio::spawn(async move { courses.claim(&claim(&n.to_string(), &n.to_string())).await.unwrap() })
    });
    let mut counts = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        counts.push(claim.await.unwrap());
    }
    assert!(counts.iter().all(|claim| *claim == counts[0] && claim.holder == claim.event_id), "{counts:?}");
    assert!(database.nowhere().courses().claim(&claim("a", "1")).await.is_err());
}

#[tokio::test]
async fn a_claim_is_in_no_verification_s_partition() {
    let database = Database::start().await;
    let courses = database.courses();
    for (provider, subject) in [("wallet", "proof/p"), ("proof/p", "p"), ("proof", "p"), ("proof/p", "token")] {
        let (provider, subject, track) = (provider.to_owned(), subject.to_owned(), "token".to_owned());
        let key = CourseKey { provider, subject, track };
        let course = Course { callbacks: 1, ..Course::default() };
        assert_eq!(courses.write(&key, &course).await.unwrap(), model::Written::Kept);
        courses.claim(&claim("a", "1")).await.unwrap();
        let found = courses.of_verification(&key.provider, &key.subject).await.unwrap();
        assert_eq!(found, [("token".to_owned(), Course { version: 1, ..course })]);
    }
    assert!(courses.of_verification("", "p").await.unwrap().is_empty());
    assert_eq!(database.rows().await.len(), 5);
}

/// The same was announced at this time.
fn same_since(subject: &str, announced_at: Timestamp) -> Registered {
    Registered::Same { subject: Subject::new(subject).unwrap(), announced_at: Some(announced_at) }
}

#[tokio::test]
async fn what_is_expected_can_be_announced_again_but_not_otherwise() {
    let database = Database::start().await;
    let expectations = database.expectations();
    let announced = |code: &str, purpose, subject: &str| {
        let expectation = Expectation::new(code, purpose, Subject::new(subject).unwrap(), local_time());
        expectation.with_template_ids(vec!["1".to_owned()]).with_due_at(Some(local_time()))
    };
    let with_state =
        |state: &str| announced("b", Purpose::Issuance, "id-1").with_state(Some(state.to_owned())).unwrap();
    let same = |subject: &str| same_since(subject, local_time());
    let first = announced("a", Purpose::Verification, "id-1");
    for (expectation, registered) in [
        (first.clone(), Registered::Fresh),
        (first.clone(), same("id-1")),
        // Made again without a state, it comes with another id, and keeps the first one.
        (announced("a", Purpose::Verification, "id-2"), same("id-1")),
        (announced("a", Purpose::Issuance, "id-1"), Registered::Conflict),
        (first.clone().with_template_ids(vec![]), Registered::Conflict),
        (with_state("s"), Registered::Fresh),
        (with_state("s"), same("s")),
        (with_state("t"), Registered::Conflict),
    ] {
        assert_eq!(expectations.register(&expectation, local_time()).await.unwrap(), registered, "{expectation:?}");
    }
    assert_eq!(expectations.find(&Expectation::code_hash("a")).await.unwrap(), Some(first));
    assert_eq!(expectations.find(&Expectation::code_hash("b")).await.unwrap(), Some(with_state("s")));
    assert_eq!(expectations.find(&Expectation::code_hash("c")).await.unwrap(), None);
}

#[tokio::test]
async fn a_code_that_has_expired_can_be_announced_anew() {
    let database = Database::start().await;
    let expectations = database.expectations();
    let announced = |subject: &str, now| {
        Expectation::new("a", Purpose::Verification, Subject::new(subject).unwrap(), now)
            .with_state(Some(subject.to_owned()))
            .unwrap()
    };
    let last = local_time() + Expectation::LIFE;
    let after = last + SignedDuration::from_secs(1);
    for (subject, now, registered) in [
        ("first", local_time(), Registered::Fresh),
        ("second", last, Registered::Conflict),
        ("first", last, same_since("first", local_time())),
        ("second", after, Registered::Fresh),
        ("first", after, Registered::Conflict),
    ] {
        assert_eq!(expectations.register(&announced(subject, now), now).await.unwrap(), registered, "{subject} {now}");
    }
    let found = expectations.find(&Expectation::code_hash("a")).await.unwrap();
    assert_eq!(found, Some(announced("second", after)));
}

#[tokio::test]
async fn a_code_that_cannot_be_looked_up_is_503_and_not_401() {
    let database = Database::start().await;
    let provider = WalletIssuance::new(database.nowhere().expectations());
    let sample = samples().into_iter().find(|sample| sample.name() == "wallet-issuance/issued").unwrap();
    let request = serde_json::from_str(&sample.text).unwrap();
    let response = runtime::answer(&provider, &database.store(), request, local_time()).await;
    assert_eq!(response.status_code, 503);
    assert!(database.events().await.is_empty());
}

/// A queue that keeps what is spilled, as text.
#[derive(Default)]
struct Spill(Mutex<Vec<String>>);

impl SpillQueue for &Spill {
    async fn spill(&self, spilled: &Spilled) -> Result<(), Error> {
        self.0.lock().unwrap().push(serde_json::to_string(spilled)?);
        Ok(())
    }
}

impl Spill {
    /// Puts all that was spilled into the database, and returns what came of it.
    async fn drain(&self, database: &Database) -> Vec<Inserted> {
        let messages = self.0.lock().unwrap().clone();
        let mut inserted = Vec::new();
        for message in messages {
            let spilled: Spilled = serde_json::from_str(&message).unwrap();
            let is_event = spilled.event_id().is_some();
            let outcome = spilled.drain(&database.store(), drained_at()).await.unwrap();
            inserted.extend(is_event.then_some(outcome));
        }
        inserted
    }
}

/// When the drain of these tests runs.
fn drained_at() -> Timestamp {
    local_time() + SignedDuration::from_hours(1)
}

/// Sends an event where the table is not there, so that it is spilled.
async fn spill(database: &Database, function: &str, event: &str) -> Spill {
    let spill = Spill::default();
    let store = SpillingStore::new(database.nowhere().store(), &spill, Retention::default(), Duration::from_secs(5));
    assert_eq!(answer(function, &store, event, local_time()).await.unwrap().status_code, 200);
    spill
}

#[tokio::test]
async fn what_is_spilled_and_drained_is_what_would_have_been_inserted() {
    let (direct, drained) = (Database::start().await, Database::start().await);
    let of_each_kind =
        ["identomat/one-time-password", "identomat/session-change-kyb", "jumio/netverify-fraud", "verifyvasp/not-json"];
    for sample in samples().into_iter().filter(|sample| of_each_kind.contains(&sample.name().as_str())) {
        answer(&sample.function, &direct.store(), &sample.text, local_time()).await.unwrap();
        let spill = spill(&drained, &sample.function, &sample.text).await;
        assert_eq!(spill.drain(&drained).await, [Inserted::Fresh], "{}", sample.name());
        assert_eq!(spill.drain(&drained).await, [Inserted::Duplicate], "{}", sample.name());
        // An insert that was applied, and whose answer was lost, was spilled too.
        assert_eq!(spill.drain(&direct).await, [Inserted::Duplicate], "{}", sample.name());
    }
    let sorted = |mut events: Vec<StoredEvent>| {
        events.sort_by(|one, other| one.id.cmp(&other.id));
        events
    };
    let drained = drained.events().await.into_iter().map(|event| {
        assert_eq!(event.drained_at, Some(drained_at()));
        StoredEvent { drained_at: None, ..event }
    });
    assert!(sorted(direct.events().await) == sorted(drained.collect()));
    assert_eq!(direct.events().await.len(), of_each_kind.len());
}

#[tokio::test]
async fn a_large_callback_that_is_spilled_comes_back_byte_for_byte() {
    let database = Database::start().await;
    let (event, body) = callback_with_portrait(2 * 1024 * 1024);
    let spill = spill(&database, "wallet-verification", &event).await;
    assert!(spill.0.lock().unwrap().len() > 1);
    assert_eq!(spill.drain(&database).await, [Inserted::Fresh]);
    let item = database.events().await.remove(0);
    let whole = database.store().find(&item.subject, &item.id).await.unwrap().unwrap();
    assert!(whole.body == body);
}

#[tokio::test]
async fn two_large_bodies_with_the_same_content_are_both_readable() {
    let database = Database::start().await;
    let (event, _) = callback_with_portrait(300 * 1024);
    // The same token and status, received in the same millisecond, and something else beside them.
    let larger = event.replacen(r#"\"tokens\""#, &format!(r#"\"other\":\"{}\",\"tokens\""#, "y".repeat(300 * 1024)), 1);
    answer("wallet-verification", &database.store(), &event, local_time()).await.unwrap();
    let spill = spill(&database, "wallet-verification", &larger).await;
    assert_eq!(spill.drain(&database).await, [Inserted::Fresh]);
    let mut sizes = Vec::new();
    for item in database.events().await {
        let whole = database.store().find(&item.subject, &item.id).await.unwrap().unwrap();
        assert!(serde_json::from_slice::<Value>(&whole.body).is_ok());
        sizes.push(whole.body.len());
    }
    sizes.sort_unstable();
    assert!(sizes.len() == 2 && sizes[1] > sizes[0] + 300 * 1024, "{sizes:?}");
}

#[tokio::test]
async fn a_body_of_which_a_part_is_still_on_its_way_is_not_taken_for_whole() {
    let database = Database::start().await;
    let (event, _) = callback_with_portrait(2 * 1024 * 1024);
    let spill = spill(&database, "wallet-verification", &event).await;
    spill.0.lock().unwrap().remove(0);
    assert_eq!(spill.drain(&database).await, [Inserted::Fresh]);
    let item = database.events().await.remove(0);
    assert!(database.store().find(&item.subject, &item.id).await.is_err());
}

#[tokio::test]
async fn what_says_more_beside_its_verdict_than_an_item_holds_is_kept_all_the_same() {
    let long = "x".repeat(200 * 1024);
    for (name, from, to) in [
        ("identomat/one-time-password", "Your code is 000001", long.clone()),
        ("verifyvasp/tx-report-with-output-index", &"00".repeat(32), long),
    ] {
        let database = Database::start().await;
        let sample = samples().into_iter().find(|sample| sample.name() == name).unwrap();
        let event = sample.text.replace(from, &to);
        assert!(event.len() > to.len());
        let response = answer(&sample.function, &database.store(), &event, local_time()).await.unwrap();
        assert_eq!(response.status_code, 200, "{name}");
        let stored = database.events().await.remove(0);
        assert_eq!(stored.unrecognized.as_deref(), Some("too_large:details"), "{name}");
        assert_eq!(stored.subject, sample.expect.event.unwrap().subject, "{name}");
        assert_eq!(stored.perishable, sample.function == "identomat", "{name}");
    }
}

//! The verdict that does not come: what the reconciler does about it, with the tables of a real database and the rules of
//! the real publisher. Time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::SignedDuration;
use model::{
    Course, CourseKey, Courses as _, Due, DueRule, Dues as _, Message, Origin, Outcome, Retention, StoredEvent,
    Timestamp,
};
use reconciler::{
    Reconciler,
    sources::{Fetchers, Sources},
};
use runtime::{Cached, DynamoCourses, DynamoStore, Error, LookUp};
use serde_json::{Value, json};
use tests::{Database, Fault, ISSUER, VERIFICATION_CODE, answer_with, local_time, samples};
use wallet_verification::{
    issuers::{PinnedIssuer, TrustedIssuers, verify_again},
    keys::KeySet,
    payload::Callback,
};

/// The issuer's keys, as its server publishes them at the moment.
#[derive(Debug, Clone, Default)]
struct Keys(Arc<Mutex<Option<Value>>>);

impl LookUp for Keys {
    type Value = Arc<KeySet>;
    const WHAT: &'static str = "issuer's keys";

    async fn look_up(&self) -> Result<Self::Value, Error> {
        let keys = self.0.lock().unwrap().clone().ok_or("the server does not answer")?;
        Ok(Arc::new(KeySet::parse(keys.to_string().as_bytes())?))
    }
}

impl Keys {
    fn publish(&self, keys: Value) {
        *self.0.lock().unwrap() = Some(keys);
    }

    fn issuers(&self) -> TrustedIssuers<Self> {
        let pinned = PinnedIssuer {
            issuer: ISSUER.issuer.clone(),
            jwks_url: ISSUER.jwks_url.clone(),
            algorithms: vec![jsonwebtoken::Algorithm::EdDSA],
            audience: None,
        };
        TrustedIssuers::new(vec![(pinned, Cached::new(self.clone(), Duration::from_secs(1)))]).unwrap()
    }
}

fn after(seconds: i64) -> Timestamp {
    local_time() + SignedDuration::from_secs(seconds)
}

/// A database, and what works on it.
struct World {
    database: Database,
    keys: Keys,
}

impl World {
    async fn start() -> Self {
        Self { database: Database::start().await, keys: Keys::default() }
    }

    fn reconciler(&self) -> Reconciler<DynamoCourses, DynamoStore, Sources<Keys>> {
        let retention = Retention::default();
        let source = Sources { issuers: self.keys.issuers(), fetchers: Fetchers::default(), retention };
        Reconciler { dues: self.database.courses(), events: self.database.store(), source, retention }
    }

    /// Lets a reconciler run at this time, one that knows nothing from before.
    async fn reconcile(&self, now: Timestamp) {
        self.reconciler().reconcile(|| now, now + SignedDuration::from_secs(45)).await;
    }

    /// What the publisher publishes of all that was recorded.
    async fn messages(&self, now: Timestamp) -> Vec<Message> {
        let rule = DueRule { after: Some(SignedDuration::from_hours(1)), can_be_asked: false };
        let due = ["jumio", "signicat", "wallet"].map(|name| (name.to_owned(), rule));
        self.database.published(due.into(), now).await
    }

    /// What was said, and about which kind.
    async fn said(&self, now: Timestamp) -> Vec<(String, Outcome)> {
        let messages = self.messages(now).await;
        messages.iter().map(|message| (message.kind().to_owned(), message.outcome)).collect()
    }

    /// Whether a track is looked after, as its row says.
    async fn is_due(&self, key: &CourseKey) -> bool {
        self.database.courses().read_due(key).await.unwrap().is_some()
    }
}

fn track(provider: &str, subject: &str, track: &str) -> CourseKey {
    CourseKey { provider: provider.to_owned(), subject: subject.to_owned(), track: track.to_owned() }
}

/// The wallet's callback with a token with these claims.
fn wallet_callback(claims: Value) -> String {
    let sample = samples().into_iter().find(|sample| sample.name() == "wallet-verification/without-state").unwrap();
    let mut claims = claims;
    claims["iss"] = json!(ISSUER.issuer);
    let token = ISSUER.key.sign(&claims).unwrap();
    let mut event: Value = serde_json::from_str(&sample.text).unwrap();
    event["body"] = json!(
        json!({ "code": VERIFICATION_CODE, "tokens": { "1": { "token": token, "status": "COMPLETED" } } }).to_string()
    );
    event.to_string()
}

#[tokio::test]
async fn a_token_that_was_not_trusted_for_a_reason_that_passes_is_approved_without_another_callback() {
    let jwks = ISSUER.key.jwks();
    let seconds = |at: Timestamp| at.as_second();
    // The keys when the callback comes; the claims; why it is not trusted; when it is checked again.
    for (keys, claims, reason, at) in [
        (None, json!({}), "token_keys_unavailable", 60),
        (Some(other_keys()), json!({}), "token_unknown_key", 60),
        (Some(jwks.clone()), json!({ "nbf": seconds(after(100)) }), "token_not_yet_valid", 60),
        // Expired since then: it had not when it was presented.
        (None, json!({ "exp": seconds(after(30)) }), "token_keys_unavailable", 240),
    ] {
        let world = World::start().await;
        if let Some(keys) = keys {
            world.keys.publish(keys);
        }
        let callback = wallet_callback(claims);
        answer_with(world.keys.issuers(), &world.database.store(), &callback, local_time()).await;
        let messages = world.messages(local_time()).await;
        let [review] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((review.outcome, &*review.data.reasons), (Outcome::Review, &[reason.to_owned()][..]));
        let key = track("wallet", &review.subject, "verification");

        world.reconcile(after(59)).await;
        assert_eq!(world.database.events().await.len(), 1, "{reason}: not yet");
        world.keys.publish(jwks.clone());
        world.reconcile(after(at)).await;
        let messages = world.messages(after(at)).await;
        let [_, approved] = messages.as_slice() else { panic!("{reason}: {messages:?}") };
        assert_eq!((approved.outcome, approved.data.previous_outcome), (Outcome::Approved, Some(Outcome::Review)));
        assert_eq!(approved.data.received_at, review.data.received_at);
        assert!(approved.sequence > review.sequence && approved.id != review.id);
        assert!(!world.is_due(&key).await);

        // It can be verified again by what was kept.
        let events = world.database.events().await;
        let event = events.iter().find(|event| event.id == approved.id).unwrap();
        let token = Callback::read(&event.body).unwrap().credentials["1"].token.clone().unwrap();
        assert_eq!(verify_again(&token, &event.evidence["tokens"]["1"]["trusted"], event.received_at), Ok(()));

        // The gateway calls again: that is no news.
        if reason != "token_keys_unavailable" {
            answer_with(world.keys.issuers(), &world.database.store(), &callback, after(at + 60)).await;
            assert_eq!(world.messages(after(at + 60)).await.len(), 2, "{reason}");
        }
    }
}

/// Keys of somebody else, under another id.
fn other_keys() -> Value {
    let mut keys = ISSUER.stranger.jwks();
    keys["keys"][0]["kid"] = json!("another");
    keys
}

#[tokio::test]
async fn a_token_that_stays_untrusted_is_checked_for_a_day_and_then_stays_a_review() {
    let world = World::start().await;
    world.keys.publish(other_keys());
    answer_with(world.keys.issuers(), &world.database.store(), &wallet_callback(json!({})), local_time()).await;
    let subject = world.messages(local_time()).await[0].subject.clone();
    let key = track("wallet", &subject, "verification");
    let mut asks = BTreeSet::new();
    while let Some((due, _)) = world.database.courses().read_due(&key).await.unwrap() {
        asks.insert(due.asks);
        world.reconcile(due.ask_at).await;
        world.messages(due.ask_at).await;
    }
    assert_eq!(asks, (0..12).collect());
    let messages = world.messages(after(90_000)).await;
    let [first, last] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((first.outcome, last.outcome), (Outcome::Review, Outcome::Review));
    assert_eq!(last.data.reasons, ["token_unknown_key"]);
    let rows = world.database.courses().of_verification("wallet", &subject).await.unwrap();
    assert!(rows[0].1.standing(after(90_000)).is_final);
    assert!(!world.is_due(&key).await);
    // Whatever key comes now, the review stands.
    world.keys.publish(ISSUER.key.jwks());
    world.reconcile(after(100_000)).await;
    assert_eq!(world.messages(after(100_000)).await.len(), 2);
}

#[tokio::test]
async fn an_announced_verdict_that_does_not_come_is_reported_each_day_for_a_month() {
    let world = World::start().await;
    let key = track("jumio", "00000000-0000-4000-8000-000000000001", "netverify-id");
    world.database.announce(&key, local_time(), after(600)).await;
    assert_eq!(world.said(local_time()).await, []);
    world.reconcile(after(599)).await;
    assert_eq!(world.said(after(599)).await, []);
    for day in 0..40 {
        // At most a minute late, and twice in that minute.
        for second in [630, 640] {
            world.reconcile(after(day * 86_400 + second)).await;
        }
    }
    let messages = world.messages(after(40 * 86_400)).await;
    assert_eq!(messages.len(), 30);
    for (message, day) in messages.iter().zip(0..) {
        assert_eq!((message.kind(), message.outcome), ("jumio.overdue", Outcome::None));
        assert_eq!(message.data.received_at, after(day * 86_400 + 600));
    }
    assert!(!world.is_due(&key).await);
}

#[tokio::test]
async fn a_verdict_that_is_not_final_is_due_and_a_final_one_ends_it() {
    let world = World::start().await;
    let sample = |name: &str| samples().into_iter().find(|sample| sample.name() == name).unwrap();
    let (pending, accepted) = (sample("signicat/pending"), sample("signicat/accepted"));
    let subject = pending.expect.event.clone().unwrap().subject;
    let accepted = accepted.about(&subject).unwrap();
    let store = world.database.store();
    assert_eq!(tests::answer("signicat", &store, &pending.text, local_time()).await.unwrap().status_code, 200);
    let key = track("signicat", &subject, "process-status");
    world.messages(local_time()).await;
    world.reconcile(after(3_601)).await;
    let kinds = world.said(after(3_601)).await;
    let overdue = ("signicat.overdue".to_owned(), Outcome::None);
    assert_eq!(kinds, [("signicat.process-status".to_owned(), Outcome::Pending), overdue.clone()]);

    assert!(world.is_due(&key).await);
    assert_eq!(tests::answer("signicat", &store, &accepted.text, after(4_000)).await.unwrap().status_code, 200);
    assert_eq!(world.said(after(4_000)).await.last().unwrap().1, Outcome::Approved);
    assert!(!world.is_due(&key).await);
    let row = world.database.rows().await.remove(0);
    assert!(["due_shard", "ask_at", "due_at", "asks"].iter().all(|name| !row.contains_key(*name)), "{row:?}");
    world.reconcile(after(100_000)).await;
    assert_eq!(world.said(after(100_000)).await.iter().filter(|said| **said == overdue).count(), 1);
}

#[tokio::test]
async fn several_reconcilers_at_once_report_once() {
    let world = World::start().await;
    let keys: Vec<_> = (0..40).map(|n| track("jumio", &format!("subject-{n}"), "netverify-id")).collect();
    for key in &keys {
        world.database.announce(key, local_time(), after(60)).await;
    }
    world.messages(local_time()).await;
    let runs = (0..3).map(|_| world.reconcile(after(61)));
    futures_util::future::join_all(runs).await;
    let events = world.database.events().await;
    let overdue = events.iter().filter(|event| event.origin() == Origin::Overdue);
    let subjects: Vec<&str> = overdue.map(|event| event.subject.as_str()).collect();
    assert_eq!((subjects.len(), subjects.iter().collect::<BTreeSet<_>>().len()), (40, 40));
    for key in &keys {
        let (due, _) = world.database.courses().read_due(key).await.unwrap().unwrap();
        assert_eq!((due.asks, due.due_at), (1, after(60 + 86_400)));
    }
}

#[tokio::test]
async fn whatever_call_fails_a_missing_verdict_is_reported_once_and_soon() {
    let faults =
        [Fault::Refused, Fault::Failed, Fault::Throttled, Fault::AnswerDropped, Fault::AnswerTruncated, Fault::Twice];
    let operations = ["Query", "GetItem", "UpdateItem", "PutItem"];
    let trials = operations.into_iter().flat_map(|operation| {
        faults.into_iter().flat_map(move |fault| (0..2).map(move |call| (operation, fault, call)))
    });
    let try_one = async |(operation, fault, call): (&'static str, Fault, usize)| {
        let world = World::start().await;
        let key = track("jumio", "subject", "netverify-id");
        world.database.announce(&key, local_time(), after(60)).await;
        world.messages(local_time()).await;
        // As often as the client tries.
        world.database.proxy.inject(&[operation], call..call + 3, fault);
        world.reconcile(after(60)).await;
        world.database.proxy.lift();
        // A claim ends after two minutes.
        for minute in 2..=4 {
            world.reconcile(after(minute * 60)).await;
        }
        let messages = world.messages(after(300)).await;
        let kinds: Vec<&str> = messages.iter().map(Message::kind).collect();
        assert_eq!(kinds, ["jumio.overdue"], "{operation} {fault:?} {call}");
        let (due, _) = world.database.courses().read_due(&key).await.unwrap().unwrap();
        assert_eq!(due.due_at, after(60 + 86_400), "{operation} {fault:?} {call}");
    };
    futures_util::future::join_all(trials.map(try_one)).await;
}

#[tokio::test]
async fn what_is_due_is_found_by_shards_in_its_order() {
    let world = World::start().await;
    let courses = world.database.courses();
    for n in 0..60_i64 {
        let key = track("jumio", &format!("subject-{n}"), "netverify-id");
        let event = StoredEvent::announced(&key, local_time(), Some(after(n)), Retention::default());
        let mut course = Course::default();
        course.decide(&event, local_time());
        course.look_after(&event, None, DueRule::default(), local_time());
        courses.write(&key, &course).await.unwrap();
    }
    let mut by_shard = BTreeMap::new();
    for shard in 0..Due::SHARDS {
        let keys = courses.due(shard, after(29), 100).await.unwrap();
        let numbers = keys.iter().map(|key| key.subject.strip_prefix("subject-").unwrap().parse().unwrap());
        let numbers: Vec<i64> = numbers.collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        let first: Vec<_> = courses.due(shard, after(29), 2).await.unwrap();
        assert_eq!(first, keys[..keys.len().min(2)]);
        by_shard.insert(shard, numbers);
    }
    let mut all: Vec<i64> = by_shard.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
    assert!(by_shard.values().filter(|numbers| !numbers.is_empty()).count() > 3, "{by_shard:?}");
}

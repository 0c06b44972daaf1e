//! A verdict that is fetched: what becomes of it in the tables of a real database, by the rules of the real publisher, and
//! beside the callback that comes after all. The provider is in memory, and time is an argument.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::SignedDuration;
use jumio::fetch::{JumioCredentials, JumioFetcher};
use model::{
    Assurance, CourseKey, Courses as _, DueRule, Dues as _, Message, NoReply, Outcome, Pause, Pauses as _, Question,
    Reply, Retention, Timestamp, Web,
};
use reconciler::{
    Reconciler,
    asked::Asked,
    sources::{Fetchers, Sources},
};
use runtime::{Cached, CredentialVault, DynamoCourses, DynamoPauses, DynamoStore};
use serde_json::{Value, json};
use tests::{Database, Fault, answer, local_time, samples};
use wallet_verification::issuers::TrustedIssuers;

const SUBJECT: &str = "00000000-0000-4000-8000-000000000001";

fn after(seconds: i64) -> Timestamp {
    local_time() + SignedDuration::from_secs(seconds)
}

/// Jumio's answers by the ends of their addresses, and how often it was asked.
#[derive(Clone, Default)]
struct Jumio {
    answers: Arc<Mutex<BTreeMap<&'static str, (u16, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Jumio {
    fn answers(&self, end: &'static str, status: u16, answer: Value) {
        self.answers.lock().unwrap().insert(end, (status, answer));
    }

    /// A scan is finished, with this verdict about the document.
    fn finishes(&self, document: &str) {
        self.answers("/status", 200, json!({ "scanReference": SUBJECT, "status": "DONE" }));
        let data = json!({
            "scanReference": SUBJECT, "timestamp": "2026-01-31T09:31:00.001Z",
            "document": { "status": document }, "transaction": { "status": "DONE" },
        });
        self.answers("/data", 200, data);
    }

    /// How often it was asked for a status.
    fn asks(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|url| url.ends_with(SUBJECT)).count()
    }
}

impl Web for Jumio {
    async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
        let end = if question.url.ends_with("/data") { "/data" } else { "/status" };
        self.asked.lock().unwrap().push(question.url);
        let (status, body) = self.answers.lock().unwrap().get(end).cloned().ok_or_else(|| NoReply("late".into()))?;
        Ok(Reply { status, retry_after: None, body: body.to_string().into() })
    }
}

/// A database, and what works on it.
struct World {
    database: Database,
    jumio: Jumio,
}

impl World {
    async fn start() -> Self {
        Self { database: Database::start().await, jumio: Jumio::default() }
    }

    fn pauses(&self) -> DynamoPauses {
        DynamoPauses::new(self.database.client.clone(), "verifications".to_owned())
    }

    /// Lets a reconciler run at this time, one that knows nothing from before.
    async fn reconcile(&self, now: Timestamp) {
        let retention = Retention::default();
        let credentials: JumioCredentials =
            serde_json::from_value(json!({ "token": "token", "secret": "s3cret", "company": "Example" })).unwrap();
        let credentials = Cached::new(CredentialVault::Fixed(credentials), Duration::from_secs(1));
        let fetcher = JumioFetcher::new("https://example.com");
        let jumio = Asked::new(fetcher, credentials, self.jumio.clone(), self.pauses(), retention);
        let fetchers = Fetchers { jumio: Some(jumio), ..Fetchers::default() };
        let source: Sources<wallet_verification::keys::JwksUrl, Jumio, DynamoPauses> =
            Sources { issuers: TrustedIssuers::new(Vec::new()).unwrap(), fetchers, retention };
        let reconciler: Reconciler<DynamoCourses, DynamoStore, _> =
            Reconciler { dues: self.database.courses(), events: self.database.store(), source, retention };
        reconciler.reconcile(|| now, now + SignedDuration::from_secs(45)).await;
    }

    /// What the publisher publishes of all that was recorded.
    async fn messages(&self, now: Timestamp) -> Vec<Message> {
        let rule = DueRule { after: Some(SignedDuration::from_hours(1)), can_be_asked: true };
        self.database.published([("jumio".to_owned(), rule)].into(), now).await
    }

    async fn said(&self, now: Timestamp) -> Vec<(String, Outcome)> {
        let messages = self.messages(now).await;
        messages.iter().map(|message| (message.kind().to_owned(), message.outcome)).collect()
    }

    /// Jumio calls back with this form.
    async fn call_back(&self, form: &str, now: Timestamp) {
        let sample = samples().into_iter().find(|sample| sample.name() == "jumio/netverify-approved").unwrap();
        let mut event: Value = serde_json::from_str(&sample.text).unwrap();
        event["body"] = json!(form);
        event["isBase64Encoded"] = json!(false);
        let answer = answer("jumio", &self.database.store(), &event.to_string(), now).await.unwrap();
        assert_eq!(answer.status_code, 200);
    }

    async fn is_due(&self, key: &CourseKey) -> bool {
        self.database.courses().read_due(key).await.unwrap().is_some()
    }

    async fn standing(&self, key: &CourseKey, now: Timestamp) -> (Outcome, bool) {
        let course = self.database.courses().read(std::slice::from_ref(key)).await.unwrap().remove(0);
        let standing = course.standing(now);
        (standing.outcome, standing.is_final)
    }
}

fn track(name: &str) -> CourseKey {
    CourseKey { provider: "jumio".to_owned(), subject: SUBJECT.to_owned(), track: name.to_owned() }
}

fn netverify(status: &str) -> String {
    format!("callBackType=NETVERIFYID&jumioIdScanReference={SUBJECT}&verificationStatus={status}&idFirstName=ERIKA")
}

#[tokio::test]
async fn a_verdict_that_never_came_is_fetched_once_and_its_late_callback_is_a_repeat() {
    let world = World::start().await;
    let key = track("netverify-id");
    world.database.announce(&key, after(0), after(60)).await;
    assert_eq!(world.said(after(1)).await, []);
    world.jumio.finishes("APPROVED_VERIFIED");
    // Not before its time, and then once, however many run.
    for seconds in [30, 60, 99] {
        world.reconcile(after(seconds)).await;
    }
    assert_eq!(world.jumio.asks(), 0);
    tokio::join!(world.reconcile(after(120)), world.reconcile(after(120)), world.reconcile(after(120)));
    assert_eq!(world.jumio.asks(), 1);

    let verdict = ("jumio.netverify-id".to_owned(), Outcome::Approved);
    assert_eq!(world.said(after(121)).await, [verdict]);
    assert!(!world.is_due(&key).await);
    let events = world.database.events().await;
    let fetched = events.iter().find(|event| event.assurance == Assurance::Fetched).unwrap();
    assert_eq!((fetched.received_at, fetched.outcome, fetched.is_final), (after(120), Outcome::Approved, true));
    assert!(String::from_utf8(fetched.body.clone()).unwrap().contains("APPROVED_VERIFIED"));

    world.call_back(&netverify("APPROVED_VERIFIED"), after(300)).await;
    world.reconcile(after(400)).await;
    assert_eq!(world.messages(after(401)).await.len(), 1);
    assert_eq!(world.standing(&key, after(401)).await, (Outcome::Approved, true));
    assert_eq!(world.jumio.asks(), 1);
}

#[tokio::test]
async fn a_callback_that_says_otherwise_after_a_fetched_verdict_is_told_and_confirmed() {
    let world = World::start().await;
    let key = track("netverify-id");
    world.database.announce(&key, after(0), after(0)).await;
    world.messages(after(0)).await;
    world.jumio.finishes("APPROVED_VERIFIED");
    world.reconcile(after(40)).await;
    world.messages(after(41)).await;
    world.call_back(&netverify("DENIED_FRAUD"), after(100)).await;
    let messages = world.messages(after(101)).await;
    assert!(serde_json::to_value(messages.last().unwrap()).unwrap()["data"]["conflict"] == true, "{messages:?}");
    assert!(world.is_due(&key).await, "the provider is asked which is right");

    world.jumio.finishes("DENIED_FRAUD");
    world.reconcile(after(160)).await;
    assert_eq!(world.jumio.asks(), 2);
    assert_eq!(world.messages(after(161)).await.len(), messages.len(), "it confirmed what was told");
    assert_eq!(world.standing(&key, after(161)).await, (Outcome::Rejected, true));
    assert!(!world.is_due(&key).await);
}

#[tokio::test]
async fn a_document_that_came_in_is_awaited_no_longer_though_it_is_no_verdict() {
    let world = World::start().await;
    let key = track("document-verification");
    world.database.announce(&key, after(0), after(0)).await;
    world.messages(after(0)).await;
    world.jumio.finishes("EXTRACTED");
    world.reconcile(after(60)).await;
    let told = ("jumio.document-verification".to_owned(), Outcome::None);
    assert_eq!(world.said(after(61)).await, [told]);
    assert!(!world.is_due(&key).await);
    for hour in 1..50 {
        world.reconcile(after(hour * 3600)).await;
    }
    assert_eq!((world.jumio.asks(), world.messages(after(180_000)).await.len()), (1, 1));
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_no_event() {
    for (status, answer) in [
        (200, json!("garbage")),
        (200, json!({ "scanReference": "another", "status": "DONE" })),
        (401, json!({})),
        (404, json!({})),
        (429, json!({})),
        (500, json!({})),
    ] {
        let world = World::start().await;
        world.database.announce(&track("netverify-id"), after(0), after(0)).await;
        world.messages(after(0)).await;
        world.jumio.answers("/status", status, answer);
        world.reconcile(after(40)).await;
        assert_eq!(world.jumio.asks(), 1);
        let events = world.database.events().await;
        assert!(events.iter().all(|event| event.assurance == Assurance::Internal), "{status}: {events:?}");
        // Only a provider that does not know the verification makes it overdue at once.
        assert_eq!(events.len(), if status == 404 { 2 } else { 1 }, "{status}");
        assert!(world.is_due(&track("netverify-id")).await);
    }
}

#[tokio::test]
async fn a_pause_is_an_item_that_the_next_process_reads_and_that_expires() {
    let world = World::start().await;
    world.database.announce(&track("netverify-id"), after(0), after(0)).await;
    world.messages(after(0)).await;
    world.jumio.answers("/status", 401, json!({}));
    world.reconcile(after(40)).await;
    let kept = world.pauses().read_pause("jumio").await.unwrap();
    assert_eq!(kept, Some(Pause { failures: Pause::FAILURES, until: Some(after(100)) }));
    assert_eq!(world.pauses().read_pause("signicat").await.unwrap(), None);
    let rows = world.database.rows().await;
    let pause = rows.iter().find(|row| row["pk"].as_s().unwrap() == "pause/jumio").unwrap();
    let expires_at: i64 = pause["expires_at"].as_n().unwrap().parse().unwrap();
    assert!(expires_at > after(3600).as_second() && expires_at < after(10 * 24 * 3600).as_second());

    world.reconcile(after(99)).await;
    assert_eq!(world.jumio.asks(), 1);
    world.jumio.finishes("APPROVED_VERIFIED");
    world.reconcile(after(1000)).await;
    assert_eq!(world.jumio.asks(), 2);
    assert_eq!(world.pauses().read_pause("jumio").await.unwrap(), Some(Pause::default()));
}

#[tokio::test]
async fn without_the_pauses_a_verdict_is_fetched_all_the_same() {
    let world = World::start().await;
    world.database.announce(&track("netverify-id"), after(0), after(0)).await;
    world.messages(after(0)).await;
    world.jumio.finishes("APPROVED_VERIFIED");
    // The reads of a row and of the pause: the first one is the row's.
    world.database.proxy.inject(&["GetItem"], 1..usize::MAX, Fault::Failed);
    world.reconcile(after(40)).await;
    world.database.proxy.lift();
    assert_eq!((world.jumio.asks(), world.said(after(41)).await.len()), (1, 1));
}

//! The real reconciler with real fetchers: only the tables, the providers and the clock are in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use jumio::fetch::{JumioCredentials, JumioFetcher};
use model::{
    Assurance, Courses as _, Due, DueChange, Dues, MemoryCourses, MemoryStore, NoReply, Outcome, Question, Reply,
    Schedule, StoreError,
};
use serde_json::json;
use signicat::fetch::{SignicatCredentials, SignicatFetcher};

use super::*;
use crate::{
    Reconciler, Source,
    sources::{Fetchers, Sources},
};

/// A clock that a test moves.
#[derive(Clone)]
struct Clock(Arc<Mutex<Timestamp>>);

impl Clock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

type Respond = dyn Fn(&Question, i64) -> Option<Reply> + Send + Sync;

/// The providers. They note what they are asked, and when.
#[derive(Clone)]
struct Providers {
    clock: Clock,
    asked: Arc<Mutex<Vec<(i64, String)>>>,
    respond: Arc<Respond>,
}

impl Web for Providers {
    async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
        let second = self.clock.now().as_second() - after(0).as_second();
        let path = question.url.replace("https://example.com", "");
        self.asked.lock().unwrap().push((second, path));
        (self.respond)(&question, second).ok_or_else(|| NoReply("late".into()))
    }
}

/// The pauses that are kept, or a table that does not answer.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<BTreeMap<String, Pause>>>>);

impl Kept {
    fn empty() -> Self {
        Self(Arc::new(Mutex::new(Some(BTreeMap::new()))))
    }
}

impl Pauses for Kept {
    async fn read_pause(&self, provider: &str) -> Result<Option<Pause>, StoreError> {
        let kept = self.0.lock().unwrap();
        let kept = kept.as_ref().ok_or_else(|| StoreError("the table does not answer".into()))?;
        Ok(kept.get(provider).copied())
    }

    async fn keep_pause(&self, provider: &str, pause: Pause, _now: Timestamp) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap();
        let kept = kept.as_mut().ok_or_else(|| StoreError("the table does not answer".into()))?;
        kept.insert(provider.to_owned(), pause);
        Ok(())
    }
}

/// The verifications table.
#[derive(Clone, Default)]
struct Table(Arc<MemoryCourses>);

impl Dues for Table {
    async fn due(&self, shard: u8, now: Timestamp, limit: usize) -> Result<Vec<CourseKey>, StoreError> {
        self.0.due(shard, now, limit).await
    }

    async fn read_due(&self, key: &CourseKey) -> Result<Option<(Due, Course)>, StoreError> {
        self.0.read_due(key).await
    }

    async fn move_on(&self, due: &Due, next: Option<&Due>) -> Result<bool, StoreError> {
        self.0.move_on(due, next).await
    }
}

/// No issuers, as without a wallet gateway.
struct NoKeys;

impl LookUp for NoKeys {
    type Value = Arc<providers::wallet_verification::keys::KeySet>;
    const WHAT: &'static str = "nothing";

    async fn look_up(&self) -> Result<Self::Value, Error> {
        Err("there are no issuers".into())
    }
}

struct World {
    clock: Clock,
    providers: Providers,
    courses: Table,
    events: Arc<MemoryStore>,
    pauses: Kept,
}

const PATIENT: Duration = Duration::from_secs(1);

fn jumio_credentials(secret: &str) -> JumioCredentials {
    serde_json::from_value(json!({ "token": "token", "secret": secret, "company": "Example" })).unwrap()
}

impl World {
    fn new(respond: impl Fn(&Question, i64) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let clock = Clock(Arc::new(Mutex::new(after(0))));
        let providers = Providers { clock: clock.clone(), asked: Arc::default(), respond: Arc::new(respond) };
        Self { clock, providers, courses: Table::default(), events: Arc::default(), pauses: Kept::empty() }
    }

    /// A process that begins: it knows nothing from before.
    fn process(&self) -> Reconciler<Table, Arc<MemoryStore>, Sources<NoKeys, Providers, Kept>> {
        let retention = Retention::default();
        let signicat: SignicatCredentials =
            serde_json::from_value(json!({ "client_id": "client", "client_secret": "s3cret" })).unwrap();
        let fetchers = Fetchers {
            jumio: Some(Asked::new(
                JumioFetcher::new("https://example.com"),
                Cached::new(CredentialVault::Fixed(jumio_credentials("s3cret")), PATIENT),
                self.providers.clone(),
                self.pauses.clone(),
                retention,
            )),
            signicat: Some(Asked::new(
                SignicatFetcher::new("https://example.com"),
                Cached::new(CredentialVault::Fixed(signicat), PATIENT),
                self.providers.clone(),
                self.pauses.clone(),
                retention,
            )),
            ..Fetchers::default()
        };
        let issuers = providers::wallet_verification::issuers::TrustedIssuers::new(Vec::new()).unwrap();
        let source = Sources { issuers, fetchers, retention };
        Reconciler { dues: self.courses.clone(), events: self.events.clone(), source, retention }
    }

    /// Lets a reconciler run at each of these seconds.
    async fn run(
        &self,
        reconciler: &Reconciler<Table, Arc<MemoryStore>, impl Source>,
        seconds: impl Iterator<Item = i64>,
    ) {
        for second in seconds {
            *self.clock.0.lock().unwrap() = after(second);
            reconciler.reconcile(|| self.clock.now(), after(second + 45)).await;
        }
    }

    /// From now on, a verdict on this track is awaited, after these events.
    async fn awaits(&self, key: &CourseKey, events: Vec<StoredEvent>) {
        let mut course = Course::default();
        for event in events {
            course.decide(&event, after(0));
            self.events.record(event).await.unwrap();
        }
        course.due = DueChange::Reset(after(0));
        self.courses.0.write(key, &course).await.unwrap();
    }

    /// When the paths were asked for that end like this.
    fn asked(&self, end: &str) -> Vec<i64> {
        let asked = self.providers.asked.lock().unwrap();
        asked.iter().filter(|(_, path)| path.ends_with(end)).map(|(second, _)| *second).collect()
    }

    /// Recorded verdicts: outcome and second of receipt; and how many overdue verdicts.
    fn recorded(&self) -> (Vec<(Outcome, i64)>, usize) {
        let mut events = self.events.events();
        events.sort_by_key(|event| event.received_at);
        let fetched = events.iter().filter(|event| event.assurance == Assurance::Fetched);
        let second = |event: &StoredEvent| event.received_at.as_second() - after(0).as_second();
        let fetched = fetched.map(|event| (event.outcome, second(event))).collect();
        (fetched, events.iter().filter(|event| event.origin() == Origin::Overdue).count())
    }
}

fn scan(subject: &str) -> CourseKey {
    CourseKey { provider: "jumio".to_owned(), subject: subject.to_owned(), track: "netverify-id".to_owned() }
}

fn process(subject: &str) -> CourseKey {
    CourseKey { provider: "signicat".to_owned(), subject: subject.to_owned(), track: "process-status".to_owned() }
}

fn reply(status: u16, body: impl ToString) -> Option<Reply> {
    Some(Reply { status, retry_after: None, body: body.to_string().into() })
}

/// Jumio's answer about a scan that is pending or approved.
fn scan_is(question: &Question, is_pending: bool) -> Option<Reply> {
    let (_, path) = question.url.split_once("/scans/").unwrap();
    match path.strip_suffix("/data") {
        None => reply(200, json!({ "scanReference": path, "status": if is_pending { "PENDING" } else { "DONE" } })),
        Some(scan) => reply(
            200,
            json!({
                "scanReference": scan, "timestamp": "2026-01-31T09:31:00.001Z",
                "document": { "status": "APPROVED_VERIFIED" }, "transaction": { "status": "DONE" },
            }),
        ),
    }
}

const DAY: i64 = 24 * 3600;

#[tokio::test]
async fn jumio_is_asked_at_its_ten_times_and_then_once_a_day_until_nobody_waits() {
    let world = World::new(|question, _| scan_is(question, true));
    world.awaits(&scan("s"), Vec::new()).await;
    let reconciler = world.process();
    world.run(&reconciler, (0..1200).step_by(10)).await;
    let schedule = [40, 60, 100, 160, 240, 340, 460, 600, 760, 940];
    assert_eq!(world.asked("/scans/s"), schedule);
    assert_eq!(world.recorded(), (vec![], 1));

    world.run(&reconciler, (1..100).flat_map(|day| (day * DAY - 600..day * DAY + 1200).step_by(60))).await;
    let daily = (1..=31).map(|day| day * DAY);
    assert_eq!(world.asked("/scans/s"), schedule.into_iter().chain(daily).collect::<Vec<_>>());
    assert_eq!(world.recorded(), (vec![], 31));
    assert!(world.courses.0.all().len() == 1 && world.asked("/data").is_empty());
}

#[tokio::test]
async fn a_verdict_is_received_when_it_was_asked_for() {
    let world = World::new(|question, second| scan_is(question, second < 150));
    world.awaits(&scan("s"), Vec::new()).await;
    world.run(&world.process(), (0..300).step_by(60)).await;
    assert_eq!((world.asked("/scans/s"), world.asked("/data")), (vec![60, 120, 180], vec![180]));
    assert_eq!(world.recorded(), (vec![(Outcome::Approved, 180)], 0));
}

#[tokio::test]
async fn a_provider_that_wants_to_be_left_alone_is_by_every_process_and_others_are_asked_meanwhile() {
    let world = World::new(|question, second| match question.url.contains("/scans/") {
        true if second < 100 => {
            Some(Reply { status: 429, retry_after: Some(SignedDuration::from_secs(300)), body: "".into() })
        }
        true => scan_is(question, false),
        false => reply(200, json!({ "access_token": "t", "expires_in": 600, "processId": "p", "status": "accepted" })),
    });
    world.awaits(&scan("a"), Vec::new()).await;
    // Each run is a process of its own.
    world.run(&world.process(), std::iter::once(40)).await;
    world.awaits(&scan("b"), Vec::new()).await;
    let announced = StoredEvent {
        details: [("dossier_id".to_owned(), "d".into())].into_iter().collect(),
        ..StoredEvent::announced(&process("p"), after(0), Some(after(0)), Retention::default())
    };
    world.awaits(&process("p"), vec![announced]).await;
    for second in (60..1200).step_by(60) {
        world.run(&world.process(), std::iter::once(second)).await;
    }
    assert_eq!(world.asked("/scans/a").first(), Some(&40));
    let later: Vec<i64> = [world.asked("/scans/a"), world.asked("/scans/b")].concat();
    assert!(later.iter().all(|second| *second == 40 || *second >= 340), "{later:?}");
    assert_eq!(world.asked("/dossiers/d/processes/p")[0], 60);
    let (verdicts, overdue) = world.recorded();
    assert_eq!((verdicts.len() >= 3, overdue), (true, 0), "{verdicts:?}");
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_less_and_less_and_what_is_overdue_is_reported_all_the_same() {
    let world = World::new(|_, second| if second < 4 * 3600 { reply(500, "") } else { None });
    for subject in 0..20 {
        world.awaits(&scan(&format!("s-{subject}")), Vec::new()).await;
    }
    for second in (0..3 * 3600).step_by(60) {
        world.run(&world.process(), std::iter::once(second)).await;
    }
    let asked: Vec<i64> = (0..20).flat_map(|subject| world.asked(&format!("/scans/s-{subject}"))).collect();
    // Five, and then one after 1, 2, 4, 8 and 15 minutes, and each further quarter of an hour: at most.
    assert!((6..=5 + 4 + 12).contains(&asked.len()), "{asked:?}");
    assert_eq!(asked.iter().filter(|second| **second < 120).count(), 5, "{asked:?}");
    assert_eq!(world.recorded(), (vec![], 20));
}

#[tokio::test]
async fn however_long_a_provider_wants_to_be_left_alone_an_overdue_verdict_is_reported_at_the_last_time() {
    for (status, wish) in [(429, Some(3600)), (429, None), (503, Some(3600)), (500, None), (401, None)] {
        let retry_after = wish.map(SignedDuration::from_secs);
        let world = World::new(move |_, _| Some(Reply { status, retry_after, body: "".into() }));
        world.awaits(&scan("s"), Vec::new()).await;
        let reconciler = world.process();
        world.run(&reconciler, (0..940).step_by(20)).await;
        assert_eq!(world.recorded().1, 0, "{status}");
        world.run(&reconciler, (940..1300).step_by(20)).await;
        assert_eq!(world.recorded().1, 1, "{status} {wish:?}");
        world.run(&reconciler, (1300..DAY).step_by(60)).await;
        assert!(world.recorded().1 == 1 && world.asked("/scans/s").len() <= 11, "{:?}", world.asked("/scans/s"));
    }
}

#[tokio::test]
async fn a_provider_that_answers_again_is_asked_about_all_that_waits() {
    let world = World::new(|question, second| if second < 3600 { reply(503, "") } else { scan_is(question, false) });
    for subject in 0..20 {
        world.awaits(&scan(&format!("s-{subject}")), Vec::new()).await;
    }
    let reconciler = world.process();
    world.run(&reconciler, (0..3600).step_by(60)).await;
    assert_eq!(world.recorded(), (vec![], 20));
    world.run(&reconciler, (3600..3600 + 1800).step_by(60)).await;
    let events = world.events.events();
    let verdicts = events.iter().filter(|event| event.assurance == Assurance::Fetched);
    let subjects: BTreeSet<&str> = verdicts.map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects.len(), 20, "{subjects:?}");
}

#[tokio::test]
async fn many_verdicts_that_are_due_at_once_are_asked_for_at_the_provider_s_pace() {
    let world = World::new(|question, _| scan_is(question, false));
    for subject in 0..100 {
        world.awaits(&scan(&format!("s-{subject}")), Vec::new()).await;
    }
    let reconciler = world.process();
    world.run(&reconciler, (0..1800).step_by(15)).await;
    let mut asked: Vec<i64> = (0..100).flat_map(|subject| world.asked(&format!("/scans/s-{subject}"))).collect();
    asked.sort_unstable();
    for first in &asked {
        let minute = asked.iter().filter(|second| (*first..*first + 60).contains(*second)).count();
        assert!(minute <= ASKS_PER_MINUTE, "{minute} in the minute from {first}");
    }
    let (verdicts, overdue) = world.recorded();
    assert!(verdicts.len() >= 100 && overdue == 0, "{} {overdue}", verdicts.len());
}

#[tokio::test]
async fn without_the_table_a_process_goes_by_what_it_knows_itself() {
    let world = World { pauses: Kept::default(), ..World::new(|_, _| reply(401, "")) };
    for subject in ["a", "b"] {
        world.awaits(&scan(subject), Vec::new()).await;
    }
    world.run(&world.process(), (40..100).step_by(10)).await;
    assert_eq!([world.asked("/scans/a"), world.asked("/scans/b")].concat(), [40]);
}

#[tokio::test]
async fn a_process_is_asked_for_in_the_dossier_of_its_latest_notification_or_of_its_announcement() {
    let token = json!({ "access_token": "t", "expires_in": 600 });
    let respond = move |question: &Question, _| match question.method {
        "POST" => reply(200, &token),
        _ => reply(200, json!({ "processId": "p", "status": "accepted" })),
    };
    let with = |event: StoredEvent, dossier: &str| StoredEvent {
        details: [("dossier_id".to_owned(), dossier.into())].into_iter().collect(),
        ..event
    };
    let announced =
        |due: i64| StoredEvent::announced(&process("p"), after(-100), Some(after(due)), Retention::default());
    let notified = |body: &str| {
        let verified = model::Verified::fetched(body.to_owned());
        let parsed = <signicat::Signicat<runtime::Secrets> as model::Provider>::parse(&verified);
        let event = model::Event::new::<signicat::Signicat<runtime::Secrets>>(&verified, parsed, after(-50));
        StoredEvent::new(&event, Retention::default())
    };
    let pending = notified(r#"{"dossierId":"of-notification","processId":"p","status":"pending"}"#);
    let odd = notified(r#"{"dossierId":"of-odd","processId":"p","status":"postponed"}"#);
    assert!(odd.unrecognized.is_some());
    for (events, asked) in [
        (vec![with(announced(0), "of-announcement")], Some("of-announcement")),
        (vec![with(announced(0), "of-announcement"), pending.clone()], Some("of-notification")),
        (vec![pending, odd.clone()], Some("of-notification")),
        (vec![odd, with(announced(0), "of-announcement")], Some("of-announcement")),
        (vec![with(announced(0), "../../elsewhere")], None),
        (vec![announced(0)], None),
    ] {
        let world = World::new(respond.clone());
        world.awaits(&process("p"), events).await;
        world.run(&world.process(), std::iter::once(0)).await;
        let paths: Vec<String> = world.providers.asked.lock().unwrap().iter().map(|(_, path)| path.clone()).collect();
        let expected: Vec<String> = asked
            .into_iter()
            .flat_map(|dossier| {
                ["/auth/open/connect/token".to_owned(), format!("/assure/dossiers/{dossier}/processes/p")]
            })
            .collect();
        assert_eq!(paths, expected);
        // Without a dossier, the verdict is overdue at once.
        assert_eq!(world.recorded().1, usize::from(asked.is_none()));
    }
}

/// A secret that is rotated.
struct Rotating(Arc<AtomicUsize>);

impl LookUp for Rotating {
    type Value = Hidden<JumioCredentials>;
    const WHAT: &'static str = "rotating secret";

    async fn look_up(&self) -> Result<Self::Value, Error> {
        Ok(Hidden(jumio_credentials(&format!("s3cret-{}", self.0.load(Ordering::Relaxed)))))
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_looked_up_again_before_the_provider_is_left_alone() {
    let accepted = |secret: &str| runtime::basic_authorization("token", secret);
    let world = World::new(move |question, _| {
        let new = question.headers.iter().any(|(_, value)| *value == accepted("s3cret-1"));
        if new { scan_is(question, true) } else { reply(401, "") }
    });
    let rotations = Arc::new(AtomicUsize::new(0));
    let asked = Asked::new(
        JumioFetcher::new("https://example.com"),
        Cached::new(Rotating(rotations.clone()), PATIENT),
        world.providers.clone(),
        world.pauses.clone(),
        Retention::default(),
    );
    let ask = async |second| {
        asked.admit(after(second)).await?;
        Ok::<_, Timestamp>(asked.ask(&scan("s"), &Course::default(), &world.events, after(second)).await)
    };
    assert!(matches!(ask(0).await, Ok(Answer::Unavailable(pause)) if pause == SignedDuration::from_mins(1)));
    assert_eq!(ask(59).await.unwrap_err(), after(60));
    rotations.store(1, Ordering::Relaxed);
    assert!(matches!(ask(60).await, Ok(Answer::NotYet)));
    assert_eq!(world.asked("/scans/s").len(), 3);
    assert_eq!(world.pauses.0.lock().unwrap().as_ref().unwrap()["jumio"], Pause::default());
}

#[tokio::test]
async fn without_credentials_nobody_is_asked() {
    struct Nothing;
    impl LookUp for Nothing {
        type Value = Hidden<JumioCredentials>;
        const WHAT: &'static str = "nothing";

        async fn look_up(&self) -> Result<Self::Value, Error> {
            Err("the secret has no value".into())
        }
    }
    let world = World::new(|question, _| scan_is(question, false));
    let fetcher = JumioFetcher::new("https://example.com");
    let (web, pauses) = (world.providers.clone(), world.pauses.clone());
    let asked = Asked::new(fetcher, Cached::new(Nothing, PATIENT), web, pauses, Retention::default());
    let answer = asked.ask(&scan("s"), &Course::default(), &world.events, after(0)).await;
    assert!(matches!(answer, Answer::Unavailable(_)) && world.asked("").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_answer_is_not_waited_for() {
    struct Silent;
    impl Web for Silent {
        async fn ask(&self, _question: Question) -> Result<Reply, NoReply> {
            std::future::pending().await
        }
    }
    let world = World::new(|_, _| None);
    let credentials = Cached::new(CredentialVault::Fixed(jumio_credentials("s3cret")), PATIENT);
    let fetcher = JumioFetcher::new("https://example.com");
    let asked = Asked::new(fetcher, credentials, Silent, world.pauses.clone(), Retention::default());
    let began = tokio::time::Instant::now();
    let answer = asked.ask(&scan("s"), &Course::default(), &world.events, after(0)).await;
    assert!(matches!(answer, Answer::Unavailable(_)));
    assert_eq!(began.elapsed(), PATIENCE);
}

#[test]
fn a_track_that_no_provider_can_be_asked_about_has_no_schedule() {
    let world = World::new(|_, _| None);
    let source = world.process().source;
    let schedule = |key: &CourseKey| source.schedule(key, &Course::default());
    assert_eq!(schedule(&scan("s")), JumioFetcher::SCHEDULE);
    assert_eq!(schedule(&process("s")), SignicatFetcher::SCHEDULE);
    let track =
        |provider: &str, track: &str| CourseKey { provider: provider.to_owned(), track: track.to_owned(), ..scan("s") };
    for (provider, name) in [
        ("jumio", "unrecognized"),
        ("identomat", "session"),
        ("verifyvasp", "verification"),
        ("wallet", "verification/1"),
    ] {
        assert_eq!(schedule(&track(provider, name)), Schedule::NONE, "{provider} {name}");
    }
}

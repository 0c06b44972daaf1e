//! Whatever the course of a verification, and whatever fails on the way: what consumers hear last is the truth.
//!
//! Random courses through the real parsers, the real pipeline and the real publisher. Callbacks come at the same instant,
//! as copies, and out of order; some take the detour through the spill queue. Rows cannot be read or written, or somebody
//! else writes them first; the queue does not accept, or its answer is lost; batches come again; old records are redriven;
//! messages go to the dead letters and come back. A model that is simpler than the product says what is true.
//!
//! And whatever wallets present, under whichever codes: a token stands for one credential of one verification.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{LazyLock, Mutex},
    time::Duration,
};

use jiff::SignedDuration;
use model::{
    Claim, Course, CourseKey, Courses, Erasures, Event, EventStore, Expectation, Expectations as _, Inserted,
    MemoryCourses, MemoryExpectations, Message, MessageDetail, MessageQueue, NotSent, Outcome, Policy, Proofs, Purpose,
    Request, Retention, StoreError, StoredEvent, Subject, Timestamp, Written,
};
use proptest::{collection::vec, prelude::*};
use publisher::Publisher;
use runtime::{Cached, Error, Quarantine, Record, Unreadable};
use serde_json::{Value, json};
use tests::{ISSUER, IssuersKeys, answer, authentic, local_time};
use tokio::runtime::Runtime;
use wallet_verification::{
    WalletVerification,
    issuers::{PinnedIssuer, TrustedIssuers},
};

/// What may come of one verification: of a provider whose sessions reopen, one that contradicts itself, and one that
/// corrects itself.
const SESSIONS: (&str, &[&str]) = (
    "identomat",
    &[
        r#"{"type":"session-change","sessionId":"s","result":"REJECTED"}"#,
        r#"{"type":"session-change","sessionId":"s","result":"APPROVED"}"#,
        r#"{"type":"session-change","sessionId":"s","result":"MANUAL_CHECK"}"#,
        r#"{"type":"session-change","sessionId":"s","result":"BLOCKED"}"#,
    ],
);
const PROCESSES: (&str, &[&str]) = (
    "signicat",
    &[
        r#"{"dossierId":"d","processId":"p","status":"rejected"}"#,
        r#"{"dossierId":"d","processId":"p","status":"accepted"}"#,
        r#"{"dossierId":"d","processId":"p","status":"pending"}"#,
        r#"{"dossierId":"d","processId":"p","status":"processing"}"#,
        r#"{"dossierId":"d","processId":"p","status":"inconclusive"}"#,
        r#"{"dossierId":"d","processId":"p","status":"paused"}"#,
    ],
);
const VERIFICATIONS: (&str, &[&str]) = (
    "verifyvasp",
    &[
        r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u","result":"DENIED"}}"#,
        r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u","result":"VERIFIED"}}"#,
        r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u","result":"DENIED","message":"x"}}"#,
        r#"{"callbackType":"ERROR_REPORT","data":{"verificationUuid":"u","result":"ERROR"}}"#,
        r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u","result":"MAYBE"}}"#,
    ],
);

/// What goes wrong, in the order in which it is asked for. When it is used up, nothing goes wrong any more.
struct Tape(Mutex<VecDeque<u8>>);

impl Tape {
    /// One of so many ways; 0 is that all goes well.
    fn next(&self, ways: u8) -> u8 {
        self.0.lock().unwrap().pop_front().unwrap_or(0) % ways
    }
}

/// The events table: what was inserted, in order.
#[derive(Default)]
struct Table(Mutex<Vec<StoredEvent>>);

impl EventStore for Table {
    async fn insert(&self, event: &Event) -> Result<Inserted, StoreError> {
        let event = StoredEvent::new(event, Retention::default());
        let mut events = self.0.lock().unwrap();
        if events.iter().any(|other| other.id == event.id) {
            return Ok(Inserted::Duplicate);
        }
        events.push(event);
        Ok(Inserted::Fresh)
    }
}

/// Rows and claims that fail, and that another publisher writes meanwhile.
struct Rows<'a> {
    kept: MemoryCourses,
    tape: &'a Tape,
    events: &'a [StoredEvent],
    accepted: &'a Mutex<Vec<Value>>,
}

impl Courses for Rows<'_> {
    async fn read(&self, keys: &[CourseKey]) -> Result<Vec<Course>, StoreError> {
        match self.tape.next(12) {
            11 => Err(StoreError("unreadable".into())),
            _ => self.kept.read(keys).await,
        }
    }

    async fn write(&self, key: &CourseKey, course: &Course) -> Result<Written, StoreError> {
        match self.tape.next(12) {
            11 => return Err(StoreError("not done".into())),
            10 => {
                let _ = self.kept.write(key, course).await;
                return Err(StoreError("done, but the answer is lost".into()));
            }
            9 => {
                // It decides about another event, writes the row, and crashes before or after it sends the message.
                let other = &self.events[usize::from(self.tape.next(u8::MAX)) % self.events.len()];
                let mut theirs = self.kept.read(std::slice::from_ref(key)).await?.remove(0);
                let mut reused = Vec::new();
                for (place, claim) in (0..).zip(other.claims()) {
                    reused.extend((self.kept.claim(&claim).await?.holder != claim.holder).then_some(place));
                }
                let decided = theirs.decide_without(other, &reused, now());
                if CourseKey::of(other) == *key && decided.is_new {
                    assert_eq!(self.kept.write(key, &theirs).await?, Written::Kept);
                    let sent = decided.published.filter(|_| self.tape.next(2) == 1);
                    let message = sent.map(|published| Message::new(other, &published, MessageDetail::Reference));
                    self.accepted.lock().unwrap().extend(message.map(|message| json!(message)));
                }
            }
            _ => {}
        }
        self.kept.write(key, course).await
    }

    async fn of_verification(&self, provider: &str, subject: &str) -> Result<Vec<(String, Course)>, StoreError> {
        self.kept.of_verification(provider, subject).await
    }
}

impl Erasures for Rows<'_> {
    async fn read_with_erasures(&self, keys: &[CourseKey]) -> Result<Vec<(Course, bool)>, StoreError> {
        self.read(keys).await?;
        self.kept.read_with_erasures(keys).await
    }

    async fn erase(&self, event: &StoredEvent, now: Timestamp) -> Result<(), StoreError> {
        self.kept.erase(event, now).await
    }
}

impl Proofs for Rows<'_> {
    async fn claim(&self, claim: &Claim) -> Result<Claim, StoreError> {
        match self.tape.next(12) {
            11 => return Err(StoreError("not done".into())),
            10 => {
                let _ = self.kept.claim(claim).await;
                return Err(StoreError("done, but the answer is lost".into()));
            }
            9 => {
                // Another publisher claims the proofs of another event, and crashes before it decides.
                let other = &self.events[usize::from(self.tape.next(u8::MAX)) % self.events.len()];
                for theirs in other.claims() {
                    self.kept.claim(&theirs).await?;
                }
            }
            _ => {}
        }
        self.kept.claim(claim).await
    }
}

/// A queue that does not accept everything, or does not say so.
struct Queue<'a> {
    tape: &'a Tape,
    accepted: &'a Mutex<Vec<Value>>,
}

impl MessageQueue for Queue<'_> {
    async fn send(&self, batch: &[Message]) -> Vec<Result<(), NotSent>> {
        let send = |message| match self.tape.next(8) {
            7 => Err(NotSent("refused".to_owned())),
            way => {
                self.accepted.lock().unwrap().push(json!(message));
                if way == 6 { Err(NotSent("accepted, but the answer is lost".to_owned())) } else { Ok(()) }
            }
        };
        batch.iter().map(send).collect()
    }
}

struct NoQuarantine;

impl Quarantine for NoQuarantine {
    async fn set_aside(&self, _unreadable: &Unreadable) -> Result<(), Error> {
        Err("everything can be read".into())
    }
}

/// When the publisher decides: later than everything was received, and always the same, which is the hardest for sequences.
fn now() -> Timestamp {
    local_time() + SignedDuration::from_hours(1)
}

/// The callbacks of one verification, in the order in which they get into the table.
fn recorded(runtime: &Runtime, (function, bodies): (&str, &[&str]), callbacks: &[Callback]) -> Vec<StoredEvent> {
    let mut time = local_time();
    let mut arrivals = Vec::new();
    for (place, callback) in callbacks.iter().enumerate() {
        time += SignedDuration::from_millis(callback.after.into());
        let body = bodies[usize::from(callback.says) % bodies.len()];
        let event = authentic(function, body.as_bytes()).unwrap().to_string();
        let table = Table::default();
        let response = runtime.block_on(answer(function, &table, &event, time)).unwrap();
        assert_eq!(response.status_code, 200);
        // What is spilled is drained after so many others got into the table.
        arrivals.push((place + usize::from(callback.delay), table.0.into_inner().unwrap().remove(0)));
    }
    arrivals.sort_by_key(|(arrival, _)| *arrival);
    let mut events: Vec<StoredEvent> = Vec::new();
    for (_, event) in arrivals {
        // Put if not there.
        if events.iter().all(|other| other.id != event.id) {
            events.push(event);
        }
    }
    events
}

/// A callback of a course.
#[derive(Debug, Clone)]
struct Callback {
    says: u8,
    /// How many milliseconds after the one before.
    after: u8,
    /// How many others overtake it on its way into the table.
    delay: u8,
}

fn callbacks() -> impl Strategy<Value = Vec<Callback>> {
    let callback = (0_u8..6, 0_u8..3, prop_oneof![3 => Just(0_u8), 1 => 1_u8..8])
        .prop_map(|(says, after, delay)| Callback { says, after, delay });
    vec(callback, 1..14)
}

/// Publishes all that got into the table, however often that takes, and returns what the queue accepted, in its order.
fn publish(runtime: &Runtime, events: &[StoredEvent], tape: &Tape) -> (Vec<Value>, MemoryCourses) {
    let accepted = Mutex::default();
    let rows = Rows { kept: MemoryCourses::default(), tape, events, accepted: &accepted };
    let publisher = Publisher {
        courses: rows,
        verifications: Queue { tape, accepted: &accepted },
        deliveries: Queue { tape, accepted: &accepted },
        quarantine: NoQuarantine,
        detail: MessageDetail::Reference,
        due: BTreeMap::new(),
    };
    let record = |event: &StoredEvent| Record { sequence_number: event.id.clone(), event: Ok(event.clone()) };
    let mut rest = events;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rest.len().min(1 + usize::from(tape.next(4))));
        let failed = runtime.block_on(publisher.publish(batch.iter().map(record).collect(), now()));
        // The lowest that failed is where the stream goes on; or the whole batch comes again, since the function was killed.
        let first_failed = batch.iter().position(|event| failed.contains(&event.id)).unwrap_or(batch.len());
        let done = if tape.next(6) == 5 { 0 } else { first_failed };
        rest = if done == batch.len() { after } else { &rest[done..] };
        if tape.next(6) == 5 {
            // Somebody redrives what was published long ago.
            let old = &events[usize::from(tape.next(u8::MAX)) % events.len()];
            runtime.block_on(publisher.publish(vec![record(old)], now()));
        }
    }
    let rows = publisher.courses.kept;
    (accepted.into_inner().unwrap(), rows)
}

/// Decides about all events in the order of receipt, as `callbacks rebuild` does, with no rows but these claims.
fn rebuild(runtime: &Runtime, events: &[StoredEvent], claims: &BTreeMap<String, Claim>) -> BTreeMap<CourseKey, Course> {
    let (courses, accepted, tape) = (MemoryCourses::default(), Mutex::default(), Tape(Mutex::default()));
    for claim in claims.values() {
        runtime.block_on(courses.claim(claim)).unwrap();
    }
    let queue = || Queue { tape: &tape, accepted: &accepted };
    let (verifications, deliveries, detail) = (queue(), queue(), MessageDetail::Reference);
    let publisher =
        Publisher { courses, verifications, deliveries, quarantine: NoQuarantine, detail, due: BTreeMap::new() };
    let mut in_time: Vec<&StoredEvent> = events.iter().collect();
    in_time.sort_by_key(|event| event.received_at);
    for page in in_time.chunks(3) {
        assert!(runtime.block_on(publisher.decide(page, now())).iter().all(Result::is_ok));
    }
    publisher.courses.all()
}

/// The truth, of one track: by time, without what says the same as the one before, by the provider's policy. And how many
/// different things were said one after the other, and whether final verdicts differ.
fn truth(events: &[StoredEvent]) -> (Outcome, usize, bool) {
    let mut in_time: Vec<&StoredEvent> = events.iter().collect();
    in_time.sort_by_key(|event| (event.received_at, event.outcome != Outcome::Approved, event.id.clone()));
    in_time.dedup_by(|next, event| next.content() == event.content());
    let verdicts: Vec<&&StoredEvent> = in_time.iter().filter(|event| event.outcome != Outcome::None).collect();
    let finals: Vec<&&&StoredEvent> = verdicts.iter().filter(|event| event.is_final).collect();
    let differ = finals.iter().any(|event| event.outcome != finals[0].outcome);
    let last = verdicts.last().map_or(Outcome::None, |event| event.outcome);
    let last_final = finals.last().map_or(last, |event| event.outcome);
    let stands = match events[0].policy {
        Policy::Reopens => last,
        Policy::Corrects => last_final,
        Policy::Contradicts if differ && last_final == Outcome::Approved => Outcome::Review,
        Policy::Contradicts => last_final,
    };
    (stands, in_time.len(), differ && events[0].policy != Policy::Reopens)
}

/// What a consumer holds in the end that drops a verdict whose sequence is not above that of the one it holds. Some
/// messages reach it late, from the dead letters.
fn heard(messages: &[Value], tape: &Tape) -> Outcome {
    let (mut at_once, mut dead) = (Vec::new(), Vec::new());
    for message in messages {
        if tape.next(5) == 4 { &mut dead } else { &mut at_once }.push(message);
    }
    dead.reverse();
    let mut held = (String::new(), Outcome::None);
    for message in at_once.into_iter().chain(dead) {
        let message: Message = serde_json::from_value(message.clone()).unwrap();
        if message.outcome != Outcome::None && message.sequence > held.0 {
            held = (message.sequence, message.outcome);
        }
    }
    held.1
}

/// A row without what depends on the order of arrival.
fn without_decisions(course: &Course) -> Course {
    let mut course = Course { version: 0, sequence: 0, ..course.clone() };
    course.decisions.iter_mut().for_each(|decision| decision.published = None);
    course
}

/// The codes that wallets present their credentials under, with their states. Two are of one verification.
const CODES: [(&str, &str); 3] = [("code-1", "one"), ("code-2", "another"), ("code-3", "another")];

/// The `verification_id` of each token that there is. Two have the same, and one has none.
const VERIFICATION_IDS: [Option<&str>; 5] = [Some("a"), Some("b"), Some("a"), None, Some("c")];

static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let token = |(n, id): (usize, &Option<&str>)| {
        let claims = json!({ "iss": ISSUER.issuer, "verification_id": id, "vp_token": format!("presentation {n}") });
        ISSUER.key.sign(&claims).unwrap()
    };
    VERIFICATION_IDS.iter().enumerate().map(token).collect()
});

/// What a wallet presents in one callback.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Presentation {
    code: usize,
    /// The token for each template, if there is one.
    tokens: [Option<usize>; 2],
    /// How many milliseconds after the callback before.
    after: u8,
    /// How many others overtake it on its way into the table.
    delay: u8,
}

/// Some credential: the code and the template it was presented under.
type Credential = (usize, usize);

fn presentations() -> impl Strategy<Value = Vec<Presentation>> {
    let token = || prop_oneof![1 => Just(None), 3 => (0..VERIFICATION_IDS.len()).prop_map(Some)];
    let presentation = (0..CODES.len(), [token(), token()], 0_u8..3, prop_oneof![3 => Just(0_u8), 1 => 1_u8..8])
        .prop_map(|(code, tokens, after, delay)| Presentation { code, tokens, after, delay });
    vec(presentation, 1..10)
}

impl Presentation {
    fn body(&self) -> String {
        let (code, state) = CODES[self.code];
        let credential = |token: &Option<usize>| match token {
            Some(token) => json!({ "token": TOKENS[*token], "status": "COMPLETED" }),
            None => json!({ "status": "FAILED" }),
        };
        let credentials = self.tokens.each_ref().map(credential);
        let tokens: BTreeMap<String, &Value> =
            credentials.iter().enumerate().map(|(n, c)| (n.to_string(), c)).collect();
        json!({ "code": code, "state": state, "tokens": tokens }).to_string()
    }
}

/// The events of presentations, in the order in which they get into the table, with what each presents.
fn presented(runtime: &Runtime, presentations: &[Presentation]) -> (Vec<StoredEvent>, BTreeMap<String, Presentation>) {
    let pinned = PinnedIssuer {
        issuer: ISSUER.issuer.clone(),
        jwks_url: ISSUER.jwks_url.clone(),
        algorithms: vec![jsonwebtoken::Algorithm::EdDSA],
        audience: None,
    };
    let issuers = TrustedIssuers::new(vec![(pinned, Cached::new(IssuersKeys, Duration::from_secs(1)))]).unwrap();
    let expectations = MemoryExpectations::default();
    for (code, state) in CODES {
        let expectation = Expectation::new(code, Purpose::Verification, Subject::new(state).unwrap(), local_time());
        let expectation = expectation.with_state(Some(state.to_owned())).unwrap();
        runtime.block_on(expectations.register(&expectation, local_time())).unwrap();
    }
    let provider = WalletVerification::new(expectations, issuers);
    let (mut time, mut arrivals, mut of_events) = (local_time(), Vec::new(), BTreeMap::new());
    for (place, presentation) in presentations.iter().enumerate() {
        time += SignedDuration::from_millis(presentation.after.into());
        let table = Table::default();
        runtime.block_on(model::receive(&provider, &table, &Request::new(presentation.body()), time)).unwrap();
        let event = table.0.into_inner().unwrap().remove(0);
        of_events.insert(event.id.clone(), presentation.clone());
        arrivals.push((place + usize::from(presentation.delay), event));
    }
    arrivals.sort_by_key(|(arrival, _)| *arrival);
    let mut events: Vec<StoredEvent> = Vec::new();
    for (_, event) in arrivals {
        if events.iter().all(|other| other.id != event.id) {
            events.push(event);
        }
    }
    (events, of_events)
}

/// Which credentials messages approve by each token, and by each `verification_id`.
fn approved(messages: &[Value], of_events: &BTreeMap<String, Presentation>) -> BTreeMap<String, BTreeSet<Credential>> {
    let mut approved = BTreeMap::<String, BTreeSet<Credential>>::new();
    for message in messages {
        let presentation = &of_events[message["id"].as_str().unwrap()];
        for (template, token) in presentation.tokens.iter().enumerate() {
            let verdict = &message["data"]["details"]["credentials"][template.to_string()]["verdict"];
            // The verdict on all of them is no better than that on each.
            assert!(verdict == "approved" || message["outcome"] != "approved", "{message}");
            if verdict == "approved" {
                let token = token.unwrap();
                let by_id = VERIFICATION_IDS[token].map(|id| format!("verification_id {id}"));
                for by in by_id.into_iter().chain([format!("token {token}")]) {
                    approved.entry(by).or_default().insert((presentation.code, template));
                }
            }
        }
    }
    approved
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_wallets_present_a_token_stands_for_one_credential(
        presentations in presentations(),
        faults in vec(any::<u8>(), 0..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (events, of_events) = presented(&runtime, &presentations);
        let tape = Tape(Mutex::new(faults.into()));
        let (messages, rows) = publish(&runtime, &events, &tape);
        let (claims, rows) = (rows.claims(), rows.all());

        let approved_by = approved(&messages, &of_events);
        prop_assert!(approved_by.values().all(|credentials| credentials.len() == 1), "{:?}", approved_by);
        let mut by_id: BTreeMap<&str, &Value> = BTreeMap::new();
        for message in &messages {
            let id = message["id"].as_str().unwrap();
            prop_assert_eq!(*by_id.entry(id).or_insert(message), message, "one id with two bodies");
        }

        // What an event says for itself counts if the first claim of each of its proofs is for it.
        let is_own = |claim: Claim| claims[&claim.proof].holder == claim.holder;
        let trusted = |event: &StoredEvent| match event.outcome {
            Outcome::Approved if !event.claims().all(is_own) => Outcome::Review,
            own => own,
        };
        let mut tracks: BTreeMap<CourseKey, Vec<StoredEvent>> = BTreeMap::new();
        for event in &events {
            tracks.entry(CourseKey::of(event)).or_default().push(StoredEvent { outcome: trusted(event), ..event.clone() });
        }
        let rebuilt = rebuild(&runtime, &events, &claims);
        prop_assert!(rows.keys().eq(tracks.keys()) && rebuilt.keys().eq(tracks.keys()));
        for (key, events) in &tracks {
            let (stands, _, conflict) = truth(events);
            for rows in [&rows, &rebuilt] {
                let standing = rows[key].standing(now());
                prop_assert_eq!((standing.outcome, standing.conflict), (stands, conflict));
            }
            let of_track: Vec<Value> =
                messages.iter().filter(|message| message["subject"] == key.subject.as_str()).cloned().collect();
            prop_assert_eq!(heard(&of_track, &tape), stands, "what consumers hear last");
        }
        for message in &messages {
            let event = events.iter().find(|event| event.id == message["id"].as_str().unwrap()).unwrap();
            let own = message["data"].get("reported_outcome").unwrap_or(&message["outcome"]);
            prop_assert_eq!(own, &json!(event.outcome), "{:?}", message);
        }

        // If all rows and claims are lost, others may be approved, but no more.
        let standings = rebuild(&runtime, &events, &BTreeMap::new());
        let decided = standings.values().flat_map(|row| &row.decisions);
        let messages: Vec<Value> = decided
            .filter_map(|decision| {
                let event = events.iter().find(|event| event.id == decision.id)?;
                Some(json!(Message::new(event, decision.published.as_ref()?, MessageDetail::Reference)))
            })
            .collect();
        let approved_by = approved(&messages, &of_events);
        prop_assert!(approved_by.values().all(|credentials| credentials.len() == 1), "{:?}", approved_by);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_course_consumers_hear_the_truth(
        provider in prop_oneof![Just(SESSIONS), Just(PROCESSES), Just(VERIFICATIONS)],
        callbacks in callbacks(),
        faults in vec(any::<u8>(), 0..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let events = recorded(&runtime, provider, &callbacks);
        let tape = Tape(Mutex::new(faults.into()));
        let (messages, rows) = publish(&runtime, &events, &tape);

        let rows = rows.all();
        // All callbacks are about one track of one verification: the unrecognized ones too.
        prop_assert_eq!(rows.len(), 1);
        let (key, row) = rows.first_key_value().unwrap();
        let (stands, changes, conflict) = truth(&events);
        let standing = row.standing(now());
        prop_assert_eq!((standing.outcome, standing.conflict), (stands, conflict));
        prop_assert_eq!(heard(&messages, &tape), stands, "what consumers hear last");

        let mut by_id: BTreeMap<&str, &Value> = BTreeMap::new();
        for message in &messages {
            let id = message["id"].as_str().unwrap();
            prop_assert_eq!(*by_id.entry(id).or_insert(message), message, "one id with two bodies");
            prop_assert_eq!(message["data"]["track"].as_str(), Some(key.track.as_str()));
        }
        prop_assert!((1..=changes).contains(&by_id.len()), "{} messages of {} changes", by_id.len(), changes);
        let sequences: Vec<&Value> = by_id.values().map(|message| &message["sequence"]).collect();
        prop_assert!(sequences.iter().enumerate().all(|(n, one)| !sequences[n + 1..].contains(one)), "{:?}", sequences);

        // Each thing that was said reached the consumers, if only as late, and every conflict was announced.
        for event in &events {
            let told = by_id.values().any(|message| {
                let own = message["data"].get("reported_outcome").unwrap_or(&message["outcome"]);
                *own == json!(event.outcome)
            });
            prop_assert!(told, "nothing was heard of {:?}", event);
        }
        let announced = by_id.values().any(|message| message["data"]["conflict"] == true);
        prop_assert_eq!(announced, conflict);
        for message in by_id.values().filter(|message| message["data"]["late"] == true) {
            prop_assert_eq!(&message["outcome"], "none");
        }

        // The row is the same as if everything had come in its order.
        let mut in_time = events.clone();
        in_time.sort_by_key(|event| event.received_at);
        let mut expected = Course::default();
        for event in &in_time {
            expected.decide(event, now());
        }
        prop_assert!(without_decisions(row) == without_decisions(&expected));
    }
}

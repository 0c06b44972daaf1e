//! From the events table's stream to the queues: decides what to publish, and sends it.
//!
//! The stream is the outbox. For each recorded event, the publisher reads the row of its track,
//! decides what to publish (`model::Course`), writes the row, and then sends what the row says. An
//! event that the row already holds is sent again word for word. So a crash at any point, a retried
//! batch, or a second publisher beside this one never lose a message, and never send two different
//! ones under one id. Delivery is at least once.
//!
//! Before it decides, the publisher claims the proofs of an event, such as a wallet's tokens. The
//! first claim of a proof counts, and stays. So a crash between a claim and a row, and two
//! publishers at once, change nothing. A detail whose proof was claimed for something else is not
//! trusted.
//!
//! The call that reads the rows also reads which verifications are erased. For those, only
//! verdicts, references and codes are published, and their stored events are erased
//! (docs/adr/0018).
//!
//! Within a track, a later message is never sent before an earlier one was accepted, even if half
//! of a batch fails. So a call to SendMessageBatch never holds two messages of one track.
//!
//! Nothing blocks the stream forever. The publisher sets aside a record that it cannot read. After
//! half an hour, Lambda gives up an event whose row cannot be written or whose message SQS does not
//! accept. In both cases the queue `…-unpublished` gets its place, and `callbacks redrive`
//! publishes it (docs/adr/0009).

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join, join_all};
use model::{
    Claim, Course, CourseKey, Courses, DueChange, DueRule, Erasures, Message, MessageDetail, MessageQueue, NotSent,
    Proofs, Published, StoreError, StoredEvent, Timestamp, Written,
};
use runtime::{Quarantine, Record, chain, telemetry};
use tracing::{error, info, warn};

/// Stores decisions and publishes messages.
#[derive(Debug)]
pub struct Publisher<C, Q, U> {
    /// The courses of all tracks, the claims of proofs, and the list of erased verifications.
    pub courses: C,
    /// The FIFO queue for verdicts, and for everything else except deliveries.
    pub verifications: Q,
    /// The queue for passwords and links.
    pub deliveries: Q,
    /// The queue for records that this version cannot read.
    pub quarantine: U,
    /// What messages carry.
    pub detail: MessageDetail,
    /// When verdicts are due that were not announced, by provider.
    pub due: BTreeMap<String, DueRule>,
}

/// No decision on an event: a proof could not be claimed, or a row could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to decide what to publish")]
pub struct Undecided;

/// Which proofs of an event are claimed for something else.
#[derive(Debug, Clone, Default)]
struct Reused {
    /// Their places among the event's proofs.
    places: Vec<u16>,
    /// The events that claimed them.
    claimed_by: BTreeSet<String>,
}

/// How often a row is read again after another publisher wrote it. This happens only after a
/// redrive.
const MAX_ATTEMPTS: usize = 5;

/// How many proofs are claimed at once. A batch can have over a thousand, and a function may open
/// 1,024 files.
const CLAIMS_AT_ONCE: usize = 16;

impl<C: Courses + Proofs + Erasures, Q: MessageQueue, U: Quarantine> Publisher<C, Q, U> {
    /// Publishes a batch of inserts, and returns the sequence numbers of those that must be
    /// retried.
    ///
    /// A record that this version cannot read is set aside: a retry would not make it readable, and
    /// would block all later records.
    pub async fn publish(&self, records: Vec<Record>, now: Timestamp) -> Vec<String> {
        let (mut events, mut failed) = (Vec::new(), Vec::new());
        for Record { sequence_number, event } in records {
            match event {
                Ok(event) => events.push((sequence_number, event)),
                Err(unreadable) => {
                    error!(record.sequence_number = sequence_number, error = %unreadable, "failed to read a record");
                    match self.quarantine.set_aside(&unreadable).await {
                        Ok(()) => telemetry::set_aside(),
                        Err(error) => {
                            let error = chain(error.as_ref());
                            warn!(record.sequence_number = sequence_number, error, "not set aside");
                            failed.push(sequence_number);
                        }
                    }
                }
            }
        }
        let decided = self.decide_and_erase(&events.iter().map(|(_, event)| event).collect::<Vec<_>>(), now).await;
        let mut sending = Vec::new();
        for ((sequence_number, mut event), (decided, erased)) in events.into_iter().zip(decided) {
            if let Some(erased) = erased {
                if !event.is_erased() && !self.erase(&event, now).await {
                    failed.push(sequence_number.clone());
                }
                event = erased;
            }
            match decided {
                Ok(Some(published)) => sending.push((sequence_number, event, published)),
                Ok(None) => {}
                Err(Undecided) => failed.push(sequence_number),
            }
        }
        failed.extend(self.send(sending, now).await);
        failed
    }

    /// Erases the stored events of erased verifications. Returns false if it must be retried.
    async fn erase(&self, event: &StoredEvent, now: Timestamp) -> bool {
        let (id, kind) = (&event.id, &event.kind);
        match self.courses.erase(event, now).await {
            Ok(()) => info!(event.id = id, event.kind = kind, "erased, as its verification is"),
            Err(ref failure) => {
                warn!(event.id = id, event.kind = kind, error = chain(failure), "failed to erase an event");
                return false;
            }
        }
        true
    }

    /// Decides what to publish of each event, in order, and stores the decisions.
    pub async fn decide(&self, events: &[&StoredEvent], now: Timestamp) -> Vec<Result<Option<Published>, Undecided>> {
        self.decide_and_erase(events, now).await.into_iter().map(|(decided, _)| decided).collect()
    }

    /// The same, with what stays of each event whose verification is erased.
    async fn decide_and_erase(
        &self,
        events: &[&StoredEvent],
        now: Timestamp,
    ) -> Vec<(Result<Option<Published>, Undecided>, Option<StoredEvent>)> {
        let mut tracks: BTreeMap<CourseKey, Vec<usize>> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            tracks.entry(CourseKey::of(event)).or_default().push(place);
        }
        let keys: Vec<CourseKey> = tracks.keys().cloned().collect();
        let mut decided = vec![(Err(Undecided), None); events.len()];
        if keys.is_empty() {
            return decided;
        }
        let (courses, reused) = join(self.courses.read_with_erasures(&keys), self.claim(events)).await;
        let courses = match courses {
            Ok(courses) => courses,
            Err(failure) => {
                warn!(error = chain(&failure), "failed to read rows");
                return decided;
            }
        };
        let mut erased = vec![None; events.len()];
        let of_erased = tracks.values().zip(&courses).filter(|(_, (_, is_erased))| *is_erased);
        for place in of_erased.flat_map(|(places, _)| places) {
            if let (Some(erased), Some(event)) = (erased.get_mut(*place), events.get(*place)) {
                *erased = Some((*event).clone().erased(now));
            }
        }
        let of_tracks = tracks.values().zip(&keys).zip(courses).map(async |((places, key), (course, _))| {
            let with_reused = |place: &usize| {
                let event = erased.get(*place)?.as_ref().unwrap_or(*events.get(*place)?);
                Some((event, reused.get(*place)?.as_ref()?))
            };
            // If the proofs of one event could not be claimed, later events of its track wait too.
            match places.iter().map(with_reused).collect::<Option<Vec<_>>>() {
                Some(events) => (places, self.decide_track(key, course, &events, now).await),
                None => (places, Ok(Vec::new())),
            }
        });
        for (places, of_track) in join_all(of_tracks).await {
            match of_track {
                Ok(of_track) => {
                    for (place, published) in places.iter().zip(of_track) {
                        if let Some((decided, _)) = decided.get_mut(*place) {
                            *decided = Ok(published);
                        }
                    }
                }
                Err(failure) => warn!(error = chain(&failure), "failed to write a row"),
            }
        }
        decided.into_iter().zip(erased).map(|((decided, _), erased)| (decided, erased)).collect()
    }

    /// Claims the proofs of events, each for the first event that has it. Returns for each event
    /// which of them are claimed for something else; none if one could not be claimed.
    async fn claim(&self, events: &[&StoredEvent]) -> Vec<Option<Reused>> {
        let claims: Vec<Vec<Claim>> = events.iter().map(|event| event.claims().collect()).collect();
        let mut first: BTreeMap<&str, &Claim> = BTreeMap::new();
        for claim in claims.iter().flatten() {
            first.entry(&claim.proof).or_insert(claim);
        }
        let claim = async |(proof, claim): &(&str, &Claim)| match self.courses.claim(claim).await {
            Ok(claim) => Some(((*proof).to_owned(), claim)),
            Err(failure) => {
                warn!(error = chain(&failure), "failed to claim a proof");
                None
            }
        };
        let first: Vec<_> = first.into_iter().collect();
        let mut claimed: BTreeMap<String, Claim> = BTreeMap::new();
        for some in first.chunks(CLAIMS_AT_ONCE) {
            claimed.extend(join_all(some.iter().map(&claim)).await.into_iter().flatten());
        }
        let reused = |claims: &Vec<Claim>| {
            let mut reused = Reused::default();
            for (place, claim) in (0..).zip(claims) {
                let counts = claimed.get(claim.proof.as_str())?;
                if counts.holder != claim.holder {
                    reused.places.push(place);
                    reused.claimed_by.insert(counts.event_id.clone());
                }
            }
            Some(reused)
        };
        claims.iter().map(reused).collect()
    }

    /// Decides about the events of one track, with one write at most.
    async fn decide_track(
        &self,
        key: &CourseKey,
        mut course: Course,
        events: &[(&StoredEvent, &Reused)],
        now: Timestamp,
    ) -> Result<Vec<Option<Published>>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut next = course.clone();
            let rule = self.due.get(&key.provider).copied().unwrap_or_default();
            let decide = |(event, reused): &(&StoredEvent, &Reused)| {
                let decided = next.decide_without(event, &reused.places, now);
                if decided.is_new && event.is_erased() {
                    // The provider is not asked about it, because the answer would have to be
                    // erased too.
                    next.due = DueChange::Clear;
                } else if decided.is_new {
                    next.look_after(event, decided.published.as_ref(), rule, now);
                }
                decided
            };
            let decided: Vec<_> = events.iter().map(decide).collect();
            if decided.iter().all(|decided| !decided.is_new) {
                return Ok(decided.into_iter().map(|decided| decided.published).collect());
            }
            match self.courses.write(key, &next).await? {
                Written::Kept => {
                    let new = decided.iter().zip(events).filter(|(decided, _)| decided.is_new);
                    for (decided, (event, reused)) in new {
                        log_reuse(event, reused);
                        log_decision(event, decided.published.as_ref(), now);
                    }
                    return Ok(decided.into_iter().map(|decided| decided.published).collect());
                }
                Written::Overtaken => {
                    let read = self.courses.read(std::slice::from_ref(key)).await?;
                    course = read.into_iter().next().unwrap_or_default();
                }
            }
        }
        Err(StoreError("others write the row all the time".into()))
    }

    /// Sends the decided messages, and returns the sequence numbers of those that were not
    /// accepted. A password or link that has expired or was erased is no longer sent.
    pub async fn send(&self, decided: Vec<(String, StoredEvent, Published)>, now: Timestamp) -> Vec<String> {
        let (mut verifications, mut deliveries) = (Vec::new(), Vec::new());
        for (sequence_number, event, published) in decided {
            let message = Message::new(&event, &published, self.detail);
            if !event.is_delivery() {
                verifications.push((sequence_number, message));
            } else if event.is_erased() {
                warn!(event.id = event.id, event.kind = event.kind, "erased before it could be delivered");
            } else if event.expires_at > now.as_second() {
                deliveries.push((sequence_number, message));
            } else {
                warn!(event.id = event.id, event.kind = event.kind, "expired before it could be delivered");
            }
        }
        let mut failed = send(&self.verifications, verifications, now).await;
        failed.extend(send(&self.deliveries, deliveries, now).await);
        failed
    }
}

/// Logs and counts the details that are not trusted because their proofs are claimed for something
/// else, and logs the first event.
fn log_reuse(event: &StoredEvent, Reused { places, claimed_by }: &Reused) {
    for reason in event.reasons_without(places).into_iter().skip(event.reasons.len()) {
        warn!(event.id = event.id, event.kind = event.kind, reason, "token not trusted");
        telemetry::untrusted_token();
    }
    for id in claimed_by {
        warn!(event.id = id, "another event presented a token of this one");
    }
}

fn log_decision(event: &StoredEvent, published: Option<&Published>, now: Timestamp) {
    let (id, kind) = (&event.id, &event.kind);
    if published.is_some_and(|published| published.late) {
        info!(event.id = id, event.kind = kind, "late");
    }
    match published {
        Some(Published { conflict: true, outcome, .. }) => {
            warn!(event.id = id, event.kind = kind, event.outcome = outcome.as_str(), "final verdicts contradict");
        }
        Some(_) => {}
        None if event.is_delivery() && event.expires_at <= now.as_second() => {
            warn!(event.id = id, event.kind = kind, "expired before it could be delivered");
            return;
        }
        None => info!(event.id = id, event.kind = kind, "not news"),
    }
    telemetry::decided(published);
}

/// Sends messages in the order of their tracks' events, and returns the sequence numbers of those
/// that were not accepted.
async fn send<Q: MessageQueue>(queue: &Q, mut waiting: Vec<(String, Message)>, now: Timestamp) -> Vec<String> {
    let mut failed = Vec::new();
    let mut held_up = BTreeSet::new();
    while !waiting.is_empty() {
        let (sequence_numbers, batch) = next_batch::<Q>(&mut waiting);
        let results = queue.send(&batch).await;
        let unanswered = std::iter::repeat_with(|| Err(NotSent("no answer".to_owned())));
        for ((sequence_number, message), result) in
            sequence_numbers.into_iter().zip(batch).zip(results.into_iter().chain(unanswered))
        {
            let (id, kind) = (&message.id, &message.event_type);
            match result {
                Ok(()) => {
                    let age = now.duration_since(message.data.received_at).try_into().unwrap_or_default();
                    telemetry::published(id, age);
                }
                Err(not_sent) => {
                    warn!(event.id = id, message.r#type = kind, error = %not_sent, "not published");
                    telemetry::not_published();
                    failed.push(sequence_number);
                    held_up.insert(track(&message));
                }
            }
        }
        // Later messages of a blocked track wait until the batch is retried.
        waiting.retain(|(sequence_number, message)| {
            let goes_on = !held_up.contains(&track(message));
            if !goes_on {
                failed.push(sequence_number.clone());
            }
            goes_on
        });
    }
    failed
}

/// Takes the messages of the next call: the earliest of each track, and never two of one, because a
/// call may accept the second and not the first.
fn next_batch<Q: MessageQueue>(waiting: &mut Vec<(String, Message)>) -> (Vec<String>, Vec<Message>) {
    let mut tracks = BTreeSet::new();
    waiting.extract_if(.., |(_, message)| tracks.len() < Q::MAX_BATCH && tracks.insert(track(message))).unzip()
}

fn track(message: &Message) -> (String, String, String) {
    (message.data.provider.clone(), message.subject.clone(), message.data.track.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use model::{MemoryCourses, Proof};
    use runtime::{Error, Unreadable};

    use super::*;

    /// A queue that refuses some messages, and keeps the others by call.
    #[derive(Default)]
    struct Queue {
        refuses: Vec<&'static str>,
        answers_nothing: bool,
        calls: Mutex<Vec<Vec<String>>>,
        /// What each accepted message says.
        said: Mutex<Vec<String>>,
        /// The id and the payload of each accepted message.
        payloads: Mutex<Vec<(String, Option<String>)>>,
    }

    impl MessageQueue for Queue {
        async fn send(&self, batch: &[Message]) -> Vec<Result<(), NotSent>> {
            assert!(batch.len() <= Self::MAX_BATCH);
            if self.answers_nothing {
                return Vec::new();
            }
            let accepts = |message: &&Message| !self.refuses.contains(&message.id.as_str());
            let accepted = batch.iter().filter(accepts).map(|message| message.id.clone()).collect();
            self.calls.lock().unwrap().push(accepted);
            self.said.lock().unwrap().extend(batch.iter().filter(accepts).map(said));
            let payload = |message: &Message| message.data.payload.as_ref().map(ToString::to_string);
            let payloads = batch.iter().filter(accepts).map(|message| (message.id.clone(), payload(message)));
            self.payloads.lock().unwrap().extend(payloads);
            batch
                .iter()
                .map(|message| accepts(&message).then_some(()).ok_or_else(|| NotSent("refused".to_owned())))
                .collect()
        }
    }

    /// A message in short, such as `id review of approved: reason`.
    fn said(message: &Message) -> String {
        let own = message.data.reported_outcome.map(|own| format!(" of {}", own.as_str())).unwrap_or_default();
        let reasons: String = message.data.reasons.iter().map(|reason| format!(": {reason}")).collect();
        format!("{} {}{own}{reasons}", message.id, message.outcome.as_str())
    }

    /// A quarantine that keeps ids, unless it is closed.
    #[derive(Default)]
    struct Aside {
        is_closed: bool,
        ids: Mutex<Vec<String>>,
    }

    impl Quarantine for Aside {
        async fn set_aside(&self, unreadable: &Unreadable) -> Result<(), Error> {
            if self.is_closed {
                return Err("closed".into());
            }
            self.ids.lock().unwrap().push(unreadable.id.clone());
            Ok(())
        }
    }

    /// The record of an event whose id is its sequence number, after its subject.
    fn record(id: &str) -> Record {
        let event: StoredEvent = serde_json::from_value(serde_json::json!({
            "pk": id.split('-').next().unwrap(), "sk": id, "provider": "example", "source": "/callbacks/example",
            "kind": "example.kind", "track": "kind", "policy": "reopens", "outcome": "approved",
            "reasons": [], "assurance": "shared_secret", "received_at": "1970-01-01T00:00:00Z", "details": {},
            "body": [], "day": "1970-01-01#0", "expires_at": 200,
        }))
        .unwrap();
        Record { sequence_number: id.to_owned(), event: Ok(event) }
    }

    fn publisher<C: Courses + Proofs + Erasures>(courses: C, verifications: Queue) -> Publisher<C, Queue, Aside> {
        let (deliveries, quarantine) = (Queue::default(), Aside::default());
        Publisher {
            courses,
            verifications,
            deliveries,
            quarantine,
            detail: MessageDetail::Reference,
            due: BTreeMap::new(),
        }
    }

    /// Publishes records to two such queues at this second, and returns what is reported as failed
    /// and the calls accepted by each.
    fn publish(queue: Queue, records: Vec<Record>, second: i64) -> (Vec<String>, Vec<Vec<String>>, Vec<Vec<String>>) {
        let publisher = publisher(MemoryCourses::default(), queue);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let failed = runtime.block_on(publisher.publish(records, Timestamp::from_second(second).unwrap()));
        let calls = |queue: Queue| queue.calls.into_inner().unwrap();
        (failed, calls(publisher.verifications), calls(publisher.deliveries))
    }

    /// Publishes verdicts to a queue that refuses some, and compares the calls it accepted and what
    /// is reported as failed.
    #[track_caller]
    fn check(queue: Queue, records: Vec<Record>, calls: &[&[&str]], failed: &[&str]) {
        let (reported, accepted, _) = publish(queue, records, 0);
        assert_eq!(
            (reported, accepted),
            (
                failed.iter().map(|&id| id.to_owned()).collect(),
                calls.iter().map(|call| call.iter().map(|&id| id.to_owned()).collect()).collect()
            )
        );
    }

    #[test]
    fn ten_tracks_go_in_one_call() {
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        check(Queue::default(), ids.map(record).into(), &[&ids], &[]);
    }

    #[test]
    fn an_eleventh_message_goes_in_a_second_call() {
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        check(Queue::default(), ids.map(record).into(), &[&ids[..10], &["k"]], &[]);
    }

    #[test]
    fn two_events_of_a_track_go_in_two_calls() {
        let records = ["a-1", "a-2", "b-1", "a-3", "b-2"].map(record).into();
        check(Queue::default(), records, &[&["a-1", "b-1"], &["a-2", "b-2"], &["a-3"]], &[]);
    }

    #[test]
    fn a_refused_message_holds_up_the_later_ones_of_its_track_only() {
        let queue = Queue { refuses: vec!["a-1"], ..Queue::default() };
        let records = ["a-1", "a-2", "b-1", "a-3", "b-2"].map(record).into();
        check(queue, records, &[&["b-1"], &["b-2"]], &["a-1", "a-2", "a-3"]);
    }

    /// Publishes a readable, an unreadable and a readable record, and returns what is reported as
    /// failed and what is set aside.
    fn publish_with_poison(quarantine: Aside) -> (Vec<String>, Vec<String>) {
        let unreadable = Unreadable { subject: "subject".to_owned(), id: "id-of-p".to_owned() };
        let poison = Record { sequence_number: "p".to_owned(), event: Err(unreadable) };
        let publisher = Publisher { quarantine, ..publisher(MemoryCourses::default(), Queue::default()) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records = vec![record("a"), poison, record("b")];
        let failed = runtime.block_on(publisher.publish(records, Timestamp::UNIX_EPOCH));
        assert_eq!(*publisher.verifications.calls.lock().unwrap(), [["a", "b"]]);
        (failed, publisher.quarantine.ids.into_inner().unwrap())
    }

    #[test]
    fn an_unreadable_record_is_set_aside_and_the_others_are_published() {
        assert_eq!(publish_with_poison(Aside::default()), (vec![], vec!["id-of-p".to_owned()]));
    }

    #[test]
    fn an_unreadable_record_that_cannot_be_set_aside_is_reported() {
        let closed = Aside { is_closed: true, ..Aside::default() };
        assert_eq!(publish_with_poison(closed), (vec!["p".to_owned()], vec![]));
    }

    #[test]
    fn a_call_without_an_answer_is_a_failure_of_all() {
        let queue = Queue { answers_nothing: true, ..Queue::default() };
        check(queue, ["a-1", "b-1", "a-2"].map(record).into(), &[], &["a-1", "b-1", "a-2"]);
    }

    #[test]
    fn a_message_taken_out_keeps_the_order_of_the_rest() {
        let records: Vec<Record> = (0..25).map(|n| record(&format!("{}-{n:02}", ["a", "b", "c"][n % 3]))).collect();
        let (failed, calls, _) = publish(Queue::default(), records, 0);
        assert!(failed.is_empty());
        let sent: Vec<String> = calls.concat();
        for subject in ["a", "b", "c"] {
            let of_subject: Vec<_> = sent.iter().filter(|id| id.starts_with(subject)).collect();
            assert!(of_subject.is_sorted(), "{of_subject:?}");
        }
        assert_eq!(sent.len(), 25);
    }

    /// Rows that fail when they are read or written, or that somebody else writes first so many
    /// times.
    #[derive(Default)]
    struct Rows {
        kept: MemoryCourses,
        fail_to_read: bool,
        fail_to_write: bool,
        overtaken: Mutex<usize>,
        reads: Mutex<usize>,
        writes: Mutex<usize>,
        fail_to_claim: Mutex<Option<&'static str>>,
        fail_to_erase: bool,
        /// The proofs that were claimed.
        claims: Mutex<Vec<String>>,
    }

    impl Courses for Rows {
        async fn read(&self, keys: &[CourseKey]) -> Result<Vec<Course>, StoreError> {
            *self.reads.lock().unwrap() += 1;
            if self.fail_to_read { Err(StoreError("gone".into())) } else { self.kept.read(keys).await }
        }

        async fn write(&self, key: &CourseKey, course: &Course) -> Result<Written, StoreError> {
            *self.writes.lock().unwrap() += 1;
            if self.fail_to_write {
                return Err(StoreError("gone".into()));
            }
            if let Some(left) = { *self.overtaken.lock().unwrap() }.checked_sub(1) {
                *self.overtaken.lock().unwrap() = left;
                return Ok(Written::Overtaken);
            }
            self.kept.write(key, course).await
        }

        async fn of_verification(&self, _: &str, _: &str) -> Result<Vec<(String, Course)>, StoreError> {
            Ok(Vec::new())
        }
    }

    impl Erasures for Rows {
        async fn read_with_erasures(&self, keys: &[CourseKey]) -> Result<Vec<(Course, bool)>, StoreError> {
            self.read(keys).await?;
            self.kept.read_with_erasures(keys).await
        }

        async fn erase(&self, event: &StoredEvent, now: Timestamp) -> Result<(), StoreError> {
            if self.fail_to_erase { Err(StoreError("gone".into())) } else { self.kept.erase(event, now).await }
        }
    }

    impl Proofs for Rows {
        async fn claim(&self, claim: &Claim) -> Result<Claim, StoreError> {
            self.claims.lock().unwrap().push(claim.proof.clone());
            if *self.fail_to_claim.lock().unwrap() == Some(claim.proof.as_str()) {
                return Err(StoreError("gone".into()));
            }
            self.kept.claim(claim).await
        }
    }

    /// Publishes ten events of ten tracks with such rows, and returns how many failed, reads,
    /// writes and calls.
    fn publish_ten(rows: Rows) -> (usize, usize, usize, usize) {
        let publisher = publisher(rows, Queue::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(record).into();
        let failed = runtime.block_on(publisher.publish(records, Timestamp::UNIX_EPOCH)).len();
        let calls = publisher.verifications.calls.into_inner().unwrap().len();
        let count = |count: Mutex<usize>| count.into_inner().unwrap();
        (failed, count(publisher.courses.reads), count(publisher.courses.writes), calls)
    }

    #[test]
    fn ten_events_of_ten_tracks_take_one_read_ten_writes_and_one_call() {
        assert_eq!(publish_ten(Rows::default()), (0, 1, 10, 1));
    }

    #[test]
    fn several_events_of_a_track_take_one_write() {
        let publisher = publisher(Rows::default(), Queue::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records = ["a-1", "a-2", "a-3"].map(record).into();
        assert!(runtime.block_on(publisher.publish(records, Timestamp::UNIX_EPOCH)).is_empty());
        assert_eq!(*publisher.courses.writes.lock().unwrap(), 1);
    }

    #[test]
    fn without_its_row_no_event_is_published() {
        assert_eq!(publish_ten(Rows { fail_to_read: true, ..Rows::default() }), (10, 1, 0, 0));
        assert_eq!(publish_ten(Rows { fail_to_write: true, ..Rows::default() }), (10, 1, 10, 0));
    }

    #[test]
    fn whoever_is_overtaken_reads_and_decides_again() {
        assert_eq!(publish_ten(Rows { overtaken: Mutex::new(3), ..Rows::default() }), (0, 4, 13, 1));
        let (failed, ..) = publish_ten(Rows { overtaken: Mutex::new(1000), ..Rows::default() });
        assert_eq!(failed, 10);
    }

    /// The record of an event that rests on these proofs, each for a detail of its own.
    fn resting_on(id: &str, proofs: &[&str]) -> Record {
        let Record { sequence_number, event } = record(id);
        let proof =
            |(n, id): (usize, &&str)| Proof { what: "token".to_owned(), id: (*id).to_owned(), detail: format!("/{n}") };
        let proofs = proofs.iter().enumerate().map(proof).collect();
        Record { sequence_number, event: event.map(|event| StoredEvent { proofs, ..event }) }
    }

    /// Publishes batches one after the other, and returns of each what was said and which records
    /// failed.
    fn publish_batches(publisher: &Publisher<Rows, Queue, Aside>, batches: Vec<Vec<Record>>) -> Vec<[Vec<String>; 2]> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let publish = |batch| {
            let failed = runtime.block_on(publisher.publish(batch, Timestamp::UNIX_EPOCH));
            [std::mem::take(&mut *publisher.verifications.said.lock().unwrap()), failed]
        };
        batches.into_iter().map(publish).collect()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn of_two_events_that_rest_on_one_proof_the_first_is_approved_and_the_other_is_for_a_human() {
        let (one, other) = (|| resting_on("a-1", &["p"]), || resting_on("b-1", &["q", "p"]));
        let said = publish_batches(&publisher(Rows::default(), Queue::default()), vec![vec![one(), other()]]);
        assert_eq!(said, [[texts(&["a-1 approved", "b-1 review of approved: token_reused"]), vec![]]]);
        // In the other order, and whatever comes again says the same.
        let batches = vec![vec![other(), one()], vec![one(), other()], vec![one()], vec![other()]];
        let said = publish_batches(&publisher(Rows::default(), Queue::default()), batches);
        let said: Vec<Vec<String>> = said.into_iter().map(|[said, _]| said).collect();
        let (approved, for_a_human) = ("b-1 approved", "a-1 review of approved: token_reused");
        assert_eq!(
            said,
            [
                texts(&[approved, for_a_human]),
                texts(&[for_a_human, approved]),
                texts(&[for_a_human]),
                texts(&[approved])
            ]
        );
    }

    #[test]
    fn the_same_verification_may_rest_on_its_proof_again() {
        let batches = ["a-1", "a-2", "a-1"].map(|id| vec![resting_on(id, &["p"])]).into();
        let said = publish_batches(&publisher(Rows::default(), Queue::default()), batches);
        assert_eq!(said, ["a-1 approved", "a-2 approved", "a-1 approved"].map(|said| [texts(&[said]), vec![]]));
    }

    #[test]
    fn without_a_claim_its_track_waits_and_the_others_go_on() {
        let publisher = publisher(Rows::default(), Queue::default());
        let batch = || vec![record("a-1"), resting_on("a-2", &["q", "p"]), record("b"), resting_on("c", &["r"])];
        *publisher.courses.fail_to_claim.lock().unwrap() = Some("p");
        let said = publish_batches(&publisher, vec![batch()]);
        assert_eq!(said, [[texts(&["b approved", "c approved"]), texts(&["a-1", "a-2"])]]);
        *publisher.courses.fail_to_claim.lock().unwrap() = None;
        let said = publish_batches(&publisher, vec![batch()]);
        assert_eq!(said, [[texts(&["a-1 approved", "b approved", "c approved", "a-2 approved"]), vec![]]]);
    }

    #[test]
    fn each_proof_is_claimed_once_in_a_batch_and_none_where_there_are_none() {
        let publisher = publisher(Rows::default(), Queue::default());
        publish_batches(&publisher, vec![vec![record("a"), record("b")]]);
        assert_eq!(*publisher.courses.claims.lock().unwrap(), texts(&[]));
        publish_batches(&publisher, vec![vec![resting_on("a", &["p", "q"]), resting_on("b", &["p"])]]);
        assert_eq!(*publisher.courses.claims.lock().unwrap(), ["p", "q"]);
    }

    #[test]
    fn a_batch_that_comes_again_is_sent_again_word_for_word() {
        let publisher = publisher(MemoryCourses::default(), Queue { answers_nothing: true, ..Queue::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let events: Vec<StoredEvent> = ["a-1", "a-2", "b"].map(|id| record(id).event.unwrap()).into();
        let decide = |second| {
            let events: Vec<&StoredEvent> = events.iter().collect();
            runtime.block_on(publisher.decide(&events, Timestamp::from_second(second).unwrap()))
        };
        let first = decide(1);
        assert!(first.iter().all(|decided| matches!(decided, Ok(Some(_)))));
        assert_eq!(decide(100), first);
    }

    #[test]
    fn a_delivery_goes_to_its_own_queue_until_it_expires() {
        let delivery = || {
            let Record { sequence_number, event } = record("d");
            Record {
                sequence_number,
                event: event.map(|event| StoredEvent { perishable: true, expires_at: 100, ..event }),
            }
        };
        let in_time = publish(Queue::default(), vec![record("v"), delivery()], 99);
        assert_eq!(in_time, (vec![], vec![vec!["v".to_owned()]], vec![vec!["d".to_owned()]]));
        let late = publish(Queue::default(), vec![record("v"), delivery()], 100);
        assert_eq!(late, (vec![], vec![vec!["v".to_owned()]], vec![]));
    }

    #[test]
    fn a_perishable_that_was_not_understood_is_no_delivery() {
        let Record { sequence_number, event } = record("u");
        let event =
            event.map(|event| StoredEvent { perishable: true, unrecognized: Some("not_json".to_owned()), ..event });
        let (_, verifications, deliveries) = publish(Queue::default(), vec![Record { sequence_number, event }], 0);
        assert_eq!((verifications.len(), deliveries.len()), (1, 0));
    }

    /// A batch with two verdicts and a delivery of a verification that is erased, one of them
    /// without anything to erase, and a verdict of another verification. Each has a payload, and a
    /// verdict that is not final.
    fn of_an_erased_verification(rows: Rows) -> (Vec<String>, Publisher<Rows, Queue, Aside>) {
        rows.kept.list_as_erased("example", "e");
        let detail = MessageDetail::Full;
        let after = Some(Timestamp::from_second(60).unwrap().duration_since(Timestamp::UNIX_EPOCH));
        let due = BTreeMap::from([("example".to_owned(), DueRule { after, can_be_asked: true })]);
        let publisher = Publisher { detail, due, ..publisher(rows, Queue::default()) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records = ["e-1", "e-2", "e-d", "o"].map(|id| {
            let Record { sequence_number, event } = record(id);
            let event = event.map(|event| {
                let (body, recipient) = (b"\"payload\"".to_vec(), Some("recipient".to_owned()));
                let event = StoredEvent { body, recipient, perishable: id == "e-d", ..event };
                if id == "e-2" { event.erased(Timestamp::UNIX_EPOCH) } else { event }
            });
            Record { sequence_number, event }
        });
        let failed = runtime.block_on(publisher.publish(records.into(), Timestamp::UNIX_EPOCH));
        (failed, publisher)
    }

    #[test]
    fn of_an_erased_verification_the_verdict_is_published_and_nothing_else() {
        let (failed, publisher) = of_an_erased_verification(Rows::default());
        assert_eq!(failed, texts(&[]));
        let payloads = publisher.verifications.payloads.into_inner().unwrap();
        let expected = [("e-1", None), ("o", Some("\"payload\"")), ("e-2", None)];
        assert_eq!(payloads, expected.map(|(id, payload)| (id.to_owned(), payload.map(str::to_owned))));
        assert!(publisher.deliveries.calls.into_inner().unwrap().is_empty(), "no password is delivered");
        let rows = publisher.courses;
        // Only what holds something is erased, and with the one read that there is anyway.
        assert_eq!(
            (rows.kept.erased(), rows.reads.into_inner().unwrap()),
            (["e-1", "e-d"].map(str::to_owned).into(), 1)
        );
        for (key, course) in rows.kept.all() {
            let recipients = course.decisions.iter().filter(|decision| decision.recipient.is_some()).count();
            assert_eq!(recipients, usize::from(key.subject == "o"), "{key:?}");
        }
    }

    #[test]
    fn nobody_asks_about_an_erased_verification() {
        let (_, publisher) = of_an_erased_verification(Rows::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let later = Timestamp::from_second(1_000).unwrap();
        let due = runtime.block_on(model::Dues::due(&publisher.courses.kept, 0, later, 10)).unwrap();
        let subjects: Vec<&str> = due.iter().map(|key| key.subject.as_str()).collect();
        assert_eq!(subjects, ["o"]);
    }

    #[test]
    fn what_cannot_be_erased_comes_again_and_is_told_without_its_payload() {
        let (failed, publisher) = of_an_erased_verification(Rows { fail_to_erase: true, ..Rows::default() });
        assert_eq!(failed, ["e-1", "e-d"]);
        let payloads = publisher.verifications.payloads.into_inner().unwrap();
        assert_eq!(payloads.iter().filter(|(_, payload)| payload.is_some()).count(), 1);
    }
}

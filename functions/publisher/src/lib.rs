//! From the events table's stream to the queues: what is news becomes a message.
//!
//! The stream is the outbox. For each recorded event, the publisher reads the row of its track, decides what to publish
//! (`model::Course`), writes the row, and then sends what the row says. An event that the row already holds is sent
//! again word for word. So a crash at any point, a batch that comes again, or a second publisher beside this one never
//! lose a message, and never send two different ones under one id. Delivery is at least once.
//!
//! Within a track, a later message is never sent before an earlier one was accepted, even if half of a batch fails.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use model::{
    Course, CourseKey, Courses, Message, MessageDetail, MessageQueue, NotSent, Published, StoreError, StoredEvent,
    Timestamp, Written,
};
use runtime::{Quarantine, Record, chain, telemetry};
use tracing::{error, info, warn};

/// Where decisions are kept, where messages go, and what they carry.
#[derive(Debug)]
pub struct Publisher<C, Q, U> {
    /// The courses of all tracks.
    pub courses: C,
    /// The FIFO queue for verdicts, and for everything else that is no delivery.
    pub verifications: Q,
    /// The queue for passwords and links to be delivered.
    pub deliveries: Q,
    /// Where records are put that this version cannot read.
    pub quarantine: U,
    /// What messages carry.
    pub detail: MessageDetail,
}

/// It could not be decided what to publish of an event, because its row could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to decide what to publish")]
pub struct Undecided;

/// How often a row is read again after somebody else wrote it. Publishers of one track meet only after a redrive.
const MAX_ATTEMPTS: usize = 5;

impl<C: Courses, Q: MessageQueue, U: Quarantine> Publisher<C, Q, U> {
    /// Publishes a batch of inserts, and returns the sequence numbers of those that have to come again.
    ///
    /// A record that this version cannot read is set aside: trying again would not make it readable, and would hold up
    /// all that come after it.
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
        let decided = self.decide(&events.iter().map(|(_, event)| event).collect::<Vec<_>>(), now).await;
        let mut sending = Vec::new();
        for ((sequence_number, event), decided) in events.into_iter().zip(decided) {
            match decided {
                Ok(Some(published)) => sending.push((sequence_number, event, published)),
                Ok(None) => {}
                Err(Undecided) => failed.push(sequence_number),
            }
        }
        failed.extend(self.send(sending, now).await);
        failed
    }

    /// Decides what to publish of each event, in their order, and keeps the decisions.
    pub async fn decide(&self, events: &[&StoredEvent], now: Timestamp) -> Vec<Result<Option<Published>, Undecided>> {
        let mut tracks: BTreeMap<CourseKey, Vec<usize>> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            tracks.entry(CourseKey::of(event)).or_default().push(place);
        }
        let keys: Vec<CourseKey> = tracks.keys().cloned().collect();
        let mut decided = vec![Err(Undecided); events.len()];
        if keys.is_empty() {
            return decided;
        }
        let courses = match self.courses.read(&keys).await {
            Ok(courses) => courses,
            Err(failure) => {
                warn!(error = chain(&failure), "failed to read rows");
                return decided;
            }
        };
        let of_tracks = tracks.values().zip(&keys).zip(courses).map(async |((places, key), course)| {
            let events: Vec<&StoredEvent> = places.iter().filter_map(|place| events.get(*place).copied()).collect();
            (places, self.decide_track(key, course, &events, now).await)
        });
        for (places, of_track) in join_all(of_tracks).await {
            match of_track {
                Ok(of_track) => {
                    for (place, published) in places.iter().zip(of_track) {
                        if let Some(decided) = decided.get_mut(*place) {
                            *decided = Ok(published);
                        }
                    }
                }
                Err(failure) => warn!(error = chain(&failure), "failed to write a row"),
            }
        }
        decided
    }

    /// Decides about the events of one track, with one write at most.
    async fn decide_track(
        &self,
        key: &CourseKey,
        mut course: Course,
        events: &[&StoredEvent],
        now: Timestamp,
    ) -> Result<Vec<Option<Published>>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut next = course.clone();
            let decided: Vec<_> = events.iter().map(|event| next.decide(event, now)).collect();
            if decided.iter().all(|decided| !decided.is_new) {
                return Ok(decided.into_iter().map(|decided| decided.published).collect());
            }
            match self.courses.write(key, &next).await? {
                Written::Kept => {
                    for (decided, event) in decided.iter().zip(events).filter(|(decided, _)| decided.is_new) {
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

    /// Sends what was decided, and returns the sequence numbers of those that were not accepted. A password or link that
    /// has expired is not sent any more.
    pub async fn send(&self, decided: Vec<(String, StoredEvent, Published)>, now: Timestamp) -> Vec<String> {
        let (mut verifications, mut deliveries) = (Vec::new(), Vec::new());
        for (sequence_number, event, published) in decided {
            let message = Message::new(&event, &published, self.detail);
            if !event.is_delivery() {
                verifications.push((sequence_number, message));
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

fn log_decision(event: &StoredEvent, published: Option<&Published>, now: Timestamp) {
    let (id, kind) = (&event.id, &event.kind);
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

/// Sends messages in the order of their tracks' events, and returns the sequence numbers of those that were not accepted.
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
                    info!(event.id = id, message.r#type = kind, "published");
                    let age = now.duration_since(message.data.received_at).try_into().unwrap_or_default();
                    telemetry::published(&message.data.provider, message.kind(), age);
                }
                Err(not_sent) => {
                    warn!(event.id = id, message.r#type = kind, error = %not_sent, "not published");
                    telemetry::not_published(&message.data.provider);
                    failed.push(sequence_number);
                    held_up.insert(track(&message));
                }
            }
        }
        // Later messages of a track that is held up wait until the batch comes again.
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

/// Takes the messages of the next call: the earliest of each track, and no two of one, since a call may accept the second of
/// two and not the first.
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

    use model::MemoryCourses;
    use runtime::{Error, Unreadable};

    use super::*;

    /// A queue that refuses some messages, and keeps the others by call.
    #[derive(Default)]
    struct Queue {
        refuses: Vec<&'static str>,
        answers_nothing: bool,
        calls: Mutex<Vec<Vec<String>>>,
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
            batch
                .iter()
                .map(|message| accepts(&message).then_some(()).ok_or_else(|| NotSent("refused".to_owned())))
                .collect()
        }
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

    fn publisher<C: Courses>(courses: C, verifications: Queue) -> Publisher<C, Queue, Aside> {
        let (deliveries, quarantine) = (Queue::default(), Aside::default());
        Publisher { courses, verifications, deliveries, quarantine, detail: MessageDetail::Reference }
    }

    /// Publishes records to two such queues at this second, and returns what is reported as failed and the calls accepted by each.
    fn publish(queue: Queue, records: Vec<Record>, second: i64) -> (Vec<String>, Vec<Vec<String>>, Vec<Vec<String>>) {
        let publisher = publisher(MemoryCourses::default(), queue);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let failed = runtime.block_on(publisher.publish(records, Timestamp::from_second(second).unwrap()));
        let calls = |queue: Queue| queue.calls.into_inner().unwrap();
        (failed, calls(publisher.verifications), calls(publisher.deliveries))
    }

    /// Publishes verdicts to a queue that refuses some, and compares the calls it accepted and what is reported as failed.
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

    /// Publishes a readable, an unreadable and a readable record, and returns what is reported as failed and what is set aside.
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

    /// Rows that fail when they are read or written, or that somebody else writes first so many times.
    #[derive(Default)]
    struct Rows {
        kept: MemoryCourses,
        fail_to_read: bool,
        fail_to_write: bool,
        overtaken: Mutex<usize>,
        reads: Mutex<usize>,
        writes: Mutex<usize>,
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

    /// Publishes ten events of ten tracks with such rows, and returns how many failed, reads, writes and calls.
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
}

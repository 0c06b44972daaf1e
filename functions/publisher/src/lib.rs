//! From the events table's stream to the queues: each inserted event becomes a message.
//!
//! The stream is the outbox. Within a subject, a later event is never sent before an earlier one was accepted, also when half
//! of a batch fails. Delivery is at least once: a batch that is handed over again is sent again, under the same ids.

use std::collections::BTreeSet;

use model::{Message, MessageDetail, MessageQueue, NotSent, Timestamp};
use runtime::{Quarantine, Record, chain, telemetry};
use tracing::{error, info, warn};

/// Where messages go, and what they carry.
#[derive(Debug)]
pub struct Publisher<Q, U> {
    /// The FIFO queue for verdicts, and for everything else that is no delivery.
    pub verifications: Q,
    /// The queue for passwords and links to be delivered.
    pub deliveries: Q,
    /// Where records are put that this version cannot read.
    pub quarantine: U,
    /// What messages carry.
    pub detail: MessageDetail,
}

impl<Q: MessageQueue, U: Quarantine> Publisher<Q, U> {
    /// Publishes a batch of inserts, and returns the sequence numbers of those that were not accepted.
    ///
    /// A password or link that has expired meanwhile is not sent any more. A record that this version cannot read is set aside: trying again would not make it
    /// readable, and would hold up all that come after it.
    pub async fn publish(&self, records: Vec<Record>, now: Timestamp) -> Vec<String> {
        let mut failed = Vec::new();
        let (mut verifications, mut deliveries) = (Vec::new(), Vec::new());
        for Record { sequence_number, event } in records {
            let event = match event {
                Ok(event) => event,
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
                    continue;
                }
            };
            if !event.is_delivery() {
                verifications.push((sequence_number, Message::new(&event, self.detail)));
            } else if event.expires_at > now.as_second() {
                deliveries.push((sequence_number, Message::new(&event, self.detail)));
            } else {
                warn!(event.id = event.id, event.kind = event.kind, "expired before it could be delivered");
            }
        }
        failed.extend(send(&self.verifications, verifications, now).await);
        failed.extend(send(&self.deliveries, deliveries, now).await);
        failed
    }
}

/// Sends messages in order of their subjects' events, and returns the sequence numbers of those that were not accepted.
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
                    held_up.insert(message.group_id());
                }
            }
        }
        // What comes later of a subject that is held up waits for the next delivery of the batch.
        waiting.retain(|(sequence_number, message)| {
            let goes_on = !held_up.contains(&message.group_id());
            if !goes_on {
                failed.push(sequence_number.clone());
            }
            goes_on
        });
    }
    failed
}

/// Takes the messages of the next call: the earliest of each subject, and no two of one, since a call may accept the second of
/// two and not the first.
fn next_batch<Q: MessageQueue>(waiting: &mut Vec<(String, Message)>) -> (Vec<String>, Vec<Message>) {
    let mut groups = BTreeSet::new();
    waiting.extract_if(.., |(_, message)| groups.len() < Q::MAX_BATCH && groups.insert(message.group_id())).unzip()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use model::StoredEvent;
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
            "kind": "example.kind", "outcome": "approved", "reasons": [], "assurance": "shared_secret",
            "received_at": "2026-01-31T00:00:00Z", "details": {}, "body": [], "day": "2026-01-31#0", "expires_at": 0,
        }))
        .unwrap();
        Record { sequence_number: id.to_owned(), event: Ok(event) }
    }

    /// Publishes records to two such queues at this second, and returns what is reported as failed and the calls accepted by each.
    fn publish(queue: Queue, records: Vec<Record>, second: i64) -> (Vec<String>, Vec<Vec<String>>, Vec<Vec<String>>) {
        let publisher = Publisher {
            verifications: queue,
            deliveries: Queue::default(),
            quarantine: Aside::default(),
            detail: MessageDetail::Reference,
        };
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
    fn ten_subjects_go_in_one_call() {
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        check(Queue::default(), ids.map(record).into(), &[&ids], &[]);
    }

    #[test]
    fn an_eleventh_message_goes_in_a_second_call() {
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        check(Queue::default(), ids.map(record).into(), &[&ids[..10], &["k"]], &[]);
    }

    #[test]
    fn two_events_of_a_subject_go_in_two_calls() {
        let records = ["a-1", "a-2", "b-1", "a-3", "b-2"].map(record).into();
        check(Queue::default(), records, &[&["a-1", "b-1"], &["a-2", "b-2"], &["a-3"]], &[]);
    }

    #[test]
    fn a_refused_message_holds_up_the_later_ones_of_its_subject_only() {
        let queue = Queue { refuses: vec!["a-1"], ..Queue::default() };
        let records = ["a-1", "a-2", "b-1", "a-3", "b-2"].map(record).into();
        check(queue, records, &[&["b-1"], &["b-2"]], &["a-1", "a-2", "a-3"]);
    }

    /// Publishes a readable, an unreadable and a readable record, and returns what is reported as failed and what is set aside.
    fn publish_with_poison(quarantine: Aside) -> (Vec<String>, Vec<String>) {
        let unreadable = Unreadable { subject: "subject".to_owned(), id: "id-of-p".to_owned() };
        let poison = Record { sequence_number: "p".to_owned(), event: Err(unreadable) };
        let (verifications, deliveries) = (Queue::default(), Queue::default());
        let publisher = Publisher { verifications, deliveries, quarantine, detail: MessageDetail::Reference };
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

//! Whether what was answered, stored and received fits together.

use std::collections::{BTreeMap, HashMap, HashSet};

use cli::sample::ExpectedEvent;
use model::{Message, Published, Timestamp};
use serde::Serialize;
use serde_json::json;
use wallet_verification::token::Untrusted;

use super::{
    found::{Found, Stored},
    receive::Received,
    send::{Sent, Verdict, acknowledged},
    standing,
};

/// What was answered, stored and received, held against each other. Of events: an event's copies count as one.
#[derive(Debug, Default, Serialize)]
pub struct Reconciliation {
    /// Events of authentic callbacks that were sent.
    pub sent: usize,
    /// Those of which a callback was acknowledged.
    pub acknowledged: usize,
    /// Those of which none was. They may be stored all the same.
    pub not_acknowledged: usize,
    /// Events in the table.
    pub stored: usize,
    /// Events that came out of a queue.
    pub received: usize,
    /// Tracks of verifications whose row, answer of the API and last message were compared with what is stored.
    pub compared: usize,
    /// Messages that came again, under the id they had before. Consumers have to bear that.
    pub repeated_messages: usize,
    /// Callbacks that were stored without a verdict on their tokens, because the keys were unavailable (docs/adr/0007).
    pub without_keys: usize,
    /// Messages that came after one of their verification whose callback came later. An event that was spilled comes so (docs/adr/0008).
    pub out_of_order: usize,
    /// Whatever must not be.
    pub offences: Vec<Offence>,
}

/// What must not be, with whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offence {
    /// What it is.
    pub kind: OffenceKind,
    /// What exactly.
    pub what: String,
    /// The event, or what a forged callback would have become, or where a track should stand.
    pub event: ExpectedEvent,
}

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OffenceKind {
    /// What was acknowledged is not there.
    Lost,
    /// A forged callback left something behind.
    Forged,
    /// There is more than was sent, or two different messages under one id.
    Doubled,
    /// An authentic callback was refused for good.
    Refused,
    /// There is something that nobody sent.
    Unexpected,
    /// A verification does not stand where its callbacks leave it, or a message differs from its row.
    Standing,
}

impl OffenceKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Lost, Self::Forged, Self::Doubled, Self::Refused, Self::Unexpected, Self::Standing];

    /// What it is, in words.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Forged => "forged, and taken in",
            Self::Doubled => "doubled",
            Self::Refused => "authentic, and refused",
            Self::Unexpected => "never sent",
            Self::Standing => "stands wrong",
        }
    }
}

impl Reconciliation {
    /// Holds what was sent against what is in the tables, what the API says, and what came out of the queues.
    pub(crate) fn new(sent: &[Sent], found: &[Found], received: &[Received], now: Timestamp) -> Self {
        let mut this = Self::default();
        let stored = || found.iter().flat_map(|found| &found.stored);
        let all_events = sent.iter().map(|sent| &sent.event).chain(stored().map(|stored| &stored.event));
        let all_events = unique(all_events.chain(received.iter().map(|received| &received.event)));
        // Without keys, only verification and kind of an event can be foretold: how many of them stand for one that was
        // sent, and how many there may be.
        let mut without_keys: HashMap<(&str, &str), usize> = HashMap::new();
        for stored in stored().filter(|stored| lacks_keys(&stored.event)) {
            *without_keys.entry(of_kind(&stored.event)).or_default() += 1;
        }
        let mut attempts: HashMap<(&str, &str), usize> = HashMap::new();
        for sent in sent.iter().filter(|sent| !sent.is_forged) {
            *attempts.entry(of_kind(&sent.event)).or_default() += sent.attempts.len();
        }
        this.without_keys = without_keys.values().sum();
        let by_subject: HashMap<&str, &Found> = found.iter().map(|found| (found.subject.as_str(), found)).collect();
        let sent = grouped(sent.iter(), |sent| &sent.event);
        let stored = grouped(stored(), |stored| &stored.event);
        let messages = grouped(received.iter(), |received| &received.event);
        for event in all_events {
            let traces = Traces {
                found: by_subject.get(event.subject.as_str()).copied(),
                stored: stored.get(event).map(Vec::as_slice).unwrap_or_default(),
                received: messages.get(event).map(Vec::as_slice).unwrap_or_default(),
            };
            let offences = match sent.get(event) {
                Some(sent) if sent.iter().all(|sent| sent.is_forged) => of_forged(sent, &traces),
                Some(sent) => {
                    this.count(sent, &traces);
                    let missing = acknowledged(sent).saturating_sub(traces.stored.len());
                    let without_keys = without_keys.entry(of_kind(event)).or_default();
                    let lost = missing.saturating_sub(*without_keys);
                    *without_keys = without_keys.saturating_sub(missing);
                    of_authentic(sent, lost, sent.iter().map(|sent| sent.attempts.len()).sum(), &traces)
                }
                None => match attempts.get(&of_kind(event)) {
                    Some(attempts) if lacks_keys(event) => of_authentic(&[], 0, *attempts, &traces),
                    _ => vec![(OffenceKind::Unexpected, "in the table or a queue, but never sent")],
                },
            };
            let offence =
                |(kind, what): (OffenceKind, &str)| Offence { kind, what: what.to_owned(), event: event.clone() };
            this.offences.extend(offences.into_iter().map(offence));
        }
        this.compare(found, received, now);
        this.out_of_order = out_of_order(received);
        this.offences.sort_by(|one, other| (one.kind, &one.event.subject).cmp(&(other.kind, &other.event.subject)));
        this
    }

    /// How many offences there are of a kind.
    #[must_use]
    pub fn count_of(&self, kind: OffenceKind) -> usize {
        self.offences.iter().filter(|offence| offence.kind == kind).count()
    }

    fn count(&mut self, sent: &[&Sent], traces: &Traces<'_>) {
        self.sent += 1;
        *(if acknowledged(sent) > 0 { &mut self.acknowledged } else { &mut self.not_acknowledged }) += 1;
        self.stored += usize::from(!traces.stored.is_empty());
        self.received += usize::from(!traces.received.is_empty());
        self.repeated_messages += traces.received.len() - traces.messages().len();
    }

    fn compare(&mut self, found: &[Found], received: &[Received], now: Timestamp) {
        let mut messages: HashMap<&str, Vec<&Received>> = HashMap::new();
        for received in received {
            messages.entry(&received.event.subject).or_default().push(received);
        }
        for found in found {
            let received = messages.get(found.subject.as_str()).map(Vec::as_slice).unwrap_or_default();
            for standing::Compared { track, outcome, differences } in standing::compare(found, received, now) {
                self.compared += 1;
                if !differences.is_empty() {
                    let event = ExpectedEvent {
                        kind: format!("{}.{track}", found.provider),
                        subject: found.subject.clone(),
                        outcome,
                        reasons: Vec::new(),
                        unrecognized: None,
                        delivery: false,
                    };
                    self.offences.push(Offence { kind: OffenceKind::Standing, what: differences.join("; "), event });
                }
            }
        }
    }
}

/// What a token is not trusted for while nothing can be found out about it.
fn lacks_keys(event: &ExpectedEvent) -> bool {
    event.reasons.iter().any(|reason| reason == Untrusted::KeysUnavailable.code())
}

fn of_kind(event: &ExpectedEvent) -> (&str, &str) {
    (&event.subject, &event.kind)
}

/// What there is of one event.
struct Traces<'a> {
    /// What there is of its verification.
    found: Option<&'a Found>,
    stored: &'a [&'a Stored],
    received: &'a [&'a Received],
}

impl Traces<'_> {
    /// The first message under each id.
    fn messages(&self) -> BTreeMap<&str, &Message> {
        let messages = self.received.iter().rev().map(|received| &received.message);
        messages.map(|message| (message.id.as_str(), message)).collect()
    }

    /// What its row published of an event. None if nothing was, or it is not known.
    fn published(&self, track: &str, id: &str) -> Option<&Published> {
        self.found?.decision(track, id)?.published.as_ref()
    }
}

/// What is wrong with an event of which `lost` acknowledged callbacks are not in the table, where `at_most` items of it may be.
fn of_authentic(sent: &[&Sent], lost: usize, at_most: usize, traces: &Traces<'_>) -> Vec<(OffenceKind, &'static str)> {
    let Traces { found, stored, received } = traces;
    let messages = traces.messages();
    let mut offences = Vec::new();
    let mut check = |is_so: bool, kind: OffenceKind, what: &'static str| {
        if is_so {
            offences.push((kind, what));
        }
    };
    let is_refused = sent.iter().any(|sent| sent.verdict == Verdict::Refused);
    check(is_refused, OffenceKind::Refused, "authentic, but not acknowledged for good");
    check(lost > 0 && stored.is_empty(), OffenceKind::Lost, "acknowledged, but not in the table");
    check(lost > 0 && !stored.is_empty(), OffenceKind::Lost, "acknowledged more often than it is in the table");
    check(stored.len() > at_most, OffenceKind::Doubled, "more often in the table than it was sent");
    check(!stored.iter().all(|stored| stored.is_whole), OffenceKind::Lost, "in the table without its whole body");
    let is_decided = |stored: &&Stored| found.is_some_and(|found| found.is_decided(&stored.item));
    check(!stored.iter().all(is_decided), OffenceKind::Lost, "in the table, but not in the row of its track");

    let is_silent = received.is_empty() && (lost > 0 || !stored.is_empty());
    check(is_silent, OffenceKind::Lost, "acknowledged or in the table, but in no queue");
    let is_missing = |stored: &&Stored| {
        let (track, id) = (&stored.item.track, stored.item.id.as_str());
        traces.published(track, id).is_some() && !messages.contains_key(id)
    };
    let is_missing = !is_silent && stored.iter().any(is_missing);
    check(is_missing, OffenceKind::Lost, "published by its row, but in no queue");
    let has_two_bodies = |received: &&Received| {
        messages.get(received.message.id.as_str()).is_some_and(|first| json!(first) != json!(received.message))
    };
    check(received.iter().any(has_two_bodies), OffenceKind::Doubled, "two different messages under one id");
    let published = |message: &Message| traces.published(&message.data.track, &message.id);
    let is_of_nothing = |message: &&Message| {
        published(message).is_none() && !found.is_some_and(|found| found.is_full(&message.data.track))
    };
    check(messages.values().any(is_of_nothing), OffenceKind::Unexpected, "a message that its row did not publish");
    let differs = |message: &&Message| published(message).is_some_and(|published| !says(message, published));
    check(messages.values().any(differs), OffenceKind::Standing, "a message says something other than its row");
    offences
}

/// Whether a message says what its row published.
fn says(message: &Message, published: &Published) -> bool {
    let data = &message.data;
    let said = Published {
        outcome: message.outcome,
        sequence: published.sequence,
        previous: data.previous_outcome,
        repeated: data.repeated,
        late: data.late,
        conflict: data.conflict,
        reused: published.reused.clone(),
    };
    said == *published && message.sequence == published.sequence_text()
}

fn of_forged(sent: &[&Sent], traces: &Traces<'_>) -> Vec<(OffenceKind, &'static str)> {
    let is_acknowledged = sent.iter().any(|sent| sent.verdict == Verdict::Acknowledged);
    let offences = [
        (is_acknowledged, "forged, and acknowledged"),
        (!traces.stored.is_empty(), "forged, and in the table"),
        (!traces.received.is_empty(), "forged, and in a queue"),
    ];
    offences.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| (OffenceKind::Forged, what)).collect()
}

/// How many messages came after one of the same verification whose callback came later. The queue with deliveries has no order.
fn out_of_order(received: &[Received]) -> usize {
    let mut latest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let mut count = 0;
    for received in received.iter().filter(|received| !received.event.delivery) {
        let received_at = received.message.data.received_at;
        let latest = latest.entry(&received.event.subject).or_insert(received_at);
        count += usize::from(received_at < *latest);
        *latest = received_at.max(*latest);
    }
    count
}

fn grouped<'a, T>(
    items: impl Iterator<Item = &'a T>,
    event: impl Fn(&'a T) -> &'a ExpectedEvent,
) -> HashMap<&'a ExpectedEvent, Vec<&'a T>> {
    let mut groups: HashMap<&ExpectedEvent, Vec<&T>> = HashMap::new();
    for item in items {
        groups.entry(event(item)).or_default().push(item);
    }
    groups
}

/// Each of them once, in their order.
fn unique<'a>(events: impl Iterator<Item = &'a ExpectedEvent>) -> Vec<&'a ExpectedEvent> {
    let mut seen = HashSet::new();
    events.filter(|event| seen.insert(*event)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Outcome, StoredEvent};

    use super::{
        super::{
            found::{Answered, tests::item},
            send::Attempt,
        },
        OffenceKind::{Doubled, Forged, Lost, Refused, Standing, Unexpected},
        *,
    };

    /// What a run leaves behind. Begins as one without a flaw.
    #[derive(Default)]
    struct Run {
        sent: Vec<Sent>,
        found: BTreeMap<String, Found>,
        received: Vec<Received>,
    }

    impl Run {
        /// Authentic callbacks: two about `a`, the second with a copy; one about `b`; three about `d`, which contradict each
        /// other, the last as the first. A forged one about `a`, and one about `c`.
        fn flawless() -> Self {
            use Outcome::{Approved, Pending, Rejected};
            let mut run = Self::default();
            let authentic = [
                ("a", Pending),
                ("a", Approved),
                ("a", Approved),
                ("b", Rejected),
                ("d", Approved),
                ("d", Rejected),
                ("d", Approved),
            ];
            for ((subject, outcome), second) in authentic.into_iter().zip(0..) {
                run.send(subject, outcome, false, Verdict::Acknowledged);
                run.take_in(item(subject, outcome, second));
            }
            run.send("a", Rejected, true, Verdict::Refused);
            run.send("c", Approved, true, Verdict::Refused);
            run
        }

        fn send(&mut self, subject: &str, outcome: Outcome, is_forged: bool, verdict: Verdict) {
            self.sent.push(Sent {
                function: "example".to_owned(),
                event: ExpectedEvent::from(&item(subject, outcome, 0)),
                is_forged,
                is_copy: false,
                turn: self.sent.len(),
                attempts: vec![Attempt { status: Some(200), took: Duration::ZERO }],
                verdict,
            });
        }

        fn take_in(&mut self, item: StoredEvent) {
            let message = self.found.entry(item.subject.clone()).or_default().take_in(item);
            let received = message.map(|message| Received { event: ExpectedEvent::from(&message), message });
            self.received.extend(received);
        }

        /// Removes everything about a verification but what was sent.
        fn forget(&mut self, subject: &str) {
            *self.found(subject) = Found { subject: subject.to_owned(), ..Found::default() };
            self.received.retain(|received| received.message.subject != subject);
        }

        fn found(&mut self, subject: &str) -> &mut Found {
            self.found.get_mut(subject).unwrap()
        }

        fn row(&mut self, subject: &str) -> &mut model::Course {
            self.found(subject).rows.get_mut("verdict").unwrap()
        }

        /// The message of what was received about a subject in a second, such as `a-0`. What it says comes first in its id.
        fn message(&mut self, name: &str) -> &mut Message {
            &mut self.received.iter_mut().find(|received| received.message.id.ends_with(name)).unwrap().message
        }

        fn lose_message(&mut self, name: &str) {
            self.received.retain(|received| !received.message.id.ends_with(name));
        }

        fn reconcile(self) -> Reconciliation {
            let found: Vec<Found> = self.found.into_values().collect();
            Reconciliation::new(&self.sent, &found, &self.received, Timestamp::UNIX_EPOCH)
        }

        fn settled(&self) -> bool {
            let received = self.received.iter().map(|received| received.message.id.as_str()).collect();
            self.found.values().all(|found| found.is_settled(&self.sent, &received))
        }
    }

    /// Checks what comes out when something is wrong with a flawless run: the offences, and about whom.
    #[track_caller]
    fn check(flaw: impl FnOnce(&mut Run), expected: &[(OffenceKind, &str)]) {
        let mut run = Run::flawless();
        flaw(&mut run);
        let reconciliation = run.reconcile();
        let offences = reconciliation.offences.iter().map(|offence| (offence.kind, offence.event.subject.as_str()));
        assert_eq!(offences.collect::<Vec<_>>(), expected, "{:#?}", reconciliation.offences);
    }

    /// Checks that one verification stands wrong, and in what words that is said.
    #[track_caller]
    fn check_standing(flaw: impl FnOnce(&mut Run), subject: &str, what: &str) {
        let mut run = Run::flawless();
        flaw(&mut run);
        let offences = run.reconcile().offences;
        let offences =
            offences.iter().map(|offence| (offence.kind, offence.event.subject.as_str(), offence.what.as_str()));
        assert_eq!(offences.collect::<Vec<_>>(), [(Standing, subject, what)]);
    }

    #[test]
    fn a_flawless_run_is_counted_and_has_no_offence() {
        let Reconciliation { sent, acknowledged, not_acknowledged, stored, received, compared, offences, .. } =
            Run::flawless().reconcile();
        assert_eq!((sent, acknowledged, not_acknowledged, stored, received, compared), (5, 5, 0, 5, 5, 3));
        assert_eq!(offences, vec![]);
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        check(|run| run.lose_message("a-0"), &[(Lost, "a")]);
        check(|run| run.lose_message("a-1"), &[(Lost, "a"), (Standing, "a")]);
        check(|run| run.forget("b"), &[(Lost, "b"), (Lost, "b")]);
        check(|run| run.found("b").stored[0].is_whole = false, &[(Lost, "b")]);
        // The API counts one more than there are.
        check(|run| drop(run.found("a").stored.remove(0)), &[(Lost, "a"), (Standing, "a")]);
    }

    #[test]
    fn what_comes_again_is_lost_if_it_is_there_only_once() {
        let without_last = |run: &mut Run| {
            run.forget("d");
            run.take_in(item("d", Outcome::Approved, 4));
            run.take_in(item("d", Outcome::Rejected, 5));
        };
        check(without_last, &[(Lost, "d")]);
        let at_the_same_instant = |run: &mut Run| {
            without_last(run);
            run.sent[6].turn = run.sent[4].turn;
        };
        check(at_the_same_instant, &[]);
        check(|run| run.lose_message("d-6"), &[(Lost, "d"), (Standing, "d")]);
    }

    #[test]
    fn an_acknowledged_copy_is_as_good_as_an_acknowledged_original() {
        let flaw = |run: &mut Run| {
            run.sent[1].verdict = Verdict::NotAcknowledged;
            run.forget("a");
            run.take_in(item("a", Outcome::Pending, 0));
        };
        check(flaw, &[(Lost, "a"), (Lost, "a")]);
    }

    #[test]
    fn what_is_in_the_wrong_queue_is_lost_and_unexpected() {
        let flaw = |run: &mut Run| {
            for received in run.received.iter_mut().filter(|received| received.message.subject == "b") {
                received.event.delivery = true;
            }
        };
        check(flaw, &[(Lost, "b"), (Unexpected, "b"), (Standing, "b")]);
    }

    #[test]
    fn what_is_not_acknowledged_may_be_there_or_not_but_is_not_stored_in_silence() {
        let unacknowledged = |run: &mut Run| run.sent[3].verdict = Verdict::NotAcknowledged;
        check(unacknowledged, &[]);
        let nothing = |run: &mut Run| {
            unacknowledged(run);
            run.forget("b");
        };
        check(nothing, &[]);
        let silence = |run: &mut Run| {
            unacknowledged(run);
            run.lose_message("b-3");
        };
        check(silence, &[(Lost, "b"), (Standing, "b")]);
        let mut run = Run::flawless();
        nothing(&mut run);
        let Reconciliation { acknowledged, not_acknowledged, .. } = run.reconcile();
        assert_eq!((acknowledged, not_acknowledged), (4, 1));
    }

    #[test]
    fn what_is_stored_and_not_decided_is_lost() {
        let undecided = |run: &mut Run| {
            run.row("a").decisions.pop();
        };
        check(undecided, &[(Lost, "a")]);
        let without_row = |run: &mut Run| run.found("b").rows.clear();
        check(without_row, &[(Lost, "b"), (Unexpected, "b"), (Standing, "b")]);
    }

    #[test]
    fn an_event_is_not_more_often_in_the_table_than_it_was_sent() {
        let again = |run: &mut Run| run.take_in(item("b", Outcome::Rejected, 9));
        check(again, &[(Doubled, "b")]);
        let sent_again = |run: &mut Run| {
            again(run);
            let attempt = run.sent[3].attempts[0].clone();
            run.sent[3].attempts.push(attempt);
        };
        check(sent_again, &[]);
    }

    #[test]
    fn a_message_that_comes_again_under_its_id_is_counted_and_the_same() {
        let again = |run: &mut Run| run.received.push(run.received[0].clone());
        check(again, &[]);
        let mut run = Run::flawless();
        again(&mut run);
        assert_eq!(run.reconcile().repeated_messages, 1);
        let another = |run: &mut Run| {
            let mut received = run.received[0].clone();
            received.message.data.late = true;
            run.received.push(received);
        };
        check(another, &[(Doubled, "a")]);
    }

    #[test]
    fn a_message_is_one_that_its_row_published() {
        let under_another_id = |run: &mut Run, id: String| {
            let mut received = run.received[1].clone();
            received.message.id = id;
            run.received.push(received);
        };
        check(|run| under_another_id(run, "nobody's".to_owned()), &[(Unexpected, "a")]);
        // That of the copy, of which nothing is published.
        let of_the_copy = |run: &mut Run| {
            let items = &run.found["a"].stored;
            let copy = items.iter().find(|stored| stored.item.id.ends_with("a-2")).unwrap();
            under_another_id(run, copy.item.id.clone());
        };
        check(of_the_copy, &[(Unexpected, "a")]);
    }

    #[test]
    fn a_message_says_what_its_row_says() {
        let changes: [fn(&mut Message); 5] = [
            |message| message.sequence = "0000000000000002".to_owned(),
            |message| message.data.late = true,
            |message| message.data.conflict = true,
            |message| message.data.repeated = true,
            |message| message.data.previous_outcome = Some(Outcome::Review),
        ];
        for change in changes {
            check_standing(|run| change(run.message("a-0")), "a", "a message says something other than its row");
        }
        check(|run| run.message("b-3").outcome = Outcome::Approved, &[(Standing, "b"), (Standing, "b")]);
    }

    #[test]
    fn a_row_that_stands_wrong_is_found() {
        let flaw = |run: &mut Run| run.row("b").decisions[0].outcome = Outcome::Pending;
        check_standing(flaw, "b", "its row says pending, final, not rejected, final");
    }

    #[test]
    fn an_api_that_says_something_else_is_found() {
        let says = |change: fn(&mut Vec<Answered>)| move |run: &mut Run| change(&mut run.found("d").answered);
        let truth = "review, final, in conflict";
        let what = format!("the API says approved, final, in conflict, not {truth}");
        check_standing(says(|answered| answered[0].outcome = Outcome::Approved), "d", &what);
        let what = format!("the API says review, not final, in conflict, not {truth}");
        check_standing(says(|answered| answered[0].is_final = false), "d", &what);
        let what = format!("the API says review, final, not {truth}");
        check_standing(says(|answered| answered[0].conflict = false), "d", &what);
        check_standing(says(|answered| answered[0].callbacks = 2), "d", "the API counts 2 callbacks, not 3");
        check_standing(says(Vec::clear), "d", &format!("the API says nothing, not {truth}"));
    }

    #[test]
    fn a_consumer_that_ends_wrong_is_found() {
        // The row and the message agree, and the first has the highest sequence.
        let flaw = |run: &mut Run| {
            run.row("a").decisions[0].published.as_mut().unwrap().sequence = 5000;
            run.message("a-0").sequence = "0000000000005000".to_owned();
        };
        check_standing(flaw, "a", "a consumer ends with pending, not approved");
    }

    #[test]
    fn a_forged_callback_leaves_nothing_behind() {
        check(|run| run.take_in(item("c", Outcome::Approved, 9)), &[(Forged, "c"), (Forged, "c")]);
        check(|run| run.take_in(item("a", Outcome::Rejected, 9)), &[(Forged, "a"), (Forged, "a")]);
        let in_a_row = |run: &mut Run| {
            run.take_in(item("c", Outcome::Approved, 9));
            run.found("c").stored.clear();
            run.received.pop();
        };
        check(in_a_row, &[(Standing, "c")]);
        check(|run| run.send("c", Outcome::Approved, true, Verdict::Acknowledged), &[(Forged, "c")]);
        check(|run| run.send("c", Outcome::Approved, true, Verdict::NotAcknowledged), &[]);
    }

    #[test]
    fn an_authentic_callback_is_not_refused() {
        check(|run| run.send("b", Outcome::Rejected, false, Verdict::Refused), &[(Refused, "b")]);
    }

    #[test]
    fn what_nobody_sent_is_not_there() {
        check(|run| run.take_in(item("a", Outcome::Failed, 9)), &[(Unexpected, "a")]);
        check(|run| run.take_in(item("e", Outcome::Approved, 9)), &[(Unexpected, "e")]);
    }

    /// What a callback about `b` is kept as while keys cannot be had.
    fn without_keys(second: i64) -> StoredEvent {
        StoredEvent { reasons: vec!["token_keys_unavailable".to_owned()], ..item("b", Outcome::Review, second) }
    }

    #[test]
    fn what_is_kept_without_keys_stands_for_what_was_sent_or_beside_it() {
        let beside = |run: &mut Run| run.take_in(without_keys(9));
        let instead = |run: &mut Run| {
            run.forget("b");
            beside(run);
        };
        check(beside, &[]);
        check(instead, &[]);
        let in_silence = |run: &mut Run| {
            beside(run);
            run.lose_message("b-9");
        };
        check(in_silence, &[(Lost, "b")]);
        let too_many = |run: &mut Run| {
            instead(run);
            run.take_in(without_keys(10));
        };
        check(too_many, &[(Doubled, "b")]);
        let of_nothing = |run: &mut Run| {
            beside(run);
            run.sent.retain(|sent| sent.event.subject != "b");
        };
        check(of_nothing, &[(Unexpected, "b"), (Unexpected, "b")]);
        let mut run = Run::flawless();
        instead(&mut run);
        assert_eq!(run.reconcile().without_keys, 1);
    }

    #[test]
    fn what_comes_after_a_later_one_of_its_verification_is_out_of_order() {
        let mut run = Run::flawless();
        // The second of `a` first.
        run.received.swap(0, 1);
        assert_eq!(run.reconcile().out_of_order, 1);
        let mut run = Run::flawless();
        run.received.swap(0, 1);
        run.received[0].event.delivery = true;
        assert_eq!(run.reconcile().out_of_order, 0);
        assert_eq!(Run::flawless().reconcile().out_of_order, 0);
    }

    #[test]
    fn a_run_is_settled_when_all_is_stored_decided_and_received() {
        assert!(Run::flawless().settled());
        let flaws: [fn(&mut Run); 3] = [
            |run| drop(run.found("a").stored.pop()),
            |run| drop(run.row("a").decisions.pop()),
            |run| run.lose_message("d-6"),
        ];
        for flaw in flaws {
            let mut run = Run::flawless();
            flaw(&mut run);
            assert!(!run.settled());
        }
    }
}

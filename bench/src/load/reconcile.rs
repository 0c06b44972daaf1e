//! Whether what was answered, stored and received fits together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cli::sample::ExpectedEvent;
use model::Timestamp;
use serde::Serialize;
use wallet_verification::token::Untrusted;

use super::{
    receive::{Received, Stored},
    send::{Sent, Verdict},
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
    /// Messages that came again, under the id they had before. Consumers have to bear that.
    pub repeated_messages: usize,
    /// Events that were kept as ones to be looked at, as their tokens' keys could not be had (docs/adr/0007): in place of what was sent, or beside
    /// it where a copy came when there were keys.
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
    pub what: &'static str,
    /// The event, or what a forged callback would have become.
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
    /// There is an event twice.
    Doubled,
    /// An authentic callback was refused for good.
    Refused,
    /// There is something that nobody sent.
    Unexpected,
}

impl OffenceKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Lost, Self::Forged, Self::Doubled, Self::Refused, Self::Unexpected];

    /// What it is, in words.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Forged => "forged, and taken in",
            Self::Doubled => "doubled",
            Self::Refused => "authentic, and refused",
            Self::Unexpected => "never sent",
        }
    }
}

impl Reconciliation {
    /// Holds what was sent against what is in the table and what came out of the queues.
    pub(crate) fn new(sent: &[Sent], stored: &[Stored], received: &[Received]) -> Self {
        let mut this = Self::default();
        let mut without_keys = WithoutKeys::of(stored, received);
        this.without_keys = without_keys.len();
        let events: Vec<&ExpectedEvent> = unique(sent.iter().map(|sent| &sent.event));
        let sent = grouped(sent.iter(), |sent| &sent.event);
        let stored = grouped(stored.iter().filter(|stored| !lacks_keys(&stored.event)), |stored| &stored.event);
        let messages = grouped(received.iter().filter(|message| !lacks_keys(&message.event)), |message| &message.event);
        for event in &events {
            let of_event = sent.get(event).map(Vec::as_slice).unwrap_or_default();
            let traces = Traces::of(stored.get(event), messages.get(event));
            let offences = if of_event.iter().all(|sent| sent.is_forged) {
                of_forged(of_event, &traces)
            } else {
                without_keys.expect(event);
                let traces = if traces.is_empty() { without_keys.take(event).unwrap_or(traces) } else { traces };
                this.count(of_event, &traces);
                of_authentic(of_event, &traces)
            };
            this.offend(event, offences);
        }
        for event in unique(stored.keys().chain(messages.keys()).copied()) {
            if !sent.contains_key(event) {
                this.offend(event, vec![(OffenceKind::Unexpected, "in the table or a queue, but never sent")]);
            }
        }
        for (event, offences) in without_keys.left() {
            this.offend(event, offences);
        }
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
        *(if is_acknowledged(sent) { &mut self.acknowledged } else { &mut self.not_acknowledged }) += 1;
        self.stored += usize::from(!traces.stored.is_empty());
        self.received += usize::from(!traces.received.is_empty());
        self.repeated_messages += traces.messages - traces.received.len();
    }

    fn offend(&mut self, event: &ExpectedEvent, offences: Vec<(OffenceKind, &'static str)>) {
        self.offences.extend(offences.into_iter().map(|(kind, what)| Offence { kind, what, event: event.clone() }));
    }
}

/// What a token is not trusted for while nothing can be found out about it.
fn lacks_keys(event: &ExpectedEvent) -> bool {
    event.reasons.iter().any(|reason| reason == Untrusted::KeysUnavailable.code())
}

/// Events of which only verification and kind can be foretold, as keys could not be had.
#[derive(Default)]
struct WithoutKeys<'a>(BTreeMap<(&'a str, &'a str), OfVerification<'a>>);

#[derive(Default)]
struct OfVerification<'a> {
    events: Vec<(&'a ExpectedEvent, Traces<'a>)>,
    /// How many there may be.
    expected: usize,
    taken: usize,
}

impl<'a> WithoutKeys<'a> {
    fn of(stored: &'a [Stored], received: &'a [Received]) -> Self {
        let stored = stored.iter().filter(|stored| lacks_keys(&stored.event));
        let received = received.iter().filter(|received| lacks_keys(&received.event));
        let mut by_id: BTreeMap<&str, (&ExpectedEvent, Vec<&Stored>, Vec<&Received>)> = BTreeMap::new();
        for stored in stored {
            by_id.entry(&stored.id).or_insert((&stored.event, Vec::new(), Vec::new())).1.push(stored);
        }
        for received in received {
            by_id.entry(&received.id).or_insert((&received.event, Vec::new(), Vec::new())).2.push(received);
        }
        let mut this = Self::default();
        for (event, stored, received) in by_id.into_values() {
            let traces = Traces::of(Some(&stored), Some(&received));
            this.0.entry((&event.subject, &event.kind)).or_default().events.push((event, traces));
        }
        this
    }

    fn len(&self) -> usize {
        self.0.values().map(|of_verification| of_verification.events.len()).sum()
    }

    /// This one may be among them.
    fn expect(&mut self, event: &'a ExpectedEvent) {
        if let Some(of_verification) = self.0.get_mut(&(event.subject.as_str(), event.kind.as_str())) {
            of_verification.expected += 1;
        }
    }

    /// One that can be what this event was kept as.
    fn take(&mut self, event: &'a ExpectedEvent) -> Option<Traces<'a>> {
        let of_verification = self.0.get_mut(&(event.subject.as_str(), event.kind.as_str()))?;
        let (_, traces) = of_verification.events.pop()?;
        of_verification.taken += 1;
        Some(traces)
    }

    /// What is wrong with those that are in nobody's place.
    fn left(self) -> Vec<(&'a ExpectedEvent, Vec<(OffenceKind, &'static str)>)> {
        let mut all_offences = Vec::new();
        for OfVerification { events, expected, taken } in self.0.into_values() {
            for ((event, traces), number) in events.into_iter().zip(taken + 1..) {
                let mut offences = of_authentic(&[], &traces);
                if number > expected {
                    offences.push((OffenceKind::Unexpected, "more without keys than were sent"));
                }
                all_offences.push((event, offences));
            }
        }
        all_offences
    }
}

/// What there is of one event.
struct Traces<'a> {
    /// The ids in the table.
    stored: BTreeSet<&'a str>,
    is_whole: bool,
    /// The ids of the messages.
    received: BTreeSet<&'a str>,
    messages: usize,
}

impl<'a> Traces<'a> {
    fn of(stored: Option<&Vec<&'a Stored>>, received: Option<&Vec<&'a Received>>) -> Self {
        let stored = stored.map(Vec::as_slice).unwrap_or_default();
        let received = received.map(Vec::as_slice).unwrap_or_default();
        Self {
            stored: stored.iter().map(|stored| stored.id.as_str()).collect(),
            is_whole: stored.iter().all(|stored| stored.is_whole),
            received: received.iter().map(|received| received.id.as_str()).collect(),
            messages: received.len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.received.is_empty()
    }
}

fn is_acknowledged(sent: &[&Sent]) -> bool {
    sent.iter().any(|sent| !sent.is_forged && sent.verdict == Verdict::Acknowledged)
}

fn of_authentic(sent: &[&Sent], traces: &Traces<'_>) -> Vec<(OffenceKind, &'static str)> {
    let Traces { stored, is_whole, received, .. } = traces;
    let mut offences = Vec::new();
    let mut check = |is_so: bool, kind: OffenceKind, what: &'static str| {
        if is_so {
            offences.push((kind, what));
        }
    };
    let is_refused = sent.iter().any(|sent| sent.verdict == Verdict::Refused);
    check(is_refused, OffenceKind::Refused, "authentic, but not acknowledged for good");
    check(is_acknowledged(sent) && stored.is_empty(), OffenceKind::Lost, "acknowledged, but not in the table");
    check(is_acknowledged(sent) && received.is_empty(), OffenceKind::Lost, "acknowledged, but in no queue");
    // Then a copy that comes later is taken for known, and acknowledged: it would not be told any more.
    let is_untold = !is_acknowledged(sent) && !stored.is_empty() && received.is_empty();
    check(is_untold, OffenceKind::Lost, "in the table, but in no queue");
    check(!is_whole, OffenceKind::Lost, "in the table without its whole body");
    check(stored.len() > 1, OffenceKind::Doubled, "more than once in the table");
    check(received.len() > 1, OffenceKind::Doubled, "messages under more than one id");
    let is_of_nothing = received.iter().any(|id| !stored.contains(id));
    check(is_of_nothing, OffenceKind::Unexpected, "a message under an id that is not in the table");
    offences
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
        let latest = latest.entry(&received.event.subject).or_insert(received.received_at);
        count += usize::from(received.received_at < *latest);
        *latest = received.received_at.max(*latest);
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
    use model::Outcome;

    use super::*;

    /// A verdict about `subject`.
    fn event(subject: &str, outcome: Outcome) -> ExpectedEvent {
        ExpectedEvent {
            kind: "example.verdict".to_owned(),
            subject: subject.to_owned(),
            outcome,
            reasons: Vec::new(),
            unrecognized: None,
            delivery: false,
        }
    }

    /// What a run leaves behind. Begins as one without a flaw.
    struct Run {
        sent: Vec<Sent>,
        stored: Vec<Stored>,
        received: Vec<Received>,
    }

    impl Run {
        /// Two authentic callbacks about `a`, the second with a copy; one about `b`; a forged one about `a`, and one about `c`.
        fn flawless() -> Self {
            let mut run = Self { sent: Vec::new(), stored: Vec::new(), received: Vec::new() };
            let authentic = [("a", Outcome::Pending), ("a", Outcome::Approved), ("b", Outcome::Rejected)];
            for ((subject, outcome), second) in authentic.into_iter().zip(0..) {
                run.send(subject, outcome, false, Verdict::Acknowledged);
                run.store(subject, outcome, &second.to_string());
                run.receive(subject, outcome, &second.to_string(), second);
            }
            run.send("a", Outcome::Approved, false, Verdict::Acknowledged);
            run.send("a", Outcome::Rejected, true, Verdict::Refused);
            run.send("c", Outcome::Approved, true, Verdict::Refused);
            run
        }

        fn send(&mut self, subject: &str, outcome: Outcome, is_forged: bool, verdict: Verdict) {
            let event = event(subject, outcome);
            let function = "example".to_owned();
            self.sent.push(Sent { function, event, is_forged, is_copy: false, attempts: Vec::new(), verdict });
        }

        fn store(&mut self, subject: &str, outcome: Outcome, id: &str) {
            self.stored.push(Stored { event: event(subject, outcome), id: id.to_owned(), is_whole: true });
        }

        fn receive(&mut self, subject: &str, outcome: Outcome, id: &str, second: i64) {
            let received_at = Timestamp::from_second(second).unwrap();
            self.received.push(Received { event: event(subject, outcome), id: id.to_owned(), received_at });
        }

        fn reconcile(&self) -> Reconciliation {
            Reconciliation::new(&self.sent, &self.stored, &self.received)
        }
    }

    /// Checks what comes out when something is wrong with a flawless run: the offences, and about whom.
    #[track_caller]
    fn check(flaw: impl FnOnce(&mut Run), expected: &[(OffenceKind, &str)]) {
        let mut run = Run::flawless();
        flaw(&mut run);
        let reconciliation = run.reconcile();
        let offences = reconciliation.offences.iter().map(|offence| (offence.kind, offence.event.subject.as_str()));
        assert_eq!(offences.collect::<Vec<_>>(), expected, "{:?}", reconciliation.offences);
    }

    #[test]
    fn a_flawless_run_is_counted_and_has_no_offence() {
        let Reconciliation { sent, acknowledged, not_acknowledged, stored, received, offences, .. } =
            Run::flawless().reconcile();
        assert_eq!((sent, acknowledged, not_acknowledged, stored, received), (3, 3, 0, 3, 3));
        assert_eq!(offences, vec![]);
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        use OffenceKind::{Lost, Unexpected};
        check(|run| run.received.retain(|received| received.id != "1"), &[(Lost, "a")]);
        check(|run| run.stored.retain(|stored| stored.id != "1"), &[(Lost, "a"), (Unexpected, "a")]);
        check(
            |run| {
                run.stored.clear();
                run.received.clear();
            },
            &[(Lost, "a"), (Lost, "a"), (Lost, "a"), (Lost, "a"), (Lost, "b"), (Lost, "b")],
        );
        check(|run| run.stored[2].is_whole = false, &[(Lost, "b")]);
    }

    #[test]
    fn an_acknowledged_copy_is_as_good_as_an_acknowledged_original() {
        check(
            |run| {
                run.sent[1].verdict = Verdict::NotAcknowledged;
                run.received.retain(|received| received.id != "1");
            },
            &[(OffenceKind::Lost, "a")],
        );
    }

    #[test]
    fn what_is_in_the_wrong_queue_is_lost_and_unexpected() {
        use OffenceKind::{Lost, Unexpected};
        check(|run| run.received[2].event.delivery = true, &[(Lost, "b"), (Unexpected, "b")]);
    }

    #[test]
    fn what_is_not_acknowledged_may_be_there_or_not_but_is_not_stored_in_silence() {
        let unacknowledged = |run: &mut Run| run.sent[2].verdict = Verdict::NotAcknowledged;
        check(unacknowledged, &[]);
        let nothing = |run: &mut Run| {
            unacknowledged(run);
            run.stored.retain(|stored| stored.id != "2");
            run.received.retain(|received| received.id != "2");
        };
        check(nothing, &[]);
        let silence = |run: &mut Run| {
            unacknowledged(run);
            run.received.retain(|received| received.id != "2");
        };
        check(silence, &[(OffenceKind::Lost, "b")]);
        let mut run = Run::flawless();
        nothing(&mut run);
        let Reconciliation { acknowledged, not_acknowledged, .. } = run.reconcile();
        assert_eq!((acknowledged, not_acknowledged), (2, 1));
    }

    #[test]
    fn an_event_twice_in_the_table_or_under_two_ids_is_doubled() {
        use OffenceKind::{Doubled, Unexpected};
        check(|run| run.store("b", Outcome::Rejected, "again"), &[(Doubled, "b")]);
        check(|run| run.receive("b", Outcome::Rejected, "again", 9), &[(Doubled, "b"), (Unexpected, "b")]);
        let both = |run: &mut Run| {
            run.store("b", Outcome::Rejected, "again");
            run.receive("b", Outcome::Rejected, "again", 9);
        };
        check(both, &[(Doubled, "b"), (Doubled, "b")]);
    }

    #[test]
    fn a_message_that_comes_again_under_its_id_is_counted_and_no_offence() {
        check(|run| run.receive("b", Outcome::Rejected, "2", 2), &[]);
        let mut run = Run::flawless();
        run.receive("b", Outcome::Rejected, "2", 2);
        assert_eq!(run.reconcile().repeated_messages, 1);
    }

    #[test]
    fn a_forged_callback_leaves_nothing_behind() {
        use OffenceKind::Forged;
        check(|run| run.store("c", Outcome::Approved, "forged"), &[(Forged, "c")]);
        check(|run| run.store("a", Outcome::Rejected, "forged"), &[(Forged, "a")]);
        check(|run| run.receive("a", Outcome::Rejected, "forged", 9), &[(Forged, "a")]);
        check(|run| run.send("c", Outcome::Approved, true, Verdict::Acknowledged), &[(Forged, "c")]);
        check(|run| run.send("c", Outcome::Approved, true, Verdict::NotAcknowledged), &[]);
    }

    #[test]
    fn an_authentic_callback_is_not_refused() {
        check(|run| run.send("b", Outcome::Rejected, false, Verdict::Refused), &[(OffenceKind::Refused, "b")]);
    }

    #[test]
    fn what_nobody_sent_is_not_there() {
        use OffenceKind::Unexpected;
        check(|run| run.store("a", Outcome::Failed, "other"), &[(Unexpected, "a")]);
        check(|run| run.receive("d", Outcome::Approved, "other", 9), &[(Unexpected, "d")]);
    }

    /// What a callback about `b` is kept as while keys cannot be had.
    fn without_keys(id: &str) -> (Stored, Received) {
        let reasons = vec!["token_keys_unavailable".to_owned()];
        let event = ExpectedEvent { reasons, ..event("b", Outcome::Review) };
        let received_at = Timestamp::from_second(9).unwrap();
        (
            Stored { event: event.clone(), id: id.to_owned(), is_whole: true },
            Received { event, id: id.to_owned(), received_at },
        )
    }

    #[test]
    fn what_is_kept_without_keys_stands_for_what_was_sent_or_beside_it() {
        use OffenceKind::{Lost, Unexpected};
        let beside = |run: &mut Run| {
            let (stored, received) = without_keys("k");
            run.stored.push(stored);
            run.received.push(received);
        };
        let instead = |run: &mut Run| {
            beside(run);
            run.stored.retain(|stored| stored.id != "2");
            run.received.retain(|received| received.id != "2");
        };
        check(beside, &[]);
        check(instead, &[]);
        for make in [&beside as &dyn Fn(&mut Run), &instead] {
            let silent = |run: &mut Run| {
                make(run);
                run.received.retain(|received| received.id != "k");
            };
            check(silent, &[(Lost, "b")]);
        }
        let too_many = |run: &mut Run| {
            instead(run);
            let (stored, received) = without_keys("l");
            run.stored.push(stored);
            run.received.push(received);
        };
        check(too_many, &[(Unexpected, "b")]);
        check(
            |run| {
                beside(run);
                run.sent.retain(|sent| sent.event.subject != "b");
            },
            &[(Unexpected, "b"), (Unexpected, "b")],
        );
        let mut run = Run::flawless();
        instead(&mut run);
        assert_eq!(run.reconcile().without_keys, 1);
    }

    #[test]
    fn what_comes_after_a_later_one_of_its_verification_is_out_of_order() {
        let mut run = Run::flawless();
        assert_eq!(run.reconcile().out_of_order, 0);
        // The second of `a` first.
        run.received.swap(0, 1);
        assert_eq!(run.reconcile().out_of_order, 1);
        run.received[0].event.delivery = true;
        assert_eq!(run.reconcile().out_of_order, 0);
    }
}

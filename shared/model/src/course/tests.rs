use jiff::SignedDuration;
use serde_json::json;

use super::*;

/// A callback: what it says, and the second in which it was received. `R` and `r` are two contents
/// with one verdict.
fn event(says: &str, second: i64) -> StoredEvent {
    let (outcome, is_final) = match says {
        "A" | "a" => ("approved", true),
        "R" | "r" => ("rejected", true),
        "F" => ("failed", true),
        // A human has decided not to decide.
        "I" => ("review", true),
        "M" => ("review", false),
        "P" | "p" => ("pending", false),
        // Not understood, or no verdict.
        _ => ("none", false),
    };
    let received_at = Timestamp::from_second(second).unwrap();
    serde_json::from_value(json!({
        "pk": "s", "sk": format!("{says:-<32}@{second}"), "provider": "example", "source": "/callbacks/example",
        "kind": "example.kind", "track": "kind", "policy": "reopens", "outcome": outcome,
        "final": is_final, "reasons": [], "assurance": "shared_secret", "received_at": received_at, "details": {},
        "body": [], "day": "1970-01-01#0", "expires_at": second + 1000,
    }))
    .unwrap()
}

/// A password for somebody, which expires after so many seconds.
fn delivery(says: &str, to: &str, second: i64, life: i64) -> StoredEvent {
    StoredEvent {
        perishable: true,
        recipient: Some(to.to_owned()),
        id: format!("{:-<32}@{second}", format!("{says} to {to}")),
        expires_at: second + life,
        ..event("-", second)
    }
}

/// Decides about these events in this order of arrival, each a minute after the last was received.
fn decide(course: &mut Course, events: &[StoredEvent]) -> Vec<Option<Published>> {
    let last = events.iter().map(|event| event.received_at).max().unwrap_or(Timestamp::UNIX_EPOCH);
    events.iter().map(|event| course.decide(event, last + SignedDuration::from_mins(1)).published).collect()
}

/// What a message says, such as `review! was approved (rejected)` for a conflict in which an
/// approval stood before and the callback itself rejects. `*` is repeated, `~` is late, `-` is
/// nothing at all.
fn said(event: &StoredEvent, published: Option<&Published>) -> String {
    let Some(Published { outcome, previous, repeated, late, conflict, .. }) = published else { return "-".to_owned() };
    let mut text = outcome.as_str().to_owned();
    text.extend([(*repeated, '*'), (*late, '~'), (*conflict, '!')].into_iter().filter_map(|(is, c)| is.then_some(c)));
    if let Some(previous) = previous {
        text += &format!(" was {}", previous.as_str());
    }
    if event.outcome != *outcome {
        text += &format!(" ({})", event.outcome.as_str());
    }
    text
}

/// An approval on a proof that stands for something else.
fn on_the_proof_of_another(second: i64) -> StoredEvent {
    let proof = crate::Proof { what: "token".to_owned(), id: "p".to_owned(), detail: "/credentials/1".to_owned() };
    let details = json!({ "credentials": { "1": { "verdict": "approved" } } });
    StoredEvent {
        proofs: vec![proof],
        details: serde_json::from_value(details).unwrap(),
        policy: Policy::Contradicts,
        ..event("a", second)
    }
}

#[test]
fn an_approval_on_the_proof_of_another_is_a_review_wherever_it_stands() {
    let approved = |second| StoredEvent { policy: Policy::Contradicts, ..event("A", second) };
    let now = Timestamp::from_second(500).unwrap();
    for (arrivals, expected, stands) in [
        (&["reused 1"][..], &["review (approved)"][..], Outcome::Review),
        (&["A 1", "reused 2"], &["approved", "review! was approved (approved)"], Outcome::Review),
        // It contradicts an approval, so that is none either.
        (&["reused 1", "A 2"], &["review (approved)", "review! was review (approved)"], Outcome::Review),
        (&["A 2", "reused 1"], &["approved", "review! was approved (approved)"], Outcome::Review),
        (&["reused 1", "reused 2"], &["review (approved)", "-"], Outcome::Review),
    ] {
        let mut course = Course::default();
        for (arrival, expected) in arrivals.iter().zip(expected) {
            let (what, second) = arrival.split_once(' ').unwrap();
            let second = second.parse().unwrap();
            let (event, reused) =
                if what == "A" { (approved(second), &[][..]) } else { (on_the_proof_of_another(second), &[0][..]) };
            let published = course.decide_without(&event, reused, now).published;
            assert_eq!(said(&event, published.as_ref()), *expected, "{arrivals:?}");
            // Decided already, whatever is claimed now.
            assert_eq!(course.decide_without(&event, &[], now).published, published);
        }
        assert_eq!(course.standing(now).outcome, stands, "{arrivals:?}");
    }
}

#[test]
fn a_row_and_its_message_say_what_an_approval_on_the_proof_of_another_says_itself() {
    let (mut course, event) = (Course::default(), on_the_proof_of_another(1));
    let published = course.decide_without(&event, &[0], event.received_at).published.unwrap();
    let row: Course = serde_json::from_value(json!(course)).unwrap();
    assert_eq!(row.decisions, course.decisions);

    let message = crate::Message::new(&event, &published, crate::MessageDetail::Reference);
    assert_eq!((message.outcome, message.own_outcome()), (Outcome::Review, Outcome::Approved));
    assert_eq!(message.data.reasons, ["token_reused"]);
    let untrusted = json!({ "credentials": { "1": { "verdict": "untrusted", "reason": "token_reused" } } });
    assert_eq!(json!(message.data.details), untrusted);

    let rows = [("kind".to_owned(), row)];
    let answer = crate::Verification::new("example", "s", &rows, event.received_at).unwrap();
    assert_eq!(
        (answer.verifications[0].outcome, &*answer.verifications[0].reasons),
        (Outcome::Review, &["token_reused".to_owned()][..])
    );
    assert_eq!(
        (answer.events[0].outcome, answer.events[0].reported_outcome),
        (Outcome::Review, Some(Outcome::Approved))
    );
}

/// Checks what is published of callbacks such as `R1 A2`, in this order of arrival, and where the
/// track stands then.
#[track_caller]
fn check(policy: Policy, arrivals: &str, expected: &[&str], stands: Outcome) {
    let events: Vec<StoredEvent> = arrivals
        .split(' ')
        .map(|arrival| {
            let (says, second) = arrival.split_at(1);
            StoredEvent { policy, ..event(says, second.parse().unwrap()) }
        })
        .collect();
    let mut course = Course::default();
    let published = decide(&mut course, &events);
    let said: Vec<String> =
        events.iter().zip(&published).map(|(event, published)| said(event, published.as_ref())).collect();
    assert_eq!(said, expected, "{arrivals}");
    assert_eq!(course.standing(Timestamp::from_second(500).unwrap()).outcome, stands, "{arrivals}");
    let sequences: Vec<u64> = published.iter().flatten().map(|published| published.sequence).collect();
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
}

use Outcome::{Approved, Failed, None as NoVerdict, Pending, Rejected, Review};
use Policy::{Contradicts, Corrects, Reopens};

#[test]
fn a_repeat_of_its_neighbour_is_no_news() {
    check(Reopens, "R1 R2", &["rejected", "-"], Rejected);
    check(Reopens, "R2 R1", &["rejected", "-"], Rejected);
    check(Reopens, "R1 A2 R3", &["rejected", "approved was rejected", "rejected* was approved"], Rejected);
    // The spilled copy is between the first and the rejection.
    check(Reopens, "A1 R3 A2", &["approved", "rejected was approved", "-"], Rejected);
    // The third came before what is between them.
    check(Reopens, "R1 R3 A2", &["rejected", "-", "none~ was rejected (approved)"], Rejected);
}

#[test]
fn what_comes_after_something_else_is_news_although_it_was_there_before() {
    check(Reopens, "R1 ?2 R3", &["rejected", "none was rejected", "rejected* was rejected"], Rejected);
    check(Reopens, "A1 ?2 A3", &["approved", "none was approved", "approved* was approved"], Approved);
    check(Reopens, "A1 R2 A3", &["approved", "rejected was approved", "approved* was rejected"], Approved);
    check(Reopens, "R1 M2", &["rejected", "review was rejected"], Review);
}

#[test]
fn a_provider_that_contradicts_itself_approves_nobody() {
    check(Contradicts, "R1 A2 R3", &["rejected", "review! was rejected (approved)", "rejected*! was review"], Rejected);
    check(Contradicts, "A1 R2", &["approved", "rejected! was approved"], Rejected);
    check(Contradicts, "A1 I2 A3", &["approved", "review! was approved", "review*! was review (approved)"], Review);
    // The first is late, and takes the approval back.
    check(Contradicts, "A2 R1", &["approved", "review! was approved (rejected)"], Review);
    check(Contradicts, "R2 A1", &["rejected", "none~! was rejected (approved)"], Rejected);
    // In other words the same.
    check(Contradicts, "R1 r2", &["rejected", "rejected was rejected"], Rejected);
    check(Contradicts, "R1 F2", &["rejected", "failed! was rejected"], Failed);
}

#[test]
fn a_provider_that_corrects_itself_is_believed_and_noticed() {
    check(Corrects, "R1 A2 R3", &["rejected", "approved! was rejected", "rejected*! was approved"], Rejected);
    check(Corrects, "A2 R1", &["approved", "none~! was approved (rejected)"], Approved);
}

#[test]
fn what_is_not_final_never_follows_what_is() {
    check(Contradicts, "P1 A2", &["pending", "approved was pending"], Approved);
    check(Contradicts, "A1 P2", &["approved", "none~ was approved (pending)"], Approved);
    check(Contradicts, "P2 A1", &["pending", "approved was pending"], Approved);
    check(Contradicts, "A2 P1", &["approved", "none~ was approved (pending)"], Approved);
    check(Corrects, "R1 M2", &["rejected", "none~ was rejected (review)"], Rejected);
    check(Contradicts, "P2 p1", &["pending", "none~ was pending (pending)"], Pending);
}

#[test]
fn without_verdicts_the_newest_is_news_and_an_older_one_late() {
    check(Reopens, "x1 y2", &["none", "none"], NoVerdict);
    check(Reopens, "y2 x1", &["none", "none~"], NoVerdict);
    // The first verdict there is, although something came after it.
    check(Reopens, "?2 R1", &["none", "rejected"], Rejected);
}

#[test]
fn an_approval_is_not_the_last_word_of_its_millisecond() {
    check(Reopens, "A1 R1", &["approved", "rejected was approved"], Rejected);
    check(Reopens, "R1 A1", &["rejected", "none~ was rejected (approved)"], Rejected);
}

#[test]
fn what_is_known_is_said_again_word_for_word() {
    let events = ["R", "A", "R", "P"].iter().zip(1..).map(|(says, second)| event(says, second)).collect::<Vec<_>>();
    let mut course = Course::default();
    let first = decide(&mut course, &events);
    let before = course.clone();
    for event in events.iter().rev() {
        let decided = course.decide(event, Timestamp::from_second(900).unwrap());
        let known = events.iter().position(|other| other.id == event.id).and_then(|place| first[place].clone());
        assert_eq!(decided, Decided { published: known, is_new: false });
    }
    assert!(course == before);
}

#[test]
fn a_sequence_rises_even_if_the_clock_falls() {
    let mut course = Course::default();
    let mut sequence = |says: &str, second: i64, now: i64| {
        let decided = course.decide(&event(says, second), Timestamp::from_second(now).unwrap());
        decided.published.unwrap().sequence
    };
    assert_eq!(sequence("R", 1, 100), 100_000);
    assert_eq!(sequence("A", 2, 50), 100_001);
    assert_eq!(sequence("R", 3, 101), 101_000);
}

#[test]
fn what_has_expired_no_longer_counts() {
    let contradicts = |says, second| StoredEvent { policy: Contradicts, ..event(says, second) };
    let events = [contradicts("R", 1), contradicts("A", 2000)];
    for arrivals in [[0, 1], [1, 0]] {
        let mut course = Course::default();
        let published = decide(&mut course, &arrivals.map(|place| events[place].clone()));
        let newest = arrivals.iter().position(|place| *place == 1).unwrap();
        let published = published[newest].clone().unwrap();
        assert_eq!((published.outcome, published.conflict, published.previous), (Approved, false, None));
        let standing = course.standing(Timestamp::from_second(2001).unwrap());
        assert_eq!((standing.outcome, standing.conflict), (Approved, false));
    }
    // The same again, when the first is gone.
    let mut course = Course::default();
    let published = decide(&mut course, &[event("R", 1), event("R", 2000)]);
    assert!(published[1].is_some());
}

#[test]
fn an_event_that_is_read_again_replaces_what_was_not_understood() {
    let mut course = Course::default();
    let again = StoredEvent { replaces: Some(event("?", 1).id), ..event("R", 1) };
    let published = decide(&mut course, &[event("?", 1), again, event("?", 2)]);
    // The last one is no repeat of the first: that is a rejection now.
    let outcomes: Vec<_> =
        published.iter().map(|published| published.as_ref().map(|p| (p.outcome, p.repeated))).collect();
    assert_eq!(outcomes, [Some((NoVerdict, false)), Some((Rejected, false)), Some((NoVerdict, false))]);
}

/// Checks which of these are delivered, in this order of arrival.
#[track_caller]
fn check_deliveries(events: &[StoredEvent], expected: &[bool]) {
    let delivered: Vec<bool> = decide(&mut Course::default(), events).iter().map(Option::is_some).collect();
    assert_eq!(delivered, expected);
}

#[test]
fn a_password_is_delivered_once_to_each_recipient() {
    let sent = |says, to, second| delivery(says, to, second, 3600);
    check_deliveries(&[sent("1", "a", 1), sent("1", "a", 2), sent("1", "b", 3)], &[true, false, true]);
    check_deliveries(&[sent("1", "a", 1), sent("2", "a", 2), sent("1", "a", 3)], &[true, true, false]);
    check_deliveries(&[sent("1", "a", 2), sent("1", "a", 1)], &[true, false]);
}

#[test]
fn a_password_is_not_delivered_after_a_newer_one_or_when_it_has_expired() {
    let sent = |says, to, second| delivery(says, to, second, 3600);
    check_deliveries(&[sent("2", "a", 2), sent("1", "a", 1), sent("1", "b", 1)], &[true, false, true]);
    // What was not delivered is no reason not to deliver it when it comes again.
    check_deliveries(&[sent("2", "a", 2), sent("1", "a", 1), sent("1", "a", 3)], &[true, false, true]);
    check_deliveries(&[delivery("1", "a", 1, 10)], &[false]);
}

#[test]
fn a_link_is_delivered_again_when_the_first_has_expired() {
    let three_hours = 3 * 3600;
    let events = [delivery("1", "a", 0, 3600), delivery("1", "a", three_hours, 3600)];
    let mut course = Course::default();
    let decided = events.each_ref().map(|event| course.decide(event, event.received_at).published.is_some());
    assert_eq!(decided, [true, true]);
}

#[test]
fn a_row_keeps_what_it_needs() {
    let mut course = Course::default();
    let contradicts = |says: &str, second| StoredEvent { policy: Contradicts, ..event(says, second) };
    decide(&mut course, &[contradicts("R", 1)]);
    // As many copies of a second verdict as there may be, and then of others.
    for second in 2..200 {
        decide(&mut course, &[contradicts("A", second)]);
    }
    assert_eq!((course.decisions.len(), course.callbacks), (Course::KEPT, 199));
    for second in 200..300 {
        decide(&mut course, &[contradicts(["P", "p"][usize::try_from(second).unwrap() % 2], second)]);
    }
    assert_eq!(course.decisions.len(), Course::KEPT);
    let standing = course.standing(Timestamp::from_second(300).unwrap());
    assert_eq!((standing.outcome, standing.conflict, course.callbacks), (Review, true, 299));
    // A copy that comes late is still known for one.
    assert_eq!(decide(&mut course, &[contradicts("A", 100)]), [None]);
    assert_eq!(course.first_received_at, Some(Timestamp::from_second(1).unwrap()));
    let json = serde_json::to_string(&course).unwrap();
    assert!(json.len() < 16 * 1024, "{}", json.len());
    assert!(serde_json::from_str::<Course>(&json).unwrap() == course);
}

/// The same, as the provider's answer when it was asked, or as a record of our own.
fn from(origin: Origin, event: StoredEvent) -> StoredEvent {
    let (assurance, kind) = match origin {
        Origin::Callback => (event.assurance, "kind"),
        Origin::Fetched => (crate::Assurance::Fetched, "kind"),
        Origin::Announced => (crate::Assurance::Internal, "announced"),
        Origin::Overdue => (crate::Assurance::Internal, "overdue"),
    };
    let event = StoredEvent { id: format!("{origin:?}{}", event.id), assurance, ..event };
    StoredEvent { kind: format!("example.{kind}"), ..event }
}

/// An event by its text: `A 1` is a callback, `fetched A 1` an answer, `announced 1` and
/// `overdue 1` are records.
fn arrival(text: &str) -> StoredEvent {
    let (event, second) = text.rsplit_once(' ').unwrap();
    let second = second.parse().unwrap();
    match event.split_once(' ') {
        Some((_, says)) => from(Origin::Fetched, event_with(says, second)),
        None if event == "announced" => from(Origin::Announced, event_with("-", second)),
        None if event == "overdue" => from(Origin::Overdue, event_with("-", second)),
        None => event_with(event, second),
    }
}

fn event_with(says: &str, second: i64) -> StoredEvent {
    StoredEvent { policy: Policy::Contradicts, ..event(says, second) }
}

#[test]
fn an_answer_and_a_callback_that_say_the_same_are_one_message() {
    for (arrivals, expected) in [
        // The callback comes after the answer, before it, and while it is on its way.
        (&["fetched A 1", "A 2"][..], &["approved", "-"][..]),
        (&["A 1", "fetched A 2"], &["approved", "-"]),
        (&["A 2", "fetched A 1"], &["approved", "-"]),
        // Asked twice.
        (&["fetched A 1", "fetched A 2"], &["approved", "-"]),
        // An answer that only confirmed does not hide that two callbacks differ.
        (&["A 1", "fetched A 2", "a 3"], &["approved", "-", "approved* was approved"]),
        (&["fetched A 1", "A 2", "A 3"], &["approved", "-", "-"]),
        // They differ.
        (&["R 1", "fetched A 2"], &["rejected", "review! was rejected (approved)"]),
        (&["P 1", "fetched A 2", "A 3"], &["pending", "approved was pending", "-"]),
        (&["fetched A 1", "P 2"], &["approved", "none~ was approved (pending)"]),
    ] {
        let events: Vec<_> = arrivals.iter().map(|text| arrival(text)).collect();
        let mut course = Course::default();
        let decided = decide(&mut course, &events);
        let heard: Vec<_> = events.iter().zip(&decided).map(|(event, decided)| said(event, decided.as_ref())).collect();
        assert_eq!(heard, expected, "{arrivals:?}");
        let callbacks = events.iter().filter(|event| event.origin() == Origin::Callback).count();
        assert_eq!(course.callbacks, callbacks as u64);
    }
}

#[test]
fn an_overdue_verdict_is_reported_unless_it_has_come_and_changes_nothing() {
    for (arrivals, expected) in [
        (&["announced 1", "overdue 5"][..], &["-", "none"][..]),
        (&["P 1", "overdue 5", "overdue 9"], &["pending", "none was pending", "none was pending"]),
        (&["A 1", "overdue 5"], &["approved", "-"]),
        // It came in the meantime.
        (&["P 1", "A 6", "overdue 5"], &["pending", "approved was pending", "-"]),
        // A late one is no less news for it, and a retry no more.
        (&["P 1", "overdue 5", "A 4"], &["pending", "none was pending", "approved was pending"]),
        (&["P 1", "overdue 5", "P 6"], &["pending", "none was pending", "-"]),
        (&["P 1", "announced 5", "p 4"], &["pending", "-", "pending was pending"]),
    ] {
        let events: Vec<_> = arrivals.iter().map(|text| arrival(text)).collect();
        let mut course = Course::default();
        let decided = decide(&mut course, &events);
        let heard: Vec<_> = events.iter().zip(&decided).map(|(event, decided)| said(event, decided.as_ref())).collect();
        assert_eq!(heard, expected, "{arrivals:?}");
    }
}

#[test]
fn records_of_our_own_are_forgotten_before_what_the_provider_said() {
    let mut course = Course::default();
    let callbacks = [event_with("P", 1), event_with("A", 2)];
    let overdue = (3..3 + 2 * Course::KEPT).map(|second| arrival(&format!("overdue {second}")));
    decide(&mut course, &callbacks.iter().cloned().chain(overdue).collect::<Vec<_>>());
    assert_eq!(course.decisions.len(), Course::KEPT);
    assert!(callbacks.iter().all(|event| course.decisions.iter().any(|decision| decision.id == event.id)));
}

#[test]
fn a_track_is_looked_after_until_a_final_verdict_stands() {
    use crate::DueChange::{Clear, Keep, Reset, Set};
    let at = |second| Timestamp::from_second(second).unwrap();
    let after = |seconds| crate::DueRule { after: Some(SignedDuration::from_secs(seconds)), can_be_asked: false };
    let asked = crate::DueRule { can_be_asked: true, ..after(100) };
    let due = |event: StoredEvent, second| StoredEvent { due_at: Some(at(second)), ..event };
    let elsewhere = |event: StoredEvent| StoredEvent { has_verdict_elsewhere: true, ..event };
    let unrecognized = |event: StoredEvent| StoredEvent { unrecognized: Some("unknown_status".to_owned()), ..event };
    for (arrivals, rule, expected) in [
        (vec![event_with("P", 1)], after(100), Set(at(101))),
        (vec![event_with("P", 1)], crate::DueRule::default(), Keep),
        // A kind without a verdict has said all. What is not understood has not.
        (vec![due(arrival("announced 1"), 50), event_with("-", 2)], after(100), Clear),
        (vec![due(arrival("announced 1"), 50), unrecognized(event_with("-", 2))], after(100), Reset(at(50))),
        (vec![unrecognized(event_with("-", 1))], after(100), Keep),
        (vec![event_with("A", 1)], after(100), Clear),
        (vec![event_with("P", 1), event_with("A", 2)], after(100), Clear),
        (vec![event_with("A", 2), event_with("P", 3)], after(100), Clear),
        (vec![due(arrival("announced 1"), 50)], after(100), Reset(at(50))),
        (vec![arrival("announced 1")], after(100), Keep),
        (vec![due(arrival("announced 1"), 50), event_with("P", 2)], after(100), Reset(at(50))),
        (vec![event_with("P", 2), due(arrival("announced 3"), 50)], after(100), Reset(at(50))),
        (vec![event_with("A", 2), due(arrival("announced 3"), 50)], after(100), Clear),
        (vec![due(event_with("M", 2), 62)], after(100), Reset(at(62))),
        (vec![arrival("overdue 2")], after(100), Keep),
        // A verdict that only the provider has is fetched at once, if it can be.
        (vec![elsewhere(event_with("P", 2))], asked, Reset(at(2))),
        (vec![event_with("P", 1), elsewhere(event_with("P", 2))], asked, Reset(at(2))),
        (vec![elsewhere(event_with("P", 2))], after(100), Set(at(102))),
        (vec![elsewhere(event_with("P", 2)), event_with("A", 3)], asked, Clear),
        (vec![delivery("x", "somebody", 1, 100)], after(100), Keep),
        // A doubtful verdict is confirmed, if somebody can be asked. His answer is not doubted
        // again.
        (vec![event_with("A", 1), event_with("R", 2)], after(100), Clear),
        (vec![event_with("A", 1), event_with("R", 2)], asked, Reset(at(500))),
        (vec![event_with("A", 1), event_with("R", 2), arrival("fetched R 3")], asked, Clear),
        (vec![event_with("R", 1), event_with("F", 2), event_with("R", 3)], asked, Reset(at(500))),
    ] {
        let mut course = Course::default();
        for event in &arrivals {
            let decided = course.decide(event, at(500));
            course.look_after(event, decided.published.as_ref(), rule, at(500));
        }
        assert_eq!(course.due, expected, "{arrivals:?}");
    }
}

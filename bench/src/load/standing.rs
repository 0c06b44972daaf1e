//! Where verifications stand: what the stored callbacks say, against the row, the API and a consumer. The rules are
//! written here once more, so that a mistake in `model::Course` is found.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use model::{Course, Outcome, Policy, StoredEvent, Timestamp};

use super::{
    found::{Answered, Found},
    receive::Received,
};

/// Where a track stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    outcome: Outcome,
    is_final: bool,
    conflict: bool,
}

impl Standing {
    /// Where these callbacks leave their track.
    fn of(mut items: Vec<&StoredEvent>) -> Self {
        items.sort_by_key(|item| (item.received_at, item.outcome != Outcome::Approved, &item.id));
        let policy = items.last().map_or(Policy::Reopens, |item| item.policy);
        let last = items.iter().rfind(|item| item.outcome != Outcome::None);
        let last_final = items.iter().rfind(|item| item.outcome != Outcome::None && item.is_final);
        let differs = |item: &&StoredEvent| {
            item.outcome != Outcome::None
                && item.is_final
                && last_final.is_some_and(|last| last.outcome != item.outcome)
        };
        let conflict = policy != Policy::Reopens && items.iter().any(differs);
        let verdict = if policy == Policy::Reopens { last } else { last_final.or(last) };
        let outcome = match verdict.map_or(Outcome::None, |item| item.outcome) {
            Outcome::Approved if conflict && policy == Policy::Contradicts => Outcome::Review,
            outcome => outcome,
        };
        Self { outcome, is_final: verdict.is_some_and(|item| item.is_final), conflict }
    }

    fn of_row(row: &Course, now: Timestamp) -> Self {
        let model::Standing { outcome, is_final, conflict, .. } = row.standing(now);
        Self { outcome, is_final, conflict }
    }

    fn of_answer(answer: &Answered) -> Self {
        let &Answered { outcome, is_final, conflict, .. } = answer;
        Self { outcome, is_final, conflict }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_final = if self.is_final { "final" } else { "not final" };
        write!(f, "{}, {is_final}{}", self.outcome.as_str(), if self.conflict { ", in conflict" } else { "" })
    }
}

/// Where one track should stand, and what says otherwise.
pub(crate) struct Compared<'a> {
    pub(crate) track: &'a str,
    pub(crate) outcome: Outcome,
    /// Empty if everything agrees.
    pub(crate) differences: Vec<String>,
}

/// Compares each track of a verification. `received` are its messages. A track of which something has expired is left out.
pub(crate) fn compare<'a>(found: &'a Found, received: &[&Received], now: Timestamp) -> Vec<Compared<'a>> {
    let mut tracks: BTreeMap<&str, Vec<&StoredEvent>> = BTreeMap::new();
    for stored in &found.stored {
        tracks.entry(&stored.item.track).or_default().push(&stored.item);
    }
    for track in found.rows.keys().chain(found.answered.iter().map(|answered| &answered.track)) {
        tracks.entry(track).or_default();
    }
    tracks.retain(|_, items| items.iter().all(|item| item.expires_at > now.as_second()));
    let compared = |(track, items): (&'a str, Vec<&StoredEvent>)| {
        let callbacks = items.len();
        let truth = Standing::of(items);
        let mut differences = Vec::new();
        let mut check = |what: &str, standing: Option<Standing>| {
            if standing != Some(truth) {
                let says = standing.map_or_else(|| "nothing".to_owned(), |standing| standing.to_string());
                differences.push(format!("{what} says {says}, not {truth}"));
            }
        };
        check("its row", found.rows.get(track).map(|row| Standing::of_row(row, now)));
        let answered = found.answered.iter().find(|answered| answered.track == track);
        check("the API", answered.map(Standing::of_answer));
        if let Some(counted) = answered.map(|answered| answered.callbacks).filter(|counted| *counted != callbacks) {
            differences.push(format!("the API counts {counted} callbacks, not {callbacks}"));
        }
        let held = held(received, track);
        if held != truth.outcome {
            differences.push(format!("a consumer ends with {}, not {}", held.as_str(), truth.outcome.as_str()));
        }
        Compared { track, outcome: truth.outcome, differences }
    };
    tracks.into_iter().map(compared).collect()
}

/// The verdict of a track that a consumer holds in the end: the first with the highest sequence.
fn held(received: &[&Received], track: &str) -> Outcome {
    let of_track = received.iter().filter(|received| received.message.data.track == track && !received.event.delivery);
    let verdicts = of_track.map(|received| &received.message).filter(|message| message.outcome != Outcome::None);
    verdicts.min_by_key(|message| Reverse(&message.sequence)).map_or(Outcome::None, |message| message.outcome)
}

#[cfg(test)]
mod tests {
    use cli::sample::ExpectedEvent;

    use super::{super::found::tests::item, *};

    #[test]
    fn in_whatever_order_callbacks_arrive_row_api_and_consumer_stand_where_they_leave_the_track() {
        const OUTCOMES: [Outcome; 5] =
            [Outcome::Approved, Outcome::Rejected, Outcome::Review, Outcome::Pending, Outcome::None];
        for seed in 0..5000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let policy = [Policy::Reopens, Policy::Corrects, Policy::Contradicts][rng.usize(..3)];
            let mut callbacks: Vec<StoredEvent> = (0..rng.i64(1..8))
                .map(|n| {
                    let outcome = OUTCOMES[rng.usize(..OUTCOMES.len())];
                    let is_final = outcome != Outcome::None && rng.bool();
                    let content = format!("{outcome:?} {is_final} {}", rng.bool());
                    let id = format!("{content:-<32}{n}");
                    // Some are received in the same second.
                    StoredEvent { policy, is_final, id, ..item("a", outcome, n / 2) }
                })
                .collect();
            rng.shuffle(&mut callbacks);
            let mut found = Found::default();
            let messages = callbacks.iter().filter_map(|callback| found.take_in(callback.clone()));
            let received: Vec<Received> =
                messages.map(|message| Received { event: ExpectedEvent::from(&message), message }).collect();
            for Compared { differences, .. } in
                compare(&found, &received.iter().collect::<Vec<_>>(), Timestamp::UNIX_EPOCH)
            {
                let course: Vec<_> = callbacks
                    .iter()
                    .map(|callback| (callback.received_at, &callback.id, callback.outcome, callback.is_final))
                    .collect();
                assert!(differences.is_empty(), "seed {seed}, {policy:?}, {differences:?}: {course:#?}");
            }
        }
    }
}

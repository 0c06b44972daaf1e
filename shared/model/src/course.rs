//! The course of a verification: which callbacks are published, and where their track stands.
//!
//! Providers send no event ids and mostly no timestamps, and callbacks can be delayed (retries, the
//! spill queue). So one callback alone cannot show whether it is new. The request path only
//! records; this module decides, from everything that was recorded on a track. It is pure:
//! [`Course::decide`] takes a row and an event, and returns what to publish.
//!
//! docs/adr/0013 has the rules and the reasons for them.

use serde::{Deserialize, Serialize};

use crate::{
    DueChange, EventId, Origin, Outcome, StoreError, StoredEvent, Timestamp,
    stored::{is_false, milliseconds},
};

/// What a second, different final verdict on a [`Track`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The verification was reopened: the last verdict stands, and nothing is in conflict.
    Reopens,
    /// The provider corrected itself: the last final verdict stands.
    Corrects,
    /// The provider does not change its verdicts, so something is wrong: the last final verdict
    /// stands, but an approval beside a different one becomes a review.
    #[default]
    Contradicts,
}

impl Policy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The unit that has one verdict. Callbacks are compared within a provider, a subject and a track.
///
/// A provider declares a constant for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    name: &'static str,
    policy: Policy,
}

impl Track {
    /// A track of this name, in kebab-case, such as `process-status`.
    #[must_use]
    pub const fn new(name: &'static str, policy: Policy) -> Self {
        Self { name, policy }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What a second final verdict means.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        self.policy
    }
}

/// Names the [`Course`] that an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CourseKey {
    /// The provider's name.
    pub provider: String,
    /// The provider's reference of the verification.
    pub subject: String,
    /// The name of the [`Track`]. One of several has `/` and a name after it, such as `issuance/2`.
    pub track: String,
}

impl CourseKey {
    /// The key of the course that this event belongs to.
    #[must_use]
    pub fn of(event: &StoredEvent) -> Self {
        Self { provider: event.provider.clone(), subject: event.subject.clone(), track: event.track.clone() }
    }
}

/// One track's course: the row of the verifications table that the publisher keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// How often the row was written; 0 if it never was. A row is only written over the version
    /// that was read.
    #[serde(skip)]
    pub version: u64,
    /// What a second final verdict means.
    pub policy: Policy,
    /// The latest [`KEPT`](Self::KEPT) decisions, in the order of their events: by time of receipt,
    /// approvals before other outcomes, then by id.
    pub decisions: Vec<Decision>,
    /// The last sequence number that was assigned.
    pub sequence: u64,
    /// How many callbacks were recorded, repeats included.
    pub callbacks: u64,
    /// When the first of them was received.
    pub first_received_at: Option<Timestamp>,
    /// How writing the row changes when the track is due. The row has that beside the course: see
    /// [`Due`](crate::Due).
    #[serde(skip)]
    pub due: DueChange,
}

/// The decision on one recorded event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The event's id.
    pub id: String,
    /// Provider and kind.
    pub kind: String,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Origin::is_callback")]
    pub origin: Origin,
    /// The callback's verdict: its own, or [`Outcome::Review`] for an approval whose proofs were
    /// used before.
    pub outcome: Outcome,
    /// The callback's own verdict, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Outcome>,
    /// Whether the verdict is final.
    #[serde(rename = "final", default, skip_serializing_if = "is_false")]
    pub is_final: bool,
    /// The codes for it, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// When the callback was received.
    #[serde(serialize_with = "milliseconds")]
    pub received_at: Timestamp,
    /// When it stops counting, in seconds since 1970.
    pub expires_at: i64,
    /// The recipient of a delivery, as a digest. See [`StoredEvent::recipient`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Whether a later parser read the callback again as another event. This one then no longer
    /// counts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replaced: bool,
    /// The published message; none for a repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
}

/// What a message has beside its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The published verdict.
    pub outcome: Outcome,
    /// The message's place among those of its track: rises with each. At least the milliseconds
    /// since 1970 when it was decided, so that it never falls, even if the table was restored to an
    /// earlier state.
    pub sequence: u64,
    /// The track's verdict before, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Outcome>,
    /// The same content was recorded before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repeated: bool,
    /// The callback came too late to change anything.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
    /// The track has final verdicts that differ.
    #[serde(default, skip_serializing_if = "is_false")]
    pub conflict: bool,
    /// Which of the event's [proofs](StoredEvent::proofs) were used before, by their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reused: Vec<u16>,
}

/// Where a track stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing<'a> {
    /// The verdict; [`Outcome::None`] if there is none yet.
    pub outcome: Outcome,
    /// Whether it is final.
    pub is_final: bool,
    /// Whether there are final verdicts that differ, on a track that does not reopen.
    pub conflict: bool,
    /// The decision it rests on: the last verdict, or the last of all if none has one.
    pub decision: Option<&'a Decision>,
}

/// The result of [`Course::decide`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What to publish, if anything.
    pub published: Option<Published>,
    /// Whether this was decided for the first time. If not, the row already had the same decision.
    pub is_new: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            version: 0,
            policy: Policy::Reopens,
            decisions: Vec::new(),
            sequence: 0,
            callbacks: 0,
            first_received_at: None,
            due: DueChange::Keep,
        }
    }
}

impl Course {
    /// How many decisions a row keeps. Enough for any real course; it bounds the row at some 50 KB.
    pub const KEPT: usize = 32;

    /// Decides what to publish of this event, and stores the decision. An event that the row
    /// already has gets the same decision again. No proof of the event was used before, or it has
    /// none.
    pub fn decide(&mut self, event: &StoredEvent, now: Timestamp) -> Decided {
        self.decide_without(event, &[], now)
    }

    /// Decides the same about an event of which these proofs, by their place, were used before.
    pub fn decide_without(&mut self, event: &StoredEvent, reused: &[u16], now: Timestamp) -> Decided {
        if let Some(known) = self.decisions.iter().find(|decision| decision.id == event.id) {
            return Decided { published: known.published.clone(), is_new: false };
        }
        if event.origin().is_provider() {
            self.policy = event.policy;
        }
        if let Some(replaced) = &event.replaces {
            self.decisions.iter_mut().filter(|known| known.id == *replaced).for_each(|known| known.replaced = true);
        }
        let mut decision = Decision::undecided(event, reused);
        let published = if !decision.origin.is_provider() {
            self.report(&decision, now)
        } else if event.is_delivery() {
            self.is_to_be_delivered(&decision, now).then_some(Outcome::None).map(Published::plain)
        } else if self.is_repeat(&decision) {
            None
        } else {
            Some(self.news(&decision, event.replaces.as_deref()))
        };
        decision.published = published.map(|published| {
            self.sequence = u64::try_from(now.as_millisecond()).unwrap_or_default().max(self.sequence + 1);
            Published { sequence: self.sequence, reused: reused.to_vec(), ..published }
        });
        let published = decision.published.clone();
        self.remember(decision);
        Decided { published, is_new: true }
    }

    /// Where the track stands at this time.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing<'_> {
        Standing::of(self.policy, self.decisions.iter().filter(|decision| decision.counts_at(now)))
    }

    /// When everything in the row has expired, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.decisions.iter().map(|decision| decision.expires_at).max().unwrap_or_default()
    }

    /// What to publish of a record of our own, except for its sequence: that a verdict is overdue,
    /// unless one has arrived meanwhile. Announcements are not published.
    fn report(&self, new: &Decision, now: Timestamp) -> Option<Published> {
        let standing = self.standing(now);
        let is_overdue = new.origin == Origin::Overdue && !standing.is_final;
        let previous = Some(standing.outcome).filter(|outcome| *outcome != Outcome::None);
        is_overdue.then(|| Published { previous, ..Published::plain(Outcome::None) })
    }

    /// Whether it is a repeat: it has the same content as the callback before or after it.
    fn is_repeat(&self, new: &Decision) -> bool {
        let mut compared = self.decisions.iter().filter(|d| d.is_compared());
        let before = compared.clone().rev().find(|d| d.place() < new.place() && d.counts_at(new.received_at));
        let after = compared.find(|d| d.place() > new.place() && new.counts_at(d.received_at) && d.counts());
        [before, after].into_iter().flatten().any(|neighbour| neighbour.says_the_same_as(new))
    }

    /// A password or link is delivered once, unless it has expired or its recipient got a newer
    /// one.
    fn is_to_be_delivered(&self, new: &Decision, now: Timestamp) -> bool {
        let same_recipient =
            |d: &&Decision| d.published.is_some() && d.kind == new.kind && d.recipient == new.recipient && d.counts();
        let mut delivered = self.decisions.iter().filter(same_recipient);
        new.counts_at(now)
            && !delivered.any(|d| {
                let (earlier, later) = if d.place() < new.place() { (d, new) } else { (new, d) };
                let is_superseded = d.place() > new.place();
                is_superseded || (d.content() == new.content() && earlier.counts_at(later.received_at))
            })
    }

    /// What to publish of an event that is not a repeat, except for its sequence.
    fn news(&self, new: &Decision, replaces: Option<&str>) -> Published {
        // Expiry is compared with the newest event, so that the order of arrival makes no
        // difference.
        let said = || self.decisions.iter().filter(|d| d.origin.is_provider());
        let newest = said().map(|d| d.received_at).max().unwrap_or(new.received_at).max(new.received_at);
        let others = || said().filter(|d| d.counts_at(newest));
        let stood = |d: &&Decision| d.counts_at(newest) || (Some(d.id.as_str()) == replaces && !d.has_expired(newest));
        let before = Standing::of(self.policy, said().filter(stood));
        let earlier = others().filter(|d| d.place() < new.place());
        let later = others().filter(|d| d.place() > new.place());
        let is_newest = later.clone().next().is_none();
        let after = Standing::of(self.policy, earlier.chain([new]).chain(later));

        let is_verdict = new.outcome != Outcome::None;
        let late = if is_newest {
            is_verdict && !new.is_final && before.is_final && self.policy != Policy::Reopens
        } else {
            (before.outcome, before.is_final) == (after.outcome, after.is_final)
        };
        Published {
            outcome: if late || !is_verdict { Outcome::None } else { after.outcome },
            sequence: 0,
            previous: Some(before.outcome).filter(|outcome| *outcome != Outcome::None),
            repeated: others().any(|d| d.says_the_same_as(new)),
            late,
            conflict: is_verdict && new.is_final && after.conflict,
            reused: Vec::new(),
        }
    }

    /// Puts a decision in its place. If there are too many, it removes one that no later decision
    /// needs.
    fn remember(&mut self, new: Decision) {
        if new.origin.is_callback() {
            self.callbacks += 1;
        }
        if new.origin.is_provider() {
            self.first_received_at =
                Some(self.first_received_at.map_or(new.received_at, |first| first.min(new.received_at)));
        }
        let place = self.decisions.partition_point(|d| d.place() < new.place());
        self.decisions.insert(place, new);
        while self.decisions.len() > Self::KEPT {
            // A repeat between two others of its content: without it, later decisions are the same.
            let within_repeats = self.decisions.windows(3).position(|three| {
                let [before, middle, after] = three else { return false };
                middle.published.is_none()
                    && before.content() == middle.content()
                    && middle.content() == after.content()
            });
            let forgotten = within_repeats.map(|before| before + 1);
            // Otherwise a record of our own, or the oldest. Final verdicts are kept longest.
            let forgotten = forgotten.or_else(|| self.decisions.iter().position(|d| !d.origin.is_provider()));
            let forgotten = forgotten.or_else(|| self.decisions.iter().position(|d| !d.is_final));
            self.decisions.remove(forgotten.unwrap_or_default());
        }
    }
}

impl Decision {
    /// How many of a callback's codes are stored.
    const MAX_REASONS: usize = 8;

    /// The part of an event that a row stores.
    fn undecided(event: &StoredEvent, reused: &[u16]) -> Self {
        let outcome = event.outcome_without(reused);
        Self {
            id: event.id.clone(),
            kind: event.kind.clone(),
            origin: event.origin(),
            outcome,
            reported: Some(event.outcome).filter(|own| *own != outcome),
            is_final: event.is_final,
            reasons: event.reasons_without(reused).into_iter().take(Self::MAX_REASONS).collect(),
            received_at: event.received_at,
            expires_at: event.expires_at,
            recipient: event.recipient.clone(),
            replaced: false,
            published: None,
        }
    }

    /// The callback's own verdict.
    #[must_use]
    pub fn own_outcome(&self) -> Outcome {
        self.reported.unwrap_or(self.outcome)
    }

    /// The digest of the callback's content.
    fn content(&self) -> &str {
        EventId::content_of(&self.id)
    }

    /// Whether a neighbouring callback is compared with it. Records of our own are not. An answer
    /// that only confirmed the verdict is skipped: the callback that it confirmed is compared.
    fn is_compared(&self) -> bool {
        match self.origin {
            Origin::Callback => true,
            Origin::Fetched => self.published.is_some(),
            Origin::Announced | Origin::Overdue => false,
        }
    }

    /// Whether two callbacks have the same content. A fetched answer has less in it than a
    /// callback, so only its verdict counts.
    fn says_the_same_as(&self, other: &Self) -> bool {
        let verdict = |d: &Self| (d.outcome, d.is_final, d.reasons.clone());
        self.content() == other.content()
            || ([self.origin, other.origin].contains(&Origin::Fetched) && verdict(self) == verdict(other))
    }

    /// The place in the course. An approval precedes everything else that was received in the same
    /// millisecond, so that it is not the last verdict.
    fn place(&self) -> (Timestamp, bool, &str) {
        (self.received_at, self.outcome != Outcome::Approved, &self.id)
    }

    fn counts(&self) -> bool {
        !self.replaced
    }

    fn counts_at(&self, time: Timestamp) -> bool {
        self.counts() && !self.has_expired(time)
    }

    fn has_expired(&self, time: Timestamp) -> bool {
        self.expires_at <= time.as_second()
    }
}

impl Published {
    /// The sequence as in a message: 16 digits, so that its text sorts like the number.
    #[must_use]
    pub fn sequence_text(&self) -> String {
        format!("{:016}", self.sequence)
    }

    /// The message of an event without any mark.
    fn plain(outcome: Outcome) -> Self {
        Self { outcome, sequence: 0, previous: None, repeated: false, late: false, conflict: false, reused: Vec::new() }
    }
}

impl<'a> Standing<'a> {
    /// The standing of a track after these decisions, which are in order.
    fn of(policy: Policy, decisions: impl Iterator<Item = &'a Decision>) -> Self {
        let (mut last, mut last_verdict, mut last_final) = (None, None, None);
        let mut conflict = false;
        for decision in decisions {
            last = Some(decision);
            if decision.outcome == Outcome::None {
                continue;
            }
            last_verdict = Some(decision);
            if decision.is_final {
                conflict |= last_final.is_some_and(|other: &Decision| other.outcome != decision.outcome);
                last_final = Some(decision);
            }
        }
        conflict &= policy != Policy::Reopens;
        let verdict = if policy == Policy::Reopens { last_verdict } else { last_final.or(last_verdict) };
        let outcome = match verdict {
            Some(Decision { outcome: Outcome::Approved, .. }) if conflict && policy == Policy::Contradicts => {
                Outcome::Review
            }
            Some(decision) => decision.outcome,
            None => Outcome::None,
        };
        Self { outcome, is_final: verdict.is_some_and(|d| d.is_final), conflict, decision: verdict.or(last) }
    }
}

/// The result of writing a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The row was written.
    Kept,
    /// The row has another version than the one that was read: read it again, and decide again.
    Overtaken,
}

/// Stores the courses: the verifications table.
pub trait Courses: Send + Sync {
    /// The courses with these keys, in order; an empty one if there is no row. Reads consistently.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn read(&self, keys: &[CourseKey]) -> impl Future<Output = Result<Vec<Course>, StoreError>> + Send;

    /// Writes a course if its row still has the version that was read.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time. The course may have been written: read it
    /// again.
    fn write(&self, key: &CourseKey, course: &Course) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// The courses of a verification, by the names of their tracks.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn of_verification(
        &self,
        provider: &str,
        subject: &str,
    ) -> impl Future<Output = Result<Vec<(String, Course)>, StoreError>> + Send;
}

#[cfg(test)]
mod tests;

//! Missing verdicts: when one is due, and what happens then.
//!
//! A verdict is awaited from an announcement, or from a verdict that is not final, until a final
//! verdict stands. The publisher notes that when it writes the row ([`Course::look_after`]): it
//! alone sets and removes the attributes, and the reconciler moves them. The reconciler reads what
//! is due, asks the provider if it can, and records the result as an event.
//!
//! Pure, except for the trait: time is an argument. docs/adr/0017 has the rules and the reasons for
//! them.

use jiff::SignedDuration;

use crate::{Course, CourseKey, Outcome, Published, StoreError, StoredEvent, Timestamp};

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A callback of the provider.
    #[default]
    Callback,
    /// The provider's answer when it was asked.
    Fetched,
    /// An announcement by one of your services.
    Announced,
    /// A verdict did not arrive in time.
    Overdue,
}

impl Origin {
    /// Whether it comes from the provider: a callback, or an answer.
    #[must_use]
    pub fn is_provider(self) -> bool {
        matches!(self, Self::Callback | Self::Fetched)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_callback(&self) -> bool {
        *self == Self::Callback
    }
}

/// When a provider's verdicts are due that were not announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DueRule {
    /// How long after a verdict that is not final. None: never.
    pub after: Option<SignedDuration>,
    /// Whether the provider can be asked. Then a doubtful verdict is confirmed, and one that a callback
    /// does not contain is fetched.
    pub can_be_asked: bool,
}

/// How the publisher changes when a track is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DueChange {
    /// Nothing.
    #[default]
    Keep,
    /// It is due at this time, unless it already has a due time.
    Set(Timestamp),
    /// It is due at this time, in place of any earlier one.
    Reset(Timestamp),
    /// It is no longer due.
    Clear,
}

impl DueChange {
    /// This change and then another.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (before, Self::Keep) => before,
            (Self::Clear | Self::Reset(_), Self::Set(time)) => match self {
                Self::Reset(earlier) => Self::Reset(earlier),
                _ => Self::Reset(time),
            },
            (Self::Set(earlier), Self::Set(_)) => Self::Set(earlier),
            (_, next) => next,
        }
    }
}

impl Course {
    /// Notes when the track is due, after the first decision on this event.
    pub fn look_after(&mut self, event: &StoredEvent, published: Option<&Published>, rule: DueRule, now: Timestamp) {
        let standing = self.standing(now);
        let is_doubtful = published.is_some_and(|published| published.repeated || published.conflict);
        let change = if event.is_delivery() {
            DueChange::Keep
        } else if standing.is_final {
            if is_doubtful && rule.can_be_asked && event.origin() == Origin::Callback {
                DueChange::Reset(now)
            } else if event.origin().is_provider() {
                DueChange::Clear
            } else {
                DueChange::Keep
            }
        } else if event.has_verdict_elsewhere && rule.can_be_asked {
            DueChange::Reset(event.received_at)
        } else if let Some(due_at) = event.due_at {
            DueChange::Reset(due_at)
        } else if event.outcome == Outcome::None && event.origin().is_provider() && event.unrecognized.is_none() {
            // Such as a document that arrived. No verdict follows, so nothing more is awaited.
            DueChange::Clear
        } else if event.outcome == Outcome::None || event.origin() != Origin::Callback {
            DueChange::Keep
        } else {
            let due_at = rule.after.and_then(|after| event.received_at.checked_add(after).ok());
            due_at.map_or(DueChange::Keep, DueChange::Set)
        };
        self.due = self.due.then(change);
    }
}

/// A track whose verdict is awaited, from its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which track.
    pub key: CourseKey,
    /// When the verdict was due, or when it is reported missing again.
    pub due_at: Timestamp,
    /// When the track is checked next. The reconciler moves it before it checks.
    pub ask_at: Timestamp,
    /// How often the provider was asked, or the verdict reported missing.
    pub asks: u32,
}

impl Due {
    /// The number of partitions of the index.
    pub const SHARDS: u8 = 8;

    /// How long a claim on a track lasts. If its reconciler dies, another one continues.
    pub const CLAIM: SignedDuration = SignedDuration::from_mins(2);

    /// How long after a report a missing verdict is reported again.
    pub const AGAIN: SignedDuration = SignedDuration::from_hours(24);

    /// For how many days a missing verdict is reported. After that, it is no longer awaited.
    pub const DAYS: u32 = 30;
}

/// When a provider is asked: at these times after a verdict was due, in seconds, and then once a
/// day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule(pub &'static [u32]);

/// What to do about a track that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Check again at this time.
    Wait(Timestamp),
    /// Report that the verdict is missing, and check again a day after it was due.
    Overdue,
    /// Nothing more.
    GiveUp,
}

impl Schedule {
    /// For tracks whose provider cannot be asked.
    pub const NONE: Self = Self(&[]);

    /// When the provider may be asked for the first, second or later time, counted from 0. None
    /// after the last one.
    #[must_use]
    pub fn time_of(self, ask: u32, due_at: Timestamp) -> Option<Timestamp> {
        let seconds = self.0.get(usize::try_from(ask).ok()?)?;
        due_at.checked_add(SignedDuration::from_secs((*seconds).into())).ok()
    }

    /// What to do after this many questions without a verdict. If the provider does not know the
    /// verification, asking again soon is useless.
    #[must_use]
    pub fn after(self, asks: u32, is_unknown: bool, due_at: Timestamp) -> Next {
        let tries = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        match self.time_of(asks, due_at) {
            Some(time) if !is_unknown => Next::Wait(time),
            _ if asks > tries.saturating_add(Due::DAYS) => Next::GiveUp,
            _ => Next::Overdue,
        }
    }
}

/// Knows which tracks are due: the verifications table.
pub trait Dues: Send + Sync {
    /// The tracks of this shard that are due at this time, the oldest first, and at most this many.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn due(
        &self,
        shard: u8,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<CourseKey>, StoreError>> + Send;

    /// The latest state of a track: when it is due, and its course. None if it is no longer due.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn read_due(&self, key: &CourseKey) -> impl Future<Output = Result<Option<(Due, Course)>, StoreError>> + Send;

    /// Replaces what was read by `next`, if it is unchanged; none means that the track is no longer
    /// due. Returns whether it did.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time. It may have been done.
    fn move_on(&self, due: &Due, next: Option<&Due>) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_later_change_counts_but_what_is_awaited_already_stays() {
        use DueChange::{Clear, Keep, Reset, Set};
        for (one, other, both) in [
            (Keep, Set(at(1)), Set(at(1))),
            (Set(at(1)), Keep, Set(at(1))),
            (Set(at(1)), Set(at(2)), Set(at(1))),
            (Reset(at(1)), Set(at(2)), Reset(at(1))),
            (Clear, Set(at(2)), Reset(at(2))),
            (Set(at(1)), Reset(at(2)), Reset(at(2))),
            (Set(at(1)), Clear, Clear),
            (Clear, Keep, Clear),
            (Clear, Clear, Clear),
        ] {
            assert_eq!(one.then(other), both, "{one:?} {other:?}");
        }
    }

    proptest! {
        #[test]
        fn every_schedule_asks_as_often_as_it_says_then_reports_daily_and_ends(
            offsets in proptest::collection::btree_set(0_u32..10_000, 0..12), due in 0_i64..2_000_000_000,
        ) {
            let offsets: &'static [u32] = offsets.into_iter().collect::<Vec<_>>().leak();
            let schedule = Schedule(offsets);
            let (mut asks, mut times, mut reports) = (0, vec![schedule.time_of(0, at(due))], 0);
            loop {
                asks += 1;
                match schedule.after(asks, false, at(due)) {
                    Next::Wait(time) => times.push(Some(time)),
                    Next::Overdue => reports += 1,
                    Next::GiveUp => break,
                }
            }
            let expected: Vec<_> = offsets.iter().map(|seconds| Some(at(due + i64::from(*seconds)))).collect();
            prop_assert_eq!(times, if offsets.is_empty() { vec![None] } else { expected });
            prop_assert!(reports == Due::DAYS || reports == Due::DAYS + 1, "{}", reports);
            prop_assert_eq!(schedule.after(0, true, at(due)), Next::Overdue);
        }
    }
}

//! Fetches or reports missing verdicts.
//!
//! A schedule runs this each minute. It reads the due tracks from an index of the verifications
//! table, asks the source of each, and records the result as an event: a verdict, or that the
//! verdict is overdue. It never writes a course: the publisher processes the event like a callback.
//!
//! It claims a track before it asks, by moving the time of the next check. So two reconcilers at
//! once do nothing twice, and if one dies, another one continues when the claim ends. The id of an
//! overdue record is made of the track and its due time, so it is always recorded once.

pub mod asked;
pub mod sources;

use futures_util::future::join_all;
use jiff::SignedDuration;
use model::{
    Course, CourseKey, Due, Dues, Events, Identity, Next, Retention, Schedule, StoreError, StoredEvent, Timestamp,
};
use runtime::{chain, telemetry};
use tracing::{info, warn};

/// Fetches or reports missing verdicts.
#[derive(Debug)]
pub struct Reconciler<D, E, S> {
    /// The due tracks.
    pub dues: D,
    /// Where events are recorded.
    pub events: E,
    /// The sources of verdicts.
    pub source: S,
    /// How long events are stored.
    pub retention: Retention,
}

/// A source's answer about a verdict.
#[derive(Debug)]
pub enum Answer {
    /// A verdict, or a later step towards one.
    Verdict(Box<StoredEvent>),
    /// No verdict yet.
    NotYet,
    /// The source does not know this verification.
    Unknown,
    /// No usable answer now, and none before this much time has passed.
    Unavailable(SignedDuration),
}

/// The sources that can be asked for verdicts.
pub trait Source: Send + Sync {
    /// When it can be asked for the verdict of this track: never, if it has no source.
    fn schedule(&self, key: &CourseKey, course: &Course) -> Schedule;

    /// Whether it may be asked about this track now. If so, counts the request; if not, returns
    /// when.
    fn admit(&self, key: &CourseKey, now: Timestamp) -> impl Future<Output = Result<(), Timestamp>> + Send;

    /// Asks for the verdict of this track.
    fn ask<E: Events>(
        &self,
        key: &CourseKey,
        course: &Course,
        events: &E,
        now: Timestamp,
    ) -> impl Future<Output = Answer> + Send;
}

/// How long the publisher has to decide on a verdict before it is requested again.
const UNTIL_PUBLISHED: SignedDuration = SignedDuration::from_mins(10);

/// How many tracks of a shard are checked in one run. The rest waits for the next minute.
const PAGE: usize = 250;

impl<D: Dues, E: Events, S: Source> Reconciler<D, E, S> {
    /// Checks the due tracks until there is no time left.
    pub async fn reconcile(&self, clock: impl Fn() -> Timestamp, until: Timestamp) {
        let clock = &clock;
        let of_shard = async |shard| match self.dues.due(shard, clock(), PAGE).await {
            Ok(keys) => {
                for key in keys {
                    if clock() >= until {
                        warn!("no time left: the rest waits for the next run");
                        break;
                    }
                    if let Err(failure) = self.look_at(&key, clock()).await {
                        warn!(provider = key.provider, error = chain(&failure), "failed to look after a verdict");
                    }
                }
            }
            Err(failure) => warn!(error = chain(&failure), "failed to read what is due"),
        };
        join_all((0..Due::SHARDS).map(of_shard)).await;
    }

    /// Checks one track.
    async fn look_at(&self, key: &CourseKey, now: Timestamp) -> Result<(), StoreError> {
        // The index may lag behind the row.
        let Some((due, course)) = self.dues.read_due(key).await?.filter(|(due, _)| due.ask_at <= now) else {
            return Ok(());
        };
        let is_final = course.standing(now).is_final;
        let schedule = self.source.schedule(key, &course);
        match schedule.time_of(due.asks, due.due_at) {
            // If it is no longer due, it was reported as missing, and a postponed request can be
            // sent now.
            Some(time) if time > now && due.due_at <= now => {
                self.dues.move_on(&due, Some(&Due { ask_at: time, ..due.clone() })).await?;
                return Ok(());
            }
            None if is_final => {
                self.dues.move_on(&due, None).await?;
                return Ok(());
            }
            _ => {}
        }

        if schedule != Schedule::NONE
            && let Err(until) = self.source.admit(key, now).await
        {
            let next = self.put_off(&due, schedule, until, is_final, now).await?;
            self.dues.move_on(&due, next.as_ref()).await?;
            return Ok(());
        }

        let claimed = Due { ask_at: later(now, Due::CLAIM), asks: due.asks.saturating_add(1), ..due.clone() };
        if !self.dues.move_on(&due, Some(&claimed)).await? {
            return Ok(());
        }
        let answer = match schedule {
            Schedule::NONE => Answer::Unknown,
            _ => self.source.ask(key, &course, &self.events, now).await,
        };
        let next = match answer {
            Answer::Verdict(event) => {
                let (id, kind, outcome) = (&event.id, &event.kind, event.outcome.as_str());
                info!(event.id = id, event.kind = kind, event.outcome = outcome, "a verdict was found");
                self.events.record(*event).await?;
                // If it is final, it is not requested again: the publisher ends the waiting when it
                // decides the event.
                Some(Due { ask_at: later(now, UNTIL_PUBLISHED), ..claimed.clone() })
            }
            Answer::NotYet => self.next(&claimed, schedule, false, is_final, now).await?,
            Answer::Unknown => self.next(&claimed, schedule, true, is_final, now).await?,
            Answer::Unavailable(pause) => match last_try(schedule, &claimed) {
                Some(last) if last <= now || now < claimed.due_at => {
                    self.put_off(&claimed, schedule, later(now, pause), is_final, now).await?
                }
                last => {
                    let next = self.next(&claimed, schedule, false, is_final, now).await?;
                    // A pause ends at the last time of the schedule at the latest: then the verdict is
                    // overdue.
                    let pause_ends = last.map_or(later(now, pause), |last| later(now, pause).min(last));
                    next.map(|next| Due { ask_at: next.ask_at.max(pause_ends), ..next })
                }
            },
        };
        self.dues.move_on(&claimed, next.as_ref()).await?;
        Ok(())
    }

    /// The next check of a track whose source may not be asked before this time. This does not
    /// count as a request. But when the provider would have been asked for the last time, the
    /// verdict is still overdue.
    async fn put_off(
        &self,
        due: &Due,
        schedule: Schedule,
        until: Timestamp,
        is_final: bool,
        now: Timestamp,
    ) -> Result<Option<Due>, StoreError> {
        // Spread, so that not all are checked at once.
        let ask_at = later(until, SignedDuration::from_secs(spread(&due.key)));
        if now < last_try(schedule, due).unwrap_or(due.due_at) {
            return Ok(Some(Due { ask_at, ..due.clone() }));
        }
        let reported = Due { asks: due.asks.saturating_add(1), ..due.clone() };
        let next = self.next(&reported, schedule, true, is_final, now).await?;
        Ok(next.map(|next| Due { ask_at, ..next }))
    }

    /// The next check of a track after one without a final verdict. Records the verdict as overdue
    /// if it is.
    async fn next(
        &self,
        claimed: &Due,
        schedule: Schedule,
        is_unknown: bool,
        is_final: bool,
        now: Timestamp,
    ) -> Result<Option<Due>, StoreError> {
        match schedule.after(claimed.asks, is_unknown, claimed.due_at) {
            Next::Wait(time) => Ok(Some(Due { ask_at: time, ..claimed.clone() })),
            // It was reported before a postponed request.
            Next::Overdue if now < claimed.due_at => Ok(Some(Due { ask_at: claimed.due_at, ..claimed.clone() })),
            // A confirmation that no source has: the verdict stands.
            Next::Overdue | Next::GiveUp if is_final => Ok(None),
            Next::GiveUp => Ok(None),
            Next::Overdue => {
                let event = StoredEvent::overdue(&claimed.key, claimed.due_at, self.retention);
                warn!(event.id = event.id, provider = claimed.key.provider, track = claimed.key.track, "overdue");
                self.events.record(event).await?;
                telemetry::overdue();
                let mut due_at = claimed.due_at;
                while due_at <= now {
                    due_at = later(due_at, Due::AGAIN);
                }
                Ok(Some(Due { due_at, ask_at: due_at, ..claimed.clone() }))
            }
        }
    }
}

/// When the provider is asked for the last time before the verdict is overdue. None if that has
/// passed.
fn last_try(schedule: Schedule, due: &Due) -> Option<Timestamp> {
    let last = u32::try_from(schedule.0.len()).ok()?.checked_sub(1)?;
    schedule.time_of(last, due.due_at).filter(|_| due.asks <= last)
}

/// Up to five minutes, in seconds, always the same for one track.
fn spread(key: &CourseKey) -> i64 {
    let digest = Identity::of([key.provider.as_str(), &key.subject, &key.track].map(Some)).to_hex();
    i64::from_str_radix(digest.get(..6).unwrap_or_default(), 16).unwrap_or_default() % 300
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

//! What comes into the events table, and what is decided about it, found by looking at the tables
//! again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::SignedDuration;
use model::{Decision, StoredEvent, Timestamp};
use runtime::DynamoCourses;
use tokio::time::Instant;

use crate::{
    events::{Events, Key, PAGE},
    rows::{decision_about, with_rows},
    selection::now,
    stack::{Connections, Stack},
};

/// Where a look begins, before the last one: the index by day follows the table within a second,
/// and clocks differ a little.
pub(crate) const OVERLAP: SignedDuration = SignedDuration::from_mins(1);

/// How far back it is looked from time to time, for callbacks that were spilled, and came into the
/// table later.
const FAR_BACK: SignedDuration = SignedDuration::from_hours(1);

/// How often it is looked so far back.
const FAR_BACK_EVERY: Duration = Duration::from_secs(60);

/// How long to wait between two looks.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait at most until it is looked again what was decided about an event.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long to wait for a decision about an event at all: Lambda gives it up after half an hour.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Looks for events that come into the table, and for what is decided about them.
///
/// The events table says what was received, and the rows of the verifications table what was
/// decided about it. Both are only read.
pub(crate) struct Watch {
    pub(crate) events: Events,
    courses: DynamoCourses,
    /// Where the next look begins.
    from: Timestamp,
    far_back_at: Instant,
    /// When each event was received that was found already, by its id: those that a look can find
    /// again.
    found: BTreeMap<String, Timestamp>,
    /// Those about which nothing is decided yet.
    open: Vec<Open>,
}

/// An event about which nothing is decided yet.
struct Open {
    key: Key,
    since: Instant,
    look_at: Instant,
    pause: Duration,
}

impl Watch {
    /// Watches for callbacks that were received since then, or that come into the table from now
    /// on.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub(crate) async fn since(stack: &Stack, connections: &Connections, since: Timestamp) -> anyhow::Result<Self> {
        let events = Events::with(stack, connections);
        let mut found = BTreeMap::new();
        let before = now() - FAR_BACK - OVERLAP;
        if before < since {
            let keys = events.keys_received(before, since).await?;
            found.extend(keys.into_iter().map(|key| (key.id, key.received_at)));
        }
        Ok(Self {
            events,
            courses: DynamoCourses::new(connections.dynamodb.clone(), stack.verifications_table.clone()),
            from: since,
            far_back_at: Instant::now() + FAR_BACK_EVERY,
            found,
            open: Vec::new(),
        })
    }

    /// Finds what came into the table since the last look.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub(crate) async fn look(&mut self) -> anyhow::Result<()> {
        let (now, instant) = (now(), Instant::now());
        let mut from = self.from;
        if self.far_back_at <= instant {
            from = from.min(now - FAR_BACK);
            self.far_back_at = instant + FAR_BACK_EVERY;
        }
        for key in self.events.keys_received(from, now + OVERLAP).await? {
            if self.found.insert(key.id.clone(), key.received_at).is_none() {
                self.open.push(Open { key, since: instant, look_at: instant, pause: PAUSE });
            }
        }
        self.from = now - OVERLAP;
        // No look goes back further.
        self.found.retain(|_, received_at| *received_at > now - FAR_BACK - OVERLAP);
        Ok(())
    }

    /// The next events that were found, without their bodies, each with what was decided about it.
    /// One about which nothing is decided yet comes again later. None if it is not time yet to look
    /// for more.
    ///
    /// # Errors
    /// If a table cannot be read.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<(StoredEvent, Option<Decision>)>>> {
        let now = Instant::now();
        let mut due: Vec<Open> = self.open.extract_if(.., |open| open.look_at <= now).collect();
        if due.is_empty() {
            return Ok(None);
        }
        self.open.extend(due.split_off(due.len().min(PAGE)));
        let keys: Vec<Key> = due.iter().map(|open| open.key.clone()).collect();
        let events = self.events.get(&keys).await?;
        let mut found = Vec::new();
        let mut decided = BTreeSet::new();
        for (event, row) in with_rows(&self.courses, &self.events, events).await? {
            let decision = decision_about(&event, row);
            decided.extend(decision.as_ref().map(|decision| decision.id.clone()));
            found.push((event, decision));
        }
        for open in due {
            let is_settled = decided.contains(&open.key.id) || self.events.is_skipped(&open.key.id);
            if !is_settled && open.since.elapsed() < PATIENCE {
                let pause = (open.pause * 2).min(LONGEST_PAUSE);
                self.open.push(Open { look_at: now + open.pause, pause, ..open });
            }
        }
        Ok(Some(found))
    }
}

//! What is looked up elsewhere, and kept for a while.

use std::{fmt, time::Duration};

use jiff::SignedDuration;
use model::Timestamp;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{Error, start::chain};

/// Looks something up that may change.
pub trait LookUp: Send + Sync {
    /// What it is.
    type Value: Clone + fmt::Debug + PartialEq + Send;

    /// What it is called in the log.
    const WHAT: &'static str;

    /// How old a value may grow while it cannot be looked up again; as old as it gets, if that does no harm.
    const MAX_AGE: SignedDuration = SignedDuration::MAX;

    /// Looks it up.
    ///
    /// # Errors
    /// If it cannot be had now, or makes no sense.
    fn look_up(&self) -> impl Future<Output = Result<Self::Value, Error>> + Send;
}

/// A value that is looked up when it has grown old, or when asked to; a look-up that fails keeps what is known.
#[derive(Debug)]
pub struct Cached<L: LookUp> {
    source: L,
    /// How long a look-up may take while somebody waits for it.
    patience: Duration,
    known: Mutex<Known<L::Value>>,
}

#[derive(Debug)]
struct Known<V> {
    value: Option<(V, Timestamp)>,
    tried_at: Option<Timestamp>,
}

impl<L: LookUp> Cached<L> {
    /// How long a value is used before it is looked up again.
    pub const TTL: SignedDuration = SignedDuration::from_mins(5);

    /// How long after a look-up there is no other one, whatever comes in.
    pub const COOL_DOWN: SignedDuration = SignedDuration::from_secs(30);

    /// Long enough for a new TLS connection from a small function; nobody is waiting during init.
    const PATIENCE_AT_START: Duration = Duration::from_secs(5);

    /// A cache in front of this. Nothing is looked up yet.
    pub fn new(source: L, patience: Duration) -> Self {
        Self { source, patience, known: Mutex::new(Known { value: None, tried_at: None }) }
    }

    /// The same, looked up once, with the time that there is at the start. That it fails is no error: it is looked up again
    /// when it is needed.
    pub async fn filled(self, now: Timestamp) -> Self {
        self.refresh(&mut *self.known.lock().await, now, Self::PATIENCE_AT_START).await;
        self
    }

    /// The value, looked up if it is unknown or older than [`TTL`](Self::TTL). None if it was never found.
    pub async fn get(&self, now: Timestamp) -> Option<L::Value> {
        let mut known = self.known.lock().await;
        if known.value.as_ref().is_none_or(|(_, at)| now.duration_since(*at) >= Self::TTL) {
            self.refresh(&mut known, now, self.patience).await;
        }
        let young = known.value.as_ref().filter(|(_, at)| now.duration_since(*at) < L::MAX_AGE);
        young.map(|(value, _)| value.clone())
    }

    /// The value, looked up now. None if that fails, or if the last look-up is less than [`COOL_DOWN`](Self::COOL_DOWN) ago.
    pub async fn refreshed(&self, now: Timestamp) -> Option<L::Value> {
        let mut known = self.known.lock().await;
        let found = self.refresh(&mut known, now, self.patience).await;
        known.value.as_ref().filter(|_| found).map(|(value, _)| value.clone())
    }

    /// Looks the value up unless that was done a short time ago. Says whether it was found.
    async fn refresh(&self, known: &mut Known<L::Value>, now: Timestamp, patience: Duration) -> bool {
        if known.tried_at.is_some_and(|tried_at| now.duration_since(tried_at) < Self::COOL_DOWN) {
            return false;
        }
        known.tried_at = Some(now);
        let found = tokio::time::timeout(patience, self.source.look_up()).await.unwrap_or_else(|late| Err(late.into()));
        match found {
            Ok(value) => {
                if known.value.as_ref().is_some_and(|(old, _)| *old != value) {
                    info!(what = L::WHAT, "looked up, and it has changed");
                }
                known.value = Some((value, now));
                true
            }
            Err(error) => {
                let kept = known.value.is_some();
                warn!(what = L::WHAT, error = chain(error.as_ref()), kept, "failed to look up");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex as StdMutex,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Counts look-ups, and has a value or fails.
    #[derive(Default)]
    struct Source {
        value: StdMutex<Option<&'static str>>,
        look_ups: AtomicUsize,
    }

    impl LookUp for &Source {
        type Value = &'static str;
        const WHAT: &'static str = "test";

        async fn look_up(&self) -> Result<Self::Value, Error> {
            self.look_ups.fetch_add(1, Ordering::Relaxed);
            self.value.lock().unwrap().ok_or_else(|| "there is none".into())
        }
    }

    impl Source {
        fn of(value: &'static str) -> Self {
            Self { value: StdMutex::new(Some(value)), ..Self::default() }
        }

        fn becomes(&self, value: Option<&'static str>) {
            *self.value.lock().unwrap() = value;
        }

        fn look_ups(&self) -> usize {
            self.look_ups.load(Ordering::Relaxed)
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_769_817_600 + seconds).unwrap()
    }

    fn cached(source: &Source) -> Cached<&Source> {
        Cached::new(source, Duration::from_millis(50))
    }

    #[tokio::test]
    async fn a_value_is_looked_up_once_within_its_ttl() {
        let source = Source::of("old");
        let cached = cached(&source).filled(at(0)).await;
        for second in 0..300 {
            assert_eq!(cached.get(at(second)).await, Some("old"));
        }
        assert_eq!(source.look_ups(), 1);
        source.becomes(Some("new"));
        assert_eq!(cached.get(at(300)).await, Some("new"));
        assert_eq!(source.look_ups(), 2);
    }

    #[tokio::test]
    async fn asking_for_it_causes_one_look_up_in_a_cool_down() {
        let source = Source::of("old");
        let cached = cached(&source).filled(at(0)).await;
        source.becomes(Some("new"));
        assert_eq!(cached.refreshed(at(29)).await, None);
        assert_eq!(cached.refreshed(at(30)).await, Some("new"));
        for second in 30..120 {
            cached.refreshed(at(second)).await;
        }
        // At 0, 30, 60 and 90.
        assert_eq!(source.look_ups(), 4);
    }

    #[tokio::test]
    async fn a_failed_look_up_keeps_what_is_known_and_counts_for_the_cool_down() {
        let source = Source::of("old");
        let cached = cached(&source).filled(at(0)).await;
        source.becomes(None);
        for second in 300..330 {
            assert_eq!(cached.get(at(second)).await, Some("old"));
            assert_eq!(cached.refreshed(at(second)).await, None);
        }
        assert_eq!(source.look_ups(), 2);
    }

    #[tokio::test]
    async fn what_was_never_found_is_sought_again_after_the_cool_down() {
        let source = Source::default();
        let cached = cached(&source).filled(at(0)).await;
        assert_eq!(cached.get(at(29)).await, None);
        assert_eq!(source.look_ups(), 1);
        source.becomes(Some("new"));
        assert_eq!(cached.get(at(30)).await, Some("new"));
    }

    #[tokio::test]
    async fn a_source_that_does_not_answer_is_not_waited_for() {
        struct Silent;
        impl LookUp for Silent {
            type Value = ();
            const WHAT: &'static str = "silence";

            async fn look_up(&self) -> Result<(), Error> {
                std::future::pending().await
            }
        }
        assert_eq!(Cached::new(Silent, Duration::from_millis(20)).get(at(0)).await, None);
    }
}

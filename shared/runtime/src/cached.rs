//! Values that are looked up elsewhere and cached.

use std::{fmt, time::Duration};

use jiff::SignedDuration;
use model::Timestamp;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{Error, start::chain, telemetry};

/// Looks something up that may change.
pub trait LookUp: Send + Sync {
    /// The value's type.
    type Value: Clone + fmt::Debug + PartialEq + Send;

    /// Its name in the log.
    const WHAT: &'static str;

    /// How old a value may become while its source does not answer. No limit, if an old value is
    /// harmless.
    const MAX_AGE: SignedDuration = SignedDuration::MAX;

    /// How old a value may become while its source answers, but no longer has a usable value
    /// ([`Unusable`]).
    const MAX_AGE_UNUSABLE: SignedDuration = Self::MAX_AGE;

    /// Looks it up.
    ///
    /// # Errors
    /// [`Unusable`] if the source answers, but has no usable value. Any other error if it does not
    /// answer.
    fn look_up(&self) -> impl Future<Output = Result<Self::Value, Error>> + Send;
}

/// The source answered, but has no usable value: it was withdrawn, or replaced by something that
/// cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the source has no usable value")]
pub struct Unusable(#[source] pub Error);

/// A value that is looked up when it is too old, or on request. A failed look-up keeps the cached
/// value, if that is younger than [`LookUp::MAX_AGE`].
///
/// A stranger cannot cause look-ups at will. While a value is cached, the next look-up is at least
/// [`COOL_DOWN`](Self::COOL_DOWN) after the last one. While none is known, it is at least
/// [`COOL_DOWN_UNKNOWN`](Self::COOL_DOWN_UNKNOWN) after the last one that failed. Look-ups never
/// overlap, because each holds the lock, and each is limited by the time that its caller has.
#[derive(Debug)]
pub struct Cached<L: LookUp> {
    source: L,
    /// How long a look-up may take while a caller waits for it.
    patience: Duration,
    known: Mutex<Known<L::Value>>,
}

#[derive(Debug)]
struct Known<V> {
    /// The value, and when it was looked up.
    value: Option<(V, Timestamp)>,
    /// Whether the source's last answer was that it has no usable value.
    is_unusable: bool,
    tried_at: Option<Timestamp>,
}

impl<L: LookUp> Cached<L> {
    /// How long a value is used before it is looked up again.
    pub const TTL: SignedDuration = SignedDuration::from_mins(5);

    /// The shortest time between two look-ups while a value is cached, for any input.
    pub const COOL_DOWN: SignedDuration = SignedDuration::from_secs(30);

    /// The same while no value is known. It is short because every callback is answered 503 until
    /// the value is found.
    pub const COOL_DOWN_UNKNOWN: SignedDuration = SignedDuration::from_secs(1);

    /// A cache in front of this source. Nothing is looked up yet.
    pub fn new(source: L, patience: Duration) -> Self {
        let known = Known { value: None, is_unusable: false, tried_at: None };
        Self { source, patience, known: Mutex::new(known) }
    }

    /// The same, after one look-up of at most this time. A failure is not an error, and no
    /// cool-down follows it: the callback that started the process is waiting, so it gets a look-up
    /// of its own.
    pub async fn filled(self, now: Timestamp, patience: Duration) -> Self {
        let mut known = self.known.lock().await;
        if !self.refresh(&mut known, now, patience).await {
            known.tried_at = None;
        }
        drop(known);
        self
    }

    /// The value, looked up if it is unknown or older than [`TTL`](Self::TTL). None if it is
    /// unknown or too old.
    pub async fn get(&self, now: Timestamp) -> Option<L::Value> {
        let mut known = self.known.lock().await;
        if known.value.as_ref().is_none_or(|(_, at)| now.duration_since(*at) >= Self::TTL) {
            self.refresh(&mut known, now, self.patience).await;
        }
        Self::usable(&known, now).cloned()
    }

    /// The value, looked up now. None if that fails, or if the cool-down is not over.
    pub async fn refreshed(&self, now: Timestamp) -> Option<L::Value> {
        let mut known = self.known.lock().await;
        let found = self.refresh(&mut known, now, self.patience).await;
        known.value.as_ref().filter(|_| found).map(|(value, _)| value.clone())
    }

    /// The value, unless it is too old.
    fn usable(known: &Known<L::Value>, now: Timestamp) -> Option<&L::Value> {
        let max_age = if known.is_unusable { L::MAX_AGE_UNUSABLE } else { L::MAX_AGE };
        known.value.as_ref().filter(|(_, at)| now.duration_since(*at) < max_age).map(|(value, _)| value)
    }

    /// Looks the value up, unless the cool-down is not over. Returns whether it was found.
    async fn refresh(&self, known: &mut Known<L::Value>, now: Timestamp, patience: Duration) -> bool {
        let cool_down = if Self::usable(known, now).is_some() { Self::COOL_DOWN } else { Self::COOL_DOWN_UNKNOWN };
        if known.tried_at.is_some_and(|tried_at| now.duration_since(tried_at) < cool_down) {
            return false;
        }
        known.tried_at = Some(now);
        let found = tokio::time::timeout(patience, self.source.look_up()).await.unwrap_or_else(|late| Err(late.into()));
        match found {
            Ok(value) => {
                if known.value.as_ref().is_some_and(|(old, _)| *old != value) {
                    info!(what = L::WHAT, "looked up, and it has changed");
                }
                *known = Known { value: Some((value, now)), is_unusable: false, ..*known };
                true
            }
            Err(error) => {
                // Without an answer, the last answer counts.
                known.is_unusable |= error.is::<Unusable>();
                let kept = Self::usable(known, now).is_some();
                warn!(what = L::WHAT, error = chain(error.as_ref()), kept, "failed to look up");
                telemetry::look_up_failed();
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
    struct Source {
        answer: StdMutex<Answer>,
        look_ups: AtomicUsize,
    }

    #[derive(Clone, Copy)]
    enum Answer {
        Value(&'static str),
        Unusable,
        None,
    }

    impl LookUp for &Source {
        type Value = &'static str;
        const WHAT: &'static str = "test";
        const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
        const MAX_AGE_UNUSABLE: SignedDuration = SignedDuration::from_hours(1);

        async fn look_up(&self) -> Result<Self::Value, Error> {
            self.look_ups.fetch_add(1, Ordering::Relaxed);
            match *self.answer.lock().unwrap() {
                Answer::Value(value) => Ok(value),
                Answer::Unusable => Err(Unusable("it is garbage".into()).into()),
                Answer::None => Err("it does not answer".into()),
            }
        }
    }

    impl Source {
        fn new(answer: Answer) -> Self {
            Self { answer: StdMutex::new(answer), look_ups: AtomicUsize::default() }
        }

        fn becomes(&self, answer: Answer) {
            *self.answer.lock().unwrap() = answer;
        }

        fn look_ups(&self) -> usize {
            self.look_ups.load(Ordering::Relaxed)
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_769_817_600 + seconds).unwrap()
    }

    const PATIENCE: Duration = Duration::from_millis(50);

    /// A cache that looked its value up at the start.
    async fn filled(source: &Source) -> Cached<&Source> {
        Cached::new(source, PATIENCE).filled(at(0), PATIENCE).await
    }

    #[tokio::test]
    async fn a_value_is_looked_up_once_within_its_ttl() {
        let source = Source::new(Answer::Value("old"));
        let cached = filled(&source).await;
        for second in 0..300 {
            assert_eq!(cached.get(at(second)).await, Some("old"));
        }
        assert_eq!(source.look_ups(), 1);
        source.becomes(Answer::Value("new"));
        assert_eq!(cached.get(at(300)).await, Some("new"));
        assert_eq!(source.look_ups(), 2);
    }

    #[tokio::test]
    async fn asking_for_it_causes_one_look_up_in_a_cool_down() {
        let source = Source::new(Answer::Value("old"));
        let cached = filled(&source).await;
        source.becomes(Answer::Value("new"));
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
        let source = Source::new(Answer::Value("old"));
        let cached = filled(&source).await;
        source.becomes(Answer::None);
        for second in 300..330 {
            assert_eq!(cached.get(at(second)).await, Some("old"));
            assert_eq!(cached.refreshed(at(second)).await, None);
        }
        assert_eq!(source.look_ups(), 2);
    }

    #[tokio::test]
    async fn what_the_start_did_not_find_is_looked_up_for_the_first_callback() {
        let source = Source::new(Answer::None);
        let cached = filled(&source).await;
        source.becomes(Answer::Value("new"));
        assert_eq!(cached.get(at(0)).await, Some("new"));
    }

    #[tokio::test]
    async fn while_nothing_is_known_it_is_looked_up_once_a_second() {
        let source = Source::new(Answer::None);
        let cached = filled(&source).await;
        for _ in 0..100 {
            assert_eq!(cached.get(at(0)).await, None);
        }
        // At the start, and for the first of them.
        assert_eq!(source.look_ups(), 2);
        source.becomes(Answer::Value("new"));
        assert_eq!(cached.get(at(1)).await, Some("new"));
    }

    #[tokio::test]
    async fn a_value_counts_for_an_hour_if_the_source_has_none_and_for_a_day_if_it_does_not_answer() {
        for (answer, hours) in [(Answer::Unusable, 1), (Answer::None, 24)] {
            let source = Source::new(Answer::Value("old"));
            let cached = filled(&source).await;
            source.becomes(answer);
            assert_eq!(cached.get(at(hours * 3600 - 1)).await, Some("old"));
            assert_eq!(cached.get(at(hours * 3600)).await, None);
            // Until there is one again, at the next look-up.
            source.becomes(Answer::Value("new"));
            assert_eq!(cached.get(at(hours * 3600 + 1)).await, Some("new"));
        }
    }

    #[tokio::test]
    async fn without_an_answer_the_last_answer_counts() {
        let source = Source::new(Answer::Value("old"));
        let cached = filled(&source).await;
        source.becomes(Answer::Unusable);
        assert_eq!(cached.get(at(600)).await, Some("old"));
        source.becomes(Answer::None);
        assert_eq!(cached.get(at(1200)).await, Some("old"));
        assert_eq!(cached.get(at(3600)).await, None);

        // An answer with a value puts an end to that.
        source.becomes(Answer::Value("new"));
        assert_eq!(cached.get(at(3601)).await, Some("new"));
        source.becomes(Answer::None);
        assert_eq!(cached.get(at(3601 + 23 * 3600)).await, Some("new"));
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
        assert_eq!(Cached::new(Silent, PATIENCE).filled(at(0), PATIENCE).await.get(at(0)).await, None);
    }
}

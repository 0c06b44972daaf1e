//! When a provider may be asked: not too often, and not while it fails or asks for a pause.
//!
//! Only the reconciler writes pauses. Pure, except for the trait: time is an argument.

use std::collections::VecDeque;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{Found, StoreError, Timestamp};

/// A pause of a provider that failed or asked for it. A circuit breaker: it opens after
/// [`FAILURES`](Self::FAILURES) failures in a row, for longer each time, and lets one request
/// through when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pause {
    /// How many requests in a row failed.
    pub failures: u32,
    /// The end of the pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Pause {
    /// How many failures in a row start a pause. One is enough if the provider does not accept our
    /// credentials: it might lock them.
    pub const FAILURES: u32 = 5;

    /// The length of the first pause. Each further one is twice as long as the one before it.
    pub const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

    /// The longest pause after a failure.
    pub const LONGEST: SignedDuration = SignedDuration::from_mins(15);

    /// The longest pause that a provider can ask for. It chooses the time, so there is a limit.
    pub const LONGEST_WISH: SignedDuration = SignedDuration::from_hours(1);

    /// Whether a request may be sent now; if not, when. After a pause, one request has a minute to
    /// be answered before the next one may be sent.
    ///
    /// # Errors
    /// With the end of the pause.
    pub fn admit(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        match self.until {
            Some(until) if now < until => Err(until),
            Some(_) if self.failures >= Self::FAILURES => {
                self.until = Some(later(now, Self::SHORTEST));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The pause after this result of a request.
    #[must_use]
    pub fn after(self, found: &Found, now: Timestamp) -> Self {
        let (code, wish) = match found {
            Found::Verdict(..) | Found::NotYet | Found::Unknown => return Self::default(),
            // An answer, or no request at all: it does not show whether the provider works.
            Found::Unavailable(Found::NOT_UNDERSTOOD | Found::NO_REFERENCE, None) => return self,
            Found::Unavailable(code, wish) => (*code, *wish),
        };
        let mut failures = self.failures.saturating_add(1);
        if code == Found::NOT_AUTHORIZED {
            failures = failures.max(Self::FAILURES);
        }
        let pause = failures.checked_sub(Self::FAILURES).map(|more| {
            let doubled = Self::SHORTEST.checked_mul(2_i32.saturating_pow(more)).unwrap_or(Self::LONGEST);
            doubled.min(Self::LONGEST)
        });
        let wish = wish.or_else(|| (code == Found::TOO_MANY_REQUESTS).then_some(Self::SHORTEST));
        let pause = pause.max(wish.map(|wish| wish.clamp(SignedDuration::from_secs(1), Self::LONGEST_WISH)));
        Self { failures, until: pause.map(|pause| later(now, pause)).max(self.until) }
    }
}

/// Limits how often a provider is asked within any minute.
#[derive(Debug, Clone)]
pub struct Pace {
    per_minute: usize,
    /// The times of the latest requests.
    asked: VecDeque<Timestamp>,
}

impl Pace {
    /// At most this many times in any minute.
    #[must_use]
    pub fn new(per_minute: usize) -> Self {
        Self { per_minute, asked: VecDeque::with_capacity(per_minute) }
    }

    /// Whether a request may be sent now. If so, counts it; if not, returns when.
    ///
    /// # Errors
    /// With the time at which the next request may be sent.
    pub fn admit(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        while self.asked.front().is_some_and(|first| later(*first, SignedDuration::from_mins(1)) <= now) {
            self.asked.pop_front();
        }
        match self.asked.front() {
            Some(first) if self.asked.len() >= self.per_minute => Err(later(*first, SignedDuration::from_mins(1))),
            _ => {
                self.asked.push_back(now);
                Ok(())
            }
        }
    }
}

/// Stores the pauses of providers: the verifications table.
pub trait Pauses: Send + Sync {
    /// The latest stored pause of this provider.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time.
    fn read_pause(&self, provider: &str) -> impl Future<Output = Result<Option<Pause>, StoreError>> + Send;

    /// Stores the pause of this provider.
    ///
    /// # Errors
    /// If the store refuses or does not answer in time. It may have been stored.
    fn keep_pause(
        &self,
        provider: &str,
        pause: Pause,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failed() -> Found {
        Found::Unavailable("server_error", None)
    }

    /// For how many seconds nobody asks after these answers, all at the same time.
    fn pause_after(answers: impl IntoIterator<Item = Found>) -> i64 {
        let pause = answers.into_iter().fold(Pause::default(), |pause, found| pause.after(&found, at(0)));
        pause.until.map_or(0, |until| until.as_second())
    }

    #[test]
    fn after_five_failures_in_a_row_a_provider_is_left_alone_and_longer_each_time() {
        for (failures, seconds) in [(4, 0), (5, 60), (6, 120), (7, 240), (8, 480), (9, 900), (10, 900), (1000, 900)] {
            assert_eq!(pause_after((0..failures).map(|_| failed())), seconds, "{failures}");
        }
    }

    #[test]
    fn an_answer_ends_a_pause_and_one_that_is_not_understood_changes_nothing() {
        for found in [Found::NotYet, Found::Unknown] {
            let answers = (0..9).map(|_| failed()).chain([found, failed(), failed(), failed(), failed()]);
            assert_eq!(pause_after(answers), 0);
        }
        let pause = Pause { failures: 4, until: None };
        assert_eq!(pause.after(&Found::not_understood(), at(0)), pause);
        assert_eq!(pause.after(&Found::Unavailable(Found::NO_REFERENCE, None), at(0)), pause);
    }

    #[test]
    fn a_provider_that_refuses_our_credentials_is_left_alone_at_once() {
        assert_eq!(pause_after([Found::Unavailable(Found::NOT_AUTHORIZED, None)]), 60);
    }

    #[test]
    fn a_provider_that_wants_to_be_left_alone_is_though_not_for_ever() {
        let wish = |seconds| Some(SignedDuration::from_secs(seconds));
        for (code, wish, seconds) in [
            (Found::TOO_MANY_REQUESTS, None, 60),
            (Found::TOO_MANY_REQUESTS, wish(7), 7),
            (Found::TOO_MANY_REQUESTS, wish(0), 1),
            (Found::TOO_MANY_REQUESTS, wish(i64::MAX), 3600),
            ("server_error", wish(300), 300),
            ("server_error", None, 0),
            (Found::NOT_AUTHORIZED, wish(300), 300),
        ] {
            assert_eq!(pause_after([Found::Unavailable(code, wish)]), seconds, "{code} {wish:?}");
        }
    }

    #[test]
    fn after_a_pause_one_question_at_a_time_is_let_through() {
        let mut pause = (0..5).fold(Pause::default(), |pause, _| pause.after(&failed(), at(0)));
        assert_eq!(pause.admit(at(59)), Err(at(60)));
        assert_eq!(pause.admit(at(60)), Ok(()));
        assert_eq!(pause.admit(at(60)), Err(at(120)));
        assert_eq!(pause.admit(at(120)), Ok(()));
        pause = pause.after(&Found::NotYet, at(121));
        assert!((0..100).all(|_| pause.admit(at(121)) == Ok(())));
    }

    fn anything_found() -> impl Strategy<Value = Found> {
        let wish = proptest::option::of(proptest::num::i64::ANY.prop_map(SignedDuration::from_secs));
        prop_oneof![
            Just(0).prop_map(|_| Found::NotYet),
            Just(0).prop_map(|_| Found::Unknown),
            Just(0).prop_map(|_| Found::not_understood()),
            wish.clone().prop_map(|wish| Found::Unavailable(Found::TOO_MANY_REQUESTS, wish)),
            wish.clone().prop_map(|wish| Found::Unavailable(Found::NOT_AUTHORIZED, wish)),
            wish.prop_map(|wish| Found::Unavailable("server_error", wish)),
        ]
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_an_hour_and_none_is_cut_short(
            steps in proptest::collection::vec((0_i64..2000, anything_found()), 1..50),
        ) {
            let (mut pause, mut now) = (Pause::default(), at(0));
            for (seconds, found) in steps {
                now = later(now, SignedDuration::from_secs(seconds));
                let before = pause;
                if let Err(until) = pause.admit(now) {
                    prop_assert!(until > now && until <= later(now, Pause::LONGEST_WISH));
                    prop_assert_eq!(pause, before);
                }
                let after = pause.after(&found, now);
                prop_assert!(after.until.is_none_or(|until| until <= later(now, Pause::LONGEST_WISH)));
                if matches!(found, Found::Unavailable(..)) {
                    prop_assert!(after.until >= pause.until && after.failures >= pause.failures);
                } else {
                    prop_assert_eq!(after, Pause::default());
                }
                pause = after;
            }
        }

        #[test]
        fn in_no_minute_a_provider_is_asked_more_often_than_it_may_be(
            per_minute in 1_usize..20, gaps in proptest::collection::vec(0_i64..30_000, 1..200),
        ) {
            let (mut pace, mut now, mut asked) = (Pace::new(per_minute), 0, Vec::new());
            for gap in gaps {
                now += gap;
                let time = Timestamp::from_millisecond(now).unwrap();
                match pace.admit(time) {
                    Ok(()) => asked.push(now),
                    Err(next) => {
                        // It may be asked then, and was not asked too seldom.
                        prop_assert!(pace.clone().admit(next).is_ok());
                        let minute = asked.iter().filter(|asked| **asked > now - 60_000).count();
                        prop_assert_eq!(minute, per_minute);
                    }
                }
            }
            for first in &asked {
                let minute = asked.iter().filter(|time| (*first..*first + 60_000).contains(*time)).count();
                prop_assert!(minute <= per_minute, "{} from {}", minute, first);
            }
        }
    }
}

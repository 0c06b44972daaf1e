//! Who can be asked for which verdict.

use std::sync::Arc;

use jiff::SignedDuration;
use model::{Course, CourseKey, Events, Fetcher, Pauses, Retention, Schedule, Timestamp, Web};
use providers::wallet_verification::{
    self,
    issuers::TrustedIssuers,
    keys::{JwksUrl, KeySet},
};
use runtime::{Aws, DynamoPauses, Error, LookUp, Questions, chain};
use tracing::warn;

use crate::{Answer, Source, asked::Asked};

/// All sources of this deployment.
#[derive(Debug)]
pub struct Sources<L: LookUp = JwksUrl, W = Questions, P = DynamoPauses> {
    /// The issuers of the wallet gateway's tokens. Tokens that were not trusted for a reason that may pass are checked again.
    pub issuers: TrustedIssuers<L>,
    /// The providers that can be asked.
    pub fetchers: Fetchers<W, P>,
    /// How long events are kept.
    pub retention: Retention,
}

macro_rules! fetchers {
    ($($name:ident: $fetcher:ident,)*) => {
        /// The providers that can be asked: those that have an address.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "the providers' names")]
        pub struct Fetchers<W = Questions, P = DynamoPauses> {
            $(pub $name: Option<Asked<providers::$name::fetch::$fetcher, W, P>>,)*
        }

        /// Nobody.
        impl<W, P> Default for Fetchers<W, P> {
            fn default() -> Self {
                Self { $($name: None),* }
            }
        }

        impl Fetchers {
            /// The providers whose addresses the environment names, with their credentials, looked up once.
            ///
            /// # Errors
            /// If what the environment says is not understood.
            pub async fn from_env(aws: &Aws) -> Result<Self, Error> {
                let ($($name),*) = tokio::try_join!(
                    $(Box::pin(Asked::from_env(aws, providers::$name::fetch::$fetcher::new))),*
                )?;
                Ok(Self { $($name),* })
            }
        }

        impl<W: Web, P: Pauses> Fetchers<W, P> {
            fn schedule(&self, key: &CourseKey) -> Schedule {
                $(if let Some(schedule) = schedule_of(&self.$name, key) {
                    return schedule;
                })*
                Schedule::NONE
            }

            async fn admit(&self, key: &CourseKey, now: Timestamp) -> Result<(), Timestamp> {
                $(if let Some(asked) = about(&self.$name, key) {
                    return asked.admit(now).await;
                })*
                Ok(())
            }

            async fn ask(&self, key: &CourseKey, course: &Course, events: &impl Events, now: Timestamp) -> Answer {
                $(if let Some(asked) = about(&self.$name, key) {
                    return asked.ask(key, course, events, now).await;
                })*
                Answer::Unknown
            }
        }
    };
}
providers::each_fetcher!(fetchers);

/// The provider, if it can be asked about this track.
#[expect(clippy::ref_option, reason = "the fields are options")]
fn about<'a, F: Fetcher, W: Web, P: Pauses>(
    asked: &'a Option<Asked<F, W, P>>,
    key: &CourseKey,
) -> Option<&'a Asked<F, W, P>> {
    asked.as_ref().filter(|asked| asked.fetches(key))
}

#[expect(clippy::ref_option, reason = "the fields are options")]
fn schedule_of<F: Fetcher, W: Web, P: Pauses>(asked: &Option<Asked<F, W, P>>, key: &CourseKey) -> Option<Schedule> {
    about(asked, key).map(|_| F::SCHEDULE)
}

impl<L: LookUp<Value = Arc<KeySet>>, W, P> Sources<L, W, P> {
    /// Checks the tokens again of the callback that the course rests on.
    async fn recheck(&self, key: &CourseKey, course: &Course, events: &impl Events, now: Timestamp) -> Answer {
        let standing = course.standing(now);
        let Some(decision) = standing.decision else { return Answer::Unknown };
        let event = match events.find(&key.subject, &decision.id).await {
            Ok(Some(event)) => event,
            Ok(None) => return Answer::Unknown,
            Err(failure) => {
                warn!(event.id = decision.id, error = chain(&failure), "failed to read an event");
                return Answer::Unavailable(SignedDuration::from_mins(1));
            }
        };
        let event = wallet_verification::recheck(&self.issuers, &event, now, self.retention).await;
        event.map_or(Answer::NotYet, |event| Answer::Verdict(Box::new(event)))
    }
}

/// Whether a course rests on a wallet's callback whose tokens are checked again: that is when its review is not final.
fn waits_for_tokens(key: &CourseKey, course: &Course) -> bool {
    let decision = course.decisions.iter().rev().find(|decision| decision.origin.is_provider() && !decision.replaced);
    key.provider == "wallet"
        && decision.is_some_and(|decision| decision.kind == "wallet.verification" && !decision.is_final)
}

impl<L: LookUp<Value = Arc<KeySet>>, W: Web, P: Pauses> Source for Sources<L, W, P> {
    fn schedule(&self, key: &CourseKey, course: &Course) -> Schedule {
        if waits_for_tokens(key, course) { wallet_verification::CHECKS } else { self.fetchers.schedule(key) }
    }

    async fn admit(&self, key: &CourseKey, now: Timestamp) -> Result<(), Timestamp> {
        self.fetchers.admit(key, now).await
    }

    async fn ask<E: Events>(&self, key: &CourseKey, course: &Course, events: &E, now: Timestamp) -> Answer {
        if waits_for_tokens(key, course) {
            self.recheck(key, course, events, now).await
        } else {
            self.fetchers.ask(key, course, events, now).await
        }
    }
}

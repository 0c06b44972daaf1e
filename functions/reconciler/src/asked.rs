//! Asking one provider: at its pace, by its credentials, and not while it fails.

use std::time::Duration;

use jiff::SignedDuration;
use model::{
    Course, CourseKey, Events, Fetcher, Found, Origin, Pace, Pause, Pauses, Provider as _, Retention, StoredEvent,
    Timestamp, Web, fetched,
};
use runtime::{Aws, Cached, CredentialVault, DynamoPauses, Error, Hidden, Https, LookUp, Questions, chain, telemetry};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::Answer;

/// A provider that can be asked.
pub struct Asked<F: Fetcher, W = Questions, P = DynamoPauses, L: LookUp = CredentialVault<<F as Fetcher>::Credentials>>
{
    fetcher: F,
    credentials: Cached<L>,
    web: W,
    pauses: P,
    retention: Retention,
    state: Mutex<State>,
}

struct State {
    pause: Pause,
    /// When the pause was read that other processes may have kept.
    read_at: Option<Timestamp>,
    pace: Pace,
}

/// How often a provider is asked in any minute, by one process. There is one as a rule: a run ends before the next one
/// begins. An answer takes one or two calls.
pub const ASKS_PER_MINUTE: usize = 30;

/// How long one answer may take, with all the calls that it needs.
const PATIENCE: Duration = Duration::from_secs(12);

/// How old what is known of a pause may be. A run takes less.
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(50);

/// In how many events a reference is looked for.
const MAX_EVENTS: usize = 8;

impl<F: Fetcher, W: Web, P: Pauses, L: LookUp<Value = Hidden<F::Credentials>>> Asked<F, W, P, L> {
    /// A provider that is asked by these credentials, this way.
    pub fn new(fetcher: F, credentials: Cached<L>, web: W, pauses: P, retention: Retention) -> Self {
        let state = State { pause: Pause::default(), read_at: None, pace: Pace::new(ASKS_PER_MINUTE) };
        Self { fetcher, credentials, web, pauses, retention, state: Mutex::new(state) }
    }

    /// Whether it can be asked about this track.
    pub(crate) fn fetches(&self, key: &CourseKey) -> bool {
        self.fetcher.fetches(key)
    }

    const NAME: &'static str = F::Provider::NAME.as_str();

    /// Whether it may be asked now. If so, that counts; if not, says when.
    pub(crate) async fn admit(&self, now: Timestamp) -> Result<(), Timestamp> {
        let mut state = self.state.lock().await;
        if state.read_at.is_none_or(|read_at| now.duration_since(read_at) >= READ_AGAIN) {
            state.read_at = Some(now);
            match self.pauses.read_pause(Self::NAME).await {
                Ok(Some(kept)) if kept.until > state.pause.until => state.pause = kept,
                Ok(_) => {}
                // What this process knows itself still counts.
                Err(failure) => warn!(provider = Self::NAME, error = chain(&failure), "failed to read a pause"),
            }
        }
        state.pause.admit(now)?;
        state.pace.admit(now)
    }

    /// Asks about a track.
    pub(crate) async fn ask(&self, key: &CourseKey, course: &Course, events: &impl Events, now: Timestamp) -> Answer {
        let reference = match F::REFERENCE {
            Some(name) => match reference(name, key, course, events).await {
                Ok(reference) => reference,
                Err(answer) => return answer,
            },
            None => None,
        };
        let Some(Hidden(credentials)) = self.credentials.get(now).await else {
            return self.failed("no_credentials", None);
        };
        // Boxed, as the state of all fetchers together would be large.
        let found = Box::pin(self.fetch(key, reference.as_deref(), credentials, now));
        let found = tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| Found::no_reply());
        let until = self.learn(&found, now).await;
        match found {
            Found::Verdict(parsed, answer) => {
                let event = fetched::<F::Provider>(*parsed, answer, now, self.retention);
                if CourseKey::of(&event) == *key && event.unrecognized.is_none() {
                    Answer::Verdict(Box::new(event))
                } else {
                    self.failed(Found::NOT_UNDERSTOOD, None)
                }
            }
            Found::NotYet => Answer::NotYet,
            Found::Unknown => Answer::Unknown,
            // Nothing changes that but another event.
            Found::Unavailable(code @ Found::NO_REFERENCE, _) => {
                self.failed(code, None);
                Answer::Unknown
            }
            Found::Unavailable(code, _) => self.failed(code, until.map(|until| until.duration_since(now))),
        }
    }

    async fn fetch(
        &self,
        key: &CourseKey,
        reference: Option<&str>,
        credentials: F::Credentials,
        now: Timestamp,
    ) -> Found {
        let found = self.fetcher.fetch(key, reference, &credentials, &self.web, now).await;
        if !matches!(found, Found::Unavailable(Found::NOT_AUTHORIZED, _)) {
            return found;
        }
        // They may just have been rotated.
        match self.credentials.refreshed(now).await {
            Some(Hidden(newer)) if newer != credentials => {
                self.fetcher.fetch(key, reference, &newer, &self.web, now).await
            }
            _ => found,
        }
    }

    /// Remembers whether the provider works, for this process and the next one. Returns until when it is left alone.
    async fn learn(&self, found: &Found, now: Timestamp) -> Option<Timestamp> {
        let (before, after) = {
            let mut state = self.state.lock().await;
            let before = state.pause;
            state.pause = before.after(found, now);
            (before, state.pause)
        };
        if before.until != after.until {
            if after.until.is_some() {
                warn!(provider = Self::NAME, "provider left alone");
            } else {
                info!(provider = Self::NAME, "provider answers again");
            }
            if let Err(failure) = self.pauses.keep_pause(Self::NAME, after, now).await {
                warn!(provider = Self::NAME, error = chain(&failure), "failed to keep a pause");
            }
        }
        after.until
    }

    fn failed(&self, reason: &'static str, pause: Option<SignedDuration>) -> Answer {
        warn!(provider = Self::NAME, reason, "failed to ask a provider");
        telemetry::fetch_failed();
        Answer::Unavailable(pause.unwrap_or_default())
    }
}

impl<F: Fetcher> Asked<F> {
    /// A provider that is asked at the address that the environment names. Nothing if it names none.
    ///
    /// # Errors
    /// If what the environment says is not understood.
    pub async fn from_env(aws: &Aws, fetcher: impl FnOnce(&str) -> F) -> Result<Option<Self>, Error> {
        let Some(url) = aws.retrieval_url(Self::NAME, F::WITHOUT_CREDENTIALS.is_some())? else { return Ok(None) };
        let web = Questions::new(Https::new()?);
        let (credentials, web) = match F::WITHOUT_CREDENTIALS {
            Some(none) => (aws.looked_up(CredentialVault::Fixed(none)).await, web.within_own_network()),
            None => (aws.retrieval_credentials(Self::NAME).await?, web),
        };
        Ok(Some(Self::new(fetcher(&url), credentials, web, aws.pauses()?, aws.retention()?)))
    }
}

/// Shows the provider's name only.
impl<F: Fetcher, W, P, L: LookUp> std::fmt::Debug for Asked<F, W, P, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("provider", &F::Provider::NAME.as_str()).finish_non_exhaustive()
    }
}

/// The detail of this name in an event of the track: of the provider's latest one that has it, or else of the announcement.
async fn reference(
    name: &str,
    key: &CourseKey,
    course: &Course,
    events: &impl Events,
) -> Result<Option<String>, Answer> {
    let decisions = || course.decisions.iter().rev().filter(|decision| !decision.replaced);
    let said = decisions().filter(|decision| decision.origin.is_provider());
    let announced = decisions().filter(|decision| decision.origin == Origin::Announced);
    for decision in said.chain(announced).take(MAX_EVENTS) {
        let event: Option<StoredEvent> = match events.find(&key.subject, &decision.id).await {
            Ok(event) => event,
            Err(failure) => {
                warn!(event.id = decision.id, error = chain(&failure), "failed to read an event");
                return Err(Answer::Unavailable(SignedDuration::from_mins(1)));
            }
        };
        if let Some(reference) = event.as_ref().and_then(|event| event.details.get(name)?.as_str()) {
            return Ok(Some(reference.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;

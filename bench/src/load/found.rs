//! What a run left behind in the tables, and what the API says of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::Context as _;
use cli::{
    events::Events,
    sample::ExpectedEvent,
    stack::{Connections, Stack},
    verifications,
};
use futures_util::future::try_join_all;
use model::{Course, Courses as _, Decision, Origin, Outcome, StoredEvent};
use runtime::DynamoCourses;
use serde::Deserialize;

use super::send::{ANSWER_WITHIN, ATTEMPTS, PAUSE, Sent, acknowledged};

/// What there is of one verification.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) provider: String,
    pub(crate) subject: String,
    pub(crate) stored: Vec<Stored>,
    /// The rows of its tracks.
    pub(crate) rows: BTreeMap<String, Course>,
    /// What the API says of its tracks.
    pub(crate) answered: Vec<Answered>,
}

/// An item in the events table.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) event: ExpectedEvent,
    pub(crate) item: StoredEvent,
    /// Whether every part of its body is there.
    pub(crate) is_whole: bool,
}

/// What the API says of a track.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answered {
    pub(crate) track: String,
    pub(crate) outcome: Outcome,
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    pub(crate) conflict: bool,
    pub(crate) callbacks: usize,
}

impl Found {
    /// What was decided about an event on a track.
    pub(crate) fn decision(&self, track: &str, id: &str) -> Option<&Decision> {
        self.rows.get(track)?.decisions.iter().find(|decision| decision.id == id)
    }

    /// Whether the row of a track keeps as many decisions as it can, so that it may have forgotten others.
    pub(crate) fn is_full(&self, track: &str) -> bool {
        self.rows.get(track).is_some_and(|row| row.decisions.len() >= Course::KEPT)
    }

    /// Whether the row of its track has a decision about an item.
    pub(crate) fn is_decided(&self, item: &StoredEvent) -> bool {
        self.decision(&item.track, &item.id).is_some() || self.is_full(&item.track)
    }

    /// Whether all that was acknowledged is stored, all that is stored is decided, and all that was published is among
    /// these messages.
    pub(crate) fn is_settled(&self, sent: &[Sent], received: &HashSet<&str>) -> bool {
        let sent: Vec<&Sent> = sent.iter().filter(|sent| sent.event.subject == self.subject).collect();
        let mut published =
            self.rows.values().flat_map(|row| &row.decisions).filter(|decision| decision.published.is_some());
        self.stored.len() >= acknowledged(&sent)
            && self.stored.iter().all(|stored| self.is_decided(&stored.item))
            && published.all(|decision| received.contains(decision.id.as_str()))
    }
}

/// The verifications that callbacks were sent about: their providers, with which a kind begins, and subjects.
pub(crate) fn verifications_of(sent: &[Sent]) -> Vec<(String, String)> {
    let verification = |sent: &Sent| Some((sent.event.kind.split_once('.')?.0.to_owned(), sent.event.subject.clone()));
    sent.iter().filter_map(verification).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Reads the tables and asks the API.
pub(crate) struct Reader {
    stack: Stack,
    connections: Connections,
    http: reqwest::Client,
    events: Events,
    courses: DynamoCourses,
}

/// How many verifications are read at the same time.
const AT_ONCE: usize = 8;

impl Reader {
    pub(crate) async fn new(stack: &Stack) -> anyhow::Result<Self> {
        let connections = stack.connect().await;
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().context("failed to make a client")?;
        let courses = DynamoCourses::new(connections.dynamodb.clone(), stack.verifications_table.clone());
        Ok(Self { stack: stack.clone(), http, events: Events::of(stack).await, courses, connections })
    }

    /// What there is of each of these verifications, which are providers and subjects.
    pub(crate) async fn read(&self, verifications: &[(String, String)]) -> anyhow::Result<Vec<Found>> {
        let mut all_found = Vec::new();
        for verifications in verifications.chunks(AT_ONCE) {
            let reading = verifications.iter().map(|(provider, subject)| self.read_one(provider, subject));
            all_found.extend(try_join_all(reading).await?);
        }
        Ok(all_found)
    }

    async fn read_one(&self, provider: &str, subject: &str) -> anyhow::Result<Found> {
        let mut stored = Vec::new();
        for item in self.events.of_subject(subject).await? {
            // The load announces wallets' codes, too.
            if item.origin() != Origin::Callback {
                continue;
            }
            let is_whole = item.parts.is_none() || self.events.find(&item.id, Some(subject)).await.is_ok();
            stored.push(Stored { event: ExpectedEvent::from(&item), item, is_whole });
        }
        let rows = self.courses.of_verification(provider, subject).await.context("failed to read rows")?;
        let answered = self.ask(provider, subject).await?;
        let (provider, subject) = (provider.to_owned(), subject.to_owned());
        Ok(Found { provider, subject, stored, rows: rows.into_iter().collect(), answered })
    }

    async fn ask(&self, provider: &str, subject: &str) -> anyhow::Result<Vec<Answered>> {
        #[derive(Deserialize)]
        struct Answer {
            verifications: Vec<Answered>,
        }
        let mut attempt = 1;
        let answer = loop {
            match verifications::fetch(&self.http, &self.stack, &self.connections, provider, subject).await {
                Err(_) if attempt < ATTEMPTS => tokio::time::sleep(PAUSE * attempt).await,
                answer => break answer?,
            }
            attempt += 1;
        };
        let Some(answer) = answer else { return Ok(Vec::new()) };
        let Answer { verifications } =
            serde_json::from_value(answer).context("failed to understand the API's answer")?;
        Ok(verifications)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use model::{Message, MessageDetail, Timestamp, Verification};
    use serde_json::json;

    use super::*;

    /// A verdict that was received at this second. Approvals and rejections are final.
    pub(crate) fn item(subject: &str, outcome: Outcome, second: i64) -> StoredEvent {
        let received_at = Timestamp::from_second(second).unwrap();
        serde_json::from_value(json!({
            "pk": subject, "sk": format!("{:-<32}{subject}-{second}", outcome.as_str()), "provider": "example", "source": "/callbacks/example",
            "kind": "example.verdict", "track": "verdict", "policy": "contradicts", "outcome": outcome,
            "final": matches!(outcome, Outcome::Approved | Outcome::Rejected), "reasons": [], "assurance": "shared_secret",
            "received_at": received_at, "details": {}, "body": [], "day": "1970-01-01#0", "expires_at": 10_000,
        }))
        .unwrap()
    }

    impl Found {
        /// Does what a stack without a flaw does with a callback, and returns the message.
        pub(crate) fn take_in(&mut self, item: StoredEvent) -> Option<Message> {
            let row = self.rows.entry(item.track.clone()).or_default();
            let published = row.decide(&item, item.received_at).published;
            let message = published.map(|published| Message::new(&item, &published, MessageDetail::Reference));
            (self.provider, self.subject) = (item.provider.clone(), item.subject.clone());
            self.stored.push(Stored { event: ExpectedEvent::from(&item), item, is_whole: true });
            let rows: Vec<(String, Course)> = self.rows.clone().into_iter().collect();
            let answer = Verification::new(&self.provider, &self.subject, &rows, Timestamp::UNIX_EPOCH).unwrap();
            self.answered = serde_json::from_value(json!(answer.verifications)).unwrap();
            message
        }
    }
}

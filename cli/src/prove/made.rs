//! What a run leaves in the tables, and deleting it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use anyhow::Context as _;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures_util::{StreamExt as _, stream};
use model::{Claim, Course, Courses as _, Part, StoredEvent};
use runtime::DynamoCourses;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    events::Events,
    stack::{Connections, Stack},
};

/// What callbacks were sent about, noted before they were: an answer may be lost.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Whether a callback was acknowledged, by what it was about.
    verifications: BTreeMap<Verification, bool>,
    /// The hashes of the codes that were announced.
    codes: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Verification {
    provider: String,
    subject: String,
}

/// What was deleted.
#[derive(Debug, Default, Serialize)]
pub(super) struct Deleted {
    pub(super) events: usize,
    pub(super) parts: usize,
    pub(super) rows: usize,
    /// What tokens stand for.
    pub(super) claims: usize,
    pub(super) expectations: usize,
    /// What could not be deleted, or may come yet, and why.
    pub(super) left: Vec<String>,
}

/// How long to wait for what was acknowledged and is not in the table, and for what is not decided about.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait before the second look, for callbacks that were on their way at the first.
const GRACE: Duration = Duration::from_secs(2);

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// How many verifications are looked at, at the same time.
const AT_ONCE: usize = 8;

impl Made {
    pub(super) fn note_verification(&mut self, provider: &str, subject: &str) {
        let verification = Verification { provider: provider.to_owned(), subject: subject.to_owned() };
        self.verifications.entry(verification).or_default();
    }

    pub(super) fn note_acknowledged(&mut self, provider: &str, subject: &str) {
        let verification = Verification { provider: provider.to_owned(), subject: subject.to_owned() };
        self.verifications.insert(verification, true);
    }

    pub(super) fn note_code(&mut self, hash: String) {
        self.codes.insert(hash);
    }

    /// Deletes all of it.
    pub(super) async fn delete(&self, stack: &Stack) -> Deleted {
        let mut deleted = Deleted::default();
        if self.verifications.is_empty() && self.codes.is_empty() {
            return deleted;
        }
        let tables = Tables::of(stack).await;
        tables.delete_verifications(&self.verifications, &mut deleted).await;
        sleep(GRACE).await;
        let seen: BTreeMap<Verification, bool> =
            self.verifications.keys().map(|verification| (verification.clone(), false)).collect();
        tables.delete_verifications(&seen, &mut deleted).await;
        for code in &self.codes {
            match tables.delete_item(&stack.expectations_table, code, None).await {
                Ok(was_there) => deleted.expectations += usize::from(was_there),
                Err(error) => deleted.left.push(format!("the expectation {code}: {error:#}")),
            }
        }
        deleted
    }
}

struct Tables<'a> {
    stack: &'a Stack,
    connections: Connections,
    events: Events,
    courses: DynamoCourses,
}

/// What there is of a verification.
struct Found {
    events: Vec<StoredEvent>,
    rows: Vec<(String, Course)>,
}

impl Found {
    /// Whether nothing more is to come: an event that is deleted before it is decided about gets its row afterwards.
    fn is_settled(&self, was_acknowledged: bool) -> bool {
        let is_decided = |event: &StoredEvent| {
            let row = self.rows.iter().find(|(track, _)| *track == event.track);
            row.is_some_and(|(_, row)| row.decisions.iter().any(|decision| decision.id == event.id))
        };
        (!was_acknowledged || !self.events.is_empty()) && self.events.iter().all(is_decided)
    }
}

impl<'a> Tables<'a> {
    async fn of(stack: &'a Stack) -> Self {
        let connections = stack.connect().await;
        let courses = DynamoCourses::new(connections.dynamodb.clone(), stack.verifications_table.clone());
        Self { stack, events: Events::of(stack).await, courses, connections }
    }

    /// Deletes what there is of these verifications, each as soon as nothing more is to come.
    async fn delete_verifications(&self, verifications: &BTreeMap<Verification, bool>, deleted: &mut Deleted) {
        let began = Instant::now();
        let mut waiting: Vec<(&Verification, bool)> =
            verifications.iter().map(|(verification, was_acknowledged)| (verification, *was_acknowledged)).collect();
        while !waiting.is_empty() {
            let is_patient = began.elapsed() < PATIENCE;
            let looking = std::mem::take(&mut waiting).into_iter().map(async |(verification, was_acknowledged)| {
                (verification, was_acknowledged, self.find(verification).await)
            });
            let mut looking = stream::iter(looking).buffer_unordered(AT_ONCE);
            while let Some((verification, was_acknowledged, found)) = looking.next().await {
                let is_settled = found.as_ref().is_ok_and(|found| found.is_settled(was_acknowledged));
                if is_patient && found.is_ok() && !is_settled {
                    waiting.push((verification, was_acknowledged));
                    continue;
                }
                let done = match found {
                    Ok(found) => self.delete(verification, &found, deleted).await,
                    Err(error) => Err(error),
                };
                let subject = &verification.subject;
                match done {
                    Err(error) => deleted.left.push(format!("{subject}: {error:#}")),
                    Ok(()) if !is_settled => deleted.left.push(format!(
                        "{subject}: not all that was acknowledged is in the tables yet, so it may come later"
                    )),
                    Ok(()) => {}
                }
            }
            drop(looking);
            if !waiting.is_empty() {
                sleep(PAUSE).await;
            }
        }
    }

    async fn find(&self, Verification { provider, subject }: &Verification) -> anyhow::Result<Found> {
        let events = self.events.of_subject(subject).await?;
        let rows = self.courses.of_verification(provider, subject).await;
        Ok(Found { events, rows: rows.context("failed to read the verifications table")? })
    }

    async fn delete(
        &self,
        Verification { provider, subject }: &Verification,
        found: &Found,
        deleted: &mut Deleted,
    ) -> anyhow::Result<()> {
        let table = &self.stack.events_table;
        for event in &found.events {
            for number in 0..event.parts.unwrap_or_default() {
                let key = Part::key(&event.id, number);
                deleted.parts += usize::from(self.delete_item(table, &key, Some(Part::SORT_KEY)).await?);
            }
            for claim in event.claims() {
                deleted.claims += usize::from(self.delete_claim(&claim).await?);
            }
            deleted.events += usize::from(self.delete_item(table, subject, Some(&event.id)).await?);
        }
        let row = format!("{provider}#{subject}");
        for (track, _) in &found.rows {
            let was_there = self.delete_item(&self.stack.verifications_table, &row, Some(track)).await?;
            deleted.rows += usize::from(was_there);
        }
        Ok(())
    }

    /// Deletes a claim, if this event was the first to make it. Returns whether it was.
    async fn delete_claim(&self, claim: &Claim) -> anyhow::Result<bool> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let delete = self.connections.dynamodb.delete_item().table_name(&self.stack.verifications_table);
        let delete = delete.key("pk", text(&format!("proof/{}", claim.proof))).key("sk", text(&claim.what));
        let delete = delete.condition_expression("event_id = :event_id");
        match delete.expression_attribute_values(":event_id", text(&claim.event_id)).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                Ok(false)
            }
            Err(error) => Err(error).context("failed to delete what a token stands for"),
        }
    }

    /// Deletes an item. Returns whether it was there.
    async fn delete_item(&self, table: &str, pk: &str, sk: Option<&str>) -> anyhow::Result<bool> {
        let text = |name: &str, text: &str| (name.to_owned(), AttributeValue::S(text.to_owned()));
        let key: HashMap<String, AttributeValue> =
            [Some(text("pk", pk)), sk.map(|sk| text("sk", sk))].into_iter().flatten().collect();
        let delete = self.connections.dynamodb.delete_item().table_name(table).set_key(Some(key));
        let deleted = delete.return_values(ReturnValue::AllOld).send().await;
        let deleted = deleted.with_context(|| format!("failed to delete an item of {table}"))?;
        Ok(deleted.attributes.is_some_and(|attributes| !attributes.is_empty()))
    }
}

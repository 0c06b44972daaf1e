//! Reading the events table.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::{
    error::SdkError,
    operation::get_item::GetItemError,
    types::{AttributeValue, KeysAndAttributes},
};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, civil::Date, tz::TimeZone};
use model::{StoreError, StoredEvent, Timestamp};
use runtime::DynamoStore;
use serde::Deserialize;

use crate::{
    stack::{Connections, Stack},
    terminal::harmless,
};

/// The events table of one stack.
///
/// An item that this version cannot read is skipped: what is read is all the others. Standard error says so once.
#[derive(Debug)]
pub struct Events {
    connections: Connections,
    table: String,
    /// The same table, as the functions see it.
    pub(crate) store: DynamoStore,
    /// The ids of the events that were skipped.
    skipped: Mutex<BTreeSet<String>>,
}

/// An event's key in the table, and when it was received.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    pk: String,
    #[serde(rename = "sk")]
    pub(crate) id: String,
    pub(crate) received_at: Timestamp,
}

impl Key {
    /// Where it is among the others.
    pub(crate) fn place(&self) -> Place {
        Place { received_at: self.received_at, id: self.id.clone() }
    }
}

/// A place in the order in which events were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) received_at: Timestamp,
    pub(crate) id: String,
}

/// The result of looking an event up.
pub(crate) enum Whole {
    /// The event, with its whole body.
    Found(Box<StoredEvent>),
    /// It is not in the table, or not any more.
    Missing,
    /// It was skipped.
    Skipped,
}

/// Why an item is skipped. What it holds instead is not said: that could be personal data.
pub(crate) const UNREADABLE: &str = "this version cannot read it";

/// How many events a BatchGetItem takes.
pub(crate) const PAGE: usize = 100;

type Item = HashMap<String, AttributeValue>;

/// Everything but the body, which may be large, and is nobody's business in a list.
const WITHOUT_BODY: &str = "pk, sk, provider, #source, kind, track, #policy, recipient, outcome, #final, reasons, \
                            unrecognized, assurance, occurred_at, received_at, due_at, drained_at, replaces, details, \
                            evidence, proofs, parts, #day, expires_at, perishable, erased_at, traceparent";

/// The attributes in [`WITHOUT_BODY`] whose names are, or may become,
/// [reserved](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html).
fn reserved_names() -> HashMap<String, String> {
    ["source", "policy", "final", "day"].map(|name| (format!("#{name}"), name.to_owned())).into()
}

impl Events {
    /// The events of this stack.
    pub async fn of(stack: &Stack) -> Self {
        Self::with(stack, &stack.connect().await)
    }

    /// The events of this stack, over connections that are there already.
    pub(crate) fn with(stack: &Stack, connections: &Connections) -> Self {
        let connections = connections.clone();
        let table = stack.events_table.clone();
        let store = DynamoStore::new(connections.dynamodb.clone(), table.clone(), stack.retention());
        Self { connections, table, store, skipped: Mutex::default() }
    }

    /// How many events were skipped so far.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many events were skipped so far, as the end of a summary; nothing if there was none.
    pub(crate) fn and_skipped(&self) -> String {
        match self.skipped() {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        }
    }

    /// Notes that an event is skipped, and says so the first time.
    pub(crate) fn skip(&self, id: &str, reason: &str) {
        if self.skipped.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned()) {
            eprintln!("Skipped event {}: {reason}.", harmless(id));
        }
    }

    /// Whether this event was skipped.
    pub(crate) fn is_skipped(&self, id: &str) -> bool {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Reads an item, unless it has to be skipped.
    fn read<T: serde::de::DeserializeOwned>(&self, item: Item) -> Option<T> {
        let id = item.get("sk").and_then(|id| id.as_s().ok()).cloned().unwrap_or_default();
        let read = serde_dynamo::from_item(item).ok();
        if read.is_none() {
            self.skip(&id, UNREADABLE);
        }
        read
    }

    /// Reads an item of which the body was left out, unless it has to be skipped.
    fn read_without_body(&self, mut item: Item) -> Option<StoredEvent> {
        item.insert("body".to_owned(), AttributeValue::B(Vec::new().into()));
        self.read(item)
    }

    /// Up to so many events received from `since` until before `until`, without their bodies, in the order in which they were received.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn received(
        &self,
        since: Timestamp,
        until: Timestamp,
        wanted: impl Fn(&StoredEvent) -> bool,
        limit: usize,
    ) -> anyhow::Result<Vec<StoredEvent>> {
        let mut found = Vec::new();
        for keys in self.keys_received(since, until).await?.chunks(PAGE) {
            found.extend(self.get(keys).await?.into_iter().filter(&wanted));
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }

    /// The keys of the events received from `since` until before `until`, in the order in which they were received.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn keys_received(&self, since: Timestamp, until: Timestamp) -> anyhow::Result<Vec<Key>> {
        let mut keys = Vec::new();
        let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let last = date(until - SignedDuration::from_nanos(1));
        for day in date(since).series(jiff::Span::new().days(1)).take_while(|day| *day <= last) {
            for shard in 0..StoredEvent::SHARDS_PER_DAY {
                keys.extend(self.keys(day, shard, since, until).await?);
            }
        }
        keys.sort_by(|one, other| (one.received_at, &one.id).cmp(&(other.received_at, &other.id)));
        Ok(keys)
    }

    async fn keys(&self, day: Date, shard: u8, since: Timestamp, until: Timestamp) -> anyhow::Result<Vec<Key>> {
        // Their texts sort as the times do; the last millisecond that counts is the one before the end.
        let text = |time: Timestamp| AttributeValue::S(format!("{time:.3}"));
        let query = self.connections.dynamodb.query().table_name(&self.table).index_name("by-day");
        let mut pages = query
            .key_condition_expression("#day = :day AND received_at BETWEEN :since AND :until")
            .expression_attribute_names("#day", "day")
            .expression_attribute_values(":day", AttributeValue::S(format!("{day}#{shard}")))
            .expression_attribute_values(":since", text(since))
            .expression_attribute_values(":until", text(until - SignedDuration::from_millis(1)))
            .into_paginator()
            .items()
            .send();
        let mut keys = Vec::new();
        while let Some(item) = pages.next().await {
            keys.extend(self.read::<Key>(item.context("failed to read the index by day")?));
        }
        Ok(keys)
    }

    /// At least so many keys of events received from `since` on and before this place, the newest first, if there are so
    /// many. Reads no more than a page of each shard of the days that it needs, however many events a day has.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub(crate) async fn keys_before(&self, since: Timestamp, before: &Place, limit: usize) -> anyhow::Result<Vec<Key>> {
        let mut keys: Vec<Key> = Vec::new();
        let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let (first, mut day) = (date(since), date(before.received_at));
        while day >= first && keys.len() < limit && since <= before.received_at {
            let wanted = limit - keys.len();
            let shards = (0..StoredEvent::SHARDS_PER_DAY).map(|shard| self.shard(day, shard, since, before, wanted));
            let mut of_day = try_join_all(shards).await?.concat();
            of_day.sort_by(|one, other| (other.received_at, &other.id).cmp(&(one.received_at, &one.id)));
            of_day.truncate(wanted);
            keys.extend(of_day);
            let Ok(earlier) = day.yesterday() else { break };
            day = earlier;
        }
        Ok(keys)
    }

    /// The newest keys of one shard of a day, at least so many if there are so many.
    async fn shard(
        &self,
        day: Date,
        shard: u8,
        since: Timestamp,
        before: &Place,
        limit: usize,
    ) -> anyhow::Result<Vec<Key>> {
        let text = |time: Timestamp| AttributeValue::S(format!("{time:.3}"));
        let query = self.connections.dynamodb.query().table_name(&self.table).index_name("by-day");
        let mut items = query
            .key_condition_expression("#day = :day AND received_at BETWEEN :since AND :before")
            .expression_attribute_names("#day", "day")
            .expression_attribute_values(":day", AttributeValue::S(format!("{day}#{shard}")))
            .expression_attribute_values(":since", text(since))
            .expression_attribute_values(":before", text(before.received_at))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .into_paginator()
            .items()
            .send();
        let mut keys: Vec<Key> = Vec::new();
        while let Some(item) = items.next().await {
            let Some(key) = self.read::<Key>(item.context("failed to read the index by day")?) else { continue };
            if (key.received_at, &key.id) >= (before.received_at, &before.id) {
                continue;
            }
            // The index has no order within a millisecond, so the last one is read to its end.
            if keys.len() >= limit && keys.last().is_some_and(|last| last.received_at != key.received_at) {
                break;
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Up to [`PAGE`] events by their keys, without their bodies, in this order. One that was deleted meanwhile is left out.
    pub(crate) async fn get(&self, keys: &[Key]) -> anyhow::Result<Vec<StoredEvent>> {
        let key = |key: &Key| {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            Item::from([("pk".to_owned(), text(&key.pk)), ("sk".to_owned(), text(&key.id))])
        };
        // DynamoDB refuses to look for nothing.
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(key).collect()))
            .projection_expression(WITHOUT_BODY)
            .set_expression_attribute_names(Some(reserved_names()))
            .build()?;
        let mut requests = HashMap::from([(self.table.clone(), request)]);
        let mut events = HashMap::new();
        while !requests.is_empty() {
            let got = self.connections.dynamodb.batch_get_item().set_request_items(Some(requests)).send().await;
            let got = got.context("failed to read the events table")?;
            for item in got.responses.into_iter().flatten().flat_map(|(_, items)| items) {
                events.extend(self.read_without_body(item).map(|event| (event.id.clone(), event)));
            }
            requests = got.unprocessed_keys.unwrap_or_default();
        }
        Ok(keys.iter().filter_map(|key| events.remove(&key.id)).collect())
    }

    /// All events of a subject, without their bodies, in the order in which they were received.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn of_subject(&self, subject: &str) -> anyhow::Result<Vec<StoredEvent>> {
        let query = self.connections.dynamodb.query().table_name(&self.table).consistent_read(true);
        let mut pages = query
            .key_condition_expression("pk = :subject")
            .projection_expression(WITHOUT_BODY)
            .set_expression_attribute_names(Some(reserved_names()))
            .expression_attribute_values(":subject", AttributeValue::S(subject.to_owned()))
            .into_paginator()
            .items()
            .send();
        let mut events = Vec::new();
        while let Some(item) = pages.next().await {
            events.extend(self.read_without_body(item.context("failed to read the events table")?));
        }
        events.sort_by(|one, other| (one.received_at, &one.id).cmp(&(other.received_at, &other.id)));
        Ok(events)
    }

    /// The keys of all events of a subject, in the order in which they were received.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn keys_of_subject(&self, subject: &str) -> anyhow::Result<Vec<Key>> {
        let key = |event: StoredEvent| Key { pk: event.subject, id: event.id, received_at: event.received_at };
        Ok(self.of_subject(subject).await?.into_iter().map(key).collect())
    }

    /// The event with this id, with its whole body. Without its subject, the whole table is searched.
    ///
    /// # Errors
    /// If there is none, or the table cannot be read.
    pub async fn find(&self, id: &str, subject: Option<&str>) -> anyhow::Result<StoredEvent> {
        let subject = match subject {
            Some(subject) => subject.to_owned(),
            None => self.subject_of(id).await?,
        };
        match self.whole(&subject, id).await? {
            Whole::Found(event) => Ok(*event),
            Whole::Missing => bail!("there is no event {id} with this subject"),
            Whole::Skipped => bail!("the event {id} cannot be shown"),
        }
    }

    /// The event with this subject and id, with its whole body.
    pub(crate) async fn whole(&self, subject: &str, id: &str) -> anyhow::Result<Whole> {
        match self.store.find(subject, id).await {
            Ok(Some(event)) => Ok(Whole::Found(Box::new(event))),
            Ok(None) => Ok(Whole::Missing),
            Err(error) => match why_skipped(&error) {
                Some(reason) => {
                    self.skip(id, &reason);
                    Ok(Whole::Skipped)
                }
                None => Err(error).context("failed to read the events table"),
            },
        }
    }

    /// The events whose ids begin so, without their bodies, in the order in which they were received. The whole table is searched.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub(crate) async fn beginning(&self, prefix: &str) -> anyhow::Result<Vec<StoredEvent>> {
        let scan =
            self.connections.dynamodb.scan().table_name(&self.table).projection_expression("pk, sk, received_at");
        let scan = scan.filter_expression("begins_with(sk, :prefix) AND attribute_exists(kind)");
        let scan = scan.expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()));
        let mut items = scan.into_paginator().items().send();
        let mut keys = Vec::new();
        while let Some(item) = items.next().await {
            keys.extend(self.read::<Key>(item.context("failed to search the events table")?));
        }
        keys.sort_by(|one, other| (one.received_at, &one.id).cmp(&(other.received_at, &other.id)));
        let mut events = Vec::new();
        for keys in keys.chunks(PAGE) {
            events.extend(self.get(keys).await?);
        }
        Ok(events)
    }

    async fn subject_of(&self, id: &str) -> anyhow::Result<String> {
        let scan = self.connections.dynamodb.scan().table_name(&self.table).projection_expression("pk");
        let scan = scan.filter_expression("sk = :id");
        let scan = scan.expression_attribute_values(":id", AttributeValue::S(id.to_owned()));
        let mut pages = scan.into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.context("failed to search the events table")?;
            if let Some(Ok(subject)) = item.get("pk").map(AttributeValue::as_s) {
                return Ok(subject.clone());
            }
        }
        bail!("there is no event {id}")
    }
}

/// Why one event cannot be read although DynamoDB answers: the item is not one of this version, or its body is not whole. None
/// if DynamoDB is the reason.
fn why_skipped(error: &StoreError) -> Option<String> {
    if is_unreadable(error) {
        return Some(UNREADABLE.to_owned());
    }
    (!error.0.is::<SdkError<GetItemError>>()).then(|| error.0.to_string())
}

/// Whether what DynamoDB answered could not be read, rather than that it did not answer.
pub(crate) fn is_unreadable(error: &StoreError) -> bool {
    error.0.is::<serde_dynamo::Error>()
}

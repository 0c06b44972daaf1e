//! Reading the events table.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use jiff::{SignedDuration, civil::Date, tz::TimeZone};
use model::{StoredEvent, Timestamp};
use runtime::DynamoStore;
use serde::Deserialize;

use crate::stack::{Connections, Stack};

/// The events table of one stack.
#[derive(Debug)]
pub struct Events {
    connections: Connections,
    table: String,
    /// The same table, as the functions see it.
    pub(crate) store: DynamoStore,
}

/// An event's key in the table, and when it was received.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    pk: String,
    sk: String,
    pub(crate) received_at: Timestamp,
}

/// How many events a BatchGetItem takes.
pub(crate) const PAGE: usize = 100;

type Item = HashMap<String, AttributeValue>;

/// Everything but the body, which may be large, and is nobody's business in a list.
const WITHOUT_BODY: &str = "pk, sk, provider, #source, kind, track, #policy, content, recipient, outcome, #final, reasons, \
                            unrecognized, assurance, occurred_at, received_at, drained_at, replaces, details, evidence, \
                            parts, #day, expires_at, perishable, traceparent";

/// The attributes in [`WITHOUT_BODY`] whose names are, or may become,
/// [reserved](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html).
fn reserved_names() -> HashMap<String, String> {
    ["source", "policy", "final", "day"].map(|name| (format!("#{name}"), name.to_owned())).into()
}

impl Events {
    /// The events of this stack.
    pub async fn of(stack: &Stack) -> Self {
        let connections = stack.connect().await;
        let table = stack.events_table.clone();
        let store = DynamoStore::new(connections.dynamodb.clone(), table.clone(), stack.retention());
        Self { connections, table, store }
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
        keys.sort_by(|one, other| (one.received_at, &one.sk).cmp(&(other.received_at, &other.sk)));
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
            keys.push(serde_dynamo::from_item(item.context("failed to read the index by day")?)?);
        }
        Ok(keys)
    }

    /// Up to [`PAGE`] events by their keys, without their bodies, in this order. One that was deleted meanwhile is left out.
    pub(crate) async fn get(&self, keys: &[Key]) -> anyhow::Result<Vec<StoredEvent>> {
        let key = |key: &Key| {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            Item::from([("pk".to_owned(), text(&key.pk)), ("sk".to_owned(), text(&key.sk))])
        };
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
                let event = read(item)?;
                events.insert(event.id.clone(), event);
            }
            requests = got.unprocessed_keys.unwrap_or_default();
        }
        Ok(keys.iter().filter_map(|key| events.remove(&key.sk)).collect())
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
            events.push(read(item.context("failed to read the events table")?)?);
        }
        events.sort_by(|one, other| (one.received_at, &one.id).cmp(&(other.received_at, &other.id)));
        Ok(events)
    }

    /// The keys of all events of a subject, in the order in which they were received.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn keys_of_subject(&self, subject: &str) -> anyhow::Result<Vec<Key>> {
        let key = |event: StoredEvent| Key { pk: event.subject, sk: event.id, received_at: event.received_at };
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
        let found = self.store.find(&subject, id).await.context("failed to read the events table")?;
        found.with_context(|| format!("there is no event {id} with this subject"))
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

/// Reads an item of which the body was left out.
fn read(mut item: Item) -> anyhow::Result<StoredEvent> {
    item.insert("body".to_owned(), AttributeValue::B(Vec::new().into()));
    serde_dynamo::from_item(item).context("an item is no event")
}

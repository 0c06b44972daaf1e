//! The verifications table.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, KeysAndAttributes, ReturnValue},
};
use model::{
    Claim, Course, CourseKey, Courses, Due, DueChange, Dues, Erasure, Erasures, Identity, Proofs, StoreError,
    StoredEvent, Timestamp, Written,
};
use serde::Deserialize;

use crate::{
    erasures::{DynamoErasures, MAX_CALLS, MAX_KEYS, entries, key_of},
    store::failed,
};

/// Courses in DynamoDB, one row each: partition key `<provider>#<subject>`, sort key the track.
/// Only the publisher writes the attributes `course`, `version` and `expires_at`. The row may have
/// others.
///
/// A row whose verdict is awaited also has `due_shard`, `ask_at`, `due_at` and `asks` (see
/// [`Due`]): all of them, or none. The first two are the key of the sparse index `by-ask-at`. The
/// publisher sets and removes them; the reconciler moves them.
///
/// Claims too, one item each: partition key `proof/<id>`, sort key the proof's kind. They have no
/// `expires_at`: a token that never expires keeps counting for what it was first presented for.
#[derive(Debug, Clone)]
pub struct DynamoCourses {
    client: Client,
    table: String,
    /// The list that the publisher reads together with the rows.
    erasures: Option<DynamoErasures>,
}

#[derive(Deserialize)]
struct Row {
    pk: String,
    sk: String,
    #[serde(default)]
    course: Course,
    #[serde(default)]
    version: u64,
    ask_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
    #[serde(default)]
    asks: u32,
}

/// The index of rows whose verdict is awaited.
const BY_ASK_AT: &str = "by-ask-at";

/// The attributes of such a row, and nothing else.
const NOT_DUE: &str = "due_shard, ask_at, due_at, asks";

impl DynamoCourses {
    /// The courses in this table.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, erasures: None }
    }

    /// The same, for the publisher: with the list of erased verifications.
    #[must_use]
    pub fn with_erasures(self, erasures: DynamoErasures) -> Self {
        Self { erasures: Some(erasures), ..self }
    }

    /// The list of erased verifications.
    fn erasures(&self) -> Result<&DynamoErasures, StoreError> {
        self.erasures.as_ref().ok_or_else(|| StoreError("the list of erased verifications is not given".into()))
    }

    /// The rows with these keys, and those of these entries that are on the list of erased
    /// verifications. At most [`MAX_KEYS`] together.
    async fn read_items(
        &self,
        keys: &[CourseKey],
        list: Option<(&str, &BTreeSet<String>)>,
    ) -> Result<Read, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        // DynamoDB refuses a repeated key.
        let distinct: BTreeSet<&CourseKey> = keys.iter().collect();
        let key = |key: &CourseKey| {
            let pk = AttributeValue::S(partition(&key.provider, &key.subject));
            HashMap::from([("pk".to_owned(), pk), ("sk".to_owned(), text(&key.track))])
        };
        let request = KeysAndAttributes::builder().set_keys(Some(distinct.into_iter().map(key).collect()));
        let request = request.consistent_read(true).build().map_err(failed)?;
        let mut requests = HashMap::from([(self.table.clone(), request)]);
        if let Some((table, keys)) = list {
            requests.insert(table.to_owned(), entries(keys.iter())?);
        }
        let mut read = Read::default();
        for _ in 0..MAX_CALLS {
            let got = self.client.batch_get_item().set_request_items(Some(requests)).send().await.map_err(failed)?;
            for (table, items) in got.responses.into_iter().flatten() {
                if table != self.table {
                    read.erased.extend(items.into_iter().filter_map(key_of));
                    continue;
                }
                for item in items {
                    let row: Row = serde_dynamo::from_item(item).map_err(failed)?;
                    read.rows.insert((row.pk, row.sk), Course { version: row.version, ..row.course });
                }
            }
            requests = got.unprocessed_keys.unwrap_or_default();
            if requests.is_empty() {
                return Ok(read);
            }
        }
        Err(StoreError("the verifications table is throttled: it left out a part of its answer".into()))
    }
}

/// The result of one BatchGetItem.
#[derive(Default)]
struct Read {
    rows: HashMap<(String, String), Course>,
    /// The keys of the entries on the list of erased verifications.
    erased: BTreeSet<String>,
}

impl Read {
    /// The course with this key; an empty one if there is no row.
    fn course(&self, key: &CourseKey) -> Course {
        self.rows.get(&(partition(&key.provider, &key.subject), key.track.clone())).cloned().unwrap_or_default()
    }
}

impl Erasures for DynamoCourses {
    async fn read_with_erasures(&self, keys: &[CourseKey]) -> Result<Vec<(Course, bool)>, StoreError> {
        let erasures = self.erasures()?;
        let entry = |key: &CourseKey| Erasure::key_of(&key.provider, &key.subject);
        let mut courses = Vec::with_capacity(keys.len());
        // Both tables are read by the same call, which counts the keys of both.
        for keys in keys.chunks(MAX_KEYS / 2) {
            let entries: BTreeSet<String> = keys.iter().map(entry).collect();
            let read = self.read_items(keys, Some((&erasures.list, &entries))).await?;
            courses.extend(keys.iter().map(|key| (read.course(key), read.erased.contains(&entry(key)))));
        }
        Ok(courses)
    }

    async fn erase(&self, event: &StoredEvent, now: Timestamp) -> Result<(), StoreError> {
        self.erasures()?.erase(event, now).await
    }
}

impl Courses for DynamoCourses {
    async fn read(&self, keys: &[CourseKey]) -> Result<Vec<Course>, StoreError> {
        let mut courses = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MAX_KEYS) {
            let read = self.read_items(keys, None).await?;
            courses.extend(keys.iter().map(|key| read.course(key)));
        }
        Ok(courses)
    }

    async fn write(&self, key: &CourseKey, course: &Course) -> Result<Written, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(partition(&key.provider, &key.subject)))
            .key("sk", AttributeValue::S(key.track.clone()))
            .update_expression(format!(
                "SET course = :course, #version = :next, expires_at = :expires_at{}",
                match course.due {
                    DueChange::Keep => String::new(),
                    DueChange::Clear => format!(" REMOVE {NOT_DUE}"),
                    DueChange::Reset(_) => {
                        ", due_shard = :shard, ask_at = :due_at, due_at = :due_at, asks = :asks".to_owned()
                    }
                    DueChange::Set(_) => ["due_shard :shard", "ask_at :due_at", "due_at :due_at", "asks :asks"]
                        .map(|pair| pair.split_once(' ').unwrap_or_default())
                        .map(|(name, value)| format!(", {name} = if_not_exists({name}, {value})"))
                        .concat(),
                }
            ))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":course", serde_dynamo::to_attribute_value(course).map_err(failed)?)
            .expression_attribute_values(":next", number(course.version + 1))
            .expression_attribute_values(":expires_at", number(course.expires_at()));
        let update = match course.due {
            DueChange::Set(time) | DueChange::Reset(time) => update
                .expression_attribute_values(":shard", AttributeValue::S(shard(key).to_string()))
                .expression_attribute_values(":due_at", sortable(time))
                .expression_attribute_values(":asks", number(0)),
            DueChange::Keep | DueChange::Clear => update,
        };
        let update = match course.version {
            0 => update.condition_expression("attribute_not_exists(#version)"),
            version => update
                .condition_expression("#version = :version")
                .expression_attribute_values(":version", number(version)),
        };
        match update.send().await {
            Ok(_) => Ok(Written::Kept),
            Err(SdkError::ServiceError(e))
                if matches!(e.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
            {
                Ok(Written::Overtaken)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn of_verification(&self, provider: &str, subject: &str) -> Result<Vec<(String, Course)>, StoreError> {
        let query = self.client.query().table_name(&self.table).consistent_read(true);
        let mut items = query
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(partition(provider, subject)))
            .into_paginator()
            .items()
            .send();
        let mut courses = Vec::new();
        while let Some(item) = items.next().await {
            let row: Row = serde_dynamo::from_item(item.map_err(failed)?).map_err(failed)?;
            courses.push((row.sk, Course { version: row.version, ..row.course }));
        }
        Ok(courses)
    }
}

impl Dues for DynamoCourses {
    async fn due(&self, shard: u8, now: Timestamp, limit: usize) -> Result<Vec<CourseKey>, StoreError> {
        #[derive(Deserialize)]
        struct Key {
            pk: String,
            sk: String,
        }
        let query = self.client.query().table_name(&self.table).index_name(BY_ASK_AT);
        let mut items = query
            .key_condition_expression("due_shard = :shard AND ask_at <= :now")
            .expression_attribute_values(":shard", AttributeValue::S(shard.to_string()))
            .expression_attribute_values(":now", sortable(now))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .into_paginator()
            .items()
            .send();
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some(item) = items.next().await
        {
            let Key { pk, sk } = serde_dynamo::from_item(item.map_err(failed)?).map_err(failed)?;
            if let Some((provider, subject)) = pk.split_once('#') {
                keys.push(CourseKey { provider: provider.to_owned(), subject: subject.to_owned(), track: sk });
            }
        }
        Ok(keys)
    }

    async fn read_due(&self, key: &CourseKey) -> Result<Option<(Due, Course)>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let get = get.key("pk", AttributeValue::S(partition(&key.provider, &key.subject)));
        let got = get.key("sk", AttributeValue::S(key.track.clone())).send().await.map_err(failed)?;
        let Some(item) = got.item else { return Ok(None) };
        let Row { course, version, ask_at, due_at, asks, .. } = serde_dynamo::from_item(item).map_err(failed)?;
        let (Some(ask_at), Some(due_at)) = (ask_at, due_at) else { return Ok(None) };
        Ok(Some((Due { key: key.clone(), due_at, ask_at, asks }, Course { version, ..course })))
    }

    async fn move_on(&self, due: &Due, next: Option<&Due>) -> Result<bool, StoreError> {
        let key = &due.key;
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(partition(&key.provider, &key.subject)))
            .key("sk", AttributeValue::S(key.track.clone()))
            .condition_expression("ask_at = :ask_at AND due_at = :due_at AND asks = :asks")
            .expression_attribute_values(":ask_at", sortable(due.ask_at))
            .expression_attribute_values(":due_at", sortable(due.due_at))
            .expression_attribute_values(":asks", number(due.asks));
        let update = match next {
            None => update.update_expression(format!("REMOVE {NOT_DUE}")),
            Some(next) => update
                .update_expression("SET ask_at = :next_ask_at, due_at = :next_due_at, asks = :next_asks")
                .expression_attribute_values(":next_ask_at", sortable(next.ask_at))
                .expression_attribute_values(":next_due_at", sortable(next.due_at))
                .expression_attribute_values(":next_asks", number(next.asks)),
        };
        match update.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(e))
                if matches!(e.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

impl Proofs for DynamoCourses {
    async fn claim(&self, claim: &Claim) -> Result<Claim, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(proof_partition(&claim.proof)))
            .key("sk", text(&claim.what))
            // An existing claim stays. So the first one counts, even of two at the same time.
            .update_expression(
                "SET holder = if_not_exists(holder, :holder), event_id = if_not_exists(event_id, :event_id)",
            )
            .expression_attribute_values(":holder", text(&claim.holder))
            .expression_attribute_values(":event_id", text(&claim.event_id))
            .return_values(ReturnValue::AllNew);
        let item = update.send().await.map_err(failed)?.attributes.unwrap_or_default();
        let counts: Claim = serde_dynamo::from_item(item).map_err(failed)?;
        Ok(Claim { proof: claim.proof.clone(), what: claim.what.clone(), ..counts })
    }
}

/// A time whose text sorts like the time.
fn sortable(time: Timestamp) -> AttributeValue {
    AttributeValue::S(format!("{time:.3}"))
}

/// The partition of the index that a row is in.
fn shard(key: &CourseKey) -> u8 {
    let digest = Identity::of([Some(key.provider.as_str()), Some(&key.subject), Some(&key.track)]);
    digest.to_hex().bytes().last().unwrap_or_default() % Due::SHARDS
}

fn number(number: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Without a `#`, so that it is no verification's partition.
fn proof_partition(id: &str) -> String {
    format!("proof/{id}")
}

/// No provider's name has a `#`.
fn partition(provider: &str, subject: &str) -> String {
    format!("{provider}#{subject}")
}

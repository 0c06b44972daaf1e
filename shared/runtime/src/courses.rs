//! The verifications table.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, KeysAndAttributes, ReturnValue},
};
use model::{Claim, Course, CourseKey, Courses, Proofs, StoreError, Written};
use serde::Deserialize;

use crate::store::failed;

/// Courses in DynamoDB, one row each: partition key `<provider>#<subject>`, sort key the track. Of a row, only the
/// attributes `course`, `version` and `expires_at` are written here. It may have others.
///
/// And claims, one item each: partition key `proof/<id>`, sort key what the proof is. They have no `expires_at`: a token that
/// never expires stands for what it stood for when it was first presented.
#[derive(Debug, Clone)]
pub struct DynamoCourses {
    client: Client,
    table: String,
}

#[derive(Deserialize)]
struct Row {
    pk: String,
    sk: String,
    #[serde(default)]
    course: Course,
    #[serde(default)]
    version: u64,
}

/// How many rows a BatchGetItem takes.
const MAX_KEYS: usize = 100;

/// How often what DynamoDB left out of an answer is asked for again.
const MAX_CALLS: usize = 5;

impl DynamoCourses {
    /// The courses in this table.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The rows with these keys, at most [`MAX_KEYS`].
    async fn read_rows(&self, keys: &[CourseKey]) -> Result<HashMap<(String, String), Course>, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        // DynamoDB refuses a key that is there twice.
        let distinct: BTreeSet<&CourseKey> = keys.iter().collect();
        let key = |key: &CourseKey| {
            let pk = AttributeValue::S(partition(&key.provider, &key.subject));
            HashMap::from([("pk".to_owned(), pk), ("sk".to_owned(), text(&key.track))])
        };
        let request = KeysAndAttributes::builder().set_keys(Some(distinct.into_iter().map(key).collect()));
        let request = request.consistent_read(true).build().map_err(failed)?;
        let mut requests = HashMap::from([(self.table.clone(), request)]);
        let mut rows = HashMap::new();
        for _ in 0..MAX_CALLS {
            let got = self.client.batch_get_item().set_request_items(Some(requests)).send().await.map_err(failed)?;
            for item in got.responses.into_iter().flatten().flat_map(|(_, items)| items) {
                let row: Row = serde_dynamo::from_item(item).map_err(failed)?;
                rows.insert((row.pk, row.sk), Course { version: row.version, ..row.course });
            }
            requests = got.unprocessed_keys.unwrap_or_default();
            if requests.is_empty() {
                return Ok(rows);
            }
        }
        Err(StoreError("the verifications table is throttled: it left out a part of its answer".into()))
    }
}

impl Courses for DynamoCourses {
    async fn read(&self, keys: &[CourseKey]) -> Result<Vec<Course>, StoreError> {
        let mut courses = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MAX_KEYS) {
            let rows = self.read_rows(keys).await?;
            courses.extend(keys.iter().map(|key| {
                rows.get(&(partition(&key.provider, &key.subject), key.track.clone())).cloned().unwrap_or_default()
            }));
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
            .update_expression("SET course = :course, #version = :next, expires_at = :expires_at")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":course", serde_dynamo::to_attribute_value(course).map_err(failed)?)
            .expression_attribute_values(":next", number(course.version + 1))
            .expression_attribute_values(":expires_at", number(course.expires_at()));
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

impl Proofs for DynamoCourses {
    async fn claim(&self, claim: &Claim) -> Result<Claim, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(proof_partition(&claim.proof)))
            .key("sk", text(&claim.what))
            // An existing claim stays. So the first one counts, also of two at the same time.
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

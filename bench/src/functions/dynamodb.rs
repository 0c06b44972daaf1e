//! DynamoDB, in memory, as far as functions and peers use it.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::{
    condition::{Item, Placeholders, holds},
    services::Reply,
};

/// The items of all tables, by table and key.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    items: BTreeMap<(String, String), Item>,
    /// What was put, updated and read, in the units that AWS charges.
    pub(crate) units: Units,
}

/// What AWS charges on demand.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Units {
    /// Write units, those of the index included.
    pub(crate) write: u64,
    /// Read units.
    pub(crate) read: u64,
}

impl Tables {
    /// Answers an operation.
    ///
    /// # Errors
    /// If the request is not understood. The functions under measurement would have to send nonsense for that.
    pub(crate) fn answer(&mut self, operation: &str, request: &Value) -> anyhow::Result<Reply> {
        match operation {
            "PutItem" => self.put_item(request),
            "GetItem" => self.get_item(request),
            "UpdateItem" => self.update_item(request),
            "DeleteItem" => self.delete_item(request),
            "BatchGetItem" => self.batch_get_item(request),
            "Query" => self.query(request),
            _ => bail!("{operation} is not served here"),
        }
    }

    /// Puts an item without anybody having asked for it.
    pub(crate) fn insert(&mut self, table: &str, item: Item) {
        self.items.insert((table.to_owned(), key_of(&item)), item);
    }

    /// How many items a table has.
    pub(crate) fn count(&self, table: &str) -> usize {
        self.items.keys().filter(|(name, _)| name == table).count()
    }

    fn put_item(&mut self, request: &Value) -> anyhow::Result<Reply> {
        let item = request.get("Item").and_then(Value::as_object).context("a put has an item")?.clone();
        let key = (table_of(request)?, key_of(&item));
        let present = self.items.get(&key);
        if !is_met(request, present)? {
            // Charged by the larger one, and nothing in the index.
            self.units.write += present.map_or(1, |present| kilobytes(size(present)));
            let wants_item =
                request.get("ReturnValuesOnConditionCheckFailure").and_then(Value::as_str) == Some("ALL_OLD");
            return Ok(condition_failed(present.filter(|_| wants_item)));
        }
        self.units.write += write_units(&item);
        self.items.insert(key, item);
        Ok(Reply::ok(json!({})))
    }

    fn get_item(&mut self, request: &Value) -> anyhow::Result<Reply> {
        let item = self.items.get(&asked_for(request)?);
        self.units.read += read_units(item.map_or(0, size));
        Ok(Reply::ok(item.map_or_else(|| json!({}), |item| json!({ "Item": item }))))
    }

    /// Each item is charged by itself, and so is each key without an item.
    fn batch_get_item(&mut self, request: &Value) -> anyhow::Result<Reply> {
        let tables = request.get("RequestItems").and_then(Value::as_object).context("a batch names its tables")?;
        let mut responses = Item::new();
        for (table, request) in tables {
            let keys = request.get("Keys").and_then(Value::as_array).context("a batch has keys")?;
            let keys = keys.iter().filter_map(Value::as_object).map(|key| (table.clone(), key_of(key)));
            let found: Vec<_> = keys.map(|key| self.items.get(&key)).collect();
            self.units.read += found.iter().map(|item| read_units(item.map_or(0, size))).sum::<u64>();
            responses.insert(table.clone(), json!(found.into_iter().flatten().collect::<Vec<_>>()));
        }
        Ok(Reply::ok(json!({ "Responses": responses, "UnprocessedKeys": {} })))
    }

    /// The items of one partition, which are charged together.
    fn query(&mut self, request: &Value) -> anyhow::Result<Reply> {
        // Nothing here is in an index. An eventually consistent read that finds nothing takes half a unit.
        if request.get("IndexName").is_some() {
            return Ok(Reply::ok(json!({ "Items": [], "Count": 0 })));
        }
        let partition = (table_of(request)?, Placeholders::of(request).value(":pk")?.to_string());
        let is_in_partition = |key: &(String, String)| key.0 == partition.0 && key.1.starts_with(&partition.1);
        let items = self.items.range(partition.clone()..).take_while(|(key, _)| is_in_partition(key));
        let items: Vec<&Item> = items.map(|(_, item)| item).collect();
        self.units.read += read_units(items.iter().map(|item| size(item)).sum());
        Ok(Reply::ok(json!({ "Items": items, "Count": items.len() })))
    }

    fn update_item(&mut self, request: &Value) -> anyhow::Result<Reply> {
        let key = asked_for(request)?;
        let mut item = match self.items.get(&key) {
            Some(item) => item.clone(),
            None => request.get("Key").and_then(Value::as_object).context("an update has a key")?.clone(),
        };
        if !is_met(request, self.items.get(&key))? {
            self.units.write += 1;
            return Ok(condition_failed(None));
        }
        let placeholders = Placeholders::of(request);
        let expression = request.get("UpdateExpression").and_then(Value::as_str).context("an update says what")?;
        let assignments = expression.trim().strip_prefix("SET ").context("only SET is served here")?;
        for assignment in assignments.split(',') {
            let (name, value) = assignment.split_once('=').context("an assignment has two sides")?;
            let name = placeholders.name(name.trim())?;
            item.insert(name.to_owned(), placeholders.value(value.trim())?.clone());
        }
        self.units.write += write_units(&item);
        self.items.insert(key, item);
        Ok(Reply::ok(json!({})))
    }

    fn delete_item(&mut self, request: &Value) -> anyhow::Result<Reply> {
        let deleted = self.items.remove(&asked_for(request)?);
        self.units.write += deleted.map_or(1, |item| write_units(&item));
        Ok(Reply::ok(json!({})))
    }
}

fn condition_failed(item: Option<&Item>) -> Reply {
    let mut reply = Reply::error("ConditionalCheckFailedException", "The conditional request failed");
    if let Some(item) = item {
        reply.insert("Item", Value::from(item.clone()));
    }
    reply
}

fn is_met(request: &Value, item: Option<&Item>) -> anyhow::Result<bool> {
    match request.get("ConditionExpression").and_then(Value::as_str) {
        Some(condition) => holds(condition, Placeholders::of(request), item),
        None => Ok(true),
    }
}

fn table_of(request: &Value) -> anyhow::Result<String> {
    Ok(request.get("TableName").and_then(Value::as_str).context("a request names its table")?.to_owned())
}

fn asked_for(request: &Value) -> anyhow::Result<(String, String)> {
    let key = request.get("Key").and_then(Value::as_object).context("a request has a key")?;
    Ok((table_of(request)?, key_of(key)))
}

/// What tells an item from others: `pk` and `sk`, or what Powertools calls its key.
fn key_of(item: &Item) -> String {
    let names: &[&str] = if item.contains_key("pk") { &["pk", "sk"] } else { &["id", "sort_key"] };
    names.iter().filter_map(|name| item.get(*name)).map(Value::to_string).collect()
}

/// The index `by-day` holds the keys of what has a day.
fn write_units(item: &Item) -> u64 {
    kilobytes(size(item)) + u64::from(item.contains_key("day"))
}

/// Those of a consistent read of so many bytes.
fn read_units(bytes: u64) -> u64 {
    kilobytes(bytes).div_ceil(4)
}

fn kilobytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024).max(1)
}

/// How large [DynamoDB takes an item to be](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
pub(crate) fn size(item: &Item) -> u64 {
    item.iter().map(|(name, value)| length(name) + size_of_value(value)).sum()
}

fn size_of_value(value: &Value) -> u64 {
    let Some((kind, content)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    match (kind.as_str(), content) {
        ("S", Value::String(text)) => length(text),
        ("B", Value::String(text)) => BASE64.decode(text).map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(0)),
        ("N", Value::String(text)) => length(text).div_ceil(2) + 1,
        ("L", Value::Array(values)) => 3 + values.iter().map(|value| 1 + size_of_value(value)).sum::<u64>(),
        ("M", Value::Object(item)) => {
            3 + item.iter().map(|(name, value)| 1 + length(name) + size_of_value(value)).sum::<u64>()
        }
        _ => 1,
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(subject: &str, condition: &str) -> Value {
        json!({
            "TableName": "events", "ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            "Item": { "pk": { "S": subject }, "sk": { "S": "e" }, "day": { "S": "d" } },
        })
    }

    #[test]
    fn what_is_there_is_not_put_again_and_comes_back() {
        let mut tables = Tables::default();
        let request = put("a", "attribute_not_exists(pk)");
        assert_eq!(tables.answer("PutItem", &request).unwrap().status, 200);
        assert_eq!(tables.units.write, 2);
        let reply = tables.answer("PutItem", &request).unwrap();
        assert_eq!((reply.status, &reply.body["Item"]["pk"]["S"]), (400, &json!("a")));
        assert_eq!((tables.count("events"), tables.units.write), (1, 3));
    }

    #[test]
    fn an_update_sets_what_it_names() {
        let mut tables = Tables::default();
        let key = json!({ "id": { "S": "x" } });
        let update = json!({
            "TableName": "t", "Key": key, "UpdateExpression": "SET #status = :status, #n = :n",
            "ExpressionAttributeNames": { "#status": "status", "#n": "n" },
            "ExpressionAttributeValues": { ":status": { "S": "COMPLETED" }, ":n": { "N": "1" } },
        });
        tables.answer("UpdateItem", &update).unwrap();
        let got = tables.answer("GetItem", &json!({ "TableName": "t", "Key": key })).unwrap();
        assert_eq!(got.body["Item"], json!({ "id": { "S": "x" }, "status": { "S": "COMPLETED" }, "n": { "N": "1" } }));
        tables.answer("DeleteItem", &json!({ "TableName": "t", "Key": key })).unwrap();
        assert_eq!(tables.count("t"), 0);
    }

    #[test]
    fn a_batch_has_what_is_there_and_is_charged_for_the_rest_too() {
        let mut tables = Tables::default();
        tables.answer("PutItem", &put("a", "attribute_not_exists(pk)")).unwrap();
        let key = |subject: &str| json!({ "pk": { "S": subject }, "sk": { "S": "e" } });
        let batch = json!({ "RequestItems": { "events": { "Keys": [key("a"), key("b")], "ConsistentRead": true } } });
        let got = tables.answer("BatchGetItem", &batch).unwrap();
        let found = got.body["Responses"]["events"].as_array().unwrap();
        assert_eq!((found.len(), &found[0]["pk"]["S"], tables.units.read), (1, &json!("a"), 2));
        let query = json!({ "TableName": "events", "ExpressionAttributeValues": { ":pk": { "S": "a" } } });
        assert_eq!(tables.answer("Query", &query).unwrap().body["Items"], json!(found));
    }

    #[test]
    fn an_item_is_as_large_as_its_names_and_values() {
        let item = json!({ "ab": { "S": "cde" }, "n": { "N": "1234" }, "b": { "B": BASE64.encode([0; 10]) }, "t": { "BOOL": true } });
        assert_eq!(size(item.as_object().unwrap()), 2 + 3 + 1 + 3 + 1 + 10 + 1 + 1);
        assert_eq!((kilobytes(0), kilobytes(1024), kilobytes(1025)), (1, 1, 2));
        assert_eq!((read_units(0), read_units(4096), read_units(4097)), (1, 1, 2));
    }
}

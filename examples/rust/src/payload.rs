//! The payload of a message: the callback's body as it came, which the message itself does not carry. It is personal
//! data: see docs/payload.md.

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use model::Part;

/// The payload of the message with this subject and id. None if it is not kept any more.
///
/// # Errors
/// If the table cannot be read, or not all of the payload is there yet.
pub async fn fetch(dynamodb: &Client, table: &str, subject: &str, id: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let get = dynamodb.get_item().table_name(table).key("pk", text(subject)).key("sk", text(id));
    let got = get.consistent_read(true).send().await.context("failed to read the events table")?;
    let Some(mut item) = got.item else { return Ok(None) };
    let Some(AttributeValue::N(parts)) = item.get("parts") else { return body(item.remove("body")).map(Some) };

    // A body that is too large for one item. The parts' sort keys end with their numbers, so they come in order.
    let parts: usize = parts.parse().context("an event has no number of parts")?;
    let query = dynamodb.query().table_name(table).consistent_read(true);
    let mut pages = query
        .key_condition_expression("pk = :subject AND begins_with(sk, :parts)")
        .expression_attribute_values(":subject", text(subject))
        .expression_attribute_values(":parts", text(&Part::prefix(id)))
        .into_paginator()
        .items()
        .send();
    let (mut payload, mut found) = (Vec::new(), 0);
    while let Some(part) = pages.next().await {
        let mut part = part.context("failed to read the events table")?;
        payload.extend(body(part.remove("body"))?);
        found += 1;
    }
    ensure!(found == parts, "parts of the payload are missing: try again");
    Ok(Some(payload))
}

fn body(attribute: Option<AttributeValue>) -> anyhow::Result<Vec<u8>> {
    match attribute {
        Some(AttributeValue::B(bytes)) => Ok(bytes.into_inner()),
        _ => anyhow::bail!("an item has no body"),
    }
}

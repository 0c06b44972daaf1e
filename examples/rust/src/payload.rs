//! The payload of a message: the callback's body as it came, which the message itself does not carry. It is personal
//! data: see docs/payload.md.

use std::collections::HashMap;

use anyhow::Context as _;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use model::Part;

/// The payload of the message with this subject and id. None if it is not kept any more.
///
/// # Errors
/// If the table cannot be read, or not all of the payload is there yet.
pub async fn fetch(dynamodb: &Client, table: &str, subject: &str, id: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(mut item) = get(dynamodb, table, subject, id).await? else { return Ok(None) };
    let Some(AttributeValue::N(parts)) = item.get("parts") else { return body(item.remove("body")).map(Some) };

    // A body that is too large for one item: each part is an item of its own.
    let parts: u16 = parts.parse().context("an event has no number of parts")?;
    let mut payload = Vec::new();
    for number in 0..parts {
        let part = get(dynamodb, table, &Part::key(id, number), Part::SORT_KEY).await?;
        let mut part = part.context("parts of the payload are missing: try again")?;
        payload.extend(body(part.remove("body"))?);
    }
    Ok(Some(payload))
}

async fn get(
    dynamodb: &Client,
    table: &str,
    pk: &str,
    sk: &str,
) -> anyhow::Result<Option<HashMap<String, AttributeValue>>> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let get = dynamodb.get_item().table_name(table).key("pk", text(pk)).key("sk", text(sk));
    let got = get.consistent_read(true).send().await.context("failed to read the events table")?;
    Ok(got.item)
}

fn body(attribute: Option<AttributeValue>) -> anyhow::Result<Vec<u8>> {
    match attribute {
        Some(AttributeValue::B(bytes)) => Ok(bytes.into_inner()),
        _ => anyhow::bail!("an item has no body"),
    }
}

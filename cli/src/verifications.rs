//! Where a verification stands, asked as a service of the company asks.

use anyhow::{Context as _, bail};
use reqwest::{Client, Url};
use serde_json::Value;

use crate::{
    api,
    stack::{Connections, Stack},
};

/// Asks a stack's API where a verification stands. None if nothing is known of it.
///
/// # Errors
/// If there are no credentials, or the API does not answer.
pub async fn fetch(
    http: &Client,
    stack: &Stack,
    connections: &Connections,
    provider: &str,
    subject: &str,
) -> anyhow::Result<Option<Value>> {
    let url = stack.url("verifications")?;
    let (before, _) = url.split_once("/{provider}").context("the route has no place for the provider")?;
    let mut url = Url::parse(before).context("the API's address is no URL")?;
    url.path_segments_mut().ok().context("the API's address is no URL")?.extend([provider, subject]);
    let mut request = http.get(url.clone());
    for (name, value) in api::signature(stack, connections, "GET", url.as_str(), b"").await? {
        request = request.header(name, value);
    }
    let response = request.send().await.context("failed to ask where a verification stands")?;
    let status = response.status().as_u16();
    let text = response.text().await.context("failed to read where a verification stands")?;
    match status {
        200 => Ok(Some(serde_json::from_str(&text).context("the API's answer is not JSON")?)),
        404 => Ok(None),
        403 => bail!("your AWS credentials may not call the API: they need execute-api:Invoke"),
        _ => bail!("the API answered {status}: {text}"),
    }
}

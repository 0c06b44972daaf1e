//! Requests to the routes of the company's own services, which are signed for AWS.

use std::time::SystemTime;

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};

use crate::stack::{Connections, Stack};

/// The headers by which AWS knows who calls the API.
pub(crate) async fn signature(
    stack: &Stack,
    connections: &Connections,
    method: &str,
    url: &str,
    body: &[u8],
) -> anyhow::Result<Vec<(String, String)>> {
    let identity = connections.credentials().await?.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&stack.region)
        .name("execute-api")
        .time(now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let signable = SignableRequest::new(method, url, std::iter::empty(), SignableBody::Bytes(body))?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[expect(clippy::disallowed_methods, reason = "a signature is of now")]
fn now() -> SystemTime {
    SystemTime::now()
}

//! The floor: as little as a function can do that keeps each callback once. It reads the gateway's event, and puts its body into a table under the
//! body's hash with one conditional `PutItem`, signed by hand. No AWS SDK, no authenticity, no retries, no log.
//!
//! With `EXPECTATIONS_TABLE` it asks that table with one `GetItem` before: the floor of what looks something up for each callback.

mod signature;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::signature::{Credentials, hex};

#[derive(Deserialize)]
struct Event {
    body: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    body: &'static str,
}

struct Floor {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: String,
    table: String,
    /// What is asked before anything is put, if anything.
    expectations: Option<String>,
    credentials: Credentials,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let floor = &Floor::from_env()?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Event>| async move {
        floor.keep(&event.payload.body.unwrap_or_default()).await
    }))
    .await
}

impl Floor {
    fn from_env() -> Result<Self, Error> {
        // The roots that the functions trust too, read in the same way.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            endpoint: read("AWS_ENDPOINT_URL_DYNAMODB")?,
            table: read("EVENTS_TABLE")?,
            expectations: read("EXPECTATIONS_TABLE").ok(),
            credentials: Credentials {
                access_key_id: read("AWS_ACCESS_KEY_ID")?,
                secret_access_key: read("AWS_SECRET_ACCESS_KEY")?,
                session_token: read("AWS_SESSION_TOKEN")?,
                region: read("AWS_REGION")?,
            },
        })
    }

    async fn keep(&self, body: &str) -> Result<Answer, Error> {
        let id = hex(digest(&SHA256, body.as_bytes()).as_ref());
        if let Some(table) = &self.expectations {
            let request = json!({ "TableName": table, "Key": { "pk": { "S": id } }, "ConsistentRead": true });
            self.call("DynamoDB_20120810.GetItem", &request).await?;
        }
        let request = json!({
            "TableName": self.table,
            "Item": { "pk": { "S": id }, "sk": { "S": "event" }, "body": { "B": BASE64.encode(body) } },
            "ConditionExpression": "attribute_not_exists(pk)",
        });
        let (status, text) = self.call("DynamoDB_20120810.PutItem", &request).await?;
        let is_duplicate = || text.windows(22).any(|part| part == b"ConditionalCheckFailed");
        match status {
            StatusCode::OK => Ok(Answer { status_code: 200, body: "{}" }),
            StatusCode::BAD_REQUEST if is_duplicate() => Ok(Answer { status_code: 200, body: "{}" }),
            _ => Ok(Answer { status_code: 503, body: "{}" }),
        }
    }

    async fn call(&self, target: &str, request: &Value) -> Result<(StatusCode, Bytes), Error> {
        let response = self.client.request(self.signed(target, request.to_string())?).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    fn signed(&self, target: &str, body: String) -> Result<Request<Full<Bytes>>, Error> {
        let host = self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, host)| host);
        let now = now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let authorization = self.credentials.authorization(host, &now, target, body.as_bytes());
        Ok(Request::post(&self.endpoint)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("x-amz-date", now)
            .header("x-amz-security-token", &self.credentials.session_token)
            .header("x-amz-target", target)
            .header(header::AUTHORIZATION, authorization)
            .body(Full::new(Bytes::from(body)))?)
    }
}

#[expect(clippy::disallowed_methods, reason = "a floor has no configuration of its own")]
fn read(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

#[expect(clippy::disallowed_methods, reason = "a signature is of now")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

//! DynamoDB, answering from memory: what is left is what the AWS SDK does.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client, Config,
    config::{
        BehaviorVersion, Credentials, HttpClient, Region, StalledStreamProtectionConfig,
        http::{HttpRequest, HttpResponse},
        retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use model::Retention;
use runtime::{DynamoExpectations, DynamoStore, UserAgent};

/// What DynamoDB answers to whatever it is asked.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// It was done, and there is nothing to say.
    Done,
    /// The item is there already, as after an attempt whose answer was lost.
    AlreadyThere,
    /// There is an expectation under this code.
    Expectation,
}

impl Answer {
    /// A store whose every call is answered so.
    #[must_use]
    pub fn store(self) -> DynamoStore {
        DynamoStore::new(self.client(), "events".to_owned(), Retention::default())
    }

    /// Expectations whose every call is answered so.
    #[must_use]
    pub fn expectations(self) -> DynamoExpectations {
        DynamoExpectations::new(self.client(), "expectations".to_owned())
    }

    /// A client that is configured as `runtime::Aws` does, but for what comes from the environment, and for the network.
    fn client(self) -> Client {
        let attempt = Duration::from_secs(2);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(attempt)
            .operation_attempt_timeout(attempt)
            .operation_timeout(attempt * 2)
            .build();
        // As long as those of a function's role: it is signed too.
        let session_token = "example".repeat(128);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(Credentials::new("EXAMPLE", "example", Some(session_token), None, "example"))
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(25)))
            .http_client(self)
            .interceptor(UserAgent)
            .build();
        Client::from_conf(config)
    }

    fn status_and_body(self) -> (u16, &'static str) {
        match self {
            Self::Done => (200, "{}"),
            Self::AlreadyThere => (
                400,
                concat!(
                    r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","#,
                    r#""message":"The conditional request failed"}"#,
                ),
            ),
            Self::Expectation => (
                200,
                concat!(
                    r#"{"Item":{"pk":{"S":"0000000000000000000000000000000000000000000000000000000000000000"},"#,
                    r#""purpose":{"S":"verification"},"subject":{"S":"example-state-1"},"#,
                    r#""state":{"S":"example-state-1"},"template_ids":{"L":[{"S":"1"},{"S":"2"}]},"#,
                    r#""expires_at":{"N":"1772409600"}}}"#,
                ),
            ),
        }
    }

    fn response(self) -> Result<HttpResponse, ConnectorError> {
        let (status, body) = self.status_and_body();
        let status = StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
        let mut response = HttpResponse::new(status, body.into());
        let headers = response.headers_mut();
        headers.insert("server", "Server");
        headers.insert("date", "Sat, 31 Jan 2026 00:00:00 GMT");
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("content-length", body.len().to_string());
        headers.insert("x-amzn-requestid", "EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXA");
        headers.insert("x-amz-crc32", "2745614147");
        Ok(response)
    }
}

impl HttpClient for Answer {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(*self)
    }
}

impl HttpConnector for Answer {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(self.response())
    }
}

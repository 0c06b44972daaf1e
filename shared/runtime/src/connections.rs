//! The connections to AWS.

use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
};
use http_body_util::BodyExt as _;

use crate::Error;

/// One pool of connections for all AWS clients of a function. So the first call can use a
/// connection that was opened at the start, and roots and sessions of TLS are stored once.
#[derive(Debug, Clone)]
pub(crate) struct Connections(SharedHttpConnector);

impl Connections {
    /// A pool as the SDK makes it. Nothing is connected yet.
    pub(crate) fn new() -> Self {
        let connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        Self(SharedHttpConnector::new(connector.build()))
    }

    /// The pool as an HTTP client for the SDK. It has no time limits for connecting or reading, so
    /// the client must limit its attempts.
    pub(crate) fn client(&self) -> SharedHttpClient {
        let connector = self.0.clone();
        http_client_fn(move |_, _| connector.clone())
    }

    /// Opens a connection to an AWS endpoint. It requests `/ping`, which AWS answers to everybody,
    /// without a signature or a permission. The status does not matter.
    ///
    /// # Errors
    /// If the endpoint does not answer.
    pub(crate) async fn open(&self, endpoint_url: &str) -> Result<(), Error> {
        let url = format!("{}/ping", endpoint_url.trim_end_matches('/'));
        let answer = self.0.call(HttpRequest::get(url)?).await?;
        // A connection is used again only after its answer was read.
        answer.into_body().collect().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers every request with `{}`, and the number of connections that were made
    /// to it.
    async fn server() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    // Each request is small enough to come in one piece.
                    while connection.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                        connection.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        (url, connections)
    }

    #[tokio::test]
    async fn the_first_call_uses_the_connection_that_was_opened() {
        let (url, connections) = server().await;
        let pool = Connections::new();
        pool.open(&url).await.unwrap();
        assert_eq!(connections.load(Ordering::Relaxed), 1);

        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&url)
            .http_client(pool.client());
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
        dynamodb.put_item().table_name("events").send().await.unwrap();
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_endpoint_that_is_not_there_is_an_error() {
        let opened = tokio::time::timeout(Duration::from_secs(5), Connections::new().open("http://127.0.0.1:9")).await;
        assert!(opened.unwrap().is_err());
    }
}

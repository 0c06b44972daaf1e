//! Fetching small documents from the web, such as an issuer's keys, and asking providers.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::SignedDuration;
use lambda_http::http::{Request, StatusCode, Uri, header};
use model::{NoReply, Question, Reply, Web};

use crate::Error;

/// A client for HTTPS, and for HTTP on this machine. It follows no redirects.
#[derive(Debug, Clone)]
pub struct Https(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Https {
    /// A client that trusts the system's root certificates.
    ///
    /// # Errors
    /// If there are none.
    pub fn new() -> Result<Self, Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Whether a document at this address would be fetched: over HTTPS, or over HTTP from this
    /// machine.
    #[must_use]
    pub fn fetches(url: &str) -> bool {
        url.parse::<Uri>().is_ok_and(|url| match url.scheme_str() {
            Some("https") => true,
            Some("http") => is_loopback(&url),
            _ => false,
        })
    }

    /// Fetches a document of at most this many bytes.
    ///
    /// # Errors
    /// If the address is not [allowed](Self::fetches), the status is not 200, the document is
    /// larger, or there is no answer.
    pub async fn get(&self, url: &str, limit: usize) -> Result<Bytes, Error> {
        if !Self::fetches(url) {
            return Err("only https is fetched, and http from this machine".into());
        }
        let url: Uri = url.parse()?;
        let response = self.0.get(url).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("answered with status {}", response.status().as_u16()).into());
        }
        Ok(Limited::new(response.into_body(), limit).collect().await?.to_bytes())
    }
}

/// Asks providers over HTTPS, within a time and up to a size.
#[derive(Debug, Clone)]
pub struct Questions {
    https: Https,
    /// Whether HTTP is allowed too, for an address in the company's own network.
    allows_private: bool,
}

impl Questions {
    /// How long a provider has to answer.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// The largest answer that is read, in bytes.
    const MAX_BYTES: usize = 256 * 1024;

    /// A client for HTTPS, and for HTTP on this machine only.
    #[must_use]
    pub fn new(https: Https) -> Self {
        Self { https, allows_private: false }
    }

    /// The same, and for HTTP in the company's own network.
    #[must_use]
    pub fn within_own_network(self) -> Self {
        Self { allows_private: true, ..self }
    }

    async fn reply(&self, question: Question) -> Result<Reply, Error> {
        let Question { method, url, headers, body } = question;
        if !(Https::fetches(&url) || self.allows_private && url.starts_with("http://")) {
            return Err("only https is asked, and http on this machine".into());
        }
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = self.https.0.request(request.body(Full::from(body))?).await?;
        let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let (status, retry_after) =
            (response.status().as_u16(), seconds.map(|s: u32| SignedDuration::from_secs(s.into())));
        let body = Limited::new(response.into_body(), Self::MAX_BYTES).collect().await?.to_bytes();
        Ok(Reply { status, retry_after, body })
    }
}

impl Web for Questions {
    async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
        let reply = tokio::time::timeout(Self::PATIENCE, self.reply(question)).await;
        reply.unwrap_or_else(|late| Err(late.into())).map_err(NoReply)
    }
}

/// The value of `Authorization` for a user and a password (RFC 7617).
#[must_use]
pub fn basic_authorization(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What comes of fetching up to 16 bytes from a server that answers with this.
    async fn fetch(answer: &'static str) -> Result<Bytes, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 1024]).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        });
        Https::new().unwrap().get(&url, 16).await
    }

    #[test]
    fn a_user_and_a_password_are_presented_as_rfc_7617_says() {
        assert_eq!(basic_authorization("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[tokio::test]
    async fn a_small_document_is_fetched() {
        assert_eq!(fetch("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap(), "{}");
    }

    #[tokio::test]
    async fn a_large_one_an_error_and_a_redirect_are_not() {
        assert!(fetch("HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n0123456789abcdefg").await.is_err());
        assert!(fetch("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}").await.is_err());
        assert!(fetch("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n").await.is_err());
    }

    #[tokio::test]
    async fn plain_http_is_for_this_machine_only() {
        let https = Https::new().unwrap();
        for url in
            ["http://192.0.2.1/", "http://example.com/", "http://127.0.0.1.example.com/", "file:///etc/hosts", ""]
        {
            assert!(!Https::fetches(url) && https.get(url, 16).await.is_err(), "{url}");
        }
        for url in ["http://localhost:1/", "http://127.9.9.9/", "http://[::1]/", "https://example.com/"] {
            assert!(Https::fetches(url), "{url}");
        }
    }
}

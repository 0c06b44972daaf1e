//! The address that functions and peers take for AWS: over TLS, as AWS is, and counted to the byte.

use std::{
    convert::Infallible,
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    certificates::{Certificates, Roots},
    services::{Calls, Reply, Services},
};

/// What stands in for AWS.
pub(crate) struct Stub {
    /// The tables, queues and secrets behind it.
    pub(crate) services: Arc<Services>,
    /// Its address over TLS.
    pub(crate) tls_url: String,
    /// Its address without.
    pub(crate) plain_url: String,
    /// What has to be trusted for that.
    pub(crate) roots: Roots,
    traffic: Arc<Traffic>,
    servers: [JoinHandle<()>; 2],
}

/// Bytes on the wire, as they are encrypted.
#[derive(Debug, Default)]
struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    handshakes: AtomicU64,
}

/// What went over the wire, and what for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    /// What was asked of AWS.
    pub(crate) calls: Calls,
    /// What the function sent, in bytes.
    pub(crate) bytes_out: u64,
    /// What it received.
    pub(crate) bytes_in: u64,
    /// How many connections it made.
    pub(crate) connections: u64,
}

impl Usage {
    /// What came since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls.since(&before.calls),
            bytes_out: self.bytes_out - before.bytes_out,
            bytes_in: self.bytes_in - before.bytes_in,
            connections: self.connections - before.connections,
        }
    }
}

impl Stub {
    /// Serves from now on, each call after this delay. The certificates are written into this folder.
    pub(crate) async fn start(services: Services, delay: Duration, folder: &Path) -> anyhow::Result<Self> {
        let certificates = Certificates::generate()?;
        let roots = certificates.write_roots(folder)?;
        let (services, traffic) = (Arc::new(services), Arc::new(Traffic::default()));
        let acceptor = certificates.acceptor()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let tls_url = format!("https://localhost:{}", listener.local_addr()?.port());
        let (state, counted) = (Arc::clone(&services), Arc::clone(&traffic));
        let tls = tokio::spawn(accept(listener, Arc::clone(&traffic), move |stream| {
            let (acceptor, services, traffic) = (acceptor.clone(), Arc::clone(&state), Arc::clone(&counted));
            async move {
                // Who does not trust this stub says so by himself.
                if let Ok(stream) = acceptor.accept(stream).await {
                    traffic.handshakes.fetch_add(1, Ordering::Relaxed);
                    serve(stream, services, delay).await;
                }
            }
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let plain_url = format!("http://localhost:{}", listener.local_addr()?.port());
        let state = Arc::clone(&services);
        let plain = tokio::spawn(accept(listener, Arc::clone(&traffic), move |stream| {
            serve(stream, Arc::clone(&state), delay)
        }));
        Ok(Self { services, tls_url, plain_url, roots, traffic, servers: [tls, plain] })
    }

    /// What it was used for since it was started, or its services were reset.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            calls: self.services.calls(),
            bytes_out: self.traffic.received.load(Ordering::Relaxed),
            bytes_in: self.traffic.sent.load(Ordering::Relaxed),
            connections: self.traffic.handshakes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    traffic: Arc<Traffic>,
    serve: impl Fn(Counted) -> F,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(Counted { stream, traffic: Arc::clone(&traffic) }));
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, services: Arc<Services>, delay: Duration) {
    let service = service_fn(|request| answer(&services, delay, request));
    // A process that ends does not say good-bye.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    services: &Services,
    delay: Duration,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let reply = match &target {
        Some(target) => services.answer(target, &body),
        // The one thing that is asked for without a target.
        None => Ok(services.jwks()),
    };
    let reply = reply.unwrap_or_else(|error| Reply::error("ValidationException", &format!("{error:#}")));
    Ok(response(&reply, target.as_deref().unwrap_or_default()))
}

fn response(reply: &Reply, target: &str) -> Response<Full<Bytes>> {
    let body = reply.body.to_string();
    let crc32 = HeaderValue::from(crc32fast::hash(body.as_bytes()));
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = hyper::StatusCode::from_u16(reply.status).unwrap_or_default();
    let version = if target.starts_with("DynamoDB") { "1.0" } else { "1.1" };
    let content_type = match target {
        "" => HeaderValue::from_static("application/json"),
        _ if version == "1.0" || target.starts_with("AmazonSQS") => {
            HeaderValue::from_static("application/x-amz-json-1.0")
        }
        _ => HeaderValue::from_static("application/x-amz-json-1.1"),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers
        .insert("x-amzn-requestid", HeaderValue::from_static("PVRJ1Q5E0EXAMPLE0REQUEST0ID0VV4KQNSO5AEMVJF66Q9ASUAAJG"));
    if target.starts_with("DynamoDB") {
        headers.insert("x-amz-crc32", crc32);
    }
    response
}

/// A connection whose bytes are counted.
struct Counted {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        add(&self.traffic.received, buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &written {
            add(&self.traffic.sent, *bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn it_is_trusted_by_its_roots_and_counts() {
        let folder = std::env::temp_dir().join(format!("bench-stub-{}", std::process::id()));
        let stub = Stub::start(Services::new(json!({ "keys": [] })), Duration::ZERO, &folder).await.unwrap();
        let roots = reqwest::Certificate::from_pem_bundle(&std::fs::read(&stub.roots.all).unwrap()).unwrap();
        let client = roots.into_iter().fold(reqwest::Client::builder(), reqwest::ClientBuilder::add_root_certificate);
        let client = client.build().unwrap();
        let keys: Value = client.get(format!("{}/jwks.json", stub.tls_url)).send().await.unwrap().json().await.unwrap();
        assert_eq!(keys, json!({ "keys": [] }));

        let before = stub.usage();
        let put = json!({ "TableName": "t", "Item": { "id": { "S": "x" } } });
        for url in [&stub.tls_url, &stub.plain_url] {
            let call = client.post(url).header("x-amz-target", "DynamoDB_20120810.PutItem").json(&put);
            let answer = call.send().await.unwrap();
            // Of `{}`.
            assert_eq!(answer.headers()["x-amz-crc32"], "2745614147");
            assert_eq!(answer.status(), 200);
        }
        let usage = stub.usage().since(&before);
        assert_eq!((usage.calls.total(), usage.calls.units.write), (2, 2));
        assert!(usage.bytes_out > 100 && usage.bytes_in > 100, "{usage:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}

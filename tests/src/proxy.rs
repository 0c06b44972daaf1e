//! A proxy in front of an AWS endpoint, which notes the calls.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use tokio::net::TcpListener;

/// Hands calls on to AWS, and notes them.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it is.
    pub endpoint_url: String,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy in front of this endpoint. It ends with the runtime.
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let state = (upstream, Arc::clone(&calls), reqwest::Client::new());
        let router = Router::new().fallback(hand_on).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint_url, calls }
    }

    /// The calls since the last look, as the operations' names, such as `DynamoDB_20120810.PutItem`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

type Upstream = (String, Arc<Mutex<Vec<String>>>, reqwest::Client);

async fn hand_on(State((upstream, calls, http)): State<Upstream>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let operation = parts.headers.get("x-amz-target").map_or("", |target| target.to_str().unwrap());
    calls.lock().unwrap().push(operation.to_owned());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let answer = http
        .request(parts.method, format!("{upstream}{}", parts.uri))
        .headers(parts.headers)
        .body(body)
        .send()
        .await
        .unwrap();
    let mut response = Response::builder().status(answer.status());
    *response.headers_mut().unwrap() = answer.headers().clone();
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

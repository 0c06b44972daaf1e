//! Lambda's [Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html), for one process, with one invocation at a time.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// The Runtime API of one process.
pub(crate) struct RuntimeApi {
    /// What goes into `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) address: SocketAddr,
    polls: mpsc::UnboundedReceiver<oneshot::Sender<Bytes>>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// What asks for an event now.
    waiting: Option<oneshot::Sender<Bytes>>,
    server: JoinHandle<()>,
}

/// What a process answered to an event.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it says.
    pub(crate) body: Value,
    /// From the handing over of the event to the answer.
    pub(crate) took: Duration,
    is_error: bool,
}

struct Handler {
    polls: mpsc::UnboundedSender<oneshot::Sender<Bytes>>,
    answers: mpsc::UnboundedSender<Answer>,
    handed_over: Mutex<Instant>,
}

impl RuntimeApi {
    /// Serves one process from now on.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let address = listener.local_addr()?;
        let (to_polls, polls) = mpsc::unbounded_channel();
        let (to_answers, answers) = mpsc::unbounded_channel();
        let handler =
            Arc::new(Handler { polls: to_polls, answers: to_answers, handed_over: Mutex::new(Instant::now()) });
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // As between a function and its Runtime API: what is written goes at once.
                let _ = stream.set_nodelay(true);
                let handler = Arc::clone(&handler);
                tokio::spawn(async move {
                    let service = service_fn(|request| handler.answer(request));
                    // A process that ends closes its connection in the middle of its poll.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, polls, answers, waiting: None, server })
    }

    /// Waits until the process asks for an event.
    pub(crate) async fn polled(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            poll = self.polls.recv() => {
                self.waiting = Some(poll.context("the Runtime API has ended")?);
                Ok(())
            }
            answer = self.answers.recv() => bail!("it failed to start: {}", answer.map(|answer| answer.body).unwrap_or_default()),
        }
    }

    /// Hands an event over to the process, which has asked for it, and waits for what it answers, and until it asks for the next one.
    pub(crate) async fn invoke(&mut self, event: &str) -> anyhow::Result<Answer> {
        let poll = self.waiting.take().context("nothing has asked for an event")?;
        if poll.send(Bytes::copy_from_slice(event.as_bytes())).is_err() {
            bail!("it went away while it asked for an event");
        }
        let answer = self.answers.recv().await.context("the Runtime API has ended")?;
        if answer.is_error {
            bail!("it failed to answer: {}", answer.body);
        }
        self.polled().await?;
        Ok(answer)
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        if request.method() == Method::GET && path.ends_with("/invocation/next") {
            return Ok(self.next().await);
        }
        let is_error = path.ends_with("/error");
        // What is not complete is not JSON either.
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let took = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
        // Nobody waits any more if the measurement was given up.
        let _ = self.answers.send(Answer { body, took, is_error });
        let mut response = Response::new(Full::from(r#"{"status":"OK"}"#));
        *response.status_mut() = hyper::StatusCode::ACCEPTED;
        Ok(response)
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let (sender, event) = oneshot::channel();
        let _ = self.polls.send(sender);
        let event = event.await;
        *self.handed_over.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let Ok(event) = event else {
            let mut gone = Response::new(Full::default());
            *gone.status_mut() = hyper::StatusCode::GONE;
            return gone;
        };
        let mut response = Response::new(Full::new(event));
        for (name, value) in [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
            // Far away: functions keep to their own limits.
            ("lambda-runtime-deadline-ms", "4102444800000"),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:000000000000:function:measured"),
            ("lambda-runtime-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"),
        ] {
            response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for one event, and answers it at this path; then asks for another.
    async fn function(url: String, path: &str) {
        let http = reqwest::Client::new();
        let event = http.get(format!("{url}/next")).send().await.unwrap();
        let id = event.headers()["lambda-runtime-aws-request-id"].to_str().unwrap().to_owned();
        let body = event.text().await.unwrap();
        http.post(format!("{url}/{id}/{path}")).body(format!(r#"{{"got": {body}}}"#)).send().await.unwrap();
        // Nobody hands it over.
        let _ = http.get(format!("{url}/next")).send().await;
    }

    async fn invoke(path: &'static str) -> anyhow::Result<Answer> {
        let mut api = RuntimeApi::start().await.unwrap();
        let url = format!("http://{}/2018-06-01/runtime/invocation", api.address);
        let function = tokio::spawn(function(url, path));
        api.polled().await.unwrap();
        let answer = api.invoke(r#"{"event": 1}"#).await;
        function.abort();
        answer
    }

    #[tokio::test]
    async fn an_event_is_handed_over_and_answered() {
        assert_eq!(invoke("response").await.unwrap().body, serde_json::json!({ "got": { "event": 1 } }));
    }

    #[tokio::test]
    async fn an_error_is_no_answer() {
        let error = invoke("error").await.unwrap_err().to_string();
        assert!(error.contains("failed to answer"), "{error}");
    }
}

//! Asking a provider for a verdict whose callback did not arrive.
//!
//! A provider's fetcher knows what to ask and how to parse the answer; a [`Web`] sends the request.
//! An answer is as hostile as any input: the [`Web`] limits its size and time and follows no
//! redirect, and the fetcher parses it as carefully as a callback.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use jiff::SignedDuration;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{CourseKey, Event, Parsed, Provider, Retention, Schedule, StoredEvent, Timestamp, Verified};

/// A request to a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The address. It holds the reference of a verification, and no secret.
    pub url: String,
    /// The headers. They may hold credentials.
    pub headers: Vec<(&'static str, String)>,
    /// The body. It may hold credentials.
    pub body: Vec<u8>,
}

impl Question {
    /// A `GET` of this address.
    #[must_use]
    pub fn get(url: String) -> Self {
        Self { method: "GET", url, headers: Vec::new(), body: Vec::new() }
    }

    /// A `POST` of this body to this address.
    #[must_use]
    pub fn post(url: String, content_type: &str, body: Vec<u8>) -> Self {
        Self { method: "POST", url, headers: vec![("content-type", content_type.to_owned())], body }
    }

    /// The same, with another header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Shows the method only.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A provider's answer.
#[derive(Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// How long it asks us to wait (`Retry-After` in seconds).
    pub retry_after: Option<SignedDuration>,
    /// The body.
    pub body: Bytes,
}

/// Shows the status and the body's size only.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// No answer arrived in time, or it was too large.
#[derive(Debug, thiserror::Error)]
#[error("failed to ask the provider")]
pub struct NoReply(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// An HTTP client for the providers.
pub trait Web: Send + Sync {
    /// Sends the request, and returns the answer with any status.
    ///
    /// # Errors
    /// If there is no answer in time, or one that is too large.
    fn ask(&self, question: Question) -> impl Future<Output = Result<Reply, NoReply>> + Send;
}

/// A [`Web`] in which every question gets the same reply, for tests.
#[derive(Debug)]
pub struct MemoryWeb {
    /// The reply; none if there is no answer.
    pub reply: Option<Reply>,
    asked: Mutex<Vec<Question>>,
}

impl MemoryWeb {
    /// Every question gets this reply.
    #[must_use]
    pub fn new(status: u16, body: &str) -> Self {
        let reply = Reply { status, retry_after: None, body: body.to_owned().into() };
        Self { reply: Some(reply), asked: Mutex::default() }
    }

    /// No question gets a reply.
    #[must_use]
    pub fn silent() -> Self {
        Self { reply: None, asked: Mutex::default() }
    }

    /// What was asked, in this order.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Web for MemoryWeb {
    async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(question);
        self.reply.clone().ok_or_else(|| NoReply("too late".into()))
    }
}

/// What a provider says about a verification.
#[derive(Debug)]
pub enum Found {
    /// A final verdict, as parsed, and the answer that has it.
    Verdict(Box<Parsed>, Bytes),
    /// The provider has not decided yet.
    NotYet,
    /// The provider does not know the verification, or no longer.
    Unknown,
    /// No usable answer now: the code for the log, and how long the provider asks us to wait.
    Unavailable(&'static str, Option<SignedDuration>),
}

impl Found {
    /// The code if the provider does not accept our credentials. They may have been rotated.
    pub const NOT_AUTHORIZED: &'static str = "not_authorized";

    /// The code if we asked too often.
    pub const TOO_MANY_REQUESTS: &'static str = "too_many_requests";

    /// The code if no answer arrived in time, or it was too large.
    pub const NO_REPLY: &'static str = "no_reply";

    /// The code if an answer is not understood.
    pub const NOT_UNDERSTOOD: &'static str = "not_understood";

    /// The code if the request needs a reference that is missing, or is not of the provider's form.
    pub const NO_REFERENCE: &'static str = "no_reference";

    /// The result if there was no answer.
    #[must_use]
    pub fn no_reply() -> Self {
        Self::Unavailable(Self::NO_REPLY, None)
    }

    /// The result if an answer is not understood.
    #[must_use]
    pub fn not_understood() -> Self {
        Self::Unavailable(Self::NOT_UNDERSTOOD, None)
    }

    /// The result of an answer with another status than 200.
    #[must_use]
    pub fn of_status(reply: &Reply) -> Self {
        match reply.status {
            404 | 410 => Self::Unknown,
            401 | 403 => Self::Unavailable(Self::NOT_AUTHORIZED, reply.retry_after),
            429 => Self::Unavailable(Self::TOO_MANY_REQUESTS, reply.retry_after),
            500..=599 => Self::Unavailable("server_error", reply.retry_after),
            _ => Self::Unavailable("unexpected_status", reply.retry_after),
        }
    }
}

/// Whether a text can be put into an address as it is: letters, digits, `-` and `_` only. All
/// providers' references are like that. A subject comes from outside, and must not lead to another
/// address of the provider.
#[must_use]
pub fn is_plain_reference(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Asks one provider.
pub trait Fetcher: Send + Sync {
    /// The provider whose verdicts these are.
    type Provider: Provider;

    /// The credentials of the requests. Read from the provider's secret for retrieval, which is
    /// JSON.
    type Credentials: DeserializeOwned + Clone + PartialEq + Send + Sync;

    /// What the provider is asked with if it runs in the company's own network and needs no credentials. Only such a provider
    /// may be asked without TLS.
    const WITHOUT_CREDENTIALS: Option<Self::Credentials> = None;

    /// When it may be asked.
    const SCHEDULE: Schedule;

    /// The detail of an earlier event of the verification that is needed beside its subject, if
    /// any.
    const REFERENCE: Option<&'static str> = None;

    /// Whether it can be asked about this track.
    fn fetches(&self, key: &CourseKey) -> bool;

    /// Asks about a track. The `reference` is the value of [`REFERENCE`](Self::REFERENCE), if it is
    /// known.
    fn fetch(
        &self,
        key: &CourseKey,
        reference: Option<&str>,
        credentials: &Self::Credentials,
        web: &impl Web,
        now: Timestamp,
    ) -> impl Future<Output = Found> + Send;
}

/// The credentials of a provider that needs none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NoCredentials {}

/// The event of a fetched verdict. Its time of receipt is that of the request, so a callback that
/// arrives before the answer is newer.
#[must_use]
pub fn fetched<P: Provider>(parsed: Parsed, answer: Bytes, asked_at: Timestamp, retention: Retention) -> StoredEvent {
    StoredEvent::new(&Event::new::<P>(&Verified::fetched(answer), Ok(parsed), asked_at), retention)
}

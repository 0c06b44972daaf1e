//! A callback as received, before anything in it is trusted.

use std::{collections::BTreeMap, net::IpAddr};

use bytes::Bytes;
use jiff::SignedDuration;

use crate::Timestamp;

/// An HTTP request from the gateway. Everything in it may come from a stranger, except
/// `source_address` and `gateway_time`, which the gateway sets.
#[derive(Clone, Default)]
pub struct Request {
    headers: BTreeMap<String, String>,
    /// The variables of the route's path, such as `secret` in `/callbacks/jumio/{secret}`.
    pub path_parameters: BTreeMap<String, String>,
    /// The sender's address as the gateway saw it; forwarded headers never count.
    pub source_address: Option<IpAddr>,
    /// When the gateway received it.
    pub gateway_time: Option<Timestamp>,
    /// The trace of this request, as a [W3C
    /// traceparent](https://www.w3.org/TR/trace-context/#traceparent-header). The runtime makes it,
    /// not the sender.
    pub traceparent: Option<String>,
    /// The body's bytes as sent.
    pub body: Bytes,
}

/// What a request says in one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// The header is not there.
    Absent,
    /// The header's value, without surrounding white space. May be empty.
    Value(&'a str),
}

impl Request {
    /// A request with this body and nothing else.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Adds a header. Repeated headers are joined with commas, as API Gateway does and
    /// [RFC 9110 §5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3) allows.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .entry(name.to_ascii_lowercase())
            .and_modify(|values| {
                values.push(',');
                values.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
        self
    }

    /// When the callback was received: the gateway's time, because a cold start can reverse two
    /// callbacks by the function's own clock. A time that is far from now belongs to another
    /// request (a sample from a file has its own), and is not used.
    #[must_use]
    pub fn received_at(&self, now: Timestamp) -> Timestamp {
        const FAR: SignedDuration = SignedDuration::from_mins(1);
        self.gateway_time.filter(|time| now.duration_since(*time).abs() < FAR).unwrap_or(now)
    }

    /// The header with this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Header<'_> {
        self.headers.get(&name.to_ascii_lowercase()).map_or(Header::Absent, |value| Header::Value(value.trim()))
    }
}

/// Shows sizes only: headers, path and body may hold secrets and personal data.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

//! A callback as it came in, before anything about it is believed.

use std::{collections::BTreeMap, net::IpAddr};

use bytes::Bytes;
use jiff::SignedDuration;

use crate::Timestamp;

/// An HTTP request as the gateway handed it over. Everything in it was written by a stranger,
/// except `source_address` and `gateway_time`, which are the gateway's own.
#[derive(Clone, Default)]
pub struct Request {
    headers: BTreeMap<String, String>,
    /// The variables of the route's path, such as `secret` in `/callbacks/jumio/{secret}`.
    pub path_parameters: BTreeMap<String, String>,
    /// The sender's address as the gateway saw it; forwarded headers never count.
    pub source_address: Option<IpAddr>,
    /// When the gateway received it.
    pub gateway_time: Option<Timestamp>,
    /// By what the handling of this request is traced, as a [W3C traceparent](https://www.w3.org/TR/trace-context/#traceparent-header); made by the runtime, not by the sender.
    pub traceparent: Option<String>,
    /// The body's bytes as they were sent.
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

    /// Adds a header. One that came several times is joined with commas, as API Gateway does and
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

    /// When the callback was received: the gateway's time. A cold start can reverse two callbacks by the function's own
    /// clock. A time that is far from now is not this request's (a sample from a file has its own), and does not count.
    #[must_use]
    pub fn received_at(&self, now: Timestamp) -> Timestamp {
        const FAR: SignedDuration = SignedDuration::from_mins(1);
        self.gateway_time.filter(|time| now.duration_since(*time).abs() < FAR).unwrap_or(now)
    }

    /// The header of this name, whatever its case.
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

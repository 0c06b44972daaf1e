//! HTTP: turns the gateway's event into a request, and the result into an answer. The only place
//! that knows status codes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use lambda_http::{
    aws_lambda_events::{apigw::ApiGatewayV2httpResponse, encodings::Body},
    http::{HeaderMap, HeaderValue, header},
};
use lambda_runtime::{LambdaEvent, service_fn};
use model::{EventStore, Provider, Receipt, Refusal, Rejection, Request, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tracing::{error, warn};

use crate::{Error, aws::time_to_work, start::chain, telemetry, trace};

/// What API Gateway sends for an HTTP request (payload format 2.0), as far as callbacks need it.
///
/// `lambda_http` has a type for it too, and turns it into an `http::Request`. That conversion fails
/// or panics on a header that is not ASCII, an invalid `Host` and a body that is not valid base64,
/// so a stranger could raise our error rate at will (docs/adr/0001).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRequest {
    #[serde(default, deserialize_with = "null_as_default")]
    headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_as_default")]
    path_parameters: BTreeMap<String, String>,
    request_context: RequestContext,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    /// Not from the gateway, but from Lambda.
    #[serde(skip)]
    traceparent: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    http: HttpContext,
    /// When the gateway received the request, in milliseconds since 1970.
    time_epoch: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext {
    source_ip: Option<String>,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl TryFrom<GatewayRequest> for Request {
    type Error = base64::DecodeError;

    fn try_from(gateway: GatewayRequest) -> Result<Self, Self::Error> {
        let body = gateway.body.unwrap_or_default();
        let body = if gateway.is_base64_encoded { BASE64.decode(body)? } else { body.into_bytes() };
        let mut request =
            gateway.headers.iter().fold(Self::new(body), |request, (name, value)| request.with_header(name, value));
        request.path_parameters = gateway.path_parameters;
        request.traceparent = gateway.traceparent;
        request.gateway_time = gateway.request_context.time_epoch.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        request.source_address = gateway.request_context.http.source_ip.and_then(|address| address.parse().ok());
        Ok(request)
    }
}

/// Serves a provider's callbacks until Lambda ends the process.
///
/// # Errors
/// If Lambda's Runtime API fails.
pub async fn serve<P: Provider>(provider: P, store: impl EventStore) -> Result<(), Error> {
    let (provider, store) = (&provider, &store);
    serve_http(move |request| answer(provider, store, request, now())).await
}

/// Serves HTTP requests until Lambda ends the process.
///
/// # Errors
/// If Lambda's Runtime API fails.
pub async fn serve_http<F: Future<Output = ApiGatewayV2httpResponse>>(
    answer: impl Fn(GatewayRequest) -> F,
) -> Result<(), Error> {
    let answer = &answer;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        // Parsed here, and not by Lambda's runtime: its error would quote the event, and it tracks
        // the path at each step.
        let request: GatewayRequest = serde_json::from_str(event.payload.get()).map_err(|_| NoHttpRequest)?;
        let traceparent = event.context.xray_trace_id.as_deref().and_then(trace::from_xray);
        // Boxed, or the type of everything awaited in here grows beyond what the compiler lays out.
        let response = Box::pin(answer(GatewayRequest { traceparent, ..request })).await;
        telemetry::flush();
        Ok::<_, Error>(response)
    }))
    .await
}

#[derive(Debug, thiserror::Error)]
#[error("the event is no HTTP request in API Gateway's payload format 2.0: see events/ for some that are")]
struct NoHttpRequest;

/// Answers one callback within its provider's time limit.
pub async fn answer<P: Provider>(
    provider: &P,
    store: &impl EventStore,
    request: GatewayRequest,
    now: Timestamp,
) -> ApiGatewayV2httpResponse {
    let began = Instant::now();
    let Ok(request) = Request::try_from(request) else {
        warn!(provider = P::NAME.as_str(), refusal = "not_base64", "callback refused");
        telemetry::refused(P::NAME.as_str());
        return respond(400, NOTHING);
    };
    let in_time = time_to_work(P::ANSWER_WITHIN);
    let received = tokio::time::timeout(in_time, model::receive(provider, store, &request, now)).await;
    let received = received.unwrap_or_else(|_| Err(Rejection::Unavailable(TookTooLong(in_time).into())));
    match received {
        Ok(receipt) => {
            log_receipt(&receipt);
            telemetry::received(&receipt, began.elapsed(), P::ANSWER_WITHIN);
            respond(200, P::ACKNOWLEDGEMENT)
        }
        Err(rejection) => {
            log_rejection::<P>(&rejection);
            match rejection {
                Rejection::TooLarge { .. } => respond(413, NOTHING),
                Rejection::NotAuthentic(Refusal::SourceAddress | Refusal::Path) => respond(403, NOTHING),
                Rejection::NotAuthentic(_) => respond(401, NOTHING),
                Rejection::Unavailable(_) => come_again(NOTHING),
            }
        }
    }
}

/// The body of every refusal: it tells a stranger nothing.
const NOTHING: &str = "{}";

#[derive(Debug, thiserror::Error)]
#[error("not done within {} ms", .0.as_millis())]
struct TookTooLong(Duration);

/// An answer with this JSON as its body.
#[must_use]
pub fn respond(status_code: i64, body: &str) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = status_code;
    response.headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    response.body = Some(Body::from(body));
    response
}

/// An answer that the request could not be processed now, with the time after which to retry, and
/// this JSON as its body.
#[must_use]
pub fn come_again(body: &str) -> ApiGatewayV2httpResponse {
    let mut response = respond(503, body);
    response.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// A recognized callback is logged with its metrics.
fn log_receipt(Receipt { event, .. }: &Receipt) {
    if let Some(reason) = event.unrecognized() {
        warn!(event.id = event.id().as_str(), event.kind = event.kind(), reason, "callback not recognized, but stored");
    }
}

fn log_rejection<P: Provider>(rejection: &Rejection) {
    let provider = P::NAME.as_str();
    match rejection {
        Rejection::TooLarge { bytes, limit } => {
            warn!(provider, refusal = "too_large", body.bytes = bytes, body.limit_bytes = limit, "callback refused");
            telemetry::refused(provider);
        }
        Rejection::NotAuthentic(refusal) => {
            warn!(provider, refusal = refusal.code(), "callback refused");
            telemetry::refused(provider);
        }
        Rejection::Unavailable(cause) => {
            error!(provider, error = chain(cause.as_ref()), "failed to process a callback");
            telemetry::unavailable();
        }
    }
}

/// The one clock of the functions, in milliseconds, as in events.
#[expect(clippy::disallowed_methods, reason = "time is an argument everywhere else")]
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use model::{SecretPair, signature::STANDARD_WEBHOOKS, signed_body};
    use serde_json::json;

    use super::*;

    /// Signatures cover the bytes that were sent, so nothing may change them on the way.
    #[tokio::test]
    async fn a_body_is_verified_as_it_was_sent_whether_the_gateway_encodes_it_or_not() {
        let (secret, now) = ("whsec_ZXhhbXBsZS1leGFtcGxlLWV4YW1wbGUtZXhhbXBsZQ==", Timestamp::UNIX_EPOCH);
        let secrets = SecretPair::new(secret, None).unwrap();
        let texts = ["{\"a\": 1.50,\r\n \"b\":\"\u{e9}\\u00e9\"}\n ", "", " ", "\u{feff}{}\0"].map(str::as_bytes);
        for body in texts.into_iter().chain([&b"\xff\xfe\x00"[..]]) {
            let headers = STANDARD_WEBHOOKS.sign(secret, "msg_0001", body, now).unwrap();
            let encodings = std::str::from_utf8(body).ok().map(|text| (text.to_owned(), false));
            for (text, is_base64) in encodings.into_iter().chain([(BASE64.encode(body), true)]) {
                let event = json!({
                    "headers": headers.iter().cloned().collect::<BTreeMap<_, _>>(),
                    "requestContext": { "http": { "sourceIp": "192.0.2.1" } },
                    "body": text,
                    "isBase64Encoded": is_base64,
                });
                let request = Request::try_from(serde_json::from_value::<GatewayRequest>(event).unwrap()).unwrap();
                let verified = signed_body(&request, &STANDARD_WEBHOOKS, &secrets, now).await.unwrap();
                assert_eq!((verified.body().as_ref(), verified.callback_id()), (body, Some("msg_0001")));
            }
        }
    }
}

//! What the gateway hands to a function: an event with any body, from the provider or from a stranger.

use cli::{local_secret, sample::Sample};
use model::{MemoryStore, StoredEvent};
use providers::registration;
use serde_json::Value;

use crate::{ISSUANCE_CODE, VERIFICATION_CODE, answer, local_time, samples};

/// Sends an event to a function with an empty store, and returns the status and what is stored.
#[must_use]
pub fn send(function: &str, event: &Value) -> (i64, Vec<StoredEvent>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let store = MemoryStore::default();
    let response = runtime.block_on(answer(function, &store, &event.to_string(), local_time())).unwrap();
    (response.status_code, store.events())
}

/// A sample of a function that is accepted and understood: its event has the right credentials.
#[must_use]
pub fn accepted(function: &str) -> Sample {
    let is_accepted = |sample: &Sample| {
        let event = sample.expect.event.as_ref();
        sample.function == function && event.is_some_and(|event| event.unrecognized.is_none())
    };
    samples().into_iter().find(is_accepted).unwrap()
}

/// A sample's event with another body, and the credential that belongs to it.
#[must_use]
pub fn with_body(sample: &Sample, body: &[u8]) -> Value {
    with_body_of(sample, body, &local_secret(&sample.function))
}

/// The same, as somebody sends it who has this secret.
fn with_body_of(sample: &Sample, body: &[u8], secret: &str) -> Value {
    let sample = sample.clone().with_bytes(body).authenticated_by(secret, local_time()).unwrap();
    serde_json::from_str(&sample.text).unwrap()
}

/// An authentic event with this body. None if the function wants its secret in the body and there is no place for it.
#[must_use]
pub fn authentic(function: &str, body: &[u8]) -> Option<Value> {
    if takes_secret_in_body(function) {
        std::str::from_utf8(body).ok()?;
    }
    Some(with_body(&accepted(function), &with_secret(function, body, &secret(function))?))
}

/// An event with this body from somebody who knows where the secret belongs, and not what it is.
#[must_use]
pub fn by_stranger(function: &str, body: &[u8]) -> Value {
    let body = with_secret(function, body, "wrong").unwrap_or_else(|| body.to_owned());
    with_body_of(&accepted(function), &body, "wrong")
}

/// What a function takes for its provider's secret.
#[must_use]
pub fn secret(function: &str) -> String {
    match function {
        "wallet-issuance" => ISSUANCE_CODE.to_owned(),
        "wallet-verification" => VERIFICATION_CODE.to_owned(),
        _ => local_secret(function),
    }
}

/// Whether a function looks for the secret in the body, rather than in a header or the path.
#[must_use]
pub fn takes_secret_in_body(function: &str) -> bool {
    secret_field(function).is_some()
}

/// The field of the body that has the secret, if it is there.
#[must_use]
pub fn secret_field(function: &str) -> Option<&'static str> {
    registration(function)?.settings.credential.field()
}

/// A body with a secret in it, where the function wants one there. None if there is no place for it.
#[must_use]
pub fn with_secret(function: &str, body: &[u8], secret: &str) -> Option<Vec<u8>> {
    let Some(field) = secret_field(function) else { return Some(body.to_owned()) };
    let members = body.strip_prefix(b"{").filter(|members| members.starts_with(b"\""))?;
    Some([format!(r#"{{"{field}":"{secret}","#).as_bytes(), members].concat())
}

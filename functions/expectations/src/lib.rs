//! Announcing what the wallet gateway will call back about (`PUT /expectations/wallet`, for the company's own services: the API asks for AWS signatures).
//!
//! The service that calls init at the gateway gets a code, and announces it here before the callback comes. Only the code's hash is kept.

use model::{Expectation, Expectations, Registered, Request, Timestamp, wire};
use runtime::{GatewayRequest, GatewayResponse, come_again, respond};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{json, value::RawValue};

/// The body of an announcement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    /// The code that init returned.
    code: String,
    /// The state that was given to init, if any.
    state: Option<String>,
    /// The ids of the templates that were asked for, as strings or numbers.
    #[serde(default)]
    template_ids: Vec<TemplateId>,
    /// When the callback is due, in RFC 3339.
    due_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct TemplateId(#[serde(deserialize_with = "string_or_number")] Option<String>);

/// A string, or a number as it is written.
fn string_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    match raw.get() {
        "true" | "false" => Err(D::Error::custom("expected a string or a number")),
        _ => wire::text(&*raw).map_err(D::Error::custom),
    }
}

/// Answers an announcement: 201 if it is new, 200 if it was made before, 409 if its code was announced with another content, 400 with what is wrong
/// with it, 503 if it could not be kept.
pub async fn answer(expectations: &impl Expectations, request: GatewayRequest, now: Timestamp) -> GatewayResponse {
    let expectation = match Request::try_from(request).map_err(|_| "the body is not the base64 it is said to be") {
        Ok(request) => match read(&request.body, now) {
            Ok(expectation) => expectation,
            Err(problem) => return respond(400, &json!({ "error": problem }).to_string()),
        },
        Err(problem) => return respond(400, &json!({ "error": problem }).to_string()),
    };
    match expectations.register(&expectation).await {
        Ok(Registered::Fresh) => {
            tracing::info!("expectation registered");
            respond(201, r#"{"expected": true}"#)
        }
        Ok(Registered::Same) => respond(200, r#"{"expected": true}"#),
        Ok(Registered::Conflict) => {
            tracing::warn!("another content was announced for a code");
            let problem = "this code was announced before with another state, other templates or another due_at";
            respond(409, &json!({ "error": problem }).to_string())
        }
        Err(error) => {
            tracing::error!(error = runtime::chain(&error), "failed to register an expectation");
            come_again(r#"{"error": "the announcement could not be kept: make it again"}"#)
        }
    }
}

/// Reads an announcement, or says what is wrong with it without quoting it: it holds a secret.
fn read(body: &[u8], now: Timestamp) -> Result<Expectation, &'static str> {
    const FORM: &str = "expected {\"code\": string, \"state\": string?, \"template_ids\": [string or number]?, \"due_at\": RFC 3339 time?}";
    let wire::Object(announcement) = serde_json::from_slice::<wire::Object<Announcement>>(body).map_err(|_| FORM)?;
    let Announcement { code, state, template_ids, due_at } = announcement;
    if code.trim().is_empty() {
        return Err("the code is empty");
    }
    if template_ids.len() > 64 {
        return Err("more than 64 templates");
    }
    let template_ids = template_ids.into_iter().map(|TemplateId(id)| id).collect::<Option<Vec<String>>>();
    let template_ids = template_ids.ok_or("a template id is empty")?;
    // They are kept with every event of the code.
    if template_ids.iter().any(|id| id.len() > 64) {
        return Err("a template id is longer than 64 bytes");
    }
    // It becomes the subject of the callback's event, and that has at most four times as many bytes.
    if state.as_ref().is_some_and(|state| state.chars().count() > 256) {
        return Err("the state is longer than 256 characters");
    }
    Ok(Expectation::new(&code, state, template_ids, due_at, now))
}

#[cfg(test)]
mod tests {
    use model::MemoryExpectations;

    use super::*;

    /// Makes announcements one after the other, and returns the statuses.
    fn announce(bodies: &[&str]) -> Vec<i64> {
        let expectations = MemoryExpectations::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = bodies.iter().zip(0..).map(|(body, second)| {
            let event = json!({ "body": body, "requestContext": { "http": {} } });
            let request = serde_json::from_value(event).unwrap();
            let response = runtime.block_on(answer(&expectations, request, Timestamp::from_second(second).unwrap()));
            let text = String::from_utf8(response.body.unwrap().as_ref().to_vec()).unwrap();
            assert!(!text.contains("s3cret"), "{text}");
            response.status_code
        });
        answers.collect()
    }

    #[test]
    fn an_announcement_can_be_repeated_but_not_changed() {
        let whole = r#"{"code":"s3cret","state":"s","template_ids":[1,"2"],"due_at":"2026-01-31T00:00:00Z"}"#;
        let same = r#"{"due_at":"2026-01-31T01:00:00+01:00","template_ids":["1",2],"state":"s","code":"s3cret"}"#;
        assert_eq!(announce(&[whole, whole, same]), [201, 200, 200]);
        for other in [
            r#"{"code":"s3cret"}"#,
            r#"{"code":"s3cret","state":"t","template_ids":[1,"2"],"due_at":"2026-01-31T00:00:00Z"}"#,
            r#"{"code":"s3cret","state":"s","template_ids":[1],"due_at":"2026-01-31T00:00:00Z"}"#,
            r#"{"code":"s3cret","state":"s","template_ids":[1,"2"]}"#,
        ] {
            assert_eq!(announce(&[whole, other, whole]), [201, 409, 200], "{other}");
        }
        assert_eq!(
            announce(&[
                r#"{"code":"s3cret","state":"none"}"#,
                r#"{"code":"s3cret","state":""}"#,
                r#"{"code":"s3cret"}"#
            ]),
            [201, 200, 200]
        );
    }

    #[test]
    fn a_state_is_no_longer_than_a_subject() {
        let announcement = |length: usize| format!(r#"{{"code":"s3cret","state":"{}"}}"#, "\u{1f600}".repeat(length));
        assert_eq!(announce(&[&announcement(256)]), [201]);
        assert_eq!(announce(&[&announcement(257)]), [400]);
    }

    #[test]
    fn what_is_no_announcement_is_refused_without_being_quoted() {
        for body in [
            "",
            "s3cret",
            "[]",
            r#"["s3cret"]"#,
            "{}",
            r#"{"code":""}"#,
            r#"{"code":5}"#,
            r#"{"code":"s3cret","stat":"s"}"#,
            r#"{"code":"s3cret","due_at":"tomorrow"}"#,
            r#"{"code":"s3cret","template_ids":[""]}"#,
            r#"{"code":"s3cret","template_ids":[true]}"#,
            r#"{"code":"s3cret","template_ids":[{}]}"#,
            r#"{"code":"s3cret","template_ids":"1"}"#,
        ] {
            assert_eq!(announce(&[body]), [400], "{body}");
        }
    }
}

//! Announcing what the wallet gateway will call back about (`PUT /expectations/wallet`, for the company's own services: the API asks for AWS signatures).
//!
//! The service that calls init at the gateway gets a code, and announces it here before the callback comes. Only the code's hash is kept.

use model::{Expectation, Expectations, InvalidSubject, Purpose, Registered, Request, Subject, Timestamp, wire};
use runtime::{Error, GatewayRequest, GatewayResponse, come_again, respond};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{json, value::RawValue};

/// The body of an announcement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    /// What was begun with init: `verification` or `issuance`.
    purpose: Option<Purpose>,
    /// The code that init returned.
    code: String,
    /// The state that was given to init, if any.
    state: Option<String>,
    /// The ids of the templates that were asked for, as strings or numbers. An issuance has at least one.
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

/// Answers an announcement, with the subject of the callback's events: 201 if it is new, 200 if it was made before. Otherwise 409 if its code was
/// announced with another content, 400 with what is wrong with it, 503 if it could not be kept.
pub async fn answer(expectations: &impl Expectations, request: GatewayRequest, now: Timestamp) -> GatewayResponse {
    let subject = match new_subject() {
        Ok(subject) => subject,
        Err(error) => return unavailable(error.as_ref()),
    };
    let request = Request::try_from(request).map_err(|_| "the body is not the base64 it is said to be");
    let expectation = match request.and_then(|request| read(&request.body, subject, now)) {
        Ok(expectation) => expectation,
        Err(problem) => return respond(400, &json!({ "error": problem }).to_string()),
    };
    match expectations.register(&expectation, now).await {
        Ok(Registered::Fresh) => {
            tracing::info!("expectation registered");
            respond(201, &expected(&expectation.subject))
        }
        Ok(Registered::Same { subject }) => respond(200, &expected(&subject)),
        Ok(Registered::Conflict) => {
            tracing::warn!("another content was announced for a code");
            let problem =
                "this code was announced before with another purpose, another state, other templates or another due_at";
            respond(409, &json!({ "error": problem }).to_string())
        }
        Err(error) => unavailable(&error),
    }
}

fn expected(subject: &Subject) -> String {
    json!({ "expected": true, "subject": subject }).to_string()
}

fn unavailable(error: &dyn std::error::Error) -> GatewayResponse {
    tracing::error!(error = runtime::chain(error), "failed to register an expectation");
    come_again(r#"{"error": "the announcement could not be kept: make it again"}"#)
}

/// A subject that nobody can guess, for an announcement without a state: 128 random bits. If the callback could choose it, one code would do
/// for any verification.
fn new_subject() -> Result<Subject, Error> {
    let mut bits = [0; 16];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| "failed to get random bits")?;
    Ok(Subject::new(format!("wallet-{:032x}", u128::from_be_bytes(bits)))?)
}

/// Reads an announcement, or says what is wrong with it without quoting it: it holds a secret. Without a state, this is its subject.
fn read(body: &[u8], subject: Subject, now: Timestamp) -> Result<Expectation, &'static str> {
    const FORM: &str = "expected {\"purpose\": \"verification\" or \"issuance\", \"code\": string, \"state\": string?, \
        \"template_ids\": [string or number]?, \"due_at\": RFC 3339 time?}";
    let wire::Object(announcement) = serde_json::from_slice::<wire::Object<Announcement>>(body).map_err(|_| FORM)?;
    let Announcement { purpose, code, state, template_ids, due_at } = announcement;
    let purpose = purpose.ok_or("the purpose is missing: it is \"verification\" or \"issuance\"")?;
    if code.trim().is_empty() {
        return Err("the code is empty");
    }
    if purpose == Purpose::Issuance && template_ids.is_empty() {
        return Err("an issuance names its templates in template_ids");
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
    const STATE_TOO_LONG: &str = "the state is longer than 256 characters";
    if state.as_ref().is_some_and(|state| state.chars().count() > 256) {
        return Err(STATE_TOO_LONG);
    }
    let expectation = Expectation::new(&code, purpose, subject, now).with_state(state);
    let expectation = expectation.map_err(|InvalidSubject| STATE_TOO_LONG)?;
    Ok(expectation.with_template_ids(template_ids).with_due_at(due_at))
}

#[cfg(test)]
mod tests {
    use model::MemoryExpectations;
    use serde_json::Value;

    use super::*;

    /// A time, in seconds.
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What an announcement at this time is answered. The answer never has the code.
    fn announce_at(expectations: &MemoryExpectations, body: &str, now: Timestamp) -> (i64, Value) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let event = json!({ "body": body, "requestContext": { "http": {} } });
        let response = runtime.block_on(answer(expectations, serde_json::from_value(event).unwrap(), now));
        let text = String::from_utf8(response.body.unwrap().as_ref().to_vec()).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(!text.contains(&Expectation::code_hash("s3cret")), "{text}");
        (response.status_code, serde_json::from_str(&text).unwrap())
    }

    /// Makes announcements one after the other, and returns the statuses.
    fn announce(bodies: &[&str]) -> Vec<i64> {
        let expectations = MemoryExpectations::default();
        let answers = bodies.iter().zip(0..).map(|(body, second)| announce_at(&expectations, body, at(second)).0);
        answers.collect()
    }

    #[test]
    fn an_announcement_can_be_repeated_but_not_changed() {
        let whole = r#"{"purpose":"issuance","code":"s3cret","state":"s","template_ids":[1,"2"],"due_at":"2026-01-31T00:00:00Z"}"#;
        let same = r#"{"due_at":"2026-01-31T01:00:00+01:00","template_ids":["1",2],"state":"s","code":"s3cret","purpose":"issuance"}"#;
        assert_eq!(announce(&[whole, whole, same]), [201, 200, 200]);
        for (from, to) in [
            (r#""state":"s","#, ""),
            (r#""state":"s""#, r#""state":"t""#),
            (r#"[1,"2"]"#, "[1]"),
            (r#"[1,"2"]"#, "[1,3]"),
            (r#","due_at":"2026-01-31T00:00:00Z""#, ""),
            ("issuance", "verification"),
        ] {
            let other = whole.replace(from, to);
            assert_eq!(announce(&[whole, &other, whole]), [201, 409, 200], "{other}");
        }
        assert_eq!(
            announce(&[
                r#"{"purpose":"verification","code":"s3cret","state":"none"}"#,
                r#"{"purpose":"verification","code":"s3cret","state":""}"#,
                r#"{"purpose":"verification","code":"s3cret"}"#
            ]),
            [201, 200, 200]
        );
    }

    #[test]
    fn a_state_is_the_subject() {
        let expectations = MemoryExpectations::default();
        let body = r#"{"purpose":"verification","code":"s3cret","state":"s"}"#;
        for status in [201, 200] {
            let answer = announce_at(&expectations, body, at(0));
            assert_eq!(answer, (status, json!({ "expected": true, "subject": "s" })));
        }
    }

    #[test]
    fn without_a_state_the_subject_is_an_id_of_its_own_and_stays() {
        let subject_of = |code: &str| {
            let expectations = MemoryExpectations::default();
            let body = format!(r#"{{"purpose":"verification","code":"{code}"}}"#);
            let (status, fresh) = announce_at(&expectations, &body, at(0));
            assert_eq!(status, 201);
            assert_eq!(announce_at(&expectations, &body, at(1)), (200, fresh.clone()));
            fresh["subject"].as_str().unwrap().to_owned()
        };
        // Not even two of the same code: a caller who knows the code cannot guess the subject.
        let subjects = ["s3cret", "s3cret", "another"].map(subject_of);
        assert!(subjects[0] != subjects[1] && subjects[1] != subjects[2], "{subjects:?}");
        for subject in subjects {
            let id = subject.strip_prefix("wallet-").unwrap();
            assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{subject}");
        }
    }

    #[test]
    fn a_code_that_has_expired_can_be_announced_anew() {
        let expectations = MemoryExpectations::default();
        let first = r#"{"purpose":"verification","code":"s3cret","state":"s"}"#;
        let other = r#"{"purpose":"verification","code":"s3cret","state":"t"}"#;
        let life = Expectation::LIFE.as_secs();
        for (body, second, status) in
            [(first, 0, 201), (other, life, 409), (first, life, 200), (other, life + 1, 201), (first, life + 1, 409)]
        {
            assert_eq!(announce_at(&expectations, body, at(second)).0, status, "{body} at {second}");
        }
    }

    #[test]
    fn a_state_is_no_longer_than_a_subject() {
        let announcement = |length: usize| {
            format!(r#"{{"purpose":"verification","code":"s3cret","state":"{}"}}"#, "\u{1f600}".repeat(length))
        };
        assert_eq!(announce(&[&announcement(256)]), [201]);
        assert_eq!(announce(&[&announcement(257)]), [400]);
    }

    /// Checks that what is no announcement is refused, with this in the error.
    #[track_caller]
    fn check_refused(body: &str, problem: &str) {
        let (status, answer) = announce_at(&MemoryExpectations::default(), body, at(0));
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].as_str().unwrap().contains(problem), "{body}: {answer}");
    }

    #[test]
    fn what_is_no_announcement_is_refused_without_being_quoted() {
        for body in [
            "",
            "s3cret",
            "[]",
            r#"["verification","s3cret"]"#,
            "{}",
            r#"{"purpose":"verification"}"#,
            r#"{"purpose":"verification","code":5}"#,
            r#"{"purpose":"s3cret","code":"s3cret"}"#,
            r#"{"purpose":"Issuance","code":"s3cret","template_ids":[1]}"#,
            r#"{"purpose":["issuance"],"code":"s3cret","template_ids":[1]}"#,
            r#"{"purpose":"verification","code":"s3cret","stat":"s"}"#,
            r#"{"purpose":"verification","code":"s3cret","due_at":"tomorrow"}"#,
            r#"{"purpose":"verification","code":"s3cret","template_ids":[true]}"#,
            r#"{"purpose":"verification","code":"s3cret","template_ids":[{}]}"#,
            r#"{"purpose":"verification","code":"s3cret","template_ids":"1"}"#,
        ] {
            check_refused(body, "expected {");
        }
        check_refused(r#"{"code":"s3cret"}"#, "the purpose is missing");
        check_refused(r#"{"purpose":null,"code":"s3cret"}"#, "the purpose is missing");
        check_refused(r#"{"purpose":"verification","code":" "}"#, "the code is empty");
        check_refused(r#"{"purpose":"verification","code":"s3cret","template_ids":[""]}"#, "a template id is empty");
    }

    #[test]
    fn an_issuance_names_its_templates() {
        check_refused(r#"{"purpose":"issuance","code":"s3cret"}"#, "names its templates");
        check_refused(r#"{"purpose":"issuance","code":"s3cret","template_ids":[]}"#, "names its templates");
        assert_eq!(announce(&[r#"{"purpose":"issuance","code":"s3cret","template_ids":[1]}"#]), [201]);
        assert_eq!(announce(&[r#"{"purpose":"verification","code":"s3cret"}"#]), [201]);
    }
}

//! Announcements of the wallet gateway's codes. The service that calls init at the gateway receives
//! a code, and announces it here before the callback arrives. Only the code's hash is stored.

use model::{Details, Expectation, Expectations, InvalidSubject, Purpose, Registered, Subject, Timestamp, wire};
use runtime::Error;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

use crate::{Answer, key};

/// The body of an announcement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    /// What was started with init: `verification` or `issuance`.
    purpose: Option<Purpose>,
    /// The code that init returned.
    code: String,
    /// The state that was given to init, if any.
    state: Option<String>,
    /// The ids of the templates that were asked for, as strings or numbers. An issuance has at
    /// least one.
    #[serde(default)]
    template_ids: Vec<TemplateId>,
    /// When the callback is due, in RFC 3339.
    due_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct TemplateId(#[serde(deserialize_with = "string_or_number")] Option<String>);

/// A string, or the original text of a number.
fn string_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    match raw.get() {
        "true" | "false" => Err(D::Error::custom("expected a string or a number")),
        _ => wire::text(&*raw).map_err(D::Error::custom),
    }
}

/// Stores the announcement of a code.
pub(crate) async fn announce(expectations: &impl Expectations, body: &[u8], now: Timestamp) -> Answer {
    let subject = match new_subject() {
        Ok(subject) => subject,
        Err(error) => return Answer::Unavailable(error),
    };
    let expectation = match read(body, subject, now) {
        Ok(expectation) => expectation,
        Err(problem) => return Answer::Refused(400, problem),
    };
    let (is_new, subject, announced_at) = match expectations.register(&expectation, now).await {
        Ok(Registered::Fresh) => (true, expectation.subject.clone(), now),
        Ok(Registered::Same { subject, announced_at }) => (false, subject, announced_at.unwrap_or(now)),
        Ok(Registered::Conflict) => {
            return Answer::Refused(
                409,
                "this code was announced before with another purpose, another state, other templates or another due_at",
            );
        }
        Err(error) => return Answer::Unavailable(error.into()),
    };
    let tracks = match expectation.purpose {
        Purpose::Verification => vec!["verification".to_owned()],
        Purpose::Issuance => expectation.template_ids.iter().map(|id| format!("issuance/{id}")).collect(),
    };
    let tracks = tracks.into_iter().map(|track| key("wallet", &subject, track)).collect();
    Answer::Expected { is_new, subject, tracks, announced_at, due_at: expectation.due_at, details: Details::new() }
}

/// A random subject of 128 bits, for an announcement without a state. If the callback could choose
/// it, one code would be valid for any verification.
fn new_subject() -> Result<Subject, Error> {
    let mut bits = [0; 16];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| "failed to get random bits")?;
    Ok(Subject::new(format!("wallet-{:032x}", u128::from_be_bytes(bits)))?)
}

/// Parses an announcement. An error quotes nothing from it, because it holds a secret. Without a
/// state, this is its subject.
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
    // They are stored with every event of the code.
    if template_ids.iter().any(|id| id.len() > 64) {
        return Err("a template id is longer than 64 bytes");
    }
    // It becomes the subject of the callback's event, which may have at most four times as many
    // bytes.
    const STATE_TOO_LONG: &str = "the state is longer than 256 characters";
    if state.as_ref().is_some_and(|state| state.chars().count() > 256) {
        return Err(STATE_TOO_LONG);
    }
    let expectation = Expectation::new(&code, purpose, subject, now).with_state(state);
    let expectation = expectation.map_err(|InvalidSubject| STATE_TOO_LONG)?;
    Ok(expectation.with_template_ids(template_ids).with_due_at(due_at))
}

//! Announcing what a provider will call back about (`PUT /expectations/{provider}`, for the company's own services: the API asks for
//! AWS signatures).
//!
//! An announcement is kept in the expectations table, and recorded as the first event of its verification. So the
//! verification is looked after from then on: see functions/reconciler. Both can be repeated: the same announcement changes
//! nothing.

mod wallet;

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use model::{
    Announced, Announcement, CourseKey, Details, Events, Expectations, Request, Retention, StoredEvent, Subject,
    Timestamp, Track, is_plain_reference,
};
use providers::{is_reference, tracks};
use runtime::{Error, GatewayRequest, GatewayResponse, come_again, respond};
use serde::Deserialize;
use serde_json::json;

/// Keeps announcements, and records them as events.
#[derive(Debug)]
pub struct Announcements<E, S> {
    /// Where announcements are kept.
    pub expectations: E,
    /// Where events are recorded.
    pub events: S,
    /// The names of the providers that are deployed.
    pub providers: Vec<String>,
    /// How long events are kept.
    pub retention: Retention,
}

/// What becomes of an announcement.
enum Answer {
    /// Its verdicts are expected.
    Expected {
        /// Whether it was not announced before.
        is_new: bool,
        subject: Subject,
        tracks: Vec<CourseKey>,
        /// When it was announced first.
        announced_at: Timestamp,
        due_at: Option<Timestamp>,
        /// References by which the provider can be asked.
        details: Details,
    },
    /// It is wrong: the status, and why.
    Refused(i64, &'static str),
    /// It could not be kept.
    Unavailable(Error),
}

/// The furthest that a verdict may be due.
const MAX_DAYS: i64 = 365;

impl<E: Expectations, S: Events> Announcements<E, S> {
    /// Answers an announcement, with the subject of the callback's events: 201 if it is new, 200 if it was made before.
    /// Otherwise 404 if there is no such provider, 409 if something else was announced, 400 with what is wrong with it, 503
    /// if it could not be kept.
    pub async fn answer(&self, request: GatewayRequest, now: Timestamp) -> GatewayResponse {
        let Ok(request) = Request::try_from(request) else {
            return refused(400, "the body is not the base64 it is said to be");
        };
        // A time is kept in milliseconds.
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let provider = request.path_parameters.get("provider").map(String::as_str).unwrap_or_default();
        let answer = match tracks(provider).filter(|_| self.providers.iter().any(|deployed| deployed == provider)) {
            None => {
                return refused(
                    404,
                    "this provider is not deployed: see the stack's parameters Providers and WalletGateway",
                );
            }
            Some([]) => wallet::announce(&self.expectations, &request.body, now).await,
            Some(tracks) => self.announce(provider, tracks, &request.body, now).await,
        };
        match answer {
            Answer::Expected { is_new, subject, tracks, announced_at, due_at, details } => {
                let events = tracks.iter().map(|track| StoredEvent {
                    details: details.clone(),
                    ..StoredEvent::announced(track, announced_at, due_at, self.retention)
                });
                match try_join_all(events.map(|event| self.events.record(event))).await {
                    Ok(_) => {
                        tracing::info!(provider, is_new, "announced");
                        let answer = json!({ "expected": true, "subject": subject }).to_string();
                        respond(if is_new { 201 } else { 200 }, &answer)
                    }
                    Err(error) => unavailable(&error),
                }
            }
            Answer::Refused(status, problem) => {
                tracing::warn!(provider, status, "announcement refused");
                refused(status, problem)
            }
            Answer::Unavailable(error) => unavailable(error.as_ref()),
        }
    }

    /// Keeps the announcement of a verdict.
    async fn announce(&self, provider: &str, tracks: &[Track], body: &[u8], now: Timestamp) -> Answer {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            subject: Subject,
            due_at: Timestamp,
            track: Option<String>,
            #[serde(default)]
            details: BTreeMap<String, String>,
        }
        let Ok(Body { subject, due_at, track, details }) = serde_json::from_slice(body) else {
            return Answer::Refused(
                400,
                "expected {\"subject\": string, \"due_at\": RFC 3339 time, \"track\": string?, \"details\": object of strings?}; \
                 a subject has 1 to 1024 bytes",
            );
        };
        // At most as many bytes as a subject has.
        if subject.as_str().chars().count() > 256 {
            return Answer::Refused(400, "the subject is longer than 256 characters");
        }
        let named = |known: &&Track| track.as_deref().is_none_or(|track| track == known.name());
        let Some(track) = tracks.iter().find(named) else {
            return Answer::Refused(400, "the provider has no such track: its page in docs/providers/ lists them");
        };
        let is_reference =
            |(name, value): (&String, &String)| is_reference(provider, name) && is_plain_reference(value);
        if !details.iter().all(is_reference) {
            return Answer::Refused(
                400,
                "details are references by which the provider can be asked, of letters, digits, - and _: \
                 its page in docs/providers/ lists them",
            );
        }
        let details: Details = details.into_iter().map(|(name, value)| (name, value.into())).collect();
        if due_at.duration_since(now).as_hours() > MAX_DAYS * 24 {
            return Answer::Refused(400, "due_at is more than a year ahead");
        }
        let due_at = Timestamp::from_millisecond(due_at.as_millisecond()).unwrap_or(due_at);
        let track = key(provider, &subject, track.name().to_owned());
        let announcement = Announcement::new(&track, due_at, now).with_details(details.clone());
        let (is_new, announced_at) = match self.expectations.announce(&announcement, now).await {
            Ok(Announced::Fresh) => (true, now),
            Ok(Announced::Same(announced_at)) => (false, announced_at),
            Ok(Announced::Conflict) => {
                return Answer::Refused(409, "this verdict was announced before with another due_at or other details");
            }
            Err(error) => return Answer::Unavailable(error.into()),
        };
        Answer::Expected { is_new, subject, tracks: vec![track], announced_at, due_at: Some(due_at), details }
    }
}

fn key(provider: &str, subject: &Subject, track: String) -> CourseKey {
    CourseKey { provider: provider.to_owned(), subject: subject.as_str().to_owned(), track }
}

fn refused(status: i64, problem: &str) -> GatewayResponse {
    respond(status, &json!({ "error": problem }).to_string())
}

fn unavailable(error: &dyn std::error::Error) -> GatewayResponse {
    tracing::error!(error = runtime::chain(error), "failed to keep an announcement");
    come_again(r#"{"error": "the announcement could not be kept: make it again"}"#)
}

#[cfg(test)]
mod tests {
    use model::{Expectation, MemoryExpectations, MemoryStore, Origin};
    use serde_json::Value;

    use super::*;

    type World = Announcements<MemoryExpectations, MemoryStore>;

    fn world() -> World {
        let providers = ["jumio", "verifyvasp", "wallet"].map(str::to_owned).to_vec();
        Announcements {
            expectations: MemoryExpectations::default(),
            events: MemoryStore::default(),
            providers,
            retention: Retention::default(),
        }
    }

    /// The recorded announcements: the track's name, when it was announced, and when it is due, in seconds.
    fn recorded(world: &World) -> Vec<(String, i64, Option<i64>)> {
        let mut events = world.events.events();
        events.sort_by(|a, b| (a.received_at, &a.track).cmp(&(b.received_at, &b.track)));
        assert!(
            events.iter().all(|event| event.origin() == Origin::Announced && event.outcome == model::Outcome::None)
        );
        events.iter().map(|e| (e.track.clone(), e.received_at.as_second(), e.due_at.map(|at| at.as_second()))).collect()
    }

    /// A time, in seconds.
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What an announcement at this time is answered. The answer never has the code.
    fn announce_at(world: &World, body: &str, now: Timestamp) -> (i64, Value) {
        announce_of(world, "wallet", body, now)
    }

    fn announce_of(world: &World, provider: &str, body: &str, now: Timestamp) -> (i64, Value) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let event = json!({
            "body": body, "pathParameters": { "provider": provider }, "requestContext": { "http": {} },
        });
        let response = runtime.block_on(world.answer(serde_json::from_value(event).unwrap(), now));
        let text = String::from_utf8(response.body.unwrap().as_ref().to_vec()).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(!text.contains(&Expectation::code_hash("s3cret")), "{text}");
        (response.status_code, serde_json::from_str(&text).unwrap())
    }

    /// Makes announcements one after the other, and returns the statuses.
    fn announce(bodies: &[&str]) -> Vec<i64> {
        let world = world();
        let answers = bodies.iter().zip(0..).map(|(body, second)| announce_at(&world, body, at(second)).0);
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
        let world = world();
        let body = r#"{"purpose":"verification","code":"s3cret","state":"s"}"#;
        for status in [201, 200] {
            let answer = announce_at(&world, body, at(0));
            assert_eq!(answer, (status, json!({ "expected": true, "subject": "s" })));
        }
    }

    #[test]
    fn without_a_state_the_subject_is_an_id_of_its_own_and_stays() {
        let subject_of = |code: &str| {
            let world = world();
            let body = format!(r#"{{"purpose":"verification","code":"{code}"}}"#);
            let (status, fresh) = announce_at(&world, &body, at(0));
            assert_eq!(status, 201);
            assert_eq!(announce_at(&world, &body, at(1)), (200, fresh.clone()));
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
        let world = world();
        let first = r#"{"purpose":"verification","code":"s3cret","state":"s"}"#;
        let other = r#"{"purpose":"verification","code":"s3cret","state":"t"}"#;
        let life = Expectation::LIFE.as_secs();
        for (body, second, status) in
            [(first, 0, 201), (other, life, 409), (first, life, 200), (other, life + 1, 201), (first, life + 1, 409)]
        {
            assert_eq!(announce_at(&world, body, at(second)).0, status, "{body} at {second}");
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
        let (status, answer) = announce_at(&world(), body, at(0));
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

    #[test]
    fn each_track_of_a_code_is_announced_once_however_often_it_is_said() {
        let world = world();
        let body = r#"{"purpose":"issuance","code":"s3cret","template_ids":[1,"2"],"due_at":"1970-01-01T01:00:00Z"}"#;
        for (second, status) in [(1, 201), (2, 200), (3, 200)] {
            assert_eq!(announce_at(&world, body, at(second)).0, status);
        }
        let expected = ["issuance/1", "issuance/2"].map(|track| (track.to_owned(), 1, Some(3600)));
        assert_eq!(recorded(&world), expected);
    }

    #[test]
    fn a_verdict_of_any_provider_can_be_announced_but_not_with_another_time() {
        let world = world();
        let body = |due: &str, track: &str| format!(r#"{{"subject":"s","due_at":"1970-01-01T{due}Z"{track}}}"#);
        let document = r#","track":"document-verification""#;
        for (body, second, status) in [
            (body("01:00:00", ""), 1, 201),
            (body("01:00:00.0004", ""), 2, 200),
            (body("01:00:01", ""), 3, 409),
            (body("01:00:01", document), 4, 201),
            (body("01:00:00", ""), 3600 + Expectation::LIFE.as_secs(), 200),
            (body("02:00:00", ""), 3601 + Expectation::LIFE.as_secs(), 201),
        ] {
            let (answered, answer) = announce_of(&world, "jumio", &body, at(second));
            assert_eq!(answered, status, "{body}");
            assert!(status == 409 || answer == json!({ "expected": true, "subject": "s" }), "{answer}");
        }
        let life = Expectation::LIFE.as_secs();
        let expected = [
            ("netverify-id".to_owned(), 1, Some(3600)),
            ("document-verification".to_owned(), 4, Some(3601)),
            ("netverify-id".to_owned(), 3601 + life, Some(7200)),
        ];
        assert_eq!(recorded(&world), expected);
    }

    #[test]
    fn a_process_is_announced_with_its_dossier_which_the_record_keeps() {
        let mut world = world();
        world.providers.push("signicat".to_owned());
        let body = |details: &str| format!(r#"{{"subject":"s","due_at":"1970-01-01T01:00:00Z"{details}}}"#);
        let whole = body(r#","details":{"dossier_id":"d-1"}"#);
        for (body, status) in [
            (whole.clone(), 201),
            (whole.clone(), 200),
            (body(""), 409),
            (body(r#","details":{"dossier_id":"d-2"}"#), 409),
            (body(r#","details":{"dossier_id":"d/../1"}"#), 400),
            (body(r#","details":{"dossier_id":""}"#), 400),
            (body(r#","details":{"dossier_id":1}"#), 400),
            (body(r#","details":{"dossier":"d-1"}"#), 400),
        ] {
            assert_eq!(announce_of(&world, "signicat", &body, at(1)).0, status, "{body}");
        }
        assert_eq!(announce_of(&world, "jumio", &whole, at(1)).0, 400);
        let events = world.events.events();
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(serde_json::to_value(&event.details).unwrap(), json!({ "dossier_id": "d-1" }));
    }

    #[test]
    fn what_cannot_be_announced_is_refused() {
        let due = r#""due_at":"1970-01-01T01:00:00Z""#;
        for (provider, body, status, problem) in [
            ("nobody", format!(r#"{{"subject":"s",{due}}}"#), 404, "not deployed"),
            ("signicat", format!(r#"{{"subject":"s",{due}}}"#), 404, "not deployed"),
            ("jumio", format!("{{{due}}}"), 400, "expected {"),
            ("jumio", r#"{"subject":"s"}"#.to_owned(), 400, "expected {"),
            ("jumio", format!(r#"{{"subject":"",{due}}}"#), 400, "expected {"),
            ("jumio", format!(r#"{{"subject":"{}",{due}}}"#, "s".repeat(1025)), 400, "expected {"),
            ("jumio", format!(r#"{{"subject":"{}",{due}}}"#, "s".repeat(257)), 400, "longer than 256"),
            ("jumio", format!(r#"{{"subject":"s",{due},"x":1}}"#), 400, "expected {"),
            ("jumio", format!(r#"{{"subject":"s",{due},"track":"scan"}}"#), 400, "no such track"),
            ("jumio", r#"{"subject":"s","due_at":"1971-01-02T01:00:00Z"}"#.to_owned(), 400, "a year ahead"),
        ] {
            let world = world();
            let (answered, answer) = announce_of(&world, provider, &body, at(0));
            assert_eq!(answered, status, "{provider} {body}");
            assert!(answer["error"].as_str().unwrap().contains(problem), "{answer}");
            assert_eq!(recorded(&world), []);
        }
    }
}

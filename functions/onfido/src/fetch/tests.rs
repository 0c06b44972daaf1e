//! What Onfido is asked, and what comes of its answers.

use std::sync::Mutex;

use jiff::SignedDuration;
use model::{Assurance, NoReply, Outcome, Provider as _, Reply, Retention, Verified, fetched};
use serde_json::{Value, json};

use super::*;

/// Answers every question with this, and keeps the questions.
struct Canned {
    reply: Option<Reply>,
    asked: Mutex<Vec<Question>>,
}

impl Canned {
    fn new(reply: Option<Reply>) -> Self {
        Self { reply, asked: Mutex::default() }
    }
}

impl Web for Canned {
    async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
        self.asked.lock().unwrap().push(question);
        self.reply.clone().ok_or_else(|| NoReply("late".into()))
    }
}

fn reply(status: u16, body: impl ToString) -> Option<Reply> {
    Some(Reply { status, retry_after: None, body: body.to_string().into() })
}

fn credentials() -> OnfidoCredentials {
    serde_json::from_value(json!({ "api_token": "s3cret" })).unwrap()
}

fn key(track: &str, subject: &str) -> CourseKey {
    CourseKey { provider: "onfido".to_owned(), subject: subject.to_owned(), track: track.to_owned() }
}

fn fetch_from(web: &Canned, track: &str, subject: &str) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fetcher = OnfidoFetcher::new("https://api.example.com/v3.6/");
    runtime.block_on(fetcher.fetch(&key(track, subject), None, &credentials(), web, Timestamp::UNIX_EPOCH))
}

fn fetch(track: &str, reply: Option<Reply>) -> Found {
    fetch_from(&Canned::new(reply), track, "o-1")
}

fn check(status: &str, result: Value) -> Value {
    json!({
        "id": "o-1", "applicant_id": "a-1", "status": status, "result": result, "sandbox": false, "paused": false,
        "created_at": "2026-01-31T00:00:00Z", "href": "/v3.6/checks/o-1", "report_ids": ["p-1"], "tags": ["example"],
    })
}

fn run(status: &str) -> Value {
    json!({
        "id": "o-1", "applicant_id": "a-1", "status": status, "workflow_id": "w-1", "reasons": ["example_reason"],
        "output": { "first_name": "ERIKA" }, "error": null, "sdk_token": "example",
    })
}

#[track_caller]
fn check_verdict(track: &str, answer: &Value, outcome: Outcome, reasons: &[&str]) -> Value {
    let Found::Verdict(parsed, body) = fetch(track, reply(200, answer)) else { panic!("{answer}") };
    assert_eq!((parsed.outcome, parsed.is_final, parsed.due_after), (outcome, true, None), "{answer}");
    assert_eq!(parsed.reasons, reasons, "{answer}");
    assert_eq!(body, answer.to_string());
    let event = fetched::<Onfido<Secrets>>(*parsed, body, Timestamp::UNIX_EPOCH, Retention::default());
    assert_eq!(CourseKey::of(&event), key(track, "o-1"));
    assert_eq!((event.assurance, event.unrecognized), (Assurance::Fetched, None));
    Value::Object(event.details)
}

#[test]
fn a_check_that_is_complete_has_a_verdict() {
    let details = check_verdict("check", &check("complete", json!("clear")), Outcome::Approved, &[]);
    let expected = json!({
        "check_id": "o-1", "status": "complete", "result": "clear", "applicant_id": "a-1", "sandbox": false,
    });
    assert_eq!(details, expected);
    check_verdict("check", &check("complete", json!("consider")), Outcome::Review, &["consider"]);
    check_verdict("check", &check("withdrawn", Value::Null), Outcome::Failed, &["withdrawn"]);
    check_verdict("check", &check("withdrawn", json!("clear")), Outcome::Failed, &["withdrawn"]);
}

#[test]
fn an_answer_about_a_check_becomes_what_the_page_says() {
    let page = include_str!("../../../../docs/providers/onfido.md");
    let (_, table) = page.split_once("| answer | kind | outcome | reasons |\n|---|---|---|---|\n").unwrap();
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let cells: Vec<Vec<String>> = row.trim_matches('|').split('|').map(spans).collect();
        let mut answer = json!({ "id": "o-1" });
        for field in &cells[0] {
            let (name, value) = field.split_once('=').unwrap();
            answer[name] = json!(value);
        }
        let Found::Verdict(parsed, _) = fetch("check", reply(200, &answer)) else { panic!("{row}") };
        let found = [vec![format!("onfido.{}", parsed.kind)], vec![parsed.outcome.as_str().to_owned()], parsed.reasons];
        assert_eq!(found, cells[1..], "{row}");
    }
}

#[test]
fn a_verdict_of_the_sandbox_says_so() {
    let mut answer = check("complete", json!("clear"));
    answer["sandbox"] = json!(true);
    assert_eq!(check_verdict("check", &answer, Outcome::Approved, &[])["sandbox"], json!(true));
}

#[test]
fn a_run_comes_to_what_its_webhook_comes_to() {
    for status in ["approved", "declined", "review", "abandoned", "error"] {
        let Found::Verdict(found, _) = fetch("workflow-run", reply(200, run(status))) else { panic!("{status}") };
        let webhook = json!({ "payload": {
            "resource_type": "workflow_run",
            "action": "workflow_run.completed",
            "object": { "id": "o-1", "status": status },
            "resource": { "status": status, "applicant_id": "a-1", "reasons": ["example_reason"] },
        } });
        assert_eq!(*found, Onfido::<Secrets>::parse(&Verified::fetched(webhook.to_string())).unwrap(), "{status}");
        assert_eq!(found.outcome == Outcome::Approved, status == "approved");
    }
}

#[test]
fn what_is_not_final_is_no_verdict_yet() {
    for status in ["in_progress", "awaiting_applicant", "paused", "reopened"] {
        for result in [Value::Null, json!("clear"), json!("consider")] {
            let found = fetch("check", reply(200, check(status, result)));
            assert!(matches!(found, Found::NotYet), "{status}: {found:?}");
        }
    }
    for status in ["processing", "awaiting_input", "awaiting_client_input"] {
        let found = fetch("workflow-run", reply(200, run(status)));
        assert!(matches!(found, Found::NotYet), "{status}: {found:?}");
    }
}

#[test]
fn what_is_not_understood_is_never_a_verdict() {
    let clear = check("complete", json!("clear")).to_string();
    let with = |name: &str, value: Value| {
        let mut answer = check("complete", json!("clear"));
        answer[name] = value;
        answer.to_string()
    };
    for odd in [
        with("result", Value::Null),
        with("result", json!("Clear")),
        with("result", json!("clear ")),
        with("result", json!("approved")),
        with("result", json!(["clear"])),
        with("status", Value::Null),
        with("status", json!("Complete")),
        with("status", json!("completed")),
        with("id", json!("o-2")),
        with("id", Value::Null),
        with("paused", json!(true)),
        with("paused", json!("no")),
        with("sandbox", json!("yes")),
        clear.replace(r#""result""#, r#""result":"consider","result""#),
        clear[..clear.len() - 1].to_owned(),
        json!({ "check": check("complete", json!("clear")) }).to_string(),
        json!([check("complete", json!("clear"))]).to_string(),
        "<html>".to_owned(),
        String::new(),
    ] {
        let found = fetch("check", reply(200, &odd));
        assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{odd}: {found:?}");
    }
    let with = |name: &str, value: Value| {
        let mut answer = run("approved");
        answer[name] = value;
        answer
    };
    for odd in [
        with("id", json!("o-2")),
        with("status", json!("Approved")),
        with("status", json!("complete")),
        with("reasons", json!("example")),
        with("error", json!({ "type": "example", "message": "example" })),
        check("complete", json!("clear")),
    ] {
        let found = fetch("workflow-run", reply(200, &odd));
        assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{odd}: {found:?}");
    }
    // The answer about one is none about the other.
    let found = fetch("check", reply(200, run("approved")));
    assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{found:?}");
}

#[test]
fn every_other_answer_is_no_verdict() {
    let wait = Some(SignedDuration::from_secs(7));
    for (code, wish, reply) in [
        (Found::NOT_AUTHORIZED, None, reply(401, "")),
        (Found::NOT_AUTHORIZED, None, reply(403, "")),
        (Found::TOO_MANY_REQUESTS, None, reply(429, "")),
        (Found::TOO_MANY_REQUESTS, wait, Some(Reply { status: 429, retry_after: wait, body: "".into() })),
        ("server_error", None, reply(500, "")),
        ("unexpected_status", None, reply(204, "")),
        ("unexpected_status", None, reply(302, "")),
        ("unexpected_status", None, reply(400, check("complete", json!("clear")))),
        (Found::NO_REPLY, None, None),
    ] {
        let found = fetch("check", reply);
        assert!(matches!(found, Found::Unavailable(c, w) if c == code && w == wish), "{code}: {found:?}");
    }
    for status in [404, 410] {
        assert!(matches!(fetch("check", reply(status, "")), Found::Unknown));
    }
}

#[test]
fn the_address_is_made_of_the_base_address_and_the_id_with_nothing_secret_in_it() {
    for (track, url) in [
        ("check", "https://api.example.com/v3.6/checks/o-1"),
        ("workflow-run", "https://api.example.com/v3.6/workflow_runs/o-1"),
    ] {
        let web = Canned::new(reply(404, ""));
        fetch_from(&web, track, "o-1");
        let asked = web.asked.lock().unwrap();
        let [question] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!((question.method, question.url.as_str(), question.body.len()), ("GET", url, 0));
        let header = |name| question.headers.iter().find(|(header, _)| *header == name).unwrap().1.as_str();
        assert_eq!((header("authorization"), header("accept")), ("Token token=s3cret", "application/json"));
        let shown = format!("{question:?}{:?}{:?}", OnfidoFetcher::new(url), credentials());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn nobody_is_asked_about_what_is_no_reference_or_another_track() {
    for (track, subject) in [
        ("check", ""),
        ("check", ".."),
        ("check", "../applicants/a-1"),
        ("check", "o-1/download"),
        ("check", "o?1"),
        ("check", "o#1"),
        ("check", "o 1"),
        ("check", "https://attacker.example.com"),
        ("workflow-run", "o%2f1"),
        ("notice", "o-1"),
        ("unrecognized", "o-1"),
    ] {
        let web = Canned::new(reply(200, check("complete", json!("clear"))));
        let found = fetch_from(&web, track, subject);
        assert!(matches!(found, Found::Unavailable(Found::NO_REFERENCE, None)), "{track} {subject}: {found:?}");
        assert!(web.asked.lock().unwrap().is_empty());
    }
}

#[test]
fn checks_and_runs_can_be_asked_about() {
    let fetcher = OnfidoFetcher::new("https://api.example.com/v3.6");
    assert!(fetcher.fetches(&key("check", "o-1")) && fetcher.fetches(&key("workflow-run", "o-1")));
    assert!(!fetcher.fetches(&key("notice", "o-1")) && !fetcher.fetches(&key("unrecognized", "o-1")));
    assert!(!fetcher.fetches(&CourseKey { provider: "another".to_owned(), ..key("check", "o-1") }));
    assert_eq!(OnfidoFetcher::REFERENCE, None);
}

//! Asking Jumio where a verification stands, with its Netverify Retrieval API.
//!
//! Follows Jumio's document "Netverify Retrieval API". An answer has nearly what a callback has, under partly other names. So it is brought
//! into the callback's form and read by the callback's own rules: the verdict is decided in one place.

use std::borrow::Cow;

use bytes::Bytes;
use model::{
    CourseKey, Fetcher, Found, Outcome, Parsed, Question, Schedule, Timestamp, Unrecognized, Web, is_plain_reference,
    wire::{self, Members},
};
use runtime::{AllowedNetworks, Secrets, basic_authorization};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Jumio, authentication, document_verification, kinds, netverify};

/// Asks Jumio.
#[derive(Debug, Clone)]
pub struct JumioFetcher {
    base_url: String,
    documents_url: String,
}

/// What Jumio's customer portal gives for its "Transaction administration APIs", and the company's name.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CredentialsText")]
pub struct JumioCredentials {
    authorization: String,
    user_agent: String,
}

#[derive(Deserialize)]
struct CredentialsText {
    token: String,
    secret: String,
    company: String,
}

impl TryFrom<CredentialsText> for JumioCredentials {
    type Error = &'static str;

    fn try_from(text: CredentialsText) -> Result<Self, Self::Error> {
        let CredentialsText { token, secret, company } = text;
        if token.is_empty() || token.contains(':') || secret.is_empty() {
            return Err("token and secret have text, and the token has no colon");
        }
        if company.trim().is_empty() || !company.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err("company is the company's name in ASCII");
        }
        let version = env!("CARGO_PKG_VERSION");
        let user_agent = format!("{} VerificationCallbacks/v{version}", company.trim());
        Ok(Self { authorization: basic_authorization(&token, &secret), user_agent })
    }
}

/// Shows nothing.
impl std::fmt::Debug for JumioCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JumioCredentials").finish_non_exhaustive()
    }
}

impl JumioFetcher {
    /// Asks at this address, such as `https://netverify.com`, or that of another of Jumio's data centers. About documents, it
    /// asks at the same host with `retrieval.` before it, except on this machine.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let documents_url = match base_url.split_once("://") {
            Some((scheme, rest)) if !is_local(rest) => format!("{scheme}://retrieval.{rest}"),
            _ => base_url.clone(),
        };
        Self { base_url, documents_url }
    }

    /// The body of the answer at this path, or what another answer means.
    async fn get(base_url: &str, path: &str, credentials: &JumioCredentials, web: &impl Web) -> Result<Bytes, Found> {
        let question = Question::get(format!("{base_url}/api/netverify/v2/{path}"))
            .with_header("accept", "application/json".to_owned())
            .with_header("authorization", credentials.authorization.clone())
            .with_header("user-agent", credentials.user_agent.clone());
        match web.ask(question).await {
            Ok(reply) if reply.status == 200 => Ok(reply.body),
            Ok(reply) => Err(Found::of_status(&reply)),
            Err(_) => Err(Found::no_reply()),
        }
    }

    async fn scan(&self, scan: &str, credentials: &JumioCredentials, web: &impl Web) -> Result<Found, Found> {
        let status = Self::get(&self.base_url, &format!("scans/{scan}"), credentials, web).await?;
        let Some(status) = scan_status(&status, scan)? else { return Ok(Found::NotYet) };
        let data = Self::get(&self.base_url, &format!("scans/{scan}/data"), credentials, web).await?;
        read(data, |data| scan_verdict(data, scan, status))
    }

    async fn authentication(&self, id: &str, credentials: &JumioCredentials, web: &impl Web) -> Result<Found, Found> {
        let answer = Self::get(&self.base_url, &format!("authentications/{id}"), credentials, web).await?;
        read(answer, |answer| authentication_verdict(answer, id))
    }

    async fn document(&self, scan: &str, credentials: &JumioCredentials, web: &impl Web) -> Result<Found, Found> {
        let status = Self::get(&self.documents_url, &format!("documents/{scan}"), credentials, web).await;
        // There is no word for a document that is not finished: until then, it is not found.
        let status = status.map_err(|found| if matches!(found, Found::Unknown) { Found::NotYet } else { found })?;
        let Some(status) = scan_status(&status, scan)? else { return Ok(Found::NotYet) };
        let data = Self::get(&self.documents_url, &format!("documents/{scan}/data"), credentials, web).await?;
        read(data, |data| document_verdict(data, scan, status))
    }
}

impl Fetcher for JumioFetcher {
    type Provider = Jumio<AllowedNetworks, Secrets>;
    type Credentials = JumioCredentials;

    /// At most ten times at these times, and then once a day, as Jumio's document recommends.
    const SCHEDULE: Schedule = Schedule(&[40, 60, 100, 160, 240, 340, 460, 600, 760, 940]);

    fn fetches(&self, key: &CourseKey) -> bool {
        let tracks = kinds::TRACKS;
        key.provider == "jumio" && tracks.iter().any(|track| track.name() == key.track)
    }

    async fn fetch(
        &self,
        key: &CourseKey,
        _reference: Option<&str>,
        credentials: &JumioCredentials,
        web: &impl Web,
        _now: Timestamp,
    ) -> Found {
        let subject = key.subject.as_str();
        if !is_plain_reference(subject) {
            return Found::Unavailable(Found::NO_REFERENCE, None);
        }
        let found = if key.track == kinds::NETVERIFY_ID.track().name() {
            self.scan(subject, credentials, web).await
        } else if key.track == kinds::NETVERIFY_AUTHENTICATION.track().name() {
            self.authentication(subject, credentials, web).await
        } else if key.track == kinds::DOCUMENT_VERIFICATION.track().name() {
            self.document(subject, credentials, web).await
        } else {
            Ok(Found::Unknown)
        };
        found.unwrap_or_else(|other| other)
    }
}

/// Whether an address without its scheme is on this machine.
fn is_local(address: &str) -> bool {
    let host = address.split(['/', ':']).next().unwrap_or_default();
    host == "localhost" || host == "127.0.0.1"
}

/// Whether Jumio has finished with a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finished {
    Done,
    Failed,
}

/// What the status of a scan says. Nothing if it is pending.
fn finished(status: Option<&str>) -> Result<Option<Finished>, Unrecognized> {
    match status {
        Some("DONE") => Ok(Some(Finished::Done)),
        Some("FAILED") => Ok(Some(Finished::Failed)),
        Some("PENDING") => Ok(None),
        Some(_) => Err(Unrecognized::new("unknown_status")),
        None => Err(Unrecognized::missing("status")),
    }
}

/// What an answer says about the status of this scan.
fn scan_status(answer: &[u8], scan: &str) -> Result<Option<Finished>, Found> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        #[serde(default, deserialize_with = "wire::text")]
        scan_reference: Option<String>,
        #[serde(default, deserialize_with = "wire::text")]
        status: Option<String>,
    }
    let status = wire::from_json(answer).and_then(|Answer { scan_reference, status }| {
        is_about(scan, scan_reference.as_deref())?;
        finished(status.as_deref())
    });
    status.map_err(|_| Found::not_understood())
}

/// An answer about another verification is none.
fn is_about(subject: &str, reference: Option<&str>) -> Result<(), Unrecognized> {
    if reference == Some(subject) { Ok(()) } else { Err(Unrecognized::new("another_reference")) }
}

/// What an answer comes to. Nothing in it means that Jumio has not finished.
fn read(answer: Bytes, verdict: impl FnOnce(&[u8]) -> Result<Option<Parsed>, Unrecognized>) -> Result<Found, Found> {
    match verdict(&answer) {
        // A document that came in is no verdict, and all that Jumio has to say.
        Ok(Some(parsed)) if parsed.is_final || parsed.outcome == Outcome::None => {
            Ok(Found::Verdict(Box::new(parsed), answer))
        }
        Ok(_) => Ok(Found::NotYet),
        Err(_) => Err(Found::not_understood()),
    }
}

type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The members of an object in an answer.
fn members<'a>(json: &'a [u8]) -> Result<Vec<Member<'a>>, Unrecognized> {
    let Members(members) = serde_json::from_slice(json).map_err(|_| Unrecognized::new("unexpected_shape"))?;
    Ok(members)
}

/// The text of a member's value; nothing if there is none.
fn text_of(members: &[Member<'_>], name: &str) -> Result<Option<String>, Unrecognized> {
    let mut values = members.iter().filter(|(member, _)| member == name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => wire::text(*value).map_err(|_| Unrecognized::new("unexpected_shape")),
        _ => Err(Unrecognized::new("unexpected_shape")),
    }
}

/// An object with these members, in which a name that is repeated stays so.
fn object(members: &[Member<'_>]) -> Vec<u8> {
    let text = |(name, value): &Member<'_>| format!("{}:{}", serde_json::Value::from(name.as_ref()), value.get());
    format!("{{{}}}", members.iter().map(text).collect::<Vec<_>>().join(",")).into_bytes()
}

/// The same fields as a callback's, without the times that differ in each answer.
fn without_times(mut members: Vec<Member<'_>>) -> Members<'_> {
    members.retain(|(name, _)| !["callbackDate", "timestamp"].contains(&name.as_ref()));
    Members(members)
}

/// What the details of a scan come to, by the rules of its callback.
fn scan_verdict(data: &[u8], scan: &str, status: Finished) -> Result<Option<Parsed>, Unrecognized> {
    let outer = members(data)?;
    is_about(scan, text_of(&outer, "scanReference")?.as_deref())?;
    let mut fields = Vec::new();
    let mut has_failed = status == Finished::Failed;
    for (name, value) in outer {
        match name.as_ref() {
            "scanReference" => fields.push(("jumioIdScanReference".into(), value)),
            "document" => {
                for (name, value) in members(value.get().as_bytes())? {
                    fields.push((if name == "status" { "verificationStatus".into() } else { name }, value));
                }
            }
            "transaction" => {
                let inner = members(value.get().as_bytes())?;
                match finished(text_of(&inner, "status")?.as_deref())? {
                    Some(finished) => has_failed |= finished == Finished::Failed,
                    None => return Ok(None),
                }
                for (name, value) in inner {
                    match name.as_ref() {
                        "status" => {}
                        "merchantScanReference" => fields.push(("merchantIdScanReference".into(), value)),
                        _ => fields.push((name, value)),
                    }
                }
            }
            "verification" => {
                for (name, value) in members(value.get().as_bytes())? {
                    match (name.as_ref(), value.get()) {
                        // The check of the MRZ alone has a result here. That it was not possible is no contradiction.
                        ("mrzCheck", r#""NOT_AVAILABLE""#) => {}
                        ("mrzCheck", _) => fields.push(("idCheckMRZcode".into(), value)),
                        _ => fields.push((name, value)),
                    }
                }
            }
            _ => fields.push((name, value)),
        }
    }
    let error = RawValue::from_string(r#""ERROR""#.to_owned()).map_err(|_| Unrecognized::new("unexpected_shape"))?;
    if has_failed {
        fields.push(("idScanStatus".into(), &error));
    }
    let callback = wire::from_json(&object(&fields))?;
    netverify(callback, &without_times(fields)).map(Some)
}

/// What an authentication comes to, by the rules of its callback, which has the same fields.
fn authentication_verdict(answer: &[u8], id: &str) -> Result<Option<Parsed>, Unrecognized> {
    let fields = members(answer)?;
    is_about(id, text_of(&fields, "transactionReference")?.as_deref())?;
    match text_of(&fields, "transactionResult")?.as_deref() {
        Some("CREATED" | "STARTED") => Ok(None),
        _ => authentication(&wire::from_json(answer)?, &without_times(fields)).map(Some),
    }
}

/// What a document comes to, by the rules of its callback, which has the same fields.
fn document_verdict(data: &[u8], scan: &str, status: Finished) -> Result<Option<Parsed>, Unrecognized> {
    let fields = members(data)?;
    is_about(scan, text_of(&fields, "scanReference")?.as_deref())?;
    let parsed = document_verification(wire::from_json(data)?, &without_times(fields))?;
    // One of the two answers says that it came in, and the other one that it did not.
    if status == Finished::Failed && parsed.outcome != Outcome::Failed {
        return Err(Unrecognized::new("contradiction"));
    }
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::SignedDuration;
    use model::{NoReply, Provider as _, Reply, Verified};
    use serde_json::{Value, json};

    use super::*;

    const SUBJECT: &str = "00000000-0000-4000-8000-000000000001";

    /// Gives these answers, one after the other, and notes what was asked.
    struct Canned {
        replies: Mutex<Vec<Option<Reply>>>,
        asked: Mutex<Vec<Question>>,
    }

    impl Canned {
        fn new(mut replies: Vec<Option<Reply>>) -> Self {
            replies.reverse();
            Self { replies: Mutex::new(replies), asked: Mutex::default() }
        }

        fn urls(&self) -> Vec<String> {
            let asked = self.asked.lock().unwrap();
            asked.iter().map(|question| question.url.replace(SUBJECT, "REF")).collect()
        }
    }

    impl Web for Canned {
        async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
            self.asked.lock().unwrap().push(question);
            let reply = self.replies.lock().unwrap().pop().expect("nobody asks more often");
            reply.ok_or_else(|| NoReply("late".into()))
        }
    }

    fn reply(status: u16, body: impl ToString) -> Option<Reply> {
        Some(Reply { status, retry_after: None, body: body.to_string().into() })
    }

    fn credentials() -> JumioCredentials {
        serde_json::from_value(json!({ "token": "token", "secret": "s3cret", "company": "Example Company" })).unwrap()
    }

    fn key(track: &str, subject: &str) -> CourseKey {
        CourseKey { provider: "jumio".to_owned(), subject: subject.to_owned(), track: track.to_owned() }
    }

    fn fetch_from(track: &str, web: &Canned) -> Found {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fetcher = JumioFetcher::new("https://netverify.example.com/");
        let key = key(track, SUBJECT);
        assert!(fetcher.fetches(&key));
        runtime.block_on(fetcher.fetch(&key, None, &credentials(), web, Timestamp::UNIX_EPOCH))
    }

    fn fetch(track: &str, replies: Vec<Option<Reply>>) -> Found {
        fetch_from(track, &Canned::new(replies))
    }

    fn status(status: &str) -> Option<Reply> {
        reply(200, json!({ "timestamp": "2026-01-31T09:30:00.125Z", "scanReference": SUBJECT, "status": status }))
    }

    /// The details of a scan with this document and this verification.
    fn data(document: &str, verification: Value) -> Value {
        json!({
            "timestamp": "2026-01-31T09:31:00.001Z",
            "scanReference": SUBJECT,
            "document": { "status": document, "type": "PASSPORT", "issuingCountry": "AUT", "firstName": "ERIKA" },
            "transaction": { "status": "DONE", "source": "WEB_UPLOAD", "merchantScanReference": "order-1" },
            "verification": verification,
        })
    }

    /// What the details of a scan come to; nothing if they are not understood.
    #[track_caller]
    fn check(data: &Value, expected: Option<(Outcome, &[&str])>) {
        match (fetch("netverify-id", vec![status("DONE"), reply(200, data)]), expected) {
            (Found::Verdict(parsed, answer), Some((outcome, reasons))) => {
                assert_eq!((parsed.outcome, parsed.is_final), (outcome, true), "{data}");
                assert_eq!(parsed.reasons, reasons, "{data}");
                assert_eq!((parsed.subject.as_str(), parsed.track.as_str()), (SUBJECT, "netverify-id"));
                assert_eq!(answer, data.to_string());
            }
            (Found::Unavailable(Found::NOT_UNDERSTOOD, None), None) => {}
            (found, expected) => panic!("{data}: {found:?} instead of {expected:?}"),
        }
    }

    /// What the callback says with these fields.
    fn callback(form: &str) -> Parsed {
        let body = format!("callBackType=NETVERIFYID&jumioIdScanReference={SUBJECT}&{form}");
        Jumio::<AllowedNetworks, Secrets>::parse(&Verified::fetched(body)).unwrap()
    }

    #[test]
    fn an_answer_comes_to_what_the_callback_comes_to() {
        let face = r#"{"similarity":"MATCH","validity":"TRUE"}"#;
        let no_face = r#"{"similarity":"NO_MATCH","validity":"false","reason":"LIVENESS_FAILED"}"#;
        let one = r#"{"rejectReasonCode":"100","rejectReasonDescription":"MANIPULATED_DOCUMENT","rejectReasonDetails":{"detailsCode":"1001"}}"#;
        let two = r#"{"rejectReasonCode":200,"rejectReasonDetails":[{"detailsCode":"2001"},{"detailsCode":"2006"}]}"#;
        for document in [
            "APPROVED_VERIFIED",
            "DENIED_FRAUD",
            "DENIED_UNSUPPORTED_ID_TYPE",
            "DENIED_UNSUPPORTED_ID_COUNTRY",
            "ERROR_NOT_READABLE_ID",
            "NO_ID_UPLOADED",
        ] {
            for (form, members) in [
                (String::new(), String::new()),
                (format!("&identityVerification={face}"), format!(r#""identityVerification":{face}"#)),
                (format!("&identityVerification={no_face}"), format!(r#""identityVerification":{no_face}"#)),
                (format!("&rejectReason={one}"), format!(r#""rejectReason":{one}"#)),
                (format!("&rejectReason={two}"), format!(r#""rejectReason":{two}"#)),
                ("&idCheckMRZcode=OK".to_owned(), r#""mrzCheck":"OK""#.to_owned()),
                ("&idCheckMRZcode=N/A".to_owned(), r#""mrzCheck":"NOT_AVAILABLE""#.to_owned()),
                ("&idCheckMRZcode=FAILED".to_owned(), r#""mrzCheck":"FAILED""#.to_owned()),
                ("&idCheckHologram=N/A".to_owned(), r#""idCheckHologram":"N/A""#.to_owned()),
            ] {
                let callback =
                    callback(&format!("verificationStatus={document}&merchantIdScanReference=order-1{form}"));
                let data = data(document, serde_json::from_str(&format!("{{{members}}}")).unwrap());
                let found = fetch("netverify-id", vec![status("DONE"), reply(200, &data)]);
                let Found::Verdict(fetched, _) = found else { panic!("{data}: {found:?}") };
                let said = |parsed: &Parsed| {
                    let Parsed { kind, track, outcome, is_final, reasons, details, .. } = parsed.clone();
                    (kind, track, outcome, is_final, reasons, details)
                };
                assert_eq!(said(&fetched), said(&callback), "{data}");
            }
        }
    }

    #[test]
    fn an_approval_that_anything_contradicts_is_for_a_human() {
        let approved = data("APPROVED_VERIFIED", json!({}));
        check(&approved, Some((Outcome::Approved, &[])));
        for (pointer, name, value, reason) in [
            ("/transaction", "status", "FAILED", "ID_SCAN_NOT_SUCCESSFUL"),
            ("/verification", "idScanStatus", "ERROR", "ID_SCAN_NOT_SUCCESSFUL"),
            ("/document", "idCheckSignature", "N/A", "idCheckSignature"),
            ("", "transactionResult", "FAILED", "FAILED"),
        ] {
            let mut doubtful = approved.clone();
            doubtful.pointer_mut(pointer).unwrap()[name] = json!(value);
            check(&doubtful, Some((Outcome::Review, &[reason])));
        }
        let mut top = approved.clone();
        top["rejectReason"] = json!({ "rejectReasonCode": "100" });
        check(&top, Some((Outcome::Review, &["100"])));
        let failed = fetch("netverify-id", vec![status("FAILED"), reply(200, &approved)]);
        let Found::Verdict(failed, _) = failed else { panic!("{failed:?}") };
        assert_eq!(
            (failed.outcome, failed.reasons.as_slice()),
            (Outcome::Review, ["ID_SCAN_NOT_SUCCESSFUL".to_owned()].as_slice())
        );
    }

    #[test]
    fn a_scan_that_failed_has_the_verdict_of_its_document() {
        let mut missing = data("NO_ID_UPLOADED", json!({}));
        missing["transaction"]["status"] = json!("FAILED");
        let found = fetch("netverify-id", vec![status("FAILED"), reply(200, &missing)]);
        assert!(matches!(&found, Found::Verdict(parsed, _) if parsed.outcome == Outcome::Failed), "{found:?}");
    }

    #[test]
    fn what_is_not_understood_is_never_a_verdict() {
        check(&data("POSTPONED", json!({})), None);
        check(&data("", json!({})), None);
        check(&data("APPROVED_VERIFIED", json!({ "identityVerification": "MATCH" })), None);
        check(&data("APPROVED_VERIFIED", json!({ "rejectReason": [] })), None);
        check(&data("APPROVED_VERIFIED", json!({ "verificationStatus": "DENIED_FRAUD" })), None);
        check(&data("APPROVED_VERIFIED", json!([])), None);
        for (pointer, value) in [
            ("/scanReference", json!("00000000-0000-4000-8000-000000000002")),
            ("/scanReference", json!(null)),
            ("/scanReference", json!([SUBJECT])),
            ("/document", json!([])),
            ("/document", json!(null)),
            ("/transaction/status", json!("POSTPONED")),
            ("/transaction/status", json!(null)),
        ] {
            let mut odd = data("APPROVED_VERIFIED", json!({}));
            *odd.pointer_mut(pointer).unwrap() = value;
            check(&odd, None);
        }
        let approved = data("APPROVED_VERIFIED", json!({})).to_string();
        for odd in [
            String::new(),
            "<html>".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            approved[..approved.len() - 1].to_owned(),
            approved.replacen(
                r#""status":"APPROVED_VERIFIED""#,
                r#""status":"DENIED_FRAUD","status":"APPROVED_VERIFIED""#,
                1,
            ),
            approved.replacen(r#""document":"#, r#""document":{"status":"DENIED_FRAUD"},"document":"#, 1),
            approved.replacen(r#""scanReference":"#, r#""scanReference":"another","scanReference":"#, 1),
        ] {
            assert_ne!(odd, approved);
            let found = fetch("netverify-id", vec![status("DONE"), reply(200, &odd)]);
            assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{odd}: {found:?}");
        }
    }

    #[test]
    fn details_are_asked_for_only_when_a_scan_is_finished() {
        assert!(matches!(fetch("netverify-id", vec![status("PENDING")]), Found::NotYet));
        let mut pending = data("APPROVED_VERIFIED", json!({}));
        pending["transaction"]["status"] = json!("PENDING");
        assert!(matches!(fetch("netverify-id", vec![status("DONE"), reply(200, &pending)]), Found::NotYet));
        for odd in [
            status("done"),
            status(""),
            reply(200, json!({ "scanReference": "another", "status": "DONE" })),
            reply(200, json!({ "status": "DONE" })),
            reply(200, json!({ "scanReference": SUBJECT })),
            reply(200, "garbage"),
        ] {
            let found = fetch("netverify-id", vec![odd]);
            assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{found:?}");
        }
    }

    #[test]
    fn each_result_of_an_authentication_has_its_outcome() {
        let answer = |result: &str, more: Value| {
            let mut answer = json!({
                "transactionReference": SUBJECT, "transactionResult": result, "scanSource": "SDK",
                "transactionDate": "2026-01-31T09:30:00.534", "userReference": "user-1",
                "images": [{ "classifier": "face", "href": "https://netverify.example.com/face" }],
            });
            answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            reply(200, answer)
        };
        for (result, more, expected) in [
            ("PASSED", json!({}), Some((Outcome::Approved, vec![]))),
            ("PASSED", json!({ "rejectReason": { "rejectReasonCode": "100" } }), Some((Outcome::Review, vec!["100"]))),
            ("PASSED", json!({ "verificationStatus": "DENIED_FRAUD" }), Some((Outcome::Review, vec!["DENIED_FRAUD"]))),
            ("FAILED", json!({}), Some((Outcome::Rejected, vec!["FAILED"]))),
            ("INVALID", json!({}), Some((Outcome::Failed, vec!["INVALID"]))),
            ("EXPIRED", json!({}), Some((Outcome::Failed, vec!["EXPIRED"]))),
            ("CREATED", json!({}), None),
            ("STARTED", json!({}), None),
        ] {
            match (fetch("netverify-authentication", vec![answer(result, more)]), expected) {
                (Found::Verdict(parsed, _), Some((outcome, reasons))) => {
                    assert_eq!((parsed.outcome, parsed.is_final), (outcome, true), "{result}");
                    assert_eq!(
                        (parsed.reasons, parsed.track.as_str()),
                        (reasons.into_iter().map(str::to_owned).collect(), "netverify-authentication")
                    );
                }
                (Found::NotYet, None) => {}
                (found, expected) => panic!("{result}: {found:?} instead of {expected:?}"),
            }
        }
        for odd in [
            answer("PASSED", json!({ "transactionReference": "another" })),
            answer("passed", json!({})),
            answer("", json!({})),
            answer("PASSED", json!({ "identityVerification": [] })),
            reply(200, json!({ "transactionResult": "PASSED" })),
        ] {
            let found = fetch("netverify-authentication", vec![odd]);
            assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{found:?}");
        }
    }

    #[test]
    fn a_document_is_told_as_its_callback_tells_it() {
        let data = |transaction: &str, document: &str| {
            reply(
                200,
                json!({
                    "scanReference": SUBJECT, "timestamp": "2026-01-31T09:30:00.100Z",
                    "document": { "status": document, "type": "BS", "extractedData": { "extractedData": "{\"city\":\"VIENNA\"}" } },
                    "transaction": { "status": transaction, "merchantScanReference": "order-1" },
                }),
            )
        };
        for (first, transaction, document, expected) in [
            ("DONE", "DONE", "EXTRACTED", Some((Outcome::None, false))),
            ("DONE", "DONE", "UPLOADED", Some((Outcome::None, false))),
            ("DONE", "DONE", "DISCARDED", Some((Outcome::Failed, true))),
            ("FAILED", "FAILED", "DISCARDED", Some((Outcome::Failed, true))),
            ("DONE", "FAILED", "EXTRACTED", Some((Outcome::Failed, true))),
            ("FAILED", "DONE", "EXTRACTED", None),
            ("DONE", "DONE", "SHREDDED", None),
            ("DONE", "PENDING", "EXTRACTED", None),
        ] {
            let replies = vec![status(first), data(transaction, document)];
            match (fetch("document-verification", replies), expected) {
                (Found::Verdict(parsed, _), Some(expected)) => {
                    assert_eq!((parsed.outcome, parsed.is_final), expected, "{first} {transaction} {document}");
                    assert_eq!(parsed.details["merchant_reference"], "order-1");
                }
                (Found::Unavailable(Found::NOT_UNDERSTOOD, None), None) => {}
                (found, expected) => panic!("{first} {transaction} {document}: {found:?} instead of {expected:?}"),
            }
        }
        // Until it is finished, it is not found. After that, it is gone.
        assert!(matches!(fetch("document-verification", vec![reply(404, "")]), Found::NotYet));
        assert!(matches!(fetch("document-verification", vec![status("DONE"), reply(404, "")]), Found::Unknown));
    }

    #[test]
    fn every_other_answer_is_no_verdict() {
        let wait = Some(SignedDuration::from_secs(7));
        for track in ["netverify-id", "netverify-authentication", "document-verification"] {
            for (code, wish, reply) in [
                (Found::NOT_AUTHORIZED, None, reply(401, "")),
                (Found::NOT_AUTHORIZED, None, reply(403, "")),
                (Found::TOO_MANY_REQUESTS, None, reply(429, "")),
                (Found::TOO_MANY_REQUESTS, wait, Some(Reply { status: 429, retry_after: wait, body: "".into() })),
                ("server_error", None, reply(500, "")),
                ("server_error", wait, Some(Reply { status: 503, retry_after: wait, body: "".into() })),
                ("unexpected_status", None, reply(204, "")),
                ("unexpected_status", None, reply(302, "")),
                ("unexpected_status", None, reply(400, "")),
                (Found::NO_REPLY, None, None),
            ] {
                let replies = [vec![reply.clone()], vec![status("DONE"), reply]];
                for replies in replies.into_iter().take(if track == "netverify-authentication" { 1 } else { 2 }) {
                    let found = fetch(track, replies);
                    assert!(matches!(found, Found::Unavailable(c, w) if c == code && w == wish), "{track}: {found:?}");
                }
            }
        }
        for track in ["netverify-id", "netverify-authentication"] {
            assert!(matches!(fetch(track, vec![reply(404, "")]), Found::Unknown));
        }
        assert!(matches!(fetch("netverify-id", vec![status("DONE"), reply(404, "")]), Found::Unknown));
    }

    #[test]
    fn each_product_is_asked_at_its_host_with_what_jumio_wants() {
        let approved = reply(200, data("APPROVED_VERIFIED", json!({})));
        for (track, replies, urls) in [
            (
                "netverify-id",
                vec![status("DONE"), approved],
                vec![
                    "https://netverify.example.com/api/netverify/v2/scans/REF",
                    "https://netverify.example.com/api/netverify/v2/scans/REF/data",
                ],
            ),
            (
                "netverify-authentication",
                vec![reply(404, "")],
                vec!["https://netverify.example.com/api/netverify/v2/authentications/REF"],
            ),
            (
                "document-verification",
                vec![status("DONE"), reply(404, "")],
                vec![
                    "https://retrieval.netverify.example.com/api/netverify/v2/documents/REF",
                    "https://retrieval.netverify.example.com/api/netverify/v2/documents/REF/data",
                ],
            ),
        ] {
            let web = Canned::new(replies);
            fetch_from(track, &web);
            assert_eq!(web.urls(), urls);
            for question in web.asked.lock().unwrap().iter() {
                let header = |name| &question.headers.iter().find(|(header, _)| *header == name).unwrap().1;
                assert_eq!((question.method, header("accept").as_str()), ("GET", "application/json"));
                assert_eq!(header("authorization"), &basic_authorization("token", "s3cret"));
                assert!(header("user-agent").starts_with("Example Company VerificationCallbacks/v"));
                assert!(
                    !question.url.contains("s3cret") && !format!("{question:?}{:?}", credentials()).contains("s3cret")
                );
            }
        }
    }

    #[test]
    fn the_host_for_documents_follows_from_the_other_one() {
        for (base, documents) in [
            ("https://netverify.com", "https://retrieval.netverify.com"),
            ("https://lon.netverify.com/", "https://retrieval.lon.netverify.com"),
            ("https://core-sgp.jumio.com", "https://retrieval.core-sgp.jumio.com"),
            ("http://127.0.0.1:8080/jumio", "http://127.0.0.1:8080/jumio"),
            ("http://localhost:8080/jumio/", "http://localhost:8080/jumio"),
            ("https://localhost.example.com", "https://retrieval.localhost.example.com"),
        ] {
            assert_eq!(JumioFetcher::new(base).documents_url, documents);
        }
    }

    #[test]
    fn a_subject_that_is_no_reference_is_asked_about_nowhere() {
        let fetcher = JumioFetcher::new("https://netverify.example.com");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for subject in ["../retention", "a/b", "a?b", "a#b", "a%2e", "a b", "ä", ".", "", &"a".repeat(129)] {
            let web = Canned::new(Vec::new());
            let key = key("netverify-id", subject);
            let found = runtime.block_on(fetcher.fetch(&key, None, &credentials(), &web, Timestamp::UNIX_EPOCH));
            assert!(matches!(found, Found::Unavailable(Found::NO_REFERENCE, None)), "{subject}: {found:?}");
        }
        for other in [("unrecognized", "jumio"), ("netverify-id", "signicat")] {
            let key = CourseKey { provider: other.1.to_owned(), ..key(other.0, SUBJECT) };
            assert!(!fetcher.fetches(&key));
        }
    }

    #[test]
    fn credentials_are_whole_and_name_the_company() {
        let read = |text: &str| serde_json::from_str::<JumioCredentials>(text).is_ok();
        assert!(read(r#"{"token":"t","secret":"s:t","company":"Example"}"#));
        for odd in [
            "{}",
            r#"{"token":"t","secret":"s"}"#,
            r#"{"token":"","secret":"s","company":"Example"}"#,
            r#"{"token":"t:u","secret":"s","company":"Example"}"#,
            r#"{"token":"t","secret":"","company":"Example"}"#,
            r#"{"token":"t","secret":"s","company":" "}"#,
            r#"{"token":"t","secret":"s","company":"Example\r\nX: y"}"#,
        ] {
            assert!(!read(odd), "{odd}");
        }
    }
}

//! The callbacks of a VerifyVASP enclave (`POST /callbacks/verifyvasp`): results of travel-rule verifications and of verifications of
//! an account's owner, reports of transactions and of errors, and assessments of risks.
//!
//! Follows VerifyVASP's document "Callback API"; `fetch.rs` follows its "Enclave API reference". The enclave wants 200 and
//! `{"result": true}` within one second, and may call several times at once.

pub mod fetch;
pub mod kinds;
mod payload;

use std::{borrow::Cow, time::Duration};

use kinds::{OwnerVerification, Verification};
use model::{
    AuthError, Credential, Identity, Kind, Outcome, Parsed, Place, Provider, ProviderName, Refusal, Request, Retrieval,
    SecretSource, Settings, Subject, Timestamp, Unrecognized, Verified, shared_secret, wire,
};
use payload::{Alert, Data, RiskAssessment};
use serde_json::value::RawValue;

/// VerifyVASP, with the token that the enclave presents (`VEGA_VERIFICATION_AUTHORIZATION_TOKEN` there).
pub struct VerifyVasp<S> {
    token: S,
    header: Cow<'static, str>,
}

const AUTHORIZATION: &str = "authorization";

/// The type of the callback with the verdict of a verification.
const VERIFICATION_RESULT: &str = "VERIFICATION_RESULT";

impl<S: SecretSource> VerifyVasp<S> {
    /// The provider whose enclave presents one of these tokens in `Authorization`.
    pub fn new(token: S) -> Self {
        Self { token, header: Cow::Borrowed(AUTHORIZATION) }
    }

    /// The same, presented in the header of this name (`VEGA_VERIFICATION_AUTHORIZATION_KEY` there).
    #[must_use]
    pub fn in_header(self, name: String) -> Self {
        Self { header: Cow::Owned(name), ..self }
    }
}

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "VerifyVASP",
    description: "Receives VerifyVASP's callbacks",
    credential: Credential::Presented(Place::Header("authorization", "Bearer ")),
    authenticated_by: "the bearer token",
    secret: "The token that VerifyVASP's enclave presents (VEGA_VERIFICATION_AUTHORIZATION_TOKEN)",
    // The enclave waits for one second, cold start included. More memory is more processor.
    memory_mb: 512,
    timeout: Duration::from_secs(3),
    is_default: true,
    verification: "A verification that was begun at the VerifyVASP enclave",
    tracks: kinds::TRACKS,
    references: &[],
    retrieval: Some(Retrieval {
        parameter: "VerifyvaspEnclaveUrl",
        example: "http://enclave.internal.example.com:3000",
        credentials: None,
    }),
};

/// The provider with one secret.
pub type Receiver<S> = VerifyVasp<S>;

/// The provider that presents one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    VerifyVasp::new(secret)
}

impl<S: SecretSource> Provider for VerifyVasp<S> {
    const NAME: ProviderName = ProviderName::new("verifyvasp");
    const SOURCE: &'static str = "/callbacks/verifyvasp";
    const ACKNOWLEDGEMENT: &'static str = r#"{"result": true}"#;
    const ANSWER_WITHIN: Duration = Duration::from_secs(1);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        let is_authorization = self.header.eq_ignore_ascii_case(AUTHORIZATION);
        let read = if is_authorization { bearer_token } else { token_alone_or_bearer };
        shared_secret(request, &self.header, read, &self.token, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let callback: payload::Callback = wire::from_json(verified.body())?;
        let Some(wire::Object(data)) = callback.data else {
            return Err(Unrecognized::missing("data"));
        };
        let callback_type = callback.callback_type.as_deref();
        let about = About::new(callback_type, &data);
        match callback_type.ok_or_else(|| about.unrecognized(Unrecognized::missing("callbackType")))? {
            VERIFICATION_RESULT => verification_result(about, data),
            "TX_REPORT" if data.tx_hash.is_none() => {
                Err(about.unrecognized(Unrecognized::missing("txHash")).on_track_of(&kinds::TX_REPORT))
            }
            name @ "TX_REPORT" => verification(&kinds::TX_REPORT, name, about, data, Outcome::None),
            name @ "ERROR_REPORT" => verification(&kinds::ERROR_REPORT, name, about, data, Outcome::Failed),
            name @ "OWNER_VERIFICATION_RESULT_REPORT" => {
                let kind = &kinds::OWNER_VERIFICATION_RESULT_REPORT;
                let outcome = about.outcome(kind, &data)?;
                owner_verification(kind, name, about, data, outcome)
            }
            "OWNER_VERIFICATION_TX_REPORT" if data.tx_hash.is_none() => {
                let unrecognized = about.unrecognized(Unrecognized::missing("tx_hash"));
                Err(unrecognized.on_track_of(&kinds::OWNER_VERIFICATION_TX_REPORT))
            }
            name @ "OWNER_VERIFICATION_TX_REPORT" => {
                owner_verification(&kinds::OWNER_VERIFICATION_TX_REPORT, name, about, data, Outcome::None)
            }
            name @ "CHAINALYSIS_KYT_RESULT" => chainalysis_kyt_result(name, about, &data),
            name @ "REFINITIV_WCO_RESULT" => refinitiv_wco_result(name, about, &data),
            _ => Err(about.unrecognized(Unrecognized::new("unknown_type"))),
        }
    }
}

/// What a callback speaks of, under the name that the reference has in this type of callback.
struct About {
    reference: &'static str,
    subject: Option<Subject>,
}

impl About {
    fn new(callback_type: Option<&str>, data: &Data) -> Self {
        let is_owner = callback_type.is_some_and(|name| name.starts_with("OWNER_VERIFICATION_"));
        let (reference, value) =
            if is_owner { ("request_id", &data.request_id) } else { ("verificationUuid", &data.verification_uuid) };
        Self { reference, subject: value.as_deref().and_then(|value| Subject::new(value).ok()) }
    }

    fn unrecognized(&self, reason: Unrecognized) -> Unrecognized {
        reason.about(self.subject.clone())
    }

    fn into_subject(self) -> Result<Subject, Unrecognized> {
        self.subject.ok_or_else(|| Unrecognized::missing(self.reference))
    }

    /// The verdict of a result. One that contradicts itself is not understood, if two verdicts differ, or for a human,
    /// if the reason says why not.
    fn outcome<D>(&self, kind: &Kind<D>, data: &Data) -> Result<Outcome, Unrecognized> {
        let unrecognized = |reason| self.unrecognized(reason).on_track_of(kind);
        if data.contradicts_itself() {
            return Err(unrecognized(Unrecognized::new("contradictory_results")));
        }
        match data.verdict().ok_or_else(|| unrecognized(Unrecognized::missing("result")))? {
            "VERIFIED" if data.reason.as_deref().is_some_and(contradicts_approval) => Ok(Outcome::Review),
            "VERIFIED" => Ok(Outcome::Approved),
            "DENIED" => Ok(Outcome::Rejected),
            "ERROR" => Ok(Outcome::Failed),
            // Only in old documents: the other side could not tell.
            "UNKNOWN" => Ok(Outcome::Review),
            _ => Err(unrecognized(Unrecognized::new("unknown_result"))),
        }
    }
}

/// The other side has answered a verification. The same whether the enclave calls back or was asked.
fn verification_result(about: About, data: Data) -> Result<Parsed, Unrecognized> {
    let kind = &kinds::VERIFICATION_RESULT;
    let outcome = about.outcome(kind, &data)?;
    verification(kind, VERIFICATION_RESULT, about, data, outcome)
}

fn verification(
    kind: &Kind<Verification>,
    callback_type: &str,
    about: About,
    data: Data,
    outcome: Outcome,
) -> Result<Parsed, Unrecognized> {
    let identity = identity(callback_type, &data);
    let subject = about.into_subject()?;
    let reason = data.reason.as_deref().map(reason_code);
    let details = Verification {
        verification_uuid: subject.as_str().to_owned(),
        result: data.verdict().map(wire::code),
        tx_hash: data.tx_hash,
        vout: data.vout,
    };
    // Each result is one that the other side has come to, a doubtful one too.
    let parsed = Parsed::new(kind, subject, identity, outcome, &details).with_final(outcome != Outcome::None);
    Ok(parsed.because(reason))
}

fn owner_verification(
    kind: &Kind<OwnerVerification>,
    callback_type: &str,
    about: About,
    data: Data,
    outcome: Outcome,
) -> Result<Parsed, Unrecognized> {
    let identity = identity(callback_type, &data);
    let subject = about.into_subject()?;
    let reason = data.reason.as_deref().map(reason_code);
    let occurred_at = data.result_reported_at.or(data.ordered_at);
    let details = OwnerVerification {
        request_id: subject.as_str().to_owned(),
        result: data.verdict().map(wire::code),
        tx_hash: data.tx_hash,
    };
    let parsed = Parsed::new(kind, subject, identity, outcome, &details).with_final(outcome != Outcome::None);
    Ok(Parsed { occurred_at, ..parsed.because(reason) })
}

/// What a callback says that is no assessment of a risk.
fn identity(callback_type: &str, data: &Data) -> Identity {
    Identity::of([
        Some(callback_type),
        data.verdict(),
        data.reason.as_deref(),
        data.tx_hash.as_deref(),
        data.vout.as_deref(),
        // For a lack of information, it lists the fields that are missing.
        data.message().as_deref(),
    ])
}

fn chainalysis_kyt_result(callback_type: &str, about: About, data: &Data) -> Result<Parsed, Unrecognized> {
    let kind = &kinds::CHAINALYSIS_KYT_RESULT;
    let (identity, assessment) = about.risk_assessment(kind, callback_type, data)?;
    let unrecognized = |reason| about.unrecognized(reason).on_track_of(kind);
    let wire::Object(kyt) = assessment
        .chainalysis_kyt
        .ok_or_else(|| unrecognized(Unrecognized::missing("riskAssessment.chainalysisKYT")))?;
    let said: Option<u64> = match kyt.alert_count.map(|count| count.parse()) {
        None => None,
        Some(Ok(count)) => Some(count),
        // It must not be taken for no alerts.
        Some(Err(_)) => return Err(unrecognized(Unrecognized::new("unexpected_shape"))),
    };
    let alerts = assessment.chainalysis_kyt_alerts;
    let listed = alerts.as_ref().map(|alerts| alerts.len() as u64);
    let subject = about.into_subject()?;
    let details = kinds::ChainalysisKyt {
        verification_uuid: subject.as_str().to_owned(),
        status: kyt.status.as_deref().map(wire::code),
        // Whichever is more: neither may hide an alert.
        alert_count: said.max(listed),
        highest_alert_level: highest_level(alerts.as_deref().unwrap_or_default()).map(wire::code),
    };
    let parsed = Parsed::new(kind, subject, identity, Outcome::None, &details);
    Ok(Parsed { occurred_at: kyt.assessed_at, ..parsed })
}

/// The highest level of these alerts. One that is not known may be as bad as any but the worst.
fn highest_level(alerts: &[wire::Object<Alert>]) -> Option<&str> {
    let rank = |level: &&str| match *level {
        "LOW" => 0,
        "MEDIUM" => 1,
        "HIGH" => 2,
        "SEVERE" => 4,
        _ => 3,
    };
    alerts.iter().filter_map(|wire::Object(alert)| alert.alert_level.as_deref()).max_by_key(rank)
}

fn refinitiv_wco_result(callback_type: &str, about: About, data: &Data) -> Result<Parsed, Unrecognized> {
    let kind = &kinds::REFINITIV_WCO_RESULT;
    let (identity, assessment) = about.risk_assessment(kind, callback_type, data)?;
    let wire::Object(screening) = assessment.refinitiv_world_check_one.ok_or_else(|| {
        let missing = Unrecognized::missing("riskAssessment.refinitivWorldCheckOne");
        about.unrecognized(missing).on_track_of(kind)
    })?;
    let subject = about.into_subject()?;
    let details = kinds::WorldCheckOne {
        verification_uuid: subject.as_str().to_owned(),
        status: screening.status.as_deref().map(wire::code),
        match_strength: screening.match_strength.as_deref().map(wire::code),
    };
    let parsed = Parsed::new(kind, subject, identity, Outcome::None, &details);
    Ok(Parsed { occurred_at: screening.assessed_at, ..parsed })
}

impl About {
    /// The assessment of a risk, and what a callback with it says.
    fn risk_assessment<D>(
        &self,
        kind: &Kind<D>,
        callback_type: &str,
        data: &Data,
    ) -> Result<(Identity, RiskAssessment), Unrecognized> {
        let unrecognized = |reason| self.unrecognized(reason).on_track_of(kind);
        let raw: &RawValue =
            data.risk_assessment.as_deref().ok_or_else(|| unrecognized(Unrecognized::missing("riskAssessment")))?;
        let assessment = wire::from_json(raw.get().as_bytes()).map_err(unrecognized)?;
        let identity = Identity::of([Some(callback_type), Some(&wire::canonical(raw, |_| false))]);
        Ok((identity, assessment))
    }
}

/// Whether a reason says something else than `OK`, in whatever spelling.
fn contradicts_approval(reason: &str) -> bool {
    !reason.trim().eq_ignore_ascii_case("OK")
}

/// A reason in the spelling of VerifyVASP's table. Some senders write it as a text, such as "Unknown address".
fn reason_code(reason: &str) -> String {
    wire::code(&reason.trim().to_ascii_uppercase().replace([' ', '_'], "-"))
}

/// The token of `Bearer <token>` (RFC 6750 §2.1; the scheme's case does not matter, RFC 9110 §11.1).
fn bearer_token(authorization: &str) -> Result<&str, Refusal> {
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start()),
        _ => Err(Refusal::Malformed),
    }
}

/// The token in a header of its own. The documents show it alone there; `Bearer` before it is accepted too.
fn token_alone_or_bearer(value: &str) -> Result<&str, Refusal> {
    if value.is_empty() { Err(Refusal::Malformed) } else { Ok(bearer_token(value).unwrap_or(value)) }
}

#[cfg(test)]
mod tests {
    use model::{Event, MemoryStore, Policy, Receipt, Rejection, Retention, SecretPair, StoredEvent, receive};

    use super::*;

    const BODY: &str = r#"{"callbackType":"TX_REPORT","data":{"verificationUuid":"example","txHash":"00"}}"#;

    fn receive_all(requests: &[Request]) -> (Vec<Result<Receipt, Rejection>>, usize) {
        receive_in("authorization", requests)
    }

    /// Receives requests where the token is in this header.
    fn receive_in(header: &str, requests: &[Request]) -> (Vec<Result<Receipt, Rejection>>, usize) {
        let token = SecretPair::new("new-token", Some("old-token")).unwrap();
        let provider = VerifyVasp::new(token).in_header(header.to_owned());
        let store = MemoryStore::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let receipts =
            requests.iter().map(|request| runtime.block_on(receive(&provider, &store, request, Timestamp::UNIX_EPOCH)));
        (receipts.collect(), store.events().len())
    }

    /// Checks what a request with this value in the token's header is refused for, or that it is not.
    #[track_caller]
    fn check_header(header: &str, value: Option<&str>, expected: Result<(), Refusal>) {
        let request = Request::new(BODY);
        let request = value.iter().fold(request, |request, value| request.with_header(header, value));
        check_request(header, &request, expected);
    }

    #[track_caller]
    fn check_request(header: &str, request: &Request, expected: Result<(), Refusal>) {
        let (results, stored) = receive_in(header, std::slice::from_ref(request));
        let sent = request.header(header);
        match (&results[0], expected) {
            (Ok(_), Ok(())) => assert_eq!(stored, 1),
            (Err(Rejection::NotAuthentic(refusal)), Err(expected)) => {
                assert_eq!((*refusal, stored), (expected, 0), "{header}: {sent:?}");
            }
            (result, expected) => panic!("{header}: {sent:?}: {result:?} instead of {expected:?}"),
        }
    }

    /// The names of headers that an enclave can be told to use.
    const OTHER_HEADERS: [&str; 3] = ["x-api-key", "X-Api-Key", "enclave_token"];

    #[test]
    fn the_enclave_is_known_by_its_current_or_previous_token() {
        for header in ["authorization", "Authorization"] {
            check_header(header, Some("Bearer new-token"), Ok(()));
            check_header(header, Some("Bearer old-token"), Ok(()));
            check_header(header, Some("bearer new-token"), Ok(()));
            check_header(header, Some("BEARER  new-token "), Ok(()));
        }
    }

    #[test]
    fn in_a_header_of_its_own_the_token_stands_alone_or_after_bearer() {
        for header in OTHER_HEADERS {
            check_header(header, Some("new-token"), Ok(()));
            check_header(header, Some("old-token"), Ok(()));
            check_header(header, Some(" new-token "), Ok(()));
            check_header(header, Some("Bearer new-token"), Ok(()));
            check_header(header, Some("BEARER  old-token "), Ok(()));
        }
    }

    /// What is refused in every header, and why.
    const REFUSED: [(&str, Refusal); 12] = [
        ("", Refusal::Malformed),
        (" ", Refusal::Malformed),
        ("Bearer undefined", Refusal::Wrong),
        ("Bearer null", Refusal::Wrong),
        ("Bearer wrong-token", Refusal::Wrong),
        ("Bearer new-toke", Refusal::Wrong),
        ("Bearer new-token2", Refusal::Wrong),
        ("Bearer NEW-TOKEN", Refusal::Wrong),
        ("Bearer new-token,Bearer new-token", Refusal::Wrong),
        ("Bearer new-token new-token", Refusal::Wrong),
        ("Bearer new-token,new-token", Refusal::Wrong),
        ("Bearer Bearer new-token", Refusal::Wrong),
    ];

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        check_header("authorization", None, Err(Refusal::Missing));
        for (value, refusal) in REFUSED {
            check_header("authorization", Some(value), Err(refusal));
        }
        for other in ["Bearer", "Bearer ", "new-token", "undefined", "Basic new-token", "Bearer\tnew-token"] {
            check_header("authorization", Some(other), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn everything_else_is_refused_for_its_reason_in_a_header_of_its_own() {
        for header in OTHER_HEADERS {
            check_header(header, None, Err(Refusal::Missing));
            for (value, refusal) in REFUSED {
                check_header(header, Some(value), Err(refusal));
            }
            for other in
                ["Bearer", "Bearer ", "undefined", "null", "Basic new-token", "Bearer\tnew-token", "wrong-token"]
            {
                check_header(header, Some(other), Err(Refusal::Wrong));
            }
            for parts in ["new-toke", "new-token2", "NEW-TOKEN", "new-token,new-token", "new-token new-token"] {
                check_header(header, Some(parts), Err(Refusal::Wrong));
            }
        }
    }

    #[test]
    fn only_the_configured_header_counts() {
        let request = |header: &str, value: &str| Request::new(BODY).with_header(header, value);
        check_request("x-api-key", &request("authorization", "Bearer new-token"), Err(Refusal::Missing));
        check_request("authorization", &request("x-api-key", "new-token"), Err(Refusal::Missing));
        let wrong_here = request("authorization", "Bearer new-token").with_header("x-api-key", "wrong-token");
        check_request("x-api-key", &wrong_here, Err(Refusal::Wrong));
        let wrong_there = request("authorization", "Bearer wrong-token").with_header("x-api-key", "new-token");
        check_request("x-api-key", &wrong_there, Ok(()));
    }

    #[test]
    fn a_body_over_the_limit_is_refused_unread_and_one_at_the_limit_is_kept() {
        let limit = VerifyVasp::<SecretPair>::MAX_BODY_BYTES;
        let of_size = |bytes| Request::new(vec![b' '; bytes]).with_header("authorization", "Bearer new-token");
        let (results, stored) = receive_all(&[of_size(limit + 1), of_size(limit)]);
        assert!(matches!(results[0], Err(Rejection::TooLarge { .. })));
        assert!(matches!(&results[1], Ok(receipt) if receipt.event.unrecognized() == Some("not_json")));
        assert_eq!(stored, 1);
    }

    /// The events that these bodies become.
    fn events(bodies: &[&str]) -> Vec<Event> {
        let request = |body: &&str| Request::new((*body).to_owned()).with_header("authorization", "Bearer new-token");
        let (results, _) = receive_all(&bodies.iter().map(request).collect::<Vec<_>>());
        results.into_iter().map(|result| result.unwrap().event).collect()
    }

    #[track_caller]
    fn check_same(one: &str, other: &str, same: bool) {
        let events = events(&[one, other]);
        assert_eq!(events[0].id() == events[1].id(), same, "{one} and {other}");
    }

    #[test]
    fn what_does_not_change_the_news_does_not_change_the_event() {
        check_same(
            r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u","verificationResult":"VERIFIED","ivms101":{}}}"#,
            r#"{"data":{"result":"VERIFIED","message":"","verificationUuid":"u"},"callbackType":"VERIFICATION_RESULT"}"#,
            true,
        );
        check_same(
            r#"{"callbackType":"OWNER_VERIFICATION_RESULT_REPORT","data":{"request_id":"u","reported_result":"DENIED","message":"\u0061"}}"#,
            r#"{"callback_type":"OWNER_VERIFICATION_RESULT_REPORT","data":{"requestId":"u","verificationResult":"DENIED","message":"a","result_reported_at":"2026-01-31T00:00:00Z"}}"#,
            true,
        );
    }

    #[test]
    fn another_verdict_reason_message_transaction_or_output_is_another_event() {
        for callback_type in ["TX_REPORT", "OWNER_VERIFICATION_TX_REPORT"] {
            let body = |data: &str| {
                format!(
                    r#"{{"callbackType":"{callback_type}","data":{{"verificationUuid":"u","request_id":"u","txHash":"a"{data}}}}}"#
                )
            };
            for data in [
                r#","vout":"0""#,
                r#","vout":"1""#,
                r#","reason":"OK""#,
                r#","message":"a""#,
                r#","result":"VERIFIED""#,
            ] {
                check_same(&body(""), &body(data), false);
            }
            check_same(&body(r#","vout":1"#), &body(r#","vout":"1""#), true);
        }
        let result = |callback_type: &str, reference: &str| {
            format!(
                r#"{{"callbackType":"{callback_type}","data":{{"{reference}":"u","verification_result":"VERIFIED"}}}}"#
            )
        };
        check_same(
            &result("VERIFICATION_RESULT", "verification_uuid"),
            &result("OWNER_VERIFICATION_RESULT_REPORT", "request_id"),
            false,
        );
    }

    #[test]
    fn another_assessment_is_another_event_whatever_the_order_of_its_fields() {
        for (callback_type, name) in
            [("CHAINALYSIS_KYT_RESULT", "chainalysisKYT"), ("REFINITIV_WCO_RESULT", "refinitivWorldCheckOne")]
        {
            let body = |data: &str| {
                format!(
                    r#"{{"callbackType":"{callback_type}","data":{{"verificationUuid":"u","riskAssessment":{data}}}}}"#
                )
            };
            let one = body(&format!(r#"{{"{name}":{{"status":"PROCESSED","id":15952089931162059995000}},"a":[1,2]}}"#));
            let same =
                body(&format!(r#"{{ "a":[1, 2],"{name}":{{"id":15952089931162059995000,"status":"PROCESSED"}}}}"#));
            check_same(&one, &same, true);
            check_same(&one, &one.replace("5000}", "5001}"), false);
            check_same(&one, &one.replace("PROCESSED", "FAILED"), false);
            check_same(&one, &one.replace("[1,2]", "[1]"), false);
        }
    }

    /// Checks what a callback of this type with these data comes to.
    #[track_caller]
    fn check(callback_type: &str, data: &str, outcome: Outcome, reasons: &[&str]) -> StoredEvent {
        let body = format!(r#"{{"callbackType":"{callback_type}","data":{{{data}}}}}"#);
        let event = StoredEvent::new(&events(&[&body]).remove(0), Retention::default());
        assert_eq!((event.unrecognized.as_deref(), event.outcome), (None, outcome), "{body}");
        assert_eq!(event.reasons, reasons, "{body}");
        assert_eq!(event.is_final, outcome != Outcome::None, "{body}");
        event
    }

    /// The two types of callbacks with a verdict, and the beginning of their data.
    const RESULTS: [(&str, &str); 2] = [
        ("VERIFICATION_RESULT", r#""verificationUuid":"u""#),
        ("OWNER_VERIFICATION_RESULT_REPORT", r#""request_id":"u""#),
    ];

    #[test]
    fn each_verdict_has_its_outcome() {
        for (callback_type, data) in RESULTS {
            for name in ["verificationResult", "verification_result", "result", "reportedResult", "reported_result"] {
                let data = |verdict: &str| format!(r#"{data},"{name}":"{verdict}","reason":"MISMATCH-TICKER""#);
                let reasons = ["MISMATCH-TICKER"];
                check(callback_type, &data("DENIED"), Outcome::Rejected, &reasons);
                check(callback_type, &data("ERROR"), Outcome::Failed, &reasons);
                check(callback_type, &data("UNKNOWN"), Outcome::Review, &reasons);
                check(callback_type, &data("VERIFIED"), Outcome::Review, &reasons);
                check(callback_type, &data("VERIFIED").replace("MISMATCH-TICKER", "OK"), Outcome::Approved, &["OK"]);
            }
        }
    }

    #[test]
    fn an_approval_with_a_reason_is_for_a_human() {
        for (callback_type, data) in RESULTS {
            let data = |reason: &str| format!(r#"{data},"verification_result":"VERIFIED"{reason}"#);
            for none in ["", r#","reason":null"#, r#","reason":"""#] {
                check(callback_type, &data(none), Outcome::Approved, &[]);
            }
            for (ok, outcome) in [("OK", Outcome::Approved), (" ok ", Outcome::Approved), ("OKAY", Outcome::Review)] {
                let reason = ok.trim().to_ascii_uppercase();
                check(callback_type, &data(&format!(r#","reason":"{ok}""#)), outcome, &[&reason]);
            }
            for reason in ["BLACKLISTED", "UNVERIFIED-KYC", "MISMATCHED-NAME", "REQUEST-TIMEOUT", "NOT-OK"] {
                check(callback_type, &data(&format!(r#","reason":"{reason}""#)), Outcome::Review, &[reason]);
            }
            check(callback_type, &data(r#","reason":"Unknown address""#), Outcome::Review, &["UNKNOWN-ADDRESS"]);
            check(callback_type, &data(r#","reason":" ""#), Outcome::Review, &["OTHER"]);
            check(callback_type, &data(r#","reason":false"#), Outcome::Review, &["FALSE"]);
        }
    }

    #[test]
    fn a_callback_about_an_owner_has_its_own_reference_time_and_track() {
        let data = r#""request_id":"u","verificationUuid":"v","verification_result":"VERIFIED","result_reported_at":"1970-01-01T09:00:01+09:00""#;
        let event = check("OWNER_VERIFICATION_RESULT_REPORT", data, Outcome::Approved, &[]);
        assert_eq!((event.subject.as_str(), event.track.as_str()), ("u", "owner-verification"));
        assert_eq!((event.policy, event.occurred_at.map(Timestamp::as_second)), (Policy::Corrects, Some(1)));
        assert_eq!(serde_json::to_string(&event.details).unwrap(), r#"{"request_id":"u","result":"VERIFIED"}"#);

        let data = r#""request_id":15952089931162059995000,"tx_hash":"0x0a","ordered_at":"1970-01-01T00:00:02.5Z""#;
        let event = check("OWNER_VERIFICATION_TX_REPORT", data, Outcome::None, &[]);
        assert_eq!(event.subject, "15952089931162059995000");
        assert_eq!(event.track, "owner-verification-tx-report");
        assert_eq!(event.occurred_at.map(Timestamp::as_second), Some(2));
        let details = r#"{"request_id":"15952089931162059995000","tx_hash":"0x0a"}"#;
        assert_eq!(serde_json::to_string(&event.details).unwrap(), details);
    }

    #[track_caller]
    fn check_alerts(alert_count: &str, alerts: &str, details: &str) {
        let kyt = format!(r#"{{"status":"PROCESSED","alertCount":{alert_count},"assessedAt":"1970-01-01T00:00:01Z"}}"#);
        let data = format!(
            r#""verificationUuid":"u","riskAssessment":{{"chainalysisKYT":{kyt},"chainalysisKYTAlerts":{alerts}}}"#
        );
        let event = check("CHAINALYSIS_KYT_RESULT", &data, Outcome::None, &[]);
        assert_eq!((event.subject.as_str(), event.track.as_str()), ("u", "chainalysis-kyt-result"));
        assert_eq!(event.occurred_at.map(Timestamp::as_second), Some(1));
        let expected = format!(r#"{{{details},"status":"PROCESSED","verification_uuid":"u"}}"#);
        let details = serde_json::to_value(&event.details).unwrap();
        assert_eq!(details, serde_json::from_str::<serde_json::Value>(&expected).unwrap());
    }

    #[test]
    fn an_assessment_tells_how_many_alerts_there_are_and_the_worst() {
        let alerts = |levels: &[&str]| {
            let alerts: Vec<String> = levels.iter().map(|level| format!(r#"{{"alertLevel":"{level}"}}"#)).collect();
            format!("[{}]", alerts.join(","))
        };
        check_alerts("0", "[]", r#""alert_count":0"#);
        check_alerts("null", "[]", r#""alert_count":0"#);
        check_alerts("0", "null", r#""alert_count":0"#);
        check_alerts("\"3\"", "[]", r#""alert_count":3"#);
        check_alerts("null", "[{}]", r#""alert_count":1"#);
        let nothing_said = r#""verificationUuid":"u","riskAssessment":{"chainalysisKYT":{}}"#;
        let event = check("CHAINALYSIS_KYT_RESULT", nothing_said, Outcome::None, &[]);
        assert_eq!(serde_json::to_string(&event.details).unwrap(), r#"{"verification_uuid":"u"}"#);
        check_alerts("0", &alerts(&["LOW"]), r#""alert_count":1,"highest_alert_level":"LOW""#);
        for (levels, highest) in [
            (["LOW", "MEDIUM", "LOW"], "MEDIUM"),
            (["HIGH", "MEDIUM", "LOW"], "HIGH"),
            (["HIGH", "CRITICAL", "LOW"], "CRITICAL"),
            (["CRITICAL", "HIGH", "SEVERE"], "SEVERE"),
            (["A level, see below", "HIGH", "HIGH"], "OTHER"),
        ] {
            let details = format!(r#""alert_count":3,"highest_alert_level":"{highest}""#);
            check_alerts("3", &alerts(&levels), &details);
        }
    }

    #[test]
    fn a_screening_tells_how_well_the_match_fits_and_nothing_of_the_person() {
        let summary = r#""aggregatedSummaryResult":"{\"name\":\"Mr. Example\"""#;
        let data = format!(
            r#""verification_uuid":"u","risk_assessment":{{"refinitiv_world_check_one":{{"status":"PROCESSED","match_strength":"EXACT",{summary}}}}}"#
        );
        let event = check("REFINITIV_WCO_RESULT", &data, Outcome::None, &[]);
        assert_eq!((event.subject.as_str(), event.track.as_str()), ("u", "refinitiv-wco-result"));
        let details = r#"{"match_strength":"EXACT","status":"PROCESSED","verification_uuid":"u"}"#;
        assert_eq!(serde_json::to_string(&event.details).unwrap(), details);
    }

    /// Checks why a body is not understood, and that its verification is known all the same where it is named.
    #[track_caller]
    fn check_unrecognized(body: &str, reason: &str) {
        let event = events(&[body]).remove(0);
        assert_eq!(event.unrecognized(), Some(reason), "{body}");
        assert_eq!(event.subject().as_str() == "u", body.contains(r#""u""#), "{body}");
    }

    #[test]
    fn what_is_not_understood_is_kept_with_its_reason() {
        check_unrecognized("", "not_json");
        check_unrecognized("null", "unexpected_shape");
        check_unrecognized("[]", "unexpected_shape");
        check_unrecognized("{}", "missing_field:data");
        check_unrecognized(
            r#"{"callbackType":"TX_REPORT","data":["u"]}"#.replace("\"u\"", "1").as_str(),
            "unexpected_shape",
        );
        check_unrecognized(r#"{"data":{"verificationUuid":"u"}}"#, "missing_field:callbackType");
        check_unrecognized(r#"{"callbackType":"TX_REPORT","data":{"verificationUuid":"u"}}"#, "missing_field:txHash");
        check_unrecognized(r#"{"callbackType":"TX_REPORT","data":{"txHash":"a"}}"#, "missing_field:verificationUuid");
        check_unrecognized(
            r#"{"callbackType":"TX_REPORT","data":{"verificationUuid":"","txHash":"a"}}"#,
            "missing_field:verificationUuid",
        );
        check_unrecognized(r#"{"callbackType":"OTHER","data":{"verification_uuid":"u"}}"#, "unknown_type");
        check_unrecognized(r#"{"callbackType":"OWNER_VERIFICATION_OTHER","data":{"request_id":"u"}}"#, "unknown_type");
    }

    #[test]
    fn a_result_that_is_not_understood_is_kept_with_its_reason() {
        for (callback_type, data) in RESULTS {
            let check = |fields: &str, reason: &str| {
                let body = format!(r#"{{"callbackType":"{callback_type}","data":{{{data}{fields}}}}}"#);
                check_unrecognized(&body, reason);
            };
            check("", "missing_field:result");
            check(r#","result":"verified""#, "unknown_result");
            check(r#","verificationResult":"VERIFIED","result":"DENIED""#, "contradictory_results");
            check(r#","result":"VERIFIED","reported_result":"ERROR""#, "contradictory_results");
            check(r#","verification_result":"VERIFIED","reported_result":"DENIED""#, "contradictory_results");
        }
        for twice in [
            r#""verification_result":"VERIFIED","verificationResult":"VERIFIED""#,
            r#""verification_result":"VERIFIED","verificationResult":"DENIED""#,
            r#""result":"VERIFIED","reason":["BLACKLISTED"]"#,
        ] {
            let body = format!(r#"{{"callbackType":"VERIFICATION_RESULT","data":{{{twice}}}}}"#);
            check_unrecognized(&body, "unexpected_shape");
        }
        let of_another = r#"{"callbackType":"OWNER_VERIFICATION_RESULT_REPORT","data":{"verificationUuid":"v","result":"VERIFIED"}}"#;
        check_unrecognized(of_another, "missing_field:request_id");
        check_unrecognized(
            r#"{"callbackType":"OWNER_VERIFICATION_TX_REPORT","data":{"request_id":"u"}}"#,
            "missing_field:tx_hash",
        );
    }

    #[test]
    fn an_assessment_that_is_not_understood_is_kept_with_its_reason() {
        for (callback_type, name, other) in [
            ("CHAINALYSIS_KYT_RESULT", "chainalysisKYT", "refinitivWorldCheckOne"),
            ("REFINITIV_WCO_RESULT", "refinitivWorldCheckOne", "chainalysisKYT"),
        ] {
            let check = |fields: &str, reason: &str| {
                let data = format!(r#"{{"verificationUuid":"u"{fields}}}"#);
                check_unrecognized(&format!(r#"{{"callbackType":"{callback_type}","data":{data}}}"#), reason);
            };
            let missing = format!("missing_field:riskAssessment.{name}");
            check("", "missing_field:riskAssessment");
            check(r#","riskAssessment":null"#, "missing_field:riskAssessment");
            check(r#","riskAssessment":{}"#, &missing);
            check(&format!(r#","riskAssessment":{{"{other}":{{}}}}"#), &missing);
            check(&format!(r#","riskAssessment":{{"{name}":null}}"#), &missing);
            check(&format!(r#","riskAssessment":{{"{name}":"none"}}"#), "unexpected_shape");
            check(r#","riskAssessment":[1]"#, "unexpected_shape");
            check(r#","riskAssessment":{"chainalysisKYTAlerts":[1]}"#, "unexpected_shape");
            let body = format!(r#"{{"callbackType":"{callback_type}","data":{{"riskAssessment":{{"{name}":{{}}}}}}}}"#);
            check_unrecognized(&body, "missing_field:verificationUuid");
        }
        for count in [r#""many""#, "-1", "1.5", "{}"] {
            let kyt = format!(r#"{{"chainalysisKYT":{{"alertCount":{count}}}}}"#);
            let data = format!(r#"{{"verificationUuid":"u","riskAssessment":{kyt}}}"#);
            let body = format!(r#"{{"callbackType":"CHAINALYSIS_KYT_RESULT","data":{data}}}"#);
            check_unrecognized(&body, "unexpected_shape");
        }
    }
}

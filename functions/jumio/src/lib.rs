//! The callbacks of Jumio Netverify (`POST /callbacks/jumio/{secret}`): checks of identity documents,
//! of returning persons, and of other documents.
//!
//! Follows Jumio's document "Callback". Callbacks are forms and not signed. They are authenticated by
//! their source address and by a secret in the path. Jumio publishes neither how long it waits for an
//! answer nor whether it retries.

pub mod fetch;
pub mod kinds;
pub mod payload;

use std::{borrow::Cow, net::IpAddr, time::Duration};

use model::{
    AuthError, Credential, Identity, Networks, Outcome, Parsed, Place, Provider, ProviderName, Request, Retrieval,
    SecretSource, Settings, Subject, Timestamp, Unrecognized, Verified, source_address,
    wire::{self, Members},
};
use payload::{
    Authentication, DocumentStatus, DocumentVerification, IdentityVerification, Netverify, RejectReason, Similarity,
    TransactionResult, TransactionStatus, ValidityReason, VerificationStatus,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// Where Jumio's callbacks come from: its US, EU and SGP data centers, as its document lists them.
pub const ADDRESSES: [IpAddr; 15] = [
    address(34, 202, 241, 227),
    address(34, 226, 103, 119),
    address(34, 226, 254, 127),
    address(52, 52, 51, 178),
    address(52, 53, 95, 123),
    address(54, 67, 101, 173),
    address(34, 253, 41, 236),
    address(35, 157, 27, 193),
    address(52, 48, 0, 25),
    address(52, 57, 194, 92),
    address(52, 58, 113, 86),
    address(52, 209, 180, 134),
    address(3, 0, 109, 121),
    address(52, 76, 184, 73),
    address(52, 77, 102, 92),
];

const fn address(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
}

/// The networks of [`ADDRESSES`] alone, which need no look-up.
#[derive(Debug, Clone, Copy)]
pub struct Documented;

impl Networks for Documented {
    async fn contain(&self, address: IpAddr, _now: Timestamp) -> bool {
        ADDRESSES.contains(&address)
    }
}

/// The host names whose addresses are the current ones.
pub const HOSTS: [&str; 3] = ["callback.jumio.com", "callback.lon.jumio.com", "callback.core-sgp.jumio.com"];

/// Jumio, with the networks it calls from and the secret in the path that it was given.
pub struct Jumio<N, S> {
    networks: N,
    path_secret: S,
}

impl<N: Networks, S: SecretSource> Jumio<N, S> {
    /// The provider that calls from these networks, and calls an address with one of these secrets in it.
    pub fn new(networks: N, path_secret: S) -> Self {
        Self { networks, path_secret }
    }
}

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "Jumio Netverify",
    description: "Receives Jumio's callbacks",
    credential: Credential::Presented(Place::Path),
    authenticated_by: "the source address, and the secret in the path",
    secret: "The secret part of the address that Jumio calls",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: true,
    verification: "A scan, an authentication or a document that was begun at Jumio",
    tracks: kinds::TRACKS,
    references: &[],
    retrieval: Some(Retrieval {
        parameter: "JumioRetrievalUrl",
        example: "https://netverify.com, https://lon.netverify.com or https://core-sgp.jumio.com, by data center",
        credentials: Some("The token, the secret and the company"),
    }),
};

/// The provider with one secret.
pub type Receiver<S> = Jumio<Documented, S>;

/// The provider that presents one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    Jumio::new(Documented, secret)
}

impl<N: Networks, S: SecretSource> Provider for Jumio<N, S> {
    const NAME: ProviderName = ProviderName::new("jumio");
    const SOURCE: &'static str = "/callbacks/jumio";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    // Not published; what other providers give.
    const ANSWER_WITHIN: Duration = Duration::from_secs(5);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        source_address(request, "secret", &self.networks, &self.path_secret, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        /// By what the three callbacks are told apart.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marks {
            #[serde(default, deserialize_with = "wire::text")]
            call_back_type: Option<String>,
            scan_reference: Option<Value>,
            transaction: Option<Value>,
        }

        let form = wire::form_as_json(verified.body());
        let mut fields: Members<'_> =
            serde_json::from_slice(&form).map_err(|_| Unrecognized::new("unexpected_shape"))?;
        // When the callback was created is another time at each attempt, and no news.
        fields.0.retain(|(name, _)| !["callbackDate", "timestamp"].contains(&name.as_ref()));
        let marks: Marks = wire::from_json(&form)?;
        match marks.call_back_type.as_deref() {
            Some("NETVERIFYID") => netverify(wire::from_json(&form)?, &fields),
            Some("NETVERIFY_AUTHENTICATION") => authentication(&wire::from_json(&form)?, &fields),
            Some(_) => Err(Unrecognized::new("unknown_type")),
            None if marks.scan_reference.is_some() && marks.transaction.is_some() => {
                document_verification(wire::from_json(&form)?, &fields)
            }
            None => Err(Unrecognized::missing("callBackType")),
        }
    }
}

/// What a callback with these fields says: one text, whatever the order of keys, of members within a value, and of
/// images.
fn news(fields: &Members<'_>) -> String {
    fields.canonical(|name| name.to_ascii_lowercase().contains("image"))
}

/// The subject of this reference, under the name it has in the callback.
fn subject(name: &str, reference: Option<&str>) -> Result<Subject, Unrecognized> {
    Subject::new(reference.unwrap_or_default()).map_err(|_| Unrecognized::missing(name))
}

fn netverify(callback: Netverify, fields: &Members<'_>) -> Result<Parsed, Unrecognized> {
    let subject = subject("jumioIdScanReference", callback.jumio_id_scan_reference.as_deref())?;
    let unrecognized = |reason: Unrecognized| reason.about(Some(subject.clone())).on_track_of(&kinds::NETVERIFY_ID);
    let status =
        callback.verification_status.ok_or_else(|| unrecognized(Unrecognized::missing("verificationStatus")))?;
    let reject_reason = callback.reject_reason.as_ref();

    let (outcome, mut reasons) = match &status {
        VerificationStatus::ApprovedVerified => {
            approval(doubts(fields, callback.identity_verification.as_ref(), reject_reason))
        }
        VerificationStatus::DeniedFraud => (Outcome::Rejected, reject_codes(reject_reason)),
        VerificationStatus::DeniedUnsupportedIdType
        | VerificationStatus::DeniedUnsupportedIdCountry
        | VerificationStatus::ErrorNotReadableId
        | VerificationStatus::NoIdUploaded => (Outcome::Failed, reject_codes(reject_reason)),
        VerificationStatus::Other(_) => return Err(unrecognized(Unrecognized::new("unknown_status"))),
    };
    if reasons.is_empty() && outcome != Outcome::Approved {
        reasons.push(status.as_str().to_owned());
    }

    let description = callback.reject_reason.and_then(|reason| reason.reject_reason_description);
    let details = kinds::NetverifyId {
        verification_status: status.as_str().to_owned(),
        reject_reason: description.map(|description| wire::code(description.as_str())),
        merchant_reference: callback.merchant_id_scan_reference,
    };
    let identity = Identity::of([Some(status.as_str()), Some(&news(fields))]);
    // Jumio calls when it has finished: a doubtful approval is no less final than another.
    let parsed = Parsed::new(&kinds::NETVERIFY_ID, subject, identity, outcome, &details).with_final(true);
    let parsed = parsed.because(reasons);
    Ok(Parsed { occurred_at: callback.callback_date, ..parsed })
}

/// An approval, unless there are doubts about it.
fn approval(doubts: Vec<String>) -> (Outcome, Vec<String>) {
    (if doubts.is_empty() { Outcome::Approved } else { Outcome::Review }, doubts)
}

/// What keeps a callback that approves from being an approval.
fn doubts(
    fields: &Members<'_>,
    verification: Option<&IdentityVerification>,
    reject_reason: Option<&RejectReason>,
) -> Vec<String> {
    // The document is genuine. Is it in its holder's hands?
    let mut doubts = verification.map(doubts_about_holder).unwrap_or_default();
    doubts.extend(contradictions(fields));
    doubts.extend(reject_reason.map(|reason| reject_reasons(reason, fields)).unwrap_or_default());
    doubts
}

fn doubts_about_holder(verification: &IdentityVerification) -> Vec<String> {
    let mut doubts = Vec::new();
    match &verification.similarity {
        Some(Similarity::Match) => {}
        Some(similarity) => doubts.push(wire::code(similarity.as_str())),
        None => doubts.push("SIMILARITY_MISSING".to_owned()),
    }
    // Only a person who is not valid has a reason, by Jumio's document.
    let reason = verification.reason.as_ref().map(ValidityReason::as_str).filter(|reason| !reason.is_empty());
    match verification.validity {
        Some(true) => {}
        Some(false) if reason.is_some() => {}
        Some(false) => doubts.push("INVALID".to_owned()),
        None => doubts.push("VALIDITY_MISSING".to_owned()),
    }
    doubts.extend(reason.map(wire::code));
    match verification.handwritten_note_matches.as_deref() {
        None | Some("") => {}
        Some(matches) if matches.eq_ignore_ascii_case("true") => {}
        Some(_) => doubts.push("HANDWRITTEN_NOTE_DOES_NOT_MATCH".to_owned()),
    }
    doubts
}

/// What the other fields of a form say against an approval. They are compared as they came: what is there in another
/// form than documented is a contradiction too.
fn contradictions(fields: &Members<'_>) -> Vec<String> {
    let contradiction = |(name, value): &(Cow<'_, str>, &RawValue)| match (name.as_ref(), value.get()) {
        // "OK if verificationStatus = APPROVED_VERIFIED". Only the MRZ need not be checked.
        ("idCheckMRZcode", r#""N/A""#) => None,
        (check, value) if check.starts_with("idCheck") => (value != r#""OK""#).then(|| wire::code(check)),
        // The same verdict in short.
        ("idScanStatus", value) => (value != r#""SUCCESS""#).then(|| "ID_SCAN_NOT_SUCCESSFUL".to_owned()),
        // The verdict of the other callback.
        ("verificationStatus", r#""APPROVED_VERIFIED""#) | ("transactionResult", r#""PASSED""#) => None,
        ("verificationStatus" | "transactionResult", value) => {
            Some(wire::code(&serde_json::from_str::<String>(value).unwrap_or_default()))
        }
        _ => None,
    };
    fields.0.iter().filter_map(contradiction).collect()
}

/// Why a document was refused, in Jumio's codes, or else in its word. Empty only if the reason says nothing.
fn reject_reasons(reason: &RejectReason, fields: &Members<'_>) -> Vec<String> {
    let codes = reject_codes(Some(reason));
    let raw = fields.0.iter().find(|(name, _)| name == "rejectReason").map(|(_, value)| value.get());
    let says_something = raw.is_some_and(|raw| serde_json::from_str(raw).map_or(true, |value| says_something(&value)));
    if !codes.is_empty() || !says_something {
        return codes;
    }
    let description = reason.reject_reason_description.as_ref().map(|description| wire::code(description.as_str()));
    vec![description.unwrap_or_else(|| "REJECT_REASON".to_owned())]
}

/// Whether there is anything but nulls and empty values in a value.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(says_something),
        Value::Object(members) => members.values().any(says_something),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn reject_codes(reason: Option<&RejectReason>) -> Vec<String> {
    let details = reason.into_iter().flat_map(|reason| &reason.reject_reason_details);
    let codes = reason.map(|reason| &reason.reject_reason_code).into_iter();
    codes.chain(details.map(|detail| &detail.details_code)).flatten().map(|code| wire::code(code)).collect()
}

fn authentication(callback: &Authentication, fields: &Members<'_>) -> Result<Parsed, Unrecognized> {
    let subject = subject("transactionReference", callback.transaction_reference.as_deref())?;
    let unrecognized =
        |reason: Unrecognized| reason.about(Some(subject.clone())).on_track_of(&kinds::NETVERIFY_AUTHENTICATION);
    let result =
        callback.transaction_result.as_ref().ok_or_else(|| unrecognized(Unrecognized::missing("transactionResult")))?;
    let in_its_word = || vec![result.as_str().to_owned()];
    let (outcome, reasons) = match result {
        // None of the fields in Jumio's document can contradict it. Those of its other callback could.
        TransactionResult::Passed => {
            approval(doubts(fields, callback.identity_verification.as_ref(), callback.reject_reason.as_ref()))
        }
        TransactionResult::Failed => (Outcome::Rejected, in_its_word()),
        TransactionResult::Invalid | TransactionResult::Expired => (Outcome::Failed, in_its_word()),
        TransactionResult::Other(_) => return Err(unrecognized(Unrecognized::new("unknown_result"))),
    };
    let details = kinds::NetverifyAuthentication {
        transaction_result: result.as_str().to_owned(),
        enrollment_reference: callback.enrollment_transaction_reference.clone(),
    };
    let identity = Identity::of([Some(result.as_str()), Some(&news(fields))]);
    let parsed = Parsed::new(&kinds::NETVERIFY_AUTHENTICATION, subject, identity, outcome, &details).with_final(true);
    let parsed = parsed.because(reasons);
    Ok(Parsed { occurred_at: callback.callback_date, ..parsed })
}

/// No verdict: a document came in, and was read or not. One that did not come, or is not of a kind that can be read, has failed.
fn document_verification(callback: DocumentVerification, fields: &Members<'_>) -> Result<Parsed, Unrecognized> {
    let subject = subject("scanReference", callback.scan_reference.as_deref())?;
    let unrecognized =
        |reason: Unrecognized| reason.about(Some(subject.clone())).on_track_of(&kinds::DOCUMENT_VERIFICATION);
    let transaction = callback.transaction.ok_or_else(|| unrecognized(Unrecognized::missing("transaction")))?;
    let transaction_status =
        transaction.status.ok_or_else(|| unrecognized(Unrecognized::missing("transaction.status")))?;
    let document = callback.document;
    let document_status = document.as_ref().and_then(|document| document.status.as_ref());

    let (outcome, reason) = match (&transaction_status, document_status) {
        (TransactionStatus::Failed, _) => (Outcome::Failed, Some(transaction_status.as_str())),
        (TransactionStatus::Done, Some(DocumentStatus::Uploaded | DocumentStatus::Extracted)) => (Outcome::None, None),
        (TransactionStatus::Done, Some(status @ DocumentStatus::Discarded)) => (Outcome::Failed, Some(status.as_str())),
        (TransactionStatus::Done, None) => return Err(unrecognized(Unrecognized::missing("document.status"))),
        (TransactionStatus::Done, Some(DocumentStatus::Other(_))) | (TransactionStatus::Other(_), _) => {
            return Err(unrecognized(Unrecognized::new("unknown_status")));
        }
    };

    let identity = Identity::of([
        Some(transaction_status.as_str()),
        document_status.map(DocumentStatus::as_str),
        Some(&news(fields)),
    ]);
    let document_type = document.as_ref().and_then(|document| document.document_type.as_ref());
    let details = kinds::DocumentVerification {
        transaction_status: transaction_status.as_str().to_owned(),
        document_status: document_status.map(|status| status.as_str().to_owned()),
        document_type: document_type.map(|document_type| wire::code(document_type.as_str())),
        merchant_reference: transaction.merchant_scan_reference,
    };
    let parsed = Parsed::new(&kinds::DOCUMENT_VERIFICATION, subject, identity, outcome, &details)
        .because(reason.map(str::to_owned));
    Ok(Parsed { occurred_at: callback.timestamp, ..parsed })
}

#[cfg(test)]
mod tests {
    use model::{MemoryStore, Refusal, Rejection, Retention, SecretPair, StoredEvent, receive};
    use payload::{Address, AddressFormat};

    use super::*;

    /// The addresses in Jumio's document.
    struct Documented;

    impl Networks for Documented {
        async fn contain(&self, address: IpAddr, _now: Timestamp) -> bool {
            ADDRESSES.contains(&address)
        }
    }

    fn receive_one(request: &Request) -> Result<StoredEvent, Rejection> {
        let provider = Jumio::new(Documented, SecretPair::new("new-secret", Some("old-secret")).unwrap());
        let store = MemoryStore::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let received = runtime.block_on(receive(&provider, &store, request, Timestamp::UNIX_EPOCH));
        assert_eq!(store.events().len(), usize::from(received.is_ok()));
        received.map(|receipt| StoredEvent::new(&receipt.event, Retention::default()))
    }

    fn request(body: &str, secret: Option<&str>, source: &str) -> Request {
        let mut request = Request::new(body.to_owned());
        request.path_parameters.extend(secret.map(|secret| ("secret".to_owned(), secret.to_owned())));
        request.source_address = source.parse().ok();
        request
    }

    #[track_caller]
    fn check_refused(request: &Request, expected: Refusal) {
        match receive_one(request) {
            Err(Rejection::NotAuthentic(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn jumio_is_known_by_its_address_and_the_secret_in_ours() {
        for secret in ["new-secret", "old-secret"] {
            for source in ["34.202.241.227", "52.77.102.92", "::ffff:52.209.180.134"] {
                assert!(receive_one(&request("", Some(secret), source)).is_ok());
            }
        }
    }

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        check_refused(&request("", Some("new-secret"), "192.0.2.1"), Refusal::SourceAddress);
        check_refused(&request("", Some("new-secret"), "34.202.241.228"), Refusal::SourceAddress);
        check_refused(&request("", Some("new-secret"), "not an address"), Refusal::SourceAddress);
        check_refused(&request("", Some("wrong"), "192.0.2.1"), Refusal::SourceAddress);
        check_refused(&request("", Some("wrong"), "34.202.241.227"), Refusal::Path);
        check_refused(&request("", Some(""), "34.202.241.227"), Refusal::Path);
        check_refused(&request("", Some("undefined"), "34.202.241.227"), Refusal::Path);
        check_refused(&request("", None, "34.202.241.227"), Refusal::Path);
    }

    #[test]
    fn a_forwarded_header_never_counts() {
        let mut request = request("", Some("new-secret"), "192.0.2.1");
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP"] {
            request = request.with_header(header, "34.202.241.227");
        }
        check_refused(&request, Refusal::SourceAddress);
    }

    fn event(body: &str) -> StoredEvent {
        receive_one(&request(body, Some("new-secret"), "34.202.241.227")).unwrap()
    }

    /// Checks what a Netverify callback with these fields comes to.
    #[track_caller]
    fn check(fields: &str, outcome: Outcome, reasons: &[&str]) {
        let event = event(&format!("callBackType=NETVERIFYID&jumioIdScanReference=r&{fields}"));
        assert_eq!(
            (event.unrecognized.as_deref(), event.outcome, event.reasons),
            (None, outcome, reasons.iter().map(|&reason| reason.to_owned()).collect()),
            "{fields}"
        );
    }

    #[test]
    fn a_genuine_document_is_an_approval_only_in_its_holders_hands() {
        let approved =
            |verification: &str| format!("verificationStatus=APPROVED_VERIFIED&identityVerification={verification}");
        check("verificationStatus=APPROVED_VERIFIED", Outcome::Approved, &[]);
        check("verificationStatus=APPROVED_VERIFIED&idScanStatus=SUCCESS", Outcome::Approved, &[]);
        check(&approved(""), Outcome::Approved, &[]);
        check(&approved("null"), Outcome::Approved, &[]);
    }

    /// Checks what an approval with these fields comes to, and that a refusal with them stays one.
    #[track_caller]
    fn check_contradiction(fields: &str, reasons: &[&str]) {
        let outcome = if reasons.is_empty() { Outcome::Approved } else { Outcome::Review };
        check(&format!("verificationStatus=APPROVED_VERIFIED&{fields}"), outcome, reasons);
        let denied =
            event(&format!("callBackType=NETVERIFYID&jumioIdScanReference=r&verificationStatus=DENIED_FRAUD&{fields}"));
        assert_eq!((denied.unrecognized, denied.outcome), (None, Outcome::Rejected), "{fields}");
    }

    #[test]
    fn an_approval_with_a_reject_reason_is_for_a_human() {
        for nothing in
            ["", "{}", "null", r#"{"rejectReasonCode":"","rejectReasonDescription":null,"rejectReasonDetails":[]}"#]
        {
            check_contradiction(&format!("rejectReason={nothing}"), &[]);
        }
        let reason = |members: &str| format!("rejectReason={{{members}}}");
        let details = r#""rejectReasonDetails":{"detailsCode":"1001","detailsDescription":"PHOTO"}"#;
        check_contradiction(
            &reason(&format!(r#""rejectReasonCode":"100","rejectReasonDescription":"MANIPULATED_DOCUMENT",{details}"#)),
            &["100", "1001"],
        );
        check_contradiction(&reason(r#""rejectReasonCode":0"#), &["0"]);
        check_contradiction(&reason(r#""rejectReasonDescription":"MANIPULATED_DOCUMENT""#), &["MANIPULATED_DOCUMENT"]);
        check_contradiction(&reason(r#""rejectReasonDescription":["FAKE"]"#), &["REJECT_REASON"]);
        check_contradiction(&reason(details), &["1001"]);
        check_contradiction(&reason(r#""rejectReasonDetails":["PHOTO"]"#), &["REJECT_REASON"]);
        check_contradiction(&reason(r#""another":{"code":false}"#), &["REJECT_REASON"]);
    }

    #[test]
    fn an_approval_of_a_person_who_is_not_valid_is_for_a_human() {
        let verification = |members: &str| format!(r#"identityVerification={{"similarity":"MATCH",{members}}}"#);
        let liveness_failed = r#""validity":true,"reason":"LIVENESS_FAILED""#;
        check_contradiction(&verification(liveness_failed), &["LIVENESS_FAILED"]);
        check_contradiction(&verification(r#""validity":"TRUE","reason":"N/A""#), &["OTHER"]);
        check_contradiction(&verification(r#""validity":"maybe","reason":"NEW""#), &["VALIDITY_MISSING", "NEW"]);
        check_contradiction(&verification(r#""validity":true,"reason":null"#), &[]);
        check_contradiction(&verification(r#""validity":true,"reason":"""#), &[]);
        check_contradiction(&verification(r#""validity":false,"reason":"""#), &["INVALID"]);
        for matches in ["true", r#""TRUE""#, r#""true""#, r#""""#, "null"] {
            check_contradiction(&verification(&format!(r#""validity":true,"handwrittenNoteMatches":{matches}"#)), &[]);
        }
        for differs in ["false", r#""FALSE""#, "0", "[true]", r#""N/A""#] {
            check_contradiction(
                &verification(&format!(r#""validity":true,"handwrittenNoteMatches":{differs}"#)),
                &["HANDWRITTEN_NOTE_DOES_NOT_MATCH"],
            );
        }
    }

    #[test]
    fn an_approval_of_a_document_that_failed_a_check_is_for_a_human() {
        for check in [
            "idCheckDataPositions",
            "idCheckDocumentValidation",
            "idCheckHologram",
            "idCheckMRZcode",
            "idCheckMicroprint",
            "idCheckSecurityFeatures",
            "idCheckSignature",
            "idCheck",
            "idCheckOfAnotherKind",
        ] {
            check_contradiction(&format!("{check}=OK"), &[]);
            for failed in ["FAILED", "ok", "", "[]", r#"{"result":"OK"}"#, r#""OK""#] {
                check_contradiction(&format!("{check}={failed}"), &[check]);
            }
            check_contradiction(&format!("{check}=OK&{check}=OK"), &[check]);
            let not_available: &[&str] = if check == "idCheckMRZcode" { &[] } else { &[check] };
            check_contradiction(&format!("{check}=N/A"), not_available);
        }
        check_contradiction("idCheck%20of%20Mr.%20Example=N/A", &["OTHER"]);
        check_contradiction("idCheckSignature=N/A&idCheckHologram=N/A", &["idCheckHologram", "idCheckSignature"]);
        check_contradiction("idcheckHologram=N/A&xidCheckHologram=N/A&idNumber=N/A", &[]);
    }

    #[test]
    fn an_approval_with_the_verdict_of_another_callback_is_for_a_human() {
        check_contradiction("transactionResult=PASSED", &[]);
        check_contradiction("transactionResult=FAILED", &["FAILED"]);
        check_contradiction("transactionResult=PASSED&transactionResult=PASSED", &["OTHER"]);
    }

    /// Checks what an authentication that passed comes to with these fields.
    #[track_caller]
    fn check_passed(fields: &str, outcome: Outcome, reasons: &[&str]) {
        let body = "callBackType=NETVERIFY_AUTHENTICATION&transactionReference=r&transactionResult=PASSED";
        let event = event(&format!("{body}&{fields}"));
        assert_eq!((event.unrecognized.as_deref(), event.outcome, event.is_final), (None, outcome, true), "{fields}");
        assert_eq!(event.reasons, reasons, "{fields}");
    }

    #[test]
    fn an_authentication_that_contradicts_itself_is_for_a_human() {
        check_passed("scanSource=SDK&userReference=u&idScanImageFace=https://example.com/face", Outcome::Approved, &[]);
        check_passed("rejectReason={}&identityVerification=null&idScanStatus=SUCCESS", Outcome::Approved, &[]);
        check_passed(r#"rejectReason={"rejectReasonCode":"100"}"#, Outcome::Review, &["100"]);
        check_passed("idCheckSignature=N/A", Outcome::Review, &["idCheckSignature"]);
        check_passed("idScanStatus=ERROR", Outcome::Review, &["ID_SCAN_NOT_SUCCESSFUL"]);
        check_passed("verificationStatus=DENIED_FRAUD", Outcome::Review, &["DENIED_FRAUD"]);
        let another = r#"identityVerification={"similarity":"NO_MATCH","validity":true}"#;
        check_passed(another, Outcome::Review, &["NO_MATCH"]);
        let odd =
            "callBackType=NETVERIFY_AUTHENTICATION&transactionReference=r&transactionResult=PASSED&rejectReason=N/A";
        check_unrecognized(odd, "unexpected_shape");
    }

    #[test]
    fn an_approval_that_contradicts_itself_is_for_a_human() {
        for status in ["ERROR", "success", ""] {
            let fields = format!("verificationStatus=APPROVED_VERIFIED&idScanStatus={status}");
            check(&fields, Outcome::Review, &["ID_SCAN_NOT_SUCCESSFUL"]);
        }
        let repeated = "idScanStatus=SUCCESS&idScanStatus=ERROR";
        let approved = format!("verificationStatus=APPROVED_VERIFIED&{repeated}");
        check(&approved, Outcome::Review, &["ID_SCAN_NOT_SUCCESSFUL"]);
        check(&format!("verificationStatus=DENIED_FRAUD&{repeated}"), Outcome::Rejected, &["DENIED_FRAUD"]);
        check("verificationStatus=DENIED_FRAUD&idScanStatus=SUCCESS", Outcome::Rejected, &["DENIED_FRAUD"]);
    }

    #[test]
    fn what_a_face_check_says_is_heeded_in_every_spelling() {
        let approved =
            |verification: &str| format!("verificationStatus=APPROVED_VERIFIED&identityVerification={verification}");
        check(&approved("{}"), Outcome::Approved, &[]);
        check(&approved("{ }"), Outcome::Approved, &[]);
        for valid in ["true", r#""true""#, r#""TRUE""#, r#""True""#] {
            check(&approved(&format!(r#"{{"similarity":"MATCH","validity":{valid}}}"#)), Outcome::Approved, &[]);
        }
        for invalid in ["false", r#""false""#, r#""FALSE""#] {
            let verification = format!(r#"{{"similarity":"MATCH","validity":{invalid},"reason":"LIVENESS_FAILED"}}"#);
            check(&approved(&verification), Outcome::Review, &["LIVENESS_FAILED"]);
        }
        check(&approved(r#"{"similarity":"NO_MATCH","validity":true}"#), Outcome::Review, &["NO_MATCH"]);
        check(&approved(r#"{"similarity":"match","validity":true}"#), Outcome::Review, &["match"]);
        check(&approved(r#"{"similarity":"MATCH"}"#), Outcome::Review, &["VALIDITY_MISSING"]);
        check(&approved(r#"{"similarity":"MATCH","validity":"maybe"}"#), Outcome::Review, &["VALIDITY_MISSING"]);
        check(&approved(r#"{"validity":false}"#), Outcome::Review, &["SIMILARITY_MISSING", "INVALID"]);
    }

    #[test]
    fn each_status_has_its_outcome_and_reasons() {
        check("verificationStatus=DENIED_FRAUD", Outcome::Rejected, &["DENIED_FRAUD"]);
        check("verificationStatus=DENIED_UNSUPPORTED_ID_TYPE", Outcome::Failed, &["DENIED_UNSUPPORTED_ID_TYPE"]);
        check("verificationStatus=DENIED_UNSUPPORTED_ID_COUNTRY", Outcome::Failed, &["DENIED_UNSUPPORTED_ID_COUNTRY"]);
        check("verificationStatus=NO_ID_UPLOADED", Outcome::Failed, &["NO_ID_UPLOADED"]);
        let unreadable = |reason: &str| format!("verificationStatus=ERROR_NOT_READABLE_ID&rejectReason={reason}");
        let details = r#"[{"detailsCode":"2001"},{"detailsCode":2006}]"#;
        check(
            &unreadable(&format!(r#"{{"rejectReasonCode":"200","rejectReasonDetails":{details}}}"#)),
            Outcome::Failed,
            &["200", "2001", "2006"],
        );
        check(
            &unreadable(r#"{"rejectReasonCode":200,"rejectReasonDetails":{"detailsCode":"2001"}}"#),
            Outcome::Failed,
            &["200", "2001"],
        );
        check(&unreadable(r#"{"rejectReasonCode":"213","rejectReasonDetails":[]}"#), Outcome::Failed, &["213"]);
        check(&unreadable("{}"), Outcome::Failed, &["ERROR_NOT_READABLE_ID"]);
    }

    #[track_caller]
    fn check_unrecognized(body: &str, reason: &str) {
        assert_eq!(event(body).unrecognized.as_deref(), Some(reason), "{body}");
    }

    #[test]
    fn what_is_not_understood_is_kept_with_its_reason_and_approves_nothing() {
        check_unrecognized("", "missing_field:callBackType");
        check_unrecognized("scanReference=r", "missing_field:callBackType");
        check_unrecognized("callBackType=NETVERIFY_NEW", "unknown_type");
        check_unrecognized("callBackType=NETVERIFYID", "missing_field:jumioIdScanReference");
        let netverify = |fields: &str| format!("callBackType=NETVERIFYID&jumioIdScanReference=r&{fields}");
        check_unrecognized(&netverify(""), "missing_field:verificationStatus");
        check_unrecognized(&netverify("verificationStatus=POSTPONED"), "unknown_status");
        check_unrecognized(
            &netverify("verificationStatus=APPROVED_VERIFIED&verificationStatus=DENIED_FRAUD"),
            "unexpected_shape",
        );
        check_unrecognized(
            &netverify("verificationStatus=APPROVED_VERIFIED&identityVerification=N/A"),
            "unexpected_shape",
        );
        check_unrecognized(
            &netverify("verificationStatus=APPROVED_VERIFIED&identityVerification={}&identityVerification={}"),
            "unexpected_shape",
        );
        let document = |transaction: &str, document: &str| {
            format!("scanReference=r&transaction={transaction}&document={document}")
        };
        check_unrecognized(&document("{}", "{}"), "missing_field:transaction");
        check_unrecognized(&document(r#"{"status":"POSTPONED"}"#, ""), "unknown_status");
        check_unrecognized(&document(r#"{"status":"DONE"}"#, ""), "missing_field:document.status");
        check_unrecognized(&document(r#"{"status":"DONE"}"#, r#"{"status":"SHREDDED"}"#), "unknown_status");
    }

    #[test]
    fn odd_values_of_what_decides_nothing_do_not_hide_the_verdict() {
        check(
            "verificationStatus=APPROVED_VERIFIED&idAddress=N/A&dlCategories=N/A&gender=M&gender=F&callbackDate=today&x=100%",
            Outcome::Approved,
            &[],
        );
    }

    #[test]
    fn a_resend_that_differs_only_in_its_time_is_the_same_event() {
        let at = |date: &str, more: &str| {
            event(&format!(
                "callbackDate={date}&callBackType=NETVERIFYID&jumioIdScanReference=r&verificationStatus=NO_ID_UPLOADED{more}"
            ))
        };
        let first = at("2020-01-01T00:00:00.000Z", "&a=1&b=2&b=3");
        assert_eq!(first.id, at("2020-01-01T00:00:01Z", "&b=2&b=3&a=1").id);
        assert_ne!(first.id, at("2020-01-01T00:00:00.000Z", "&a=1&b=3&b=2").id);
        assert_ne!(first.id, at("2020-01-01T00:00:00.000Z", "&a=1&b=2").id);
        assert_eq!(first.occurred_at, Some(Timestamp::from_second(1_577_836_800).unwrap()));
    }

    #[track_caller]
    fn check_format(address: &str, format: Option<AddressFormat>) {
        assert_eq!(serde_json::from_str::<Address>(address).unwrap().format(), format, "{address}");
    }

    #[test]
    fn each_address_format_is_known_by_its_fields() {
        check_format(r#"{"country":"USA","stateCode":"US-OH"}"#, Some(AddressFormat::Us));
        check_format(r#"{"city":"Graz","province":"Steiermark","postalCode":2424}"#, Some(AddressFormat::Eu));
        check_format(r#"{"line1":"180 Main Street ABC","city":"Graz"}"#, Some(AddressFormat::Raw));
        check_format(r#"{"formattedAddress":"180 Main Street ABC, Graz"}"#, Some(AddressFormat::Raw));
        check_format(r#"{"country":"AUT"}"#, None);
    }

    #[test]
    fn a_whole_callback_is_typed_and_keeps_what_it_does_not_type() {
        let form = br#"callBackType=NETVERIFYID&idType=VISA&idSubtype=NEW_ID&livenessImages=["https://example.com/1","https://example.com/2"]&dlCategories={"category":"B","isReadable":"FALSE","availability":"not readable"}&idFirstName=FIRSTNAME"#;
        let callback: Netverify = wire::from_json(&wire::form_as_json(form)).unwrap();
        assert_eq!(callback.id_type, Some(payload::IdType::Visa));
        assert_eq!(callback.id_subtype, Some(payload::IdSubtype::Other("NEW_ID".to_owned())));
        assert_eq!(callback.liveness_images, ["https://example.com/1", "https://example.com/2"]);
        let category = &callback.dl_categories[0];
        assert_eq!(
            (category.is_readable, &category.availability),
            (Some(false), &Some(payload::Availability::NotReadable))
        );
        assert_eq!(callback.other["idFirstName"], "FIRSTNAME");
    }
}

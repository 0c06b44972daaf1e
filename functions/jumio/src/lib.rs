//! The callbacks of Jumio Netverify (`POST /callbacks/jumio/{secret}`): checks of identity documents, of persons who come again, and of
//! other documents.
//!
//! Follows Jumio's document "Callback". Callbacks are forms, and not signed: they are known by the addresses they come from, and by a secret
//! part of the address they are sent to. Jumio publishes neither how long it waits nor whether it comes again.

pub mod kinds;
pub mod payload;

use std::{net::IpAddr, time::Duration};

use model::{
    AuthError, Identity, Networks, Outcome, Parsed, Provider, ProviderName, Request, SecretSource, Subject, Timestamp,
    Unrecognized, Verified, source_address, wire,
};
use payload::{
    Authentication, DocumentStatus, DocumentVerification, IdScanStatus, IdentityVerification, Netverify, RejectReason,
    Similarity, TransactionResult, TransactionStatus, VerificationStatus,
};
use serde::Deserialize;
use serde_json::{Map, Value};

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
        let news = news(&form)?;
        let marks: Marks = wire::from_json(&form)?;
        match marks.call_back_type.as_deref() {
            Some("NETVERIFYID") => netverify(wire::from_json(&form)?, &news),
            Some("NETVERIFY_AUTHENTICATION") => authentication(&wire::from_json(&form)?, &news),
            Some(_) => Err(Unrecognized::new("unknown_type")),
            None if marks.scan_reference.is_some() && marks.transaction.is_some() => {
                document_verification(wire::from_json(&form)?, &news)
            }
            None => Err(Unrecognized::missing("callBackType")),
        }
    }
}

/// What a callback says, apart from when it was created: that is another time at each attempt. One text, whatever the
/// order of keys, of members within a value, and of images.
fn news(form: &[u8]) -> Result<String, Unrecognized> {
    let mut form: Map<String, Value> = wire::from_json(form)?;
    form.retain(|key, _| !["callbackDate", "timestamp"].contains(&key.as_str()));
    Ok(canonical("", &Value::Object(form)))
}

fn canonical(key: &str, value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            let members = members.into_iter().map(|(key, value)| format!("{key:?}:{}", canonical(key, value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let mut items: Vec<String> = items.iter().map(|item| canonical(key, item)).collect();
            if key.to_ascii_lowercase().contains("image") {
                items.sort();
            }
            format!("[{}]", items.join(","))
        }
        leaf => leaf.to_string(),
    }
}

/// The subject of this reference, under the name it has in the callback.
fn subject(name: &str, reference: Option<&str>) -> Result<Subject, Unrecognized> {
    Subject::new(reference.unwrap_or_default()).map_err(|_| Unrecognized::missing(name))
}

fn netverify(callback: Netverify, news: &str) -> Result<Parsed, Unrecognized> {
    let subject = subject("jumioIdScanReference", callback.jumio_id_scan_reference.as_deref())?;
    let unrecognized = |reason: Unrecognized| reason.about(Some(subject.clone())).on_track_of(&kinds::NETVERIFY_ID);
    let status =
        callback.verification_status.ok_or_else(|| unrecognized(Unrecognized::missing("verificationStatus")))?;

    let (outcome, mut reasons) = match &status {
        VerificationStatus::ApprovedVerified => {
            // The document is genuine. Is it in its holder's hands?
            let mut doubts = callback.identity_verification.as_ref().map(doubts).unwrap_or_default();
            // The same verdict in short, by Jumio's document.
            if callback.id_scan_status.as_ref().is_some_and(|status| *status != IdScanStatus::Success) {
                doubts.push("ID_SCAN_NOT_SUCCESSFUL".to_owned());
            }
            (if doubts.is_empty() { Outcome::Approved } else { Outcome::Review }, doubts)
        }
        VerificationStatus::DeniedFraud => (Outcome::Rejected, Vec::new()),
        VerificationStatus::DeniedUnsupportedIdType
        | VerificationStatus::DeniedUnsupportedIdCountry
        | VerificationStatus::ErrorNotReadableId
        | VerificationStatus::NoIdUploaded => (Outcome::Failed, Vec::new()),
        VerificationStatus::Other(_) => return Err(unrecognized(Unrecognized::new("unknown_status"))),
    };
    reasons.extend(callback.reject_reason.as_ref().into_iter().flat_map(reject_codes));
    if reasons.is_empty() && outcome != Outcome::Approved {
        reasons.push(status.as_str().to_owned());
    }

    let description = callback.reject_reason.and_then(|reason| reason.reject_reason_description);
    let details = kinds::NetverifyId {
        verification_status: status.as_str().to_owned(),
        reject_reason: description.map(|description| wire::code(description.as_str())),
        merchant_reference: callback.merchant_id_scan_reference,
    };
    let identity = Identity::of([Some(status.as_str()), Some(news)]);
    // Jumio calls when it has finished: a doubtful approval is no less final than another.
    let parsed = Parsed::new(&kinds::NETVERIFY_ID, subject, identity, outcome, &details).with_final(true);
    let parsed = parsed.because(reasons);
    Ok(Parsed { occurred_at: callback.callback_date, ..parsed })
}

/// What keeps a genuine document from being an approval.
fn doubts(verification: &IdentityVerification) -> Vec<String> {
    let mut doubts = Vec::new();
    match &verification.similarity {
        Some(Similarity::Match) => {}
        Some(similarity) => doubts.push(wire::code(similarity.as_str())),
        None => doubts.push("SIMILARITY_MISSING".to_owned()),
    }
    match (verification.validity, &verification.reason) {
        (Some(true), _) => {}
        (Some(false), Some(reason)) => doubts.push(wire::code(reason.as_str())),
        (Some(false), None) => doubts.push("INVALID".to_owned()),
        (None, _) => doubts.push("VALIDITY_MISSING".to_owned()),
    }
    doubts
}

fn reject_codes(reason: &RejectReason) -> Vec<String> {
    let details = reason.reject_reason_details.iter().map(|detail| &detail.details_code);
    let codes = std::iter::once(&reason.reject_reason_code).chain(details);
    codes.flatten().map(|code| wire::code(code)).collect()
}

fn authentication(callback: &Authentication, news: &str) -> Result<Parsed, Unrecognized> {
    let subject = subject("transactionReference", callback.transaction_reference.as_deref())?;
    let unrecognized =
        |reason: Unrecognized| reason.about(Some(subject.clone())).on_track_of(&kinds::NETVERIFY_AUTHENTICATION);
    let result =
        callback.transaction_result.as_ref().ok_or_else(|| unrecognized(Unrecognized::missing("transactionResult")))?;
    let outcome = match result {
        TransactionResult::Passed => Outcome::Approved,
        TransactionResult::Failed => Outcome::Rejected,
        TransactionResult::Invalid | TransactionResult::Expired => Outcome::Failed,
        TransactionResult::Other(_) => return Err(unrecognized(Unrecognized::new("unknown_result"))),
    };
    let reason = (outcome != Outcome::Approved).then(|| result.as_str().to_owned());
    let details = kinds::NetverifyAuthentication {
        transaction_result: result.as_str().to_owned(),
        enrollment_reference: callback.enrollment_transaction_reference.clone(),
    };
    let identity = Identity::of([Some(result.as_str()), Some(news)]);
    let parsed = Parsed::new(&kinds::NETVERIFY_AUTHENTICATION, subject, identity, outcome, &details).because(reason);
    Ok(Parsed { occurred_at: callback.callback_date, ..parsed })
}

/// No verdict: a document came in, and was read or not. One that did not come, or is not of a kind that can be read, has failed.
fn document_verification(callback: DocumentVerification, news: &str) -> Result<Parsed, Unrecognized> {
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

    let identity =
        Identity::of([Some(transaction_status.as_str()), document_status.map(DocumentStatus::as_str), Some(news)]);
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

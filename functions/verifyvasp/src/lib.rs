//! The callbacks of a VerifyVASP enclave (`POST /callbacks/verifyvasp`): results of travel-rule verifications, reports of
//! transactions and of errors.
//!
//! Follows VerifyVASP's document "Callback API". The enclave wants 200 and `{"result": true}` within one second, and may call
//! several times at once.

pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::Verification;
use model::{
    AuthError, Identity, Outcome, Parsed, Provider, ProviderName, Refusal, Request, SecretSource, Subject, Timestamp,
    Unrecognized, Verified, shared_secret, wire,
};

/// VerifyVASP, with the token that the enclave presents (`VEGA_VERIFICATION_AUTHORIZATION_TOKEN` there).
pub struct VerifyVasp<S> {
    token: S,
}

impl<S: SecretSource> VerifyVasp<S> {
    /// The provider whose enclave presents one of these tokens.
    pub fn new(token: S) -> Self {
        Self { token }
    }
}

impl<S: SecretSource> Provider for VerifyVasp<S> {
    const NAME: ProviderName = ProviderName::new("verifyvasp");
    const SOURCE: &'static str = "/callbacks/verifyvasp";
    const ACKNOWLEDGEMENT: &'static str = r#"{"result": true}"#;
    const ANSWER_WITHIN: Duration = Duration::from_secs(1);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        shared_secret(request, "authorization", bearer_token, &self.token, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let callback: payload::Callback = wire::from_json(verified.body())?;
        let Some(wire::Object(data)) = callback.data else {
            return Err(Unrecognized::missing("data"));
        };
        let subject = data.verification_uuid.as_deref().and_then(|uuid| Subject::new(uuid).ok());
        let unrecognized = |reason: Unrecognized| reason.about(subject.clone());

        let callback_type =
            callback.callback_type.as_deref().ok_or_else(|| unrecognized(Unrecognized::missing("callbackType")))?;
        let not_understood = |reason: Unrecognized| unrecognized(reason).on_track_of(&kinds::VERIFICATION_RESULT);
        let (kind, outcome) = match callback_type {
            "VERIFICATION_RESULT" if data.contradicts_itself() => {
                return Err(not_understood(Unrecognized::new("contradictory_results")));
            }
            "VERIFICATION_RESULT" => {
                let outcome = match data.verdict().ok_or_else(|| not_understood(Unrecognized::missing("result")))? {
                    "VERIFIED" => Outcome::Approved,
                    "DENIED" => Outcome::Rejected,
                    "ERROR" => Outcome::Failed,
                    // Only in old documents: the other side could not tell.
                    "UNKNOWN" => Outcome::Review,
                    _ => return Err(not_understood(Unrecognized::new("unknown_result"))),
                };
                (&kinds::VERIFICATION_RESULT, outcome)
            }
            "TX_REPORT" if data.tx_hash.is_none() => {
                return Err(unrecognized(Unrecognized::missing("txHash")).on_track_of(&kinds::TX_REPORT));
            }
            "TX_REPORT" => (&kinds::TX_REPORT, Outcome::None),
            "ERROR_REPORT" => (&kinds::ERROR_REPORT, Outcome::Failed),
            _ => return Err(unrecognized(Unrecognized::new("unknown_type"))),
        };

        let identity = Identity::of([
            Some(callback_type),
            data.verdict(),
            data.reason.as_deref(),
            data.tx_hash.as_deref(),
            data.vout.as_deref(),
            // For a lack of information, it lists the fields that are missing.
            data.message().as_deref(),
        ]);
        let subject = subject.ok_or_else(|| Unrecognized::missing("verificationUuid"))?;
        let reason = data.reason.as_deref().map(reason_code);
        let details = Verification {
            verification_uuid: subject.as_str().to_owned(),
            result: data.verdict().map(wire::code),
            tx_hash: data.tx_hash,
            vout: data.vout,
        };
        // Each result is one that the other side has come to, a doubtful one too.
        Ok(Parsed::new(kind, subject, identity, outcome, &details).because(reason).with_final(outcome != Outcome::None))
    }
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

#[cfg(test)]
mod tests {
    use model::{Event, MemoryStore, Receipt, Rejection, SecretPair, receive};

    use super::*;

    const BODY: &str = r#"{"callbackType":"TX_REPORT","data":{"verificationUuid":"example","txHash":"00"}}"#;

    fn receive_all(requests: &[Request]) -> (Vec<Result<Receipt, Rejection>>, usize) {
        let provider = VerifyVasp::new(SecretPair::new("new-token", Some("old-token")).unwrap());
        let store = MemoryStore::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let receipts =
            requests.iter().map(|request| runtime.block_on(receive(&provider, &store, request, Timestamp::UNIX_EPOCH)));
        (receipts.collect(), store.events().len())
    }

    /// Checks what a request with this `Authorization` is refused for, or that it is not.
    #[track_caller]
    fn check_authorization(authorization: Option<&str>, expected: Result<(), Refusal>) {
        let request = Request::new(BODY);
        let request = authorization.iter().fold(request, |request, value| request.with_header("Authorization", value));
        let (results, stored) = receive_all(&[request]);
        match (&results[0], expected) {
            (Ok(_), Ok(())) => assert_eq!(stored, 1),
            (Err(Rejection::NotAuthentic(refusal)), Err(expected)) => {
                assert_eq!((*refusal, stored), (expected, 0), "{authorization:?}");
            }
            (result, expected) => panic!("{authorization:?}: {result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn the_enclave_is_known_by_its_current_or_previous_token() {
        check_authorization(Some("Bearer new-token"), Ok(()));
        check_authorization(Some("Bearer old-token"), Ok(()));
        check_authorization(Some("bearer new-token"), Ok(()));
        check_authorization(Some("BEARER  new-token "), Ok(()));
    }

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        check_authorization(None, Err(Refusal::Missing));
        check_authorization(Some(""), Err(Refusal::Malformed));
        check_authorization(Some("Bearer"), Err(Refusal::Malformed));
        check_authorization(Some("Bearer "), Err(Refusal::Malformed));
        check_authorization(Some("new-token"), Err(Refusal::Malformed));
        check_authorization(Some("Basic new-token"), Err(Refusal::Malformed));
        check_authorization(Some("Bearer\tnew-token"), Err(Refusal::Malformed));
        check_authorization(Some("Bearer undefined"), Err(Refusal::Wrong));
        check_authorization(Some("Bearer null"), Err(Refusal::Wrong));
        check_authorization(Some("Bearer wrong-token"), Err(Refusal::Wrong));
        check_authorization(Some("Bearer new-toke"), Err(Refusal::Wrong));
        check_authorization(Some("Bearer new-token2"), Err(Refusal::Wrong));
        check_authorization(Some("Bearer NEW-TOKEN"), Err(Refusal::Wrong));
        check_authorization(Some("Bearer new-token,Bearer new-token"), Err(Refusal::Wrong));
        check_authorization(Some("Bearer Bearer new-token"), Err(Refusal::Wrong));
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
            r#"{"data":{"result":"VERIFIED","message":"again","verificationUuid":"u"},"callbackType":"VERIFICATION_RESULT"}"#,
            true,
        );
    }

    #[test]
    fn another_verdict_reason_transaction_or_output_is_another_event() {
        let body = |data: &str| {
            format!(r#"{{"callbackType":"TX_REPORT","data":{{"verificationUuid":"u","txHash":"a"{data}}}}}"#)
        };
        for data in [r#","vout":"0""#, r#","vout":"1""#, r#","reason":"OK""#, r#","result":"VERIFIED""#] {
            check_same(&body(""), &body(data), false);
        }
        check_same(&body(r#","vout":1"#), &body(r#","vout":"1""#), true);
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
        check_unrecognized(
            r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u"}}"#,
            "missing_field:result",
        );
        check_unrecognized(
            r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u","result":"verified"}}"#,
            "unknown_result",
        );
        check_unrecognized(
            r#"{"callbackType":"VERIFICATION_RESULT","data":{"verificationUuid":"u","verificationResult":"VERIFIED","result":"DENIED"}}"#,
            "contradictory_results",
        );
        check_unrecognized(r#"{"callbackType":"OTHER","data":{"verification_uuid":"u"}}"#, "unknown_type");
    }
}

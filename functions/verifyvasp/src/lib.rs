//! The callbacks of a VerifyVASP enclave (`POST /callbacks/verifyvasp`): results of travel-rule verifications, reports of
//! transactions and of errors.
//!
//! Follows VerifyVASP's document "Callback API". The enclave wants 200 and `{"result": true}` within one second, and may call
//! several times at once.

mod payload;

use std::time::Duration;

use model::{
    AuthError, Details, Identity, Outcome, Parsed, Provider, ProviderName, Refusal, Request, SecretSource, Subject,
    Timestamp, Unrecognized, Verified, shared_secret, wire,
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

    fn parse(&self, verified: &Verified) -> Result<Parsed, Unrecognized> {
        let callback: payload::Callback = wire::from_json(verified.body())?;
        let Some(wire::Object(data)) = callback.data else {
            return Err(Unrecognized::missing("data"));
        };
        let subject = data.verification_uuid.as_deref().and_then(|uuid| Subject::new(uuid).ok());
        let unrecognized = |reason: Unrecognized| reason.about(subject.clone());

        let callback_type =
            callback.callback_type.as_deref().ok_or_else(|| unrecognized(Unrecognized::missing("callbackType")))?;
        let verdict = || data.verdict().ok_or_else(|| unrecognized(Unrecognized::missing("result")));
        let (kind, outcome) = match callback_type {
            "VERIFICATION_RESULT" => {
                let outcome = match verdict()? {
                    "VERIFIED" => Outcome::Approved,
                    "DENIED" => Outcome::Rejected,
                    "ERROR" => Outcome::Failed,
                    // Only in old documents: the other side could not tell.
                    "UNKNOWN" => Outcome::Review,
                    _ => return Err(unrecognized(Unrecognized::new("unknown_result"))),
                };
                ("verification-result", outcome)
            }
            "TX_REPORT" if data.tx_hash.is_none() => return Err(unrecognized(Unrecognized::missing("txHash"))),
            "TX_REPORT" => ("tx-report", Outcome::None),
            "ERROR_REPORT" => ("error-report", Outcome::Failed),
            _ => return Err(unrecognized(Unrecognized::new("unknown_type"))),
        };

        let identity = Identity::of([
            Some(callback_type),
            data.verdict(),
            data.reason.as_deref(),
            data.tx_hash.as_deref(),
            data.vout.as_deref(),
        ]);
        let details = [
            ("verification_uuid", data.verification_uuid.clone()),
            ("result", data.verdict().map(wire::code)),
            ("tx_hash", data.tx_hash.clone()),
            ("vout", data.vout.clone()),
        ];
        Ok(Parsed {
            kind,
            subject: subject.ok_or_else(|| Unrecognized::missing("verificationUuid"))?,
            identity,
            outcome,
            reasons: data.reason.iter().map(|reason| wire::code(reason)).collect(),
            occurred_at: None,
            details: Details::from_iter(
                details.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))),
            ),
        })
    }
}

/// The token of `Bearer <token>` (RFC 6750 §2.1; the scheme's case does not matter, RFC 9110 §11.1).
fn bearer_token(authorization: &str) -> Result<&str, Refusal> {
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start()),
        _ => Err(Refusal::Malformed),
    }
}

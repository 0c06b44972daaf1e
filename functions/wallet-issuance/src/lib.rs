//! The wallet gateway's callbacks about issuances (`POST /callbacks/wallet/issuance`): what came of issuing one credential to a wallet.
//!
//! Follows the gateway's document "Services CallBack" (Namirial publishes the same API). A callback is known by a code that init returned, and that was
//! announced here before (see functions/expectations). A request for several credentials gets a callback for each, and possibly several: the last
//! one says `completed`.

pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::Issuance;
use model::{
    AuthError, Expectations, Identity, Outcome, Parsed, Provider, ProviderName, Request, Subject, Timestamp,
    Unrecognized, Verified, is_state, one_time_code, wire,
};
use serde_json::Value;

/// Far longer than any template's id.
const MAX_TEMPLATE_ID_BYTES: usize = 64;

/// The wallet gateway, with what is expected of it.
pub struct WalletIssuance<E> {
    expectations: E,
}

impl<E: Expectations> WalletIssuance<E> {
    /// The provider whose callbacks are expected.
    pub fn new(expectations: E) -> Self {
        Self { expectations }
    }
}

impl<E: Expectations> Provider for WalletIssuance<E> {
    const NAME: ProviderName = ProviderName::new("wallet");
    const SOURCE: &'static str = "/callbacks/wallet/issuance";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    // Not published; what other providers give.
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    async fn authenticate(&self, request: &Request, _now: Timestamp) -> Result<Verified, AuthError> {
        one_time_code(request, &self.expectations).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let code_sha256 = verified.evidence().get("code_sha256").and_then(Value::as_str).unwrap_or_default();
        let by_code = || Subject::new(code_sha256).ok();
        let callback: payload::Callback =
            wire::from_json(verified.body()).map_err(|unrecognized| unrecognized.about(by_code()))?;
        let state = callback.state.as_deref().filter(|state| is_state(state));
        let subject = state.and_then(|state| Subject::new(state).ok()).or_else(by_code);
        let unrecognized = |reason: Unrecognized| reason.about(subject.clone()).on_track_of(&kinds::ISSUANCE);
        let missing = |field: &str| unrecognized(Unrecognized::missing(field));
        let template = callback.template_id.ok_or_else(|| missing("template_id"))?;
        // It becomes part of the track's name.
        if template.len() > MAX_TEMPLATE_ID_BYTES {
            return Err(unrecognized(Unrecognized::new("too_large:template_id")));
        }
        let missing = |field: &str| missing(field).on_one_of_several(&template);
        let status = callback.status.ok_or_else(|| missing("status"))?;
        let completed = match callback.completed.as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(missing("completed")),
        };

        let (outcome, reason) =
            if status == "Issued" { (Outcome::Approved, None) } else { (Outcome::Failed, Some(wire::code(&status))) };
        let subject = subject.clone().ok_or_else(|| missing("code"))?;
        let fields = [code_sha256, &template, &status, if completed { "completed" } else { "in progress" }];
        let identity = Identity::of(fields.map(Some));
        let details = Issuance { template_id: wire::code(&template), status: wire::code(&status), completed };
        let parsed = Parsed::new(&kinds::ISSUANCE, subject, identity, outcome, &details);
        Ok(parsed.because(reason).on_one_of_several(&template).with_final(completed))
    }
}

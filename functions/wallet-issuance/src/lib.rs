//! The wallet gateway's callbacks about issuances (`POST /callbacks/wallet/issuance`): the result of
//! issuing one credential to a wallet.
//!
//! Follows the gateway's document "Services CallBack" (Namirial publishes the same API). A callback is
//! authenticated by a code that init returned, and that was announced before for this issuance and
//! these templates (see functions/expectations). A request for several credentials gets a callback
//! for each, and possibly several: the last one says `completed`. No token is checked here, so the
//! code is the only credential.

pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::Issuance;
use model::{
    AuthError, Credential, Expectations, Identity, Outcome, Parsed, Provider, ProviderName, Purpose, Request, Settings,
    Timestamp, Unrecognized, Verified, one_time_code, wire,
};

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

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "Wallet gateway",
    description: "Receives the wallet gateway's callbacks about issuances",
    credential: Credential::Announced("code"),
    authenticated_by: "the announced code",
    secret: "",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: true,
    verification: "",
    tracks: &[],
    references: &[],
    retrieval: None,
};

impl<E: Expectations> Provider for WalletIssuance<E> {
    const NAME: ProviderName = ProviderName::new("wallet");
    const SOURCE: &'static str = "/callbacks/wallet/issuance";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    // Not published; what other providers give.
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        one_time_code(request, Purpose::Issuance, &self.expectations, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let subject = verified.announced_subject();
        let callback: payload::Callback =
            wire::from_json(verified.body()).map_err(|unrecognized| unrecognized.about(subject.clone()))?;
        let unrecognized = |reason: Unrecognized| reason.about(subject.clone()).on_track_of(&kinds::ISSUANCE);
        let missing = |field: &str| unrecognized(Unrecognized::missing(field));
        let template = callback.template_id.ok_or_else(|| missing("template_id"))?;
        // It becomes part of the track's name.
        if template.len() > MAX_TEMPLATE_ID_BYTES {
            return Err(unrecognized(Unrecognized::new("too_large:template_id")));
        }
        let unrecognized = |reason: Unrecognized| unrecognized(reason).on_one_of_several(&template);
        let missing = |field: &str| unrecognized(Unrecognized::missing(field));
        // It is authentic, and nobody asked for it.
        if !verified.announced_template_ids().any(|announced| announced == template) {
            return Err(unrecognized(Unrecognized::new("template_not_announced")));
        }
        let status = callback.status.ok_or_else(|| missing("status"))?;
        let completed = match callback.completed.as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(missing("completed")),
        };

        let outcome = match (completed, status.as_str()) {
            (false, _) => Outcome::Pending,
            (true, "Issued") => Outcome::Approved,
            (true, _) => Outcome::Failed,
        };
        let reason = Some(wire::code(&status)).filter(|status| status != "Issued");
        let subject = subject.clone().ok_or_else(|| missing("subject"))?;
        let code_sha256 = verified.code_sha256().unwrap_or_default();
        let fields = [code_sha256, &template, &status, if completed { "completed" } else { "in progress" }];
        let identity = Identity::of(fields.map(Some));
        let details = Issuance { template_id: wire::code(&template), status: wire::code(&status), completed };
        let parsed = Parsed::new(&kinds::ISSUANCE, subject, identity, outcome, &details);
        Ok(parsed.because(reason).on_one_of_several(&template).with_final(completed))
    }
}

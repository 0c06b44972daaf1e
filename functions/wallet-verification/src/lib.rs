//! The wallet gateway's callbacks about verifications (`POST /callbacks/wallet/verification`): the
//! result of each requested credential, with a token that the gateway signed.
//!
//! Follows the gateway's document "Services CallBack" (Namirial publishes the same API). A callback is
//! authenticated by a code that init returned, and that was announced before for a verification (see
//! functions/expectations). Each token is verified on its own. A token that is not trusted never counts
//! as a verified claim.
//!
//! A token counts for one credential of one verification, and so does its `verification_id`. A token
//! that this callback presents for several credentials counts for none. The publisher detects tokens
//! that another callback presented.

pub mod issuers;
pub mod keys;
pub mod kinds;
pub mod payload;
pub mod token;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use issuers::{Trusted, TrustedIssuers};
use jiff::SignedDuration;
use keys::{JwksUrl, KeySet};
use kinds::{Verdict, Verification};
use model::{
    AuthError, Expectations, Identity, MemoryExpectations, Outcome, Parsed, Proof, Provider, ProviderName, Purpose,
    Request, Retention, Schedule, Settings, StoredEvent, Timestamp, Unrecognized, Verified, one_time_code, wire,
};
use payload::{Callback, Credential};
use runtime::LookUp;
use serde_json::{Map, Value, json};
use token::Untrusted;

/// The wallet gateway, with what is expected of it and the issuers of its tokens.
pub struct WalletVerification<E, L: LookUp = JwksUrl> {
    expectations: E,
    issuers: TrustedIssuers<L>,
}

impl<E: Expectations, L: LookUp<Value = Arc<KeySet>>> WalletVerification<E, L> {
    /// The provider whose callbacks are expected, with tokens of these issuers.
    pub fn new(expectations: E, issuers: TrustedIssuers<L>) -> Self {
        Self { expectations, issuers }
    }
}

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "Wallet gateway",
    description: "Receives the wallet gateway's callbacks about verifications",
    credential: model::Credential::Announced("code"),
    authenticated_by: "the announced code; each token by its signature",
    secret: "",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: true,
    verification: "",
    tracks: &[],
    references: &[],
    retrieval: None,
};

impl<E: Expectations, L: LookUp<Value = Arc<KeySet>>> Provider for WalletVerification<E, L> {
    const NAME: ProviderName = ProviderName::new("wallet");
    const SOURCE: &'static str = "/callbacks/wallet/verification";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    // Not published; what other providers give.
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);
    // Portraits in tokens make several hundred KB normal.
    const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        let verified = one_time_code(request, Purpose::Verification, &self.expectations, now).await?;
        // The callback is the gateway's. What its tokens are worth is found out here, where there are keys and a clock.
        let Ok(callback) = Callback::read(verified.body()) else { return Ok(verified) };
        let presented = present(&self.issuers, &callback, now, now).await;
        for untrusted in presented.iter().filter_map(|one| one.verified.as_ref().err()) {
            runtime::telemetry::untrusted_token();
            tracing::warn!(reason = untrusted.code(), "token not trusted");
        }
        let tokens = evidence(presented, false);
        Ok(verified.with_evidence(TOKENS, tokens))
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        parse(verified)
    }
}

/// The evidence that has what verifying each token came to.
const TOKENS: &str = "tokens";

/// For how long a token is checked again whose failing may pass with time.
pub const CHECKED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How long after the callback it is checked again for the first time.
const FIRST_CHECK_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// When: so many seconds after the first check, the last time after [`CHECKED_FOR`].
pub const CHECKS: Schedule = Schedule(&[0, 60, 180, 420, 840, 1740, 3540, 7140, 14340, 28740, 57540, 86340]);

/// Checks the tokens of a callback again that were untrusted for a reason that may have passed. Returns
/// the event that replaces this one, or nothing if nothing changed. After a day, an untrusted token
/// stays untrusted, and the verdict is final. Needs the whole body.
pub async fn recheck<L: LookUp<Value = Arc<KeySet>>>(
    issuers: &TrustedIssuers<L>,
    event: &StoredEvent,
    now: Timestamp,
    retention: Retention,
) -> Option<StoredEvent> {
    let callback = Callback::read(&event.body).ok()?;
    let presented = present(issuers, &callback, event.received_at, now).await;
    let is_last = now.duration_since(event.received_at) >= CHECKED_FOR;
    event.rechecked::<WalletVerification<MemoryExpectations, L>>(TOKENS, evidence(presented, is_last), retention)
}

/// Verifies the tokens of a callback. Those of credentials that are not complete do not count.
async fn present<'a, L: LookUp<Value = Arc<KeySet>>>(
    issuers: &TrustedIssuers<L>,
    callback: &'a Callback,
    presented_at: Timestamp,
    now: Timestamp,
) -> Vec<Presented<'a>> {
    let mut presented = Vec::new();
    for (template, credential) in callback.credentials.iter().filter(|(_, credential)| credential.is_completed()) {
        let token = credential.token.as_deref();
        let verified = match token {
            Some(token) => issuers.verify(token, presented_at, now).await,
            None => Err(Untrusted::Missing),
        };
        presented.push(Presented { template, token: token.unwrap_or_default(), verified });
    }
    distrust_reused(&mut presented);
    presented
}

/// What verifying the tokens came to, by their templates. If this is the last time, nothing passes any more.
fn evidence(presented: Vec<Presented<'_>>, is_last: bool) -> Value {
    let evidence = |verified| match verified {
        Ok(trusted) => json!({ "trusted": Trusted::to_evidence(&trusted) }),
        Err(untrusted) if Untrusted::is_temporary(untrusted) && !is_last => {
            json!({ "untrusted": untrusted.code(), WAITING: true })
        }
        Err(untrusted) => json!({ "untrusted": untrusted.code() }),
    };
    let tokens = presented.into_iter().map(|one| (one.template.to_owned(), evidence(one.verified)));
    Value::Object(tokens.collect::<Map<_, _>>())
}

/// In the evidence of a token that is not trusted: that it is checked again.
const WAITING: &str = "waiting";

fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
    read(verified).map_err(|unrecognized| unrecognized.on_track_of(&kinds::VERIFICATION))
}

fn read(verified: &Verified) -> Result<Parsed, Unrecognized> {
    let subject = verified.announced_subject();
    let callback = Callback::read(verified.body()).map_err(|unrecognized| unrecognized.about(subject.clone()))?;
    let subject = subject.ok_or_else(|| Unrecognized::missing("subject"))?;

    let tokens = verified.evidence().get(TOKENS);
    let given = callback.credentials.iter().map(|(template, credential)| {
        (template.as_str(), verdict(credential, tokens.and_then(|tokens| tokens.get(template))))
    });
    let missing = verified
        .announced_template_ids()
        .filter(|template| !callback.credentials.contains_key(*template))
        .map(|template| (template, Verdict::Missing { reason: "credential_missing" }));
    let verdicts: Vec<(&str, Verdict)> = given.chain(missing).collect();

    let any = |is: fn(&Verdict) -> bool| verdicts.iter().any(|(_, verdict)| is(verdict));
    let outcome = if any(|verdict| matches!(verdict, Verdict::Failed { .. } | Verdict::Missing { .. })) {
        Outcome::Failed
    } else if any(|verdict| matches!(verdict, Verdict::Untrusted { .. })) {
        // Complete, says the gateway; not signed by whom we trust, say we. A human has to look.
        Outcome::Review
    } else {
        Outcome::Approved
    };
    let reasons = verdicts.iter().filter_map(|(_, verdict)| match verdict {
        Verdict::Approved { .. } => None,
        Verdict::Failed { status: reason } | Verdict::Untrusted { reason } => Some(reason.clone()),
        Verdict::Missing { reason } => Some((*reason).to_owned()),
    });
    let reasons: Vec<String> = reasons.collect();
    // The gateway calls once for each code. A verdict is open only while a token may still become trusted.
    let is_waiting = |template| tokens.and_then(|tokens| tokens.get(template)?.get(WAITING)).is_some();
    let is_final = outcome != Outcome::Review || !callback.credentials.keys().any(is_waiting);
    let credentials = verdicts.into_iter().map(|(template, verdict)| (template.to_owned(), verdict)).collect();

    let digests = digests(&callback);
    let identity = identity(verified.code_sha256().unwrap_or_default(), &callback, &digests, tokens);
    let proofs = proofs(&digests, tokens);
    let details = Verification { credentials };
    let parsed = Parsed::new(&kinds::VERIFICATION, subject, identity, outcome, &details);
    let parsed = parsed.because(reasons).with_final(is_final).resting_on(proofs);
    Ok(if is_final { parsed } else { parsed.due_after(FIRST_CHECK_AFTER) })
}

/// A credential that is complete, as the gateway says, and what verifying its token came to.
struct Presented<'a> {
    template: &'a str,
    token: &'a str,
    verified: Result<Trusted, Untrusted>,
}

impl<'a> Presented<'a> {
    /// The parts of the token that are signed, if it is trusted.
    fn token(&self) -> Option<&'a str> {
        self.verified.as_ref().ok().map(|_| token::signed_parts(self.token).0)
    }

    /// The issuer's reference of the verification, if the token is trusted.
    fn verification_id(&self) -> Option<(String, String)> {
        let trusted = self.verified.as_ref().ok()?;
        Some((trusted.issuer.clone(), trusted.verification_id.clone()?))
    }
}

/// Trusts no token that is there for several credentials, or has the `verification_id` of another. Nobody can tell which of
/// the credentials it is for.
fn distrust_reused(presented: &mut [Presented<'_>]) {
    let (mut tokens, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for one in presented.iter() {
        *tokens.entry(one.token()).or_insert(0) += 1;
        *ids.entry(one.verification_id()).or_insert(0) += 1;
    }
    for one in presented {
        if one.token().is_some_and(|token| tokens.get(&Some(token)) > Some(&1)) {
            one.verified = Err(Untrusted::Reused);
        } else if one.verification_id().is_some_and(|id| ids.get(&Some(id)) > Some(&1)) {
            one.verified = Err(Untrusted::VerificationIdReused);
        }
    }
}

fn verdict(credential: &Credential, evidence: Option<&Value>) -> Verdict {
    if !credential.is_completed() {
        return Verdict::Failed { status: wire::code(credential.status.as_deref().unwrap_or("STATUS_MISSING")) };
    }
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match evidence.and_then(|evidence| evidence.get("trusted")) {
        Some(trusted) => Verdict::Approved { verification_id: text(trusted, "verification_id") },
        None => {
            let reason = evidence.and_then(|evidence| text(evidence, "untrusted"));
            Verdict::Untrusted { reason: reason.unwrap_or_else(|| Untrusted::Missing.code().to_owned()) }
        }
    }
}

/// The digests of a token: of the parts that are signed, and of all of it.
struct Digests {
    signed: Identity,
    whole: Identity,
}

/// The digests of all tokens, by their templates.
fn digests(callback: &Callback) -> BTreeMap<&str, Digests> {
    let tokens =
        callback.credentials.iter().filter_map(|(id, credential)| Some((id.as_str(), credential.token.as_deref()?)));
    let digests = |(template, token)| {
        let (signed, rest) = token::signed_parts(token);
        let (signed, whole) = Identity::of_beginning_and_whole(signed, rest);
        (template, Digests { signed, whole })
    };
    tokens.map(digests).collect()
}

/// What the credentials rest on whose tokens are trusted: the token, and the gateway's reference of the verification.
fn proofs(digests: &BTreeMap<&str, Digests>, tokens: Option<&Value>) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for (template, digests) in digests {
        let Some(trusted) = tokens.and_then(|tokens| tokens.get(template)?.get("trusted")) else { continue };
        let detail = ["credentials", template];
        proofs.push(Proof::new("token", digests.signed, detail));
        let text = |name: &str| trusted.get(name).and_then(Value::as_str);
        if let (Some(issuer), Some(id)) = (text("issuer"), text("verification_id")) {
            proofs.push(Proof::new("verification_id", Identity::of([Some(issuer), Some(id)]), detail));
        }
    }
    proofs
}

/// The code, and of each credential the status and the token's digest. One whose token is checked again is not the same as
/// afterwards: it may come to another verdict then.
fn identity(
    code_sha256: &str,
    callback: &Callback,
    digests: &BTreeMap<&str, Digests>,
    tokens: Option<&Value>,
) -> Identity {
    let mut fields = vec![Some(code_sha256.to_owned())];
    for (template, Credential { status, .. }) in &callback.credentials {
        let digest = digests.get(template.as_str()).map(|digests| digests.whole.to_hex());
        let waiting = tokens.and_then(|tokens| tokens.get(template)?.get(WAITING)).map(|_| WAITING.to_owned());
        fields.extend([Some(template.clone()), status.clone(), digest, waiting]);
    }
    Identity::of(fields.iter().map(Option::as_deref))
}

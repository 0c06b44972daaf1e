//! The user verification webhooks of Sumsub (`POST /callbacks/sumsub`): the status of an applicant.
//!
//! Follows Sumsub's documents "Webhook manager", "User verification webhooks", "Applicant
//! statuses", "Receive verification results" and "Receive results via API". Sumsub signs the body
//! of each webhook, and no time. It waits 10 s, and tries again after 5 minutes, 1, 5 and 18 hours.
//!
//! - **Subject**: `applicantId`. The company's own `externalUserId` is optional, and can be
//!   anything, an e-mail address too.
//! - **Content**: `correlationId`, which is the "unique identifier of the event", and what the
//!   webhook says. That an attempt to deliver it again has the same `correlationId` is inferred.
//! - **Final**: `GREEN`, and `RED` with `FINAL`. After `RED` with `RETRY`, the applicant tries
//!   again.
//! - **Policy**: Sumsub sends several final results, and its example is an approved applicant who
//!   is rejected later. The rejection stands then, under `Contradicts` too. An approval after a
//!   final rejection is not documented, and can be an old webhook: no time of sending is signed, and
//!   Sumsub repeats a webhook for a day. So it is for a human.
//! - **Not an approval**: `GREEN` in any other webhook than `applicantReviewed` (an applicant who
//!   waits for a service has it), beside something that rejects, or from the sandbox. A test that
//!   was sent by hand (`testMode`) is a kind of its own, without a verdict and on another track.

pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::{ApplicantStatus, Test};
use model::{
    AuthError, Credential, Identity, Outcome, Parsed, Provider, ProviderName, Request, SecretSource, Settings,
    SigningScheme, Subject, Timestamp, Unrecognized, Verified, is_plain_reference,
    signature::{Algorithm, Encoding, Hmac, Layout, SecretForm},
    signed_body,
    wire::{self, Object},
};
use payload::{Callback, CallbackType, ReviewResult};

/// How Sumsub signs: the body alone, with the algorithm that a header names. Sumsub's oldest
/// webhooks can still have SHA-1, which is refused.
pub const SCHEME: SigningScheme = SigningScheme {
    header: "x-payload-digest",
    layout: Layout::Alone,
    before_body: &[],
    algorithm: Algorithm::Named {
        header: "x-payload-digest-alg",
        allowed: &[("HMAC_SHA256_HEX", Hmac::Sha256), ("HMAC_SHA512_HEX", Hmac::Sha512)],
    },
    encoding: Encoding::Hex,
    secret: SecretForm::Text,
};

/// Settings that the template, the contract, the command line and the tests read.
pub const SETTINGS: Settings = Settings {
    title: "Sumsub",
    description: "Receives Sumsub's user verification webhooks",
    credential: Credential::Signed(&SCHEME),
    authenticated_by: "a signature of the body, in `X-Payload-Digest`",
    secret: "The secret key of the webhook in Sumsub's Webhook manager",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: false,
    verification: "An applicant who was created at Sumsub",
    tracks: kinds::TRACKS,
    references: &[],
    retrieval: None,
};

/// The provider with one secret.
pub type Receiver<S> = Sumsub<S>;

/// Returns the provider that signs with one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    Sumsub::new(secret)
}

/// Sumsub, with the secret of the webhook in its Webhook manager.
pub struct Sumsub<S> {
    secrets: S,
}

impl<S: SecretSource> Sumsub<S> {
    /// The provider that signs with one of these secrets.
    pub fn new(secrets: S) -> Self {
        Self { secrets }
    }
}

impl<S: SecretSource> Provider for Sumsub<S> {
    const NAME: ProviderName = ProviderName::new("sumsub");
    const SOURCE: &'static str = "/callbacks/sumsub";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        signed_body(request, &SCHEME, &self.secrets, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let callback: Callback = wire::from_json(verified.body())?;
        let subject = callback.applicant_id.as_deref().and_then(|id| Subject::new(id).ok());
        let subject = subject.ok_or_else(|| Unrecognized::missing("applicantId"))?;
        // Before anything else: whatever a test says, it says it of nobody.
        if callback.is_test() {
            return Ok(test(subject, &callback));
        }
        applicant_status(subject.clone(), &callback).map_err(|unrecognized| unrecognized.about(Some(subject)))
    }
}

fn test(subject: Subject, callback: &Callback) -> Parsed {
    let callback_type = callback.callback_type();
    let identity = Identity::of([callback.correlation_id.as_deref(), callback_type.as_ref().map(CallbackType::as_str)]);
    let details = Test {
        applicant_id: subject.as_str().to_owned(),
        r#type: callback_type.map(|callback_type| wire::code(callback_type.as_str())),
        test_mode: true,
    };
    let parsed = Parsed::new(&kinds::TEST, subject, identity, Outcome::None, &details);
    Parsed { occurred_at: callback.created_at(), ..parsed }
}

fn applicant_status(subject: Subject, callback: &Callback) -> Result<Parsed, Unrecognized> {
    let callback_type = callback.callback_type().ok_or_else(|| Unrecognized::missing("type"))?;
    let result = callback.review_result.as_ref().map(|Object(result)| result);
    let Verdict { outcome, is_final, reasons } = match &callback_type {
        CallbackType::Reviewed => {
            reviewed(callback, result).map_err(|reason| reason.on_track_of(&kinds::APPLICANT_STATUS))?
        }
        CallbackType::Created
        | CallbackType::Pending
        | CallbackType::Prechecked
        | CallbackType::AwaitingService
        | CallbackType::Reset => Verdict::of_step(Outcome::Pending, Vec::new()),
        CallbackType::AwaitingUser => Verdict::of_step(Outcome::ActionRequired, why(result, callback_type.as_str())),
        CallbackType::OnHold => Verdict::of_step(Outcome::Review, why(result, callback_type.as_str())),
        // Among them those about an action of an applicant, and about a workflow: other verdicts.
        CallbackType::Other(_) => return Err(Unrecognized::new("unknown_type")),
    };

    // Only a result has an answer. Before that it is one that can still change.
    let result_of_review = result.filter(|_| callback_type == CallbackType::Reviewed);
    let external_user_id = callback.external_user_id.clone().filter(|id| is_plain_reference(id));
    let details = ApplicantStatus {
        applicant_id: subject.as_str().to_owned(),
        r#type: callback_type.as_str().to_owned(),
        level_name: callback.level_name.clone(),
        external_user_id,
        review_answer: result_of_review.and_then(|result| result.review_answer.clone()),
        review_reject_type: result_of_review.and_then(|result| result.review_reject_type.as_deref()).map(wire::code),
        sandbox_mode: callback.is_sandbox(),
        r#final: is_final,
    };
    let identity = content(callback, &callback_type, result);
    let parsed = Parsed::new(&kinds::APPLICANT_STATUS, subject, identity, outcome, &details);
    let parsed = parsed.because(reasons).with_final(is_final);
    Ok(Parsed { occurred_at: callback.created_at(), ..parsed })
}

/// What a webhook comes to.
struct Verdict {
    outcome: Outcome,
    is_final: bool,
    reasons: Vec<String>,
}

impl Verdict {
    /// A step on the way to a result.
    fn of_step(outcome: Outcome, reasons: Vec<String>) -> Self {
        Self { outcome, is_final: false, reasons }
    }
}

/// What the result of a check means.
fn reviewed(callback: &Callback, result: Option<&ReviewResult>) -> Result<Verdict, Unrecognized> {
    let missing = || Unrecognized::missing("reviewResult.reviewAnswer");
    let result = result.ok_or_else(missing)?;
    match result.review_answer.as_deref().ok_or_else(missing)? {
        "GREEN" => {
            let doubts = doubts(callback, result);
            let outcome = if doubts.is_empty() { Outcome::Approved } else { Outcome::Review };
            // A doubtful approval is no less final than another.
            Ok(Verdict { outcome, is_final: true, reasons: doubts })
        }
        "RED" => match result.review_reject_type.as_deref() {
            Some(reject_type @ "FINAL") => {
                Ok(Verdict { outcome: Outcome::Rejected, is_final: true, reasons: why(Some(result), reject_type) })
            }
            Some(reject_type @ "RETRY") => {
                Ok(Verdict::of_step(Outcome::ActionRequired, why(Some(result), reject_type)))
            }
            Some(_) => Err(Unrecognized::new("unknown_reject_type")),
            None => Err(Unrecognized::missing("reviewResult.reviewRejectType")),
        },
        _ => Err(Unrecognized::new("unknown_answer")),
    }
}

/// What keeps `GREEN` from being an approval.
fn doubts(callback: &Callback, result: &ReviewResult) -> Vec<String> {
    let status = callback.review_status.as_deref().filter(|status| *status != "completed");
    let mut doubts: Vec<String> =
        [status, result.review_reject_type.as_deref()].into_iter().flatten().map(wire::code).collect();
    doubts.extend(labels(result));
    if callback.is_sandbox() {
        doubts.push("SANDBOX_MODE".to_owned());
    }
    doubts
}

/// The labels of a result, or what is said instead of them.
fn why(result: Option<&ReviewResult>, otherwise: &str) -> Vec<String> {
    let labels: Vec<String> = result.into_iter().flat_map(labels).collect();
    if labels.is_empty() { vec![otherwise.to_owned()] } else { labels }
}

fn labels(result: &ReviewResult) -> impl Iterator<Item = String> {
    result.reject_labels.iter().flatten().map(|label| wire::code(label))
}

/// What a webhook says. The order of labels says nothing.
fn content(callback: &Callback, callback_type: &CallbackType, result: Option<&ReviewResult>) -> Identity {
    let mut labels: Vec<&str> =
        result.and_then(|result| result.reject_labels.as_ref()).into_iter().flatten().map(String::as_str).collect();
    labels.sort_unstable();
    let fields = [
        callback.correlation_id.as_deref(),
        Some(callback_type.as_str()),
        callback.level_name.as_deref(),
        callback.external_user_id.as_deref(),
        Some(if callback.is_sandbox() { "sandbox" } else { "live" }),
        callback.review_status.as_deref(),
        result.and_then(|result| result.review_answer.as_deref()),
        result.and_then(|result| result.review_reject_type.as_deref()),
        result.and_then(|result| result.moderation_comment.as_deref()),
        result.and_then(|result| result.client_comment.as_deref()),
    ];
    Identity::of(fields.into_iter().chain(labels.into_iter().map(Some)))
}

#[cfg(test)]
mod tests;

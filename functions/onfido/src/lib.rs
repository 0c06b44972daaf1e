//! The webhooks of Onfido, now Entrust Identity Verification (`POST /callbacks/onfido`): checks,
//! workflow runs of Onfido Studio, and events without a verdict.
//!
//! Follows Onfido's API v3.6 (its OpenAPI document: schemas `webhook_event`, `check` and
//! `workflow_run`) and the verifiers of signatures in its client libraries. The signature is an
//! HMAC-SHA-256 of the body with the webhook's token. It has no timestamp, and events have no id.
//!
//! Inferred, as the documents do not say it: the name of the signature's header, which public
//! receivers agree on; how long Onfido waits (10 s is what others give); and that `consider` is a
//! case for a person.
//!
//! **The subject** is Onfido's id of the check or the run. A company's own reference
//! (`customer_user_id`) is about a person, optional, and not in events about checks.
//!
//! **Checks.** No webhook about a check has a verdict, so each one but a withdrawal is pending.
//! `check.completed` is due at once: the [fetcher](fetch) asks for the verdict. The event's `href`
//! is never read.
//!
//! **Workflow runs.** `workflow_run.completed` has the verdict, as the status of the run.

pub mod fetch;
pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::{Check, Notice, WorkflowRun};
use model::{
    AuthError, Credential, Identity, Outcome, Parsed, Provider, ProviderName, Request, Retrieval, SecretSource,
    Settings, SigningScheme, Subject, Timestamp, Unrecognized, Verified, is_plain_reference,
    signature::{Algorithm, Encoding, Hmac, Layout, SecretForm},
    signed_body,
    wire::{self, Object},
};
use payload::{Affected, Payload, Resource, RunError, Webhook};

/// How Onfido signs its webhooks: with the token that it made for the webhook.
pub const SCHEME: SigningScheme = SigningScheme {
    header: "x-sha2-signature",
    layout: Layout::Alone,
    before_body: &[],
    algorithm: Algorithm::Fixed(Hmac::Sha256),
    encoding: Encoding::Hex,
    secret: SecretForm::Text,
};

/// Onfido, with the token of the webhook.
pub struct Onfido<S> {
    secrets: S,
}

impl<S: SecretSource> Onfido<S> {
    /// The provider that signs with one of these tokens.
    pub fn new(secrets: S) -> Self {
        Self { secrets }
    }
}

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "Onfido",
    description: "Receives Onfido's webhooks",
    credential: Credential::Signed(&SCHEME),
    authenticated_by: "a signature of the body, in `X-SHA2-Signature`",
    secret: "The token with which Onfido signs its webhooks",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: false,
    verification: "A workflow run or a check that was begun at Onfido",
    tracks: kinds::TRACKS,
    references: &[],
    retrieval: Some(Retrieval {
        parameter: "OnfidoApiUrl",
        example: "https://api.eu.onfido.com/v3.6",
        credentials: Some("The api_token"),
    }),
};

/// The provider with one secret.
pub type Receiver<S> = Onfido<S>;

/// The provider that signs with one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    Onfido::new(secret)
}

impl<S: SecretSource> Provider for Onfido<S> {
    const NAME: ProviderName = ProviderName::new("onfido");
    const SOURCE: &'static str = "/callbacks/onfido";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    // Not published; what other providers give.
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        signed_body(request, &SCHEME, &self.secrets, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let webhook: Webhook = wire::from_json(verified.body())?;
        let Object(payload) = webhook.payload.ok_or_else(|| Unrecognized::missing("payload"))?;
        let Payload { resource_type, action, object, resource } = payload;
        let Object(object) = object.ok_or_else(|| Unrecognized::missing("object"))?;
        let resource = resource.map(|Object(resource)| resource).unwrap_or_default();
        let subject = object.id.as_deref().and_then(|id| Subject::new(id).ok());

        let parsed = event(subject.clone(), resource_type.as_deref(), action, object, resource);
        parsed.map_err(|unrecognized| {
            let unrecognized = unrecognized.about(subject);
            match resource_type.as_deref() {
                Some("check") => unrecognized.on_track_of(&kinds::CHECK),
                Some("workflow_run") => unrecognized.on_track_of(&kinds::WORKFLOW_RUN),
                _ => unrecognized,
            }
        })
    }
}

fn event(
    subject: Option<Subject>,
    resource_type: Option<&str>,
    action: Option<String>,
    object: Affected,
    resource: Resource,
) -> Result<Parsed, Unrecognized> {
    let action = action.ok_or_else(|| Unrecognized::missing("action"))?;
    let subject = subject.ok_or_else(|| Unrecognized::missing("id"))?;
    let is_about = |name: &str| match resource_type {
        Some(resource_type) if resource_type != name => Err(Unrecognized::new("contradictory_results")),
        _ => Ok(()),
    };
    match action.as_str() {
        "check.started" | "check.reopened" | "check.withdrawn" | "check.completed" | "check.form_completed" => {
            is_about("check")?;
            Ok(check_event(subject, action, &object, resource.applicant_id))
        }
        "workflow_run.completed" => {
            is_about("workflow_run")?;
            // Both say where the run stands.
            let status = match (object.status.as_deref(), resource.status.as_deref()) {
                (Some(one), Some(other)) if one != other => return Err(Unrecognized::new("contradictory_results")),
                (status, other) => status.or(other).map(str::to_owned),
            };
            let Resource { applicant_id, reasons, error, .. } = resource;
            let parsed = workflow_run(subject, status, applicant_id, reasons, error)?;
            Ok(Parsed { occurred_at: occurred_at(&object), ..parsed })
        }
        "report.withdrawn"
        | "report.resumed"
        | "report.cancelled"
        | "report.awaiting_approval"
        | "report.completed"
        | "workflow_task.started"
        | "workflow_task.completed"
        | "watchlist_monitor.matches_updated"
        | "audit_log.created"
        | "workflow_timeline_file.created"
        | "workflow_run_evidence_folder.created" => {
            let run = object.workflow_run_id.clone().or(resource.workflow_run_id);
            // The id of a task is unique in its run only.
            let run = run.filter(|_| resource_type == Some("workflow_task"));
            let subject = run.and_then(|run| Subject::new(run).ok()).unwrap_or(subject);
            Ok(notice(subject, &action, &object))
        }
        _ => Err(Unrecognized::new("unknown_type")),
    }
}

/// An event about a check. What it means for the person is not in it.
fn check_event(subject: Subject, action: String, object: &Affected, applicant_id: Option<String>) -> Parsed {
    let status = object.status.as_deref();
    let outcome = match action.as_str() {
        "check.withdrawn" if status.is_none_or(|status| status == "withdrawn") => Outcome::Failed,
        _ => Outcome::Pending,
    };
    let is_complete = action == "check.completed";
    let completed_at = object.completed_at_iso8601.as_deref();
    let identity = Identity::of([Some(action.as_str()), status, None, completed_at]);
    let details = Check {
        check_id: subject.as_str().to_owned(),
        action: Some(action),
        status: status.map(wire::code),
        result: None,
        applicant_id: applicant_id.filter(|id| is_plain_reference(id)),
        sandbox: None,
    };
    let reason = (outcome == Outcome::Failed).then(|| "withdrawn".to_owned());
    let parsed = Parsed::new(&kinds::CHECK, subject, identity, outcome, &details).because(reason);
    let parsed = Parsed { occurred_at: occurred_at(object), ..parsed };
    // The verdict is there, only not in the event.
    if is_complete { parsed.with_verdict_elsewhere() } else { parsed }
}

/// What a check came to, as Onfido's API says it.
fn check_result(check: payload::Check) -> Result<Parsed, Unrecognized> {
    let payload::Check { id, status, result, applicant_id, sandbox, paused } = check;
    let subject = id.and_then(|id| Subject::new(id).ok()).ok_or_else(|| Unrecognized::missing("id"))?;
    let status = status.ok_or_else(|| Unrecognized::missing("status"))?;
    let (outcome, is_final) = match (status.as_str(), result.as_deref()) {
        ("complete", Some("clear")) if paused == Some(true) => {
            return Err(Unrecognized::new("contradictory_results"));
        }
        ("complete", Some("clear")) => (Outcome::Approved, true),
        ("complete", Some("consider")) => (Outcome::Review, true),
        ("complete", Some(_)) => return Err(Unrecognized::new("unknown_result")),
        ("complete", None) => return Err(Unrecognized::missing("result")),
        ("withdrawn", _) => (Outcome::Failed, true),
        // A check that was reopened can still have its former result.
        ("in_progress" | "awaiting_applicant" | "paused" | "reopened", _) => (Outcome::Pending, false),
        _ => return Err(Unrecognized::new("unknown_status")),
    };
    let identity = Identity::of([None, Some(status.as_str()), result.as_deref(), None]);
    let reason = match outcome {
        Outcome::Review => result.clone(),
        Outcome::Failed => Some(status.clone()),
        _ => None,
    };
    let details = Check {
        check_id: subject.as_str().to_owned(),
        action: None,
        status: Some(status),
        result: result.as_deref().map(wire::code),
        applicant_id: applicant_id.filter(|id| is_plain_reference(id)),
        sandbox,
    };
    Ok(Parsed::new(&kinds::CHECK, subject, identity, outcome, &details).because(reason).with_final(is_final))
}

/// What the status of a workflow run means, in a webhook or in an answer of Onfido's API.
fn workflow_run(
    subject: Subject,
    status: Option<String>,
    applicant_id: Option<String>,
    reasons: Option<Vec<String>>,
    error: Option<Object<RunError>>,
) -> Result<Parsed, Unrecognized> {
    let status = status.ok_or_else(|| Unrecognized::missing("status"))?;
    let (outcome, is_final) = match status.as_str() {
        "approved" => (Outcome::Approved, true),
        "declined" => (Outcome::Rejected, true),
        "review" => (Outcome::Review, true),
        "abandoned" | "error" => (Outcome::Failed, true),
        "processing" | "awaiting_input" | "awaiting_client_input" => (Outcome::Pending, false),
        _ => return Err(Unrecognized::new("unknown_status")),
    };
    if outcome == Outcome::Approved && error.is_some_and(|Object(error)| error.is_one()) {
        return Err(Unrecognized::new("contradictory_results"));
    }
    // Companies choose the reasons of their workflows, so they can be free text.
    let codes = reasons.iter().flatten().filter(|reason| !reason.is_empty()).map(|reason| wire::code(reason));
    let reasons: Vec<String> = match outcome {
        Outcome::Approved | Outcome::Pending => Vec::new(),
        _ => Some(status.clone()).into_iter().chain(codes).collect(),
    };
    let content = Some(status.as_str()).into_iter().chain(reasons.iter().map(String::as_str));
    let identity = Identity::of(content.map(Some));
    let details = WorkflowRun {
        workflow_run_id: subject.as_str().to_owned(),
        status,
        applicant_id: applicant_id.filter(|id| is_plain_reference(id)),
    };
    let parsed = Parsed::new(&kinds::WORKFLOW_RUN, subject, identity, outcome, &details);
    Ok(parsed.because(reasons).with_final(is_final))
}

/// An event without a verdict.
fn notice(subject: Subject, action: &str, object: &Affected) -> Parsed {
    let Affected { id, status, started_at_iso8601, completed_at_iso8601, .. } = object;
    let fields = [id, status, started_at_iso8601, completed_at_iso8601].map(|field| field.as_deref());
    let identity = Identity::of([Some(action)].into_iter().chain(fields));
    let details = Notice {
        action: action.to_owned(),
        object_id: id.as_deref().map(wire::code).unwrap_or_default(),
        status: status.as_deref().map(wire::code),
    };
    let parsed = Parsed::new(&kinds::NOTICE, subject, identity, Outcome::None, &details);
    Parsed { occurred_at: occurred_at(object), ..parsed }
}

fn occurred_at(object: &Affected) -> Option<Timestamp> {
    let time = object.completed_at_iso8601.as_deref().or(object.started_at_iso8601.as_deref());
    time.and_then(|time| time.parse().ok())
}

#[cfg(test)]
mod tests;

//! The webhooks of Persona about inquiries (`POST /callbacks/persona`).
//!
//! Follows Persona's documents "Webhooks: Overview", "Webhook Best Practices", "Inquiry Model
//! Lifecycle", "Events", "API key inflection" and "Webhook Attribute Blocklists". Persona signs the
//! body and the time of each attempt. It waits 5 s, and tries at most eight times.
//!
//! - **Subject**: the inquiry (`data.attributes.payload.data.id`). The company's own `reference-id`
//!   is optional, and names an account, which can have several inquiries.
//! - **Content**: the event's id, which is signed with the body, beside the event's name and the
//!   inquiry's status. That the attempts to deliver an event have the same id is inferred.
//! - **Final**: approved and declined. "Completed" says that the person reached the last screen,
//!   and is no approval: a workflow or a person at the company decides. They can also decide about
//!   an inquiry that failed or expired, and one that expired can be resumed.
//! - **Policy**: Persona's documents do not say that a decision changes. So a second, different one
//!   is a contradiction.
//! - **Not an approval**: the event `inquiry.approved` about an inquiry with another status.
//!
//! Persona marks no webhook as one of its sandbox. The sandbox has webhooks of its own, with
//! secrets of their own: do not give them to a stack that is live.

pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::InquiryStatus;
use model::{
    AuthError, Credential, Identity, Outcome, Parsed, Provider, ProviderName, Request, SecretSource, Settings,
    SigningScheme, Subject, Timestamp, Unrecognized, Verified, is_plain_reference,
    signature::{Algorithm, Encoding, Hmac, Layout, Part, Place, SecretForm, TOLERANCE},
    signed_body,
    wire::{self, Object},
};
use payload::{Document, Event, EventAttributes, Resource};

/// How Persona signs: the time and the body, `t=1769851800,v1=…`. While a secret is rotated, there
/// are two such pairs, separated by a blank. That a time may be 300 s from now is our choice.
pub const SCHEME: SigningScheme = SigningScheme {
    header: "persona-signature",
    layout: Layout::Fields { signature: "v1", group_separator: Some(' ') },
    before_body: &[Part::Timestamp { at: Place::Field("t"), tolerance: TOLERANCE }, Part::Text(".")],
    algorithm: Algorithm::Fixed(Hmac::Sha256),
    encoding: Encoding::Hex,
    secret: SecretForm::Text,
};

/// Settings that the template, the contract, the command line and the tests read.
pub const SETTINGS: Settings = Settings {
    title: "Persona",
    description: "Receives Persona's webhooks about inquiries",
    credential: Credential::Signed(&SCHEME),
    authenticated_by: "a signature of time and body, in `Persona-Signature`",
    secret: "The secret of the webhook in Persona's Dashboard (it begins with wbhsec_)",
    memory_mb: 256,
    // Persona waits 5 s. An invocation that starts slowly can still store the webhook after that.
    timeout: Duration::from_secs(10),
    is_default: false,
    verification: "An inquiry that was begun at Persona",
    tracks: kinds::TRACKS,
    references: &[],
    retrieval: None,
};

/// The provider with one secret.
pub type Receiver<S> = Persona<S>;

/// Returns the provider that signs with one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    Persona::new(secret)
}

/// Persona, with the secret of the webhook in its Dashboard.
pub struct Persona<S> {
    secrets: S,
}

impl<S: SecretSource> Persona<S> {
    /// The provider that signs with one of these secrets.
    pub fn new(secrets: S) -> Self {
        Self { secrets }
    }
}

impl<S: SecretSource> Provider for Persona<S> {
    const NAME: ProviderName = ProviderName::new("persona");
    const SOURCE: &'static str = "/callbacks/persona";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    const ANSWER_WITHIN: Duration = Duration::from_secs(5);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        signed_body(request, &SCHEME, &self.secrets, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let Document { data } = wire::from_json::<Document<Event>>(verified.body())?;
        let Object(event) = data.ok_or_else(|| Unrecognized::missing("data"))?;
        let Object(attributes) = event.attributes.ok_or_else(|| Unrecognized::missing("data.attributes"))?;
        let name = attributes.name.as_deref().ok_or_else(|| Unrecognized::missing("data.attributes.name"))?;
        let resource = resource(&attributes);
        // Another resource has an id of its own, which is not the inquiry's.
        let inquiry = resource.filter(|resource| resource.resource_type.as_deref() == Some("inquiry"));
        let subject = inquiry.and_then(|inquiry| inquiry.id.as_deref()).and_then(|id| Subject::new(id).ok());

        let Some(status) = Status::of(name) else {
            return Err(Unrecognized::new("unknown_event").about(subject));
        };
        let unrecognized = |reason: Unrecognized| reason.about(subject.clone()).on_track_of(&kinds::INQUIRY_STATUS);
        let (Some(inquiry), Some(subject)) = (inquiry, subject.clone()) else {
            let is_another = inquiry.is_none() && resource.is_some_and(|resource| resource.resource_type.is_some());
            return Err(if is_another {
                Unrecognized::new("unknown_resource")
            } else {
                Unrecognized::missing("data.attributes.payload.data.id")
            });
        };
        let event_id = event.id.ok_or_else(|| unrecognized(Unrecognized::missing("data.id")))?;
        Ok(inquiry_status(subject, event_id, &status, inquiry, attributes.created_at))
    }
}

fn resource(attributes: &EventAttributes) -> Option<&Resource> {
    let Object(payload) = attributes.payload.as_ref()?;
    let Object(resource) = payload.data.as_ref()?;
    Some(resource)
}

/// What an event says about its inquiry.
struct Status {
    event_name: &'static str,
    /// The inquiry's status after the event.
    inquiry_status: &'static str,
    outcome: Outcome,
}

impl Status {
    /// What the event of this name says, if it is one of those that follow an inquiry from its
    /// beginning to its end.
    fn of(event_name: &str) -> Option<Self> {
        let (event_name, inquiry_status, outcome) = match event_name {
            "inquiry.created" => ("inquiry.created", "created", Outcome::Pending),
            "inquiry.started" => ("inquiry.started", "pending", Outcome::Pending),
            "inquiry.completed" => ("inquiry.completed", "completed", Outcome::Pending),
            "inquiry.failed" => ("inquiry.failed", "failed", Outcome::Failed),
            "inquiry.expired" => ("inquiry.expired", "expired", Outcome::Failed),
            "inquiry.marked-for-review" => ("inquiry.marked-for-review", "needs_review", Outcome::Review),
            "inquiry.approved" => ("inquiry.approved", "approved", Outcome::Approved),
            "inquiry.declined" => ("inquiry.declined", "declined", Outcome::Rejected),
            _ => return None,
        };
        Some(Self { event_name, inquiry_status, outcome })
    }

    fn is_final(&self) -> bool {
        matches!(self.outcome, Outcome::Approved | Outcome::Rejected)
    }

    /// The outcome, and the reason for it if there is one, for an inquiry that has this status. The
    /// company can keep Persona from sending the status.
    fn verdict(&self, inquiry_status: Option<&str>) -> (Outcome, Option<String>) {
        match (self.outcome, inquiry_status) {
            (Outcome::Approved, Some(other)) if other != self.inquiry_status => {
                (Outcome::Review, Some(wire::code(other)))
            }
            (Outcome::Approved | Outcome::Pending, _) => (self.outcome, None),
            (outcome, _) => (outcome, Some(self.inquiry_status.to_owned())),
        }
    }
}

fn inquiry_status(
    subject: Subject,
    event_id: String,
    status: &Status,
    inquiry: &Resource,
    created_at: Option<Timestamp>,
) -> Parsed {
    let attributes = inquiry.attributes.as_ref().map(|Object(attributes)| attributes);
    let sent_status = attributes.and_then(|attributes| attributes.status.as_deref());
    let reference_id = attributes.and_then(|attributes| attributes.reference_id.clone());
    let (outcome, reason) = status.verdict(sent_status);
    let identity = Identity::of([Some(event_id.as_str()), Some(status.event_name), sent_status]);
    let details = InquiryStatus {
        inquiry_id: subject.as_str().to_owned(),
        event_id,
        event_name: status.event_name.to_owned(),
        template_id: inquiry.template_id().filter(|id| is_plain_reference(id)).map(str::to_owned),
        reference_id: reference_id.filter(|id| is_plain_reference(id)),
        r#final: status.is_final(),
    };
    let parsed = Parsed::new(&kinds::INQUIRY_STATUS, subject, identity, outcome, &details);
    let parsed = parsed.because(reason).with_final(status.is_final());
    Parsed { occurred_at: created_at, ..parsed }
}

#[cfg(test)]
mod tests;

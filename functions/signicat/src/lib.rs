//! The notifications of Signicat's Assure API (`POST /callbacks/signicat`): the status of a process in a dossier.
//!
//! Follows Signicat's document "Callbacks". The request that starts a process names an `authorizationHeader`; Signicat
//! presents it, word for word, in `Authorization`. It waits 10 s for 200, and does not come again by itself.

pub mod fetch;
pub mod kinds;
mod payload;

use std::time::Duration;

use kinds::ProcessStatus;
use model::{
    AuthError, Credential, Identity, Outcome, Parsed, Place, Provider, ProviderName, Reference, Request, Retrieval,
    SecretSource, Settings, Subject, Timestamp, Unrecognized, Verified, shared_secret, wire,
};

/// Signicat Assure, with the value that was given to it as `authorizationHeader`.
pub struct Signicat<S> {
    authorization_header: S,
}

impl<S: SecretSource> Signicat<S> {
    /// The provider that presents one of these values.
    pub fn new(authorization_header: S) -> Self {
        Self { authorization_header }
    }
}

/// What is said of this function elsewhere.
pub const SETTINGS: Settings = Settings {
    title: "Signicat Assure",
    description: "Receives the notifications of Signicat's Assure API",
    credential: Credential::Presented(Place::Header("authorization", "")),
    authenticated_by: "the value of `Authorization`",
    secret: "What Signicat presents in Authorization (authorizationHeader of the request that starts a process)",
    memory_mb: 256,
    timeout: Duration::from_secs(10),
    is_default: true,
    verification: "A process that was begun at Signicat",
    tracks: kinds::TRACKS,
    references: &[Reference {
        detail: kinds::DOSSIER_ID,
        option: "dossier",
        description: "The dossier that the process is in. Without it, Signicat can only be asked after its first notification",
    }],
    retrieval: Some(Retrieval {
        parameter: "SignicatApiUrl",
        example: "https://api.signicat.com",
        credentials: Some("The client_id and the client_secret"),
    }),
};

/// The provider with one secret.
pub type Receiver<S> = Signicat<S>;

/// The provider that presents one of these secrets.
pub fn receiver<S: SecretSource>(secret: S) -> Receiver<S> {
    Signicat::new(secret)
}

impl<S: SecretSource> Provider for Signicat<S> {
    const NAME: ProviderName = ProviderName::new("signicat");
    const SOURCE: &'static str = "/callbacks/signicat";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        shared_secret(request, "authorization", Ok, &self.authorization_header, now).await
    }

    fn parse(verified: &Verified) -> Result<Parsed, Unrecognized> {
        let notification: payload::Notification = wire::from_json(verified.body())?;
        let payload::Notification { dossier_id, process_id, status } = notification;
        process_status(dossier_id, process_id, status)
    }
}

/// Returns what this status of this process means, in a notification or in Signicat's answer to a question.
fn process_status(
    dossier_id: Option<String>,
    process_id: Option<String>,
    status: Option<String>,
) -> Result<Parsed, Unrecognized> {
    // The process is what is verified; its id is unique among all dossiers.
    let subject = process_id.and_then(|id| Subject::new(id).ok());
    let unrecognized = |reason: Unrecognized| reason.about(subject.clone()).on_track_of(&kinds::PROCESS_STATUS);

    let dossier_id = dossier_id.ok_or_else(|| unrecognized(Unrecognized::missing("dossierId")))?;
    let status = status.ok_or_else(|| unrecognized(Unrecognized::missing("status")))?;
    let (outcome, is_final) = match status.as_str() {
        "pending" | "processing" => (Outcome::Pending, false),
        "accepted" => (Outcome::Approved, true),
        "rejected" | "not_matched" => (Outcome::Rejected, true),
        "inconclusive" => (Outcome::Review, true),
        "failed" | "canceled" => (Outcome::Failed, true),
        _ => return Err(unrecognized(Unrecognized::new("unknown_status"))),
    };

    let subject = subject.clone().ok_or_else(|| Unrecognized::missing("processId"))?;
    let identity = Identity::of([Some(dossier_id.as_str()), Some(status.as_str())]);
    let reason = (is_final && outcome != Outcome::Approved).then(|| wire::code(&status));
    let details = ProcessStatus { dossier_id, process_id: subject.as_str().to_owned(), status, r#final: is_final };
    let parsed = Parsed::new(&kinds::PROCESS_STATUS, subject, identity, outcome, &details);
    Ok(parsed.because(reason).with_final(is_final))
}

#[cfg(test)]
mod tests {
    use model::{Event, MemoryStore, Refusal, Rejection, SecretPair, receive};

    use super::*;

    fn receive_one(request: &Request) -> Result<Event, Rejection> {
        let provider = Signicat::new(SecretPair::new("Basic new", Some("Basic old")).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = MemoryStore::default();
        let received = runtime.block_on(receive(&provider, &store, request, Timestamp::UNIX_EPOCH));
        assert_eq!(store.events().len(), usize::from(received.is_ok()));
        received.map(|receipt| receipt.event)
    }

    /// Checks what a request with this `Authorization` is refused for, or that it is not.
    #[track_caller]
    fn check_authorization(authorization: Option<&str>, expected: Result<(), Refusal>) {
        let request = Request::new("{}");
        let request = authorization.iter().fold(request, |request, value| request.with_header("Authorization", value));
        match (receive_one(&request), expected) {
            (Ok(_), Ok(())) => {}
            (Err(Rejection::NotAuthentic(refusal)), Err(expected)) => {
                assert_eq!(refusal, expected, "{authorization:?}")
            }
            (result, expected) => panic!("{authorization:?}: {result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn signicat_is_known_by_the_header_it_was_given_word_for_word() {
        check_authorization(Some("Basic new"), Ok(()));
        check_authorization(Some("Basic old"), Ok(()));
        check_authorization(None, Err(Refusal::Missing));
        check_authorization(Some(""), Err(Refusal::Wrong));
        check_authorization(Some("undefined"), Err(Refusal::Wrong));
        check_authorization(Some("new"), Err(Refusal::Wrong));
        check_authorization(Some("basic new"), Err(Refusal::Wrong));
        check_authorization(Some("Basic  new"), Err(Refusal::Wrong));
        check_authorization(Some("Basic new,Basic new"), Err(Refusal::Wrong));
    }

    fn event(body: &str) -> Event {
        receive_one(&Request::new(body.to_owned()).with_header("authorization", "Basic new")).unwrap()
    }

    #[track_caller]
    fn check_outcome(status: &str, outcome: Outcome, unrecognized: Option<&str>) {
        let event = event(&format!(r#"{{"dossierId":"d","processId":"p","status":"{status}"}}"#));
        assert_eq!((event.outcome(), event.unrecognized()), (outcome, unrecognized), "{status}");
        assert_eq!(event.subject().as_str(), "p");
    }

    #[test]
    fn each_status_has_its_outcome() {
        check_outcome("pending", Outcome::Pending, None);
        check_outcome("processing", Outcome::Pending, None);
        check_outcome("accepted", Outcome::Approved, None);
        check_outcome("rejected", Outcome::Rejected, None);
        check_outcome("not_matched", Outcome::Rejected, None);
        check_outcome("inconclusive", Outcome::Review, None);
        check_outcome("failed", Outcome::Failed, None);
        check_outcome("canceled", Outcome::Failed, None);
    }

    #[test]
    fn a_status_that_is_not_known_is_kept_and_approves_nothing() {
        check_outcome("Accepted", Outcome::None, Some("unknown_status"));
        check_outcome("accepted ", Outcome::None, Some("unknown_status"));
        check_outcome("postponed", Outcome::None, Some("unknown_status"));
        check_outcome("", Outcome::None, Some("missing_field:status"));
    }

    #[test]
    fn another_status_or_dossier_is_another_event() {
        let id = |body: &str| event(body).id().clone();
        let first = id(r#"{"dossierId":"d","processId":"p","status":"rejected"}"#);
        assert_eq!(first, id(r#"{"status":"rejected","extra":1,"processId":"p","dossierId":"d"}"#));
        assert_ne!(first, id(r#"{"dossierId":"d","processId":"p","status":"accepted"}"#));
        assert_ne!(first, id(r#"{"dossierId":"e","processId":"p","status":"rejected"}"#));
        assert_ne!(first, id(r#"{"dossierId":"d","processId":"q","status":"rejected"}"#));
    }
}

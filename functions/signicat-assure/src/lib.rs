//! The notifications of Signicat's Assure API (`POST /callbacks/signicat`): the status of a process in a dossier.
//!
//! Follows Signicat's document "Callbacks". The request that starts a process names an `authorizationHeader`; Signicat
//! presents it, word for word, in `Authorization`. It waits 10 s for 200, and does not come again by itself.

mod payload;

use std::time::Duration;

use model::{
    AuthError, Details, Identity, Outcome, Parsed, Provider, ProviderName, Request, SecretSource, Subject, Timestamp,
    Unrecognized, Verified, shared_secret, wire,
};

/// Signicat Assure, with the value that was given to it as `authorizationHeader`.
pub struct SignicatAssure<S> {
    authorization_header: S,
}

impl<S: SecretSource> SignicatAssure<S> {
    /// The provider that presents one of these values.
    pub fn new(authorization_header: S) -> Self {
        Self { authorization_header }
    }
}

impl<S: SecretSource> Provider for SignicatAssure<S> {
    const NAME: ProviderName = ProviderName::new("signicat");
    const SOURCE: &'static str = "/callbacks/signicat";
    const ACKNOWLEDGEMENT: &'static str = "{}";
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    async fn authenticate(&self, request: &Request, now: Timestamp) -> Result<Verified, AuthError> {
        shared_secret(request, "authorization", Ok, &self.authorization_header, now).await
    }

    fn parse(&self, verified: &Verified) -> Result<Parsed, Unrecognized> {
        let notification: payload::Notification = wire::from_json(verified.body())?;
        // The process is what is verified; its id is unique among all dossiers.
        let subject = notification.process_id.as_deref().and_then(|id| Subject::new(id).ok());
        let unrecognized = |reason: Unrecognized| reason.about(subject.clone());

        let dossier_id = notification.dossier_id.ok_or_else(|| unrecognized(Unrecognized::missing("dossierId")))?;
        let status = notification.status.ok_or_else(|| unrecognized(Unrecognized::missing("status")))?;
        let (outcome, is_final) = match status.as_str() {
            "pending" | "processing" => (Outcome::Pending, false),
            "accepted" => (Outcome::Approved, true),
            "rejected" | "not_matched" => (Outcome::Rejected, true),
            "inconclusive" => (Outcome::Review, true),
            "failed" | "canceled" => (Outcome::Failed, true),
            _ => return Err(unrecognized(Unrecognized::new("unknown_status"))),
        };

        let subject = subject.clone().ok_or_else(|| Unrecognized::missing("processId"))?;
        let details = [
            ("dossier_id", dossier_id.as_str().into()),
            ("process_id", subject.as_str().into()),
            ("status", status.as_str().into()),
            // A status that is not final may come late, after a final one: it is no news then.
            ("final", is_final.into()),
        ];
        Ok(Parsed {
            kind: "process-status",
            identity: Identity::of([Some(dossier_id.as_str()), Some(status.as_str())]),
            subject,
            outcome,
            reasons: if is_final && outcome != Outcome::Approved { vec![wire::code(&status)] } else { Vec::new() },
            occurred_at: None,
            details: Details::from_iter(details.map(|(name, value)| (name.to_owned(), value))),
        })
    }
}

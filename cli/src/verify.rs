//! `callbacks verify`: verifies a stored event's tokens again.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::bail;
use clap::Args;
use model::{Outcome, Timestamp};
use providers::wallet_verification::{issuers::verify_again, payload::Callback};
use serde::Serialize;
use serde_json::Value;

use crate::{Target, events::Events, stack::Stack, terminal};

/// Verifies the tokens of a stored wallet event again, by the keys that were kept with it.
///
/// Each token is checked as it was when it came: issuer, key, signature, and times as of then. Exits with 1 if one that was trusted is not
/// confirmed.
#[derive(Debug, Args)]
pub struct Verify {
    /// The event's id.
    #[arg(value_name = "EVENT")]
    id: String,
    /// The event's subject. Without it, the whole table is searched.
    #[arg(long)]
    subject: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let confirmation = confirm(&stack, &self.id, self.subject.as_deref()).await?;
        if self.json {
            terminal::print_json(&confirmation)?;
        } else {
            let Confirmation { id, received_at, outcome, credentials } = &confirmation;
            terminal::print(&format!("{id}  received {received_at}, outcome {}", outcome.as_str()));
            for (template, result) in credentials {
                let words = match result {
                    Confirmed::Again { .. } => "verified again".to_owned(),
                    Confirmed::NoMore { reason } => format!("NOT CONFIRMED: {reason}"),
                    Confirmed::NeverTrusted => "was not trusted then".to_owned(),
                };
                terminal::print(&format!("  template {template}: {words}"));
            }
        }
        Ok(if confirmation.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What verifying an event again came to.
#[derive(Debug, Serialize)]
pub struct Confirmation {
    /// The event's id.
    pub id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The verdict it has.
    pub outcome: Outcome,
    /// Each credential, by its template.
    pub credentials: BTreeMap<String, Confirmed>,
}

impl Confirmation {
    /// Whether every token that was trusted is confirmed.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.credentials.values().any(|result| matches!(result, Confirmed::NoMore { .. }))
    }
}

/// What verifying a token again came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmed {
    /// It was trusted, and is.
    Again {
        /// The public key, as a JWK.
        key: Value,
    },
    /// It was trusted, and would not be.
    NoMore {
        /// Why not.
        reason: &'static str,
    },
    /// It was not trusted in the first place.
    NeverTrusted,
}

/// Verifies the tokens of a stored event again.
///
/// # Errors
/// If there is no such event, or it has no tokens.
pub async fn confirm(stack: &Stack, id: &str, subject: Option<&str>) -> anyhow::Result<Confirmation> {
    let event = Events::of(stack).await.find(id, subject).await?;
    if let Some(time) = event.erased_at {
        bail!("the tokens of this event were erased at {time:.0}");
    }
    let callback = match Callback::read(&event.body) {
        Ok(callback) if event.kind == "wallet.verification" => callback,
        _ => bail!("the event is a {}: only a wallet.verification has tokens", event.kind),
    };
    let tokens = event.evidence.get("tokens");
    let credentials = callback.credentials.into_iter().map(|(template, credential)| {
        let trusted = tokens.and_then(|tokens| tokens.get(&template)?.get("trusted"));
        let result = match (trusted, credential.token) {
            (Some(evidence), Some(token)) => match verify_again(&token, evidence, event.received_at) {
                Ok(()) => Confirmed::Again { key: evidence.get("key").cloned().unwrap_or_default() },
                Err(untrusted) => Confirmed::NoMore { reason: untrusted.code() },
            },
            _ => Confirmed::NeverTrusted,
        };
        (template, result)
    });
    Ok(Confirmation {
        id: event.id,
        received_at: event.received_at,
        outcome: event.outcome,
        credentials: credentials.collect(),
    })
}

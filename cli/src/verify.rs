//! `callbacks verify`: verifies a stored event's tokens again.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use model::{Retention, StoredEvent};
use runtime::DynamoStore;
use serde_json::{Value, json};
use wallet_verification::{issuers::verify_again, payload::Callback};

use crate::{
    Target,
    stack::{Connections, Stack},
};

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
        let connections = stack.connect().await;
        let event = self.find(&stack, &connections).await?;
        let callback = Callback::read(&event.body).map_err(|_| ()).ok().filter(|_| event.kind == "wallet.verification");
        let Some(callback) = callback else {
            bail!("the event is a {}: only a wallet.verification has tokens", event.kind);
        };

        let tokens = event.evidence.get("tokens");
        let mut all_confirmed = true;
        let mut credentials = serde_json::Map::new();
        for (template, credential) in &callback.credentials {
            let evidence = tokens.and_then(|tokens| tokens.get(template));
            let trusted = evidence.and_then(|evidence| evidence.get("trusted"));
            let result = match (trusted, &credential.token) {
                (Some(evidence), Some(token)) => match verify_again(token, evidence, event.received_at) {
                    Ok(()) => json!({ "verified": true, "key": evidence.get("key") }),
                    Err(untrusted) => {
                        all_confirmed = false;
                        json!({ "verified": false, "reason": untrusted.code() })
                    }
                },
                _ => json!({ "verified": Value::Null, "reason": "it was not trusted then" }),
            };
            credentials.insert(template.clone(), result);
        }

        if self.json {
            println!(
                "{}",
                json!({ "id": event.id, "subject": event.subject, "outcome": event.outcome, "credentials": credentials })
            );
        } else {
            println!("{} received {}, outcome {}", event.id, event.received_at, event.outcome.as_str());
            for (template, result) in &credentials {
                let word = match result.get("verified") {
                    Some(Value::Bool(true)) => "verified again".to_owned(),
                    Some(Value::Bool(false)) => format!("NOT CONFIRMED: {}", result["reason"]),
                    _ => "not trusted then".to_owned(),
                };
                println!("  template {template}: {word}");
            }
        }
        Ok(if all_confirmed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn find(&self, stack: &Stack, connections: &Connections) -> anyhow::Result<StoredEvent> {
        let subject = match &self.subject {
            Some(subject) => subject.clone(),
            None => search(&self.id, stack, connections).await?,
        };
        let store = DynamoStore::new(connections.dynamodb.clone(), stack.events_table.clone(), Retention::default());
        let found = store.find(&subject, &self.id).await.context("failed to read the events table")?;
        found.with_context(|| format!("there is no event {} with this subject", self.id))
    }
}

/// The subject of the event with this id.
async fn search(id: &str, stack: &Stack, connections: &Connections) -> anyhow::Result<String> {
    let scan = connections.dynamodb.scan().table_name(&stack.events_table).projection_expression("pk");
    let scan = scan.filter_expression("sk = :id");
    let scan = scan.expression_attribute_values(":id", aws_sdk_dynamodb::types::AttributeValue::S(id.to_owned()));
    let mut pages = scan.into_paginator().items().send();
    while let Some(item) = pages.next().await {
        let item = item.context("failed to search the events table")?;
        if let Some(Ok(subject)) = item.get("pk").map(|subject| subject.as_s()) {
            return Ok(subject.clone());
        }
    }
    bail!("there is no event {id}")
}

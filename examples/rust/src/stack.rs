//! Where the queue and the table are: in a local stack's file, or in the environment.

use std::path::PathBuf;

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::Credentials;
use clap::Args;
use serde::Deserialize;

/// What says where the queue and the table are.
#[derive(Debug, Default, Args)]
pub struct Addresses {
    /// A local stack's addresses: target/local/stack.json. Without it, the environment has them.
    #[arg(long, value_name = "FILE")]
    stack: Option<PathBuf>,
    /// The FIFO queue with the verdicts: the deployed stack's output of this name.
    #[arg(long, value_name = "URL", env = "VERIFICATION_QUEUE_URL")]
    verification_queue_url: Option<String>,
    /// The table that keeps the events: the deployed stack's output of this name.
    #[arg(long, value_name = "NAME", env = "EVENTS_TABLE")]
    events_table: Option<String>,
}

/// Where the queue and the table are, by the names that they have in stack.json.
#[derive(Debug, Deserialize)]
pub struct Stack {
    verification_queue_url: Option<String>,
    events_table: Option<String>,
    /// Where AWS is, for a local stack.
    endpoint_url: Option<String>,
    region: Option<String>,
}

impl Addresses {
    /// The addresses.
    ///
    /// # Errors
    /// If the local stack's file cannot be read.
    pub fn read(self) -> anyhow::Result<Stack> {
        let Self { stack, verification_queue_url, events_table } = self;
        match stack {
            Some(file) => {
                let text = std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("failed to understand {}", file.display()))
            }
            None => Ok(Stack { verification_queue_url, events_table, endpoint_url: None, region: None }),
        }
    }
}

impl Stack {
    /// The FIFO queue with the verdicts.
    ///
    /// # Errors
    /// If nothing says which it is.
    pub fn queue_url(&self) -> anyhow::Result<&str> {
        self.verification_queue_url.as_deref().context("no queue: name it with --stack or VERIFICATION_QUEUE_URL")
    }

    /// The table that keeps the events.
    ///
    /// # Errors
    /// If nothing says which it is.
    pub fn table(&self) -> anyhow::Result<&str> {
        self.events_table.as_deref().context("no table: name it with --stack or EVENTS_TABLE")
    }

    /// How AWS is reached.
    pub async fn aws(&self) -> SdkConfig {
        let mut config = aws_config::defaults(BehaviorVersion::latest());
        if let Some(endpoint_url) = &self.endpoint_url {
            // A local stack takes any credentials, but some there have to be.
            let credentials = Credentials::new("local", "local", None, None, "local stack");
            let region = Region::new(self.region.clone().unwrap_or_default());
            config = config.endpoint_url(endpoint_url).region(region).credentials_provider(credentials);
        }
        config.load().await
    }
}

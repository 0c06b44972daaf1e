//! Fetches the payload of a message. It is personal data: see docs/payload.md.

use std::io::Write as _;

use anyhow::Context as _;
use aws_sdk_dynamodb::Client;
use clap::Parser;
use example_consumer::{payload::fetch, stack::Addresses};

/// Fetches the payload of a message: the callback's body as it came.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    addresses: Addresses,
    /// The message's subject.
    subject: String,
    /// The message's id.
    id: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let stack = options.addresses.read()?;
    let dynamodb = Client::new(&stack.aws().await);
    let payload = fetch(&dynamodb, stack.table()?, &options.subject, &options.id).await?;
    let payload = payload.context("there is no such event, or it is not kept any more")?;
    std::io::stdout().write_all(&payload).context("failed to write the payload")
}

//! `callbacks expect`: announces what a provider will call back about.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::{
    Target,
    wallet::{self, Announcement},
};

/// Announces what a provider will call back about.
///
/// Your service does it with `PUT /expectations/wallet`; this does the same by hand.
#[derive(Debug, Args)]
pub struct Expect {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Wallet(Wallet),
}

/// A verification or issuance that was begun at the wallet gateway.
///
/// Only the code's hash is kept. The same announcement may be made again; another one for the same code is refused.
#[derive(Debug, Args)]
struct Wallet {
    /// The code that init returned.
    #[arg(long)]
    code: String,
    /// The state that was given to init, if any.
    #[arg(long)]
    state: Option<String>,
    /// The id of a template that was asked for; may be given several times.
    #[arg(long = "template", value_name = "ID")]
    template_ids: Vec<String>,
    /// When the callback is due, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    due_at: Option<model::Timestamp>,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Expect {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let What::Wallet(Wallet { code, state, template_ids, due_at, target, json }) = self.what;
        let stack = target.resolve().await?;
        let announcement = Announcement { code, state, template_ids, due_at };
        let http = reqwest::Client::new();
        match wallet::announce(&http, &stack, &stack.connect().await, &announcement).await? {
            (201 | 200, answer) if json => say!("{answer}"),
            (201, _) => say!("Expected."),
            (200, _) => say!("Expected, as it was before."),
            (409, _) => bail!("another announcement was made for this code, and stands"),
            (403, _) => bail!("your AWS credentials may not call the API: they need execute-api:Invoke"),
            (status, answer) => bail!("the API answered {status}: {answer}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

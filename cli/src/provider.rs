//! `callbacks provider`: plays the providers that a local stack asks for verdicts.

mod answers;
mod stand_in;

use std::{
    fs::File,
    path::Path,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

pub use stand_in::{Calls, Played, Report, Scenario, Setting, StandIns, Verification};

use crate::{Target, terminal};

/// Play the providers that a local stack asks for verdicts.
///
/// A local stack asks stand-ins of the providers, which run beside it on 127.0.0.1. They know no verification until you
/// set one. They check credentials as the providers do, and answer with invented data.
#[derive(Debug, Args)]
pub struct Provider {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Set(Set),
    Show(Show),
    ExpireTokens(ExpireTokens),
    #[command(hide = true)]
    Serve(Serve),
}

/// Set what a provider answers about a verification.
///
/// Setting it again counts its calls from 0. Jumio answers the same about a scan, an authentication and a document with
/// this reference.
#[derive(Debug, Args)]
struct Set {
    /// The provider.
    provider: Played,
    /// The verification, as the provider's callbacks name it.
    subject: String,
    /// What it answers.
    scenario: Scenario,
    /// How many times it first answers that there is no verdict yet.
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    pending: u32,
    /// The only dossier that has the process, for Signicat. Without it, any has.
    #[arg(long, value_name = "ID")]
    dossier: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Show what the providers answer, and how often they were asked.
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    target: Target,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Refuse all access tokens that Signicat has issued, as if their time were over.
#[derive(Debug, Args)]
struct ExpireTokens {
    #[command(flatten)]
    target: Target,
}

/// Run the stand-ins until the process ends, and print their address.
#[derive(Debug, Args)]
struct Serve {}

impl Provider {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.what {
            What::Set(Set { provider, subject, scenario, pending, dossier, target }) => {
                let setting = Setting { provider, subject, scenario, pending, dossier };
                Control::of(target).await?.set(&setting).await?;
                eprintln!("Set.");
            }
            What::Show(Show { target, json }) => {
                let report = Control::of(target).await?.show().await?;
                if json {
                    terminal::print_json(&serde_json::to_value(&report)?)?;
                } else {
                    say!("{}", calls_table(&report));
                    if !report.verifications.is_empty() {
                        say!("{}", verifications_table(&report));
                    }
                }
            }
            What::ExpireTokens(ExpireTokens { target }) => {
                Control::of(target).await?.expire_tokens().await?;
                eprintln!("Expired.");
            }
            What::Serve(Serve {}) => {
                let stand_ins = StandIns::bind().await?;
                say!("{}", stand_ins.url());
                stand_ins.serve().await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn calls_table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["provider", "calls", "refused"]);
    for (provider, calls) in &report.providers {
        table.add_row([provider.as_str().to_owned(), calls.total.to_string(), calls.refused.to_string()]);
    }
    table
}

fn verifications_table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["provider", "verification", "answers", "asked", "calls"]);
    for Verification { setting, asked, calls } in &report.verifications {
        let answers = match setting.pending {
            0 => setting.scenario.to_string(),
            times => format!("{times} times pending, then {}", setting.scenario),
        };
        let subject = terminal::harmless(&setting.subject).into_owned();
        let provider = setting.provider.as_str().to_owned();
        table.add_row([provider, subject, answers, asked.to_string(), calls.to_string()]);
    }
    table
}

/// The way to stand-ins that run.
#[derive(Debug, Clone)]
pub struct Control {
    http: reqwest::Client,
    url: String,
}

impl Control {
    /// The stand-ins at this address.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { http: reqwest::Client::new(), url: url.to_owned() }
    }

    async fn of(target: Target) -> anyhow::Result<Self> {
        let stack = target.resolve().await?;
        let url = stack.providers_url.context("only a local stack has stand-ins of the providers")?;
        Ok(Self::new(&url))
    }

    /// Sets what is answered about a verification.
    ///
    /// # Errors
    /// If the provider has no such answer, or the stand-ins do not run.
    pub async fn set(&self, setting: &Setting) -> anyhow::Result<()> {
        self.call(self.http.put(format!("{}/_state", self.url)).json(setting)).await?;
        Ok(())
    }

    /// Returns what is answered, and how often that was asked for.
    ///
    /// # Errors
    /// If the stand-ins do not run.
    pub async fn show(&self) -> anyhow::Result<Report> {
        let report = self.call(self.http.get(format!("{}/_state", self.url))).await?;
        serde_json::from_str(&report).context("failed to read what the stand-ins answered")
    }

    /// Makes Signicat refuse all access tokens that it has issued.
    ///
    /// # Errors
    /// If the stand-ins do not run.
    pub async fn expire_tokens(&self) -> anyhow::Result<()> {
        self.call(self.http.delete(format!("{}/_state/tokens", self.url))).await?;
        Ok(())
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> anyhow::Result<String> {
        let response = request
            .send()
            .await
            .context("the stand-ins of the providers do not answer: start them with `cargo callbacks local`")?;
        let status = response.status();
        let text = response.text().await.context("failed to read what the stand-ins answered")?;
        if !status.is_success() {
            bail!("{text}");
        }
        Ok(text)
    }
}

/// Starts stand-ins as a process in this group, which ends as a whole, and returns the process and their address.
pub(crate) async fn start(callbacks: &Path, group: u32, log: File) -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(callbacks);
    command.args(["provider", "serve"]).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.process_group(i32::try_from(group)?);
    let mut child = command.spawn().context("failed to start the stand-ins of the providers")?;
    let mut url = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let line = tokio::time::timeout(Duration::from_secs(30), stdout.read_line(&mut url)).await;
        line.context("the stand-ins of the providers do not start within 30 s")?
            .context("failed to read where the stand-ins of the providers are")?;
    }
    match url.trim() {
        "" => bail!("the stand-ins of the providers ended at once"),
        url => Ok((child, url.to_owned())),
    }
}

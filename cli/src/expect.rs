//! `callbacks expect`: announces what a provider will call back about.

use std::{
    io::{BufRead, IsTerminal as _},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

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
/// Prints the subject of the callback's events: the state or, without one, an id. Only the code's hash is kept. The same announcement may
/// be made again; another one for the same code is refused.
#[derive(Debug, Args)]
struct Wallet {
    /// What was begun with init. The code is good for nothing else.
    #[arg(long)]
    purpose: Purpose,
    /// The code that init returned. Without it, or as `-`, one line of standard input: other users can see a process's arguments.
    #[arg(long)]
    code: Option<String>,
    /// The state that was given to init, if any.
    #[arg(long)]
    state: Option<String>,
    /// The id of a template that was asked for; may be given several times. An issuance needs at least one.
    #[arg(long = "template", value_name = "ID", required_if_eq("purpose", "issuance"))]
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    /// A wallet is asked for credentials
    Verification,
    /// Credentials are issued to a wallet
    Issuance,
}

impl From<Purpose> for model::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Verification => Self::Verification,
            Purpose::Issuance => Self::Issuance,
        }
    }
}

impl Expect {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let What::Wallet(Wallet { purpose, code, state, template_ids, due_at, target, json }) = self.what;
        let stack = target.resolve().await?;
        let code = match code.filter(|code| code != "-") {
            Some(code) => code,
            None => {
                let input = std::io::stdin();
                if input.is_terminal() {
                    eprintln!("The code that init returned:");
                }
                first_line(input.lock())?
            }
        };
        let announcement = Announcement { purpose: purpose.into(), code, state, template_ids, due_at };
        let http = reqwest::Client::new();
        match wallet::announce(&http, &stack, &stack.connect().await, &announcement).await? {
            (201 | 200, answer) if json => say!("{answer}"),
            (201, answer) => say!("Expected, with the subject {}", wallet::announced_subject(&answer)?),
            (200, answer) => {
                say!("Expected, as it was before, with the subject {}", wallet::announced_subject(&answer)?);
            }
            (409, _) => bail!("another announcement was made for this code, and stands"),
            (403, _) => bail!("your AWS credentials may not call the API: they need execute-api:Invoke"),
            (status, answer) => bail!("the API answered {status}: {answer}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The first line, without what is blank around it.
fn first_line(mut input: impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).context("failed to read the code from standard input")?;
    match line.trim() {
        "" => bail!("there is no code on standard input"),
        code => Ok(code.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::Cli;

    #[test]
    fn the_code_is_the_first_line() {
        for input in ["example-code", "example-code\n", "  example-code\r\n", "example-code\nanother\n"] {
            assert_eq!(first_line(input.as_bytes()).unwrap(), "example-code", "{input:?}");
        }
        for input in ["", "\n", " \t\r\n", "\nexample-code\n"] {
            assert!(first_line(input.as_bytes()).is_err(), "{input:?}");
        }
    }

    #[test]
    fn the_purpose_is_required_and_an_issuance_names_its_templates() {
        let is_understood = |arguments: &[&str]| {
            let command = ["callbacks", "expect", "wallet"].into_iter().chain(arguments.iter().copied());
            Cli::try_parse_from(command).is_ok()
        };
        assert!(is_understood(&["--purpose", "verification"]));
        assert!(is_understood(&["--purpose", "verification", "--code", "-"]));
        assert!(is_understood(&["--purpose", "issuance", "--template", "1"]));
        assert!(!is_understood(&["--code", "example-code"]));
        assert!(!is_understood(&["--purpose", "login"]));
        assert!(!is_understood(&["--purpose", "issuance"]));
    }
}

//! `callbacks expect`: announces what a provider will call back about.

use std::{
    io::{BufRead, IsTerminal as _},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum, error::ErrorKind};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use model::{Timestamp, Track};
use providers::{REGISTRATIONS, Registration};
use serde_json::{Map, Value, json};

use crate::{
    Target, api,
    selection::now,
    stack::{Connections, Stack},
    wallet::{self, Announcement},
};

/// Announce what a provider will call back about.
///
/// Your service does it with `PUT /expectations/{provider}`; this does the same by hand. A verdict that has not come by
/// then is fetched from the provider, or reported as overdue. The same announcement may be made again. Another one about
/// the same verdict is refused, such as a second one with --due-in.
#[derive(Debug, Args)]
pub struct Expect {
    #[command(subcommand)]
    what: What,
}

/// One subcommand for each provider.
#[derive(Debug)]
enum What {
    Verdict(&'static Registration, Verdict, Map<String, Value>),
    Wallet(Wallet),
}

impl Subcommand for What {
    fn augment_subcommands(command: Command) -> Command {
        let command = REGISTRATIONS.iter().filter(|registration| is_announced_by_subject(registration)).fold(
            command,
            |command, Registration { provider, settings, .. }| {
                let verdict = Verdict::augment_args(Command::new(*provider).about(settings.verification));
                let options = settings.references.iter().map(|reference| {
                    Arg::new(reference.detail).long(reference.option).value_name("ID").help(reference.description)
                });
                command.subcommand(verdict.args(options))
            },
        );
        command.subcommand(Wallet::augment_args(Command::new("wallet")))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == "wallet" || with_name(name).is_some()
    }
}

impl FromArgMatches for What {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (name, matches) = matches.subcommand().ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        let Some(registration) = with_name(name) else { return Wallet::from_arg_matches(matches).map(Self::Wallet) };
        let details = registration.settings.references.iter().filter_map(|reference| {
            let value = matches.get_one::<String>(reference.detail)?;
            Some((reference.detail.to_owned(), value.clone().into()))
        });
        Ok(Self::Verdict(registration, Verdict::from_arg_matches(matches)?, details.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The provider of this name, if its verdicts are announced by their subject.
fn with_name(name: &str) -> Option<&'static Registration> {
    REGISTRATIONS.iter().find(|registration| is_announced_by_subject(registration) && registration.provider == name)
}

fn is_announced_by_subject(registration: &Registration) -> bool {
    !registration.settings.tracks.is_empty()
}

/// A verdict that is expected.
#[derive(Debug, Args)]
struct Verdict {
    /// The provider's reference of the verification: the subject of its events.
    #[arg(long)]
    subject: String,
    /// The track of the verdict [default: the provider's first].
    #[arg(long)]
    track: Option<String>,
    #[command(flatten)]
    due: Due,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// When a verdict is due.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Due {
    /// When the verdict is due, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    due_at: Option<Timestamp>,
    /// How long from now the verdict is due, such as 5m, 2h or 7d.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    due_in: Option<SignedDuration>,
}

impl Due {
    fn time(&self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match (self.due_at, self.due_in) {
            (Some(time), _) => Ok(time),
            (None, Some(span)) => now.checked_add(span).context("the verdict is due too far ahead"),
            (None, None) => bail!("name --due-at or --due-in"),
        }
    }
}

/// A length of time from now on, of weeks and shorter units.
fn span(text: &str) -> Result<SignedDuration, String> {
    let span: Option<Span> = text.parse().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    duration.filter(SignedDuration::is_positive).ok_or_else(|| "not a span like 30s, 5m, 2h or 7d".to_owned())
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
    due_at: Option<Timestamp>,
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
        match self.what {
            What::Verdict(registration, verdict, details) => {
                verdict.announce(registration.provider, registration.settings.tracks, details).await
            }
            What::Wallet(wallet) => wallet.announce().await,
        }
    }
}

impl Verdict {
    async fn announce(self, provider: &str, tracks: &[Track], details: Map<String, Value>) -> anyhow::Result<ExitCode> {
        let Self { subject, track, due, target, json } = self;
        if let Some(track) = &track
            && !tracks.iter().any(|known| known.name() == track)
        {
            let known: Vec<&str> = tracks.iter().map(Track::name).collect();
            bail!("{provider} has no track {track} with verdicts, only {}", known.join(", "));
        }
        let due_at = due.time(now())?;
        let mut body = json!({ "subject": subject, "due_at": due_at });
        if let Some(members) = body.as_object_mut() {
            members.extend(track.map(|track| ("track".to_owned(), track.into())));
            if !details.is_empty() {
                members.insert("details".to_owned(), details.into());
            }
        }
        let stack = target.resolve().await?;
        let http = reqwest::Client::new();
        match put(&http, &stack, &stack.connect().await, provider, body.to_string()).await? {
            (201 | 200, answer) if json => say!("{answer}"),
            (201, _) => say!("Expected by {due_at}"),
            (200, _) => say!("Expected by {due_at}, as it was before"),
            (404, _) => {
                bail!(
                    "{provider} is not deployed in this stack: its parameters Providers and WalletGateway say what is"
                )
            }
            (409, answer) => bail!("{}; the first announcement stands", problem(&answer)),
            (400, answer) => bail!("the announcement is wrong: {}", problem(&answer)),
            other => bail!("{}", refusal(other)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Announces something to a stack's API, and returns the status and the body of the answer.
pub(crate) async fn put(
    http: &reqwest::Client,
    stack: &Stack,
    connections: &Connections,
    provider: &str,
    body: String,
) -> anyhow::Result<(u16, String)> {
    let route = stack.url("expectations")?;
    if !route.ends_with("/{provider}") && !route.ends_with(&format!("/{provider}")) {
        bail!("the stack is of an earlier version, which expects nothing of {provider}");
    }
    let url = route.replace("{provider}", provider);
    let mut request = http.put(&url).header("content-type", "application/json");
    for (name, value) in api::signature(stack, connections, "PUT", &url, body.as_bytes()).await? {
        request = request.header(name, value);
    }
    let response = request.body(body).send().await.context("failed to announce what is expected")?;
    let status = response.status().as_u16();
    Ok((status, response.text().await.context("failed to read the answer to an announcement")?))
}

/// What the API says is wrong.
fn problem(answer: &str) -> String {
    let said = serde_json::from_str::<Value>(answer).ok();
    let said = said.as_ref().and_then(|answer| answer.get("error")?.as_str());
    said.unwrap_or(answer).to_owned()
}

/// What it means that the API answered otherwise.
fn refusal((status, answer): (u16, String)) -> String {
    match status {
        403 => "your AWS credentials may not call the API: they need execute-api:Invoke".to_owned(),
        _ => format!("the API answered {status}: {}", problem(&answer)),
    }
}

impl Wallet {
    async fn announce(self) -> anyhow::Result<ExitCode> {
        let Self { purpose, code, state, template_ids, due_at, target, json } = self;
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
            other => bail!("{}", refusal(other)),
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

    #[test]
    fn a_verdict_is_due_at_one_time() {
        let is_understood = |arguments: &[&str]| {
            let command = ["callbacks", "expect"].into_iter().chain(arguments.iter().copied());
            Cli::try_parse_from(command).is_ok()
        };
        let at = ["--due-at", "2026-01-31T12:00:00Z"];
        for Registration { provider, .. } in REGISTRATIONS.iter().filter(|one| is_announced_by_subject(one)) {
            assert!(is_understood(&[provider, "--subject", "s", at[0], at[1]]));
            assert!(is_understood(&[provider, "--subject", "s", "--due-in", "5m"]));
            assert!(!is_understood(&[provider, "--subject", "s"]));
            assert!(!is_understood(&[provider, "--subject", "s", at[0], at[1], "--due-in", "5m"]));
            assert!(!is_understood(&[provider, "--due-in", "5m"]));
            let dossier = is_understood(&[provider, "--subject", "s", "--due-in", "5m", "--dossier", "d"]);
            assert_eq!(dossier, *provider == "signicat");
        }
        assert!(!is_understood(&["nobody", "--subject", "s", "--due-in", "5m"]));
    }

    #[test]
    fn a_span_is_in_the_future() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h30m", 5400), ("7d", 604_800), ("PT1H", 3600)] {
            assert_eq!(span(text).unwrap(), SignedDuration::from_secs(seconds), "{text}");
        }
        for text in ["", "5", "0s", "-5m", "5m ago", "1mo", "soon", "2026-01-31T12:00:00Z"] {
            assert!(span(text).is_err(), "{text}");
        }
        let due = Due { due_at: None, due_in: Some(SignedDuration::from_secs(300)) };
        assert_eq!(due.time(Timestamp::UNIX_EPOCH).unwrap().as_second(), 300);
    }
}

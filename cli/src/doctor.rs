//! `callbacks doctor`: whether a stack is as it should be.

use std::process::ExitCode;

use anyhow::Context as _;
use aws_sdk_dynamodb::types::{IndexStatus, StreamViewType, TableDescription, TableStatus, TimeToLiveStatus};
use aws_sdk_sqs::types::QueueAttributeName;
use clap::Args;
use console::{StyledObject, style};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use model::SecretPair;
use reqwest::{Client, header::DATE};
use serde::Serialize;
use serde_json::json;

use crate::{
    Target,
    selection::now,
    stack::{Connections, Stack},
};

/// Check a stack: its table, queues, secrets and API, the clock, and whether something is stuck.
///
/// Changes nothing. It calls the routes of your own services without a signature, which the API has to refuse; no function
/// sees that. With --routes, it calls those of the providers too. Exits with 1 if something is wrong.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    target: Target,
    /// Send an empty callback without credentials to each provider's route too. Its function has to refuse it, and counts and
    /// logs that: one refusal a provider, for the reason `missing` or `source_address`.
    #[arg(long)]
    routes: bool,
    /// Print one JSON object a check.
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// What it came to.
    pub verdict: Verdict,
    /// More about it: what is wrong, and the way out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth a look, or not to be found out.
    Look,
    /// Not as it should be.
    Wrong,
}

impl Verdict {
    /// The word for it, in its colour.
    pub(crate) fn mark(self) -> StyledObject<&'static str> {
        match self {
            Self::Good => style("good ").green(),
            Self::Look => style("look ").yellow(),
            Self::Wrong => style("WRONG").red(),
        }
    }
}

impl Doctor {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let findings = examine(&stack, self.routes).await;
        for finding in &findings {
            let Finding { check, verdict, about } = finding;
            if self.json {
                say!("{}", serde_json::to_string(finding)?);
                continue;
            }
            let mark = verdict.mark();
            say!("{mark}  {check}{}{about}", if about.is_empty() { "" } else { ": " });
        }
        let count = |wanted| findings.iter().filter(|finding| finding.verdict == wanted).count();
        let (good, look, wrong) = (count(Verdict::Good), count(Verdict::Look), count(Verdict::Wrong));
        let not_called = if self.routes { "" } else { " The providers' routes were not called: --routes does." };
        eprintln!("{good} good, {look} to look at, {wrong} wrong.{not_called}");
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Checks everything, one after the other; the routes of the providers only if they may count a refusal.
pub async fn examine(stack: &Stack, call_providers_routes: bool) -> Vec<Finding> {
    let connections = stack.connect().await;
    let mut findings = Findings::default();
    findings.version(stack);
    findings.table(stack, &connections).await;
    findings.queues(stack, &connections).await;
    findings.secrets(stack, &connections).await;
    findings.routes(stack, call_providers_routes).await;
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn note(&mut self, check: impl Into<String>, verdict: Verdict, about: impl Into<String>) {
        self.0.push(Finding { check: check.into(), verdict, about: about.into() });
    }

    /// Good if this holds, else wrong for this reason.
    fn check(&mut self, check: impl Into<String>, holds: bool, else_about: &str) {
        let (verdict, about) = if holds { (Verdict::Good, "") } else { (Verdict::Wrong, else_about) };
        self.note(check, verdict, about);
    }

    fn version(&mut self, stack: &Stack) {
        let ours = env!("CARGO_PKG_VERSION");
        let check = format!("version {}", stack.version);
        let differs = format!("this command is {ours}: use the one of the stack's version, or deploy");
        let verdict = if stack.version == ours { Verdict::Good } else { Verdict::Look };
        self.note(check, verdict, if verdict == Verdict::Good { String::new() } else { differs });
    }

    async fn table(&mut self, stack: &Stack, connections: &Connections) {
        let name = &stack.events_table;
        let table = match connections.dynamodb.describe_table().table_name(name).send().await {
            Ok(described) => described.table,
            Err(error) => {
                return self.note(format!("table {name}"), Verdict::Wrong, format!("{:#}", anyhow::Error::from(error)));
            }
        };
        let is = |holds: fn(&TableDescription) -> bool| table.as_ref().is_some_and(holds);
        self.check(
            format!("table {name}"),
            is(|table| table.table_status == Some(TableStatus::Active)),
            "it is not active",
        );
        let streams = |table: &TableDescription| {
            let stream = table.stream_specification.as_ref();
            stream.is_some_and(|stream| {
                stream.stream_enabled && stream.stream_view_type == Some(StreamViewType::NewImage)
            })
        };
        self.check("its stream", is(streams), "it has none with new images: nothing is published");
        let by_day = |table: &TableDescription| {
            let mut indexes = table.global_secondary_indexes().iter();
            indexes
                .any(|index| index.index_name() == Some("by-day") && index.index_status() == Some(&IndexStatus::Active))
        };
        self.check("its index by-day", is(by_day), "it is not there: list, replay and reprocess need it");
        let expires = match connections.dynamodb.describe_time_to_live().table_name(name).send().await {
            Ok(described) => described.time_to_live_description.is_some_and(|ttl| {
                let on = [Some(TimeToLiveStatus::Enabled), Some(TimeToLiveStatus::Enabling)];
                on.contains(&ttl.time_to_live_status) && ttl.attribute_name.as_deref() == Some("expires_at")
            }),
            Err(_) => false,
        };
        self.check(
            "its time to live",
            expires,
            "items are not deleted by expires_at: passwords and personal data stay",
        );
    }

    async fn queues(&mut self, stack: &Stack, connections: &Connections) {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Waiting, ApproximateNumberOfMessagesNotVisible as Received, RedrivePolicy,
        };
        let (look, drain) =
            ("look with `callbacks redrive`", "the table does not take them: see the log of spill-drain");
        // Each with what it means that there is something in it, if that means something.
        for (what, url, dead_letters, stuck) in [
            ("verdicts", &stack.verification_queue_url, Some(&stack.verification_dead_letters_url), None),
            ("deliveries", &stack.delivery_queue_url, Some(&stack.delivery_dead_letters_url), None),
            ("spilled", &stack.spill_queue_url, Some(&stack.spill_dead_letters_url), Some(drain)),
            ("dead verdicts", &stack.verification_dead_letters_url, None, Some(look)),
            ("dead deliveries", &stack.delivery_dead_letters_url, None, Some(look)),
            ("dead spilled", &stack.spill_dead_letters_url, None, Some(look)),
            ("unpublished", &stack.unpublished_queue_url, None, Some(look)),
        ] {
            let check = format!("queue of the {what}");
            let attributes =
                connections.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
            let attributes = match attributes.send().await {
                Ok(got) => got.attributes.unwrap_or_default(),
                Err(error) => {
                    self.note(check, Verdict::Wrong, format!("{:#}", anyhow::Error::from(error)));
                    continue;
                }
            };
            let name = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
            let policy = attributes.get(&RedrivePolicy).map_or("", String::as_str);
            let number = |name| attributes.get(&name).and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
            let count = number(Waiting);
            if dead_letters.is_some_and(|dead_letters| !policy.contains(&name(dead_letters))) {
                self.note(check, Verdict::Wrong, "it has no dead-letter queue: poison messages block it, or are lost");
            } else if let Some(stuck) = stuck.filter(|_| count > 0) {
                self.note(check, Verdict::Look, format!("{count} messages: {stuck}"));
            } else {
                self.note(check, Verdict::Good, format!("{count} waiting, {} received", number(Received)));
            }
        }
    }

    async fn secrets(&mut self, stack: &Stack, connections: &Connections) {
        for (function, id) in &stack.secrets {
            let check = format!("secret of {function}");
            if stack.endpoint_url.is_some() {
                // A local stack's are in stack.json.
                self.check(check, !id.is_empty(), "it is empty");
                continue;
            }
            match connections.secrets_manager.get_secret_value().secret_id(id).send().await {
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    self.note(check, Verdict::Look, format!("it could not be read: may you? ({error:#})"));
                }
                Ok(value) => match SecretPair::from_json(value.secret_string().unwrap_or_default()) {
                    Ok(_) => self.note(check, Verdict::Good, ""),
                    Err(error) => self.note(check, Verdict::Wrong, error.to_string()),
                },
            }
        }
    }

    async fn routes(&mut self, stack: &Stack, call_providers_routes: bool) {
        let http = Client::new();
        let mut clock = None;
        // The API itself refuses what is not signed for these two.
        let is_signed = |function: &str| ["expectations", "verifications"].contains(&function);
        for function in stack.routes.keys().filter(|function| call_providers_routes || is_signed(function)) {
            let check = format!("route of {function}");
            match refuses(&http, stack, function).await {
                Err(error) => self.note(check, Verdict::Wrong, format!("{error:#}")),
                Ok((status, date)) => {
                    clock = clock.or(date);
                    let about = match status {
                        401 | 403 => String::new(),
                        404 => "it is not there: is the stack deployed whole?".to_owned(),
                        503 => "it could not check: see the function's log".to_owned(),
                        _ => format!("an empty callback was answered {status} instead of being refused"),
                    };
                    self.note(check, if about.is_empty() { Verdict::Good } else { Verdict::Wrong }, about);
                }
            }
        }
        match clock.map(|theirs: Timestamp| (theirs.duration_since(now())).abs()) {
            None => self.note("clock", Verdict::Look, "no route said what time it is"),
            Some(off) if off > SignedDuration::from_secs(30) => {
                let about =
                    format!("it is {} s off: AWS refuses what is signed more than five minutes off", off.as_secs());
                self.note("clock", Verdict::Wrong, about);
            }
            Some(_) => self.note("clock", Verdict::Good, ""),
        }
    }
}

/// Sends an empty callback without credentials, and returns the status and the time of the answer.
async fn refuses(http: &Client, stack: &Stack, function: &str) -> anyhow::Result<(u16, Option<Timestamp>)> {
    let url = stack.url(function)?.replace("{secret}", "none");
    let url = stack.secrets.get(function).map_or(url.clone(), |secret| url.replace(secret, "none"));
    let request = match function {
        "expectations" => http.put(url),
        "verifications" => http.get(url.replace("{provider}", "none").replace("{subject}", "none")),
        _ => http.post(url),
    };
    let request = stack.host_header.iter().fold(request, |request, host| request.header("host", host));
    let response = request.body(json!({}).to_string()).send().await.context("no answer")?;
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp());
    Ok((response.status().as_u16(), date))
}

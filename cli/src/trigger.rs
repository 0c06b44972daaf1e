//! `callbacks trigger`: plays a provider about a verification of yours.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use model::Outcome;
use serde_json::json;

use crate::{
    Target, parsers, project_root,
    sample::Sample,
    selection::{now, outcome},
    send::{CameTo, Played, Player, field},
};

/// Send a provider's callback about a verification of yours.
///
/// Takes the callback from events/, puts your reference into it, and authenticates it as the provider would: with its
/// secret, a signature, or an announced code. So you can try your service against any outcome without the provider. Needs
/// this project's folder. A deployed stack's consumers receive what it publishes.
///
/// Exits with 1 if a callback is not acknowledged.
#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// Provider and kind, such as jumio.netverify-id.
    #[arg(value_parser = parsers::kind, required_unless_present = "list")]
    kind: Option<String>,
    /// List the kinds and the outcomes that each can have.
    #[arg(long, conflicts_with_all = ["kind", "outcome", "course", "subject", "fields"])]
    list: bool,
    /// The outcome of the callback [default: the first that --list shows for the kind].
    #[arg(long, value_parser = outcome, conflicts_with = "course")]
    outcome: Option<Outcome>,
    /// Send several callbacks about the verification, one after the other, such as approved,rejected,approved.
    #[arg(long, value_name = "OUTCOME,…", value_parser = outcome, value_delimiter = ',')]
    course: Vec<Outcome>,
    /// The reference of the verification [default: a new one].
    #[arg(long)]
    subject: Option<String>,
    /// Set a field of the body: one of a form, or of JSON by its name or JSON pointer, such as /data/result=VERIFIED. May be
    /// given several times. It may change the outcome.
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object a callback, or a kind.
    #[arg(long)]
    json: bool,
}

/// What can be triggered: a sample of each kind and outcome.
struct Catalog(BTreeMap<String, Vec<(Outcome, Sample)>>);

impl Catalog {
    /// Takes the first sample that can be about any verification, of each kind and outcome.
    fn of(samples: Vec<Sample>) -> Self {
        let mut kinds: BTreeMap<String, Vec<(Outcome, Sample)>> = BTreeMap::new();
        for sample in samples {
            let Some(event) = sample.expect.event.as_ref().filter(|event| event.unrecognized.is_none()) else {
                continue;
            };
            let outcomes = kinds.entry(event.kind.clone()).or_default();
            if sample.about("example").is_some() && outcomes.iter().all(|(known, _)| *known != event.outcome) {
                outcomes.push((event.outcome, sample));
            }
        }
        kinds.retain(|_, outcomes| !outcomes.is_empty());
        kinds.values_mut().for_each(|outcomes| outcomes.sort_by_key(|(outcome, _)| order(*outcome)));
        Self(kinds)
    }

    /// The sample of a kind with this outcome, or with its usual one.
    fn find(&self, kind: &str, outcome: Option<Outcome>) -> anyhow::Result<&Sample> {
        let outcomes = self.0.get(kind).map(Vec::as_slice).unwrap_or_default();
        let found = outcomes.iter().find(|(known, _)| outcome.is_none_or(|outcome| outcome == *known));
        found.map(|(_, sample)| sample).with_context(|| match (outcomes, outcome) {
            ([_, ..], Some(outcome)) => {
                let known: Vec<&str> = outcomes.iter().map(|(known, _)| known.as_str()).collect();
                format!("no callback of {kind} is {}: it can be {}", outcome.as_str(), known.join(", "))
            }
            _ => format!("{kind} cannot be triggered: `callbacks trigger --list` shows what can"),
        })
    }

    fn print(&self, json: bool) {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(["kind", "outcomes"]);
        for (kind, outcomes) in &self.0 {
            let outcomes: Vec<&str> = outcomes.iter().map(|(outcome, _)| outcome.as_str()).collect();
            if json {
                say!("{}", json!({ "kind": kind, "outcomes": outcomes }));
            } else {
                table.add_row([kind.as_str(), &outcomes.join(", ")]);
            }
        }
        if !json {
            say!("{table}");
        }
    }
}

/// The usual outcome first.
fn order(outcome: Outcome) -> usize {
    let usual = [Outcome::Approved, Outcome::Rejected, Outcome::Review, Outcome::ActionRequired, Outcome::Pending];
    usual.iter().position(|usual| *usual == outcome).unwrap_or(usual.len())
}

impl Trigger {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = Catalog::of(Sample::all(&project_root()?)?);
        let Some(kind) = &self.kind else {
            catalog.print(self.json);
            return Ok(ExitCode::SUCCESS);
        };
        // All are made before any is sent.
        let subject = self.subject.clone().unwrap_or_else(|| format!("triggered-{}", now().as_millisecond()));
        let course: Vec<Option<Outcome>> =
            if self.course.is_empty() { vec![self.outcome] } else { self.course.iter().copied().map(Some).collect() };
        let callbacks = course.into_iter().map(|outcome| self.callback(catalog.find(kind, outcome)?, &subject));
        let callbacks = callbacks.collect::<anyhow::Result<Vec<_>>>()?;

        let stack = self.target.resolve().await?;
        let player = Player::of(&stack).await?;
        let mut acknowledged = true;
        for callback in callbacks {
            if !stack.routes.contains_key(&callback.function) {
                bail!("the stack has no route for {}: is it named in the parameter Providers?", callback.function);
            }
            let Played { sample, answer, came_to } = player.play(callback).await?;
            acknowledged &= answer.status == 200;
            let outcome = sample.expect.event.as_ref().map(|event| event.outcome.as_str());
            // What a changed field comes to is not in the file.
            let outcome = outcome.filter(|_| self.fields.is_empty());
            if self.json {
                let came_to = came_to.map(CameTo::code);
                let line = json!({
                    "kind": kind, "subject": subject, "outcome": outcome, "answer": answer, "came_to": came_to,
                });
                say!("{line}");
            } else {
                let outcome = outcome.map(|outcome| format!("  {outcome}")).unwrap_or_default();
                let came_to = came_to.map(|came_to| format!("  {}", came_to.text())).unwrap_or_default();
                say!("{kind}{outcome}  {subject}  {} {}{came_to}", answer.status, answer.body);
            }
        }
        Ok(if acknowledged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The sample about the verification, with the fields that are wanted.
    fn callback(&self, sample: &Sample, subject: &str) -> anyhow::Result<Sample> {
        let name = sample.name();
        let sample = sample.about(subject).with_context(|| format!("{name} does not name its subject"))?;
        self.fields.iter().try_fold(sample, |sample, (field, value)| sample.with_field(field, value))
    }
}

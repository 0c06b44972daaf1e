//! `callbacks send`: plays the provider.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use console::{StyledObject, style};
use model::{Decision, StoredEvent};
use runtime::DynamoCourses;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    Target,
    events::Events,
    rows::{decision_about, with_rows},
    sample::{self, Sample, Secrets},
    selection::now,
    stack::{Connections, Stack},
};

/// Send samples to a stack, as the provider would, and say what came of each.
///
/// A sample is a file like those in events/. Where it has the local stack's secret, a deployed stack gets its own, which takes the
/// right to read it. A callback that is stored is published, late, or a repeat of which nothing is published: the verifications
/// table says which, after a second or two. Exits with 1 if an answer is not what the file expects.
#[derive(Debug, Args)]
pub struct Send {
    /// The samples, such as events/verifyvasp/tx-report.json.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Send nothing: print the event, announced and signed if it is a wallet's, as for `sam local invoke -e -`.
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// Send it about a new verification, so that it is no repeat.
    #[arg(long, conflicts_with = "subject")]
    fresh: bool,
    /// Send it about this verification.
    #[arg(long)]
    subject: Option<String>,
    /// Set a field of the body: one of a form, or of JSON by its name or JSON pointer, such as /data/result=VERIFIED. May be given
    /// several times. The answer is not compared then.
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object a sample.
    #[arg(long)]
    json: bool,
}

impl Send {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        // All are read before any is sent.
        let samples: Vec<Sample> = self.files.iter().map(|file| Sample::read(file)).collect::<Result<_, _>>()?;
        let samples: Vec<Sample> =
            samples.into_iter().enumerate().map(|(n, sample)| self.changed(sample, n)).collect::<Result<_, _>>()?;
        let stack = self.target.resolve().await?;
        let player = Player::of(&stack).await?;
        let mut as_expected = true;
        for sample in samples {
            if self.print {
                say!("{}", player.prepare(sample).await?.text);
                continue;
            }
            let Played { sample, answer, came_to } = player.play(sample).await?;
            let expected = sample.expects(&answer) || !self.fields.is_empty();
            as_expected &= expected;
            if self.json {
                let came_to = came_to.map(CameTo::code);
                let line =
                    json!({ "sample": sample.name(), "answer": answer, "as_expected": expected, "came_to": came_to });
                say!("{line}");
            } else {
                let note = if expected { "" } else { "  (not what the file expects)" };
                let came_to = came_to.map(|came_to| format!("  {}", came_to.text())).unwrap_or_default();
                say!("{}  {} {}{came_to}{note}", sample.name(), answer.status, answer.body);
            }
        }
        Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The sample as it is asked for. The number tells samples of one command apart.
    fn changed(&self, sample: Sample, number: usize) -> anyhow::Result<Sample> {
        let sample = match &self.subject {
            Some(subject) => {
                let name = sample.name();
                sample.about(subject).with_context(|| format!("{name} does not name its subject"))?
            }
            None if self.fresh => sample.fresh(&format!("fresh-{}-{number}", now().as_millisecond()))?,
            None => sample,
        };
        self.fields.iter().try_fold(sample, |sample, (field, value)| sample.with_field(field, value))
    }
}

/// Plays the providers of a stack.
pub(crate) struct Player<'a> {
    stack: &'a Stack,
    connections: Connections,
    secrets: Secrets,
    http: reqwest::Client,
    outcomes: Outcomes,
}

/// A sample that was sent.
pub(crate) struct Played {
    /// As it was sent.
    pub(crate) sample: Sample,
    pub(crate) answer: sample::Answer,
    /// None if it was not acknowledged, names no verification, or if the tables cannot be read.
    pub(crate) came_to: Option<CameTo>,
}

impl<'a> Player<'a> {
    /// Plays the providers of this stack, with the secrets that it has now.
    pub(crate) async fn of(stack: &'a Stack) -> anyhow::Result<Self> {
        let connections = stack.connect().await;
        let secrets = sample::secrets(stack, &connections).await?;
        let outcomes = Outcomes::of(stack, &connections).await;
        Ok(Self { stack, connections, secrets, http: reqwest::Client::new(), outcomes })
    }

    async fn prepare(&self, sample: Sample) -> anyhow::Result<Sample> {
        sample.prepared(&self.http, self.stack, &self.connections).await
    }

    /// Sends a sample, and waits for what comes of it.
    pub(crate) async fn play(&self, sample: Sample) -> anyhow::Result<Played> {
        let sample = self.prepare(sample).await?;
        let subject = sample.expect.event.as_ref().map(|event| event.subject.as_str());
        let before = self.outcomes.before(subject).await;
        let answer = sample.send(&self.http, self.stack, &self.secrets).await?;
        let came_to = match subject {
            Some(subject) if answer.status == 200 => self.outcomes.after(subject, before).await,
            _ => None,
        };
        Ok(Played { sample, answer, came_to })
    }
}

pub(crate) fn field(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("a field is FIELD=VALUE, such as /data/result=VERIFIED")?;
    Ok((field.to_owned(), value.to_owned()))
}

/// What came of a callback that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CameTo {
    Published,
    Late,
    Repeat,
    /// The publisher has not decided yet, or it waits in the spill queue.
    Undecided,
}

impl CameTo {
    fn of(decision: &Decision) -> Self {
        match &decision.published {
            None => Self::Repeat,
            Some(published) if published.late => Self::Late,
            Some(_) => Self::Published,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Late => "late",
            Self::Repeat => "repeat",
            Self::Undecided => "undecided",
        }
    }

    pub(crate) fn text(self) -> StyledObject<&'static str> {
        match self {
            Self::Published => style("published").green(),
            Self::Late => style("late: it changes nothing").yellow(),
            Self::Repeat => style("repeat: nothing is published (--fresh sends it about a new verification)").dim(),
            Self::Undecided => style("not decided yet: see `callbacks show`").yellow(),
        }
    }
}

/// How long to wait for the publisher.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(200);

/// What comes of callbacks, by what is in the tables.
struct Outcomes {
    events: Events,
    courses: DynamoCourses,
}

impl Outcomes {
    async fn of(stack: &Stack, connections: &Connections) -> Self {
        let courses = DynamoCourses::new(connections.dynamodb.clone(), stack.verifications_table.clone());
        Self { events: Events::of(stack).await, courses }
    }

    /// The ids of the events that are there. None if the table cannot be read: to send takes no right to do so.
    async fn before(&self, subject: Option<&str>) -> Option<BTreeSet<String>> {
        let events = self.events.of_subject(subject?).await.ok()?;
        Some(events.into_iter().map(|event| event.id).collect())
    }

    /// What came of the event that was not there before.
    async fn after(&self, subject: &str, before: Option<BTreeSet<String>>) -> Option<CameTo> {
        let before = before?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let mut events: Vec<StoredEvent> = self.events.of_subject(subject).await.ok()?;
            events.retain(|event| !before.contains(&event.id));
            for (event, row) in with_rows(&self.courses, &self.events, events).await.ok()? {
                if let Some(decision) = decision_about(&event, row) {
                    return Some(CameTo::of(&decision));
                }
            }
            sleep(PAUSE).await;
        }
        Some(CameTo::Undecided)
    }
}

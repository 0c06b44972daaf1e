//! `callbacks list` and `callbacks show`: what is in the events table.

use std::{collections::BTreeSet, io::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use jiff::SignedDuration;
use model::{Courses as _, StoredEvent, Verification};
use runtime::DynamoCourses;
use serde_json::{Value, json};

use crate::{
    Target,
    events::{Events, PAGE, is_unreadable},
    selection::{Selection, now},
    stack::Stack,
    terminal::{self, Columns},
};

/// List stored events (default: the last 24 hours).
///
/// Shows no payloads. Skips events that this version cannot read, and says so. Exits with 1 if it lists nothing.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    selection: Selection,
    /// How many at most.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    /// Print one JSON object an event.
    #[arg(long)]
    json: bool,
}

/// Show where a verification stands and its events, or one event.
///
/// A verification begins with where each of its tracks stands and what was published, as the API tells it (`GET
/// /verifications/…`). Then come all events that were recorded, repeats included.
#[derive(Debug, Args)]
pub struct Show {
    /// The provider's reference of the verification, or an event's id. An id may be shortened, as in `callbacks logs`: repeats share
    /// the beginning of theirs.
    #[arg(value_name = "SUBJECT or EVENT")]
    what: String,
    #[command(flatten)]
    target: Target,
    /// The event's subject, so that the table need not be searched for its id.
    #[arg(long)]
    subject: Option<String>,
    /// Show the payload too, on one line: personal data. Only for one event.
    #[arg(long)]
    payload: bool,
    /// Write the payload's bytes as they came, and nothing else: personal data. Only for one event.
    #[arg(long, conflicts_with_all = ["payload", "json"])]
    raw: bool,
    /// Print one JSON object an event.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let table = Events::of(&stack).await;
        let mut events = Vec::new();
        for keys in self.selection.keys(&table, Some(SignedDuration::from_hours(24))).await?.chunks(PAGE) {
            events.extend(table.get(keys).await?.into_iter().filter(|event| self.selection.selects(event)));
            if events.len() >= self.limit {
                events.truncate(self.limit);
                break;
            }
        }
        let widths = Widths::of(&events);
        for event in &events {
            print_in(&widths, event, None, self.json)?;
        }
        if events.is_empty() {
            eprintln!("There is none (without --since or --subject, of the last day).");
        }
        if events.len() == self.limit {
            eprintln!("There may be more: this is --limit {}.", self.limit);
        }
        Ok(if events.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl Show {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let events = Events::of(&stack).await;
        let course = if self.subject.is_none() { events.of_subject(&self.what).await? } else { Vec::new() };
        if course.is_empty() && events.skipped() > 0 {
            bail!("this version cannot read any of the {} events of this verification", events.skipped());
        }
        if !course.is_empty() {
            if self.payload || self.raw {
                bail!("{} is a verification of {} events: name one of them by its id", self.what, course.len());
            }
            for provider in course.iter().map(|event| event.provider.as_str()).collect::<BTreeSet<_>>() {
                self.print_standing(&stack, provider).await?;
            }
            let widths = Widths::of(&course);
            for event in &course {
                print_in(&widths, event, None, self.json)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let is_hex = self.what.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = match self.what.len() {
            64 if is_hex => self.what.clone(),
            SHORTEST_ID..64 if is_hex => match events.beginning(&self.what).await?.as_slice() {
                [] => bail!("there is no verification {0}, and no event whose id begins with {0}", self.what),
                [event] => event.id.clone(),
                several if self.payload || self.raw => {
                    bail!("the ids of {} events begin with {}: name one of them by its id", several.len(), self.what)
                }
                several => {
                    let widths = Widths::of(several);
                    several.iter().try_for_each(|event| print_in(&widths, event, None, self.json))?;
                    return Ok(ExitCode::SUCCESS);
                }
            },
            _ => bail!("there is no verification {}", self.what),
        };
        let event = events.find(&id, self.subject.as_deref()).await?;
        if let Some(time) = event.erased_at.filter(|_| self.payload || self.raw) {
            bail!("the payload of this event was erased at {time:.0}");
        }
        if self.raw {
            std::io::stdout().write_all(&event.body).context("failed to write")?;
            return Ok(ExitCode::SUCCESS);
        }
        print(&event, self.payload.then_some(event.body.as_slice()), self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    /// Prints where the verification stands at one provider.
    async fn print_standing(&self, stack: &Stack, provider: &str) -> anyhow::Result<()> {
        let courses = DynamoCourses::new(stack.connect().await.dynamodb, stack.verifications_table.clone());
        let courses = match courses.of_verification(provider, &self.what).await {
            Err(error) if is_unreadable(&error) => {
                eprintln!("Skipped where it stands at {provider}: this version cannot read one of the rows.");
                return Ok(());
            }
            courses => courses.context("failed to read the verifications table")?,
        };
        let Some(verification) = Verification::new(provider, &self.what, &courses, now()) else {
            eprintln!("Nothing was decided about it yet.");
            return Ok(());
        };
        if self.json {
            return terminal::print_json(&verification);
        }
        standing(&verification).iter().for_each(|line| terminal::print(line));
        Ok(())
    }
}

/// Where a verification stands, and what was published.
fn standing(verification: &Verification) -> Vec<String> {
    let tracks = verification.verifications.iter().map(|track| {
        let outcome = track.outcome.as_str();
        let conflict = if track.conflict { "  CONFLICT: final verdicts differ" } else { "" };
        let is_final = if track.r#final { "final" } else { "not final" };
        let (provider, name, callbacks) = (&verification.provider, &track.track, track.callbacks);
        format!("{provider}  {name}  stands at {outcome} ({is_final}), of {callbacks} callbacks{conflict}")
    });
    let published = verification.events.iter().map(|event| {
        let flags = [(event.repeated, "repeated"), (event.late, "late"), (event.conflict, "conflict")];
        let flags: Vec<&str> = flags.into_iter().filter_map(|(is_so, flag)| is_so.then_some(flag)).collect();
        let reported = event.reported_outcome.map(|own| format!("  reported {}", own.as_str())).unwrap_or_default();
        let outcome = event.outcome.as_str();
        let line = format!("  published {outcome:<15}  {}  {}{reported}  {}", event.track, event.id, flags.join(", "));
        line.trim_end().to_owned()
    });
    tracks.chain(published).collect()
}

/// Prints an event, and its payload if it is asked for.
pub(crate) fn print(event: &StoredEvent, payload: Option<&[u8]>, as_json: bool) -> anyhow::Result<()> {
    print_in(&Widths::of(std::slice::from_ref(event)), event, payload, as_json)
}

fn print_in(widths: &Widths, event: &StoredEvent, payload: Option<&[u8]>, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return terminal::print_json(&json(event, payload));
    }
    columns(widths, event).print();
    if let Some(payload) = payload {
        terminal::print(&String::from_utf8_lossy(payload));
    }
    Ok(())
}

/// How many digits of an id say which event is meant.
const SHORTEST_ID: usize = 8;

/// An event as in a message, rather than as in a table.
fn json(event: &StoredEvent, payload: Option<&[u8]>) -> Value {
    let mut json = serde_json::to_value(event).unwrap_or_default();
    if let Some(fields) = json.as_object_mut() {
        let renamed = [("subject", "pk"), ("id", "sk")].map(|(name, key)| (name, fields.remove(key)));
        fields.extend(renamed.map(|(name, value)| (name.to_owned(), value.unwrap_or_default())));
        fields.retain(|name, _| !["body", "day"].contains(&name.as_str()));
        fields.extend(payload.map(|payload| match serde_json::from_slice::<Value>(payload) {
            Ok(json) => ("payload".to_owned(), json),
            Err(_) => ("payload_base64".to_owned(), json!(BASE64.encode(payload))),
        }));
    }
    json
}

/// How wide the columns of a list are.
#[derive(Debug, Default)]
struct Widths {
    outcome: usize,
    kind: usize,
    subject: usize,
}

impl Widths {
    /// Wide enough for these events; a long subject stands out.
    fn of(events: &[StoredEvent]) -> Self {
        let widest = |text: fn(&StoredEvent) -> &str| {
            let widths = events.iter().map(|event| text(event).chars().count());
            widths.filter(|width| *width <= 40).max().unwrap_or_default()
        };
        Self {
            outcome: widest(|event| event.outcome.as_str()),
            kind: widest(|event| &event.kind),
            subject: widest(|event| &event.subject),
        }
    }
}

fn columns(widths: &Widths, event: &StoredEvent) -> Columns {
    let (outcome, reasons) = (event.outcome.as_str(), event.reasons.join(", "));
    Columns::default()
        .plain(&format!("{:.3}", event.received_at), 24)
        .styled(outcome, widths.outcome, terminal::outcome_style(outcome))
        .plain(&event.kind, widths.kind)
        .plain(&event.subject, widths.subject)
        .plain(&event.id, 64)
        .plain(event.unrecognized.as_deref().unwrap_or(&reasons), 0)
}

//! `callbacks reprocess`: what was not understood, by the parsers of this version.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jiff::SignedDuration;
use model::{Inserted, Retention, StoredEvent};
use serde_json::{Value, json};

use crate::{
    Target,
    erase::{erasures, without_what_is_erased},
    events::{Events, PAGE, Whole},
    local::INTERRUPTED,
    parsers::parsers,
    selection::Selection,
    step::{Interrupt, progress},
    terminal,
};

/// Read events that were not understood again, with the parsers of this version.
///
/// After an upgrade that knows more. What an event turns out to be is put into the table beside it, as another event that
/// was received at the same time and takes its place in the course of its verification. It is published from there as any
/// other. Without --since or --subject, it is about what was received in the last 30 days.
///
/// May be interrupted and repeated: what was put into the table stays one event. Exits with 1 if one could not be put there,
/// or was skipped because this version cannot read its item.
#[derive(Debug, Args)]
pub struct Reprocess {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    selection: Selection,
    /// Only say what each event would turn out to be.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object an event.
    #[arg(long)]
    json: bool,
}

impl Reprocess {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let events = Events::of(&stack).await;
        let keys = self.selection.keys(&events, Some(SignedDuration::from_hours(30 * 24))).await?;
        let erasures = erasures(&stack, &stack.connect().await);
        let interrupt = Interrupt::listen();
        let progress = progress("read", keys.len());
        let (mut understood, mut not_understood, mut failed) = (0, 0, 0);
        'pages: for page in keys.chunks(PAGE) {
            for event in without_what_is_erased(&erasures, events.get(page).await?).await? {
                if interrupt.came() {
                    break 'pages;
                }
                progress.inc(1);
                let Some(then) = event.unrecognized.clone().filter(|_| self.selection.selects(&event)) else {
                    continue;
                };
                let Some(now) = read_again(&events, &event, stack.retention(), self.dry_run).await? else { continue };
                match now {
                    Now::Understood { .. } => understood += 1,
                    Now::NotUnderstood { .. } => not_understood += 1,
                    Now::Failed { .. } => failed += 1,
                }
                progress.suspend(|| self.print(&event, &then, &now))?;
            }
        }
        progress.finish_and_clear();
        let skipped = events.skipped();
        let and_skipped = events.and_skipped();
        eprintln!("{understood} understood now, {not_understood} still not, {failed} failed{and_skipped}.");
        if interrupt.came() {
            eprintln!("Interrupted: run it again for the rest.");
            return Ok(INTERRUPTED.into());
        }
        Ok(if failed + skipped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn print(&self, event: &StoredEvent, then: &str, now: &Now) -> anyhow::Result<()> {
        if self.json {
            return terminal::print_json(&now.json(event, then));
        }
        terminal::print(&now.line(event, then));
        Ok(())
    }
}

/// Reads an event that was not understood again and, unless it is a dry run, puts what it is now into the table. None if
/// the event has expired meanwhile, or was skipped.
pub(crate) async fn read_again(
    events: &Events,
    event: &StoredEvent,
    retention: Retention,
    dry_run: bool,
) -> anyhow::Result<Option<Now>> {
    if event.is_erased() {
        return Ok(Some(Now::NotUnderstood { reason: "its payload was erased".to_owned() }));
    }
    let whole = match events.whole(&event.subject, &event.id).await? {
        Whole::Found(whole) => whole,
        // Standard error says why.
        Whole::Missing | Whole::Skipped => return Ok(None),
    };
    let event = match reread(&whole, retention) {
        Ok(event) => event,
        Err(reason) => return Ok(Some(Now::NotUnderstood { reason })),
    };
    let kept = if dry_run { Ok(None) } else { events.store.put_event(event.clone()).await.map(Some) };
    Ok(Some(match kept.context("failed to put an event into the table") {
        Ok(inserted) => Now::Understood { event: Box::new(event), inserted },
        Err(error) => Now::Failed { error: format!("{error:#}") },
    }))
}

/// What an event that was not understood is now.
pub(crate) enum Now {
    Understood {
        event: Box<StoredEvent>,
        /// Nothing in a dry run.
        inserted: Option<Inserted>,
    },
    NotUnderstood {
        reason: String,
    },
    Failed {
        error: String,
    },
}

impl Now {
    pub(crate) fn line(&self, event: &StoredEvent, then: &str) -> String {
        let what = match self {
            Self::Understood { event, inserted } => {
                let inserted =
                    inserted.map(|inserted| format!("  ({})", inserted_as_text(inserted))).unwrap_or_default();
                format!("{}  {}  {}{inserted}", event.kind, event.outcome.as_str(), event.subject)
            }
            Self::NotUnderstood { reason } => format!("still not understood: {reason}"),
            Self::Failed { error } => format!("FAILED: {error}"),
        };
        format!("{}  {then}  ->  {what}", event.id)
    }

    fn json(&self, event: &StoredEvent, then: &str) -> Value {
        let mut line = json!({ "id": event.id, "subject": event.subject, "kind": event.kind, "unrecognized": then });
        let more = match self {
            Self::Understood { event, inserted } => json!({ "now": {
                "id": event.id, "subject": event.subject, "kind": event.kind, "outcome": event.outcome,
                "inserted": inserted.map(inserted_as_text),
            }}),
            Self::NotUnderstood { reason } => json!({ "still": reason }),
            Self::Failed { error } => json!({ "failed": error }),
        };
        if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
            line.extend(more.clone());
        }
        line
    }
}

fn inserted_as_text(inserted: Inserted) -> &'static str {
    match inserted {
        Inserted::Fresh => "new",
        Inserted::Duplicate => "there already",
        Inserted::Spilled => "spilled",
    }
}

/// What an event is to the parser of the route it came by.
///
/// # Errors
/// With the reason, if it is not understood, or there is no such route.
pub fn reread(event: &StoredEvent, retention: Retention) -> Result<StoredEvent, String> {
    match parsers().into_iter().find(|parser| parser.source == event.source) {
        Some(parser) => (parser.reread)(event, retention),
        None => Err("unknown_source".to_owned()),
    }
}

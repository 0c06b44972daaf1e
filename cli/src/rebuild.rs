//! `callbacks rebuild`: the verifications table, from the events table.

use std::process::ExitCode;

use clap::Args;
use model::StoredEvent;
use serde_json::json;

use crate::{
    Target,
    events::{Events, PAGE},
    local::INTERRUPTED,
    replay::publisher,
    rows::with_rows,
    selection::{Selection, now},
    step::{Interrupt, progress},
    terminal,
};

/// Rebuild where verifications stand, from the stored events.
///
/// For a verifications table that was lost, or restored to an earlier time. Decides about every event again, in the order
/// of receipt, by the publisher's own rules, and sends nothing. So tokens of wallets are claimed again too. What the table
/// still holds is left as it is. Without --since or --subject, all events are read.
///
/// May be interrupted and repeated. Exits with 1 if a row could not be written, or if an event was skipped because this
/// version cannot read its item or its row.
#[derive(Debug, Args)]
pub struct Rebuild {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    selection: Selection,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Rebuild {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let events = Events::of(&stack).await;
        let keys = self.selection.keys(&events, Some(stack.retention().events)).await?;
        let publisher = publisher(&stack, &stack.connect().await, None)?;
        let interrupt = Interrupt::listen();
        let progress = progress("decided", keys.len());
        let (mut decided, mut failed) = (0, 0);
        for page in keys.chunks(PAGE) {
            if interrupt.came() {
                break;
            }
            let mut selected = events.get(page).await?;
            selected.retain(|event| self.selection.selects(event));
            let decide =
                async |selected: &[StoredEvent]| publisher.decide(&selected.iter().collect::<Vec<_>>(), now()).await;
            let mut decisions = decide(&selected).await;
            if decisions.iter().any(Result::is_err) {
                // One row that cannot be read would fail all of them. If it is another reason, that is said below.
                let readable = with_rows(&publisher.courses, &events, selected).await?;
                selected = readable.into_iter().map(|(event, _)| event).collect();
                decisions = decide(&selected).await;
            }
            failed += decisions.iter().filter(|decision| decision.is_err()).count();
            decided += decisions.iter().filter(|decision| decision.is_ok()).count();
            progress.inc(page.len() as u64);
        }
        progress.finish_and_clear();
        let skipped = events.skipped();
        if self.json {
            let interrupted = interrupt.came();
            let summary =
                json!({ "decided": decided, "failed": failed, "skipped": skipped, "interrupted": interrupted });
            terminal::print_json(&summary)?;
        } else {
            terminal::print(&format!("{decided} events decided, {failed} failed{}.", events.and_skipped()));
        }
        Ok(match failed + skipped {
            _ if interrupt.came() => INTERRUPTED.into(),
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

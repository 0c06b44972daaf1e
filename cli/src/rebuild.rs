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
    selection::{Selection, now},
    step::{Interrupt, progress},
};

/// Rebuild where verifications stand, from the stored events.
///
/// For a verifications table that was lost, or restored to an earlier time. Decides about every event again, in the order
/// of receipt, by the publisher's own rules, and sends nothing. What the table still holds is left as it is. Without --since
/// or --subject, all events are read.
///
/// May be interrupted and repeated. Exits with 1 if a row could not be written.
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
            let decisions = publisher.decide(&selected.iter().collect::<Vec<&StoredEvent>>(), now()).await;
            failed += decisions.iter().filter(|decision| decision.is_err()).count();
            decided += decisions.iter().filter(|decision| decision.is_ok()).count();
            progress.inc(page.len() as u64);
        }
        progress.finish_and_clear();
        if self.json {
            say!("{}", json!({ "decided": decided, "failed": failed, "interrupted": interrupt.came() }));
        } else {
            say!("{decided} events decided, {failed} failed.");
        }
        Ok(match failed {
            _ if interrupt.came() => INTERRUPTED.into(),
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

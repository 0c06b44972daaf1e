//! `callbacks replay`: stored events, to the queues once more.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use indicatif::ProgressBar;
use model::{MessageDetail, StoredEvent};
use publisher::Publisher;
use runtime::{InternalQueue, Record, SqsQueue};
use serde_json::json;

use crate::{
    Target,
    events::{Events, Key, PAGE},
    list::print,
    local::INTERRUPTED,
    selection::{Selection, now},
    stack::{Connections, Stack},
    step::{Interrupt, progress},
};

/// Sends the messages of stored events to their queues again.
///
/// For consumers who lost some, or are new. Each message bears its event's id, as before: a consumer that dealt with it already knows it by that. In order
/// within each verification. Passwords and links to be delivered are left out unless --deliveries is given, and always once they have expired.
///
/// May be interrupted and repeated. Exits with 1 if not all was sent, and says how to go on.
#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    selection: Selection,
    /// Deliver passwords and links again too, as far as they have not expired.
    #[arg(long)]
    deliveries: bool,
    /// Only list what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: with --dry-run an object an event, else one for all.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let events = Events::of(&stack).await;
        let keys = self.selection.keys(&events, None).await?;
        let replay = now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
        let publisher = publisher(&stack, &stack.connect().await, Some(&replay))?;
        let interrupt = Interrupt::listen();
        let progress = if self.dry_run { ProgressBar::hidden() } else { progress("sent", keys.len()) };

        let mut count: usize = 0;
        let mut unsent: Option<&Key> = None;
        for page in keys.chunks(PAGE) {
            unsent = page.first();
            if interrupt.came() {
                break;
            }
            let mut selected = events.get(page).await?;
            selected.retain(|event| self.selection.selects(event) && self.may_be_sent(event));
            count += selected.len();
            if self.dry_run {
                selected.iter().for_each(|event| print(event, None, self.json));
            } else if !publish(&publisher, &events, selected).await? {
                break;
            }
            progress.inc(page.len() as u64);
            unsent = None;
        }
        progress.finish_and_clear();

        let go_on = unsent.map(|key| format!("--since {:.3}", key.received_at));
        if self.dry_run {
            eprintln!("{count} would be sent.");
        } else if self.json {
            say!("{}", json!({ "sent": count, "replay": replay, "go_on_with": go_on }));
        } else {
            say!("{count} sent.");
        }
        if let Some(go_on) = go_on {
            eprintln!("Not all was sent. What was received before is: go on with {go_on}");
        }
        Ok(match unsent {
            Some(_) if interrupt.came() => INTERRUPTED.into(),
            Some(_) => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        })
    }

    fn may_be_sent(&self, event: &StoredEvent) -> bool {
        !event.is_delivery() || (self.deliveries && event.expires_at > now().as_second())
    }
}

/// The publisher of this stack, as its function runs it; for a replay, in the replay's name.
pub(crate) fn publisher(
    stack: &Stack,
    connections: &Connections,
    replay: Option<&str>,
) -> anyhow::Result<Publisher<SqsQueue, InternalQueue>> {
    let queue = |url: &str| {
        let queue = SqsQueue::new(connections.sqs.clone(), url.to_owned());
        replay.map_or(queue.clone(), |replay| queue.replaying(replay))
    };
    Ok(Publisher {
        verifications: queue(&stack.verification_queue_url),
        deliveries: queue(&stack.delivery_queue_url),
        quarantine: InternalQueue::new(connections.sqs.clone(), stack.unpublished_queue_url.clone()),
        detail: stack.message_detail.parse().map_err(anyhow::Error::msg)?,
    })
}

/// Publishes events in this order, with patience. Returns whether all were accepted.
pub(crate) async fn publish(
    publisher: &Publisher<SqsQueue, InternalQueue>,
    events: &Events,
    mut selected: Vec<StoredEvent>,
) -> anyhow::Result<bool> {
    if publisher.detail == MessageDetail::Full {
        for event in selected.iter_mut().filter(|event| event.parts.is_none()) {
            *event = events.find(&event.id, Some(&event.subject)).await?;
        }
    }
    for seconds in [1, 3, 9, 0] {
        let records =
            selected.iter().map(|event| Record { sequence_number: event.id.clone(), event: Ok(event.clone()) });
        let unsent = publisher.publish(records.collect(), now()).await;
        selected.retain(|event| unsent.contains(&event.id));
        if selected.is_empty() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(false)
}

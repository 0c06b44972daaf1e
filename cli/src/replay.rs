//! `callbacks replay`: stored events, to the queues once more.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use indicatif::ProgressBar;
use model::{CourseKey, Courses as _, MessageDetail, StoredEvent};
use publisher::Publisher;
use runtime::{DynamoCourses, InternalQueue, Record, SqsQueue};
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

/// Send the messages of stored events to their queues again.
///
/// For consumers that lost some, or are new. Each message is the one that was sent before, with its id and sequence, so a
/// consumer that has it already drops it, and none takes an old verdict for a new one. Repeats, of which nothing was
/// published, are left out. So are passwords and links unless --deliveries is given, and always once they have expired.
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
            if self.dry_run {
                count += selected.len();
                selected.iter().for_each(|event| print(event, None, self.json));
            } else {
                match resend(&publisher, &events, selected).await? {
                    Some(sent) => count += sent,
                    None => break,
                }
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
) -> anyhow::Result<StackPublisher> {
    let queue = |url: &str| {
        let queue = SqsQueue::new(connections.sqs.clone(), url.to_owned());
        replay.map_or(queue.clone(), |replay| queue.replaying(replay))
    };
    Ok(Publisher {
        courses: DynamoCourses::new(connections.dynamodb.clone(), stack.verifications_table.clone()),
        verifications: queue(&stack.verification_queue_url),
        deliveries: queue(&stack.delivery_queue_url),
        quarantine: InternalQueue::new(connections.sqs.clone(), stack.unpublished_queue_url.clone()),
        detail: stack.message_detail.parse().map_err(anyhow::Error::msg)?,
    })
}

/// The publisher of a stack.
pub(crate) type StackPublisher = Publisher<DynamoCourses, SqsQueue, InternalQueue>;

/// Publishes events in this order, with patience. Returns whether all were accepted.
pub(crate) async fn publish(
    publisher: &StackPublisher,
    events: &Events,
    mut selected: Vec<StoredEvent>,
) -> anyhow::Result<bool> {
    read_payloads(publisher, events, &mut selected).await?;
    for pause in PAUSES {
        let records =
            selected.iter().map(|event| Record { sequence_number: event.id.clone(), event: Ok(event.clone()) });
        let unsent = publisher.publish(records.collect(), now()).await;
        selected.retain(|event| unsent.contains(&event.id));
        if selected.is_empty() {
            return Ok(true);
        }
        tokio::time::sleep(pause).await;
    }
    Ok(false)
}

/// Sends what was published of these events once more, word for word, with patience. Decides nothing, and writes no row.
/// Returns how many were sent, if all of them were.
async fn resend(
    publisher: &StackPublisher,
    events: &Events,
    mut selected: Vec<StoredEvent>,
) -> anyhow::Result<Option<usize>> {
    read_payloads(publisher, events, &mut selected).await?;
    let keys: Vec<CourseKey> = selected.iter().map(CourseKey::of).collect();
    let courses = publisher.courses.read(&keys).await?;
    let mut published: Vec<_> = selected
        .into_iter()
        .zip(courses)
        .filter_map(|(event, course)| {
            let decision = course.decisions.into_iter().find(|decision| decision.id == event.id)?;
            Some((event.id.clone(), event, decision.published?))
        })
        .collect();
    let count = published.len();
    for pause in PAUSES {
        let unsent = publisher.send(published.clone(), now()).await;
        published.retain(|(id, ..)| unsent.contains(id));
        if published.is_empty() {
            return Ok(Some(count));
        }
        tokio::time::sleep(pause).await;
    }
    Ok(None)
}

/// How long to wait after each attempt.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9), Duration::from_secs(0)];

/// Reads the bodies of events if messages carry them.
async fn read_payloads(
    publisher: &StackPublisher,
    events: &Events,
    selected: &mut [StoredEvent],
) -> anyhow::Result<()> {
    if publisher.detail == MessageDetail::Full {
        for event in selected.iter_mut().filter(|event| event.parts.is_none()) {
            *event = events.find(&event.id, Some(&event.subject)).await?;
        }
    }
    Ok(())
}

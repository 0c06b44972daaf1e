//! `callbacks replay`: stored events, to the queues once more.

use std::{process::ExitCode, time::Duration};

use anyhow::anyhow;
use clap::Args;
use indicatif::ProgressBar;
use model::{MessageDetail, StoredEvent};
use publisher::Publisher;
use runtime::{DynamoCourses, DynamoErasures, InternalQueue, Record, SqsQueue, due_rules};
use serde_json::json;

use crate::{
    Target,
    erase::{erasures, without_what_is_erased},
    events::{Events, Key, PAGE, Whole},
    list::print,
    local::INTERRUPTED,
    rows::{decision_about, with_rows},
    selection::{Selection, now},
    stack::{Connections, Stack},
    step::{Interrupt, progress},
    terminal,
};

/// Send the messages of stored events to their queues again.
///
/// For consumers that lost some, or are new. Each message is the one that was sent before, with its id and sequence, so a
/// consumer that has it already drops it, and none takes an old verdict for a new one. Repeats, of which nothing was
/// published, are left out. So are passwords and links unless --deliveries is given, and always once they have expired or were
/// erased. What was erased is sent without its payload.
///
/// May be interrupted and repeated. Exits with 1 if not all was sent, and says how to go on; also if an event was skipped
/// because this version cannot read it.
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
        let replay = replay_name();
        let connections = stack.connect().await;
        let resending = Resending::of(&stack, &connections, &replay)?;
        let interrupt = Interrupt::listen();
        let progress = if self.dry_run { ProgressBar::hidden() } else { progress("sent", keys.len()) };

        let mut count: usize = 0;
        let mut unsent: Option<&Key> = None;
        for page in keys.chunks(PAGE) {
            unsent = page.first();
            if interrupt.came() {
                break;
            }
            let selected = resending.select(&events, page, &self.selection, self.deliveries).await?;
            if self.dry_run {
                count += selected.len();
                for event in &selected {
                    print(event, None, self.json)?;
                }
            } else {
                match resending.send(&events, selected).await? {
                    Some(sent) => count += sent,
                    None => break,
                }
            }
            progress.inc(page.len() as u64);
            unsent = None;
        }
        progress.finish_and_clear();

        let go_on = unsent.map(|key| format!("--since {:.3}", key.received_at));
        let skipped = events.skipped();
        if self.dry_run {
            eprintln!("{count} would be sent{}.", events.and_skipped());
        } else if self.json {
            let summary = json!({ "sent": count, "skipped": skipped, "replay": replay, "go_on_with": go_on });
            terminal::print_json(&summary)?;
        } else {
            terminal::print(&format!("{count} sent{}.", events.and_skipped()));
        }
        if let Some(go_on) = go_on {
            eprintln!("Not all was sent. What was received before is: go on with {go_on}");
        }
        Ok(match unsent {
            Some(_) if interrupt.came() => INTERRUPTED.into(),
            Some(_) => ExitCode::FAILURE,
            None if skipped > 0 => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        })
    }
}

/// One replay: what it sends again.
pub(crate) struct Resending {
    publisher: StackPublisher,
    erasures: DynamoErasures,
}

impl Resending {
    /// The replay of this name, of events of this stack.
    pub(crate) fn of(stack: &Stack, connections: &Connections, replay: &str) -> anyhow::Result<Self> {
        let publisher = publisher(stack, connections, Some(replay))?;
        Ok(Self { publisher, erasures: erasures(stack, connections) })
    }

    /// What it would send of a page of keys.
    pub(crate) async fn select(
        &self,
        events: &Events,
        page: &[Key],
        selection: &Selection,
        deliveries: bool,
    ) -> anyhow::Result<Vec<StoredEvent>> {
        let may_be_sent = |event: &StoredEvent| {
            !event.is_delivery() || (deliveries && !event.is_erased() && event.expires_at > now().as_second())
        };
        let mut selected = without_what_is_erased(&self.erasures, events.get(page).await?).await?;
        selected.retain(|event| selection.selects(event) && may_be_sent(event));
        Ok(selected)
    }

    /// Sends what was selected. Returns how many messages were sent, if all of them were.
    pub(crate) async fn send(&self, events: &Events, selected: Vec<StoredEvent>) -> anyhow::Result<Option<usize>> {
        resend(&self.publisher, events, selected).await
    }
}

/// A name for a replay that begins now.
pub(crate) fn replay_name() -> String {
    now().strftime("%Y%m%dT%H%M%S%3fZ").to_string()
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
        courses: DynamoCourses::new(connections.dynamodb.clone(), stack.verifications_table.clone())
            .with_erasures(erasures(stack, connections)),
        verifications: queue(&stack.verification_queue_url),
        deliveries: queue(&stack.delivery_queue_url),
        quarantine: InternalQueue::new(connections.sqs.clone(), stack.unpublished_queue_url.clone()),
        detail: stack.message_detail.parse().map_err(anyhow::Error::msg)?,
        due: due_rules(&stack.due_after, &stack.fetched)
            .map_err(|text| anyhow!("the stack's parameter DueAfter holds {text:?}"))?,
    })
}

/// The publisher of a stack.
pub(crate) type StackPublisher = Publisher<DynamoCourses, SqsQueue, InternalQueue>;

/// Publishes events in this order, with patience. Returns how many were published or needed no message, if none failed.
/// Those that this version cannot read are skipped.
pub(crate) async fn publish(
    publisher: &StackPublisher,
    events: &Events,
    selected: Vec<StoredEvent>,
) -> anyhow::Result<Option<usize>> {
    let selected = with_payloads(publisher, events, selected).await?;
    let readable = with_rows(&publisher.courses, events, selected).await?;
    let mut selected: Vec<StoredEvent> = readable.into_iter().map(|(event, _)| event).collect();
    let count = selected.len();
    for pause in PAUSES {
        let records =
            selected.iter().map(|event| Record { sequence_number: event.id.clone(), event: Ok(event.clone()) });
        let unsent = publisher.publish(records.collect(), now()).await;
        selected.retain(|event| unsent.contains(&event.id));
        if selected.is_empty() {
            return Ok(Some(count));
        }
        tokio::time::sleep(pause).await;
    }
    Ok(None)
}

/// Sends what was published of these events once more, word for word, with patience. Decides nothing, and writes no row.
/// Returns how many were sent, if all of them were. Those that this version cannot read are skipped.
async fn resend(
    publisher: &StackPublisher,
    events: &Events,
    selected: Vec<StoredEvent>,
) -> anyhow::Result<Option<usize>> {
    let selected = with_payloads(publisher, events, selected).await?;
    let decided = with_rows(&publisher.courses, events, selected).await?;
    let mut published: Vec<_> = decided
        .into_iter()
        .filter_map(|(event, row)| {
            let published = decision_about(&event, row)?.published?;
            Some((event.id.clone(), event, published))
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

/// The same events, with their bodies if messages carry them. One that is gone meanwhile is left out.
async fn with_payloads(
    publisher: &StackPublisher,
    events: &Events,
    selected: Vec<StoredEvent>,
) -> anyhow::Result<Vec<StoredEvent>> {
    if publisher.detail == MessageDetail::Reference {
        return Ok(selected);
    }
    let mut whole = Vec::with_capacity(selected.len());
    for event in selected {
        // Of what is erased, nothing more is read: it may have come back.
        if event.parts.is_some() || event.is_erased() {
            whole.push(event);
        } else if let Whole::Found(event) = events.whole(&event.subject, &event.id).await? {
            whole.push(*event);
        }
    }
    Ok(whole)
}

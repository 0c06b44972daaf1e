//! Consumes verdicts: every message once in effect, in order per verification.

#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use aws_sdk_sqs::{
    Client,
    types::{Message as SqsMessage, MessageSystemAttributeName::MessageGroupId},
};
use clap::Parser;
use example_consumer::{
    inbox::{Handled, Inbox, is_database_failure},
    stack::Addresses,
};
use model::Message;
use tokio::signal::unix::{SignalKind, signal};

/// Consumes verdicts: every message once in effect, in order per verification.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    addresses: Addresses,
    /// Where the effects are kept.
    #[arg(long, value_name = "FILE", default_value = "consumer.sqlite")]
    database: PathBuf,
    /// How many messages to receive at once, 1 to 10.
    #[arg(long, default_value_t = 10)]
    batch: i32,
    /// For how long what is received is hidden from others; a batch is let go after half of it.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    visibility: u16,
    /// End when nothing comes any more.
    #[arg(long)]
    until_empty: bool,
}

/// How long the queue may let us wait for a message, and so how long SIGTERM may have to wait.
const WAIT: Duration = Duration::from_secs(3);

struct Consumer {
    sqs: Client,
    queue_url: String,
    inbox: Inbox,
    options: Options,
    /// Finish the message in hand, and end.
    stopping: Arc<AtomicBool>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut options = Options::parse();
    let stack = std::mem::take(&mut options.addresses).read()?;
    let inbox = Inbox::open(&options.database).context("failed to open the database")?;
    let stopping = stop_on_signals()?;
    let sqs = Client::new(&stack.aws().await);
    let queue_url = stack.queue_url()?.to_owned();
    Consumer { sqs, queue_url, inbox, options, stopping }.run().await
}

fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stopping = Arc::new(AtomicBool::new(false));
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal = signal(kind).context("failed to listen for signals")?;
        let stopping = Arc::clone(&stopping);
        tokio::spawn(async move {
            signal.recv().await;
            stopping.store(true, Ordering::Relaxed);
        });
    }
    Ok(stopping)
}

impl Consumer {
    async fn run(mut self) -> anyhow::Result<()> {
        while !self.is_stopping() {
            match self.receive().await {
                Ok(messages) if messages.is_empty() && self.options.until_empty => return Ok(()),
                // A batch that takes half of its time is let go, before others receive the rest of it too.
                Ok(messages) => {
                    let deadline = Instant::now() + Duration::from_secs(self.options.visibility.into()) / 2;
                    self.handle_batch(messages, deadline).await?;
                }
                Err(error) => {
                    eprintln!("failed to receive, trying again: {error:#}");
                    tokio::time::sleep(WAIT).await;
                }
            }
        }
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    async fn receive(&self) -> anyhow::Result<Vec<SqsMessage>> {
        let receive = self.sqs.receive_message().queue_url(&self.queue_url).max_number_of_messages(self.options.batch);
        let receive = receive.wait_time_seconds(i32::try_from(WAIT.as_secs())?);
        let receive = receive.visibility_timeout(self.options.visibility.into());
        let received = receive.message_system_attribute_names(MessageGroupId).send().await?;
        Ok(received.messages.unwrap_or_default())
    }

    async fn handle_batch(&mut self, messages: Vec<SqsMessage>, deadline: Instant) -> anyhow::Result<()> {
        let mut failed = BTreeSet::new();
        for message in &messages {
            // The group is the verification. The queue does not go past a message that it gave out and that was not
            // deleted; in a batch, that is for us to see to.
            let group = message.attributes().and_then(|attributes| attributes.get(&MessageGroupId));
            if self.is_stopping() || Instant::now() > deadline {
                self.give_back(message).await;
            } else if !failed.contains(&group) && !self.handle_message(message).await? {
                failed.insert(group);
            }
        }
        Ok(())
    }

    /// Returns whether the message is done with.
    async fn handle_message(&mut self, sqs_message: &SqsMessage) -> anyhow::Result<bool> {
        let id = sqs_message.message_id().unwrap_or_default();
        let handled = match read(sqs_message) {
            Ok(message) => match self.inbox.handle(&message) {
                Ok(handled) => Ok((message, handled)),
                // Not the message's fault, and the next one would fail too. Once this program is started
                // again, it receives nothing before the database is there.
                Err(error) if is_database_failure(&error) => return Err(error).context("the database failed"),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        match handled {
            Ok((message, handled)) => {
                let done = match handled {
                    Handled::Verdict(outcome) => outcome.as_str(),
                    Handled::Superseded => "superseded",
                    Handled::NoVerdict => "no verdict",
                    Handled::Repeat => "repeat",
                };
                println!("{done:<10}  {}  {}  {}", message.event_type, message.subject, message.id);
                self.delete(sqs_message).await;
                Ok(true)
            }
            Err(error) => {
                // Left where it is: it comes again when its visibility timeout ends, and after the fifth time the
                // redrive policy moves it to the dead letters. Neither this program nor another verification is held up
                // by it.
                eprintln!("failed to handle message {id}, leaving it: {error}");
                Ok(false)
            }
        }
    }

    async fn delete(&self, message: &SqsMessage) {
        let delete = self.sqs.delete_message().queue_url(&self.queue_url);
        let deleted = delete.receipt_handle(message.receipt_handle().unwrap_or_default()).send().await;
        if let Err(error) = deleted {
            let id = message.message_id().unwrap_or_default();
            eprintln!("failed to delete message {id}, so it comes again: {:#}", anyhow::Error::from(error));
        }
    }

    /// Lets the next consumer receive it at once.
    async fn give_back(&self, message: &SqsMessage) {
        let change = self.sqs.change_message_visibility().queue_url(&self.queue_url).visibility_timeout(0);
        let changed = change.receipt_handle(message.receipt_handle().unwrap_or_default()).send().await;
        if let Err(error) = changed {
            let id = message.message_id().unwrap_or_default();
            eprintln!("failed to give message {id} back, so it comes later: {:#}", anyhow::Error::from(error));
        }
    }
}

/// Reads a message. This consumer can never handle a message that it cannot read.
fn read(message: &SqsMessage) -> anyhow::Result<Message> {
    // Serde's error is left out: it may quote the message.
    let message: Message =
        serde_json::from_str(message.body().unwrap_or_default()).ok().context("not a CloudEvent of ours")?;
    let fields = [&message.id, &message.subject, &message.sequence, &message.data.provider, &message.data.track];
    let is_ours = message.specversion == "1.0" && fields.iter().all(|field| !field.is_empty());
    ensure!(is_ours, "not a CloudEvent of ours");
    Ok(message)
}

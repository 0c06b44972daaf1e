//! `callbacks tail`: what is published, as it is published.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName};
use clap::Args;
use model::{Details, Message, MessageDetail, Timestamp};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Target,
    events::Whole,
    held::Held,
    local::{INTERRUPTED, interrupted},
    selection::{now, time},
    stack::{Connections, Stack},
    step::Interrupt,
    terminal::{self, Columns, harmless_json, json_line},
    watch::{OVERLAP, PAUSE, Watch},
};

/// Show what is published, as it is published, until Ctrl-C.
///
/// Reads the tables and changes nothing: no message is received, and consumers notice nothing. Passwords and links are
/// shown without what is to be delivered. A callback that reaches the table more than an hour after it was received is not
/// shown; `callbacks list` shows it.
///
/// With --receive, receives from the queues instead. Other consumers do not get what it has received until it ends. Of a
/// verification, it sees only the first messages unless it deletes them. SQS counts one receive of each message for each
/// run. A message that was received five times becomes a dead letter.
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    target: Target,
    /// Begin with what was received at this time, such as 2026-01-31T12:00:00Z, or so long ago, such as 2h [default: 1m].
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "receive")]
    since: Option<Timestamp>,
    /// End after so many seconds without a new message.
    #[arg(long, value_name = "SECONDS")]
    quiet: Option<u64>,
    /// Print each message as it was sent, one JSON object a line; without --receive, not what is to be delivered.
    #[arg(long)]
    json: bool,
    /// Receive from the queues, and give everything back at the end. For queues that nobody else consumes.
    #[arg(long)]
    receive: bool,
    /// Delete what was received and shown.
    #[arg(long, requires = "receive")]
    delete: bool,
    /// Receive from the queues of a deployed stack, although consumers wait until this ends.
    #[arg(long, requires = "receive")]
    i_know_that_consumers_wait: bool,
}

/// The exit code of a command whose reader has seen enough: 128 and the number of the signal for that.
const BROKEN_PIPE: u8 = 141;

impl Tail {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        if self.receive {
            if stack.endpoint_url.is_none() && !self.i_know_that_consumers_wait {
                bail!(
                    "--receive keeps messages from the consumers of this stack for as long as it runs, and a message that \
                     was received five times becomes a dead letter. Without --receive, tail shows what is published and \
                     touches no queue. If you mean it, add --i-know-that-consumers-wait"
                );
            }
            return self.receive(&stack).await;
        }
        tokio::select! {
            shown = self.watch(&stack) => shown.map(|()| ExitCode::SUCCESS),
            signal = interrupted() => signal.map(|()| INTERRUPTED.into()),
        }
    }

    /// Shows what is published, by what the tables say.
    async fn watch(&self, stack: &Stack) -> anyhow::Result<()> {
        let mut published = Published::since(stack, self.since.unwrap_or_else(|| now() - OVERLAP)).await?;
        // Only then is there a payload to be shown.
        published.detail = if self.json { published.detail } else { MessageDetail::Reference };
        let mut last_new = Instant::now();
        loop {
            published.watch.look().await?;
            while let Some(messages) = published.next().await? {
                for message in messages {
                    last_new = Instant::now();
                    if self.json {
                        terminal::print_json(&without_delivery(message))?;
                    } else {
                        columns(&message).print();
                    }
                }
            }
            if self.is_over(last_new) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Shows what is in the queues. What was received is given back at the end, whatever that is.
    async fn receive(&self, stack: &Stack) -> anyhow::Result<ExitCode> {
        let connections = stack.connect().await;
        let mut queues =
            [&stack.verification_queue_url, &stack.delivery_queue_url].map(|url| Held::new(&connections, url));
        // Not by leaving off in the middle of a call, whose messages nobody would give back.
        let interrupt = Interrupt::listen();
        let shown = self.receive_from(&mut queues, &interrupt).await;
        let [verdicts, deliveries] = queues;
        let released = [verdicts.release().await, deliveries.release().await];
        let shown = shown?;
        released.into_iter().collect::<anyhow::Result<()>>()?;
        Ok(shown)
    }

    async fn receive_from(&self, queues: &mut [Held; 2], interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
        let mut last_new = Instant::now();
        while !interrupt.came() {
            for queue in &mut *queues {
                for message in queue.receive().await? {
                    last_new = Instant::now();
                    if terminal::try_print(&self.received(message.body().unwrap_or_default())).is_err() {
                        return Ok(BROKEN_PIPE.into());
                    }
                    if self.delete {
                        queue.delete(&message).await?;
                    }
                }
            }
            if self.is_over(last_new) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        Ok(INTERRUPTED.into())
    }

    /// The line for a message that was received.
    fn received(&self, body: &str) -> String {
        if self.json && serde_json::from_str::<Message>(body).is_ok() {
            harmless_json(body).into_owned()
        } else {
            line_of(body)
        }
    }

    fn is_over(&self, last_new: Instant) -> bool {
        self.quiet.is_some_and(|seconds| last_new.elapsed() > Duration::from_secs(seconds))
    }
}

/// What is published, by what the tables say.
struct Published {
    watch: Watch,
    detail: MessageDetail,
}

impl Published {
    /// What is published of callbacks that were received since then, or that come into the table from now on.
    async fn since(stack: &Stack, since: Timestamp) -> anyhow::Result<Self> {
        let detail = stack.message_detail.parse().map_err(anyhow::Error::msg)?;
        Ok(Self { watch: Watch::since(stack, &stack.connect().await, since).await?, detail })
    }

    /// The next messages that were published of what was found, in the order in which they were. None if it is not time yet
    /// to look for more.
    async fn next(&mut self) -> anyhow::Result<Option<Vec<Message>>> {
        let Some(found) = self.watch.next().await? else { return Ok(None) };
        let published = found.into_iter().filter_map(|(event, decision)| Some((event, decision?.published?)));
        let mut published: Vec<_> = published.collect();
        published.sort_by_key(|(_, published)| published.sequence);
        let mut messages = Vec::new();
        for (mut event, published) in published {
            if self.detail == MessageDetail::Full && !event.perishable && event.parts.is_none() {
                match self.watch.events.whole(&event.subject, &event.id).await? {
                    Whole::Found(whole) => event = *whole,
                    Whole::Missing | Whole::Skipped => continue,
                }
            }
            messages.push(Message::new(&event, &published, self.detail));
        }
        Ok(Some(messages))
    }
}

/// A message without what is to be delivered, which is nobody's business but the sender's.
pub(crate) fn without_delivery(mut message: Message) -> Message {
    if message.expirytime.is_some() {
        message.data.details = Details::new();
    }
    message
}

/// What a message says, without what is to be delivered: when the callback was received, the verdict, the type, the subject,
/// the reasons, and what there is to know beside.
fn columns(message: &Message) -> Columns {
    let data = &message.data;
    let outcome = if message.expirytime.is_some() { "deliver" } else { message.outcome.as_str() };
    let reasons = data.unrecognized.clone().unwrap_or_else(|| data.reasons.join(", "));
    let flags = [(data.repeated, "repeated"), (data.late, "late"), (data.conflict, "conflict")];
    let flags = flags.into_iter().filter(|(is_so, _)| *is_so).map(|(_, flag)| flag.to_owned());
    let reported = data.reported_outcome.map(|own| format!("reported {}", own.as_str()));
    let flags: Vec<String> = flags.chain(reported).collect();
    let flags = if flags.is_empty() { String::new() } else { format!("[{}]", flags.join(", ")) };
    let columns = Columns::default()
        .plain(&format!("{:.3}", data.received_at), 24)
        .styled(outcome, LONGEST_OUTCOME, terminal::outcome_style(outcome))
        .plain(&message.event_type, 0)
        .plain(&message.subject, 0);
    [reasons, flags].iter().filter(|text| !text.is_empty()).fold(columns, |columns, text| columns.plain(text, 0))
}

/// How wide the longest outcome is, `action_required`.
const LONGEST_OUTCOME: usize = 15;

/// The line of a message that may be none of ours.
pub(crate) fn line_of(body: &str) -> String {
    match serde_json::from_str::<Message>(body) {
        Ok(message) => columns(&message).text(),
        Err(_) => json_line(&json!({ "not a CloudEvent": body })).unwrap_or_default(),
    }
}

/// Receives what is in a queue now, and hides it from others for so long.
///
/// # Errors
/// If the queue does not answer.
pub async fn receive(connections: &Connections, url: &str, hidden_for: Duration) -> anyhow::Result<Vec<SqsMessage>> {
    let received = connections
        .sqs
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(1)
        .visibility_timeout(i32::try_from(hidden_for.as_secs()).unwrap_or(i32::MAX))
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All")
        .send()
        .await;
    Ok(received.with_context(|| format!("failed to receive from {url}"))?.messages.unwrap_or_default())
}

/// Deletes a received message.
///
/// # Errors
/// If the queue does not answer.
pub async fn delete(connections: &Connections, url: &str, message: &SqsMessage) -> anyhow::Result<()> {
    let handle = message.receipt_handle().unwrap_or_default();
    let deleted = connections.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await;
    deleted.with_context(|| format!("failed to delete a message from {url}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn message() -> Value {
        json!({
            "specversion": "1.0", "id": "0", "source": "/callbacks/verifyvasp",
            "type": "verification.verifyvasp.verification-result", "subject": "a-subject",
            "time": "2026-01-31T09:30:00.125Z", "datacontenttype": "application/json",
            "sequence": "0001769851800391", "outcome": "rejected", "assurance": "shared_secret",
            "data": {
                "provider": "verifyvasp", "track": "verification", "reasons": ["LACK-OF-INFORMATION"],
                "received_at": "2026-01-31T09:30:00.125Z", "details": { "to": "+00000000" },
            },
        })
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), line: &str) {
        let mut message = message();
        change(&mut message);
        assert_eq!(line_of(&message.to_string()), line);
    }

    #[test]
    fn a_line_says_when_what_about_whom_and_why() {
        let rejected =
            "2026-01-31T09:30:00.125Z  rejected         verification.verifyvasp.verification-result  a-subject";
        check(|_| {}, &format!("{rejected}  LACK-OF-INFORMATION"));
        check(|message| message["data"]["reasons"] = json!([]), rejected);
        check(
            |message| {
                message["data"]["conflict"] = json!(true);
                message["data"]["reported_outcome"] = json!("approved");
            },
            &format!("{rejected}  LACK-OF-INFORMATION  [conflict, reported approved]"),
        );
        check(
            |message| {
                (message["data"]["late"], message["data"]["repeated"]) = (json!(true), json!(true));
                message["outcome"] = json!("none");
            },
            "2026-01-31T09:30:00.125Z  none             verification.verifyvasp.verification-result  a-subject  \
             LACK-OF-INFORMATION  [repeated, late]",
        );
        check(
            |message| {
                message["data"]["reasons"] = json!([]);
                message["data"]["unrecognized"] = json!("not_json");
            },
            &format!("{rejected}  not_json"),
        );
    }

    #[test]
    fn what_is_to_be_delivered_is_not_shown() {
        let mut delivery = message();
        delivery["expirytime"] = json!("2026-01-31T10:30:00Z");
        let line = line_of(&delivery.to_string());
        assert!(line.contains("  deliver          ") && !line.contains("+00000000"), "{line}");
        let delivery = without_delivery(serde_json::from_value(delivery).unwrap());
        assert!(!json_line(&delivery).unwrap().contains("+00000000"));
        let verdict = without_delivery(serde_json::from_value(message()).unwrap());
        assert!(json_line(&verdict).unwrap().contains("+00000000"));
    }
}

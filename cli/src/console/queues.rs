//! The page of queues: what waits and what is dead, and sending it again.

use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_sqs::types::{Message as SqsMessage, QueueAttributeName};
use axum::{body::Bytes, extract::State};
use clap::ValueEnum as _;
use futures_util::future::join_all;
use maud::{Markup, html};
use serde_json::Value;

use super::{
    fields::Fields,
    page::{self, Answer, Problem, text},
    server::Shared,
};
use crate::{
    redrive::{DeadLetters, Work},
    step::Interrupt,
};

/// How many messages a preview lists.
const MOST_LISTED: usize = 200;

/// How many messages are in a queue, as SQS counts them.
struct Depth {
    visible: String,
    in_flight: String,
    delayed: String,
}

impl Depth {
    async fn of(console: &Shared, url: &str) -> anyhow::Result<Self> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let wanted = console.connections.sqs.get_queue_attributes().queue_url(url);
        let wanted = wanted.attribute_names(Visible).attribute_names(InFlight).attribute_names(Delayed);
        let got = wanted.send().await.context("failed to look at the queue")?.attributes.unwrap_or_default();
        let count = |name| got.get(&name).map_or("?", String::as_str).to_owned();
        Ok(Self { visible: count(Visible), in_flight: count(InFlight), delayed: count(Delayed) })
    }
}

pub(super) async fn page(State(console): State<Arc<Shared>>) -> Answer {
    let stack = &console.stack;
    let waiting = [
        ("Verdicts", "Not yet consumed by your services", &stack.verification_queue_url),
        ("Deliveries", "Passwords and links to be sent", &stack.delivery_queue_url),
        ("Spill", "Events that wait for the table", &stack.spill_queue_url),
    ];
    let dead = [
        (DeadLetters::Verdicts, "Verdicts that a consumer received five times"),
        (DeadLetters::Deliveries, "Passwords and links that a sender received five times"),
        (DeadLetters::Spill, "Events that the table did not take for more than a day"),
        (DeadLetters::Unpublished, "Events that could not be published"),
    ];
    let of_waiting = join_all(waiting.iter().map(|(.., url)| Depth::of(&console, url))).await;
    let of_dead = join_all(dead.iter().map(|(queue, _)| Depth::of(&console, queue.url(stack)))).await;
    let content = html! {
        h2 { "Waiting" }
        (page::scrolls("Waiting", &html! {
            table {
                thead { tr { th scope="col" { "Queue" } (heads()) th scope="col" { "Holds" } } }
                tbody {
                    @for ((name, what, _), depth) in waiting.iter().zip(&of_waiting) {
                        tr { th scope="row" { (name) } (counts(depth)) td { (what) } }
                    }
                }
            }
        }))
        p.quiet { "The counts are approximate. SQS does not report the age of a waiting message: see the dashboard and the alarms." }
        h2 { "Dead" }
        (page::scrolls("Dead", &html! {
            table {
                thead { tr { th scope="col" { "Queue" } (heads()) th scope="col" { "Redrive" } th scope="col" { "Holds" } } }
                tbody {
                    @for ((queue, what), depth) in dead.iter().zip(&of_dead) {
                        tr {
                            th scope="row" { (queue.name()) } (counts(depth))
                            td { form method="post" action="/queues/look" {
                                input type="hidden" name="queue" value=(queue.name());
                                button { "Look into " (queue.name()) }
                            } }
                            td { (what) }
                        }
                    }
                }
            }
        }))
        p.quiet { "Looking hides the messages from others for some seconds, and then releases them. Passwords and links are not \
                   shown." }
        h2 { "Alarms" }
        p { "The state of the alarms is in CloudWatch, which this page does not read. docs/runbook.md has a section for each. "
            "What the functions logged: " code { "callbacks why errors" (console.target()) } }
    };
    Ok(page::page(&console, "Queues", "/queues", &content))
}

fn heads() -> Markup {
    html! { th.number scope="col" { "Visible" } th.number scope="col" { "In flight" } th.number scope="col" { "Delayed" } }
}

fn counts(depth: &anyhow::Result<Depth>) -> Markup {
    html! {
        @match depth {
            Ok(depth) => {
                @for count in [&depth.visible, &depth.in_flight, &depth.delayed] { td.number { (text(count)) } }
            }
            Err(error) => td colspan="3" { (text(&crate::error_text(error))) },
        }
    }
}

fn queue(fields: &Fields) -> Result<DeadLetters, Problem> {
    Ok(DeadLetters::from_str(fields.need("queue")?, false)?)
}

/// Lists what is in a queue, and asks.
pub(super) async fn look(State(console): State<Arc<Shared>>, body: Bytes) -> Answer {
    let fields = Fields::parse(&body);
    let queue = queue(&fields)?;
    let shared = Arc::clone(&console);
    // To its end, even if nobody waits for the answer: what was received has to be given back.
    let seen = tokio::spawn(async move {
        let work = work(&shared, queue, None);
        let seen = work.seen(&Interrupt::never()).await?;
        anyhow::Ok(seen.iter().map(|message| work.json(message, None)).collect::<Vec<_>>())
    });
    let seen = seen.await.context("failed to look into the queue")??;
    let oldest = seen.iter().filter_map(|line| line["sent_at"].as_str()).min();
    let content = html! {
        @if seen.is_empty() { p { "There is nothing in it." } } @else {
            p { (seen.len()) " messages" @if let Some(oldest) = oldest { ", the oldest sent " (text(oldest)) } "." }
            (listed(&seen, Some(queue)))
            p.warning { "Redrive sends them where they were meant to go, and deletes them here when they are accepted there. \
                         Remove the cause first: it is in the way of the second time too." }
            form.line method="post" action="/queues/redrive" {
                input type="hidden" name="queue" value=(queue.name());
                button.does { "Redrive all of " (queue.name()) }
                a href="/queues" { "Cancel" }
            }
        }
        p.quiet { "The same in a terminal: " code { "callbacks redrive " (queue.name()) (console.target()) } }
    };
    Ok(page::page(&console, &format!("Dead: {}", queue.name()), "/queues", &content))
}

/// Sends what is in a queue where it was meant to go.
pub(super) async fn redrive(State(console): State<Arc<Shared>>, body: Bytes) -> Answer {
    let fields = Fields::parse(&body);
    let queue = queue(&fields)?;
    let only = fields.get("message").map(str::to_owned);
    let shared = Arc::clone(&console);
    let redriven = tokio::spawn(async move {
        let _alone = shared.acting.lock().await;
        let work = work(&shared, queue, only.as_deref());
        let mut lines = Vec::new();
        let tell = |message: &SqsMessage, done: &anyhow::Result<_>| {
            lines.push(work.json(message, Some(done)));
            Ok(())
        };
        let counts = work.redrive_all(&Interrupt::never(), tell).await?;
        anyhow::Ok((counts, lines))
    });
    let ((sent, stay), lines) = redriven.await.context("failed to redrive")??;
    let content = html! {
        p role="status" .warning[stay > 0] .good[stay == 0] { (sent) " sent, " (stay) " stay." }
        (listed(&lines, None))
        p { a href="/queues" { "Queues" } }
    };
    Ok(page::page(&console, &format!("Redriven: {}", queue.name()), "/queues", &content))
}

fn work<'a>(console: &'a Shared, queue: DeadLetters, only: Option<&'a str>) -> Work<'a> {
    Work { stack: &console.stack, connections: &console.connections, queue, json: true, forget: false, only }
}

/// The messages and, in a preview of a queue, a button for each.
fn listed(messages: &[Value], preview: Option<DeadLetters>) -> Markup {
    let cell = |line: &Value, name: &str| match &line[name] {
        Value::String(others) => text(others),
        Value::Null => html! {},
        other => text(&other.to_string()),
    };
    let last = if preview.is_some() { "Redrive" } else { "Done" };
    html! {
        (page::scrolls("Messages", &html! {
            table {
                thead {
                    tr { @for head in ["What", "Event or message", "Received", "Sent", last] { th scope="col" { (head) } } }
                }
                tbody {
                    @for line in messages.iter().take(MOST_LISTED) {
                        tr {
                            td { (cell(line, "what")) }
                            td { code { (cell(line, if line["event"].is_null() { "message" } else { "event" })) } }
                            td { (cell(line, "received")) }
                            td { (cell(line, "sent_at")) }
                            td {
                                @if let Some(queue) = preview {
                                    form method="post" action="/queues/redrive" {
                                        input type="hidden" name="queue" value=(queue.name());
                                        input type="hidden" name="message" value=(line["message"].as_str().unwrap_or_default());
                                        button { "Only this" }
                                    }
                                } @else { (cell(line, "done")) }
                            }
                        }
                    }
                }
            }
        }))
        @if messages.len() > MOST_LISTED { p { "And " (messages.len() - MOST_LISTED) " more." } }
    }
}

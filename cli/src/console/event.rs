//! The page of one event, and its payload on request.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{RawQuery, State},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use maud::{Markup, html};
use model::{Decision, Message, MessageDetail, StoredEvent, Timestamp};
use serde_json::Value;

use super::{
    fields::Fields,
    page::{self, Answer, Problem, lines, noted, text},
    server::Shared,
};
use crate::{
    erase::{erasures, without_what_is_erased},
    events::Whole,
    rows::{decision_about, with_rows},
    selection::now,
    tail::without_delivery,
};

/// How much of a payload a page shows.
const MOST_SHOWN: usize = 256 * 1024;

/// An event, with its whole body and what was decided about it.
async fn find(console: &Shared, fields: &Fields) -> Result<(StoredEvent, Option<Decision>), Problem> {
    let (subject, id) = (fields.need("subject")?, fields.need("id")?);
    let events = console.events();
    let event = match events.whole(subject, id).await? {
        Whole::Found(event) => *event,
        Whole::Missing => return Err(Problem::missing("There is no such event, or it has expired.")),
        Whole::Skipped => return Err(Problem::missing("This version cannot read the event.")),
    };
    let rows = with_rows(&console.courses(), &events, vec![event]).await?;
    let Some((event, row)) = rows.into_iter().next() else {
        return Err(Problem::missing("This version cannot read where the event's verification stands."));
    };
    Ok((event.clone(), decision_about(&event, row)))
}

pub(super) async fn page(State(console): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answer {
    let fields = Fields::of(query, &[]);
    let (event, decision) = find(&console, &fields).await?;
    let command =
        format!("callbacks show {} --subject {}{}", event.id, shell_words::quote(&event.subject), console.target());
    let content = html! {
        p { (page::outcome(event.outcome)) " " (noted(&event, decision.as_ref(), now())) }
        (facts(&event))
        h2 { "Message as sent" }
        (message(&console, &event, decision.as_ref())?)
        @if !event.is_delivery() && !event.details.is_empty() { h2 { "Details" } (json(&event.details)) }
        h2 { "Evidence of authenticity" }
        @if event.evidence.is_empty() { p { "None is kept beside the assurance." } } @else { (json(&event.evidence)) }
        h2 { "Payload" }
        @if let Some(erased_at) = event.erased_at {
            p { "Erased at " (page::time(erased_at)) "." }
        } @else if event.body.is_empty() {
            p { "There is none." }
        } @else {
            form method="post" action=(page::event_page("/event/payload", &event)) {
                p { "The payload is personal data (" (event.body.len()) " bytes). Look at it only if you have to." }
                button { "Show the payload" }
            }
        }
        p.quiet { "The same in a terminal: " code { (text(&command)) } }
    };
    Ok(page::page(&console, &event.kind, "/events", &content))
}

pub(super) async fn payload(State(console): State<Arc<Shared>>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let fields = Fields::of(query, &body);
    let (event, _) = find(&console, &fields).await?;
    // It may have come back from a restored table.
    let erasures = erasures(&console.stack, &console.connections);
    let Some(event) = without_what_is_erased(&erasures, vec![event]).await?.pop() else {
        return Err(Problem::missing("There is no such event."));
    };
    if event.is_erased() {
        return Err(Problem::missing("The payload of this event was erased."));
    }
    let shown = event.body.get(..MOST_SHOWN).unwrap_or(&event.body);
    let readable = match serde_json::from_slice::<Value>(&event.body) {
        Ok(json) if event.body.len() <= MOST_SHOWN => serde_json::to_string_pretty(&json).unwrap_or_default(),
        _ => match std::str::from_utf8(shown) {
            Ok(text) => text.to_owned(),
            // The end may be in the middle of a character.
            Err(error) if error.error_len().is_none() => String::from_utf8_lossy(shown).into_owned(),
            Err(_) => format!("base64:\n{}", BASE64.encode(shown)),
        },
    };
    let content = html! {
        p.warning role="alert" { "This is personal data. Do not copy it into tickets or chats." }
        @if shown.len() < event.body.len() {
            p { "The first " (shown.len()) " of " (event.body.len()) " bytes. All of it: "
                code { "callbacks show " (event.id) " --raw" (console.target()) } }
        }
        (lines(&readable))
        p { a href=(page::event_address(&event)) { "Back to the event" } }
    };
    Ok(page::page(&console, "Payload", "/events", &content))
}

/// The message that was sent about an event, without its payload.
fn message(console: &Shared, event: &StoredEvent, decision: Option<&Decision>) -> anyhow::Result<Markup> {
    let Some(decision) = decision else {
        return Ok(html! { p { "Nothing is known to be decided: it is new, or too old for the verification's row." } });
    };
    let Some(published) = &decision.published else {
        return Ok(
            html! { p { "None: " (if decision.origin.is_provider() { "it is a repeat." } else { "it is a record of our own." }) } },
        );
    };
    let message = without_delivery(Message::new(event, published, MessageDetail::Reference));
    let is_full = console.stack.message_detail.parse() == Ok(MessageDetail::Full);
    Ok(html! {
        @if event.is_delivery() { p { "Shown without what is to be delivered." } }
        @if is_full { p { "Shown without the payload, which this stack's messages carry." } }
        (lines(&serde_json::to_string_pretty(&message)?))
    })
}

fn json(value: &model::Details) -> Markup {
    lines(&serde_json::to_string_pretty(value).unwrap_or_default())
}

fn facts(event: &StoredEvent) -> Markup {
    let moment = |time: Option<Timestamp>| time.map(page::time);
    let assurance = serde_json::to_value(event.assurance).ok();
    let assurance = assurance.as_ref().and_then(Value::as_str).unwrap_or_default();
    html! {
        dl.facts {
            dt { "Subject" }
            dd { a href=(page::verification_address(&event.provider, &event.subject)) { (text(&event.subject)) } }
            dt { "Id" } dd { code { (event.id) } }
            dt { "Received" } dd { (page::time(event.received_at)) }
            @if let Some(time) = moment(event.occurred_at) { dt { "Provider's time" } dd { (time) } }
            @if let Some(time) = moment(event.drained_at) { dt { "Out of the spill queue" } dd { (time) } }
            @if let Some(time) = moment(event.due_at) { dt { "Due" } dd { (time) } }
            dt { "Route" } dd { (text(&event.source)) }
            dt { "Track" } dd { (text(&event.track)) @if event.is_final { " (final)" } }
            dt { "Assurance" } dd { (text(assurance)) }
            @if !event.reasons.is_empty() { dt { "Reasons" } dd { (text(&event.reasons.join(", "))) } }
            @if let Some(reason) = &event.unrecognized { dt { "Not understood" } dd { (text(reason)) } }
            @if let Some(replaces) = &event.replaces { dt { "Read again from" } dd { code { (text(replaces)) } } }
            @if let Some(trace) = &event.traceparent { dt { "Trace" } dd { code { (text(trace)) } } }
            @if let Some(time) = moment(Timestamp::from_second(event.expires_at).ok()) { dt { "Expires" } dd { (time) } }
        }
    }
}

//! The page of events: the newest first, with filters in the address.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use jiff::SignedDuration;
use maud::{Markup, html};
use model::{Decision, Outcome, StoredEvent, Timestamp};

use super::{
    fields::{Fields, address},
    page::{self, Answer, noted, text},
    server::Shared,
};
use crate::{
    events::{PAGE, Place},
    rows::{decision_about, with_rows},
    selection::{Selection, now},
};

/// How many events a page shows.
const ROWS: usize = 50;

/// How many events are read for one page at most, if few of them are selected.
const MOST_READ: usize = 1000;

/// How far back a page looks by itself: an empty day costs a query of each shard, too.
const FAR_BACK: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An event, and what was decided about it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) event: StoredEvent,
    pub(super) decision: Option<Decision>,
}

/// A page of events.
pub(super) struct Found {
    pub(super) shown: Vec<Shown>,
    /// Where the next page begins, if there may be one.
    next: Option<Place>,
    /// How far back it was looked.
    back_to: Option<Timestamp>,
    /// How many events this version cannot read.
    skipped: usize,
}

pub(super) async fn page(State(console): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answer {
    let fields = Fields::of(query, &[]);
    let selection = fields.selection()?;
    let before = fields.get("before").map(place).transpose()?;
    let is_first = before.is_none();
    let found = find(&console, &selection, before, ROWS).await?;
    let now = now();
    let selecting = fields.selecting();
    let live = (is_first && selection.until.is_none()).then(|| address("/live", selecting.iter().copied()));
    let content = html! {
        (filters(&console, &fields))
        @if live.is_some() { p #live-state.quiet role="status" { "Reload for new events." } }
        @if found.shown.is_empty() { p #nothing { "No events." } }
        ol #events.events aria-label="Events, the newest first" data-live=[live] { @for shown in &found.shown { (row(shown, now)) } }
        (more(&found, &selecting))
        @if selection.since.is_some() || selection.subject.is_some() { (actions(&selecting)) }
        p.quiet { "Times are UTC. Keys: " kbd { "j" } " and " kbd { "k" } " move, " kbd { "enter" } " opens, "
            kbd { "/" } " filters." }
    };
    Ok(page::page(&console, "Events", "/events", &content))
}

/// One event in a list.
pub(super) fn row(shown: &Shown, now: Timestamp) -> Markup {
    let Shown { event, decision } = shown;
    let notes = page::notes(event, decision.as_ref(), now);
    let has = |class: &str| notes.iter().any(|(_, known)| *known == class);
    html! {
        li id={ "e" (event.id) } data-time=(format!("{:.3}", event.received_at)) .stands-out[has("alarm") || has("warning")] .alarm[has("alarm")] {
            a.open href=(page::event_address(event)) { (page::time(event.received_at)) }
            (page::outcome(event.outcome))
            a.kind href=(address("/events", [("kind", event.kind.as_str())])) { (text(&event.kind)) }
            a.subject href=(page::verification_address(&event.provider, &event.subject)) { (text(&event.subject)) }
            span.notes {
                (noted(event, decision.as_ref(), now))
                @for reason in &event.reasons { span.reason { (text(reason)) } " " }
            }
        }
    }
}

fn filters(console: &Shared, fields: &Fields) -> Markup {
    let value = |name: &str| fields.get(name).unwrap_or_default();
    let select = |name: &str, label: &str, options: &[String]| {
        html! {
            label { (label) " "
                select name=(name) {
                    option value="" { "all" }
                    @for option in options { option value=(option) selected[option == value(name)] { (option) } }
                }
            }
        }
    };
    html! {
        form.filters method="get" action="/events" role="search" {
            (select("provider", "Provider", &console.providers()))
            (select("outcome", "Outcome", &OUTCOMES.map(|outcome| outcome.as_str().to_owned())))
            label { "Kind " input name="kind" size="20" placeholder="jumio.netverify-id" value=(value("kind")); }
            label { "Since " input name="since" size="10" placeholder="2h" value=(value("since")); }
            label { "Until " input name="until" size="10" placeholder="now" value=(value("until")); }
            label { "Subject " input #subject name="subject" size="24" autocomplete="off" value=(value("subject")); }
            button { "Filter" }
            @if !fields.selecting().is_empty() { a href="/events" { "Clear" } }
        }
    }
}

/// What can be done with all events that are selected, whatever page is shown.
fn actions(selecting: &[(&str, &str)]) -> Markup {
    html! {
        form.line method="post" {
            button formaction=(address("/again/replay", selecting.iter().copied())) { "Replay these…" }
            button formaction=(address("/again/reprocess", selecting.iter().copied())) { "Reprocess these…" }
        }
    }
}

const OUTCOMES: [Outcome; 7] = [
    Outcome::Approved,
    Outcome::Rejected,
    Outcome::Review,
    Outcome::ActionRequired,
    Outcome::Pending,
    Outcome::Failed,
    Outcome::None,
];

fn more(found: &Found, selecting: &[(&str, &str)]) -> Markup {
    html! {
        @if found.skipped > 0 { p.warning { (found.skipped) " events cannot be read by this version, and are not shown." } }
        @if let Some(next) = &found.next {
            @let place = format!("{:.3}~{}", next.received_at, next.id);
            p {
                @if let Some(back_to) = found.back_to { "Looked back to " (page::time(back_to)) ". " }
                a rel="next" href=(address("/events", selecting.iter().copied().chain([("before", place.as_str())]))) { "Older" }
            }
        }
    }
}

/// A place in an address: a time and an id.
fn place(text: &str) -> Result<Place, String> {
    let (time, id) = text.split_once('~').unwrap_or((text, ""));
    let received_at = time.parse().map_err(|_| "before is no place in the list".to_owned())?;
    Ok(Place { received_at, id: id.to_owned() })
}

/// The newest events before a place, or of all.
pub(super) async fn find(
    console: &Shared,
    selection: &Selection,
    before: Option<Place>,
    limit: usize,
) -> anyhow::Result<Found> {
    let events = console.events();
    // Clocks differ a little.
    let until = || selection.until.unwrap_or_else(|| now() + SignedDuration::from_mins(1));
    let before = before.unwrap_or_else(|| Place { received_at: until(), id: String::new() });
    let since = selection.since.unwrap_or(Timestamp::UNIX_EPOCH);
    let (mut selected, mut next, mut back_to) = (Vec::new(), None, None);
    if let Some(subject) = &selection.subject {
        let is_wanted = |event: &StoredEvent| {
            let place = (event.received_at, event.id.as_str());
            event.received_at >= since && place < (before.received_at, before.id.as_str()) && selection.selects(event)
        };
        selected = events.of_subject(subject).await?;
        selected.retain(is_wanted);
        selected.reverse();
        if selected.len() > limit {
            selected.truncate(limit);
            next = selected.last().map(place_of);
        }
    } else {
        let floor = since.max(before.received_at.checked_sub(FAR_BACK).unwrap_or(Timestamp::UNIX_EPOCH));
        let (mut from, mut read) = (before, 0);
        'reading: loop {
            let keys = events.keys_before(floor, &from, PAGE).await?;
            for event in events.get(&keys).await?.into_iter().filter(|event| selection.selects(event)) {
                if selected.len() == limit {
                    next = selected.last().map(place_of);
                    break 'reading;
                }
                selected.push(event);
            }
            read += keys.len();
            let Some(last) = keys.last().filter(|_| keys.len() == PAGE) else {
                // Older ones may be left, as long as events are kept at all.
                let is_kept = floor > since && floor > now() - console.stack.retention().events;
                (next, back_to) = (is_kept.then(|| Place { received_at: floor, id: String::new() }), Some(floor));
                break;
            };
            from = last.place();
            if read >= MOST_READ {
                (next, back_to) = (Some(from), Some(last.received_at));
                break;
            }
        }
    }
    let rows = with_rows(&console.courses(), &events, selected).await?;
    let shown = rows.into_iter().map(|(event, row)| Shown { decision: decision_about(&event, row), event }).collect();
    Ok(Found { shown, next, back_to, skipped: events.skipped() })
}

fn place_of(event: &StoredEvent) -> Place {
    Place { received_at: event.received_at, id: event.id.clone() }
}

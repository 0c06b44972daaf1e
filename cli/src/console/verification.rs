//! The page of one verification: where it stands, and its course on a time line.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context as _;
use axum::extract::{RawQuery, State};
use maud::{Markup, html};
use model::{Courses as _, Decision, Origin, StoredEvent, Timestamp, TrackStanding, Verification};

use super::{
    fields::{Fields, address},
    page::{self, Answer, Problem, noted, text},
    server::Shared,
};
use crate::{events::is_unreadable, selection::now};

/// How many events of a course are shown, the last ones.
const MOST_SHOWN: usize = 500;

pub(super) async fn page(State(console): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answer {
    let fields = Fields::of(query, &[]);
    let subject = fields.need("subject")?;
    let table = console.events();
    let mut events = table.of_subject(subject).await?;
    let others: BTreeSet<String> = events.iter().map(|event| event.provider.clone()).collect();
    let provider = match (fields.get("provider"), others.first()) {
        (Some(provider), _) => provider.to_owned(),
        (None, Some(provider)) => provider.clone(),
        (None, None) => return Err(Problem::missing("There is no event of this verification.")),
    };
    events.retain(|event| event.provider == provider);
    let now = now();
    let (standing, decisions) = standing(&console, &provider, subject, now).await?;
    if events.is_empty() && standing.is_none() {
        return Err(Problem::missing("There is no event of this verification, and nothing was decided about it."));
    }
    let left_out = events.len().saturating_sub(MOST_SHOWN);
    let selecting = [("provider", provider.as_str()), ("subject", subject)];
    let content = html! {
        p { (text(&provider)) " · " a href=(address("/events", selecting)) { "Its events in the list" }
            @for other in others.iter().filter(|other| **other != provider) {
                " · " a href=(page::verification_address(other, subject)) { "The same reference at " (text(other)) }
            }
        }
        h2 { "Where it stands" }
        @match &standing {
            Some(standing) => div.cards { @for track in &standing.verifications { (card(track, subject)) } },
            None => p { "Nothing is decided about it yet." },
        }
        h2 { "Course" }
        @if left_out > 0 { p.warning { (left_out) " earlier events are not shown." } }
        @if table.skipped() > 0 { p.warning { (table.skipped()) " events cannot be read by this version." } }
        ol.course {
            @for event in events.iter().skip(left_out) { (entry(event, decisions.get(&event.id), now)) }
        }
    };
    Ok(page::page(&console, &format!("Verification {subject}"), "/events", &content))
}

/// Where a verification stands, and what was decided about each event, by its id.
async fn standing(
    console: &Shared,
    provider: &str,
    subject: &str,
    now: Timestamp,
) -> anyhow::Result<(Option<Verification>, BTreeMap<String, Decision>)> {
    let courses = match console.courses().of_verification(provider, subject).await {
        Err(error) if is_unreadable(&error) => anyhow::bail!("this version cannot read where the verification stands"),
        courses => courses.context("failed to read the verifications table")?,
    };
    let standing = Verification::new(provider, subject, &courses, now);
    let decisions = courses.into_iter().flat_map(|(_, course)| course.decisions);
    Ok((standing, decisions.map(|decision| (decision.id.clone(), decision)).collect()))
}

fn card(track: &TrackStanding, subject: &str) -> Markup {
    html! {
        section.card.alarm[track.conflict] {
            h3 { (text(&track.track)) }
            p { (page::outcome(track.outcome)) @if track.r#final { " final" } @else { " not final" } }
            @if track.conflict { p.alarm { "Conflict: final verdicts differ. A human has to decide." } }
            dl.facts {
                @if !track.reasons.is_empty() { dt { "Reasons" } dd { (text(&track.reasons.join(", "))) } }
                dt { "Since" } dd { a href=(address("/event", [("subject", subject), ("id", track.event.as_str())])) { (page::time(track.received_at)) } }
                dt { "Began" } dd { (page::time(track.first_received_at)) }
                dt { "Callbacks" } dd { (track.callbacks) " (repeats included)" }
            }
        }
    }
}

/// One event on the time line, and what was sent about it.
fn entry(event: &StoredEvent, decision: Option<&Decision>, now: Timestamp) -> Markup {
    let published = decision.and_then(|decision| decision.published.as_ref());
    let what = match event.origin() {
        Origin::Callback => "Callback",
        Origin::Fetched => "Fetched",
        Origin::Announced => "Announced",
        Origin::Overdue => "Overdue",
    };
    html! {
        li.published[published.is_some()] {
            p { a href=(page::event_address(event)) { (page::time(event.received_at)) } " " strong { (what) } " "
                (page::outcome(event.outcome)) " " (noted(event, decision, now)) }
            p { span.kind { (text(&event.kind)) } " "
                @for reason in &event.reasons { span.reason { (text(reason)) } " " } }
            @if let Some(time) = event.due_at { p.quiet { "A verdict is due at " (page::time(time)) "." } }
            @if let Some(time) = event.drained_at { p.quiet { "Waited in the spill queue until " (page::time(time)) "." } }
            @if let Some(time) = event.erased_at { p.quiet { "Its personal data was erased at " (page::time(time)) "." } }
            @if let Some(published) = published {
                p.quiet { "Message: " (published.outcome.as_str()) ", sequence " (published.sequence_text())
                    @if let Some(previous) = published.previous { ", was " (previous.as_str()) } }
            }
        }
    }
}

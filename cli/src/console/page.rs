//! What all pages look like, and the pieces that several have.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};
use model::{Decision, Origin, Outcome, StoredEvent, Timestamp};

use super::{fields::address, guard::HTML, server::Shared};
use crate::terminal::harmless;

/// An answer to a request.
pub(super) type Answer = Result<Response, Problem>;

/// The pages of the console, as its navigation has them.
const PAGES: [(&str, &str); 4] =
    [("/events", "Events"), ("/providers", "Providers"), ("/queues", "Queues"), ("/play", "Send")];

/// A whole page.
pub(super) fn page(console: &Shared, title: &str, here: &str, content: &Markup) -> Response {
    let stack = console.name.as_deref().unwrap_or("local stack");
    let pages = if console.is_local() { &PAGES[..] } else { PAGES.split_last().map_or(&[][..], |(_, others)| others) };
    frame(StatusCode::OK, title, (here, pages), Some((stack, &console.stack.region)), content)
}

fn frame(
    status: StatusCode,
    title: &str,
    (here, pages): (&str, &[(&str, &str)]),
    stack: Option<(&str, &str)>,
    content: &Markup,
) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (text(title)) " · callbacks console" }
                link rel="stylesheet" href="/console.css";
                script src="/console.js" defer {}
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    nav aria-label="Pages" {
                        @for (path, name) in pages {
                            a href=(path) aria-current=[(*path == here).then_some("page")] { (name) }
                        }
                    }
                    @if let Some((name, region)) = stack {
                        p.stack { (text(name)) " " span.quiet { (text(region)) } }
                    }
                }
                main #content tabindex="-1" { h1 { (text(title)) } (content) }
            }
        }
    };
    (status, [(header::CONTENT_TYPE, HTML)], page.into_string()).into_response()
}

/// Leads to another page.
pub(super) fn redirect(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// A request that cannot be answered as it was meant.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl Problem {
    /// There is nothing of that kind.
    pub(super) fn missing(text: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, title: "Not found", text: text.into() }
    }

    /// The request is not understood.
    pub(super) fn not_understood(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, title: "Not understood", text: text.into() }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, title: "That failed", text: crate::error_text(&error) }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::not_understood(text)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let content = html! { p.alarm role="alert" { (text(&self.text)) } p { a href="/events" { "All events" } } };
        frame(self.status, self.title, ("", PAGES.get(..3).unwrap_or_default()), None, &content)
    }
}

/// What others wrote, on one line, with what would change the direction of the text escaped, as on
/// a terminal.
pub(super) fn text(others: &str) -> Markup {
    html! { (harmless(others)) }
}

/// The same, on several lines.
pub(super) fn lines(others: &str) -> Markup {
    html! {
        // Scrolls, so it has to be reachable with the keyboard.
        pre tabindex="0" { @for line in others.lines() { (harmless(line)) "\n" } }
    }
}

/// A moment, in UTC.
pub(super) fn time(time: Timestamp) -> Markup {
    html! { time datetime=(format!("{time:.3}")) { (time.strftime("%Y-%m-%d %H:%M:%S%.3f")) } }
}

/// A verdict.
pub(super) fn outcome(outcome: Outcome) -> Markup {
    html! { span.outcome.{ (outcome.as_str()) } { (outcome.as_str()) } }
}

/// The address of an event's page.
pub(super) fn event_address(event: &StoredEvent) -> String {
    event_page("/event", event)
}

/// The address of a page about an event.
pub(super) fn event_page(path: &str, event: &StoredEvent) -> String {
    address(path, [("subject", event.subject.as_str()), ("id", &event.id)])
}

/// What is wider than a phone: it scrolls by itself, with the keyboard too.
pub(super) fn scrolls(name: &str, content: &Markup) -> Markup {
    html! { div.scrolls role="region" aria-label=(name) tabindex="0" { (content) } }
}

/// The address of a verification's page.
pub(super) fn verification_address(provider: &str, subject: &str) -> String {
    address("/verification", [("provider", provider), ("subject", subject)])
}

/// What stands out about an event: a word, and how much it matters.
pub(super) fn notes(event: &StoredEvent, decision: Option<&Decision>, now: Timestamp) -> Vec<(String, &'static str)> {
    let mut notes = Vec::new();
    let mut note = |text: String, class| notes.push((text, class));
    if let Some(reason) = &event.unrecognized {
        note(format!("unrecognized: {reason}"), "warning");
    }
    if event.origin() == Origin::Overdue {
        note("overdue".to_owned(), "warning");
    }
    match decision.map(|decision| (decision, &decision.published)) {
        Some((_, Some(published))) => {
            for (is_so, text, class) in [
                (published.conflict, "conflict", "alarm"),
                (published.late, "late", "warning"),
                (published.repeated, "seen before", "quiet"),
            ] {
                if is_so {
                    note(text.to_owned(), class);
                }
            }
            if published.outcome != event.outcome && !published.late && !event.is_delivery() {
                note(format!("published as {}", published.outcome.as_str()), "warning");
            }
        }
        Some((decision, None)) if decision.origin.is_provider() => note("repeat, not published".to_owned(), "quiet"),
        // A row forgets old decisions.
        None if now.duration_since(event.received_at).as_hours() < 1 => note("not decided yet".to_owned(), "quiet"),
        _ => {}
    }
    if decision.is_some_and(|decision| decision.replaced) {
        note("read again since".to_owned(), "quiet");
    }
    for (is_so, text) in [
        (event.origin() == Origin::Fetched, "asked for"),
        (event.drained_at.is_some(), "spilled"),
        (event.is_delivery(), "password or link"),
        (event.is_erased(), "erased"),
    ] {
        if is_so {
            note(text.to_owned(), "quiet");
        }
    }
    notes
}

/// The same, as markup.
pub(super) fn noted(event: &StoredEvent, decision: Option<&Decision>, now: Timestamp) -> Markup {
    html! { @for (note, class) in notes(event, decision, now) { span.note.{ (class) } { (text(&note)) } " " } }
}

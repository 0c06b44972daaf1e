//! Replay and reprocess: what they would do, a question, and what they did. The same code as the
//! commands.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    body::Bytes,
    extract::{Path, RawQuery, State},
};
use jiff::SignedDuration;
use maud::{Markup, html};

use super::{
    events::{self, Shown},
    fields::{Fields, address},
    page::{self, Answer, Problem, text},
    server::Shared,
};
use crate::{
    erase::{erasures, without_what_is_erased},
    events::{Key, PAGE, Place},
    replay::{Resending, replay_name},
    reprocess::{Now, read_again},
    rows::{decision_about, with_rows},
    selection::{Selection, now},
};

/// How many events the console sends or reads again at once. For more, there is the command, which
/// shows how far it is.
const MOST: usize = 1000;

/// What is done again.
#[derive(Debug, Clone, Copy)]
enum Again {
    Replay,
    Reprocess,
}

/// What was done, or would be.
struct Done {
    /// The events that are sent, or what the events turn out to be.
    events: Vec<Shown>,
    lines: Vec<String>,
    /// The result. None of a preview.
    result: Option<String>,
}

pub(super) async fn page(
    State(console): State<Arc<Shared>>,
    Path(what): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Answer {
    let again = match what.as_str() {
        "replay" => Again::Replay,
        "reprocess" => Again::Reprocess,
        _ => return Err(Problem::missing("There is no such page.")),
    };
    let fields = Fields::of(query, &body);
    let mut selection = fields.selection()?;
    if selection.since.is_none() && selection.subject.is_none() {
        return Err(Problem::not_understood("say which events: filter by a time or a subject first"));
    }
    let until = selection.until.unwrap_or_else(now);
    let since = selection.since;
    (selection.until, selection.since) = (Some(until), since);
    let is_confirmed = fields.get("confirmed") == Some("yes");
    let shared = Arc::clone(&console);
    // To its end, even if nobody waits for the answer.
    let done = tokio::spawn(async move {
        let _alone = shared.acting.lock().await;
        match again {
            Again::Replay => replay(&shared, &selection, is_confirmed).await,
            Again::Reprocess => reprocess(&shared, &selection, is_confirmed).await,
        }
    });
    let Done { events: shown, lines, result } = done.await.context("failed to do it")??;
    let nothing = shown.is_empty() && lines.is_empty();
    // What was previewed is what is confirmed: from and until the same moments.
    let (until, since) = (format!("{until:.3}"), since.map(|since| format!("{since:.3}")));
    let fixed = [("until", Some(until.as_str())), ("since", since.as_deref())];
    let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let others = fields.selecting().into_iter().filter(|(name, _)| !["until", "since"].contains(name));
    let selecting: Vec<(&str, &str)> = others.chain(fixed).collect();
    let title = match (again, result.is_some()) {
        (Again::Replay, false) => "Replay?",
        (Again::Replay, true) => "Replayed",
        (Again::Reprocess, false) => "Reprocess?",
        (Again::Reprocess, true) => "Reprocessed",
    };
    let content = html! {
        @if let Some(result) = &result { p.good role="status" { (text(result)) } }
        @else if nothing { p { "No events are selected." } }
        @else { (question(again, &what, shown.len() + lines.len(), &selecting)) }
        @if !lines.is_empty() { (page::lines(&lines.join("\n"))) }
        ol.events { @for shown in &shown { (events::row(shown, now())) } }
        p.quiet { "The same in a terminal: " code { (text(&command(&what, &selecting, &console))) } }
    };
    Ok(page::page(&console, title, "/events", &content))
}

fn question(again: Again, what: &str, count: usize, selecting: &[(&str, &str)]) -> Markup {
    let (explained, button) = match again {
        Again::Replay => (
            "Their messages are sent to the queue of the verdicts again, with the ids and sequences that they had. Repeats, of \
             which nothing was published, are left out. So are passwords and links.",
            format!("Replay {count} events"),
        ),
        Again::Reprocess => (
            "Those that are understood now are put into the table beside the ones they replace, and published.",
            format!("Reprocess {count} events"),
        ),
    };
    html! {
        p.warning { (explained) }
        form.line method="post" action=(address(&format!("/again/{what}"), selecting.iter().copied())) {
            input type="hidden" name="confirmed" value="yes";
            button.does { (button) }
            a href="/events" { "Cancel" }
        }
    }
}

fn command(what: &str, selecting: &[(&str, &str)], console: &Shared) -> String {
    let arguments = selecting.iter().map(|(name, value)| format!(" --{name} {}", shell_words::quote(value)));
    format!("callbacks {what}{}{}", arguments.collect::<String>(), console.target())
}

/// The keys of the events that are meant, in the order in which they were received.
async fn keys(console: &Shared, selection: &Selection) -> anyhow::Result<Vec<Key>> {
    let events = console.events();
    let keys = match (selection.since, selection.until) {
        (Some(since), Some(until)) if selection.subject.is_none() => {
            let before = Place { received_at: until, id: String::new() };
            let mut keys = events.keys_before(since, &before, MOST + 1).await?;
            keys.reverse();
            keys
        }
        _ => selection.keys(&events, Some(SignedDuration::ZERO)).await?,
    };
    anyhow::ensure!(
        keys.len() <= MOST,
        "these are more than {MOST} events: use the command, which shows how far it is"
    );
    Ok(keys)
}

async fn replay(console: &Shared, selection: &Selection, is_confirmed: bool) -> anyhow::Result<Done> {
    let (events, keys) = (console.events(), keys(console, selection).await?);
    let resending = Resending::of(&console.stack, &console.connections, &replay_name())?;
    let (mut found, mut sent) = (Vec::new(), 0);
    for page in keys.chunks(PAGE) {
        let selected = resending.select(&events, page, selection, false).await?;
        if is_confirmed {
            let count = resending.send(&events, selected).await?;
            sent +=
                count.with_context(|| format!("not all was sent: {sent} were, and the queue did not take the rest"))?;
        } else {
            let rows = with_rows(&console.courses(), &events, selected).await?;
            found.extend(rows.into_iter().map(|(event, row)| Shown { decision: decision_about(&event, row), event }));
        }
    }
    let result = is_confirmed.then(|| format!("{sent} sent{}.", events.and_skipped()));
    Ok(Done { events: found, lines: Vec::new(), result })
}

async fn reprocess(console: &Shared, selection: &Selection, is_confirmed: bool) -> anyhow::Result<Done> {
    let (events, keys) = (console.events(), keys(console, selection).await?);
    let erasures = erasures(&console.stack, &console.connections);
    let (mut lines, mut understood) = (Vec::new(), 0);
    for page in keys.chunks(PAGE) {
        for event in without_what_is_erased(&erasures, events.get(page).await?).await? {
            let Some(then) = event.unrecognized.as_deref().filter(|_| selection.selects(&event)) else { continue };
            let retention = console.stack.retention();
            let Some(now) = read_again(&events, &event, retention, !is_confirmed).await? else { continue };
            understood += usize::from(matches!(now, Now::Understood { .. }));
            lines.push(now.line(&event, then));
        }
    }
    let result =
        is_confirmed.then(|| format!("{understood} of {} understood now{}.", lines.len(), events.and_skipped()));
    Ok(Done { events: Vec::new(), lines, result })
}

//! New events, as they come: one watch for all browsers, which looks only while there is one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse as _,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt as _, stream};
use maud::html;
use tokio::sync::broadcast;

use super::{
    events::{self, Shown},
    fields::Fields,
    page::{Answer, Problem},
    server::Shared,
};
use crate::{
    selection::{Selection, now},
    watch::{OVERLAP, PAUSE, Watch},
};

/// What happens, for all browsers that look.
pub(super) struct Live(broadcast::Sender<Happened>);

#[derive(Clone)]
enum Happened {
    /// An event came, or something was decided about it.
    Came(Arc<Shown>),
    /// The tables cannot be read now.
    Failed,
}

/// How many events may wait for a browser. One that is slower is told to load the page again.
const WAITING: usize = 256;

/// How many browsers may look at the same time.
const MOST_BROWSERS: usize = 16;

/// How long to wait after the tables could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

impl Default for Live {
    fn default() -> Self {
        Self(broadcast::channel(WAITING).0)
    }
}

/// Watches while a browser looks. Never ends.
pub(super) async fn watch(console: Arc<Shared>) -> Infallible {
    loop {
        if console.live.0.receiver_count() == 0 {
            tokio::time::sleep(PAUSE / 4).await;
        } else if look(&console).await.is_err() {
            // Why is shown by the page itself, when it is loaded again.
            let _ = console.live.0.send(Happened::Failed);
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

/// Tells what comes until nobody looks any more.
async fn look(console: &Shared) -> anyhow::Result<()> {
    let mut watch = Watch::since(&console.stack, &console.connections, now() - OVERLAP).await?;
    while console.live.0.receiver_count() > 0 {
        watch.look().await?;
        while let Some(found) = watch.next().await? {
            for (event, decision) in found {
                let _ = console.live.0.send(Happened::Came(Arc::new(Shown { event, decision })));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

pub(super) async fn stream(State(console): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answer {
    let fields = Fields::of(query, &[]);
    let selection = fields.selection()?;
    if console.live.0.receiver_count() >= MOST_BROWSERS {
        return Err(Problem::not_understood("too many pages are open"));
    }
    let receiver = console.live.0.subscribe();
    // What came between the page and this, at the latest. The browser replaces what it has already.
    let last = Selection { since: Some(now() - OVERLAP), ..selection.clone() };
    let found = events::find(&console, &last, None, WAITING).await?;
    let first = found.shown.into_iter().rev().map(|shown| Ok::<_, Infallible>(told(&shown)));
    let rest = stream::unfold((receiver, selection), |(mut receiver, selection)| async {
        loop {
            let event = match receiver.recv().await {
                Ok(Happened::Came(shown)) if is_selected(&selection, &shown) => told(&shown),
                Ok(Happened::Came(_)) => continue,
                Ok(Happened::Failed) => Event::default().event("failed").data(""),
                Err(broadcast::error::RecvError::Lagged(_)) => Event::default().event("reload").data(""),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            return Some((Ok(event), (receiver, selection)));
        }
    });
    let events = stream::iter(first).chain(rest);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

fn is_selected(selection: &Selection, Shown { event, .. }: &Shown) -> bool {
    let is_of_subject = selection.subject.as_ref().is_none_or(|subject| *subject == event.subject);
    is_of_subject && selection.since.is_none_or(|since| since <= event.received_at) && selection.selects(event)
}

/// A row, as the list has it.
fn told(shown: &Shown) -> Event {
    Event::default().event("row").data(html! { (events::row(shown, now())) }.into_string())
}

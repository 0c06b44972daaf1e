//! The page of providers: what an operator needs first at night. It shows for all providers what
//! `callbacks why refused` shows for one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::extract::{RawQuery, State};
use futures_util::future::join_all;
use jiff::SignedDuration;
use maud::{Markup, html};
use model::Timestamp;
use tokio::time::timeout;

use super::{
    fields::{Fields, address},
    page::{self, Answer, text},
    server::Shared,
};
use crate::{
    selection::now,
    why::{Report, Verdict, listed},
};

/// How long to wait for the logs of one provider.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many providers' logs are read at the same time: CloudWatch answers five requests an account
/// and second.
const AT_ONCE: usize = 2;

/// How many addresses are named.
const MOST_ADDRESSES: usize = 10;

pub(super) async fn page(State(console): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Answer {
    let fields = Fields::of(query, &[]);
    let now = now();
    let since = fields.selection()?.since.unwrap_or_else(|| now - SignedDuration::from_hours(2));
    let providers = console.providers();
    let mut reports = Vec::new();
    for few in providers.chunks(AT_ONCE) {
        reports.extend(join_all(few.iter().map(|provider| report(&console, provider, since, now))).await);
    }
    let content = html! {
        form.line method="get" action="/providers" {
            label { "Since " input name="since" size="10" placeholder="2h" value=(fields.get("since").unwrap_or_default()); }
            button { "Look" }
        }
        p { "Since " (page::time(since)) " (UTC). Read from the logs, which CloudWatch shows some seconds late." }
        div.cards { @for (provider, report) in providers.iter().zip(&reports) { (card(&console, provider, report)) } }
    };
    Ok(page::page(&console, "Providers", "/providers", &content))
}

/// Why there is no report.
type Missing = String;

async fn report(console: &Shared, provider: &str, since: Timestamp, now: Timestamp) -> Result<Report, Missing> {
    match timeout(PATIENCE, Report::make(&console.stack, console.name.as_deref(), provider, since, now)).await {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(crate::error_text(&error)),
        Err(_) => Err(format!("the logs did not answer within {} s", PATIENCE.as_secs())),
    }
}

fn card(console: &Shared, provider: &str, report: &Result<Report, Missing>) -> Markup {
    let class = match report.as_ref().map(|report| report.verdict) {
        Ok(Verdict::LockedOut) => "alarm",
        Ok(Verdict::NotClear) | Err(_) => "warning",
        Ok(_) => "",
    };
    let shown = match report {
        Ok(report) => known(report),
        Err(missing) => html! {
            p.warning { "Not known: " (text(missing)) }
            p { code { "callbacks why refused " (provider) (console.target()) } }
        },
    };
    html! {
        section.card.{ (class) } {
            h2 { (text(provider)) }
            (shown)
            p { a href=(address("/events", [("provider", provider)])) { "Its events" } }
        }
    }
}

fn known(report: &Report) -> Markup {
    let time = |time: Option<Timestamp>, otherwise: &str| match time {
        Some(time) => page::time(time),
        None => html! { (otherwise) },
    };
    let (verdict, _) = report.verdict.text();
    let class = match report.verdict {
        Verdict::LockedOut => "alarm",
        Verdict::NotClear => "warning",
        Verdict::NoRefusals | Verdict::Stranger => "good",
    };
    html! {
        p.{ (class) } { strong { (verdict) } ": " (text(&report.because)) }
        dl.facts {
            dt { "Received" } dd { (report.received) }
            dt { "Refused" } dd { (report.refused) @if report.refused > 0 { " (" (text(&listed(&report.by_reason))) ")" } }
            dt { "Last refused" } dd { (time(report.last_refused_at, "none")) }
            dt { "Last authentic" } dd { (time(report.last_authentic_at, "none in the last 7 days")) }
            dt { "Secret changed" } dd { (time(report.secret_changed_at, "it has no secret")) }
            dt { "Refused addresses" } dd { (addresses(&report.by_address, report.refused)) }
        }
        @if report.refused > 0 {
            p { (text(&report.next.what)) }
            p { code { (text(&report.next.command)) } }
        }
    }
}

fn addresses(counts: &BTreeMap<String, usize>, refused: usize) -> Markup {
    let mut most: Vec<_> = counts.iter().collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let left_out = most.len().saturating_sub(MOST_ADDRESSES);
    html! {
        @if most.is_empty() { (if refused > 0 { "the access log has none yet: it comes some minutes later" } else { "none" }) }
        @for (address, count) in most.into_iter().take(MOST_ADDRESSES) { code { (text(address)) } " " (count) " " }
        @if left_out > 0 { "and " (left_out) " more" }
    }
}

//! Which events a command is about.

use anyhow::bail;
use clap::Args;
use jiff::SignedDuration;
use model::{Outcome, StoredEvent, Timestamp};
use serde_json::json;

use crate::events::{Events, Key};

/// Which events a command is about: all to which everything that is given applies.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// From when on, such as 2026-01-31T12:00:00Z, or how long ago, such as 2h or 30m.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Until before when [default: now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only of this verification: the provider's reference. Without --since, whenever they were received.
    #[arg(long)]
    subject: Option<String>,
    /// Only of this provider, such as jumio.
    #[arg(long)]
    provider: Option<String>,
    /// Only of this kind, such as jumio.netverify-id.
    #[arg(long)]
    kind: Option<String>,
    /// Only with this outcome, such as approved.
    #[arg(long, value_parser = outcome)]
    outcome: Option<Outcome>,
}

impl Selection {
    /// The keys of the events of the time and the subject, in the order in which they were received. Without a time and a subject, those of so long ago and
    /// since, or else it is an error.
    pub(crate) async fn keys(&self, events: &Events, ago: Option<SignedDuration>) -> anyhow::Result<Vec<Key>> {
        let since = match (self.since, &self.subject, ago) {
            (Some(since), _, _) => since,
            (None, Some(_), _) => Timestamp::UNIX_EPOCH,
            (None, None, Some(ago)) => now() - ago,
            (None, None, None) => bail!("say which events: give --since, such as --since 2h, or --subject"),
        };
        // Clocks differ a little.
        let until = self.until.unwrap_or_else(|| now() + SignedDuration::from_mins(1));
        if since >= until {
            bail!("--since is not before --until");
        }
        match &self.subject {
            None => events.keys_received(since, until).await,
            Some(subject) => {
                let mut keys = events.keys_of_subject(subject).await?;
                keys.retain(|key| (since..until).contains(&key.received_at));
                Ok(keys)
            }
        }
    }

    /// Whether this event of the time and the subject is one of them.
    pub(crate) fn selects(&self, event: &StoredEvent) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        is(&self.provider, &event.provider)
            && is(&self.kind, &event.kind)
            && self.outcome.is_none_or(|outcome| outcome == event.outcome)
    }
}

fn outcome(text: &str) -> Result<Outcome, String> {
    serde_json::from_value(json!(text))
        .map_err(|_| "an outcome is approved, rejected, review, action_required, pending, failed or none".to_owned())
}

/// A time, or how long ago.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: SignedDuration =
        text.parse().map_err(|_| "neither a time like 2026-01-31T12:00:00Z nor a span like 2h or 30m".to_owned())?;
    now().checked_sub(ago).map_err(|error| error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "spans like 2h are counted from now, and passwords expire by now")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

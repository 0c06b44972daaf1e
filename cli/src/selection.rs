//! Which events a command is about.

use anyhow::bail;
use clap::Args;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use model::{Outcome, StoredEvent, Timestamp};
use serde_json::json;

use crate::{
    events::{Events, Key},
    parsers,
};

/// Which events a command is about: all to which everything that is given applies.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Selection {
    /// From when on, such as 2026-01-31T12:00:00Z, or how long ago, such as 30m, 2h, 7d or 2w.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Until before when [default: now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// Only of this verification: the provider's reference. Without --since, whenever they were received.
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Only of this provider, such as jumio. The name of one of its functions means the provider too.
    #[arg(long, value_parser = parsers::provider)]
    pub(crate) provider: Option<String>,
    /// Only of this kind, such as jumio.netverify-id.
    #[arg(long, value_parser = parsers::kind)]
    pub(crate) kind: Option<String>,
    /// Only with this outcome, such as approved.
    #[arg(long, value_parser = outcome)]
    pub(crate) outcome: Option<Outcome>,
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

pub(crate) fn outcome(text: &str) -> Result<Outcome, String> {
    serde_json::from_value(json!(text))
        .map_err(|_| "an outcome is approved, rejected, review, action_required, pending, failed or none".to_owned())
}

/// A time, or how long ago.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    now().checked_sub(span(text)?).map_err(|error| error.to_string())
}

/// A length of time, of weeks and shorter units. A day has 24 hours: what is asked is how long ago, not what the calendar said.
fn span(text: &str) -> Result<SignedDuration, String> {
    let span: Option<Span> = text.parse().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    // "1h ago" is read as a negative span, and means the same.
    let duration = duration.map(|duration| duration.abs());
    duration.ok_or_else(|| "neither a time like 2026-01-31T12:00:00Z nor a span like 30m, 2h, 7d or 2w".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "spans like 2h are counted from now, and passwords expire by now")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_of_weeks_and_shorter_units() {
        for (text, minutes) in [
            ("30m", 30),
            ("2h", 120),
            ("24h", 24 * 60),
            ("1d", 24 * 60),
            ("7d", 7 * 24 * 60),
            ("2w", 14 * 24 * 60),
            ("1w 2d 3h", (9 * 24 + 3) * 60),
            ("P1DT30M", 24 * 60 + 30),
            ("1h ago", 60),
        ] {
            assert_eq!(span(text), Ok(SignedDuration::from_mins(minutes)), "{text}");
        }
        for text in ["", "7", "1 fortnight", "1mo", "1y", "yesterday", "2026-01-31"] {
            assert!(span(text).unwrap_err().contains("7d or 2w"), "{text}");
        }
    }

    #[test]
    fn a_time_is_one_or_how_long_ago() {
        assert_eq!(time("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        let day_ago = time("1d").unwrap();
        let ago = now().duration_since(day_ago);
        assert!((24 * 3600..24 * 3600 + 60).contains(&ago.as_secs()), "{ago}");
        assert!(time("1000000w").is_err() && time("99999999999h").is_err());
    }
}

//! Metrics, in [CloudWatch's embedded
//! format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html):
//! log lines from which CloudWatch makes metrics. This file has all of them, and docs/LOGGING.md
//! lists them.
//!
//! Each metric costs 0.30 dollars a month for each set of dimensions. So only two are by provider,
//! and the others have no dimensions. The log lines have the provider, the kind and the reason. A
//! dimension is a word of ours: never a stranger's input, and never a subject.
//!
//! A success takes one line in the log: its fields are properties in the line with its metrics.

use std::{
    io::Write as _,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use model::{Inserted, Published, Receipt};
use serde_json::Value;

use crate::config;

static COLLECTOR: OnceLock<&'static Collector> = OnceLock::new();

/// The ids of the events whose messages were accepted since the last flush.
static PUBLISHED: Mutex<Vec<Value>> = Mutex::new(Vec::new());

const COUNTERS: [&str; 13] = [
    REFUSED,
    SLOW,
    UNRECOGNIZED,
    SPILLED,
    UNAVAILABLE,
    UNTRUSTED_TOKENS,
    LOOK_UPS_FAILED,
    REPEATS,
    LATE,
    CONFLICTS,
    NOT_PUBLISHED,
    SET_ASIDE,
    DRAINED,
];
/// By provider.
const REFUSED: &str = "Refused";
/// By provider. Its samples are the callbacks that were stored.
const ACKNOWLEDGE_TIME: &str = "AcknowledgeTime";
/// Its samples are the messages that were published.
const AGE_AT_PUBLISHING: &str = "AgeAtPublishing";
const SLOW: &str = "Slow";
const UNRECOGNIZED: &str = "Unrecognized";
const SPILLED: &str = "Spilled";
const UNAVAILABLE: &str = "Unavailable";
const UNTRUSTED_TOKENS: &str = "UntrustedTokens";
const LOOK_UPS_FAILED: &str = "LookUpsFailed";
const REPEATS: &str = "Repeats";
const LATE: &str = "Late";
const CONFLICTS: &str = "Conflicts";
const NOT_PUBLISHED: &str = "NotPublished";
const SET_ASIDE: &str = "SetAside";
const DRAINED: &str = "Drained";
const OVERDUE: &str = "Overdue";
const FETCHES_FAILED: &str = "FetchesFailed";

/// Starts counting. Nothing is counted before, as in tests.
pub(crate) fn start() {
    let namespace = config::METRICS_NAMESPACE.get().unwrap_or_else(|| "verification-callbacks".to_owned());
    // Fails only if counting has started already.
    if let Ok(collector) = Builder::new().cloudwatch_namespace(namespace).init() {
        let _ = COLLECTOR.set(collector);
        for name in COUNTERS {
            describe_counter!(name, Unit::Count, "");
        }
        for name in [ACKNOWLEDGE_TIME, AGE_AT_PUBLISHING] {
            describe_histogram!(name, Unit::Milliseconds, "");
        }
    }
}

/// Writes the counts since the last time. Call it before an invocation ends, because the process
/// may never run again.
pub(crate) fn flush() {
    if let Some(collector) = COLLECTOR.get() {
        let mut lines = Vec::new();
        // One write, so that no other line gets in between. If the log is gone, there is no way to
        // report it.
        let _ = collector.flush(&mut lines).and_then(|()| std::io::stdout().write_all(&lines));
        for name in FIELDS {
            collector.remove_property(name);
        }
        if let Ok(mut ids) = PUBLISHED.lock() {
            ids.clear();
        }
    }
}

/// The fields of a line for people that are written with metrics.
const FIELDS: [&str; 7] = ["level", "message", "event.id", "event.ids", "event.kind", "event.outcome", "inserted"];

/// Writes these fields with the next metrics.
fn say(message: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) {
    if let Some(collector) = COLLECTOR.get() {
        collector.set_property("level", "INFO").set_property("message", message);
        for (name, value) in fields {
            collector.set_property(name, value);
        }
    }
}

/// An authentic callback was stored, and answered after this much of its provider's time limit.
pub(crate) fn received(receipt: &Receipt, took: Duration, allowed: Duration) {
    if receipt.inserted == Inserted::Spilled {
        counter!(SPILLED).increment(1);
    }
    if receipt.event.unrecognized().is_some() {
        counter!(UNRECOGNIZED).increment(1);
    }
    if took > allowed * 3 / 5 {
        counter!(SLOW).increment(1);
    }
    histogram!(ACKNOWLEDGE_TIME, "provider" => receipt.event.provider()).record(milliseconds(took));
    let inserted = match receipt.inserted {
        Inserted::Fresh => "fresh",
        Inserted::Duplicate => "duplicate",
        Inserted::Spilled => "spilled",
    };
    let event = &receipt.event;
    let fields = [
        ("event.id", event.id().as_str()),
        ("event.kind", event.kind()),
        ("event.outcome", event.outcome().as_str()),
        ("inserted", inserted),
    ];
    say("callback stored", fields.map(|(name, value)| (name, value.into())));
}

/// A callback was refused.
pub(crate) fn refused(provider: &'static str) {
    counter!(REFUSED, "provider" => provider).increment(1);
}

/// An authentic callback could not be stored.
pub(crate) fn unavailable() {
    counter!(UNAVAILABLE).increment(1);
}

/// A token of an authentic callback is not trusted.
pub fn untrusted_token() {
    counter!(UNTRUSTED_TOKENS).increment(1);
}

/// A look-up failed, of a secret, an issuer's keys or a provider's addresses. The log says which.
pub(crate) fn look_up_failed() {
    counter!(LOOK_UPS_FAILED).increment(1);
}

/// The publisher decided what to publish of a callback; nothing if it is a repeat.
pub fn decided(published: Option<&Published>) {
    let count = |name: &'static str| counter!(name).increment(1);
    match published {
        None => count(REPEATS),
        Some(Published { late, conflict, .. }) => {
            if *late {
                count(LATE);
            }
            if *conflict {
                count(CONFLICTS);
            }
        }
    }
}

/// A queue accepted the message of this event, this long after the receipt of its callback.
pub fn published(event_id: &str, age: Duration) {
    histogram!(AGE_AT_PUBLISHING).record(milliseconds(age));
    if let Ok(mut ids) = PUBLISHED.lock() {
        ids.push(event_id.into());
        say("published", [("event.ids", Value::Array(ids.clone()))]);
    }
}

/// A queue did not accept a message. It will be sent again.
pub fn not_published() {
    counter!(NOT_PUBLISHED).increment(1);
}

/// A record was set aside.
pub fn set_aside() {
    counter!(SET_ASIDE).increment(1);
}

/// A spilled event is in the table.
pub fn drained() {
    counter!(DRAINED).increment(1);
}

/// Counters of the reconciler alone.
fn count_rarely(name: &'static str) {
    describe_counter!(name, Unit::Count, "");
    counter!(name).increment(1);
}

/// A verdict did not arrive in time.
pub fn overdue() {
    count_rarely(OVERDUE);
}

/// A provider was asked and gave no usable answer. The log says which provider and why.
pub fn fetch_failed() {
    count_rarely(FETCHES_FAILED);
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

//! Metrics, in [CloudWatch's embedded format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html):
//! lines in the log of which CloudWatch makes metrics. All there are stand here, and docs/LOGGING.md lists them.
//!
//! Dimensions are providers, kinds and reasons, all of them words of ours: never what a stranger wrote, and never a subject. An alarm cannot add
//! metrics up over a dimension that it does not name, so what an alarm looks at is counted by provider alone too.

use std::{io::Write as _, sync::OnceLock, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use model::{Inserted, Published, Receipt};

use crate::config;

static COLLECTOR: OnceLock<&'static Collector> = OnceLock::new();

const COUNTERS: [&str; 14] = [
    RECEIVED,
    UNRECOGNIZED,
    SPILLED,
    REFUSED,
    UNAVAILABLE,
    UNTRUSTED_TOKENS,
    LOOK_UPS_FAILED,
    PUBLISHED,
    REPEATS,
    LATE,
    CONFLICTS,
    NOT_PUBLISHED,
    SET_ASIDE,
    DRAINED,
];
const RECEIVED: &str = "Received";
const UNRECOGNIZED: &str = "Unrecognized";
const SPILLED: &str = "Spilled";
const REFUSED: &str = "Refused";
const UNAVAILABLE: &str = "Unavailable";
const UNTRUSTED_TOKENS: &str = "UntrustedTokens";
const LOOK_UPS_FAILED: &str = "LookUpsFailed";
const PUBLISHED: &str = "Published";
const REPEATS: &str = "Repeats";
const LATE: &str = "Late";
const CONFLICTS: &str = "Conflicts";
const NOT_PUBLISHED: &str = "NotPublished";
const SET_ASIDE: &str = "SetAside";
const DRAINED: &str = "Drained";
const ACKNOWLEDGE_TIME: &str = "AcknowledgeTime";
const AGE_AT_PUBLISHING: &str = "AgeAtPublishing";

/// Begins to count. Nothing is counted before, as in tests.
pub(crate) fn start() {
    let namespace = config::METRICS_NAMESPACE.get().unwrap_or_else(|| "verification-callbacks".to_owned());
    // Fails only if somebody counts already.
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

/// Writes what was counted since the last time. To be done before an invocation ends: the process may never run again.
pub(crate) fn flush() {
    if let Some(collector) = COLLECTOR.get() {
        let mut lines = Vec::new();
        // One write, so that no other line gets in between. There is nobody to tell if the log is gone.
        let _ = collector.flush(&mut lines).and_then(|()| std::io::stdout().write_all(&lines));
    }
}

/// An authentic callback was kept, and is answered so long after it came.
pub(crate) fn received(receipt: &Receipt, took: Duration) {
    let (provider, kind) = (receipt.event.provider(), receipt.event.kind().to_owned());
    counter!(RECEIVED, "provider" => provider).increment(1);
    counter!(RECEIVED, "provider" => provider, "kind" => kind).increment(1);
    if receipt.inserted == Inserted::Spilled {
        counter!(SPILLED, "provider" => provider).increment(1);
    }
    if receipt.event.unrecognized().is_some() {
        counter!(UNRECOGNIZED, "provider" => provider).increment(1);
    }
    histogram!(ACKNOWLEDGE_TIME, "provider" => provider).record(milliseconds(took));
}

/// A callback was refused for this reason.
pub(crate) fn refused(provider: &'static str, reason: &'static str) {
    counter!(REFUSED, "provider" => provider).increment(1);
    counter!(REFUSED, "provider" => provider, "reason" => reason).increment(1);
}

/// A callback could not be taken in.
pub(crate) fn unavailable(provider: &'static str) {
    counter!(UNAVAILABLE, "provider" => provider).increment(1);
}

/// A token of an authentic callback is not trusted.
pub fn untrusted_token(provider: &'static str) {
    counter!(UNTRUSTED_TOKENS, "provider" => provider).increment(1);
}

/// A look-up failed, of a secret, an issuer's keys or a provider's addresses. The log says which.
pub(crate) fn look_up_failed() {
    counter!(LOOK_UPS_FAILED).increment(1);
}

/// It was decided what to publish of a callback; nothing if it is a repeat.
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

/// A message was accepted by its queue, so long after its callback was received.
pub fn published(provider: &str, kind: &str, age: Duration) {
    let (provider, kind) = (provider.to_owned(), kind.to_owned());
    counter!(PUBLISHED, "provider" => provider.clone()).increment(1);
    counter!(PUBLISHED, "provider" => provider.clone(), "kind" => kind).increment(1);
    histogram!(AGE_AT_PUBLISHING, "provider" => provider).record(milliseconds(age));
}

/// A message was not accepted by its queue, and will be sent again.
pub fn not_published(provider: &str) {
    counter!(NOT_PUBLISHED, "provider" => provider.to_owned()).increment(1);
}

/// A record was set aside.
pub fn set_aside() {
    counter!(SET_ASIDE).increment(1);
}

/// What was spilled is in the table.
pub fn drained() {
    counter!(DRAINED).increment(1);
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

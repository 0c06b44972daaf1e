//! From the spill queue to the events table: what the table did not take when its callback came.
//!
//! Idempotent, like the request path: an event that is in the table already, because its answer was lost or the message
//! came twice, is a duplicate. What the table still does not take stays in the queue, and comes again later each time;
//! after a while, it goes to the dead letters.
//!
//! Of a verification that is erased, what stays of the event is put, without its payload (docs/adr/0018). While the list of
//! those cannot be read, everything comes again.

use std::collections::BTreeSet;

use model::Timestamp;
use runtime::{DynamoErasures, DynamoStore, QueuedMessage, Spilled, telemetry};
use tracing::{error, info, warn};

/// Drains a batch, and returns those that have to come again.
pub async fn drain(
    store: &DynamoStore,
    erasures: &DynamoErasures,
    messages: Vec<QueuedMessage>,
    now: Timestamp,
) -> Vec<QueuedMessage> {
    let (mut read, mut again) = (Vec::new(), Vec::new());
    for message in messages {
        match serde_json::from_str::<Spilled>(&message.body) {
            Ok(spilled) => read.push((message, spilled)),
            Err(_) => {
                // It will not become readable by waiting, but by an upgrade: the dead letters keep it for that.
                error!(message.id = message.id, "failed to read what was spilled");
                again.push(message);
            }
        }
    }
    let keys: BTreeSet<String> = read.iter().filter_map(|(_, spilled)| spilled.erasure_key()).collect();
    let erased = match erasures.among(&keys).await {
        Ok(erased) => erased,
        Err(failure) => {
            warn!(error = runtime::chain(&failure), "failed to read what is erased");
            again.extend(read.into_iter().map(|(message, _)| message));
            return again;
        }
    };
    for (message, spilled) in read {
        let id = spilled.event_id().map(str::to_owned);
        let is_erased = spilled.erasure_key().is_some_and(|key| erased.contains(&key));
        let drained = match is_erased {
            true => spilled.drain_erased(store, erasures, now).await,
            false => spilled.drain(store, now).await,
        };
        match drained {
            Ok(inserted) => {
                info!(event.id = id, inserted = ?inserted, "drained");
                telemetry::drained();
            }
            Err(failure) => {
                warn!(event.id = id, error = runtime::chain(&failure), "the table still does not take it");
                again.push(message);
            }
        }
    }
    again
}

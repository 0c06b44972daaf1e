//! From the spill queue to the events table: what the table did not take when its callback came.
//!
//! Idempotent, like the request path: an event that is in the table already, because its answer was lost or the message
//! came twice, is a duplicate. What the table still does not take stays in the queue, and comes again later each time;
//! after a while, it goes to the dead letters.

use model::Timestamp;
use runtime::{DynamoStore, QueuedMessage, Spilled, telemetry};
use tracing::{error, info, warn};

/// Drains a batch, and returns those that have to come again.
pub async fn drain(store: &DynamoStore, messages: Vec<QueuedMessage>, now: Timestamp) -> Vec<QueuedMessage> {
    let mut again = Vec::new();
    for message in messages {
        let Ok(spilled) = serde_json::from_str::<Spilled>(&message.body) else {
            // It will not become readable by waiting, but by an upgrade: the dead letters keep it for that.
            error!(message.id = message.id, "failed to read what was spilled");
            again.push(message);
            continue;
        };
        let id = spilled.event_id().map(str::to_owned);
        match spilled.drain(store, now).await {
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

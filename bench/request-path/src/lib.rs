//! What the functions' own code costs: from the gateway's event to the answer, with nothing but memory behind it.
//!
//! # In instructions
//!
//! `benches/instructions.rs` counts, in callgrind, what each provider's callbacks cost, and what the AWS SDK's calls to DynamoDB do. Counts do not depend
//! on the machine's mood, so CI compares them with those in baseline.json:
//!
//! ```text
//! .ci/instructions            compares, and fails where a count has grown by more than the tolerance
//! .ci/instructions accept     writes the counts into baseline.json: to be committed, with the reason
//! ```
//!
//! They do depend on the compiler, valgrind, the C library and the processor's features. The baseline says which it was made with; on another machine
//! nothing is compared, and the command says so.
//!
//! The profile `bench` is the release without link-time optimization, since that takes minutes. So the counts are larger than those of the released functions:
//! they are there to be compared.
//!
//! # In time
//!
//! `benches/time.rs` measures authentication, parsing and message-building per provider, verifying a token per algorithm, and a callback of 2 MB, as
//! released:
//!
//! ```text
//! cargo bench --package request-path --bench time --profile release
//! ```
//!
//! What a function costs as a process is measured by the package `bench`.

// What is awaited when a function answers is not boxed here, and its type is deep.
#![recursion_limit = "256"]

pub mod baseline;
pub mod callback;
pub mod counts;
pub mod dynamo;
pub mod issuer;
pub mod machine;
pub mod provider;

use model::Timestamp;

/// The time at which everything here takes place.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_second(1_769_817_600).unwrap_or_default()
}

/// A runtime like the one of the functions.
///
/// # Errors
/// If the system has none to give.
pub fn tokio_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

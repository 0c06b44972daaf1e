//! Start and end of a function's process.

use std::process::ExitCode;

use tracing::{error, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::telemetry;

/// Every error that stops a function.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs a function: sets up its log, and logs why it ended if it fails.
pub async fn run(function: impl Future<Output = Result<(), Error>>) -> ExitCode {
    log_as_json();
    telemetry::start();
    match function.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(error = chain(failure.as_ref()), "function failed");
            ExitCode::FAILURE
        }
    }
}

/// Logs one JSON object in each line. Only our own crates log below the level of warnings, with any
/// environment: the AWS SDK would write whole requests at its lower levels, and they hold personal
/// data.
fn log_as_json() {
    let targets = Targets::new().with_default(LevelFilter::WARN).with_targets([
        ("runtime", LevelFilter::INFO),
        ("spill_drain", LevelFilter::INFO),
        ("publisher", LevelFilter::INFO),
        ("reconciler", LevelFilter::INFO),
        ("expectations", LevelFilter::INFO),
        ("verifications", LevelFilter::INFO),
        ("lambda_runtime", LevelFilter::INFO),
    ]);
    let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    // Fails only if a log is set up already, as in tests.
    let _ = tracing_subscriber::registry().with(targets).with(json).try_init();
}

/// An error and its sources, in one line. Never prints with `{:?}`, which would show the SDK's
/// requests and responses.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

//! The providers by their functions' names, with the secrets of the local stack.

use cli::sample::Sample;
use model::{EventStore, SecretPair, Timestamp};
use runtime::{GatewayRequest, GatewayResponse};
use signicat_assure::SignicatAssure;
use verifyvasp::VerifyVasp;

/// The functions that receive callbacks.
pub const FUNCTIONS: [&str; 2] = ["signicat-assure", "verifyvasp"];

/// There is no function of this name.
#[derive(Debug)]
pub struct Unknown;

/// What a function answers to an API Gateway event, given as JSON.
///
/// # Errors
/// If there is no such function.
pub async fn answer(function: &str, store: &impl EventStore, event: &str) -> Result<GatewayResponse, Unknown> {
    let request: GatewayRequest = serde_json::from_str(event).expect("an API Gateway event");
    let secret = SecretPair::new(&format!("local-{function}-secret"), None).unwrap();
    Ok(match function {
        "signicat-assure" => runtime::answer(&SignicatAssure::new(secret), store, request, local_time()).await,
        "verifyvasp" => runtime::answer(&VerifyVasp::new(secret), store, request, local_time()).await,
        _ => return Err(Unknown),
    })
}

/// The time at which all tests without a clock take place.
#[must_use]
pub fn local_time() -> Timestamp {
    "2026-01-31T00:00:00Z".parse().unwrap()
}

/// The samples in events/ of every function that receives callbacks.
#[must_use]
pub fn samples() -> Vec<Sample> {
    Sample::all(&cli::project_root().unwrap()).unwrap()
}

//! The providers by their functions' names, with the secrets of the local stack.

use std::net::IpAddr;

use cli::sample::Sample;
use identomat::Identomat;
use jumio::Jumio;
use model::{EventStore, Networks, SecretPair, Timestamp};
use runtime::{GatewayRequest, GatewayResponse};
use signicat_assure::SignicatAssure;
use verifyvasp::VerifyVasp;

/// The functions that receive callbacks.
pub const FUNCTIONS: [&str; 4] = ["identomat", "jumio", "signicat-assure", "verifyvasp"];

/// There is no function of this name.
#[derive(Debug)]
pub struct Unknown;

/// What a function answers at this time to an API Gateway event, given as JSON.
///
/// # Errors
/// If there is no such function.
pub async fn answer(
    function: &str,
    store: &impl EventStore,
    event: &str,
    now: Timestamp,
) -> Result<GatewayResponse, Unknown> {
    let request: GatewayRequest = serde_json::from_str(event).expect("an API Gateway event");
    let secret = SecretPair::new(&format!("local-{function}-secret"), None).unwrap();
    Ok(match function {
        "identomat" => runtime::answer(&Identomat::new(secret), store, request, now).await,
        "jumio" => runtime::answer(&Jumio::new(Documented, secret), store, request, now).await,
        "signicat-assure" => runtime::answer(&SignicatAssure::new(secret), store, request, now).await,
        "verifyvasp" => runtime::answer(&VerifyVasp::new(secret), store, request, now).await,
        _ => return Err(Unknown),
    })
}

/// The addresses in Jumio's document.
struct Documented;

impl Networks for Documented {
    async fn contain(&self, address: IpAddr, _now: Timestamp) -> bool {
        jumio::ADDRESSES.contains(&address)
    }
}

/// The time at which tests without a clock take place.
#[must_use]
pub fn local_time() -> Timestamp {
    "2026-01-31T00:00:00Z".parse().unwrap()
}

/// The samples in events/ of every function that receives callbacks.
#[must_use]
pub fn samples() -> Vec<Sample> {
    Sample::all(&cli::project_root().unwrap()).unwrap()
}

//! What the functions need of AWS, and the only crate that touches it: configuration, secrets, the
//! events table, the queues, HTTP in and out, logs.
//!
//! A function's `main` wires: [`run`] around a [`Aws`] from which it takes what it needs, then
//! [`serve`] (a provider) or [`consume`] (a stream).

mod aws;
mod cached;
mod config;
mod connections;
mod courses;
mod erasures;
mod expectations;
mod http;
mod https;
mod internal_queue;
mod networks;
mod pauses;
mod queue;
mod secrets;
mod spill;
mod start;
mod store;
mod stream;
pub mod telemetry;
mod trace;
mod user_agent;

pub use aws::Aws;
pub use cached::{Cached, LookUp, Unusable};
pub use config::{InvalidConfig, due_rules, networks};
pub use courses::DynamoCourses;
pub use erasures::DynamoErasures;
pub use expectations::DynamoExpectations;
pub use http::{GatewayRequest, answer, come_again, now, respond, serve, serve_http};
pub use https::{Https, Questions, basic_authorization};
pub use internal_queue::InternalQueue;
pub use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse as GatewayResponse;
pub use networks::{AllowedNetworks, Hosts};
pub use pauses::DynamoPauses;
pub use queue::SqsQueue;
pub use secrets::{CredentialVault, Hidden, Secrets, Vault};
pub use spill::{SpillQueue, Spilled, SpillingStore};
pub use start::{Error, chain, run};
pub use store::DynamoStore;
pub use stream::{Quarantine, QueuedMessage, Record, Unreadable, consume, consume_queue, on_schedule};
pub use user_agent::UserAgent;

//! What the functions need of AWS, and the only crate that touches it: configuration, secrets, the events table, the queues,
//! HTTP in and out, logs.
//!
//! A function's `main` wires: [`run`] around a [`Aws`] from which it takes what it needs, then [`serve`] (a provider) or
//! [`consume`] (a stream).

mod aws;
mod cached;
mod config;
mod connections;
mod courses;
mod expectations;
mod http;
mod https;
mod internal_queue;
mod networks;
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
pub use config::{InvalidConfig, networks};
pub use courses::DynamoCourses;
pub use expectations::DynamoExpectations;
pub use http::{GatewayRequest, answer, come_again, now, respond, serve, serve_http};
pub use https::Https;
pub use internal_queue::InternalQueue;
pub use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse as GatewayResponse;
pub use networks::{AllowedNetworks, Hosts};
pub use queue::SqsQueue;
pub use secrets::{Secrets, Vault};
pub use spill::{SpillQueue, Spilled, SpillingStore};
pub use start::{Error, chain, run};
pub use store::DynamoStore;
pub use stream::{Quarantine, QueuedMessage, Record, Unreadable, consume, consume_queue};
pub use user_agent::UserAgent;

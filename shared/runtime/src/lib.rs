//! What the functions need of AWS, and the only crate that touches it: configuration, secrets, the events table, the queues,
//! HTTP in and out, logs.
//!
//! A function's `main` wires: [`run`] around a [`Aws`] from which it takes what it needs, then [`serve`] (a provider) or
//! [`consume`] (a stream).

mod aws;
mod config;
mod http;
mod queue;
mod secrets;
mod start;
mod store;
mod stream;

pub use aws::Aws;
pub use config::InvalidConfig;
pub use http::{GatewayRequest, answer, serve};
pub use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse as GatewayResponse;
pub use queue::SqsQueue;
pub use secrets::{FetchSecret, Secrets};
pub use start::{Error, run};
pub use store::DynamoStore;
pub use stream::{Record, Unreadable, consume};

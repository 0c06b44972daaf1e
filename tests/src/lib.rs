//! What the tests share: the providers by name, an embedded DynamoDB, and a proxy that counts calls.

mod database;
mod providers;
mod proxy;

pub use database::Database;
pub use providers::{CODE, FUNCTIONS, ISSUER, IssuersKeys, Unknown, answer, local_time, samples};
pub use proxy::Proxy;

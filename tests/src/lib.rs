//! What the tests share: the providers by name, their events, an embedded DynamoDB, and a proxy that counts calls.

mod browser;
mod command;
pub mod commands;
pub mod contract;
mod database;
mod gateway;
pub mod iam;
mod lambda;
pub mod made;
mod mapping;
mod nowhere;
mod providers;
mod proxy;
pub mod python;
mod schemathesis;
mod system;
pub mod template;

pub use browser::{Browser, Looks};
pub use command::{callbacks, callbacks_and_errors, callbacks_command};
pub use database::Database;
pub use gateway::{
    accepted, authentic, by_stranger, secret, secret_field, send, takes_secret_in_body, with_body, with_secret,
};
pub use lambda::{Crashed, Function};
pub use mapping::{QueueMapping, StreamMapping, receive_now};
pub use nowhere::Nowhere;
pub use providers::{
    FUNCTIONS, ISSUANCE_CODE, ISSUER, IssuersKeys, Unknown, VERIFICATION_CODE, answer, answer_with, local_time,
    max_body_bytes, message_of, samples,
};
pub use proxy::{AwsCall, Fault, Proxy};
pub use schemathesis::schemathesis;
pub use system::{Answer, Hosted, System, free_port};

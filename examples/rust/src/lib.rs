//! A consumer of verdicts, to be copied: every message once in effect, in order per verification.
//!
//! The binary `example-consumer` consumes, `example-payload` fetches what a message does not carry. The README beside
//! this crate says what they do.

pub mod inbox;
pub mod payload;
pub mod stack;

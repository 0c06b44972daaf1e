//! The model of verification callbacks: requests, authentication, events and messages.
//!
//! Pure: no AWS, no network, no clock. A callback goes through [`receive`] and nowhere else:
//!
//! 1. [`Provider::authenticate`] turns a [`Request`] into a [`Verified`] one, or refuses it;
//! 2. [`Provider::parse`] reads the verified body into a [`Parsed`] callback, or says why it
//!    cannot;
//! 3. the two become an [`Event`], which an [`EventStore`] stores exactly once.
//!
//! The stored item is a [`StoredEvent`]; the published message is a [`Message`].

mod authenticity;
mod course;
mod due;
mod erasure;
mod event;
mod expectation;
mod fetch;
mod kind;
mod message;
mod outbox;
mod pause;
mod pipeline;
mod proof;
mod provider;
mod request;
#[cfg(feature = "schema")]
pub mod schema;
mod secret;
mod settings;
pub mod signature;
mod store;
mod stored;
mod verification;
pub mod wire;

pub use authenticity::{
    Assurance, AuthError, Networks, Refusal, Verified, one_time_code, secret_in_body, shared_secret, signed_body,
    source_address,
};
pub use course::{Course, CourseKey, Courses, Decided, Decision, Policy, Published, Standing, Track, Written};
pub use due::{Due, DueChange, DueRule, Dues, Next, Origin, Schedule};
pub use erasure::{Erasure, Erasures};
pub use event::{Details, Event, EventId, Identity, InvalidSubject, Outcome, Parsed, Subject, Unrecognized};
pub use expectation::{Announced, Announcement, Expectation, Expectations, Purpose, Registered, is_state};
pub use fetch::{Fetcher, Found, MemoryWeb, NoCredentials, NoReply, Question, Reply, Web, fetched, is_plain_reference};
pub use kind::{Kind, NoDetails};
pub use message::{Message, MessageDetail};
pub use outbox::{MessageQueue, NotSent};
pub use pause::{Pace, Pause, Pauses};
pub use pipeline::{Receipt, Rejection, receive};
pub use proof::{Claim, Proof, Proofs};
pub use provider::{Provider, ProviderName};
pub use request::{Header, Request};
pub use secret::{InvalidSecret, SecretPair, SecretSource, Unavailable};
pub use settings::{Credential, Place, Reference, Retrieval, Settings};
pub use signature::SigningScheme;
pub use store::{EventStore, Events, Inserted, MemoryCourses, MemoryExpectations, MemoryStore, StoreError};
pub use stored::{Part, Retention, StoredEvent};
pub use verification::{PublishedEvent, TrackStanding, Verification};

/// A moment in time. Always an argument here, never read from a clock.
pub type Timestamp = jiff::Timestamp;

//! All tests from outside. `cargo test -p tests drills` runs those of one file.

mod console;
mod consumers;
mod contract;
mod courses;
mod documents;
mod drills;
mod erase;
mod fetchers;
mod fetching;
mod forgeries;
mod hostile;
mod limits;
mod local_stack;
mod looking;
mod permissions;
mod properties;
mod prove;
mod providers;
mod reconciler;
mod samples;
mod store;
mod truth;

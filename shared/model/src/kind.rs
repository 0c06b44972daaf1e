//! The kinds of callbacks: their names, outcomes and details.

use std::marker::PhantomData;

use serde::Serialize;
use serde_json::Value;

use crate::{Details, Outcome, Policy, Track};

/// A kind of callback whose messages have details of the type `D`. A provider declares each of its
/// kinds as a constant.
#[derive(Debug)]
pub struct Kind<D> {
    name: &'static str,
    track: Track,
    outcomes: &'static [Outcome],
    is_delivery: bool,
    details: PhantomData<fn(&D)>,
}

impl<D> Kind<D> {
    /// A kind of this name, in kebab-case and without the provider, such as `tx-report`, whose
    /// callbacks belong to this track and have one of these outcomes.
    #[must_use]
    pub const fn new(name: &'static str, track: Track, outcomes: &'static [Outcome]) -> Self {
        Self { name, track, outcomes, is_delivery: false, details: PhantomData }
    }

    /// A kind that is not a verdict, but an instruction to deliver a password or a link. Its
    /// details have the recipient and the text: the only details with personal data.
    #[must_use]
    pub const fn delivery(name: &'static str) -> Self {
        let track = Track::new(name, Policy::Reopens);
        Self { name, track, outcomes: &[Outcome::None], is_delivery: true, details: PhantomData }
    }

    /// The name, without the provider.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The track its callbacks belong to.
    #[must_use]
    pub const fn track(&self) -> Track {
        self.track
    }

    /// Its possible outcomes.
    #[must_use]
    pub const fn outcomes(&self) -> &'static [Outcome] {
        self.outcomes
    }

    /// Whether it is an instruction to deliver a password or a link.
    #[must_use]
    pub const fn is_delivery(&self) -> bool {
        self.is_delivery
    }
}

impl<D: Serialize> Kind<D> {
    /// The details as a message carries them.
    pub(crate) fn details(&self, details: &D) -> Details {
        match serde_json::to_value(details) {
            Ok(Value::Object(details)) => details,
            // Details are structs of texts and flags, which are always objects.
            _ => Details::new(),
        }
    }
}

impl Kind<NoDetails> {
    /// The kind of an announcement. It is recorded and never published, because your service made
    /// it.
    pub const ANNOUNCED: Self = Self::new("announced", Track::new("announced", Policy::Reopens), &[Outcome::None]);

    /// The kind of the record that a verdict did not arrive in time.
    pub const OVERDUE: Self = Self::new("overdue", Track::new("overdue", Policy::Reopens), &[Outcome::None]);
}

/// The details of an unrecognized callback: none.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NoDetails {}

//! What a provider's crate says of itself beside its code: plain data, from which the template, the contract, the command
//! line and the tests are made.

use std::time::Duration;

use crate::{SigningScheme, Track};

/// The settings of one function that receives callbacks.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How people write the provider's name, such as `Signicat Assure`.
    pub title: &'static str,
    /// What the function does, as AWS shows it: "Receives …".
    pub description: &'static str,
    /// What makes a callback authentic.
    pub credential: Credential,
    /// What makes it authentic, in words, for tables: Markdown.
    pub authenticated_by: &'static str,
    /// What the secret is and who presents it, as AWS shows it. Empty if there is none.
    pub secret: &'static str,
    /// The function's memory, in MB. More memory is more processor.
    pub memory_mb: u16,
    /// How long an invocation may take: [`ANSWER_WITHIN`](crate::Provider::ANSWER_WITHIN) or longer.
    pub timeout: Duration,
    /// Whether it is deployed unless the stack's parameters say otherwise.
    pub is_default: bool,
    /// What is verified, as `callbacks expect` shows it: "A … that was begun at …". Empty if it is not announced by its
    /// subject.
    pub verification: &'static str,
    /// The tracks that have verdicts, the usual one first. Empty if they are not announced by their subject.
    pub tracks: &'static [Track],
    /// The details of an announcement that the provider is asked by, beside the subject.
    pub references: &'static [Reference],
    /// How the stack is told where the provider is asked for verdicts, if it can be asked.
    pub retrieval: Option<Retrieval>,
}

/// How the stack is told where and by what a provider is asked for verdicts.
#[derive(Debug, Clone, Copy)]
pub struct Retrieval {
    /// The template's parameter that has the provider's base address.
    pub parameter: &'static str,
    /// What it is, such as `https://api.example.com`.
    pub example: &'static str,
    /// What the secret for asking holds. None for a provider in the company's own network, which needs no credentials: see
    /// [`WITHOUT_CREDENTIALS`](crate::Fetcher::WITHOUT_CREDENTIALS).
    pub credentials: Option<&'static str>,
}

/// What makes a callback authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The secret itself, in this place.
    Presented(Place),
    /// A signature of the body, made with the secret.
    Signed(&'static SigningScheme),
    /// A code that was announced before. It is in this field of the body, a JSON object.
    Announced(&'static str),
}

impl Credential {
    /// The field of the body that has the credential, if it is there.
    #[must_use]
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::Presented(Place::Field(name)) | Self::Announced(name) => Some(name),
            Self::Presented(_) | Self::Signed(_) => None,
        }
    }
}

/// Where a provider presents its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the header of this name, in lower case, after this text.
    Header(&'static str, &'static str),
    /// In this field of the body, a JSON object.
    Field(&'static str),
    /// As the last part of the path.
    Path,
}

/// A detail of an announcement by which a provider is asked.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// The detail's name, such as `dossier_id`.
    pub detail: &'static str,
    /// The option's name in `callbacks expect`, such as `dossier`.
    pub option: &'static str,
    /// What it is, and what happens without it.
    pub description: &'static str,
}

//! The environment, read here and nowhere else.

use jiff::SignedDuration;

/// A variable of the environment is missing or unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {name} {problem}: it is {purpose} (template.yaml sets it for a deployed function)")]
pub struct InvalidConfig {
    name: &'static str,
    problem: String,
    purpose: &'static str,
}

/// One variable that a function can be configured by.
pub(crate) struct Variable {
    name: &'static str,
    purpose: &'static str,
}

pub(crate) const EVENTS_TABLE: Variable =
    Variable { name: "EVENTS_TABLE", purpose: "the name of the DynamoDB table that keeps the events" };
pub(crate) const EVENT_RETENTION_DAYS: Variable =
    Variable { name: "EVENT_RETENTION_DAYS", purpose: "for how many days an event is kept, 365 if unset" };
pub(crate) const SECRET: Variable = Variable {
    name: "SECRET",
    purpose: "where the provider's secret is: the ARN of a secret in Secrets Manager, or env:NAME on your own machine",
};
pub(crate) const VERIFICATION_QUEUE_URL: Variable =
    Variable { name: "VERIFICATION_QUEUE_URL", purpose: "the URL of the FIFO queue that verdicts go to" };
pub(crate) const MESSAGE_DETAIL: Variable =
    Variable { name: "MESSAGE_DETAIL", purpose: "what a message carries, reference (if unset) or full" };

impl Variable {
    /// The variable's value; one that is set to nothing counts as not set.
    pub(crate) fn get(&self) -> Option<String> {
        read(self.name)
    }

    /// The variable's value.
    ///
    /// # Errors
    /// If it is not set.
    pub(crate) fn require(&self) -> Result<String, InvalidConfig> {
        self.get().ok_or_else(|| self.invalid("is not set"))
    }

    /// The error that this variable has this problem.
    pub(crate) fn invalid(&self, problem: impl Into<String>) -> InvalidConfig {
        InvalidConfig { name: self.name, problem: problem.into(), purpose: self.purpose }
    }
}

/// How long events are kept.
pub(crate) fn event_retention() -> Result<SignedDuration, InvalidConfig> {
    let Some(days) = EVENT_RETENTION_DAYS.get() else {
        return Ok(model::StoredEvent::DEFAULT_RETENTION);
    };
    match days.parse::<u16>() {
        Ok(days) if days > 0 => Ok(SignedDuration::from_hours(i64::from(days) * 24)),
        _ => Err(EVENT_RETENTION_DAYS.invalid("is no number of days from 1 to 65535")),
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretReference {
    /// In Secrets Manager, under this ARN.
    SecretsManager(String),
    /// Here, as JSON of the same form. The text was read from the environment and is not shown.
    Environment(String),
}

/// Where the provider's secret is.
pub(crate) fn secret() -> Result<SecretReference, InvalidConfig> {
    let reference = SECRET.require()?;
    if reference.starts_with("arn:") {
        return Ok(SecretReference::SecretsManager(reference));
    }
    let Some(name) = reference.strip_prefix("env:") else {
        return Err(SECRET.invalid("begins neither with arn: nor with env:"));
    };
    // Lambda names its way of starting a function; `sam local` does too, but says that it is local.
    if read("AWS_LAMBDA_INITIALIZATION_TYPE").is_some() && read("AWS_SAM_LOCAL").is_none() {
        return Err(SECRET.invalid("names a secret in the environment, which is for local use only"));
    }
    let text = read(name).ok_or_else(|| SECRET.invalid(format!("names {name}, which is not set")))?;
    Ok(SecretReference::Environment(text))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

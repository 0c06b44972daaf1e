//! The environment, read here and nowhere else.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use jiff::SignedDuration;
use model::{DueRule, Retention};

/// A variable of the environment is missing or unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {name} {problem}: it is {purpose} (template.yaml sets it for a deployed function)")]
pub struct InvalidConfig {
    name: Cow<'static, str>,
    problem: String,
    purpose: &'static str,
}

/// One variable that a function can be configured by.
pub(crate) struct Variable {
    name: Cow<'static, str>,
    purpose: &'static str,
}

pub(crate) const EVENTS_TABLE: Variable =
    Variable { name: Cow::Borrowed("EVENTS_TABLE"), purpose: "the name of the DynamoDB table that keeps the events" };
pub(crate) const VERIFICATIONS_TABLE: Variable = Variable {
    name: Cow::Borrowed("VERIFICATIONS_TABLE"),
    purpose: "the name of the DynamoDB table that keeps where verifications stand",
};
pub(crate) const EXPECTATIONS_TABLE: Variable = Variable {
    name: Cow::Borrowed("EXPECTATIONS_TABLE"),
    purpose: "the name of the DynamoDB table that keeps what is expected",
};
pub(crate) const ISSUERS: Variable = Variable {
    name: Cow::Borrowed("ISSUERS"),
    purpose: "the issuers whose tokens are trusted, a JSON array of {\"issuer\", \"jwks_url\", \"algorithms\", \"audience\"?}",
};
pub(crate) const EVENT_RETENTION_DAYS: Variable = Variable {
    name: Cow::Borrowed("EVENT_RETENTION_DAYS"),
    purpose: "for how many days an event is kept, 365 if unset",
};
pub(crate) const PERISHABLE_SECONDS: Variable = Variable {
    name: Cow::Borrowed("PERISHABLE_SECONDS"),
    purpose: "for how many seconds a password or a link is kept, and may be delivered, 3600 if unset",
};
pub(crate) const ALLOWED_NETWORKS: Variable = Variable {
    name: Cow::Borrowed("ALLOWED_NETWORKS"),
    purpose: "the addresses and networks (CIDR) that callbacks may come from, separated by commas, the provider's own if unset",
};
pub(crate) const RESOLVE_HOSTS: Variable = Variable {
    name: Cow::Borrowed("RESOLVE_HOSTS"),
    purpose: "whether the addresses that the provider's host names have now are allowed too, true or false (if unset)",
};
pub(crate) const SECRET: Variable = Variable {
    name: Cow::Borrowed("SECRET"),
    purpose: "where the provider's secret is: the ARN of a secret in Secrets Manager, or env:NAME on your own machine",
};
pub(crate) const AUTHORIZATION_HEADER: Variable = Variable {
    name: Cow::Borrowed("AUTHORIZATION_HEADER"),
    purpose: "the name of the header in which the provider presents its secret, authorization if unset",
};
pub(crate) const VERIFICATION_QUEUE_URL: Variable = Variable {
    name: Cow::Borrowed("VERIFICATION_QUEUE_URL"),
    purpose: "the URL of the FIFO queue that verdicts go to",
};
pub(crate) const DELIVERY_QUEUE_URL: Variable = Variable {
    name: Cow::Borrowed("DELIVERY_QUEUE_URL"),
    purpose: "the URL of the queue that passwords and links to be delivered go to",
};
pub(crate) const SPILL_QUEUE_URL: Variable = Variable {
    name: Cow::Borrowed("SPILL_QUEUE_URL"),
    purpose: "the URL of the queue that keeps what the events table does not take",
};
pub(crate) const UNPUBLISHED_QUEUE_URL: Variable = Variable {
    name: Cow::Borrowed("UNPUBLISHED_QUEUE_URL"),
    purpose: "the URL of the queue that keeps what cannot be published",
};
pub(crate) const METRICS_NAMESPACE: Variable = Variable {
    name: Cow::Borrowed("METRICS_NAMESPACE"),
    purpose: "the CloudWatch namespace of the metrics, verification-callbacks if unset",
};
pub(crate) const PROVIDERS: Variable = Variable {
    name: Cow::Borrowed("PROVIDERS"),
    purpose: "the names of the providers that are deployed, separated by commas",
};
pub(crate) const DUE_AFTER: Variable = Variable {
    name: Cow::Borrowed("DUE_AFTER"),
    purpose: "after how many seconds a verdict that is not final is overdue, for each provider, such as jumio=86400, \
              separated by commas, and 0 for never",
};
pub(crate) const FETCHED: Variable = Variable {
    name: Cow::Borrowed("FETCHED"),
    purpose: "the names of the providers that are asked for verdicts, separated by commas, none if unset",
};
pub(crate) const MESSAGE_DETAIL: Variable =
    Variable { name: Cow::Borrowed("MESSAGE_DETAIL"), purpose: "what a message carries, reference (if unset) or full" };

impl Variable {
    /// The variable's value; one that is set to nothing counts as not set.
    pub(crate) fn get(&self) -> Option<String> {
        read(&self.name)
    }

    /// The variable's value.
    ///
    /// # Errors
    /// If it is not set.
    pub(crate) fn require(&self) -> Result<String, InvalidConfig> {
        self.get().ok_or_else(|| self.invalid("is not set"))
    }

    /// The variable's value as a number of days or seconds, if it is set.
    fn number(&self) -> Result<Option<i64>, InvalidConfig> {
        let number = |text: String| match text.parse::<u32>() {
            Ok(number @ 1..=10_000_000) => Ok(number.into()),
            _ => Err(self.invalid("is no whole number from 1 to 10000000")),
        };
        self.get().map(number).transpose()
    }

    /// The error that this variable has this problem.
    pub(crate) fn invalid(&self, problem: impl Into<String>) -> InvalidConfig {
        InvalidConfig { name: self.name.clone(), problem: problem.into(), purpose: self.purpose }
    }
}

/// How long events are kept.
pub(crate) fn retention() -> Result<Retention, InvalidConfig> {
    let mut retention = Retention::default();
    if let Some(days) = EVENT_RETENTION_DAYS.number()? {
        retention.events = SignedDuration::from_hours(days * 24);
    }
    if let Some(seconds) = PERISHABLE_SECONDS.number()? {
        retention.perishables = SignedDuration::from_secs(seconds);
    }
    Ok(retention)
}

/// Where a provider is asked for verdicts, and the credentials for that.
pub(crate) struct Retrieval {
    /// The address. Nothing: it is not asked.
    pub(crate) url: Variable,
    /// Where the credentials are.
    pub(crate) secret: Variable,
}

const RETRIEVAL_URL: &str = "the base address at which the provider is asked for verdicts, not asked if unset";
const RETRIEVAL_SECRET: &str = "where the credentials for asking the provider are: the ARN of a secret in Secrets Manager, or env:NAME on your own \
                                machine";

impl Retrieval {
    /// That of the provider with this name.
    pub(crate) fn of(provider: &str) -> Self {
        let name = provider.to_ascii_uppercase();
        Self {
            url: Variable { name: Cow::Owned(format!("{name}_URL")), purpose: RETRIEVAL_URL },
            secret: Variable { name: Cow::Owned(format!("{name}_SECRET")), purpose: RETRIEVAL_SECRET },
        }
    }
}

/// When verdicts are due that nobody announced, by provider.
pub(crate) fn due_rules_from_env() -> Result<BTreeMap<String, DueRule>, InvalidConfig> {
    due_rules(&DUE_AFTER.get().unwrap_or_default(), &FETCHED.get().unwrap_or_default())
        .map_err(|text| DUE_AFTER.invalid(format!("holds {text:?}")))
}

/// When verdicts are due that nobody announced, by provider: from a list of seconds, such as `jumio=86400,wallet=0`, and one
/// of the providers that can be asked.
///
/// # Errors
/// With the first entry that names no provider and its seconds.
pub fn due_rules(due_after: &str, fetched: &str) -> Result<BTreeMap<String, DueRule>, String> {
    let entries = |list: &str| -> Vec<String> {
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    };
    let rule = |text: &str| {
        let (provider, seconds) = text.split_once('=')?;
        let seconds = seconds.trim().parse::<u32>().ok()?;
        let after = (seconds > 0).then(|| SignedDuration::from_secs(seconds.into()));
        Some((provider.trim().to_owned(), DueRule { after, can_be_asked: false }))
    };
    let rules = entries(due_after).into_iter().map(|text| rule(&text).ok_or(text));
    let mut rules = rules.collect::<Result<BTreeMap<_, _>, _>>()?;
    for provider in entries(fetched) {
        rules.entry(provider).or_default().can_be_asked = true;
    }
    Ok(rules)
}

/// The networks that callbacks may come from, if they are configured.
pub(crate) fn allowed_networks() -> Result<Option<Vec<IpNet>>, InvalidConfig> {
    let Some(list) = ALLOWED_NETWORKS.get() else { return Ok(None) };
    networks(&list)
        .map(Some)
        .map_err(|text| ALLOWED_NETWORKS.invalid(format!("holds {text:?}, which is neither address nor network")))
}

/// Reads a list of networks and addresses, with commas between them.
///
/// # Errors
/// With the first that is neither.
pub fn networks(list: &str) -> Result<Vec<IpNet>, String> {
    let network = |text: &str| {
        let text = text.trim();
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| text.to_owned())
    };
    list.split(',').map(network).collect()
}

/// Whether the addresses of the provider's host names are allowed too.
pub(crate) fn resolve_hosts() -> Result<bool, InvalidConfig> {
    match RESOLVE_HOSTS.get().as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(RESOLVE_HOSTS.invalid("is neither true nor false")),
    }
}

/// The name of the header in which the provider presents its secret.
pub(crate) fn authorization_header() -> Result<String, InvalidConfig> {
    let name = AUTHORIZATION_HEADER.get().unwrap_or_else(|| "authorization".to_owned());
    if is_header_name(&name) { Ok(name) } else { Err(AUTHORIZATION_HEADER.invalid("is no name of a header")) }
}

/// Whether a text can be the name of a header. Fewer than HTTP allows, and all that anybody uses; template.yaml has the same
/// rule.
fn is_header_name(name: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len())
        && name.bytes().all(is_of_names)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretReference {
    /// In Secrets Manager, under this ARN.
    SecretsManager(String),
    /// Here, as JSON of the same form. The text was read from the environment and is not shown.
    Environment(String),
}

/// Where the secret is that this variable names.
pub(crate) fn secret(variable: &Variable) -> Result<SecretReference, InvalidConfig> {
    let reference = variable.require()?;
    if reference.starts_with("arn:") {
        return Ok(SecretReference::SecretsManager(reference));
    }
    let Some(name) = reference.strip_prefix("env:") else {
        return Err(variable.invalid("begins neither with arn: nor with env:"));
    };
    // Lambda names its way of starting a function; `sam local` does too, but says that it is local.
    if read("AWS_LAMBDA_INITIALIZATION_TYPE").is_some() && read("AWS_SAM_LOCAL").is_none() {
        return Err(variable.invalid("names a secret in the environment, which is for local use only"));
    }
    let text = read(name).ok_or_else(|| variable.invalid(format!("names {name}, which is not set")))?;
    Ok(SecretReference::Environment(text))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_due_as_the_lists_say() {
        let rule = |seconds: Option<i64>, can_be_asked| DueRule {
            after: seconds.map(SignedDuration::from_secs),
            can_be_asked,
        };
        let rules = due_rules("jumio=60, wallet=0,", ",jumio,,verifyvasp").unwrap();
        let expected =
            [("jumio", rule(Some(60), true)), ("verifyvasp", rule(None, true)), ("wallet", rule(None, false))];
        assert_eq!(rules, expected.map(|(name, rule)| (name.to_owned(), rule)).into());
        for wrong in ["jumio", "jumio=", "jumio=a day", "jumio=-1"] {
            assert_eq!(due_rules(wrong, ""), Err(wrong.to_owned()));
        }
    }

    #[test]
    fn a_header_has_a_name_without_blanks_and_marks() {
        for name in ["authorization", "X-Api-Key", "api_key", "0", &"x".repeat(64)] {
            assert!(is_header_name(name), "{name}");
        }
        for other in ["", " ", "x api", "x:", "x\r\n", "-x", "_", "é", &"x".repeat(65)] {
            assert!(!is_header_name(other), "{other}");
        }
    }
}

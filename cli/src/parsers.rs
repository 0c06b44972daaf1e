//! What this version knows of providers: the parsers of their callbacks.

use std::{collections::BTreeSet, time::Duration};

use model::{Kind, MemoryExpectations, Provider, Retention, SecretPair, StoredEvent, Unrecognized, schema::KindSchema};
use providers::{COUNT, wallet_issuance, wallet_verification};

/// The parser of one function's callbacks.
pub(crate) struct Parser {
    /// The function's name, such as `signicat`.
    pub(crate) function: &'static str,
    /// The provider's, such as `signicat`.
    pub(crate) provider: &'static str,
    /// The route by which the callbacks come.
    pub(crate) source: &'static str,
    /// How long the provider waits for an answer.
    pub(crate) answer_within: Duration,
    /// The largest body that is accepted, in bytes.
    pub(crate) max_body_bytes: usize,
    /// Reads a stored event again.
    pub(crate) reread: fn(&StoredEvent, Retention) -> Result<StoredEvent, String>,
    schemas: fn() -> Vec<KindSchema>,
}

/// The parsers of all functions that receive callbacks.
pub(crate) fn parsers() -> [Parser; COUNT] {
    macro_rules! parsers {
        ($($name:ident)*) => {
            [
                $(parser::<providers::$name::Receiver<SecretPair>>(
                    stringify!($name),
                    providers::$name::kinds::schemas,
                ),)*
                parser::<wallet_issuance::WalletIssuance<MemoryExpectations>>(
                    "wallet-issuance",
                    wallet_issuance::kinds::schemas,
                ),
                parser::<wallet_verification::WalletVerification<MemoryExpectations>>(
                    "wallet-verification",
                    wallet_verification::kinds::schemas,
                ),
            ]
        };
    }
    providers::each!(parsers)
}

/// The name of the provider that is called so, or whose function is.
///
/// # Errors
/// If there is none, with those that there are.
pub(crate) fn provider(text: &str) -> Result<String, String> {
    let parsers = parsers();
    match parsers.iter().find(|parser| [parser.provider, parser.function].contains(&text)) {
        Some(parser) => Ok(parser.provider.to_owned()),
        None => {
            let known: BTreeSet<&str> = parsers.iter().map(|parser| parser.provider).collect();
            Err(format!("the providers are {}", listed(known)))
        }
    }
}

/// The kind of this name, which begins with the provider's.
///
/// # Errors
/// If there is none, with those that there are: those of the provider, if that is known.
pub(crate) fn kind(text: &str) -> Result<String, String> {
    let known: BTreeSet<String> = parsers().iter().flat_map(Parser::kinds).collect();
    if known.contains(text) {
        return Ok(text.to_owned());
    }
    let named = text.split('.').next().and_then(|name| provider(name).ok());
    let of_provider = |kind: &&String| named.as_ref().is_none_or(|name| kind.split('.').next() == Some(name));
    let of_whom = named.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    Err(format!("the kinds{of_whom} are {}", listed(known.iter().filter(of_provider).map(String::as_str))))
}

impl Parser {
    /// Provider and kind of all that it reads, of what it does not understand, and of our own records.
    fn kinds(&self) -> Vec<String> {
        let names = (self.schemas)().into_iter().map(|schema| schema.name).chain([
            Unrecognized::KIND.name(),
            Kind::ANNOUNCED.name(),
            Kind::OVERDUE.name(),
        ]);
        names.map(|name| format!("{}.{name}", self.provider)).collect()
    }
}

fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// A parser needs nothing of what its provider authenticates by, but its type names that.
fn parser<P: Provider>(function: &'static str, schemas: fn() -> Vec<KindSchema>) -> Parser {
    let (provider, source) = (P::NAME.as_str(), P::SOURCE);
    let (answer_within, max_body_bytes) = (P::ANSWER_WITHIN, P::MAX_BODY_BYTES);
    Parser { function, provider, source, answer_within, max_body_bytes, schemas, reread: StoredEvent::reread::<P> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_has_its_name_and_those_of_its_functions() {
        for Parser { function, provider: name, .. } in parsers() {
            assert_eq!((provider(function).unwrap(), provider(name).unwrap()), (name.to_owned(), name.to_owned()));
        }
        assert_eq!(provider("wallet-issuance").unwrap(), "wallet");
        let error = format!("the providers are {}", providers::names().join(", "));
        for text in ["", "nobody", "Jumio", "jumio.netverify-id"] {
            assert_eq!(provider(text).unwrap_err(), error);
        }
    }

    #[test]
    fn there_is_a_parser_for_each_function() {
        assert_eq!(parsers().map(|parser| parser.function), providers::FUNCTIONS);
    }

    #[test]
    fn an_unknown_kind_is_answered_with_those_there_are() {
        for known in ["jumio.netverify-id", "jumio.unrecognized", "wallet.issuance", "wallet.verification"] {
            assert_eq!(kind(known).unwrap(), known);
        }
        let of_provider = kind("signicat.process").unwrap_err();
        assert_eq!(
            of_provider,
            "the kinds of signicat are signicat.announced, signicat.overdue, signicat.process-status, signicat.unrecognized"
        );
        let all = kind("netverify-id").unwrap_err();
        assert!(all.starts_with("the kinds are identomat.") && all.contains(", wallet.verification"), "{all}");
    }
}

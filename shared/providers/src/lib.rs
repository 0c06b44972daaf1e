//! The providers that there are, each named once: in [`each!`], and as a dependency in Cargo.toml. All else that exists for
//! every provider follows from that.
//!
//! What is said of a provider is in its own crate (`SETTINGS`, and its [`Provider`]). [`REGISTRATIONS`] has it as plain data
//! for code that reads it at run time. Code that needs a provider's types expands a macro of its own with [`each!`].

use std::time::Duration;

pub use {
    identomat, jumio, onfido, persona, signicat, sumsub, veriff, verifyvasp, wallet_issuance, wallet_verification,
};

use model::{Credential, MemoryExpectations, Place, Provider, SecretPair, Settings, Track};

/// Expands a macro with the crates of all providers that have a secret of their own, in alphabetical order.
///
/// Such a crate is a folder in functions/ with the name of its provider. It has `SETTINGS`, `Receiver<S>`, `receiver(secret)`
/// and `kinds::schemas()` (feature `schema`). The wallet gateway is not among them: it has two functions and no secret.
#[macro_export]
macro_rules! each {
    ($expand:ident) => {
        $expand! { identomat jumio onfido persona signicat sumsub veriff verifyvasp }
    };
}

/// Expands a macro with the crates of all providers that can be asked for verdicts, and the names of their fetchers in the
/// module `fetch`.
#[macro_export]
macro_rules! each_fetcher {
    ($expand:ident) => {
        $expand! {
            identomat: IdentomatFetcher,
            jumio: JumioFetcher,
            onfido: OnfidoFetcher,
            signicat: SignicatFetcher,
            veriff: VeriffFetcher,
            verifyvasp: VerifyVaspFetcher,
        }
    };
}

/// A function that receives callbacks.
#[derive(Debug, Clone, Copy)]
pub struct Registration {
    /// Its name: that of its folders in functions/ and events/.
    pub function: &'static str,
    /// The provider's name.
    pub provider: &'static str,
    /// See [`Provider::SOURCE`].
    pub source: &'static str,
    /// See [`Provider::ACKNOWLEDGEMENT`].
    pub acknowledgement: &'static str,
    /// See [`Provider::ANSWER_WITHIN`].
    pub answer_within: Duration,
    /// See [`Provider::MAX_BODY_BYTES`].
    pub max_body_bytes: usize,
    /// What else its crate says of it.
    pub settings: Settings,
}

impl Registration {
    const fn of<P: Provider>(function: &'static str, settings: Settings) -> Self {
        Self {
            function,
            provider: P::NAME.as_str(),
            source: P::SOURCE,
            acknowledgement: P::ACKNOWLEDGEMENT,
            answer_within: P::ANSWER_WITHIN,
            max_body_bytes: P::MAX_BODY_BYTES,
            settings,
        }
    }

    /// The path of its route, with a parameter where it has a secret.
    #[must_use]
    pub fn path(&self) -> String {
        let secret = if self.settings.credential == Credential::Presented(Place::Path) { "/{secret}" } else { "" };
        format!("{}{secret}", self.source)
    }

    /// The route of the API that leads to it.
    #[must_use]
    pub fn route(&self) -> String {
        format!("POST {}", self.path())
    }

    /// Whether the provider has a secret of its own, and so belongs into the stack's parameter `Providers`.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        !self.settings.secret.is_empty()
    }
}

macro_rules! registrations {
    ($($name:ident)*) => {
        /// How many functions receive callbacks.
        pub const COUNT: usize = [$(stringify!($name)),*].len() + 2;

        /// All functions that receive callbacks: those in [`each!`], and then those of the wallet gateway.
        pub const REGISTRATIONS: [Registration; COUNT] = [
            $(Registration::of::<$name::Receiver<SecretPair>>(stringify!($name), $name::SETTINGS),)*
            Registration::of::<wallet_issuance::WalletIssuance<MemoryExpectations>>(
                "wallet-issuance",
                wallet_issuance::SETTINGS,
            ),
            Registration::of::<wallet_verification::WalletVerification<MemoryExpectations>>(
                "wallet-verification",
                wallet_verification::SETTINGS,
            ),
        ];

        /// The names of these functions.
        pub const FUNCTIONS: [&str; COUNT] = [$(stringify!($name),)* "wallet-issuance", "wallet-verification"];

        /// The tracks of a provider that have verdicts, the usual one first. Empty for the wallet gateway, whose codes say
        /// what is expected. None if there is no such provider.
        #[must_use]
        pub fn tracks(provider: &str) -> Option<&'static [Track]> {
            match provider {
                $(stringify!($name) => Some(const { $name::SETTINGS.tracks }),)*
                "wallet" => Some(&[]),
                _ => None,
            }
        }

        /// Whether a provider is asked by this detail of an announcement, beside the subject.
        #[must_use]
        pub fn is_reference(provider: &str, detail: &str) -> bool {
            let references = match provider {
                $(stringify!($name) => const { $name::SETTINGS.references },)*
                _ => &[],
            };
            references.iter().any(|reference| reference.detail == detail)
        }
    };
}
each!(registrations);

/// The names of all providers, in alphabetical order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = REGISTRATIONS.iter().map(|registration| registration.provider).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The names of the providers that have a secret of their own, with commas between them.
#[must_use]
pub fn with_secrets() -> String {
    let registrations = REGISTRATIONS.iter().filter(|registration| registration.has_secret());
    registrations.map(|registration| registration.provider).collect::<Vec<_>>().join(",")
}

/// The function of this name.
#[must_use]
pub fn registration(function: &str) -> Option<Registration> {
    REGISTRATIONS.into_iter().find(|registration| registration.function == function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_with_a_secret_has_one_name_for_all() {
        for registration in REGISTRATIONS.iter().filter(|registration| registration.has_secret()) {
            let Registration { function, provider, source, .. } = *registration;
            assert_eq!((function, source), (provider, format!("/callbacks/{provider}").as_str()));
            assert!(provider.bytes().all(|byte| byte.is_ascii_lowercase()), "{provider} is a part of logical ids");
        }
    }

    #[test]
    fn the_list_is_in_order_and_has_no_name_twice() {
        assert!(FUNCTIONS.is_sorted_by(|one, other| one < other), "{FUNCTIONS:?}");
        let functions = REGISTRATIONS.map(|registration| registration.function);
        assert_eq!(functions, FUNCTIONS);
    }

    #[test]
    fn what_a_crate_says_of_itself_fits_together() {
        for Registration { function, settings, answer_within, max_body_bytes, .. } in REGISTRATIONS {
            assert!(settings.timeout >= answer_within, "{function} ends before its provider gives up");
            assert!((128..=10_240).contains(&settings.memory_mb) && max_body_bytes > 0, "{function}");
            assert_eq!(settings.tracks.is_empty(), settings.verification.is_empty(), "{function}");
            let is_announced = matches!(settings.credential, Credential::Announced(_));
            assert_eq!(settings.secret.is_empty(), is_announced, "{function} has a secret or a code");
        }
    }

    #[test]
    fn a_provider_that_can_be_asked_has_a_parameter_for_its_address() {
        macro_rules! names {
            ($($name:ident: $fetcher:ident,)*) => {
                [$({
                    type Fetcher = $name::fetch::$fetcher;
                    let retrieval = $name::SETTINGS.retrieval.unwrap();
                    let needs_none = <Fetcher as model::Fetcher>::WITHOUT_CREDENTIALS.is_some();
                    assert_eq!(retrieval.credentials.is_none(), needs_none, "credentials of {}", stringify!($name));
                    (stringify!($name), <Fetcher as model::Fetcher>::Provider::NAME.as_str())
                }),*]
            };
        }
        let names = each_fetcher!(names);
        assert!(names.iter().all(|(name, of_fetcher)| name == of_fetcher), "{names:?}");
        let with_parameters = REGISTRATIONS.iter().filter(|registration| registration.settings.retrieval.is_some());
        assert!(with_parameters.map(|registration| registration.provider).eq(names.map(|(name, _)| name)));
    }

    #[test]
    fn tracks_and_references_are_those_of_the_provider() {
        for registration in REGISTRATIONS {
            assert_eq!(tracks(registration.provider), Some(registration.settings.tracks));
        }
        assert!(tracks("nobody").is_none());
        assert!(is_reference("signicat", "dossier_id"));
        assert!(!is_reference("jumio", "dossier_id") && !is_reference("signicat", "dossier"));
    }
}

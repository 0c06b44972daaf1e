//! The providers by their functions' names, with the secrets of the local stack.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

use cli::{
    local_secret,
    sample::Sample,
    wallet::{Announcement, Issuer, SigningKey},
};
use model::{
    Course, EventStore, Expectation, Expectations as _, Kind, MemoryExpectations, Message, MessageDetail, Provider,
    ProviderName, Purpose, SecretPair, StoredEvent, Subject, Timestamp, Unrecognized, schema::KindSchema,
};
use providers::{
    registration,
    wallet_issuance::{self, WalletIssuance},
    wallet_verification::{
        self, WalletVerification,
        issuers::{PinnedIssuer, TrustedIssuers},
        keys::KeySet,
    },
};
use runtime::{Cached, Error, GatewayRequest, GatewayResponse, LookUp};

/// The functions that receive callbacks.
pub use providers::FUNCTIONS;

/// A code that is announced for a verification, without a state or templates.
pub const VERIFICATION_CODE: &str = "example-code-of-a-verification";

/// A code that is announced for an issuance of template 1, without a state.
pub const ISSUANCE_CODE: &str = "example-code-of-an-issuance";

/// There is no function of this name.
#[derive(Debug)]
pub struct Unknown;

/// What a function answers at this time to an API Gateway event, given as JSON. All that the samples announce is expected.
///
/// # Errors
/// If there is no such function.
pub async fn answer(
    function: &str,
    store: &impl EventStore,
    event: &str,
    now: Timestamp,
) -> Result<GatewayResponse, Unknown> {
    let request = request_at(event, now);
    let secret = SecretPair::new(&local_secret(function), None).unwrap();
    macro_rules! answer {
        ($($name:ident)*) => {
            match function {
                $(stringify!($name) => {
                    runtime::answer(&providers::$name::receiver(secret), store, request, now).await
                })*
                "wallet-issuance" => runtime::answer(&WalletIssuance::new(announced().await), store, request, now).await,
                "wallet-verification" => answer_with(trusted_issuers(), store, event, now).await,
                _ => return Err(Unknown),
            }
        };
    }
    Ok(providers::each!(answer))
}

/// What `wallet-verification` answers at this time, if these issuers are trusted.
pub async fn answer_with<L: LookUp<Value = Arc<KeySet>>>(
    issuers: TrustedIssuers<L>,
    store: &impl EventStore,
    event: &str,
    now: Timestamp,
) -> GatewayResponse {
    let provider = WalletVerification::new(announced().await, issuers);
    runtime::answer(&provider, store, request_at(event, now), now).await
}

/// The request of an API Gateway event. The samples have a time of their own, and the gateway would have this one.
fn request_at(event: &str, now: Timestamp) -> GatewayRequest {
    let (sampled, now_text) = (local_time().as_millisecond().to_string(), now.as_millisecond().to_string());
    let event = if now == local_time() { Cow::Borrowed(event) } else { event.replace(&sampled, &now_text).into() };
    serde_json::from_str(&event).expect("an API Gateway event")
}

/// The message of an event that is the first of its track.
///
/// # Panics
/// If nothing is published of it: it expired before it was received.
#[must_use]
pub fn message_of(event: &StoredEvent, detail: MessageDetail) -> Message {
    let decided = Course::default().decide(event, event.received_at);
    Message::new(event, &decided.published.expect("the first of its track is news"), detail)
}

/// The largest body that a function takes in, in bytes.
///
/// # Errors
/// If there is no such function.
pub fn max_body_bytes(function: &str) -> Result<usize, Unknown> {
    registration(function).map(|registration| registration.max_body_bytes).ok_or(Unknown)
}

/// What a function's messages are.
pub(crate) struct ProviderKinds {
    pub(crate) provider: ProviderName,
    pub(crate) source: &'static str,
    pub(crate) kinds: Vec<KindSchema>,
}

/// The kinds of every function.
pub(crate) fn kinds_by_provider() -> Vec<ProviderKinds> {
    fn of<P: Provider>(mut kinds: Vec<KindSchema>) -> ProviderKinds {
        kinds.extend([Unrecognized::KIND.schema(), Kind::OVERDUE.schema()]);
        ProviderKinds { provider: P::NAME, source: P::SOURCE, kinds }
    }
    macro_rules! kinds {
        ($($name:ident)*) => {
            vec![
                $(of::<providers::$name::Receiver<SecretPair>>(providers::$name::kinds::schemas()),)*
                of::<WalletIssuance<MemoryExpectations>>(wallet_issuance::kinds::schemas()),
                of::<WalletVerification<MemoryExpectations, IssuersKeys>>(wallet_verification::kinds::schemas()),
            ]
        };
    }
    providers::each!(kinds)
}

/// What the samples announce, [`VERIFICATION_CODE`] and [`ISSUANCE_CODE`].
async fn announced() -> MemoryExpectations {
    let expectations = MemoryExpectations::default();
    let without_state = |purpose, code: &str, template_ids: &[&str]| {
        let template_ids = template_ids.iter().map(|&id| id.to_owned()).collect();
        Announcement { purpose, code: code.to_owned(), state: None, template_ids, due_at: None }
    };
    let of_samples = SAMPLES.iter().filter_map(|sample| sample.announcement().cloned());
    let of_tests = [
        without_state(Purpose::Verification, VERIFICATION_CODE, &[]),
        without_state(Purpose::Issuance, ISSUANCE_CODE, &["1"]),
    ];
    for announcement in of_samples.chain(of_tests) {
        let expectation = announcement.expectation(subject_of(&announcement.code), local_time()).unwrap();
        expectations.register(&expectation, local_time()).await.unwrap();
    }
    expectations
}

/// The subject of a code that is announced without a state: always the same, where the function draws one.
fn subject_of(code: &str) -> Subject {
    let digest = Expectation::code_hash(&format!("subject of {code}"));
    Subject::new(format!("wallet-{digest:.32}")).unwrap()
}

/// The issuer of the tokens in the samples: always the same, so that their signatures are.
pub static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer {
    issuer: "https://wallet-gateway.example.com".to_owned(),
    jwks_url: "https://wallet-gateway.example.com/jwks.json".to_owned(),
    key: SigningKey::from_seed("local-wallet-key", &[1; 32]).unwrap(),
    stranger: SigningKey::from_seed("local-wallet-key", &[2; 32]).unwrap(),
});

/// The keys of [`ISSUER`].
#[derive(Debug)]
pub struct IssuersKeys;

impl LookUp for IssuersKeys {
    type Value = Arc<KeySet>;
    const WHAT: &'static str = "issuer's keys";

    async fn look_up(&self) -> Result<Self::Value, Error> {
        Ok(Arc::new(KeySet::parse(ISSUER.key.jwks().to_string().as_bytes())?))
    }
}

fn trusted_issuers() -> TrustedIssuers<IssuersKeys> {
    let pinned = PinnedIssuer {
        issuer: ISSUER.issuer.clone(),
        jwks_url: ISSUER.jwks_url.clone(),
        algorithms: vec![jsonwebtoken::Algorithm::EdDSA],
        audience: None,
    };
    TrustedIssuers::new(vec![(pinned, Cached::new(IssuersKeys, Duration::from_secs(1)))]).unwrap()
}

/// The time at which tests without a clock take place.
#[must_use]
pub fn local_time() -> Timestamp {
    "2026-01-31T00:00:00Z".parse().unwrap()
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let samples = Sample::all(&cli::project_root().unwrap()).unwrap();
    let announced = samples.into_iter().map(|sample| match sample.announcement().map(|a| subject_of(&a.code)) {
        Some(subject) => sample.with_announced_subject(subject.as_str()),
        None => sample,
    });
    let signed = announced.map(|sample| sample.signed_by(&ISSUER).unwrap());
    let authenticated = signed.map(|sample| {
        let secret = local_secret(&sample.function);
        sample.authenticated_by(&secret, local_time()).unwrap()
    });
    authenticated.collect()
});

/// The samples in events/ of every function that receives callbacks, with their
/// tokens signed by [`ISSUER`], and the credentials that the local stack's secrets make.
#[must_use]
pub fn samples() -> Vec<Sample> {
    SAMPLES.clone()
}

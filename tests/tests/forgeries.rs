//! Codes that are used for what they were not announced for, tokens that somebody made up, and issuers whose keys come and go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    encoding::AsDer as _,
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL},
};
use jiff::SignedDuration;
use jsonwebtoken::Algorithm;
use model::{
    Course, CourseKey, Expectation, Expectations as _, MemoryCourses, MemoryExpectations, MemoryStore, Message,
    MessageDetail, Outcome, Purpose, Refusal, Rejection, Request, StoredEvent, Subject, Timestamp,
};
use publisher::Publisher;
use runtime::{Cached, Error, LookUp};
use serde_json::{Value, json};
use tests::{Nowhere, contract::check_message, local_time};
use wallet_issuance::WalletIssuance;
use wallet_verification::{
    WalletVerification,
    issuers::{PinnedIssuer, TrustedIssuers, verify_again},
    keys::KeySet,
    token::Untrusted,
};

const ISSUER: &str = "https://issuer.example.com";
const OTHER_ISSUER: &str = "https://other.example.com";
const RSA_ISSUER: &str = "https://rsa.example.com";

/// Every key there is.
struct Keys {
    ec: EcdsaKeyPair,
    ec_pkcs8: Vec<u8>,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
    /// The other issuer's, under the same id as the first one's.
    other: EcdsaKeyPair,
    /// Nobody's.
    stranger: EcdsaKeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let ec = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let first = ec();
    Keys {
        ec_pkcs8: first.to_pkcs8v1().unwrap().as_ref().to_vec(),
        ec: first,
        p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
        ed: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        other: ec(),
        stranger: ec(),
    }
});

fn ec_jwk(kid: &str, curve: &str, key: &EcdsaKeyPair) -> Value {
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": curve, "kid": kid, "x": BASE64URL.encode(x), "y": BASE64URL.encode(y) })
}

fn rsa_jwk(kid: &str) -> Value {
    let key = KEYS.rsa.public_key();
    let number = |bytes: &[u8]| BASE64URL.encode(bytes);
    json!({
        "kty": "RSA", "kid": kid, "n": number(key.modulus().big_endian_without_leading_zero()),
        "e": number(key.exponent().big_endian_without_leading_zero()),
    })
}

/// The first issuer's set: a key of each kind, and some that are for nothing here.
fn key_set() -> Value {
    let encryption = {
        let mut key = ec_jwk("encryption", "P-256", &KEYS.ec);
        key["use"] = json!("enc");
        key
    };
    let rs256 = {
        let mut key = rsa_jwk("rs256");
        key["alg"] = json!("RS256");
        key
    };
    json!({ "keys": [
        ec_jwk("ec", "P-256", &KEYS.ec),
        ec_jwk("p384", "P-384", &KEYS.p384),
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": BASE64URL.encode(KEYS.ed.public_key()) },
        rsa_jwk("rsa"),
        rs256,
        encryption,
        { "kty": "oct", "kid": "oct", "k": BASE64URL.encode("a symmetric key"), "alg": "HS256" },
        { "kty": "new", "kid": "new" },
        { "kty": "EC", "crv": "P-256", "kid": "broken", "x": "AA", "y": "AA" },
        "not even an object",
    ]})
}

/// Keys that are looked up without a network.
#[derive(Debug)]
struct Fixed(Value);

impl LookUp for Fixed {
    type Value = Arc<KeySet>;
    const WHAT: &'static str = "keys";

    async fn look_up(&self) -> Result<Self::Value, Error> {
        Ok(Arc::new(KeySet::parse(self.0.to_string().as_bytes())?))
    }
}

fn jwks_url(issuer: &str) -> String {
    format!("{issuer}/jwks.json")
}

fn pinned(issuer: &str, algorithms: &[Algorithm]) -> PinnedIssuer {
    PinnedIssuer {
        issuer: issuer.to_owned(),
        jwks_url: jwks_url(issuer),
        algorithms: algorithms.to_vec(),
        audience: None,
    }
}

fn trusted_issuers() -> TrustedIssuers<Fixed> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
    let cached = |keys| Cached::new(Fixed(keys), Duration::from_secs(1));
    TrustedIssuers::new(vec![
        (pinned(ISSUER, &[ES256, ES384, EdDSA, RS256, PS256]), cached(key_set())),
        (pinned(OTHER_ISSUER, &[ES256]), cached(json!({ "keys": [ec_jwk("ec", "P-256", &KEYS.other)] }))),
        // Its set has an EC key too, which it may not use.
        (pinned(RSA_ISSUER, &[RS256]), cached(key_set())),
    ])
    .unwrap()
}

fn now() -> i64 {
    local_time().as_second()
}

fn header(algorithm: &str, kid: &str) -> Value {
    json!({ "alg": algorithm, "kid": kid })
}

fn claims(issuer: &str) -> Value {
    json!({ "iss": issuer, "jwks_uri": jwks_url(issuer), "verification_id": "example", "exp": now() + 60, "nbf": now() })
}

/// With another value for one name.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

/// A token of these texts, signed like this.
fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = BASE64URL.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn ecdsa(key: &EcdsaKeyPair) -> impl FnOnce(&[u8]) -> Vec<u8> + '_ {
    |message| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn rsa(encoding: &'static dyn RsaEncoding) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |message| {
        let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
        KEYS.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }
}

fn hmac(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

/// A token of the first issuer's that is signed as it should be, with this header and these claims.
fn own(header: &Value, claims: &Value) -> String {
    token(&header.to_string(), &claims.to_string(), ecdsa(&KEYS.ec))
}

fn verify(token: &str) -> Result<(), Untrusted> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(trusted_issuers().verify(token, local_time(), local_time())).map(|_| ())
}

/// What is announced under a code: for this purpose and template 1, without a state, so that its subject is `announced`.
fn announced(code: &str, purpose: Purpose) -> Expectation {
    let subject = Subject::new("announced").unwrap();
    Expectation::new(code, purpose, subject, local_time()).with_template_ids(vec!["1".to_owned()])
}

/// What a callback under this code says: to the route of verifications that template 1 was presented, or not; to that of issuances that it was
/// issued, or not.
fn callback(route: Purpose, code: &str, is_good: bool) -> Value {
    match route {
        Purpose::Verification => {
            let status = if is_good { "COMPLETED" } else { "FAILED" };
            let token = own(&header("ES256", "ec"), &claims(ISSUER));
            json!({ "code": code, "tokens": { "1": { "token": token, "status": status } } })
        }
        Purpose::Issuance => {
            let status = if is_good { "Issued" } else { "Rejected" };
            json!({ "code": code, "template_id": 1, "status": status, "completed": true })
        }
    }
}

/// What becomes of a callback at this time, if this was announced.
fn receive(route: Purpose, announced: &Expectation, body: &Value, now: Timestamp) -> Result<StoredEvent, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (expectations, store) = (MemoryExpectations::default(), MemoryStore::default());
        expectations.register(announced, local_time()).await.unwrap();
        let request = Request::new(body.to_string());
        let received = match route {
            Purpose::Verification => {
                let provider = WalletVerification::new(expectations, trusted_issuers());
                model::receive(&provider, &store, &request, now).await
            }
            Purpose::Issuance => model::receive(&WalletIssuance::new(expectations), &store, &request, now).await,
        };
        match received {
            Ok(_) => Ok(store.events().remove(0)),
            Err(Rejection::NotAuthentic(refusal)) => Err(refusal),
            Err(error) => panic!("{error}"),
        }
    })
}

const PURPOSES: [Purpose; 2] = [Purpose::Verification, Purpose::Issuance];

#[test]
fn a_code_is_good_for_its_purpose_only() {
    for purpose in PURPOSES {
        for route in PURPOSES {
            let received = receive(route, &announced("a", purpose), &callback(route, "a", true), local_time());
            let expected = if route == purpose { Ok(Outcome::Approved) } else { Err(Refusal::Wrong) };
            assert_eq!(received.map(|event| event.outcome), expected, "{purpose:?} {route:?}");
        }
    }
}

#[test]
fn a_code_that_was_not_announced_or_has_expired_is_refused() {
    for route in PURPOSES {
        let announced = announced("a", route);
        let last = Timestamp::from_second(announced.expires_at).unwrap();
        for (code, now, is_accepted) in [
            ("a", local_time(), true),
            ("b", local_time(), false),
            ("A", local_time(), false),
            ("", local_time(), false),
            ("a", last, true),
            ("a", last + SignedDuration::from_secs(1), false),
            ("a", last + SignedDuration::from_hours(48), false),
        ] {
            let received = receive(route, &announced, &callback(route, code, false), now);
            let expected = if is_accepted { Ok(Outcome::Failed) } else { Err(Refusal::Wrong) };
            assert_eq!(received.map(|event| event.outcome), expected, "{route:?} {code:?} {now}");
        }
    }
}

#[test]
fn another_state_than_the_announced_one_is_refused() {
    for route in PURPOSES {
        let announced = announced("a", route).with_state(Some("s".to_owned())).unwrap();
        for state in [json!("S"), json!("s "), json!("none"), json!(""), json!(null), json!(0)] {
            let body = with(callback(route, "a", true), "state", state.clone());
            assert_eq!(receive(route, &announced, &body, local_time()), Err(Refusal::Wrong), "{route:?} {state}");
        }
        assert_eq!(receive(route, &announced, &callback(route, "a", true), local_time()), Err(Refusal::Wrong));
        let body = with(callback(route, "a", true), "state", json!("s"));
        assert_eq!(receive(route, &announced, &body, local_time()).unwrap().subject, "s");
    }
}

#[test]
fn without_an_announced_state_the_caller_does_not_choose_the_subject() {
    for route in PURPOSES {
        for state in
            [json!("another"), json!("announced2"), json!("none"), json!(""), json!(null), json!("x".repeat(2000))]
        {
            let understood = callback(route, "a", true);
            let (mut not_understood, mut of_another_shape) = (understood.clone(), understood.clone());
            for field in ["tokens", "status"] {
                not_understood.as_object_mut().unwrap().remove(field);
            }
            (of_another_shape["tokens"], of_another_shape["template_id"]) = (json!([]), json!([]));
            for body in [understood, not_understood, of_another_shape] {
                let body = with(body, "state", state.clone());
                let event = receive(route, &announced("a", route), &body, local_time()).unwrap();
                assert_eq!(event.subject, "announced", "{route:?} {body}");
            }
        }
    }
}

#[test]
fn an_issuance_of_a_template_that_was_not_announced_is_no_approval() {
    let two = announced("a", Purpose::Issuance).with_template_ids(vec!["1".to_owned(), "2".to_owned()]);
    let none = announced("a", Purpose::Issuance).with_template_ids(Vec::new());
    let check = |announced: &Expectation, template: Value, expected: Outcome| {
        let body = with(callback(Purpose::Issuance, "a", true), "template_id", template.clone());
        let event = receive(Purpose::Issuance, announced, &body, local_time()).unwrap();
        assert_eq!(event.outcome, expected, "{template}");
        let unrecognized = (expected == Outcome::None).then_some("template_not_announced");
        assert_eq!(event.unrecognized.as_deref(), unrecognized, "{template}");
        let template = template.as_str().map_or_else(|| template.to_string(), str::to_owned);
        assert_eq!((event.subject.as_str(), event.track), ("announced", format!("issuance/{template}")));
    };
    for template in [json!(1), json!("1"), json!(2)] {
        check(&two, template.clone(), Outcome::Approved);
        // A service that writes the table itself may have left them out.
        check(&none, template, Outcome::None);
    }
    for template in [json!(99), json!("99"), json!("1 "), json!("01"), json!(1.0), json!(12), json!(true), json!("1,2")]
    {
        check(&two, template, Outcome::None);
    }
}

#[test]
fn an_issuance_is_approved_when_it_is_completed_and_not_before() {
    for (status, completed, outcome, reasons, is_final) in [
        ("Issued", true, Outcome::Approved, &[][..], true),
        ("Issued", false, Outcome::Pending, &[], false),
        ("Rejected", false, Outcome::Pending, &["Rejected"], false),
        ("Rejected", true, Outcome::Failed, &["Rejected"], true),
    ] {
        let body = json!({ "code": "a", "template_id": 1, "status": status, "completed": completed });
        let event = receive(Purpose::Issuance, &announced("a", Purpose::Issuance), &body, local_time()).unwrap();
        assert_eq!((event.outcome, event.is_final), (outcome, is_final), "{body}");
        assert_eq!(event.reasons, reasons, "{body}");
    }
}

/// Decides about events in this order, and returns where their one track stands then, whether it is in conflict, and the last verdict that
/// consumers heard.
#[track_caller]
fn stands_after(events: &[&StoredEvent]) -> (Outcome, bool, Outcome) {
    let mut course = Course::default();
    let published = events.iter().filter_map(|event| {
        assert_eq!(CourseKey::of(event), CourseKey::of(events[0]));
        course.decide(event, local_time()).published
    });
    let heard =
        published.filter(|published| published.outcome != Outcome::None).max_by_key(|published| published.sequence);
    let heard = heard.unwrap().outcome;
    let standing = course.standing(local_time());
    (standing.outcome, standing.conflict, heard)
}

#[test]
fn a_second_verdict_under_a_code_is_a_conflict_and_never_an_approval() {
    for route in PURPOSES {
        // Each says that it is about another verification. Without an announced state, that counts for nothing.
        let received = |is_good, state: &str, minute: i64| {
            let body = with(callback(route, "a", is_good), "state", json!(state));
            let now = local_time() + SignedDuration::from_mins(minute);
            receive(route, &announced("a", route), &body, now).unwrap()
        };
        let (failed, completed) = (received(false, "one", 0), received(true, "another", 1));
        for events in [[&failed, &completed], [&completed, &failed]] {
            assert_eq!(stands_after(&events), (Outcome::Review, true, Outcome::Review), "{route:?}");
        }
        let (completed, failed) = (received(true, "one", 0), received(false, "another", 1));
        for events in [[&failed, &completed], [&completed, &failed]] {
            assert_eq!(stands_after(&events), (Outcome::Failed, true, Outcome::Failed), "{route:?}");
        }
        // In the same millisecond, the approval is not the last word.
        let (completed, failed) = (received(true, "one", 0), received(false, "another", 0));
        for events in [[&failed, &completed], [&completed, &failed]] {
            assert_eq!(stands_after(&events), (Outcome::Failed, true, Outcome::Failed), "{route:?}");
        }
        // The same once more is none of this.
        let (completed, again) = (received(true, "one", 0), received(true, "another", 1));
        for events in [[&again, &completed], [&completed, &again]] {
            assert_eq!(stands_after(&events), (Outcome::Approved, false, Outcome::Approved), "{route:?}");
        }
    }
}

#[test]
fn each_template_of_an_issuance_has_a_verdict_of_its_own() {
    let announced = announced("a", Purpose::Issuance).with_template_ids(vec!["1".to_owned(), "2".to_owned()]);
    let received = |template: u8, is_good, minute| {
        let body = with(callback(Purpose::Issuance, "a", is_good), "template_id", json!(template));
        let now = local_time() + SignedDuration::from_mins(minute);
        receive(Purpose::Issuance, &announced, &body, now).unwrap()
    };
    let (failed, issued, of_another) = (received(1, false, 0), received(1, true, 1), received(2, true, 2));
    assert_eq!(stands_after(&[&failed, &issued]), (Outcome::Review, true, Outcome::Review));
    assert_eq!(stands_after(&[&of_another]), (Outcome::Approved, false, Outcome::Approved));
    assert_ne!(CourseKey::of(&of_another), CourseKey::of(&issued));
}

#[test]
fn what_two_codes_with_one_state_say_is_not_the_same() {
    for route in PURPOSES {
        for body in [callback(route, "a", true), json!({ "code": "a" })] {
            let content = |code: &str| {
                let announced = announced(code, route).with_state(Some("s".to_owned())).unwrap();
                let body = with(with(body.clone(), "code", json!(code)), "state", json!("s"));
                let event = receive(route, &announced, &body, local_time()).unwrap();
                assert_eq!(event.subject, "s");
                event.content().to_owned()
            };
            assert_ne!(content("a"), content("b"), "{route:?} {body}");
        }
    }
}

/// A callback about templates 1 and so on: of each, the token that was presented.
fn presenting(code: &str, tokens: &[&str]) -> Value {
    let tokens = tokens
        .iter()
        .zip(1..)
        .map(|(token, template): (_, u8)| (template.to_string(), json!({ "token": token, "status": "COMPLETED" })));
    json!({ "code": code, "tokens": tokens.collect::<serde_json::Map<_, _>>() })
}

/// A token of the first issuer's with this reference of the verification, and something that makes it another token.
fn with_id(id: &str, other: &str) -> String {
    own(&header("ES256", "ec"), &with(with(claims(ISSUER), "verification_id", json!(id)), "nonce", json!(other)))
}

/// The same token with another signature of the same key: what it says is the same.
fn signed_again(token: &str) -> String {
    let (signed, _) = token.rsplit_once('.').unwrap();
    format!("{signed}.{}", BASE64URL.encode(ecdsa(&KEYS.ec)(signed.as_bytes())))
}

/// The same token with the other signature that anybody can make of its own: (r, n - s) instead of (r, s).
fn with_mirrored_signature(token: &str) -> String {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = BASE64URL.decode(signature).unwrap();
    let mut borrow = 0;
    for (digit, n) in signature[32..].iter_mut().zip(N).rev() {
        let difference = 256 + i16::from(n) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 256);
        *digit = u8::try_from(difference % 256).unwrap();
    }
    format!("{signed}.{}", BASE64URL.encode(signature))
}

#[test]
fn a_token_that_is_there_for_two_templates_counts_for_neither() {
    let (one, other) = (with_id("one", ""), with_id("other", ""));
    for (name, tokens, reasons) in [
        ("two tokens", [&one, &other], &[][..]),
        ("one token", [&one, &one], &["token_reused", "token_reused"]),
        ("signed again", [&one, &signed_again(&one)], &["token_reused", "token_reused"]),
        ("mirrored", [&one, &with_mirrored_signature(&one)], &["token_reused", "token_reused"]),
        ("one id", [&one, &with_id("one", "x")], &["verification_id_reused", "verification_id_reused"]),
        ("a broken copy", [&one, &format!("{one}A")], &["token_signature"]),
    ] {
        let body = presenting("a", &tokens.map(String::as_str));
        let event =
            receive(Purpose::Verification, &announced("a", Purpose::Verification), &body, local_time()).unwrap();
        let outcome = if reasons.is_empty() { Outcome::Approved } else { Outcome::Review };
        assert_eq!(
            (event.outcome, &*event.reasons),
            (outcome, &*reasons.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "{name}"
        );
        // What is not trusted is claimed for nobody.
        assert_eq!(event.proofs.len(), 2 * (2 - reasons.len()), "{name}");
    }
    // Of three credentials, one has a token of its own.
    let body = presenting("a", &[&one, &other, &one].map(String::as_str));
    let event = receive(Purpose::Verification, &announced("a", Purpose::Verification), &body, local_time()).unwrap();
    let verdicts = ["1", "2", "3"].map(|template| event.details["credentials"][template]["verdict"].clone());
    assert_eq!((event.outcome, verdicts), (Outcome::Review, ["untrusted", "approved", "untrusted"].map(Value::from)));
    // One that the gateway calls failed counts for nothing, so its token is looked at once only.
    let mut body = presenting("a", &[&one, &one].map(String::as_str));
    body["tokens"]["2"]["status"] = json!("FAILED");
    let event = receive(Purpose::Verification, &announced("a", Purpose::Verification), &body, local_time()).unwrap();
    assert_eq!((event.outcome, &*event.reasons), (Outcome::Failed, &["FAILED".to_owned()][..]));
}

/// The messages of events that the publisher decides about in this order, one by one.
fn told(events: &[&StoredEvent]) -> Vec<Message> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (courses, detail) = (MemoryCourses::default(), MessageDetail::Reference);
    let publisher = Publisher {
        courses,
        verifications: Nowhere,
        deliveries: Nowhere,
        quarantine: Nowhere,
        detail,
        due: BTreeMap::new(),
    };
    let told = events.iter().map(|event| {
        let published = runtime.block_on(publisher.decide(&[event], local_time())).remove(0).unwrap();
        let message = Message::new(event, &published.unwrap(), detail);
        check_message(&json!(message));
        message
    });
    told.collect()
}

#[test]
fn a_token_that_was_presented_under_another_code_or_for_another_template_is_no_approval() {
    let one = with_id("one", "");
    let without_id = |nonce: &str| own(&header("ES256", "ec"), &json!({ "iss": ISSUER, "nonce": nonce }));
    let of_another_issuer = with(claims(OTHER_ISSUER), "verification_id", json!("one"));
    let of_another_issuer =
        token(&header("ES256", "ec").to_string(), &of_another_issuer.to_string(), ecdsa(&KEYS.other));
    let event = |code: &str, subject: &str, minute: i64, tokens: &[&str]| {
        let subject = Subject::new(subject).unwrap();
        let announced = Expectation::new(code, Purpose::Verification, subject, local_time());
        let now = local_time() + SignedDuration::from_mins(minute);
        receive(Purpose::Verification, &announced, &presenting(code, tokens), now).unwrap()
    };
    let first = event("a", "s", 0, &[&one]);
    let of_own = with_id("two", "");
    for (name, second, reason) in [
        ("another code", event("b", "t", 1, &[&one]), Some("token_reused")),
        ("another code of the same verification", event("b", "s", 1, &[&one]), Some("token_reused")),
        ("another template", event("a", "s", 1, &[&of_own, &one]), Some("token_reused")),
        ("another code and template", event("b", "t", 1, &[&of_own, &one]), Some("token_reused")),
        ("signed again", event("b", "t", 1, &[&signed_again(&one)]), Some("token_reused")),
        ("mirrored", event("b", "t", 1, &[&with_mirrored_signature(&one)]), Some("token_reused")),
        ("another token of it", event("b", "t", 1, &[&with_id("one", "x")]), Some("verification_id_reused")),
        (
            "another token of it for another template",
            event("a", "s", 1, &[&of_own, &with_id("one", "x")]),
            Some("verification_id_reused"),
        ),
        ("another token of it in the same place", event("a", "s", 1, &[&with_id("one", "x")]), None),
        ("a token of another verification", event("b", "t", 1, &[&of_own]), None),
        ("the same id of another issuer", event("b", "t", 1, &[&of_another_issuer]), None),
    ] {
        assert_eq!((first.outcome, second.outcome), (Outcome::Approved, Outcome::Approved), "{name}");
        let messages = told(&[&first, &second]);
        assert_eq!(messages[0].outcome, Outcome::Approved, "{name}");
        let template = if second.proofs.len() > 2 { "2" } else { "1" };
        let verdict = &messages[1].data.details["credentials"][template];
        match reason {
            Some(reason) => {
                assert_eq!(
                    (messages[1].outcome, messages[1].own_outcome()),
                    (Outcome::Review, Outcome::Approved),
                    "{name}"
                );
                assert_eq!(messages[1].data.reasons, [reason], "{name}");
                assert_eq!(*verdict, json!({ "verdict": "untrusted", "reason": reason }), "{name}");
                if second.proofs.len() > 2 {
                    assert_eq!(messages[1].data.details["credentials"]["1"]["verdict"], "approved", "{name}");
                }
                // The first that is decided counts, whichever was received first.
                let reversed = told(&[&second, &first]);
                assert_eq!(
                    (reversed[0].own_outcome(), reversed[0].data.reasons.len()),
                    (Outcome::Approved, 0),
                    "{name}"
                );
                assert_ne!(reversed[1].outcome, Outcome::Approved, "{name}");
            }
            None => {
                assert_eq!(
                    (messages[1].outcome, &verdict["verdict"]),
                    (Outcome::Approved, &json!("approved")),
                    "{name}"
                );
            }
        }
    }
    // Tokens without a reference of the verification are tokens too.
    for (token, outcome) in [(without_id("x"), Outcome::Review), (without_id("y"), Outcome::Approved)] {
        let messages = told(&[&event("a", "s", 0, &[&without_id("x")]), &event("b", "t", 1, &[&token])]);
        assert_eq!(messages[1].outcome, outcome);
    }
    // One that was presented in a callback that failed was presented.
    let mut body = presenting("a", &[&one, &of_own]);
    body["tokens"]["2"]["status"] = json!("FAILED");
    let failed = receive(Purpose::Verification, &announced("a", Purpose::Verification), &body, local_time()).unwrap();
    let messages = told(&[&failed, &event("b", "t", 1, &[&one])]);
    assert_eq!(messages.iter().map(|message| message.outcome).collect::<Vec<_>>(), [Outcome::Failed, Outcome::Review]);
    // And one that is not trusted was not: its own verification can still rest on it.
    let forged = format!("{}A", without_id("x"));
    let messages = told(&[&event("b", "t", 0, &[&forged]), &event("a", "s", 1, &[&without_id("x")])]);
    assert_eq!(
        messages.iter().map(|message| message.outcome).collect::<Vec<_>>(),
        [Outcome::Review, Outcome::Approved]
    );
}

#[test]
fn tokens_of_every_kind_of_key_are_trusted() {
    let claims = claims(ISSUER).to_string();
    for (name, token) in [
        ("ES256", own(&header("ES256", "ec"), &serde_json::from_str(&claims).unwrap())),
        ("ES384", token(&header("ES384", "p384").to_string(), &claims, ecdsa(&KEYS.p384))),
        (
            "EdDSA",
            token(&header("EdDSA", "ed").to_string(), &claims, |message| KEYS.ed.sign(message).as_ref().to_vec()),
        ),
        ("RS256", token(&header("RS256", "rsa").to_string(), &claims, rsa(&signature::RSA_PKCS1_SHA256))),
        ("RS256, stated", token(&header("RS256", "rs256").to_string(), &claims, rsa(&signature::RSA_PKCS1_SHA256))),
        ("PS256", token(&header("PS256", "rsa").to_string(), &claims, rsa(&signature::RSA_PSS_SHA256))),
    ] {
        assert_eq!(verify(&token), Ok(()), "{name}");
    }
}

#[test]
fn what_a_header_says_of_keys_is_not_read() {
    let stranger = ec_jwk("ec", "P-256", &KEYS.stranger);
    for (name, value) in [
        ("jwk", stranger),
        ("jwk", json!("nonsense")),
        ("jku", json!("https://stranger.example.com/jwks.json")),
        ("x5u", json!("https://stranger.example.com/chain.pem")),
        ("x5c", json!(["nonsense"])),
        ("typ", json!("anything")),
    ] {
        assert_eq!(verify(&own(&with(header("ES256", "ec"), name, value), &claims(ISSUER))), Ok(()), "{name}");
    }
}

#[test]
fn times_are_checked_where_they_are_with_a_minute_of_leeway() {
    let at = |name: &str, value: Value| verify(&own(&header("ES256", "ec"), &with(claims(ISSUER), name, value)));
    assert_eq!(at("exp", json!(now() - 59)), Ok(()));
    assert_eq!(at("exp", json!(now() - 60)), Err(Untrusted::Expired));
    assert_eq!(at("exp", json!(1.5)), Err(Untrusted::Expired));
    assert_eq!(at("nbf", json!(now() + 60)), Ok(()));
    assert_eq!(at("nbf", json!(now() + 61)), Err(Untrusted::NotYetValid));
    let without = json!({ "iss": ISSUER });
    assert_eq!(verify(&own(&header("ES256", "ec"), &without)), Ok(()));
}

/// Verifies a token of the first issuer's with this `aud`, or none, if this audience is pinned.
fn verify_audience(audience: Option<&str>, aud: Option<Value>) -> Result<(), Untrusted> {
    let pinned = PinnedIssuer { audience: audience.map(str::to_owned), ..pinned(ISSUER, &[Algorithm::ES256]) };
    let issuers = TrustedIssuers::new(vec![(pinned, Cached::new(Fixed(key_set()), Duration::from_secs(1)))]).unwrap();
    let claims = match aud {
        Some(aud) => with(claims(ISSUER), "aud", aud),
        None => claims(ISSUER),
    };
    let token = own(&header("ES256", "ec"), &claims);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let trusted = runtime.block_on(issuers.verify(&token, local_time(), local_time()))?;
    assert_eq!(verify_again(&token, &trusted.to_evidence(), local_time()), Ok(()));
    // Verified again, it is held against the audience that it was trusted for.
    let for_another = with(trusted.to_evidence(), "audience", json!("https://stranger.example.com"));
    assert_eq!(verify_again(&token, &for_another, local_time()), Err(Untrusted::Audience));
    Ok(())
}

#[test]
fn a_pinned_audience_must_be_in_the_token() {
    const US: &str = "https://us.example.com";
    for aud in [json!(US), json!([US]), json!(["https://other.example.com", US])] {
        assert_eq!(verify_audience(Some(US), Some(aud.clone())), Ok(()), "{aud}");
    }
    for aud in [
        json!("https://other.example.com"),
        json!("https://us.example.com/"),
        json!("HTTPS://US.EXAMPLE.COM"),
        json!(format!("{US} ")),
        json!(format!("{US},https://other.example.com")),
        json!(""),
        json!(null),
        json!(0),
        json!([]),
        json!(["https://other.example.com"]),
        json!([[US]]),
        json!([US, 0]),
        json!([US, null]),
        json!({ US: US }),
    ] {
        assert_eq!(verify_audience(Some(US), Some(aud.clone())), Err(Untrusted::Audience), "{aud}");
    }
    assert_eq!(verify_audience(Some(US), None), Err(Untrusted::Audience));
}

#[test]
fn without_a_pinned_audience_it_is_not_looked_at() {
    for aud in [None, Some(json!("anything")), Some(json!([])), Some(json!(null)), Some(json!(0))] {
        assert_eq!(verify_audience(None, aud.clone()), Ok(()), "{aud:?}");
    }
}

#[test]
fn an_audience_that_is_empty_or_no_text_cannot_be_configured() {
    for (audience, is_trusted) in
        [(r#""us""#, true), ("null", true), (r#""""#, false), ("0", false), (r#"["us"]"#, false)]
    {
        let json = format!(
            r#"{{"issuer":"{ISSUER}","jwks_url":"{ISSUER}/jwks.json","algorithms":["ES256"],"audience":{audience}}}"#
        );
        let configured = serde_json::from_str::<PinnedIssuer>(&json).is_ok_and(|pinned| {
            TrustedIssuers::new(vec![(pinned, Cached::new(Fixed(key_set()), Duration::from_secs(1)))]).is_ok()
        });
        assert_eq!(configured, is_trusted, "{audience}");
    }
}

/// The forgeries, each with the reason for which it has to be refused.
fn forgeries() -> Vec<(String, String, Untrusted)> {
    use Untrusted::{
        Algorithm, Critical, Expired, Issuer, JwksUri, Malformed, NoKeyId, NotYetValid, RepeatedName, Signature, Time,
        TooLarge, UnknownKey,
    };
    let mut forgeries: Vec<(String, String, Untrusted)> = Vec::new();
    let mut forgery = |name: &str, token: String, reason| forgeries.push((name.to_owned(), token, reason));
    let valid = own(&header("ES256", "ec"), &claims(ISSUER));
    let parts: Vec<&str> = valid.split('.').collect();
    let (good_header, good_claims) = (header("ES256", "ec").to_string(), claims(ISSUER).to_string());

    for none in ["none", "None", "NONE", "nOnE", "", "null"] {
        let unsigned = token(&header(none, "ec").to_string(), &good_claims, |_| Vec::new());
        forgery(&format!("alg {none:?} without a signature"), unsigned, Algorithm);
        forgery(&format!("alg {none:?} with a signature"), own(&header(none, "ec"), &claims(ISSUER)), Algorithm);
    }
    forgery("alg missing", own(&json!({ "kid": "ec" }), &claims(ISSUER)), Malformed);
    forgery("alg of another type", own(&json!({ "alg": ["ES256"], "kid": "ec" }), &claims(ISSUER)), Malformed);

    let public_der = KEYS.ec.public_key().as_der().unwrap().as_ref().to_vec();
    let rsa_der = KEYS.rsa.public_key().as_der().unwrap().as_ref().to_vec();
    let pem = |der: &[u8]| {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der)).into_bytes()
    };
    for (name, kid, secret) in [
        ("EC key as PEM", "ec", pem(&public_der)),
        ("EC key as DER", "ec", public_der.clone()),
        ("EC key as JWK", "ec", ec_jwk("ec", "P-256", &KEYS.ec).to_string().into_bytes()),
        ("EC key as point", "ec", KEYS.ec.public_key().as_ref().to_vec()),
        ("RSA key as PEM", "rsa", pem(&rsa_der)),
        ("RSA key as DER", "rsa", rsa_der),
        ("RSA key as JWK", "rsa", rsa_jwk("rsa").to_string().into_bytes()),
        ("symmetric key of the set", "oct", b"a symmetric key".to_vec()),
        ("empty key", "ec", Vec::new()),
    ] {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let token = token(&header(algorithm, kid).to_string(), &good_claims, hmac(&secret));
            forgery(&format!("{algorithm} with the {name}"), token, Algorithm);
        }
        let token = token(&header("ES256", kid).to_string(), &good_claims, hmac(&secret));
        let reason = match kid {
            "ec" => Signature,
            "oct" => UnknownKey,
            _ => Algorithm,
        };
        forgery(&format!("ES256, but an HMAC with the {name}"), token, reason);
    }

    forgery(
        "an RSA algorithm for an EC key",
        token(&header("RS256", "ec").to_string(), &good_claims, rsa(&signature::RSA_PKCS1_SHA256)),
        Algorithm,
    );
    forgery("an EC algorithm for an RSA key", own(&header("ES256", "rsa"), &claims(ISSUER)), Algorithm);
    forgery(
        "another curve's algorithm",
        token(&header("ES384", "ec").to_string(), &good_claims, ecdsa(&KEYS.p384)),
        Algorithm,
    );
    forgery(
        "an RSA key's other algorithm",
        token(&header("PS256", "rs256").to_string(), &good_claims, rsa(&signature::RSA_PSS_SHA256)),
        Algorithm,
    );
    forgery("an algorithm that the issuer may not use", own(&header("ES256", "ec"), &claims(RSA_ISSUER)), Algorithm);
    forgery(
        "one that it may use for nothing",
        token(&header("RS512", "rsa").to_string(), &good_claims, rsa(&signature::RSA_PKCS1_SHA512)),
        Algorithm,
    );

    let by_stranger = |header: &Value| token(&header.to_string(), &good_claims, ecdsa(&KEYS.stranger));
    forgery("a stranger's signature", by_stranger(&header("ES256", "ec")), Signature);
    forgery(
        "a stranger's key in the header",
        by_stranger(&with(header("ES256", "ec"), "jwk", ec_jwk("ec", "P-256", &KEYS.stranger))),
        Signature,
    );
    forgery(
        "a stranger's key in the header, without kid",
        by_stranger(&json!({ "alg": "ES256", "jwk": ec_jwk("ec", "P-256", &KEYS.stranger) })),
        NoKeyId,
    );
    for link in ["jku", "x5u"] {
        forgery(
            &format!("{link} to another server"),
            by_stranger(&with(header("ES256", "ec"), link, json!("https://stranger.example.com/"))),
            Signature,
        );
        forgery(
            &format!("{link} with a kid there"),
            by_stranger(&with(header("ES256", "theirs"), link, json!("https://stranger.example.com/"))),
            UnknownKey,
        );
    }
    forgery(
        "a certificate in the header",
        by_stranger(&with(header("ES256", "ec"), "x5c", json!([BASE64.encode(&KEYS.ec_pkcs8)]))),
        Signature,
    );

    for kid in [
        "../../../../dev/null",
        "ec/../ec",
        "' OR '1'='1",
        "ec\u{0}",
        "\u{0}",
        " ec",
        "EC",
        "ec\n",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "*",
        "$(id)",
    ] {
        forgery(&format!("kid {kid:?}"), own(&header("ES256", kid), &claims(ISSUER)), UnknownKey);
    }
    forgery("kid missing", own(&json!({ "alg": "ES256" }), &claims(ISSUER)), NoKeyId);
    forgery("kid empty", own(&header("ES256", ""), &claims(ISSUER)), NoKeyId);
    forgery("kid null", own(&json!({ "alg": "ES256", "kid": null }), &claims(ISSUER)), NoKeyId);
    forgery("kid a number", own(&json!({ "alg": "ES256", "kid": 0 }), &claims(ISSUER)), Malformed);
    forgery("a key for encryption", own(&header("ES256", "encryption"), &claims(ISSUER)), UnknownKey);
    forgery("a broken key", own(&header("ES256", "broken"), &claims(ISSUER)), Signature);

    forgery(
        "another issuer's key, under the same id",
        token(&good_header, &good_claims, ecdsa(&KEYS.other)),
        Signature,
    );
    forgery("in the other direction", own(&header("ES256", "ec"), &claims(OTHER_ISSUER)), Signature);
    forgery("an id that only another issuer has", own(&header("EdDSA", "ed"), &claims(OTHER_ISSUER)), UnknownKey);
    for issuer in [
        "https://stranger.example.com",
        "https://issuer.example.com/",
        "HTTPS://issuer.example.com",
        "https://issuer.example.com ",
        "",
    ] {
        forgery(&format!("iss {issuer:?}"), own(&header("ES256", "ec"), &claims(issuer)), Issuer);
    }
    forgery("iss missing", own(&header("ES256", "ec"), &json!({})), Issuer);
    forgery("iss null", own(&header("ES256", "ec"), &json!({ "iss": null })), Issuer);
    forgery("iss several", own(&header("ES256", "ec"), &json!({ "iss": [ISSUER] })), Malformed);
    for uri in ["https://stranger.example.com/jwks.json", "http://issuer.example.com/jwks.json", ""] {
        forgery(
            &format!("jwks_uri {uri:?}"),
            own(&header("ES256", "ec"), &with(claims(ISSUER), "jwks_uri", json!(uri))),
            JwksUri,
        );
    }

    forgery("signature stripped", format!("{}.{}.", parts[0], parts[1]), Signature);
    forgery("signature and its dot stripped", format!("{}.{}", parts[0], parts[1]), Malformed);
    forgery("header only", parts[0].to_owned(), Malformed);
    forgery("nothing", String::new(), Malformed);
    forgery("dots", "..".to_owned(), Malformed);
    forgery("four parts", format!("{valid}.{}", parts[2]), Malformed);
    forgery("five parts, as an encrypted token", format!("{valid}.{}.{}", parts[2], parts[2]), Malformed);
    for (name, change) in [
        ("padding", "="),
        ("a blank", " "),
        ("a line break", "\n"),
        ("a NUL", "\0"),
        ("base64's other alphabet", "+/"),
        ("not ASCII", "é"),
    ] {
        for part in 0..3 {
            let mut changed: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            changed[part].push_str(change);
            forgery(&format!("{name} in part {part}"), changed.join("."), Malformed);
        }
    }
    // The last digit of 64 bytes has four bits that mean nothing.
    let stray = |part: &str| {
        let (rest, last) = part.split_at(part.len() - 1);
        format!("{rest}{}", char::from(last.as_bytes()[0] + 1))
    };
    forgery("stray bits in the signature", format!("{}.{}.{}", parts[0], parts[1], stray(parts[2])), Malformed);
    forgery(
        "the claims of another token",
        format!("{}.{}.{}", parts[0], BASE64URL.encode(with(claims(ISSUER), "name", json!("x")).to_string()), parts[2]),
        Signature,
    );
    forgery(
        "the header of another token",
        format!("{}.{}.{}", BASE64URL.encode(r#"{"kid":"ec","alg":"ES256"}"#), parts[1], parts[2]),
        Signature,
    );

    let text = |header: &str, claims: &str| token(header, claims, ecdsa(&KEYS.ec));
    forgery("alg twice", text(r#"{"alg":"none","alg":"ES256","kid":"ec"}"#, &good_claims), RepeatedName);
    forgery(
        "alg twice, once escaped",
        text(r#"{"\u0061lg":"none","alg":"ES256","kid":"ec"}"#, &good_claims),
        RepeatedName,
    );
    forgery("kid twice", text(r#"{"alg":"ES256","kid":"theirs","kid":"ec"}"#, &good_claims), RepeatedName);
    forgery(
        "iss twice",
        text(&good_header, &format!(r#"{{"iss":"https://stranger.example.com","iss":"{ISSUER}"}}"#)),
        RepeatedName,
    );
    forgery(
        "exp twice",
        text(&good_header, &format!(r#"{{"iss":"{ISSUER}","exp":1,"exp":9999999999}}"#)),
        RepeatedName,
    );
    forgery(
        "a claim that is not read, twice",
        text(&good_header, &format!(r#"{{"iss":"{ISSUER}","a":1,"a":2}}"#)),
        RepeatedName,
    );
    for (name, json) in [
        ("an array", "[]"),
        ("text", r#""ES256""#),
        ("null", "null"),
        ("nothing", ""),
        ("no JSON", "{"),
        ("more than one", "{}{}"),
    ] {
        forgery(&format!("the header is {name}"), text(json, &good_claims), Malformed);
        forgery(&format!("the claims are {name}"), text(&good_header, json), Malformed);
    }
    forgery(
        "claims nested too deep",
        text(
            &good_header,
            &format!(r#"{{"iss":"{ISSUER}","verification_id":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000)),
        ),
        Malformed,
    );

    for value in [json!("9999999999"), json!(null), json!(true), json!([9_999_999_999_u64]), json!({})] {
        forgery(
            &format!("exp {value}"),
            own(&header("ES256", "ec"), &with(claims(ISSUER), "exp", value.clone())),
            Time,
        );
        forgery(&format!("nbf {value}"), own(&header("ES256", "ec"), &with(claims(ISSUER), "nbf", value)), Time);
    }
    forgery("expired", own(&header("ES256", "ec"), &with(claims(ISSUER), "exp", json!(now() - 61))), Expired);
    forgery("expired long ago", own(&header("ES256", "ec"), &with(claims(ISSUER), "exp", json!(-1))), Expired);
    forgery("not yet valid", own(&header("ES256", "ec"), &with(claims(ISSUER), "nbf", json!(now() + 61))), NotYetValid);

    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
    ] {
        forgery(&format!("{name} {value}"), own(&with(header("ES256", "ec"), name, value), &claims(ISSUER)), Critical);
    }

    let in_der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &KEYS.ec_pkcs8).unwrap();
    forgery("signature in DER", token(&good_header, &good_claims, ecdsa(&in_der)), Signature);
    for (name, signature) in [
        ("of zeros", vec![0; 64]),
        ("of ones", vec![255; 64]),
        ("a byte short", vec![1; 63]),
        ("a byte long", vec![1; 65]),
        ("a byte", vec![0]),
    ] {
        forgery(&format!("signature {name}"), token(&good_header, &good_claims, |_| signature), Signature);
    }
    let doubled = |message: &[u8]| ecdsa(&KEYS.ec)(message).repeat(2);
    forgery("signature twice", token(&good_header, &good_claims, doubled), Signature);

    forgery(
        "an oversize token",
        own(&header("ES256", "ec"), &with(claims(ISSUER), "vp_token", json!("x".repeat(3 << 20)))),
        TooLarge,
    );
    forgery(
        "an oversize header",
        own(&with(header("ES256", "ec"), "x", json!("x".repeat(4096))), &claims(ISSUER)),
        TooLarge,
    );
    forgeries
}

#[test]
fn no_forgery_is_trusted_and_each_is_refused_for_its_reason() {
    let forgeries = forgeries();
    assert!(forgeries.len() >= 30, "{}", forgeries.len());
    for (name, token, reason) in forgeries {
        assert_eq!(verify(&token), Err(reason), "{name}");
    }
}

#[test]
fn a_token_can_be_verified_again_by_what_was_kept() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let token = own(&header("ES256", "ec"), &claims(ISSUER));
    let kept = runtime.block_on(trusted_issuers().verify(&token, local_time(), local_time())).unwrap().to_evidence();
    assert!(kept["key"].get("d").is_none());
    assert_eq!(verify_again(&token, &kept, local_time()), Ok(()));
    let years_later = local_time() + SignedDuration::from_hours(5 * 365 * 24);
    assert_eq!(verify_again(&token, &kept, years_later), Err(Untrusted::Expired));
    let other = own(&header("ES256", "ec"), &claims(OTHER_ISSUER));
    assert_eq!(verify_again(&other, &kept, local_time()), Err(Untrusted::Issuer));
    let forged = self::token(&header("ES256", "ec").to_string(), &claims(ISSUER).to_string(), ecdsa(&KEYS.stranger));
    assert_eq!(verify_again(&forged, &kept, local_time()), Err(Untrusted::Signature));
}

#[test]
fn symmetric_algorithms_none_and_plain_http_cannot_be_configured() {
    let https = "https://issuer.example.com/jwks.json";
    for (url, algorithms) in [
        (https, r#"["HS256"]"#),
        (https, r#"["ES256","HS512"]"#),
        (https, "[]"),
        (https, r#"["none"]"#),
        ("http://issuer.example.com/jwks.json", r#"["ES256"]"#),
        ("", r#"["ES256"]"#),
    ] {
        let json = format!(r#"{{"issuer":"{ISSUER}","jwks_url":"{url}","algorithms":{algorithms}}}"#);
        let is_trusted = serde_json::from_str::<PinnedIssuer>(&json).is_ok_and(|pinned| {
            TrustedIssuers::new(vec![(pinned, Cached::new(Fixed(key_set()), Duration::from_secs(1)))]).is_ok()
        });
        assert!(!is_trusted, "{url} {algorithms}");
    }
}

/// A server of keys that counts, and answers like this.
#[derive(Clone)]
struct KeyServer {
    url: String,
    answers: Arc<Mutex<Answers>>,
    fetches: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Answers {
    Text(String),
    Nothing,
    Error,
}

impl KeyServer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let server = Self { url, answers: Arc::new(Mutex::new(Answers::Error)), fetches: Arc::default() };
        let state = server.clone();
        let answer = move || async move {
            state.fetches.fetch_add(1, Ordering::Relaxed);
            let answers = state.answers.lock().unwrap().clone();
            match answers {
                Answers::Text(text) => (axum::http::StatusCode::OK, text),
                Answers::Nothing => std::future::pending().await,
                Answers::Error => (axum::http::StatusCode::INTERNAL_SERVER_ERROR, String::new()),
            }
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        server
    }

    fn answers(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    fn publishes(&self, key: &EcdsaKeyPair, kid: &str) {
        self.answers(Answers::Text(json!({ "keys": [ec_jwk(kid, "P-256", key)] }).to_string()));
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

/// Issuers as a function has them, with keys that are fetched from the server.
fn issuers_at(server: &KeyServer) -> TrustedIssuers {
    let pinned = PinnedIssuer { jwks_url: server.url.clone(), ..pinned(ISSUER, &[Algorithm::ES256]) };
    let keys = wallet_verification::keys::JwksUrl::new(runtime::Https::new().unwrap(), server.url.clone());
    TrustedIssuers::new(vec![(pinned, Cached::new(keys, Duration::from_millis(200)))]).unwrap()
}

fn at(milliseconds: i64) -> Timestamp {
    local_time() + SignedDuration::from_millis(milliseconds)
}

fn signed(key: &EcdsaKeyPair, kid: &str) -> String {
    token(&header("ES256", kid).to_string(), &json!({ "iss": ISSUER }).to_string(), ecdsa(key))
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch_in_a_cool_down_while_valid_tokens_go_on() {
    let server = KeyServer::start().await;
    server.publishes(&KEYS.ec, "ec");
    let issuers = issuers_at(&server);
    let valid = signed(&KEYS.ec, "ec");
    // One token each 10 ms, for 100 s.
    for n in 0..10_000 {
        let unknown = token(
            &header("ES256", &format!("unknown-{n}")).to_string(),
            r#"{"iss":"https://issuer.example.com"}"#,
            |_| vec![1; 64],
        );
        assert_eq!(issuers.verify(&unknown, at(n * 10), at(n * 10)).await, Err(Untrusted::UnknownKey));
        if n % 100 == 0 {
            assert!(issuers.verify(&valid, at(n * 10), at(n * 10)).await.is_ok());
        }
    }
    // At 0, 30, 60 and 90 s.
    assert_eq!(server.fetches(), 4);
}

#[tokio::test]
async fn cached_keys_go_on_working_whatever_the_server_does() {
    let server = KeyServer::start().await;
    server.publishes(&KEYS.ec, "ec");
    let issuers = issuers_at(&server);
    let valid = signed(&KEYS.ec, "ec");
    assert!(issuers.verify(&valid, at(0), at(0)).await.is_ok());
    let failures = [
        Answers::Error,
        Answers::Nothing,
        Answers::Text("garbage".to_owned()),
        Answers::Text("{}".to_owned()),
        Answers::Text(r#"{"keys":[]}"#.to_owned()),
        Answers::Text(r#"{"keys":[{"kty":"oct","kid":"ec","k":"AAAA"}]}"#.to_owned()),
        Answers::Text(" ".repeat(1 << 20)),
    ];
    for (answers, minutes) in failures.into_iter().zip(1..) {
        server.answers(answers);
        let fetches = server.fetches();
        assert!(issuers.verify(&valid, at(minutes * 6 * 60_000), at(minutes * 6 * 60_000)).await.is_ok());
        assert_eq!(server.fetches(), fetches + 1, "looked up when it was old");
    }
    // But not forever.
    assert_eq!(
        issuers.verify(&valid, at(25 * 60 * 60_000), at(25 * 60 * 60_000)).await,
        Err(Untrusted::KeysUnavailable)
    );
}

#[tokio::test]
async fn a_rotated_key_works_within_one_cool_down_and_the_withdrawn_one_no_longer() {
    let server = KeyServer::start().await;
    server.publishes(&KEYS.ec, "old");
    let issuers = issuers_at(&server);
    let (old, new) = (signed(&KEYS.ec, "old"), signed(&KEYS.other, "new"));
    assert!(issuers.verify(&old, at(0), at(0)).await.is_ok());
    server.publishes(&KEYS.other, "new");
    assert_eq!(issuers.verify(&new, at(29_999), at(29_999)).await, Err(Untrusted::UnknownKey));
    assert!(issuers.verify(&new, at(30_000), at(30_000)).await.is_ok());
    assert_eq!(issuers.verify(&old, at(30_001), at(30_001)).await, Err(Untrusted::UnknownKey));
}

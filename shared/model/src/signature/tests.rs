//! Published vectors, vectors of our own, and forgeries of each scheme.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::{Assurance, AuthError, SecretSource, Unavailable, Verified, signed_body};

const fn hex_of_body(header: &'static str) -> SigningScheme {
    SigningScheme {
        header,
        layout: Layout::Alone,
        before_body: &[],
        algorithm: Algorithm::Fixed(Hmac::Sha256),
        encoding: Encoding::Hex,
        secret: SecretForm::Text,
    }
}

const ONFIDO: SigningScheme = hex_of_body("x-sha2-signature");
const VERIFF: SigningScheme = hex_of_body("x-hmac-signature");
const IDENFY: SigningScheme = hex_of_body("idenfy-signature");
const SUMSUB: SigningScheme = SigningScheme {
    algorithm: Algorithm::Named {
        header: "x-payload-digest-alg",
        allowed: &[("HMAC_SHA256_HEX", Hmac::Sha256), ("HMAC_SHA512_HEX", Hmac::Sha512)],
    },
    ..hex_of_body("x-payload-digest")
};
const STRIPE: SigningScheme = SigningScheme {
    layout: Layout::Fields { signature: "v1", group_separator: None },
    before_body: &[Part::Timestamp { at: Place::Field("t"), tolerance: TOLERANCE }, Part::Text(".")],
    ..hex_of_body("stripe-signature")
};
const PERSONA: SigningScheme = SigningScheme {
    header: "persona-signature",
    layout: Layout::Fields { signature: "v1", group_separator: Some(' ') },
    ..STRIPE
};

/// Each scheme with secrets of its form.
const SCHEMES: [(SigningScheme, Secrets); 8] = [
    (ONFIDO, TEXTS),
    (VERIFF, TEXTS),
    (IDENFY, TEXTS),
    (SUMSUB, TEXTS),
    (STRIPE, TEXTS),
    (PERSONA, TEXTS),
    (STANDARD_WEBHOOKS, SYMMETRIC),
    (STANDARD_WEBHOOKS, ASYMMETRIC),
];

#[derive(Clone, Copy)]
struct Secrets {
    /// What the sender signs with.
    sender: &'static str,
    /// What the receiver checks with.
    ours: &'static str,
    /// Another secret of the receiver's.
    another: &'static str,
}

const TEXTS: Secrets = Secrets { sender: "example-secret", ours: "example-secret", another: "another-example-secret" };
const SYMMETRIC: Secrets = Secrets {
    sender: STANDARD_SECRET,
    ours: STANDARD_SECRET,
    another: "whsec_ZXhhbXBsZS1leGFtcGxlLWV4YW1wbGUtZXhhbXBsZQ==",
};
const ASYMMETRIC: Secrets = Secrets { sender: SECRET_KEY, ours: PUBLIC_KEY, another: ANOTHER_PUBLIC_KEY };

const STANDARD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
// The key pair whose secret key is the bytes 0 to 31.
const SECRET_KEY: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PUBLIC_KEY: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
// That of RFC 8032, test 1.
const ANOTHER_PUBLIC_KEY: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

const ID: &str = "msg_example-0001";
const BODY: &str = r#"{"example":true,"id":"0001"}"#;

type Headers = Vec<(&'static str, String)>;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn now() -> Timestamp {
    at(1_769_851_800)
}

fn request(body: &str, headers: &[(&'static str, String)]) -> Request {
    let request = Request::new(body.to_owned());
    headers.iter().fold(request, |request, (name, value)| request.with_header(name, value))
}

fn owned(headers: &[(&'static str, &str)]) -> Headers {
    headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn try_verify(
    scheme: &SigningScheme,
    secrets: &impl SecretSource,
    request: &Request,
    now: Timestamp,
) -> Result<Verified, AuthError> {
    signed_body(request, scheme, secrets, now).now_or_never().unwrap()
}

fn verify(
    scheme: &SigningScheme,
    secrets: &impl SecretSource,
    request: &Request,
    now: Timestamp,
) -> Result<Verified, Refusal> {
    try_verify(scheme, secrets, request, now).map_err(|error| match error {
        AuthError::Refused(refusal) => refusal,
        AuthError::Unavailable(error) => panic!("{error}: {:?}", error.0),
    })
}

fn only(secret: &str) -> SecretPair {
    SecretPair::new(secret, None).unwrap()
}

/// Checks a request with these headers, now.
#[track_caller]
fn check(scheme: &SigningScheme, secret: &str, body: &str, headers: &Headers, expected: Result<(), Refusal>) {
    check_at(scheme, secret, body, headers, now(), expected);
}

#[track_caller]
fn check_at(
    scheme: &SigningScheme,
    secret: &str,
    body: &str,
    headers: &Headers,
    now: Timestamp,
    expected: Result<(), Refusal>,
) {
    let verified = verify(scheme, &only(secret), &request(body, headers), now);
    if let Ok(verified) = &verified {
        assert_eq!((verified.body().as_ref(), verified.assurance()), (body.as_bytes(), Assurance::SignedBody));
    }
    assert_eq!(verified.map(|_| ()), expected, "{headers:?}");
}

/// A published vector of a signature of the body alone: the body, the key and the signature.
#[track_caller]
fn check_vector(scheme: &SigningScheme, body: &str, key: &str, signature: &str) {
    let headers = owned(&[(scheme.header, signature)]);
    check(scheme, key, body, &headers, Ok(()));
    assert_eq!(scheme.sign(key, ID, body.as_bytes(), now()).unwrap(), headers);
}

#[test]
fn onfido_s_vectors_are_accepted() {
    // onfido-python, tests/test_classic_webhook_event_verification.py and
    // test_studio_webhook_event_verification.py.
    let check_body = r#"{"payload":{"resource_type":"check","action":"check.completed","object":{"id":"f2302f45-227d-413d-ad61-09ec077a086a","status":"complete","completed_at_iso8601":"2024-04-04T09:21:21Z","href":"https://api.onfido.com/v3.6/checks/f2302f45-227d-413d-ad61-09ec077a086a"}}}"#;
    let check_signature = "77ebc3e418f26be6eebb47f7ebe551321de26734fc273961e075fc9ab163d9c7";
    check_vector(&ONFIDO, check_body, "wU99mE6jJ7nXOLFwZ0tJymM1lpI15pZh", check_signature);
    let task_body = r#"{"payload":{"resource_type":"workflow_task","action":"workflow_task.started","object":{"id":"profile_1eb92","task_spec_id":"profile_1eb92","task_def_id":"profile_data","workflow_run_id":"bc77c6e5-753a-4580-96a6-aaed3e5a8d19","status":"started","started_at_iso8601":"2024-07-10T12:49:09Z","href":"https://api.eu.onfido.com/v3.6/workflow_runs/bc77c6e5-753a-4580-96a6-aaed3e5a8d19/tasks/profile_1eb92"},"resource":{"created_at":"2024-07-10T12:49:09Z","id":"profile_1eb92","workflow_run_id":"bc77c6e5-753a-4580-96a6-aaed3e5a8d19","updated_at":"2024-07-10T12:49:09Z","input":{},"task_def_version":null,"task_def_id":"profile_data","output":null}}}"#;
    let (task_key, task_signature) =
        ("YKOC6mkBxi6yK2zlUIrLMvsJMFEZObP5", "c95a5b785484f6fa1bc25f381b5595d66bf85cb442eefb06aa007802ee6a4dfa");
    check_vector(&ONFIDO, task_body, task_key, task_signature);
    // The signature that the same test refuses: the last digit is another.
    let refused = task_signature.replace("4dfa", "4dfb");
    check(&ONFIDO, task_key, task_body, &owned(&[("x-sha2-signature", &refused)]), Err(Refusal::Wrong));
}

#[test]
fn veriff_s_vectors_are_accepted() {
    // developers.veriff.com, as its clients' tests cite it.
    let body = |vendor_data: &str| {
        format!(
            r#"{{"verification":{{"callback":"https://veriff.com","person":{{"firstName":"John","lastName":"Smith"}},"document":{{"type":"PASSPORT","country":"EE"}},"vendorData":"{vendor_data}","timestamp":"2016-05-19T08:30:25.597Z"}}}}"#
        )
    };
    let key = "abcdef12-abcd-abcd-abcd-abcdef012345";
    let of_user = "6af6d95822e19e9cc707aec55395d8d363ba2c7bc4625bc04ebeca0c7bf8cd67";
    let of_end_user = "0dcab73ddd20062616d104231c7439657546a5c24e4691977da93bb854c31e25";
    check_vector(&VERIFF, &body("unique id of a user"), key, of_user);
    check_vector(&VERIFF, &body("unique id of the end-user"), key, of_end_user);
    let swapped = owned(&[("x-hmac-signature", of_end_user)]);
    check(&VERIFF, key, &body("unique id of a user"), &swapped, Err(Refusal::Wrong));
}

#[test]
fn idenfy_s_form_is_accepted() {
    let body = r#"{"final":true,"platform":"PC","status":{"overall":"APPROVED"},"scanRef":"00000000-0000-4000-8000-000000000003","clientId":"example"}"#;
    let signature = "135023144a581e2202757896ebc570c0a833eb29de37fecb24ce2799c23a2008";
    check_vector(&IDENFY, body, "example-idenfy-key", signature);
}

#[test]
fn sumsub_names_its_algorithm_and_sha_1_is_refused() {
    let body = r#"{"applicantId":"000000000000000000000001","type":"applicantReviewed","reviewResult":{"reviewAnswer":"GREEN"},"reviewStatus":"completed"}"#;
    let sha1 = "d33eaa887d570bb01b689bbcabf54922f6ecacb1";
    let sha256 = "6ce0e07a0dd0a9f01f394b9f03a3f9bead293bb4e88171b5841473520e3b6556";
    let sha512 = "ba9e2a17d801ff01c31478aedcf1a9b5ed1e6c025a6074978a5534a6b4f6bdb0d4719fc3fd5e8e4356a017d09642daa6544fa908a61cf398166a1cfdf3d8a171";
    let check_digest = |algorithm: &str, digest: &str, expected| {
        let headers = owned(&[("x-payload-digest-alg", algorithm), ("x-payload-digest", digest)]);
        check(&SUMSUB, "example-sumsub-secret", body, &headers, expected);
    };
    check_digest("HMAC_SHA256_HEX", sha256, Ok(()));
    check_digest("HMAC_SHA512_HEX", sha512, Ok(()));
    check_digest("HMAC_SHA1_HEX", sha1, Err(Refusal::Malformed));
    check_digest("HMAC_SHA256_HEX", sha1, Err(Refusal::Malformed));
    check_digest("HMAC_SHA256_HEX", sha512, Err(Refusal::Malformed));
    check_digest("HMAC_SHA512_HEX", sha256, Err(Refusal::Malformed));
    check_digest("HMAC_SHA256_HEX", &sha512[..64], Err(Refusal::Wrong));
    check_digest("hmac_sha256_hex", sha256, Err(Refusal::Malformed));
    check_digest("HMAC_SHA256_HEX,HMAC_SHA1_HEX", sha256, Err(Refusal::Malformed));
    check_digest("none", sha256, Err(Refusal::Malformed));
    check_digest("none", "", Err(Refusal::Missing));
    check_digest("", sha256, Err(Refusal::Missing));
    let unnamed = owned(&[("x-payload-digest", sha256)]);
    check(&SUMSUB, "example-sumsub-secret", body, &unnamed, Err(Refusal::Missing));
}

#[test]
fn persona_and_stripe_sign_the_time_with_the_body() {
    let body = r#"{"data":{"id":"evt_0001","attributes":{"name":"inquiry.approved"}}}"#;
    let persona = "t=1769851800,v1=f98233f62c5d34e773ec6fe37356e4bcb4fffa09c7910c783c6747010e442946";
    let persona_secret = "wbhsec_00000000-0000-4000-8000-000000000000";
    check_vector(&PERSONA, body, persona_secret, persona);
    let stripe = "t=1769851800,v1=846db86435f6ef4d5e0aef297bfc861c2497d18668d37f60d17b7c53b480c3ba";
    check_vector(&STRIPE, body, "whsec_test_secret", stripe);

    let zeros = "0".repeat(64);
    let check = |scheme: &SigningScheme, secret: &str, value: &str, expected| {
        check(scheme, secret, body, &owned(&[(scheme.header, value)]), expected);
    };
    let of_stripe = |value: &str, expected| check(&STRIPE, "whsec_test_secret", value, expected);
    of_stripe(&format!("{stripe},v1={zeros},v0=ignored"), Ok(()));
    of_stripe(&stripe.replace(",v1", &format!(",v1={zeros},v1")), Ok(()));
    of_stripe(&stripe.replace("v1=", "v0="), Err(Refusal::Malformed));
    of_stripe(&stripe.replace("t=", "T="), Err(Refusal::Malformed));
    of_stripe(&format!("{stripe},t=1769851800"), Err(Refusal::Malformed));
    of_stripe(&format!("{stripe},v1=short"), Err(Refusal::Malformed));
    of_stripe(&format!("{stripe} {stripe}"), Err(Refusal::Malformed));
    of_stripe(&format!("{stripe},{stripe}"), Err(Refusal::Malformed));
    of_stripe(&format!("{stripe},"), Err(Refusal::Malformed));

    let of_persona = |value: &str, expected| check(&PERSONA, persona_secret, value, expected);
    let unfit = format!("t=1769851800,v1={zeros}");
    of_persona(&format!("{unfit} {persona}"), Ok(()));
    of_persona(&format!("{persona} {unfit}"), Ok(()));
    of_persona(&format!("{unfit} {unfit}"), Err(Refusal::Wrong));
    of_persona(&format!("{persona}  {unfit}"), Err(Refusal::Malformed));
    of_persona(&format!("t=1769851800 {persona}"), Err(Refusal::Malformed));
    of_persona(&format!("{persona},{unfit}"), Err(Refusal::Malformed));
    // The time of one group does not count for the signature of another.
    let old = PERSONA.sign(persona_secret, ID, body.as_bytes(), at(1_769_840_000)).unwrap().remove(0).1;
    of_persona(&old, Err(Refusal::Timestamp));
    of_persona(&format!("{unfit} {old}"), Err(Refusal::Timestamp));
    of_persona(&format!("{old} {persona}"), Ok(()));
    of_persona(&old.replace("t=1769840000", "t=1769851800"), Err(Refusal::Wrong));
}

const STANDARD_BODY: &str = r#"{"email":"test@example.com","username":"test_user"}"#;
const STANDARD_SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
// Of the same text, with the key pair above, by another implementation (pyca/cryptography).
const STANDARD_ED25519: &str =
    "v1a,CnkujwXFUOk59gNZFCCzmJ2MkkC0yKa+OmyYFXFtPnxkRhEkUBAd4PGNNNjLh4huOXNuqy+Eyxud5+wHP2ezBA==";

fn standard(id: &str, timestamp: &str, signature: &str) -> Headers {
    owned(&[("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)])
}

#[test]
fn the_vector_of_standard_webhooks_is_accepted_and_its_refusals_are_refused() {
    // standard-webhooks, libraries/rust/src/lib.rs.
    let (id, timestamp) = ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553");
    let check_at = |second, timestamp: &str, signature: &str, expected| {
        let headers = standard(id, timestamp, signature);
        check_at(&STANDARD_WEBHOOKS, STANDARD_SECRET, STANDARD_BODY, &headers, at(second), expected);
    };
    let check = |signature: &str, expected| check_at(1_649_367_553, timestamp, signature, expected);
    check(STANDARD_SIGNATURE, Ok(()));
    check("v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=", Err(Refusal::Wrong));
    check("v1,", Err(Refusal::Malformed));
    check("", Err(Refusal::Missing));
    check(&STANDARD_SIGNATURE[..11], Err(Refusal::Malformed));
    check(&STANDARD_SIGNATURE[3..], Err(Refusal::Malformed));
    check(&STANDARD_SIGNATURE.replace("v1", "v2"), Err(Refusal::Malformed));
    check(&STANDARD_SIGNATURE.replace('=', ""), Err(Refusal::Malformed));
    // Bits that no byte has: another text of the same bytes.
    check(&STANDARD_SIGNATURE.replace("w=", "x="), Err(Refusal::Malformed));
    check_at(1_649_367_853, timestamp, STANDARD_SIGNATURE, Ok(()));
    check_at(1_649_367_854, timestamp, STANDARD_SIGNATURE, Err(Refusal::Timestamp));
    check_at(1_649_367_253, timestamp, STANDARD_SIGNATURE, Ok(()));
    check_at(1_649_367_252, timestamp, STANDARD_SIGNATURE, Err(Refusal::Timestamp));
    for unreadable in ["soon", "1649367553.0", "+1649367553", "-1", "0x62", "9".repeat(13).as_str(), "999999999999"] {
        check_at(1_649_367_553, unreadable, STANDARD_SIGNATURE, Err(Refusal::Malformed));
    }
    check_at(1_649_367_553, "01649367553", STANDARD_SIGNATURE, Err(Refusal::Wrong));
    check_at(1_649_367_553, "", STANDARD_SIGNATURE, Err(Refusal::Missing));
}

#[test]
fn ed25519_is_checked_with_a_public_key_and_hmac_with_a_secret() {
    let standard = |signature: &str| standard("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553", signature);
    let check = |secret: &str, signature: &str, expected| {
        check_at(&STANDARD_WEBHOOKS, secret, STANDARD_BODY, &standard(signature), at(1_649_367_553), expected);
    };
    check(PUBLIC_KEY, STANDARD_ED25519, Ok(()));
    check(PUBLIC_KEY, &format!("{STANDARD_SIGNATURE} {STANDARD_ED25519}"), Ok(()));
    check(STANDARD_SECRET, &format!("{STANDARD_SIGNATURE} {STANDARD_ED25519}"), Ok(()));
    check(STANDARD_SECRET, &format!("v2,later {STANDARD_SIGNATURE}"), Ok(()));
    check(PUBLIC_KEY, STANDARD_SIGNATURE, Err(Refusal::Wrong));
    check(STANDARD_SECRET, STANDARD_ED25519, Err(Refusal::Wrong));
    check(ANOTHER_PUBLIC_KEY, STANDARD_ED25519, Err(Refusal::Wrong));
    check(PUBLIC_KEY, &STANDARD_ED25519.replace("v1a,C", "v1a,D"), Err(Refusal::Wrong));
    check(PUBLIC_KEY, &STANDARD_ED25519.replace("v1a", "v1"), Err(Refusal::Malformed));
    check(STANDARD_SECRET, &STANDARD_SIGNATURE.replace("v1", "v1a"), Err(Refusal::Malformed));

    // A public key is public: an HMAC with it, in whatever form, is no signature.
    let signed = format!("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk.1649367553.{STANDARD_BODY}");
    let decoded = BASE64.decode(&PUBLIC_KEY[5..]).unwrap();
    for key in [decoded.as_slice(), PUBLIC_KEY.as_bytes(), &PUBLIC_KEY.as_bytes()[5..]] {
        let tag = Hmac::Sha256.tag(key, &signed, b"");
        check(PUBLIC_KEY, &format!("v1,{}", BASE64.encode(tag)), Err(Refusal::Wrong));
    }
}

#[test]
fn a_version_is_not_taken_for_the_other_where_both_have_the_same_length() {
    const LONG: SigningScheme = SigningScheme { algorithm: Algorithm::Fixed(Hmac::Sha512), ..STANDARD_WEBHOOKS };
    for (sent, other, secrets) in [("v1,", "v1a,", SYMMETRIC), ("v1a,", "v1,", ASYMMETRIC)] {
        let headers = signed(&LONG, secrets, now());
        check(&LONG, secrets.ours, BODY, &headers, Ok(()));
        let relabelled = headers.last().unwrap().1.replace(sent, other);
        check(&LONG, secrets.ours, BODY, &with(&headers, LONG.header, Some(relabelled)), Err(Refusal::Wrong));
    }
}

#[test]
fn the_signed_id_is_evidence() {
    let verify = |scheme: &SigningScheme, secret: &str, id: &str| {
        let headers = scheme.sign(secret, id, BODY.as_bytes(), now()).unwrap();
        verify(scheme, &only(secret), &request(BODY, &headers), now())
    };
    let id_of = |id: &str| verify(&STANDARD_WEBHOOKS, STANDARD_SECRET, id).map(|v| v.callback_id().map(str::to_owned));
    assert_eq!(id_of(ID), Ok(Some(ID.to_owned())));
    let longest = "x".repeat(128);
    assert_eq!(id_of(&longest), Ok(Some(longest.clone())));
    assert_eq!(id_of(""), Err(Refusal::Missing));
    for id in ["msg.0001", "msg 0001", "msg/0001", "msg_ä", "a\nb", &format!("{longest}x")] {
        assert_eq!(id_of(id), Err(Refusal::Malformed), "{id}");
    }
    assert_eq!(verify(&STRIPE, "example-secret", ID).unwrap().callback_id(), None);

    // The id, the timestamp and the body cannot be cut in another place.
    let headers = STANDARD_WEBHOOKS.sign(STANDARD_SECRET, ID, b"1769851800.{}", now()).unwrap();
    let moved = headers.iter().map(|(name, value)| match *name {
        "webhook-id" => (*name, format!("{ID}.1769851800")),
        name => (name, value.clone()),
    });
    check(&STANDARD_WEBHOOKS, STANDARD_SECRET, "{}", &moved.collect(), Err(Refusal::Malformed));
}

/// The signature in a header, and what is before it.
fn signature_in<'a>(scheme: &SigningScheme, header: &'a str) -> (&'a str, &'a str) {
    let before = match scheme.layout {
        Layout::Alone => 0,
        Layout::Fields { .. } => header.find("v1=").unwrap() + 3,
        Layout::Versions { .. } => header.find(',').unwrap() + 1,
    };
    header.split_at(before)
}

fn signed(scheme: &SigningScheme, secrets: Secrets, now: Timestamp) -> Headers {
    scheme.sign(secrets.sender, ID, BODY.as_bytes(), now).unwrap()
}

/// These headers with another value of one, or without it.
fn with(headers: &Headers, name: &'static str, value: Option<String>) -> Headers {
    let mut headers: Headers = headers.iter().filter(|(other, _)| *other != name).cloned().collect();
    headers.extend(value.map(|value| (name, value)));
    headers
}

#[test]
fn of_each_scheme_the_original_is_accepted_and_forgeries_are_refused_for_their_reason() {
    for (scheme, secrets) in SCHEMES {
        let headers = signed(&scheme, secrets, now());
        check(&scheme, secrets.ours, BODY, &headers, Ok(()));
        check(&scheme, secrets.another, BODY, &headers, Err(Refusal::Wrong));
        for body in [BODY.replace("0001", "0002"), format!("{BODY} "), BODY.replace(":true", ": true"), String::new()] {
            check(&scheme, secrets.ours, &body, &headers, Err(Refusal::Wrong));
        }

        let header = &headers.iter().find(|(name, _)| *name == scheme.header).unwrap().1;
        let (lead, signature) = signature_in(&scheme, header);
        let check_header = |value: Option<String>, expected| {
            check(&scheme, secrets.ours, BODY, &with(&headers, scheme.header, value), expected);
        };
        let check_signature = |signature: &str, expected| check_header(Some(format!("{lead}{signature}")), expected);

        let flipped = if signature.starts_with('a') { "b" } else { "a" };
        check_signature(&format!("{flipped}{}", &signature[1..]), Err(Refusal::Wrong));
        check_signature("", Err(if lead.is_empty() { Refusal::Missing } else { Refusal::Malformed }));
        for malformed in [&signature[..1], &signature[..8], &signature[..signature.len() - 1], &signature[1..]] {
            check_signature(malformed, Err(Refusal::Malformed));
        }
        for malformed in [
            format!("{signature}0"),
            format!("{signature}{signature}"),
            format!("0x{signature}"),
            signature.replace(|_| true, "ä"),
        ] {
            check_signature(&malformed, Err(Refusal::Malformed));
        }
        let swapped = match scheme.encoding {
            Encoding::Hex => {
                check_signature(&signature.to_uppercase(), Err(Refusal::Malformed));
                BASE64.encode(scheme.encoding.decode(signature, signature.len() / 2).unwrap())
            }
            Encoding::Base64 => hex(&BASE64.decode(signature).unwrap()),
        };
        check_signature(&swapped, Err(Refusal::Malformed));

        check_header(None, Err(Refusal::Missing));
        for missing in ["", " ", "\t"] {
            check_header(Some(missing.to_owned()), Err(Refusal::Missing));
        }
        let huge =
            [header.repeat(1000), "v1,".repeat(100_000), "t=1,".repeat(100_000), " ".repeat(9999) + header + ","];
        for malformed in huge.into_iter().chain(["ä".to_owned(), "\0".to_owned(), "\u{feff}".to_owned() + header]) {
            check_header(Some(malformed), Err(Refusal::Malformed));
        }
        // The gateway joins a header that came twice by a comma.
        check_header(Some(format!("{header},{header}")), Err(Refusal::Malformed));
    }
}

#[test]
fn a_timestamp_counts_if_it_is_signed_and_within_the_tolerance() {
    let mut with_time = 0;
    for (scheme, secrets) in SCHEMES {
        let at_offset = |seconds: i64| signed(&scheme, secrets, now() + SignedDuration::from_secs(seconds));
        if scheme.before_body.is_empty() {
            // Without a timestamp, a signature does not expire.
            check_at(&scheme, secrets.ours, BODY, &at_offset(0), at(4_000_000_000), Ok(()));
            continue;
        }
        with_time += 1;
        for (seconds, expected) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(Refusal::Timestamp)),
            (-301, Err(Refusal::Timestamp)),
            (86_400 * 365, Err(Refusal::Timestamp)),
            (-86_400 * 365, Err(Refusal::Timestamp)),
        ] {
            check(&scheme, secrets.ours, BODY, &at_offset(seconds), expected);
        }
        // A stale signature with another time beside it, and a current one that is wrong.
        let fresh_time = |headers: Headers| -> Headers {
            let stale = (now() - SignedDuration::from_secs(301)).as_second().to_string();
            headers
                .into_iter()
                .map(|(name, value)| (name, value.replace(&stale, &now().as_second().to_string())))
                .collect()
        };
        check(&scheme, secrets.ours, BODY, &fresh_time(at_offset(-301)), Err(Refusal::Wrong));
        // The signature is checked first: a stranger does not learn what time it is here.
        check(&scheme, secrets.another, BODY, &at_offset(-301), Err(Refusal::Wrong));
    }
    assert_eq!(with_time, 4);
}

#[test]
fn every_header_that_is_signed_or_chooses_the_algorithm_must_be_there() {
    for (scheme, secrets) in SCHEMES {
        let headers = signed(&scheme, secrets, now());
        for (name, _) in &headers {
            check(&scheme, secrets.ours, BODY, &with(&headers, name, None), Err(Refusal::Missing));
            check(&scheme, secrets.ours, BODY, &with(&headers, name, Some(String::new())), Err(Refusal::Missing));
            let hostile = with(&headers, name, Some("ä".repeat(5000)));
            check(&scheme, secrets.ours, BODY, &hostile, Err(Refusal::Malformed));
        }
    }
    let headers = signed(&STANDARD_WEBHOOKS, SYMMETRIC, now());
    let other_id = with(&headers, "webhook-id", Some("msg_example-0002".to_owned()));
    check(&STANDARD_WEBHOOKS, STANDARD_SECRET, BODY, &other_id, Err(Refusal::Wrong));
}

#[test]
fn either_of_our_secrets_may_fit() {
    for (scheme, secrets) in SCHEMES {
        let request = request(BODY, &signed(&scheme, secrets, now()));
        let fits = |current, previous| {
            verify(&scheme, &SecretPair::new(current, previous).unwrap(), &request, now()).map(|_| ())
        };
        assert_eq!(fits(secrets.ours, Some(secrets.another)), Ok(()));
        assert_eq!(fits(secrets.another, Some(secrets.ours)), Ok(()));
        assert_eq!(fits(secrets.another, Some(secrets.another)), Err(Refusal::Wrong));
    }
}

#[test]
fn any_of_up_to_eight_signatures_may_fit() {
    let secret = "example-secret";
    for (scheme, secrets, separator) in [
        (STRIPE, TEXTS, ",v1="),
        (PERSONA, TEXTS, " t=1769851800,v1="),
        (STANDARD_WEBHOOKS, SYMMETRIC, " v1,"),
        (STANDARD_WEBHOOKS, ASYMMETRIC, " v1a,"),
    ] {
        let headers = signed(&scheme, secrets, now());
        let header = &headers.iter().find(|(name, _)| *name == scheme.header).unwrap().1;
        let (lead, signature) = signature_in(&scheme, header);
        let unfit = match scheme.encoding {
            Encoding::Hex => "0".repeat(64),
            Encoding::Base64 => BASE64.encode(vec![0; BASE64.decode(signature).unwrap().len()]),
        };
        let check = |count: usize, fitting: usize, expected| {
            let signatures: Vec<_> =
                (0..count).map(|n| if n == fitting { signature } else { unfit.as_str() }).collect();
            let value = format!("{lead}{}", signatures.join(separator));
            assert!(value.len() <= MAX_HEADER_BYTES, "{}", value.len());
            check(&scheme, secrets.ours, BODY, &with(&headers, scheme.header, Some(value)), expected);
        };
        check(2, 0, Ok(()));
        check(2, 1, Ok(()));
        check(8, 7, Ok(()));
        check(8, 8, Err(Refusal::Wrong));
        check(9, 0, Err(Refusal::Malformed));
        check(9, 8, Err(Refusal::Malformed));
    }
    // Signatures of another version do not count as one, and are not looked at. The header's length
    // counts.
    let signature = STRIPE.sign(secret, ID, BODY.as_bytes(), now()).unwrap().remove(0).1;
    let check = |ignored: usize, expected| {
        let value = format!("{signature},v0={}", "x".repeat(ignored));
        check(&STRIPE, secret, BODY, &owned(&[("stripe-signature", &value)]), expected);
    };
    let room = MAX_HEADER_BYTES - signature.len() - ",v0=".len();
    check(0, Ok(()));
    check(room, Ok(()));
    check(room + 1, Err(Refusal::Malformed));
}

/// Secrets that were rotated after the first look-up.
struct Rotated {
    known: SecretPair,
    now: SecretPair,
    look_ups: AtomicUsize,
}

impl SecretSource for Rotated {
    async fn secrets(&self, _now: Timestamp) -> Result<SecretPair, Unavailable> {
        Ok(self.known.clone())
    }

    async fn refreshed(&self, _now: Timestamp) -> Option<SecretPair> {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        Some(self.now.clone())
    }
}

#[test]
fn secrets_are_looked_up_again_when_a_signature_does_not_fit_and_only_then() {
    for (scheme, secrets) in SCHEMES {
        let headers = signed(&scheme, secrets, now());
        let check = |known: &str, rotated: &str, headers: &Headers, now, expected, look_ups| {
            let source = Rotated { known: only(known), now: only(rotated), look_ups: AtomicUsize::new(0) };
            let verified = verify(&scheme, &source, &request(BODY, headers), now).map(|_| ());
            assert_eq!((verified, source.look_ups.into_inner()), (expected, look_ups), "{headers:?}");
        };
        let Secrets { ours, another, .. } = secrets;
        check(ours, another, &headers, now(), Ok(()), 0);
        check(another, ours, &headers, now(), Ok(()), 1);
        check(another, another, &headers, now(), Err(Refusal::Wrong), 1);
        check(ours, another, &with(&headers, scheme.header, None), now(), Err(Refusal::Missing), 0);
        let malformed = with(&headers, scheme.header, Some("x".to_owned()));
        check(ours, another, &malformed, now(), Err(Refusal::Malformed), 0);
        if !scheme.before_body.is_empty() {
            check(ours, another, &headers, at(4_000_000_000), Err(Refusal::Timestamp), 0);
        }
    }
}

#[test]
fn a_secret_of_another_form_checks_nothing_and_is_not_quoted() {
    let short = format!("whsec_{}", BASE64.encode([7; 23]));
    let long = format!("whsec_{}", BASE64.encode([7; 65]));
    let short_key = format!("whpk_{}", BASE64.encode([7; 31]));
    let headers = signed(&STANDARD_WEBHOOKS, SYMMETRIC, now());
    let request = request(BODY, &headers);
    for text in
        ["whsec_", "whsec_not base64", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", &short, &long, &short_key, SECRET_KEY]
    {
        let pair = only(text);
        let invalid = STANDARD_WEBHOOKS.check_secrets(&pair).unwrap_err();
        assert_eq!(invalid, InvalidSecret::StandardWebhooks("current"), "{text}");
        // It may be authentic: it must not be refused for good.
        let error = try_verify(&STANDARD_WEBHOOKS, &pair, &request, now()).unwrap_err();
        let AuthError::Unavailable(Unavailable(cause)) = &error else { panic!("{text}: {error}") };
        for said in [invalid.to_string(), format!("{error} {error:?} {cause} {cause:?} {pair:?}")] {
            assert!(!said.contains(text.trim_start_matches("whsec_")) || text == "whsec_", "{said}");
        }

        // The other secret goes on counting, whichever it is.
        for (current, previous) in [(STANDARD_SECRET, text), (text, STANDARD_SECRET)] {
            let pair = SecretPair::new(current, Some(previous)).unwrap();
            assert!(STANDARD_WEBHOOKS.check_secrets(&pair).is_err());
            assert!(verify(&STANDARD_WEBHOOKS, &pair, &request, now()).is_ok());
        }
    }
    for bytes in [24, 64] {
        let secret = format!("whsec_{}", BASE64.encode(vec![7; bytes]));
        assert_eq!(STANDARD_WEBHOOKS.check_secrets(&only(&secret)), Ok(()));
    }
    assert_eq!(STANDARD_WEBHOOKS.check_secrets(&only(PUBLIC_KEY)), Ok(()));
    assert_eq!(STRIPE.check_secrets(&only("anything")), Ok(()));
}

#[test]
fn a_sender_signs_with_a_secret_or_a_key_pair_and_not_with_a_public_key() {
    let sign = |secret: &str| {
        let body = STANDARD_BODY.as_bytes();
        let headers = STANDARD_WEBHOOKS.sign(secret, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", body, at(1_649_367_553));
        headers.map(|headers| headers.last().unwrap().1.clone())
    };
    assert_eq!(sign(STANDARD_SECRET).as_deref(), Ok(STANDARD_SIGNATURE));
    assert_eq!(sign(SECRET_KEY).as_deref(), Ok(STANDARD_ED25519));
    let bytes = |text: &str| BASE64.decode(text.split_once('_').unwrap().1).unwrap();
    let whole = format!("whsk_{}", BASE64.encode([bytes(SECRET_KEY), bytes(PUBLIC_KEY)].concat()));
    assert_eq!(sign(&whole).as_deref(), Ok(STANDARD_ED25519));
    let mismatched = format!("whsk_{}", BASE64.encode([bytes(SECRET_KEY), bytes(ANOTHER_PUBLIC_KEY)].concat()));
    for secret in [PUBLIC_KEY, "whsk_", "whsk_AAEC", &mismatched] {
        assert_eq!(sign(secret), Err(InvalidSecret::SigningKey), "{secret}");
    }
    assert_eq!(sign("example"), Err(InvalidSecret::StandardWebhooks("secret")));
}

/// Header text: anything, and what nearly is a signature.
fn any_header() -> impl Strategy<Value = String> {
    let time = "(1769851800|[0-9]{0,14}|[^ ]{0,4})";
    let hex = "([0-9a-f]{64}|[0-9a-f]{128}|[0-9A-Fa-f]{0,130})";
    let base64 = "([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/]{85}[AQgw]==|[A-Za-z0-9+/=]{0,90})";
    prop_oneof![
        any::<String>(),
        proptest::string::string_regex(hex).unwrap(),
        proptest::string::string_regex(&format!("(t={time},(v1={hex},?){{0,3}} ?){{0,3}}")).unwrap(),
        proptest::string::string_regex(&format!("((v1|v1a|v2),{base64} ?){{0,4}}")).unwrap(),
        Just("HMAC_SHA256_HEX".to_owned()),
        Just("1769851800".to_owned()),
        Just(ID.to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_header_that_was_not_signed_is_accepted(
        which in 0..SCHEMES.len(), values in proptest::collection::vec(any_header(), 3), keeps in 0_usize..3,
        body in any::<Vec<u8>>(),
    ) {
        let (scheme, secrets) = SCHEMES[which];
        // Beside arbitrary headers, up to two that were sent with another callback. Never its
        // signature.
        let headers = signed(&scheme, secrets, now()).into_iter().zip(&values).enumerate();
        let request = headers.fold(Request::new(body), |request, (n, ((name, kept), arbitrary))| {
            request.with_header(name, if n < keeps && name != scheme.header { &kept } else { arbitrary })
        });
        prop_assert!(verify(&scheme, &only(secrets.ours), &request, now()).is_err());
    }

    #[test]
    fn what_is_signed_is_accepted_and_no_other_body(
        which in 0..SCHEMES.len(), body in any::<Vec<u8>>(), id in "[A-Za-z0-9_-]{1,128}", second in 0_i64..4_000_000_000,
        at_byte in any::<prop::sample::Index>(), xor in 1_u8..,
    ) {
        let (scheme, secrets) = SCHEMES[which];
        let headers = scheme.sign(secrets.sender, &id, &body, at(second)).unwrap();
        let verify = |body: Vec<u8>| {
            let request = headers.iter().fold(Request::new(body), |request, (name, value)| request.with_header(name, value));
            verify(&scheme, &only(secrets.ours), &request, at(second)).map(|verified| verified.body().to_vec())
        };
        prop_assert_eq!(verify(body.clone()), Ok(body.clone()));
        let mut other = body.clone();
        other.push(xor);
        prop_assert_eq!(verify(other), Err(Refusal::Wrong));
        if !body.is_empty() {
            let mut other = body;
            let changed = at_byte.index(other.len());
            other[changed] ^= xor;
            prop_assert_eq!(verify(other), Err(Refusal::Wrong));
        }
    }
}

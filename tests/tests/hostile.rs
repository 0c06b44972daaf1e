//! What is sent to break something: into every function, by a stranger and with the right credentials. It is refused, or kept byte for byte;
//! nothing panics, nothing is answered as if it were our fault, and neither memory nor work grows beyond what came.

use std::{collections::BTreeSet, sync::LazyLock};

use allocation_counter::AllocationInfo;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL},
};
use cli::sample::Sample;
use model::{Credential, MemoryStore, Message, MessageDetail, Place, StoredEvent};
use proptest::{collection::vec, prelude::*, sample::Index, sample::select};
use providers::{REGISTRATIONS, registration};
use runtime::DynamoStore;
use serde_json::{Value, json};
use tests::{
    Database, FUNCTIONS, VERIFICATION_CODE, accepted, answer, by_stranger, contract::check_message_around_payload,
    local_time, max_body_bytes, message_of, samples, secret, secret_field, send, takes_secret_in_body, with_body,
    with_secret,
};
use tokio::runtime::Runtime;

/// What becomes of an authentic body where the secret belongs into it. Where it belongs elsewhere, every body is kept.
#[derive(Clone, Copy, PartialEq)]
enum SecretInside {
    /// The object can be read, and has the secret.
    Found,
    /// There is no place for a secret, or no way to read it.
    Lost,
}
use SecretInside::{Found, Lost};

/// The answer to a stranger.
fn refusal(function: &str) -> i64 {
    if function == "jumio" { 403 } else { 401 }
}

/// Checks a body that is no callback, in every function: from a stranger it is refused; with the right credentials it is kept as it is and as not
/// understood, unless there is no way to find the secret in it, or it is too large.
#[track_caller]
fn check(name: &str, body: impl AsRef<[u8]>, secret_inside: SecretInside) {
    let body = body.as_ref();
    for function in FUNCTIONS {
        let sent = with_secret(function, body, &secret(function)).unwrap_or_else(|| body.to_owned());
        let event = with_body(&accepted(function), &sent);
        if sent.len() > max_body_bytes(function).unwrap() {
            check_refused(name, function, &by_stranger(function, body), 413);
            check_refused(name, function, &event, 413);
            continue;
        }
        check_refused(name, function, &by_stranger(function, body), refusal(function));
        if secret_inside == Lost && takes_secret_in_body(function) {
            check_refused(name, function, &event, 401);
        } else {
            let kept = check_kept(name, function, &event);
            assert!(kept.unrecognized.is_some(), "{name}, {function}: {kept:?}");
            assert!(kept.body == body, "{name}, {function}: {} bytes of {}", kept.body.len(), body.len());
        }
    }
}

#[track_caller]
fn check_refused(name: &str, function: &str, event: &Value, expected: i64) {
    let (status, stored) = send(function, event);
    assert_eq!((status, stored.len()), (expected, 0), "{name}, {function}");
}

#[track_caller]
fn check_kept(name: &str, function: &str, event: &Value) -> StoredEvent {
    let (status, mut stored) = send(function, event);
    assert_eq!((status, stored.len()), (200, 1), "{name}, {function}");
    let kept = stored.remove(0);
    check_message(name, &kept);
    kept
}

/// Checks that the message of what was kept can be read and keeps the contract, whether it carries the payload or not.
#[track_caller]
fn check_message(name: &str, kept: &StoredEvent) {
    for detail in [MessageDetail::Reference, MessageDetail::Full] {
        let message = serde_json::to_string(&message_of(kept, detail)).unwrap();
        let read: Message = serde_json::from_str(&message).unwrap();
        assert_eq!(read.id, kept.id, "{name}");
        check_message_around_payload(read);
    }
}

/// JSON within JSON, so many times.
fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}0{}", open.repeat(depth), close.repeat(depth))
}

const DEEP: usize = 100_000;
/// Half of what serde_json recurses into.
const HALF_DEEP: usize = 64;

/// Values that are JSON by its grammar, and hard to take. Whoever does not read the field does not notice.
fn hostile_values() -> Vec<(&'static str, String)> {
    vec![
        ("arrays, deep", nested("[", "]", DEEP)),
        ("arrays, half as deep as can be read", nested("[", "]", HALF_DEEP)),
        ("objects, deep", nested(r#"{"":"#, "}", DEEP / 2)),
        ("objects, half as deep as can be read", nested(r#"{"a":"#, "}", HALF_DEEP)),
        ("many keys", many_keys(20_000)),
        ("a number beyond floating point", "1e400".to_owned()),
        ("a number below it", "-1e-400".to_owned()),
        ("a number beyond floating point, within", "[1e400]".to_owned()),
        ("minus zero", "-0".to_owned()),
        ("an integer of 100 000 digits", "9".repeat(100_000)),
        ("a fraction of 100 000 digits", format!("0.{}1", "0".repeat(100_000))),
        ("an exponent of 1000 digits", format!("1e{}", "9".repeat(1000))),
        ("a number that is an integer and does not look so", "1e2".to_owned()),
        ("a key twice", r#"{"a":1,"a":2}"#.to_owned()),
        ("a key twice, once escaped", r#"{"a":1,"\u0061":2}"#.to_owned()),
        ("NUL", r#""\u0000""#.to_owned()),
        ("noncharacters", "\"\u{fffe}\u{ffff}\u{1ffff}\"".to_owned()),
        ("a lone surrogate", r#""\ud800""#.to_owned()),
        ("surrogates the wrong way round", r#""\udc00\ud800""#.to_owned()),
        ("a lone surrogate, within", r#"{"a":"\ud800"}"#.to_owned()),
        ("a lone surrogate in a key", r#"{"\ud800":1}"#.to_owned()),
        ("a long string", format!("\"{}\"", "x".repeat(200_000))),
        ("a string that is all escapes", format!("\"{}\"", r"\u0041".repeat(30_000))),
        ("an empty string", r#""""#.to_owned()),
        ("blanks", format!("[{}]", " \t\r\n".repeat(40_000))),
        ("null", "null".to_owned()),
        ("true", "true".to_owned()),
        ("an empty array", "[]".to_owned()),
        ("an empty object", "{}".to_owned()),
        ("an array of objects", "[{},{}]".to_owned()),
    ]
}

/// An object of so many different keys.
fn many_keys(count: usize) -> String {
    let members: Vec<String> = (0..count).map(|n| format!(r#""{n}":0"#)).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn a_hostile_value_is_kept_as_not_understood() {
    for (name, value) in hostile_values() {
        let secret_inside = if value.starts_with("{\"") && name != "a lone surrogate in a key" { Found } else { Lost };
        check(name, &value, secret_inside);
        check(&format!("{name}, in an object"), format!(r#"{{"a":{value}}}"#), Found);
    }
    check("objects, too deep for all but the largest body", nested(r#"{"":"#, "}", DEEP), Found);
}

#[test]
fn a_field_that_is_there_twice_is_not_read_either_way() {
    for sample in sample_of_each_kind().into_iter().filter(|sample| sample.function != "jumio") {
        let body = body_of(&sample);
        let members = std::str::from_utf8(&body).unwrap().strip_prefix('{').unwrap();
        let fields: serde_json::Map<String, Value> = serde_json::from_slice(&body).unwrap();
        for (field, value) in &fields {
            let name = format!("{field} of {}", sample.name());
            for repeated in [json!(field).to_string(), format!(r#""\u{:04x}{}""#, field.as_bytes()[0], &field[1..])] {
                let sent = format!("{{{repeated}:{value},{members}");
                let event = with_body(&sample, sent.as_bytes());
                // Of what a callback is known by there must be one.
                if secret_field(&sample.function) == Some(field) || (field == "state" && sample.function != "identomat")
                {
                    check_refused(&name, &sample.function, &event, 401);
                } else {
                    let kept = check_kept(&name, &sample.function, &event);
                    check_is_what_was_sent(&name, &sample.function, &kept, sent.as_bytes());
                    if kept.unrecognized.is_none() {
                        // Then it does not matter: without it, the callback says the same.
                        let without = without_field(&fields, field);
                        let without = check_kept(&name, &sample.function, &with_body(&sample, &without));
                        assert_eq!(said(&kept), said(&without), "{name}");
                    } else {
                        assert_eq!(kept.unrecognized.as_deref(), Some("unexpected_shape"), "{name}");
                    }
                }
            }
        }
    }
}

fn without_field(fields: &serde_json::Map<String, Value>, field: &str) -> Vec<u8> {
    let mut fields = fields.clone();
    fields.remove(field);
    Value::from(fields).to_string().into_bytes()
}

/// All that a message says of an event.
fn said(event: &StoredEvent) -> Value {
    json!([event.kind, event.subject, event.track, event.outcome, event.is_final, event.reasons, event.details])
}

#[test]
fn what_is_no_json_is_kept_where_the_secret_is_elsewhere() {
    check("nothing", "", Lost);
    check("arrays that do not end", "[".repeat(DEEP), Lost);
    check("objects that do not end", r#"{"a":"#.repeat(DEEP / 2), Lost);
    check("objects that do not end, where there is room for them", r#"{"a":"#.repeat(DEEP), Lost);
    check("ends without a beginning", "]}".repeat(DEEP), Lost);
    check("a string that does not end", r#"{"a":""#.to_owned() + &"x".repeat(100_000), Lost);
    check("backslashes", r#"{"a":""#.to_owned() + &"\\".repeat(100_001), Lost);
    check("quotes", "\"".repeat(100_001), Lost);
    check("commas", ",".repeat(100_000), Lost);
    check("a flood of blanks", " \t\r\n".repeat(60_000), Lost);
    check("blanks that are none in JSON", "{\"a\":1}\u{a0}\u{2028}\u{85}", Lost);
    check("a byte order mark", "\u{feff}{\"a\":1}", Lost);
    check("a byte order mark of UTF-16", b"\xff\xfe{\x00}\x00", Lost);
    check("no UTF-8", b"\xff\xc0\x80\xed\xa0\x80\xf5", Lost);
    check("no UTF-8 in a value", b"{\"a\":\"\xff\"}", Lost);
    check("no UTF-8 in a key", b"{\"\xff\":1}", Lost);
    check("UTF-8 that is cut off", b"{\"a\":\"\xf0\x9f\x98\"}", Lost);
    check("a surrogate in UTF-8", b"{\"a\":\"\xed\xa0\x80\"}", Lost);
    check("NUL bytes", [0; 1000], Lost);
    check("a NUL byte in a value", "{\"a\":\"\0\"}", Lost);
    check("a NUL byte at the end", "{\"a\":1}\0", Lost);
    check("noncharacters", "\u{fffe}\u{ffff}", Lost);
    check("two values", r#"{"a":1}{"a":1}"#, Lost);
    check("numbers that are none in JSON", r#"{"a":[NaN,Infinity,-,.5,01,0x1,1_0]}"#, Lost);
    check("a hexadecimal escape", r#"{"a":"\x41"}"#, Lost);
    check("an escape that is cut off", r#"{"a":"\ud8"#, Lost);
    check("XML with entities", r#"<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><a>&c;</a>"#, Lost);
    check("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\xff", Lost);
    check("blanks around an object", "\n{\"a\":1}\n", Lost);
    check("blanks after an object", "{\"a\":1}\n", Found);
}

#[test]
fn percent_encoding_that_is_none_is_kept_as_it_is() {
    check("a percent sign", "callBackType=%", Lost);
    check("no hexadecimal digits", "callBackType=%zz", Lost);
    check("one hexadecimal digit", "callBackType=%f", Lost);
    check("one hexadecimal digit and more", "callBackType=%fz", Lost);
    check("a sign among the digits", "callBackType=%+1%-1", Lost);
    check("NUL", "callBackType=%00&%00=%00", Lost);
    check("UTF-8 that is cut off", "callBackType=%f0%9f%98", Lost);
    check("bytes that are not UTF-8", "%ff=%c0%80&%ed%a0%80=1", Lost);
    check("encoded twice", "callBackType=%254E%2525", Lost);
    check("as JavaScript once did it", "callBackType=%u004E", Lost);
    check("percent signs", "%".repeat(200_000), Lost);
    check("ampersands", "&".repeat(200_000), Lost);
    check("equals signs", "=".repeat(200_000), Lost);
    check("semicolons", "callBackType=NETVERIFYID;a=1", Lost);
    check("many keys", (0..30_000).map(|n| format!("k{n}=&")).collect::<String>(), Lost);
    check("one key, many times", "a&".repeat(60_000), Lost);
    check("the type twice", "callBackType=NETVERIFYID&callBackType=NETVERIFYID", Lost);
    check("the type as an array", "callBackType=[\"NETVERIFYID\"]", Lost);
    check("a value that is JSON to its last byte but one", r#"a={"b":1"#, Lost);
}

#[test]
fn a_body_of_the_other_kind_is_not_understood_whatever_its_content_type_says() {
    check("a form", "a=b&c=d", Lost);
    check("JSON", r#"{"a":"b","c":"d"}"#, Found);
    check("parts", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--", Lost);
}

/// An accepted event with another value in it beside those that are read, and the body that is to be kept.
fn with_value_beside(function: &str, value: &str) -> (Value, Vec<u8>) {
    let body = if !accepted(function).is_json() {
        // Nothing else has a meaning in a form, and encoded the value would be too large.
        let value = value.replace('%', "%25").replace('&', "%26").replace('+', "%2B");
        [format!("x={value}&").as_bytes(), &body_of(&accepted(function))].concat()
    } else {
        let original = body_of(&accepted(function));
        let members = original.strip_prefix(b"{").unwrap();
        [format!(r#"{{"x":{value},"#).as_bytes(), members].concat()
    };
    (with_body(&accepted(function), &body), body)
}

/// A sample's body as it is sent, secret and all.
fn body_of(sample: &Sample) -> Vec<u8> {
    let event: Value = serde_json::from_str(&sample.text).unwrap();
    let body = event["body"].as_str().unwrap();
    if event["isBase64Encoded"] == json!(true) { BASE64.decode(body).unwrap() } else { body.as_bytes().to_owned() }
}

#[test]
fn a_hostile_value_in_a_field_that_is_not_read_keeps_nobody_from_understanding_the_callback() {
    for (name, value) in hostile_values() {
        for function in FUNCTIONS {
            let (event, sent) = with_value_beside(function, &value);
            let kept = check_kept(name, function, &event);
            check_is_what_was_sent(name, function, &kept, &sent);
            assert_eq!(kept.unrecognized, None, "{name}, {function}");
        }
    }
}

/// Checks that what is kept is what was sent, byte for byte, without one slice where the secret was.
#[track_caller]
fn check_is_what_was_sent(name: &str, function: &str, kept: &StoredEvent, sent: &[u8]) {
    let same = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| pairs.take_while(|(one, other)| one == other).count();
    let head = same(&mut kept.body.iter().zip(sent));
    let tail = same(&mut kept.body.iter().rev().zip(sent.iter().rev()));
    assert!(head + tail >= kept.body.len(), "{name}, {function}: other bytes were kept than sent");
    if let Some(field) = secret_field(function) {
        assert!(kept.body.len() + field.len() < sent.len(), "{name}, {function}: nothing was cut out");
    } else {
        assert_eq!(kept.body.len(), sent.len(), "{name}, {function}");
    }
}

/// Every body that a sample's becomes when one value in it, at any depth, is this one; with the place of each.
fn bodies_with_value_anywhere(sample: &Sample, value: &str) -> Vec<(String, Vec<u8>)> {
    let body = body_of(sample);
    if sample.is_json() {
        let json = serde_json::from_slice(&body).unwrap();
        return jsons_with_value_anywhere(&json, value).into_iter().map(|(at, json)| (at, json.into_bytes())).collect();
    }
    let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let mut bodies = Vec::new();
    for (at, (key, field)) in fields.iter().enumerate() {
        let within = match serde_json::from_str::<Value>(field) {
            Ok(json) if json.is_object() || json.is_array() => jsons_with_value_anywhere(&json, value),
            _ => Vec::new(),
        };
        for (pointer, field) in within.into_iter().chain([(String::new(), value.to_owned())]) {
            let mut fields = fields.clone();
            fields[at].1 = field;
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            bodies.push((format!("{key}{pointer}"), body.into_bytes()));
        }
    }
    bodies
}

fn jsons_with_value_anywhere(json: &Value, value: &str) -> Vec<(String, String)> {
    const PLACE: &str = "the place of the value";
    fn pointers(json: &Value, pointer: &str) -> Vec<String> {
        let within: Vec<(String, &Value)> = match json {
            Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
            _ => Vec::new(),
        };
        within
            .into_iter()
            .flat_map(|(name, json)| {
                let pointer = format!("{pointer}/{name}");
                [vec![pointer.clone()], pointers(json, &pointer)].concat()
            })
            .collect()
    }
    let replaced = |pointer: String| {
        let mut json = json.clone();
        *json.pointer_mut(&pointer).unwrap() = json!(PLACE);
        (pointer, json.to_string().replace(&json!(PLACE).to_string(), value))
    };
    pointers(json, "").into_iter().map(replaced).collect()
}

/// A sample of each kind of event that there is.
fn sample_of_each_kind() -> Vec<Sample> {
    let mut kinds = BTreeSet::new();
    let understood = samples().into_iter().filter(|sample| {
        sample
            .expect
            .event
            .as_ref()
            .is_some_and(|event| event.unrecognized.is_none() && kinds.insert(event.kind.clone()))
    });
    understood.collect()
}

#[test]
fn a_hostile_value_in_any_field_is_refused_or_kept_and_the_table_takes_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Database::start()).store();
    let (mut understood, mut not_understood) = (0, 0);
    // Long ones are as hard to take when they are just too long for something.
    let short = hostile_values().into_iter().filter(|(_, value)| value.len() < 10_000);
    let just_too_long = [
        ("deeper than can be read", nested("[", "]", 200)),
        ("a number too long for a reference", "9".repeat(1025)),
        ("a string too long for details", format!("\"{}\"", "x".repeat(60_000))),
    ];
    let values: Vec<_> = short.chain(just_too_long).collect();
    for sample in sample_of_each_kind() {
        for (name, value) in &values {
            for (at, body) in bodies_with_value_anywhere(&sample, value) {
                let name = format!("{name} at {at} of {}", sample.name());
                let (status, stored) = send(&sample.function, &with_body(&sample, &body));
                match stored.as_slice() {
                    [] => {
                        let is_about_secret = takes_secret_in_body(&sample.function) && status == 401;
                        let is_too_large = status == 413 && body.len() > max_body_bytes(&sample.function).unwrap();
                        assert!(is_about_secret || is_too_large, "{name}: {status}");
                    }
                    [kept] => {
                        assert_eq!(status, 200, "{name}");
                        check_is_what_was_sent(&name, &sample.function, kept, &body);
                        check_message(&name, kept);
                        check_is_taken(&name, &runtime, &store, kept);
                        *if kept.unrecognized.is_some() { &mut not_understood } else { &mut understood } += 1;
                    }
                    more => panic!("{name}: {} events", more.len()),
                }
            }
        }
    }
    // Both happen, or the samples are no callbacks any more.
    assert!(understood > 100 && not_understood > 100, "{understood} {not_understood}");
}

#[test]
fn a_hostile_template_id_is_kept_and_the_table_takes_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Database::start()).store();
    let check = |name: &str, tokens: String, unrecognized: Option<&str>| {
        let sent = with_secret("wallet-verification", tokens.as_bytes(), VERIFICATION_CODE).unwrap();
        let kept = check_kept(name, "wallet-verification", &with_body(&accepted("wallet-verification"), &sent));
        assert_eq!(kept.unrecognized.as_deref(), unrecognized, "{name}");
        check_is_taken(name, &runtime, &store, &kept);
    };
    let tokens = |id: &str| format!(r#"{{"tokens":{{"{id}":{{"token":"x","status":"COMPLETED"}}}}}}"#);
    let many = |count: usize| {
        let tokens: Vec<String> = (0..count).map(|n| format!(r#""{n:064}":{{"status":"COMPLETED"}}"#)).collect();
        format!(r#"{{"tokens":{{{}}}}}"#, tokens.join(","))
    };
    check("empty", tokens(""), Some("missing_field:template_id"));
    check("blank", tokens(" "), None);
    check("NUL", tokens(r"\u0000"), None);
    check("noncharacters", tokens("\u{fffe}\u{ffff}"), None);
    check("a path", tokens("a.b[0]#c:d"), None);
    check("a lone surrogate", tokens(r"\ud800"), Some("unexpected_shape"));
    check("as long as it may be", tokens(&"x".repeat(64)), None);
    check("longer", tokens(&"x".repeat(65)), Some("too_large:template_id"));
    check("much longer", tokens(&"x".repeat(100_000)), Some("too_large:template_id"));
    check("as many as there may be", many(64), None);
    check("more", many(65), Some("too_many:tokens"));
    check("many more", many(30_000), Some("too_many:tokens"));
    check("twice", r#"{"tokens":{"1":{},"\u0031":{}}}"#.to_owned(), Some("repeated:tokens"));
    check("all of them twice", r#"{"tokens":{"1":{}},"tokens":{"2":{}}}"#.to_owned(), Some("unexpected_shape"));
}

/// Checks that the table takes an event, also if its body were as large as one in an item can be. (The body itself says nothing to the table.)
#[track_caller]
fn check_is_taken(name: &str, runtime: &Runtime, store: &DynamoStore, kept: &StoredEvent) {
    let event = StoredEvent { body: Vec::new(), ..kept.clone() };
    let beside_body = serde_json::to_string(&event).unwrap().len();
    assert!(beside_body <= (400 - 256) * 1024, "{name}: {beside_body} bytes beside the body");
    let taken = runtime.block_on(store.put_event(event));
    assert!(taken.is_ok(), "{name}: {kept:?}: {taken:?}");
}

/// The functions whose credential is of this sort.
fn functions_with(is_wanted: impl Fn(Credential) -> bool) -> Vec<&'static str> {
    let wanted = REGISTRATIONS.iter().filter(|registration| is_wanted(registration.settings.credential));
    wanted.map(|registration| registration.function).collect()
}

static IN_BODY: LazyLock<Vec<&str>> = LazyLock::new(|| functions_with(|credential| credential.field().is_some()));
static IN_AUTHORIZATION: LazyLock<Vec<&str>> = LazyLock::new(|| {
    functions_with(|credential| matches!(credential, Credential::Presented(Place::Header("authorization", _))))
});
/// Jumio, which is known by its addresses too.
const IN_PATH: [&str; 1] = ["jumio"];

/// Checks what a changed event is answered in these functions, and that one that is accepted becomes the very event that it was.
#[track_caller]
fn check_event(name: &str, functions: &[&str], expected: i64, change: impl Fn(&mut Value)) {
    for function in functions {
        let original: Value = serde_json::from_str(&accepted(function).text).unwrap();
        let mut event = original.clone();
        change(&mut event);
        assert!(event != original, "{name}, {function}: nothing was changed");
        match expected {
            200 => assert!(
                check_kept(name, function, &event) == check_kept(name, function, &original),
                "{name}, {function}"
            ),
            _ => check_refused(name, function, &event, expected),
        }
    }
}

/// Checks whether a function that wants a credential in a header takes it in these headers, which are made from the right one.
#[track_caller]
fn check_credential<const N: usize>(name: &str, expected: i64, headers: impl Fn(&str) -> [(&'static str, String); N]) {
    check_event(name, &IN_AUTHORIZATION, expected, |event| {
        let all = event["headers"].as_object_mut().unwrap();
        let right = all.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization")).unwrap().1.clone();
        all.retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
        all.extend(headers(right.as_str().unwrap()).map(|(name, value)| (name.to_owned(), json!(value))));
    });
}

#[test]
fn a_credential_counts_once_and_whole() {
    let authorization = |value: &str| [("authorization", value.to_owned())];
    check_credential("missing", 401, |_| []);
    check_credential("empty", 401, |_| authorization(""));
    check_credential("blank", 401, |_| authorization(" \t "));
    check_credential("twice, joined", 401, |right| authorization(&format!("{right},{right}")));
    check_credential("twice, joined with a blank", 401, |right| authorization(&format!("{right}, {right}")));
    check_credential("after another", 401, |right| authorization(&format!("Basic d3Jvbmc=,{right}")));
    check_credential("before another", 401, |right| authorization(&format!("{right},Basic d3Jvbmc=")));
    check_credential("with a comma", 401, |right| authorization(&format!("{right},")));
    check_credential("many times", 401, |right| authorization(&vec![right; 2000].join(",")));
    check_credential("in two headers", 401, |right| {
        [("Authorization", right.to_owned()), ("authorization", right.to_owned())]
    });
    check_credential("beside an empty one", 401, |right| {
        [("AUTHORIZATION", String::new()), ("authorization", right.to_owned())]
    });
    check_credential("in another header", 401, |right| [("proxy-authorization", right.to_owned())]);
    check_credential("in a header that looks the same", 401, |right| [("authorızation", right.to_owned())]);
    check_credential("without its last byte", 401, |right| authorization(&right[..right.len() - 1]));
    check_credential("with one more", 401, |right| authorization(&format!("{right}x")));
    check_credential("with NUL", 401, |right| authorization(&format!("{right}\0")));
    check_credential("with a line break and another header", 401, |right| authorization(&format!("{right}\r\nx: y")));
    check_credential("not ASCII", 401, |right| authorization(&format!("{right}\u{e9}\u{ffff}")));
    check_credential("in wide letters", 401, |right| authorization(&right.replace('c', "\u{ff43}")));
    check_credential("64 KB long", 401, |_| authorization(&"x".repeat(64 * 1024)));
    check_credential("64 KB longer", 401, |right| authorization(&format!("{right}{}", "x".repeat(64 * 1024))));
    check_credential("64 KB of blanks", 401, |_| authorization(&" ".repeat(64 * 1024)));
    check_credential("under its name in capitals", 200, |right| [("AUTHORIZATION", right.to_owned())]);
    check_credential("after 64 KB of blanks", 200, |right| authorization(&format!("{}{right}", " ".repeat(64 * 1024))));
}

#[test]
fn headers_that_are_not_read_change_nothing() {
    let check_header = |name: &str, header: &str, value: &str| {
        check_event(name, &FUNCTIONS, 200, |event| event["headers"][header] = json!(value));
    };
    check_event("no content type", &FUNCTIONS, 200, |event| {
        event["headers"].as_object_mut().unwrap().remove("content-type");
    });
    check_header("a content type that lies", "content-type", "multipart/form-data; boundary=x");
    check_header(
        "another content type beside it",
        "Content-Type",
        "application/x-www-form-urlencoded,application/json",
    );
    check_header("an empty content type", "content-type", "");
    check_header("an absurd content type", "content-type", "\0;charset=\u{feff}\u{ffff};charset=\"");
    check_header("a content type of 64 KB", "content-type", &"text/".repeat(13_000));
    check_header("another encoding", "content-encoding", "gzip");
    check_header("another charset", "content-type", "application/json; charset=utf-16");
    check_header("a length that is none", "content-length", "-1");
    check_header("another transfer", "transfer-encoding", "chunked");
    check_header("another method", "x-http-method-override", "DELETE");
    check_header("another sender", "x-forwarded-for", "34.202.241.227, 192.0.2.1");
    check_header("a host that is none", "host", "[");
    check_header("a header without a name", "", "x");
    check_header("a header that is not ASCII", "\u{e9}\0", "\u{e9}\0");
    check_event("many headers", &FUNCTIONS, 200, |event| {
        (0..10_000).for_each(|n| event["headers"][format!("x-{n}")] = json!("x"));
    });
}

#[test]
fn an_event_that_contradicts_itself_is_refused() {
    let base64 = |body: &'static str| {
        move |event: &mut Value| {
            event["isBase64Encoded"] = json!(true);
            event["body"] = json!(body);
        }
    };
    check_event("base64 that is JSON", &FUNCTIONS, 400, base64("{}"));
    check_event("base64 that is a form", &FUNCTIONS, 400, base64("a=b&c=%41"));
    check_event("base64 of another alphabet", &FUNCTIONS, 400, base64("_-8="));
    check_event("base64 without padding", &FUNCTIONS, 400, base64("YQ"));
    check_event("base64 with stray bits", &FUNCTIONS, 400, base64("YR=="));
    check_event("base64 in lines", &FUNCTIONS, 400, base64("YWFh\nYWFh"));
    check_event("base64 that is not ASCII", &FUNCTIONS, 400, base64("\u{ff39}Q=="));
    check_event("base64 with NUL", &FUNCTIONS, 400, base64("YQ==\0"));
    check_event("no body, in base64", &IN_BODY, 401, |event| {
        event["isBase64Encoded"] = json!(true);
        event["body"] = json!(null);
    });
    check_event("base64 that says that it is not", &IN_BODY, 401, |event| {
        event["body"] = json!(BASE64.encode(event["body"].as_str().unwrap()));
    });
    check_event("no headers", &IN_AUTHORIZATION, 401, |event| event["headers"] = json!(null));
    check_event("no path parameters", &IN_PATH, 403, |event| event["pathParameters"] = json!(null));
    check_event("an empty path parameter", &IN_PATH, 403, |event| event["pathParameters"]["secret"] = json!(""));
    check_event("another name for it", &IN_PATH, 403, |event| {
        event["pathParameters"] = json!({ "Secret": "local-jumio-secret" });
    });
    check_event("a path that goes on", &IN_PATH, 403, |event| {
        event["pathParameters"]["secret"] = json!("local-jumio-secret/..");
    });
    check_event("a path of 64 KB", &IN_PATH, 403, |event| {
        event["pathParameters"]["secret"] = json!("local-jumio-secret".repeat(4000));
    });
    for address in
        ["", "34.202.241.227, 192.0.2.1", "34.202.241.227:80", "34.202.241", "034.202.241.227", "fe80::1%1", "\0"]
    {
        check_event(&format!("from {address:?}"), &IN_PATH, 403, |event| {
            event["requestContext"]["http"]["sourceIp"] = json!(address);
        });
    }
    check_event("from nowhere", &IN_PATH, 403, |event| event["requestContext"]["http"]["sourceIp"] = json!(null));
}

#[test]
fn base64_that_says_that_it_is_none_is_kept_as_the_text_it_is() {
    for function in FUNCTIONS.into_iter().filter(|function| !takes_secret_in_body(function)) {
        let mut event: Value = serde_json::from_str(&accepted(function).text).unwrap();
        let text = BASE64.encode(body_of(&accepted(function)));
        event["body"] = json!(text);
        event["isBase64Encoded"] = json!(false);
        if matches!(registration(function).unwrap().settings.credential, Credential::Signed(_)) {
            check_refused("base64", function, &event, 401);
            continue;
        }
        let kept = check_kept("base64", function, &event);
        assert!(kept.unrecognized.is_some() && kept.body == text.as_bytes(), "{function}");
    }
}

#[test]
fn a_secret_that_is_there_twice_or_is_no_string_is_none() {
    for &function in &*IN_BODY {
        let (field, secret) = (secret_field(function).unwrap(), secret(function));
        let escaped = format!(r"\u{:04x}{}", field.as_bytes()[0], &field[1..]);
        for (name, members) in [
            ("twice", format!(r#""{field}":"{secret}","{field}":"{secret}""#)),
            ("twice, once wrong", format!(r#""{field}":"wrong","{field}":"{secret}""#)),
            ("twice, once null", format!(r#""{field}":"{secret}","{field}":null"#)),
            ("twice, once escaped", format!(r#""{field}":"{secret}","{escaped}":"wrong""#)),
            ("within", format!(r#""a":{{"{field}":"{secret}"}}"#)),
            ("in an array", format!(r#""{field}":["{secret}"]"#)),
            ("in an object", format!(r#""{field}":{{"{field}":"{secret}"}}"#)),
            ("null", format!(r#""{field}":null"#)),
            ("empty", format!(r#""{field}":"""#)),
            ("a number", format!(r#""{field}":1e400"#)),
            ("deep", format!(r#""{field}":{}"#, nested("[", "]", DEEP))),
            ("with a lone surrogate", format!(r#""{field}":"{secret}\ud800""#)),
            ("with NUL", format!(r#""{field}":"{secret}\u0000""#)),
            ("with a byte order mark", format!("\"{field}\":\"\u{feff}{secret}\"")),
            ("long", format!(r#""{field}":"{}""#, secret.repeat(5000))),
            ("under a longer name", format!(r#""{field}\u0000":"{secret}""#)),
            ("in capitals", format!(r#""{}":"{secret}""#, field.to_uppercase())),
        ] {
            check_refused(name, function, &with_body(&accepted(function), format!("{{{members}}}").as_bytes()), 401);
        }
        // Spelled in another way it is the same, and is cut out all the same.
        let spelled: String = secret.chars().map(|char| format!(r"\u{:04x}", u32::from(char))).collect();
        let body = format!(r#"{{"a":"\"{field}\":1", "{escaped}" : "{spelled}" , "b":2}}"#);
        let kept = check_kept("escaped", function, &with_body(&accepted(function), body.as_bytes()));
        assert_eq!(String::from_utf8(kept.body).unwrap(), format!(r#"{{"a":"\"{field}\":1", "b":2}}"#), "{function}");
    }
}

/// An object of just so many bytes.
fn object_of(bytes: usize) -> Vec<u8> {
    let frame = r#"{"a":""}"#;
    format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - frame.len())).into_bytes()
}

#[test]
fn a_body_may_be_as_large_as_its_provider_s_and_not_a_byte_larger() {
    for function in FUNCTIONS {
        let max = max_body_bytes(function).unwrap();
        let secret_bytes = with_secret(function, &object_of(100), &secret(function)).unwrap().len() - 100;
        let sent = |bytes: usize| {
            let sent = with_secret(function, &object_of(bytes - secret_bytes), &secret(function)).unwrap();
            assert_eq!(sent.len(), bytes);
            with_body(&accepted(function), &sent)
        };
        assert_eq!(check_kept("the limit", function, &sent(max)).body, object_of(max - secret_bytes), "{function}");
        check_refused("more", function, &sent(max + 1), 413);
        check_refused("much more", function, &sent(10 * 1024 * 1024), 413);
        let by_stranger = |bytes| by_stranger(function, &object_of(bytes));
        check_refused("the limit, by a stranger", function, &by_stranger(max - secret_bytes), refusal(function));
        check_refused("more, by a stranger", function, &by_stranger(max + 1), 413);
        // What counts is what was sent, and not how the gateway hands it over.
        let mut as_text = sent(max + 1);
        as_text["body"] = json!("\u{1}".repeat(max + 1));
        as_text["isBase64Encoded"] = json!(false);
        check_refused("more, as text", function, &as_text, 413);
    }
}

/// A change to the bytes of a real callback.
#[derive(Debug, Clone)]
enum Mutation {
    Truncate(Index),
    FlipBit(Index, u8),
    Insert(Index, &'static [u8]),
    /// A slice of it once more, somewhere else.
    Repeat(Index, Index, Index),
    /// A slice of another callback of the same function instead of one of its own.
    Splice(Index, Index, Index),
}

impl Mutation {
    fn apply(&self, mut body: Vec<u8>, others: &[&Vec<u8>]) -> Vec<u8> {
        let at = |index: &Index, body: &[u8]| index.index(body.len() + 1);
        let slice = |one: &Index, other: &Index, body: &[u8]| {
            let (one, other) = (at(one, body), at(other, body));
            one.min(other)..one.max(other)
        };
        match self {
            Self::Truncate(to) => body.truncate(at(to, &body)),
            Self::FlipBit(index, bit) => {
                if !body.is_empty() {
                    let index = index.index(body.len());
                    body[index] ^= 1 << bit;
                }
            }
            Self::Insert(index, bytes) => {
                let at = at(index, &body);
                body.splice(at..at, bytes.iter().copied());
            }
            Self::Repeat(from, to, index) => {
                let (repeated, at) = (body[slice(from, to, &body)].to_vec(), at(index, &body));
                body.splice(at..at, repeated);
            }
            Self::Splice(other, from, to) => {
                let other = other.get(others);
                body.splice(slice(from, to, &body), other[slice(from, to, other)].iter().copied());
            }
        }
        body
    }
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let hostile: Vec<&'static [u8]> = vec![
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\"",
        b"\\",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b",",
        b":",
        b"%",
        b"%f",
        b"&",
        b"=",
        b"1e400",
    ];
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Mutation::Truncate),
        (index(), 0..8_u8).prop_map(|(index, bit)| Mutation::FlipBit(index, bit)),
        (index(), select(hostile)).prop_map(|(index, bytes)| Mutation::Insert(index, bytes)),
        (index(), index(), index()).prop_map(|(from, to, at)| Mutation::Repeat(from, to, at)),
        (index(), index(), index()).prop_map(|(other, from, to)| Mutation::Splice(other, from, to)),
    ]
}

/// The secret that a sample presents.
fn secret_of(sample: &Sample) -> String {
    sample.announcement().map_or_else(|| secret(&sample.function), |announcement| announcement.code.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_callback_is_refused_or_kept_as_it_is(sample in any::<Index>(), mutations in vec(any_mutation(), 1..5)) {
        let samples: Vec<Sample> = samples().into_iter().filter(|sample| sample.expect.status == 200).collect();
        let sample = sample.get(&samples);
        let bodies: Vec<(&Sample, Vec<u8>)> = samples
            .iter()
            .filter(|other| other.function == sample.function)
            .map(|other| (other, body_of(other)))
            .collect();
        let others: Vec<&Vec<u8>> = bodies.iter().map(|(_, body)| body).collect();
        let mutated = mutations.iter().fold(body_of(sample), |body, mutation| mutation.apply(body, &others));
        let (status, stored) = send(&sample.function, &with_body(sample, &mutated));
        match stored.as_slice() {
            [] => prop_assert!(takes_secret_in_body(&sample.function) && status == 401, "{}", status),
            [kept] => {
                prop_assert_eq!(status, 200);
                check_is_what_was_sent(&sample.name(), &sample.function, kept, &mutated);
                check_message(&sample.name(), kept);
            }
            more => prop_assert!(false, "{} events", more.len()),
        }

        // The same without any secret that a function takes.
        let stranger = |(other, body): &(&Sample, Vec<u8>)| {
            let (body, secret) = (body.as_slice(), secret_of(other));
            match body.windows(secret.len()).position(|window| window == secret.as_bytes()) {
                Some(at) => [&body[..at], b"?", &body[at + secret.len()..]].concat(),
                None => body.to_owned(),
            }
        };
        let bodies_of_stranger: Vec<Vec<u8>> = bodies.iter().map(stranger).collect();
        let own = stranger(&(sample, body_of(sample)));
        let mutated = mutations.iter().fold(own, |body, mutation| mutation.apply(body, &bodies_of_stranger.iter().collect::<Vec<_>>()));
        let mut event = by_stranger(&sample.function, &[]);
        event["body"] = json!(BASE64.encode(&mutated));
        check_refused(&sample.name(), &sample.function, &event, refusal(&sample.function));
    }
}

/// What a function allocates for an authentic body: all of it, from the event's text to what is stored.
fn allocated(function: &str, body: &[u8]) -> AllocationInfo {
    let sent = with_secret(function, body, &secret(function)).unwrap_or_else(|| body.to_owned());
    assert!(sent.len() <= max_body_bytes(function).unwrap(), "{function} does not even look at it");
    let event = with_body(&accepted(function), &sent).to_string();
    let store = MemoryStore::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // Only what this thread does is counted, and the runtime has no other.
    let allocated = allocation_counter::measure(|| {
        let response = runtime.block_on(answer(function, &store, &event, local_time())).unwrap();
        assert_eq!(response.status_code, 200, "{function}");
    });
    assert_eq!(store.events().len(), 1);
    allocated
}

/// As many of the same item as have room in so many bytes.
fn filled(bytes: usize, before: &str, item: &str, after: &str) -> Vec<u8> {
    let items = (bytes - before.len() - after.len()) / item.len();
    format!("{before}{}{after}", item.repeat(items)).into_bytes()
}

/// The same of items that differ.
fn numbered(bytes: usize, before: &str, item: impl Fn(usize) -> String, after: &str) -> Vec<u8> {
    let mut body = before.to_owned();
    let mut items = (0..).map(item);
    while body.len() + 64 < bytes {
        body.push_str(&items.next().unwrap());
    }
    (body + after).into_bytes()
}

/// Objects of up to so many bytes that take the most memory for each of them.
fn costly_objects(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    // Nobody signed it: its claims are read all the same, to see whose key it takes.
    let credential = |bytes: usize| {
        let claims =
            numbered(bytes, r#"{"iss":"https://wallet-gateway.example.com""#, |n| format!(r#","{n:x}":0"#), "}");
        let part = |bytes: &[u8]| BASE64URL.encode(bytes);
        let token = format!("{}.{}.{}", part(br#"{"alg":"EdDSA","kid":"x"}"#), part(&claims), part(&[0; 64]));
        format!(r#"{{"token":"{token}","status":"COMPLETED"}}"#)
    };
    // Encoded, they are a third larger.
    let bytes_of_claims = bytes * 2 / 3;
    let tokens: Vec<String> = (0..64).map(|n| format!(r#""{n}":{}"#, credential(bytes_of_claims / 64))).collect();
    let message = r#"{"type":"one-time-password","sessionId":"x","phoneNumber":"x","text":""#;
    vec![
        ("text", filled(bytes, r#"{"a":""#, "x", r#""}"#)),
        ("escapes", filled(bytes, r#"{"a":""#, r"\u0041", r#""}"#)),
        ("arrays within arrays", format!(r#"{{"a":{}}}"#, nested("[", "]", bytes / 2 - 8)).into_bytes()),
        ("arrays", filled(bytes, r#"{"a":["#, "[],", "0]}")),
        ("objects", filled(bytes, r#"{"a":["#, "{},", "0]}")),
        ("numbers", filled(bytes, r#"{"a":["#, "0,", "0]}")),
        ("members of one name", filled(bytes, r#"{"a":0"#, r#","":0"#, "}")),
        ("members", numbered(bytes, r#"{"a":0"#, |n| format!(r#","{n:x}":0"#), "}")),
        ("escaped members", numbered(bytes, r#"{"a":0"#, |n| format!(r#","\n{n:x}":0"#), "}")),
        ("a long reference", filled(bytes, r#"{"sessionId":""#, "x", r#""}"#)),
        ("a long message", filled(bytes, message, "x", r#""}"#)),
        ("credentials of one name", filled(bytes, r#"{"tokens":{"a":0"#, r#","":0"#, "}}")),
        ("credentials", numbered(bytes, r#"{"tokens":{"a":{}"#, |n| format!(r#","{n:x}":{{}}"#), "}}")),
        ("a token", format!(r#"{{"tokens":{{"1":{}}}}}"#, credential(bytes_of_claims)).into_bytes()),
        ("tokens", format!(r#"{{"tokens":{{{}}}}}"#, tokens.join(",")).into_bytes()),
    ]
}

/// The same of forms.
fn costly_forms(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let netverify = "callBackType=NETVERIFYID&jumioIdScanReference=x&verificationStatus=APPROVED_VERIFIED&";
    let with = |field: &str| format!("{netverify}{field}");
    let reasons = with(r#"rejectReason={"rejectReasonDetails":["#);
    vec![
        ("fields of one name", filled(bytes, netverify, "a&", "")),
        ("fields", numbered(bytes, netverify, |n| format!("{n:x}&"), "")),
        ("percent-encoding", filled(bytes, &with("a="), "%41", "")),
        ("percent-encoding of controls", filled(bytes, &with("a="), "%01", "")),
        ("a field with numbers", filled(bytes, &with("a=["), "0,", "0]")),
        ("a field with arrays", filled(bytes, &with("a=["), "[],", "0]")),
        ("a field with members", numbered(bytes, &with(r#"a={"a":0"#), |n| format!(r#","{n:x}":0"#), "}")),
        ("fields with objects", filled(bytes, netverify, "a={}&", "")),
        ("images", filled(bytes, &with("livenessImages=["), r#""","#, r#"""]"#)),
        ("images, one by one", filled(bytes, netverify, "livenessImages=[]&", "")),
        ("categories", filled(bytes, &with("dlCategories=["), "{},", "{}]")),
        ("reasons", filled(bytes, &reasons, "{},", "{}]}")),
        ("reasons with codes", filled(bytes, &reasons, r#"{"detailsCode":1},"#, "{}]}")),
    ]
}

/// How many bytes a function may hold at once for each byte of a body. Every reallocation counts as if it held both; the largest body takes less
/// than half of the 256 MB that a function has (template.yaml) all the same.
fn peak_per_byte(function: &str) -> u64 {
    match function {
        // Values in forms become trees, of which a node takes some 100 bytes and its text two or three.
        "jumio" => 128,
        _ => 32,
    }
}

/// What a function may hold beside that: its secrets, what it expects, its answer.
const PEAK_CONSTANT: u64 = 64 * 1024;

#[test]
fn memory_and_work_grow_no_faster_than_what_was_sent() {
    // Read from files before anything is measured.
    let _ = samples();
    for function in FUNCTIONS {
        let nothing = allocated(function, br#"{"a":0}"#);
        assert!(nothing.bytes_max <= PEAK_CONSTANT, "{function}: {nothing:?}");
        // What belongs beside the largest body has room.
        let bytes = max_body_bytes(function).unwrap() - 1024;
        let costly = if function == "jumio" { costly_forms } else { costly_objects };
        for ((name, eighth), (_, whole)) in costly(bytes / 8).into_iter().zip(costly(bytes)) {
            let (taken_by_eighth, taken) = (allocated(function, &eighth), allocated(function, &whole));
            let limit = peak_per_byte(function) * whole.len() as u64 + PEAK_CONSTANT;
            assert!(taken.bytes_max <= limit, "{name}, {function}: {} of {limit} bytes at once", taken.bytes_max);
            // Eight times as much for eight times as much, or up to twice that, as what grows by doubling may just have. 64 times would be quadratic.
            let limit = taken_by_eighth.bytes_total * 16;
            assert!(taken.bytes_total <= limit, "{name}, {function}: {} of {limit} bytes in all", taken.bytes_total);
        }
    }
}

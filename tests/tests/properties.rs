//! What holds for whatever is sent.

use model::{MessageDetail, wire};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use tests::{FUNCTIONS, authentic, contract::check_message_around_payload, message_of, samples, send, with_body};

/// Checks that a body is stored byte for byte when it is sent with the right credentials, and that its message keeps the contract.
fn is_kept_as_it_is(function: &str, body: &[u8]) -> Result<(), TestCaseError> {
    let Some(event) = authentic(function, body) else { return Ok(()) };
    let (status, stored) = send(function, &event);
    prop_assert_eq!((status, stored.len()), (200, 1));
    prop_assert_eq!(stored[0].body.as_slice(), body);
    for detail in [MessageDetail::Reference, MessageDetail::Full] {
        check_message_around_payload(message_of(&stored[0], detail));
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    // Names that the providers use, so that the parsers get further than the first field.
    let names = select(vec![
        "callbackType",
        "data",
        "verificationUuid",
        "verificationResult",
        "result",
        "reason",
        "txHash",
        "vout",
        "request_id",
        "riskAssessment",
        "chainalysisKYT",
        "chainalysisKYTAlerts",
        "refinitivWorldCheckOne",
        "dossierId",
        "processId",
        "status",
        "type",
        "tokens",
        "template_id",
        "completed",
    ]);
    let name = prop_oneof![3 => names.prop_map(str::to_owned), 1 => any::<String>()];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name.clone(), inner), 0..6).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// JSON text with the keys of every object in the order that `order` makes of them.
fn text_in_order(value: &Value, order: &mut impl FnMut(&mut Vec<&String>)) -> String {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            order(&mut keys);
            let fields = keys.into_iter().map(|key| format!("{}:{}", json!(key), text_in_order(&fields[key], order)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| text_in_order(item, order)).collect::<Vec<_>>().join(" , "))
        }
        leaf => leaf.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_authentic_body_holds_it_is_kept_as_it_is(body in vec(any::<u8>(), 0..2000)) {
        for function in FUNCTIONS {
            is_kept_as_it_is(function, &body)?;
        }
    }

    #[test]
    fn whatever_authentic_json_says_it_is_kept_as_it_is(body in any_json()) {
        let body = body.to_string().into_bytes();
        for function in FUNCTIONS {
            is_kept_as_it_is(function, &body)?;
        }
    }

    #[test]
    fn whatever_an_authentic_form_holds_it_is_kept_as_it_is(
        fields in vec((select(vec!["callBackType", "jumioIdScanReference", "verificationStatus", "identityVerification",
            "rejectReason", "idCheckHologram", "idScanStatus", "scanReference", "transaction", "document",
            "transactionReference", "transactionResult", "a%b&c=", ""]),
            prop_oneof![
                select(vec!["NETVERIFYID", "NETVERIFY_AUTHENTICATION", "APPROVED_VERIFIED", "PASSED", "null", "{}", "[]"])
                    .prop_map(str::to_owned),
                any::<String>(),
                any_json().prop_map(|json| json.to_string()),
            ]), 0..12),
    ) {
        let form = fields.iter().fold(form_urlencoded::Serializer::new(String::new()), |mut form, (key, value)| {
            form.append_pair(key, value);
            form
        }).finish();
        is_kept_as_it_is("jumio", form.as_bytes())?;

        // No key and no value is lost on its way to the parser.
        let json: Value = serde_json::from_slice(&wire::form_as_json(form.as_bytes())).unwrap();
        for (key, value) in &fields {
            let read = &json[*key];
            let is_value = |read: &Value| read == value || serde_json::from_str::<Value>(value).is_ok_and(|value| value == *read);
            prop_assert!(is_value(read) || read.as_array().is_some_and(|values| values.iter().any(is_value)), "{} {}", key, value);
        }
    }

    #[test]
    fn whatever_a_stranger_sends_it_is_refused(
        headers in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..5),
        authorization in any::<Option<String>>(),
        body in any::<Option<String>>(),
        base64 in any::<bool>(),
        source in any::<Option<String>>(),
    ) {
        let mut headers = headers;
        headers.extend(authorization.map(|value| ("Authorization".to_owned(), value)));
        let event = json!({
            "headers": headers, "body": body, "isBase64Encoded": base64,
            "requestContext": { "http": { "sourceIp": source } },
        });
        for function in FUNCTIONS {
            let (status, stored) = send(function, &event);
            prop_assert!([400, 401, 403].contains(&status));
            prop_assert!(stored.is_empty());
        }
    }

    #[test]
    fn the_order_of_keys_and_blanks_do_not_make_another_event(seed in any::<u64>()) {
        for sample in samples().into_iter().filter(|s| s.expect.event.as_ref().is_some_and(|e| e.unrecognized.is_none())) {
            let event: Value = serde_json::from_str(&sample.text).unwrap();
            let Ok(body) = serde_json::from_str::<Value>(event["body"].as_str().unwrap()) else { continue };
            let mut state = seed;
            let shuffled = text_in_order(&body, &mut |keys| {
                // Any order will do that differs from seed to seed (the constants are Knuth's).
                keys.sort_by_key(|key| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33, key.len())
                });
            });
            let (_, as_sent) = send(&sample.function, &event);
            let (_, as_shuffled) = send(&sample.function, &with_body(&sample, shuffled.as_bytes()));
            prop_assert_eq!(&as_sent[0].id, &as_shuffled[0].id, "{}", sample.name());
        }
    }
}

//! Every file in events/, through its function: what is answered, what is stored, what is sent.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cli::{
    local_secret,
    reprocess::reread,
    sample::{ExpectedEvent, Sample},
};
use jiff::SignedDuration;
use model::{Expectation, MemoryStore, MessageDetail, Retention, StoredEvent};
use providers::REGISTRATIONS;
use serde_json::{Value, json};
use tests::{
    FUNCTIONS, answer,
    contract::{check_message, check_message_around_payload},
    local_time, message_of, samples, secret_field,
};

#[tokio::test]
async fn every_sample_turns_out_as_its_file_says() {
    for function in FUNCTIONS {
        // One after the other, as the demo sends them: some are repeats of others.
        let store = MemoryStore::default();
        let samples = samples().into_iter().filter(|sample| sample.function == function);
        for (sample, second) in samples.zip(0..) {
            let before = store.events();
            let now = local_time() + SignedDuration::from_secs(second);
            let response = answer(function, &store, &sample.text, now).await.unwrap();
            let body: Value = serde_json::from_slice(response.body.unwrap().as_ref()).unwrap();
            let stored = store.events().into_iter().filter(|event| !before.contains(event));
            let stored: Vec<ExpectedEvent> = stored.map(|event| ExpectedEvent::from(&event)).collect();
            assert_eq!(
                (response.status_code, body, stored),
                (sample.expect.status.into(), sample.expect.body.clone(), Vec::from_iter(sample.expect.event.clone())),
                "{}",
                sample.name()
            );
        }
    }
}

#[tokio::test]
async fn a_sample_about_another_verification_turns_out_the_same_and_padded_too() {
    // What wallets' callbacks are about has to be announced: the local stack's test does that.
    let samples = samples().into_iter().filter(|sample| sample.announcement().is_none());
    let about_another = samples.filter_map(|sample| sample.about("another-verification"));
    let padded = about_another.clone().map(|sample| sample.padded(200_000));
    let mut functions = BTreeSet::new();
    for sample in about_another.chain(padded) {
        let event = stored(&sample).await;
        assert_eq!(Some(ExpectedEvent::from(&event)), sample.expect.event, "{}", sample.name());
        assert_eq!(event.subject, "another-verification");
        functions.insert((sample.function, event.body.len() > 200_000));
    }
    let with_secrets = REGISTRATIONS.iter().filter(|registration| registration.has_secret());
    let expected = with_secrets.flat_map(|one| [false, true].map(|is_padded| (one.function.to_owned(), is_padded)));
    assert_eq!(functions, expected.collect());
}

#[tokio::test]
async fn what_is_stored_and_sent_is_as_it_was() {
    let mut snapshots = BTreeSet::new();
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()) {
        let event = stored(&sample).await;
        let message = message_of(&event, MessageDetail::Reference);
        check_message(&serde_json::to_value(&message).unwrap());
        assert_body_is_as_it_came(&sample, &event);
        let mut item = serde_json::to_value(&event).unwrap();
        item["body"] = json!(format!("<{} bytes as they came>", event.body.len()));

        let name = sample.name().replace('/', "__");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_json_snapshot!(name.clone(), json!({ "item": item, "message": message }));
        });
        snapshots.insert(format!("{name}.snap"));
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.filter(|name| name.ends_with(".snap")).collect();
    assert_eq!(files, snapshots, "snapshots without a sample");
}

/// What a sample alone leaves behind.
async fn stored(sample: &Sample) -> StoredEvent {
    let store = MemoryStore::default();
    // A signature fits the body that the sample has now.
    let sample = sample.clone().authenticated_by(&local_secret(&sample.function), local_time()).unwrap();
    answer(&sample.function, &store, &sample.text, local_time()).await.unwrap();
    store.events().remove(0)
}

/// The body is stored byte for byte, but for a secret in it.
fn assert_body_is_as_it_came(sample: &Sample, event: &StoredEvent) {
    let sent: Value = serde_json::from_str(&sample.text).unwrap();
    let body = sent["body"].as_str().unwrap();
    let body = if sent["isBase64Encoded"] == true { BASE64.decode(body).unwrap() } else { body.as_bytes().to_vec() };
    if let Some(secret) = secret_field(&sample.function) {
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        body.as_object_mut().unwrap().remove(secret).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&event.body).unwrap(), body, "{}", sample.name());
    } else {
        assert_eq!(event.body, body, "{}", sample.name());
    }
}

#[tokio::test]
async fn a_stored_event_reads_the_same_again() {
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()) {
        let event = stored(&sample).await;
        match (reread(&event, Retention::default()), &event.unrecognized) {
            (Ok(again), None) => assert!(again == event, "{}", sample.name()),
            (Err(reason), Some(unrecognized)) => assert_eq!(&reason, unrecognized, "{}", sample.name()),
            (reread, _) => panic!("{}: {reread:?}", sample.name()),
        }
    }
}

#[tokio::test]
async fn no_message_has_a_wallet_s_code_or_its_hash() {
    let mut checked = 0;
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()) {
        let Some(announcement) = sample.announcement() else { continue };
        let event = stored(&sample).await;
        let hash = Expectation::code_hash(&announcement.code);
        assert_eq!(event.evidence["code_sha256"], *hash, "{}", sample.name());
        for detail in [MessageDetail::Reference, MessageDetail::Full] {
            let message = message_of(&event, detail);
            let text = serde_json::to_string(&message).unwrap() + &message.group_id();
            assert!(!text.contains(&announcement.code) && !text.contains(&hash), "{}: {text}", sample.name());
        }
        assert!(!event.subject.contains(&hash) && !event.id.contains(&hash), "{}", sample.name());
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}

#[tokio::test]
async fn a_full_message_carries_the_payload_as_it_came() {
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()) {
        let event = stored(&sample).await;
        let message = message_of(&event, MessageDetail::Full);
        check_message_around_payload(message.clone());
        if event.perishable {
            assert!(message.data.payload.is_none() && message.data.payload_text.is_none(), "{}", sample.name());
            continue;
        }
        check_message_around_payload(message.clone().without_payload());
        let payload = message.data.payload.map(|json| json.get().to_owned()).or(message.data.payload_text).unwrap();
        assert_eq!(payload.as_bytes(), event.body, "{}", sample.name());
    }
}

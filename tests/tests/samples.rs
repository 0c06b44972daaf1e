//! Every file in events/, through its function: what is answered, what is stored, what is sent.

use std::collections::BTreeSet;

use cli::sample::ExpectedEvent;
use model::{MemoryStore, Message, MessageDetail};
use serde_json::{Value, json};
use tests::{answer, samples};

#[tokio::test]
async fn every_sample_turns_out_as_its_file_says() {
    for sample in samples() {
        let store = MemoryStore::default();
        let response = answer(&sample.function, &store, &sample.text).await.unwrap();
        let body: Value = serde_json::from_slice(response.body.unwrap().as_ref()).unwrap();
        let stored: Vec<ExpectedEvent> = store.events().iter().map(ExpectedEvent::from).collect();
        assert_eq!(
            (response.status_code, body, stored),
            (sample.expect.status.into(), sample.expect.body.clone(), Vec::from_iter(sample.expect.event.clone())),
            "{}",
            sample.name()
        );
    }
}

#[tokio::test]
async fn what_is_stored_and_sent_is_as_it_was() {
    let mut snapshots = BTreeSet::new();
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()) {
        let store = MemoryStore::default();
        answer(&sample.function, &store, &sample.text).await.unwrap();
        let event = store.events().remove(0);
        let message = Message::new(&event, MessageDetail::Reference);

        // The body is stored as it came, and has no place in the message.
        let sent: Value = serde_json::from_str(&sample.text).unwrap();
        assert_eq!(event.body, sent["body"].as_str().unwrap().as_bytes(), "{}", sample.name());
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
    assert_eq!(
        files.filter(|name| name.ends_with(".snap")).collect::<BTreeSet<_>>(),
        snapshots,
        "snapshots without a sample"
    );
}

#[tokio::test]
async fn a_full_message_carries_the_payload_as_it_came() {
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()) {
        let store = MemoryStore::default();
        answer(&sample.function, &store, &sample.text).await.unwrap();
        let event = store.events().remove(0);
        let message = Message::new(&event, MessageDetail::Full);
        let payload = message.data.payload.map(|json| json.get().to_owned()).or(message.data.payload_text).unwrap();
        assert_eq!(payload.as_bytes(), event.body, "{}", sample.name());
    }
}

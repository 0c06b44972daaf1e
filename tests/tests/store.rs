//! The events table: what is kept, and by how many calls.

use std::sync::Arc;

use tests::{Database, answer, local_time, samples};

const PUT_ITEM: &str = "DynamoDB_20120810.PutItem";

#[tokio::test]
async fn an_authentic_callback_is_one_call_and_a_refused_one_none() {
    let database = Database::start().await;
    for sample in samples() {
        let expected: &[&str] = if sample.expect.event.is_some() { &[PUT_ITEM] } else { &[] };
        for attempt in ["fresh", "repeated"] {
            let response = answer(&sample.function, &database.store(), &sample.text).await.unwrap();
            assert_eq!(response.status_code, i64::from(sample.expect.status), "{} {attempt}", sample.name());
            assert_eq!(database.proxy.calls(), expected, "{} {attempt}", sample.name());
        }
    }
}

#[tokio::test]
async fn what_is_stored_comes_back_as_it_was() {
    let database = Database::start().await;
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()) {
        let memory = model::MemoryStore::default();
        answer(&sample.function, &memory, &sample.text).await.unwrap();
        answer(&sample.function, &database.store(), &sample.text).await.unwrap();
        let expected = memory.events().remove(0);
        let stored = database.events().await.into_iter().find(|event| event.id == expected.id).unwrap();
        assert!(stored == expected, "{}", sample.name());
        assert_eq!(stored.received_at, local_time());
    }
}

#[tokio::test]
async fn of_twenty_copies_at_the_same_instant_one_is_stored_and_all_are_acknowledged() {
    let database = Arc::new(Database::start().await);
    let sample = samples().into_iter().find(|sample| sample.name() == "verifyvasp/verification-result").unwrap();
    let copies = (0..20).map(|_| {
        let (database, sample) = (Arc::clone(&database), sample.clone());
        tokio::spawn(async move { answer(&sample.function, &database.store(), &sample.text).await.unwrap() })
    });
    for copy in copies.collect::<Vec<_>>() {
        let response = copy.await.unwrap();
        assert_eq!((response.status_code, response.body.unwrap().as_ref()), (200, br#"{"result": true}"#.as_slice()));
    }
    assert_eq!(database.events().await.len(), 1);
    assert_eq!(database.proxy.calls().iter().filter(|call| *call == PUT_ITEM).count(), 20);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_answered_503_with_the_time_to_come_again() {
    let database = Database::start().await;
    let nowhere = database.client.config().to_builder().endpoint_url("http://127.0.0.1:9").build();
    let client = aws_sdk_dynamodb::Client::from_conf(nowhere);
    let store = runtime::DynamoStore::new(client, "events".to_owned(), model::StoredEvent::DEFAULT_RETENTION);
    for sample in samples().into_iter().filter(|sample| sample.expect.event.is_some()).take(3) {
        let response = answer(&sample.function, &store, &sample.text).await.unwrap();
        assert_eq!((response.status_code, response.body.unwrap().as_ref()), (503, b"{}".as_slice()));
        assert!(response.headers.contains_key("retry-after"));
    }
}

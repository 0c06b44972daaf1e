//! DynamoDB inside the test's process, with tables like template.yaml's.

use std::collections::{BTreeMap, HashMap};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_dynamodb::{
    Client,
    config::Credentials,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType,
    },
};
use model::{CourseKey, DueRule, Message, MessageDetail, Retention, StoredEvent, Timestamp};
use publisher::Publisher;
use runtime::{DynamoCourses, DynamoErasures, DynamoExpectations, DynamoStore};
use tokio::net::TcpListener;

use crate::{Nowhere, Proxy};

/// An empty events table, behind a proxy.
#[derive(Debug)]
pub struct Database {
    /// The connection to it.
    pub client: Client,
    /// What stands before it.
    pub proxy: Proxy,
}

const TABLE: &str = "events";
const EXPECTATIONS_TABLE: &str = "expectations";
const VERIFICATIONS_TABLE: &str = "verifications";

impl Database {
    /// Starts a database. It ends with the runtime.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        let database = dynoxide::Database::memory().unwrap();
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()));
        let proxy = Proxy::start(upstream).await;
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(&proxy.endpoint_url)
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .load()
            .await;
        let client = Client::new(&config);
        create_events_table(&client).await;
        create_expectations_table(&client).await;
        create_verifications_table(&client).await;
        // What the test causes itself is counted from here.
        let _ = proxy.calls();
        Self { client, proxy }
    }

    /// The store that the functions use.
    #[must_use]
    pub fn store(&self) -> DynamoStore {
        DynamoStore::new(self.client.clone(), TABLE.to_owned(), Retention::default())
    }

    /// What is expected, as the functions see it.
    #[must_use]
    pub fn expectations(&self) -> DynamoExpectations {
        DynamoExpectations::new(self.client.clone(), EXPECTATIONS_TABLE.to_owned())
    }

    /// The courses, and what proofs stand for, as the publisher keeps them.
    #[must_use]
    pub fn courses(&self) -> DynamoCourses {
        DynamoCourses::new(self.client.clone(), VERIFICATIONS_TABLE.to_owned()).with_erasures(self.erasures())
    }

    /// What is erased, as the functions see it.
    #[must_use]
    pub fn erasures(&self) -> DynamoErasures {
        DynamoErasures::new(self.client.clone(), EXPECTATIONS_TABLE.to_owned(), TABLE.to_owned())
    }

    /// All items of the verifications table.
    pub async fn rows(&self) -> Vec<HashMap<String, AttributeValue>> {
        let scan = self.client.scan().table_name(VERIFICATIONS_TABLE).consistent_read(true);
        scan.into_paginator().items().send().try_collect().await.unwrap()
    }

    /// The same, where nobody answers.
    #[must_use]
    pub fn nowhere(&self) -> Self {
        let config = self.client.config().to_builder().endpoint_url("http://127.0.0.1:9");
        // Whoever waits for it waits no longer than the functions do.
        let config = config.retry_config(RetryConfig::disabled()).build();
        Self { client: Client::from_conf(config), proxy: self.proxy.clone() }
    }

    /// All that is stored. The parts of large bodies fill pages of their own.
    pub async fn events(&self) -> Vec<StoredEvent> {
        let scan = self.client.scan().table_name(TABLE).consistent_read(true);
        let scan = scan.filter_expression("attribute_exists(kind)").into_paginator().items();
        let items: Vec<_> = scan.send().try_collect().await.unwrap();
        serde_dynamo::from_items(items).unwrap()
    }

    /// Records that a verdict is due.
    pub async fn announce(&self, key: &CourseKey, at: Timestamp, due_at: Timestamp) {
        let event = StoredEvent::announced(key, at, Some(due_at), Retention::default());
        self.store().put_event(event).await.unwrap();
    }

    /// Lets the publisher decide about every stored event, in the order of receipt, and returns what it publishes: the
    /// same each time, and more after more events.
    pub async fn published(&self, due: BTreeMap<String, DueRule>, now: Timestamp) -> Vec<Message> {
        let publisher = Publisher {
            courses: self.courses(),
            verifications: Nowhere,
            deliveries: Nowhere,
            quarantine: Nowhere,
            detail: MessageDetail::Reference,
            due,
        };
        let mut events = self.events().await;
        events.sort_by_key(|event| (event.received_at, event.replaces.is_some()));
        let mut messages = Vec::new();
        for event in &events {
            let published = publisher.decide(&[event], now).await.remove(0).unwrap();
            messages.extend(published.map(|published| Message::new(event, &published, publisher.detail)));
        }
        messages
    }
}

fn attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
}

fn index(name: &str, hash: &str, range: &str) -> GlobalSecondaryIndex {
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .key_schema(key(hash, KeyType::Hash))
        .key_schema(key(range, KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .unwrap()
}

async fn create_expectations_table(client: &Client) {
    let table = client.create_table().table_name(EXPECTATIONS_TABLE).billing_mode(BillingMode::PayPerRequest);
    table.attribute_definitions(attribute("pk")).key_schema(key("pk", KeyType::Hash)).send().await.unwrap();
}

async fn create_verifications_table(client: &Client) {
    let table = client.create_table().table_name(VERIFICATIONS_TABLE).billing_mode(BillingMode::PayPerRequest);
    let table = table.set_attribute_definitions(Some(["pk", "sk", "due_shard", "ask_at"].map(attribute).into()));
    let table = table.global_secondary_indexes(index("by-ask-at", "due_shard", "ask_at"));
    table.key_schema(key("pk", KeyType::Hash)).key_schema(key("sk", KeyType::Range)).send().await.unwrap();
}

async fn create_events_table(client: &Client) {
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewImage);
    client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(["pk", "sk", "day", "received_at"].map(attribute).into()))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .global_secondary_indexes(index("by-day", "day", "received_at"))
        .stream_specification(stream.build().unwrap())
        .send()
        .await
        .unwrap();
}

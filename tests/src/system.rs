//! The functions of a local stack as real processes, run by the tests: the faults and the courses are tried on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use cli::{
    sample::{ExpectedEvent, Sample},
    stack::{Connections, Stack},
    tail,
};
use model::{CourseKey, Courses as _, Message, Origin, Outcome, Published, StoredEvent, Timestamp};
use reqwest::Client;
use runtime::DynamoCourses;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{Crashed, FUNCTIONS, Function, Proxy, QueueMapping, StreamMapping, receive_now};

/// The functions of a local stack, each with a proxy of its own, and what was sent to them.
#[derive(Debug)]
pub struct System<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// The connections to it, past all proxies.
    pub connections: Connections,
    /// The functions that receive callbacks.
    pub providers: BTreeMap<&'static str, Hosted>,
    /// The drain of the spill queue.
    pub drain: Hosted,
    /// The publisher.
    pub publisher: Hosted,
    /// What hands the stream over to the publisher.
    pub stream: Mutex<StreamMapping>,
    /// What hands the spill queue over to the drain.
    pub spill: QueueMapping,
    /// What is expected of each callback that was acknowledged, by its subject.
    acknowledged: BTreeMap<String, Vec<ExpectedEvent>>,
    next_subject: AtomicUsize,
}

/// A function and what stands between it and AWS.
#[derive(Debug)]
pub struct Hosted {
    /// The function.
    pub function: Function,
    /// The proxy.
    pub proxy: Proxy,
}

impl Hosted {
    /// This function of a stack.
    pub async fn of(stack: &Stack, name: &str) -> Self {
        let proxy = Proxy::start(stack.endpoint_url.clone().unwrap()).await;
        Self { function: Function::of(stack, name, &proxy.endpoint_url).await, proxy }
    }
}

/// What the provider got for a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its success.
    Acknowledged,
    /// 503, or nothing at all: it has to come again.
    ComeAgain,
}

impl<'a> System<'a> {
    /// The functions of this stack, whose event source mappings are taken over.
    pub async fn of(stack: &'a Stack) -> Self {
        let mut providers = BTreeMap::new();
        for name in FUNCTIONS {
            providers.insert(name, Hosted::of(stack, name).await);
        }
        Self {
            stack,
            connections: stack.connect().await,
            providers,
            drain: Hosted::of(stack, "spill-drain").await,
            publisher: Hosted::of(stack, "publisher").await,
            stream: Mutex::new(StreamMapping::take_over(stack).await),
            spill: QueueMapping::take_over(stack).await,
            acknowledged: BTreeMap::new(),
            next_subject: AtomicUsize::new(0),
        }
    }

    /// Callbacks of a function, of each sample that has a verdict, about one verification that no other callback is about.
    pub async fn callbacks(&self, function: &str, http: &Client) -> Vec<Sample> {
        let subject = format!("faults-{}", self.next_subject.fetch_add(1, Ordering::Relaxed));
        let samples = Sample::all_of(&cli::project_root().unwrap(), function).unwrap().into_iter();
        let mut callbacks: Vec<Sample> = Vec::new();
        for sample in samples.filter_map(|sample| sample.about(&subject)) {
            let is_news = callbacks.iter().all(|other| other.expect.event != sample.expect.event);
            if is_news && sample.expect.send == cli::sample::By::Http && callbacks.len() < 4 {
                callbacks.push(sample.prepared(http, self.stack, &self.connections).await.unwrap());
            }
        }
        assert!(!callbacks.is_empty(), "{function}");
        callbacks
    }

    /// Sends a callback to its function, received now.
    pub async fn send(&self, callback: &Sample) -> Answer {
        self.send_at(callback, runtime::now()).await
    }

    /// Sends a callback to its function, received by the gateway at this time.
    pub async fn send_at(&self, callback: &Sample, received_at: Timestamp) -> Answer {
        let mut event: Value = serde_json::from_str(&callback.text).unwrap();
        // As the gateway on this machine would say.
        event["requestContext"]["http"]["sourceIp"] = "127.0.0.1".into();
        event["requestContext"]["timeEpoch"] = received_at.as_millisecond().into();
        match self.providers[callback.function.as_str()].function.invoke(&event.to_string()).await {
            Ok(answer) if answer["statusCode"] == 200 => {
                let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
                assert_eq!(body, callback.expect.body);
                Answer::Acknowledged
            }
            Ok(answer) => {
                assert_eq!(
                    (&answer["statusCode"], &answer["body"]),
                    (&503.into(), &"{}".into()),
                    "{}",
                    callback.name()
                );
                assert!(answer["headers"]["retry-after"].is_string());
                Answer::ComeAgain
            }
            // API Gateway answers 500 for the function.
            Err(Crashed(_)) => Answer::ComeAgain,
        }
    }

    /// Notes that a callback was acknowledged, so that it is looked for.
    pub fn note(&mut self, callback: &Sample) {
        let expected = callback.expect.event.clone().unwrap();
        let of_subject = self.acknowledged.entry(expected.subject.clone()).or_default();
        if !of_subject.contains(&expected) {
            of_subject.push(expected);
        }
    }

    /// Sends what was not acknowledged until it is, as a provider that tries again would.
    pub async fn send_until_acknowledged(&mut self, callback: &Sample) {
        for _ in 0..10 {
            if self.send(callback).await == Answer::Acknowledged {
                self.note(callback);
                return;
            }
            // A secret that could not be looked up is looked up again after a while; at the start of a process, at once.
            self.providers[callback.function.as_str()].function.end().await;
        }
        panic!("{} is not acknowledged although nothing fails", callback.name());
    }

    /// Lets the drain deal with all that was spilled.
    pub async fn drain_all(&self) {
        for _ in 0..60 {
            if self.spill.run(&self.drain.function).await {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Lets the publisher deal with all that is in the stream.
    pub async fn publish_all(&self) {
        self.stream.lock().await.run(&self.publisher.function).await;
    }

    /// Lets the drain and the publisher deal with all there is, and checks what was promised: each acknowledged callback is
    /// in the table, and nothing else; what was decided about them is in the queues, word for word, at least once, in the
    /// order of its sequence; and a consumer holds the verdict at which each track stands.
    pub async fn reconcile(&mut self, what: &str) {
        self.drain_all().await;
        self.publish_all().await;

        let stored = self.stored().await;
        let mut of_subject = BTreeMap::<&str, Vec<ExpectedEvent>>::new();
        // Nobody sends announcements.
        for event in stored.iter().filter(|event| event.origin() == Origin::Callback) {
            let events = of_subject.entry(event.subject.as_str()).or_default();
            let event = ExpectedEvent::from(event);
            // Sent again, it is another item, and says the same.
            if !events.contains(&event) {
                events.push(event);
            }
        }
        for (subject, expected) in &self.acknowledged {
            let found = of_subject.remove(subject.as_str()).unwrap_or_default();
            assert!(
                found.len() == expected.len() && expected.iter().all(|event| found.contains(event)),
                "{what}: {expected:?} {found:?}"
            );
        }
        assert!(of_subject.is_empty(), "{what}: what nobody sent is stored: {of_subject:?}");

        let keys: BTreeSet<CourseKey> = stored.iter().map(CourseKey::of).collect();
        let keys: Vec<CourseKey> = keys.into_iter().collect();
        let courses = self.courses().read(&keys).await.unwrap();
        let decisions = courses.iter().flat_map(|course| &course.decisions);
        let known: BTreeSet<&str> = decisions.clone().map(|decision| decision.id.as_str()).collect();
        assert_eq!(known, stored.iter().map(|event| event.id.as_str()).collect(), "{what}: decided about all of it");
        let published: BTreeMap<&str, &Published> =
            decisions.filter_map(|decision| Some((decision.id.as_str(), decision.published.as_ref()?))).collect();

        let received = self.received().await;
        let mut bodies = BTreeMap::<&str, Value>::new();
        let mut in_order = BTreeMap::<(&str, &str), Vec<&Message>>::new();
        for message in &received {
            let body = serde_json::to_value(message).unwrap();
            let known = bodies.insert(&message.id, body.clone());
            assert!(known.as_ref().is_none_or(|known| *known == body), "{what}: {known:?} {body}");
            if known.is_none() {
                in_order.entry((&message.subject, &message.data.track)).or_default().push(message);
            }
        }
        assert_eq!(
            bodies.iter().map(|(id, body)| (*id, body["sequence"].as_str().unwrap().to_owned())).collect::<Vec<_>>(),
            published.iter().map(|(id, published)| (*id, published.sequence_text())).collect::<Vec<_>>(),
            "{what}: sent is what was decided"
        );
        for (key, course) in keys.iter().zip(&courses) {
            let messages = in_order.remove(&(key.subject.as_str(), key.track.as_str())).unwrap_or_default();
            // The queue of the deliveries has no order.
            if messages.iter().all(|message| message.expirytime.is_none()) {
                assert!(messages.is_sorted_by_key(|message| &message.sequence), "{what}: the order of {key:?}");
            }
            let mut verdicts =
                messages.iter().map(|message| message.outcome).filter(|outcome| *outcome != Outcome::None);
            let stands = course.standing(runtime::now()).outcome;
            assert_eq!(verdicts.next_back().unwrap_or(Outcome::None), stands, "{what}: {key:?}");
        }
        assert!(self.unpublished().await.is_empty(), "{what}: something was given up");
        self.clear(&stored).await;
    }

    /// The verifications table.
    #[must_use]
    pub fn courses(&self) -> DynamoCourses {
        DynamoCourses::new(self.connections.dynamodb.clone(), self.stack.verifications_table.clone())
    }

    /// All events in the table.
    pub async fn stored(&self) -> Vec<StoredEvent> {
        let scan = self.connections.dynamodb.scan().table_name(&self.stack.events_table).consistent_read(true);
        let items = scan.filter_expression("attribute_exists(kind)").into_paginator().items().send();
        let items = items.collect::<Result<Vec<_>, _>>().await.unwrap();
        items.into_iter().map(|item| serde_dynamo::from_item(item).unwrap()).collect()
    }

    /// Takes everything out of both queues.
    pub async fn received(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        for url in [&self.stack.verification_queue_url, &self.stack.delivery_queue_url] {
            messages.extend(self.take(url).await.iter().map(|body| serde_json::from_str(body).unwrap()));
        }
        messages
    }

    /// Takes everything out of the queue of what could not be published.
    pub async fn unpublished(&self) -> Vec<String> {
        self.take(&self.stack.unpublished_queue_url).await
    }

    /// Takes everything out of a queue.
    pub async fn take(&self, url: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let messages = receive_now(&self.connections, url, Duration::from_secs(60)).await;
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                tail::delete(&self.connections, url, &message).await.unwrap();
                bodies.push(message.body.unwrap());
            }
        }
    }

    /// Forgets the past, so that the next part begins with an empty table.
    pub async fn clear(&mut self, stored: &[StoredEvent]) {
        self.acknowledged.clear();
        for event in stored {
            let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
            let delete = self.connections.dynamodb.delete_item().table_name(&self.stack.events_table);
            delete.key("pk", text(&event.subject)).key("sk", text(&event.id)).send().await.unwrap();
        }
    }
}

/// A port that nobody listens on.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

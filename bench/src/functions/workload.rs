//! The events that a subject of measurement is given: those in events/, each about another verification.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cli::{
    local_secret,
    sample::Sample,
    wallet::{Announcement, Issuer},
};
use model::{Course, MemoryStore, Request, Retention, SecretPair, StoredEvent, Subject};
use serde::Serialize;
use serde_json::{Value, json};
use verifyvasp::VerifyVasp;

use super::{condition::Item, stub::Stub, subjects::Tables};

/// What becomes of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is new.
    Fresh,
    /// It is the same as one before. A function stores it as another event, the drain finds it in the table, and a peer does nothing.
    Repeat,
    /// It is not authentic.
    Refused,
    /// It is not understood.
    Unrecognized,
    /// It is new, and comes by itself where events come in batches of ten.
    Alone,
}

impl Outcome {
    /// As it is called in the report.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Repeat => "repeat",
            Self::Refused => "refused",
            Self::Unrecognized => "unrecognized",
            Self::Alone => "alone",
        }
    }
}

/// An event, and what it is answered with.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The event, as JSON.
    pub(crate) event: String,
    /// The status of the answer; none where a batch is answered without one, with no failures.
    pub(crate) status: Option<u16>,
}

/// What makes events.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Samples, by what becomes of them.
    Samples(BTreeMap<Outcome, Sample>),
    /// Announcements of codes.
    Announcements,
    /// Questions where a verification stands.
    Questions,
    /// Records of the events table's stream.
    Stream,
    /// Messages of the spill queue.
    Spilled,
    /// A schedule, at a time when nothing is due.
    Schedule,
}

/// How many events come in a batch.
pub(crate) const BATCH: usize = 10;

/// What all events of a run are made with.
pub(crate) struct Workload {
    issuer: Issuer,
    /// Each is about another verification.
    next: AtomicU64,
}

impl Workload {
    /// Events whose tokens this issuer signs.
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self { issuer, next: AtomicU64::new(1) }
    }

    /// So many new events with this outcome. What has to be announced before them is put into the table.
    pub(crate) async fn events(
        &self,
        source: &Source,
        outcome: Outcome,
        count: usize,
        stub: &Stub,
        tables: &Tables,
    ) -> anyhow::Result<Vec<Invocation>> {
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            events.push(match source {
                Source::Samples(samples) => {
                    let sample = samples.get(&outcome).context("there is no sample with that outcome")?;
                    let (event, announced) = self.varied(sample)?;
                    if let Some(announced) = announced {
                        stub.services.with_tables(|all| all.insert(tables.expectations, announced));
                    }
                    Invocation { event, status: Some(sample.expect.status) }
                }
                Source::Announcements => self.announcement(outcome),
                Source::Questions => {
                    let (question, row) = self.question().await?;
                    stub.services.with_tables(|all| all.insert(tables.verifications, row));
                    question
                }
                Source::Stream => {
                    let records = if outcome == Outcome::Alone { 1 } else { BATCH };
                    self.stream(records).await?
                }
                Source::Spilled => self.spilled().await?,
                Source::Schedule => Invocation { event: "{}".to_owned(), status: None },
            });
        }
        Ok(events)
    }

    fn subject(&self) -> String {
        format!("00000000-0000-4000-8000-{:012}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A sample about another verification, and what has to be announced before.
    fn varied(&self, sample: &Sample) -> anyhow::Result<(String, Option<Item>)> {
        let subject = self.subject();
        let mut announcement = sample.announcement().cloned();
        let mut varied = sample.clone();
        if let Some(about) = sample.about(&subject) {
            announcement = about.announcement().cloned();
            varied = about;
        } else if let Some(announcement) = &mut announcement {
            // It is known by its code alone.
            let code = format!("code-of-{subject}");
            varied.text = varied.text.replace(&announcement.code, &code);
            announcement.code = code;
        }
        let mut event: Value = serde_json::from_str(
            &varied.signed_by(&self.issuer)?.authenticated_by(&local_secret(&sample.function), runtime::now())?.text,
        )?;
        if let Some(event) = event.as_object_mut() {
            // What the gateway does not send.
            event.remove("expect");
            event.remove("wallet");
        }
        Ok((event.to_string(), announcement.as_ref().map(expectation).transpose()?))
    }

    fn announcement(&self, outcome: Outcome) -> Invocation {
        let code = self.subject();
        let (body, status) = match outcome {
            Outcome::Refused => (json!({ "purpose": "verification", "code": " " }), 400),
            _ => {
                let announcement = json!({
                    "purpose": "verification", "code": code, "state": code, "template_ids": ["1", "2"],
                });
                (announcement, 201)
            }
        };
        let event = gateway_event("PUT", "/expectations/wallet", &json!({ "provider": "wallet" }), &body.to_string());
        Invocation { event: event.to_string(), status: Some(status) }
    }

    /// A question about a verification, and the row that answers it.
    async fn question(&self) -> anyhow::Result<(Invocation, Item)> {
        let event = self.stored().await?;
        let (provider, subject) = (&event.provider, &event.subject);
        let mut course = Course::default();
        course.decide(&event, event.received_at);
        let row = item(&json!({
            "pk": format!("{provider}#{subject}"), "sk": event.track, "course": course, "version": 1,
            "expires_at": course.expires_at(),
        }))?;
        let parameters = json!({ "provider": provider, "subject": subject });
        let question = gateway_event("GET", &format!("/verifications/{provider}/{subject}"), &parameters, "");
        Ok((Invocation { event: question.to_string(), status: Some(200) }, row))
    }

    async fn stream(&self, records: usize) -> anyhow::Result<Invocation> {
        let mut inserts = Vec::with_capacity(records);
        for n in 0..records {
            let item = item(&self.stored().await?)?;
            inserts.push(json!({
                "eventID": n.to_string(), "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
                "awsRegion": "eu-central-1",
                "eventSourceARN": "arn:aws:dynamodb:eu-central-1:000000000000:table/events/stream/2026-01-31T00:00:00.000",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_769_817_600.0, "SequenceNumber": format!("{n:021}"),
                    "SizeBytes": super::dynamodb::size(&item), "StreamViewType": "NEW_IMAGE",
                    "Keys": { "pk": item.get("pk"), "sk": item.get("sk") }, "NewImage": item,
                },
            }));
        }
        Ok(Invocation { event: json!({ "Records": inserts }).to_string(), status: None })
    }

    async fn spilled(&self) -> anyhow::Result<Invocation> {
        let mut messages = Vec::with_capacity(BATCH);
        for n in 0..BATCH {
            let mut stored = self.stored().await?;
            let body = BASE64.encode(std::mem::take(&mut stored.body));
            let spilled = json!({ "item": { "event": stored }, "body": body });
            messages.push(json!({
                "messageId": n.to_string(), "receiptHandle": n.to_string(), "body": spilled.to_string(),
                "attributes": { "ApproximateReceiveCount": "1" }, "messageAttributes": {}, "md5OfBody": "",
                "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:spill",
                "awsRegion": "eu-central-1",
            }));
        }
        Ok(Invocation { event: json!({ "Records": messages }).to_string(), status: None })
    }

    /// An event as the table holds it.
    async fn stored(&self) -> anyhow::Result<StoredEvent> {
        let subject = self.subject();
        let body = json!({
            "callbackType": "VERIFICATION_RESULT",
            "data": { "verificationUuid": subject, "result": "VERIFIED", "reason": "OK", "message": "Verified." },
        });
        let request = Request::new(body.to_string()).with_header("authorization", "Bearer local-verifyvasp-secret");
        let provider = VerifyVasp::new(SecretPair::new("local-verifyvasp-secret", None)?);
        let receipt = model::receive(&provider, &MemoryStore::default(), &request, runtime::now()).await?;
        if let Some(reason) = receipt.event.unrecognized() {
            bail!("an event that is made here is not understood: {reason}");
        }
        Ok(StoredEvent::new(&receipt.event, Retention::default()))
    }
}

fn expectation(announcement: &Announcement) -> anyhow::Result<Item> {
    item(&announcement.expectation(Subject::new("announced-without-a-state")?, runtime::now())?)
}

/// A request as the gateway hands it over.
fn gateway_event(method: &str, path: &str, parameters: &Value, body: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": format!("{method} {path}"), "rawPath": path, "pathParameters": parameters,
        "headers": { "content-type": "application/json", "user-agent": "example/1.0" },
        "requestContext": { "http": { "method": method, "path": path, "sourceIp": "192.0.2.1" } },
        "body": body, "isBase64Encoded": false,
    })
}

/// Something as an item of a table, in DynamoDB's JSON.
fn item(content: &impl Serialize) -> anyhow::Result<Item> {
    let item: serde_dynamo::Item = serde_dynamo::to_item(content)?;
    match serde_json::to_value(item)? {
        Value::Object(item) => Ok(item),
        _ => bail!("an item is no object"),
    }
}

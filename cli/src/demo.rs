//! `callbacks demo`: the main job, seen from both ends.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use model::{Message, StoredEvent};
use serde::Serialize;
use serde_json::Value;

use crate::{
    local::{Folder, INTERRUPTED, Lifetime, LocalStack, interrupted},
    project_root,
    sample::{Answer, ExpectedEvent, Sample},
    stack::{Connections, Stack},
    step::step,
    tail,
};

/// Shows the main job on this machine: every sample from POST to queue.
///
/// Brings up a stack of its own, sends every file in events/ to it over HTTP, and shows for each what was answered, what was stored and
/// what was received from the queue. Exits with 1 if any of it is not what the file expects.
#[derive(Debug, Args)]
pub struct Demo {
    /// Print one JSON object a sample.
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        tokio::select! {
            code = self.show() => code,
            signal = interrupted() => signal.map(|()| INTERRUPTED.into()),
        }
    }

    async fn show(&self) -> anyhow::Result<ExitCode> {
        let samples = Sample::all(&project_root()?)?;
        let local = LocalStack::start(Folder::named("demo")?, None, Lifetime::Attached).await?;
        let courses = step("sending every sample, and receiving", courses(&local.stack, samples)).await?;
        let differing = courses.iter().filter(|course| !course.as_expected).count();
        if self.json {
            for course in &courses {
                println!("{}", serde_json::to_string(course)?);
            }
        } else {
            println!("{}", table(&courses));
        }
        if differing == 0 {
            eprintln!("{} samples, each as its file says.", courses.len());
            Ok(ExitCode::SUCCESS)
        } else {
            eprintln!("{differing} of {} samples did not turn out as their files say.", courses.len());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What came of one sample.
#[derive(Debug, Serialize)]
pub struct Course {
    /// The sample's name.
    pub sample: String,
    /// What the provider got.
    pub answered: Answer,
    /// What is in the table.
    pub stored: Vec<ExpectedEvent>,
    /// What was received from the queue.
    pub received: Vec<ExpectedEvent>,
    /// Whether all of that is what the file says.
    pub as_expected: bool,
}

/// Sends samples to an empty stack, waits for what they become, and compares.
///
/// # Errors
/// If the stack does not answer.
pub async fn courses(stack: &Stack, samples: Vec<Sample>) -> anyhow::Result<Vec<Course>> {
    let connections = stack.connect().await;
    let http = reqwest::Client::new();
    let mut answered = Vec::new();
    for sample in samples {
        let answer = sample.send(&http, stack, &stack.secrets).await?;
        answered.push((sample, answer));
    }

    let stored = stored(stack, &connections).await?;
    let received = received(stack, &connections, stored.len()).await?;
    // What nobody expects is nobody's, and makes every course suspect.
    let expected = answered.iter().filter(|(sample, _)| sample.expect.event.is_some()).count();
    let nothing_else = stored.len() == expected && received.len() == expected;

    let courses = answered.into_iter().map(|(sample, answered)| {
        let is_of_sample = |event: &&ExpectedEvent| {
            sample.expect.event.as_ref().is_some_and(|e| e.subject == event.subject && e.kind == event.kind)
        };
        let stored: Vec<_> = stored.iter().filter(is_of_sample).cloned().collect();
        let received: Vec<_> = received.iter().filter(is_of_sample).cloned().collect();
        let expected = Vec::from_iter(sample.expect.event.clone());
        let as_expected = nothing_else
            && answered.status == sample.expect.status
            && answered.body == sample.expect.body
            && stored == expected
            && received == expected;
        Course { sample: sample.name(), answered, stored, received, as_expected }
    });
    Ok(courses.collect())
}

async fn stored(stack: &Stack, connections: &Connections) -> anyhow::Result<Vec<ExpectedEvent>> {
    let mut pages = connections
        .dynamodb
        .scan()
        .table_name(&stack.events_table)
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    let mut events = Vec::new();
    while let Some(item) = pages.next().await {
        let item = item.context("failed to read the events table")?;
        let event: StoredEvent = serde_dynamo::from_item(item).context("an item is no event")?;
        events.push(ExpectedEvent::from(&event));
    }
    Ok(events)
}

/// Receives so many messages, and whatever else comes within a moment; gives up after half a minute.
async fn received(stack: &Stack, connections: &Connections, expected: usize) -> anyhow::Result<Vec<ExpectedEvent>> {
    let mut received = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let url = &stack.verification_queue_url;
        let messages = tail::receive(connections, url, Duration::from_secs(60)).await?;
        let silence = messages.is_empty();
        for message in messages {
            let body = message.body().unwrap_or_default();
            let event: Message = serde_json::from_str(body).context("a message is no CloudEvent")?;
            tail::delete(connections, url, &message).await?;
            received.insert(event.id.clone(), ExpectedEvent::from(&event));
        }
        if Instant::now() > deadline || (silence && received.len() >= expected) {
            return Ok(received.into_values().collect());
        }
    }
}

fn table(courses: &[Course]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["sample", "answered", "stored", "received from the queue", "as expected"]);
    for course in courses {
        table.add_row([
            course.sample.clone(),
            format!("{} {}", course.answered.status, shorten(&course.answered.body)),
            cell(&course.stored),
            cell(&course.received),
            if course.as_expected { "yes".to_owned() } else { "NO".to_owned() },
        ]);
    }
    table
}

fn cell(events: &[ExpectedEvent]) -> String {
    let lines = events.iter().map(|event| {
        let reasons = event.unrecognized.clone().unwrap_or_else(|| event.reasons.join(", "));
        format!("{}\n{} {reasons}", event.kind, event.outcome.as_str()).trim_end().to_owned()
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
}

fn shorten(body: &Value) -> String {
    body.to_string().chars().take(24).collect()
}

//! `callbacks demo`: the main job, seen from both ends.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use comfy_table::{Cell, Color, Table, presets::UTF8_FULL_CONDENSED};
use model::{Message, Origin, StoredEvent};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    expect,
    local::{Folder, INTERRUPTED, Lifetime, LocalStack, interrupted},
    project_root,
    provider::{Control, Played, Scenario, Setting},
    sample::{Answer, ExpectedEvent, Sample},
    selection::now,
    stack::{Connections, Stack},
    step::step,
    tail,
};

/// Show the main job on this machine: every sample from POST to queue.
///
/// Brings up a stack of its own, sends every file in events/ to it over HTTP, and shows for each what was answered, what
/// was stored and what was received from the queue. Then it announces a verdict that never comes, and is fetched from a
/// stand-in of its provider. Exits with 1 if any of it is not as expected.
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
        let fetched = step("asking for a verdict that never came", fetched(&local.stack)).await?;
        let differing = courses.iter().filter(|course| !course.as_expected).count();
        if self.json {
            for course in &courses {
                say!("{}", serde_json::to_string(course)?);
            }
            say!("{}", json!({ "fetched": fetched }));
        } else {
            say!("{}", table(&courses));
        }
        match &fetched {
            Some(ExpectedEvent { kind, outcome, .. }) => eprintln!(
                "A verdict that never came: announced, asked for when it was due, and published as {kind}, {}.",
                outcome.as_str()
            ),
            None => eprintln!("A verdict that never came was announced, and not fetched when it was due."),
        }
        if differing == 0 {
            eprintln!("{} samples, each as its file says.", courses.len());
        } else {
            eprintln!("{differing} of {} samples did not turn out as their files say.", courses.len());
        }
        Ok(if differing == 0 && fetched.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
        let sample = sample.prepared(&http, stack, &connections).await?;
        let answer = sample.send(&http, stack, &stack.secrets).await?;
        answered.push((sample, answer));
    }

    let expected = |repeats: bool| -> Vec<ExpectedEvent> {
        let samples = answered.iter().filter(|(sample, _)| repeats || !sample.expect.repeat);
        samples.filter_map(|(sample, _)| sample.expect.event.clone()).collect()
    };
    let (to_be_stored, to_be_received) = (expected(true), expected(false));
    // What was received was stored before, also where it was spilled first.
    let received = received(stack, &connections, to_be_received.len()).await?;
    let stored = stored(stack, &connections).await?;
    // What nobody expects is nobody's, and makes every course suspect.
    let nothing_else = stored.len() == to_be_stored.len() && received.len() == to_be_received.len();

    let courses = answered.iter().map(|(sample, answered)| {
        let course = |events: &[ExpectedEvent], expected: &[ExpectedEvent]| match &sample.expect.event {
            None => (Vec::new(), true),
            Some(event) => of_sample(event, events, expected),
        };
        let (stored, stored_as_expected) = course(&stored, &to_be_stored);
        let (received, received_as_expected) = match sample.expect.repeat {
            true => (Vec::new(), true),
            false => course(&received, &to_be_received),
        };
        let as_expected = nothing_else
            && stored_as_expected
            && received_as_expected
            && answered.status == sample.expect.status
            && answered.body == sample.expect.body;
        Course { sample: sample.name(), answered: answered.clone(), stored, received, as_expected }
    });
    Ok(courses.collect())
}

/// A verdict whose callback never comes: announced, due at once, and asked for. What is published of it, if it is fetched.
///
/// # Errors
/// If the stack does not answer.
async fn fetched(stack: &Stack) -> anyhow::Result<Option<ExpectedEvent>> {
    const SUBJECT: &str = "00000000-0000-4000-8000-00000000000f";
    let (connections, http) = (stack.connect().await, reqwest::Client::new());
    let stand_ins = stack.providers_url.as_deref().context("only a local stack has stand-ins of the providers")?;
    let approved = Setting {
        provider: Played::Identomat,
        subject: SUBJECT.to_owned(),
        scenario: Scenario::Approved,
        pending: 0,
        dossier: None,
    };
    Control::new(stand_ins).set(&approved).await?;
    let announcement = json!({ "subject": SUBJECT, "due_at": now() }).to_string();
    let (status, answer) = expect::put(&http, stack, &connections, "identomat", announcement).await?;
    ensure!(status == 201, "the API answered {status} to an announcement: {answer}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        // As the schedule does, which begins a minute after the deployment.
        invoke(&http, stack, "reconciler").await?;
        if let Some(message) =
            received(stack, &connections, 0).await?.into_iter().find(|event| event.subject == SUBJECT)
        {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Invokes a function of a local stack, and waits for its end.
async fn invoke(http: &reqwest::Client, stack: &Stack, function: &str) -> anyhow::Result<()> {
    let endpoint_url = stack.endpoint_url.as_deref().context("the stack is not local")?;
    let name = stack.functions.get(function).with_context(|| format!("the stack has no function {function}"))?;
    let url = format!("{endpoint_url}/2015-03-31/functions/{name}/invocations");
    let answer = http.post(url).body("{}").send().await.and_then(reqwest::Response::error_for_status);
    answer.with_context(|| format!("failed to invoke {function}"))?;
    Ok(())
}

/// What there is of an event that a sample expects, and whether it is there as often as samples expect it. If it is not there, what comes
/// near it.
fn of_sample(
    expected: &ExpectedEvent,
    events: &[ExpectedEvent],
    all_expected: &[ExpectedEvent],
) -> (Vec<ExpectedEvent>, bool) {
    let count = |events: &[ExpectedEvent]| events.iter().filter(|event| *event == expected).count();
    match count(events) {
        0 => {
            let near = events.iter().filter(|event| event.subject == expected.subject && event.kind == expected.kind);
            (near.cloned().collect(), false)
        }
        found => (vec![expected.clone()], found == count(all_expected)),
    }
}

async fn stored(stack: &Stack, connections: &Connections) -> anyhow::Result<Vec<ExpectedEvent>> {
    // Beside events, the table holds the parts of large bodies.
    let scan = connections.dynamodb.scan().table_name(&stack.events_table).consistent_read(true);
    let mut pages = scan.filter_expression("attribute_exists(kind)").into_paginator().items().send();
    let mut events = Vec::new();
    while let Some(item) = pages.next().await {
        let item = item.context("failed to read the events table")?;
        let event: StoredEvent = serde_dynamo::from_item(item).context("an item is no event")?;
        // Announcements are recorded too, and are no callbacks.
        if event.origin() == Origin::Callback {
            events.push(ExpectedEvent::from(&event));
        }
    }
    Ok(events)
}

/// Receives so many messages from both queues, and whatever else comes within a moment; gives up after half a minute.
async fn received(stack: &Stack, connections: &Connections, expected: usize) -> anyhow::Result<Vec<ExpectedEvent>> {
    let mut received = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut silence = true;
        for url in [&stack.verification_queue_url, &stack.delivery_queue_url] {
            for message in tail::receive(connections, url, Duration::from_secs(60)).await? {
                silence = false;
                let body = message.body().unwrap_or_default();
                let event: Message = serde_json::from_str(body).context("a message is no CloudEvent")?;
                tail::delete(connections, url, &message).await?;
                let delivery = *url == stack.delivery_queue_url;
                received.insert(event.id.clone(), ExpectedEvent { delivery, ..ExpectedEvent::from(&event) });
            }
        }
        if Instant::now() > deadline || (silence && received.len() >= expected) {
            return Ok(received.into_values().collect());
        }
    }
}

fn table(courses: &[Course]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["sample", "answered", "stored", "received from a queue", "as expected"]);
    for course in courses {
        table.add_row([
            Cell::new(&course.sample),
            Cell::new(format!("{} {}", course.answered.status, shorten(&course.answered.body))),
            Cell::new(cell(&course.stored)),
            Cell::new(cell(&course.received)),
            // Coloured on a terminal only.
            if course.as_expected { Cell::new("yes").fg(Color::Green) } else { Cell::new("NO").fg(Color::Red) },
        ]);
    }
    table
}

fn cell(events: &[ExpectedEvent]) -> String {
    let lines = events.iter().map(|event| {
        let reasons = event.unrecognized.clone().unwrap_or_else(|| event.reasons.join(", "));
        let verdict = if event.delivery { "to be delivered" } else { event.outcome.as_str() };
        format!("{}\n{verdict} {reasons}", event.kind).trim_end().to_owned()
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
}

fn shorten(body: &Value) -> String {
    body.to_string().chars().take(24).collect()
}

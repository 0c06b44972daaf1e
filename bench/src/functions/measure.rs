//! One run of one subject: from the start of its process to its end.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    figures::{Amounts, Batch, Run, as_f64, quantile, u64_as_f64},
    process::Process,
    quota::Quota,
    runtime_api::{Answer, RuntimeApi},
    stub::{Stub, Usage},
    subjects::{Kind, Subject, TABLES},
    workload::{Invocation, Outcome, Workload},
};

/// How much is measured in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    /// Events before anything is measured but the first one: runtimes with a just-in-time compiler need them.
    pub(crate) warm_up: usize,
    /// Events of each outcome.
    pub(crate) events: usize,
}

/// How long one event may take, and the start.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a subject is measured, and with what.
pub(crate) struct Bench<'a> {
    pub(crate) stub: &'a Stub,
    pub(crate) workload: &'a Workload,
    /// The address that subjects take for AWS.
    pub(crate) url: &'a str,
}

/// A process that is ready for events.
struct Instance<'a> {
    subject: &'a Subject,
    stub: &'a Stub,
    process: Process,
    api: RuntimeApi,
}

impl Bench<'_> {
    /// Starts a subject, gives it its events, and ends it.
    pub(crate) async fn run(&self, subject: &Subject, amount: Amount, quota: Option<&Quota>) -> anyhow::Result<Run> {
        self.run_once(subject, amount, quota).await.with_context(|| format!("failed to measure {}", subject.name))
    }

    async fn run_once(&self, subject: &Subject, amount: Amount, quota: Option<&Quota>) -> anyhow::Result<Run> {
        let Self { stub, .. } = *self;
        stub.services.reset();
        let before = stub.usage().connections;
        let mut api = RuntimeApi::start().await?;
        let mut environment = subject.environment(stub, self.url);
        environment.insert("AWS_LAMBDA_RUNTIME_API".to_owned(), api.address.to_string());

        let mut first = self.events(subject, Outcome::Fresh, 1).await?;
        let mut process = Process::start(&subject.program, &environment, quota)?;
        process.during(PATIENCE, api.polled()).await?;
        let (start_cpu, start_wall) = (process.cpu()?, process.started.elapsed());

        let mut instance = Instance { subject, stub, process, api };
        let first = first.pop().context("an event was asked for")?;
        let answer = instance.invoke(&first).await?;
        let first_cpu = instance.process.cpu()?.saturating_sub(start_cpu);
        let connections = stub.usage().connections - before;

        let warm_up = self.events(subject, Outcome::Fresh, amount.warm_up).await?;
        instance.invoke_all(&warm_up).await?;

        let mut run = Run {
            start_cpu_ms: milliseconds(start_cpu),
            start_wall_ms: milliseconds(start_wall),
            first_cpu_ms: milliseconds(first_cpu),
            first_wall_ms: milliseconds(answer.took),
            connections: u64_as_f64(connections),
            ..Run::default()
        };
        let mut fresh = Vec::new();
        for outcome in &subject.outcomes {
            let events = match outcome {
                Outcome::Repeat => fresh.clone(),
                outcome => self.events(subject, *outcome, amount.events).await?,
            };
            let batch = instance.measured(*outcome, &events).await;
            run.outcomes.insert(*outcome, batch.with_context(|| format!("with {} events", outcome.name()))?);
            if *outcome == Outcome::Fresh {
                fresh = events;
            }
        }
        run.peak_mb = u64_as_f64(instance.process.peak_memory()? / 1000) / 1000.0;
        instance.process.end().await?;
        Ok(run)
    }

    async fn events(&self, subject: &Subject, outcome: Outcome, count: usize) -> anyhow::Result<Vec<Invocation>> {
        self.workload.events(&subject.source, outcome, count, self.stub, &TABLES).await
    }
}

impl Instance<'_> {
    async fn invoke(&mut self, invocation: &Invocation) -> anyhow::Result<Answer> {
        let answer = self.process.during(PATIENCE, self.api.invoke(&invocation.event)).await?;
        check(self.subject, invocation, &answer.body)?;
        Ok(answer)
    }

    async fn invoke_all(&mut self, invocations: &[Invocation]) -> anyhow::Result<Vec<f64>> {
        let mut took = Vec::with_capacity(invocations.len());
        for invocation in invocations {
            took.push(milliseconds(self.invoke(invocation).await?.took) * 1000.0);
        }
        Ok(took)
    }

    async fn measured(&mut self, outcome: Outcome, invocations: &[Invocation]) -> anyhow::Result<Batch> {
        let written = self.process.written().await;
        let (usage, kept) = (self.stub.usage(), self.kept());
        let cpu = self.process.cpu()?;
        let mut took = self.invoke_all(invocations).await?;
        let cpu = self.process.cpu()?.saturating_sub(cpu);
        let usage = self.stub.usage().since(&usage);
        let (bytes, lines) = self.process.written().await;
        self.check_kept(outcome, invocations.len(), self.kept() - kept)?;

        let events = as_f64(invocations.len()).max(1.0);
        let mut amounts = Amounts::of(&usage, events);
        amounts.log_bytes = u64_as_f64(bytes - written.0) / events;
        amounts.log_lines = u64_as_f64(lines - written.1) / events;
        Ok(Batch {
            batch: self.subject.batch(outcome),
            cpu_us: milliseconds(cpu) * 1000.0 / events,
            wall_us: quantile(&mut took, 0.5),
            wall_p99_us: quantile(&mut took, 0.99),
            amounts,
        })
    }

    /// How many events are in the table.
    fn kept(&self) -> usize {
        self.stub.services.with_tables(|tables| tables.count(TABLES.events))
    }

    /// Nothing is measured of a function that does not do its work.
    fn check_kept(&self, outcome: Outcome, events: usize, kept: usize) -> anyhow::Result<()> {
        let is_provider = self.subject.kind == Kind::Function && self.subject.outcomes.contains(&Outcome::Unrecognized);
        let is_kept = outcome != Outcome::Refused;
        if is_provider {
            ensure!(if is_kept { kept >= events } else { kept == 0 }, "of {events} events, it kept {kept}");
        }
        Ok(())
    }
}

fn check(subject: &Subject, invocation: &Invocation, answer: &Value) -> anyhow::Result<()> {
    // A floor answers everything alike.
    if subject.kind == Kind::Floor {
        return Ok(());
    }
    match invocation.status {
        Some(status) => {
            let answered = answer.get("statusCode").and_then(Value::as_u64);
            ensure!(answered == Some(status.into()), "expected the status {status}: {answer}");
        }
        None => {
            let failures = answer.get("batchItemFailures").and_then(Value::as_array);
            // A schedule is not answered at all.
            ensure!(failures.map_or(answer.is_null(), Vec::is_empty), "expected no failures: {answer}");
        }
    }
    Ok(())
}

impl Amounts {
    fn of(usage: &Usage, events: f64) -> Self {
        let per_event = |count: u64| u64_as_f64(count) / events;
        let calls = &usage.calls;
        Self {
            calls: per_event(calls.total()),
            calls_by_operation: calls
                .by_operation
                .iter()
                .map(|(name, count)| (name.clone(), per_event(*count)))
                .collect(),
            bytes_out: per_event(usage.bytes_out),
            bytes_in: per_event(usage.bytes_in),
            write_units: per_event(calls.units.write),
            read_units: per_event(calls.units.read),
            queue_requests: per_event(calls.to_queues()),
            ..Self::default()
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

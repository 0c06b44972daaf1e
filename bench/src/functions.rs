//! `bench functions`: what each function takes, beside floors and peers.

mod artifacts;
mod bars;
mod certificates;
mod condition;
mod cost;
mod dynamodb;
mod figures;
mod machine;
mod markdown;
mod measure;
mod plot;
mod process;
mod quota;
mod report;
mod runtime_api;
mod services;
mod stub;
mod subjects;
mod workload;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use cli::{
    local::{INTERRUPTED, interrupted},
    project_root,
    wallet::{Issuer, SigningKey},
};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    artifacts::target_folder,
    figures::{Figures, Run},
    machine::Machine,
    measure::{Amount, Bench},
    quota::Quota,
    report::Report,
    services::Services,
    stub::Stub,
    subjects::{Kind, Subject},
    workload::Workload,
};

/// Measures every function's real binary against floors and peers, and writes docs/performance.md.
///
/// Each runs as on Lambda: as a process that asks a Runtime API for events, and calls AWS over TLS. Both are played by this command, which answers
/// at once and counts. Processor time, memory and time are taken from outside the process. The floors (bench/floors) are the least that can be done;
/// the peers (bench/peers) do the same work in Python and in TypeScript with Powertools for AWS Lambda. All take turns, so that what else the
/// machine does falls on all alike; each also runs with the share of a core that 128 MB bring, where control groups allow it.
///
/// Everything is built, and the peers are installed, before. On two cores that takes ten minutes, and the measurement half an hour, in which the
/// machine should have nothing else to do. For a look at one function: --only verifyvasp put-item --runs 1
#[derive(Debug, Args)]
pub struct Functions {
    /// How often everything is measured.
    #[arg(long, value_name = "N", default_value = "5")]
    runs: NonZeroUsize,
    /// How many events of each outcome a function gets in a run. Peers get a quarter, after as many to warm up.
    #[arg(long, value_name = "N", default_value = "2000")]
    events: NonZeroUsize,
    /// Measure only these: functions, floors (hello, put-item, get-put-item) and peers (python-verifyvasp, …).
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Where the report is written: performance.md, .json and .svg [default: docs, and nowhere with --only].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
    /// Measure what has been built and installed before.
    #[arg(long)]
    no_build: bool,
    /// Where the binaries are built [default: where this command was].
    #[arg(long, value_name = "FOLDER")]
    target_dir: Option<PathBuf>,
    /// Call AWS without TLS, to see what that makes of it. The report is not written.
    #[arg(long, conflicts_with = "out")]
    plain: bool,
    /// Let AWS take so long for each call: for a look at a cold start. The report is not written.
    #[arg(long, value_name = "MS", default_value = "0", conflicts_with = "out")]
    delay_ms: u64,
}

impl Functions {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        tokio::select! {
            done = self.measure() => done.map(|()| ExitCode::SUCCESS),
            // What is dropped here ends its processes.
            signal = interrupted() => signal.map(|()| INTERRUPTED.into()),
        }
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let root = project_root()?;
        let target = self.target_dir.clone().map_or_else(target_folder, Ok)?;
        let target = std::path::absolute(target)?;
        let subjects = self.chosen(subjects::all(&root, &target.join("release"))?)?;
        if !self.no_build {
            artifacts::build(&root, &target, &subjects).await?;
        }
        let figures = self.figures(&subjects, &target).await?;
        let versions = machine::versions(&root);
        let report = Report::new(Machine::this(), versions, self.runs.get(), self.events.get(), figures);
        if let Some(folder) = self.folder(&root) {
            report.write(&folder)?;
            eprintln!("The report is in {}.", folder.display());
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            println!("{}", summary(&report.figures));
        }
        Ok(())
    }

    /// Where the report goes. A part of it does not replace the whole without being asked to.
    fn folder(&self, root: &Path) -> Option<PathBuf> {
        let is_whole = self.only.is_empty() && !self.plain && self.delay_ms == 0;
        self.out.clone().or_else(|| is_whole.then(|| root.join("docs")))
    }

    fn chosen(&self, mut subjects: Vec<Subject>) -> anyhow::Result<Vec<Subject>> {
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        for name in &self.only {
            ensure!(names.contains(&name.as_str()), "there is no {name}, but there are {}", names.join(", "));
        }
        subjects.retain(|subject| self.only.is_empty() || self.only.contains(&subject.name));
        Ok(subjects)
    }

    async fn figures(&self, subjects: &[Subject], target: &Path) -> anyhow::Result<Vec<Figures>> {
        let key = SigningKey::generate("measured")?;
        let services = Services::new(key.jwks());
        let delay = Duration::from_millis(self.delay_ms);
        let stub = Stub::start(services, delay, &target.join("functions-bench")).await?;
        let issuer = Issuer {
            issuer: subjects::ISSUER.to_owned(),
            jwks_url: format!("{}/jwks.json", stub.tls_url),
            key,
            stranger: SigningKey::generate("measured")?,
        };
        let workload = Workload::new(issuer);
        let url = if self.plain { &stub.plain_url } else { &stub.tls_url };
        let bench = Bench { stub: &stub, workload: &workload, url };
        let quota = Quota::new().inspect_err(|error| eprintln!("not measured under a quota: {error:#}")).ok();

        let progress = progress(subjects.len() * self.runs.get());
        let mut runs: BTreeMap<&str, (Vec<Run>, Vec<Run>)> = BTreeMap::new();
        for _ in 0..self.runs.get() {
            for subject in subjects {
                progress.set_message(subject.name.clone());
                let (free, throttled) = runs.entry(&subject.name).or_default();
                free.push(bench.run(subject, self.amount(subject), None).await?);
                if let Some(quota) = &quota {
                    let subject = &subject.with_new_events_only();
                    throttled.push(bench.run(subject, self.throttled_amount(subject), Some(quota)).await?);
                }
                progress.inc(1);
            }
        }
        progress.finish_and_clear();
        subjects
            .iter()
            .map(|subject| {
                let (free, throttled) = runs.get(subject.name.as_str()).context("everything was measured")?;
                let mut figures = Figures::of(&subject.name, subject.kind, free, throttled);
                if let Some((bytes, zipped)) = artifacts::sizes(&subject.artifact)? {
                    figures.artifact_bytes = Some(bytes);
                    figures.zip_bytes = Some(zipped);
                }
                Ok(figures)
            })
            .collect()
    }

    fn amount(&self, subject: &Subject) -> Amount {
        let events = self.events.get();
        match subject.kind {
            Kind::Peer => Amount { warm_up: events, events: events.div_ceil(4) },
            Kind::Function | Kind::Floor => Amount { warm_up: events.div_ceil(4), events },
        }
    }

    fn throttled_amount(&self, subject: &Subject) -> Amount {
        let events = if subject.kind == Kind::Peer { 50 } else { 200 };
        Amount { warm_up: 0, events: events.min(self.events.get()) }
    }
}

fn summary(figures: &[Figures]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "",
        "start ms",
        "first ms",
        "peak MB",
        "zip MB",
        "outcome",
        "CPU µs",
        "min–max",
        "wall µs",
        "calls",
        "out B",
        "in B",
        "log B",
        "under quota ms",
    ]);
    for of in figures {
        for (outcome, event) in &of.outcomes {
            let number = |number: f64| format!("{number:.1}");
            table.add_row([
                of.name.clone(),
                number(of.start_cpu_ms.median),
                number(of.first_cpu_ms.median),
                number(of.peak_mb.median),
                of.zip_bytes.map_or_else(String::new, |bytes| format!("{:.2}", figures::u64_as_f64(bytes) / 1e6)),
                outcome.name().to_owned(),
                number(event.cpu_us.median),
                format!("{:.0}–{:.0}", event.cpu_us.min, event.cpu_us.max),
                number(event.wall_us.median),
                format!("{:.2}", event.amounts.calls),
                format!("{:.0}", event.amounts.bytes_out),
                format!("{:.0}", event.amounts.bytes_in),
                format!("{:.0}", event.amounts.log_bytes),
                of.throttled.as_ref().map_or_else(String::new, |of| {
                    format!(
                        "{:.0} {:.0} {:.1} {:.1}",
                        of.start_ms.median, of.first_ms.median, of.median_ms.median, of.p99_ms.median
                    )
                }),
            ]);
        }
    }
    table
}

fn progress(length: usize) -> ProgressBar {
    let progress = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg} ({elapsed}, about {eta} left)") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(250));
    progress
}

//! `bench load`: callbacks of all providers at once, and whether every one is accounted for.

mod found;
mod plan;
mod receive;
mod reconcile;
mod report;
mod send;
mod standing;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use cli::{
    local::{Folder, INTERRUPTED, Lifetime, LocalStack, interrupted},
    project_root,
    sample::{By, Sample},
    stack::Stack,
};
use indicatif::{ProgressBar, ProgressStyle};

use self::{found::Reader, receive::Receiver, send::Sender};
pub use self::{
    plan::Plan,
    reconcile::{Offence, OffenceKind, Reconciliation},
    report::{Answers, Latency, Report},
};

/// Loads a stack with callbacks of all providers, and reconciles what was answered, stored and received.
///
/// The callbacks are those in events/, each time about other verifications, with copies, forged ones and huge ones among them, several at the
/// same time. Nothing that was acknowledged may be missing in the table or its queue, nothing forged may be there, and every
/// verification must stand where its callbacks leave it: in the table, in the API, and with a consumer of the queue. Else it exits with 1, and
/// names what it is about. A callback that is answered 503 is sent again, as its provider would.
///
/// Without --stack it runs a stack of its own on this machine. Ctrl-C ends the sending: what was sent is reconciled, and it exits with 130 if that
/// succeeds. Ctrl-C once more ends everything at once.
#[derive(Debug, Args)]
pub struct Load {
    #[command(flatten)]
    plan: Plan,
    /// Load the deployed CloudFormation stack of this name. ONLY FOR A STACK WITHOUT OTHER CONSUMERS, such as one in a test account.
    ///
    /// It receives from the stack's queues, and takes out what is of this run. Messages that are not are left there; others get them only after
    /// the run, and they count as received once more: after five times they are dead letters. What it sends stays in the table until it expires,
    /// and costs what it costs. Jumio's callbacks are refused unless the stack's parameter JumioNetworks has the address of this machine. Wallets'
    /// callbacks with tokens are left out, as only a local stack's can be signed here.
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Load {
    pub(crate) async fn run(mut self) -> anyhow::Result<ExitCode> {
        let seed = *self.plan.seed.get_or_insert_with(any_seed);
        eprintln!("The courses are drawn by --seed {seed}.");
        let start = async {
            match &self.stack {
                Some(name) => anyhow::Ok((Stack::deployed(name).await?, None)),
                None => {
                    let local = LocalStack::start(Folder::named("load")?, None, Lifetime::Attached).await?;
                    Ok((local.stack.clone(), Some(local)))
                }
            }
        };
        // A local stack ends when it is dropped.
        let (stack, _local) = tokio::select! {
            started = start => started?,
            signal = interrupted() => return signal.map(|()| INTERRUPTED.into()),
        };
        let twice = async {
            interrupted().await?;
            interrupted().await
        };
        let report = tokio::select! {
            report = run_until(&stack, self.plan, progress(), interrupted()) => report?,
            signal = twice => return signal.map(|()| INTERRUPTED.into()),
        };
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!("{report}");
        }
        Ok(match report {
            report if !report.is_clean() => ExitCode::FAILURE,
            report if report.is_interrupted => INTERRUPTED.into(),
            _ => ExitCode::SUCCESS,
        })
    }
}

/// Short enough to be typed.
fn any_seed() -> u64 {
    fastrand::u32(..).into()
}

fn progress() -> ProgressBar {
    let progress = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {msg} ({elapsed})") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(250));
    progress
}

/// Loads a stack with what is planned, and says what came of it.
///
/// # Errors
/// If the plan cannot be carried out, or the stack's AWS does not answer. What is wrong with the stack's own answers is in the report.
pub async fn run(stack: &Stack, plan: Plan) -> anyhow::Result<Report> {
    run_until(stack, plan, ProgressBar::hidden(), std::future::pending()).await
}

async fn run_until(
    stack: &Stack,
    plan: Plan,
    progress: ProgressBar,
    stop: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Report> {
    let seed = plan.seed.unwrap_or_else(any_seed);
    // Another one at each run, with the same seed too: the table still has what was sent before.
    let prefix = format!("load-{:08x}-", fastrand::u32(..));
    let courses = plan.courses(&samples(stack)?, seed)?;
    progress.set_length(u64::try_from(plan.callbacks.get())?);
    progress.set_message("sending");

    let receiver = Receiver::start(stack, &prefix).await;
    let sender = Arc::new(Sender::new(stack, courses, &prefix, progress.clone()).await?);
    let started = Instant::now();
    let (sent, is_interrupted) = sender.send_all(plan.concurrency.get(), stop).await?;
    let sending = started.elapsed();

    let reader = Reader::new(stack).await?;
    let (received, found, until_received) = receiver.finish(&reader, &sent, &progress).await?;
    progress.finish_and_clear();

    let (functions, all) = report::answers(&sent, sending)?;
    Ok(Report {
        subjects: prefix,
        seed,
        is_interrupted,
        seconds: sending.as_secs_f64(),
        seconds_until_received: until_received.as_secs_f64(),
        not_announced: sender.unannounced(),
        functions,
        all,
        reconciliation: Reconciliation::new(&sent, &found, &received, runtime::now()),
    })
}

/// The samples that can be about any verification, and be sent to this stack.
fn samples(stack: &Stack) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Sample::all(&project_root()?)?;
    samples.retain(|sample| {
        sample.expect.send == By::Http
            && sample.about("somebody").is_some()
            && (stack.wallet.is_some() || !sample.has_tokens())
    });
    Ok(samples)
}

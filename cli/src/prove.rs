//! `callbacks prove`: the acceptance test of a deployment.

mod made;
mod probe;
mod report;

use std::{cell::RefCell, process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use model::{Outcome, Part};

use self::{made::Made, probe::Probe, report::Report};
use crate::{
    Target,
    doctor::Verdict,
    local::{INTERRUPTED, interrupted},
    parsers::parsers,
    project_root,
    sample::{By, Sample},
    stack::Stack,
    step::{Interrupt, step},
    terminal,
};

/// Prove that a deployed stack does its job.
///
/// Plays each provider against the public address: every refusal in events/, and one callback that has to be accepted,
/// stored, decided about and published. Measures how long answers and decisions take. The verifications that it is about
/// begin with `prove-`, and none of them is approved. Whatever this leaves in the tables is deleted at the end, also after
/// Ctrl-C. Needs this project's folder, and credentials that may read the stack and its secrets, call its API, and delete
/// items.
///
/// Consumers receive messages about these verifications, and those cannot be taken back. Whether a message is in the queue
/// is only looked at with --receive: then they are taken out, and consumers wait until this ends.
///
/// Exits with 1 if something is not as it should be. What cannot be found out from here is listed too, and is no failure:
/// Jumio's callbacks are accepted from Jumio's addresses only, and a deployed stack's wallet tokens cannot be signed here.
#[derive(Debug, Args)]
pub struct Prove {
    #[command(flatten)]
    target: Target,
    /// How many callbacks of each function to measure, one after the other, and at most ten at once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Only this function, such as verifyvasp; may be given several times.
    #[arg(long, value_name = "FUNCTION")]
    only: Vec<String>,
    /// Look for the messages in the queue of the verdicts, and take them out. For queues that nobody else consumes.
    #[arg(long)]
    receive: bool,
    /// Receive from the queue of a deployed stack, although consumers wait until this ends.
    #[arg(long, requires = "receive")]
    i_know_that_consumers_wait: bool,
    /// Do not ask before sending to a deployed stack.
    #[arg(long)]
    yes: bool,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// How a function is played.
#[derive(Debug)]
struct Play {
    function: String,
    /// How long its provider waits for an answer.
    answer_within: Duration,
    /// Whether it takes bodies that are stored in parts.
    takes_large_bodies: bool,
    /// What has to be accepted.
    accepted: Sample,
    refused: Vec<Sample>,
}

impl Prove {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let is_local = stack.endpoint_url.is_some();
        if self.receive && !is_local && !self.i_know_that_consumers_wait {
            bail!(
                "--receive keeps messages from the consumers of this stack until it ends. Without it, what is published is \
                 read from the tables. If nobody else consumes, or they may wait, add --i-know-that-consumers-wait"
            );
        }
        let plays = self.plays(&stack)?;
        let prefix = prefix()?;
        if !is_local && !self.yes {
            terminal::confirm(&self.warning(&stack, &plays, &prefix))?;
        }
        eprintln!("The verifications of this run begin with {prefix}");

        let (made, report) = (RefCell::new(Made::default()), RefCell::new(Report::new(&stack, &prefix)));
        let mut probe = Probe::of(&stack, &prefix, &made, &report).await?;
        // What was made is deleted, however this ends.
        let ended = tokio::select! {
            () = probe.all(&plays, self.runs) => Ok(false),
            signal = interrupted() => signal.map(|()| true),
        };
        let was_interrupted = *ended.as_ref().unwrap_or(&true);
        if self.receive && !was_interrupted {
            // Not by leaving off in the middle of a call, whose messages nobody would give back.
            let interrupt = Interrupt::listen();
            step("looking for the messages in the queue", probe.receive(&interrupt)).await?;
            report.borrow_mut().interrupted |= interrupt.came();
        }
        drop(probe);
        let mut report = report.into_inner();
        report.interrupted |= was_interrupted;
        let made = made.into_inner();
        let deleting = async { anyhow::Ok(made.delete(&stack).await) };
        report.deleted = step("deleting what it made", deleting).await?;
        ended?;

        if self.json {
            terminal::print_json(&report)?;
        } else {
            report.print();
        }
        let count = |wanted| report.findings.iter().filter(|finding| finding.finding.verdict == wanted).count();
        let (good, look, wrong) = (count(Verdict::Good), count(Verdict::Look), count(Verdict::Wrong));
        eprintln!("{good} good, {look} to look at, {wrong} wrong.");
        Ok(match wrong + report.deleted.left.len() {
            _ if report.interrupted => INTERRUPTED.into(),
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    /// The functions of this stack that receive callbacks, as far as they are wanted.
    fn plays(&self, stack: &Stack) -> anyhow::Result<Vec<Play>> {
        let root = project_root()?;
        let mut plays = Vec::new();
        for parser in parsers() {
            let function = parser.function.to_owned();
            let is_wanted = self.only.is_empty() || self.only.contains(&function);
            if !stack.routes.contains_key(&function) || !is_wanted {
                continue;
            }
            let samples = Sample::all_of(&root, &function)?;
            let accepted = least_harmful(&samples, stack.wallet.is_some());
            let accepted = accepted.with_context(|| format!("events/{function} has no sample to be accepted"))?.clone();
            let is_refused = |sample: &Sample| [401, 403].contains(&sample.expect.status);
            // What depends on the sender's address only an emulator can be told. Elsewhere, this machine has its own.
            let can_be_sent = |sample: &Sample| sample.expect.send == By::Http || stack.endpoint_url.is_some();
            let refused = samples.into_iter().filter(|sample| is_refused(sample) && can_be_sent(sample)).collect();
            let takes_large_bodies = parser.max_body_bytes >= 2 * Part::BYTES;
            let answer_within = parser.answer_within;
            plays.push(Play { function, answer_within, takes_large_bodies, accepted, refused });
        }
        match self.only.iter().find(|function| plays.iter().all(|play| play.function != **function)) {
            Some(unknown) => {
                let known: Vec<&str> = stack.routes.keys().map(String::as_str).collect();
                Err(anyhow!("the stack has no callbacks for {unknown}, only routes for {}", known.join(", ")))
            }
            None if plays.is_empty() => Err(anyhow!("the stack has no route for callbacks")),
            None => Ok(plays),
        }
    }

    /// What somebody should know before this is sent to a deployed stack.
    fn warning(&self, stack: &Stack, plays: &[Play], prefix: &str) -> String {
        let accepted = usize::from(self.runs) + probe::at_once(self.runs) + 3;
        let callbacks: usize = plays.iter().map(|play| accepted + play.refused.len()).sum();
        let mut warning = format!(
            "This sends some {callbacks} callbacks to {}, about verifications that begin with {prefix}\n\
             - Consumers receive up to {} messages about them, none of them an approval. They cannot be taken back.\n\
             - The callbacks are counted in the stack's metrics, and cost what callbacks cost.\n",
            stack.api_url,
            accepted * plays.len(),
        );
        if plays.iter().any(|play| play.accepted.has_tokens()) {
            warning.push_str("- The alarm untrusted-tokens fires: nobody here can sign a wallet's token.\n");
        }
        warning + "What it leaves in the tables is deleted at the end."
    }
}

/// The sample of a function that is sent: one that is accepted, is a verdict that no consumer takes for an approval, and
/// can be about any verification. Tokens that a deployed stack trusts cannot be signed here, so there it is one that
/// nobody trusts.
fn least_harmful(samples: &[Sample], can_sign: bool) -> Option<&Sample> {
    let untrusted = ["token_issuer".to_owned()];
    let fits = |sample: &&Sample| {
        let Some(event) = &sample.expect.event else { return false };
        sample.expect.status == 200
            && sample.expect.send == By::Http
            && !sample.expect.repeat
            && !event.delivery
            && event.unrecognized.is_none()
            && (can_sign || !sample.has_tokens() || event.reasons == untrusted)
            && sample.about("prove").is_some()
    };
    let harm = |sample: &&Sample| match sample.expect.event.as_ref().map(|event| event.outcome) {
        Some(Outcome::Rejected) => 0,
        Some(Outcome::Failed) => 1,
        Some(Outcome::Review) => 2,
        Some(Outcome::Approved) => 9,
        _ => 3,
    };
    samples.iter().filter(fits).min_by_key(harm)
}

/// What the subjects of a run begin with.
fn prefix() -> anyhow::Result<String> {
    let mut bits = [0; 4];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| anyhow!("failed to get random bits"))?;
    Ok(format!("prove-{:08x}-", u32::from_be_bytes(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_is_proven_by_an_approval_or_a_delivery() {
        let root = project_root().unwrap();
        for parser in parsers() {
            let samples = Sample::all_of(&root, parser.function).unwrap();
            for can_sign in [true, false] {
                let sample = least_harmful(&samples, can_sign).unwrap();
                let event = sample.expect.event.as_ref().unwrap();
                assert!(![Outcome::Approved, Outcome::None].contains(&event.outcome), "{}", sample.name());
                assert!(!event.delivery && event.unrecognized.is_none(), "{}", sample.name());
            }
            assert!(samples.iter().any(|sample| sample.expect.status == 401 || sample.expect.status == 403));
        }
    }

    #[test]
    fn each_run_has_subjects_of_its_own() {
        let (one, other) = (prefix().unwrap(), prefix().unwrap());
        assert!(one.starts_with("prove-") && one.len() == 15 && one != other, "{one} {other}");
    }
}

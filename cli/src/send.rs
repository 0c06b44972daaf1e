//! `callbacks send`: plays the provider.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use crate::{
    Target,
    sample::{self, Sample},
};

/// Sends samples to a stack, as the provider would.
///
/// A sample is a file like those in events/. Where it bears the local stack's secret, a deployed stack gets its own, which takes the
/// right to read it. Exits with 1 if an answer is not what the file expects.
#[derive(Debug, Args)]
pub struct Send {
    /// The samples, such as events/verifyvasp/tx-report.json.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Send nothing: print the event, announced and signed if it is a wallet's, as for `sam local invoke -e -`.
    #[arg(long, conflicts_with = "json")]
    print: bool,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object a sample.
    #[arg(long)]
    json: bool,
}

impl Send {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        // All are read before any is sent.
        let samples: Vec<Sample> = self.files.iter().map(|file| Sample::read(file)).collect::<Result<_, _>>()?;
        let stack = self.target.resolve().await?;
        let connections = stack.connect().await;
        let secrets = sample::secrets(&stack, &connections).await?;
        let http = reqwest::Client::new();
        let mut as_expected = true;
        for sample in samples {
            let sample = sample.prepared(&http, &stack, &connections).await?;
            if self.print {
                say!("{}", sample.text);
                continue;
            }
            let answer = sample.send(&http, &stack, &secrets).await?;
            let expected = sample.expects(&answer);
            as_expected &= expected;
            if self.json {
                say!("{}", json!({ "sample": sample.name(), "answer": answer, "as_expected": expected }));
            } else {
                let note = if expected { "" } else { "  (not what the file expects)" };
                say!("{}  {} {}{note}", sample.name(), answer.status, answer.body);
            }
        }
        Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

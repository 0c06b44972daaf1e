//! `callbacks examples`: a curl command for each route.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{
    Target, project_root,
    sample::Sample,
    stack::{Connections, Stack},
};

/// Print a curl command for each route of the local stack.
///
/// A wallet's code is announced first, so that its command works as it is printed. `callbacks send` sends samples to a
/// deployed stack.
#[derive(Debug, Args)]
pub struct Examples {
    /// Only these routes, such as verifyvasp.
    #[arg(value_name = "ROUTE")]
    routes: Vec<String>,
    #[command(flatten)]
    target: Target,
}

impl Examples {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        if stack.endpoint_url.is_none() {
            bail!(
                "examples have the local stack's secrets: use `callbacks send FILE… --stack NAME` with a deployed one"
            );
        }
        let connections = stack.connect().await;
        let names = if self.routes.is_empty() { stack.routes.keys().cloned().collect() } else { self.routes };
        for (n, name) in names.iter().enumerate() {
            let gap = if n == 0 { "" } else { "\n" };
            say!("{gap}# {name}\n{}", curl(&stack, &connections, name).await?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A curl command for a route.
async fn curl(stack: &Stack, connections: &Connections, name: &str) -> anyhow::Result<String> {
    let url = stack.url(name)?;
    let signed = format!("--user test:test --aws-sigv4 aws:amz:{}:execute-api", stack.region);
    match name {
        "expectations" => {
            let url = url.replace("{provider}", "wallet");
            let announcement = r#"{"purpose": "verification", "code": "example-code", "state": "example-state"}"#;
            Ok(format!("curl -i -X PUT {url} {signed} --data-binary '{announcement}'"))
        }
        "verifications" => {
            let url = url.replace("{provider}", "verifyvasp").replace("{subject}", "example");
            Ok(format!("curl -i {url} {signed}"))
        }
        _ => {
            let samples = Sample::all_of(&project_root()?, name)?;
            let sample = samples.into_iter().find(|sample| sample.expect.status == 200);
            let sample = sample.context("a route without samples")?;
            sample.prepared(&reqwest::Client::new(), stack, connections).await?.curl(stack)
        }
    }
}

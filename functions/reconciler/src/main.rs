//! The Lambda function that looks after verdicts that do not come.

use std::{process::ExitCode, time::Duration};

use jiff::SignedDuration;
use providers::wallet_verification::issuers::TrustedIssuers;
use reconciler::{
    Reconciler,
    sources::{Fetchers, Sources},
};
use runtime::Aws;

/// How long a run goes on. Lambda ends it after a minute, and the next one begins then.
const RUN: SignedDuration = SignedDuration::from_secs(45);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Duration::from_secs(10)).await;
        let retention = aws.retention()?;
        let (issuers, fetchers) = tokio::try_join!(TrustedIssuers::from_env(&aws), Fetchers::from_env(&aws))?;
        let reconciler = Reconciler {
            dues: aws.courses()?,
            events: aws.event_store()?,
            source: Sources { issuers, fetchers, retention },
            retention,
        };
        runtime::on_schedule(async || {
            let until = runtime::now().saturating_add(RUN).unwrap_or_else(|_| runtime::now());
            reconciler.reconcile(runtime::now, until).await;
        })
        .await
    })
    .await
}

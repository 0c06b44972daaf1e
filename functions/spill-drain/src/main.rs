//! The Lambda function that drains the spill queue.

use std::{process::ExitCode, time::Duration};

use runtime::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Duration::from_secs(10)).await;
        let (store, erasures, queue) = (aws.event_store()?, aws.erasures()?, aws.spill_queue()?);
        let drain = |messages| spill_drain::drain(&store, &erasures, messages, runtime::now());
        runtime::consume_queue(&queue, drain).await
    })
    .await
}

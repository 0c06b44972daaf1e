//! The Lambda function that drains the spill queue.

use std::{process::ExitCode, time::Duration};

use runtime::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Duration::from_secs(10)).await;
        let (store, queue) = (aws.event_store()?, aws.spill_queue()?);
        runtime::consume_queue(&queue, |messages| spill_drain::drain(&store, messages, runtime::now())).await
    })
    .await
}

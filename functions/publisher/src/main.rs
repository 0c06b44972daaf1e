//! The Lambda function that publishes what comes into the events table.

use std::{process::ExitCode, time::Duration};

use runtime::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Duration::from_secs(20)).await;
        let (queue, detail) = (aws.verification_queue()?, aws.message_detail()?);
        runtime::consume(|records| publisher::publish(&queue, detail, records)).await
    })
    .await
}

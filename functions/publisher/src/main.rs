//! The Lambda function that publishes what comes into the events table.

use std::{process::ExitCode, time::Duration};

use publisher::Publisher;
use runtime::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Duration::from_secs(20)).await;
        let publisher = Publisher {
            courses: aws.courses()?.with_erasures(aws.erasures()?),
            verifications: aws.verification_queue()?,
            deliveries: aws.delivery_queue()?,
            quarantine: aws.unpublished_queue()?,
            detail: aws.message_detail()?,
            due: aws.due_rules()?,
        };
        runtime::consume(|records| publisher.publish(records, runtime::now())).await
    })
    .await
}

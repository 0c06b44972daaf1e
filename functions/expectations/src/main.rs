//! The Lambda function for announcements of what is expected.

use std::{process::ExitCode, time::Duration};

use expectations::Announcements;
use runtime::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Duration::from_secs(5)).await;
        let announcements = Announcements {
            expectations: aws.expectations()?,
            events: aws.event_store()?,
            providers: aws.providers()?,
            retention: aws.retention()?,
        };
        runtime::serve_http(|request| announcements.answer(request, runtime::now())).await
    })
    .await
}

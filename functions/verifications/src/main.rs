//! The Lambda function that says where a verification stands.

use std::{process::ExitCode, time::Duration};

use runtime::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let courses = Aws::within(Duration::from_secs(5)).await.courses()?;
        runtime::serve_http(|request| verifications::answer(&courses, request, runtime::now())).await
    })
    .await
}

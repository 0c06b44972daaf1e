//! The Lambda function for announcements of what is expected.

use std::{process::ExitCode, time::Duration};

use runtime::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let expectations = Aws::within(Duration::from_secs(5)).await.expectations()?;
        runtime::serve_http(|request| expectations::answer(&expectations, request, runtime::now())).await
    })
    .await
}

//! The Lambda function for Veriff's webhooks.

use std::process::ExitCode;

use model::Provider as _;
use runtime::{Aws, Secrets};
use veriff::Veriff;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Veriff::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(Veriff::new(secret), store).await
    })
    .await
}

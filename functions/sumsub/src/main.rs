//! The Lambda function for Sumsub's webhooks.

use std::process::ExitCode;

use model::Provider as _;
use runtime::{Aws, Secrets};
use sumsub::Sumsub;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Sumsub::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(Sumsub::new(secret), store).await
    })
    .await
}

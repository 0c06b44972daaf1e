//! The Lambda function for VerifyVASP's callbacks.

use std::process::ExitCode;

use model::Provider as _;
use runtime::{Aws, Secrets};
use verifyvasp::VerifyVasp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(VerifyVasp::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(VerifyVasp::new(secret).in_header(aws.authorization_header()?), store).await
    })
    .await
}

//! The Lambda function for Onfido's webhooks.

use std::process::ExitCode;

use model::Provider as _;
use onfido::Onfido;
use runtime::{Aws, Secrets};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Onfido::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(Onfido::new(secret), store).await
    })
    .await
}

//! The Lambda function for Persona's webhooks.

use std::process::ExitCode;

use model::Provider as _;
use persona::Persona;
use runtime::{Aws, Secrets};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Persona::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(Persona::new(secret), store).await
    })
    .await
}

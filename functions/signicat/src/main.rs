//! The Lambda function for Signicat Assure's notifications.

use std::process::ExitCode;

use model::Provider as _;
use runtime::{Aws, Secrets};
use signicat::Signicat;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Signicat::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(Signicat::new(secret), store).await
    })
    .await
}

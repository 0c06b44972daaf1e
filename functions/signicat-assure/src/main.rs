//! The Lambda function for Signicat Assure's notifications.

use std::process::ExitCode;

use model::Provider as _;
use runtime::{Aws, Secrets};
use signicat_assure::SignicatAssure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(SignicatAssure::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(SignicatAssure::new(secret), store).await
    })
    .await
}

//! The Lambda function for Identomat's callbacks.

use std::process::ExitCode;

use identomat::Identomat;
use model::Provider as _;
use runtime::{Aws, Secrets};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Identomat::<Secrets>::ANSWER_WITHIN).await;
        let (secret, store) = tokio::try_join!(aws.secret(), aws.spilling_store())?;
        runtime::serve(Identomat::new(secret), store).await
    })
    .await
}

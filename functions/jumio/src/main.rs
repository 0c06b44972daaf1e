//! The Lambda function for Jumio's callbacks.

use std::process::ExitCode;

use jumio::Jumio;
use model::Provider as _;
use runtime::{AllowedNetworks, Aws, Secrets};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(Jumio::<AllowedNetworks, Secrets>::ANSWER_WITHIN).await;
        let networks = aws.allowed_networks(&jumio::ADDRESSES, &jumio::HOSTS);
        let (networks, secret, store) = tokio::try_join!(networks, aws.secret(), aws.spilling_store())?;
        runtime::serve(Jumio::new(networks, secret), store).await
    })
    .await
}

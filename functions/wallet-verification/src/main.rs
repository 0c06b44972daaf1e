//! The Lambda function for the wallet gateway's callbacks about verifications.

use std::process::ExitCode;

use model::Provider as _;
use runtime::{Aws, DynamoExpectations};
use wallet_verification::{WalletVerification, issuers::TrustedIssuers};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(WalletVerification::<DynamoExpectations>::ANSWER_WITHIN).await;
        let (issuers, store) = tokio::try_join!(TrustedIssuers::from_env(&aws), aws.spilling_store())?;
        runtime::serve(WalletVerification::new(aws.expectations()?, issuers), store).await
    })
    .await
}

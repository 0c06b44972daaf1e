//! The Lambda function for the wallet gateway's callbacks about issuances.

use std::process::ExitCode;

use model::Provider as _;
use runtime::{Aws, DynamoExpectations};
use wallet_issuance::WalletIssuance;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::run(async {
        let aws = Aws::within(WalletIssuance::<DynamoExpectations>::ANSWER_WITHIN).await;
        runtime::serve(WalletIssuance::new(aws.expectations()?), aws.spilling_store().await?).await
    })
    .await
}

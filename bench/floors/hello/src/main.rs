//! The lowest floor: what `lambda_runtime` alone costs. It answers each event and does nothing.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::{Serialize, de::IgnoredAny};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    body: &'static str,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let answer = |_: LambdaEvent<IgnoredAny>| async { Ok::<_, Error>(Answer { status_code: 200, body: "{}" }) };
    lambda_runtime::run(service_fn(answer)).await
}

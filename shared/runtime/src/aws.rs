//! The connections of one function.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use model::MessageDetail;

use crate::{DynamoStore, Error, Secrets, SqsQueue, config};

/// AWS, as the environment describes it, with the patience that its callers have.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    budget: Duration,
}

impl Aws {
    /// AWS for a function that has to answer within this time. One call may take two thirds of it, attempts and pauses included,
    /// so that there is time to say that it failed.
    pub async fn within(budget: Duration) -> Self {
        let operation = budget * 2 / 3;
        let attempt = (operation / 2).min(Duration::from_secs(2));
        let config = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(attempt)
                    .operation_attempt_timeout(attempt)
                    .operation_timeout(operation)
                    .build(),
            )
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(25)))
            .load()
            .await;
        Self { config, budget }
    }

    /// The events table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn event_store(&self) -> Result<DynamoStore, Error> {
        let table = config::EVENTS_TABLE.require()?;
        Ok(DynamoStore::new(aws_sdk_dynamodb::Client::new(&self.config), table, config::event_retention()?))
    }

    /// The provider's secret that the environment names, looked up once.
    ///
    /// # Errors
    /// If it names none, or one in the environment that is none. One that cannot be looked up now is no error: it is looked up
    /// again when it is needed.
    pub async fn secret(&self) -> Result<Secrets, Error> {
        let client = aws_sdk_secretsmanager::Client::new(&self.config);
        // A rotated secret must be found out, and the event kept, before the provider gives up.
        Secrets::load(client, config::secret()?, self.budget / 4).await
    }

    /// The queue for verdicts that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn verification_queue(&self) -> Result<SqsQueue, Error> {
        Ok(SqsQueue::new(aws_sdk_sqs::Client::new(&self.config), config::VERIFICATION_QUEUE_URL.require()?))
    }

    /// What messages carry.
    ///
    /// # Errors
    /// If the environment says something else than `reference` or `full`.
    pub fn message_detail(&self) -> Result<MessageDetail, Error> {
        match config::MESSAGE_DETAIL.get() {
            None => Ok(MessageDetail::default()),
            Some(text) => Ok(text.parse().map_err(|problem: String| config::MESSAGE_DETAIL.invalid(problem))?),
        }
    }
}

//! The connections of one function.

use std::{net::IpAddr, time::Duration};

use aws_config::{
    BehaviorVersion, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use ipnet::IpNet;
use model::MessageDetail;
use serde::de::DeserializeOwned;

use crate::{
    AllowedNetworks, Cached, DynamoCourses, DynamoExpectations, DynamoStore, Error, InternalQueue, Secrets,
    SpillingStore, SqsQueue, Vault, config, http::now,
};

/// AWS, as the environment describes it, with the patience that its callers have.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    budget: Duration,
}

impl Aws {
    /// AWS for a function whose callers wait for so long. Of what is left of that for its own work, a call may take two fifths, attempts and
    /// pauses included, so that there is time for another way when it fails.
    pub async fn within(answer_within: Duration) -> Self {
        let budget = time_to_work(answer_within);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts(budget * 2 / 5))
            // An attempt ends in time, whether its bytes trickle or not.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(25)))
            .load()
            .await;
        Self { config, budget }
    }

    /// The events table that the environment names, with the spill queue behind it: what the table does not take in time, the queue
    /// gets.
    ///
    /// # Errors
    /// If the environment does not name both.
    pub fn spilling_store(&self) -> Result<SpillingStore, Error> {
        Ok(SpillingStore::new(self.event_store()?, self.spill_queue()?, config::retention()?, self.budget * 2 / 5))
    }

    /// The spill queue that the environment names. It is the last resort of a callback, so it has less time than the table.
    ///
    /// # Errors
    /// If it names none.
    pub fn spill_queue(&self) -> Result<InternalQueue, Error> {
        let config = aws_sdk_sqs::config::Builder::from(&self.config).timeout_config(timeouts(self.budget / 4)).build();
        Ok(InternalQueue::new(aws_sdk_sqs::Client::from_conf(config), config::SPILL_QUEUE_URL.require()?))
    }

    /// The events table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn event_store(&self) -> Result<DynamoStore, Error> {
        let table = config::EVENTS_TABLE.require()?;
        Ok(DynamoStore::new(aws_sdk_dynamodb::Client::new(&self.config), table, config::retention()?))
    }

    /// The verifications table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn courses(&self) -> Result<DynamoCourses, Error> {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        Ok(DynamoCourses::new(client, config::VERIFICATIONS_TABLE.require()?))
    }

    /// The expectations table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn expectations(&self) -> Result<DynamoExpectations, Error> {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        Ok(DynamoExpectations::new(client, config::EXPECTATIONS_TABLE.require()?))
    }

    /// The issuers that the environment names, as JSON, to be read by who knows what an issuer is.
    ///
    /// # Errors
    /// If it names none, or they are not understood.
    pub fn issuers<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = config::ISSUERS.require()?;
        Ok(serde_json::from_str(&text)
            .map_err(|error| config::ISSUERS.invalid(format!("is not understood ({error})")))?)
    }

    /// The provider's secret that the environment names, looked up once.
    ///
    /// # Errors
    /// If it names none, or one in the environment that is none. One that cannot be looked up now is no error: it is looked up
    /// again when it is needed.
    pub async fn secret(&self) -> Result<Secrets, Error> {
        // At the start nobody waits yet; later, it is waited for no longer than the patience lasts.
        let config = aws_sdk_secretsmanager::config::Builder::from(&self.config);
        let config = config.timeout_config(timeouts(Duration::from_secs(4))).build();
        let vault = Vault::open(aws_sdk_secretsmanager::Client::from_conf(config), config::secret()?)?;
        Ok(Cached::new(vault, self.patience()).filled(now()).await)
    }

    /// The networks that the environment names, or else these addresses. The addresses that these hosts have now are allowed too if the
    /// environment says so.
    ///
    /// # Errors
    /// If the environment names something else.
    pub async fn allowed_networks(
        &self,
        addresses: &[IpAddr],
        hosts: &'static [&'static str],
    ) -> Result<AllowedNetworks, Error> {
        let fixed = match config::allowed_networks()? {
            Some(networks) => networks,
            None => addresses.iter().copied().map(IpNet::from).collect(),
        };
        let hosts = if config::resolve_hosts()? { hosts } else { &[] };
        Ok(AllowedNetworks::new(fixed, hosts, self.patience()).await)
    }

    /// How long a look-up may take while a provider waits: what it finds must be used, and the event kept, before the provider gives up.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.budget / 5
    }

    /// The queue for verdicts that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn verification_queue(&self) -> Result<SqsQueue, Error> {
        Ok(SqsQueue::new(aws_sdk_sqs::Client::new(&self.config), config::VERIFICATION_QUEUE_URL.require()?))
    }

    /// The queue for passwords and links that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn delivery_queue(&self) -> Result<SqsQueue, Error> {
        Ok(SqsQueue::new(aws_sdk_sqs::Client::new(&self.config), config::DELIVERY_QUEUE_URL.require()?))
    }

    /// The queue for what cannot be published that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn unpublished_queue(&self) -> Result<InternalQueue, Error> {
        Ok(InternalQueue::new(aws_sdk_sqs::Client::new(&self.config), config::UNPUBLISHED_QUEUE_URL.require()?))
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

/// What is left of a caller's patience for the function's own work. The rest goes to what the function cannot see: the network, the gateway, and at a
/// cold start what Lambda does before it starts the process.
pub(crate) fn time_to_work(answer_within: Duration) -> Duration {
    answer_within.saturating_sub(Duration::from_millis(200))
}

/// Limits for a call that may take so long in all: each attempt gets half of it.
fn timeouts(operation: Duration) -> TimeoutConfig {
    let attempt = (operation / 2).min(Duration::from_secs(2));
    TimeoutConfig::builder()
        .connect_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

//! The connections of one function.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use aws_config::{
    BehaviorVersion, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use ipnet::IpNet;
use model::{DueRule, MessageDetail, Retention};
use serde::de::DeserializeOwned;

use crate::{
    AllowedNetworks, Cached, CredentialVault, DynamoCourses, DynamoErasures, DynamoExpectations, DynamoPauses,
    DynamoStore, Error, Hosts, Https, InternalQueue, LookUp, Secrets, SpillingStore, SqsQueue, UserAgent, Vault,
    config, config::Retrieval, connections::Connections, http::now,
};

/// AWS, as the environment describes it, with time limits that follow from the caller's.
///
/// Of what the caller allows, 200 ms go to what a function cannot see. A fifth of the rest is for
/// look-ups, two fifths are for the table, and a quarter is for the spill queue, attempts and
/// pauses included. The start of a process gets half of it, and at most 4 s: look-ups and
/// connections, all at the same time.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    connections: Connections,
    budget: Duration,
}

impl Aws {
    /// AWS for a function whose callers wait this long. A call may take two fifths of the time for
    /// the function's own work, attempts and pauses included. This leaves time to spill when it
    /// fails.
    pub async fn within(answer_within: Duration) -> Self {
        let budget = time_to_work(answer_within);
        let connections = Connections::new();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(connections.client())
            .timeout_config(in_two_attempts(budget * 2 / 5))
            // Each attempt has a time limit already, also when its bytes arrive slowly.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(25)))
            .load()
            .await;
        Self { config, connections, budget }
    }

    /// The events table that the environment names, with the spill queue behind it: the queue gets
    /// the events that the table does not accept in time. Opens the connections to both, so that
    /// the first callback does not wait for that.
    ///
    /// # Errors
    /// If the environment does not name both.
    pub async fn spilling_store(&self) -> Result<SpillingStore, Error> {
        let (table, queue) = (self.event_store()?, self.spill_queue()?);
        let store = SpillingStore::new(table, queue, config::retention()?, self.budget * 2 / 5);
        tokio::join!(self.open(self.dynamodb_url().await), self.open(self.sqs_url().await));
        Ok(store)
    }

    /// Opens a connection within the time limit of the start. If that fails, the first call opens
    /// one or reports the error.
    async fn open(&self, endpoint_url: Option<String>) {
        if let Some(endpoint_url) = endpoint_url {
            let _ = tokio::time::timeout(self.patience_at_start(), self.connections.open(&endpoint_url)).await;
        }
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config).interceptor(UserAgent);
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::from_conf(self.sqs_config().build())
    }

    fn sqs_config(&self) -> aws_sdk_sqs::config::Builder {
        aws_sdk_sqs::config::Builder::from(&self.config).interceptor(UserAgent)
    }

    /// The address that the SDK's client uses for DynamoDB.
    async fn dynamodb_url(&self) -> Option<String> {
        use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
        let params = Params::builder()
            .set_region(self.config.region().map(ToString::to_string))
            .set_endpoint(self.config.endpoint_url().map(str::to_owned))
            .set_use_fips(self.config.use_fips())
            .set_use_dual_stack(self.config.use_dual_stack());
        let endpoint = DefaultResolver::new().resolve_endpoint(&params.build().ok()?).await.ok()?;
        Some(endpoint.url().to_owned())
    }

    /// The address that the SDK's client uses for SQS.
    async fn sqs_url(&self) -> Option<String> {
        use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
        let params = Params::builder()
            .set_region(self.config.region().map(ToString::to_string))
            .set_endpoint(self.config.endpoint_url().map(str::to_owned))
            .set_use_fips(self.config.use_fips())
            .set_use_dual_stack(self.config.use_dual_stack());
        let endpoint = DefaultResolver::new().resolve_endpoint(&params.build().ok()?).await.ok()?;
        Some(endpoint.url().to_owned())
    }

    /// The spill queue that the environment names. It comes after the table, so it has less time.
    ///
    /// # Errors
    /// If it names none.
    pub fn spill_queue(&self) -> Result<InternalQueue, Error> {
        let config = self.sqs_config().timeout_config(in_two_attempts(self.budget / 4)).build();
        Ok(InternalQueue::new(aws_sdk_sqs::Client::from_conf(config), config::SPILL_QUEUE_URL.require()?))
    }

    /// The events table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn event_store(&self) -> Result<DynamoStore, Error> {
        let table = config::EVENTS_TABLE.require()?;
        Ok(DynamoStore::new(self.dynamodb(), table, config::retention()?))
    }

    /// The verifications table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn courses(&self) -> Result<DynamoCourses, Error> {
        Ok(DynamoCourses::new(self.dynamodb(), config::VERIFICATIONS_TABLE.require()?))
    }

    /// The list of erased verifications, in the expectations table that the environment names.
    ///
    /// # Errors
    /// If it names no such table, or no events table.
    pub fn erasures(&self) -> Result<DynamoErasures, Error> {
        let (expectations, events) = (config::EXPECTATIONS_TABLE.require()?, config::EVENTS_TABLE.require()?);
        Ok(DynamoErasures::new(self.dynamodb(), expectations, events))
    }

    /// The pauses of providers, in the verifications table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn pauses(&self) -> Result<DynamoPauses, Error> {
        Ok(DynamoPauses::new(self.dynamodb(), config::VERIFICATIONS_TABLE.require()?))
    }

    /// When verdicts are due that were not announced, by provider.
    ///
    /// # Errors
    /// If what the environment says is not understood.
    pub fn due_rules(&self) -> Result<BTreeMap<String, DueRule>, Error> {
        Ok(config::due_rules_from_env()?)
    }

    /// The names of the providers that are deployed.
    ///
    /// # Errors
    /// If the environment names none.
    pub fn providers(&self) -> Result<Vec<String>, Error> {
        Ok(config::PROVIDERS.require()?.split(',').map(|name| name.trim().to_owned()).collect())
    }

    /// How long events are stored.
    ///
    /// # Errors
    /// If what the environment says is not understood.
    pub fn retention(&self) -> Result<Retention, Error> {
        Ok(config::retention()?)
    }

    /// The expectations table that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn expectations(&self) -> Result<DynamoExpectations, Error> {
        Ok(DynamoExpectations::new(self.dynamodb(), config::EXPECTATIONS_TABLE.require()?))
    }

    /// The issuers that the environment names, as JSON. The caller knows the type.
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
    /// If it names none, or one in the environment that is invalid. A secret that cannot be looked
    /// up now is not an error: it is looked up again when it is needed.
    pub async fn secret(&self) -> Result<Secrets, Error> {
        let vault = Vault::open(self.secrets_manager(), config::secret(&config::SECRET)?)?;
        Ok(self.looked_up(vault).await)
    }

    /// The base address for asking this provider for verdicts. None if it is not asked.
    ///
    /// # Errors
    /// If the environment names an address that is not allowed: see
    /// [`Questions`](crate::Questions).
    pub fn retrieval_url(&self, provider: &str, is_own_network: bool) -> Result<Option<String>, Error> {
        let Retrieval { url: variable, .. } = Retrieval::of(provider);
        let Some(url) = variable.get() else { return Ok(None) };
        if Https::fetches(&url) || is_own_network && url.starts_with("http://") {
            Ok(Some(url))
        } else {
            Err(variable.invalid("does not begin with https://").into())
        }
    }

    /// The credentials for asking this provider, looked up once.
    ///
    /// # Errors
    /// As for a provider's [secret](Self::secret).
    pub async fn retrieval_credentials<C>(&self, provider: &str) -> Result<Cached<CredentialVault<C>>, Error>
    where
        C: DeserializeOwned + Clone + PartialEq + Send + Sync,
    {
        let Retrieval { secret, .. } = Retrieval::of(provider);
        let vault = CredentialVault::open(self.secrets_manager(), config::secret(&secret)?)?;
        Ok(self.looked_up(vault).await)
    }

    fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        // At the start, one attempt may take all of the time: a second one would open another
        // connection. Later, a look-up has the usual time limit.
        let time = self.patience_at_start();
        let config = aws_sdk_secretsmanager::config::Builder::from(&self.config);
        let config = config.timeout_config(timeouts(time, time.min(LONGEST_ATTEMPT))).build();
        aws_sdk_secretsmanager::Client::from_conf(config)
    }

    /// This source's value, looked up once within the time limit of the start. A failure is not an
    /// error: the value is looked up again when it is needed.
    pub async fn looked_up<L: LookUp>(&self, source: L) -> Cached<L> {
        Cached::new(source, self.patience()).filled(now(), self.patience_at_start()).await
    }

    /// The name of the header in which the provider presents its secret: the one that the
    /// environment names, or `authorization`.
    ///
    /// # Errors
    /// If the environment names an invalid header.
    pub fn authorization_header(&self) -> Result<String, Error> {
        Ok(config::authorization_header()?)
    }

    /// The networks that the environment names, or these addresses. The current addresses of these
    /// hosts are allowed too if the environment says so.
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
        let hosts = if config::resolve_hosts()? { Some(self.looked_up(Hosts(hosts)).await) } else { None };
        Ok(AllowedNetworks::new(fixed, hosts))
    }

    /// How long a look-up may take while a provider waits: afterwards there must be time to use it
    /// and to store the event.
    fn patience(&self) -> Duration {
        self.budget / 5
    }

    /// How long the start may take in total, so everything is done at the same time. The provider
    /// whose callback started the process is waiting, and the callback needs the other half. Lambda
    /// allows 10 s.
    fn patience_at_start(&self) -> Duration {
        (self.budget / 2).min(Duration::from_secs(4))
    }

    /// The queue for verdicts that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn verification_queue(&self) -> Result<SqsQueue, Error> {
        Ok(SqsQueue::new(self.sqs(), config::VERIFICATION_QUEUE_URL.require()?))
    }

    /// The queue for passwords and links that the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn delivery_queue(&self) -> Result<SqsQueue, Error> {
        Ok(SqsQueue::new(self.sqs(), config::DELIVERY_QUEUE_URL.require()?))
    }

    /// The queue for records that cannot be published, which the environment names.
    ///
    /// # Errors
    /// If it names none.
    pub fn unpublished_queue(&self) -> Result<InternalQueue, Error> {
        Ok(InternalQueue::new(self.sqs(), config::UNPUBLISHED_QUEUE_URL.require()?))
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

/// The part of a caller's time limit for the function's own work. The rest goes to what the
/// function cannot see: the network, the gateway, and at a cold start what Lambda does before it
/// starts the process.
pub(crate) fn time_to_work(answer_within: Duration) -> Duration {
    answer_within.saturating_sub(Duration::from_millis(200))
}

/// The longest time for an attempt, even if there is more.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(2);

/// Limits for a call that may take this long in total: each attempt gets half of it.
fn in_two_attempts(operation: Duration) -> TimeoutConfig {
    timeouts(operation, (operation / 2).min(LONGEST_ATTEMPT))
}

/// Limits for a call and for each of its attempts. Connecting is a part of the attempt.
fn timeouts(operation: Duration, attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(attempt).operation_timeout(operation).build()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    struct Silent;

    impl LookUp for Silent {
        type Value = ();
        const WHAT: &'static str = "silence";

        async fn look_up(&self) -> Result<(), Error> {
            std::future::pending().await
        }
    }

    fn within(answer_within: Duration) -> Aws {
        let config = SdkConfig::builder().build();
        Aws { config, connections: Connections::new(), budget: time_to_work(answer_within) }
    }

    #[tokio::test(start_paused = true)]
    async fn look_ups_at_the_start_share_half_of_what_the_provider_gives_and_at_most_four_seconds() {
        for (seconds, expected) in [(1, 400), (5, 2400), (10, 4000), (20, 4000)] {
            let aws = within(Duration::from_secs(seconds));
            let began = Instant::now();
            tokio::join!(aws.looked_up(Silent), aws.looked_up(Silent), aws.looked_up(Silent));
            assert_eq!(began.elapsed(), Duration::from_millis(expected), "{seconds} s");
        }
    }

    #[tokio::test]
    async fn connections_are_opened_to_where_the_clients_of_the_sdk_call() {
        let mut aws = within(Duration::from_secs(1));
        aws.config = SdkConfig::builder().region(aws_config::Region::new("eu-central-1")).build();
        assert_eq!(aws.dynamodb_url().await.unwrap(), "https://dynamodb.eu-central-1.amazonaws.com");
        assert_eq!(aws.sqs_url().await.unwrap(), "https://sqs.eu-central-1.amazonaws.com");
        aws.config = aws.config.into_builder().endpoint_url("http://localhost:4566").build();
        assert_eq!(aws.dynamodb_url().await.unwrap(), "http://localhost:4566");
        assert_eq!(aws.sqs_url().await.unwrap(), "http://localhost:4566");
    }
}

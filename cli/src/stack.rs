//! A stack, local or deployed: where its parts are.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, SharedCredentialsProvider, error::CredentialsError},
};
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use jiff::SignedDuration;
use model::{Retention, Retrieval};
use providers::REGISTRATIONS;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{deploy::local_secret, wallet::Wallet};

/// The region that the local stack says it is in.
pub(crate) const LOCAL_REGION: &str = "eu-central-1";

/// What the names of the secrets end with by which providers are asked.
const RETRIEVAL: &str = "-retrieval";

/// What to do without a region.
const NO_REGION: &str = "no AWS region: set AWS_REGION, or AWS_PROFILE to a profile that has one";

/// What to do without credentials. The sign-ins of the AWS CLI are not known here, but it hands out what they give.
const SIGN_IN: &str = "set AWS_PROFILE to a profile that has some, or AWS_ACCESS_KEY_ID and \
                       AWS_SECRET_ACCESS_KEY. If you sign in with `aws sso \
                       login` or `aws login`, run: eval \"$(aws configure export-credentials --format env)\"";

/// Where the parts of a stack are. `callbacks local` writes it to target/local/stack.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    /// The version that was deployed.
    pub version: String,
    /// Where the API is. A route's whole URL is this and then the route.
    pub api_url: String,
    /// Where AWS is, for a local stack.
    pub endpoint_url: Option<String>,
    /// The region.
    pub region: String,
    /// The path of each function's route, by the function's name.
    pub routes: BTreeMap<String, String>,
    /// The name that each function has in Lambda.
    pub functions: BTreeMap<String, String>,
    /// The name that each function has in the template, as `sam local invoke` takes it.
    pub function_ids: BTreeMap<String, String>,
    /// The log group that each function writes to, by the function's name; that of the API's access log is `access`.
    #[serde(default)]
    pub log_groups: BTreeMap<String, String>,
    /// What requests have to say in `Host`, if not what their URL says.
    pub host_header: Option<String>,
    /// The table that keeps the events.
    pub events_table: String,
    /// The table that keeps what is expected.
    pub expectations_table: String,
    /// The table that keeps where verifications stand.
    pub verifications_table: String,
    /// For how many days events are kept.
    pub event_retention_days: i64,
    /// For how many seconds passwords and links are kept, and may be delivered.
    pub perishable_seconds: i64,
    /// What messages carry: `reference` or `full`.
    pub message_detail: String,
    /// After how many seconds a verdict that is not final is due, for each provider.
    #[serde(default)]
    pub due_after: String,
    /// The providers that are asked for verdicts.
    #[serde(default)]
    pub fetched: String,
    /// The FIFO queue with the verdicts.
    pub verification_queue_url: String,
    /// Verdicts that could not be consumed.
    pub verification_dead_letters_url: String,
    /// The queue with passwords and links to be sent.
    pub delivery_queue_url: String,
    /// Requests that could not be consumed.
    pub delivery_dead_letters_url: String,
    /// Events that the table did not take, on their way into it.
    pub spill_queue_url: String,
    /// Those that it did not take for long.
    pub spill_dead_letters_url: String,
    /// Records of the stream that could not be published.
    pub unpublished_queue_url: String,
    /// The providers' secrets by the functions' names: in a local stack themselves, in a deployed one where they are.
    pub secrets: BTreeMap<String, String>,
    /// The providers' secrets in Secrets Manager, by the functions' names.
    #[serde(default)]
    pub secret_ids: BTreeMap<String, String>,
    /// What a local stack trusts as the wallet gateway.
    pub wallet: Option<Wallet>,
    /// Where the stand-ins of the providers are, for a local stack.
    #[serde(default)]
    pub providers_url: Option<String>,
}

impl Stack {
    /// The deployed stack of this name, in the account and region that the environment is set up for.
    ///
    /// # Errors
    /// If there is none, or it is none of ours.
    pub async fn deployed(name: &str) -> anyhow::Result<Self> {
        let connections = Connections::deployed().await;
        let region = connections.region.clone().context(NO_REGION)?;
        connections.credentials().await?;
        let resources = Resources::of(&connections, name)
            .await
            .with_context(|| format!("failed to look up the stack {name} in the region {region}"))?;
        let api_url = reachable(resources.output("ApiUrl")?);
        let routes = resources.routes()?.iter().map(|route| (route.name(), route.public_path())).collect();
        resources.stack(api_url, None, region, routes, resources.secrets())
    }

    /// The stack that is written in this file.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("failed to understand {}", file.display()))
    }

    /// The URL of a function's route.
    ///
    /// # Errors
    /// If the stack has no such function.
    pub fn url(&self, function: &str) -> anyhow::Result<String> {
        let path = self.routes.get(function).with_context(|| {
            let known: Vec<&str> = self.routes.keys().map(String::as_str).collect();
            format!("the stack has no route for {function}, only for {}", known.join(", "))
        })?;
        Ok(format!("{}{path}", self.api_url))
    }

    /// The name of a function in the template, as `sam local invoke` takes it.
    pub(crate) fn function_id(&self, function: &str) -> anyhow::Result<&str> {
        let id = self.function_ids.get(function).map(String::as_str);
        id.with_context(|| format!("the stack has no function {function}"))
    }

    /// The same stack, with its API at another address.
    pub(crate) fn with_api_at(&self, api_url: String) -> Self {
        Self { api_url, ..self.clone() }
    }

    /// How long its events are kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            events: SignedDuration::from_hours(self.event_retention_days.saturating_mul(24)),
            perishables: SignedDuration::from_secs(self.perishable_seconds),
        }
    }

    /// The connections to the stack's AWS.
    pub async fn connect(&self) -> Connections {
        match &self.endpoint_url {
            Some(endpoint_url) => Connections::local(endpoint_url).await,
            None => Connections::deployed().await,
        }
    }
}

/// The connections that the commands need.
#[derive(Debug, Clone)]
pub struct Connections {
    /// To the stacks.
    pub cloudformation: aws_sdk_cloudformation::Client,
    /// To the logs.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// To the events.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// To the stream of their table.
    pub streams: aws_sdk_dynamodbstreams::Client,
    /// To the secrets.
    pub secrets_manager: aws_sdk_secretsmanager::Client,
    /// To the queues.
    pub sqs: aws_sdk_sqs::Client,
    region: Option<String>,
    credentials: Option<SharedCredentialsProvider>,
}

impl Connections {
    /// The credentials that calls are signed with.
    pub(crate) async fn credentials(&self) -> anyhow::Result<Credentials> {
        let Some(provider) = &self.credentials else { bail!("no AWS credentials: {SIGN_IN}") };
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(credentials),
            Err(CredentialsError::CredentialsNotLoaded(_)) => bail!("no AWS credentials: {SIGN_IN}"),
            Err(error) => {
                let cause = format!("{:#}", anyhow::Error::from(error));
                // The last place that is asked, which only EC2 has: all others had none.
                if cause.contains("IMDS") {
                    bail!("no AWS credentials: {SIGN_IN}");
                }
                let cause = cause.trim_end_matches(['.', ' ']);
                bail!("failed to load AWS credentials: {cause}. To load them another way, {SIGN_IN}")
            }
        }
    }

    pub(crate) async fn local(endpoint_url: &str) -> Self {
        let credentials = Credentials::new("test", "test", None, None, "local");
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(LOCAL_REGION))
            .endpoint_url(endpoint_url)
            .credentials_provider(credentials);
        Self::from(&loader.load().await)
    }

    async fn deployed() -> Self {
        Self::from(&aws_config::load_defaults(BehaviorVersion::latest()).await)
    }

    fn from(config: &aws_config::SdkConfig) -> Self {
        Self {
            cloudformation: aws_sdk_cloudformation::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            streams: aws_sdk_dynamodbstreams::Client::new(config),
            secrets_manager: aws_sdk_secretsmanager::Client::new(config),
            sqs: aws_sdk_sqs::Client::new(config),
            region: config.region().map(ToString::to_string),
            credentials: config.credentials_provider(),
        }
    }
}

/// One route of the API.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The function's logical id, such as `jumioFunction`.
    pub(crate) function: String,
    /// Whether callers have to sign for AWS.
    pub(crate) is_signed: bool,
}

impl Route {
    /// The path as callers know it: that a variable takes the rest of a path is the gateway's affair.
    fn public_path(&self) -> String {
        self.path.replace("+}", "}")
    }

    /// The function's name, such as `signicat`.
    fn name(&self) -> String {
        kebab_case(self.function.trim_end_matches("Function"))
    }
}

/// What CloudFormation knows of a stack.
#[derive(Debug)]
pub(crate) struct Resources {
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
    /// Type and physical id, by logical id.
    resources: BTreeMap<String, (String, String)>,
    template: Value,
}

impl Resources {
    pub(crate) async fn of(connections: &Connections, stack: &str) -> anyhow::Result<Self> {
        let cloudformation = &connections.cloudformation;
        let stacks = cloudformation.describe_stacks().stack_name(stack).send().await.map_err(explained)?;
        let outputs = stacks
            .stacks()
            .iter()
            .flat_map(|stack| stack.outputs())
            .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
        let parameters = stacks.stacks().iter().flat_map(|stack| stack.parameters()).filter_map(|parameter| {
            Some((parameter.parameter_key()?.to_owned(), parameter.parameter_value()?.to_owned()))
        });
        // DescribeStackResources would leave out all after the hundredth.
        let listed = cloudformation.list_stack_resources().stack_name(stack).into_paginator().items().send();
        let listed = listed.collect::<Result<Vec<_>, _>>().await.map_err(explained)?;
        let resources = listed.iter().filter_map(|resource| {
            let id = resource.physical_resource_id()?.to_owned();
            Some((resource.logical_resource_id()?.to_owned(), (resource.resource_type()?.to_owned(), id)))
        });
        let template = cloudformation
            .get_template()
            .stack_name(stack)
            .template_stage(aws_sdk_cloudformation::types::TemplateStage::Processed)
            .send()
            .await
            .map_err(explained)?;
        let template = serde_json::from_str(template.template_body().unwrap_or_default())
            .context("failed to read the processed template")?;
        Ok(Self {
            outputs: outputs.collect(),
            parameters: parameters.collect(),
            resources: resources.collect(),
            template,
        })
    }

    pub(crate) fn output(&self, name: &str) -> anyhow::Result<String> {
        self.outputs.get(name).cloned().with_context(|| format!("the stack has no output {name}: is it an older one?"))
    }

    fn parameter(&self, name: &str) -> anyhow::Result<&str> {
        let value = self.parameters.get(name).map(String::as_str);
        value.with_context(|| format!("the stack has no parameter {name}: is it an older one?"))
    }

    /// The providers that are asked for verdicts, with commas between them.
    fn fetched(&self) -> String {
        let is_set = |retrieval: Retrieval| self.parameter(retrieval.parameter).is_ok_and(|url| !url.is_empty());
        let asked = REGISTRATIONS.iter().filter(|registration| registration.settings.retrieval.is_some_and(is_set));
        asked.map(|registration| registration.provider).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn physical_id(&self, logical_id: &str) -> anyhow::Result<&str> {
        match self.resources.get(logical_id) {
            Some((_, id)) => Ok(id),
            None => bail!("the stack has no resource {logical_id}"),
        }
    }

    pub(crate) fn api_id(&self) -> anyhow::Result<&str> {
        self.physical_id("Api")
    }

    /// The routes that SAM wrote into the API, of the functions that there are.
    pub(crate) fn routes(&self) -> anyhow::Result<Vec<Route>> {
        let paths = self.template.pointer("/Resources/Api/Properties/Body/paths").and_then(Value::as_object);
        let mut routes = Vec::new();
        for (path, methods) in paths.context("the stack's template has no API with routes")? {
            for (method, operation) in if_it_is(methods).as_object().into_iter().flatten() {
                let operation = if_it_is(operation);
                let uri = operation.pointer("/x-amazon-apigateway-integration/uri").map(if_it_is);
                let function = uri
                    .and_then(|uri| uri.get("Fn::Sub")?.as_str()?.split_once("functions/${"))
                    .and_then(|(_, rest)| rest.split_once(".Arn}"))
                    .with_context(|| format!("the route {path} leads to no function"))?;
                if !self.resources.contains_key(function.0) {
                    continue;
                }
                routes.push(Route {
                    method: method.to_ascii_uppercase(),
                    path: path.clone(),
                    function: function.0.to_owned(),
                    is_signed: operation.get("security").is_some(),
                });
            }
        }
        Ok(routes)
    }

    /// The tables, and the properties that the template gives them.
    pub(crate) fn tables(&self) -> anyhow::Result<Vec<(&str, &Value)>> {
        let tables = self.resources.iter().filter(|(_, (kind, _))| kind == "AWS::DynamoDB::Table");
        tables
            .map(|(logical_id, (_, id))| {
                let properties = self.template.pointer(&format!("/Resources/{logical_id}/Properties"));
                Ok((id.as_str(), properties.with_context(|| format!("the template has no {logical_id}"))?))
            })
            .collect()
    }

    /// The names of the functions in Lambda, by the functions' names.
    fn functions(&self) -> BTreeMap<String, String> {
        self.all_of("AWS::Lambda::Function", "Function")
    }

    /// The names of the functions in the template, by the functions' names.
    fn function_ids(&self) -> BTreeMap<String, String> {
        let functions = self.resources.iter().filter(|(_, (kind, _))| kind == "AWS::Lambda::Function");
        functions.map(|(id, _)| (kebab_case(id.trim_end_matches("Function")), id.clone())).collect()
    }

    /// The ids of the secrets of callbacks, by the functions' names.
    pub(crate) fn secrets(&self) -> BTreeMap<String, String> {
        let mut secrets = self.all_of("AWS::SecretsManager::Secret", "Secret");
        secrets.retain(|name, _| !name.ends_with(RETRIEVAL));
        secrets
    }

    /// The ids of the secrets with which providers are asked, by the providers' names.
    pub(crate) fn retrieval_secrets(&self) -> BTreeMap<String, String> {
        let secrets = self.all_of("AWS::SecretsManager::Secret", "Secret").into_iter();
        secrets.filter_map(|(name, id)| Some((name.strip_suffix(RETRIEVAL)?.to_owned(), id))).collect()
    }

    /// The physical ids of all resources of a type, by the names of the functions to which they belong: the logical ids without their ending.
    fn all_of(&self, resource_type: &str, ending: &str) -> BTreeMap<String, String> {
        let resources = self.resources.iter().filter(|(_, (kind, _))| kind == resource_type);
        resources.map(|(logical_id, (_, id))| (kebab_case(logical_id.trim_end_matches(ending)), id.clone())).collect()
    }

    /// The stack that these make, at this address.
    pub(crate) fn stack(
        &self,
        api_url: String,
        endpoint_url: Option<String>,
        region: String,
        routes: BTreeMap<String, String>,
        secrets: BTreeMap<String, String>,
    ) -> anyhow::Result<Stack> {
        Ok(Stack {
            version: self.output("Version")?,
            api_url,
            endpoint_url,
            region,
            routes,
            functions: self.functions(),
            function_ids: self.function_ids(),
            log_groups: self.all_of("AWS::Logs::LogGroup", "Logs"),
            host_header: None,
            events_table: self.output("EventsTable")?,
            expectations_table: self.output("ExpectationsTable")?,
            verifications_table: self.output("VerificationsTable")?,
            event_retention_days: self.parameter("EventRetentionDays")?.parse()?,
            perishable_seconds: self.parameter("PerishableSeconds")?.parse()?,
            message_detail: self.parameter("MessageDetail")?.to_owned(),
            due_after: self.parameter("DueAfter").unwrap_or_default().to_owned(),
            fetched: self.fetched(),
            verification_queue_url: self.output("VerificationQueueUrl")?,
            verification_dead_letters_url: self.output("VerificationDeadLettersUrl")?,
            delivery_queue_url: self.output("DeliveryQueueUrl")?,
            delivery_dead_letters_url: self.output("DeliveryDeadLettersUrl")?,
            spill_queue_url: self.output("SpillQueueUrl")?,
            spill_dead_letters_url: self.output("SpillDeadLettersUrl")?,
            unpublished_queue_url: self.output("UnpublishedQueueUrl")?,
            secrets,
            secret_ids: self.secrets(),
            wallet: None,
            providers_url: None,
        })
    }

    /// The stack that these make on the emulator.
    pub(crate) fn local_stack(&self, endpoint_url: &str) -> anyhow::Result<Stack> {
        // Below / (cli/python/emulator.py), so that they stay the same whatever id the API has.
        let routes = self.routes()?.into_iter().map(|route| {
            let path = route.public_path().replace("{secret}", &local_secret(&route.name()));
            (route.name(), path)
        });
        let secrets = self.secrets().into_keys().map(|name| {
            let secret = local_secret(&name);
            (name, secret)
        });
        let endpoint = Some(endpoint_url.to_owned());
        self.stack(endpoint_url.to_owned(), endpoint, LOCAL_REGION.to_owned(), routes.collect(), secrets.collect())
    }
}

/// Why CloudFormation did not answer, and the way out.
fn explained<E, R>(error: SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let said = (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned());
    let cause = match error {
        // Its own text is its code and the request's id.
        SdkError::ServiceError(_) => anyhow::anyhow!("{}: {}", said.0, said.1),
        error => anyhow::Error::from(error),
    };
    cause.context(way_out(&said.0, &said.1))
}

/// What to do if CloudFormation answers with this code and message. Without a code, it did not answer.
fn way_out(code: &str, message: &str) -> &'static str {
    match code {
        "" => "AWS does not answer: is there a network, and is the region spelt right?",
        "ValidationError" if message.contains("does not exist") => {
            "there is no such stack: do AWS_PROFILE and AWS_REGION name the account and the region where it is deployed?"
        }
        "AccessDenied" | "AccessDeniedException" => {
            "may you call cloudformation:DescribeStacks, ListStackResources and GetTemplate?"
        }
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            "the AWS credentials have expired: sign in again"
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" | "AuthFailure" => {
            "AWS does not accept the credentials: are they of this account, and is this machine's clock right?"
        }
        _ => "CloudFormation answered with an error",
    }
}

/// The address at which an API can be reached. The emulator gives its own a name that few machines resolve, and serves its routes at its
/// own address too (cli/python/emulator.py): a stack on it is used as a deployed one to rehearse that.
fn reachable(api_url: String) -> String {
    match api_url.split_once(".execute-api.localhost") {
        Some((_, port)) => format!("http://localhost{port}"),
        None => api_url,
    }
}

/// What a part of the template is if its condition, should it have one, holds.
fn if_it_is(value: &Value) -> &Value {
    value.get("Fn::If").and_then(|branches| branches.get(1)).unwrap_or(value)
}

/// `WalletIssuance` as `wallet-issuance`, `jumio` as it is: a logical id as the name of the function's folder.
fn kebab_case(pascal_case: &str) -> String {
    let mut kebab = String::new();
    for c in pascal_case.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulators_api_is_reached_at_its_own_address() {
        let deployed = "https://0123456789.execute-api.eu-central-1.amazonaws.com";
        for (api_url, reached) in
            [("http://0a1b2c3d.execute-api.localhost:4566", "http://localhost:4566"), (deployed, deployed)]
        {
            assert_eq!(reachable(api_url.to_owned()), reached);
        }
    }

    #[test]
    fn what_cloudformation_answers_leads_to_a_way_out() {
        for (code, message, way) in [
            ("ValidationError", "Stack with id example does not exist", "AWS_REGION"),
            ("ValidationError", "1 validation error detected", "answered with an error"),
            ("AccessDenied", "User is not authorized", "cloudformation:DescribeStacks"),
            ("ExpiredToken", "The security token is expired", "sign in again"),
            ("InvalidClientTokenId", "The security token is invalid", "does not accept the credentials"),
            ("", "", "is there a network"),
        ] {
            assert!(way_out(code, message).contains(way), "{code}");
        }
    }

    #[test]
    fn a_logical_id_leads_to_the_functions_name() {
        for (id, name) in [("jumio", "jumio"), ("WalletIssuance", "wallet-issuance")] {
            assert_eq!(kebab_case(id), name);
        }
    }
}

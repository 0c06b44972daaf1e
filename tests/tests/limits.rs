//! AWS's limits, on template.yaml as CloudFormation gets it, with all that can be in it. The emulator has none.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::template::{self, STACK_NAME};

/// Something of which there may be only so much.
struct Limit {
    what: String,
    found: usize,
    at_most: usize,
    /// Where AWS says so.
    document: &'static str,
}

const CLOUDFORMATION: &str =
    "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html";
const PARAMETERS: &str =
    "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html";
const OUTPUTS: &str = "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/outputs-section-structure.html";
const IAM: &str = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html";
const KMS: &str = "https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html";
const CREATE_KEY: &str = "https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html";
const CREATE_ALIAS: &str = "https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html";
const QUEUES: &str = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html";
const QUEUE_POLICIES: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html";
const LAMBDA: &str = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html";
const CREATE_FUNCTION: &str = "https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html";
const FILTER: &str = "https://docs.aws.amazon.com/lambda/latest/api/API_Filter.html";
const QUEUES_OF_FUNCTIONS: &str = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html";
const CLOUDWATCH: &str = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html";
const PUT_ALARM: &str = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html";
const PUT_DASHBOARD: &str =
    "https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-dashboard.html";
const CREATE_LOG_GROUP: &str =
    "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html";
const PUT_QUERY: &str =
    "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutQueryDefinition.html";
const CREATE_SECRET: &str = "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html";
const CREATE_TABLE: &str = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html";
const CREATE_POLICY: &str = "https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html";
const HTTP_API: &str = "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html";

/// The names that the template gives: CloudFormation makes the others, and keeps them short enough.
const NAMES: [(&str, &str, usize, &str); 9] = [
    ("AWS::CloudWatch::Alarm", "AlarmName", 255, PUT_ALARM),
    ("AWS::CloudWatch::Dashboard", "DashboardName", 255, PUT_DASHBOARD),
    ("AWS::DynamoDB::Table", "TableName", 255, CREATE_TABLE),
    ("AWS::IAM::Role", "RoleName", 64, IAM),
    ("AWS::KMS::Alias", "AliasName", 256, CREATE_ALIAS),
    ("AWS::Lambda::Function", "FunctionName", 64, CREATE_FUNCTION),
    ("AWS::Logs::LogGroup", "LogGroupName", 512, CREATE_LOG_GROUP),
    ("AWS::Logs::QueryDefinition", "Name", 255, PUT_QUERY),
    ("AWS::SQS::Queue", "QueueName", 80, QUEUES),
];

const TEXTS: [(&str, &str, usize, &str); 6] = [
    ("AWS::CloudWatch::Alarm", "AlarmDescription", 1_024, PUT_ALARM),
    ("AWS::IAM::ManagedPolicy", "Description", 1_000, CREATE_POLICY),
    ("AWS::KMS::Key", "Description", 8_192, CREATE_KEY),
    ("AWS::Lambda::Function", "Description", 256, CREATE_FUNCTION),
    ("AWS::Logs::QueryDefinition", "QueryString", 10_000, PUT_QUERY),
    ("AWS::SecretsManager::Secret", "Description", 2_048, CREATE_SECRET),
];

#[tokio::test]
async fn the_template_with_everything_in_it_is_within_the_limits_of_aws() {
    let template = template::everything_on().await;
    let resources = template::resources(template).unwrap();
    let mut limits = Vec::new();
    of_cloudformation(template, &mut limits);
    of_policies(&resources, &mut limits);
    of_texts(&resources, &mut limits);
    of_functions(&resources, &mut limits);
    of_metrics(&resources, &mut limits);
    of_the_api(&resources, &mut limits);
    let exceeded = limits.iter().filter(|limit| limit.found > limit.at_most);
    let exceeded: Vec<String> = exceeded
        .map(|Limit { what, found, at_most, document }| format!("{what}: {found} of {at_most} ({document})"))
        .collect();
    assert!(exceeded.is_empty(), "{}", exceeded.join("\n"));
    // What measures nothing would find nothing.
    for limit in &limits {
        assert!(limit.found > 0, "{}", limit.what);
    }
    assert!(limits.len() > 100, "{}", limits.len());
}

#[tokio::test]
async fn the_longest_name_of_a_stack_is_documented() {
    let resources = template::resources(template::everything_on().await).unwrap();
    let mut names = Vec::new();
    for (kind, property, at_most, _) in NAMES {
        for (id, properties) in of_type(&resources, kind) {
            if let Some(name) = properties[property].as_str() {
                assert_eq!(name.matches(STACK_NAME).count(), 1, "{id}: two stacks would have the same {name}");
                names.push(at_most.saturating_sub(name.len() - STACK_NAME.len()));
            }
        }
    }
    let document = std::fs::read_to_string(cli::project_root().unwrap().join("docs/aws.md")).unwrap();
    let said = format!("A stack's name has at most {} characters", names.into_iter().min().unwrap());
    assert!(document.contains(&said), "docs/aws.md does not say: {said}");
}

fn of_type<'a>(resources: &'a BTreeMap<String, Value>, kind: &str) -> Vec<(&'a str, &'a Value)> {
    let found = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
    let found: Vec<_> = found.map(|(id, resource)| (id.as_str(), &resource["Properties"])).collect();
    assert!(!found.is_empty(), "no {kind}");
    found
}

fn note(limits: &mut Vec<Limit>, what: impl Into<String>, found: usize, at_most: usize, document: &'static str) {
    limits.push(Limit { what: what.into(), found, at_most, document });
}

fn of_cloudformation(template: &Value, limits: &mut Vec<Limit>) {
    for (section, at_most) in [("Resources", 500), ("Outputs", 200), ("Parameters", 200)] {
        note(limits, section, template[section].as_object().unwrap().len(), at_most, CLOUDFORMATION);
    }
    for (name, mapping) in template["Mappings"].as_object().into_iter().flatten() {
        note(limits, format!("attributes of {name}"), mapping.as_object().unwrap().len(), 200, CLOUDFORMATION);
    }
    let written = std::fs::metadata(cli::project_root().unwrap().join("template.yaml")).unwrap().len();
    // SAM uploads it to S3.
    note(limits, "bytes of the template", usize::try_from(written).unwrap(), 1_000_000, CLOUDFORMATION);
    note(limits, "bytes of the expanded template", template.to_string().len(), 1_000_000, CLOUDFORMATION);
    note(limits, "bytes of the description", template["Description"].as_str().unwrap().len(), 1_024, CLOUDFORMATION);
    for (section, at_most, document) in [("Parameters", 4_000, PARAMETERS), ("Outputs", 1_024, OUTPUTS)] {
        for (name, entry) in template[section].as_object().unwrap() {
            note(
                limits,
                format!("description of {name}"),
                entry["Description"].as_str().unwrap().len(),
                at_most,
                document,
            );
        }
    }
}

fn of_policies(resources: &BTreeMap<String, Value>, limits: &mut Vec<Limit>) {
    // IAM does not count blanks.
    let size = |document: &Value| document.to_string().chars().filter(|c| !c.is_whitespace()).count();
    for (id, policy) in of_type(resources, "AWS::IAM::ManagedPolicy") {
        note(limits, format!("characters of {id}"), size(&policy["PolicyDocument"]), 6_144, IAM);
    }
    for (id, role) in of_type(resources, "AWS::IAM::Role") {
        let inline = role["Policies"].as_array().into_iter().flatten();
        note(
            limits,
            format!("characters of {id}"),
            inline.map(|policy| size(&policy["PolicyDocument"])).sum(),
            10_240,
            IAM,
        );
        note(limits, format!("managed policies of {id}"), role["ManagedPolicyArns"].as_array().unwrap().len(), 10, IAM);
    }
    for (id, key) in of_type(resources, "AWS::KMS::Key") {
        note(limits, format!("bytes of the policy of {id}"), key["KeyPolicy"].to_string().len(), 32_768, KMS);
    }
    for (id, policy) in of_type(resources, "AWS::SQS::QueuePolicy") {
        note(limits, format!("bytes of {id}"), policy["PolicyDocument"].to_string().len(), 8_192, QUEUE_POLICIES);
    }
}

fn of_texts(resources: &BTreeMap<String, Value>, limits: &mut Vec<Limit>) {
    for (kind, property, at_most, document) in NAMES.into_iter().chain(TEXTS) {
        for (id, properties) in of_type(resources, kind) {
            if let Some(text) = properties[property].as_str() {
                note(limits, format!("{property} of {id}"), text.chars().count(), at_most, document);
            }
        }
    }
}

fn of_functions(resources: &BTreeMap<String, Value>, limits: &mut Vec<Limit>) {
    for (id, function) in of_type(resources, "AWS::Lambda::Function") {
        let variables = function["Environment"]["Variables"].to_string();
        note(limits, format!("bytes of the variables of {id}"), variables.len(), 4_096, LAMBDA);
    }
    for (id, mapping) in of_type(resources, "AWS::Lambda::EventSourceMapping") {
        for filter in mapping["FilterCriteria"]["Filters"].as_array().into_iter().flatten() {
            note(limits, format!("filter of {id}"), filter["Pattern"].as_str().unwrap().len(), 4_096, FILTER);
        }
        let queue = resources.values().find(|resource| resource["Arn"] == mapping["EventSourceArn"]);
        if let Some(queue) = queue.filter(|queue| queue["Type"] == "AWS::SQS::Queue") {
            let function = resources.values().find(|resource| resource["Ref"] == mapping["FunctionName"]).unwrap();
            let (timeout, hidden) = (&function["Properties"]["Timeout"], &queue["Properties"]["VisibilityTimeout"]);
            // Lambda refuses the mapping otherwise.
            note(
                limits,
                format!("seconds of the function of {id}"),
                number(timeout),
                number(hidden),
                QUEUES_OF_FUNCTIONS,
            );
        }
    }
}

/// A number, which CloudFormation takes as text too.
fn number(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().unwrap()
}

fn of_metrics(resources: &BTreeMap<String, Value>, limits: &mut Vec<Limit>) {
    for (id, alarm) in of_type(resources, "AWS::CloudWatch::Alarm") {
        let period = number(&alarm["Period"]);
        let at_most = if period < 3_600 { 86_400 } else { 604_800 };
        note(
            limits,
            format!("seconds that {id} looks at"),
            period * number(&alarm["EvaluationPeriods"]),
            at_most,
            PUT_ALARM,
        );
    }
    for (id, dashboard) in of_type(resources, "AWS::CloudWatch::Dashboard") {
        let body: Value = serde_json::from_str(dashboard["DashboardBody"].as_str().unwrap()).unwrap();
        let widgets = body["widgets"].as_array().unwrap();
        note(limits, format!("widgets of {id}"), widgets.len(), 500, CLOUDWATCH);
        let metrics = widgets
            .iter()
            .filter_map(|widget| Some((&widget["properties"]["title"], widget["properties"]["metrics"].as_array()?)));
        let metrics: Vec<_> = metrics.collect();
        note(
            limits,
            format!("metrics of {id}"),
            metrics.iter().map(|(_, metrics)| metrics.len()).sum(),
            2_500,
            CLOUDWATCH,
        );
        for (title, metrics) in metrics {
            note(limits, format!("metrics of {title}"), metrics.len(), 500, CLOUDWATCH);
        }
    }
}

fn of_the_api(resources: &BTreeMap<String, Value>, limits: &mut Vec<Limit>) {
    for (id, api) in of_type(resources, "AWS::ApiGatewayV2::Api") {
        note(limits, format!("routes of {id}"), api["Body"]["paths"].as_object().unwrap().len(), 300, HTTP_API);
    }
    for (id, stage) in of_type(resources, "AWS::ApiGatewayV2::Stage") {
        let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
        note(limits, format!("bytes of the access log's format of {id}"), format.len(), 3_072, HTTP_API);
        note(limits, format!("lines of the access log's format of {id}"), format.lines().count(), 1, HTTP_API);
        assert!(format.contains("$context.requestId"), "API Gateway refuses a format without the request's id");
        serde_json::from_str::<Value>(format).expect("an access log in JSON");
    }
}

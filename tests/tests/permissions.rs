//! What the functions may do, and AWS's services with what they keep. The functions run as real processes, and a proxy notes
//! each call that they make. Those, and the ones that AWS makes for them, are judged by the roles, the boundary and the
//! resources' policies of template.yaml, as CloudFormation gets it. The emulator would allow anything.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use cli::{
    local::{Folder, Lifetime, LocalStack},
    provider::Played,
    sample::Sample,
};
use model::{Erasure, Retention};
use providers::REGISTRATIONS;
use reqwest::Client;
use runtime::DynamoErasures;
use serde_json::{Value, json};
use tests::{
    FUNCTIONS, Fault, Hosted, System, free_port,
    iam::{self, Caller, Denied, Grant, Policies, Policy, Request},
    max_body_bytes,
    template::{self, ACCOUNT, REGION},
};

/// What is allowed although no call here needs it: the policy, the action, what the resource contains, and why.
const NEVER_CALLED: [(&str, &str, &str, &str); 3] = [
    ("FunctionsBoundary", "kms:DescribeKey", "", NEEDED_BY_DYNAMODB),
    ("FunctionsBoundary", "kms:Encrypt", "", NEEDED_BY_DYNAMODB),
    ("FunctionsBoundary", "kms:ReEncrypt*", "", NEEDED_BY_DYNAMODB),
];
const NEEDED_BY_DYNAMODB: &str = "DynamoDB's usage notes count it among the least that it needs, and do not say when";

/// What Lambda does with a function's role to connect the function to a network.
const OF_NETWORKS: [&str; 6] = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
];

/// The principal that deploys the stack, with AWS's policy AdministratorAccess.
const DEPLOYER: &str = "deployer";

/// What CloudFormation has to do on the key for each type of resource: the service through which, if not by itself, and the actions.
/// Queues, topics and log groups are created without the key: senders, receivers and the logs' service use it.
///
/// Sources: [keys](https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html),
/// [aliases](https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html),
/// [tables](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html),
/// [secrets](https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html).
const ON_THE_KEY: [(&str, &str, &str); 7] = [
    (
        "AWS::KMS::Key",
        "",
        "CancelKeyDeletion DescribeKey DisableKey DisableKeyRotation EnableKey EnableKeyRotation GetKeyPolicy GetKeyRotationStatus
         ListResourceTags PutKeyPolicy ScheduleKeyDeletion TagResource UntagResource UpdateKeyDescription",
    ),
    ("AWS::KMS::Alias", "", "CreateAlias DeleteAlias UpdateAlias"),
    (
        "AWS::DynamoDB::Table",
        "dynamodb",
        "CreateGrant Decrypt DescribeKey Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext ReEncryptFrom ReEncryptTo",
    ),
    ("AWS::SecretsManager::Secret", "secretsmanager", "Decrypt GenerateDataKey"),
    ("AWS::Logs::LogGroup", "", ""),
    ("AWS::SNS::Topic", "", ""),
    ("AWS::SQS::Queue", "", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_function_is_allowed_and_nothing_else_is() {
    let stack = Stack::of(template::everything_on().await);
    let called = calls_of_functions(&stack).await;
    let functions: BTreeSet<String> = stack.of_type("AWS::Lambda::Function").map(folder).collect();
    assert_eq!(called.keys().cloned().collect::<BTreeSet<_>>(), functions, "every function was run");

    let mut requests = BTreeSet::new();
    for (function, calls) in &called {
        let unplayed = if function == "reconciler" { stack.look_ups_of_unplayed() } else { Vec::new() };
        let calls = calls.iter().cloned().chain(stack.calls_for(function)).chain(unplayed);
        for request in calls.map(|(action, resource)| stack.request(function, &action, &resource)) {
            requests.extend(stack.calls_on_the_key(&request));
            requests.insert(request);
        }
    }
    let used = stack.allowed(&requests).unwrap_or_else(|denied| panic!("{}", denied.join("\n")));
    eprintln!("{} calls of {} functions evaluated: all allowed", requests.len(), functions.len());
    assert!(requests.len() > 80, "{requests:#?}");

    let unused = stack.own_grants().into_iter().filter(|grant| !used.contains(grant));
    let (listed, unused): (Vec<Grant>, Vec<Grant>) = unused.partition(|grant| {
        NEVER_CALLED.iter().any(|(policy, action, resource, _)| {
            grant.policy == *policy && grant.action == *action && grant.resource.contains(resource)
        })
    });
    assert!(unused.is_empty(), "allowed, and never called: {unused:#?}");
    assert_eq!(listed.len(), NEVER_CALLED.len(), "called after all, or not allowed any more: {listed:#?}");
}

#[tokio::test]
async fn whoever_deploys_may_do_with_the_key_what_its_resources_need() {
    let stack = Stack::of(template::everything_on().await);
    let requests = stack.calls_of_deployment();
    stack.allowed(&requests).unwrap_or_else(|denied| panic!("{}", denied.join("\n")));
    eprintln!("{} calls of a deployment evaluated: all allowed", requests.len());
    assert!(requests.len() > 20, "{requests:#?}");
}

#[tokio::test]
async fn the_services_may_do_what_the_stack_needs_of_them() {
    let stack = Stack::of(template::everything_on().await);
    let requests = stack.calls_of_services();
    stack.allowed(&requests).unwrap_or_else(|denied| panic!("{}", denied.join("\n")));
    eprintln!("{} calls of AWS's services evaluated: all allowed", requests.len());
    let callers: BTreeSet<&str> = requests.iter().map(|request| request.action.split(':').next().unwrap()).collect();
    assert_eq!(callers, BTreeSet::from(["kms", "lambda", "sns"]));
}

#[tokio::test]
async fn a_permission_that_is_taken_away_is_missed() {
    let template = template::everything_on().await;
    let role = Stack::of(template).id_of_role("verifyvasp");

    let stack = Stack::of(&without(template, "Key", "kms:CreateAlias"));
    let denied = stack.allowed(&stack.calls_of_deployment()).unwrap_err();
    let key = &stack.resources["Key"]["Arn"];
    assert_eq!(denied, [format!("deployer: kms:CreateAlias on {}: Key does not allow it", key.as_str().unwrap())]);

    for (policy, missed) in
        [(role.as_str(), "no policy of "), ("FunctionsBoundary", "FunctionsBoundary does not allow it")]
    {
        let stack = Stack::of(&without(template, policy, "sqs:SendMessage"));
        let queue = stack.resources["SpillQueue"]["Arn"].as_str().unwrap();
        let request = stack.request("verifyvasp", "sqs:SendMessage", queue);
        let denied = stack.allowed(&BTreeSet::from([request])).unwrap_err();
        assert!(denied.len() == 1 && denied[0].contains(missed), "{denied:?}");
    }
}

/// The template without this action in the policies of this resource.
fn without(template: &Value, id: &str, action: &str) -> Value {
    fn take_away(value: &mut Value, action: &str) -> usize {
        match value {
            Value::Array(items) => {
                let before = items.len();
                items.retain(|item| item != action && item["Action"] != action);
                before - items.len() + items.iter_mut().map(|item| take_away(item, action)).sum::<usize>()
            }
            Value::Object(members) => {
                // A statement's only action: then it allows nothing.
                let only = members.get_mut("Action").filter(|only| *only == action);
                let taken = only.map(|only| *only = json!([])).into_iter().count();
                taken + members.values_mut().map(|member| take_away(member, action)).sum::<usize>()
            }
            _ => 0,
        }
    }
    let mut template = template.clone();
    assert!(take_away(&mut template["Resources"][id], action) > 0, "{id} has no {action}");
    template
}

/// The resources of the template, by their logical ids, with invented values for what they refer to.
struct Stack {
    resources: BTreeMap<String, Value>,
}

impl Stack {
    /// The reconciler's look-ups of the credentials of providers without a stand-in, which the local stack does not ask.
    fn look_ups_of_unplayed(&self) -> Vec<(String, String)> {
        let is_unplayed = |provider: &str| Played::ALL.iter().all(|played| played.as_str() != provider);
        let asked = REGISTRATIONS.iter().filter(|registration| registration.settings.retrieval.is_some());
        let unplayed = asked.map(|registration| registration.provider).filter(|provider| is_unplayed(provider));
        let ids: Vec<String> = unplayed.map(|provider| format!(":secret:{provider}retrievalsecret-")).collect();
        let secrets = self.of_type("AWS::SecretsManager::Secret").filter_map(|secret| secret["Ref"].as_str());
        let of_unplayed = secrets.filter(|arn| ids.iter().any(|id| arn.to_lowercase().contains(id)));
        of_unplayed.map(|arn| ("secretsmanager:GetSecretValue".to_owned(), arn.to_owned())).collect()
    }

    fn of(template: &Value) -> Self {
        Self { resources: template::resources(template).unwrap() }
    }

    fn of_type(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.resources.values().filter(move |resource| resource["Type"] == kind)
    }

    /// The resource that a reference or an ARN is of.
    fn resource(&self, name: &Value) -> Option<&Value> {
        name.as_str()?;
        self.resources.values().find(|resource| resource["Ref"] == *name || resource["Arn"] == *name)
    }

    fn id_of(&self, resource: &Value) -> &str {
        self.resources.iter().find(|(_, other)| *other == resource).unwrap().0
    }

    fn function(&self, name: &str) -> &Value {
        self.of_type("AWS::Lambda::Function").find(|function| folder(function) == name).unwrap()
    }

    fn id_of_role(&self, function: &str) -> String {
        self.id_of(self.resource(&self.function(function)["Properties"]["Role"]).unwrap()).to_owned()
    }

    /// A call of a function, by its role.
    fn request(&self, function: &str, action: &str, resource: &str) -> Request {
        let role = &self.resources[&self.id_of_role(function)]["Ref"];
        request(Caller::Role(role.as_str().unwrap().to_owned(), ACCOUNT.to_owned()), action, resource, &[])
    }

    /// What AWS does for a function with its role, besides what the function does: its logs, its traces, and what invokes it.
    ///
    /// Sources: [logs](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html),
    /// [traces](https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html),
    /// [networks](https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html),
    /// [networks](https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html),
    /// [streams](https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html) and
    /// [queues](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
    fn calls_for(&self, function: &str) -> Vec<(String, String)> {
        let function = self.function(function);
        let properties = &function["Properties"];
        let mut calls = Vec::new();
        let mut call = |actions: &[&str], resource: &str| {
            calls.extend(actions.iter().map(|action| ((*action).to_owned(), resource.to_owned())));
        };
        let group = self.resource(&properties["LoggingConfig"]["LogGroup"]).expect("a log group of its own");
        let stream = group["Arn"].as_str().unwrap().replace(":*", ":log-stream:2026/01/31/[$LATEST]example");
        call(&["logs:CreateLogStream", "logs:PutLogEvents"], &stream);
        if properties["TracingConfig"]["Mode"] == "Active" {
            call(&["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*");
        }
        if properties["VpcConfig"].is_object() {
            call(&OF_NETWORKS, "*");
        }
        for mapping in self.of_type("AWS::Lambda::EventSourceMapping").map(|mapping| &mapping["Properties"]) {
            if mapping["FunctionName"] != function["Ref"] {
                continue;
            }
            let source = mapping["EventSourceArn"].as_str().unwrap();
            if source.starts_with("arn:aws:dynamodb:") {
                call(&["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], source);
                call(&["dynamodb:ListStreams"], "*");
            } else {
                call(&["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], source);
            }
            if let Some(destination) = mapping["DestinationConfig"]["OnFailure"]["Destination"].as_str() {
                call(&["sqs:SendMessage"], destination);
            }
        }
        calls
    }

    /// What a service does with the key in the name of whoever calls it.
    ///
    /// Sources: [DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html) (it
    /// decrypts the table's key for the caller; everything else it has grants for),
    /// [SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html),
    /// [Secrets Manager](https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html).
    fn calls_on_the_key(&self, request: &Request) -> Vec<Request> {
        let (service, operation) = request.action.split_once(':').unwrap();
        let actions: &[&str] = match (service, operation) {
            ("dynamodb", _) | ("secretsmanager", "GetSecretValue") | ("sqs", "ReceiveMessage") => &["kms:Decrypt"],
            ("sqs", "SendMessage") => &["kms:Decrypt", "kms:GenerateDataKey"],
            _ => &[],
        };
        let arn = request.resource.split("/stream/").next().unwrap().split("/index/").next().unwrap();
        let Some(key) = self.resource(&arn.into()).and_then(|resource| self.key_of(resource)) else {
            return Vec::new();
        };
        actions.iter().map(|action| through(service, request.caller.clone(), action, &key)).collect()
    }

    /// The key that a resource is encrypted with, if that is the stack's.
    fn key_of(&self, resource: &Value) -> Option<String> {
        let places = ["/SSESpecification/KMSMasterKeyId", "/KmsMasterKeyId", "/KmsKeyId"];
        let key = places.iter().find_map(|place| resource["Properties"].pointer(place))?;
        Some(self.resource(key)?["Arn"].as_str().unwrap().to_owned())
    }

    /// What creating, changing and deleting the resources takes on the key, in the name of whoever deploys.
    fn calls_of_deployment(&self) -> BTreeSet<Request> {
        let mut requests = BTreeSet::new();
        for resource in self.resources.values() {
            let kind = resource["Type"].as_str().unwrap();
            let key = match kind {
                "AWS::KMS::Key" => Some(resource),
                "AWS::KMS::Alias" => self.resource(&resource["Properties"]["TargetKeyId"]),
                _ => self.key_of(resource).and_then(|key| self.resource(&key.into())),
            };
            let Some(key) = key else { continue };
            let known = ON_THE_KEY.iter().find(|(known, ..)| *known == kind);
            let (_, service, actions) =
                known.unwrap_or_else(|| panic!("what a {kind} takes on its key is not known here"));
            for action in actions.split_whitespace() {
                let (action, key) = (format!("kms:{action}"), key["Arn"].as_str().unwrap());
                let deployer = Caller::Role(DEPLOYER.to_owned(), ACCOUNT.to_owned());
                requests.insert(match *service {
                    "" => request(deployer, &action, key, &[]),
                    service => through(service, deployer, &action, key),
                });
            }
        }
        requests
    }

    /// What AWS's services do by themselves: API Gateway and EventBridge invoke, CloudWatch Logs encrypts, alarms are sent.
    ///
    /// Sources: [rules](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html), [invocations](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html),
    /// [logs](https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html),
    /// [alarms](https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html).
    fn calls_of_services(&self) -> BTreeSet<Request> {
        let service = |name: &str| Caller::Service(name.to_owned());
        let mut requests = BTreeSet::new();
        for group in self.of_type("AWS::Logs::LogGroup") {
            let arn = group["Arn"].as_str().unwrap().trim_end_matches(":*");
            let key = self.key_of(group).unwrap();
            for action in ["Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"] {
                let context = [("kms:EncryptionContext:aws:logs:arn", arn)];
                requests.insert(request(
                    service(&format!("logs.{REGION}.amazonaws.com")),
                    &format!("kms:{action}"),
                    &key,
                    &context,
                ));
            }
        }
        for alarm in self.of_type("AWS::CloudWatch::Alarm") {
            let context = [("aws:SourceAccount", ACCOUNT), ("aws:SourceArn", alarm["Arn"].as_str().unwrap())];
            let cloudwatch = || service("cloudwatch.amazonaws.com");
            for topic in alarm["Properties"]["AlarmActions"].as_array().unwrap() {
                requests.insert(request(cloudwatch(), "sns:Publish", topic.as_str().unwrap(), &context));
                let key = self.key_of(self.resource(topic).unwrap()).unwrap();
                requests.extend(
                    ["kms:Decrypt", "kms:GenerateDataKey"].map(|action| request(cloudwatch(), action, &key, &context)),
                );
            }
        }
        for rule in self.of_type("AWS::Events::Rule") {
            for target in rule["Properties"]["Targets"].as_array().unwrap() {
                let context = [("aws:SourceArn", rule["Arn"].as_str().unwrap())];
                let (events, function) = (service("events.amazonaws.com"), target["Arn"].as_str().unwrap());
                requests.insert(request(events, "lambda:InvokeFunction", function, &context));
            }
        }
        for api in self.of_type("AWS::ApiGatewayV2::Api") {
            for (path, methods) in api["Properties"]["Body"]["paths"].as_object().unwrap() {
                for (method, operation) in methods.as_object().unwrap() {
                    let uri = operation["x-amazon-apigateway-integration"]["uri"].as_str().unwrap();
                    let function = uri.split_once("/functions/").unwrap().1.trim_end_matches("/invocations");
                    let (id, method) = (api["Ref"].as_str().unwrap(), method.to_ascii_uppercase());
                    // The route's own path, with its parameters in braces.
                    let source = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{id}/$default/{method}{path}");
                    let context = [("aws:SourceArn", source.as_str())];
                    requests.insert(request(
                        service("apigateway.amazonaws.com"),
                        "lambda:InvokeFunction",
                        function,
                        &context,
                    ));
                }
            }
        }
        requests
    }

    /// The grants that allow these calls; or what is denied, and why.
    fn allowed(&self, requests: &BTreeSet<Request>) -> Result<BTreeSet<Grant>, Vec<String>> {
        let (mut used, mut denied) = (BTreeSet::new(), Vec::new());
        for request in requests {
            match iam::evaluate(request, &self.policies_for(request)) {
                Ok(grants) => used.extend(grants),
                Err(Denied(why)) => {
                    let (Caller::Role(caller, _) | Caller::Service(caller)) = &request.caller;
                    denied.push(format!("{caller}: {} on {}: {why}", request.action, request.resource));
                }
            }
        }
        if denied.is_empty() { Ok(used) } else { Err(denied) }
    }

    fn policies_for(&self, request: &Request) -> Policies {
        let mut policies = match &request.caller {
            Caller::Service(_) => Policies::default(),
            Caller::Role(role, _) if role == DEPLOYER => {
                let all = json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } });
                Policies { identity: vec![policy("AdministratorAccess", &all)], ..Policies::default() }
            }
            Caller::Role(role, _) => self.policies_of(self.resource(&role.as_str().into()).unwrap()),
        };
        let resource = self.resource(&request.resource.as_str().into());
        policies.resource = resource.map(|resource| self.policies_on(resource)).unwrap_or_default();
        policies
    }

    /// The policies of a role, and its boundary.
    fn policies_of(&self, role: &Value) -> Policies {
        let properties = &role["Properties"];
        let managed = properties["ManagedPolicyArns"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|arn| managed_policy(arn.as_str().unwrap()));
        let boundary = self.resource(&properties["PermissionsBoundary"]).expect("a boundary");
        Policies {
            identity: self.own_policies(role).into_iter().chain(managed).collect(),
            boundary: Some(policy(self.id_of(boundary), &boundary["Properties"]["PolicyDocument"])),
            resource: Vec::new(),
        }
    }

    /// Those of them that the template has.
    fn own_policies(&self, role: &Value) -> Vec<Policy> {
        let inline = role["Properties"]["Policies"].as_array().into_iter().flatten();
        inline.map(|inline| policy(self.id_of(role), &inline["PolicyDocument"])).collect()
    }

    /// What the template itself allows the functions.
    fn own_grants(&self) -> BTreeSet<Grant> {
        let of_roles = self.of_type("AWS::IAM::Role").flat_map(|role| self.own_policies(role));
        let boundaries = self.of_type("AWS::IAM::Role").filter_map(|role| self.policies_of(role).boundary);
        of_roles.chain(boundaries).flat_map(|policy| iam::grants(&policy)).collect()
    }

    /// The policies on a resource.
    fn policies_on(&self, resource: &Value) -> Vec<Policy> {
        let attached = self.resources.iter().filter_map(|(id, other)| {
            let properties = &other["Properties"];
            let is_among = |list: &Value| list.as_array().unwrap().contains(&resource["Ref"]);
            match other["Type"].as_str().unwrap() {
                "AWS::KMS::Key" if other == resource => Some(policy(id, &properties["KeyPolicy"])),
                "AWS::SQS::QueuePolicy" if is_among(&properties["Queues"]) => Some(policy(id, &properties["PolicyDocument"])),
                "AWS::SNS::TopicPolicy" if is_among(&properties["Topics"]) => Some(policy(id, &properties["PolicyDocument"])),
                "AWS::Lambda::Permission" if properties["FunctionName"] == resource["Ref"] => {
                    let condition = json!({ "ArnLike": { "aws:SourceArn": properties["SourceArn"] } });
                    let statement = json!({
                        "Effect": "Allow", "Principal": { "Service": properties["Principal"] }, "Action": properties["Action"],
                        "Resource": resource["Arn"], "Condition": condition,
                    });
                    Some(policy(id, &json!({ "Statement": statement })))
                }
                _ => None,
            }
        });
        attached.collect()
    }
}

/// The name of a function: the folder that its code is in.
fn folder(function: &Value) -> String {
    function["Properties"]["Code"]["S3Key"].as_str().unwrap().trim_start_matches("functions/").to_owned()
}

fn policy(name: &str, document: &Value) -> Policy {
    Policy { name: name.to_owned(), document: document.clone() }
}

/// A policy of AWS's that SAM attaches.
fn managed_policy(arn: &str) -> Policy {
    let file = cli::project_root().unwrap().join("tests/template/managed-policies.json");
    let known: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let document = &known["policies"][arn];
    assert!(
        document.is_object(),
        "{arn} is not in tests/template/managed-policies.json: copy it from {}",
        known["source"]
    );
    policy(arn, document)
}

/// A call over TLS.
fn request(caller: Caller, action: &str, resource: &str, context: &[(&str, &str)]) -> Request {
    let context = context.iter().chain(&[("aws:SecureTransport", "true")]);
    let context = context.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Request { caller, action: action.to_owned(), resource: resource.to_owned(), context }
}

/// A call to a key that a service makes in the name of its caller.
fn through(service: &str, caller: Caller, action: &str, key: &str) -> Request {
    let service = format!("{service}.{REGION}.amazonaws.com");
    request(caller, action, key, &[("kms:CallerAccount", ACCOUNT), ("kms:ViaService", &service)])
}

/// Runs every function on a local stack with all that it does, and returns its calls: actions, and ARNs of the template's resources.
async fn calls_of_functions(stack: &Stack) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let folder = Folder::named("permissions").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let mut system = System::of(&local.stack).await;
    let http = Client::new();

    for function in FUNCTIONS {
        for callback in system.callbacks(function, &http).await {
            system.send_until_acknowledged(&callback).await;
        }
        let samples = samples_of(function);
        for what in ["large", "spilled"] {
            let sample = samples.iter().find_map(|sample| sample.about(&format!("{function}-{what}"))).unwrap();
            // Of what may be large, more than an item of a table can have.
            let bytes = if what == "large" { max_body_bytes(function).unwrap() / 2 } else { 0 };
            let callback = sample.padded(bytes).prepared(&http, &local.stack, &system.connections).await.unwrap();
            if what == "spilled" {
                system.providers[function].proxy.inject(&["PutItem"], 0..usize::MAX, Fault::Failed);
            }
            system.send_until_acknowledged(&callback).await;
            system.providers[function].proxy.lift();
        }
    }
    // What cannot be drained is put off; what cannot be read is set aside.
    system.drain.proxy.inject(&["PutItem"], 0..usize::MAX, Fault::Failed);
    system.spill.run(&system.drain.function).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = system.connections.dynamodb.put_item().table_name(&local.stack.events_table);
    let put = put.item("pk", text("unreadable")).item("sk", text("unreadable")).item("kind", text("from the future"));
    put.send().await.unwrap();
    // What comes of an erased verification is overwritten.
    let (expectations, events) = (&local.stack.expectations_table, &local.stack.events_table);
    let erasures = DynamoErasures::new(system.connections.dynamodb.clone(), expectations.clone(), events.clone());
    let erased = Erasure::new("verifyvasp", "verifyvasp-large", runtime::now(), Retention::default(), 0);
    erasures.add(&erased).await.unwrap();
    system.publish_all().await;

    let invoke = async |host: &Hosted, parameters: Value, body: &str| {
        let event = json!({ "pathParameters": parameters, "requestContext": { "http": {} }, "body": body });
        let answer = host.function.invoke(&event.to_string()).await.unwrap();
        assert!(answer["statusCode"].as_u64().unwrap() < 300, "{answer}");
    };
    let announcements = Hosted::of(&local.stack, "expectations").await;
    let code = r#"{"purpose": "verification", "code": "code-of-permissions", "state": "permissions"}"#;
    invoke(&announcements, json!({ "provider": "wallet" }), code).await;
    let verifications = Hosted::of(&local.stack, "verifications").await;
    invoke(&verifications, json!({ "provider": "verifyvasp", "subject": "verifyvasp-large" }), "").await;

    // Signicat has said something about this process, and its verdict is due.
    let pending = samples_of("signicat").into_iter().find(|sample| sample.name() == "signicat/pending").unwrap();
    let pending = pending.about("signicat-due").unwrap();
    system.send_until_acknowledged(&pending).await;
    let due = r#"{"subject": "signicat-due", "due_at": "2026-01-31T00:00:00Z"}"#;
    invoke(&announcements, json!({ "provider": "signicat" }), due).await;
    system.publish_all().await;
    let reconciler = Hosted::of(&local.stack, "reconciler").await;
    reconciler.function.invoke("{}").await.unwrap();

    let hosted = [("expectations", announcements), ("verifications", verifications), ("reconciler", reconciler)];
    let System { providers, drain, publisher, .. } = &system;
    let hosts = providers.iter().map(|(name, host)| (*name, host));
    let hosts = hosts
        .chain([("spill-drain", drain), ("publisher", publisher)])
        .chain(hosted.iter().map(|(name, host)| (*name, host)));
    hosts.map(|(name, host)| (name.to_owned(), calls_of(stack, name, host))).collect()
}

fn samples_of(function: &str) -> Vec<Sample> {
    Sample::all_of(&cli::project_root().unwrap(), function).unwrap()
}

fn calls_of(stack: &Stack, function: &str, host: &Hosted) -> BTreeSet<(String, String)> {
    let variables = &stack.function(function)["Properties"]["Environment"]["Variables"];
    let mut calls = BTreeSet::new();
    // Connections are opened with a request that nobody signs.
    for call in host.proxy.recorded().into_iter().filter(|call| call.operation != "/ping") {
        assert!(!call.resources.is_empty(), "what {function} does with {} is not known here", call.operation);
        for resource in &call.resources {
            let (resource, index) =
                resource.split_once("/index/").map_or((resource.as_str(), None), |(t, i)| (t, Some(i)));
            let variable = host.function.variable_with(resource);
            let variable = variable.unwrap_or_else(|| {
                panic!("{function} calls {} on {resource}, which no variable of it has", call.operation)
            });
            let resource = stack.resource(&variables[variable]).unwrap();
            let index = index.map(|index| format!("/index/{index}")).unwrap_or_default();
            calls.insert((action(&call.operation), format!("{}{index}", resource["Arn"].as_str().unwrap())));
        }
    }
    calls
}

/// The action that an operation needs. For a batch of messages, it is that of one.
fn action(operation: &str) -> String {
    let (service, operation) = operation.split_once('.').unwrap();
    match service {
        "DynamoDB_20120810" => format!("dynamodb:{operation}"),
        "AmazonSQS" => format!("sqs:{}", operation.trim_end_matches("Batch")),
        "secretsmanager" => format!("secretsmanager:{operation}"),
        _ => panic!("{service} is not known here"),
    }
}

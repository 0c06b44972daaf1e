//! template.yaml as CloudFormation gets it, after both transforms, and then with invented values for all that it refers to.

use std::collections::BTreeMap;

use providers::REGISTRATIONS;
use serde_json::{Map, Value, json};
use tokio::{process::Command, sync::OnceCell};

use crate::python;

/// The name that the stack has here.
pub const STACK_NAME: &str = "verification-callbacks";
/// The region that it is in here.
pub const REGION: &str = "eu-central-1";
/// The account that it is in here.
pub const ACCOUNT: &str = "000000000000";

/// What CloudFormation itself knows, beside `AWS::NoValue`.
const PSEUDO_PARAMETERS: [(&str, &str); 6] = [
    ("AWS::AccountId", ACCOUNT),
    ("AWS::Partition", "aws"),
    ("AWS::Region", REGION),
    ("AWS::StackId", "arn:aws:cloudformation:eu-central-1:000000000000:stack/verification-callbacks/example"),
    ("AWS::StackName", STACK_NAME),
    ("AWS::URLSuffix", "amazonaws.com"),
];

/// The template with these parameters, and the defaults of the others, as expand.py makes it: without loops and without
/// SAM's resources. A function's code has the key that is its folder, such as `functions/jumio`.
pub async fn expanded(parameters: &[(&str, &str)]) -> Value {
    let root = cli::project_root().unwrap();
    let bin = python::sam().await;
    let parameters: BTreeMap<&str, &str> = PSEUDO_PARAMETERS.iter().chain(parameters).copied().collect();
    let mut expand = Command::new(bin.join("python"));
    expand
        .arg(root.join("tests/template/expand.py"))
        .arg(root.join("template.yaml"))
        .arg(json!(parameters).to_string());
    // It would write what it compiles into SAM's environment.
    let output = expand.env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The template with all that can be in it: no condition is false. Numbers are as large as they may be.
///
/// # Panics
/// If a condition is false all the same: then this function has to know how to make it true.
pub async fn everything_on() -> &'static Value {
    static TEMPLATE: OnceCell<Value> = OnceCell::const_new();
    let make = async || {
        let (all, with_secrets) = (providers::names().join(","), providers::with_secrets());
        let of_providers = [("AlarmOnSilenceOf", all.as_str()), ("Providers", with_secrets.as_str())];
        let urls = REGISTRATIONS.iter().filter_map(|registration| registration.settings.retrieval);
        let urls: Vec<(&str, &str)> =
            urls.map(|retrieval| (retrieval.parameter, "https://provider.example.com")).collect();
        let template = expanded(&[EVERYTHING_ON, &of_providers, &urls].concat()).await;
        let stack = Stack { template: &template };
        for name in object(&template["Conditions"]).keys() {
            assert!(stack.condition(name).unwrap(), "the condition {name} is false with {EVERYTHING_ON:?}");
        }
        template
    };
    TEMPLATE.get_or_init(make).await
}

const EVERYTHING_ON: &[(&str, &str)] = &[
    ("AlarmEmail", "alarms@example.com"),
    ("CertificateArn", "arn:aws:acm:eu-central-1:000000000000:certificate/example"),
    ("DomainName", "callbacks.example.com"),
    ("ReconcilerSecurityGroups", "sg-00000000000000000"),
    ("ReconcilerSubnets", "subnet-00000000000000000"),
    ("ReservedConcurrency", "100"),
    ("SilentHours", "168"),
    ("SpilledMinutes", "1440"),
    ("Tracing", "Active"),
];

/// An intrinsic function or a reference that this module has no value for.
#[derive(Debug)]
pub struct Unresolvable(pub String);

/// The resources of an expanded template that are created, with a value for every reference. Each has what `Ref` gives of it,
/// and its `Arn` if it has one.
///
/// # Errors
/// If there is a reference that this module has no value for.
pub fn resources(template: &Value) -> Result<BTreeMap<String, Value>, Unresolvable> {
    let stack = Stack { template };
    let mut resources = BTreeMap::new();
    for (id, resource) in object(&template["Resources"]) {
        if let Some(condition) = resource["Condition"].as_str()
            && !stack.condition(condition)?
        {
            continue;
        }
        let properties = stack.value(&resource["Properties"])?.unwrap_or_default();
        let mut resolved = json!({ "Type": resource["Type"], "Properties": properties });
        // Not every type has them here.
        if let Ok(reference) = stack.attribute(id, "Ref") {
            if reference.starts_with("arn:") {
                resolved["Arn"] = reference.as_str().into();
            }
            resolved["Ref"] = reference.into();
        }
        if let Ok(arn) = stack.attribute(id, "Arn") {
            resolved["Arn"] = arn.into();
        }
        resources.insert(id.clone(), resolved);
    }
    Ok(resources)
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

struct Stack<'a> {
    template: &'a Value,
}

impl Stack<'_> {
    /// What comes of a value. None is `AWS::NoValue`.
    fn value(&self, value: &Value) -> Result<Option<Value>, Unresolvable> {
        Ok(Some(match value {
            Value::Array(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.value(item)).collect();
                items?.into_iter().flatten().collect()
            }
            Value::Object(members) => {
                if let Some((function, argument)) = intrinsic(members) {
                    return self.intrinsic(function, argument);
                }
                let mut resolved = Map::new();
                for (name, member) in members {
                    if let Some(member) = self.value(member)? {
                        resolved.insert(name.clone(), member);
                    }
                }
                resolved.into()
            }
            other => other.clone(),
        }))
    }

    fn intrinsic(&self, function: &str, argument: &Value) -> Result<Option<Value>, Unresolvable> {
        let unresolvable = || Unresolvable(format!("{function}: {argument}"));
        Ok(Some(match (function, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => return Ok(None),
            ("Ref", Value::String(name)) => self.reference(name)?,
            ("Fn::GetAtt", Value::String(path)) => self.path(path)?,
            ("Fn::GetAtt", Value::Array(path)) => {
                let path: Vec<&str> = path.iter().filter_map(Value::as_str).collect();
                self.path(&path.join("."))?
            }
            ("Fn::Sub", Value::String(text)) => self.substituted(text, &Map::new())?.into(),
            ("Fn::Sub", Value::Array(parts)) => {
                let variables = self.value(&parts[1])?.ok_or_else(unresolvable)?;
                self.substituted(parts[0].as_str().ok_or_else(unresolvable)?, object(&variables))?.into()
            }
            ("Fn::Join", Value::Array(parts)) => {
                let items = self.value(&parts[1])?.ok_or_else(unresolvable)?;
                let items: Vec<String> = items.as_array().ok_or_else(unresolvable)?.iter().map(text).collect();
                items.join(&text(&parts[0])).into()
            }
            ("Fn::If", Value::Array(parts)) => {
                return self.value(&parts[if self.condition(&text(&parts[0]))? { 1 } else { 2 }]);
            }
            ("Fn::FindInMap", Value::Array(parts)) => {
                let mut found = &self.template["Mappings"];
                for part in parts {
                    found = &found[text(&self.value(part)?.ok_or_else(unresolvable)?)];
                }
                Some(found.clone()).filter(|found| !found.is_null()).ok_or_else(unresolvable)?
            }
            _ => return Err(unresolvable()),
        }))
    }

    fn path(&self, path: &str) -> Result<Value, Unresolvable> {
        let (id, attribute) = path.split_once('.').ok_or_else(|| Unresolvable(format!("Fn::GetAtt: {path}")))?;
        Ok(self.attribute(id, attribute)?.into())
    }

    /// What `Ref` gives of a parameter or a resource.
    fn reference(&self, name: &str) -> Result<Value, Unresolvable> {
        if let Some((_, value)) = PSEUDO_PARAMETERS.iter().find(|(pseudo, _)| *pseudo == name) {
            return Ok((*value).into());
        }
        let parameter = &self.template["Parameters"][name];
        let value = &parameter["Default"];
        match parameter["Type"].as_str() {
            None => Ok(self.attribute(name, "Ref")?.into()),
            Some(_) if value.is_null() => Err(Unresolvable(format!("the parameter {name}, which has no default"))),
            Some(kind) if kind.contains("List") => Ok(text(value).split(',').collect()),
            Some(_) => Ok(text(value).into()),
        }
    }

    fn substituted(&self, template: &str, variables: &Map<String, Value>) -> Result<String, Unresolvable> {
        let mut parts = template.split("${");
        let mut substituted = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or_else(|| Unresolvable(format!("Fn::Sub: {part}")))?;
            substituted += &match (name.strip_prefix('!'), variables.get(name)) {
                (Some(literal), _) => format!("${{{literal}}}"),
                (None, Some(value)) => text(value),
                (None, None) if name.contains('.') => text(&self.path(name)?),
                (None, None) => text(&self.reference(name)?),
            };
            substituted += rest;
        }
        Ok(substituted)
    }

    /// Whether one of the template's conditions is true.
    fn condition(&self, name: &str) -> Result<bool, Unresolvable> {
        self.is_true(&self.template["Conditions"][name])
    }

    fn is_true(&self, condition: &Value) -> Result<bool, Unresolvable> {
        let unresolvable = || Unresolvable(format!("the condition {condition}"));
        let (function, argument) = condition.as_object().and_then(intrinsic).ok_or_else(unresolvable)?;
        let mut each = argument.as_array().into_iter().flatten().map(|argument| self.is_true(argument));
        match function {
            "Condition" => self.condition(&text(argument)),
            "Fn::Equals" => {
                Ok(self.value(&argument[0])?.as_ref().map(text) == self.value(&argument[1])?.as_ref().map(text))
            }
            "Fn::Not" => each.next().ok_or_else(unresolvable)?.map(|is_true| !is_true),
            "Fn::And" => each.try_fold(true, |all, one| Ok(all & one?)),
            "Fn::Or" => each.try_fold(false, |any, one| Ok(any | one?)),
            _ => Err(unresolvable()),
        }
    }

    /// An attribute of a resource, or what `Ref` gives of it, in the form that AWS documents for its type.
    fn attribute(&self, id: &str, attribute: &str) -> Result<String, Unresolvable> {
        let resource = &self.template["Resources"][id];
        let kind = resource["Type"].as_str().unwrap_or("nothing");
        // In QueueName of a queue, and so on.
        let property = format!("{}Name", kind.rsplit(':').next().unwrap_or_default()).replace("NameName", "Name");
        let name = match self.value(&resource["Properties"][property])?.unwrap_or_default() {
            Value::String(name) => name,
            _ => format!("{STACK_NAME}-{id}-EXAMPLE00000"),
        };
        let arn = |service: &str, rest: String| format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}");
        let global = |service: &str, rest: String| format!("arn:aws:{service}::{ACCOUNT}:{rest}");
        Ok(match (kind, attribute) {
            ("AWS::ApiGatewayV2::Api", "Ref" | "ApiId") => format!("example-{id}"),
            ("AWS::ApiGatewayV2::Api", "ApiEndpoint") => {
                format!("https://example-{id}.execute-api.{REGION}.amazonaws.com")
            }
            ("AWS::ApiGatewayV2::DomainName", "RegionalDomainName") => {
                format!("example.execute-api.{REGION}.amazonaws.com")
            }
            ("AWS::ApiGatewayV2::DomainName", "RegionalHostedZoneId") => "ZEXAMPLE".to_owned(),
            ("AWS::CloudWatch::Alarm", "Arn") => arn("cloudwatch", format!("alarm:{name}")),
            ("AWS::DynamoDB::Table", "Arn") => arn("dynamodb", format!("table/{name}")),
            ("AWS::DynamoDB::Table", "StreamArn") => {
                arn("dynamodb", format!("table/{name}/stream/2026-01-31T00:00:00.000"))
            }
            ("AWS::Events::Rule", "Arn") => arn("events", format!("rule/{name}")),
            ("AWS::IAM::ManagedPolicy", "Ref" | "PolicyArn") => global("iam", format!("policy/{name}")),
            ("AWS::IAM::Role", "Arn") => global("iam", format!("role/{name}")),
            ("AWS::KMS::Key", "Ref" | "KeyId") => format!("example-{id}"),
            ("AWS::KMS::Key", "Arn") => arn("kms", format!("key/example-{id}")),
            ("AWS::Lambda::Function", "Arn") => arn("lambda", format!("function:{name}")),
            ("AWS::Logs::LogGroup", "Arn") => arn("logs", format!("log-group:{name}:*")),
            ("AWS::SecretsManager::Secret", "Ref" | "Id") => {
                // Without the stack's name.
                arn("secretsmanager", format!("secret:{id}-EXAMPLE00000-000000"))
            }
            ("AWS::SNS::Topic", "Ref" | "TopicArn") => arn("sns", name),
            ("AWS::SNS::Topic", "TopicName") => name,
            ("AWS::SQS::Queue", "Arn") => arn("sqs", name),
            ("AWS::SQS::Queue", "QueueName") => name,
            ("AWS::SQS::Queue", "Ref" | "QueueUrl") => format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"),
            (
                "AWS::ApiGatewayV2::DomainName"
                | "AWS::ApiGatewayV2::Stage"
                | "AWS::CloudWatch::Alarm"
                | "AWS::CloudWatch::Dashboard"
                | "AWS::DynamoDB::Table"
                | "AWS::Events::Rule"
                | "AWS::IAM::Role"
                | "AWS::KMS::Alias"
                | "AWS::Lambda::Function"
                | "AWS::Logs::LogGroup",
                "Ref",
            ) => name,
            _ => return Err(Unresolvable(format!("{attribute} of {id} ({kind})"))),
        })
    }
}

/// The function and its argument, if that is what an object is.
fn intrinsic(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::")).then_some((name, argument))
}

/// CloudFormation knows no numbers.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a property of a resource beside a queue, a parameter, a mapping and two conditions.
    fn check(value: &Value, expected: Result<Value, &str>) {
        let template = json!({
            "Parameters": {
                "Hours": { "Type": "Number", "Default": 12 },
                "Names": { "Type": "CommaDelimitedList", "Default": "a,b" },
                "Secret": { "Type": "String" },
            },
            "Mappings": { "Sizes": { "jumio": { "Memory": 256 } } },
            "Conditions": {
                "IsOn": { "Fn::Equals": [{ "Ref": "Hours" }, "12"] },
                "IsOff": { "Fn::Not": [{ "Condition": "IsOn" }] },
                "IsBoth": { "Fn::And": [{ "Condition": "IsOn" }, { "Condition": "IsOff" }] },
            },
            "Resources": {
                "Queue": { "Type": "AWS::SQS::Queue", "Properties": { "QueueName": { "Fn::Sub": "${AWS::StackName}-spill" } } },
                "Other": { "Type": "AWS::SQS::Queue", "Condition": "IsOff", "Properties": {} },
                "This": { "Type": "Any", "Properties": { "value": value } },
            },
        });
        match (resources(&template), expected) {
            (Ok(resources), Ok(expected)) => {
                assert_eq!(resources["This"]["Properties"]["value"], expected);
                assert!(!resources.contains_key("Other"));
            }
            (Err(Unresolvable(what)), Err(expected)) => assert_eq!(what, expected),
            (found, expected) => panic!("{found:?} {expected:?}"),
        }
    }

    #[test]
    fn references_have_the_values_that_cloudformation_documents() {
        check(
            &json!({ "Ref": "Queue" }),
            Ok(json!("https://sqs.eu-central-1.amazonaws.com/000000000000/verification-callbacks-spill")),
        );
        check(
            &json!({ "Fn::GetAtt": ["Queue", "Arn"] }),
            Ok(json!("arn:aws:sqs:eu-central-1:000000000000:verification-callbacks-spill")),
        );
        check(&json!({ "Fn::GetAtt": "Queue.QueueName" }), Ok(json!("verification-callbacks-spill")));
        check(&json!({ "Ref": "Names" }), Ok(json!(["a", "b"])));
        check(&json!({ "Fn::Join": ["-", { "Ref": "Names" }] }), Ok(json!("a-b")));
        check(
            &json!({ "Fn::Sub": "${Queue.QueueName} ${!Hours} ${Hours}" }),
            Ok(json!("verification-callbacks-spill ${Hours} 12")),
        );
        check(
            &json!({ "Fn::Sub": ["${Url}/${Hours}", { "Url": { "Ref": "AWS::Region" } }] }),
            Ok(json!("eu-central-1/12")),
        );
        check(&json!({ "Fn::FindInMap": ["Sizes", "jumio", "Memory"] }), Ok(json!(256)));
        check(&json!({ "Fn::If": ["IsOn", "yes", "no"] }), Ok(json!("yes")));
        check(&json!({ "Fn::If": ["IsBoth", "yes", "no"] }), Ok(json!("no")));
        check(&json!([{ "Fn::If": ["IsOff", 1, { "Ref": "AWS::NoValue" }] }, 2]), Ok(json!([2])));
    }

    #[test]
    fn what_has_no_value_is_named() {
        check(&json!({ "Ref": "Nobody" }), Err("Ref of Nobody (nothing)"));
        check(&json!({ "Ref": "Secret" }), Err("the parameter Secret, which has no default"));
        check(&json!({ "Fn::GetAtt": ["Queue", "Colour"] }), Err("Colour of Queue (AWS::SQS::Queue)"));
        check(&json!({ "Fn::Base64": "text" }), Err(r#"Fn::Base64: "text""#));
        check(
            &json!({ "Fn::FindInMap": ["Sizes", "verifyvasp", "Memory"] }),
            Err(r#"Fn::FindInMap: ["Sizes","verifyvasp","Memory"]"#),
        );
    }
}

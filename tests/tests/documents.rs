//! What the documents say is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use providers::{REGISTRATIONS, Registration, names, wallet_verification::issuers::PinnedIssuer, with_secrets};
use runtime::Https;
use serde_json::{Value, json};
use tests::{
    commands::{Block, NOT_RUN, RUN_ELSEWHERE, blocks, calls, documents, spans, with_values},
    template::{everything_on, expanded, resources},
};

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let found = documents();
    assert!(found.len() > 10);
    for document in found {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            if path.contains("://") {
                continue;
            }
            let leads_to = if path.is_empty() { document.clone() } else { document.with_file_name(path) };
            assert!(leads_to.exists(), "{} leads to {path}", document.display());
            if !anchor.is_empty() && leads_to.extension().is_some_and(|extension| extension == "md") {
                let headings = std::fs::read_to_string(&leads_to).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|heading| slug(heading) == anchor);
                assert!(is_there, "{} leads to {target}", document.display());
            }
        }
    }
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The source files that have the tests which run a document's commands.
fn test_source(file: &str) -> String {
    std::fs::read_to_string(cli::project_root().unwrap().join("tests/tests").join(file)).unwrap()
}

#[test]
fn every_command_of_the_documents_is_run_by_a_test_or_listed_with_the_reason() {
    let blocks = blocks();
    assert!(blocks.len() > 60, "{}", blocks.len());
    let begins = |block: &Block, document: &str, beginning: &str| {
        block.document == document && block.commands.trim_start().starts_with(beginning)
    };
    for (document, beginning, file, test) in RUN_ELSEWHERE {
        assert!(blocks.iter().any(|block| begins(block, document, beginning)), "{document} has no {beginning}");
        assert!(test_source(file).contains(&format!("fn {test}(")), "{test}");
    }
    for (document, beginning, reason) in NOT_RUN {
        assert!(blocks.iter().any(|block| begins(block, document, beginning)), "{document} has no {beginning}");
        assert!(!reason.is_empty());
    }
    // All others are run there, those of the runbook's drills one by one.
    let drills = test_source("drills.rs");
    assert!(drills.contains("fn every_other_command_of_the_documents_runs("));
    let runbook = blocks.iter().filter(|block| block.document == "docs/runbook.md");
    assert!(runbook.count() > 40);
}

#[tokio::test]
async fn every_call_of_callbacks_in_documents_alarms_and_hints_is_understood() {
    let (mut calls_checked, mut wrong) = (0, Vec::new());
    let mut check = |call: &str, whose: &str| {
        let call = with_values(call);
        wrong.extend(cli::Cli::check(&call).err().map(|error| format!("{whose}: {call}\n{error}")));
        calls_checked += 1;
    };
    for block in blocks() {
        calls(&block.commands).iter().for_each(|call| check(call, &block.document));
    }
    // In prose, a call may be named without all that it takes. With --help, the rest is still checked.
    let mut prose = documents();
    for entry in std::fs::read_dir(cli::project_root().unwrap().join("cli/src")).unwrap() {
        prose.extend(Some(entry.unwrap().path()).filter(|path| path.extension().is_some_and(|is| is == "rs")));
    }
    for file in prose {
        let text = std::fs::read_to_string(&file).unwrap();
        for call in spans(&text) {
            check(&format!("{call} --help"), &file.display().to_string());
        }
    }
    for (id, alarm) in of_type(&stack().await, "AWS::CloudWatch::Alarm") {
        let (_, call) = alarm["AlarmDescription"].as_str().unwrap().split_once("; first: ").unwrap();
        check(call, id);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(calls_checked > 150, "{calls_checked}");
}

/// The source files below a folder.
fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *found += &std::fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_test_that_the_pages_on_reliability_and_security_name_exists() {
    let root = cli::project_root().unwrap();
    let mut found = String::new();
    for folder in ["cli/src", "functions", "shared", "tests/tests"] {
        sources(&root.join(folder), &mut found);
    }
    for page in ["docs/reliability.md", "docs/security.md"] {
        let page = std::fs::read_to_string(root.join(page)).unwrap();
        // The code spans with the look of a test's name.
        let spans = page.split('`').skip(1).step_by(2);
        let names: Vec<&str> = spans.filter(|name| name.matches('_').count() >= 3 && name.is_ascii()).collect();
        assert!(names.len() > 15);
        for name in names {
            assert!(found.contains(&format!("fn {name}(")), "{name}");
        }
    }
}

/// The resources of the template with everything on, by their logical ids.
async fn stack() -> BTreeMap<String, Value> {
    resources(everything_on().await).unwrap()
}

/// The properties of the resources of a type, by their logical ids.
fn of_type<'a>(stack: &'a BTreeMap<String, Value>, resource_type: &str) -> Vec<(&'a str, &'a Value)> {
    let found = stack.iter().filter(|(_, resource)| resource["Type"] == resource_type);
    found.map(|(id, resource)| (id.as_str(), &resource["Properties"])).collect()
}

fn runbook() -> String {
    std::fs::read_to_string(cli::project_root().unwrap().join("docs/runbook.md")).unwrap()
}

/// An alarm, its section in docs/runbook.md and its place on the dashboard are added together.
#[tokio::test]
async fn every_alarm_has_a_section_in_the_runbook_and_every_section_its_alarms() {
    let stack = stack().await;
    let topic = &stack["AlarmTopic"]["Ref"];
    let mut sections_named = BTreeMap::new();
    let alarms: BTreeSet<String> = of_type(&stack, "AWS::CloudWatch::Alarm")
        .into_iter()
        .map(|(id, alarm)| {
            for property in ["AlarmActions", "OKActions"] {
                assert_eq!(alarm[property], json!([topic]), "{id}");
            }
            assert!(alarm["TreatMissingData"].is_string() && alarm["AlarmDescription"].is_string(), "{id}");
            let name = alarm["AlarmName"].as_str().unwrap().strip_prefix("verification-callbacks-").unwrap().to_owned();
            let (_, rest) = alarm["AlarmDescription"].as_str().unwrap().split_once(" See docs/runbook.md#").unwrap();
            let (section, command) = rest.split_once("; first: callbacks ").unwrap();
            assert!(!command.is_empty(), "{id}");
            sections_named.insert(name.clone(), section.to_owned());
            name
        })
        .collect();
    let runbook = runbook();
    let (_, sections) = runbook.split_once("\n## Alarms\n").unwrap();
    let sections = sections.split_once("\n## Drills\n").unwrap().0;
    let mut described = BTreeSet::new();
    for section in sections.split("\n### ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        let parts = ["**Means**:", "**See more**:", "**Do**:"].map(|part| text.split_once(part));
        let [Some(_), Some((_, see_more)), Some((_, to_do))] = parts else { panic!("{title} lacks a part") };
        // One command shows which case it is, and a table says what to do in each.
        let (before, _) = see_more.split_once("**Do**:").unwrap_or_else(|| panic!("{title} is in another order"));
        assert_eq!(before.matches("```sh\n").count(), 1, "{title}");
        let commands = before.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(commands.replace("|\n", "").trim().lines().count(), 1, "{title}");
        let has_actions = to_do.lines().any(|line| line.starts_with("| ") && line.ends_with("| action |"));
        assert!(has_actions, "{title} has no table of cases and actions");
        // As in the link to it.
        let anchor = title.to_lowercase().replace(", ", "-");
        for name in title.split(", ") {
            let names: Vec<String> = match name.strip_suffix("PROVIDER") {
                Some(prefix) => names().iter().map(|provider| format!("{prefix}{provider}")).collect(),
                None => vec![name.to_owned()],
            };
            for name in names {
                assert_eq!(sections_named.get(&name), Some(&anchor), "{name}");
                assert!(described.insert(name), "{title} is there twice");
            }
        }
    }
    assert_eq!(alarms, described);
    // On the dashboard too, except those of the providers that are deployed, which it cannot name.
    let dashboard = stack["Dashboard"]["Properties"]["DashboardBody"].as_str().unwrap();
    for name in alarms {
        let is_of_a_provider = names().iter().any(|provider| name.ends_with(provider));
        assert!(dashboard.contains(&format!(":alarm:verification-callbacks-{name}\"")) != is_of_a_provider, "{name}");
    }
}

#[tokio::test]
async fn what_the_runbook_asks_the_stack_for_is_in_the_template() {
    let (stack, template) = (stack().await, everything_on().await);
    let mut asked = 0;
    for (word, known) in [("output ", None), ("resource ", Some(&stack)), ("logged ", Some(&stack))] {
        for line in runbook().lines() {
            // As a command: at the begin of a line or of a substitution.
            for rest in line.split("$(").flat_map(|part| part.trim_start_matches('`').strip_prefix(word)) {
                let name: String = rest.chars().take_while(|&c| c.is_alphanumeric() || "\"${}".contains(c)).collect();
                for provider in with_secrets().split(',') {
                    let name = name.replace("${P}", provider).replace('"', "");
                    let is_there = match known {
                        Some(resources) => resources.contains_key(&name),
                        None => template["Outputs"].get(&name).is_some(),
                    };
                    // The functions' own parameter.
                    assert!(is_there || name.starts_with('$'), "{word}{name}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 15, "{asked}");
}

#[tokio::test]
async fn every_function_and_route_is_hardened_alike() {
    let (stack, template) = (stack().await, everything_on().await);
    let functions = of_type(&stack, "AWS::Lambda::Function");
    // SAM names what it deploys after its folder here.
    let code = functions.iter().map(|(_, function)| function["Code"]["S3Key"].as_str().unwrap().to_owned());
    let folders = std::fs::read_dir(cli::project_root().unwrap().join("functions")).unwrap();
    let folders = folders.map(|entry| format!("functions/{}", entry.unwrap().file_name().to_str().unwrap()));
    assert_eq!(code.collect::<BTreeSet<_>>(), folders.collect());
    for (id, function) in functions {
        let name = id.strip_suffix("Function").unwrap();
        assert_eq!(function["LoggingConfig"]["LogGroup"], stack[&format!("{name}Logs")]["Ref"], "{id}");
        assert_eq!(function["LoggingConfig"]["LogFormat"], "JSON", "{id}");
        assert_eq!(function["ReservedConcurrentExecutions"].to_string().trim_matches('"'), "100", "{id}");
        assert_eq!(function["Environment"]["Variables"]["METRICS_NAMESPACE"], "verification-callbacks", "{id}");
    }
    for (id, role) in of_type(&stack, "AWS::IAM::Role") {
        assert_eq!(role["PermissionsBoundary"], stack["FunctionsBoundary"]["Ref"], "{id}");
        for policy in role["Policies"].as_array().unwrap() {
            for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
                let (actions, resources) = (statement["Action"].to_string(), statement["Resource"].to_string());
                assert!(!actions.contains('*') && !resources.contains('*'), "{id}: {statement}");
            }
        }
    }
    // Where somebody calls, the exact address is an output, and each route has a limit of its own.
    let stage = of_type(&stack, "AWS::ApiGatewayV2::Stage")[0].1;
    let limits = stage["RouteSettings"].as_object().unwrap();
    let mut routes = BTreeSet::new();
    let outputs = template["Outputs"].to_string();
    for (path, methods) in stack["Api"]["Properties"]["Body"]["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            routes.insert(format!("{} {path}", method.to_uppercase()));
        }
        let public = path.replace("+}", "}");
        // Beside it in the text, or in the variable `Path`.
        let forms = [format!("${{Url}}{public}\""), format!("\"Path\":\"{public}\"")];
        assert!(forms.iter().any(|form| outputs.contains(form)), "{path}");
    }
    let ours = ["GET /verifications/{provider}/{subject+}", "PUT /expectations/{provider}"].map(str::to_owned);
    assert_eq!(routes, REGISTRATIONS.iter().map(Registration::route).chain(ours).collect());
    assert!(routes.iter().eq(limits.keys().collect::<BTreeSet<_>>()), "{routes:?} {limits:?}");
    for limit in limits.values().chain([&stage["DefaultRouteSettings"]]) {
        assert_eq!(limit.to_string().replace('"', ""), "{ThrottlingBurstLimit:400,ThrottlingRateLimit:200}");
    }
    let mappings = of_type(&stack, "AWS::Lambda::EventSourceMapping");
    let drain = mappings.iter().find(|(id, _)| id.starts_with("SpillDrain")).unwrap().1;
    assert_eq!(drain["ScalingConfig"]["MaximumConcurrency"], 2);
}

#[tokio::test]
async fn one_provider_alone_deploys_what_it_needs() {
    let template = expanded(&[("Providers", "jumio"), ("WalletGateway", "false")]).await;
    let stack = resources(&template).unwrap();
    let functions: BTreeSet<&str> =
        of_type(&stack, "AWS::Lambda::Function").into_iter().map(|(id, _)| id.trim_end_matches("Function")).collect();
    assert_eq!(functions, ["Expectations", "Publisher", "Reconciler", "SpillDrain", "Verifications", "jumio"].into());
    assert_eq!(of_type(&stack, "AWS::SecretsManager::Secret").len(), 1);
    // How long each provider may take is one parameter for all.
    let due_after = template["Parameters"]["DueAfter"]["Default"].as_str().unwrap();
    let text = serde_json::to_string(&stack).unwrap().replace(due_after, "");
    for other in with_secrets().split(',').filter(|name| *name != "jumio").chain(["/callbacks/wallet"]) {
        // Not as a part of a longer word, such as personal.
        let mentions = text
            .match_indices(other)
            .filter(|(at, _)| !text[at + other.len()..].starts_with(|next: char| next.is_ascii_lowercase()));
        assert_eq!(mentions.count(), 0, "{other}");
    }
    let outputs: BTreeSet<&str> = template["Outputs"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(outputs.contains("jumioUrl") && outputs.contains("jumioSecret") && !outputs.contains("identomatUrl"));
}

#[tokio::test]
async fn the_access_log_says_nothing_of_path_query_headers_or_body() {
    let stack = stack().await;
    let stage = of_type(&stack, "AWS::ApiGatewayV2::Stage")[0].1;
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let variables: BTreeSet<&str> =
        format.split("$context.").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    // Each is API Gateway's own word or number, or an address.
    let harmless = [
        "requestId",
        "requestTimeEpoch",
        "routeKey",
        "status",
        "identity.sourceIp",
        "protocol",
        "responseLength",
        "responseLatency",
        "integrationLatency",
        "integrationStatus",
        "error.responseType",
    ];
    assert_eq!(variables, BTreeSet::from(harmless));
    assert!(!format.contains("$request") && format.matches('$').count() == harmless.len());
}

#[tokio::test]
async fn whatever_keeps_something_is_encrypted_with_the_stacks_key_but_the_spill_queues() {
    let (stack, template) = (stack().await, everything_on().await);
    let key = &stack["Key"];
    // Each is an output: those that providers present, and those by which providers are asked.
    let secrets = template["Outputs"].as_object().unwrap().keys().filter(|name| name.ends_with("Secret")).count();
    for (resource_type, property, number) in [
        ("AWS::DynamoDB::Table", "/SSESpecification/KMSMasterKeyId", 3),
        ("AWS::SQS::Queue", "/KmsMasterKeyId", 7),
        ("AWS::SecretsManager::Secret", "/KmsKeyId", secrets),
        // One for each function, and the access log.
        ("AWS::Logs::LogGroup", "/KmsKeyId", of_type(&stack, "AWS::Lambda::Function").len() + 1),
        ("AWS::SNS::Topic", "/KmsMasterKeyId", 1),
    ] {
        let resources = of_type(&stack, resource_type);
        assert_eq!(resources.len(), number, "{resource_type}");
        for (id, properties) in resources {
            let used = properties.pointer(property);
            // What makes the key unusable stops the table, and then the spill queue is what is left.
            if ["SpillQueue", "SpillDeadLetters"].contains(&id) {
                assert!(used.is_none() && properties["SqsManagedSseEnabled"] == true, "{id}");
            } else {
                assert!(used == Some(&key["Arn"]) || used == Some(&key["Ref"]), "{id}");
            }
        }
    }
    for (id, group) in of_type(&stack, "AWS::Logs::LogGroup") {
        assert!(group["RetentionInDays"].is_string() || group["RetentionInDays"].is_number(), "{id}");
    }
    for (id, table) in of_type(&stack, "AWS::DynamoDB::Table") {
        assert_eq!(table["DeletionProtectionEnabled"], true, "{id}");
        assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true, "{id}");
    }
    for (id, resource) in template["Resources"].as_object().unwrap() {
        if ["AWS::DynamoDB::Table", "AWS::KMS::Key"].contains(&resource["Type"].as_str().unwrap()) {
            // A first deployment that fails leaves nothing behind.
            assert_eq!(resource["DeletionPolicy"], "RetainExceptOnCreate", "{id}");
            assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{id}");
        }
    }
    // Nothing in the clear.
    let policy = &stack["QueuesPolicy"]["Properties"];
    for (id, _) in of_type(&stack, "AWS::SQS::Queue") {
        assert!(policy["Queues"].as_array().unwrap().contains(&stack[id]["Ref"]), "{id}");
    }
    for policy in [policy, &stack["AlarmTopicPolicy"]["Properties"]] {
        let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
        let in_the_clear = json!({ "Bool": { "aws:SecureTransport": "false" } });
        assert!(statements.iter().any(|s| s["Effect"] == "Deny" && s["Condition"] == in_the_clear), "{policy}");
    }
}

/// What SAM's own parser makes of a value of `parameter_overrides`.
async fn parsed_by_sam(overrides: &str) -> BTreeMap<String, String> {
    let root = cli::project_root().unwrap();
    let parse = "import json, sys; from samcli.cli.types import CfnParameterOverridesType as Overrides; \
                 print(json.dumps(Overrides().convert(sys.argv[1], None, None)))";
    let mut python = tokio::process::Command::new(tests::python::sam().await.join("python"));
    let said = tests::python::run(python.args(["-c", parse, overrides]).current_dir(root)).await;
    serde_json::from_str(&said).unwrap()
}

/// The lines of a file of parameters that are only examples, as if somebody had filled them in.
fn filled_in(text: &str) -> String {
    let example = |line: &str| -> Option<String> {
        let rest = line.strip_prefix("# ")?;
        let is_more = rest.starts_with("  ");
        let name = rest.split_once(':').map(|(name, _)| name);
        (is_more || name.is_some_and(|name| name.chars().all(char::is_alphanumeric))).then(|| rest.to_owned())
    };
    text.lines().map(|line| example(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[tokio::test]
async fn the_parameters_survive_sams_parser() {
    let root = cli::project_root().unwrap();
    let samconfig = std::fs::read_to_string(root.join("samconfig.toml")).unwrap();
    let template = everything_on().await;
    for environment in ["dev", "prod"] {
        let file = format!("parameters/{environment}.yaml");
        assert!(samconfig.contains(&format!("parameter_overrides = \"file://{file}\"")), "{file}");
        let text = filled_in(&std::fs::read_to_string(root.join(&file)).unwrap());
        let scratch = root.join(format!("target/parameters-{environment}.yaml"));
        std::fs::write(&scratch, text).unwrap();
        let parameters = parsed_by_sam(&format!("file://{}", scratch.display())).await;
        for (name, value) in &parameters {
            let parameter = &template["Parameters"][name];
            assert!(parameter.is_object(), "{file}: the template has no parameter {name}");
            if let Some(allowed) = parameter["AllowedValues"].as_array() {
                let values = if parameter["Type"] == "CommaDelimitedList" {
                    value.split(',').collect()
                } else {
                    vec![value.as_str()]
                };
                for value in values {
                    let is_allowed = |allowed: &Value| allowed.to_string().trim_matches('"') == value;
                    assert!(allowed.iter().any(is_allowed), "{file}: {name} cannot be {value:?}");
                }
            }
        }
        if environment == "prod" {
            let networks = &parameters["JumioNetworks"];
            assert_eq!(runtime::networks(networks).unwrap().len(), 2);
            let issuers: Vec<PinnedIssuer> = serde_json::from_str(&parameters["WalletIssuers"]).unwrap();
            assert!(issuers[0].audience.is_some() && Https::fetches(&issuers[0].jwks_url));
        }
    }
}

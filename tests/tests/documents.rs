//! What the documents say is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use tests::FUNCTIONS;

/// Every Markdown file of the project.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let mut found = Vec::new();
    documents(&cli::project_root().unwrap(), &mut found);
    assert!(found.len() > 10);
    for document in found {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(document.with_file_name(path).exists(), "{} leads to {path}", document.display());
        }
    }
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
    for folder in ["functions", "shared", "tests/tests"] {
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

/// template.yaml, as text by resource: what it says of each is what these tests are about, and not what SAM makes of it.
struct Template {
    text: String,
    resources: BTreeMap<String, String>,
}

impl Template {
    fn read() -> Self {
        let text = std::fs::read_to_string(cli::project_root().unwrap().join("template.yaml")).unwrap();
        let (_, section) = text.split_once("\nResources:\n").unwrap();
        let section = section.split_once("\nOutputs:\n").unwrap().0;
        let mut resources: BTreeMap<String, String> = BTreeMap::new();
        let mut name = String::new();
        for line in section.lines() {
            if let Some(begun) = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'))
                && begun.chars().all(char::is_alphanumeric)
            {
                name = begun.to_owned();
            }
            let block = resources.entry(name.clone()).or_default();
            *block += line;
            *block += "\n";
        }
        Self { text, resources }
    }

    /// The resources of a type.
    fn of_type(&self, resource_type: &str) -> Vec<(&str, &str)> {
        let line = format!("    Type: {resource_type}\n");
        let found = self.resources.iter().filter(|(_, block)| block.contains(&line));
        found.map(|(name, block)| (name.as_str(), block.as_str())).collect()
    }
}

/// The value of a property in a resource's text.
fn value<'a>(block: &'a str, property: &str) -> Option<&'a str> {
    block.lines().find_map(|line| line.trim_start().strip_prefix(property)?.strip_prefix(": "))
}

const PROVIDERS: [&str; 5] = ["identomat", "jumio", "signicat", "verifyvasp", "wallet"];

#[test]
fn every_alarm_has_a_section_in_the_runbook_and_every_section_its_alarms() {
    let template = Template::read();
    let alarms: BTreeSet<String> = template
        .of_type("AWS::CloudWatch::Alarm")
        .into_iter()
        .map(|(name, block)| {
            assert!(name.ends_with("Alarm"), "{name}");
            for property in ["AlarmActions", "OKActions"] {
                assert_eq!(value(block, property), Some("[!Ref AlarmTopic]"), "{name}");
            }
            assert!(value(block, "TreatMissingData").is_some() && value(block, "AlarmDescription").is_some(), "{name}");
            value(block, "AlarmName").unwrap().strip_prefix("!Sub ${AWS::StackName}-").unwrap().to_owned()
        })
        .collect();
    let runbook = std::fs::read_to_string(cli::project_root().unwrap().join("docs/runbook.md")).unwrap();
    let (_, sections) = runbook.split_once("\n## Alarms\n").unwrap();
    let sections = sections.split_once("\n## Drills\n").unwrap().0;
    let mut described = BTreeSet::new();
    for section in sections.split("\n### ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        for part in ["**Means**:", "**See more**:", "**Do**:"] {
            assert!(text.contains(part), "{title} has no {part}");
        }
        for name in title.split(", ") {
            match name.strip_suffix("PROVIDER") {
                Some(prefix) => described.extend(PROVIDERS.map(|provider| format!("{prefix}{provider}"))),
                None => assert!(described.insert(name.to_owned()), "{name} is there twice"),
            }
        }
    }
    assert_eq!(alarms, described);
    // On the dashboard too, but for those that are not always there.
    let dashboard = &template.resources["Dashboard"];
    for (name, block) in template.of_type("AWS::CloudWatch::Alarm") {
        assert!(dashboard.contains(&format!("${{{name}.Arn}}")) != block.contains("    Condition: "), "{name}");
    }
}

#[test]
fn what_the_runbook_asks_the_stack_for_is_in_the_template() {
    let template = Template::read();
    let runbook = std::fs::read_to_string(cli::project_root().unwrap().join("docs/runbook.md")).unwrap();
    let mut asked = 0;
    for (index, word) in ["output ", "resource ", "logged "].iter().enumerate() {
        for line in runbook.lines() {
            // As a command: at the begin of a line or of a substitution.
            for rest in line.split("$(").flat_map(|part| part.trim_start_matches('`').strip_prefix(word)) {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                let is_there = match index {
                    0 => template.text.contains(&format!("\n  {name}:\n    Description: ")),
                    _ => template.resources.contains_key(&name),
                };
                assert!(is_there, "{word}{name}");
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked}");
}

#[test]
fn a_callback_is_slow_after_three_fifths_of_what_its_provider_gives() {
    let template = Template::read();
    let between = |text: &str, before: &str, after: &str| -> String {
        let (_, rest) = text.split_once(before).unwrap();
        rest.split_once(after).unwrap().0.to_owned()
    };
    let mut found = BTreeSet::new();
    for function in FUNCTIONS {
        let source = cli::project_root().unwrap().join("functions").join(function).join("src/lib.rs");
        let source = std::fs::read_to_string(source).unwrap();
        let provider = between(&source, "ProviderName::new(\"", "\")");
        let seconds: u32 = between(&source, "ANSWER_WITHIN: Duration = Duration::from_secs(", ")").parse().unwrap();
        let alarms = template.of_type("AWS::CloudWatch::Alarm");
        let name = format!("!Sub ${{AWS::StackName}}-slow-{provider}");
        let (_, alarm) = alarms.iter().find(|(_, block)| value(block, "AlarmName") == Some(&name)).unwrap();
        assert_eq!(value(alarm, "Threshold"), Some((seconds * 600).to_string().as_str()), "{provider}");
        // And so on the dashboard.
        let share = format!("100 * a_{provider} / {}\"", seconds * 1000);
        assert!(template.resources["Dashboard"].contains(&share), "{share}");
        found.insert(provider);
    }
    assert!(found.iter().eq(&PROVIDERS));
}

#[test]
fn every_function_and_route_is_hardened_alike() {
    let template = Template::read();
    let (_, globals) = template.text.split_once("\nGlobals:\n").unwrap();
    let globals = globals.split_once("\nResources:\n").unwrap().0;
    let everywhere = [
        "Tracing: Active",
        "PermissionsBoundary: !Ref FunctionsBoundary",
        "ReservedConcurrentExecutions: !If",
        "METRICS_NAMESPACE: !Ref AWS::StackName",
    ];
    for setting in everywhere {
        assert!(globals.contains(setting), "{setting}");
    }
    let functions = template.of_type("AWS::Serverless::Function");
    assert_eq!(functions.len(), 10);
    let api = &template.resources["Api"];
    let mut routes = 0;
    for (name, block) in functions {
        let name = name.strip_suffix("Function").unwrap();
        assert_eq!(value(block, "LogGroup"), Some(format!("!Ref {name}Logs").as_str()));
        assert!(template.resources["FunctionsBoundary"].contains(&format!("!GetAtt {name}Logs.Arn\n")), "{name}");
        for setting in everywhere {
            assert!(!block.contains(setting.split(':').next().unwrap()), "{name} has its own {setting}");
        }
        for line in block.lines().filter(|line| line.contains("Resource:") || line.contains("Action:")) {
            assert!(!line.contains('*'), "{name}: {line}");
        }
        // Where a provider calls, the exact address is an output.
        if let Some(path) = value(block, "Path") {
            let (_, output) = template.text.split_once(&format!("\n  {name}Url:\n")).unwrap();
            assert_eq!(output.lines().nth(2), Some(format!("      - ${{Url}}{}", path.replace("+}", "}")).as_str()));
            // And each route has a limit of its own.
            let route = format!("\n        {} {path}: {THROTTLING}\n", value(block, "Method").unwrap());
            assert!(api.contains(&route), "{route}");
            routes += 1;
        }
    }
    assert_eq!(api.matches(THROTTLING).count(), routes + 1);
    assert!(api.contains(&format!("DefaultRouteSettings: {THROTTLING}\n")));
    assert!(template.resources["SpillDrainFunction"].contains("MaximumConcurrency: 2\n"));
}

const THROTTLING: &str = "{ ThrottlingRateLimit: !Ref ThrottlingRate, ThrottlingBurstLimit: !Ref ThrottlingBurst }";

#[test]
fn the_access_log_says_nothing_of_path_query_headers_or_body() {
    let template = Template::read();
    let api = &template.resources["Api"];
    let (_, format) = api.split_once("Format: >-\n").unwrap();
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

#[test]
fn whatever_keeps_something_is_encrypted_with_the_stacks_key_but_the_spill_queues() {
    let template = Template::read();
    for (resource_type, property, number) in [
        ("AWS::DynamoDB::Table", "KMSMasterKeyId: !GetAtt Key.Arn", 3),
        ("AWS::SQS::Queue", "KmsMasterKeyId: !GetAtt Key.Arn", 7),
        ("AWS::SecretsManager::Secret", "KmsKeyId: !GetAtt Key.Arn", 4),
        ("AWS::Logs::LogGroup", "KmsKeyId: !GetAtt Key.Arn", 11),
        ("AWS::SNS::Topic", "KmsMasterKeyId: !Ref Key", 1),
    ] {
        let resources = template.of_type(resource_type);
        assert_eq!(resources.len(), number, "{resource_type}");
        for (name, block) in resources {
            // What makes the key unusable stops the table, and then the spill queue is what is left.
            let is_spill = ["SpillQueue", "SpillDeadLetters"].contains(&name);
            assert!(block.contains(if is_spill { "SqsManagedSseEnabled: true" } else { property }), "{name}");
            assert!(!is_spill || !block.contains("!GetAtt Key.Arn"), "{name}");
        }
    }
    for (name, block) in template.of_type("AWS::Logs::LogGroup") {
        assert!(block.contains("RetentionInDays: !Ref LogRetentionDays"), "{name}");
    }
    for (name, block) in template.of_type("AWS::DynamoDB::Table") {
        for setting in ["DeletionProtectionEnabled: !If", "PointInTimeRecoveryEnabled: true"] {
            assert!(block.contains(setting), "{name}: {setting}");
        }
    }
    let kept = template.of_type("AWS::DynamoDB::Table").into_iter().chain(template.of_type("AWS::KMS::Key"));
    for (name, block) in kept {
        // A first deployment that fails leaves nothing behind.
        assert_eq!(value(block, "DeletionPolicy"), Some("RetainExceptOnCreate"), "{name}");
        assert_eq!(value(block, "UpdateReplacePolicy"), Some("Retain"), "{name}");
    }
    // What KMS demands on the key for its alias.
    for action in ["kms:CreateAlias", "kms:DeleteAlias", "kms:Update*"] {
        assert!(template.resources["Key"].contains(&format!("- {action}\n")), "{action}");
    }
    // Nothing in the clear.
    let policy = &template.resources["QueuesPolicy"];
    for (name, _) in template.of_type("AWS::SQS::Queue") {
        assert!(policy.contains(&format!("- !Ref {name}\n")), "{name}");
    }
    assert!(
        policy.contains("aws:SecureTransport: \"false\"")
            && template.resources["AlarmTopicPolicy"].contains("aws:SecureTransport")
    );
}

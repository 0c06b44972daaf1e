//! docs/contract/ is what the code does, and what follows from the registrations of the providers is where it belongs.
//! `UPDATE_CONTRACT=1 cargo test -p tests contract` writes what is made from the types and the registrations.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Once,
};

use serde_json::{Value, json};
use tests::{
    contract::{ATTRIBUTES, MESSAGE_KINDS, any_message, check_message, validator},
    samples,
    template::{STACK_NAME, everything_on, resources},
};

const CONTRACT: &str = "docs/contract";

fn path(file: &str) -> PathBuf {
    cli::project_root().unwrap().join(file)
}

/// Whether files are to be written, rather than compared.
#[expect(clippy::disallowed_methods, reason = "how a test is asked to write what it compares")]
fn is_update() -> bool {
    std::env::var_os("UPDATE_CONTRACT").is_some()
}

/// Checks that a file is as it should be, or makes it so.
fn check_file(name: &str, expected: &str) {
    let file = path(name);
    if is_update() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let other = text.lines().zip(expected.lines()).position(|(is, should_be)| is != should_be);
    assert!(
        text == expected,
        "{name} is not current from line {} on: run UPDATE_CONTRACT=1 cargo test -p tests contract",
        other.unwrap_or_else(|| text.lines().count().min(expected.lines().count())) + 1
    );
}

/// Writes what follows from the registrations if that is asked for, before another test reads it.
fn update() {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        if is_update() {
            tests::made::files().iter().for_each(|(file, text)| check_file(file, text));
        }
    });
}

fn yaml(file: &str) -> Value {
    update();
    let text = std::fs::read_to_string(cli::project_root().unwrap().join(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let mut files = BTreeSet::new();
    let schemas = MESSAGE_KINDS.iter().map(|(name, kind)| (name.clone(), kind.schema.clone()));
    for (name, schema) in schemas.chain([("message".to_owned(), any_message())]) {
        let file = format!("{name}.json");
        check_file(
            &format!("{CONTRACT}/schemas/{file}"),
            &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()),
        );
        files.insert(file);
    }
    let present = std::fs::read_dir(path(CONTRACT).join("schemas")).unwrap();
    let present: BTreeSet<String> = present.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let left: Vec<&String> = present.difference(&files).collect();
    assert!(left.is_empty(), "{CONTRACT}/schemas has files without a kind: delete {left:?}");
}

#[test]
fn the_table_of_kinds_is_that_of_the_types() {
    const BEGIN: &str = "<!-- made from the types -->\n";
    const FILE: &str = "docs/contract/README.md";
    const END: &str = "<!-- up to here -->\n";
    let mut table = "\n| kind | queue | outcomes | details |\n|---|---|---|---|\n".to_owned();
    for (name, kind) in MESSAGE_KINDS.iter() {
        let queue = if kind.is_delivery { "deliveries" } else { "verdicts" };
        let code = |names: &mut dyn Iterator<Item = String>| {
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let details = &kind.schema["properties"]["data"]["properties"]["details"];
        let required = details["required"].as_array().cloned().unwrap_or_default();
        let details = details["properties"].as_object().into_iter().flatten().map(|(name, _)| name);
        let mut details = details
            .filter(|name| *name != "payload_omitted")
            .map(|name| if required.contains(&json!(name)) { name.clone() } else { format!("{name}?") });
        let outcomes = code(&mut kind.outcomes.iter().map(|outcome| (*outcome).to_owned()));
        let link = format!("[`{name}`](schemas/{name}.json)");
        table += &format!("| {link} | {queue} | {outcomes} | {} |\n", code(&mut details));
    }
    let text = std::fs::read_to_string(path(FILE)).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    check_file(FILE, &format!("{before}{BEGIN}{table}\n{END}{after}"));
}

#[test]
fn what_follows_from_the_registrations_is_where_it_belongs() {
    update();
    tests::made::files().iter().for_each(|(file, text)| check_file(file, text));
}

#[test]
fn every_outcome_of_every_kind_has_a_sample_and_no_sample_has_another() {
    let events = samples().into_iter().filter_map(|sample| sample.expect.event);
    let of_samples: BTreeSet<(String, String, bool)> =
        events.map(|event| (event.kind, event.outcome.as_str().to_owned(), event.delivery)).collect();
    // No callback says that a verdict is overdue.
    let of_callbacks = MESSAGE_KINDS.iter().filter(|(name, _)| !name.ends_with(".overdue"));
    let declared = of_callbacks.flat_map(|(name, kind)| {
        kind.outcomes.iter().map(|outcome| (name.clone(), (*outcome).to_owned(), kind.is_delivery))
    });
    let declared: BTreeSet<_> = declared.collect();
    // Some verdicts are only in what a provider answers when it is asked.
    let fetched = crate::providers::fetched_outcomes();
    let is_fetched = |(kind, outcome, _): &&(String, String, bool)| fetched.contains(&(kind.clone(), outcome.clone()));
    let missing = declared.difference(&of_samples).filter(|one| !is_fetched(one));
    let unknown = of_samples.difference(&declared);
    let (missing, unknown): (Vec<_>, Vec<_>) = (missing.collect(), unknown.collect());
    assert!(missing.is_empty(), "no sample in events/ is of this kind, outcome and queue: {missing:?}");
    assert!(unknown.is_empty(), "samples in events/ have an outcome that kinds.rs does not declare: {unknown:?}");
}

/// A message as a later version might send it.
fn of_a_later_version() -> Value {
    json!({
        "specversion": "1.0", "id": "0", "source": "/callbacks/elsewhere", "type": "verification.wallet.verification",
        "subject": "s", "time": "2026-01-31T00:00:00.000Z", "datacontenttype": "application/json",
        "sequence": "0001769817600000", "outcome": "paused", "assurance": "oracle", "new": 1,
        "data": {
            "provider": "wallet", "track": "verification", "previous_outcome": "paused", "reasons": ["new"], "received_at": "2026-01-31T00:00:00.000Z", "new": {},
            "details": { "new": null, "credentials": { "1": { "verdict": "paused", "until": "tomorrow" } } },
        },
    })
}

#[test]
fn what_a_later_version_may_add_is_allowed() {
    let later = of_a_later_version();
    for schema in [&MESSAGE_KINDS["wallet.verification"].schema, &any_message()] {
        validator(schema).validate(&later).unwrap();
    }
    let mut of_new_kind = later;
    of_new_kind["type"] = json!("verification.new.kind");
    validator(&any_message()).validate(&of_new_kind).unwrap();
}

#[test]
#[should_panic(expected = "verification.wallet.verification, at /")]
fn what_only_a_later_version_may_send_is_not_taken_for_this_ones() {
    let mut later = of_a_later_version();
    later["source"] = json!("/callbacks/wallet/verification");
    check_message(&later);
}

#[test]
fn what_consumers_rely_on_is_required() {
    let relied_on = validator(&MESSAGE_KINDS["wallet.verification"].schema);
    let change = |pointer: &str, value: Value| {
        let mut message = of_a_later_version();
        *message.pointer_mut(pointer).unwrap() = value;
        relied_on.is_valid(&message)
    };
    assert!(change("/id", json!("1")));
    assert!(!change("/id", json!(1)));
    assert!(!change("/time", json!("yesterday")));
    assert!(!change("/type", json!("verification.wallet.issuance")));
    assert!(!change("/data/details", json!({})));
    for attribute in
        ["specversion", "id", "source", "type", "subject", "time", "sequence", "outcome", "assurance", "data"]
    {
        let mut message = of_a_later_version();
        message.as_object_mut().unwrap().remove(attribute);
        assert!(!relied_on.is_valid(&message), "{attribute}");
    }
}

#[tokio::test]
async fn asyncapi_has_the_queues_of_the_template_with_every_kind() {
    let document = yaml("docs/contract/asyncapi.yaml");
    let resources = resources(everything_on().await).unwrap();
    for (channel, queue, dead_letters, is_delivery) in [
        ("verdicts", "VerificationEventsQueue", "VerificationEventsDeadLetters", false),
        ("deliveries", "DeliveryRequestsQueue", "DeliveryRequestsDeadLetters", true),
    ] {
        let described = &document["channels"][channel];
        let mut kinds = BTreeSet::new();
        for (name, message) in described["messages"].as_object().unwrap() {
            let message = message["$ref"].as_str().unwrap().strip_prefix("#/components/messages/").unwrap();
            assert_eq!(name, message);
            kinds.insert(name.clone());
        }
        let of_queue = MESSAGE_KINDS.iter().filter(|(_, kind)| kind.is_delivery == is_delivery);
        assert_eq!(kinds, of_queue.map(|(name, _)| name.clone()).collect(), "{channel}");

        let binding = &described["bindings"]["sqs"];
        check_queue(&binding["queue"], &resources[queue]["Properties"]);
        check_queue(&binding["deadLetterQueue"], &resources[dead_letters]["Properties"]);
        assert_eq!(described["address"], binding["queue"]["name"]);
        let redrive = &binding["queue"]["redrivePolicy"];
        let expected = &resources[queue]["Properties"]["RedrivePolicy"];
        assert_eq!(expected["deadLetterTargetArn"], resources[dead_letters]["Arn"]);
        assert_eq!(redrive["maxReceiveCount"], expected["maxReceiveCount"]);
        assert_eq!(redrive["deadLetterQueue"]["name"], binding["deadLetterQueue"]["name"]);
    }
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        assert_eq!(message["name"], format!("verification.{name}"));
        assert_eq!(message["payload"]["$ref"], format!("schemas/{name}.json"));
        let examples = message["examples"].as_array().into_iter().flatten();
        examples.for_each(|example| check_message(&example["payload"]));
    }
    let attributes = &document["components"]["messageTraits"]["cloudEvent"]["headers"];
    assert_eq!(keys(&attributes["properties"]), ATTRIBUTES.map(str::to_owned).into());
    assert_eq!(attributes["required"], json!(ATTRIBUTES));
    assert_eq!(keys(&document["components"]["messages"]), MESSAGE_KINDS.keys().cloned().collect());
}

/// Checks what AsyncAPI says of a queue by what the template does.
fn check_queue(described: &Value, properties: &Value) {
    let name = properties["QueueName"].as_str().unwrap().replace(STACK_NAME, "{stack}");
    assert_eq!(described["name"], name);
    assert_eq!(described["fifoQueue"], *properties.get("FifoQueue").unwrap_or(&json!(false)), "{name}");
    for (ours, theirs) in [
        ("visibilityTimeout", "VisibilityTimeout"),
        ("messageRetentionPeriod", "MessageRetentionPeriod"),
        ("deduplicationScope", "DeduplicationScope"),
        ("fifoThroughputLimit", "FifoThroughputLimit"),
    ] {
        // A parameter's value is a text.
        let text = |value: Option<&Value>| value.map(|value| value.to_string().replace('"', ""));
        assert_eq!(text(described.get(ours)), text(properties.get(theirs)), "{ours} of {name}");
    }
}

/// The operations that a stranger finds: method and path, with the function behind each.
async fn routes_of_the_template() -> BTreeMap<(String, String), String> {
    update();
    let resources = resources(everything_on().await).unwrap();
    let mut routes = BTreeMap::new();
    for (path, methods) in resources["Api"]["Properties"]["Body"]["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let uri = operation["x-amazon-apigateway-integration"]["uri"].as_str().unwrap();
            let is_behind = |resource: &&Value| {
                resource["Type"] == "AWS::Lambda::Function"
                    && uri.contains(&format!("/functions/{}/", resource["Arn"].as_str().unwrap()))
            };
            let function = resources.values().find(is_behind).unwrap();
            let folder = function["Properties"]["Code"]["S3Key"].as_str().unwrap().strip_prefix("functions/").unwrap();
            routes.insert((method.clone(), path.replace("+}", "}")), folder.to_owned());
        }
    }
    routes
}

#[tokio::test]
async fn openapi_has_the_routes_of_the_template() {
    let document = yaml("docs/contract/openapi.yaml");
    // The announcements of each provider are described by themselves, and come by one route.
    let (one, each) = ("/expectations/{provider}", "/expectations/");
    let described = document["paths"].as_object().unwrap().iter().flat_map(|(path, operations)| {
        let route = if path.starts_with(each) { one } else { path };
        operations.as_object().unwrap().keys().map(move |method| (method.clone(), route.to_owned()))
    });
    let routes = routes_of_the_template().await;
    assert_eq!(described.collect::<BTreeSet<_>>(), routes.keys().cloned().collect());
    for ((method, path), function) in routes.iter().filter(|((_, path), _)| path != one) {
        assert_eq!(document["paths"][path][method]["operationId"], *function);
    }
    let announced = document["paths"].as_object().unwrap().keys().filter_map(|path| path.strip_prefix(each));
    assert_eq!(announced.collect::<BTreeSet<_>>(), providers::names().into_iter().collect());
}

#[tokio::test]
async fn every_sample_is_answered_as_openapi_says() {
    let document = yaml("docs/contract/openapi.yaml");
    let mut answered = BTreeSet::new();
    for ((method, path), function) in routes_of_the_template().await {
        let responses = &document["paths"][path][method]["responses"];
        for sample in samples().into_iter().filter(|sample| sample.function == function) {
            let status = sample.expect.status.to_string();
            let response = resolved(&document, &responses[&status]);
            let schema = &response["content"]["application/json"]["schema"];
            let valid = validator(resolved(&document, schema)).validate(&sample.expect.body);
            assert!(schema.is_object() && valid.is_ok(), "{}: {valid:?}", sample.name());
            answered.insert(function.clone());
        }
    }
    assert_eq!(answered, tests::FUNCTIONS.map(str::to_owned).into());
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

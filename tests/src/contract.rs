//! What messages look like, as docs/contract/ tells consumers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use jsonschema::Validator;
use model::{
    Kind, Message, ProviderName,
    schema::{KindSchema, schema_of},
};
use serde_json::{Value, json, value::RawValue};

use crate::providers::{ProviderKinds, kinds_by_provider};

/// One kind of message.
#[derive(Debug)]
pub struct MessageKind {
    /// How it can turn out.
    pub outcomes: BTreeSet<&'static str>,
    /// Whether it goes to the queue for deliveries, rather than to that for verdicts.
    pub is_delivery: bool,
    /// What consumers can rely on: it allows what a later version may add.
    pub schema: Value,
    relied_on: Validator,
    /// The same without room for more: just what this version sends.
    sent: Validator,
}

/// Every kind of message, by provider and kind, such as `verifyvasp.tx-report`.
pub static MESSAGE_KINDS: LazyLock<BTreeMap<String, MessageKind>> = LazyLock::new(|| {
    // Two functions may have a kind in common, if they are of one provider.
    let mut kinds: BTreeMap<String, (ProviderName, KindSchema, BTreeSet<String>)> = BTreeMap::new();
    for ProviderKinds { provider, source, kinds: of_provider } in kinds_by_provider() {
        for kind in of_provider {
            let described = kinds.entry(format!("{provider}.{}", kind.name));
            // What we record ourselves comes by no route of a callback.
            let is_ours = kind.name == Kind::OVERDUE.name();
            let source = if is_ours { format!("/expectations/{provider}") } else { source.to_owned() };
            described.or_insert((provider, kind, BTreeSet::new())).2.insert(source);
        }
    }
    let described = kinds.into_iter().map(|(name, (provider, kind, sources))| {
        let schema = schema(&name, provider, &kind, &sources);
        let (open, closed) = (open(schema.clone()), closed(schema));
        let kind = MessageKind {
            outcomes: kind.outcomes.iter().map(|outcome| outcome.as_str()).collect(),
            is_delivery: kind.is_delivery,
            relied_on: validator(&open),
            sent: validator(&closed),
            schema: open,
        };
        (name, kind)
    });
    described.collect()
});

/// What is true of every message, also of a kind that is added later.
#[must_use]
pub fn any_message() -> Value {
    let mut schema = open(envelope());
    schema["description"] = json!("A message of any kind, also of one that is added later.");
    schema
}

/// The message attributes that every message has in SQS.
pub const ATTRIBUTES: [&str; 4] = ["content-type", "outcome", "provider", "type"];

/// Checks that a message has these attributes, and that they say what it does.
#[track_caller]
pub fn check_attributes(attributes: &BTreeMap<&str, &str>, message: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let content_type = "application/cloudevents+json".to_owned();
    let values = [content_type, text(&message["outcome"]), text(&message["data"]["provider"]), text(&message["type"])];
    let expected = ATTRIBUTES.into_iter().zip(values.iter().map(String::as_str));
    assert_eq!(*attributes, expected.collect());
}

/// Checks that a message is just what the contract says of its kind.
#[track_caller]
pub fn check_message(message: &Value) {
    static ANY_MESSAGE: LazyLock<Validator> = LazyLock::new(|| validator(&any_message()));
    let event_type = message["type"].as_str().unwrap();
    let kind = &MESSAGE_KINDS[event_type.strip_prefix("verification.").unwrap()];
    for validator in [&ANY_MESSAGE, &kind.relied_on, &kind.sent] {
        if let Err(error) = validator.validate(message) {
            panic!("{event_type}, at {}: {error}", error.instance_path());
        }
    }
}

/// The same, whatever the provider's JSON in it is: some can be passed on, and not be read.
#[track_caller]
pub fn check_message_around_payload(mut message: Message) {
    if let Some(payload) = &mut message.data.payload {
        *payload = RawValue::from_string("null".to_owned()).unwrap();
    }
    check_message(&serde_json::to_value(message).unwrap());
}

/// A validator of this schema, formats included.
#[must_use]
pub fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

/// What a message of this kind looks like.
fn schema(name: &str, provider: ProviderName, kind: &KindSchema, sources: &BTreeSet<String>) -> Value {
    let mut schema = envelope();
    let outcomes: BTreeSet<&str> = kind.published.iter().map(|outcome| outcome.as_str()).collect();
    let event_type = format!("verification.{name}");
    schema["title"] = json!(event_type);

    let attributes = &mut schema["properties"];
    attributes["type"]["const"] = json!(event_type);
    attributes["source"]["enum"] = json!(sources);
    let all_outcomes = attributes["outcome"]["oneOf"].as_array_mut().unwrap();
    all_outcomes.retain(|outcome| outcomes.contains(outcome["const"].as_str().unwrap()));

    let data = &mut attributes["data"];
    data["properties"]["provider"]["const"] = json!(provider.as_str());
    let details = &mut data["properties"]["details"];
    add_details(details, kind.details.clone().to_value());
    if kind.is_delivery {
        remove(details, "payload_omitted");
        // What is perishable stays where it perishes.
        remove(data, "payload");
        remove(data, "payload_text");
    }
    if kind.name == Kind::OVERDUE.name() {
        remove(&mut data["properties"]["details"], "payload_omitted");
        remove(data, "payload");
        remove(data, "payload_text");
    }
    if kind.name == model::Unrecognized::KIND.name() {
        require(data, "unrecognized");
    } else {
        remove(data, "unrecognized");
    }
    if kind.is_delivery {
        require(&mut schema, "expirytime");
    } else {
        remove(&mut schema, "expirytime");
    }
    schema
}

fn envelope() -> Value {
    let mut schema = schema_of::<Message>().to_value();
    // May be missing where a message of a later version is read; it never is where one is written.
    require(&mut schema, "assurance");
    absent_rather_than_null(&mut schema);
    schema
}

/// Puts a kind's details where an envelope has those of any kind.
fn add_details(any: &mut Value, mut details: Value) {
    absent_rather_than_null(&mut details);
    let (any, details) = (any.as_object_mut().unwrap(), details.as_object_mut().unwrap());
    any.remove("additionalProperties");
    any.extend(["description", "required"].into_iter().filter_map(|name| details.remove_entry(name)));
    if let (Some(Value::Object(any)), Some(Value::Object(details))) =
        (any.get_mut("properties"), details.remove("properties"))
    {
        any.extend(details);
    }
}

fn require(object: &mut Value, name: &str) {
    object["required"].as_array_mut().unwrap().push(json!(name));
}

fn remove(object: &mut Value, name: &str) {
    object["properties"].as_object_mut().unwrap().remove(name);
}

/// Calls a function with the keywords of each schema within a schema, and then its own.
fn for_each_schema(schema: &mut Value, change: &mut impl FnMut(&mut serde_json::Map<String, Value>)) {
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in &mut *keywords {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                properties.values_mut().for_each(|property| for_each_schema(property, change));
            }
            ("oneOf" | "anyOf", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| for_each_schema(schema, change));
            }
            ("additionalProperties" | "items", schema) => for_each_schema(schema, change),
            _ => {}
        }
    }
    change(keywords);
}

/// Says what a type does not tell: a field that need not be there is absent, never null.
fn absent_rather_than_null(schema: &mut Value) {
    for_each_schema(schema, &mut |keywords| {
        let required = keywords.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let properties = keywords.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
        for (_, property) in properties.filter(|(name, _)| !required.iter().any(|required| required == *name)) {
            if let Some(types) = property.get_mut("type")
                && let Some(name) = types.as_array().and_then(|types| types.iter().find(|name| *name != "null"))
            {
                *types = name.clone();
            }
        }
    });
}

/// The schema with what a later version may add: other words, other alternatives. Other fields are allowed already.
fn open(mut schema: Value) -> Value {
    for_each_schema(&mut schema, &mut |keywords| {
        let alternatives = match (keywords.remove("oneOf"), keywords.remove("enum")) {
            (Some(Value::Array(alternatives)), _) => alternatives,
            (_, Some(words)) => vec![json!({ "enum": words })],
            _ => return,
        };
        let of_type = alternatives[0].get("type").cloned().unwrap_or_else(|| json!("string"));
        let later = json!({ "description": "What a later version may add.", "type": of_type });
        keywords.insert("anyOf".to_owned(), alternatives.into_iter().chain([later]).collect());
    });
    schema
}

/// The schema without room for anything that it does not name.
fn closed(mut schema: Value) -> Value {
    for_each_schema(&mut schema, &mut |keywords| {
        if keywords.contains_key("properties") && !keywords.contains_key("additionalProperties") {
            keywords.insert("additionalProperties".to_owned(), json!(false));
        }
    });
    schema
}

//! What stands in for AWS and for the wallet's issuer: DynamoDB, SQS, Secrets Manager, and the issuer's keys. It answers at once, and counts.

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context as _, bail};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use super::dynamodb::{Tables, Units};

/// An answer to a call.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// An error as DynamoDB has it.
    pub(crate) fn error(code: &str, message: &str) -> Self {
        let code = format!("com.amazonaws.dynamodb.v20120810#{code}");
        Self { status: 400, body: json!({ "__type": code, "Message": message }) }
    }

    pub(crate) fn insert(&mut self, name: &str, value: Value) {
        if let Some(body) = self.body.as_object_mut() {
            body.insert(name.to_owned(), value);
        }
    }
}

/// What was asked of AWS.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Calls {
    /// How often each operation was.
    pub(crate) by_operation: BTreeMap<String, u64>,
    /// What DynamoDB charges for it.
    pub(crate) units: Units,
}

impl Calls {
    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.by_operation.values().sum()
    }

    /// How many were requests to SQS.
    pub(crate) fn to_queues(&self) -> u64 {
        ["SendMessage", "SendMessageBatch"].iter().filter_map(|operation| self.by_operation.get(*operation)).sum()
    }

    /// What came since these.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let since = |(operation, calls): (&String, &u64)| {
            let calls = calls - before.by_operation.get(operation).unwrap_or(&0);
            (calls > 0).then(|| (operation.clone(), calls))
        };
        Self {
            by_operation: self.by_operation.iter().filter_map(since).collect(),
            units: Units { write: self.units.write - before.units.write, read: self.units.read - before.units.read },
        }
    }
}

/// All services at one address.
#[derive(Debug)]
pub(crate) struct Services {
    jwks: Value,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: Tables,
    by_operation: BTreeMap<String, u64>,
}

impl Services {
    /// Services with an issuer that has these public keys.
    pub(crate) fn new(jwks: Value) -> Self {
        Self { jwks, state: Mutex::default() }
    }

    /// Begins anew, with empty tables.
    pub(crate) fn reset(&self) {
        *self.lock() = State::default();
    }

    /// What was asked since the beginning.
    pub(crate) fn calls(&self) -> Calls {
        let state = self.lock();
        Calls { by_operation: state.by_operation.clone(), units: state.tables.units }
    }

    /// Works on the tables.
    pub(crate) fn with_tables<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> T {
        work(&mut self.lock().tables)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The issuer's keys.
    pub(crate) fn jwks(&self) -> Reply {
        Reply::ok(self.jwks.clone())
    }

    /// Answers a call by its `X-Amz-Target`.
    ///
    /// # Errors
    /// If it is not served here, or not understood.
    pub(crate) fn answer(&self, target: &str, body: &[u8]) -> anyhow::Result<Reply> {
        let (service, operation) = target.split_once('.').context("a target has two parts")?;
        let request: Value = serde_json::from_slice(body).context("the request is not JSON")?;
        let mut state = self.lock();
        *state.by_operation.entry(operation.to_owned()).or_default() += 1;
        match (service, operation) {
            ("DynamoDB_20120810", operation) => state.tables.answer(operation, &request),
            ("AmazonSQS", "SendMessage") => Ok(Reply::ok(sent(&request)?)),
            ("AmazonSQS", "SendMessageBatch") => {
                let entries = request.get("Entries").and_then(Value::as_array).context("a batch has entries")?;
                let sent = |entry: &Value| {
                    let mut sent = sent(entry)?;
                    if let (Some(sent), Some(id)) = (sent.as_object_mut(), entry.get("Id")) {
                        sent.insert("Id".to_owned(), id.clone());
                    }
                    anyhow::Ok(sent)
                };
                let successful = entries.iter().map(sent).collect::<anyhow::Result<Vec<_>>>()?;
                Ok(Reply::ok(json!({ "Successful": successful, "Failed": [] })))
            }
            ("secretsmanager", "GetSecretValue") => {
                let arn = request.get("SecretId").and_then(Value::as_str).context("a secret has an id")?;
                Ok(Reply::ok(secret(arn)?))
            }
            _ => bail!("{target} is not served here"),
        }
    }
}

fn sent(message: &Value) -> anyhow::Result<Value> {
    let body = message.get("MessageBody").and_then(Value::as_str).context("a message has a body")?;
    let mut sent = json!({ "MessageId": "00000000-0000-4000-8000-000000000000", "MD5OfMessageBody": hex(&Md5::digest(body.as_bytes())) });
    if let (Some(sent), Some(_)) = (sent.as_object_mut(), message.get("MessageGroupId")) {
        sent.insert("SequenceNumber".to_owned(), "18849496460467696128".into());
    }
    Ok(sent)
}

/// The ARN of a function's secret.
pub(crate) fn secret_arn(function: &str) -> String {
    format!("arn:aws:secretsmanager:eu-central-1:000000000000:secret:{function}-AbCdEf")
}

/// A secret is what the samples have.
fn secret(arn: &str) -> anyhow::Result<Value> {
    let name = arn.rsplit(':').next().and_then(|name| name.strip_suffix("-AbCdEf"));
    let name = name.with_context(|| format!("there is no secret {arn}"))?;
    let text = json!({ "current": cli::local_secret(name) }).to_string();
    Ok(json!({
        "ARN": arn, "Name": name, "SecretString": text, "CreatedDate": 1_769_817_600.0,
        "VersionId": "00000000-0000-4000-8000-000000000000", "VersionStages": ["AWSCURRENT"],
    }))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(services: &Services, target: &str, request: &Value) -> Value {
        services.answer(target, request.to_string().as_bytes()).unwrap().body
    }

    #[test]
    fn a_message_is_known_by_its_digest() {
        let services = Services::new(Value::Null);
        let sent = answer(&services, "AmazonSQS.SendMessage", &json!({ "MessageBody": "hello" }));
        assert_eq!(sent["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
        let batch = json!({ "Entries": [{ "Id": "a", "MessageBody": "hello", "MessageGroupId": "g" }] });
        let sent = answer(&services, "AmazonSQS.SendMessageBatch", &batch);
        assert_eq!(sent["Successful"][0]["Id"], "a");
        assert_eq!(sent["Successful"][0]["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    }

    #[test]
    fn a_secret_is_what_the_samples_have() {
        let services = Services::new(Value::Null);
        let secret = answer(&services, "secretsmanager.GetSecretValue", &json!({ "SecretId": secret_arn("signicat") }));
        assert_eq!(secret["SecretString"], r#"{"current":"local-signicat-secret"}"#);
    }

    #[test]
    fn calls_are_counted_from_any_time() {
        let services = Services::new(Value::Null);
        let send = || answer(&services, "AmazonSQS.SendMessage", &json!({ "MessageBody": "" }));
        send();
        let before = services.calls();
        send();
        send();
        let calls = services.calls().since(&before);
        assert_eq!((calls.total(), calls.to_queues()), (2, 2));
        services.reset();
        assert_eq!(services.calls().total(), 0);
    }

    #[test]
    fn what_is_not_served_is_an_error() {
        let services = Services::new(Value::Null);
        assert!(services.answer("AmazonSQS.CreateQueue", b"{}").is_err());
        assert!(services.answer("DynamoDB_20120810.Scan", b"{}").is_err());
    }
}

//! Event source mappings as AWS documents them, which hand over what is in a stream or a queue to a function. The emulator's take a reported failure
//! for success.
//!
//! Sources: [streams](https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html),
//! [partial batches](https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html),
//! [queues](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName};
use cli::stack::{Connections, Stack};
use serde_json::{Value, json};

use crate::{Crashed, Function, lambda::configuration};

/// Hands the inserts of the events table's stream over to the publisher, in batches, in order.
#[derive(Debug)]
pub struct StreamMapping {
    endpoint_url: String,
    stream_arn: String,
    connections: Connections,
    on_failure_url: String,
    batch_size: usize,
    /// How long a record is tried, before it goes to the on-failure destination.
    pub max_age: Duration,
    iterator: Option<String>,
    inserts: Vec<(String, String)>,
}

impl StreamMapping {
    /// Takes the mapping of a local stack over from the emulator.
    pub async fn take_over(stack: &Stack) -> Self {
        let mapping = take_over(stack, "publisher").await;
        assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
        assert_eq!(mapping["BisectBatchOnFunctionError"], true);
        let pattern = mapping["FilterCriteria"]["Filters"][0]["Pattern"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(pattern).unwrap(),
            json!({ "eventName": ["INSERT"], "dynamodb": { "NewImage": { "kind": { "S": [{ "exists": true }] } } } }),
            "the filter that is modelled here"
        );
        let mut mapping = Self {
            endpoint_url: stack.endpoint_url.clone().unwrap(),
            stream_arn: mapping["EventSourceArn"].as_str().unwrap().to_owned(),
            connections: stack.connect().await,
            on_failure_url: stack.unpublished_queue_url.clone(),
            batch_size: usize::try_from(mapping["BatchSize"].as_u64().unwrap()).unwrap(),
            // The emulator does not keep what the template says.
            max_age: Duration::from_secs(1800),
            iterator: None,
            inserts: Vec::new(),
        };
        let described = mapping.call("DescribeStream", json!({ "StreamArn": mapping.stream_arn })).await;
        let iterator = json!({
            "StreamArn": mapping.stream_arn, "ShardIteratorType": "TRIM_HORIZON",
            "ShardId": described["StreamDescription"]["Shards"][0]["ShardId"],
        });
        let iterator = mapping.call("GetShardIterator", iterator).await["ShardIterator"].as_str().map(str::to_owned);
        mapping.iterator = iterator;
        mapping
    }

    /// Subject and id of every event that was inserted so far, in the stream's order.
    #[must_use]
    pub fn inserts(&self) -> &[(String, String)] {
        &self.inserts
    }

    /// Hands over all that is in the stream by now. Returns when each record was dealt with, or is in the on-failure destination.
    pub async fn run(&mut self, publisher: &Function) {
        loop {
            let page = self.call("GetRecords", json!({ "ShardIterator": self.iterator })).await;
            self.iterator = page["NextShardIterator"].as_str().map(str::to_owned);
            let records = page["Records"].as_array().unwrap();
            if records.is_empty() {
                return;
            }
            let is_wanted = |record: &&Value| {
                record["eventName"] == "INSERT" && record["dynamodb"]["NewImage"]["kind"]["S"].is_string()
            };
            let wanted: Vec<Value> = records.iter().filter(is_wanted).cloned().collect();
            for record in &wanted {
                let key = |name: &str| record["dynamodb"]["Keys"][name]["S"].as_str().unwrap().to_owned();
                self.inserts.push((key("pk"), key("sk")));
            }
            for batch in wanted.chunks(self.batch_size) {
                self.hand_over(publisher, batch).await;
            }
        }
    }

    /// Hands a batch over until nothing of it is left. What is left of it are batches, the first one last.
    async fn hand_over(&self, publisher: &Function, batch: &[Value]) {
        let began = Instant::now();
        let mut left = vec![batch.to_vec()];
        while let Some(mut batch) = left.pop() {
            if began.elapsed() >= self.max_age {
                self.give_up(&batch).await;
                continue;
            }
            match publisher.invoke(&json!({ "Records": batch }).to_string()).await {
                Ok(answer) => {
                    // The lowest sequence number that is reported is where it goes on.
                    let failures = answer["batchItemFailures"].as_array().cloned().unwrap_or_default();
                    let failed = |record: &Value| {
                        failures.iter().any(|failure| failure["itemIdentifier"] == record["dynamodb"]["SequenceNumber"])
                    };
                    let first =
                        if failures.is_empty() { batch.len() } else { batch.iter().position(failed).unwrap_or(0) };
                    batch.drain(..first);
                    if batch.is_empty() {
                        continue;
                    }
                    left.push(batch);
                }
                Err(Crashed(_)) if batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    left.extend([second, batch]);
                }
                Err(Crashed(_)) => left.push(batch),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn give_up(&self, batch: &[Value]) {
        let sequence_number = |record: Option<&Value>| record.unwrap()["dynamodb"]["SequenceNumber"].clone();
        let record = json!({
            "version": "1.0",
            "timestamp": "2026-01-31T00:00:00.000Z",
            "requestContext": { "condition": "RecordAgeExceeded", "approximateInvokeCount": 1 },
            "DDBStreamBatchInfo": {
                "shardId": "shardId-00000000000000000000-00000000",
                "startSequenceNumber": sequence_number(batch.first()),
                "endSequenceNumber": sequence_number(batch.last()),
                "approximateArrivalOfFirstRecord": runtime::now(),
                "approximateArrivalOfLastRecord": runtime::now(),
                "batchSize": batch.len(),
                "streamArn": self.stream_arn,
            }
        });
        let send = self.connections.sqs.send_message().queue_url(&self.on_failure_url);
        send.message_body(record.to_string()).send().await.unwrap();
    }

    /// Calls the stream's API. As JSON, since that is what the function gets. The emulator asks for no signature.
    async fn call(&self, operation: &str, body: Value) -> Value {
        let request = reqwest::Client::new().post(&self.endpoint_url);
        let request = request.header("x-amz-target", format!("DynamoDBStreams_20120810.{operation}"));
        let authorization = "AWS4-HMAC-SHA256 Credential=test/20260131/eu-central-1/dynamodb/aws4_request";
        let request =
            request.header("authorization", authorization).header("content-type", "application/x-amz-json-1.0");
        let response = request.body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }
}

/// Hands the messages of the spill queue over to the drain.
#[derive(Debug)]
pub struct QueueMapping {
    connections: Connections,
    url: String,
    /// For how long a message is hidden from the next look while it is dealt with.
    pub visibility_timeout: Duration,
    handed_over: Mutex<usize>,
}

impl QueueMapping {
    /// Takes the mapping of a local stack over from the emulator.
    pub async fn take_over(stack: &Stack) -> Self {
        let mapping = take_over(stack, "spill-drain").await;
        assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
        Self {
            connections: stack.connect().await,
            url: stack.spill_queue_url.clone(),
            visibility_timeout: Duration::from_secs(3),
            handed_over: Mutex::default(),
        }
    }

    /// How many messages were handed over so far, repeats included.
    #[must_use]
    pub fn handed_over(&self) -> usize {
        *self.handed_over.lock().unwrap()
    }

    /// Hands over what can be received, until nothing can. Returns whether the queue is empty: what failed comes again later.
    pub async fn run(&self, drain: &Function) -> bool {
        loop {
            let messages = receive_now(&self.connections, &self.url, self.visibility_timeout).await;
            if messages.is_empty() {
                return self.is_empty().await;
            }
            *self.handed_over.lock().unwrap() += messages.len();
            let records = messages.iter().map(|message| {
                let attributes = message.attributes().into_iter().flatten();
                let attributes: serde_json::Map<String, Value> =
                    attributes.map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect();
                json!({
                    "messageId": message.message_id(), "receiptHandle": message.receipt_handle(), "body": message.body(),
                    "attributes": attributes, "messageAttributes": {}, "eventSource": "aws:sqs",
                    "awsRegion": "eu-central-1",
                })
            });
            let event = json!({ "Records": records.collect::<Vec<_>>() });
            // All of it comes again when the function fails.
            let Ok(answer) = drain.invoke(&event.to_string()).await else { continue };
            let failures = answer["batchItemFailures"].as_array().cloned().unwrap_or_default();
            for message in messages {
                if !failures.iter().any(|failure| failure["itemIdentifier"].as_str() == message.message_id()) {
                    cli::tail::delete(&self.connections, &self.url, &message).await.unwrap();
                }
            }
        }
    }

    async fn is_empty(&self) -> bool {
        use aws_sdk_sqs::types::QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesNotVisible as Hidden,
        };
        let attributes = self.connections.sqs.get_queue_attributes().queue_url(&self.url);
        let attributes = attributes.attribute_names(Visible).attribute_names(Hidden).send().await.unwrap();
        attributes.attributes.unwrap_or_default().values().all(|count| count == "0")
    }
}

/// What a queue has at this moment, hidden from others for so long.
pub async fn receive_now(connections: &Connections, url: &str, hidden_for: Duration) -> Vec<SqsMessage> {
    let receive = connections.sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(0);
    let receive = receive.visibility_timeout(i32::try_from(hidden_for.as_secs()).unwrap());
    let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

/// Ends the emulator's own mapping of a function, and returns how it was configured.
async fn take_over(stack: &Stack, function: &str) -> Value {
    let arn = configuration(stack, function).await["FunctionArn"].clone();
    let url = format!("{}/2015-03-31/event-source-mappings", stack.endpoint_url.as_deref().unwrap());
    let http = reqwest::Client::new();
    let list = http.get(format!("{url}/")).send().await.unwrap().text().await.unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    let mappings = list["EventSourceMappings"].as_array().unwrap();
    let mapping = mappings.iter().find(|mapping| mapping["FunctionArn"] == arn).unwrap().clone();
    let deleted = http.delete(format!("{url}/{}", mapping["UUID"].as_str().unwrap())).send().await.unwrap();
    deleted.error_for_status().unwrap();
    mapping
}

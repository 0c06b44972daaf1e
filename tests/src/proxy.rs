//! A proxy in front of an AWS endpoint, which notes the calls, and in which they can go wrong.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Hands calls on to AWS, and notes them. Speaks HTTP/1.1 over its own sockets: no HTTP library would let an answer go so wrong.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it is.
    pub endpoint_url: String,
    state: Arc<Mutex<State>>,
}

/// A call that came to a proxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AwsCall {
    /// The operation's name, such as `DynamoDB_20120810.PutItem`, or the path of a request that has none.
    pub operation: String,
    /// What it is about, as the call has it: names of tables, with `/index/` and the index's where it is about one,
    /// addresses of queues, ids of secrets.
    pub resources: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<AwsCall>,
    faults: Vec<Injected>,
}

/// A fault of some of the calls of some operations.
#[derive(Debug)]
struct Injected {
    /// What the operations' names end with, such as `PutItem`.
    operations: Vec<&'static str>,
    calls: Range<usize>,
    fault: Fault,
    seen: usize,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before anything was done.
    Refused,
    /// AWS says that it failed, and did nothing.
    Failed,
    /// AWS says that it was too much, and did nothing.
    Throttled,
    /// DynamoDB says that the key of the table is disabled, and did nothing.
    KeyDisabled,
    /// Nothing is done for so long, and then it is done.
    Delayed(Duration),
    /// It is done, but the answer takes so long.
    AnswerDelayed(Duration),
    /// It is done, but only half of the answer comes.
    AnswerTruncated,
    /// It is done, but the connection is closed without an answer.
    AnswerDropped,
    /// It is done twice, and answered twice: the second answer, both times.
    Twice,
    /// Of a batch, every second entry is done. The others failed, AWS says. Other calls are not affected.
    HalfFailed,
}

impl Proxy {
    /// Starts a proxy in front of this endpoint. It ends with the runtime.
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let proxy = Self { endpoint_url, state };
        let (serving, http) = (proxy.clone(), Client::new());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection = Connection { socket, upstream: upstream.clone(), http: http.clone() };
                tokio::spawn(connection.serve(serving.clone()));
            }
        });
        proxy
    }

    /// The calls since the last look, as the operations' names, such as `DynamoDB_20120810.PutItem`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.recorded().into_iter().map(|call| call.operation).collect()
    }

    /// The calls since the last look, with what they are about.
    #[must_use]
    pub fn recorded(&self) -> Vec<AwsCall> {
        std::mem::take(&mut self.state().calls)
    }

    /// From now on, those of the calls of these operations, such as `PutItem`, go wrong whose number, counted from now and from 0, is in this range.
    pub fn inject(&self, operations: &[&'static str], calls: Range<usize>, fault: Fault) {
        self.state().faults.push(Injected { operations: operations.to_vec(), calls, fault, seen: 0 });
    }

    /// From now on, nothing goes wrong. Returns how many calls did.
    pub fn lift(&self) -> usize {
        let faults = std::mem::take(&mut self.state().faults);
        faults.iter().map(|fault| fault.seen.min(fault.calls.end).saturating_sub(fault.calls.start)).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call, and says how it goes wrong, if it does.
    fn note(&self, call: &Call) -> Option<Fault> {
        let operation = &call.operation;
        let mut state = self.state();
        state.calls.push(AwsCall { operation: operation.clone(), resources: resources(&call.body) });
        let mut goes_wrong = None;
        let is_meant = |injected: &&mut Injected| injected.operations.iter().any(|name| operation.ends_with(name));
        for injected in state.faults.iter_mut().filter(is_meant) {
            if injected.calls.contains(&injected.seen) {
                goes_wrong = Some(injected.fault);
            }
            injected.seen += 1;
        }
        goes_wrong
    }
}

/// A request as it came.
struct Call {
    method: reqwest::Method,
    path: String,
    headers: Vec<(String, String)>,
    operation: String,
    body: Vec<u8>,
}

/// One connection of a client.
struct Connection {
    socket: TcpStream,
    upstream: String,
    http: Client,
}

/// The connection ends here.
struct Closed;

impl From<std::io::Error> for Closed {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Connection {
    async fn serve(mut self, proxy: Proxy) {
        let mut received = Vec::new();
        while let Some(call) = self.receive(&mut received).await {
            let fault = proxy.note(&call);
            if self.answer(call, fault).await.is_err() {
                return;
            }
        }
    }

    /// The next request, if there comes one.
    async fn receive(&mut self, received: &mut Vec<u8>) -> Option<Call> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Request::new(&mut headers);
            if let httparse::Status::Complete(head_bytes) = head.parse(received).unwrap() {
                let headers = head.headers.iter();
                let headers = headers.map(|header| {
                    (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
                });
                let headers: Vec<(String, String)> = headers.collect();
                let header =
                    |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
                assert!(header("transfer-encoding").is_none(), "the SDK says how long its requests are");
                let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
                let path = head.path.unwrap().to_owned();
                let operation = header("x-amz-target").unwrap_or_else(|| path.clone());
                let method = head.method.unwrap().parse().unwrap();
                while received.len() < head_bytes + length {
                    self.read(received).await?;
                }
                let mut body: Vec<u8> = received.drain(..head_bytes + length).collect();
                body.drain(..head_bytes);
                return Some(Call { method, path, headers, operation, body });
            }
            self.read(received).await?;
        }
    }

    async fn read(&mut self, received: &mut Vec<u8>) -> Option<()> {
        self.socket.read_buf(received).await.ok().filter(|bytes| *bytes > 0).map(|_| ())
    }

    async fn answer(&mut self, call: Call, fault: Option<Fault>) -> Result<(), Closed> {
        match fault {
            None => self.write(&self.hand_on(&call).await).await,
            Some(Fault::Refused) => Err(Closed),
            Some(Fault::Failed) => self.write(&error(500, "InternalServerError", "injected")).await,
            Some(Fault::Throttled) => self.write(&error(400, "ThrottlingException", "injected")).await,
            Some(Fault::KeyDisabled) => self.write(&error(400, "ValidationException", KEY_DISABLED)).await,
            Some(Fault::Delayed(time)) => {
                tokio::time::sleep(time).await;
                self.write(&self.hand_on(&call).await).await
            }
            Some(Fault::AnswerDelayed(time)) => {
                let answer = self.hand_on(&call).await;
                tokio::time::sleep(time).await;
                self.write(&answer).await
            }
            Some(Fault::AnswerTruncated) => {
                let answer = self.hand_on(&call).await;
                self.write(&answer[..answer.len() / 2]).await?;
                Err(Closed)
            }
            Some(Fault::AnswerDropped) => {
                self.hand_on(&call).await;
                Err(Closed)
            }
            Some(Fault::Twice) => {
                self.hand_on(&call).await;
                let answer = self.hand_on(&call).await;
                self.write(&answer.repeat(2)).await
            }
            Some(Fault::HalfFailed) => {
                let (call, failed) = half(call);
                let answer = self.hand_on(&call).await;
                self.write(&with_failed(&answer, failed)).await
            }
        }
    }

    async fn write(&mut self, answer: &[u8]) -> Result<(), Closed> {
        Ok(self.socket.write_all(answer).await?)
    }

    /// Has AWS do it, and returns the answer as it goes over the wire.
    async fn hand_on(&self, call: &Call) -> Vec<u8> {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.upstream, call.path));
        for (name, value) in call.headers.iter().filter(|(name, _)| name != "content-length" && name != "connection") {
            request = request.header(name, value);
        }
        let answer = request.body(call.body.clone()).send().await.unwrap();
        let status = answer.status().as_u16();
        let of_ours = ["content-length", "transfer-encoding", "connection"];
        let headers: Vec<(String, String)> = answer
            .headers()
            .iter()
            .filter(|(name, _)| !of_ours.contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        on_the_wire(status, &headers, &answer.bytes().await.unwrap())
    }
}

fn on_the_wire(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// What DynamoDB says of a table whose key is disabled. AWS does not document it: this is what others saw.
const KEY_DISABLED: &str = "KMS key disabled error: com.amazonaws.services.kms.model.DisabledException: \
    arn:aws:kms:eu-central-1:000000000000:key/injected is disabled. (Service: AWSKMS; Status Code: 400; \
    Error Code: DisabledException; Request ID: injected; Proxy: null)";

fn error(status: u16, code: &str, message: &str) -> Vec<u8> {
    let headers = [("content-type".to_owned(), "application/x-amz-json-1.0".to_owned())];
    on_the_wire(status, &headers, json!({ "__type": code, "message": message }).to_string().as_bytes())
}

/// What a call is about.
fn resources(body: &[u8]) -> Vec<String> {
    // All but these is passed over.
    type Members<'a> = BTreeMap<String, &'a RawValue>;
    let Ok(body) = serde_json::from_slice::<Members<'_>>(body) else { return Vec::new() };
    let named = |name: &str| body.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
    let table = match (named("TableName"), named("IndexName")) {
        (Some(table), Some(index)) => Some(format!("{table}/index/{index}")),
        (table, _) => table,
    };
    let named = [named("QueueUrl"), named("SecretId"), table].into_iter().flatten();
    let batch = body.get("RequestItems").and_then(|items| serde_json::from_str::<Members<'_>>(items.get()).ok());
    named.chain(batch.into_iter().flat_map(BTreeMap::into_keys)).collect()
}

/// The same call with the first, third, fifth … of its entries, and the ids of the others.
fn half(mut call: Call) -> (Call, Vec<Value>) {
    let Ok(mut body) = serde_json::from_slice::<Value>(&call.body) else { return (call, Vec::new()) };
    let Some(entries) = body["Entries"].as_array().cloned() else { return (call, Vec::new()) };
    let (done, failed): (Vec<_>, Vec<_>) = entries.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    body["Entries"] = done.into_iter().map(|(_, entry)| entry).collect();
    call.body = body.to_string().into_bytes();
    (call, failed.into_iter().map(|(_, entry)| entry["Id"].clone()).collect())
}

/// The same answer, which says that these entries failed too.
fn with_failed(answer: &[u8], failed: Vec<Value>) -> Vec<u8> {
    let text = std::str::from_utf8(answer).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let Ok(mut body) = serde_json::from_str::<Value>(body) else { return answer.to_vec() };
    let failed = failed.into_iter().map(|id| json!({ "Id": id, "Code": "InternalError", "SenderFault": false }));
    body["Failed"] = failed.collect();
    let headers = [("content-type".to_owned(), "application/x-amz-json-1.0".to_owned())];
    on_the_wire(200, &headers, body.to_string().as_bytes())
}

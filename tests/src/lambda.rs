//! Lambda, for one function: its real binary as a process, invoked through the Runtime API.

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use cli::stack::Stack;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, Notify, mpsc, oneshot},
    task::JoinHandle,
};

/// A function, as the stack configures it, that calls AWS through a proxy. One invocation at a time, in a process that starts when it is needed.
#[derive(Debug)]
pub struct Function {
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    log: File,
    /// How long an invocation may take.
    timeout: Duration,
    instance: Mutex<Option<Instance>>,
    killed: Notify,
    kills: AtomicUsize,
    invocations: AtomicU64,
}

/// An invocation did not come to its end: the process was killed, or ended by itself, or said that it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crashed(pub String);

#[derive(Debug)]
struct Instance {
    process: Child,
    invocations: mpsc::Sender<Invocation>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Invocation {
    id: String,
    event: String,
    answer: oneshot::Sender<Result<Value, Crashed>>,
}

type Answers = Arc<std::sync::Mutex<BTreeMap<String, oneshot::Sender<Result<Value, Crashed>>>>>;

#[derive(Clone)]
struct RuntimeApi {
    invocations: Arc<Mutex<mpsc::Receiver<Invocation>>>,
    answers: Answers,
}

impl Function {
    /// This function of a local stack, with AWS at this endpoint.
    pub async fn of(stack: &Stack, name: &str, endpoint_url: &str) -> Self {
        let configuration = configuration(stack, name).await;
        let variables = configuration["Environment"]["Variables"].as_object().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut environment: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        for (name, value) in [
            ("AWS_ENDPOINT_URL", endpoint_url),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", &stack.region),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", name),
            ("AWS_LAMBDA_LOG_STREAM_NAME", name),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let root = cli::project_root().unwrap();
        let logs = root.join("target/tests");
        std::fs::create_dir_all(&logs).unwrap();
        Self {
            // Built for the local stack.
            binary: root.join("target/debug").join(name),
            environment,
            log: File::create(logs.join(format!("{name}.log"))).unwrap(),
            timeout: Duration::from_secs(configuration["Timeout"].as_u64().unwrap()),
            instance: Mutex::default(),
            killed: Notify::new(),
            kills: AtomicUsize::new(0),
            invocations: AtomicU64::new(0),
        }
    }

    /// The same function, with another value of a variable.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The name of the variable that has this value.
    #[must_use]
    pub fn variable_with(&self, value: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(_, other)| *other == value);
        found.map(|(name, _)| name.as_str())
    }

    /// Invokes the function with this event, and returns what it answers.
    ///
    /// # Errors
    /// If it did not come to its end.
    pub async fn invoke(&self, event: &str) -> Result<Value, Crashed> {
        let mut slot = self.instance.lock().await;
        let is_alive = slot.as_mut().is_some_and(|instance| instance.process.try_wait().unwrap().is_none());
        if !is_alive {
            *slot = Some(self.start().await);
        }
        let instance = slot.as_mut().unwrap();
        let (answer, answered) = oneshot::channel();
        let id = self.invocations.fetch_add(1, Ordering::Relaxed).to_string();
        instance.invocations.send(Invocation { id, event: event.to_owned(), answer }).await.unwrap();
        let outcome = tokio::select! {
            answer = answered => answer.unwrap_or_else(|_| Err(Crashed("no answer".to_owned()))),
            status = instance.process.wait() => Err(Crashed(format!("the process ended: {}", status.unwrap()))),
            () = self.killed.notified() => {
                self.kills.fetch_add(1, Ordering::Relaxed);
                Err(Crashed("killed".to_owned()))
            }
            () = tokio::time::sleep(self.timeout) => Err(Crashed("timed out".to_owned())),
        };
        // After a function error, Lambda starts it anew; a process that was killed, it has to.
        if outcome.is_err() {
            slot.take().unwrap().end().await;
        }
        outcome
    }

    /// Kills the process (SIGKILL) if it is in the middle of an invocation.
    pub fn kill(&self) {
        self.killed.notify_waiters();
    }

    /// How often it was killed in the middle of an invocation.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.kills.load(Ordering::Relaxed)
    }

    /// Ends the process, so that the next invocation is a cold start.
    pub async fn end(&self) {
        if let Some(instance) = self.instance.lock().await.take() {
            instance.end().await;
        }
    }

    async fn start(&self) -> Instance {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = mpsc::channel(1);
        let api = RuntimeApi { invocations: Arc::new(Mutex::new(receiver)), answers: Answers::default() };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(api);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let process = Command::new(&self.binary)
            .env_clear()
            .envs(&self.environment)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .stdin(Stdio::null())
            .stdout(self.log.try_clone().unwrap())
            .stderr(self.log.try_clone().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Instance { process, invocations: sender, server }
    }
}

impl Instance {
    async fn end(mut self) {
        self.process.kill().await.unwrap();
        self.server.abort();
    }
}

async fn next(State(api): State<RuntimeApi>) -> Response {
    let Some(Invocation { id, event, answer }) = api.invocations.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    api.answers.lock().unwrap().insert(id.clone(), answer);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        // Far away: the functions keep to their own limits.
        ("lambda-runtime-deadline-ms", "4102444800000".to_owned()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:000000000000:function:tests".to_owned()),
    ];
    (headers, event).into_response()
}

async fn response(State(api): State<RuntimeApi>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    answer(&api, &id, Ok(serde_json::from_slice(&body).unwrap()))
}

async fn error(State(api): State<RuntimeApi>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    answer(&api, &id, Err(Crashed(String::from_utf8_lossy(&body).into_owned())))
}

fn answer(api: &RuntimeApi, id: &str, answer: Result<Value, Crashed>) -> StatusCode {
    if let Some(waiting) = api.answers.lock().unwrap().remove(id) {
        // Nobody waits any more for one that timed out.
        let _ = waiting.send(answer);
    }
    StatusCode::ACCEPTED
}

/// How a function of a local stack is configured. The emulator asks for no signature.
pub(crate) async fn configuration(stack: &Stack, function: &str) -> Value {
    let endpoint_url = stack.endpoint_url.as_deref().unwrap();
    let url = format!("{endpoint_url}/2015-03-31/functions/{}/configuration", stack.functions[function]);
    let text = reqwest::get(&url).await.unwrap().error_for_status().unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

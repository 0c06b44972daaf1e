//! `callbacks sam-local`: every sample through `sam local`, in containers.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
};

use crate::{
    deploy::architecture,
    emulator,
    local::{Addresses, Folder, INTERRUPTED, Lifetime, LocalStack, interrupted},
    project_root, python,
    sample::{Answer, By, Sample},
    stack::{Connections, LOCAL_REGION, Stack},
    step::{progress, step},
    wallet,
};

const ENGINE: &str = include_str!("../python/engine.py");

/// What containers call this machine, by `--add-host`; Docker Desktop's do without.
const HOST: &str = "host.docker.internal";

/// Runs every function and every sample in containers, by `sam local`, and compares the answers.
///
/// Takes Docker, or another engine that `sam local` knows, and its images. Where no engine answers, it says so, checks nothing, and exits with 0.
///
/// Starts a local stack of its own that containers reach, runs `sam build`, then `sam local invoke` with each sample, then `sam local start-api`, to
/// which it posts each. Exits with 1 if an answer is not what the file expects.
///
/// Tokens are left for review there (`token_keys_unavailable`), since a function fetches an issuer's keys over HTTPS or from its own machine only: the answers are the same.
#[derive(Debug, Args)]
pub struct SamLocal {
    /// Only these samples, such as events/verifyvasp/tx-report.json [default: all].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The template that `sam build` wrote, such as .aws-sam/build/template.yaml, instead of building.
    #[arg(long, value_name = "FILE")]
    built: Option<PathBuf>,
    /// Take the images that the engine has.
    #[arg(long)]
    skip_pull_image: bool,
    /// Print one JSON object an answer.
    #[arg(long)]
    json: bool,
}

impl SamLocal {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        tokio::select! {
            code = self.check() => code,
            signal = interrupted() => signal.map(|()| INTERRUPTED.into()),
        }
    }

    async fn check(&self) -> anyhow::Result<ExitCode> {
        let root = project_root()?;
        let samples = match self.files.as_slice() {
            [] => Sample::all(&root)?,
            files => files.iter().map(|file| Sample::read(file)).collect::<Result<_, _>>()?,
        };
        let folder = Folder::named("sam-local")?;
        let sam = step("installing AWS SAM", folder.install(python::SAM)).await?;
        let also_at = match Engine::find(&sam).await? {
            Engine::Found { version, bridge } => {
                // An address that is not this machine's is one in Docker Desktop's own, from where 127.0.0.1 is reached.
                let address = bridge.filter(|address| emulator::is_own(*address));
                let reached_at = address.unwrap_or(Ipv4Addr::LOCALHOST);
                eprintln!("       Docker engine {version}, whose containers reach this machine at {reached_at}");
                address
            }
            Engine::Missing(why) => {
                if self.json {
                    say!("{}", json!({ "skipped": format!("no Docker engine answers: {why}") }));
                } else {
                    say!("skipped: no Docker engine answers ({why})");
                }
                return Ok(ExitCode::SUCCESS);
            }
        };
        let addresses = Addresses { also_at, port: None };
        let local = LocalStack::start_with(folder.clone(), addresses, &[], Lifetime::Attached).await?;
        let sam = Sam {
            stack: local.stack.clone(),
            template: match &self.built {
                Some(template) => template.canonicalize().with_context(|| format!("no {}", template.display()))?,
                None => {
                    let cargo_lambda = step("installing cargo-lambda", folder.install(python::RELEASE)).await?;
                    step("sam build", build(&sam, &cargo_lambda, &root, folder.path())).await?
                }
            },
            program: sam.join("sam"),
            folder: folder.path().to_owned(),
            variables: folder.variables_file(),
            skip_pull_image: self.skip_pull_image,
        };
        let check = Check { sam, stack: &local.stack, connections: local.stack.connect().await, json: self.json };
        let invoked = check.invoke(&samples).await?;
        let posted = check.post(samples).await?;
        eprintln!("{invoked}\n{posted}");
        Ok(if invoked.differing + posted.differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What there is of a container engine.
#[derive(Deserialize)]
#[serde(untagged)]
enum Engine {
    Found { version: String, bridge: Option<Ipv4Addr> },
    Missing(#[serde(deserialize_with = "reason")] String),
}

fn reason<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    struct Missing {
        missing: String,
    }
    Missing::deserialize(deserializer).map(|missing| missing.missing)
}

impl Engine {
    async fn find(sam: &Path) -> anyhow::Result<Self> {
        let found = python::output(Command::new(sam.join("python")).args(["-c", ENGINE])).await;
        serde_json::from_str(&found.context("failed to look for a Docker engine")?)
            .context("failed to look for a Docker engine")
    }
}

/// Writes the variables of each function, as the local stack has them, for `sam local --env-vars`.
pub(crate) async fn write_variables(stack: &Stack, file: &Path) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Configuration {
        environment: Environment,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Environment {
        variables: BTreeMap<String, String>,
    }
    let endpoint_url = stack.endpoint_url.as_deref().context("only a local stack's functions run elsewhere too")?;
    let (_, port) = endpoint_url.rsplit_once(':').context("the local stack has no port")?;
    let mut all = BTreeMap::new();
    for (name, function) in &stack.functions {
        let url = format!("{endpoint_url}/2015-03-31/functions/{function}/configuration");
        let response = reqwest::get(url).await.and_then(reqwest::Response::error_for_status);
        let configuration = response.with_context(|| format!("failed to look up the variables of {function}"))?;
        let Configuration { environment: Environment { mut variables } } = configuration.json().await?;
        variables.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{HOST}:{port}"));
        if let Some(networks) = variables.get_mut("ALLOWED_NETWORKS") {
            // Samples say that they come from Jumio; what `sam local start-api` hands over says that it comes from this machine, as in the local stack.
            networks.extend(providers::jumio::ADDRESSES.iter().map(|address| format!(",{address}")));
        }
        all.insert(stack.function_id(name)?.to_owned(), variables);
    }
    let text = serde_json::to_string_pretty(&all)?;
    std::fs::write(file, text + "\n").with_context(|| format!("failed to write {}", file.display()))
}

/// Builds all functions for this machine's processor, as they would be deployed, and returns where their template is.
async fn build(sam: &Path, cargo_lambda: &Path, root: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let built = folder.join("build");
    let mut command = command(&sam.join("sam"));
    command.args(["build", "--beta-features", "--build-dir"]).arg(&built).args(parameters()).current_dir(root);
    command.env("PATH", with_path(cargo_lambda)?);
    Running::output(&mut command, &folder.join("build.log")).await?;
    Ok(built.join("template.yaml"))
}

/// `sam`, as it is run here: with the local stack's region and credentials.
fn command(sam: &Path) -> Command {
    let mut command = Command::new(sam);
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", LOCAL_REGION)
        .env("AWS_DEFAULT_REGION", LOCAL_REGION)
        .env("SAM_CLI_TELEMETRY", "0")
        .env("SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS", "1");
    command
}

fn parameters() -> [String; 4] {
    let architecture = format!("Architecture={}", architecture());
    ["--region".to_owned(), LOCAL_REGION.to_owned(), "--parameter-overrides".to_owned(), architecture]
}

#[expect(clippy::disallowed_methods, reason = "cargo finds cargo-lambda where programs are found")]
fn with_path(first: &Path) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("a folder in PATH has a colon in its name")
}

/// `sam local`, for one template and one local stack.
struct Sam {
    stack: Stack,
    program: PathBuf,
    template: PathBuf,
    folder: PathBuf,
    variables: PathBuf,
    skip_pull_image: bool,
}

impl Sam {
    /// Its arguments come first: what stands behind a list is in it.
    fn local(&self, what: &[&str]) -> Command {
        let mut command = command(&self.program);
        command.arg("local").args(what).arg("--template").arg(&self.template).arg("--env-vars").arg(&self.variables);
        command.args(["--add-host", &format!("{HOST}:host-gateway")]).args(parameters());
        if self.skip_pull_image {
            command.arg("--skip-pull-image");
        }
        // It looks for samconfig.toml where the template is, and for nothing where it is started.
        command.current_dir(&self.folder);
        command
    }

    /// What a function returns for an event. The event stays in a file, and beside it, in another, what the function wrote.
    async fn invoke(&self, function: &str, name: &str, event: &str) -> anyhow::Result<String> {
        let file = self.folder.join("events").join(function).join(format!("{name}.json"));
        create(&file)?.write_all(event.as_bytes()).with_context(|| format!("failed to write {}", file.display()))?;
        let mut command = self.local(&["invoke", self.stack.function_id(function)?]);
        command.arg("--event").arg(&file);
        let printed = Running::output(&mut command, &file.with_extension("log")).await?;
        let last = printed.lines().rfind(|line| !line.trim().is_empty());
        Ok(last.with_context(|| format!("`sam local invoke` printed nothing for {}", file.display()))?.to_owned())
    }

    /// An API on this machine, and where it is.
    async fn start_api(&self) -> anyhow::Result<(Running, String)> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
        let port = free.local_addr().context("failed to find a free port")?.port();
        drop(free);
        let mut command = self.local(&["start-api"]);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--warm-containers", "LAZY"]);
        let file = self.folder.join("start-api.log");
        let log = create(&file)?;
        let mut api = Running::start(&mut command, log.try_clone().context("failed to share a log")?, log)?;
        let began = Instant::now();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            if api.has_ended()? || began.elapsed() > Duration::from_secs(120) {
                bail!("`sam local start-api` does not answer: see {}", file.display());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok((api, format!("http://127.0.0.1:{port}")))
    }
}

/// A command that is told to end, and waited for, when this is dropped: `sam local` removes its containers then.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, stdout: impl Into<Stdio>, stderr: File) -> anyhow::Result<Self> {
        // In a group of its own, so that Ctrl-C reaches only the command that waits for it.
        let command = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        Ok(Self(command.spawn().context("failed to run sam")?))
    }

    fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait().context("failed to look after sam")?.is_some())
    }

    /// What a command prints until it ends. What else it says goes into this file.
    async fn output(command: &mut Command, log: &Path) -> anyhow::Result<String> {
        let mut running = Self::start(command, Stdio::piped(), create(log)?)?;
        let mut printed = String::new();
        if let Some(stdout) = &mut running.0.stdout {
            stdout.read_to_string(&mut printed).await.context("failed to read what sam says")?;
        }
        let status = running.0.wait().await.context("failed to wait for sam")?;
        if !status.success() {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("sam failed ({status}):\n{}\n{}", printed.trim_end(), said.trim_end());
        }
        Ok(printed)
    }
}

fn create(file: &Path) -> anyhow::Result<File> {
    let folder = file.parent().unwrap_or(file);
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    File::create(file).with_context(|| format!("failed to create {}", file.display()))
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) else { return };
        // Fails only if it has ended.
        let _ = kill(Pid::from_raw(id), Signal::SIGINT);
        let began = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if began.elapsed() > Duration::from_secs(20) {
                let _ = self.0.start_kill();
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What came of the samples in one way.
struct Outcome {
    how: &'static str,
    answers: usize,
    differing: usize,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { how, answers, differing } = self;
        match differing {
            0 => write!(f, "{how}: {answers} answers, each as expected."),
            _ => write!(f, "{how}: {differing} of {answers} answers are not as expected."),
        }
    }
}

/// The check of all samples against one local stack.
struct Check<'a> {
    sam: Sam,
    stack: &'a Stack,
    connections: Connections,
    json: bool,
}

impl Check<'_> {
    /// Invokes the functions: with each sample, and those that have no samples with what a test of them can be sure of.
    async fn invoke(&self, samples: &[Sample]) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome { how: "sam local invoke", answers: 0, differing: 0 };
        let http = reqwest::Client::new();
        let bar = progress("samples invoked", samples.len());
        for sample in samples {
            if let Some(announcement) = sample.announcement() {
                let event = announcing(&serde_json::to_string(announcement)?);
                let name = sample.name().replace('/', "-");
                let answer = answered(self.sam.invoke("expectations", &name, &event.to_string()).await?);
                // 200 if another sample has announced the same.
                let expected = matches!(answer.status, 200 | 201);
                self.report(&mut outcome, &format!("expectations, for {}", sample.name()), &answer, expected)?;
            }
            let prepared = sample.clone().prepared(&http, self.stack, &self.connections).await?;
            let name = sample.file.file_stem().unwrap_or_default().to_string_lossy();
            let answer = answered(self.sam.invoke(&sample.function, &name, &prepared.text).await?);
            self.report(&mut outcome, &sample.name(), &answer, sample.expects(&answer))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        for function in ["publisher", "spill-drain"] {
            // They start, find their queues and tables in their variables, and have nothing to do.
            let returned = self.sam.invoke(function, "empty", r#"{"Records": []}"#).await?;
            let body: Value = serde_json::from_str(&returned).unwrap_or(Value::String(returned));
            let expected = body == json!({ "batchItemFailures": [] });
            self.report(&mut outcome, function, &Answer { status: 200, body }, expected)?;
        }
        Ok(outcome)
    }

    /// Posts each sample to the API, except those that are about what a gateway says of the sender.
    async fn post(&self, samples: Vec<Sample>) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome { how: "sam local start-api", answers: 0, differing: 0 };
        let (api, url) = step("sam local start-api", self.sam.start_api()).await?;
        let stack = self.stack.with_api_at(url);
        let http = reqwest::Client::new();
        let bar = progress("samples posted", samples.len());
        for sample in samples.into_iter().filter(|sample| sample.expect.send == By::Http) {
            if let Some(announcement) = sample.announcement() {
                let (status, body) = wallet::announce(&http, &stack, &self.connections, announcement).await?;
                let answer = Answer { status, body: serde_json::from_str(&body).unwrap_or(Value::String(body)) };
                let name = format!("expectations, for {}", sample.name());
                self.report(&mut outcome, &name, &answer, matches!(status, 200 | 201))?;
            }
            let sample = sample.prepared(&http, self.stack, &self.connections).await?;
            let answer = sample.send(&http, &stack, &stack.secrets).await?;
            self.report(&mut outcome, &sample.name(), &answer, sample.expects(&answer))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        drop(api);
        Ok(outcome)
    }

    fn report(&self, outcome: &mut Outcome, name: &str, answer: &Answer, as_expected: bool) -> anyhow::Result<()> {
        outcome.answers += 1;
        outcome.differing += usize::from(!as_expected);
        let how = outcome.how;
        if self.json {
            let line = json!({ "by": how, "sample": name, "answer": answer, "as_expected": as_expected });
            say!("{}", serde_json::to_string(&line)?);
        } else {
            let note = if as_expected { "" } else { "  (not what is expected: see the logs in target/sam-local)" };
            say!("{how}  {name}  {} {}{note}", answer.status, answer.body);
        }
        Ok(())
    }
}

/// What the gateway would answer: 502 if the function failed.
fn answered(returned: String) -> Answer {
    Answer::of_function(&returned).unwrap_or(Answer { status: 502, body: Value::String(returned) })
}

/// The event in which the gateway hands over an announcement.
fn announcing(body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "PUT /expectations/{provider}",
        "rawPath": "/expectations/wallet",
        "rawQueryString": "",
        "headers": { "content-type": "application/json" },
        "pathParameters": { "provider": "wallet" },
        "requestContext": { "http": { "method": "PUT", "path": "/expectations/wallet", "sourceIp": "192.0.2.1" } },
        "body": body,
        "isBase64Encoded": false,
    })
}

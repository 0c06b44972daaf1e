//! `callbacks local`: the whole stack on this machine.

use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;

pub use crate::emulator::{Addresses, Lifetime};
use crate::{
    deploy,
    emulator::{self, Emulator},
    logs::{self, Lines, Wanted},
    project_root, python, sam_local,
    selection::now,
    stack::{Connections, Resources, Stack},
    step::step,
    wallet::{LOCAL_ISSUER, SigningKey, Wallet},
};

/// Run the whole stack on this machine until Ctrl-C.
///
/// Builds the functions, starts an AWS emulator on 127.0.0.1, deploys template.yaml to it, and then prints a line for each
/// callback that comes, as `callbacks logs` does. What it needs, it installs under target/. Everything is new at every start:
/// the table and the queues are empty. `callbacks examples` prints a curl command for each route.
#[derive(Debug, Args)]
pub struct Local {
    /// Leave the stack running, and end it with --stop.
    #[arg(long)]
    detach: bool,
    /// End the stack that was left running.
    #[arg(long, conflicts_with_all = ["detach", "port"])]
    stop: bool,
    /// The port of the emulator [default: 4566, or a free one if that is in use].
    #[arg(long)]
    port: Option<u16>,
    /// Listen on this address of the machine too, beside 127.0.0.1: for containers, such as those of `sam local`.
    ///
    /// Docker's bridge on Linux usually has 172.17.0.1. No signature is checked: anybody who reaches this
    /// address can call the stack, and read and change everything in it.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "stop")]
    bind: Option<Ipv4Addr>,
    /// Set a parameter of template.yaml, such as Providers=jumio,identomat. May be given several times.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = deploy::parameter, conflicts_with = "stop")]
    parameters: Vec<(String, String)>,
    /// Print no line for each callback.
    #[arg(long)]
    quiet: bool,
    /// Print the addresses as JSON, as in target/local/stack.json, and nothing else.
    #[arg(long)]
    json: bool,
}

impl Local {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let folder = Folder::of_local_stack()?;
        if self.stop {
            return stop(&folder).await;
        }
        if let Ok(stack) = folder.read() {
            if is_running(&stack).await {
                bail!(
                    "a local stack is running already, at {}: end it with --stop, or with Ctrl-C where it was started",
                    stack.api_url
                );
            }
            folder.forget();
        }
        let lifetime = if self.detach { Lifetime::Detached } else { Lifetime::Attached };
        let addresses = Addresses { also_at: self.bind, port: self.port };
        let start = LocalStack::start_with(folder.clone(), addresses, &self.parameters, lifetime);
        let local = tokio::select! {
            started = start => started?,
            signal = interrupted() => { signal?; return Ok(INTERRUPTED.into()); }
        };
        folder.write(&local.stack)?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&local.stack)?);
        } else {
            describe(&local.stack);
        }
        if self.detach {
            folder.note_process(local.detach())?;
            eprintln!("\nIt goes on running. End it with: cargo callbacks local --stop");
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("\nRunning until Ctrl-C.");
        tokio::select! {
            signal = interrupted() => signal?,
            () = show_callbacks(&local.stack), if !self.quiet && !self.json => {}
        }
        drop(local);
        folder.forget();
        eprintln!("Ended.");
        Ok(ExitCode::SUCCESS)
    }
}

/// The exit code of a command that was interrupted: 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;

/// Waits for Ctrl-C, or for being told to end.
///
/// # Errors
/// If the system does not tell.
pub async fn interrupted() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for signals")?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.context("failed to listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

async fn stop(folder: &Folder) -> anyhow::Result<ExitCode> {
    let stopped = match folder.process() {
        Some(group) => emulator::stop(group).await,
        None => false,
    };
    if !stopped
        && let Ok(stack) = folder.read()
        && is_running(&stack).await
    {
        bail!(
            "the local stack at {} was started without --detach: end it with Ctrl-C where it was started",
            stack.api_url
        );
    }
    folder.forget();
    eprintln!("{}", if stopped { "Ended." } else { "No local stack is running." });
    Ok(ExitCode::SUCCESS)
}

async fn is_running(stack: &Stack) -> bool {
    let Some(endpoint_url) = &stack.endpoint_url else { return false };
    reqwest::get(format!("{endpoint_url}/_ministack/health")).await.is_ok_and(|response| response.status().is_success())
}

/// The local stack that is running.
pub(crate) fn running() -> anyhow::Result<Stack> {
    Folder::of_local_stack()?.read().context(
        "no local stack is running: start one with `cargo callbacks local`, or name a deployed one with --stack",
    )
}

/// Prints what came of each callback from now on. Never ends: that the logs cannot be read is no reason to end the stack.
async fn show_callbacks(stack: &Stack) {
    let wanted = Wanted { provider: None, lines: Lines::Decided };
    if let Err(error) = logs::follow(stack, wanted, now(), false).await {
        eprintln!("No more callbacks are shown: {error:#}.");
    }
    std::future::pending().await
}

/// Prints where the stack is.
fn describe(stack: &Stack) {
    let url = &stack.api_url;
    say!("\nAPI   {url}/callbacks/…  (curl commands: cargo callbacks examples)");
    say!("AWS   {url}  (region {}, any credentials; tables and queues: target/local/stack.json)", stack.region);
    say!("Look  cargo callbacks tail, list, show, logs");
    if let Some(providers_url) = &stack.providers_url {
        say!("Play  {providers_url}  (stand-ins of the providers: cargo callbacks provider)");
    }
}

/// The files of one local stack.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// What several local stacks share: the Python environments.
    shared: PathBuf,
}

impl Folder {
    /// The files of the stack that `callbacks local` runs.
    ///
    /// # Errors
    /// Outside the project.
    pub fn of_local_stack() -> anyhow::Result<Self> {
        Self::named("local")
    }

    /// The files of another stack, beside the one that `callbacks local` runs.
    ///
    /// # Errors
    /// Outside the project.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let target = project_root()?.join("target");
        Ok(Self { path: target.join(name), shared: target.join("python") })
    }

    fn stack_file(&self) -> PathBuf {
        self.path.join("stack.json")
    }

    /// Where the functions' variables are, for `sam local --env-vars`.
    pub(crate) fn variables_file(&self) -> PathBuf {
        self.path.join("sam-local.json")
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Installs a Python environment, if it is not there, and returns its `bin`.
    pub(crate) async fn install(&self, environment: python::Environment) -> anyhow::Result<PathBuf> {
        let _lock = lock(&self.shared)?;
        environment.install(&self.shared).await
    }

    fn process_file(&self) -> PathBuf {
        self.path.join("emulator.pid")
    }

    fn read(&self) -> anyhow::Result<Stack> {
        Stack::read(&self.stack_file())
    }

    fn write(&self, stack: &Stack) -> anyhow::Result<()> {
        let file = self.stack_file();
        let text = serde_json::to_string_pretty(stack)?;
        std::fs::write(&file, text + "\n").with_context(|| format!("failed to write {}", file.display()))
    }

    fn process(&self) -> Option<u32> {
        std::fs::read_to_string(self.process_file()).ok()?.trim().parse().ok()
    }

    fn note_process(&self, group: Option<u32>) -> anyhow::Result<()> {
        let group = group.context("the emulator has no process")?;
        std::fs::write(self.process_file(), group.to_string()).context("failed to note the emulator's process")
    }

    /// There is no stack any more.
    fn forget(&self) {
        for file in [self.stack_file(), self.process_file(), self.variables_file()] {
            // It may not be there.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A stack on this machine. It ends when this is dropped.
#[derive(Debug)]
pub struct LocalStack {
    emulator: Emulator,
    deployment: Deployment,
    /// Where its parts are.
    pub stack: Stack,
}

impl LocalStack {
    /// Builds and starts everything.
    ///
    /// # Errors
    /// If something that is needed is missing, or does not work; the error says which.
    pub async fn start(folder: Folder, port: Option<u16>, lifetime: Lifetime) -> anyhow::Result<Self> {
        Self::start_with(folder, Addresses { port, ..Addresses::default() }, &[], lifetime).await
    }

    /// The same, where it can be reached from elsewhere too, and with these parameters of the template.
    ///
    /// # Errors
    /// If something that is needed is missing, or does not work; the error says which.
    pub async fn start_with(
        folder: Folder,
        addresses: Addresses,
        parameters: &[(String, String)],
        lifetime: Lifetime,
    ) -> anyhow::Result<Self> {
        let root = project_root()?;
        deploy::check_parameters(&root, parameters)?;
        std::fs::create_dir_all(&folder.path).with_context(|| format!("failed to create {}", folder.path.display()))?;
        // Two commands at once would install into the same environments.
        let lock = lock(&folder.shared)?;
        let emulator_bin = step("installing the AWS emulator", python::EMULATOR.install(&folder.shared)).await?;
        let sam_bin = step("installing AWS SAM", python::SAM.install(&folder.shared)).await?;
        drop(lock);
        let binaries = step("building the functions", deploy::build_functions(&root)).await?;
        let template = step("packing the functions", async { deploy::lay_out(&root, &binaries, &folder.path) }).await?;
        let start = Emulator::start(&emulator_bin, &folder.path, addresses, lifetime);
        let mut emulator = step("starting the AWS emulator", start).await?;
        let callbacks = binaries.values().next().context("cargo built no functions")?.with_file_name("callbacks");
        let providers_url = emulator.start_providers(&callbacks).await?;
        let endpoint_url = emulator.endpoint_url.clone();
        let key = SigningKey::generate("local-wallet-key")?;
        let key_file = folder.path.join("wallet-key.json");
        key.write(&key_file)?;
        let wallet = Wallet {
            issuer: LOCAL_ISSUER.to_owned(),
            jwks_url: deploy::publish_keys(&key.jwks(), &endpoint_url).await?,
            signing_key: key_file.display().to_string(),
        };
        deploy::create_bucket(&endpoint_url).await?;
        let deployment =
            Deployment { folder: folder.path.clone(), sam_bin, template, endpoint_url, wallet, providers_url };
        let stack = deployment.deploy(parameters).await?;
        sam_local::write_variables(&stack, &folder.variables_file()).await?;
        Ok(Self { emulator, deployment, stack })
    }

    /// Deploys the template again, with these parameters in place of the ones before.
    ///
    /// # Errors
    /// If that does not work.
    pub async fn deploy_again(&mut self, parameters: &[(String, String)]) -> anyhow::Result<()> {
        self.stack = self.deployment.deploy(parameters).await?;
        Ok(())
    }

    fn detach(self) -> Option<u32> {
        self.emulator.detach()
    }
}

/// What a deployment to the emulator needs.
#[derive(Debug)]
struct Deployment {
    folder: PathBuf,
    sam_bin: PathBuf,
    template: PathBuf,
    endpoint_url: String,
    wallet: Wallet,
    providers_url: String,
}

impl Deployment {
    async fn deploy(&self, parameters: &[(String, String)]) -> anyhow::Result<Stack> {
        let Self { folder, sam_bin, template, endpoint_url, wallet, providers_url } = self;
        let deploy = deploy::deploy(sam_bin, template, endpoint_url, wallet, providers_url, parameters);
        step("deploying template.yaml", deploy).await?;
        let stack = step("creating routes and secrets", finish(folder, endpoint_url)).await?;
        Ok(Stack { wallet: Some(wallet.clone()), providers_url: Some(providers_url.clone()), ..stack })
    }
}

async fn finish(folder: &Path, endpoint_url: &str) -> anyhow::Result<Stack> {
    let connections = Connections::local(endpoint_url).await;
    let resources = Resources::of(&connections, deploy::STACK_NAME).await?;
    deploy::create_routes(&resources, endpoint_url).await?;
    let routes: Vec<String> =
        resources.routes()?.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    emulator::tell_routes(folder, resources.api_id()?, &routes)?;
    deploy::complete_tables(&resources, &connections).await?;
    deploy::seed_secrets(&resources, &connections).await?;
    resources.local_stack(endpoint_url)
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let file = File::create(folder.join("lock")).context("failed to create a lock")?;
    file.lock().context("failed to lock the Python environments")?;
    Ok(file)
}

//! The local AWS: the emulator `ministack`, as a process.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{python, stack::LOCAL_REGION};

const LAUNCHER: &str = include_str!("../python/emulator.py");

/// The port that is taken unless it is in use.
const USUAL_PORT: u16 = 4566;

/// A running emulator. It ends, with every function it runs, when this is dropped, and when this process ends in any other way.
#[derive(Debug)]
pub(crate) struct Emulator {
    child: Option<Child>,
    folder: PathBuf,
    /// Where AWS is.
    pub(crate) endpoint_url: String,
}

/// Whether the emulator outlives the command that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It ends with the command.
    Attached,
    /// It runs until it is stopped.
    Detached,
}

impl Emulator {
    /// Starts an emulator that keeps its files in `folder`.
    pub(crate) async fn start(
        bin: &Path,
        folder: &Path,
        port: Option<u16>,
        lifetime: Lifetime,
    ) -> anyhow::Result<Self> {
        let port = match port {
            Some(port) if is_free(port) => port,
            Some(port) => bail!("port {port} is in use: name another one with --port, or none to have one found"),
            None if is_free(USUAL_PORT) => USUAL_PORT,
            None => free_port()?,
        };
        // ministack keeps the functions' code below the temporary folder, by port.
        let temporary = folder.join("tmp");
        std::fs::create_dir_all(&temporary).with_context(|| format!("failed to create {}", temporary.display()))?;
        let launcher = folder.join("emulator.py");
        std::fs::write(&launcher, LAUNCHER).with_context(|| format!("failed to write {}", launcher.display()))?;
        let log = File::create(log_file(folder)).context("failed to create the emulator's log")?;

        let endpoint_url = format!("http://localhost:{port}");
        let mut command = Command::new(bin.join("python"));
        command
            .arg(&launcher)
            .env_clear()
            .envs(["PATH", "HOME", "LANG"].iter().filter_map(inherited))
            .env("TMPDIR", &temporary)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("GATEWAY_PORT", port.to_string())
            // It binds to every interface unless told otherwise.
            .env("BIND_HOST", "127.0.0.1")
            // The functions inherit it, and so find AWS.
            .env("AWS_ENDPOINT_URL", &endpoint_url)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("MINISTACK_REGION", LOCAL_REGION)
            // Side ports that nothing here needs.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .stdout(log.try_clone().context("failed to share the emulator's log")?)
            .stderr(log)
            // A group of its own, which ends as a whole.
            .process_group(0);
        match lifetime {
            Lifetime::Attached => command.stdin(Stdio::piped()),
            Lifetime::Detached => command.arg("--detached").stdin(Stdio::null()),
        };
        let child = command.spawn().context("failed to start the emulator")?;
        let mut emulator = Self { child: Some(child), folder: folder.to_owned(), endpoint_url };
        emulator.until_ready().await?;
        Ok(emulator)
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let health = format!("{}/_ministack/health", self.endpoint_url);
        for _ in 0..300 {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().context("failed to look after the emulator")?
            {
                bail!("the emulator ended at once ({status}): see {}", log_file(&self.folder).display());
            }
            // Another emulator may have taken the port between the look at it and the start: the health of that one says nothing of ours.
            let is_listening =
                std::fs::read_to_string(log_file(&self.folder)).is_ok_and(|log| log.contains("Running on"));
            if is_listening && reqwest::get(&health).await.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the emulator does not answer within 30 s: see {}", log_file(&self.folder).display())
    }

    /// Lets the emulator go on after this process, and returns the id of its process group.
    pub(crate) fn detach(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            end_group(child.id());
            // A zombie otherwise, as long as this process lives.
            let _ = child.wait();
            let _ = std::fs::remove_dir_all(self.folder.join("tmp"));
        }
    }
}

/// Ends the process group of an emulator, if it is one. Returns whether there was anything to end.
pub(crate) async fn stop(group: u32) -> bool {
    // The number may belong to somebody else by now.
    let mut ps = tokio::process::Command::new("ps");
    let command = python::output(ps.args(["-o", "command=", "-p", &group.to_string()])).await.unwrap_or_default();
    let is_emulator = command.contains("emulator.py");
    if is_emulator {
        end_group(group);
    }
    is_emulator
}

/// Nothing in it is worth saving, and some of what the emulator starts does not mind gentler signals.
fn end_group(group: u32) {
    if let Ok(group) = i32::try_from(group) {
        // Fails only if there is no such group any more.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("emulator.log")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
    Ok(listener.local_addr().context("failed to find a free port")?.port())
}

#[expect(clippy::disallowed_methods, reason = "a child that inherits nothing still has to find its programs")]
fn inherited(name: &&'static str) -> Option<(&'static str, std::ffi::OsString)> {
    Some((*name, std::env::var_os(name)?))
}

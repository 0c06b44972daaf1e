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
use serde_json::json;

use crate::{provider, python, stack::LOCAL_REGION};

const LAUNCHER: &str = include_str!("../python/emulator.py");

/// The port that is taken unless it is in use.
const USUAL_PORT: u16 = 4566;

/// A running emulator. It ends, with every function it runs, when this is dropped, and when this process ends in any other way.
#[derive(Debug)]
pub(crate) struct Emulator {
    child: Option<Child>,
    /// What runs beside it, in its process group.
    beside: Option<tokio::process::Child>,
    folder: PathBuf,
    /// Where AWS is.
    pub(crate) endpoint_url: String,
}

/// Where an emulator listens. It always listens on 127.0.0.1 too, so its URL is `http://localhost:…`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Addresses {
    /// Another address of this machine, for those who do not reach 127.0.0.1, such as containers; 0.0.0.0 is all that there are.
    pub also_at: Option<Ipv4Addr>,
    /// The port [default: 4566, or a free one if that is in use].
    pub port: Option<u16>,
}

impl Addresses {
    fn first(&self) -> Ipv4Addr {
        self.also_at.filter(Ipv4Addr::is_unspecified).unwrap_or(Ipv4Addr::LOCALHOST)
    }

    fn second(&self) -> Option<Ipv4Addr> {
        self.also_at.filter(|address| !address.is_unspecified() && !address.is_loopback())
    }

    fn are_free(&self, port: u16) -> bool {
        [Some(self.first()), self.second()].into_iter().flatten().all(|address| is_free(address, port))
    }

    fn free_port(&self) -> anyhow::Result<u16> {
        if let Some(address) = self.second().filter(|address| !is_own(*address)) {
            bail!("{address} is no address of this machine: `ip address` lists them");
        }
        match self.port {
            Some(port) if self.are_free(port) => Ok(port),
            Some(port) => bail!("port {port} is in use: name another one with --port, or none to have one found"),
            None if self.are_free(USUAL_PORT) => Ok(USUAL_PORT),
            None => {
                let listener = TcpListener::bind((self.first(), 0)).context("failed to find a free port")?;
                let port = listener.local_addr().context("failed to find a free port")?.port();
                eprintln!("Port {USUAL_PORT} is in use, so the stack is at http://localhost:{port}.");
                Ok(port)
            }
        }
    }
}

/// Whether an address is one of this machine.
pub(crate) fn is_own(address: Ipv4Addr) -> bool {
    is_free(address, 0)
}

fn is_free(address: Ipv4Addr, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
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
        addresses: Addresses,
        lifetime: Lifetime,
    ) -> anyhow::Result<Self> {
        let port = addresses.free_port()?;
        // ministack keeps the functions' code below the temporary folder, by port.
        let temporary = folder.join("tmp");
        std::fs::create_dir_all(&temporary).with_context(|| format!("failed to create {}", temporary.display()))?;
        let launcher = folder.join("emulator.py");
        std::fs::write(&launcher, LAUNCHER).with_context(|| format!("failed to write {}", launcher.display()))?;
        // Of an earlier stack, if there are any.
        let _ = std::fs::remove_file(routes_file(folder));
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
            .env("BIND_HOST", addresses.first().to_string())
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
        if let Some(second) = addresses.second() {
            command.args(["--also-at", &format!("{second}:{port}")]);
        }
        match lifetime {
            Lifetime::Attached => command.stdin(Stdio::piped()),
            Lifetime::Detached => command.arg("--detached").stdin(Stdio::null()),
        };
        let child = command.spawn().context("failed to start the emulator")?;
        let mut emulator = Self { child: Some(child), beside: None, folder: folder.to_owned(), endpoint_url };
        emulator.until_ready().await?;
        Ok(emulator)
    }

    /// Starts the stand-ins of the providers, which end with the emulator, and returns where they are.
    pub(crate) async fn start_providers(&mut self, callbacks: &Path) -> anyhow::Result<String> {
        let group = self.child.as_ref().context("the emulator has no process")?.id();
        let log = File::create(self.folder.join("providers.log")).context("failed to create a log")?;
        let (child, url) = provider::start(callbacks, group, log).await?;
        self.beside = Some(child);
        Ok(url)
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

/// Where the emulator reads which routes the API has.
fn routes_file(folder: &Path) -> PathBuf {
    folder.join("routes.json")
}

/// Tells the emulator that keeps its files in `folder` the API's id and its routes, such as `POST /callbacks/jumio/{secret}`.
pub(crate) fn tell_routes(folder: &Path, api_id: &str, routes: &[String]) -> anyhow::Result<()> {
    // It may read it at any time, so the file is there whole.
    let unfinished = folder.join("routes.unfinished");
    let text = json!({ "api": api_id, "routes": routes }).to_string();
    std::fs::write(&unfinished, text).with_context(|| format!("failed to write {}", unfinished.display()))?;
    std::fs::rename(&unfinished, routes_file(folder)).context("failed to write the emulator's routes")
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("emulator.log")
}

#[expect(clippy::disallowed_methods, reason = "a child that inherits nothing still has to find its programs")]
fn inherited(name: &&'static str) -> Option<(&'static str, std::ffi::OsString)> {
    Some((*name, std::env::var_os(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(also_at: Option<[u8; 4]>, expected: &[[u8; 4]]) {
        let addresses = Addresses { also_at: also_at.map(Ipv4Addr::from), port: None };
        let all: Vec<Ipv4Addr> = [Some(addresses.first()), addresses.second()].into_iter().flatten().collect();
        assert_eq!(all, expected.iter().copied().map(Ipv4Addr::from).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_else_reaches_the_emulator_unless_asked_for() {
        check(None, &[[127, 0, 0, 1]]);
        check(Some([127, 0, 0, 1]), &[[127, 0, 0, 1]]);
    }

    #[test]
    fn another_address_is_beside_this_machines_own() {
        check(Some([172, 17, 0, 1]), &[[127, 0, 0, 1], [172, 17, 0, 1]]);
        check(Some([0, 0, 0, 0]), &[[0, 0, 0, 0]]);
    }

    #[test]
    fn a_port_in_use_is_left_to_whom_it_belongs() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let wanted = Addresses { also_at: None, port: Some(port) };
        let error = wanted.free_port().unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} is in use")) && error.contains("--port"), "{error}");
        // It is taken by this, or by another stack.
        let _usual = TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT));
        let found = Addresses::default().free_port().unwrap();
        assert!(found != USUAL_PORT && is_free(Ipv4Addr::LOCALHOST, found));
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let elsewhere = Addresses { also_at: Some(Ipv4Addr::new(192, 0, 2, 1)), port: None };
        assert!(elsewhere.free_port().is_err_and(|error| error.to_string().contains("no address of this machine")));
    }
}

//! A function's process, watched from outside.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use nix::{
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

use super::quota::Quota;

/// What is started.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The file.
    pub(crate) file: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
}

/// A process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    id: u32,
    clock: ClockId,
    output: Arc<Output>,
    /// When it was started.
    pub(crate) started: Instant,
}

/// What it wrote to its log.
#[derive(Debug, Default)]
struct Output {
    bytes: AtomicU64,
    lines: AtomicU64,
    end: Mutex<Vec<u8>>,
}

/// How much of a log is shown when a process fails.
const SHOWN: usize = 4000;

/// How long what was written may take to get here.
const SETTLED: Duration = Duration::from_millis(20);

impl Process {
    /// Starts a program with nothing but this environment, in the share of a quota if there is one.
    pub(crate) fn start(
        program: &Program,
        environment: &BTreeMap<String, String>,
        quota: Option<&Quota>,
    ) -> anyhow::Result<Self> {
        let mut command = match quota {
            None => Command::new(&program.file),
            Some(quota) => {
                // It joins the group before it becomes the program, so that all of the program is in it.
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(quota.members()).arg(&program.file);
                shell
            }
        };
        command.args(&program.arguments).env_clear().envs(environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("failed to start {}", program.file.display()))?;
        let id = child.id().context("a process that has just started has an id")?;
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(id)?)).context("failed to find its clock")?;
        let output = Arc::new(Output::default());
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(drain(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(drain(stderr, Arc::clone(&output)));
        }
        Ok(Self { child, id, clock, output, started })
    }

    /// The time that processors have spent on it, in its own code and in the kernel.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(Duration::from(clock_gettime(self.clock).context("it has ended")?))
    }

    /// The most memory it had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        let file = format!("/proc/{}/status", self.id);
        let status = std::fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?;
        peak_in(&status).context("there is no VmHWM in its status")
    }

    /// How many bytes and lines it has written to its log.
    pub(crate) async fn written(&self) -> (u64, u64) {
        tokio::time::sleep(SETTLED).await;
        (self.output.bytes.load(Ordering::Relaxed), self.output.lines.load(Ordering::Relaxed))
    }

    /// Waits for this, but not longer than the process lives, and not longer than allowed.
    pub(crate) async fn during<T>(
        &mut self,
        within: Duration,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let failure = tokio::select! {
            done = work => match done {
                Ok(done) => return Ok(done),
                Err(error) => error,
            },
            ended = self.child.wait() => anyhow!("the process ended: {}", ended.context("failed to wait for it")?),
            () = tokio::time::sleep(within) => anyhow!("it took longer than {} s", within.as_secs()),
        };
        tokio::time::sleep(SETTLED).await;
        let end = self.output.end.lock().unwrap_or_else(PoisonError::into_inner);
        Err(failure.context(format!("its log ends with:\n{}", String::from_utf8_lossy(&end))))
    }

    /// Ends it.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("failed to end a process")
    }
}

async fn drain(mut pipe: impl AsyncRead + Unpin, output: Arc<Output>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default();
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        output.bytes.fetch_add(u64::try_from(length).unwrap_or(u64::MAX), Ordering::Relaxed);
        output.lines.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut end = output.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.extend_from_slice(bytes);
        let surplus = end.len().saturating_sub(SHOWN);
        end.drain(..surplus);
    }
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program { file: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script.to_owned()] }
    }

    #[test]
    fn the_peak_is_in_the_status() {
        assert_eq!(peak_in("Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    7700 kB\n"), Some(7700 * 1024));
        assert_eq!(peak_in("Name:\tx\n"), None);
    }

    #[tokio::test]
    async fn what_a_process_spends_and_writes_is_seen() {
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo one; echo two >&2; read forever < /dev/zero";
        let process = Process::start(&shell(busy), &BTreeMap::new(), None).unwrap();
        let mut written = (0, 0);
        for _ in 0..100 {
            written = process.written().await;
            if written == (8, 2) {
                break;
            }
        }
        assert_eq!(written, (8, 2));
        assert!(process.cpu().unwrap() > Duration::from_millis(1));
        assert!(process.peak_memory().unwrap() > 100_000);
        process.end().await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_ends_is_not_waited_for() {
        let mut process = Process::start(&shell("echo what is wrong; exit 3"), &BTreeMap::new(), None).unwrap();
        let error = process.during(Duration::from_secs(60), std::future::pending::<anyhow::Result<()>>()).await;
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("what is wrong") && error.contains("exit status: 3"), "{error}");
    }
}

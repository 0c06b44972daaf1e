//! A share of a core, by control groups: what a small function has on Lambda.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

/// The share of a core that a function with 128 MB has: a whole one is had with 1769 MB.
pub(crate) const SHARE: f64 = 0.072;

/// In what pieces it is given, in microseconds.
const PERIOD: u32 = 20_000;
const QUOTA: u32 = 1_440;

/// A group of processes that have that share together.
#[derive(Debug)]
pub(crate) struct Quota {
    group: PathBuf,
}

impl Quota {
    /// Makes the group.
    ///
    /// # Errors
    /// If this machine, or this user, cannot.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let name = format!("verification-callbacks-bench-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/cpu");
        if first.is_dir() {
            let quota = Self::made(first.join(name))?;
            quota.write("cpu.cfs_period_us", &PERIOD.to_string())?;
            quota.write("cpu.cfs_quota_us", &QUOTA.to_string())?;
            return Ok(quota);
        }
        let quota = Self::made(Path::new("/sys/fs/cgroup").join(name))?;
        quota.write("cpu.max", &format!("{QUOTA} {PERIOD}"))?;
        Ok(quota)
    }

    fn made(group: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir(&group).with_context(|| format!("failed to make {}", group.display()))?;
        Ok(Self { group })
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let file = self.group.join(file);
        std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
    }

    /// The file that a process writes its id to in order to belong to the group.
    pub(crate) fn members(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }
}

/// It can be removed once all its processes have ended. One that has just been killed takes a moment for that.
impl Drop for Quota {
    fn drop(&mut self) {
        for _ in 0..50 {
            if std::fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_the_share() {
        assert!((f64::from(QUOTA) / f64::from(PERIOD) - SHARE).abs() < 1e-9);
    }
}

//! What instruction counts depend on beside the code.

use std::process::Command;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// What instruction counts were made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What `rustc --version` says.
    pub rustc: String,
    /// The platform that it compiles for.
    pub target: String,
    /// What `valgrind --version` says.
    pub valgrind: String,
    /// The C library and its version: memory is allocated and copied by it.
    pub libc: String,
    /// Those of the processor's features by which libraries choose between several ways to do the same.
    pub processor: Vec<String>,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// If one of the programs is not there.
    pub fn this() -> anyhow::Result<Self> {
        let rustc = output("rustc", &["-vV"])?;
        let target = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        Ok(Self {
            rustc: rustc.lines().next().unwrap_or_default().to_owned(),
            target: target.to_owned(),
            valgrind: output("valgrind", &["--version"])?,
            libc: output("getconf", &["GNU_LIBC_VERSION"])?,
            processor: processor(),
        })
    }

    /// In what the other one differs, in words; nothing if counts can be compared.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let parts = |machine: &Self| {
            let Self { rustc, target, valgrind, libc, processor } = machine.clone();
            [rustc, target, valgrind, libc, format!("a processor with {processor:?}")]
        };
        let pairs = parts(self).into_iter().zip(parts(other));
        pairs.filter(|(one, other)| one != other).map(|(one, other)| format!("{one}, not {other}")).collect()
    }
}

fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("failed to run {program}"))?;
    if !output.status.success() {
        bail!("{program} {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Valgrind shows a program these, if the processor has them.
#[cfg(target_arch = "x86_64")]
fn processor() -> Vec<String> {
    let features = [("avx", is_x86_feature_detected!("avx")), ("avx2", is_x86_feature_detected!("avx2"))];
    features.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_differs_in_what_it_says() {
        let one = Machine { rustc: "rustc 1.91.0".to_owned(), ..Machine::default() };
        let other = Machine { rustc: "rustc 1.92.0".to_owned(), processor: vec!["avx2".to_owned()], ..one.clone() };
        assert_eq!(one.differences(&one), Vec::<String>::new());
        let differences = ["rustc 1.91.0, not rustc 1.92.0", "a processor with [], not a processor with [\"avx2\"]"];
        assert_eq!(one.differences(&other), differences);
    }
}

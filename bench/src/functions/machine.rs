//! On what it was measured, and of what.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde::Serialize;
use serde_json::Value;

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    /// Its processor.
    pub(crate) processor: String,
    /// How many cores there are to be used.
    pub(crate) cores: usize,
    /// Its memory, in gigabytes.
    pub(crate) memory_gb: f64,
    /// Its kernel.
    pub(crate) kernel: String,
}

/// What is known of what cannot be read.
const UNKNOWN: &str = "unknown";

impl Machine {
    /// The one that this runs on.
    pub(crate) fn this() -> Self {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let kilobytes =
            field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| UNKNOWN.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gb: (kilobytes.unwrap_or_default() / 1e6).round(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

/// The first field of this name in lines of names and values.
fn field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Crates that most of what is measured is made of.
const CRATES: [&str; 7] =
    ["aws-config", "aws-lc-rs", "aws-sdk-dynamodb", "aws-sdk-sqs", "lambda_runtime", "rustls", "tokio"];

/// The versions of what is measured: the compiler, the peers' languages, and what the lock files say.
pub(crate) fn versions(root: &Path) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let of_crate = |name: &&str| Some(((*name).to_owned(), locked(&lock, name)?));
    versions.extend(CRATES.iter().filter_map(of_crate));
    let python = root.join("target/peers/python/runtime/bin/python");
    for (name, program) in [("rustc", Path::new("rustc")), ("python", &python), ("node", Path::new("node"))] {
        versions.extend(version_of(program).map(|version| (name.to_owned(), version)));
    }
    let mut folders = vec![root.join("bench/peers")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let text = || std::fs::read_to_string(&path).unwrap_or_default();
            match name {
                "node_modules" => {}
                "package.json" => versions.extend(dependencies(&text())),
                _ if path.is_dir() => folders.push(path),
                _ if name.starts_with("requirements") => versions.extend(requirements(&text())),
                _ => {}
            }
        }
    }
    versions
}

fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().find(|word| word.contains('.'))?;
    Some(version.trim_start_matches('v').to_owned())
}

/// The version of a crate in Cargo.lock.
fn locked(lock: &str, name: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// What a package.json asks for to run.
fn dependencies(text: &str) -> BTreeMap<String, String> {
    let package: Value = serde_json::from_str(text).unwrap_or_default();
    let dependencies = package.get("dependencies").and_then(Value::as_object);
    let version = |(name, version): (&String, &Value)| Some((name.clone(), version.as_str()?.to_owned()));
    dependencies.into_iter().flatten().filter_map(version).collect()
}

/// What a requirements file pins.
fn requirements(text: &str) -> BTreeMap<String, String> {
    let pinned = text.lines().filter_map(|line| line.split_once("=="));
    let version = |text: &str| text.split([' ', ';', '\\']).next().unwrap_or_default().to_owned();
    pinned.map(|(name, rest)| (name.trim().to_owned(), version(rest))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_lock_files() {
        let lock = "[[package]]\nname = \"tokio-util\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"tokio\"\nversion = \"1.2.3\"\n";
        assert_eq!(locked(lock, "tokio").as_deref(), Some("1.2.3"));
        assert_eq!(locked(lock, "other"), None);
        let requirements = requirements(
            "# pinned\nboto3==1.44.5 \\\n    --hash=sha256:00\nawslambdaric[x]==3.0.0; python_version > \"3\"\n",
        );
        assert_eq!(requirements.get("boto3").map(String::as_str), Some("1.44.5"));
        assert_eq!(requirements.get("awslambdaric[x]").map(String::as_str), Some("3.0.0"));
        let dependencies =
            dependencies(r#"{ "dependencies": { "jose": "6.1.0" }, "devDependencies": { "esbuild": "1" } }"#);
        assert_eq!(dependencies, BTreeMap::from([("jose".to_owned(), "6.1.0".to_owned())]));
    }

    #[test]
    fn a_field_is_what_stands_after_its_name() {
        assert_eq!(field("vendor_id\t: X\nmodel name\t: A Processor\n", "model name").as_deref(), Some("A Processor"));
        assert!(Machine::this().cores > 0);
    }
}

//! Building what is measured, and weighing it.

use std::{
    fs::File,
    io::{self, Cursor},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::subjects::{Kind, Subject};

/// Builds what these subjects are made of, as it is deployed.
pub(crate) async fn build(root: &Path, target: &Path, subjects: &[Subject]) -> anyhow::Result<()> {
    let packages = |kind: Kind| {
        let subjects = subjects.iter().filter(move |subject| subject.kind == kind);
        let mut names: Vec<&str> = subjects.filter_map(|subject| subject.artifact.file_name()?.to_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    // Apart, so that nothing that one kind needs gets into the other.
    for packages in [packages(Kind::Function), packages(Kind::Floor)] {
        if packages.is_empty() {
            continue;
        }
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--locked", "--target-dir"]).arg(target);
        for package in packages {
            cargo.args(["-p", package]);
        }
        run(cargo.current_dir(root)).await.context("failed to build what is measured")?;
    }
    if subjects.iter().any(|subject| subject.kind == Kind::Peer) {
        let mut install = Command::new(root.join("bench/peers/install"));
        run(install.current_dir(root)).await.context("failed to install the peers")?;
    }
    Ok(())
}

/// Runs a command that speaks for itself, on stderr: stdout is for the report.
async fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).kill_on_drop(true).status().await;
    let status = status.with_context(|| format!("failed to run {:?}", command.as_std().get_program()))?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// The folder of the profile that this command was built into: the functions' binaries are beside it, in `release`.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe().context("failed to find this command")?;
    let target = me.parent().and_then(Path::parent).context("this command is in no folder of a build")?;
    Ok(target.to_owned())
}

/// How large an artifact is, and how large zipped as well as can be. None if it is not there.
pub(crate) fn sizes(artifact: &Path) -> anyhow::Result<Option<(u64, u64)>> {
    if !artifact.exists() {
        return Ok(None);
    }
    let best = SimpleFileOptions::default().compression_level(Some(9)).large_file(false);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut bytes = 0;
    for (name, file) in files(artifact)? {
        zip.start_file(name, best).context("failed to zip")?;
        let mut content = File::open(&file).with_context(|| format!("failed to read {}", file.display()))?;
        bytes += io::copy(&mut content, &mut zip).with_context(|| format!("failed to zip {}", file.display()))?;
    }
    let zipped = zip.finish().context("failed to zip")?.into_inner();
    Ok(Some((bytes, u64::try_from(zipped.len())?)))
}

/// The files of an artifact, each with its name in the zip.
fn files(artifact: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if artifact.is_file() {
        return Ok(vec![("bootstrap".to_owned(), artifact.to_owned())]);
    }
    let mut files = Vec::new();
    let mut folders = vec![artifact.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(artifact) {
                files.push((name.to_string_lossy().into_owned(), path.clone()));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_weighed_zipped() {
        let source = cli::project_root().unwrap().join("bench/src");
        let (bytes, zipped) = sizes(&source).unwrap().unwrap();
        assert!(zipped > 1000 && zipped < bytes / 2, "{zipped} of {bytes}");
        assert_eq!(sizes(&source.join("nowhere")).unwrap(), None);
    }
}

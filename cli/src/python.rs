//! The Python programs that the local stack needs, each in a virtual environment of its own under target/.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// The AWS emulator.
pub(crate) const EMULATOR: Environment =
    Environment { name: "emulator", requirements: include_str!("../python/emulator.txt") };

/// AWS SAM's command line. It wants other versions than the emulator of the packages they share.
pub(crate) const SAM: Environment = Environment { name: "sam", requirements: include_str!("../python/sam.txt") };

/// cargo-lambda, which `sam build` runs. The same environment that .ci/release makes and looks for.
pub(crate) const RELEASE: Environment =
    Environment { name: "release", requirements: include_str!("../../.ci/release.txt") };

/// A virtual environment with pinned packages.
pub(crate) struct Environment {
    name: &'static str,
    requirements: &'static str,
}

impl Environment {
    /// Installs the environment below `folder`, unless it is there already with just these packages, and returns its `bin`.
    pub(crate) async fn install(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let venv = folder.join(self.name);
        let bin = venv.join("bin");
        // Written last, so that an installation that was interrupted is begun anew.
        let installed = venv.join("installed.txt");
        if std::fs::read_to_string(&installed).is_ok_and(|text| text == self.requirements) {
            return Ok(bin);
        }
        check_python().await?;
        if venv.exists() {
            std::fs::remove_dir_all(&venv).with_context(|| format!("failed to remove {}", venv.display()))?;
        }
        std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        output(Command::new("python3").args(["-m", "venv"]).arg(&venv)).await.context("failed to create a venv")?;
        let requirements = venv.join("requirements.txt");
        std::fs::write(&requirements, self.requirements).context("failed to write the list of packages")?;
        let mut pip = Command::new(bin.join("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
        output(&mut pip).await.with_context(|| format!("failed to install the packages of {}", self.name))?;
        std::fs::write(&installed, self.requirements).context("failed to note what was installed")?;
        Ok(bin)
    }
}

async fn check_python() -> anyhow::Result<()> {
    let check =
        "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))";
    let python = match Command::new("python3").args(["-c", check]).kill_on_drop(true).output().await {
        Ok(python) => python,
        Err(error) => bail!("failed to run python3: {error}. The local stack needs Python 3.10 or newer: install it"),
    };
    let version = String::from_utf8_lossy(&python.stdout);
    match (python.status.success(), version.trim()) {
        (true, _) => Ok(()),
        (false, "") => bail!(
            "Python's modules venv and ensurepip are missing, which the local stack needs: install them \
             (on Debian and Ubuntu: apt install python3-venv)"
        ),
        (false, version) => bail!("python3 is Python {version}, and the local stack needs 3.10 or newer: install that"),
    }
}

/// Runs a command to its end, and returns what it printed. What it printed is in the error if it failed.
pub(crate) async fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("failed to run {name}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}):\n{}\n{}", output.status, stdout.trim_end(), stderr.trim_end());
    }
    Ok(stdout)
}

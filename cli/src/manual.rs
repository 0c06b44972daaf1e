//! `callbacks completions` and `callbacks man`: for the shell.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::Cli;

/// Prints a script that completes this command in a shell.
///
/// For bash, for example: callbacks completions bash > ~/.local/share/bash-completion/completions/callbacks
#[derive(Debug, Args)]
pub struct Completions {
    shell: Shell,
}

/// Writes the manual pages of this command and its subcommands into a folder.
///
/// Then, for example: man -l FOLDER/callbacks-replay.1
#[derive(Debug, Args)]
pub struct Man {
    /// The folder; it is made if it is not there.
    #[arg(default_value = "target/man")]
    folder: PathBuf,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "callbacks", &mut script);
        std::io::stdout().write_all(&script).context("failed to write")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.folder;
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        clap_mangen::generate_to(Cli::command(), &folder)
            .with_context(|| format!("failed to write to {}", folder.display()))?;
        say!("{}", folder.join("callbacks.1").display());
        Ok(ExitCode::SUCCESS)
    }
}

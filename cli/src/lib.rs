//! `callbacks`: runs the whole stack on one machine, plays the providers, and operates deployed
//! stacks.

/// Prints a line. If the reader has closed the pipe, as `head` does, the command ends as if by
/// SIGPIPE.
macro_rules! say {
    ($($argument:tt)*) => {
        if std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($argument)*))).is_err() {
            std::process::exit(141);
        }
    };
}

mod api;
mod deploy;
mod emulator;
mod held;
mod parsers;
mod python;
mod rows;
mod selection;
mod step;
mod terminal;
mod trigger;
mod watch;
mod why;

pub mod console;
pub mod demo;
pub mod doctor;
pub mod erase;
pub mod events;
pub mod examples;
pub mod expect;
pub mod list;
pub mod local;
pub mod logs;
pub mod manual;
pub mod prove;
pub mod provider;
pub mod rebuild;
pub mod redrive;
pub mod replay;
pub mod reprocess;
pub mod restore;
pub mod sam_local;
pub mod sample;
pub mod send;
pub mod stack;
pub mod tail;
pub mod verifications;
pub mod verify;
pub mod wallet;

pub use deploy::local_secret;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, error::ErrorKind};

use crate::stack::Stack;

/// Run, try and operate verification callbacks.
///
/// Start with `callbacks demo`: it brings up everything on this machine, sends every sample in events/, and shows what came of
/// each. `callbacks local` keeps the stack running for your own requests.
#[derive(Debug, Parser)]
#[command(name = "callbacks", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Local(local::Local),
    Demo(demo::Demo),
    Examples(examples::Examples),
    Send(send::Send),
    Trigger(trigger::Trigger),
    Tail(tail::Tail),
    Logs(logs::Logs),
    Console(console::Console),
    List(list::List),
    Show(list::Show),
    Replay(replay::Replay),
    Reprocess(reprocess::Reprocess),
    Restore(restore::Restore),
    Erase(erase::Erase),
    Rebuild(rebuild::Rebuild),
    Redrive(redrive::Redrive),
    Expect(expect::Expect),
    Provider(provider::Provider),
    Verify(verify::Verify),
    Doctor(doctor::Doctor),
    #[command(subcommand)]
    Why(why::Why),
    Prove(prove::Prove),
    SamLocal(sam_local::SamLocal),
    Completions(manual::Completions),
    Man(manual::Man),
}

impl Cli {
    /// Checks that a line such as `callbacks list --since 1h` is understood, as documents show it.
    ///
    /// # Errors
    /// If it is not; the error is what the command would print.
    pub fn check(line: &str) -> Result<(), String> {
        let words = shell_words::split(line).map_err(|error| error.to_string())?;
        match Self::try_parse_from(words) {
            Err(error) if error.kind() != ErrorKind::DisplayHelp => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Does what the command line asks for.
    ///
    /// # Errors
    /// If it cannot be done; the error says what is in the way, and the way out.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Local(command) => command.run().await,
            Command::Demo(command) => command.run().await,
            Command::Examples(command) => command.run().await,
            Command::Send(command) => command.run().await,
            Command::Trigger(command) => command.run().await,
            Command::Tail(command) => command.run().await,
            Command::Logs(command) => command.run().await,
            Command::Console(command) => command.run().await,
            Command::List(command) => command.run().await,
            Command::Show(command) => command.run().await,
            Command::Replay(command) => command.run().await,
            Command::Reprocess(command) => command.run().await,
            Command::Restore(command) => command.run().await,
            Command::Erase(command) => command.run().await,
            Command::Rebuild(command) => command.run().await,
            Command::Redrive(command) => command.run().await,
            Command::Expect(command) => command.run().await,
            Command::Provider(command) => command.run().await,
            Command::Verify(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::Why(command) => command.run().await,
            Command::Prove(command) => command.run().await,
            Command::SamLocal(command) => command.run().await,
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
        }
    }
}

/// Which stack a command is about.
#[derive(Debug, Args)]
pub struct Target {
    /// The name of a deployed CloudFormation stack. Without it, the local stack.
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// A file with a local stack's addresses, as `callbacks local --json` prints them, instead of the running one's.
    #[arg(long, value_name = "FILE", conflicts_with = "stack")]
    stack_file: Option<PathBuf>,
}

impl Target {
    async fn resolve(&self) -> anyhow::Result<Stack> {
        match (&self.stack, &self.stack_file) {
            (Some(name), _) => Stack::deployed(name).await,
            (None, Some(file)) => Stack::read(file),
            (None, None) if project_root().is_err() => bail!(
                "no stack is named: name a deployed one with --stack NAME, or go to the project's folder, where the \
                 local one is"
            ),
            (None, None) => local::running(),
        }
    }
}

/// An error as it is printed. It may quote what others wrote; its own line breaks stay.
#[must_use]
pub fn error_text(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().map(terminal::harmless).collect::<Vec<_>>().join("\n")
}

/// The folder of the project: where template.yaml is, here or above.
///
/// # Errors
/// If the command was started elsewhere.
pub fn project_root() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("failed to find the current folder")?;
    let is_root = |folder: &&Path| folder.join("template.yaml").is_file() && folder.join("functions").is_dir();
    match here.ancestors().find(is_root) {
        Some(root) => Ok(root.to_owned()),
        None => bail!(
            "no template.yaml with functions/ in {} or above: run this in a clone of the project, whose sources it needs",
            here.display()
        ),
    }
}

//! `bench`: what the stack does under load, and what its functions take.

#![expect(clippy::print_stdout, reason = "a command line prints")]

pub mod functions;
pub mod load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Find out what the stack does under load, and what its functions take.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(load::Load),
    Functions(functions::Functions),
}

impl Cli {
    /// Does what the command line asks for.
    ///
    /// # Errors
    /// If it cannot be done; the error says what is in the way.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Load(command) => command.run().await,
            Command::Functions(command) => command.run().await,
        }
    }
}

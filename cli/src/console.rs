//! `callbacks console`: a page in the browser for what the commands show and do.

mod again;
mod event;
mod events;
mod fields;
mod guard;
mod live;
mod page;
mod play;
mod providers;
mod queues;
mod server;
mod verification;

use std::process::{ExitCode, Stdio};

use clap::Args;

pub use self::server::Server;
use crate::{Target, local::interrupted};

/// Show events, verifications, providers and queues in the browser, until Ctrl-C.
///
/// Serves a page on 127.0.0.1 and nowhere else. The first line on standard output is its address,
/// with a token in it: without the token, the page answers 403. It reads what the commands read,
/// with your AWS credentials, and shows a payload only when you ask for it. Replay, reprocess and
/// redrive show what they would do first, as with --dry-run, and ask.
///
/// On a remote machine, forward the port to the same one on yours: ssh -L 4580:127.0.0.1:4580 HOST
#[derive(Debug, Args)]
pub struct Console {
    #[command(flatten)]
    target: Target,
    /// The port to listen on [default: 4580, or a free one if that is in use].
    #[arg(long)]
    port: Option<u16>,
    /// Print the address, and open no browser.
    #[arg(long)]
    no_open: bool,
}

impl Console {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let server = Server::bind(stack, self.target.stack.clone(), self.port).await?;
        say!("{}", server.address());
        eprintln!("Running until Ctrl-C. Anyone with this address can read personal data: do not share it.");
        if !self.no_open {
            open(&server.address_for_once());
        }
        tokio::select! {
            served = server.serve() => served?,
            signal = interrupted() => signal?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Opens an address in the browser, if there is one. If not, the address is on standard output.
fn open(address: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = tokio::process::Command::new(program);
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_err() {
        eprintln!("No browser could be started: open the address above.");
    }
}

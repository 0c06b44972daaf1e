//! The command line, as its users run it.

use std::process::{Output, Stdio};

use cli::stack::Stack;
use tokio::process::Command;

/// Runs `callbacks` with these arguments on a local stack, and returns its exit code and what it prints.
pub async fn callbacks(stack: &Stack, arguments: &[&str]) -> (i32, String) {
    let output = callbacks_command(stack, arguments).output().await.unwrap();
    let (code, printed, _) = said(arguments, output);
    (code, printed)
}

/// The same, and what it says on standard error.
pub async fn callbacks_and_errors(stack: &Stack, arguments: &[&str]) -> (i32, String, String) {
    let output = callbacks_command(stack, arguments).output().await.unwrap();
    said(arguments, output)
}

/// The command `callbacks` with these arguments on a local stack.
pub fn callbacks_command(stack: &Stack, arguments: &[&str]) -> Command {
    let root = cli::project_root().unwrap();
    let name = stack.api_url.replace([':', '/'], "-");
    let file = root.join("target/tests").join(format!("{name}.json"));
    std::fs::create_dir_all(root.join("target/tests")).unwrap();
    // Another command may be reading it.
    let text = serde_json::to_string(stack).unwrap();
    if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
        std::fs::write(&file, text).unwrap();
    }
    // Built for the local stack, as all binaries are.
    let mut command = Command::new(root.join("target/debug/callbacks"));
    command.args(arguments).arg("--stack-file").arg(file).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn said(arguments: &[&str], output: Output) -> (i32, String, String) {
    let errors = String::from_utf8(output.stderr).unwrap();
    eprintln!("callbacks {arguments:?}: {errors}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), errors)
}

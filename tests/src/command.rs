//! The command line, as its users run it.

use std::process::Stdio;

use cli::stack::Stack;
use tokio::process::Command;

/// Runs `callbacks` with these arguments on a local stack, and returns its exit code and what it prints.
pub async fn callbacks(stack: &Stack, arguments: &[&str]) -> (i32, String) {
    let root = cli::project_root().unwrap();
    let name = stack.api_url.replace([':', '/'], "-");
    let file = root.join("target/tests").join(format!("{name}.json"));
    std::fs::create_dir_all(root.join("target/tests")).unwrap();
    std::fs::write(&file, serde_json::to_string(stack).unwrap()).unwrap();
    // Built for the local stack, as all binaries are.
    let mut command = Command::new(root.join("target/debug/callbacks"));
    let command = command.args(arguments).arg("--stack-file").arg(file).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    eprintln!("callbacks {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

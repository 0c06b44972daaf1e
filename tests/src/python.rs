//! Python programs that tests run, each in a virtual environment of its own under target/, as those of the local stack.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

/// Installs what `tests/NAME/requirements.txt` lists, unless it is there already with just these packages, and returns its `bin`.
pub async fn install(name: &str) -> PathBuf {
    let requirements = cli::project_root().unwrap().join("tests").join(name).join("requirements.txt");
    install_from(&requirements, name).await
}

/// The same for AWS SAM, in the environment that the local stack has too.
pub async fn sam() -> PathBuf {
    install_from(&cli::project_root().unwrap().join("cli/python/sam.txt"), "sam").await
}

async fn install_from(requirements: &Path, name: &str) -> PathBuf {
    let environments = cli::project_root().unwrap().join("target/python");
    std::fs::create_dir_all(&environments).unwrap();
    // As the local stack does. Two tests at once would install into the same environment.
    let lock = File::create(environments.join("lock")).unwrap();
    lock.lock().unwrap();
    let environment = environments.join(name);
    let (bin, installed) = (environment.join("bin"), environment.join("installed.txt"));
    let wanted = std::fs::read_to_string(requirements).unwrap();
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return bin;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment)).await;
    let mut pip = Command::new(bin.join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements);
    run(&mut pip).await;
    std::fs::write(installed, wanted).unwrap();
    bin
}

/// Runs a command to its end, and returns what it says; panics with that if it fails.
pub async fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

//! `callbacks sam-local` where there is no container engine. Where there is one, the command is the test.

use std::process::Command;

#[test]
fn without_an_engine_it_is_said_that_nothing_was_checked() {
    for (arguments, beginning) in
        [(&[][..], "skipped: no Docker engine answers ("), (&["--json"], r#"{"skipped":"no Docker engine answers: "#)]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callbacks"));
        let output = command.arg("sam-local").args(arguments).env("DOCKER_HOST", "unix:///nowhere").output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && printed.starts_with(beginning) && printed.lines().count() == 1, "{printed}");
    }
}

//! [Schemathesis](https://schemathesis.readthedocs.io), which calls every route with what docs/contract/openapi.yaml allows, and with what
//! it does not.

use cli::stack::Stack;
use tokio::process::Command;

use crate::python;

/// Runs it on a local stack, and panics with what it says if something is not answered as described.
pub async fn schemathesis(stack: &Stack) {
    let root = cli::project_root().unwrap();
    let bin = python::install("schemathesis").await;
    // It leaves files where it is started.
    let folder = root.join("target/tests/schemathesis");
    std::fs::create_dir_all(&folder).unwrap();
    let ours = root.join("tests/schemathesis");
    let expectations = stack.url("expectations").unwrap();
    let mut st = Command::new(bin.join("st"));
    st.arg("--config-file").arg(ours.join("schemathesis.toml"));
    st.arg("run").arg(root.join("docs/contract/openapi.yaml"));
    st.args(["--no-color", "--url", expectations.strip_suffix("/expectations/{provider}").unwrap()]);
    st.env("SCHEMATHESIS_HOOKS", ours.join("credentials.py"));
    // Or what it makes would differ from run to run all the same.
    st.env("PYTHONHASHSEED", "0");
    python::run(st.current_dir(folder)).await;
}

//! A headless Chromium, driven by WebDriver.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::free_port;

/// A browser with an empty profile. It ends with this.
#[derive(Debug)]
pub struct Browser {
    /// The connection to it.
    pub client: Client,
    driver: Child,
    profile: PathBuf,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// On a desk, by day.
    Light,
    /// On a desk, at night.
    Dark,
    /// On a phone, at night: 390 pixels wide.
    Phone,
}

/// The programs that are needed, if they are installed.
#[expect(clippy::disallowed_methods, reason = "a browser is where the system has it")]
fn programs() -> Option<(PathBuf, PathBuf)> {
    let path = std::env::var_os("PATH")?;
    let find = |name: &str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    Some((find("chromedriver")?, find("chromium")?))
}

impl Browser {
    /// Starts a browser; none where none is installed.
    ///
    /// # Panics
    /// If one is installed and does not start.
    pub async fn start(looks: Looks) -> Option<Self> {
        let (driver, chromium) = programs()?;
        let port = free_port();
        let mut command = Command::new(driver);
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        let driver = command.spawn().unwrap();
        let profile = std::env::temp_dir().join(format!("callbacks-browser-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&profile).unwrap();
        let capabilities = capabilities(looks, &chromium, &profile);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let builder = builder.capabilities(capabilities.as_object().unwrap().clone());
        for _ in 0..100 {
            if let Ok(client) = builder.connect(&format!("http://127.0.0.1:{port}")).await {
                return Some(Self { client, driver, profile });
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("the browser does not start");
    }

    /// What a script in the page returns.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&self, expression: &str) {
        for _ in 0..150 {
            if self.run(&format!("return Boolean({expression})")).await == true {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("never true: {expression}\n{}", self.run("return document.body.innerText").await);
    }

    /// Ends the browser.
    pub async fn end(self) {
        self.client.clone().close().await.unwrap();
    }
}

/// Also after a test that failed. The browser is in the driver's process group.
impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = self.driver.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn capabilities(looks: Looks, chromium: &Path, profile: &Path) -> Value {
    let mut arguments: Vec<String> = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--window-size=1280,800",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let scheme = if looks == Looks::Light { 1 } else { 0 };
    arguments.push(format!("--blink-settings=preferredColorScheme={scheme}"));
    let mut options = json!({ "binary": chromium, "args": arguments });
    if looks == Looks::Phone {
        options["mobileEmulation"] = json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2.0 } });
    }
    json!({ "browserName": "chrome", "goog:chromeOptions": options, "unhandledPromptBehavior": "ignore" })
}

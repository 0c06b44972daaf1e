//! Showing what takes long.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows `doing` and the time it takes while `work` goes on, on a terminal as a spinner, elsewhere as a line when it is done.
pub(crate) async fn step<T>(doing: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let spinner = ProgressBar::new_spinner().with_message(doing.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    let result = work.await;
    let seconds = spinner.elapsed().as_secs_f32();
    spinner.finish_and_clear();
    let mark = if result.is_ok() { "done" } else { "failed" };
    eprintln!("{mark:>6} {seconds:5.1} s  {doing}");
    result
}

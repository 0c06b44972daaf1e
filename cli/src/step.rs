//! Showing what takes long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::local::interrupted;

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

/// A bar for so many things of which each is `done` when it is, on a terminal.
pub(crate) fn progress(done: &str, things: usize) -> ProgressBar {
    let bar = ProgressBar::new(things as u64).with_message(done.to_owned());
    match ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} ({eta})") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Whether somebody wants the command to end: it does so where nothing is left half done.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let came = Arc::<AtomicBool>::default();
        let noted = Arc::clone(&came);
        tokio::spawn(async move {
            // Where it is not possible to listen, the signal just ends the process: that is safe too.
            if interrupted().await.is_ok() {
                noted.store(true, Ordering::Relaxed);
            }
        });
        Self(came)
    }

    /// None ever comes: for what is done to its end, and can be repeated if the process ends.
    pub(crate) fn never() -> Self {
        Self(Arc::default())
    }

    /// Whether it came.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

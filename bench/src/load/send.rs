//! Sending courses, as providers would.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
    vec,
};

use anyhow::Context as _;
use cli::{
    sample::{self, Answer, ExpectedEvent, Sample, Secrets},
    stack::{Connections, Stack},
    wallet::Issuer,
};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::plan::{Callback, Course};

/// One callback that was sent, and what came back.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) function: String,
    /// What should become of it, if it is not forged.
    pub(crate) event: ExpectedEvent,
    pub(crate) is_forged: bool,
    pub(crate) is_copy: bool,
    /// When in its course it was sent. Callbacks of one turn were sent at the same instant: if they say the same, and
    /// were received in the same millisecond, they are one item.
    pub(crate) turn: usize,
    /// What came back, each time it was sent.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) verdict: Verdict,
}

/// What came back once.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// None if there was no answer.
    pub(crate) status: Option<u16>,
    pub(crate) took: Duration,
}

/// What the answer means to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was taken in.
    Acknowledged,
    /// It was not: come again. It may be stored all the same.
    NotAcknowledged,
    /// It was not, and never will be.
    Refused,
}

/// How many items these callbacks become at least: one for each turn in which one was acknowledged.
pub(crate) fn acknowledged(sent: &[&Sent]) -> usize {
    let acknowledged = sent.iter().filter(|sent| !sent.is_forged && sent.verdict == Verdict::Acknowledged);
    acknowledged.map(|sent| sent.turn).collect::<BTreeSet<_>>().len()
}

/// Who sends all courses.
pub(crate) struct Sender {
    stack: Stack,
    connections: Connections,
    http: reqwest::Client,
    secrets: Secrets,
    /// What forged callbacks bear in their place.
    forged_secrets: Secrets,
    progress: ProgressBar,
    courses: Mutex<vec::IntoIter<(String, Course)>>,
    is_stopped: AtomicBool,
    unannounced: AtomicUsize,
}

/// How often a callback is sent that is not acknowledged.
pub(crate) const ATTEMPTS: u32 = 6;

/// How long the first pause before another attempt is; each further one is longer by as much.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// How long an answer is waited for. No provider waits that long, but a small machine under load may take it.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(60);

impl Sender {
    /// Prepares sending these courses, about subjects that begin with this prefix.
    pub(crate) async fn new(
        stack: &Stack,
        courses: Vec<Course>,
        prefix: &str,
        progress: ProgressBar,
    ) -> anyhow::Result<Self> {
        let connections = stack.connect().await;
        let secrets = sample::secrets(stack, &connections).await?;
        let forged_secrets = secrets.keys().map(|function| (function.clone(), "forged".to_owned())).collect();
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().context("failed to make a client")?;
        let courses: Vec<_> =
            courses.into_iter().zip(0..).map(|(course, n)| (format!("{prefix}{n}"), course)).collect();
        Ok(Self {
            stack: stack.clone(),
            connections,
            http,
            secrets,
            forged_secrets,
            progress,
            courses: Mutex::new(courses.into_iter()),
            is_stopped: AtomicBool::new(false),
            unannounced: AtomicUsize::new(0),
        })
    }

    /// Sends all courses, so many at the same time, until `stop`. Returns what was sent and answered, and whether it was stopped.
    pub(crate) async fn send_all(
        self: &Arc<Self>,
        concurrency: usize,
        stop: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<(Vec<Sent>, bool)> {
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            let sender = Arc::clone(self);
            workers.spawn(async move {
                let mut sent = Vec::new();
                while let Some((subject, course)) = sender.next() {
                    sent.extend(sender.send_course(&subject, course).await?);
                }
                anyhow::Ok(sent)
            });
        }
        let mut stop = pin!(stop);
        let mut all_sent = Vec::new();
        loop {
            tokio::select! {
                stopped = &mut stop, if !self.is_stopped() => {
                    stopped?;
                    self.is_stopped.store(true, Ordering::Relaxed);
                }
                ended = workers.join_next() => match ended {
                    Some(sent) => all_sent.extend(sent.context("failed to send a course")??),
                    None => return Ok((all_sent, self.is_stopped())),
                },
            }
        }
    }

    /// How many callbacks were not sent, as they could not be announced.
    pub(crate) fn unannounced(&self) -> usize {
        self.unannounced.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<(String, Course)> {
        if self.is_stopped() { None } else { self.courses.lock().unwrap_or_else(PoisonError::into_inner).next() }
    }

    /// Sends the callbacks of a course one after the other, and then the copies that come later.
    async fn send_course(self: &Arc<Self>, subject: &str, course: Course) -> anyhow::Result<Vec<Sent>> {
        let mut all_sent = Vec::new();
        let mut later = Vec::new();
        let mut turns = 0..;
        for (callback, turn) in course.callbacks.into_iter().zip(turns.by_ref()) {
            let Some(sample) = self.prepare(subject, &callback).await? else { continue };
            let sample = Arc::new(sample);
            let sent = self.send_copies(&sample, callback.is_forged, 1 + callback.copies_at_once).await?;
            all_sent.extend(sent.into_iter().enumerate().map(|(n, sent)| Sent { is_copy: n > 0, turn, ..sent }));
            later.extend(std::iter::repeat_n((sample, callback.is_forged), callback.copies_later));
        }
        for ((sample, is_forged), turn) in later.into_iter().zip(turns) {
            let sent = self.send_copies(&sample, is_forged, 1).await?;
            all_sent.extend(sent.into_iter().map(|sent| Sent { is_copy: true, turn, ..sent }));
        }
        Ok(all_sent)
    }

    /// Makes the callback that is sent. None if sending was stopped, or it cannot be announced.
    async fn prepare(&self, subject: &str, callback: &Callback) -> anyhow::Result<Option<Sample>> {
        let sample = callback.sample.about(subject).context("a sample that names no subject")?;
        let sample = if callback.padding > 0 { sample.padded(callback.padding) } else { sample };
        if callback.is_forged {
            // What a wallet's is known by is that it was announced; its tokens may be genuine.
            let signed = if sample.has_tokens() { sample.signed_by(&Issuer::of(&self.stack)?)? } else { sample };
            return Ok(Some(signed));
        }
        for attempt in 1..=ATTEMPTS {
            if self.is_stopped() {
                return Ok(None);
            }
            match sample.clone().prepared(&self.http, &self.stack, &self.connections).await {
                Ok(sample) => return Ok(Some(sample)),
                Err(error) if attempt == ATTEMPTS => self.progress.suspend(|| eprintln!("not sent: {error:#}")),
                Err(_) => tokio::time::sleep(PAUSE * attempt).await,
            }
        }
        self.unannounced.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    /// Sends so many copies at the same instant.
    async fn send_copies(
        self: &Arc<Self>,
        sample: &Arc<Sample>,
        is_forged: bool,
        copies: usize,
    ) -> anyhow::Result<Vec<Sent>> {
        if self.is_stopped() {
            return Ok(Vec::new());
        }
        let mut sending = JoinSet::new();
        for _ in 0..copies {
            let (sender, sample) = (Arc::clone(self), Arc::clone(sample));
            sending.spawn(async move { sender.send(&sample, is_forged).await });
        }
        let mut all_sent = Vec::with_capacity(copies);
        while let Some(sent) = sending.join_next().await {
            all_sent.push(sent.context("failed to send a callback")??);
        }
        Ok(all_sent)
    }

    /// Sends a callback until it is answered for good, as often as its provider would.
    async fn send(&self, sample: &Sample, is_forged: bool) -> anyhow::Result<Sent> {
        let secrets = if is_forged { &self.forged_secrets } else { &self.secrets };
        let mut attempts = Vec::new();
        let mut verdict = Verdict::NotAcknowledged;
        for attempt in 1..=ATTEMPTS {
            let started = Instant::now();
            let answer = sample.send(&self.http, &self.stack, secrets).await;
            let status = answer.as_ref().ok().map(|answer| answer.status);
            attempts.push(Attempt { status, took: started.elapsed() });
            verdict = answer.map_or(Verdict::NotAcknowledged, |answer| judge(&answer, sample, is_forged));
            if verdict != Verdict::NotAcknowledged || self.is_stopped() {
                break;
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(PAUSE * attempt).await;
            }
        }
        self.progress.inc(1);
        let event = sample.expect.event.clone().context("a sample of which nothing is expected")?;
        Ok(Sent { function: sample.function.clone(), event, is_forged, is_copy: false, turn: 0, attempts, verdict })
    }
}

/// What an answer means to a provider, which reads its own acknowledgement in it, or that it should come again, or neither.
fn judge(answer: &Answer, sample: &Sample, is_forged: bool) -> Verdict {
    let is_acknowledgement = if is_forged {
        (200..300).contains(&answer.status)
    } else {
        answer.status == sample.expect.status && answer.body == sample.expect.body
    };
    match answer.status {
        _ if is_acknowledgement => Verdict::Acknowledged,
        429 | 500.. => Verdict::NotAcknowledged,
        _ => Verdict::Refused,
    }
}
